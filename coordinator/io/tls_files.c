/* The thread that writes reports of finished days into files (tls_report.h). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <base/log.h>
#include <base/text.h>

#include "coordinator/io/tls_report.h"

enum { DAY_MS = 86400000, DAYS_BACK = 2 };

struct rmd_tls_files {
    struct rmd_tls_files_options o;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool quit, complained;
};

static void file_of(const char *folder, uint32_t day, char path[1200]) {
    char date[32];
    rmd_date_rfc3339((int64_t)day * DAY_MS, date);
    date[10] = 0;
    (void)rmd_format(path, 1200, "%s/%s.jsonl", folder, date);
}

int rmd_tls_reports_write(const char *folder, uint32_t day, const json_t *reports) {
    char path[1200], temporary[1210];
    const json_t *report;
    size_t i;
    file_of(folder, day, path);
    (void)rmd_format(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "we");
    if (!file)
        return RMD_EIO;
    bool ok = fchmod(fileno(file), 0640) == 0;
    json_array_foreach(reports, i, report) {
        ok = ok && json_dumpf(report, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    }
    ok = ok && fflush(file) == 0 && fsync(fileno(file)) == 0;
    ok = fclose(file) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return RMD_OK;
    int saved = errno;
    (void)unlink(temporary); /* half a file is of no use, and a full disk has none to spare */
    errno = saved;
    return RMD_EIO;
}

static void write_day(struct rmd_tls_files *f, uint32_t day) {
    char path[1200];
    json_t *reports = NULL;
    file_of(f->o.folder, day, path);
    if (access(path, F_OK) == 0 || rmd_tls_reports(f->o.shell, &f->o.who, day, NULL, &reports) != RMD_OK)
        return;
    bool ok = !json_array_size(reports) || rmd_tls_reports_write(f->o.folder, day, reports) == RMD_OK;
    if (!ok && !f->complained)
        rmd_warn("tls-reports", "%s: can't be written: %s", path, strerror(errno));
    else if (json_array_size(reports) && ok)
        rmd_info("tls-reports", "%s: reports about %zu domains", path, json_array_size(reports));
    f->complained = !ok;
    json_decref(reports);
}

/* Files of our own naming only. */
static void forget_old(const struct rmd_tls_files *f, uint32_t today) {
    DIR *d = opendir(f->o.folder);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        int64_t wall_ms;
        char path[1400];
        if (strlen(e->d_name) != strlen("2026-01-01.jsonl") || !rmd_has_suffix(e->d_name, ".jsonl") ||
            rmd_date_parse_rfc3339(rmd_slice(e->d_name, 10), &wall_ms) != RMD_OK)
            continue;
        (void)rmd_format(path, sizeof path, "%s/%s", f->o.folder, e->d_name);
        if (wall_ms / DAY_MS + RMD_TLS_FILES_DAYS < today)
            (void)unlink(path);
    }
    if (d)
        closedir(d);
}

static void look(struct rmd_tls_files *f) {
    int64_t wall_ms = f->o.clock->now(f->o.clock->ctx).wall_ms;
    uint32_t today = (uint32_t)(wall_ms / DAY_MS);
    if (wall_ms % DAY_MS < RMD_TLS_FILE_AFTER_MS)
        today--;
    for (uint32_t back = 1; back <= DAYS_BACK; back++)
        write_day(f, today - back);
    forget_old(f, today);
}

static void *run(void *arg) {
    struct rmd_tls_files *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->quit) {
        pthread_mutex_unlock(&f->lock);
        look(f);
        pthread_mutex_lock(&f->lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += RMD_TLS_FILES_EVERY_MS / 1000;
        if (!f->quit)
            pthread_cond_timedwait(&f->cond, &f->lock, &until);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int rmd_tls_files_start(const struct rmd_tls_files_options *o, struct rmd_tls_files **out) {
    struct rmd_tls_files *f = rmd_alloc(sizeof *f);
    f->o = *o;
    f->o.folder = rmd_strdup(o->folder);
    if (mkdir(o->folder, 0750) && errno != EEXIST)
        rmd_warn("tls-reports", "%s: can't be made: %s", o->folder, strerror(errno));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    if (pthread_create(&f->thread, NULL, run, f)) {
        free((char *)(uintptr_t)f->o.folder);
        free(f);
        return RMD_EIO;
    }
    *out = f;
    return RMD_OK;
}

void rmd_tls_files_stop(struct rmd_tls_files *f) {
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->quit = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free((char *)(uintptr_t)f->o.folder);
    free(f);
}
