/* The world: virtual time, the heap of events, the story, and the course of a run. */
#include "tests/sim/sim.h"

#include <inttypes.h>

/* ---- events */

struct sim_event *sim_at(struct sim *s, int64_t delay_ms, sim_fn fn, uint64_t a, uint64_t b, uint64_t c) {
    struct sim_event *e = s->spare;
    if (e)
        s->spare = e->next;
    else
        e = rmd_alloc(sizeof *e);
    e->fn = fn;
    e->a = a;
    e->b = b;
    e->c = c;
    e->p = NULL;
    e->next = NULL;
    rmd_buf_clear(&e->bytes);
    rmd_heap_set(&s->heap, &e->at, s->now_ms + (delay_ms > 0 ? delay_ms : 0));
    return e;
}

static void spare(struct sim *s, struct sim_event *e) {
    if (e->bytes.cap > 8192)
        rmd_buf_release(&e->bytes);
    e->next = s->spare;
    s->spare = e;
}

void sim_cancel(struct sim *s, struct sim_event **e) {
    if (!*e)
        return;
    rmd_heap_remove(&s->heap, &(*e)->at);
    spare(s, *e);
    *e = NULL;
}

static void run_until(struct sim *s, int64_t until_ms) {
    struct rmd_heap_node *n;
    while (!s->broken && (n = rmd_heap_min(&s->heap)) && n->key <= until_ms) {
        struct sim_event *e = rmd_container(n, struct sim_event, at);
        rmd_heap_remove(&s->heap, n);
        if (n->key > s->now_ms)
            s->now_ms = n->key;
        e->fn(s, e);
        spare(s, e);
        if (++s->events > SIM_STEPS_MAX)
            sim_broken(s, "time goes on", "more than %d events: something spins", SIM_STEPS_MAX);
    }
    if (s->now_ms < until_ms)
        s->now_ms = until_ms;
}

/* ---- clocks, choices */

struct rmd_time sim_time(const struct sim *s, const struct sim_clock *c) {
    return (struct rmd_time){.mono_ms = s->now_ms - c->boot_ms + c->mono0_ms,
                             .wall_ms = SIM_WALL0_MS + s->now_ms + c->wall_off_ms};
}

int64_t sim_true_ms(const struct sim_clock *c, int64_t mono_ms) {
    return mono_ms - c->mono0_ms + c->boot_ms;
}

void sim_boot(struct sim *s, struct sim_clock *c) {
    c->boot_ms = s->now_ms;
    c->mono0_ms = sim_between(s, 1000, 100000);
    for (size_t i = 0; i < sizeof c->boot_id; i++)
        c->boot_id[i] = (uint8_t)sim_below(s, 256);
}

uint64_t sim_below(struct sim *s, uint64_t n) {
    return rmd_rng_below(&s->rng, n);
}

bool sim_one_in(struct sim *s, uint64_t n) {
    return n && rmd_rng_below(&s->rng, n) == 0;
}

int64_t sim_between(struct sim *s, int64_t from, int64_t to) {
    return to <= from ? from : from + (int64_t)rmd_rng_below(&s->rng, (uint64_t)(to - from + 1));
}

/* ---- the story: every line counts for the hash, whether it is shown or not */

static void tell(struct sim *s, const char *prefix, const char *fmt, va_list ap) {
    rmd_buf_clear(&s->line);
    int64_t t = s->now_ms;
    rmd_buf_addf(&s->line, "%" PRId64 "d %02d:%02d:%02d.%03d %s", t / SIM_DAY_MS, (int)(t / 3600000 % 24),
                 (int)(t / 60000 % 60), (int)(t / 1000 % 60), (int)(t % 1000), prefix);
    rmd_buf_vaddf(&s->line, fmt, ap);
    s->hash = rmd_mix64(s->hash ^ rmd_fnv64(rmd_buf_slice(&s->line)));
    if (s->verbose)
        printf("%s\n", rmd_buf_str(&s->line));
}

void sim_say(struct sim *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(s, "", fmt, ap);
    va_end(ap);
}

void sim_broken(struct sim *s, const char *promise, const char *fmt, ...) {
    va_list ap;
    if (s->broken)
        return;
    va_start(ap, fmt);
    rmd_buf_clear(&s->line);
    rmd_buf_vaddf(&s->line, fmt, ap);
    va_end(ap);
    s->broken = true;
    rmd_copy(s->promise, sizeof s->promise, promise);
    rmd_copy(s->what, sizeof s->what, rmd_buf_str(&s->line));
    sim_say(s, "BROKEN: %s: %s", s->promise, s->what);
}

/* Everything sleeps: hosts are suspended, receivers hang up, connections break. On waking, all that was due is due at
 * once. */
void sim_freeze(struct sim *s, int64_t ms) {
    if (!s->quiet_faults && sim_one_in(s, 3)) {
        for (uint32_t n = 0; n < s->n_nodes; n++)
            sim_node_stop(s, n);
        run_until(s, s->now_ms + 12000);
    }
    if (s->broken)
        return;
    sim_say(s, "everything sleeps for %" PRId64 " minutes", ms / 60000);
    sim_smtp_cut_all(s);
    s->slept_from_ms = s->now_ms;
    s->now_ms += ms;
    s->slept_to_ms = s->now_ms;
    for (uint32_t n = 0; n < s->n_nodes; n++)
        sim_net_reset(s, n, sim_between(s, 10, 1000));
    sim_check_vanished(s, -1);
}

/* ---- the course of a run: periods of some minutes with work and faults, nights of some hours in which everything
 * sleeps */

static void prelude(struct sim *s) {
    for (uint32_t n = 0; n < s->n_nodes; n++)
        sim_boot(s, &s->node[n].clock);
    sim_boot(s, &s->coord.clock);
    sim_coord_start(s);
    sim_op_setup(s);
    for (int i = 0; i < 100 && sim_op_busy(s) && !s->broken; i++)
        run_until(s, s->now_ms + 100);
    if (sim_op_busy(s))
        sim_broken(s, "commands are answered", "the setup was not answered within ten seconds");
    for (uint32_t n = 0; n < s->n_nodes; n++)
        sim_node_start(s, n);
    run_until(s, s->now_ms + 3000);
}

static void periods(struct sim *s) {
    uint64_t n = 3 + sim_below(s, 3);
    for (uint64_t i = 0; i < n && !s->broken; i++) {
        int64_t length = sim_between(s, 150000, 480000);
        sim_say(s, "period %" PRIu64 " of %" PRIu64, i + 1, n);
        sim_op_period(s, length);
        sim_faults_period(s, length);
        sim_staged_period(s);
        run_until(s, s->now_ms + length);
        sim_check_state(s);
        if (!s->broken)
            sim_freeze(s, sim_between(s, 3600000, 14 * 3600000));
    }
}

struct next_attempt {
    int64_t wall_ms;
    uint64_t busy;
};

static void look(void *ctx, const struct rmd_queue_view *q) {
    struct next_attempt *x = ctx;
    if (q->next_attempt_wall_ms && (!x->wall_ms || q->next_attempt_wall_ms < x->wall_ms))
        x->wall_ms = q->next_attempt_wall_ms;
    x->busy += q->leased;
}

/* Everything is healed, and time goes on until every recipient is settled or should have been. */
static void epilogue(struct sim *s) {
    int64_t last = 0;
    s->quiet_faults = true;
    sim_faults_heal(s);
    sim_op_calm(s);
    for (int round = 0; round < 200 && !s->broken; round++) {
        struct next_attempt x = {0};
        for (int i = 0; i < 20 && !s->broken; i++) {
            run_until(s, s->now_ms + 6000);
            sim_check_state(s);
            if (i % 10 == 5)
                sim_op_calm(s);
            x = (struct next_attempt){0};
            if (s->coord.up)
                rmd_coord_queues(s->coord.core, look, &x);
            if (i > 2 && !x.busy)
                break;
        }
        for (uint32_t i = 0; i < s->n_campaigns; i++)
            if (s->campaign[i].acknowledged && s->campaign[i].valid_until_wall_ms - SIM_WALL0_MS > last)
                last = s->campaign[i].valid_until_wall_ms - SIM_WALL0_MS;
        if (s->broken || sim_check_all_done(s) || s->now_ms > last + 3 * 3600000 + 2 * s->max_step_ms)
            break;
        int64_t sleep = 2 * 3600000, wait = x.wall_ms - sim_time(s, &s->coord.clock).wall_ms;
        if (x.wall_ms && wait > 0 && wait < sleep) /* what is due and doesn't go waits for a cap, or a lane */
            sleep = wait > 900000 ? wait : 900000;
        if (sleep > 30000)
            sim_freeze(s, sleep);
    }
    if (!s->broken)
        sim_check_end(s);
    if (!s->broken)
        sim_reputation_restart(s, run_until);
}

static void summary(struct sim *s) {
    sim_say(s,
            "%u nodes, %u sources on %u networks, %u providers, %u campaigns: %" PRIu64 " RCPTs, %" PRIu64
            " accepted, %" PRIu64 " twice, %" PRIu64 " uncertain, %" PRIu64 " crashes, %" PRIu64 " frames, %" PRIu64
            " events",
            s->n_nodes, s->n_sources, s->n_nets, s->n_providers, s->n_campaigns, s->n_rcpt, s->n_accept,
            s->n_duplicates, s->n_uncertain, s->n_crashes, s->n_frames, s->events);
}

static void release(struct sim *s) {
    struct rmd_heap_node *n;
    sim_smtp_free(s);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        sim_node_free(s, i);
    sim_coord_free(s);
    sim_op_free(s);
    sim_check_free(s);
    sim_config_release(s);
    while ((n = rmd_heap_min(&s->heap))) {
        rmd_heap_remove(&s->heap, n);
        spare(s, rmd_container(n, struct sim_event, at));
    }
    rmd_heap_release(&s->heap);
    while (s->spare) {
        struct sim_event *e = s->spare;
        s->spare = e->next;
        rmd_buf_release(&e->bytes);
        free(e);
    }
    rmd_buf_release(&s->line);
    free(s);
}

bool sim_run(uint64_t seed, bool verbose, char promise[48], char what[400], uint64_t *hash) {
    struct sim *s = rmd_alloc(sizeof *s);
    s->seed = seed;
    s->verbose = verbose;
    rmd_rng_seed(&s->rng, rmd_mix64(seed));
    rmd_list_init(&s->ops);
    sim_config(s);
    prelude(s);
    if (!s->broken)
        periods(s);
    if (!s->broken)
        epilogue(s);
    summary(s);
    bool kept = !s->broken;
    rmd_copy(promise, 48, s->promise);
    rmd_copy(what, 400, s->what);
    *hash = s->hash;
    release(s);
    return kept;
}
