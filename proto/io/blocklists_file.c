/* Reader of blocklists (see blocklists_file.h). Two passes over the same code: the shipped text, then the operator's; what
 * neither says comes from `default`. */
#include "proto/io/blocklists_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/io/layers.h"

enum { INTERVAL_MIN_MS = 1000, INTERVAL_MAX_MS = 7 * 86400000, KEY_FILE_MAX = 256, NAMED_MAX = 16 };

enum field { TIER, INTERVAL, PER_HOUR, PER_DAY, NEIGHBOURS, ENABLED, LIFETIME, FIELDS };
enum text { ZONE, KEY_FILE, TEST, UNTEST, REMOVAL, HINT, TEXTS };

static const struct rmd_layer_key fields[FIELDS] = {
    [TIER] = {"tier", RMD_LAYER_WORD, 0, RMD_TIER_COUNT - 1, rmd_tier_name, "one of act, slow, alert"},
    [INTERVAL] = {.name = "interval", RMD_LAYER_DURATION, INTERVAL_MIN_MS, INTERVAL_MAX_MS},
    [PER_HOUR] = {.name = "per_hour", .min = 1, .max = 100000},
    [PER_DAY] = {.name = "per_day", .min = 1, .max = 1000000},
    [NEIGHBOURS] = {.name = "neighbours", RMD_LAYER_SWITCH, .max = 1},
    [ENABLED] = {.name = "enabled", RMD_LAYER_SWITCH, .max = 1},
    [LIFETIME] = {.name = "lifetime", RMD_LAYER_DURATION, .max = INT64_C(365) * 86400000},
};
static const char *const texts[TEXTS] = {[ZONE] = "zone",     [KEY_FILE] = "key_file", [TEST] = "test",
                                         [UNTEST] = "untest", [REMOVAL] = "removal",   [HINT] = "hint"};

struct code {
    Remuda__BlocklistCode pb;
    int line;
};

struct draft {
    struct rmd_layer is;
    int key_line;
    const char *key_from;
    const char *text[TEXTS]; /* NULL: not set */
    uint32_t kinds;
    struct code code[RMD_LIST_CODES_MAX];
    size_t n_codes;
    const char *named[NAMED_MAX];
    size_t n_named;
    const char *key;
};

/* What the owner of the reader lends: how a key file is read. */
struct keys {
    rmd_read_key_fn read;
    void *ctx;
};

/* --- values */

/* NULL, or what is wrong with a zone. */
static const char *zone_fault(const char *s) {
    const char *place = strstr(s, RMD_LIST_KEY_PLACE);
    char plain[RMD_DOMAIN_MAX + 1];
    if (place &&
        (rmd_format(plain, sizeof plain, "%.*skey%s", (int)(place - s), s, place + strlen(RMD_LIST_KEY_PLACE)) < 0))
        return "is longer than a name can be";
    if (!place && !rmd_copy(plain, sizeof plain, s))
        return "is longer than a name can be";
    if (!*plain)
        return "is empty";
    if (plain[strlen(plain) - 1] == '.')
        return "must not end in a dot";
    if (strlen(plain) > 180)
        return "is too long: with an IPv6 address in front it would be no name any more";
    if (rmd_subject_kind(plain) != RMD_LIST_DOMAIN || !strchr(plain, '.'))
        return "is not the name of a zone";
    if (rmd_has_suffix(plain, ".sorbs.net") || strcmp(plain, "sorbs.net") == 0)
        return "has ended (June 2024): whatever it answers says nothing";
    return NULL;
}

static void read_text(struct rmd_layers *r, struct draft *d, enum text k, const struct rmd_ucl *node,
                      const char *where) {
    if (node->type != RMD_UCL_SCALAR) {
        rmd_layers_finding(r, r->file, node->line, "%s: %s: expected a value, found %s", where, texts[k],
                           rmd_ucl_type_text(node));
        return;
    }
    const char *fault = k == ZONE ? zone_fault(node->text) : NULL;
    if (!fault && (k == TEST || k == UNTEST) && rmd_subject_kind(node->text) != RMD_LIST_DOMAIN)
        fault = "is not a name";
    if (!fault && strlen(node->text) > 300)
        fault = "is too long";
    if (fault) {
        rmd_layers_finding(r, r->file, node->line, "%s: %s: \"%.64s\" %s", where, texts[k], node->text, fault);
        return;
    }
    d->text[k] = node->text;
    if (k == KEY_FILE) {
        d->key_from = r->file;
        d->key_line = node->line;
    }
}

static void add_kind(struct rmd_layers *r, void *draft, const char *text, int line) {
    struct draft *d = draft;
    for (uint32_t bit = 1; bit <= RMD_LIST_URL; bit <<= 1) {
        if (strcmp(rmd_list_kind_name(bit), text) == 0) {
            d->kinds |= bit;
            return;
        }
    }
    rmd_layers_finding(r, r->file, line, "list \"%s\": kinds: \"%.40s\" is none of ip4, ip6, domain, url", d->is.name,
                       text);
}

static void add_named(struct rmd_layers *r, void *draft, const char *text, int line) {
    struct draft *d = draft;
    if (strlen(text) < 4)
        rmd_layers_finding(r, r->file, line, "list \"%s\": named: \"%s\" is too short to mean this list alone",
                           d->is.name, text);
    else if (d->n_named == NAMED_MAX)
        rmd_layers_finding(r, r->file, line, "list \"%s\": named: more than %d words", d->is.name, NAMED_MAX);
    else
        d->named[d->n_named++] = text;
}

/* --- codes: "127.0.0.2 act why", "bits:127.0.0.4 listed why" */

static const char *next_word(const char *at, char *out, size_t n) {
    while (*at == ' ')
        at++;
    size_t len = strcspn(at, " ");
    rmd_copy_slice(out, n, rmd_slice(at, len));
    at += len;
    while (*at == ' ')
        at++;
    return at;
}

static const char *code_fault(const char *text, Remuda__BlocklistCode *c) {
    char address[32], meaning[16];
    const char *rest = next_word(text, address, sizeof address);
    rest = next_word(rest, meaning, sizeof meaning);
    struct rmd_addr a;
    c->bits = strncmp(address, "bits:", 5) == 0;
    if (rmd_addr_parse(address + (c->bits ? 5 : 0), &a) != RMD_OK || a.family != 4 || a.b[0] != 127)
        return "must begin with an address of 127.0.0.0/8";
    c->address = rmd_get_be32(a.b);
    if (c->bits && !(c->address & 255))
        return "names no bit: the last octet is 0";
    c->meaning = RMD_MEANING_COUNT;
    for (uint32_t m = 0; m < RMD_MEANING_COUNT; m++)
        if (strcmp(rmd_meaning_name(m), meaning) == 0)
            c->meaning = m;
    if (c->meaning == RMD_MEANING_COUNT)
        return "must go on with listed, act, slow, alert, snowshoe, policy, clean or error";
    if (!*rest)
        return "must end with words for people";
    if (strlen(rest) > 120)
        return "has too many words";
    c->text = (char *)(uintptr_t)rest; /* protobuf-c has no const; it only reads */
    return NULL;
}

/* An earlier code that would take this one's answers. */
static bool hidden(const Remuda__BlocklistCode *by, const Remuda__BlocklistCode *c) {
    if (by->bits != c->bits)
        return false;
    return by->bits ? (by->address & 0xffffff00u) == (c->address & 0xffffff00u) && (by->address & c->address & 255)
                    : by->address == c->address;
}

static void add_code(struct rmd_layers *r, void *draft, const char *text, int line) {
    struct draft *d = draft;
    Remuda__BlocklistCode c = REMUDA__BLOCKLIST_CODE__INIT;
    const char *fault = code_fault(text, &c);
    if (!fault && d->n_codes == RMD_LIST_CODES_MAX)
        fault = "is one too many";
    for (size_t i = 0; i < d->n_codes && !fault; i++)
        if (hidden(&d->code[i].pb, &c))
            fault = "is hidden by an earlier code";
    if (fault)
        rmd_layers_finding(r, r->file, line, "list \"%s\": code \"%.60s\" %s", d->is.name, text, fault);
    else
        d->code[d->n_codes++] = (struct code){.pb = c, .line = line};
}

/* --- sections */

static bool read_member(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where) {
    struct draft *d = draft;
    int t = 0;
    while (t < TEXTS && strcmp(texts[t], node->key) != 0)
        t++;
    if (draft == r->fallback) {
        return false;
    } else if (t < TEXTS) {
        read_text(r, d, (enum text)t, node, where);
    } else if (strcmp(node->key, "kinds") == 0) {
        d->kinds = 0;
        rmd_layers_each(r, d, node, where, add_kind);
    } else if (strcmp(node->key, "named") == 0) {
        d->n_named = 0;
        rmd_layers_each(r, d, node, where, add_named);
    } else if (strcmp(node->key, "codes") == 0) {
        d->n_codes = 0;
        rmd_layers_each(r, d, node, where, add_code);
    } else {
        return false;
    }
    return true;
}

static const struct rmd_layers_kind kind = {
    .word = "list",
    .words = "lists",
    .name_chars = "\"-\", \"_\", \".\"",
    .name_extra = "-_.",
    .name_max = RMD_LIST_NAME_MAX,
    .max = RMD_LISTS_MAX,
    .draft_size = sizeof(struct draft),
    .key = fields,
    .n_keys = FIELDS,
    .member = read_member,
};

/* --- the whole */

static bool keyed(const struct draft *d) {
    return d->text[ZONE] && strstr(d->text[ZONE], RMD_LIST_KEY_PLACE);
}

/* Letters, digits and "-": it becomes a label. */
static const char *key_fault(struct rmd_slice key) {
    if (!key.n)
        return "is empty";
    if (key.n >= RMD_LIST_KEY_MAX)
        return "is too long: a key has at most 63 characters";
    for (size_t i = 0; i < key.n; i++) {
        char c = rmd_lower((char)key.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return "holds more than a key: letters, digits and \"-\" on one line";
    }
    return NULL;
}

static void read_key(struct rmd_layers *r, struct draft *d) {
    struct rmd_buf text = {.limit = KEY_FILE_MAX};
    char why[160] = "can't be read";
    const struct keys *keys = r->ctx;
    if (!keys->read)
        return;
    bool ok = keys->read(keys->ctx, d->text[KEY_FILE], &text, why, sizeof why) && !text.overflow;
    struct rmd_slice key = rmd_trim(rmd_buf_slice(&text));
    const char *fault = ok ? key_fault(key) : why;
    if (fault)
        rmd_layers_finding(r, d->key_from, d->key_line, "list \"%s\": key_file %.120s %s", d->is.name,
                           d->text[KEY_FILE], fault);
    else
        d->key = rmd_arena_str(r->arena, key);
    if (text.p)
        explicit_bzero(text.p, text.len);
    rmd_buf_release(&text);
}

static void lint_one(struct rmd_layers *r, struct draft *d) {
    if (!d->text[ZONE] && !d->kinds && !d->n_codes) {
        rmd_layers_finding(r, d->is.file, d->is.line,
                           "list \"%s\": nothing defines it: no shipped list has this name, and zone is not set",
                           d->is.name);
        return;
    }
    if (!d->text[ZONE])
        rmd_layers_finding(r, d->is.file, d->is.line, "list \"%s\": has no zone", d->is.name);
    if (!d->kinds)
        rmd_layers_finding(r, d->is.file, d->is.line, "list \"%s\": kinds is not set: what is it asked about?",
                           d->is.name);
    if (!d->n_codes)
        rmd_layers_finding(r, d->is.file, d->is.line,
                           "list \"%s\": has no codes, and only documented codes are believed", d->is.name);
    uint32_t domains = RMD_LIST_DOMAIN | RMD_LIST_URL;
    if (d->kinds & domains && d->kinds & ~domains)
        rmd_layers_finding(r, d->is.file, d->is.line,
                           "list \"%s\": is asked about addresses and about domains; make it two lists", d->is.name);
    if (d->text[KEY_FILE] && !keyed(d))
        rmd_layers_finding(r, d->key_from, d->key_line, "list \"%s\": key_file is set, and its zone has no %s",
                           d->is.name, RMD_LIST_KEY_PLACE);
    else if (d->text[KEY_FILE])
        read_key(r, d);
    else if (keyed(d) && d->is.own >> ENABLED & 1 && d->is.value[ENABLED] == 1)
        rmd_layers_finding(r, d->is.file, d->is.line, "list \"%s\": is enabled and needs a key: set key_file",
                           d->is.name);
}

static void lint(struct rmd_layers *r) {
    for (size_t i = 0; i < r->n; i++) {
        struct draft *d = r->v[i];
        if (d->is.faulty)
            continue;
        lint_one(r, d);
        for (size_t j = 0; j < i; j++) {
            const struct draft *e = r->v[j];
            if (rmd_blocklist_id(d->is.name) == rmd_blocklist_id(e->is.name))
                rmd_layers_finding(r, d->is.file, d->is.line, "list \"%s\": its id collides with that of \"%s\"",
                                   d->is.name, e->is.name);
        }
    }
}

static char *copy(struct rmd_layers *r, const char *s) {
    return s && *s ? rmd_arena_str(r->arena, rmd_slice_str(s)) : (char *)(uintptr_t)protobuf_c_empty_string;
}

static Remuda__Blocklist *make(struct rmd_layers *r, const struct draft *d) {
    Remuda__Blocklist *l = rmd_arena_alloc(r->arena, sizeof *l);
    remuda__blocklist__init(l);
    int64_t v[FIELDS];
    for (size_t k = 0; k < FIELDS; k++)
        v[k] = rmd_layers_value(r, d, k);
    l->name = copy(r, d->is.name);
    l->zone = copy(r, d->text[ZONE]);
    l->key = copy(r, d->key);
    l->kinds = d->kinds;
    l->tier = (uint32_t)v[TIER];
    l->interval_ms = v[INTERVAL];
    l->per_hour = (uint32_t)v[PER_HOUR];
    l->per_day = (uint32_t)v[PER_DAY];
    l->neighbours = v[NEIGHBOURS] == 1;
    l->test = copy(r, d->text[TEST]);
    l->untest = copy(r, d->text[UNTEST]);
    l->removal = copy(r, d->text[REMOVAL]);
    l->hint = copy(r, d->text[HINT]);
    l->lifetime_ms = v[LIFETIME] > 0 ? v[LIFETIME] : 0;
    l->named = rmd_arena_alloc(r->arena, (d->n_named + 1) * sizeof *l->named);
    for (size_t i = 0; i < d->n_named; i++)
        l->named[l->n_named++] = copy(r, d->named[i]);
    l->code = rmd_arena_alloc(r->arena, (d->n_codes + 1) * sizeof *l->code);
    for (size_t i = 0; i < d->n_codes; i++) {
        Remuda__BlocklistCode *c = rmd_arena_dup(r->arena, &d->code[i].pb, sizeof *c);
        c->text = copy(r, c->text);
        l->code[l->n_code++] = c;
    }
    bool key = !keyed(d) || d->key;
    l->enabled = v[ENABLED] == 1 && key;
    l->off_because = copy(r, l->enabled ? ""
                             : key      ? "not enabled; enabled = true switches it on, where its terms allow that"
                                        : "needs a key: set key_file");
    return l;
}

int rmd_blocklists_parse(struct rmd_slice override, const char *name, rmd_read_key_fn read_key_fn, void *ctx,
                         struct rmd_blocklists *out, struct rmd_buf *err) {
    *out = (struct rmd_blocklists){0};
    struct rmd_arena scratch = {0}; /* trees and drafts go at the end; only the messages stay */
    struct keys keys = {.read = read_key_fn, .ctx = ctx};
    struct rmd_layers r;
    rmd_layers_init(&r, &kind, &scratch, err);
    r.ctx = &keys;
    rmd_layers_read(&r, rmd_slice(rmd_blocklists_shipped, rmd_blocklists_shipped_n), "blocklists (shipped)", true);
    rmd_layers_read(&r, override, name, false);
    lint(&r);
    if (!r.findings) {
        r.arena = &out->arena;
        out->v = rmd_arena_alloc(r.arena, (r.n + 1) * sizeof *out->v);
        out->n = r.n;
        for (size_t i = 0; i < r.n; i++)
            out->v[i] = make(&r, r.v[i]);
    }
    rmd_arena_release(&scratch);
    return r.findings ? RMD_EINVAL : RMD_OK;
}

/* ctx: the operator's file; a relative path counts from its folder. */
static bool read_key_file(void *ctx, const char *path, struct rmd_buf *out, char *why, size_t why_n) {
    const char *slash = *path == '/' ? NULL : strrchr(ctx, '/');
    char full[4096];
    if (rmd_format(full, sizeof full, "%.*s%s", slash ? (int)(slash + 1 - (const char *)ctx) : 0, (const char *)ctx,
                   path) < 0) {
        rmd_copy(why, why_n, "has too long a path");
        return false;
    }
    char text[KEY_FILE_MAX + 1];
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0)
        rmd_format(why, why_n, "can't be read: %s", strerror(errno));
    else
        rmd_buf_add(out, text, (size_t)n);
    explicit_bzero(text, sizeof text);
    if (fd >= 0)
        close(fd);
    return n >= 0;
}

int rmd_blocklists_load(const char *path, struct rmd_blocklists *out, struct rmd_buf *err) {
    *out = (struct rmd_blocklists){0};
    struct rmd_buf text = {0};
    bool own = path && *path;
    int rc = RMD_OK;
    if (own && rmd_ucl_read_file(path, &text, err) < 0)
        rc = RMD_EINVAL;
    if (rc == RMD_OK)
        rc = rmd_blocklists_parse(rmd_buf_slice(&text), own ? path : "blocklists (operator's)", read_key_file,
                                  (void *)(uintptr_t)(own ? path : ""), out, err);
    rmd_buf_release(&text);
    return rc;
}

void rmd_blocklists_release(struct rmd_blocklists *l) {
    for (size_t i = 0; i < l->n; i++)
        if (*l->v[i]->key)
            explicit_bzero(l->v[i]->key, strlen(l->v[i]->key));
    rmd_arena_release(&l->arena);
    *l = (struct rmd_blocklists){0};
}

const Remuda__Blocklist *rmd_blocklists_find(const struct rmd_blocklists *l, const char *name) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i]->name, name) == 0)
            return l->v[i];
    return NULL;
}
