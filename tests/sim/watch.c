/* Blocklists and the nodes' resolvers. What is listed is decided here and known to the checker alone; coordinator and nodes see
 * answers. Behaviours after RFC 5782 and what lists are known to do: codes with a meaning, test entries, lists that end and
 * list everything, lists that are silent, answers through open resolvers, resolvers that rewrite.
 *
 *   act.bl.test   honest; its servers fail now and then; a source that a receiver blocks is listed on it in half of the cases
 *   slow.bl.test  honest, of the slow tier; likewise
 *   bad.bl.test   never lists anybody: now and then it lists every address, every name, or nothing, its test entry included
 *   mute.bl.test  now and then it doesn't answer
 *   open.bl.test  always says that it was asked through an open resolver */
#include "tests/sim/sim.h"

#include "proto/blocklist.h"

enum { ACT, SLOW, BAD, MUTE, OPEN, LISTS };
static const char *const zones[LISTS] = {[ACT] = "act.bl.test",
                                         [SLOW] = "slow.bl.test",
                                         [BAD] = "bad.bl.test",
                                         [MUTE] = "mute.bl.test",
                                         [OPEN] = "open.bl.test"};

/* Another throw of the dice for each stretch of time, without touching the world's own. */
static uint64_t mood(const struct sim *s, uint64_t what, int64_t stretch_ms) {
    return rmd_mix64(s->seed ^ rmd_mix64(what ^ (uint64_t)(s->now_ms / stretch_ms) << 8));
}

/* ---- setting up */

static Remuda__BlocklistCode code_of(uint32_t address, uint32_t meaning, const char *text) {
    Remuda__BlocklistCode c = REMUDA__BLOCKLIST_CODE__INIT;
    c.address = address;
    c.meaning = meaning;
    c.text = (char *)(uintptr_t)text;
    return c;
}

void sim_watch_config(struct sim *s) {
    static Remuda__BlocklistCode code[2]; /* made once in the program, never changed */
    static Remuda__BlocklistCode *codes[2] = {&code[0], &code[1]};
    static char *named[] = {(char *)(uintptr_t) "list.test"};
    static Remuda__Blocklist list[LISTS];
    static Remuda__Blocklist *lists[LISTS];
    code[0] = code_of(0x7f000002, RMD_MEANS_LISTED, "bad sender");
    code[1] = code_of(0x7ffffffe, RMD_MEANS_ERROR, "asked through an open resolver");
    for (int i = 0; i < LISTS; i++) {
        Remuda__Blocklist *l = lists[i] = &list[i];
        remuda__blocklist__init(l);
        l->name = l->zone = (char *)(uintptr_t)zones[i];
        l->kinds = RMD_LIST_IP4;
        l->tier = i == SLOW ? RMD_TIER_SLOW : RMD_TIER_ACT;
        l->interval_ms = 60000;
        l->n_code = 2;
        l->code = codes;
        l->per_hour = 2000;
        l->per_day = 20000;
        l->neighbours = i == ACT || i == BAD;
        l->enabled = true;
        l->named = named;
        l->n_named = i == ACT;
    }
    s->watch = rmd_mix64(s->seed ^ 0x77617463) % 3 != 0;
    s->watch_settings = (struct rmd_watch_settings){.enabled = s->watch,
                                                    .per_hour = 8000,
                                                    .per_day = 80000,
                                                    .neighbours = 3,
                                                    .neighbours_every_ms = 120000,
                                                    .list = lists,
                                                    .n_lists = LISTS};
    s->coord_options.watch = &s->watch_settings;
}

/* ---- what is listed */

/* Whether this list has the source because of that block. */
static bool lists(const struct sim *s, int list, uint32_t block, uint32_t source) {
    uint64_t h = rmd_mix64(s->seed ^ (block + 1) * 0x9e3779b97f4a7c15);
    bool on = list == ACT ? h % 2 == 0 : list == SLOW ? h % 3 == 0 : false;
    return on && s->block[block].source == source;
}

static bool listed(const struct sim *s, int list, uint32_t source, int64_t at_ms) {
    for (uint32_t i = 0; i < s->n_blocks; i++)
        if (lists(s, list, i, source) && at_ms >= s->block[i].from_ms && at_ms < s->block[i].to_ms)
            return true;
    return false;
}

static bool was_ever_listed(const struct sim *s, int list, uint32_t source) {
    for (uint32_t i = 0; i < s->n_blocks; i++)
        if (lists(s, list, i, source))
            return true;
    return false;
}

static int list_of(const char *name) {
    for (int i = 0; i < LISTS; i++)
        if (strcmp(zones[i], name) == 0)
            return i;
    return -1;
}

/* ---- answers */

static void answer(struct rmd_addr_answer *a, uint32_t code) {
    *a = (struct rmd_addr_answer){.status = RMD_DNS_OK, .ttl_s = 5, .n = 1};
    a->addr[0].family = 4;
    rmd_put_be32(a->addr[0].b, code);
}

static void no_answer(struct rmd_addr_answer *a, const char *why) {
    *a = (struct rmd_addr_answer){.status = RMD_DNS_TEMPFAIL};
    rmd_copy(a->detail, sizeof a->detail, why);
}

/* "4.3.2.1.zone": the address, or family 0 for another name. */
static struct rmd_addr asked(const char *name, const char *zone) {
    struct rmd_addr a = {0}, r;
    char label[64];
    size_t n = strlen(name) - strlen(zone) - 1;
    if (n < sizeof label && rmd_copy_slice(label, sizeof label, rmd_slice(name, n)) &&
        rmd_addr_parse(label, &r) == RMD_OK)
        a = (struct rmd_addr){.family = 4, .b = {r.b[3], r.b[2], r.b[1], r.b[0]}};
    return a;
}

static bool misbehaves(const struct sim *s, int list, const struct rmd_addr *a, struct rmd_addr_answer *out) {
    if (list == OPEN) {
        answer(out, 0x7ffffffe);
        return true;
    }
    if (list == MUTE && !s->quiet_faults && mood(s, MUTE, 60000) % 3 == 0) {
        no_answer(out, "timeout after 3 tries");
        return true;
    }
    if ((list == ACT || list == SLOW) && !s->quiet_faults && mood(s, 200 + (uint64_t)list, 50000) % 3 == 0) {
        no_answer(out, "SERVFAIL"); /* of its servers, for a moment */
        return true;
    }
    if (list != BAD || s->quiet_faults)
        return false;
    switch (mood(s, BAD, 20000) % 6) {
    case 0: /* every address */
        if (a->family)
            answer(out, 0x7f000002);
        return a->family;
    case 1: /* every name */
        answer(out, 0x7f000002);
        return true;
    case 2: /* nothing: it has ended */
        *out = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 5};
        return true;
    default:
        return false;
    }
}

void sim_dnsbl(struct sim *s, uint32_t node, const char *name, struct rmd_addr_answer *out) {
    int list = 0;
    while (list < LISTS && !rmd_has_suffix(name, zones[list]))
        list++;
    *out = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 5};
    if (list == LISTS) {
        sim_broken(s, "only lists are asked", "%s looks up %s", s->node[node].name, name);
        return;
    }
    struct rmd_addr a = asked(name, zones[list]);
    if (misbehaves(s, list, &a, out))
        return;
    static const uint8_t entry[4] = {127, 0, 0, 2};
    int source = a.family ? sim_source_of(s, &a) : -1;
    if ((a.family && memcmp(a.b, entry, 4) == 0) || (source >= 0 && listed(s, list, (uint32_t)source, s->now_ms)))
        answer(out, 0x7f000002);
    else if (!s->quiet_faults && mood(s, 100 + node, 90000) % 8 == 0) /* this node's resolver rewrites */
        answer(out, 0xcb007109);
}

/* ---- what the coordinator says about listings */

/* "20.0.1.1 is on act.bl.test (..." or "20.0.1.1 and act.bl.test: ..." */
static bool parse(const char *text, const char *between, char subject[64], char list[64]) {
    const char *at = strstr(text, between);
    if (!at || !rmd_copy_slice(subject, 64, rmd_slice(text, (size_t)(at - text))))
        return false;
    at += strlen(between);
    return rmd_copy_slice(list, 64, rmd_slice(at, strcspn(at, " :(")));
}

static int source_named(const struct sim *s, const char *address) {
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->source[i].address, address) == 0)
            return (int)i;
    return -1;
}

/* at_ms: when it was found, -1: nobody can tell. */
static void check_found(struct sim *s, const char *text, int64_t at_ms) {
    char subject[64], list[64];
    if (!parse(text, " is on ", subject, list))
        return;
    int l = list_of(list), x = source_named(s, subject);
    bool so = x >= 0 && (at_ms < 0 ? was_ever_listed(s, l, (uint32_t)x)
                                   : listed(s, l, (uint32_t)x, at_ms) || listed(s, l, (uint32_t)x, at_ms - 120000));
    if (!so)
        sim_broken(s, "only what is listed counts as listed", "%s: it never was", text);
}

static void check_removed(struct sim *s, const char *text) {
    char subject[64], list[64];
    if (!strstr(text, "by two checks") || !parse(text, " and ", subject, list))
        return;
    int l = list_of(list), x = source_named(s, subject);
    if (x >= 0 && listed(s, l, (uint32_t)x, s->now_ms) && listed(s, l, (uint32_t)x, s->now_ms - 120000))
        sim_broken(s, "no word is no removal", "%s: it is listed all the time", text);
}

/* When an event's step was, -1 where clocks leap: it has waited for its commit, and nobody can tell how long. */
static int64_t time_of(const struct sim *s, const Remuda__EventRecord *e) {
    return s->faults.clock_step ? -1 : e->wall_ms - SIM_WALL0_MS;
}

bool sim_watch_was_listed(const struct sim *s, uint32_t source, const Remuda__EventRecord *e) {
    enum { BACK_MS = 600000, STEP_MS = 30000 };
    int64_t until = time_of(s, e);
    if (until < 0)
        return was_ever_listed(s, ACT, source);
    int64_t from = until - BACK_MS;
    if (s->slept_to_ms && from < s->slept_to_ms && until >= s->slept_from_ms)
        from = s->slept_from_ms - BACK_MS; /* while everything slept nobody could find that it ended */
    for (int64_t at = until; at >= from; at -= STEP_MS)
        if (listed(s, ACT, source, at))
            return true;
    return false;
}

static void still_stopped(void *ctx, const struct rmd_source_view *v) {
    struct sim *s = ctx;
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->source[i].address, v->record->address) == 0 && v->state != RMD_LANE_QUARANTINED)
            s->source[i].stopped_ms = 0;
}

/* What a coordinator told its store before it died, and nobody else, is known by its next life. */
void sim_watch_restored(struct sim *s) {
    rmd_coord_sources(s->coord.core, still_stopped, s);
}

void sim_watch_event(struct sim *s, const Remuda__EventRecord *e) {
    if (strcmp(e->type, "listing.found") == 0)
        check_found(s, e->text, time_of(s, e));
    else if (strcmp(e->type, "listing.removed") == 0)
        check_removed(s, e->text);
    struct sim_source *x = NULL;
    for (uint32_t i = 0; i < s->n_sources && e->source; i++)
        if (s->source[i].id == e->source)
            x = &s->source[i];
    bool back = strcmp(e->type, "source.opened") == 0 || strcmp(e->type, "source.probing") == 0 ||
                strcmp(e->type, "source.site_opened") == 0 || strcmp(e->type, "source.site_probing") == 0;
    if (x && back) { /* as when the operator resolves */
        int p = e->provider ? sim_provider_find(s, e->provider) : -1;
        if (!e->provider || p >= 0)
            sim_stops_lifted(s, (uint32_t)(x - s->source), p);
    }
    if (!x || e->provider)
        return;
    if (strcmp(e->type, "source.quarantined") == 0)
        x->stopped_ms = s->now_ms;
    else if (back || strcmp(e->type, "incident.resolved") == 0)
        x->stopped_ms = 0;
}
