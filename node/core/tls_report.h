/* Counts of TLS sessions on their way to the coordinator (RFC 8460). Pure.
 *
 * Sessions that have all in common but their time are one row. One report is out at a time; it is repeated until it is
 * acknowledged, and what was counted meanwhile goes with the next. The coordinator counts a report once, by run and n. What
 * a process had not told when it died is lost: these are statistics, nothing waits for them. Rows beyond the limits are
 * counted as dropped. */
#ifndef REMUDA_NODE_TLS_REPORT_H
#define REMUDA_NODE_TLS_REPORT_H

#include "proto/codec.h"

enum {
    RMD_TLS_ROWS_MAX = 4096,
    RMD_TLS_ROWS_BYTES_MAX = 16 << 20,
    RMD_TLS_ROW_BYTES_MAX = 16 << 10,
    RMD_TLS_REPORT_ROWS = 500,
    RMD_TLS_REPORT_BYTES = 256 << 10,
    RMD_TLS_REPORT_DELAY_MS = 10000,
    RMD_TLS_REPORT_SOON_MS = 1000, /* when a host is spoken to in the clear from now on: that is news */
    RMD_TLS_REPORT_REPEAT_MS = 5000,
};

struct rmd_tls_report;
struct rmd_tls_report *rmd_tls_report_new(void);
void rmd_tls_report_free(struct rmd_tls_report *r);
void rmd_tls_report_add(struct rmd_tls_report *r, struct rmd_slice encoded_row, int64_t now_ms);
/* True: *out (in the arena) is to be sent. hurry: without the delay. run: names the process, the same each time. */
bool rmd_tls_report_due(struct rmd_tls_report *r, int64_t now_ms, uint64_t run, bool hurry, struct rmd_arena *a,
                        Remuda__TlsReport *out);
int64_t rmd_tls_report_deadline(const struct rmd_tls_report *r);
void rmd_tls_report_acked(struct rmd_tls_report *r, const Remuda__TlsReportAck *ack);
void rmd_tls_report_session(struct rmd_tls_report *r); /* a new one: what is out is sent again */

#endif
