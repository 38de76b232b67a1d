/* Finished campaigns leave memory, and at last the store.
 *
 * Memory keeps the newest RMD_COORD_CAMPAIGNS_KEPT for views. Once an hour the table of campaigns is read through, page
 * by page, for records that finished longer than campaign_keep_ms ago (as long as history is kept): they go with their
 * idempotency keys.
 *
 * A template serves many campaigns. The same reading marks what those that stay need, then the table of templates is read,
 * and what nobody needs is deleted. A submission stores its template with its campaign's record, and the core hears of the
 * campaign only then: so it holds the template before (rmd_coord_template_hold), and what is held, or came in since the
 * reading began, stays. Deletions leave with the step that decides them, ahead of whatever is stored afterwards; one that a
 * crash undoes is made again. Marks are 64 bits of a hash: two that are alike keep a template too long, never too short. */
#include "coordinator/core/core.h"

enum { EXPIRE_EVERY_MS = 3600 * 1000, EXPIRE_PAGE = 256, EXPIRE_PAGE_BYTES = 1 << 20, CLOSE_A_STEP = 32 };

/* Nothing in memory points to it any more. */
static bool closed(const struct rmd_campaign *k) {
    return !k->n_chunks && !k->n_leases && !k->dirty && !k->sort_scanning && !k->drain_scanning;
}

static void close_some(struct rmd_coord *c) {
    for (int i = 0; i < CLOSE_A_STEP && !rmd_list_empty(&c->closing_campaigns); i++) {
        struct rmd_campaign *k = rmd_container(c->closing_campaigns.next, struct rmd_campaign, life);
        k->closed = closed(k) && rmd_cqs_drop(k);
        rmd_list_remove(&k->life);
        rmd_list_push(k->closed ? &c->finished_campaigns : &c->closing_campaigns, &k->life);
        c->n_finished += k->closed;
        c->more |= k->closed && !rmd_list_empty(&c->closing_campaigns);
    }
}

static void drop(struct rmd_coord *c, struct rmd_campaign *k) {
    rmd_list_remove(&k->life);
    rmd_list_remove(&k->all);
    const Remuda__CampaignRecord *r = k->rec;
    const uint64_t add[] = {r->delivered, r->bounced, r->suppressed, r->expired, r->held, r->uncertain};
    for (size_t i = 0; i < sizeof add / sizeof add[0]; i++)
        c->dropped[i] += add[i];
    rmd_map_remove(&c->campaigns, rmd_slice(k->id.b, sizeof k->id.b));
    c->n_finished--;
    rmd_campaign_free(k);
}

void rmd_template_used(struct rmd_coord *c, const Remuda__CampaignRecord *r) {
    if (c->templates.marking && r->template_hash.len == RMD_HASH_BYTES)
        rmd_set64_add(&c->templates.used, rmd_get_be64(r->template_hash.data));
}

void rmd_coord_template_hold(struct rmd_coord *c, const uint8_t hash[RMD_HASH_BYTES], bool on) {
    uint64_t mark = rmd_get_be64(hash);
    uintptr_t n = (uintptr_t)rmd_map_get_u64(&c->templates.held, mark);
    if (on)
        rmd_map_set_u64(&c->templates.held, mark, (void *)(n + 1));
    else if (n > 1)
        rmd_map_set_u64(&c->templates.held, mark, (void *)(n - 1));
    else
        rmd_map_remove_u64(&c->templates.held, mark);
}

static void sweep_on(struct rmd_coord *c) {
    struct rmd_key from = rmd_key_table('E'), to = rmd_key_table('F');
    if (c->expire_cursor.n) {
        from = c->expire_cursor;
        from.b[from.n++] = 0;
    }
    c->expiring = true;
    rmd_core_scan(c, RMD_READ_TEMPLATES, c, &from, &to, EXPIRE_PAGE, EXPIRE_PAGE_BYTES, true);
}

/* The next page begins behind this one; n 0: there is none. */
static void go_on_behind(struct rmd_key *cursor, const struct rmd_coord_event *e) {
    cursor->n = 0;
    if (!e->n_rows || !e->more)
        return;
    struct rmd_slice last = e->row[e->n_rows - 1].key;
    cursor->n = last.n < RMD_KEY_MAX ? last.n : 0;
    memcpy(cursor->b, last.p, cursor->n);
}

static void read_on(struct rmd_coord *c) {
    struct rmd_key from = rmd_key_table('C'), to = rmd_key_table('D');
    if (c->expire_cursor.n) {
        from = c->expire_cursor;
        from.b[from.n++] = 0;
    } else { /* a new pass */
        rmd_set64_release(&c->templates.used);
        c->templates.marking = true;
    }
    c->expiring = true;
    rmd_core_scan(c, RMD_READ_EXPIRE, c, &from, &to, EXPIRE_PAGE, EXPIRE_PAGE_BYTES, false);
}

static void expire(struct rmd_coord *c, struct rmd_slice key, const Remuda__CampaignRecord *r) {
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(r->id.data, r->id.len));
    bool due = r->finished_wall_ms && c->now.wall_ms - r->finished_wall_ms > c->o.campaign_keep_ms;
    if (!due || (k && !k->closed)) {
        rmd_template_used(c, r);
        return;
    }
    if (k)
        drop(c, k);
    struct rmd_key stored = {.n = key.n < RMD_KEY_MAX ? key.n : RMD_KEY_MAX};
    memcpy(stored.b, key.p, stored.n);
    rmd_core_delete(c, &stored);
    if (*r->idempotency_key) {
        uint8_t hash[RMD_HASH_BYTES];
        struct rmd_sha256 h;
        c->o.sign->sha256_init(&h);
        c->o.sign->sha256_update(&h, r->idempotency_key, strlen(r->idempotency_key));
        c->o.sign->sha256_final(&h, hash);
        struct rmd_key idempotency = rmd_key_idempotency(r->tenant, hash);
        rmd_core_delete(c, &idempotency);
    }
}

void rmd_campaign_expire_scanned(struct rmd_coord *c, const struct rmd_coord_event *e) {
    c->expiring = false;
    for (size_t i = 0; i < e->n_rows; i++) {
        const Remuda__CampaignRecord *r =
            rmd_pb_decode(&remuda__campaign_record__descriptor, e->row[i].value, &c->scratch);
        if (r)
            expire(c, e->row[i].key, r);
    }
    go_on_behind(&c->expire_cursor, e);
    c->expire_at_mono_ms = c->now.mono_ms;
    c->templates.sweeping = !c->expire_cursor.n;
}

void rmd_campaign_sweep_scanned(struct rmd_coord *c, const struct rmd_coord_event *e) {
    c->expiring = false;
    for (size_t i = 0; i < e->n_rows; i++) {
        struct rmd_slice key = e->row[i].key;
        if (key.n != 1 + RMD_HASH_BYTES)
            continue;
        uint64_t mark = rmd_get_be64(key.p + 1);
        struct rmd_key stored = rmd_key_template(key.p + 1);
        if (!rmd_set64_has(&c->templates.used, mark) && !rmd_map_get_u64(&c->templates.held, mark))
            rmd_core_delete(c, &stored);
    }
    go_on_behind(&c->expire_cursor, e);
    if (c->expire_cursor.n)
        return;
    c->templates.marking = c->templates.sweeping = false;
    rmd_set64_release(&c->templates.used);
    c->expire_at_mono_ms = c->now.mono_ms + EXPIRE_EVERY_MS;
}

void rmd_campaign_reap(struct rmd_coord *c) {
    close_some(c);
    while (c->n_finished > RMD_COORD_CAMPAIGNS_KEPT)
        drop(c, rmd_container(c->finished_campaigns.next, struct rmd_campaign, life));
    if (!c->o.campaign_keep_ms || c->expiring || !rmd_core_may_deal(c))
        return;
    if (c->now.mono_ms < c->expire_at_mono_ms)
        rmd_core_wake(c, c->expire_at_mono_ms);
    else if (c->templates.sweeping)
        sweep_on(c);
    else
        read_on(c);
}
