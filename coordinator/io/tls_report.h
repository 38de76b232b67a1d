/* Reports of TLS sessions as RFC 8460 writes them (section 4.4), and the files in which finished days are kept. Sending
 * them to the domains that ask for reports (_smtp._tls) isn't done here: the files are for whoever does.
 *
 * DATA/tls-reports/YYYY-MM-DD.jsonl, one report (one policy domain) a line, written RMD_TLS_FILE_AFTER_MS after the end of
 * the UTC day, kept for RMD_TLS_FILES_DAYS days. A thread of its own writes them. */
#ifndef REMUDA_TLS_REPORT_IO_H
#define REMUDA_TLS_REPORT_IO_H

#include <jansson.h>

#include "coordinator/io/shell.h"

enum { RMD_TLS_FILE_AFTER_MS = 15 * 60 * 1000, RMD_TLS_FILES_DAYS = 30, RMD_TLS_FILES_EVERY_MS = 60000 };

struct rmd_tls_who {
    const char *organization, *contact; /* as reports name us */
};

/* An array of reports made of records of one day; each record comes behind its length, in 4 bytes. */
void rmd_tls_pack(const Remuda__TlsDayRecord *r, struct rmd_buf *out);
json_t *rmd_tls_reports_of(const struct rmd_tls_who *who, uint32_t day, struct rmd_slice packed);
/* An array of reports of the day; domain NULL: of every domain. RMD_ECLOSED: the shell is stopping. */
int rmd_tls_reports(struct rmd_shell *s, const struct rmd_tls_who *who, uint32_t day, const char *domain,
                    json_t **out) RMD_CHECKED;
/* The same of a day that is in a file only. RMD_ENOTFOUND. */
int rmd_tls_reports_of_file(const char *folder, uint32_t day, const char *domain, json_t **out) RMD_CHECKED;

/* Writes them into the day's file, whole or not at all. */
int rmd_tls_reports_write(const char *folder, uint32_t day, const json_t *reports) RMD_CHECKED;

struct rmd_tls_files;
struct rmd_tls_files_options {
    struct rmd_shell *shell;
    const char *folder;
    struct rmd_tls_who who;
    const struct rmd_clock *clock;
};
int rmd_tls_files_start(const struct rmd_tls_files_options *o, struct rmd_tls_files **out) RMD_CHECKED;
void rmd_tls_files_stop(struct rmd_tls_files *f);

#endif
