/* Carrying out what the node core decided: the journal first and in one piece, then the rest in order (node.h). */
#include <time.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "node/io/journal_wait.h"
#include "node/io/shell_state.h"
#include "proto/io/rules_file.h"

static struct shell_later *later(struct rmd_node_shell *s, enum rmd_node_event_kind kind, struct rmd_slice bytes) {
    struct shell_later *x = rmd_alloc(sizeof *x + bytes.n);
    x->kind = kind;
    x->bytes_n = bytes.n;
    if (bytes.n)
        memcpy(x->bytes, bytes.p, bytes.n);
    *s->later_last = x;
    s->later_last = &x->next;
    return x;
}

void node_shell_looked_up(struct rmd_node_shell *s, uint64_t token, const struct rmd_addr_answer *addr,
                          const struct rmd_txt_answer *txt) {
    struct shell_later *x =
        later(s, RMD_NE_LOOKED_UP, txt ? rmd_slice(txt, sizeof *txt) : rmd_slice(addr, sizeof *addr));
    x->token = token;
    x->txt = txt != NULL;
}

/* ---------------------------------------------------------------- journal */

static struct rmd_journal_record *record_next(struct rmd_node_shell *s, size_t n) {
    if (n == s->record_cap) {
        s->record_cap = s->record_cap ? s->record_cap * 2 : 32;
        s->record = rmd_realloc(s->record, s->record_cap * sizeof *s->record);
    }
    s->record[n] = (struct rmd_journal_record){0};
    return &s->record[n];
}

static bool journal_kind(enum rmd_node_effect_kind kind, enum rmd_journal_kind *out) {
    switch (kind) {
    case RMD_NF_JOURNAL_LEASE:
        *out = RMD_JR_LEASE;
        return true;
    case RMD_NF_JOURNAL_TEMPLATE:
        *out = RMD_JR_TEMPLATE;
        return true;
    case RMD_NF_JOURNAL_TEMPLATE_DROP:
        *out = RMD_JR_TEMPLATE_DROP;
        return true;
    case RMD_NF_JOURNAL_OUTCOME:
        *out = RMD_JR_OUTCOME;
        return true;
    case RMD_NF_JOURNAL_DROP:
        *out = RMD_JR_LEASE_DROP;
        return true;
    case RMD_NF_JOURNAL_ACKED:
        *out = RMD_JR_ACKED;
        return true;
    case RMD_NF_JOURNAL_ALARM_ACKED:
        *out = RMD_JR_ALARM_ACKED;
        return true;
    default:
        return false;
    }
}

/* bytes.p of an outcome is its offset in `encoded` until all is encoded: the buffer may move. */
static size_t collect(struct rmd_node_shell *s) {
    size_t n = 0;
    rmd_buf_clear(&s->encoded);
    for (size_t i = 0; i < s->effects.n; i++) {
        const struct rmd_node_effect *x = &s->effects.v[i];
        enum rmd_journal_kind kind;
        if (!journal_kind(x->kind, &kind))
            continue;
        struct rmd_journal_record *r = record_next(s, n++);
        *r = (struct rmd_journal_record){
            .kind = kind, .lease = x->lease, .index = x->part, .n = x->n, .hash = x->hash, .bytes = x->bytes};
        if (kind == RMD_JR_OUTCOME) {
            size_t at = s->encoded.len;
            rmd_pb_encode(x->outcome, &s->encoded);
            r->lease = x->outcome->lease;
            r->index = x->outcome->index;
            r->bytes = (struct rmd_slice){.p = (const uint8_t *)(uintptr_t)at, .n = s->encoded.len - at};
        }
    }
    for (size_t i = 0; i < n; i++)
        if (s->record[i].kind == RMD_JR_OUTCOME)
            s->record[i].bytes.p = s->encoded.p + (uintptr_t)s->record[i].bytes.p;
    return n;
}

static bool give_up(void *ctx) {
    return node_shell_read_signals(ctx);
}

static bool journal(struct rmd_node_shell *s) {
    size_t n = collect(s);
    if (!n)
        return true;
    if (rmd_journal_append_wait(&s->journal, s->record, n, give_up, s) != RMD_OK)
        return false;
    bool lease = false;
    for (size_t i = 0; i < n; i++) {
        lease |= s->record[i].kind == RMD_JR_LEASE;
        if (s->record[i].kind == RMD_JR_OUTCOME)
            later(s, RMD_NE_OUTCOME, s->record[i].bytes)->n = s->record[i].n;
    }
    if (lease)
        rmd_probe(RMD_PROBE_LEASE_RECEIVED);
    return true;
}

/* ---------------------------------------------------------------- the rest */

/* Sending is done by ZeroMQ's own thread; a probe that stops the process would stop it too, before the frame has
 * left. */
static void let_it_leave(enum rmd_probe p) {
    if (rmd_probe_armed != (int)p)
        return;
    struct timespec t = {.tv_nsec = 200000000L};
    nanosleep(&t, NULL);
}

static void send_frame(struct rmd_node_shell *s, const Remuda__Frame *f) {
    if (f->body_case == REMUDA__FRAME__BODY_RECALLED)
        rmd_probe(RMD_PROBE_RECALL_GIVEN_BACK);
    struct rmd_buf bytes = {0};
    rmd_frame_encode(f, &bytes);
    int rc = rmd_bus_client_send(s->bus, rmd_buf_slice(&bytes));
    rmd_buf_release(&bytes);
    if (rc) {
        s->unsent_frames++; /* whatever matters is repeated by the core */
        rmd_debug("bus", "frame %d not sent: %s (%llu so far)", (int)f->body_case, rmd_error_text(rc),
                  (unsigned long long)s->unsent_frames);
        return;
    }
    if (f->body_case == REMUDA__FRAME__BODY_REPORT) {
        let_it_leave(RMD_PROBE_REPORT_SENT);
        rmd_probe(RMD_PROBE_REPORT_SENT);
    }
}

/* A rule text that doesn't compile leaves the former rules in force: the coordinator has linted it, so this is a
 * difference of versions. */
static void new_rules(struct rmd_node_shell *s, struct rmd_slice text) {
    struct rmd_buf err = {0};
    struct rmd_rules *rules = rmd_rules_shipped(text, "policy", &err);
    if (!rules) {
        rmd_error("rules", "the coordinator's rules are not usable here, the former ones stay: %s",
                  rmd_buf_str(&err));
    } else {
        struct rmd_rules_ref *ref = rmd_rules_ref_new(rules);
        for (uint32_t w = 0; w < s->workers; w++) {
            atomic_fetch_add(&ref->users, 1);
            rmd_loop_rules(s->loop[w], ref);
        }
        rmd_rules_ref_drop(s->rules);
        s->rules = ref;
        rmd_info("rules", "%zu verdict rules in force", rmd_rules_count(rules));
    }
    rmd_buf_release(&err);
}

static bool carry_out_one(struct rmd_node_shell *s, const struct rmd_node_effect *x) {
    switch (x->kind) {
    case RMD_NF_SEND:
        send_frame(s, x->frame);
        break;
    case RMD_NF_MAIL:
        rmd_loop_mail(s->loop[x->worker], &x->mail);
        break;
    case RMD_NF_SYNC:
        if (rmd_journal_sync_wait(&s->journal, give_up, s) != RMD_OK)
            return false;
        later(s, RMD_NE_SYNCED, (struct rmd_slice){0})->token = x->token;
        break;
    case RMD_NF_REPLAY:
        s->replay_from = x->n; /* rmd_node_shell_run does it, between steps */
        break;
    case RMD_NF_LOOKUP:
        node_shell_watch_lookup(s, x);
        break;
    case RMD_NF_RULES:
        new_rules(s, x->bytes);
        break;
    case RMD_NF_STOPPED:
        s->stopped = true;
        break;
    case RMD_NF_LOG:
        rmd_log(x->warning ? RMD_LOG_WARNING : RMD_LOG_INFO, "session", "%s", x->text);
        break;
    default:
        break; /* the journal's */
    }
    return true;
}

void node_shell_carry_out(struct rmd_node_shell *s) {
    bool ok = journal(s);
    for (size_t i = 0; ok && i < s->effects.n; i++)
        ok = carry_out_one(s, &s->effects.v[i]);
    if (!ok) {
        rmd_error("journal", "ending without what could not be written: it is in doubt, and told at the next start");
        s->failed = true;
    }
}
