/* POST, PUT, DELETE: what operators change. Each handler checks its fields, gives the core a command and answers with
 * the new state. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "coordinator/io/reload.h"
#include "proto/codec.h"
#include "proto/esmtp.h"
#include "proto/io/idn.h"
#include "proto/io/sign_openssl.h"

const char *rmd_api_reason(struct rmd_api_request *r, bool *bad) {
    const char *s = rmd_api_string(r, "reason", bad);
    return s ? s : "";
}

int rmd_api_find_verb(struct rmd_api_request *r, const struct rmd_api_verb *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i].name, r->segment[2]) == 0)
            return v[i].state;
    rmd_api_fail(r, 404, RMD_ENOTFOUND, "there is no verb \"%s\" for this", r->segment[2]);
    return -1;
}

/* ---- campaigns */

void rmd_api_campaign_verb(struct rmd_api_request *r) {
    static const struct rmd_api_verb verbs[] = {
        {"pause", RMD_CAMPAIGN_PAUSED}, {"resume", RMD_CAMPAIGN_ACTIVE}, {"cancel", RMD_CAMPAIGN_CANCELLED}};
    int state = rmd_api_find_verb(r, verbs, 3);
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {
        .kind = RMD_CMD_CAMPAIGN_STATE, .state = (uint32_t)state, .reason = rmd_api_reason(r, &bad)};
    if (state < 0 || bad)
        return;
    if (rmd_id_parse(rmd_slice_str(r->segment[1]), &c.id) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "\"%s\" is not a campaign id (26 characters; see `remuda campaign list`)",
                     r->segment[1]);
        return;
    }
    if (rmd_api_command(r, &c, &reply))
        rmd_api_campaign(r);
}

/* "start_at" is a time, or null: now. */
static bool take_start(struct rmd_api_request *r, struct rmd_schedule_change *m) {
    const json_t *at = json_object_get(r->in, "start_at");
    m->set_at = at != NULL;
    if (!at || json_is_null(at))
        return true;
    bool good = json_is_string(at) &&
                rmd_date_parse_rfc3339(rmd_slice_str(json_string_value(at)), &m->s.start_wall_ms) == RMD_OK;
    if (!good)
        rmd_api_fail(r, 400, RMD_EINVAL, "start_at: must be a time like 2026-12-01T09:00:00Z, or null for now");
    return good;
}

void rmd_api_campaign_put(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_schedule_change m = {0};
    struct rmd_command c = {.kind = RMD_CMD_CAMPAIGN_SCHEDULE, .schedule = &m, .reason = rmd_api_reason(r, &bad)};
    m.set_over = json_object_get(r->in, "over_ms") != NULL;
    m.set_batch = json_object_get(r->in, "batch") != NULL;
    m.set_every = json_object_get(r->in, "every_ms") != NULL;
    m.s.over_ms = rmd_api_int(r, "over_ms", 0, 0, INT64_MAX, &bad);
    m.s.batch = (uint64_t)rmd_api_int(r, "batch", 0, 0, INT64_MAX, &bad);
    m.s.every_ms = rmd_api_int(r, "every_ms", 0, 0, INT64_MAX, &bad);
    if (bad || !take_start(r, &m))
        return;
    if (rmd_id_parse(rmd_slice_str(r->segment[1]), &c.id) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "\"%s\" is not a campaign id (26 characters; see `remuda campaign list`)",
                     r->segment[1]);
        return;
    }
    if (rmd_api_command(r, &c, &reply))
        rmd_api_campaign(r);
}

/* ---- nodes */

bool rmd_api_good_name(const char *s) {
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

void rmd_api_node_add(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_command c = {.kind = RMD_CMD_NODE_ADD, .name = rmd_api_string(r, "name", &bad)};
    const char *key = rmd_api_string(r, "key", &bad);
    struct rmd_shell_reply reply;
    if (bad)
        return;
    if (!rmd_api_good_name(c.name)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "name: 1 to 63 letters, digits, \"-\", \"_\" or \".\"");
        return;
    }
    if (!key || rmd_curve_parse(key, c.key) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "key: must be the node's public key, 40 characters as `remuda keygen` prints them");
        return;
    }
    if (!rmd_api_command(r, &c, &reply))
        return;
    r->out = json_pack("{s:s, s:I}", "name", c.name, "id", (json_int_t)reply.number);
    r->status = 201;
}

void rmd_api_node_verb(struct rmd_api_request *r) {
    static const struct rmd_api_verb verbs[] = {{"revoke", RMD_CMD_NODE_REVOKE}, {"forget", RMD_CMD_NODE_FORGET}};
    int kind = rmd_api_find_verb(r, verbs, 2);
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {
        .kind = (enum rmd_command_kind)kind, .name = r->segment[1], .reason = rmd_api_reason(r, &bad)};
    if (kind < 0 || bad)
        return;
    if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:s, s:s}", "name", r->segment[1], "note", reply.text);
}

/* ---- streams */

enum { SELECTOR_MAX = 190, KEYS_MAX = 8, KEY_FILE_MAX = 64 << 10 };

struct stream_fields {
    Remuda__StreamRecord rec;
    Remuda__DkimRef key[KEYS_MAX], *keys[KEYS_MAX];
    struct rmd_buf pem[KEYS_MAX];
};

/* Reads the key file and loads it once, so that an unusable key is an error now and not at the first message. */
static bool read_key(struct rmd_api_request *r, const char *path, struct rmd_buf *pem) {
    char err[256] = "it is empty";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rmd_api_fail(r, 400, RMD_EIO, "key %s: %m (the coordinator must be able to read it)", path);
        return false;
    }
    pem->limit = KEY_FILE_MAX;
    char piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        rmd_buf_add(pem, piece, (size_t)n);
    close(fd);
    const struct rmd_sign_ops *sign = rmd_sign_openssl();
    void *key;
    enum rmd_key_kind kind;
    if (pem->len == 0 || pem->overflow || sign->key_load(rmd_buf_slice(pem), &key, &kind, err, sizeof err) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "key %s: %s", path, err);
        return false;
    }
    sign->key_free(key);
    return true;
}

/* It becomes labels of a DNS name: selector._domainkey.domain (RFC 6376 section 3.1). */
static bool good_selector(const char *s) {
    static const char alnum[] =
        "-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"; /* first: not first */
    size_t label = 0, n = strlen(s);
    for (size_t i = 0; i <= n; i++) {
        if (s[i] == '.' || i == n) {
            if (label == 0 || label > 63 || s[i - 1] == '-')
                return false;
            label = 0;
        } else if (!strchr(label ? alnum : alnum + 1, s[i])) {
            return false;
        } else {
            label++;
        }
    }
    return n <= SELECTOR_MAX;
}

static bool take_keys(struct rmd_api_request *r, struct stream_fields *f) {
    json_t *list = json_object_get(r->in, "keys"), *k;
    size_t i;
    if (!list)
        return true;
    f->rec.n_key = 0;
    f->rec.key = f->keys;
    json_array_foreach(list, i, k) {
        const char *selector = NULL, *path = NULL, *domain = NULL;
        if (i == KEYS_MAX ||
            json_unpack(k, "{s:s, s:s, s?s}", "selector", &selector, "path", &path, "domain", &domain) != 0) {
            rmd_api_fail(r, 400, RMD_EINVAL, "keys: at most %d of {\"selector\", \"path\", \"domain\"}", KEYS_MAX);
            return false;
        }
        if (!good_selector(selector)) {
            rmd_api_fail(r, 400, RMD_EINVAL,
                         "keys: the selector \"%.100s\" must be a DNS name: letters, digits and \"-\", with dots "
                         "between them",
                         selector);
            return false;
        }
        if (path[0] != '/') {
            rmd_api_fail(r, 400, RMD_EINVAL, "keys: \"%s\" must be an absolute path on the coordinator's host", path);
            return false;
        }
        remuda__dkim_ref__init(&f->key[i]);
        f->key[i].selector = (char *)(uintptr_t)selector;
        f->key[i].path = (char *)(uintptr_t)path;
        f->key[i].domain = domain ? (char *)(uintptr_t)domain : f->rec.sending_domain;
        f->keys[f->rec.n_key++] = &f->key[i];
    }
    return true;
}

static void take_text(struct rmd_api_request *r, const char *key, char **at, bool *bad) {
    const char *s = rmd_api_string(r, key, bad);
    if (s)
        *at = (char *)(uintptr_t)s;
}

static void take_domain(struct rmd_api_request *r, const char *key, char **at, bool *bad) {
    const char *s = rmd_api_string(r, key, bad);
    char ascii[256];
    if (!s || *bad)
        return;
    const char *why = rmd_idn_to_ascii(NULL, rmd_slice_str(s), ascii);
    if (!why && !strchr(ascii, '.'))
        why = "must be a full domain";
    if (why) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s: \"%s\": %s", key, s, why);
        *bad = true;
        return;
    }
    *at = rmd_arena_str(&r->arena, rmd_slice_str(ascii));
}

static void take_numbers(struct rmd_api_request *r, Remuda__StreamRecord *s, bool *bad) {
    const int64_t day = 86400000;
    s->priority = (uint32_t)rmd_api_int(r, "priority", s->priority, 0, 100, bad);
    s->age_limit_ms = rmd_api_int(r, "age_limit_ms", s->age_limit_ms, 1000, 30 * day, bad);
    s->retry_min_ms = rmd_api_int(r, "retry_min_ms", s->retry_min_ms, 100, day, bad);
    s->retry_max_ms = rmd_api_int(r, "retry_max_ms", s->retry_max_ms, 100, 7 * day, bad);
    if (!*bad && s->retry_min_ms > s->retry_max_ms) {
        char low[32], high[32];
        rmd_format_duration(s->retry_min_ms, low);
        rmd_format_duration(s->retry_max_ms, high);
        rmd_api_fail(r, 400, RMD_EINVAL, "retry_min (%s) is longer than retry_max (%s)", low, high);
        *bad = true;
    }
    s->node_return_wait_ms = rmd_api_int(r, "node_return_wait_ms", s->node_return_wait_ms, 0, 30 * day, bad);
    s->domain_cap_per_day =
        (uint64_t)rmd_api_int(r, "domain_cap_per_day", (int64_t)s->domain_cap_per_day, 0, INT64_MAX, bad);
    const char *policy = rmd_api_string(r, "uncertain_policy", bad);
    if (policy && strcmp(policy, "retry") != 0 && strcmp(policy, "hold") != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "uncertain_policy: must be retry or hold");
        *bad = true;
    }
    if (policy)
        s->uncertain_policy = strcmp(policy, "hold") == 0;
}

static const char token_mark[] = "{token}";

/* Checked as it will be sent, with a token in its place: local parts have a limit (RFC 5321 section 4.5.3.1.1). */
static bool check_mailto(struct rmd_api_request *r, const char *mailto) {
    static const char token[] = "00000000000000000000000000-0000000000"; /* of the length of one: proto/codec.h */
    struct rmd_buf b = {0};
    const char *rest = mailto, *domain = strrchr(mailto, '@');
    for (const char *at; (at = strstr(rest, token_mark)) && at < domain; rest = at + sizeof token_mark - 1) {
        rmd_buf_add(&b, rest, (size_t)(at - rest));
        rmd_buf_addstr(&b, token);
    }
    rmd_buf_addstr(&b, rest);
    const char *why = rmd_address_check(rmd_buf_slice(&b), false);
    if (why)
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "unsubscribe_mailto: \"%.200s\" must be an address, like unsubscribe+{token}@example.net: it %s",
                     mailto, why);
    rmd_buf_release(&b);
    return !why;
}

static bool check_stream(struct rmd_api_request *r, const Remuda__StreamRecord *s) {
    const char *c = s->canonicalization;
    if (strcmp(c, "relaxed/relaxed") != 0 && strcmp(c, "relaxed/simple") != 0 && strcmp(c, "simple/relaxed") != 0 &&
        strcmp(c, "simple/simple") != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "canonicalization: \"%s\" is none of relaxed/relaxed, relaxed/simple, ...",
                     c);
        return false;
    }
    if (!*s->pool || !*s->sending_domain) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s is needed", *s->pool ? "sending_domain" : "pool");
        return false;
    }
    if (!rmd_api_good_name(s->pool)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "pool: \"%.100s\": 1 to 63 letters, digits, \"-\", \"_\" or \".\"", s->pool);
        return false;
    }
    if (*s->unsubscribe_url && strncmp(s->unsubscribe_url, "https://", 8) != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "unsubscribe_url: one-click needs https:// (RFC 8058)");
        return false;
    }
    if (*s->unsubscribe_url && !strstr(s->unsubscribe_url, token_mark)) {
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "unsubscribe_url: must have {token} in it, or nobody can tell who unsubscribed");
        return false;
    }
    return !*s->unsubscribe_mailto || check_mailto(r, s->unsubscribe_mailto);
}

struct present {
    const char *name;
    struct rmd_buf packed;
};

static void copy_present(void *ctx, const Remuda__StreamRecord *s) {
    struct present *p = ctx;
    if (strcmp(s->name, p->name) == 0)
        rmd_pb_encode(s, &p->packed);
}

static void find_present(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_streams(core, copy_present, ctx);
}

/* What the stream is now, or the defaults of a new one. */
static bool load_stream(struct rmd_api_request *r, const char *name, Remuda__StreamRecord *out) {
    struct present p = {.name = name};
    int rc = rmd_shell_call(r->http->o.shell, find_present, &p);
    if (rc < 0) {
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return false;
    }
    const int64_t hour = 3600000;
    remuda__stream_record__init(out);
    out->age_limit_ms = 72 * hour;
    out->retry_min_ms = hour / 4;
    out->retry_max_ms = 4 * hour;
    out->node_return_wait_ms = hour;
    out->priority = 10;
    out->canonicalization = (char *)(uintptr_t) "relaxed/relaxed";
    if (p.packed.len) {
        const Remuda__StreamRecord *now =
            rmd_pb_decode(&remuda__stream_record__descriptor, rmd_buf_slice(&p.packed), &r->arena);
        if (now)
            *out = *now;
    }
    out->name = (char *)(uintptr_t)name;
    rmd_buf_release(&p.packed);
    return true;
}

static bool take_yes(struct rmd_api_request *r, const char *name, protobuf_c_boolean *out) {
    bool bad = false;
    const char *text = rmd_api_string(r, name, &bad);
    if (text && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s: must be yes or no", name);
        bad = true;
    }
    if (text && !bad)
        *out = strcmp(text, "yes") == 0;
    return !bad;
}

static bool take_esmtp(struct rmd_api_request *r, Remuda__StreamRecord *s) {
    bool bad = false;
    const char *dsn = rmd_api_string(r, "dsn", &bad);
    if (dsn && rmd_dsn_parse(dsn, &s->dsn) != RMD_OK) {
        rmd_api_fail(r, 400, RMD_EINVAL, "dsn: must be failure, delay, success, never or none");
        bad = true;
    }
    return !bad && take_yes(r, "requiretls", &s->requiretls) && take_yes(r, "one_signature", &s->one_signature);
}

static bool take_warmup(struct rmd_api_request *r, Remuda__StreamRecord *s) {
    struct rmd_warm_fields f = {s->domain_warmup, s->domain_warm_as, s->domain_warm_since_wall_ms};
    bool bad = false;
    const char *cold = rmd_api_string(r, "cold_lanes", &bad);
    if (bad || !rmd_api_take_warmup(r, "domain_", &f))
        return false;
    s->domain_warmup = f.plan;
    s->domain_warm_as = f.warm_as;
    s->domain_warm_since_wall_ms = f.since_wall_ms;
    if (cold && strcmp(cold, "never") != 0 && strcmp(cold, "yes") != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "cold_lanes: must be yes or never");
        return false;
    }
    if (cold)
        s->no_cold_lanes = strcmp(cold, "never") == 0;
    return true;
}

static bool take_tls(struct rmd_api_request *r, Remuda__StreamRecord *s) {
    bool bad = false;
    const char *tls = rmd_api_string(r, "tls", &bad);
    if (bad)
        return false;
    if (tls && strcmp(tls, "may") != 0 && strcmp(tls, "required") != 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "tls: must be may or required");
        return false;
    }
    if (tls)
        s->tls_required = strcmp(tls, "required") == 0;
    return true;
}

void rmd_api_stream_put(struct rmd_api_request *r) {
    bool bad = false;
    struct stream_fields f = {0};
    if (!rmd_api_good_name(r->segment[1])) {
        rmd_api_fail(r, 400, RMD_EINVAL, "a stream's name has 1 to 63 letters, digits, \"-\", \"_\" or \".\"");
        return;
    }
    if (!load_stream(r, r->segment[1], &f.rec))
        return;
    take_text(r, "pool", &f.rec.pool, &bad);
    take_domain(r, "sending_domain", &f.rec.sending_domain, &bad);
    take_domain(r, "return_domain", &f.rec.return_domain, &bad);
    take_text(r, "unsubscribe_url", &f.rec.unsubscribe_url, &bad);
    take_text(r, "unsubscribe_mailto", &f.rec.unsubscribe_mailto, &bad);
    take_text(r, "canonicalization", &f.rec.canonicalization, &bad);
    take_numbers(r, &f.rec, &bad);
    if (!bad && !*f.rec.return_domain)
        f.rec.return_domain = f.rec.sending_domain;
    bool fine = !bad && check_stream(r, &f.rec) && take_keys(r, &f) && take_warmup(r, &f.rec) &&
                take_esmtp(r, &f.rec) && take_tls(r, &f.rec);
    if (fine && f.rec.n_key == 0) { /* it would leave unsigned */
        rmd_api_fail(r, 400, RMD_EINVAL, "keys: at least one DKIM key is needed (--key SELECTOR=PATH)");
        fine = false;
    }
    struct rmd_command c = {.kind = RMD_CMD_STREAM_PUT, .stream_record = &f.rec};
    for (size_t i = 0; fine && i < f.rec.n_key; i++) {
        fine = read_key(r, f.rec.key[i]->path, &f.pem[i]);
        c.key_pem[i] = rmd_buf_slice(&f.pem[i]);
    }
    struct rmd_shell_reply reply;
    if (fine && rmd_api_command(r, &c, &reply)) {
        rmd_api_streams(r);
        if (json_object_get(r->in, "pool"))
            rmd_api_warn_of_empty_pool(r, f.rec.pool);
    }
    for (size_t i = 0; i < KEYS_MAX; i++) {
        if (f.pem[i].p)
            explicit_bzero(f.pem[i].p, f.pem[i].len);
        rmd_buf_release(&f.pem[i]);
    }
}

void rmd_api_stream_verb(struct rmd_api_request *r) {
    static const struct rmd_api_verb verbs[] = {{"pause", 1}, {"resume", 0}};
    int state = rmd_api_find_verb(r, verbs, 2);
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_STREAM_STATE,
                            .name = r->segment[1],
                            .state = (uint32_t)state,
                            .reason = rmd_api_reason(r, &bad)};
    if (state < 0 || bad)
        return;
    if (rmd_api_command(r, &c, &reply))
        rmd_api_streams(r);
}

/* ---- incidents, restored store */

static bool incident_number(struct rmd_api_request *r, uint64_t *out) {
    if (rmd_parse_u64(rmd_slice_str(r->segment[1]), out) == RMD_OK)
        return true;
    rmd_api_fail(r, 400, RMD_EINVAL, "\"%s\" is not an incident's number", r->segment[1]);
    return false;
}

void rmd_api_incident_resolve(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_INCIDENT_RESOLVE, .reason = rmd_api_reason(r, &bad)};
    if (!bad)
        c.text = rmd_api_string(r, "ticket", &bad);
    if (bad || !incident_number(r, &c.number))
        return;
    if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:I, s:s, s:s}", "id", (json_int_t)c.number, "state", "resolved", "text", reply.text);
}

void rmd_api_incident_ticket(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_INCIDENT_TICKET, .text = rmd_api_string(r, "ticket", &bad)};
    if (bad || !incident_number(r, &c.number))
        return;
    if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:I, s:s}", "id", (json_int_t)c.number, "ticket", c.text);
}

void rmd_api_resume_restored(struct rmd_api_request *r) {
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_RESUME_RESTORED};
    if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:b}", "ok", 1);
}

void rmd_api_rules_reload(struct rmd_api_request *r) {
    struct rmd_buf said = {0};
    int rc = rmd_reload_run(r->http->o.reload, &said);
    if (rc == RMD_OK)
        r->out = json_pack("{s:b, s:o}", "ok", 1, "text", rmd_json_text(rmd_buf_str(&said)));
    else
        rmd_api_fail(r, rc == RMD_EINVAL ? 400 : 0, rc, "nothing changed:\n%s", rmd_buf_str(&said));
    rmd_buf_release(&said);
}
