/* DKIM verification of accepted messages, with libopendkim, off the reply path.
 *
 * Messages wait in a queue bounded in bytes; threads verify every signature of each and write a `dkim` line. A
 * message that finds the queue full gets a line with "skipped", never silence. libopendkim fetches keys through our
 * callback (keys.c). */
#include "tests/receivers/receivers.h"

#include <opendkim/dkim.h>
#include <pthread.h>
#include <unistd.h>

enum { SIGNATURES_MAX = 16 };

struct job {
    struct job *next;
    struct rmd_buf msg;
    char *provider, *ip, *rcpt, *id;
};

struct worker {
    pthread_t thread;
    struct rmd_rcv_verifier *v;
    struct rmd_rcv_keys *keys;
};

struct rmd_rcv_verifier {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    size_t bytes, jobs; /* queued or being verified */
    size_t limit_bytes;
    bool stop;
    DKIM_LIB *lib;
    struct rmd_rcv_transcript *transcript;
    struct worker *workers;
    size_t workers_n;
};

static _Thread_local struct rmd_rcv_keys
    *thread_keys; /* libopendkim's callback has no context of the library's user */

static DKIM_CBSTAT key_lookup(DKIM *dkim, DKIM_SIGINFO *sig, u_char *buf, size_t n) {
    char name[512];
    (void)dkim;
    if (rmd_format(name, sizeof name, "%s._domainkey.%s", (const char *)dkim_sig_getselector(sig),
                   (const char *)dkim_sig_getdomain(sig)) < 0)
        return DKIM_CBSTAT_ERROR;
    switch (rmd_rcv_keys_find(thread_keys, name, (char *)buf, n)) {
    case RMD_OK:
        return DKIM_CBSTAT_CONTINUE;
    case RMD_ENOTFOUND:
        return DKIM_CBSTAT_NOTFOUND;
    default:
        return DKIM_CBSTAT_ERROR;
    }
}

static size_t fields_named(struct rmd_slice msg, const char *name) {
    size_t at = 0, n = 0;
    while (rmd_rcv_header_find(msg, name, &at).n)
        n++;
    return n;
}

/* How often a name stands in h=. */
static size_t signed_times(const char *h, const char *name) {
    size_t times = 0;
    while (*h) {
        size_t n = strcspn(h, ":");
        times += rmd_case_eq(rmd_trim(rmd_slice(h, n)), rmd_slice_str(name));
        h += n + (h[n] == ':');
    }
    return times;
}

static void json_signed_headers(struct rmd_buf *b, const char *h) {
    rmd_buf_addstr(b, ",\"signed_headers\":[");
    for (bool first = true; *h; first = false) {
        size_t n = strcspn(h, ":");
        if (!first)
            rmd_buf_addc(b, ',');
        char *low = rmd_strndup(h, n);
        rmd_lower_str(low);
        rmd_rcv_json_quote(b, rmd_trim(rmd_slice_str(low)));
        free(low);
        h += n + (h[n] == ':');
    }
    rmd_buf_addc(b, ']');
}

struct findings {
    int passed, failed;
    bool from_oversigned;
    bool unsigned_field[4]; /* in at least one signature */
};
static const char *const wanted[4] = {"message-id", "date", "list-unsubscribe", "list-unsubscribe-post"};

static void signature(struct rmd_buf *b, DKIM *dkim, DKIM_SIGINFO *sig, struct rmd_slice msg, struct findings *f) {
    bool processed = dkim_sig_process(dkim, sig) == DKIM_STAT_OK;
    bool pass = processed && DKIM_SIG_CHECK(sig) && !(dkim_sig_getflags(sig) & DKIM_SIGFLAG_IGNORE);
    u_char tag_h[] = "h", *h_value = dkim_sig_gettagvalue(sig, 0, tag_h);
    const char *h = h_value ? (const char *)h_value : "";
    unsigned bits = 0;
    (void)dkim_sig_getkeysize(sig, &bits);
    rmd_buf_addf(b, "{\"result\":\"%s\"", pass ? "pass" : "fail");
    rmd_rcv_json_cstr(b, "d", (const char *)dkim_sig_getdomain(sig));
    rmd_rcv_json_cstr(b, "s", (const char *)dkim_sig_getselector(sig));
    const char *a = (const char *)dkim_sig_getalgorithm(sig);
    rmd_rcv_json_cstr(b, "a", a ? a : "");
    rmd_rcv_json_int(b, "bits", bits);
    if (!pass)
        rmd_rcv_json_cstr(b, "error",
                          dkim_sig_getbh(sig) == DKIM_SIGBH_MISMATCH ? "body hash mismatch"
                                                                     : dkim_sig_geterrorstr(dkim_sig_geterror(sig)));
    json_signed_headers(b, h);
    rmd_buf_addc(b, '}');
    f->passed += pass;
    f->failed += !pass;
    f->from_oversigned &= signed_times(h, "from") > fields_named(msg, "From:");
    for (size_t i = 0; i < 4; i++)
        f->unsigned_field[i] |= !signed_times(h, wanted[i]);
}

/* The List- fields are only asked for in messages that have them; Message-ID and Date always. */
static void json_unsigned(struct rmd_buf *b, struct rmd_slice msg, const struct findings *f) {
    bool first = true;
    rmd_buf_addstr(b, ",\"unsigned\":[");
    for (size_t i = 0; i < 4; i++) {
        char name[32];
        (void)rmd_format(name, sizeof name, "%s:", wanted[i]);
        if (!f->unsigned_field[i] || (i >= 2 && !fields_named(msg, name)))
            continue;
        rmd_buf_addf(b, "%s\"%s\"", first ? "" : ",", wanted[i]);
        first = false;
    }
    rmd_buf_addc(b, ']');
}

static void json_domains(struct rmd_buf *b, DKIM_SIGINFO **sigs, int n) {
    rmd_buf_addstr(b, ",\"dkim_d\":[");
    for (int i = 0; i < n; i++) {
        if (i)
            rmd_buf_addc(b, ',');
        rmd_rcv_json_quote(b, rmd_slice_str((const char *)dkim_sig_getdomain(sigs[i])));
    }
    rmd_buf_addc(b, ']');
}

static void verify(struct rmd_rcv_verifier *v, const struct job *j, struct rmd_buf *b) {
    struct rmd_slice msg = rmd_buf_slice(&j->msg);
    struct findings f = {.from_oversigned = true};
    DKIM_SIGINFO **sigs = NULL;
    DKIM_STAT st, eom;
    bool testkey;
    int n = 0;
    DKIM *dkim = dkim_verify(v->lib, (const unsigned char *)j->id, NULL, &st);
    if (!dkim) {
        rmd_rcv_json_cstr(b, "dkim", "fail");
        rmd_rcv_json_cstr(b, "text", dkim_getresultstr(st));
        return;
    }
    st = dkim_chunk(dkim, (u_char *)(uintptr_t)msg.p, msg.n);
    if (st == DKIM_STAT_OK)
        st = dkim_chunk(dkim, NULL, 0);
    eom = st == DKIM_STAT_OK ? dkim_eom(dkim, &testkey) : st;
    if (dkim_getsiglist(dkim, &sigs, &n) != DKIM_STAT_OK)
        n = 0;
    n = n > SIGNATURES_MAX ? SIGNATURES_MAX : n;
    rmd_buf_addstr(b, ",\"signatures\":[");
    for (int i = 0; i < n; i++) {
        if (i)
            rmd_buf_addc(b, ',');
        signature(b, dkim, sigs[i], msg, &f);
    }
    rmd_buf_addc(b, ']');
    rmd_rcv_json_cstr(b, "dkim", f.failed || (!n && eom != DKIM_STAT_NOSIG) ? "fail" : n ? "pass" : "none");
    const char *why = eom == DKIM_STAT_OK ? NULL : dkim_getresultstr(eom);
    if (eom != DKIM_STAT_OK) /* it has no words for some of its results */
        rmd_rcv_json_cstr(b, "text", why ? why : "no result");
    json_domains(b, sigs, n);
    rmd_rcv_json_bool(b, "from_oversigned", n && f.from_oversigned);
    json_unsigned(b, msg, &f);
    dkim_free(dkim);
}

static void line_begin(struct rmd_buf *b, const struct rmd_rcv_check *k) {
    size_t at = 0;
    rmd_buf_addf(b, "{\"t_us\":%lld,\"wall_ms\":%lld,\"event\":\"dkim\"", (long long)rmd_rcv_boot_us(),
                 (long long)rmd_rcv_wall_ms());
    rmd_rcv_json_cstr(b, "provider", k->provider);
    rmd_rcv_json_cstr(b, "ip", k->ip);
    rmd_rcv_json_cstr(b, "rcpt", k->rcpt);
    rmd_rcv_json_cstr(b, "msg", k->id);
    rmd_rcv_json_str(b, "message_id", rmd_rcv_header_find(rmd_buf_slice(&k->msg), "Message-ID:", &at));
}

static void job_free(struct job *j) {
    rmd_buf_release(&j->msg);
    free(j->provider);
    free(j->ip);
    free(j->rcpt);
    free(j->id);
    free(j);
}

static struct job *job_take(struct rmd_rcv_verifier *v) {
    pthread_mutex_lock(&v->lock);
    while (!v->first && !v->stop)
        pthread_cond_wait(&v->more, &v->lock);
    struct job *j = v->first;
    if (j) {
        v->first = j->next;
        if (!v->first)
            v->last = &v->first;
    }
    pthread_mutex_unlock(&v->lock);
    return j;
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct rmd_rcv_verifier *v = w->v;
    struct rmd_buf line = {0};
    struct job *j;
    thread_keys = w->keys;
    if (nice(5) == -1) /* replies go first; a refusal here only costs smoothness */
        fprintf(stderr, "remuda-receivers: nice: %m\n");
    while ((j = job_take(v))) {
        struct rmd_rcv_check k = {j->msg, j->provider, j->ip, j->rcpt, j->id};
        rmd_buf_clear(&line);
        line_begin(&line, &k);
        verify(v, j, &line);
        rmd_buf_addc(&line, '}');
        rmd_rcv_transcript_write(v->transcript, &line);
        pthread_mutex_lock(&v->lock);
        v->bytes -= j->msg.len;
        v->jobs--;
        pthread_mutex_unlock(&v->lock);
        job_free(j);
    }
    rmd_buf_release(&line);
    return NULL;
}

int rmd_rcv_verifier_start(struct rmd_rcv *r, char *err, size_t err_n) {
    struct rmd_rcv_verifier *v = rmd_alloc(sizeof *v);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->more, NULL);
    v->last = &v->first;
    v->limit_bytes = (size_t)r->dkim_queue_bytes;
    v->transcript = r->transcript;
    v->lib = dkim_init(NULL, NULL);
    v->workers = rmd_alloc((size_t)r->dkim_threads * sizeof *v->workers);
    r->verifier = v;
    if (!v->lib || dkim_set_key_lookup(v->lib, key_lookup) != DKIM_STAT_OK) {
        (void)rmd_format(err, err_n, "libopendkim can't be initialised");
        return RMD_EIO;
    }
    for (; v->workers_n < (size_t)r->dkim_threads; v->workers_n++) {
        struct worker *w = &v->workers[v->workers_n];
        w->v = v;
        w->keys = rmd_rcv_keys_open(&r->dkim_keys, r->dkim_dns, err, err_n);
        if (!w->keys)
            return RMD_EIO;
        if (pthread_create(&w->thread, NULL, work, w)) {
            rmd_rcv_keys_close(w->keys);
            (void)rmd_format(err, err_n, "a verifier thread can't be started");
            return RMD_EIO;
        }
    }
    return RMD_OK;
}

void rmd_rcv_verifier_stop(struct rmd_rcv *r) {
    struct rmd_rcv_verifier *v = r->verifier;
    if (!v)
        return;
    pthread_mutex_lock(&v->lock);
    v->stop = true;
    pthread_cond_broadcast(&v->more);
    pthread_mutex_unlock(&v->lock);
    for (size_t i = 0; i < v->workers_n; i++) {
        pthread_join(v->workers[i].thread, NULL);
        rmd_rcv_keys_close(v->workers[i].keys);
    }
    if (v->lib)
        dkim_close(v->lib);
    pthread_mutex_destroy(&v->lock);
    pthread_cond_destroy(&v->more);
    free(v->workers);
    free(v);
    r->verifier = NULL;
}

void rmd_rcv_verifier_add(struct rmd_rcv *r, struct rmd_rcv_check *k) {
    struct rmd_rcv_verifier *v = r->verifier;
    struct job *j = NULL;
    pthread_mutex_lock(&v->lock);
    if (v->bytes + k->msg.len <= v->limit_bytes) {
        j = rmd_alloc(sizeof *j);
        *j = (struct job){
            NULL, k->msg, rmd_strdup(k->provider), rmd_strdup(k->ip), rmd_strdup(k->rcpt), rmd_strdup(k->id)};
        *v->last = j;
        v->last = &j->next;
        v->bytes += k->msg.len;
        v->jobs++;
        pthread_cond_signal(&v->more);
    }
    pthread_mutex_unlock(&v->lock);
    if (j)
        return;
    struct rmd_buf line = {0};
    line_begin(&line, k);
    rmd_rcv_json_cstr(&line, "dkim", "skipped");
    rmd_rcv_json_cstr(&line, "text", "the verifier's queue is full");
    rmd_buf_addc(&line, '}');
    rmd_rcv_transcript_flush(r->transcript);
    rmd_rcv_transcript_write(r->transcript, &line);
    rmd_buf_release(&line);
    rmd_buf_release(&k->msg);
}

size_t rmd_rcv_verifier_pending(struct rmd_rcv *r) {
    if (!r->verifier)
        return 0;
    pthread_mutex_lock(&r->verifier->lock);
    size_t n = r->verifier->jobs;
    pthread_mutex_unlock(&r->verifier->lock);
    return n;
}
