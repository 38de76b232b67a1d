/* What a provider decides, and how it says so. */
#include "tests/receivers/receivers.h"

#include <fnmatch.h>
#include <sys/socket.h>

int rmd_rcv_reply_code(const char *text) {
    if (!strncmp(text, "raw:", 4))
        text += 4;
    for (int i = 0; i < 3; i++)
        if (text[i] < '0' || text[i] > '9')
            return 0;
    return (text[0] - '0') * 100 + (text[1] - '0') * 10 + text[2] - '0';
}

static const char *macro(const struct rmd_rcv_conn *c, const char *s, const char *rcpt, size_t *used) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    const struct {
        const char *name, *value;
    } macros[] = {{"ip", c->client->ip},   {"host", c->provider->host},    {"rcpt", rcpt},
                  {"word", rcpt},          {"sender", c->sender},          {"helo", c->helo},
                  {"zone", p->dnsbl_zone}, {"provider", c->provider->name}};
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        size_t n = strlen(macros[i].name);
        if (strncmp(s + 1, macros[i].name, n))
            continue;
        *used = n + 1;
        return macros[i].value ? macros[i].value : "";
    }
    return NULL;
}

static void expand(const struct rmd_rcv_conn *c, const char *s, const char *rcpt, struct rmd_buf *out) {
    while (*s && out->len < RCV_TEXT_MAX) {
        size_t n = 1;
        const char *value = *s == '%' ? macro(c, s, rcpt, &n) : NULL;
        if (value)
            rmd_buf_addstr(out, value);
        else
            rmd_buf_addc(out, *s);
        s += n;
    }
}

/* "\0" is spelled out in raw texts, since a C string can't hold the byte. */
static void say_raw(struct rmd_buf *out, const char *s) {
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] == '0') {
            rmd_buf_addc(out, 0);
            s++;
        } else {
            rmd_buf_addc(out, *s);
        }
    }
}

static void say_lines(struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *text) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    int code = rmd_rcv_reply_code(text);
    text += strlen(text) > 3 ? 4 : strlen(text);
    if (stage != RCV_EHLO)
        for (int64_t i = 1; i <= p->multiline; i++)
            rmd_buf_addf(&c->out, "%d-line %lld of a long reply\r\n", code, (long long)i);
    for (;;) {
        size_t n = strcspn(text, "\n");
        rmd_buf_addf(&c->out, "%d%c", code, text[n] ? '-' : ' ');
        if (p->nul_stages >> stage & 1)
            rmd_buf_add(&c->out, "\0\0", 2);
        rmd_buf_add(&c->out, text, n);
        rmd_buf_addstr(&c->out, "\r\n");
        if (!text[n])
            return;
        text += n + 1;
    }
}

static void refused_members(struct rmd_buf *b, const struct rmd_rcv_conn *c, enum rmd_rcv_stage stage,
                            const char *reason, const char *rcpt, const char *text) {
    rmd_rcv_json_cstr(b, "stage", rmd_rcv_stage_name(stage));
    rmd_rcv_json_int(b, "code", rmd_rcv_reply_code(text));
    rmd_rcv_json_cstr(b, "text", text);
    rmd_rcv_json_cstr(b, "reason", reason);
    if (c->sender[0])
        rmd_rcv_json_cstr(b, "mail_from", c->sender);
    if (stage == RCV_RCPT && rcpt)
        rmd_rcv_json_cstr(b, "rcpt", rcpt);
}

/* After the dot the refusal is of every recipient: one line each. */
static void refused_log(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *reason,
                        const char *rcpt, const char *text) {
    size_t lines = stage == RCV_DOT && c->rcpts_n ? c->rcpts_n : 1, at = 0;
    struct rmd_slice id = {0};
    if (stage == RCV_DOT)
        id = rmd_rcv_header_find(rmd_buf_slice(&c->msg), "Message-ID:", &at);
    for (size_t i = 0; i < lines; i++) {
        struct rmd_buf *b = rmd_rcv_line(r, c, "refused");
        refused_members(b, c, stage, reason, rcpt, text);
        if (stage == RCV_DOT && c->rcpts_n)
            rmd_rcv_json_cstr(b, "rcpt", c->rcpts[i]);
        if (id.n)
            rmd_rcv_json_str(b, "message_id", id);
        rmd_rcv_line_end(r);
    }
    c->provider->n_refused++;
}

void rmd_rcv_reply(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *reason,
                   const char *rcpt, const char *text) {
    struct rmd_buf b = {0};
    const struct rmd_rcv_policy *p = &c->provider->policy;
    expand(c, text ? text : "451 4.3.0 Refused without a configured text", rcpt, &b);
    const char *said = rmd_buf_str(&b);
    int code = rmd_rcv_reply_code(said);
    if (reason && code >= 400)
        refused_log(r, c, stage, reason, rcpt, said);
    if (p->drip_ms && p->drip_stages >> stage & 1)
        c->drip = true;
    if (!strncmp(said, "raw:", 4))
        say_raw(&c->out, said + 4);
    else
        say_lines(c, stage, said);
    if (reason && (!strcmp(reason, "block") || !strcmp(reason, "dnsbl")) && !c->verdict_at) {
        rmd_buf_clear(&c->verdict);
        refused_members(&c->verdict, c, stage, reason, rcpt, said);
        c->verdict_at = c->out.len;
        c->provider->n_blocked++;
    }
    if (code == 421)
        rmd_rcv_conn_drain(r, c);
    rmd_buf_release(&b);
}

void rmd_rcv_cut(struct rmd_rcv *r, struct rmd_rcv_conn *c, int cut) {
    static const struct linger now = {.l_onoff = 1};
    size_t lines = cut >= RCV_CUT_DATA && c->rcpts_n ? c->rcpts_n : 1, at = 0;
    struct rmd_slice id = {0};
    if (cut >= RCV_CUT_AFTER_LOST)
        id = rmd_rcv_header_find(rmd_buf_slice(&c->msg), "Message-ID:", &at);
    for (size_t i = 0; i < lines; i++) {
        struct rmd_buf *b = rmd_rcv_line(r, c, "cut");
        rmd_rcv_json_cstr(b, "stage", rmd_rcv_cut_name(cut));
        if (cut >= RCV_CUT_DATA && c->rcpts_n)
            rmd_rcv_json_cstr(b, "rcpt", c->rcpts[i]);
        if (id.n)
            rmd_rcv_json_str(b, "message_id", id);
        rmd_rcv_json_bool(b, "accepted", cut == RCV_CUT_AFTER_ACCEPTED);
        /* after the 354 the client may have sent its dot into a socket that nobody reads any more */
        rmd_rcv_json_bool(b, "uncertain", cut >= RCV_CUT_BEFORE_DOT);
        rmd_rcv_line_end(r);
    }
    c->provider->n_cuts++;
    if (c->provider->policy.reset)
        setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    rmd_rcv_conn_close(r, c);
}

bool rmd_rcv_policy_cut_now(struct rmd_rcv *r, struct rmd_rcv_conn *c, int cut) {
    struct rmd_rcv_provider *p = c->provider;
    if (p->cut_next[cut] > 0) {
        p->cut_next[cut]--;
        return true;
    }
    if (cut >= RCV_CUT_DATA && p->policy.cut_nth[cut] && p->policy.cut_nth[cut] == p->messages)
        return true;
    return p->policy.cut[cut] > 0 && rmd_rcv_chance(r) < p->policy.cut[cut];
}

int rmd_rcv_policy_choose_cut(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    c->provider->messages++;
    for (int cut = RCV_CUT_DATA; cut < RCV_CUTS; cut++)
        if (rmd_rcv_policy_cut_now(r, c, cut))
            return cut;
    return -1;
}

static bool in_net(const struct rmd_addr *a, const struct rmd_rcv_block *b) {
    if (!b->prefix)
        return true;
    if (a->family != b->net.family || memcmp(a->b, b->net.b, b->prefix / 8))
        return false;
    unsigned rest = b->prefix % 8, i = b->prefix / 8;
    return !rest || (a->b[i] ^ b->net.b[i]) >> (8 - rest) == 0;
}

static const char *block_text(const struct rmd_rcv_conn *c, enum rmd_rcv_stage stage) {
    const struct rmd_rcv_provider *p = c->provider;
    for (size_t i = 0; i < p->blocks_n; i++)
        if (p->blocks[i].stages >> stage & 1 && in_net(&c->client->addr, &p->blocks[i]))
            return p->blocks[i].text;
    return NULL;
}

bool rmd_rcv_policy_refuses(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *rcpt) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    const char *text;
    if (stage <= RCV_RCPT ? rmd_rcv_policy_cut_now(r, c, (int)stage) : stage == RCV_DATA && c->cut == RCV_CUT_DATA) {
        rmd_rcv_cut(r, c, (int)stage);
        return true;
    }
    if (p->flood_stages >> stage & 1) {
        c->state = RCV_S_FLOOD;
        return true;
    }
    if ((text = block_text(c, stage))) {
        rmd_rcv_reply(r, c, stage, "block", rcpt, text);
        return true;
    }
    if (p->dnsbl_zone && p->dnsbl_stages >> stage & 1 && c->client->dnsbl_listed) {
        c->provider->n_dnsbl_listed++;
        rmd_rcv_reply(r, c, stage, "dnsbl", rcpt, p->dnsbl_text);
        return true;
    }
    if (p->reply[stage]) {
        rmd_rcv_reply(r, c, stage, "reply", rcpt, p->reply[stage]);
        return true;
    }
    return false;
}

/* Counts a RCPT of this client in a window of 60 one-second slots; false when the limit is reached (it isn't
 * counted). */
static bool rate_take(struct rmd_rcv *r, struct rmd_rcv_client *client, int64_t limit) {
    int64_t now_s = r->now_us / 1000000;
    uint64_t sum = 0;
    if (now_s - client->rcpts_s >= 60)
        memset(client->rcpts, 0, sizeof client->rcpts);
    else
        for (int64_t s = client->rcpts_s + 1; s <= now_s; s++)
            client->rcpts[s % 60] = 0;
    client->rcpts_s = now_s;
    for (int i = 0; i < 60; i++)
        sum += client->rcpts[i];
    if (sum >= (uint64_t)limit)
        return false;
    client->rcpts[now_s % 60]++;
    return true;
}

/* The harder it is pushed, the less it bears: a bucket of one second, whose rate falls with each refusal and recovers slowly. */
static bool throttled(const struct rmd_rcv *r, struct rmd_rcv_client *k, const struct rmd_rcv_policy *p) {
    const int64_t ppm = 1000000, full = p->throttle * ppm, least = p->throttle_least * ppm;
    if (!k->throttle_us) {
        k->bears_ppm = k->room_ppm = full;
        k->throttle_us = r->now_us;
    }
    int64_t gone = r->now_us - k->throttle_us;
    if (gone > ppm)
        gone = ppm;
    k->bears_ppm += full / 50 * gone / ppm;
    k->bears_ppm = k->bears_ppm < full ? k->bears_ppm : full;
    k->room_ppm += k->bears_ppm / 1000 * gone / (ppm / 1000);
    k->room_ppm = k->room_ppm < k->bears_ppm ? k->room_ppm : k->bears_ppm;
    k->throttle_us = r->now_us;
    if (k->room_ppm >= ppm) {
        k->room_ppm -= ppm;
        return false;
    }
    k->bears_ppm -= k->bears_ppm / 20;
    k->bears_ppm = k->bears_ppm > least ? k->bears_ppm : least;
    return true;
}

static uint64_t rcpt_hash(const char *rcpt) {
    char low[256];
    (void)rmd_copy(low, sizeof low, rcpt);
    rmd_lower_str(low);
    return rmd_fnv64(rmd_slice_str(low));
}

static bool chosen(const char *rcpt, unsigned salt, double share) {
    return share > 0 && (double)(rmd_mix64(rcpt_hash(rcpt) + salt) >> 11) < share * (double)(UINT64_C(1) << 53);
}

static bool user_in(const struct rmd_rcv_list *l, const char *rcpt) {
    char all[256], local[256];
    const char *at = strrchr(rcpt, '@');
    if (!l->n)
        return false;
    (void)rmd_copy(all, sizeof all, rcpt);
    rmd_lower_str(all); /* the patterns are in lower case */
    (void)rmd_copy_slice(local, sizeof local, rmd_slice(all, at ? (size_t)(at - rcpt) : strlen(all)));
    for (size_t i = 0; i < l->n; i++)
        if (!fnmatch(l->v[i], strchr(l->v[i], '@') ? all : local, 0))
            return true;
    return false;
}

static bool local_domain(const struct rmd_rcv_provider *p, const char *rcpt) {
    const char *at = strrchr(rcpt, '@');
    if (!at || !p->domains.n)
        return true;
    for (size_t i = 0; i < p->domains.n; i++)
        if (rmd_case_eq(rmd_slice_str(at + 1), rmd_slice_str(p->domains.v[i])))
            return true;
    return false;
}

/* True: this triplet has to come again. */
static bool greylisted(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *rcpt) {
    struct rmd_rcv_provider *p = c->provider;
    uint64_t key = rmd_mix64(rmd_fnv64(rmd_slice_str(c->client->ip)) ^ rmd_mix64(rcpt_hash(rcpt))) ^
                   rmd_fnv64(rmd_slice_str(c->sender));
    int64_t now_ms = r->now_us / 1000;
    uintptr_t first = (uintptr_t)rmd_map_get_u64(&p->greylist, key);
    if (!first) {
        if (p->greylist.n >= RCV_GREYLIST_MAX)
            rmd_map_release(&p->greylist);
        rmd_map_set_u64(&p->greylist, key, (void *)(uintptr_t)(now_ms + 1));
    } else if (now_ms - (int64_t)(first - 1) >= p->policy.greylist_ms) {
        return false;
    }
    p->n_greylisted++;
    return true;
}

const char *rmd_rcv_policy_rcpt(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *rcpt, const char **reason) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    *reason = "rate";
    if (p->rcpt_per_minute && !rate_take(r, c->client, p->rcpt_per_minute))
        return p->rate_text;
    if (p->throttle && throttled(r, c->client, p))
        return p->rate_text;
    *reason = "relay";
    if (!local_domain(c->provider, rcpt))
        return p->relay_text;
    *reason = "unknown";
    if (user_in(&p->unknown_users, rcpt) || chosen(rcpt, 1, p->unknown))
        return p->unknown_text;
    *reason = "full";
    if (user_in(&p->full_users, rcpt) || chosen(rcpt, 2, p->full))
        return p->full_text;
    *reason = "greylist";
    if (p->greylist && greylisted(r, c, rcpt))
        return p->greylist_text;
    *reason = "defer";
    if (p->defer > 0 && rmd_rcv_chance(r) < p->defer)
        return p->defer_text;
    return NULL;
}
