/* Sockets and receivers: a small SMTP server that speaks the world's replies, byte for byte. What a client sends is heard at once and
 * answered after the time that the world says; replies of one group leave in order. */
#include "tests/sim/herd/remuda.h"

enum { TO_GREETING, TO_BYTES, TO_LOST, TO_SILENT, TO_TLS, TO_SENT };
enum { RTT_MIN_MS = 10, RTT_MAX_MS = 300, SILENT_MS = 30000, SENT_MS = 60000 };

static struct hr_conn *conn_at(struct hr *h, const struct hr_node *n, uint32_t number) {
    uint32_t i = number < HR_CONNECTIONS ? n->conn[number] : 0;
    return i ? &h->conn[i - 1] : NULL;
}

static struct hr_conn *conn_new(struct hr *h) {
    if (!h->n_free) {
        uint32_t cap = h->cap_conns ? h->cap_conns * 2 : 64;
        h->conn = rmd_realloc(h->conn, cap * sizeof *h->conn);
        h->free_conn = rmd_realloc(h->free_conn, cap * sizeof *h->free_conn);
        memset(h->conn + h->cap_conns, 0, (cap - h->cap_conns) * sizeof *h->conn);
        for (uint32_t i = cap; i > h->cap_conns; i--)
            h->free_conn[h->n_free++] = i - 1;
        h->cap_conns = cap;
    }
    struct hr_conn *c = &h->conn[h->free_conn[--h->n_free]];
    struct rmd_buf in = c->in;
    rmd_buf_clear(&in);
    *c = (struct hr_conn){.used = true, .gen = ++h->conn_gen, .in = in};
    return c;
}

/* ---- towards the client */

static void on_client(struct hr *h, struct hr_event *e) {
    struct hr_conn *c = &h->conn[e->a & 0xffffffff];
    struct rmd_worker_event w = {.kind = RMD_WE_BYTES, .bytes = rmd_buf_slice(&e->bytes)};
    uint64_t gen = e->b;
    if (!c->used || c->gen != gen)
        return;
    switch (e->a >> 32) {
    case TO_GREETING:
        hr_node_conn(h, c, &(struct rmd_worker_event){.kind = RMD_WE_CONNECTED});
        c = &h->conn[e->a & 0xffffffff];
        if (!c->used || c->gen != gen)
            return;
        break;
    case TO_LOST:
        w = (struct rmd_worker_event){
            .kind = RMD_WE_FAILED, .error = RMD_OWN_CONNECTION_LOST, .text = "connection closed by the peer"};
        break;
    case TO_SILENT:
        w = (struct rmd_worker_event){
            .kind = RMD_WE_FAILED, .error = RMD_OWN_CONNECT_TIMEOUT, .text = "no answer to the connection"};
        break;
    case TO_TLS:
        w = (struct rmd_worker_event){.kind = RMD_WE_TLS, .ok = true, .text = "TLSv1.3"};
        break;
    case TO_SENT:
        w = (struct rmd_worker_event){.kind = RMD_WE_SENT};
        break;
    default:
        break;
    }
    hr_node_conn(h, c, &w);
}

/* Not before what was said already. */
static struct hr_event *to_client(struct hr *h, struct hr_conn *c, int64_t delay_ms, uint64_t what) {
    int64_t at = h->now_ms + delay_ms;
    if (at < c->reply_at_ms)
        at = c->reply_at_ms;
    c->reply_at_ms = at;
    return hr_at(h, at - h->now_ms, on_client, (uint64_t)(c - h->conn) | what << 32, c->gen);
}

/* Replies to one group of commands; handed over when it was read. */
struct speech {
    struct rmd_buf text;
    int64_t delay_ms;
    bool close;
};

static void say(struct speech *s, const char *text, int64_t delay_ms) {
    for (const char *at = text; *at;) { /* lines of a reply */
        size_t n = strcspn(at, "\n");
        rmd_buf_add(&s->text, at, n);
        rmd_buf_addstr(&s->text, "\r\n");
        at += n + (at[n] == '\n');
    }
    if (delay_ms > s->delay_ms)
        s->delay_ms = delay_ms;
}

static bool say_reply(struct hr_conn *c, struct speech *s, const struct herd_reply *r) {
    say(s, r->text, r->delay_ms);
    if (r->close) {
        s->close = true;
        c->open = false;
        c->state = HR_S_OVER;
    }
    return herd_ok(r) && !r->close;
}

/* ---- the dialogue */

static bool campaign_of(struct hr *h, struct hr_conn *c, const char *line) {
    struct rmd_id id;
    const char *at = strstr(line, "<b+");
    if (!at || rmd_id_parse(rmd_slice(at + 3, 26), &id) != RMD_OK)
        return false;
    uintptr_t k = (uintptr_t)rmd_map_get(&h->ids, rmd_slice(id.b, 10));
    uint64_t ordinal = 0;
    for (int i = 10; i < 16; i++)
        ordinal = ordinal << 8 | id.b[i];
    if (!k || !ordinal || ordinal > h->s->campaign[k - 1].rows)
        return false;
    c->campaign = (uint32_t)(k - 1);
    c->row = (uint32_t)(ordinal - 1);
    return true;
}

static bool is_recipient(struct hr *h, const struct hr_conn *c, const char *line) {
    struct herd_person who, told;
    char email[128];
    const char *from = strchr(line, '<'), *to = from ? strchr(from, '>') : NULL;
    if (!to || !rmd_copy_slice(email, sizeof email, rmd_slice(from + 1, (size_t)(to - from - 1))) ||
        !herd_email_parse(h->w, email, &told))
        return false;
    herd_person(h->w, c->campaign, c->row, &who);
    return told.list == who.list && told.number == who.number && who.site == c->site;
}

static void on_mail(struct hr *h, struct hr_conn *c, struct speech *s, const char *line) {
    struct herd_reply r;
    if (c->state != HR_S_READY) {
        say(s, "503 5.5.1 out of order", c->rtt_ms);
    } else if (!campaign_of(h, c, line)) {
        hr_fail(h, "a receiver is told %s, which nobody submitted", line);
    } else {
        herd_mail(h->w, c->world, c->campaign, c->row, h->now_ms, &r);
        if (say_reply(c, s, &r))
            c->state = HR_S_MAIL;
    }
}

static void on_rcpt(struct hr *h, struct hr_conn *c, struct speech *s, const char *line) {
    struct herd_reply r;
    if (c->state != HR_S_MAIL) {
        say(s, "503 5.5.1 out of order", c->rtt_ms);
    } else if (!is_recipient(h, c, line)) {
        hr_fail(h, "a receiver is told %s: that isn't row %u of %s, or not its site", line, c->row + 1,
                h->s->campaign[c->campaign].name);
    } else {
        hr_check_rcpt(h, c);
        herd_rcpt(h->w, c->world, h->now_ms, &r);
        bool ok = say_reply(c, s, &r);
        if (c->state != HR_S_OVER)
            c->state = ok ? HR_S_RCPT : HR_S_READY;
    }
}

static void on_dot(struct hr *h, struct hr_conn *c, struct speech *s) {
    struct herd_reply r;
    c->in_data = false;
    c->state = HR_S_READY;
    herd_dot(h->w, c->world, h->now_ms, &r);
    say_reply(c, s, &r);
    if (herd_ok(&r))
        hr_check_accepted(h, c);
}

static void reset(struct hr *h, struct hr_conn *c) {
    if (c->open && (c->state == HR_S_MAIL || c->state == HR_S_RCPT))
        herd_reset(h->w, c->world, h->now_ms);
    if (c->state != HR_S_OVER)
        c->state = HR_S_READY;
}

static void on_line(struct hr *h, struct hr_conn *c, struct speech *s, const char *line) {
    if (!strncmp(line, "MAIL FROM:", 10)) {
        on_mail(h, c, s, line);
    } else if (!strncmp(line, "RCPT TO:", 8)) {
        on_rcpt(h, c, s, line);
    } else if (!strcmp(line, "DATA")) {
        c->in_data = c->state == HR_S_RCPT;
        say(s, c->in_data ? "354 go ahead" : "554 5.5.1 no valid recipients", c->rtt_ms);
        if (!c->in_data)
            reset(h, c);
    } else if (!strncmp(line, "EHLO", 4)) {
        say(s,
            c->tls ? "250-mx.example\n250-PIPELINING\n250 8BITMIME"
                   : "250-mx.example\n250-PIPELINING\n250-8BITMIME\n250 STARTTLS",
            c->rtt_ms);
    } else if (!strcmp(line, "STARTTLS")) {
        say(s, "220 2.0.0 go ahead", c->rtt_ms);
    } else if (!strcmp(line, "RSET")) {
        reset(h, c);
        say(s, "250 2.0.0 ok", c->rtt_ms);
    } else if (!strcmp(line, "QUIT")) {
        say(s, "221 2.0.0 bye", c->rtt_ms);
        if (c->open)
            herd_disconnect(h->w, c->world, h->now_ms);
        c->open = false;
        c->state = HR_S_OVER;
        s->close = true;
    } else {
        hr_fail(h, "a receiver is told \"%s\"", line);
    }
}

static void hear(struct hr *h, struct hr_conn *c, struct speech *s) {
    char line[1200];
    while (c->in.len && !h->failed && c->state != HR_S_OVER) {
        const char *text = rmd_buf_str(&c->in);
        if (c->in_data) {
            const char *dot = strstr(text, "\r\n.\r\n");
            if (!dot)
                return;
            rmd_buf_consume(&c->in, (size_t)(dot + 5 - text));
            on_dot(h, c, s);
            continue;
        }
        const char *end = strstr(text, "\r\n");
        if (!end)
            return;
        (void)rmd_copy_slice(line, sizeof line, rmd_slice(text, (size_t)(end - text)));
        rmd_buf_consume(&c->in, (size_t)(end + 2 - text));
        on_line(h, c, s, line);
    }
}

/* ---- from the client */

void hr_smtp_dial(struct hr *h, struct hr_node *n, const struct rmd_worker_effect *f) {
    int site = herd_site_of_addr(h->w, &f->dest_addr);
    uint32_t source = 0;
    while (source < h->s->n_sources && memcmp(h->s->source[source].addr.b, f->source_addr.b, 4) != 0)
        source++;
    if (site < 0 || source == h->s->n_sources || h->s->source[source].host_index != n->index ||
        f->conn >= HR_CONNECTIONS || n->conn[f->conn]) {
        hr_fail(h, "%s dials a host that isn't there, or from an address that isn't its own", n->name);
        return;
    }
    struct hr_conn *c = conn_new(h);
    struct herd_reply r = {0};
    c->node = n->index;
    c->number = f->conn;
    c->source = source;
    c->site = (uint32_t)site;
    n->conn[f->conn] = (uint32_t)(c - h->conn) + 1;
    c->world = herd_connect(h->w, source, c->site, h->now_ms, &r);
    if (!c->world) {
        to_client(h, c, r.delay_ms < SILENT_MS ? r.delay_ms : SILENT_MS, TO_SILENT);
        return;
    }
    c->rtt_ms = r.delay_ms < RTT_MIN_MS ? RTT_MIN_MS : r.delay_ms > RTT_MAX_MS ? RTT_MAX_MS : r.delay_ms;
    c->open = !r.close;
    c->state = herd_ok(&r) && !r.close ? HR_S_READY : HR_S_OVER;
    struct speech s = {0};
    say(&s, r.text, 0);
    struct hr_event *e = to_client(h, c, r.delay_ms, TO_GREETING);
    rmd_buf_add(&e->bytes, s.text.p, s.text.len);
    rmd_buf_release(&s.text);
    if (r.close)
        to_client(h, c, r.delay_ms + 1, TO_LOST);
}

void hr_smtp_send(struct hr *h, struct hr_node *n, const struct rmd_worker_effect *f) {
    struct hr_conn *c = conn_at(h, n, f->conn);
    struct speech s = {0};
    if (!c)
        return;
    rmd_buf_add(&c->in, f->bytes.p, f->bytes.n);
    hear(h, c, &s);
    if (s.text.len) {
        struct rmd_buf *out = &to_client(h, c, s.delay_ms, TO_BYTES)->bytes;
        struct rmd_buf text = *out;
        *out = s.text;
        s.text = text;
    }
    if (!s.delay_ms || s.delay_ms > SENT_MS) { /* a slow answer must not be taken for a full socket */
        hr_at(h, 0, on_client, (uint64_t)(c - h->conn) | (uint64_t)TO_SENT << 32, c->gen);
    }
    rmd_buf_release(&s.text);
    if (s.close)
        to_client(h, c, s.delay_ms + 1, TO_LOST);
}

void hr_smtp_tls(struct hr *h, struct hr_node *n, uint32_t number) {
    struct hr_conn *c = conn_at(h, n, number);
    if (!c)
        return;
    c->tls = true;
    to_client(h, c, 2 * (int64_t)c->rtt_ms, TO_TLS);
}

void hr_smtp_close(struct hr *h, struct hr_node *n, uint32_t number) {
    struct hr_conn *c = conn_at(h, n, number);
    if (!c)
        return;
    if (c->open)
        herd_disconnect(h->w, c->world, h->now_ms);
    n->conn[number] = 0;
    c->used = c->open = false;
    h->free_conn[h->n_free++] = (uint32_t)(c - h->conn);
}

void hr_smtp_free(struct hr *h) {
    for (uint32_t i = 0; i < h->cap_conns; i++)
        rmd_buf_release(&h->conn[i].in);
    free(h->conn);
    free(h->free_conn);
}
