/* MTA-STS service (see sts.h). */
#include "node/io/sts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>
#include <base/text.h>

#include "node/io/https_curl.h"

enum { OWN_MAX = 4096, ALLOW_MAX = 256 };

struct question {
    struct question *next;
    uint32_t worker;
    char domain[RMD_DOMAIN_MAX + 1];
};

/* A lookup under way, or an answer that came while the core was being asked. */
struct later {
    struct later *next;
    struct rmd_sts_service *service;
    char domain[RMD_DOMAIN_MAX + 1];
    struct rmd_txt_answer *txt; /* NULL: fetched */
    enum rmd_tls_result result;
    char why[RMD_STS_WHY];
    struct rmd_buf body;
};

struct rmd_sts_service {
    struct rmd_sts_options o;
    char *file;
    struct rmd_sts_cache *cache;
    struct rmd_sts_effects effects;
    struct rmd_dns_cares *cares;
    struct rmd_dns dns;
    struct rmd_https *https;
    pthread_t thread;
    bool started, closing;
    atomic_bool quit;
    int wake;
    struct later *later, **later_last;
    bool dirty;
    int64_t save_at_ms;
    pthread_mutex_t lock; /* of what follows */
    struct question *first, **last;
    unsigned questions;
    struct rmd_prefix allow[ALLOW_MAX];
    struct rmd_addr own[OWN_MAX];
    size_t n_allow, n_own;
};

static struct rmd_time now(const struct rmd_sts_service *s) {
    return s->o.clock->now(s->o.clock->ctx);
}

/* ---------------------------------------------------------------- the file */

static bool write_whole(const char *path, struct rmd_slice text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    size_t at = 0;
    while (at < text.n) {
        ssize_t n = write(fd, text.p + at, text.n - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    bool ok = at == text.n && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

static void save(struct rmd_sts_service *s) {
    struct rmd_buf text = {0}, temporary = {0};
    rmd_sts_cache_save(s->cache, &text);
    rmd_buf_addf(&temporary, "%s.new", s->file);
    if (!write_whole(rmd_buf_str(&temporary), rmd_buf_slice(&text)) || rename(rmd_buf_str(&temporary), s->file)) {
        rmd_warn("mta-sts", "%s: can't be written: %s; policies are fetched anew after a restart", s->file,
                 strerror(errno));
        (void)unlink(rmd_buf_str(&temporary));
    }
    s->dirty = false;
    rmd_buf_release(&text);
    rmd_buf_release(&temporary);
}

static void load(struct rmd_sts_service *s) {
    int fd = open(s->file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return; /* the first start */
    if (!fstat(fd, &st) && st.st_size > 0 && st.st_size <= RMD_STS_FILE_MAX) {
        uint8_t *text = rmd_alloc((size_t)st.st_size);
        ssize_t n = read(fd, text, (size_t)st.st_size);
        if (n > 0)
            rmd_sts_cache_load(s->cache, rmd_slice(text, (size_t)n), now(s));
        free(text);
    }
    close(fd);
}

/* ---------------------------------------------------------------- lookups and fetches */

static struct later *later_new(struct rmd_sts_service *s, const char *domain) {
    struct later *x = rmd_alloc(sizeof *x);
    x->service = s;
    rmd_copy(x->domain, sizeof x->domain, domain);
    return x;
}

static void later_free(struct later *x) {
    free(x->txt);
    rmd_buf_release(&x->body);
    free(x);
}

static void later_push(struct later *x) {
    struct rmd_sts_service *s = x->service;
    if (s->closing) {
        later_free(x);
        return;
    }
    *s->later_last = x;
    s->later_last = &x->next;
}

static void on_txt(void *ctx, const char *name, const struct rmd_txt_answer *a) {
    struct later *x = ctx;
    (void)name;
    x->txt = rmd_memdup(a, sizeof *a);
    later_push(x);
}

static void failed(struct later *x, const char *why) {
    x->result = RMD_TLS_R_STS_POLICY_FETCH_ERROR;
    rmd_copy(x->why, sizeof x->why, why);
    later_push(x);
}

static void on_fetched(void *ctx, const char *name, const struct rmd_https_result *r) {
    struct later *x = ctx;
    x->result = r->result;
    rmd_copy(x->why, sizeof x->why, r->why ? r->why : "");
    rmd_buf_add(&x->body, r->body.p, r->body.n);
    if (r->result)
        rmd_info("mta-sts", "%s: the policy can't be had: %s", name, x->why);
    later_push(x);
}

static bool may_dial(struct rmd_sts_service *s, const struct rmd_addr *a) {
    bool good = !rmd_addr_is_special(a);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; good && i < s->n_own; i++)
        good = !rmd_addr_eq(a, &s->own[i]);
    for (size_t i = 0; !good && i < s->n_allow; i++)
        good = rmd_prefix_has(&s->allow[i], a);
    pthread_mutex_unlock(&s->lock);
    return good;
}

static void on_addr(void *ctx, const char *host, const struct rmd_addr_answer *a) {
    struct later *x = ctx;
    struct rmd_sts_service *s = x->service;
    struct rmd_addr good[RMD_DNS_ADDR_MAX];
    char why[RMD_STS_WHY];
    size_t n = 0;
    for (int i = 0; a->status == RMD_DNS_OK && i < a->n; i++)
        if (may_dial(s, &a->addr[i]))
            good[n++] = a->addr[i];
    if (n && !s->closing) {
        rmd_https_get(s->https, x->domain, host, "/.well-known/mta-sts.txt", good, n, on_fetched, x);
        return;
    }
    if (a->status == RMD_DNS_OK)
        (void)rmd_format(why, sizeof why, "its host leads to addresses that aren't dialled");
    else
        (void)rmd_format(why, sizeof why, "its host has no address%s%s", *a->detail ? ": " : "", a->detail);
    failed(x, why);
}

static void fetch(struct rmd_sts_service *s, const char *domain) {
    char host[RMD_DOMAIN_MAX + 16];
    struct later *x = later_new(s, domain);
    (void)rmd_format(host, sizeof host, "mta-sts.%s", domain);
    s->dns.ops->addr(s->dns.d, host, true, true, on_addr, x);
}

static void look_up(struct rmd_sts_service *s, const char *domain) {
    char name[RMD_DOMAIN_MAX + 16];
    (void)rmd_format(name, sizeof name, "_mta-sts.%s", domain);
    s->dns.ops->txt(s->dns.d, name, on_txt, later_new(s, domain));
}

/* ---------------------------------------------------------------- the core */

static void answer(struct rmd_sts_service *s, const struct rmd_sts_effect *f) {
    for (uint32_t w = 0; w < RMD_STS_WORKERS_MAX; w++)
        if (rmd_bit_get(f->workers, w))
            s->o.answer(s->o.ctx, w, f->domain, &f->answer);
}

static void step(struct rmd_sts_service *s, struct rmd_sts_event *e) {
    e->at = now(s);
    rmd_sts_cache_step(s->cache, e, &s->effects);
    for (size_t i = 0; i < s->effects.n; i++) {
        const struct rmd_sts_effect *f = &s->effects.v[i];
        if (f->kind == RMD_SF_ANSWER)
            answer(s, f);
        else if (f->kind == RMD_SF_TXT)
            look_up(s, f->domain);
        else if (f->kind == RMD_SF_FETCH)
            fetch(s, f->domain);
        else if (!s->dirty) {
            s->dirty = true;
            s->save_at_ms = now(s).mono_ms + RMD_STS_SAVE_MS;
        }
    }
}

static void do_later(struct rmd_sts_service *s) {
    while (s->later) {
        struct later *x = s->later;
        s->later = x->next;
        if (!s->later)
            s->later_last = &s->later;
        struct rmd_sts_event e = {.kind = x->txt ? RMD_SE_TXT : RMD_SE_FETCHED,
                                  .domain = x->domain,
                                  .txt = x->txt,
                                  .body = rmd_buf_slice(&x->body),
                                  .result = x->result,
                                  .why = x->why};
        step(s, &e);
        later_free(x);
    }
}

static struct question *take(struct rmd_sts_service *s) {
    pthread_mutex_lock(&s->lock);
    struct question *q = s->first;
    s->first = NULL;
    s->last = &s->first;
    s->questions = 0;
    pthread_mutex_unlock(&s->lock);
    return q;
}

static void questions(struct rmd_sts_service *s) {
    uint64_t drained;
    (void)!read(s->wake, &drained, sizeof drained);
    for (struct question *q = take(s), *next; q; q = next) {
        next = q->next;
        step(s, &(struct rmd_sts_event){.kind = RMD_SE_ASK, .domain = q->domain, .worker = q->worker});
        free(q);
    }
}

/* ---------------------------------------------------------------- the thread */

static int wait_ms(const struct rmd_sts_service *s) {
    int64_t at = rmd_sts_cache_deadline(s->cache), dns = rmd_dns_cares_deadline(s->cares);
    at = dns < at ? dns : at;
    at = s->dirty && s->save_at_ms < at ? s->save_at_ms : at;
    int64_t left = at - now(s).mono_ms;
    return s->later || left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void *run(void *arg) {
    struct rmd_sts_service *s = arg;
    prctl(PR_SET_NAME, "mta-sts");
    while (!atomic_load(&s->quit)) {
        int fd[2] = {s->wake, rmd_dns_cares_fd(s->cares)};
        rmd_https_wait(s->https, fd, wait_ms(s));
        questions(s);
        rmd_dns_cares_process(s->cares);
        rmd_https_process(s->https);
        do_later(s);
        if (rmd_sts_cache_deadline(s->cache) <= now(s).mono_ms)
            step(s, &(struct rmd_sts_event){.kind = RMD_SE_TICK});
        if (s->dirty && now(s).mono_ms >= s->save_at_ms)
            save(s);
    }
    if (s->dirty)
        save(s);
    return NULL;
}

static int set_up(struct rmd_sts_service *s, char *err, size_t err_n) {
    struct rmd_https_options o = {.ca_file = s->o.ca_file,
                                  .timeout_ms = (long)s->o.timeout_ms,
                                  .port = s->o.port,
                                  .max_bytes = RMD_STS_BODY_MAX};
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake < 0) {
        (void)rmd_format(err, err_n, "can't set up the MTA-STS service: %s", strerror(errno));
        return RMD_EIO;
    }
    int rc = rmd_https_open(&o, &s->https, err, err_n);
    if (!rc)
        rc = rmd_dns_cares_open(&s->o.dns, &s->cares, err, err_n);
    if (rc)
        return rc;
    s->dns = rmd_dns_cares_port(s->cares);
    load(s);
    if (pthread_create(&s->thread, NULL, run, s)) {
        (void)rmd_format(err, err_n, "can't start the MTA-STS service's thread: %s", strerror(errno));
        return RMD_EIO;
    }
    s->started = true;
    return RMD_OK;
}

int rmd_sts_start(const struct rmd_sts_options *o, struct rmd_sts_service **out, char *err, size_t err_n) {
    struct rmd_sts_service *s = rmd_alloc(sizeof *s);
    s->o = *o;
    s->file = rmd_strdup(o->file);
    s->cache = rmd_sts_cache_new();
    s->wake = -1;
    s->later_last = &s->later;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    int rc = set_up(s, err, err_n);
    if (rc)
        rmd_sts_free(s);
    else
        *out = s;
    return rc;
}

void rmd_sts_ask(struct rmd_sts_service *s, uint32_t worker, const char *domain) {
    struct question *q = rmd_alloc(sizeof *q);
    q->worker = worker;
    rmd_copy(q->domain, sizeof q->domain, domain);
    pthread_mutex_lock(&s->lock);
    bool room = s->questions < RMD_STS_QUEUE_MAX;
    if (room) {
        s->questions++;
        *s->last = q;
        s->last = &q->next;
    }
    pthread_mutex_unlock(&s->lock);
    if (!room) { /* overrun: as if it had none, rather than not answered at all */
        free(q);
        s->o.answer(s->o.ctx, worker, domain, &(struct rmd_sts_answer){0});
        return;
    }
    uint64_t one = 1;
    (void)!write(s->wake, &one, sizeof one);
}

void rmd_sts_addresses(struct rmd_sts_service *s, const struct rmd_prefix *allow, size_t n_allow,
                       const struct rmd_addr *own, size_t n_own) {
    pthread_mutex_lock(&s->lock);
    s->n_allow = n_allow < ALLOW_MAX ? n_allow : ALLOW_MAX;
    s->n_own = n_own < OWN_MAX ? n_own : OWN_MAX;
    for (size_t i = 0; i < s->n_allow; i++)
        s->allow[i] = allow[i];
    for (size_t i = 0; i < s->n_own; i++)
        s->own[i] = own[i];
    pthread_mutex_unlock(&s->lock);
}

void rmd_sts_stop(struct rmd_sts_service *s) {
    if (!s || !s->started)
        return;
    uint64_t one = 1;
    atomic_store(&s->quit, true);
    (void)!write(s->wake, &one, sizeof one);
    pthread_join(s->thread, NULL);
    s->started = false;
}

void rmd_sts_free(struct rmd_sts_service *s) {
    if (!s)
        return;
    rmd_sts_stop(s);
    s->closing = true; /* what is outstanding is answered now, to nobody */
    rmd_dns_cares_close(s->cares);
    rmd_https_close(s->https);
    for (struct later *x = s->later, *next; x; x = next) {
        next = x->next;
        later_free(x);
    }
    for (struct question *q = take(s), *next; q; q = next) {
        next = q->next;
        free(q);
    }
    rmd_sts_cache_free(s->cache);
    rmd_sts_effects_release(&s->effects);
    if (s->wake >= 0)
        close(s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->file);
    free(s);
}
