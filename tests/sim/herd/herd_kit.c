/* See herd_kit.h. */
#include "tests/sim/herd/herd_kit.h"

#include <base/text.h>

void kit_open(struct kit *k, const char *text, uint64_t seed) {
    struct rmd_buf err = {0};
    *k = (struct kit){0};
    k->s = herd_parse(rmd_slice_str(text), "test.conf", &err);
    if (!k->s) {
        fprintf(stderr, "%s", rmd_buf_str(&err));
        abort();
    }
    rmd_buf_release(&err);
    k->w = herd_world_new(k->s, seed);
}

void kit_close(struct kit *k) {
    herd_world_free(k->w);
    herd_scenario_free(k->s);
}

static int said(struct kit *k, const struct herd_reply *r) {
    rmd_copy(k->reply, sizeof k->reply, r->text ? r->text : "");
    k->closed = r->close;
    return r->code;
}

int kit_send_row(struct kit *k, uint32_t source, uint32_t campaign, uint32_t row, int64_t now_ms) {
    struct herd_reply r;
    struct herd_person p;
    herd_person(k->w, campaign, row, &p);
    uint32_t c = herd_connect(k->w, source, p.site, now_ms, &r);
    if (!c || !herd_ok(&r))
        return said(k, &r);
    herd_mail(k->w, c, campaign, row, now_ms, &r);
    if (herd_ok(&r))
        herd_rcpt(k->w, c, now_ms, &r);
    if (herd_ok(&r))
        herd_dot(k->w, c, now_ms, &r);
    int code = said(k, &r);
    if (!r.close)
        herd_disconnect(k->w, c, now_ms);
    return code;
}

int kit_send(struct kit *k, uint32_t source, int64_t now_ms) {
    return kit_send_row(k, source, 0, k->row++, now_ms);
}

int kit_send_many(struct kit *k, uint32_t source, int n, int64_t now_ms) {
    int accepted = 0;
    for (int i = 0; i < n; i++)
        accepted += kit_send(k, source, now_ms) == 250;
    return accepted;
}

uint32_t kit_row_of(struct kit *k, enum herd_kind kind) {
    struct herd_traits t;
    do
        herd_traits(k->w, k->s->campaign[0].list, herd_number(k->w, 0, k->row), &t);
    while (t.kind != kind && ++k->row < k->s->campaign[0].rows);
    return k->row++;
}
