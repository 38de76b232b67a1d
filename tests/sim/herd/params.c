/* Parameters of senders: what is set, checked; the rest from their table. */
#include <inttypes.h>

#include <base/text.h>

#include "tests/sim/herd/model.h"

int herd_params(const struct herd_sender *s, const struct herd_setting *set, size_t n_set, int64_t *value,
                struct rmd_buf *err) {
    for (size_t i = 0; i < s->n_params; i++)
        value[i] = s->param[i].fallback;
    for (size_t k = 0; k < n_set; k++) {
        size_t i = 0;
        uint64_t v;
        while (i < s->n_params && strcmp(s->param[i].name, set[k].name) != 0)
            i++;
        if (i == s->n_params) {
            rmd_buf_addf(err, "%s: no parameter is called %s; try sim --baselines\n", s->name, set[k].name);
            return RMD_EINVAL;
        }
        const struct herd_param *p = &s->param[i];
        if (rmd_parse_u64(rmd_slice_str(set[k].value), &v) != RMD_OK || v < (uint64_t)p->min ||
            v > (uint64_t)p->max) {
            rmd_buf_addf(err, "%s: %s: %s is not a whole number from %" PRId64 " to %" PRId64 "\n", s->name, p->name,
                         set[k].value, p->min, p->max);
            return RMD_EINVAL;
        }
        value[i] = (int64_t)v;
    }
    return RMD_OK;
}
