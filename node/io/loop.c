/* The thread of a worker: waits, reads letters, passes on what DNS and timers say (loop.h). */
#include "node/io/loop_state.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <base/log.h>
#include <base/text.h>

enum { EVENTS_AT_ONCE = 128, STATS_MS = 200 };
/* Tags of descriptors that are not connections; a connection's is its generation (above 0) and its number. */
enum { TAG_INBOX = 1, TAG_DNS = 2 };

static struct rmd_time now(const struct rmd_loop *l) {
    return l->o.clock->now(l->o.clock->ctx);
}

struct loop_later *loop_later(struct rmd_loop *l, enum loop_later_kind kind) {
    struct loop_later *x = rmd_alloc(sizeof *x);
    x->kind = kind;
    *l->later_last = x;
    l->later_last = &x->next;
    return x;
}

static void later_free(struct loop_later *x) {
    free(x->mx);
    free(x->addr);
    free(x->tlsa);
    free(x);
}

static void step_once(struct rmd_loop *l, struct rmd_worker_event *e) {
    e->at = now(l);
    rmd_worker_effects_reset(&l->effects);
    int rc = rmd_worker_step(l->worker, e, &l->effects);
    if (rc) {
        char subject[32];
        (void)rmd_format(subject, sizeof subject, "worker %u", l->o.worker.index);
        rmd_error(subject, "an event of kind %d was refused: %s", (int)e->kind, rmd_error_text(rc));
    }
    loop_carry_out(l);
}

static bool still_there(const struct rmd_loop *l, const struct loop_later *x) {
    return x->kind == LATER_MX || x->kind == LATER_ADDR || x->kind == LATER_TLSA ||
           (x->conn < l->conns && l->conn[x->conn].generation == x->generation &&
            l->conn[x->conn].dial.state != RMD_DIAL_CLOSED);
}

/* A server that replies to content before it has read it may let more content follow, before the core was told that the
 * former has left: SENT is told when all has, for the core frees the bytes. */
static bool is_overtaken(const struct rmd_loop *l, const struct loop_later *x) {
    return x->kind == LATER_SENT && (l->conn[x->conn].held || l->conn[x->conn].dot);
}

static void do_later(struct rmd_loop *l, struct loop_later *x) {
    static const enum rmd_worker_event_kind kind[] = {
        [LATER_FAILED] = RMD_WE_FAILED, [LATER_SENT] = RMD_WE_SENT, [LATER_TLS] = RMD_WE_TLS,
        [LATER_MX] = RMD_WE_MX,         [LATER_ADDR] = RMD_WE_ADDR, [LATER_TLSA] = RMD_WE_TLSA};
    struct rmd_worker_event e = {.kind = kind[x->kind],
                                 .conn = x->conn,
                                 .ok = x->ok,
                                 .error = x->error,
                                 .text = x->text,
                                 .name = x->name,
                                 .mx = x->mx,
                                 .addr = x->addr,
                                 .tlsa = x->tlsa,
                                 .tls = &x->tls};
    if (still_there(l, x) && !is_overtaken(l, x))
        step_once(l, &e);
}

static void do_all_later(struct rmd_loop *l) {
    while (l->later && !l->failed) {
        struct loop_later *x = l->later;
        l->later = x->next;
        if (!l->later)
            l->later_last = &l->later;
        do_later(l, x);
        later_free(x);
    }
}

void loop_step(struct rmd_loop *l, struct rmd_worker_event *e) {
    step_once(l, e);
    do_all_later(l);
}

/* ---------------------------------------------------------------- letters */

/* An answer of the MTA-STS service on its way between two threads of one process; the policy follows. */
struct packed_sts {
    struct rmd_sts_answer answer; /* its pointer means nothing here */
    char domain[RMD_DOMAIN_MAX + 1];
    size_t policy_n;
};

void rmd_loop_sts(struct rmd_loop *l, const char *domain, const struct rmd_sts_answer *a) {
    struct rmd_buf bytes = {0};
    struct packed_sts p = {.answer = *a};
    p.policy_n = a->policy ? sizeof *a->policy + a->policy->mx_n + 1u : 0;
    rmd_copy(p.domain, sizeof p.domain, domain);
    rmd_buf_add(&bytes, &p, sizeof p);
    if (p.policy_n)
        rmd_buf_add(&bytes, a->policy, p.policy_n);
    rmd_mailbox_put(l->inbox, rmd_letter_number(RMD_LETTER_STS, 0, rmd_buf_slice(&bytes)), false);
    rmd_buf_release(&bytes);
}

static void sts_letter(struct rmd_loop *l, struct rmd_slice bytes) {
    struct packed_sts p;
    memcpy(&p, bytes.p, sizeof p);
    struct rmd_sts_policy *policy = p.policy_n ? rmd_memdup(bytes.p + sizeof p, p.policy_n) : NULL;
    p.answer.policy = policy;
    loop_step(l, &(struct rmd_worker_event){.kind = RMD_WE_STS, .name = p.domain, .sts = &p.answer});
    free(policy);
}

static void letter(struct rmd_loop *l, struct rmd_letter *x) {
    if (x->kind == RMD_LETTER_RULES) {
        rmd_worker_rules(l->worker, x->rules->rules);
        rmd_rules_ref_drop(l->rules);
        l->rules = x->rules;
        x->rules = NULL;
    } else if (x->kind == RMD_LETTER_STS) {
        sts_letter(l, x->bytes);
    } else if (x->kind == RMD_LETTER_MAIL) {
        loop_step(l, &(struct rmd_worker_event){.kind = RMD_WE_MAIL, .mail = &x->mail});
    }
}

static void letters(struct rmd_loop *l) {
    for (struct rmd_letter *x = rmd_mailbox_take(l->inbox), *next; x; x = next) {
        next = x->next;
        if (!l->failed)
            letter(l, x);
        rmd_letter_free(x);
    }
}

/* ---------------------------------------------------------------- the thread */

static void publish_stats(struct rmd_loop *l) {
    struct rmd_worker_stats s;
    rmd_worker_stats(l->worker, &s);
    pthread_mutex_lock(&l->stats_lock);
    l->stats = s;
    pthread_mutex_unlock(&l->stats_lock);
}

static int wait_ms(const struct rmd_loop *l, int64_t stats_at, int64_t dns_at) {
    int64_t at = rmd_worker_deadline(l->worker);
    at = dns_at < at ? dns_at : at;
    at = stats_at < at ? stats_at : at;
    int64_t left = at - now(l).mono_ms;
    return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void *run(void *arg) {
    struct rmd_loop *l = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t stats_at = 0;
    char name[16];
    (void)rmd_format(name, sizeof name, "worker-%u", l->o.worker.index);
    prctl(PR_SET_NAME, name);
    while (!atomic_load(&l->quit) && !l->failed) {
        int64_t dns_at = rmd_dns_cares_deadline(l->dns_object);
        int n = epoll_wait(l->epoll, events, EVENTS_AT_ONCE, wait_ms(l, stats_at, dns_at));
        bool dns_answers = false;
        for (int i = 0; i < n && !l->failed; i++) {
            uint64_t tag = events[i].data.u64;
            if (tag == TAG_INBOX)
                letters(l);
            else if (tag == TAG_DNS)
                dns_answers = true;
            else
                loop_conn_event(l, (uint32_t)tag, (uint32_t)(tag >> 32), events[i].events);
        }
        int64_t t = now(l).mono_ms;
        if (dns_answers || t >= dns_at)
            rmd_dns_cares_process(l->dns_object);
        if (!l->failed && (l->later || rmd_worker_deadline(l->worker) <= t))
            loop_step(l, &(struct rmd_worker_event){.kind = RMD_WE_TICK});
        if (t >= stats_at) {
            publish_stats(l);
            stats_at = t + STATS_MS;
        }
        do {
            loop_let_go(l);
            do_all_later(l);
        } while (l->held_n && !l->failed);
    }
    return NULL;
}

static void loop_free(struct rmd_loop *l) {
    if (l->conn)
        loop_conns_close(l);
    if (l->dns_object)
        rmd_dns_cares_close(l->dns_object);
    for (struct loop_later *x = l->later, *next; x; x = next) {
        next = x->next;
        later_free(x);
    }
    rmd_worker_free(l->worker);
    rmd_worker_effects_release(&l->effects);
    rmd_tls_context_free(l->tls);
    rmd_mailbox_free(l->inbox);
    rmd_rules_ref_drop(l->rules);
    if (l->epoll >= 0)
        close(l->epoll);
    free(l->conn);
    free(l->record);
    free(l->held);
    rmd_buf_release(&l->encoded);
    pthread_mutex_destroy(&l->stats_lock);
    free(l);
}

static bool watch(const struct rmd_loop *l, int fd, uint64_t tag) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static int set_up(struct rmd_loop *l, char *err, size_t err_n) {
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->inbox = rmd_mailbox_new(false);
    if (l->epoll < 0 || !l->inbox) {
        (void)rmd_format(err, err_n, "can't set up a worker: %s", strerror(errno));
        return RMD_EIO;
    }
    l->tls = rmd_tls_context_new(l->o.ca_file ? l->o.ca_file : "", err, err_n);
    if (!l->tls)
        return RMD_EIO;
    int rc = rmd_dns_cares_open(&l->o.dns, &l->dns_object, err, err_n);
    if (rc)
        return rc;
    l->dns = rmd_dns_cares_port(l->dns_object);
    l->o.worker.rules = l->rules->rules;
    l->worker = rmd_worker_new(&l->o.worker);
    if (!watch(l, rmd_mailbox_fd(l->inbox), TAG_INBOX) || !watch(l, rmd_dns_cares_fd(l->dns_object), TAG_DNS)) {
        (void)rmd_format(err, err_n, "can't set up a worker's epoll: %s", strerror(errno));
        return RMD_EIO;
    }
    return RMD_OK;
}

int rmd_loop_start(const struct rmd_loop_options *o, struct rmd_loop **out, char *err, size_t err_n) {
    struct rmd_loop *l = rmd_alloc(sizeof *l);
    l->o = *o;
    l->epoll = -1;
    l->later_last = &l->later;
    l->rules = o->rules;
    atomic_fetch_add(&l->rules->users, 1);
    pthread_mutex_init(&l->stats_lock, NULL);
    int rc = set_up(l, err, err_n);
    if (!rc && pthread_create(&l->thread, NULL, run, l)) {
        (void)rmd_format(err, err_n, "can't start a worker thread: %s", strerror(errno));
        rc = RMD_EIO;
    }
    if (rc) {
        loop_free(l);
        return rc;
    }
    *out = l;
    return RMD_OK;
}

void rmd_loop_mail(struct rmd_loop *l, const struct rmd_mail *mail) {
    rmd_mailbox_put(l->inbox, rmd_letter_mail(l->o.worker.index, mail), false);
}

void rmd_loop_rules(struct rmd_loop *l, struct rmd_rules_ref *rules) {
    struct rmd_letter *x = rmd_letter_number(RMD_LETTER_RULES, 0, (struct rmd_slice){0});
    x->rules = rules;
    rmd_mailbox_put(l->inbox, x, false);
}

bool rmd_loop_full(struct rmd_loop *l) {
    return rmd_mailbox_full(l->inbox);
}

void rmd_loop_stats(struct rmd_loop *l, struct rmd_worker_stats *out) {
    pthread_mutex_lock(&l->stats_lock);
    *out = l->stats;
    pthread_mutex_unlock(&l->stats_lock);
}

void rmd_loop_stop(struct rmd_loop *l) {
    if (!l)
        return;
    atomic_store(&l->quit, true);
    /* wakes it; a letter without meaning */
    rmd_mailbox_put(l->inbox, rmd_letter_number(RMD_LETTER_FAILED, 0, (struct rmd_slice){0}), false);
    pthread_join(l->thread, NULL);
    loop_free(l);
}
