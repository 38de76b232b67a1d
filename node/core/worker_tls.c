/* TLS of connections: the policy of each host before it is dialled, what the handshake must verify, and the rows that
 * tell of every session (RFC 8460). The decision itself is tls_policy.c's.
 *
 * Domains that share their MX hosts share connections only when they also agree in what they ask of them: whether their
 * MX record is secure, and the MTA-STS policy that they enforce. So a message never leaves on a connection that its own
 * policy wouldn't have allowed. */
#include "node/core/worker_internal.h"

/* --- MTA-STS of a domain */

struct rmd_wsts *rmd_wsts_dup(const struct rmd_wsts *s) {
    if (!s)
        return NULL;
    struct rmd_wsts *copy = rmd_memdup(s, sizeof *s);
    copy->policy = rmd_sts_dup(s->policy);
    return copy;
}

void rmd_wsts_free(struct rmd_wsts *s) {
    if (!s)
        return;
    free(s->policy);
    free(s);
}

bool rmd_worker_sts_ask(struct rmd_worker *w, struct rmd_wdomain *d) {
    if (!w->o.mta_sts || !w->policy || !w->policy->starttls)
        return false;
    d->asking_sts = true;
    d->hold_ms = d->until_ms - w->now.mono_ms;
    d->until_ms = 0;
    rmd_worker_effect(w, RMD_WF_STS)->name = rmd_arena_str(&w->out->arena, rmd_slice_str(d->name));
    return true;
}

uint64_t rmd_worker_tls_site(const struct rmd_wdomain *d, bool required) {
    uint64_t id = d->site;
    if (required)
        id = rmd_mix64(id + 1);
    if (d->mx_secure)
        id = rmd_mix64(id + 2);
    const struct rmd_sts_policy *p = d->sts ? d->sts->policy : NULL;
    if (p && p->mode == RMD_STS_ENFORCE)
        id = rmd_mix64(id + 3) ^ rmd_fnv64(rmd_slice(p->mx, p->mx_n));
    return id;
}

/* --- before a host is dialled */

void rmd_worker_tls_new_host(struct rmd_wconn *c, bool addr_secure) {
    free(c->tls.tlsa);
    c->tls.tlsa = NULL;
    c->tls.decided = c->tls.told = false;
    c->tls.addr_secure = addr_secure;
    c->tls.info = (struct rmd_tls_info){0};
}

static struct rmd_tls_facts facts_of(const struct rmd_worker *w, const struct rmd_wconn *c, const char *host) {
    const struct rmd_lane *lane = c->site->lane;
    return (struct rmd_tls_facts){
        .host = host,
        .on = w->policy->starttls,
        .required = (lane->policy && lane->policy->tls_required) || c->site->tls_required,
        .dane = w->o.dane,
        .mx_secure = c->tls.mx_secure,
        .addr_secure = c->tls.addr_secure,
        .tlsa = c->tls.tlsa,
        .sts = c->tls.sts ? c->tls.sts->policy : NULL,
        .broken = rmd_tls_broken_has(&w->tls_broken, host, w->now.mono_ms),
    };
}

static void tell(struct rmd_worker *w, struct rmd_wconn *c, const char *host, enum rmd_tls_result result,
                 const char *reason, int64_t downgrade_until_ms);

enum rmd_tls_step rmd_worker_tls_host(struct rmd_worker *w, struct rmd_wconn *c) {
    const char *host = rmd_mxplan_host(c->plan);
    if (!c->tls.decided) {
        struct rmd_tls_facts f = facts_of(w, c, host);
        if (rmd_tls_asks_tlsa(&f) && !f.tlsa)
            return RMD_TLS_STEP_ASK_TLSA;
        c->tls.decision = rmd_tls_decide(&f);
        c->tls.decided = true;
    }
    if (c->tls.decision.level != RMD_TLS_L_SKIP)
        return RMD_TLS_STEP_DIAL;
    tell(w, c, host, c->tls.decision.why, c->tls.decision.reason, 0);
    return RMD_TLS_STEP_SKIP;
}

enum rmd_smtp_tls rmd_worker_tls_option(const struct rmd_wconn *c) {
    switch (c->tls.decision.level) {
    case RMD_TLS_L_PLAIN:
        return RMD_TLS_NEVER;
    case RMD_TLS_L_MAY:
        return RMD_TLS_OPPORTUNISTIC;
    default:
        return RMD_TLS_REQUIRED;
    }
}

void rmd_worker_tls_start(struct rmd_worker *w, struct rmd_wconn *c) {
    struct rmd_arena *a = &w->out->arena;
    struct rmd_tls_spec *spec = rmd_arena_alloc(a, sizeof *spec);
    spec->level = c->tls.decision.level;
    spec->check = c->tls.decision.check;
    spec->host = rmd_arena_str(a, rmd_slice_str(c->host));
    spec->domain = rmd_arena_str(a, rmd_slice_str(c->tls.domain));
    if (c->tls.tlsa && spec->level == RMD_TLS_L_DANE)
        spec->tlsa = rmd_arena_dup(a, c->tls.tlsa, sizeof *c->tls.tlsa);
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_TLS);
    f->conn = c->number;
    f->tls = spec;
}

/* --- what came of it */

static bool handshake_failed(const struct rmd_wconn *c, enum rmd_own_error error) {
    return error == RMD_OWN_TLS_HANDSHAKE && c->tls.decided;
}

bool rmd_worker_tls_fall_back(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_slice detail) {
    if (!handshake_failed(c, RMD_OWN_TLS_HANDSHAKE) || !c->tls.decision.fallback)
        return false;
    int64_t hold = w->o.tls_downgrade_ms ? w->o.tls_downgrade_ms : RMD_TLS_DOWNGRADE_MS;
    char reason[160];
    (void)rmd_copy_slice(reason, sizeof reason, detail);
    rmd_tls_broken_add(&w->tls_broken, c->host, w->now.mono_ms + hold);
    tell(w, c, c->host, RMD_TLS_R_VALIDATION_FAILURE, reason, w->now.wall_ms + hold);
    c->tls.decision.level =
        RMD_TLS_L_PLAIN; /* RFC 7435: opportunistic means that a broken TLS is no worse than none */
    c->tls.decision.fallback = false;
    c->tls.told = true; /* this attempt was */
    return true;
}

enum rmd_own_error rmd_worker_tls_failed(struct rmd_worker *w, struct rmd_wconn *c, enum rmd_own_error error,
                                         struct rmd_slice detail) {
    char reason[160];
    (void)rmd_copy_slice(reason, sizeof reason, detail);
    if (error == RMD_OWN_TLS_NOT_OFFERED) {
        bool dane = c->tls.decision.kind == RMD_TLS_POLICY_TLSA;
        tell(w, c, c->host, dane ? RMD_TLS_R_DANE_REQUIRED : RMD_TLS_R_STARTTLS_NOT_SUPPORTED, reason, 0);
    } else if (handshake_failed(c, error)) {
        enum rmd_tls_result r = c->tls.info.result ? c->tls.info.result : RMD_TLS_R_VALIDATION_FAILURE;
        tell(w, c, c->host, r, reason, 0);
        if (c->tls.info.suite)
            return RMD_OWN_TLS_CERTIFICATE;
    }
    return error;
}

void rmd_worker_tls_ready(struct rmd_worker *w, struct rmd_wconn *c) {
    const struct rmd_wsts *sts = c->tls.sts;
    bool none = c->tls.decision.kind == RMD_TLS_POLICY_NONE;
    if (!c->tls.told) {
        if (c->tls.decision.level == RMD_TLS_L_PLAIN)
            tell(w, c, c->host, RMD_TLS_R_VALIDATION_FAILURE, "not tried: its TLS failed lately", 0);
        else if (!rmd_smtp_is_tls(c->smtp))
            tell(w, c, c->host, RMD_TLS_R_STARTTLS_NOT_SUPPORTED, "", 0);
        else if (none && sts && sts->result != RMD_TLS_R_OK)
            tell(w, c, c->host, sts->result, sts->why, 0);
        else if (c->tls.decision.why != RMD_TLS_R_OK)
            tell(w, c, c->host, c->tls.decision.why, c->tls.decision.reason, 0);
        else
            tell(w, c, c->host, c->tls.info.result, c->tls.info.result ? c->tls.text : "", 0);
    }
    rmd_worker_tls_release(c);
}

void rmd_worker_tls_release(struct rmd_wconn *c) {
    free(c->tls.domain);
    free(c->tls.tlsa);
    rmd_wsts_free(c->tls.sts);
    c->tls.domain = NULL;
    c->tls.tlsa = NULL;
    c->tls.sts = NULL;
}

/* --- rows */

static void tlsa_text(const struct rmd_tlsa_answer *t, struct rmd_buf *out) {
    for (int i = 0; t && i < t->n; i++) {
        rmd_buf_addf(out, "%u %u %u ", t->tlsa[i].usage, t->tlsa[i].selector, t->tlsa[i].matching);
        for (unsigned k = 0; k < t->tlsa[i].n; k++)
            rmd_buf_addf(out, "%02x", t->data[t->tlsa[i].at + k]);
        rmd_buf_addc(out, '\n');
    }
}

static void policy_of(const struct rmd_wconn *c, Remuda__TlsRow *row, struct rmd_arena *a, struct rmd_buf *text) {
    const struct rmd_wsts *sts = c->tls.sts;
    row->kind = c->tls.decision.kind;
    if (row->kind == RMD_TLS_POLICY_TLSA) {
        tlsa_text(c->tls.tlsa, text);
    } else if (row->kind == RMD_TLS_POLICY_STS && sts && sts->policy) {
        rmd_sts_text(sts->policy, text);
        row->mode = sts->policy->mode;
        row->sts_id = rmd_arena_str(a, rmd_slice_str(sts->policy->id));
        row->expires_wall_ms = sts->expires_wall_ms;
    } else if (sts && sts->result != RMD_TLS_R_OK) {
        row->kind = RMD_TLS_POLICY_STS; /* one was announced, and couldn't be had */
    }
    if (text->len)
        row->policy = rmd_arena_str(a, rmd_buf_slice(text));
}

/* Nothing is told where the operator doesn't use STARTTLS at all. */
static void tell(struct rmd_worker *w, struct rmd_wconn *c, const char *host, enum rmd_tls_result result,
                 const char *reason, int64_t downgrade_until_ms) {
    enum { DAY_MS = 86400000 };
    struct rmd_arena *a = &w->out->arena;
    struct rmd_buf text = {0}, bytes = {0};
    Remuda__TlsRow row = REMUDA__TLS_ROW__INIT;
    char from[48], to[48];
    if (!w->policy->starttls || !c->tls.domain)
        return;
    policy_of(c, &row, a, &text);
    rmd_addr_format(&c->site->lane->source->public_address, from);
    rmd_copy(to, sizeof to, c->addr_text);
    if (c->plan && rmd_mxplan_address(c->plan))
        rmd_addr_format(rmd_mxplan_address(c->plan), to);
    row.day = (uint32_t)(w->now.wall_ms / DAY_MS);
    row.domain = c->tls.domain;
    row.mx_host = (char *)(uintptr_t)host;
    row.sending_ip = from;
    row.receiving_ip = to;
    row.result = result;
    row.reason = (char *)(uintptr_t)(reason ? reason : "");
    row.sessions = 1;
    row.resumed = c->tls.info.resumed;
    row.last_wall_ms = w->now.wall_ms;
    row.downgrade_until_wall_ms = downgrade_until_ms;
    rmd_pb_encode(&row, &bytes);
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_MAIL);
    f->mail = (struct rmd_mail){.kind = RMD_MAIL_TLS,
                                .source = c->site->lane->source->id,
                                .bytes = rmd_slice(rmd_arena_dup(a, bytes.p, bytes.len), bytes.len)};
    rmd_buf_release(&text);
    rmd_buf_release(&bytes);
}
