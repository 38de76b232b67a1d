/* What a run was like: dated lines for people, on standard error, and numbers for JSON. */
#include "tests/sim/herd/remuda.h"

#include <inttypes.h>

void hr_say(struct hr *h, const char *fmt, ...) {
    va_list ap;
    if (!h->verbose)
        return;
    struct rmd_buf b = {0};
    int64_t t = h->now_ms / 1000;
    rmd_buf_addf(&b, "day %2d %02d:%02d:%02d ", (int)(t / 86400 + 1), (int)(t / 3600 % 24), (int)(t / 60 % 60),
                 (int)(t % 60));
    va_start(ap, fmt);
    rmd_buf_vaddf(&b, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", rmd_buf_str(&b));
    rmd_buf_release(&b);
}

/* The first of its kind on a day is told with the receiver's words; all are counted. */
void hr_story_deferred(struct hr *h, const Remuda__EventRecord *e) {
    if (!e->verdict)
        return;
    uint64_t key = (uint64_t)e->provider << 8 | (e->verdict->class_ & 0xff);
    uintptr_t n = (uintptr_t)rmd_map_get_u64(&h->why, key);
    if (!n && e->reply)
        hr_say(h, "%s at %s: %s, %s: %.*s", rmd_coord_source_address(h->coord.core, e->source),
               rmd_coord_provider_name(h->coord.core, e->provider), rmd_class_name(e->verdict->class_),
               rmd_action_name(e->verdict->action), (int)e->reply->text.len, (const char *)e->reply->text.data);
    rmd_map_set_u64(&h->why, key, (void *)(n + 1));
}

static void deferrals(struct hr *h, struct rmd_buf *out) {
    uint32_t it = 0;
    struct rmd_slice k;
    void *n;
    while (rmd_map_next(&h->why, &it, &k, &n)) {
        uint64_t key;
        memcpy(&key, k.p, sizeof key);
        rmd_buf_addf(out, "%s%s %s %" PRIuPTR, out->len ? ", " : "",
                     rmd_coord_provider_name(h->coord.core, (uint32_t)(key >> 8)), rmd_class_name(key & 0xff),
                     (uintptr_t)n);
    }
    rmd_map_release(&h->why);
}

struct stages {
    struct hr *h;
    struct rmd_buf text;
    const char *last;
};

static void on_warmup(void *ctx, const struct rmd_warmup_view *v) {
    struct stages *x = ctx;
    const char *who = v->source ? v->source : v->domain;
    if (!v->used_24h || strcmp(v->state, "warm") == 0)
        return;
    if (!x->last || strcmp(x->last, who) != 0)
        rmd_buf_addf(&x->text, "%s%s:", x->text.len ? "; " : "", who);
    x->last = who;
    rmd_buf_addf(&x->text, " %s %u/%u (%" PRIu64 " of %" PRIu64 "%s)", v->provider, v->stage, v->stages, v->used_24h,
                 v->cap, v->hold ? ", held" : "");
}

/* Yesterday, in one line; and the stages of what warms up. */
void hr_story_day(struct hr *h) {
    struct rmd_status_view v;
    const struct hr_counts *n = &h->n, *b = &h->before;
    struct stages x = {.h = h};
    if (!h->verbose)
        return;
    rmd_coord_status(h->coord.core, &v);
    hr_say(h,
           "the day: %" PRIu64 " delivered, %" PRIu64 " deferrals, %" PRIu64 " bounced, %" PRIu64 " expired, %" PRIu64
           " complaints; waiting %" PRIu64 " queued, %" PRIu64 " deferred, %" PRIu64 " leased; %" PRIu64
           " sources quarantined, %" PRIu64 " open incidents",
           n->delivered - b->delivered, n->deferred - b->deferred, n->bounced - b->bounced, n->expired - b->expired,
           n->complaints - b->complaints, v.queued + v.unsorted, v.deferred, v.leased, v.sources_quarantined,
           v.open_incidents);
    deferrals(h, &x.text);
    if (x.text.len)
        hr_say(h, "deferrals: %s", rmd_buf_str(&x.text));
    rmd_buf_clear(&x.text);
    rmd_coord_warmups(h->coord.core, on_warmup, &x);
    if (x.text.len)
        hr_say(h, "warming up: %s", rmd_buf_str(&x.text));
    rmd_buf_release(&x.text);
    h->before = h->n;
}

void hr_story_json(struct hr *h, struct rmd_buf *more) {
    const struct {
        const char *name;
        uint64_t n;
    } row[] = {{"deferrals", h->n.deferred},
               {"returned", h->n.returned},
               {"incidents", h->n.incidents},
               {"resolved_by_people", h->n.resolved},
               {"quarantines", h->n.quarantines},
               {"rests", h->n.rests},
               {"stages_gained", h->n.advanced + h->n.warm},
               {"stages_held", h->n.held},
               {"stages_lost", h->n.back},
               {"stream_pauses", h->n.stream_pauses},
               {"campaign_pauses", h->n.campaign_pauses},
               {"listings_found", h->n.found},
               {"complaints_told", h->n.complaints}};
    rmd_buf_addstr(more, "\"remuda\": {");
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        rmd_buf_addf(more, "%s\"%s\": %" PRIu64, i ? ", " : "", row[i].name, row[i].n);
    rmd_buf_addstr(more, "}, ");
}
