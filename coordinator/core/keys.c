/* Keys of the coordinator's store (see keys.h). Fixed-width big-endian parts, so that byte order is numeric order. */
#include "coordinator/core/keys.h"

static void add(struct rmd_key *k, const void *p, size_t n) {
    memcpy(k->b + k->n, p, n);
    k->n += n;
}
static void add8(struct rmd_key *k, uint8_t v) {
    k->b[k->n++] = v;
}
static void add32(struct rmd_key *k, uint32_t v) {
    rmd_put_be32(k->b + k->n, v);
    k->n += 4;
}
static void add64(struct rmd_key *k, uint64_t v) {
    rmd_put_be64(k->b + k->n, v);
    k->n += 8;
}
static void add_ref(struct rmd_key *k, const struct rmd_chunk_ref *c) {
    add(k, c->campaign.b, sizeof c->campaign.b);
    add32(k, c->group);
    add32(k, c->seq);
}

struct rmd_key rmd_key_table(char table) {
    return (struct rmd_key){.b = {(uint8_t)table}, .n = 1};
}

static struct rmd_key of_tenant(char table, uint32_t tenant) {
    struct rmd_key k = rmd_key_table(table);
    add32(&k, tenant);
    return k;
}

struct rmd_key rmd_key_meta(void) {
    return rmd_key_table('A');
}
struct rmd_key rmd_key_tenant(uint32_t tenant) {
    return of_tenant('T', tenant);
}
struct rmd_key rmd_key_stream(uint32_t tenant, uint32_t stream) {
    struct rmd_key k = of_tenant('P', tenant);
    add32(&k, stream);
    return k;
}
struct rmd_key rmd_key_source(uint32_t tenant, uint32_t source) {
    struct rmd_key k = of_tenant('S', tenant);
    add32(&k, source);
    return k;
}
struct rmd_key rmd_key_node(uint32_t node) {
    return of_tenant('N', node);
}
struct rmd_key rmd_key_campaign(uint32_t tenant, const struct rmd_id *campaign) {
    return rmd_key_chunks_of('C', tenant, campaign);
}
struct rmd_key rmd_key_template(const uint8_t hash[RMD_HASH_BYTES]) {
    struct rmd_key k = rmd_key_table('E');
    add(&k, hash, RMD_HASH_BYTES);
    return k;
}
struct rmd_key rmd_key_chunk(uint32_t tenant, const struct rmd_chunk_ref *c) {
    struct rmd_key k = of_tenant('K', tenant);
    add_ref(&k, c);
    return k;
}
struct rmd_key rmd_key_chunk_state(uint32_t tenant, const struct rmd_chunk_ref *c) {
    struct rmd_key k = of_tenant('B', tenant);
    add_ref(&k, c);
    return k;
}
struct rmd_key rmd_key_queue(uint32_t tenant, uint32_t provider, uint32_t stream, const struct rmd_chunk_ref *c) {
    struct rmd_key k = rmd_key_queue_of(tenant, provider, stream);
    add_ref(&k, c);
    return k;
}
struct rmd_key rmd_key_deferred(uint32_t tenant, uint32_t provider, uint32_t stream, uint32_t sticky_source,
                                int64_t not_before_ms, const struct rmd_id *message) {
    struct rmd_key k = rmd_key_deferred_of(tenant, provider, stream, sticky_source);
    add64(&k, not_before_ms < 0 ? 0 : (uint64_t)not_before_ms);
    add(&k, message->b, sizeof message->b);
    return k;
}
struct rmd_key rmd_key_lease(uint32_t node, uint64_t lease) {
    struct rmd_key k = of_tenant('L', node);
    add64(&k, lease);
    return k;
}
struct rmd_key rmd_key_ledger(uint8_t kind, uint32_t a, uint32_t b, uint32_t bucket) {
    struct rmd_key k = rmd_key_table('G');
    add8(&k, kind);
    add32(&k, a);
    add32(&k, b);
    add32(&k, bucket);
    return k;
}
struct rmd_key rmd_key_warm(uint8_t kind, uint32_t a, uint32_t b) {
    struct rmd_key k = rmd_key_table('W');
    add8(&k, kind);
    add32(&k, a);
    add32(&k, b);
    return k;
}
struct rmd_key rmd_key_suppression(uint32_t tenant, uint32_t stream, uint64_t address_hash) {
    struct rmd_key k = of_tenant('R', tenant);
    add32(&k, stream);
    add64(&k, address_hash);
    return k;
}
struct rmd_key rmd_key_incident(uint64_t incident) {
    struct rmd_key k = rmd_key_table('U');
    add64(&k, incident);
    return k;
}
struct rmd_key rmd_key_listing(uint64_t listing) {
    struct rmd_key k = rmd_key_table('J');
    add64(&k, listing);
    return k;
}
struct rmd_key rmd_key_surge(uint32_t tenant, uint32_t provider, uint64_t site) {
    struct rmd_key k = of_tenant('Y', tenant);
    add32(&k, provider);
    add64(&k, site);
    return k;
}
struct rmd_key rmd_key_tls(uint32_t day, uint8_t kind, const char *domain) {
    struct rmd_key k = rmd_key_table('X');
    add32(&k, day);
    add(&k, &kind, 1);
    add64(&k, rmd_fnv64(rmd_slice_str(domain)));
    return k;
}
struct rmd_key rmd_key_sender(uint32_t tenant, uint32_t provider, uint64_t domain) {
    struct rmd_key k = of_tenant('H', tenant);
    add32(&k, provider);
    add64(&k, domain);
    return k;
}
struct rmd_key rmd_key_events(uint64_t first_origin) {
    struct rmd_key k = rmd_key_table('V');
    add64(&k, first_origin);
    return k;
}
struct rmd_key rmd_key_idempotency(uint32_t tenant, const uint8_t hash[RMD_HASH_BYTES]) {
    struct rmd_key k = of_tenant('I', tenant);
    add(&k, hash, RMD_HASH_BYTES);
    return k;
}
struct rmd_key rmd_key_chunks_of(char table, uint32_t tenant, const struct rmd_id *campaign) {
    struct rmd_key k = of_tenant(table, tenant);
    add(&k, campaign->b, sizeof campaign->b);
    return k;
}
struct rmd_key rmd_key_queue_of(uint32_t tenant, uint32_t provider, uint32_t stream) {
    struct rmd_key k = of_tenant('Q', tenant);
    add32(&k, provider);
    add32(&k, stream);
    return k;
}
struct rmd_key rmd_key_queue_campaign(uint32_t tenant, uint32_t provider, uint32_t stream,
                                      const struct rmd_id *campaign) {
    struct rmd_key k = rmd_key_queue_of(tenant, provider, stream);
    add(&k, campaign->b, sizeof campaign->b);
    return k;
}
struct rmd_key rmd_key_deferred_of(uint32_t tenant, uint32_t provider, uint32_t stream, uint32_t sticky_source) {
    struct rmd_key k = of_tenant('D', tenant);
    add32(&k, provider);
    add32(&k, stream);
    add32(&k, sticky_source);
    return k;
}
struct rmd_key rmd_key_after(const struct rmd_key *prefix) {
    struct rmd_key k = *prefix;
    while (k.n && k.b[k.n - 1] == 0xff)
        k.n--;
    if (k.n)
        k.b[k.n - 1]++;
    return k; /* a table's letter is never 0xff, so it never runs empty */
}
