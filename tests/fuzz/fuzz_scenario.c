/* Fuzz target: a scenario of the herd. What is taken can be made a world and asked; what is refused has a reason. */
#include <stdlib.h>

#include "tests/sim/herd/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rmd_buf err = {0};
    struct herd_scenario *s = herd_parse(rmd_slice(data, size), "fuzz.conf", &err);
    if (!s && !err.len)
        abort();
    if (s && s->messages < 10000) {
        struct herd_world *w = herd_world_new(s, 1);
        struct herd_reply r;
        struct herd_person p;
        herd_person(w, 0, 0, &p);
        uint32_t c = herd_connect(w, 0, p.site, HERD_DAY_MS, &r);
        if (c && herd_ok(&r))
            herd_mail(w, c, 0, 0, HERD_DAY_MS, &r);
        if (c && herd_ok(&r))
            herd_rcpt(w, c, HERD_DAY_MS, &r);
        if (c && herd_ok(&r))
            herd_dot(w, c, HERD_DAY_MS, &r);
        herd_world_free(w);
    }
    herd_scenario_free(s);
    rmd_buf_release(&err);
    return 0;
}
