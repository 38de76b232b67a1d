/* Finished campaigns leave memory, and at last the store.
 *
 * Memory keeps the newest RMD_COORD_CAMPAIGNS_KEPT for views. Once an hour the table of campaigns is read through, page
 * by page, for records that finished longer than campaign_keep_ms ago (as long as history is kept): they go with their
 * idempotency keys. Templates stay: one serves many campaigns, also those that are just being submitted. */
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

static void read_on(struct rmd_coord *c) {
    struct rmd_key from = rmd_key_table('C'), to = rmd_key_table('D');
    if (c->expire_cursor.n) {
        from = c->expire_cursor;
        from.b[from.n++] = 0;
    }
    c->expiring = true;
    rmd_core_scan(c, RMD_READ_EXPIRE, c, &from, &to, EXPIRE_PAGE, EXPIRE_PAGE_BYTES, false);
}

static void expire(struct rmd_coord *c, struct rmd_slice key, const Remuda__CampaignRecord *r) {
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(r->id.data, r->id.len));
    bool due = r->finished_wall_ms && c->now.wall_ms - r->finished_wall_ms > c->o.campaign_keep_ms;
    if (!due || (k && !k->closed))
        return;
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
    c->expire_cursor.n = 0;
    if (e->n_rows && e->more) {
        struct rmd_slice last = e->row[e->n_rows - 1].key;
        c->expire_cursor.n = last.n < RMD_KEY_MAX ? last.n : 0;
        memcpy(c->expire_cursor.b, last.p, c->expire_cursor.n);
    }
    c->expire_at_mono_ms = c->now.mono_ms + (c->expire_cursor.n ? 0 : EXPIRE_EVERY_MS);
}

void rmd_campaign_reap(struct rmd_coord *c) {
    close_some(c);
    while (c->n_finished > RMD_COORD_CAMPAIGNS_KEPT)
        drop(c, rmd_container(c->finished_campaigns.next, struct rmd_campaign, life));
    if (!c->o.campaign_keep_ms || c->expiring || !rmd_core_may_deal(c))
        return;
    if (c->now.mono_ms >= c->expire_at_mono_ms)
        read_on(c);
    else
        rmd_core_wake(c, c->expire_at_mono_ms);
}
