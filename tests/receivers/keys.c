/* Public keys for the DKIM check: from files, then from a name server, with a cache.
 *
 * A file's line: "selector._domainkey.domain v=DKIM1; k=rsa; p=...". A miss looks whether a file has changed since it
 * was read. Answers of the name server are kept for a minute, failures not at all. One handle a thread. */
#include "tests/receivers/receivers.h"

#include <ares.h>
#include <poll.h>
#include <sys/stat.h>

enum { CACHE_US = 60 * 1000000, CACHE_MAX = 4096, TIMEOUT_MS = 2000, TRIES = 2, TXT = 16 };

struct entry {
    int64_t until_us; /* INT64_MAX: from a file */
    char *txt;
};

struct rmd_rcv_keys {
    const struct rmd_rcv_list *files;
    int64_t *changed_ns;
    struct rmd_map entries;
    ares_channel channel;
    bool dns;
};

static void entry_set(struct rmd_rcv_keys *k, struct rmd_slice name, struct rmd_slice txt, int64_t until_us) {
    struct entry *e = rmd_alloc(sizeof *e), *old;
    e->until_us = until_us;
    e->txt = rmd_strndup(txt.p, txt.n);
    old = rmd_map_set(&k->entries, name, e);
    if (old) {
        free(old->txt);
        free(old);
    }
}

static void file_read(struct rmd_rcv_keys *k, const char *path) {
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while (f && (n = getline(&line, &cap, f)) > 0) {
        struct rmd_slice s = rmd_trim(rmd_slice(line, (size_t)n));
        size_t name = 0;
        while (name < s.n && s.p[name] != ' ' && s.p[name] != '\t')
            name++;
        if (!s.n || s.p[0] == '#' || name == s.n)
            continue;
        entry_set(k, rmd_slice(s.p, name), rmd_trim(rmd_slice(s.p + name, s.n - name)), INT64_MAX);
    }
    free(line);
    if (f)
        fclose(f);
}

/* True: something was read again. */
static bool files_refresh(struct rmd_rcv_keys *k) {
    bool changed = false;
    for (size_t i = 0; i < k->files->n; i++) {
        struct stat st;
        if (stat(k->files->v[i], &st))
            continue;
        int64_t ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (ns == k->changed_ns[i])
            continue;
        k->changed_ns[i] = ns;
        file_read(k, k->files->v[i]);
        changed = true;
    }
    return changed;
}

struct rmd_rcv_keys *rmd_rcv_keys_open(const struct rmd_rcv_list *files, const char *server, char *err,
                                       size_t err_n) {
    struct rmd_rcv_keys *k = rmd_alloc(sizeof *k);
    k->files = files;
    k->changed_ns = rmd_alloc((files->n + 1) * sizeof *k->changed_ns);
    files_refresh(k);
    if (!server)
        return k;
    struct ares_options o = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES, .timeout = TIMEOUT_MS, .tries = TRIES};
    int rc = ares_init_options(&k->channel, &o, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    k->dns = rc == ARES_SUCCESS;
    if (!rc)
        rc = ares_set_servers_ports_csv(k->channel, server);
    if (rc) {
        (void)rmd_format(err, err_n, "dkim_dns %s: %s", server, ares_strerror(rc));
        rmd_rcv_keys_close(k);
        return NULL;
    }
    return k;
}

void rmd_rcv_keys_close(struct rmd_rcv_keys *k) {
    struct rmd_slice key;
    void *value;
    for (uint32_t it = 0; rmd_map_next(&k->entries, &it, &key, &value);) {
        free(((struct entry *)value)->txt);
        free(value);
    }
    rmd_map_release(&k->entries);
    if (k->dns)
        ares_destroy(k->channel);
    free(k->changed_ns);
    free(k);
}

struct lookup {
    int status;
    bool done;
    struct rmd_buf txt;
};

/* The strings of one record are one key; a second record with a key would be ambiguous, the first is taken. */
static void answered(void *ctx, int status, int timeouts, unsigned char *answer, int n) {
    struct lookup *l = ctx;
    struct ares_txt_ext *txt = NULL;
    (void)timeouts;
    l->done = true;
    l->status = status;
    if (status != ARES_SUCCESS)
        return;
    l->status = ares_parse_txt_reply_ext(answer, n, &txt);
    for (struct ares_txt_ext *t = txt; t; t = t->next) {
        if (t->record_start && l->txt.len)
            break;
        rmd_buf_add(&l->txt, t->txt, t->length);
    }
    if (txt)
        ares_free_data(txt);
}

static void wait_for(struct rmd_rcv_keys *k, struct lookup *l) {
    int64_t deadline_us = rmd_rcv_boot_us() + (int64_t)TIMEOUT_MS * 1000 * (TRIES + 2);
    while (!l->done && rmd_rcv_boot_us() < deadline_us) {
        ares_socket_t socks[ARES_GETSOCK_MAXNUM];
        struct pollfd p[ARES_GETSOCK_MAXNUM];
        /* c-ares's own macros shift a 1 into the sign bit. */
        unsigned bits = (unsigned)ares_getsock(k->channel, socks, ARES_GETSOCK_MAXNUM);
        int n = 0;
        for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
            short events =
                (short)((bits >> i & 1 ? POLLIN : 0) | (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));
            if (events)
                p[n++] = (struct pollfd){.fd = socks[i], .events = events};
        }
        poll(p, (nfds_t)n, 100);
        for (int i = 0; i < n; i++)
            ares_process_fd(k->channel, p[i].revents & ~POLLOUT ? p[i].fd : ARES_SOCKET_BAD,
                            p[i].revents & POLLOUT ? p[i].fd : ARES_SOCKET_BAD);
        ares_process_fd(k->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
    if (!l->done)
        ares_cancel(k->channel);
}

static int ask(struct rmd_rcv_keys *k, const char *name) {
    struct lookup l = {0};
    int rc = RMD_EIO;
    ares_query(k->channel, name, 1 /* IN */, TXT, answered, &l);
    wait_for(k, &l);
    if (l.status == ARES_ENOTFOUND || l.status == ARES_ENODATA) {
        rc = RMD_ENOTFOUND;
    } else if (l.status == ARES_SUCCESS && k->entries.n < CACHE_MAX) {
        entry_set(k, rmd_slice_str(name), rmd_buf_slice(&l.txt), rmd_rcv_boot_us() + CACHE_US);
        rc = RMD_OK;
    }
    rmd_buf_release(&l.txt);
    return rc;
}

int rmd_rcv_keys_find(struct rmd_rcv_keys *k, const char *name, char *out, size_t n) {
    char low[512];
    if (!rmd_copy(low, sizeof low, name))
        return RMD_ELIMIT;
    rmd_lower_str(low);
    struct entry *e = rmd_map_get_str(&k->entries, low);
    if (!e && files_refresh(k))
        e = rmd_map_get_str(&k->entries, low);
    if ((!e || e->until_us < rmd_rcv_boot_us()) && k->dns) {
        int rc = ask(k, low);
        if (rc)
            return rc;
        e = rmd_map_get_str(&k->entries, low);
    }
    if (!e)
        return RMD_ENOTFOUND;
    return rmd_copy(out, n, e->txt) ? RMD_OK : RMD_ELIMIT;
}
