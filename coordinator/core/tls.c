/* TLS sessions as nodes report them, by UTC day, policy domain and kind of policy (RFC 8460): what `remuda tls` shows and
 * reports are made of. Kept for RMD_TLS_DAYS days, at most RMD_TLS_RECORDS_MAX records; what finds no room is counted.
 *
 * A report of a node is counted once: its run and number are in the node's record, in the same commit. */
#include "proto/tls.h"
#include "coordinator/core/core.h"

enum { DAY_MS = 86400000 };

struct tls_day {
    struct rmd_list all, dirty; /* all: oldest first */
    Remuda__TlsDayRecord *rec;
};

struct rmd_tls_book {
    struct rmd_map by_key;
    struct rmd_list all, dirty;
    uint32_t n;
    uint32_t today;
    uint64_t dropped;
};

void rmd_tls_init(struct rmd_coord *c) {
    c->tls = rmd_alloc(sizeof *c->tls);
    rmd_list_init(&c->tls->all);
    rmd_list_init(&c->tls->dirty);
}

static void day_free(struct rmd_tls_book *b, struct tls_day *d) {
    struct rmd_key k = rmd_key_tls(d->rec->day, (uint8_t)d->rec->kind, d->rec->domain);
    rmd_map_remove(&b->by_key, rmd_key_slice(&k));
    rmd_list_remove(&d->all);
    rmd_list_remove(&d->dirty);
    remuda__tls_day_record__free_unpacked(d->rec, NULL);
    free(d);
    b->n--;
}

void rmd_tls_free(struct rmd_coord *c) {
    if (!c->tls)
        return;
    while (!rmd_list_empty(&c->tls->all))
        day_free(c->tls, rmd_container(c->tls->all.next, struct tls_day, all));
    rmd_map_release(&c->tls->by_key);
    free(c->tls);
}

void rmd_tls_restore(struct rmd_coord *c, Remuda__TlsDayRecord *r) {
    struct rmd_key k = rmd_key_tls(r->day, (uint8_t)r->kind, r->domain);
    if (rmd_map_get(&c->tls->by_key, rmd_key_slice(&k))) { /* two names, one hash: the first stays */
        remuda__tls_day_record__free_unpacked(r, NULL);
        return;
    }
    struct tls_day *d = rmd_alloc(sizeof *d);
    d->rec = r;
    rmd_map_set(&c->tls->by_key, rmd_key_slice(&k), d);
    rmd_list_push(&c->tls->all, &d->all); /* keys begin with the day */
    c->tls->n++;
}

/* NULL: no room, or another domain has its key. */
static struct tls_day *day_of(struct rmd_coord *c, const Remuda__TlsRow *row) {
    struct rmd_key k = rmd_key_tls(row->day, (uint8_t)row->kind, row->domain);
    struct tls_day *d = rmd_map_get(&c->tls->by_key, rmd_key_slice(&k));
    if (d)
        return strcmp(d->rec->domain, row->domain) == 0 ? d : NULL;
    if (c->tls->n >= RMD_TLS_RECORDS_MAX)
        return NULL;
    Remuda__TlsDayRecord *r = rmd_alloc(sizeof *r);
    remuda__tls_day_record__init(r);
    r->day = row->day;
    r->kind = row->kind;
    rmd_str_set(&r->domain, row->domain);
    rmd_tls_restore(c, r);
    return rmd_map_get(&c->tls->by_key, rmd_key_slice(&k));
}

/* ---- one row */

static void note_host(Remuda__TlsDayRecord *r, const char *host) {
    if (!*host || r->n_mx_host >= RMD_TLS_MX_HOSTS_MAX)
        return;
    for (size_t i = 0; i < r->n_mx_host; i++)
        if (strcmp(r->mx_host[i], host) == 0)
            return;
    r->mx_host = rmd_realloc(r->mx_host, (r->n_mx_host + 1) * sizeof *r->mx_host);
    r->mx_host[r->n_mx_host++] = rmd_strdup(host);
}

static void note_policy(Remuda__TlsDayRecord *r, const Remuda__TlsRow *row) {
    if (row->last_wall_ms < r->last_wall_ms)
        return;
    r->last_wall_ms = row->last_wall_ms;
    if (*row->policy) { /* a fetch that failed knows none: the one before stays */
        r->mode = row->mode;
        r->expires_wall_ms = row->expires_wall_ms;
        rmd_str_set(&r->sts_id, row->sts_id);
        rmd_str_set(&r->policy, row->policy);
    }
}

static bool same_failure(const Remuda__TlsRow *a, const Remuda__TlsRow *b) {
    return a->result == b->result && strcmp(a->mx_host, b->mx_host) == 0 &&
           strcmp(a->sending_ip, b->sending_ip) == 0 && strcmp(a->receiving_ip, b->receiving_ip) == 0 &&
           strcmp(a->reason, b->reason) == 0;
}

/* True: a failure of this kind is new on this day. */
static bool note_failure(Remuda__TlsDayRecord *r, const Remuda__TlsRow *row) {
    r->failed += row->sessions;
    if (row->last_wall_ms >= r->last_failure_wall_ms) {
        char text[256];
        (void)rmd_format(text, sizeof text, "%s%s%s%s%s", rmd_tls_result_name(row->result),
                         *row->mx_host ? " at " : "", row->mx_host, *row->reason ? ": " : "", row->reason);
        rmd_str_set(&r->last_failure, text);
        r->last_failure_wall_ms = row->last_wall_ms;
    }
    for (size_t i = 0; i < r->n_failure; i++) {
        if (!same_failure(r->failure[i], row))
            continue;
        r->failure[i]->sessions += row->sessions;
        return false;
    }
    if (r->n_failure >= RMD_TLS_FAILURES_MAX) {
        r->failed_unlisted += row->sessions;
        return false;
    }
    Remuda__TlsRow *f = rmd_alloc(sizeof *f);
    remuda__tls_row__init(f);
    rmd_str_set(&f->mx_host, row->mx_host);
    rmd_str_set(&f->sending_ip, row->sending_ip);
    rmd_str_set(&f->receiving_ip, row->receiving_ip);
    rmd_str_set(&f->reason, row->reason);
    f->result = row->result;
    f->sessions = row->sessions;
    f->last_wall_ms = row->last_wall_ms;
    r->failure = rmd_realloc(r->failure, (r->n_failure + 1) * sizeof *r->failure);
    r->failure[r->n_failure++] = f;
    return true;
}

static void tell(struct rmd_coord *c, const struct rmd_node *n, const char *type, const Remuda__TlsRow *row,
                 const char *what) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->node = n->rec->id;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s: %s%s%s%s%s%s%s%s", row->domain, row->mx_host,
                               *row->receiving_ip ? " [" : "", row->receiving_ip, *row->receiving_ip ? "]: " : ": ",
                               rmd_tls_result_name(row->result), *row->reason ? ": " : "", row->reason, what);
}

/* Not of those that simply have no TLS: they are many, and nobody asked them for it. */
static bool worth_an_event(const Remuda__TlsRow *row) {
    return row->kind != RMD_TLS_POLICY_NONE || row->result != RMD_TLS_R_STARTTLS_NOT_SUPPORTED;
}

static bool plausible(const struct rmd_coord *c, const Remuda__TlsRow *row) {
    uint32_t today = (uint32_t)(c->now.wall_ms / DAY_MS);
    return row->day <= today + 1 && row->day + RMD_TLS_DAYS > today && *row->domain &&
           strlen(row->domain) <= RMD_TLS_DOMAIN_BYTES && row->kind < RMD_TLS_POLICY_COUNT &&
           row->result < RMD_TLS_R_COUNT && row->sessions;
}

static void count(struct rmd_coord *c, const struct rmd_node *n, const Remuda__TlsRow *row) {
    struct tls_day *d = plausible(c, row) ? day_of(c, row) : NULL;
    if (!d) {
        c->tls->dropped += row->sessions;
        return;
    }
    Remuda__TlsDayRecord *r = d->rec;
    note_host(r, row->mx_host);
    note_policy(r, row);
    r->resumed += row->resumed;
    bool fresh = false;
    if (row->result == RMD_TLS_R_OK)
        r->good += row->sessions;
    else
        fresh = note_failure(r, row);
    if (row->downgrade_until_wall_ms > r->downgrade_until_wall_ms) {
        char until[32], what[80];
        r->downgrade_until_wall_ms = row->downgrade_until_wall_ms;
        rmd_date_rfc3339(row->downgrade_until_wall_ms, until);
        (void)rmd_format(what, sizeof what, "; spoken to in the clear until %s", until);
        tell(c, n, "tls.downgraded", row, what);
    } else if (fresh && worth_an_event(row)) {
        tell(c, n, "tls.failed", row, "");
    }
    if (!rmd_list_linked(&d->dirty))
        rmd_list_push(&c->tls->dirty, &d->dirty);
}

void rmd_tls_report(struct rmd_coord *c, struct rmd_node *n, const Remuda__TlsReport *m) {
    Remuda__NodeRecord *r = n->rec;
    if (m->run != r->tls_run || m->n > r->tls_n) {
        for (size_t i = 0; i < m->n_row; i++)
            count(c, n, m->row[i]);
        c->tls->dropped += m->dropped;
        r->tls_run = m->run;
        r->tls_n = m->n;
        n->dirty = c->nodes_dirty = true;
    }
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_TLS_REPORT_ACK, -1);
    f->tls_report_ack = rmd_arena_alloc(rmd_arena_after(c), sizeof *f->tls_report_ack);
    remuda__tls_report_ack__init(f->tls_report_ack);
    f->tls_report_ack->run = m->run;
    f->tls_report_ack->n = m->n;
}

void rmd_tls_flush(struct rmd_coord *c) {
    struct rmd_tls_book *b = c->tls;
    uint32_t today = (uint32_t)(c->now.wall_ms / DAY_MS);
    while (!rmd_list_empty(&b->dirty)) {
        struct tls_day *d = rmd_container(b->dirty.next, struct tls_day, dirty);
        rmd_list_remove(&d->dirty);
        struct rmd_key k = rmd_key_tls(d->rec->day, (uint8_t)d->rec->kind, d->rec->domain);
        rmd_core_put(c, &k, d->rec);
    }
    if (c->phase != RMD_PHASE_SERVING || today <= b->today)
        return;
    b->today = today;
    rmd_list_for_safe(it, &b->all) {
        struct tls_day *d = rmd_container(it, struct tls_day, all);
        if (d->rec->day + RMD_TLS_DAYS > today)
            continue;
        struct rmd_key k = rmd_key_tls(d->rec->day, (uint8_t)d->rec->kind, d->rec->domain);
        rmd_core_delete(c, &k);
        day_free(b, d);
    }
}

uint64_t rmd_coord_tls_days(struct rmd_coord *c, void (*fn)(void *, const Remuda__TlsDayRecord *), void *ctx) {
    rmd_list_for(it, &c->tls->all) fn(ctx, rmd_container(it, struct tls_day, all)->rec);
    return c->tls->dropped;
}
