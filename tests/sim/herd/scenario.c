/* A scenario file into struct herd_scenario: drafts of its sections first, then names are resolved and campaigns repeated. What a receiver is `like` comes from the
 * file that the scenario uses, which has receivers and blocklists only. */
#include "tests/sim/herd/scenario.h"

#include <inttypes.h>

#include <base/text.h>

#include "tests/sim/herd/reader.h"

enum { DRAFTS_MAX = 256 };

struct drafts {
    struct herd_reader r;
    struct herd_scenario_draft whole;
    struct herd_sources_draft *sources[DRAFTS_MAX];
    struct herd_stream_draft *stream[HERD_STREAMS_MAX];
    struct herd_campaign_draft *campaign[DRAFTS_MAX];
    struct herd_list *list[HERD_LISTS_MAX];
    const struct rmd_ucl *mix[HERD_LISTS_MAX];
    struct herd_receiver_draft *receiver[HERD_RECEIVERS_MAX];
    struct herd_blocklist_draft *blocklist[HERD_BLOCKLISTS_MAX];
    struct herd_event *event[HERD_EVENTS_MAX];
    size_t n_sources, n_streams, n_campaigns, n_lists, n_receivers, n_blocklists, n_events;
    bool have_whole;
    const struct drafts *base; /* of the file that it uses */
};

static bool room(struct drafts *d, size_t n, size_t max, const struct rmd_ucl *node) {
    if (n < max)
        return true;
    herd_finding(&d->r, node->line, "more than %zu sections of this kind", max);
    return false;
}

/* ---- receivers and blocklists: like others */

static const struct herd_receiver_draft *base_receiver(const struct drafts *d, const char *name) {
    for (size_t i = 0; d && i < d->n_receivers; i++)
        if (strcmp(d->receiver[i]->name, name) == 0)
            return d->receiver[i];
    return NULL;
}

static const struct herd_blocklist_draft *base_blocklist(const struct drafts *d, const char *name) {
    for (size_t i = 0; d && i < d->n_blocklists; i++)
        if (strcmp(d->blocklist[i]->b.zone, name) == 0)
            return d->blocklist[i];
    return NULL;
}

static bool rule_section(struct herd_reader *r, const struct rmd_ucl *node, void *base) {
    struct herd_receiver_draft *d = base;
    for (size_t i = 0; i < herd_rule_sections_n; i++) {
        if (strcmp(herd_rule_sections[i].name, node->key) == 0) {
            herd_read_section(r, &herd_rule_sections[i], node, &d->rules, NULL);
            return true;
        }
    }
    return false;
}

static const char *like_of(const struct rmd_ucl *node) {
    const struct rmd_ucl *like = node->type == RMD_UCL_OBJECT ? rmd_ucl_find(node, "like") : NULL;
    return like && like->type == RMD_UCL_SCALAR ? like->text : NULL;
}

static void read_receiver(struct drafts *d, const struct rmd_ucl *node) {
    const char *like = like_of(node);
    const struct herd_receiver_draft *base = like ? base_receiver(d->base, like) : NULL;
    struct herd_receiver_draft *out = rmd_arena_alloc(d->r.arena, sizeof *out);
    if (like && !base)
        herd_finding(&d->r, node->line, "receiver %s: like: nothing defines %s", node->key, like);
    if (base) {
        *out = *base;
    } else {
        herd_keys_fallback(&herd_receiver_section, out);
        for (size_t i = 0; i < herd_rule_sections_n; i++)
            herd_keys_fallback(&herd_rule_sections[i], &out->rules);
        out->provider = "other";
    }
    out->name = rmd_arena_str(d->r.arena, rmd_slice_str(node->key));
    out->line = node->line;
    herd_read_section(&d->r, &herd_receiver_section, node, out, rule_section);
    for (size_t i = 0; i < herd_rule_sections_n; i++)
        herd_check_rule(&d->r, &herd_rule_sections[i], &out->rules, out->name, node->line);
    if (out->sites == 0 && (!out->mx[0] || !out->domains[0]))
        herd_finding(&d->r, node->line, "receiver %s: needs mx and domains, or sites", out->name);
    if (out->mx[0] && out->mx[1] && out->mx[2])
        herd_finding(&d->r, node->line, "receiver %s: mx: at most 2", out->name);
    d->receiver[d->n_receivers++] = out;
}

static void read_blocklist(struct drafts *d, const struct rmd_ucl *node) {
    const char *like = like_of(node);
    const struct herd_blocklist_draft *base = like ? base_blocklist(d->base, like) : NULL;
    struct herd_blocklist_draft *out = rmd_arena_alloc(d->r.arena, sizeof *out);
    if (like && !base)
        herd_finding(&d->r, node->line, "blocklist %s: like: nothing defines %s", node->key, like);
    if (base)
        *out = *base;
    else
        herd_keys_fallback(&herd_blocklist_section, out);
    if (!base)
        out->b.code = "127.0.0.2";
    out->b.zone = rmd_arena_str(d->r.arena, rmd_slice_str(node->key));
    herd_read_section(&d->r, &herd_blocklist_section, node, out, NULL);
    herd_check_rule(&d->r, &herd_blocklist_section, out, out->b.zone, node->line);
    if (rmd_addr_parse(out->b.code, &out->b.answer) != RMD_OK || out->b.answer.family != 4 ||
        out->b.answer.b[0] != 127)
        herd_finding(&d->r, node->line, "blocklist %s: code: %s is not within 127.0.0.0/8", out->b.zone, out->b.code);
    out->b.network_answer = out->b.answer;
    if (out->b.network_code && rmd_addr_parse(out->b.network_code, &out->b.network_answer) != RMD_OK)
        herd_finding(&d->r, node->line, "blocklist %s: network_code: %s is not an address", out->b.zone,
                     out->b.network_code);
    d->blocklist[d->n_blocklists++] = out;
}

/* ---- the other sections */

static bool mix_section(struct herd_reader *r, const struct rmd_ucl *node, void *base) {
    (void)base;
    if (strcmp(node->key, "mix") != 0)
        return false;
    if (node->type != RMD_UCL_OBJECT || !node->child)
        herd_finding(r, node->line, "mix: is a section: mix { RECEIVER = 40%%; ... }");
    return true;
}

#define READ(kind, type, section, max)                                      \
    static void read_##kind(struct drafts *d, const struct rmd_ucl *node) { \
        type *out = rmd_arena_alloc(d->r.arena, sizeof *out);               \
        herd_keys_fallback(&section, out);                                  \
        out->name = rmd_arena_str(d->r.arena, rmd_slice_str(node->key));    \
        herd_read_section(&d->r, &section, node, out, kind##_other);        \
        herd_check_rule(&d->r, &section, out, out->name, node->line);       \
        kind##_add(d, out, node);                                           \
    }

#define sources_other NULL
#define stream_other NULL
#define campaign_other NULL
#define event_other NULL
#define list_other mix_section

static void sources_add(struct drafts *d, struct herd_sources_draft *x, const struct rmd_ucl *node) {
    x->line = node->line;
    d->sources[d->n_sources++] = x;
}
static void stream_add(struct drafts *d, struct herd_stream_draft *x, const struct rmd_ucl *node) {
    x->line = node->line;
    d->stream[d->n_streams++] = x;
}
static void campaign_add(struct drafts *d, struct herd_campaign_draft *x, const struct rmd_ucl *node) {
    x->line = node->line;
    d->campaign[d->n_campaigns++] = x;
}
static void event_add(struct drafts *d, struct herd_event *x, const struct rmd_ucl *node) {
    (void)node;
    d->event[d->n_events++] = x;
}
static void list_add(struct drafts *d, struct herd_list *x, const struct rmd_ucl *node) {
    d->mix[d->n_lists] = node->type == RMD_UCL_OBJECT ? rmd_ucl_find(node, "mix") : NULL;
    if (strspn(x->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(x->name))
        herd_finding(&d->r, node->line, "list %s: a name has letters, digits, \"-\" and \"_\": it is in addresses",
                     x->name);
    if (!d->mix[d->n_lists])
        herd_finding(&d->r, node->line, "list %s: mix is missing", x->name);
    d->list[d->n_lists++] = x;
}
READ(sources, struct herd_sources_draft, herd_sources_section, DRAFTS_MAX)
READ(stream, struct herd_stream_draft, herd_stream_section, HERD_STREAMS_MAX)
READ(campaign, struct herd_campaign_draft, herd_campaign_section, DRAFTS_MAX)
READ(event, struct herd_event, herd_event_section, HERD_EVENTS_MAX)
READ(list, struct herd_list, herd_list_section, HERD_LISTS_MAX)

static void read_named(struct drafts *d, const struct rmd_ucl *outer) {
    static const struct {
        const char *name;
        size_t max;
        size_t n; /* offset of its count */
        void (*read)(struct drafts *, const struct rmd_ucl *);
        bool base; /* allowed in a file that is used */
    } kind[] = {
        {"sources", DRAFTS_MAX, offsetof(struct drafts, n_sources), read_sources, false},
        {"stream", HERD_STREAMS_MAX, offsetof(struct drafts, n_streams), read_stream, false},
        {"list", HERD_LISTS_MAX, offsetof(struct drafts, n_lists), read_list, false},
        {"campaign", DRAFTS_MAX, offsetof(struct drafts, n_campaigns), read_campaign, false},
        {"receiver", HERD_RECEIVERS_MAX, offsetof(struct drafts, n_receivers), read_receiver, true},
        {"blocklist", HERD_BLOCKLISTS_MAX, offsetof(struct drafts, n_blocklists), read_blocklist, true},
        {"event", HERD_EVENTS_MAX, offsetof(struct drafts, n_events), read_event, false},
    };
    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        if (strcmp(outer->key, kind[k].name) != 0)
            continue;
        if (outer->type != RMD_UCL_OBJECT) {
            herd_finding(&d->r, outer->line, "%s: is a named section: %s \"name\" { ... }", outer->key, outer->key);
            return;
        }
        for (const struct rmd_ucl *it = outer->child; it; it = it->next) {
            if (it->type != RMD_UCL_OBJECT)
                herd_finding(&d->r, it->line, "%s: needs a name: %s \"name\" { ... }", outer->key, outer->key);
            else if (room(d, *(size_t *)(void *)((char *)d + kind[k].n), kind[k].max, it))
                kind[k].read(d, it);
        }
        return;
    }
    herd_finding(&d->r, outer->line, "%s: unknown section", outer->key);
}

static void read_all(struct drafts *d, const struct rmd_ucl *root) {
    for (const struct rmd_ucl *it = root->child; it; it = it->next)
        if (strcmp(it->key, "scenario") != 0)
            read_named(d, it);
}

static void read_whole(struct drafts *d, const struct rmd_ucl *root) {
    const struct rmd_ucl *node = rmd_ucl_find(root, "scenario");
    herd_keys_fallback(&herd_scenario_section, &d->whole);
    if (!node) {
        herd_finding(&d->r, 1, "scenario { ... } is missing");
        return;
    }
    herd_read_section(&d->r, &herd_scenario_section, node, &d->whole, NULL);
    herd_check_rule(&d->r, &herd_scenario_section, &d->whole, "scenario", node->line);
}

/* ---- files */

/* A set of scenarios may have a folder of its own beside the receivers that it uses: no other path, so that what a world depends on lies near it. */
static bool may_use(const char *name) {
    return !strchr(strncmp(name, "../", 3) == 0 ? name + 3 : name, '/');
}

static void use_file(struct drafts *d, struct drafts *base) {
    const char *slash = strrchr(d->r.file, '/');
    char *path =
        rmd_arena_printf(d->r.arena, "%.*s%s", slash ? (int)(slash - d->r.file) + 1 : 0, d->r.file, d->whole.use);
    struct rmd_buf text = {0};
    struct rmd_ucl *root = NULL;
    base->r = d->r;
    base->r.file = path;
    if (!may_use(d->whole.use))
        herd_finding(&d->r, 1, "use: a file of the same directory, or of the one above it (\"../NAME\")");
    else if (rmd_ucl_read_file(path, &text, d->r.err) < 0 ||
             rmd_ucl_parse(rmd_buf_slice(&text), path, d->r.arena, &root, d->r.err) < 0)
        d->r.findings++;
    if (root && rmd_ucl_find(root, "scenario"))
        herd_finding(&base->r, 1, "a file that scenarios use has receivers and blocklists only");
    if (root)
        read_all(base, root);
    if (base->n_sources || base->n_streams || base->n_lists || base->n_campaigns || base->n_events)
        herd_finding(&base->r, 1, "a file that scenarios use has receivers and blocklists only");
    d->r.findings += base->r.findings;
    rmd_buf_release(&text);
}

struct herd_scenario *herd_parse(struct rmd_slice text, const char *file, struct rmd_buf *err) {
    struct herd_scenario_full *full = rmd_alloc(sizeof *full);
    struct drafts *d = rmd_alloc(sizeof *d), *base = rmd_alloc(sizeof *base);
    struct rmd_ucl *root = NULL;
    d->r = (struct herd_reader){.arena = &full->arena, .err = err};
    d->r.file = rmd_arena_str(&full->arena, rmd_slice_str(file));
    if (rmd_ucl_parse(text, d->r.file, &full->arena, &root, err) < 0)
        d->r.findings++;
    if (root) {
        read_whole(d, root);
        if (d->whole.use)
            use_file(d, base);
        d->base = base;
        read_all(d, root);
    }
    int findings = d->r.findings;
    if (!findings) {
        struct herd_expand_in in = {
            .r = &d->r,
            .whole = &d->whole,
            .sources = d->sources,
            .n_sources = d->n_sources,
            .stream = d->stream,
            .n_streams = d->n_streams,
            .list = d->list,
            .mix = d->mix,
            .n_lists = d->n_lists,
            .campaign = d->campaign,
            .n_campaigns = d->n_campaigns,
            .receiver = d->receiver,
            .n_receivers = d->n_receivers,
            .blocklist = d->blocklist,
            .n_blocklists = d->n_blocklists,
            .base_blocklist = base->blocklist,
            .n_base_blocklists = base->n_blocklists,
            .event = d->event,
            .n_events = d->n_events,
        };
        herd_expand(&in, full);
        findings = d->r.findings;
    }
    free(d);
    free(base);
    if (!findings)
        return &full->s;
    herd_scenario_free(&full->s);
    return NULL;
}

struct herd_scenario *herd_load(const char *path, struct rmd_buf *err) {
    struct rmd_buf text = {0};
    struct herd_scenario *s = NULL;
    if (rmd_ucl_read_file(path, &text, err) == RMD_OK)
        s = herd_parse(rmd_buf_slice(&text), path, err);
    rmd_buf_release(&text);
    return s;
}

void herd_scenario_free(struct herd_scenario *s) {
    if (!s)
        return;
    struct herd_scenario_full *full = rmd_container(s, struct herd_scenario_full, s);
    rmd_map_release(&full->domains);
    rmd_map_release(&full->mx);
    rmd_map_release(&full->addrs);
    rmd_arena_release(&full->arena);
    free(full);
}

const char *herd_list_name(const struct herd_scenario *s, uint32_t list) {
    return s->list[list].name;
}
uint32_t herd_list_size(const struct herd_scenario *s, uint32_t list) {
    return (uint32_t)s->list[list].size;
}
const char *herd_blocklist_zone(const struct herd_scenario *s, uint32_t blocklist) {
    return s->blocklist[blocklist].zone;
}
