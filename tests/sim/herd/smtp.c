/* Connections and transactions as receivers see them: stages in order, replies filled in, everything counted. */
#include <assert.h>

#include <base/text.h>

#include "tests/sim/herd/world.h"

static struct herd_conn *conn_of(struct herd_world *w, uint32_t number) {
    assert(number && number <= w->n_conns && w->conn[number - 1].used);
    return &w->conn[number - 1];
}

static uint32_t conn_new(struct herd_world *w) {
    if (!w->free_conn) {
        uint32_t n = w->n_conns ? w->n_conns * 2 : 64;
        assert(n <= HERD_CONNS_MAX);
        w->conn = rmd_realloc(w->conn, n * sizeof *w->conn);
        memset(w->conn + w->n_conns, 0, (n - w->n_conns) * sizeof *w->conn);
        for (uint32_t i = n; i > w->n_conns; i--) {
            w->conn[i - 1].next_free = w->free_conn;
            w->free_conn = i;
        }
        w->n_conns = n;
    }
    uint32_t number = w->free_conn;
    w->free_conn = w->conn[number - 1].next_free;
    return number;
}

static void conn_end(struct herd_world *w, uint32_t number) {
    struct herd_conn *c = conn_of(w, number);
    herd_lane(w, c->source, c->site)->conns--;
    *c = (struct herd_conn){.next_free = w->free_conn};
    w->free_conn = number;
}

/* ---- words */

static void fill(struct herd_world *w, const struct herd_conn *c, const struct herd_word *word) {
    rmd_buf_clear(&w->reply);
    for (const char *s = word->reply; *s;) {
        char text[128];
        if (*s != '$') {
            rmd_buf_addc(&w->reply, *s++);
        } else if (strncmp(s, "$ip", 3) == 0) {
            rmd_buf_addstr(&w->reply, w->s->source[c->source].address);
            s += 3;
        } else if (strncmp(s, "$net", 4) == 0) {
            rmd_addr_format(&w->s->network[w->s->source[c->source].network], text);
            rmd_buf_addstr(&w->reply, text);
            s += 4;
        } else if (strncmp(s, "$domain", 7) == 0 && c->mail) {
            rmd_buf_addstr(&w->reply, w->s->stream[w->s->campaign[c->campaign].stream].sending_domain);
            s += 7;
        } else if (strncmp(s, "$rcpt", 5) == 0 && c->mail) {
            struct herd_person p;
            herd_person(w, c->campaign, c->row, &p);
            herd_email(w, &p, text);
            rmd_buf_addstr(&w->reply, text);
            s += 5;
        } else if (strncmp(s, "$zone", 5) == 0 && word->zone) {
            rmd_buf_addstr(&w->reply, word->zone);
            s += 5;
        } else {
            rmd_buf_addc(&w->reply, *s++);
        }
    }
}

static uint32_t latency(const struct herd_world *w, uint32_t site, uint64_t a, uint64_t b, int times) {
    int64_t ms = herd_rules_of(w, site)->latency_ms;
    uint64_t h = herd_hash(w, HERD_FOR_LATENCY, a, b, site) % 1000;
    return (uint32_t)(times * (ms / 2 + ms * (int64_t)h / 1000)) + 1;
}

static void answer(struct herd_world *w, const struct herd_conn *c, const struct herd_word *word, const char *fine,
                   uint16_t code, struct herd_reply *out) {
    out->delay_ms = latency(w, c->site, c->source, (uint64_t)c->campaign << 32 | c->row, 1);
    if (!word) {
        *out = (struct herd_reply){.text = fine, .code = code, .delay_ms = out->delay_ms};
        return;
    }
    fill(w, c, word);
    const char *text = rmd_buf_str(&w->reply);
    out->text = text;
    out->code = (uint16_t)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
    out->close = word->close;
}

static void refused(struct herd_world *w, uint32_t conn, const struct herd_word *word, struct herd_reply *out) {
    struct herd_conn *c = conn_of(w, conn);
    struct herd_count *n = herd_count_of(w, c->campaign, c->site);
    answer(w, c, word, NULL, 0, out);
    n->deferrals += out->code < 500;
    n->refused += out->code >= 500;
    c->mail = c->rcpt = false;
    if (out->close)
        conn_end(w, conn);
}

/* ---- stages */

uint32_t herd_connect(struct herd_world *w, uint32_t source, uint32_t site, int64_t now_ms, struct herd_reply *out) {
    assert(source < w->s->n_sources && site < w->s->n_sites);
    herd_advance(w, now_ms);
    uint32_t receiver = w->s->site[site].receiver;
    *out = (struct herd_reply){0};
    w->connections[receiver]++;
    if (herd_event_now(w, HERD_EVENT_DOWN, site)) {
        w->refused_connections[receiver]++;
        out->delay_ms = 30000;
        return 0;
    }
    uint32_t number = conn_new(w);
    struct herd_conn *c = &w->conn[number - 1];
    *c = (struct herd_conn){.used = true, .source = source, .site = site};
    herd_lane(w, source, site)->conns++;
    struct herd_word word;
    bool no = herd_judge(w, c, HERD_GREETING, &word);
    answer(w, c, no ? &word : NULL, "220 mx ready", 220, out);
    out->delay_ms = latency(w, site, source, w->connections[receiver], 3);
    if (!no)
        return number;
    w->refused_connections[receiver]++;
    w->refused_4xx[receiver] += out->code < 500;
    if (out->close)
        conn_end(w, number);
    return number;
}

void herd_mail(struct herd_world *w, uint32_t conn, uint32_t campaign, uint32_t row, int64_t now_ms,
               struct herd_reply *out) {
    assert(campaign < w->s->n_campaigns && row < w->s->campaign[campaign].rows);
    herd_advance(w, now_ms);
    *out = (struct herd_reply){0};
    struct herd_conn *c = conn_of(w, conn);
    c->campaign = campaign;
    c->row = row;
    c->number = herd_number(w, campaign, row);
    c->mail = true;
    c->rcpt = false;
    c->messages++;
    herd_traits(w, w->s->campaign[campaign].list, c->number, &c->who);
    assert(c->who.site == c->site);
    struct herd_message *m = &w->campaign[campaign].message[row];
    m->tries += m->tries < UINT16_MAX;
    herd_count_of(w, campaign, c->site)->attempts++;
    struct herd_word word;
    if (herd_judge(w, c, HERD_MAIL, &word))
        refused(w, conn, &word, out);
    else
        answer(w, c, NULL, "250 2.1.0 ok", 250, out);
}

void herd_rcpt(struct herd_world *w, uint32_t conn, int64_t now_ms, struct herd_reply *out) {
    herd_advance(w, now_ms);
    struct herd_conn *c = conn_of(w, conn);
    struct herd_word word;
    assert(c->mail && !c->rcpt);
    *out = (struct herd_reply){0};
    if (herd_judge(w, c, HERD_RCPT, &word)) {
        refused(w, conn, &word, out);
        return;
    }
    c->rcpt = true;
    answer(w, c, NULL, "250 2.1.5 ok", 250, out);
}

void herd_dot(struct herd_world *w, uint32_t conn, int64_t now_ms, struct herd_reply *out) {
    herd_advance(w, now_ms);
    struct herd_conn *c = conn_of(w, conn);
    struct herd_word word;
    assert(c->mail && c->rcpt);
    *out = (struct herd_reply){0};
    if (herd_judge(w, c, HERD_DOT, &word)) {
        refused(w, conn, &word, out);
        return;
    }
    herd_accept(w, c);
    answer(w, c, NULL, "250 2.0.0 accepted", 250, out);
    c->mail = c->rcpt = false;
}

void herd_reset(struct herd_world *w, uint32_t conn, int64_t now_ms) {
    herd_advance(w, now_ms);
    struct herd_conn *c = conn_of(w, conn);
    c->mail = c->rcpt = false;
}

void herd_disconnect(struct herd_world *w, uint32_t conn, int64_t now_ms) {
    herd_advance(w, now_ms);
    conn_end(w, conn);
}
