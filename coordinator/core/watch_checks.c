/* Checks out of schedule: somebody wants to know, or a receiver's words name a list (see listing.h). */
#include "coordinator/core/listing.h"

enum { AWAY_LOOK_MS = 5000 };

static void check_free(struct rmd_watchers *w, struct rmd_check *k) {
    rmd_list_remove(&k->link);
    w->n_checks--;
    free(k->subject);
    free(k->result);
    free(k);
}

void rmd_checks_free(struct rmd_watchers *w) {
    rmd_list_for_safe(k, &w->checks) check_free(w, rmd_container(k, struct rmd_check, link));
}

struct rmd_check *rmd_check_find(const struct rmd_watchers *w, uint64_t id) {
    rmd_list_for(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (k->id == id)
            return k;
    }
    return NULL;
}

/* The source's own node, else one that is connected. */
static struct rmd_node *checker(struct rmd_coord *c, const char *subject) {
    uint32_t it = 0;
    void *v;
    for (it = 0; rmd_map_next(&c->watchers->watcher, &it, NULL, &v);) {
        struct rmd_watcher *x = v;
        struct rmd_node *n = rmd_node_find(c, x->node);
        if (n && n->connected && rmd_map_get_str(&x->subject, subject))
            return n;
    }
    struct rmd_node *best = NULL;
    for (it = 0; rmd_map_next(&c->nodes, &it, NULL, &v);)
        if (((struct rmd_node *)v)->connected && (!best || ((struct rmd_node *)v)->rec->id < best->rec->id))
            best = v;
    return best;
}

static void check_send(struct rmd_coord *c, struct rmd_check *k) {
    struct rmd_node *n = checker(c, k->subject);
    if (!n)
        return;
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__WatchCheck *m = rmd_arena_alloc(a, sizeof *m);
    remuda__watch_check__init(m);
    k->node = n->rec->id;
    k->sent = true;
    m->id = k->id;
    m->subject = rmd_arena_str(a, rmd_slice_str(k->subject));
    m->list = rmd_arena_alloc(a, (k->n_results + 1) * sizeof *m->list);
    for (size_t i = 0; i < k->n_results; i++)
        if (!k->result[i].answered)
            m->list[m->n_list++] = k->result[i].list;
    rmd_core_send(c, n, REMUDA__FRAME__BODY_WATCH_CHECK, -1)->watch_check = m;
}

static void checks_trim(struct rmd_watchers *w) {
    uint32_t done = 0;
    rmd_list_for_safe(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (k->done && k->again_mono_ms == RMD_NEVER && ++done > RMD_CHECKS_KEPT)
            check_free(w, k);
    }
}

uint64_t rmd_watchers_check(struct rmd_coord *c, const char *subject, const uint32_t *list, size_t n, uint64_t token,
                            uint64_t incident, uint32_t times) {
    struct rmd_watchers *w = c->watchers;
    uint32_t kind = rmd_subject_kind(subject);
    checks_trim(w);
    if (!w->enabled || w->n_checks >= RMD_CHECKS_OPEN_MAX + RMD_CHECKS_KEPT)
        return 0;
    struct rmd_check *k = rmd_alloc(sizeof *k);
    k->result = rmd_alloc((w->n_lists + 1) * sizeof *k->result);
    for (size_t i = 0; i < w->n_lists; i++) {
        uint32_t id = rmd_blocklist_id(w->list[i]->name);
        bool wanted = !n;
        for (size_t j = 0; j < n; j++)
            wanted = wanted || list[j] == id;
        if (wanted && w->list[i]->enabled && rmd_blocklist_answers(w->list[i], kind))
            k->result[k->n_results++].list = id;
    }
    if (!k->n_results) {
        free(k->result);
        free(k);
        return 0;
    }
    k->id = c->epoch << 32 | ++w->next_check;
    k->token = token;
    k->incident = incident;
    k->times = times;
    k->subject = rmd_strdup(subject);
    k->begun_mono_ms = c->now.mono_ms;
    k->again_mono_ms = RMD_NEVER;
    rmd_list_push_front(&w->checks, &k->link);
    w->n_checks++;
    check_send(c, k);
    rmd_core_wake(c, c->now.mono_ms + (k->sent ? RMD_CHECK_WAIT_MS : AWAY_LOOK_MS));
    return k->id;
}

void rmd_check_done(struct rmd_coord *c, struct rmd_check *k) {
    bool listed = false, all = true;
    for (size_t i = 0; i < k->n_results; i++) {
        listed = listed || (k->result[i].answered && k->result[i].state == RMD_FINDING_LISTED);
        all = all && k->result[i].answered;
    }
    k->done = true;
    if (k->token)
        rmd_core_reply(c, k->token, RMD_OK, k->id, "%s",
                       all       ? "all lists answered"
                       : k->sent ? "some lists did not answer in time"
                                 : "no node is connected that could ask");
    k->token = 0;
    /* the resolver may remember for a while that it wasn't listed */
    if (k->incident && !listed && k->times < RMD_CHECK_AGAIN_TIMES) {
        k->again_mono_ms = c->now.mono_ms + ((int64_t)RMD_CHECK_AGAIN_MS << (2 * k->times));
        rmd_core_wake(c, k->again_mono_ms);
    }
}

void rmd_checks_tick(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    rmd_list_for_safe(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (!k->done && c->now.mono_ms - k->begun_mono_ms >= RMD_CHECK_WAIT_MS) {
            rmd_check_done(c, k);
        } else if (!k->done && !k->sent) {
            check_send(c, k);
            rmd_core_wake(c, c->now.mono_ms + (k->sent ? RMD_CHECK_WAIT_MS : AWAY_LOOK_MS));
        } else if (!k->done) {
            rmd_core_wake(c, k->begun_mono_ms + RMD_CHECK_WAIT_MS);
        } else if (k->again_mono_ms != RMD_NEVER && c->now.mono_ms >= k->again_mono_ms) {
            uint32_t list[RMD_LISTS_MAX];
            size_t n = 0;
            for (; n < k->n_results && n < RMD_LISTS_MAX; n++)
                list[n] = k->result[n].list;
            k->again_mono_ms = RMD_NEVER;
            rmd_watchers_check(c, k->subject, list, n, 0, k->incident, k->times + 1);
        } else if (k->again_mono_ms != RMD_NEVER) {
            rmd_core_wake(c, k->again_mono_ms);
        }
    }
}

/* A receiver's words name a list: we ask it ourselves, at once. */
void rmd_watchers_refused(struct rmd_coord *c, struct rmd_source *s, uint32_t provider, const Remuda__Reply *reply) {
    struct rmd_watchers *w = c->watchers;
    uint32_t list[RMD_LISTS_MAX], kind = rmd_subject_kind(s->rec->address);
    size_t n = 0;
    for (size_t i = 0; i < w->n_lists && w->enabled && reply; i++)
        if (w->list[i]->enabled && rmd_blocklist_answers(w->list[i], kind) &&
            rmd_blocklist_named(w->list[i], rmd_slice(reply->text.data, reply->text.len)))
            list[n++] = rmd_blocklist_id(w->list[i]->name);
    if (!n)
        return;
    ssize_t p = rmd_provider_index(c, provider);
    uint64_t incident = p >= 0 && s->lane[p] && s->lane[p]->incident ? s->lane[p]->incident : s->all.incident;
    for (size_t i = 0; i < n; i++) { /* what is known already needs no question */
        struct rmd_listing *x = rmd_listing_find(c, rmd_watchers_list(w, list[i])->name, s->rec->address);
        if (x && incident)
            rmd_listing_link(c, x, incident);
        if (x)
            rmd_listing_link_named(c, rmd_watchers_list(w, list[i]), x);
    }
    rmd_watchers_check(c, s->rec->address, list, n, 0, incident, 0);
}
