/* Keys of the coordinator's store: one table a letter, big-endian numbers, tenant in every key. Values are the records of proto/remuda.proto.
 *
 * table  key after the letter                                              value               at start
 * A      -                                                                 MetaRecord          yes
 * T      tenant u32                                                        TenantRecord        yes
 * P      tenant u32, stream id u32                                         StreamRecord        yes
 * S      tenant u32, source id u32                                         SourceRecord        yes
 * N      node id u32                                                       NodeRecord          yes
 * C      tenant u32, campaign 16                                           CampaignRecord      yes
 * I      tenant u32, idempotency key                                       IdempotencyRecord   no
 * E      template hash 32                                                  CompiledTemplate    no
 * K      tenant u32, campaign 16, group u32, sequence u32                  Chunk               no
 * B      tenant u32, campaign 16, group u32, sequence u32                  ChunkStateRecord    no
 * Q      tenant u32, provider u32, stream u32, campaign 16, group, seq     QueueRecord         keys and counts (yes)
 * D      tenant u32, provider u32, stream u32, sticky source u32, not_before ms u64, message id 16
 *                                                                          DeferredRecord      heads only (see coord_restore.c)
 * L      node u32, lease id u64                                            LeaseRecord         yes
 * G      kind u8, a u32, b u32, bucket u32 (ledger time / 5 min)           LedgerRecord        yes
 *          kind 1 source x provider (lane), 2 source, 3 network (hash) x provider, 4 sending domain (hash) x provider
 * R      tenant u32, stream u32 (0 all), address hash u64                  SuppressionRecord   yes
 * W      kind u8, a u32, b u32                                             WarmRecord          yes
 *          kinds 1 and 4 as in G; kind 9: source, site                     WarmSiteRecord      yes
 *          kind 18: source, provider (0: all); kind 19: sending domain (hash), provider
 *                                                                          ReputationRecord    yes
 * V      first event's origin u64                                          EventList           no (the shell gives them to history)
 * X      UTC day u32, kind of policy u8, domain (hash u64)                    TlsDayRecord        yes
 * J      listing id u64                                                    ListingRecord       yes
 * Y      tenant u32, provider u32, site u64 (0: all of it)                 SurgeRecord         yes
 * H      tenant u32, provider u32, sending domain (hash) u64                SenderRecord        yes
 * U      incident id u64                                                   IncidentRecord      open ones and the last 1000 (yes)
 *
 * All functions write into a fixed buffer and return the key's length. */
#ifndef REMUDA_KEYS_H
#define REMUDA_KEYS_H

#include <base/text.h>

enum { RMD_KEY_MAX = 64 };

struct rmd_key {
    uint8_t b[RMD_KEY_MAX];
    size_t n;
};
static inline struct rmd_slice rmd_key_slice(const struct rmd_key *k) {
    return rmd_slice(k->b, k->n);
}

/* A chunk's place: the campaign, its group and its sequence within the group. */
struct rmd_chunk_ref {
    struct rmd_id campaign;
    uint32_t group, seq;
};

struct rmd_key rmd_key_table(char table); /* just the letter: start of the table; +1 is its end */
struct rmd_key rmd_key_meta(void);
struct rmd_key rmd_key_tenant(uint32_t tenant);
struct rmd_key rmd_key_stream(uint32_t tenant, uint32_t stream);
struct rmd_key rmd_key_source(uint32_t tenant, uint32_t source);
struct rmd_key rmd_key_node(uint32_t node);
struct rmd_key rmd_key_campaign(uint32_t tenant, const struct rmd_id *campaign);
struct rmd_key rmd_key_template(const uint8_t hash[RMD_HASH_BYTES]);
struct rmd_key rmd_key_chunk(uint32_t tenant, const struct rmd_chunk_ref *c);
struct rmd_key rmd_key_chunk_state(uint32_t tenant, const struct rmd_chunk_ref *c);
struct rmd_key rmd_key_queue(uint32_t tenant, uint32_t provider, uint32_t stream, const struct rmd_chunk_ref *c);
struct rmd_key rmd_key_deferred(uint32_t tenant, uint32_t provider, uint32_t stream, uint32_t sticky_source,
                                int64_t not_before_ms, const struct rmd_id *message);
struct rmd_key rmd_key_lease(uint32_t node, uint64_t lease);
struct rmd_key rmd_key_ledger(uint8_t kind, uint32_t a, uint32_t b, uint32_t bucket);
struct rmd_key rmd_key_warm(uint8_t kind, uint32_t a, uint32_t b);
struct rmd_key rmd_key_suppression(uint32_t tenant, uint32_t stream, uint64_t address_hash);
struct rmd_key rmd_key_incident(uint64_t incident);
struct rmd_key rmd_key_listing(uint64_t listing);
struct rmd_key rmd_key_surge(uint32_t tenant, uint32_t provider, uint64_t site);
struct rmd_key rmd_key_tls(uint32_t day, uint8_t kind, const char *domain);
struct rmd_key rmd_key_sender(uint32_t tenant, uint32_t provider, uint64_t domain);
struct rmd_key rmd_key_events(uint64_t first_origin);
/* The idempotency key is hashed with SHA-256 by the caller: 32 bytes. */
struct rmd_key rmd_key_idempotency(uint32_t tenant, const uint8_t hash[RMD_HASH_BYTES]);
/* Prefixes for scans: all chunks of a campaign, all Q of (provider, stream), all D of (provider, stream, sticky). */
struct rmd_key rmd_key_chunks_of(char table, uint32_t tenant, const struct rmd_id *campaign);
struct rmd_key rmd_key_queue_of(uint32_t tenant, uint32_t provider, uint32_t stream);
struct rmd_key rmd_key_queue_campaign(uint32_t tenant, uint32_t provider, uint32_t stream,
                                      const struct rmd_id *campaign);
struct rmd_key rmd_key_deferred_of(uint32_t tenant, uint32_t provider, uint32_t stream, uint32_t sticky_source);
/* The smallest key that is greater than every key with this prefix. */
struct rmd_key rmd_key_after(const struct rmd_key *prefix);

#endif
