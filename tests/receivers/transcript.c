/* The transcript: one JSON object a line, appended to the log file.
 *
 * The session thread collects its lines in a buffer and writes it before any reply leaves; other threads write whole
 * lines themselves. The file is open with O_APPEND, so that lines never mix. A transcript that can't be written ends
 * the program: a receiver without evidence is worth nothing. */
#include "tests/receivers/receivers.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FLUSH_BYTES = 256 << 10 };

struct rmd_rcv_transcript {
    int fd;
    struct rmd_buf pending;
};

struct rmd_rcv_transcript *rmd_rcv_transcript_open(const char *path, char *err, size_t err_n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        (void)rmd_format(err, err_n, "%s: the transcript can't be opened: %m", path);
        return NULL;
    }
    struct rmd_rcv_transcript *t = rmd_alloc(sizeof *t);
    t->fd = fd;
    return t;
}

static void write_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            fprintf(stderr, "remuda-receivers: the transcript can't be written (%m); ending\n");
            _exit(4);
        }
        p += k;
        n -= (size_t)k;
    }
}

void rmd_rcv_transcript_flush(struct rmd_rcv_transcript *t) {
    if (!t->pending.len)
        return;
    write_all(t->fd, t->pending.p, t->pending.len);
    rmd_buf_clear(&t->pending);
}

void rmd_rcv_transcript_close(struct rmd_rcv_transcript *t) {
    if (!t)
        return;
    rmd_rcv_transcript_flush(t);
    close(t->fd);
    rmd_buf_release(&t->pending);
    free(t);
}

void rmd_rcv_transcript_write(struct rmd_rcv_transcript *t, struct rmd_buf *line) {
    rmd_buf_addc(line, '\n');
    write_all(t->fd, line->p, line->len);
}

void rmd_rcv_json_quote(struct rmd_buf *b, struct rmd_slice s) {
    rmd_buf_addc(b, '"');
    for (size_t i = 0; i < s.n;) {
        uint8_t ch = s.p[i];
        size_t n = 1;
        if (ch >= 0x80) {
            n = rmd_utf8_len(s.p + i, s.n - i);
            if (n)
                rmd_buf_add(b, s.p + i, n);
            else
                rmd_buf_addstr(b, "\\ufffd");
            n = n ? n : 1;
        } else if (ch < 0x20 || ch == '"' || ch == '\\' || ch == 0x7f) {
            rmd_buf_addf(b, "\\u%04x", ch);
        } else {
            rmd_buf_addc(b, (char)ch);
        }
        i += n;
    }
    rmd_buf_addc(b, '"');
}

void rmd_rcv_json_str(struct rmd_buf *b, const char *name, struct rmd_slice value) {
    rmd_buf_addf(b, ",\"%s\":", name);
    rmd_rcv_json_quote(b, value);
}

void rmd_rcv_json_cstr(struct rmd_buf *b, const char *name, const char *value) {
    rmd_rcv_json_str(b, name, rmd_slice_str(value));
}

void rmd_rcv_json_int(struct rmd_buf *b, const char *name, int64_t value) {
    rmd_buf_addf(b, ",\"%s\":%lld", name, (long long)value);
}

void rmd_rcv_json_bool(struct rmd_buf *b, const char *name, bool value) {
    rmd_buf_addf(b, ",\"%s\":%s", name, value ? "true" : "false");
}

struct rmd_buf *rmd_rcv_line_of(struct rmd_rcv *r, const struct rmd_rcv_provider *p, const char *event) {
    struct rmd_buf *b = &r->transcript->pending;
    if (b->len > FLUSH_BYTES)
        rmd_rcv_transcript_flush(r->transcript);
    rmd_buf_addf(b, "{\"t_us\":%lld,\"wall_ms\":%lld", (long long)rmd_rcv_boot_us(), (long long)rmd_rcv_wall_ms());
    rmd_rcv_json_cstr(b, "provider", p->name);
    rmd_rcv_json_cstr(b, "event", event);
    return b;
}

struct rmd_buf *rmd_rcv_line(struct rmd_rcv *r, const struct rmd_rcv_conn *c, const char *event) {
    struct rmd_buf *b = rmd_rcv_line_of(r, c->provider, event);
    rmd_rcv_json_cstr(b, "ip", c->client->ip);
    rmd_rcv_json_cstr(b, "local", c->local);
    rmd_buf_addf(b, ",\"conn\":%llu", (unsigned long long)c->serial);
    return b;
}

void rmd_rcv_line_end(struct rmd_rcv *r) {
    rmd_buf_addstr(&r->transcript->pending, "}\n");
}
