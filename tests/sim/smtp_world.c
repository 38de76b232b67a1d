/* Sockets and receivers. A connection has two ends: the client's is a worker's number, the server's is a small SMTP
 * server with its provider's habits. Bytes take some milliseconds; what a dead process had sent still arrives, what a
 * dead host had sent may not. */
#include "tests/sim/sim.h"

enum { ST_NEW, ST_READY, ST_MAIL, ST_RCPT, ST_DATA, ST_CLOSED };
enum { CUT_NONE, CUT_NOW };

static void on_server(struct sim *s, struct sim_event *e);

struct sim_conn *sim_smtp_conn(struct sim *s, uint32_t n, uint32_t worker, uint32_t number) {
    if (number >= 512 || !s->node[n].conn[worker][number])
        return NULL;
    struct sim_conn *c = &s->conn[s->node[n].conn[worker][number] - 1];
    return c->used && c->client_open ? c : NULL;
}

static struct sim_conn *conn_new(struct sim *s) {
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        struct sim_conn *c = &s->conn[s->next_conn++ % SIM_CONNS];
        if (c->used)
            continue;
        struct rmd_buf in = c->in;
        rmd_buf_clear(&in);
        *c =
            (struct sim_conn){.used = true, .server_open = true, .client_open = true, .gen = ++s->conn_gen, .in = in};
        return c;
    }
    return NULL;
}

static void maybe_free(struct sim_conn *c) {
    if (!c->server_open && !c->client_open)
        c->used = false;
}

/* ---- towards the client */

enum { TO_CONNECTED, TO_BYTES, TO_LOST, TO_REFUSED, TO_SENT };

static void on_client(struct sim *s, struct sim_event *e) {
    struct sim_conn *c = &s->conn[e->a];
    if (!c->used || c->gen != e->b || !c->client_open)
        return;
    uint64_t what = e->c & 0xff, says = e->c >> 8;
    struct rmd_worker_event w = {.kind = RMD_WE_CONNECTED};
    if (what == TO_BYTES) {
        w.kind = RMD_WE_BYTES;
        w.bytes = rmd_buf_slice(&e->bytes);
        c->dot_reply = says & SIM_SAYS_DOT;
        c->block_said = says & SIM_SAYS_BLOCK;
        c->says = (unsigned)says;
    } else if (what == TO_SENT) {
        w.kind = RMD_WE_SENT;
    } else if (what == TO_LOST || what == TO_REFUSED) {
        w.kind = RMD_WE_FAILED;
        w.error = what == TO_LOST ? RMD_OWN_CONNECTION_LOST : RMD_OWN_CONNECT_REFUSED;
        w.text = what == TO_LOST ? "connection reset by peer" : "Connection refused";
    }
    sim_node_conn(s, c, &w);
}

static struct sim_event *to_client(struct sim *s, struct sim_conn *c, int64_t delay_ms, uint64_t what,
                                   uint64_t says) {
    int64_t at = s->now_ms + delay_ms;
    if (at < c->reply_at_ms)
        at = c->reply_at_ms;
    c->reply_at_ms = at;
    return sim_at(s, at - s->now_ms, on_client, (uint64_t)(c - s->conn), c->gen, what | says << 8);
}

static void server_close(struct sim *s, struct sim_conn *c, int64_t delay_ms) {
    if (!c->server_open)
        return;
    c->server_open = false;
    c->state = ST_CLOSED;
    if (c->client_open)
        to_client(s, c, delay_ms, TO_LOST, 0);
    maybe_free(c);
}

static void say(struct sim *s, struct sim_conn *c, uint64_t says, const char *text) {
    const struct sim_provider *p = &s->provider[c->provider];
    int64_t delay = sim_between(s, 2, 60);
    if (p->slow_one_in && sim_one_in(s, p->slow_one_in))
        delay += sim_between(s, 0, p->slow_ms);
    struct sim_event *e = to_client(s, c, delay, TO_BYTES, says);
    rmd_buf_addstr(&e->bytes, text);
    rmd_buf_addstr(&e->bytes, "\r\n");
}

/* ---- what the receiver thinks */

static const struct sim_block *blocked(const struct sim *s, const struct sim_conn *c) {
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        const struct sim_block *b = &s->block[i];
        bool same = b->source == c->source || (b->whole && s->source[b->source].net == s->source[c->source].net);
        if (b->site && b->site != c->site + 1)
            continue;
        if (same && b->provider == c->provider && s->now_ms >= b->from_ms && s->now_ms < b->to_ms)
            return b;
    }
    return NULL;
}

/* true: it was refused at this stage. */
static bool refuse_block(struct sim *s, struct sim_conn *c, enum rmd_stage stage) {
    const struct sim_block *b = blocked(s, c);
    if (!b || b->stage != stage)
        return false;
    char text[120];
    if (b->network)
        rmd_format(text, sizeof text, "554 5.7.1 the network of %s is blocked using list.test",
                   s->source[c->source].address);
    else
        rmd_format(text, sizeof text, "554 5.7.1 %s blocked using list.test", s->source[c->source].address);
    sim_stops_said(s, c, b->network);
    say(s, c,
        SIM_SAYS_BLOCK | (stage == RMD_STAGE_DOT || c->bdat ? SIM_SAYS_DOT : 0u) |
            (b->network ? SIM_SAYS_NETWORK : 0u),
        text);
    if (stage == RMD_STAGE_GREETING)
        server_close(s, c, 80);
    return true;
}

/* MAIL commands of this source in this minute. */
static bool too_fast(struct sim *s, struct sim_conn *c) {
    const struct sim_provider *p = &s->provider[c->provider];
    uint64_t key = (uint64_t)(s->now_ms / 60000) << 16 | c->source << 8 | c->provider;
    uint64_t n = (uint64_t)(uintptr_t)rmd_map_get_u64(&s->rates, key) + 1;
    if (!p->rate_per_minute)
        return false;
    rmd_map_set_u64(&s->rates, key, (void *)(uintptr_t)n);
    return n > p->rate_per_minute;
}

static bool greylisted(struct sim *s, struct sim_conn *c) {
    const struct sim_provider *p = &s->provider[c->provider];
    if (!p->greylists || c->address % 3 == 0)
        return false;
    uint64_t key = (uint64_t)c->source << 32 | c->address;
    int64_t first = (int64_t)(uintptr_t)rmd_map_get_u64(&s->grey, key);
    if (!first) {
        rmd_map_set_u64(&s->grey, key, (void *)(uintptr_t)s->now_ms);
        return true;
    }
    return s->now_ms - first < p->grey_ms;
}

static void on_mail(struct sim *s, struct sim_conn *c) {
    c->have_rcpt = false;
    c->state = ST_READY;
    if (too_fast(s, c)) {
        bool rest = sim_one_in(s, 3);
        say(s, c, 0, rest ? "421 4.7.0 rest please" : "421 4.7.0 slow down");
        s->source[c->source].refused_until_ms = s->now_ms + 1800000;
        server_close(s, c, 70);
        return;
    }
    if (refuse_block(s, c, RMD_STAGE_MAIL))
        return;
    const struct sim_stream *st = &s->stream[c->campaign->stream];
    if (s->now_ms >= st->shunned_from_ms && s->now_ms < st->shunned_to_ms && st->shunned_by >> c->provider & 1) {
        sim_stops_shunned(s, c, st->shunned_for_good);
        say(s, c, SIM_SAYS_SENDER,
            st->shunned_for_good ? "550 5.7.1 the sending domain has a poor reputation"
                                 : "451 4.7.1 the sending domain has a poor reputation");
        return;
    }
    c->state = ST_MAIL;
    say(s, c, 0, "250 2.1.0 ok");
}

static bool address_of(struct sim *s, struct sim_conn *c, const char *line) {
    const char *u = strstr(line, "<u"), *at = u ? strchr(u, '@') : NULL;
    uint64_t n;
    if (!at || rmd_parse_u64(rmd_slice(u + 2, (size_t)(at - u - 2)), &n) != RMD_OK || n >= s->n_addresses)
        return false;
    c->address = (uint32_t)n;
    c->domain = s->address[n].domain;
    return true;
}

static void on_rcpt(struct sim *s, struct sim_conn *c, const char *line) {
    const struct sim_provider *p = &s->provider[c->provider];
    if (c->state != ST_MAIL) {
        say(s, c, 0, "503 5.5.1 MAIL first");
        return;
    }
    if (!address_of(s, c, line)) {
        sim_broken(s, "only submitted recipients", "a receiver was given %s", line);
        return;
    }
    sim_check_rcpt(s, c);
    struct sim_address *a = &s->address[c->address];
    bool lies = s->now_ms >= p->liar_from_ms && s->now_ms < p->liar_to_ms;
    if (refuse_block(s, c, RMD_STAGE_RCPT))
        return;
    if (sim_warm_refuses(s, c)) {
        s->source[c->source].refused_until_ms = s->now_ms + 1800000;
        say(s, c, 0, "451 4.7.1 unfamiliar source");
    } else if (a->unknown || lies) {
        a->told_unknown = true;
        sim_liar_denies(s, c);
        sim_check_refused(s, c, SIM_REFUSED_FOR_GOOD);
        say(s, c, 0, "550 5.1.1 user unknown");
    } else if (greylisted(s, c)) {
        sim_check_refused(s, c, SIM_REFUSED_GREY);
        say(s, c, 0, "450 4.2.0 greylisted");
    } else if (p->tempfail_one_in && sim_one_in(s, p->tempfail_one_in)) {
        say(s, c, 0, sim_one_in(s, 2) ? "452 4.2.2 mailbox full" : "451 4.3.0 try again later");
    } else {
        c->have_rcpt = true;
        say(s, c, 0, "250 2.1.5 ok");
    }
}

static void on_data(struct sim *s, struct sim_conn *c) {
    if (!c->have_rcpt) {
        say(s, c, 0, "554 5.5.1 no valid recipients");
        return;
    }
    if (refuse_block(s, c, RMD_STAGE_DATA))
        return;
    c->in_data = true;
    say(s, c, 0, "354 go ahead");
}

static void on_dot(struct sim *s, struct sim_conn *c) {
    const struct sim_provider *p = &s->provider[c->provider];
    bool cut = p->cut_one_in && !s->quiet_faults && sim_one_in(s, p->cut_one_in);
    c->in_data = c->have_rcpt = false;
    c->state = ST_READY;
    if (refuse_block(s, c, RMD_STAGE_DOT))
        return;
    if (cut && sim_one_in(s, 2)) { /* it has nothing, and doesn't say so */
        server_close(s, c, 5);
        return;
    }
    if (c->campaign->spam && (p->content_4xx || p->content_5xx) && !cut) {
        sim_check_refused(s, c, p->content_4xx ? SIM_REFUSED_CONTENT_LATER : SIM_REFUSED_FOR_GOOD);
        say(s, c, SIM_SAYS_DOT | (p->content_4xx ? 0u : SIM_SAYS_SPAM),
            p->content_4xx ? "451 4.7.1 content judged later" : "550 5.7.1 looks like spam");
        return;
    }
    sim_stops_accepted(s, c);
    sim_check_accepted(s, c);
    if (cut)
        server_close(s, c, 5);
    else
        say(s, c, SIM_SAYS_DOT, "250 2.0.0 queued");
}

/* "BDAT n LAST", and the chunk behind it is here. */
static void on_bdat(struct sim *s, struct sim_conn *c) {
    c->bdat = true;
    if (!c->have_rcpt)
        say(s, c, 0, "503 5.5.1 no valid recipients");
    else if (refuse_block(s, c, RMD_STAGE_DATA))
        c->have_rcpt = false;
    else
        on_dot(s, c);
    c->bdat = false;
}

static void say_extensions(struct sim *s, struct sim_conn *c) {
    const struct sim_provider *p = &s->provider[c->provider];
    char text[120];
    rmd_format(text, sizeof text, "250-mx.test\r\n%s%s250 8BITMIME", p->pipelining ? "250-PIPELINING\r\n" : "",
               p->chunking ? "250-CHUNKING\r\n" : "");
    say(s, c, 0, text);
}

static void on_line(struct sim *s, struct sim_conn *c, const char *line) {
    bool faults = !s->quiet_faults;
    const struct sim_provider *p = &s->provider[c->provider];
    if (faults && s->now_ms >= p->silent_from_ms && s->now_ms < p->silent_to_ms)
        return; /* it hears and says nothing */
    if (p->cut_one_in && faults && sim_one_in(s, p->cut_one_in * 10)) {
        server_close(s, c, 5);
        return;
    }
    if (!strncmp(line, "EHLO", 4) || !strncmp(line, "HELO", 4)) {
        c->state = ST_READY;
        if (!refuse_block(s, c, RMD_STAGE_EHLO))
            say_extensions(s, c);
    } else if (!strncmp(line, "MAIL FROM:", 10)) {
        const char *id = strstr(line, "<b+");
        struct rmd_id message;
        if (!id || rmd_id_parse(rmd_slice(id + 3, 26), &message) != RMD_OK)
            sim_broken(s, "only submitted recipients", "a receiver was given %s", line);
        else if ((c->campaign = sim_check_campaign(s, &message, &c->ordinal))) {
            c->message = message;
            on_mail(s, c);
        }
    } else if (!strncmp(line, "RCPT TO:", 8)) {
        on_rcpt(s, c, line);
    } else if (!strcmp(line, "DATA")) {
        on_data(s, c);
    } else if (!strncmp(line, "BDAT ", 5)) {
        on_bdat(s, c);
    } else if (!strcmp(line, "RSET")) {
        c->state = ST_READY;
        c->have_rcpt = false;
        say(s, c, 0, "250 2.0.0 ok");
    } else if (!strcmp(line, "QUIT")) {
        say(s, c, 0, "221 2.0.0 bye");
        server_close(s, c, 70);
    } else {
        say(s, c, 0, "502 5.5.2 what?");
    }
}

static void server_bytes(struct sim *s, struct sim_conn *c, struct rmd_slice in) {
    rmd_buf_add(&c->in, in.p, in.n);
    while (c->server_open && !s->broken && c->in.len) {
        const char *text = rmd_buf_str(&c->in);
        if (c->in_data) {
            const char *dot = !strncmp(text, ".\r\n", 3) ? text - 2 : strstr(text, "\r\n.\r\n");
            if (!dot)
                return;
            rmd_buf_consume(&c->in, (size_t)(dot + 5 - text));
            on_dot(s, c);
            continue;
        }
        const char *end = strstr(text, "\r\n");
        char line[1200];
        if (!end)
            return;
        rmd_copy_slice(line, sizeof line, rmd_slice(text, (size_t)(end - text)));
        uint64_t n = 0;
        bool chunk = !strncmp(line, "BDAT ", 5);
        if (chunk && rmd_parse_u64(rmd_slice(line + 5, strcspn(line + 5, " ")), &n) != RMD_OK)
            sim_broken(s, "receivers are understood", "a receiver was given %s", line);
        if (c->in.len < (size_t)(end + 2 - text) + n)
            return;
        rmd_buf_consume(&c->in, (size_t)(end + 2 - text) + n);
        on_line(s, c, line);
    }
}

enum { SERVER_BYTES, SERVER_EOF, SERVER_OPEN };
static void on_server(struct sim *s, struct sim_event *e) {
    struct sim_conn *c = &s->conn[e->a];
    if (!c->used || c->gen != e->b || !c->server_open)
        return;
    if (e->c == SERVER_BYTES) {
        server_bytes(s, c, rmd_buf_slice(&e->bytes));
    } else if (e->c == SERVER_EOF) {
        c->server_open = false;
        maybe_free(c);
    } else {
        const struct sim_provider *p = &s->provider[c->provider];
        to_client(s, c, 0, TO_CONNECTED, 0);
        if (!s->quiet_faults && s->now_ms >= p->silent_from_ms && s->now_ms < p->silent_to_ms)
            return;
        if (!refuse_block(s, c, RMD_STAGE_GREETING))
            say(s, c, 0, "220 mx.test ESMTP");
    }
}

/* ---- from the client */

static void to_server(struct sim *s, struct sim_conn *c, uint64_t what, struct rmd_slice bytes) {
    int64_t at = s->now_ms + sim_between(s, 2, 40);
    if (at < c->send_at_ms)
        at = c->send_at_ms;
    c->send_at_ms = at;
    struct sim_event *e = sim_at(s, at - s->now_ms, on_server, (uint64_t)(c - s->conn), c->gen, what);
    rmd_buf_add(&e->bytes, bytes.p, bytes.n);
}

/* Every connection counts from the moment it is dialled until its node closes it, or dies. */
static void check_ceiling(struct sim *s, uint32_t provider) {
    uint32_t n = 0, most = s->provider[provider].policy.cluster_connections;
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        n += s->conn[i].used && s->conn[i].client_open && s->conn[i].provider == provider;
    if (most && n > most)
        sim_broken(s, "a cluster ceiling is kept", "%u connections to %s, where %u are allowed", n,
                   s->provider[provider].name, most);
}

void sim_smtp_dial(struct sim *s, uint32_t n, uint32_t worker, const struct rmd_worker_effect *f) {
    struct sim_conn *c = conn_new(s);
    int source = sim_source_of(s, &f->source_addr);
    if (!c || f->conn >= 512 || source < 0 || s->source[source].node != n || f->dest_addr.b[0] != 93) {
        sim_broken(s, "dials are sane", "%s dials from a source that isn't its own, or has too many connections",
                   s->node[n].name);
        return;
    }
    c->node = n;
    c->worker = worker;
    c->number = f->conn;
    c->source = (uint32_t)source;
    c->provider = f->dest_addr.b[1];
    c->site = f->dest_addr.b[2];
    s->node[n].conn[worker][f->conn] = (uint32_t)(c - s->conn) + 1;
    check_ceiling(s, c->provider);
    if (!s->quiet_faults && sim_one_in(s, 200)) {
        c->server_open = false;
        to_client(s, c, 20, TO_REFUSED, 0);
        return;
    }
    to_server(s, c, SERVER_OPEN, rmd_slice("", 0));
}

/* The checker sees what the client sends, when it sends it. */
static void watch(struct sim *s, struct sim_conn *c, struct rmd_slice bytes) {
    static const char mail[] = "MAIL FROM:<b+";
    for (size_t i = 0; i + sizeof mail + 26 < bytes.n; i++) {
        struct rmd_id id;
        if (bytes.p[i] != 'M' || memcmp(bytes.p + i, mail, sizeof mail - 1) != 0 || (i > 0 && bytes.p[i - 1] != '\n'))
            continue;
        if (rmd_id_parse(rmd_slice(bytes.p + i + sizeof mail - 1, 26), &id) == RMD_OK)
            sim_check_mail(s, c, &id);
    }
}

void sim_smtp_send(struct sim *s, struct sim_conn *c, const struct rmd_worker_effect *f) {
    if (!f->dot || (f->bytes.n && f->bytes.p[0] == 'M'))
        watch(s, c, f->bytes);
    if (c->server_open)
        to_server(s, c, SERVER_BYTES, f->bytes);
    sim_at(s, 0, on_client, (uint64_t)(c - s->conn), c->gen, TO_SENT);
}

void sim_smtp_close(struct sim *s, struct sim_conn *c, bool reset) {
    if (!c->client_open)
        return;
    c->client_open = false;
    sim_check_reply_lost(s, c);
    s->node[c->node].conn[c->worker][c->number] = 0;
    if (c->server_open && reset && sim_one_in(s, 3))
        c->server_open = false; /* what was on its way is lost with the host */
    if (c->server_open)
        to_server(s, c, SERVER_EOF, rmd_slice("", 0));
    maybe_free(c);
}

void sim_smtp_cut_all(struct sim *s) {
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        if (s->conn[i].used)
            server_close(s, &s->conn[i], 0);
}

void sim_smtp_free(struct sim *s) {
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        rmd_buf_release(&s->conn[i].in);
}
