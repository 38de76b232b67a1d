/* The policy in a worker: sources, streams with their keys, providers' limits. A policy is complete and replaces the
 * former one; keys that it still names stay loaded, because parsing one costs a hundred signatures. */
#include "node/core/worker_internal.h"

/* --- keys and streams */

static struct rmd_wkey *load_key(struct rmd_worker *w, const Remuda__DkimKey *k, char *err, size_t err_n) {
    struct rmd_buf id = {0};
    rmd_buf_add(&id, k->domain, strlen(k->domain) + 1);
    rmd_buf_add(&id, k->selector, strlen(k->selector) + 1);
    rmd_buf_add(&id, k->pem.data, k->pem.len);
    struct rmd_wkey *key = rmd_map_get(&w->keys, rmd_buf_slice(&id));
    if (!key) {
        void *handle;
        enum rmd_key_kind kind;
        if (w->o.sign->key_load(rmd_slice(k->pem.data, k->pem.len), &handle, &kind, err, err_n) == RMD_OK) {
            key = rmd_alloc(sizeof *key);
            key->handle = handle;
            key->kind = kind;
            rmd_map_set(&w->keys, rmd_buf_slice(&id), key);
        }
    }
    if (key)
        key->used_revision = w->policies;
    rmd_buf_release(&id);
    return key;
}

static void drop_keys(struct rmd_worker *w, uint64_t but_revision) {
    uint32_t it = 0;
    struct rmd_slice name;
    void *v;
    while (rmd_map_next(&w->keys, &it, &name, &v)) {
        struct rmd_wkey *key = v;
        if (key->used_revision == but_revision)
            continue;
        if (w->renderer)
            rmd_renderer_forget_keys(w->renderer);
        w->o.sign->key_free(key->handle);
        free(key);
        rmd_map_remove(&w->keys, name);
    }
}

static enum rmd_dkim_canon canon(const char *s, bool *known) {
    if (strcmp(s, "relaxed") != 0 && strcmp(s, "simple") != 0)
        *known = false;
    return s[0] == 's' ? RMD_CANON_SIMPLE : RMD_CANON_RELAXED;
}

static void set_canon(const char *text, struct rmd_render_stream *r, bool *known) {
    char header[16];
    const char *slash = strchr(text, '/');
    *known = true;
    if (!*text) {
        r->header_canon = r->body_canon = RMD_CANON_RELAXED;
        return;
    }
    rmd_copy_slice(header, sizeof header, rmd_slice(text, slash ? (size_t)(slash - text) : strlen(text)));
    r->header_canon = canon(header, known);
    r->body_canon = slash ? canon(slash + 1, known) : RMD_CANON_SIMPLE; /* RFC 6376 section 3.5: the body's default */
}

static void set_stream(struct rmd_worker *w, struct rmd_wstream *s, const Remuda__StreamPolicy *pb) {
    char err[160] = "", text[320];
    bool known;
    s->pb = pb;
    s->key = pb->n_key ? rmd_arena_alloc(&w->policy_arena, pb->n_key * sizeof *s->key) : NULL;
    s->render = (struct rmd_render_stream){
        .sending_domain = pb->sending_domain,
        .unsubscribe_url = pb->unsubscribe_url,
        .unsubscribe_mailto = pb->unsubscribe_mailto,
        .stream_name = pb->name,
        .tenant = pb->tenant,
        .verp_secret = rmd_slice(pb->verp_secret.data, pb->verp_secret.len),
        .return_domain = pb->return_domain,
        .key = s->key,
        .n_keys = pb->n_key,
        .one_signature = pb->one_signature,
    };
    set_canon(pb->canonicalization, &s->render, &known);
    if (!known) {
        s->broken = true;
        (void)rmd_format(text, sizeof text, "stream %s: canonicalization \"%s\" is unknown; nothing of it is sent",
                         pb->name, pb->canonicalization);
        rmd_worker_say(w, RMD_MAIL_TROUBLE, 0, 0, text);
    }
    for (size_t i = 0; i < pb->n_key; i++) {
        struct rmd_wkey *key = load_key(w, pb->key[i], err, sizeof err);
        if (!key) {
            s->broken = true;
            (void)rmd_format(text, sizeof text,
                             "stream %s: the DKIM key %s._domainkey.%s can't be used (%s); nothing of it is sent",
                             pb->name, pb->key[i]->selector, pb->key[i]->domain, err);
            rmd_worker_say(w, RMD_MAIL_TROUBLE, 0, 0, text);
            continue;
        }
        s->key[i] = (struct rmd_dkim_key){
            .domain = pb->key[i]->domain, .selector = pb->key[i]->selector, .kind = key->kind, .handle = key->handle};
    }
}

struct rmd_wstream *rmd_worker_stream(struct rmd_worker *w, uint32_t id) {
    for (size_t i = 0; w->policy && i < w->policy->n_stream; i++)
        if (w->stream[i].pb->id == id)
            return &w->stream[i];
    return NULL;
}

/* --- sources */

/* A source that is to go slower: its lanes' ceilings follow (rmd_lane_paced), and a lane that has none, or goes far below it,
 * is slowed from what it lately did. It rises again by itself, below the new ceilings. */
static void set_pace(struct rmd_worker *w, struct rmd_wsource *s, uint32_t percent) {
    bool slower = percent && percent < 100 && (!s->pace_percent || percent < s->pace_percent);
    s->pace_percent = percent;
    if (!slower)
        return;
    rmd_list_for(it, &s->lanes) {
        struct rmd_lane *lane = rmd_container(it, struct rmd_lane, of_source);
        if (lane->pacer.window_n || lane->pacer.window_last)
            rmd_pacer_slow(&lane->pacer, w->now.mono_ms, 0);
    }
}

static void set_source(struct rmd_worker *w, const Remuda__SourcePolicy *pb) {
    struct rmd_wsource *s = rmd_map_get_u64(&w->sources, pb->id);
    if (!s) {
        s = rmd_alloc(sizeof *s);
        s->id = pb->id;
        rmd_list_init(&s->lanes);
        rmd_map_set_u64(&w->sources, pb->id, s);
    }
    s->known = true;
    s->state = pb->state < RMD_SOURCE_STATE_COUNT ? (enum rmd_source_state)pb->state : RMD_SOURCE_PAUSED;
    s->quarantined = pb->quarantined;
    set_pace(w, s, pb->pace_percent);
    if (rmd_addr_parse(pb->public_address, &s->public_address) != RMD_OK)
        s->public_address.family = 0;
    rmd_copy(s->bind_text, sizeof s->bind_text, *pb->bind ? pb->bind : pb->public_address);
    struct rmd_addr was = s->bind;
    if (rmd_addr_parse(s->bind_text, &s->bind) != RMD_OK)
        s->bind.family = 0;
    s->family = s->bind.family;
    if (!rmd_addr_eq(&was, &s->bind))
        s->no_address_until_ms = 0;
    s->identity += !rmd_addr_eq(&was, &s->bind) || strcmp(s->helo, pb->helo) != 0;
    rmd_copy(s->helo, sizeof s->helo, pb->helo);
    free(s->quarantined_provider);
    s->quarantined_provider =
        rmd_memdup(pb->quarantined_provider, pb->n_quarantined_provider * sizeof *pb->quarantined_provider);
    s->n_quarantined = pb->n_quarantined_provider;
    rmd_worker_sites_given(s, pb);
}

static bool in_quarantine(const struct rmd_wsource *s, uint32_t provider) {
    if (s->quarantined)
        return true;
    for (size_t i = 0; i < s->n_quarantined; i++)
        if (s->quarantined_provider[i] == provider)
            return true;
    return false;
}

/* What it told of a rest is over before its time. */
static void stop_lifted(struct rmd_worker *w, struct rmd_lane *lane) {
    rmd_worker_alarms_anew(lane, 0);
    rmd_worker_pace_changed(w, lane, true);
}

static void set_lane(struct rmd_worker *w, struct rmd_lane *lane) {
    lane->policy = NULL;
    for (size_t i = 0; i < w->policy->n_provider; i++)
        if (w->policy->provider[i]->id == lane->provider)
            lane->policy = w->policy->provider[i];
    uint32_t rate = lane->policy ? lane->policy->rate_per_minute : 0;
    if (lane->share_rate && (!rate || lane->share_rate < rate))
        rate = lane->share_rate;
    rmd_pacer_ceiling(&lane->pacer, rmd_lane_paced(lane, rate));
    rmd_pacer_ceiling(&lane->connects, rmd_lane_paced(lane, lane->policy ? lane->policy->connects_per_minute : 0));
    if (rmd_worker_settle_stop(&lane->stop, in_quarantine(lane->source, lane->provider)))
        stop_lifted(w, lane);
}

static void settle_lane(struct rmd_worker *w, struct rmd_lane *lane) {
    rmd_worker_settle_sites(w, lane, in_quarantine(lane->source, lane->provider));
    enum rmd_return_reason blocked = rmd_worker_lane_blocked(w, lane);
    rmd_list_for_safe(it, &lane->idle) {
        struct rmd_wconn *c = rmd_container(it, struct rmd_wconn, idle_of_lane);
        if (c->identity != lane->source->identity)
            rmd_worker_conn_quit(w, c);
    }
    if (blocked == RMD_RETURN_SOURCE_STOPPED)
        rmd_worker_stop_lane(w, lane, blocked);
    else if (blocked != RMD_RETURN_NONE)
        rmd_worker_return_lane(w, lane, blocked);
    else
        rmd_worker_wake_lane(w, lane);
}

static void settle_sources(struct rmd_worker *w) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->sources, &it, NULL, &v))
        ((struct rmd_wsource *)v)->known = false;
    for (size_t i = 0; i < w->policy->n_source; i++)
        if (w->o.workers < 2 || w->policy->source[i]->id % w->o.workers == w->o.index)
            set_source(w, w->policy->source[i]);
    it = 0;
    while (
        rmd_map_next(&w->lanes, &it, NULL, &v)) /* all of them, before anything looks at a former policy's memory */
        set_lane(w, v);
    it = 0;
    while (rmd_map_next(&w->sources, &it, NULL, &v)) {
        struct rmd_wsource *s = v;
        rmd_list_for_safe(l, &s->lanes) settle_lane(w, rmd_container(l, struct rmd_lane, of_source));
    }
}

/* --- the whole */

static void set_networks(struct rmd_worker *w) {
    char text[160];
    w->n_allow = 0;
    for (size_t i = 0; i < w->policy->n_allow_special && w->n_allow < RMD_NETS_MAX; i++) {
        if (rmd_prefix_parse(w->policy->allow_special[i], &w->allow[w->n_allow]) == RMD_OK) {
            w->n_allow++;
            continue;
        }
        (void)rmd_format(text, sizeof text, "allow_special: \"%.64s\" is not a network; it allows nothing",
                         w->policy->allow_special[i]);
        rmd_worker_say(w, RMD_MAIL_TROUBLE, 0, 0, text);
    }
}

/* A domain's provider was found by the former list: when that changed, all of them are looked up again. */
static void check_providers(struct rmd_worker *w) {
    uint64_t digest = 0;
    for (size_t i = 0; i < w->policy->n_provider; i++) {
        const Remuda__ProviderPolicy *p = w->policy->provider[i];
        digest = rmd_mix64(digest ^ p->id);
        for (size_t j = 0; j < p->n_mx_suffix; j++)
            digest = rmd_mix64(digest ^ rmd_fnv64(rmd_slice_str(p->mx_suffix[j])));
    }
    if (digest == w->providers_digest)
        return;
    w->providers_digest = digest;
    uint32_t it = 0;
    void *d;
    while (rmd_map_next(&w->domains, &it, NULL, &d))
        ((struct rmd_wdomain *)d)->until_ms = 0;
}

int rmd_worker_policy(struct rmd_worker *w, struct rmd_slice bytes) {
    struct rmd_arena arena = {0};
    Remuda__Policy *policy = rmd_pb_decode(&remuda__policy__descriptor, bytes, &arena);
    if (!policy) {
        rmd_arena_release(&arena);
        return RMD_EFORMAT;
    }
    rmd_arena_release(&w->policy_arena);
    w->policy_arena = arena;
    w->policy = policy;
    w->policies++;
    w->stream = policy->n_stream ? rmd_arena_alloc(&w->policy_arena, policy->n_stream * sizeof *w->stream) : NULL;
    for (size_t i = 0; i < policy->n_stream; i++)
        set_stream(w, &w->stream[i], policy->stream[i]);
    drop_keys(w, w->policies);
    set_networks(w);
    check_providers(w);
    settle_sources(w);
    rmd_worker_pace_again(w);
    if (w->valid_until_ms)
        rmd_worker_arm(w, &w->valid_timer, w->valid_until_ms - rmd_worker_tx_ms(w) + 1);
    return RMD_OK;
}

void rmd_worker_policy_release(struct rmd_worker *w) {
    drop_keys(w, 0);
    rmd_map_release(&w->keys);
    rmd_arena_release(&w->policy_arena);
    w->policy = NULL;
}
