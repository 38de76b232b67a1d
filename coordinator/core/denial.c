/* Denials that count on the second: refusals in words that are usually about an unknown user, and not always (a rule's action
 * suppress_second; Exchange Online's "550 5.4.1 Recipient address rejected: Access denied" also comes from a tenant that is set up
 * wrongly). The message has bounced; the address is remembered as denied once: pending, not suppressed, so that the next message
 * contacts it, and the receiver's next answer decides. Denied again: suppressed, as by a hard bounce. Delivered, taken back by a person,
 * or nothing heard for RMD_DENIAL_LIFE_MS: forgotten.
 *
 * A provider in a surge of unknown users isn't believed (surge.h): a first denial in it isn't remembered, nor are those on the way into
 * it; a second one is pending with the surge.
 *
 * The row in the store is the suppression's (table R, pending, `denials`), written with the outcome. In memory: RMD_DENIALS_MAX
 * addresses at most, without their text; the one that was denied longest ago makes room. */
#include "coordinator/core/surge_internal.h"

enum { FORGET_A_TICK = 1000 };

struct denial {
    struct rmd_list link;
    uint64_t hash, site;
    uint32_t tenant, provider;
    int64_t wall_ms;
};

void rmd_denials_init(struct rmd_coord *c) {
    rmd_list_init(&c->denials);
}

static void drop(struct rmd_coord *c, struct denial *d) {
    rmd_map_remove_u64(&c->denials_by_hash, d->hash);
    rmd_list_remove(&d->link);
    free(d);
}

/* And its row: nothing else is written in its place. */
static void forget(struct rmd_coord *c, struct denial *d) {
    struct rmd_key k = rmd_key_suppression(d->tenant, 0, d->hash);
    rmd_core_delete(c, &k);
    drop(c, d);
}

static struct denial *oldest(struct rmd_coord *c) {
    return rmd_list_empty(&c->denials) ? NULL : rmd_container(c->denials.next, struct denial, link);
}

static struct denial *add(struct rmd_coord *c, uint32_t tenant, uint64_t hash) {
    if (c->denials_by_hash.n >= RMD_DENIALS_MAX)
        forget(c, oldest(c));
    struct denial *d = rmd_alloc(sizeof *d);
    d->tenant = tenant;
    d->hash = hash;
    rmd_map_set_u64(&c->denials_by_hash, hash, d);
    rmd_list_push(&c->denials, &d->link);
    return d;
}

static void write_row(struct rmd_coord *c, const struct denial *d, struct rmd_slice email, const Remuda__Outcome *o) {
    Remuda__SuppressionRecord r = REMUDA__SUPPRESSION_RECORD__INIT;
    r.address = rmd_arena_str(&c->scratch, email);
    r.reason = (char *)(uintptr_t) "denied once";
    r.evidence = (char *)(uintptr_t)rmd_suppress_evidence(c, o);
    r.wall_ms = d->wall_ms;
    r.confirmed = true;
    r.pending = true;
    r.denials = 1;
    r.provider = d->provider;
    r.site = d->site;
    struct rmd_key k = rmd_key_suppression(d->tenant, 0, d->hash);
    rmd_core_put(c, &k, &r);
}

void rmd_denial(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                const Remuda__Outcome *o) {
    uint64_t hash = rmd_address_hash(tenant, email), site = rmd_surge_site_of(c, provider, email);
    if (rmd_suppress_has(c, 0, hash))
        return;
    const struct rmd_surge_bounce *held = rmd_surge_bounce_find(c, hash);
    struct denial *d = rmd_map_get_u64(&c->denials_by_hash, hash);
    if (d || (held && held->pending)) { /* pending with a surge: it was denied before, too */
        if (d)
            forget(c, d);
        rmd_suppress_bounce(c, tenant, provider, email, o);
        return;
    }
    const struct rmd_surge_place *p = rmd_surge_place_find(c, tenant, provider, site);
    if (p && p->s.on)
        return;
    d = add(c, tenant, hash);
    d->provider = provider;
    d->site = site;
    d->wall_ms = c->now.wall_ms;
    write_row(c, d, email, o);
}

void rmd_denial_accepted(struct rmd_coord *c, uint32_t tenant, struct rmd_slice email) {
    if (rmd_list_empty(&c->denials))
        return;
    struct denial *d = rmd_map_get_u64(&c->denials_by_hash, rmd_address_hash(tenant, email));
    if (!d)
        return;
    forget(c, d);
    Remuda__EventRecord *e = rmd_core_event(c, "suppression.removed");
    e->recipient = rmd_arena_str(rmd_arena_after(c), email);
    e->text = (char *)(uintptr_t) "it was denied once, and has accepted mail since";
}

bool rmd_denial_forget(struct rmd_coord *c, uint64_t hash) {
    struct denial *d = rmd_map_get_u64(&c->denials_by_hash, hash);
    if (d)
        drop(c, d);
    return d;
}

void rmd_denials_surge(struct rmd_coord *c, const struct rmd_surge_place *p, int64_t since_wall_ms) {
    rmd_list_for_safe(it, &c->denials) {
        struct denial *d = rmd_container(it, struct denial, link);
        if (d->tenant == p->tenant && d->provider == p->provider && d->site == p->site && d->wall_ms >= since_wall_ms)
            forget(c, d);
    }
}

void rmd_denials_tick(struct rmd_coord *c) {
    struct denial *d;
    for (int n = 0; n < FORGET_A_TICK && (d = oldest(c)) && c->now.wall_ms - d->wall_ms > RMD_DENIAL_LIFE_MS; n++)
        forget(c, d);
}

/* ---------------------------------------------------------------- start, end */

void rmd_denial_restore(struct rmd_coord *c, uint32_t tenant, uint64_t hash, const Remuda__SuppressionRecord *r) {
    if (rmd_map_get_u64(&c->denials_by_hash, hash) || c->denials_by_hash.n >= RMD_DENIALS_MAX)
        return;
    struct denial *d = add(c, tenant, hash);
    d->provider = r->provider;
    d->site = r->site;
    d->wall_ms = r->wall_ms;
}

static int by_time(const void *a, const void *b) {
    const struct denial *x = *(struct denial *const *)a, *y = *(struct denial *const *)b;
    return x->wall_ms < y->wall_ms ? -1 : x->wall_ms > y->wall_ms ? 1 : x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The rows came in the order of their keys. */
void rmd_denials_restored(struct rmd_coord *c) {
    struct denial **v = rmd_alloc((c->denials_by_hash.n + 1) * sizeof(struct denial *));
    size_t n = 0;
    rmd_list_for_safe(it, &c->denials) {
        v[n++] = rmd_container(it, struct denial, link);
        rmd_list_remove(it);
    }
    qsort(v, n, sizeof *v, by_time);
    for (size_t i = 0; i < n; i++)
        rmd_list_push(&c->denials, &v[i]->link);
    free(v);
}

void rmd_denials_free(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->denials) drop(c, rmd_container(it, struct denial, link));
    rmd_map_release(&c->denials_by_hash);
}
