/* Counts of TLS sessions (see tls_report.h). */
#include "node/core/tls_report.h"

#include <base/text.h>

#include "proto/tls.h"

/* A kind of session; what they have in common is the encoded row without what is counted here. */
struct kind {
    struct rmd_list link;
    uint64_t sessions, resumed;
    int64_t last_wall_ms, downgrade_until_wall_ms;
    size_t n;
    uint8_t bytes[];
};

struct rmd_tls_report {
    struct rmd_map by_bytes; /* those that aren't out */
    struct rmd_list waiting, out;
    uint32_t rows;
    size_t bytes;
    uint64_t dropped, dropped_out, n;
    bool is_out, unsent;
    int64_t since_ms, sent_ms;
};

struct rmd_tls_report *rmd_tls_report_new(void) {
    struct rmd_tls_report *r = rmd_alloc(sizeof *r);
    rmd_list_init(&r->waiting);
    rmd_list_init(&r->out);
    return r;
}

static void kind_free(struct rmd_tls_report *r, struct kind *k) {
    rmd_list_remove(&k->link);
    r->rows--;
    r->bytes -= k->n;
    free(k);
}

void rmd_tls_report_free(struct rmd_tls_report *r) {
    if (!r)
        return;
    rmd_list_for_safe(it, &r->waiting) kind_free(r, rmd_container(it, struct kind, link));
    rmd_list_for_safe(out, &r->out) kind_free(r, rmd_container(out, struct kind, link));
    rmd_map_release(&r->by_bytes);
    free(r);
}

static struct kind *kind_of(struct rmd_tls_report *r, struct rmd_slice bytes) {
    struct kind *k = rmd_map_get(&r->by_bytes, bytes);
    if (k)
        return k;
    if (r->rows >= RMD_TLS_ROWS_MAX || r->bytes + bytes.n > RMD_TLS_ROWS_BYTES_MAX || bytes.n > RMD_TLS_ROW_BYTES_MAX)
        return NULL;
    k = rmd_alloc(sizeof *k + bytes.n);
    k->n = bytes.n;
    memcpy(k->bytes, bytes.p, bytes.n);
    rmd_map_set(&r->by_bytes, bytes, k);
    rmd_list_push(&r->waiting, &k->link);
    r->rows++;
    r->bytes += bytes.n;
    return k;
}

void rmd_tls_report_add(struct rmd_tls_report *r, struct rmd_slice encoded_row, int64_t now_ms) {
    struct rmd_arena a = {0};
    struct rmd_buf bytes = {0};
    Remuda__TlsRow *row = rmd_pb_decode(&remuda__tls_row__descriptor, encoded_row, &a);
    if (row) {
        Remuda__TlsRow common = *row;
        common.sessions = common.resumed = 0;
        common.last_wall_ms = common.downgrade_until_wall_ms = 0;
        if (row->result == RMD_TLS_R_OK) /* reports name addresses of failures alone */
            common.sending_ip = common.receiving_ip = (char *)(uintptr_t) "";
        rmd_pb_encode(&common, &bytes);
        if (rmd_list_empty(&r->waiting) && !r->dropped)
            r->since_ms = now_ms;
        struct kind *k = kind_of(r, rmd_buf_slice(&bytes));
        if (k) {
            k->sessions += row->sessions;
            k->resumed += row->resumed;
            k->last_wall_ms = row->last_wall_ms;
            if (row->downgrade_until_wall_ms) {
                k->downgrade_until_wall_ms = row->downgrade_until_wall_ms;
                r->since_ms = now_ms - RMD_TLS_REPORT_DELAY_MS + RMD_TLS_REPORT_SOON_MS;
            }
        } else {
            r->dropped += row->sessions;
        }
    }
    rmd_buf_release(&bytes);
    rmd_arena_release(&a);
}

/* The next report: the oldest rows, as many as fit. */
static void gather(struct rmd_tls_report *r, int64_t now_ms) {
    size_t rows = 0, bytes = 0;
    while (!rmd_list_empty(&r->waiting) && rows < RMD_TLS_REPORT_ROWS) {
        struct kind *k = rmd_container(r->waiting.next, struct kind, link);
        bytes += k->n + 64;
        if (rows && bytes > RMD_TLS_REPORT_BYTES)
            break;
        rmd_map_remove(&r->by_bytes, rmd_slice(k->bytes, k->n));
        rmd_list_remove(&k->link);
        rmd_list_push(&r->out, &k->link);
        rows++;
    }
    r->dropped_out = r->dropped;
    r->dropped = 0;
    r->since_ms = now_ms;
    r->n++;
    r->is_out = r->unsent = true;
}

bool rmd_tls_report_due(struct rmd_tls_report *r, int64_t now_ms, uint64_t run, bool hurry, struct rmd_arena *a,
                        Remuda__TlsReport *out) {
    bool some = !rmd_list_empty(&r->waiting) || r->dropped;
    if (!r->is_out && some && (hurry || now_ms >= r->since_ms + RMD_TLS_REPORT_DELAY_MS))
        gather(r, now_ms);
    if (!r->is_out || (!r->unsent && now_ms < r->sent_ms + RMD_TLS_REPORT_REPEAT_MS))
        return false;
    remuda__tls_report__init(out);
    out->run = run;
    out->n = r->n;
    out->dropped = r->dropped_out;
    out->row = rmd_arena_alloc(a, RMD_TLS_REPORT_ROWS * sizeof *out->row);
    rmd_list_for(it, &r->out) {
        const struct kind *k = rmd_container(it, struct kind, link);
        Remuda__TlsRow *row = rmd_pb_decode(&remuda__tls_row__descriptor, rmd_slice(k->bytes, k->n), a);
        row->sessions = k->sessions;
        row->resumed = k->resumed;
        row->last_wall_ms = k->last_wall_ms;
        row->downgrade_until_wall_ms = k->downgrade_until_wall_ms;
        out->row[out->n_row++] = row;
    }
    r->unsent = false;
    r->sent_ms = now_ms;
    return true;
}

int64_t rmd_tls_report_deadline(const struct rmd_tls_report *r) {
    if (r->is_out)
        return r->unsent ? 0 : r->sent_ms + RMD_TLS_REPORT_REPEAT_MS;
    return rmd_list_empty(&r->waiting) && !r->dropped ? RMD_NEVER : r->since_ms + RMD_TLS_REPORT_DELAY_MS;
}

void rmd_tls_report_acked(struct rmd_tls_report *r, const Remuda__TlsReportAck *ack) {
    if (!r->is_out || ack->n != r->n)
        return;
    rmd_list_for_safe(it, &r->out) kind_free(r, rmd_container(it, struct kind, link));
    r->dropped_out = 0;
    r->is_out = false;
}

void rmd_tls_report_session(struct rmd_tls_report *r) {
    r->unsent = r->is_out;
}
