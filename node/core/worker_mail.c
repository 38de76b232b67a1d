/* What the node core tells a worker: templates, leases, validity, recalls, suppressions, the end. */
#include "node/core/worker_internal.h"

/* --- templates */

static void template_take(struct rmd_worker *w, struct rmd_wlease *l) {
    if (!l->raw->refs++)
        rmd_list_remove(&l->raw->lru);
    (void)w;
}

static void template_drop(struct rmd_worker *w, struct rmd_wtemplate *t) {
    assert(t->refs);
    if (!--t->refs)
        rmd_list_push(&w->template_lru, &t->lru);
}

static void lease_begin(struct rmd_worker *w, struct rmd_wlease *l);

static int take_template(struct rmd_worker *w, const struct rmd_mail *mail) {
    struct rmd_slice hash = rmd_slice(mail->template_hash, RMD_HASH_BYTES);
    if (!mail->bytes.n)
        return RMD_EFORMAT;
    if (rmd_map_get(&w->templates, hash))
        return RMD_OK;
    if (w->templates.n >= RMD_WORKER_TEMPLATES_MAX && !rmd_list_empty(&w->template_lru)) {
        struct rmd_wtemplate *old = rmd_container(w->template_lru.next, struct rmd_wtemplate, lru);
        rmd_list_remove(&old->lru);
        rmd_map_remove(&w->templates, rmd_slice(old->hash, sizeof old->hash));
        free(old->bytes);
        free(old);
    }
    struct rmd_wtemplate *t = rmd_alloc(sizeof *t);
    memcpy(t->hash, mail->template_hash, sizeof t->hash);
    t->bytes = rmd_memdup(mail->bytes.p, mail->bytes.n);
    t->bytes_n = mail->bytes.n;
    rmd_map_set(&w->templates, hash, t);
    rmd_list_push(&w->template_lru, &t->lru);
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        if (!l->raw && rmd_slice_eq(rmd_slice(l->pb->template_hash.data, l->pb->template_hash.len), hash))
            lease_begin(w, l);
    }
    return RMD_OK;
}

/* --- leases */

/* The cluster's ceiling counts connections: without a lease, the lane's share of it is somebody else's soon. */
static void give_share_back(struct rmd_worker *w, struct rmd_lane *lane) {
    if (!lane->policy || !lane->policy->cluster_connections)
        return;
    rmd_list_for_safe(it, &lane->idle) rmd_worker_conn_quit(w, rmd_container(it, struct rmd_wconn, idle_of_lane));
}

void rmd_worker_lease_unpin(struct rmd_worker *w, struct rmd_wlease *l) {
    assert(l->pins);
    if (--l->pins || l->left)
        return;
    rmd_worker_arm(w, &l->timer, RMD_NEVER);
    rmd_map_remove_u64(&w->leases, l->id);
    rmd_list_remove(&l->all);
    if (l->lane && --l->lane->leases == 0)
        give_share_back(w, l->lane);
    if (l->raw)
        template_drop(w, l->raw);
    rmd_template_free(l->compiled);
    rmd_arena_release(&l->arena);
    free(l);
}

int64_t rmd_worker_valid_until(const struct rmd_wmessage *m) {
    const Remuda__Lease *pb = m->lease->pb;
    int64_t until = pb->valid_until_wall_ms;
    if (m->index < pb->n_item && pb->item[m->index]->valid_until_wall_ms &&
        (!until || pb->item[m->index]->valid_until_wall_ms < until))
        until = pb->item[m->index]->valid_until_wall_ms;
    return until ? until : RMD_NEVER;
}

/* Returns what has grown too old, and sets the timer to the next one: by wall time, looked at again at least every
 * minute, because wall clocks are stepped. */
void rmd_worker_lease_age(struct rmd_worker *w, struct rmd_wlease *l) {
    enum { LOOK_MS = 60000 };
    int64_t next = RMD_NEVER;
    l->pins++;
    for (size_t i = 0; i < l->n; i++) {
        struct rmd_wmessage *m = &l->message[i];
        if (m->state >= RMD_W_OPEN)
            continue;
        int64_t until = rmd_worker_valid_until(m);
        if (w->now.wall_ms >= until)
            rmd_worker_return(w, m, RMD_RETURN_AGE);
        else if (until < next)
            next = until;
    }
    if (next != RMD_NEVER) {
        int64_t wait = next - w->now.wall_ms;
        rmd_worker_arm(w, &l->timer, w->now.mono_ms + (wait < LOOK_MS ? wait : LOOK_MS));
    }
    rmd_worker_lease_unpin(w, l);
}

static bool suppressed(const struct rmd_worker *w, uint64_t lease, uint64_t key) {
    if (lease >= w->suppressed_before) /* what was lifted since is leased again */
        return false;
    return rmd_set64_has(&w->suppressed[0], key) || rmd_set64_has(&w->suppressed[1], key);
}

/* A hash as it is stands for all streams, mixed with a stream's id for that one. */
static uint64_t suppress_key(uint64_t hash, uint32_t stream) {
    return stream ? hash ^ rmd_mix64(stream) : hash;
}

static void message_begin(struct rmd_worker *w, struct rmd_wmessage *m) {
    const ProtobufCBinaryData *packed = &m->lease->pb->row[m->index];
    rmd_arena_reset(&w->scratch);
    const Remuda__Row *row =
        rmd_pb_decode(&remuda__row__descriptor, rmd_slice(packed->data, packed->len), &w->scratch);
    if (!row) {
        rmd_worker_own(w, m, RMD_OWN_RENDER_FAILED, RMD_STAGE_RENDER, "the recipient's row is malformed");
        return;
    }
    struct rmd_slice to = rmd_slice_str(*row->envelope_to ? row->envelope_to : row->email);
    m->address_hash = rmd_address_hash(m->lease->pb->tenant, rmd_slice_str(row->email));
    m->domain = rmd_worker_domain_ref(w, rmd_address_domain(to));
    if (!m->domain)
        rmd_worker_own(w, m, RMD_OWN_RENDER_FAILED, RMD_STAGE_RENDER, "the recipient's address has no domain");
    else if (suppressed(w, m->lease->id, m->address_hash) ||
             suppressed(w, m->lease->id, suppress_key(m->address_hash, m->lease->pb->stream)))
        rmd_worker_return(w, m, RMD_RETURN_SUPPRESSED);
    else if (w->valid_until_ms && w->now.mono_ms > w->valid_until_ms - rmd_worker_tx_ms(w))
        rmd_worker_return(w, m, RMD_RETURN_EXPIRING);
    else
        rmd_worker_route(w, m, false);
}

/* The template is here: compiled for the lease's columns, and its messages set off. */
static void lease_begin(struct rmd_worker *w, struct rmd_wlease *l) {
    char err[160] = "";
    const Remuda__Lease *pb = l->pb;
    l->raw = rmd_map_get(&w->templates, rmd_slice(pb->template_hash.data, pb->template_hash.len));
    if (!l->raw)
        return;
    template_take(w, l);
    int error = rmd_template_new(rmd_slice(l->raw->bytes, l->raw->bytes_n), (const char *const *)pb->column,
                                 pb->n_column, &l->compiled, err, sizeof err);
    l->pins++;
    for (size_t i = 0; i < l->n; i++) {
        struct rmd_wmessage *m = &l->message[i];
        if (m->state != RMD_W_HELD)
            continue;
        if (error)
            rmd_worker_own(w, m, RMD_OWN_RENDER_FAILED, RMD_STAGE_RENDER, err);
        else
            message_begin(w, m);
    }
    rmd_worker_lease_unpin(w, l);
}

static struct rmd_wlease *lease_new(struct rmd_worker *w, const struct rmd_mail *mail) {
    struct rmd_arena arena = {0};
    Remuda__Lease *pb = rmd_pb_decode(&remuda__lease__descriptor, mail->bytes, &arena);
    if (!pb || rmd_map_get_u64(&w->leases, pb->id) || pb->campaign.len != sizeof(struct rmd_id) ||
        pb->template_hash.len != RMD_HASH_BYTES) {
        rmd_arena_release(&arena);
        return NULL;
    }
    struct rmd_wlease *l = rmd_alloc(sizeof *l);
    l->id = pb->id;
    l->pb = pb;
    l->arena = arena;
    l->n = pb->n_row;
    l->timer.kind = RMD_TIMER_LEASE;
    memcpy(l->campaign.b, pb->campaign.data, sizeof l->campaign.b);
    l->message = rmd_arena_alloc(&l->arena, l->n * sizeof *l->message);
    for (size_t i = 0; i < l->n; i++) {
        l->message[i].lease = l;
        l->message[i].index = (uint32_t)i;
        bool skip = i / 8 < mail->skip.n && rmd_bit_get(mail->skip.p, i);
        l->message[i].state = skip ? RMD_W_DONE : RMD_W_HELD;
        l->left += !skip;
    }
    w->waiting += l->left;
    rmd_map_set_u64(&w->leases, l->id, l);
    rmd_list_push(&w->lease_list, &l->all);
    return l;
}

static void share_of(struct rmd_worker *w, struct rmd_lane *lane, const Remuda__Lease *pb) {
    if (!pb->share)
        return;
    lane->share_connections = pb->share->connections;
    lane->kept = pb->share->kept;
    lane->share_rate = pb->share->rate_per_minute;
    uint32_t rate = lane->policy ? lane->policy->rate_per_minute : 0;
    if (lane->share_rate && (!rate || lane->share_rate < rate))
        rate = lane->share_rate;
    rmd_pacer_ceiling(&lane->pacer, rmd_lane_paced(lane, rate));
    rmd_worker_pace_given(w, lane, pb->share);
}

static void lease_return(struct rmd_worker *w, struct rmd_wlease *l, enum rmd_return_reason reason) {
    for (size_t i = 0; i < l->n; i++)
        if (l->message[i].state < RMD_W_OPEN)
            rmd_worker_return(w, &l->message[i], reason);
}

static int take_lease(struct rmd_worker *w, const struct rmd_mail *mail) {
    bool overload = w->waiting >= RMD_WORKER_WAITING_MAX;
    struct rmd_wlease *l = lease_new(w, mail);
    if (!l)
        return RMD_EFORMAT;
    l->pins++;
    struct rmd_wsource *s = rmd_map_get_u64(&w->sources, l->pb->source);
    if (overload)
        lease_return(w, l, RMD_RETURN_OVERLOAD);
    else if (w->stopping)
        lease_return(w, l, RMD_RETURN_RECALLED);
    else if (!s || !s->known)
        lease_return(w, l, RMD_RETURN_SOURCE_STOPPED);
    else if (!(l->lane = rmd_worker_lane(w, s, l->pb->provider)))
        lease_return(w, l, RMD_RETURN_PROVIDER_CHANGED);
    if (l->lane) {
        l->lane->leases++;
        share_of(w, l->lane, l->pb);
        lease_begin(w, l);
        rmd_worker_lease_age(w, l);
    }
    rmd_worker_lease_unpin(w, l);
    return RMD_OK;
}

void rmd_worker_return_unstarted(struct rmd_worker *w, enum rmd_return_reason reason) {
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        l->pins++;
        lease_return(w, l, reason);
        rmd_worker_lease_unpin(w, l);
    }
}

static void wake_all(struct rmd_worker *w) {
    uint32_t it = 0;
    void *lane;
    while (rmd_map_next(&w->lanes, &it, NULL, &lane))
        rmd_worker_wake_lane(w, lane);
}

/* 0: the session is lost. What was told last still holds, but nothing new starts until a session says so again. */
static void take_valid(struct rmd_worker *w, int64_t until_ms) {
    w->paused = until_ms == 0;
    if (!until_ms)
        return;
    w->valid_until_ms = until_ms;
    rmd_worker_arm(w, &w->valid_timer, until_ms - rmd_worker_tx_ms(w) + 1);
    wake_all(w);
}

/* --- recall */

static bool recalled(const Remuda__Recall *r, const struct rmd_wlease *l) {
    for (size_t i = 0; i < r->n_lease; i++)
        if (r->lease[i] == l->id)
            return true;
    if (r->source && r->source == l->pb->source && (!r->provider || r->provider == l->pb->provider))
        return true;
    return r->campaign.len == sizeof l->campaign.b &&
           memcmp(r->campaign.data, l->campaign.b, sizeof l->campaign.b) == 0;
}

static int take_recall(struct rmd_worker *w, const struct rmd_mail *mail) {
    struct rmd_arena arena = {0};
    const Remuda__Recall *r = rmd_pb_decode(&remuda__recall__descriptor, mail->bytes, &arena);
    if (!r) {
        rmd_arena_release(&arena);
        return RMD_EFORMAT;
    }
    enum rmd_return_reason reason =
        r->reason && r->reason < RMD_RETURN_COUNT ? (enum rmd_return_reason)r->reason : RMD_RETURN_RECALLED;
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        if (!recalled(r, l))
            continue;
        l->pins++;
        lease_return(w, l, reason);
        for (size_t i = 0; i < l->n; i++) /* what is open ends by itself, but isn't tried again */
            if (l->message[i].state == RMD_W_OPEN)
                l->message[i].give_back = (uint8_t)reason;
        rmd_worker_lease_unpin(w, l);
    }
    rmd_worker_say(w, RMD_MAIL_RECALL_DONE, r->id, 0, NULL);
    rmd_arena_release(&arena);
    return RMD_OK;
}

/* --- suppressions */

/* Two generations: when the newer one is full the older one goes. What it named was returned long ago, and the
 * coordinator leases none of it again; the sets are for leases that were on their way. */
static void suppress_add(struct rmd_worker *w, uint64_t key) {
    if (w->suppressed[0].n >= RMD_WORKER_SUPPRESS_MAX) {
        rmd_set64_release(&w->suppressed[1]);
        w->suppressed[1] = w->suppressed[0];
        w->suppressed[0] = (struct rmd_set64){0};
    }
    rmd_set64_add(&w->suppressed[0], key);
}

static void suppress_wait(struct rmd_wsuppress *p, struct rmd_wmessage *m) {
    m->give_back = RMD_RETURN_SUPPRESSED;
    m->suppress_wait = true;
    p->message = rmd_realloc(p->message, (p->n + 1) * sizeof *p->message);
    p->message[p->n].lease = m->lease->id;
    p->message[p->n++].index = m->index;
    p->open++;
}

static void suppress_lease(struct rmd_worker *w, struct rmd_wlease *l, const struct rmd_set64 *set,
                           struct rmd_wsuppress *p) {
    l->pins++;
    for (size_t i = 0; i < l->n; i++) {
        struct rmd_wmessage *m = &l->message[i];
        if (m->state == RMD_W_DONE || !m->domain || !rmd_set64_has(set, m->address_hash))
            continue;
        if (m->state == RMD_W_OPEN)
            suppress_wait(p, m);
        else
            rmd_worker_return(w, m, RMD_RETURN_SUPPRESSED);
    }
    rmd_worker_lease_unpin(w, l);
}

static int take_suppress(struct rmd_worker *w, const struct rmd_mail *mail) {
    struct rmd_arena arena = {0};
    struct rmd_set64 set = {0};
    const Remuda__Suppress *s = rmd_pb_decode(&remuda__suppress__descriptor, mail->bytes, &arena);
    if (!s) {
        rmd_arena_release(&arena);
        return RMD_EFORMAT;
    }
    struct rmd_wsuppress *p = rmd_alloc(sizeof *p);
    p->id = s->id;
    uint64_t before = s->first_lease_after ? s->first_lease_after : UINT64_MAX;
    if (before > w->suppressed_before)
        w->suppressed_before = before;
    for (size_t i = 0; i < s->n_address_hash; i++) {
        rmd_set64_add(&set, s->address_hash[i]);
        suppress_add(w, suppress_key(s->address_hash[i], s->stream));
    }
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        if ((!s->stream || s->stream == l->pb->stream) && (!s->tenant || s->tenant == l->pb->tenant))
            suppress_lease(w, l, &set, p);
    }
    if (p->open) {
        rmd_list_push(&w->suppressing, &p->link);
    } else {
        rmd_worker_say(w, RMD_MAIL_SUPPRESS_DONE, p->id, 0, NULL);
        free(p);
    }
    rmd_set64_release(&set);
    rmd_arena_release(&arena);
    return RMD_OK;
}

void rmd_worker_suppress_ended(struct rmd_worker *w, const struct rmd_wmessage *m) {
    rmd_list_for_safe(it, &w->suppressing) {
        struct rmd_wsuppress *p = rmd_container(it, struct rmd_wsuppress, link);
        for (size_t i = 0; i < p->n; i++)
            if (p->message[i].lease == m->lease->id && p->message[i].index == m->index)
                p->open--;
        if (p->open)
            continue;
        rmd_list_remove(&p->link);
        rmd_worker_say(w, RMD_MAIL_SUPPRESS_DONE, p->id, 0, NULL);
        free(p->message);
        free(p);
    }
}

/* --- all kinds */

int rmd_worker_mail(struct rmd_worker *w, const struct rmd_mail *mail) {
    switch (mail->kind) {
    case RMD_MAIL_POLICY:
        return rmd_worker_policy(w, mail->bytes);
    case RMD_MAIL_TEMPLATE:
        return take_template(w, mail);
    case RMD_MAIL_LEASE:
        return take_lease(w, mail);
    case RMD_MAIL_VALID:
        take_valid(w, mail->valid_until_mono_ms);
        return RMD_OK;
    case RMD_MAIL_RECALL:
        return take_recall(w, mail);
    case RMD_MAIL_SUPPRESS:
        return take_suppress(w, mail);
    case RMD_MAIL_STOP:
        w->stopping = true;
        rmd_worker_return_unstarted(w, RMD_RETURN_RECALLED);
        return RMD_OK;
    default:
        return RMD_EINVAL; /* the others go the other way */
    }
}
