/* The journal port: one suite for RocksDB and for the fake.
 *
 * "A process" is a child that is killed with SIGKILL for RocksDB, and a handle that is given up for the fake. A host
 * that dies loses what was not synced: for RocksDB each file is cut back to what fsync() was called for (synced.h). */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/log.h>
#include <base/text.h>

#include "proto/io/clock.h"
#include "tests/contract/synced.h"
#include "tests/kit/journal_fake.h"

/* ---------------------------------------------------------------- both kinds of disk */

struct disk {
    bool real;
    char path[64];
    struct rmd_journal_fake *fake;
    struct rmd_journal j;
    struct rmd_clock clock;
    int64_t wall_ms;
    uint8_t boot;
    int64_t keep_ms;
    size_t sync_after;        /* a_day_cut_short: the step behind which it syncs */
    char memory[SYNCED_PATH]; /* what was synced */
};

static struct rmd_time disk_now(void *ctx) {
    return (struct rmd_time){.mono_ms = 1000, .wall_ms = ((struct disk *)ctx)->wall_ms};
}

static void disk_boot(void *ctx, uint8_t out[RMD_UUID_BYTES]) {
    memset(out, ((struct disk *)ctx)->boot, RMD_UUID_BYTES);
}

/* Runs a line of sh with the path as $1. */
static void shell(const char *line, const char *path) {
    pid_t child = fork();
    if (child == 0) {
        execlp("sh", "sh", "-c", line, "sh", path, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void disk_open(struct disk *d) {
    char err[400] = "";
    int rc;
    if (d->real) {
        struct rmd_journal_options o = {.directory = d->path, .keep_ms = d->keep_ms, .clock = &d->clock};
        rc = rmd_journal_open(&o, &d->j, err, sizeof err);
    } else {
        rc = rmd_journal_fake_open(d->fake, &d->clock, d->keep_ms, &d->j);
    }
    if (rc)
        print_error("%s\n", err);
    assert_int_equal(rc, RMD_OK);
}

static void disk_sync(struct disk *d) {
    assert_int_equal(d->j.ops->sync(d->j.j), RMD_OK);
}

/* What a process does in its life: processes of their own program, because a database that had threads in this one
 * can't be opened in a child of it. */
static void a_day_of_work(struct disk *d);
static void a_second_day(struct disk *d);
static void lease_in_two_parts(struct disk *d);
static void half_synced(struct disk *d);
static void one_batch(struct disk *d);
static void a_day_cut_short(struct disk *d);
static void (*const lives[])(struct disk *) = {a_day_of_work, a_second_day, lease_in_two_parts,
                                               half_synced,   one_batch,    a_day_cut_short};
enum { LIVES = sizeof lives / sizeof lives[0] };

/* Runs fn in a process that dies behind it without any closing. */
static void in_a_process(struct disk *d, void (*fn)(struct disk *)) {
    if (!d->real) {
        disk_open(d);
        fn(d);
        rmd_journal_fake_crash(d->fake);
        return;
    }
    char life[8] = "", boot[8], wall[32], sync_after[8];
    for (size_t i = 0; i < LIVES; i++)
        if (lives[i] == fn)
            rmd_format(life, sizeof life, "%zu", i);
    rmd_format(boot, sizeof boot, "%u", d->boot);
    rmd_format(wall, sizeof wall, "%lld", (long long)d->wall_ms);
    rmd_format(sync_after, sizeof sync_after, "%zu", d->sync_after);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_journal", "--live", d->path, life, boot, wall, sync_after, d->memory,
              (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void lose_host(struct disk *d) {
    if (d->real)
        each_file(d->path, cut_file);
    else
        rmd_journal_fake_lose_host(d->fake);
    d->boot++;
}

static void disk_close(struct disk *d) {
    d->j.ops->close(d->j.j);
}

static void disk_init(struct disk *d, bool real) {
    d->real = real;
    d->boot = 1;
    d->wall_ms = 1700000000000;
    d->keep_ms = RMD_JOURNAL_KEEP_MS;
    d->clock = (struct rmd_clock){.ctx = d, .now = disk_now, .boot_id = disk_boot};
}

static int new_disk(void **state, bool real) {
    static unsigned made;
    struct disk *d = rmd_alloc(sizeof *d);
    disk_init(d, real);
    rmd_format(d->path, sizeof d->path, "/tmp/remuda-journal-%d-%u", (int)getpid(), ++made);
    if (real)
        synced_start(d->memory);
    else
        d->fake = rmd_journal_fake_new(7);
    *state = d;
    return 0;
}

static int real_disk(void **state) {
    return new_disk(state, true);
}

static int fake_disk(void **state) {
    return new_disk(state, false);
}

static int drop_disk(void **state) {
    struct disk *d = *state;
    if (d->real) {
        shell("rm -rf \"$1\"", d->path);
        unlink(d->memory);
        synced_forget();
    }
    rmd_journal_fake_free(d->fake);
    free(d);
    return 0;
}

/* ---------------------------------------------------------------- writing and reading back */

static void append(struct disk *d, struct rmd_journal_record *r, size_t n) {
    assert_int_equal(d->j.ops->append(d->j.j, r, n), RMD_OK);
}

static void put_lease(struct disk *d, uint64_t id, uint32_t part, uint32_t parts, size_t rows) {
    Remuda__Lease l = REMUDA__LEASE__INIT;
    struct rmd_buf b = {0};
    ProtobufCBinaryData row[64];
    uint8_t hash[RMD_HASH_BYTES] = {5}, byte = 'r';
    for (size_t i = 0; i < rows; i++)
        row[i] = (ProtobufCBinaryData){1, &byte};
    l.id = id;
    l.source = 4;
    l.part = part;
    l.parts = parts;
    l.template_hash = (ProtobufCBinaryData){sizeof hash, hash};
    l.row = row;
    l.n_row = rows;
    rmd_pb_encode(&l, &b);
    append(d,
           &(struct rmd_journal_record){.kind = RMD_JR_LEASE, .lease = id, .index = part, .bytes = rmd_buf_slice(&b)},
           1);
    rmd_buf_release(&b);
}

static void put_mark(struct disk *d, uint64_t lease, uint32_t index, uint8_t mark) {
    append(d, &(struct rmd_journal_record){.kind = RMD_JR_MARK, .lease = lease, .index = index, .mark = mark}, 1);
}

static uint64_t put_end(struct disk *d, uint64_t lease, uint32_t index, uint32_t kind) {
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    struct rmd_buf b = {0};
    o.lease = lease;
    o.index = index;
    o.kind = kind;
    rmd_pb_encode(&o, &b);
    struct rmd_journal_record r = {
        .kind = RMD_JR_OUTCOME, .lease = lease, .index = index, .bytes = rmd_buf_slice(&b)};
    append(d, &r, 1);
    rmd_buf_release(&b);
    return r.n;
}

static uint64_t put_outcome(struct disk *d, uint64_t lease, uint32_t index) {
    return put_end(d, lease, index, RMD_OUTCOME_DELIVERED);
}

static uint64_t put_alarm(struct disk *d, uint32_t source) {
    Remuda__Alarm a = REMUDA__ALARM__INIT;
    struct rmd_buf b = {0};
    a.source = source;
    rmd_pb_encode(&a, &b);
    struct rmd_journal_record r = {.kind = RMD_JR_ALARM, .bytes = rmd_buf_slice(&b)};
    append(d, &r, 1);
    rmd_buf_release(&b);
    return r.n;
}

static void put_number(struct disk *d, enum rmd_journal_kind kind, uint64_t n) {
    append(d, &(struct rmd_journal_record){.kind = kind, .n = n, .lease = n}, 1);
}

static void put_template(struct disk *d, enum rmd_journal_kind kind, uint8_t first, const char *text) {
    uint8_t hash[RMD_HASH_BYTES] = {first};
    append(d, &(struct rmd_journal_record){.kind = kind, .hash = hash, .bytes = rmd_slice_str(text)}, 1);
}

/* The replay as a text: one word an event, which a story can be compared with. */
static void tell(void *ctx, const struct rmd_node_event *e) {
    struct rmd_buf *b = ctx;
    switch (e->kind) {
    case RMD_NE_JOURNAL_OPEN:
        rmd_buf_addf(b, "open(%llu/%llu a%llu h%llu)", (unsigned long long)e->position,
                     (unsigned long long)e->reported, (unsigned long long)e->alarms,
                     (unsigned long long)e->high_water);
        break;
    case RMD_NE_REPLAY_TEMPLATE:
        rmd_buf_addf(b, " t%u:%.*s", e->hash[0], (int)e->bytes.n, (const char *)e->bytes.p);
        break;
    case RMD_NE_REPLAY_LEASE:
        rmd_buf_addf(b, " l%llu:", (unsigned long long)e->lease->id);
        for (size_t i = 0; i < e->lease->n_row; i++) {
            if (rmd_bit_get(e->outcomes.p, i))
                rmd_buf_addc(b, 'x');
            else
                rmd_buf_addc(b, (char)('0' + (e->marks.p[i / 4] >> (i % 4 * 2) & 3)));
        }
        break;
    case RMD_NE_REPLAY_OUTCOME:
        rmd_buf_addf(b, " o%llu:%llu.%u%s", (unsigned long long)e->n, (unsigned long long)e->outcome->lease,
                     e->outcome->index, e->outcome->kind == RMD_OUTCOME_RETURNED ? "r" : "");
        break;
    case RMD_NE_REPLAY_ALARM:
        rmd_buf_addf(b, " a%llu:%u(%llds)", (unsigned long long)e->n, e->alarm->source,
                     (long long)e->alarm->age_ms / 1000);
        break;
    case RMD_NE_REPLAY_END:
        rmd_buf_addstr(b, " end");
        break;
    default:
        rmd_buf_addstr(b, " ?");
    }
}

static void uuid_of(void *ctx, const struct rmd_node_event *e) {
    if (e->kind == RMD_NE_JOURNAL_OPEN)
        memcpy(ctx, e->uuid, RMD_UUID_BYTES);
}

static void expect(struct disk *d, const char *story) {
    struct rmd_buf b = {0};
    disk_open(d);
    assert_int_equal(d->j.ops->replay(d->j.j, tell, &b), RMD_OK);
    disk_close(d);
    assert_string_equal(rmd_buf_str(&b), story);
    rmd_buf_release(&b);
}

static void read_uuid(struct disk *d, uint8_t out[RMD_UUID_BYTES]) {
    disk_open(d);
    assert_int_equal(d->j.ops->replay(d->j.j, uuid_of, out), RMD_OK);
    disk_close(d);
}

/* ---------------------------------------------------------------- stories */

static void an_empty_journal_has_a_name(void **state) {
    struct disk *d = *state;
    uint8_t first[RMD_UUID_BYTES], second[RMD_UUID_BYTES], zero[RMD_UUID_BYTES] = {0};
    expect(d, "open(0/0 a0 h0) end");
    read_uuid(d, first);
    read_uuid(d, second);
    assert_memory_equal(first, second, sizeof first);
    assert_memory_not_equal(first, zero, sizeof first);
}

static void a_day_of_work(struct disk *d) {
    put_template(d, RMD_JR_TEMPLATE, 5, "text");
    put_lease(d, 3, 0, 1, 4);
    put_mark(d, 3, 0, 1);
    put_mark(d, 3, 0, 2);
    assert_int_equal(put_outcome(d, 3, 0), 1);
    put_mark(d, 3, 1, 1);
    put_mark(d, 3, 1, 2);
    put_mark(d, 3, 2, 1);
    assert_int_equal(put_outcome(d, 3, 1), 2);
    assert_int_equal(put_alarm(d, 8), 1);
    put_lease(d, 9, 0, 1, 2);
    put_number(d, RMD_JR_ACKED, 1);
}

static void a_killed_process_loses_nothing(void **state) {
    struct disk *d = *state;
    in_a_process(d, a_day_of_work);
    d->wall_ms += 60000;
    expect(d, "open(2/1 a1 h9) t5:text l3:xx10 l9:00 o2:3.1 a1:8(60s) end");
}

static void a_second_day(struct disk *d) {
    assert_int_equal(put_outcome(d, 9, 1), 3);
    assert_int_equal(put_alarm(d, 6), 2);
    put_number(d, RMD_JR_ALARM_ACKED, 1);
    put_number(d, RMD_JR_ALARM_ACKED, 2);
    put_number(d, RMD_JR_ACKED, 3);
    put_number(d, RMD_JR_ACKED, 2); /* acknowledgements never go back */
    put_number(d, RMD_JR_LEASE_DROP, 3);
    put_template(d, RMD_JR_TEMPLATE_DROP, 5, "");
}

static void numbers_go_on_and_what_is_dropped_stays_away(void **state) {
    struct disk *d = *state;
    in_a_process(d, a_day_of_work);
    in_a_process(d, a_second_day);
    expect(d, "open(3/3 a2 h9) l9:0x end");
    disk_open(d);
    assert_int_equal(put_outcome(d, 9, 0), 4);
    assert_int_equal(put_alarm(d, 6), 3);
    disk_close(d);
    expect(d, "open(4/3 a3 h9) l9:xx o4:9.0 a3:6(0s) end");
}

static void lease_in_two_parts(struct disk *d) {
    put_lease(d, 1, 0, 2, 3);
    put_lease(d, 1, 1, 2, 2);
    put_mark(d, 1, 4, 2);
}

static void parts_are_joined(void **state) {
    struct disk *d = *state;
    in_a_process(d, lease_in_two_parts);
    expect(d, "open(0/0 a0 h1) l1:00002 end");
}

static void half_synced(struct disk *d) {
    put_lease(d, 1, 0, 1, 4);
    put_outcome(d, 1, 0);
    put_mark(d, 1, 1, 1);
    disk_sync(d);
    put_mark(d, 1, 2, 2); /* all of this is lost */
    put_outcome(d, 1, 3);
    put_lease(d, 2, 0, 1, 2);
}

static void a_lost_host_leaves_the_synced_part_in_doubt_under_a_new_name(void **state) {
    struct disk *d = *state;
    uint8_t before[RMD_UUID_BYTES], after[RMD_UUID_BYTES];
    read_uuid(d, before);
    in_a_process(d, half_synced);
    lose_host(d);
    expect(d, "open(1/0 a0 h1) l1:x222 o1:1.0 end"); /* no dot can be excluded, not even for what had no mark */
    read_uuid(d, after);
    assert_memory_not_equal(before, after, sizeof before);
    expect(d, "open(1/0 a0 h1) l1:x222 o1:1.0 end"); /* and it stays so in later processes of this boot */
}

static void a_synced_answer_survives_the_host(void **state) {
    struct disk *d = *state;
    in_a_process(d, half_synced);
    disk_open(d);
    uint64_t n = put_outcome(d, 1, 2);
    disk_sync(d);
    disk_close(d);
    lose_host(d);
    assert_int_equal(n, 3);
    expect(d, "open(3/0 a0 h2) l1:x2xx l2:22 o1:1.0 o2:1.3 o3:1.2 end");
}

/* A day, step by step, with one sync in it: what the crash table (design, section 6) says of a lost host. */
static void put_marks(struct disk *d, uint32_t index) {
    put_mark(d, 3, index, 1);
    put_mark(d, 3, index, 2);
}

static void step_of_a_day(struct disk *d, size_t step) {
    switch (step) {
    case 0:
        put_template(d, RMD_JR_TEMPLATE, 5, "text");
        break;
    case 1:
        put_lease(d, 3, 0, 1, 5);
        break;
    case 2:
        put_marks(d, 0); /* its transaction is open, its dot was sent */
        break;
    case 3:
        put_outcome(d, 3, 0); /* its reply was read */
        break;
    case 4:
        put_mark(d, 3, 1, 1);
        put_alarm(d, 8); /* a blocking verdict was read */
        break;
    case 5:
        put_end(d, 3, 2, RMD_OUTCOME_RETURNED); /* a recall's answer */
        put_end(d, 3, 3, RMD_OUTCOME_RETURNED);
        break;
    case 6:
        put_number(d, RMD_JR_ALARM_ACKED, 1);
        put_number(d, RMD_JR_ACKED, 2);
        break;
    case 7:
        put_lease(d, 9, 0, 2, 2);
        put_lease(d, 9, 1, 2, 1);
        break;
    case 8:
        put_outcome(d, 3, 1);
        put_outcome(d, 3, 4);
        put_number(d, RMD_JR_LEASE_DROP, 3);
        break;
    default:
        put_template(d, RMD_JR_TEMPLATE_DROP, 5, "");
    }
}

/* What a host that was lost behind everything finds when it had synced behind step i: nothing younger, every message without a synced
 * outcome in doubt (2), outcomes, given-back ones and verdicts that were synced as they were. */
static const char *const after_a_lost_host[] = {
    "open(0/0 a0 h0) t5:text end",
    "open(0/0 a0 h3) t5:text l3:22222 end",
    "open(0/0 a0 h3) t5:text l3:22222 end",
    "open(1/0 a0 h3) t5:text l3:x2222 o1:3.0 end",
    "open(1/0 a1 h3) t5:text l3:x2222 o1:3.0 a1:8(0s) end",
    "open(3/0 a1 h3) t5:text l3:x2xx2 o1:3.0 o2:3.2r o3:3.3r a1:8(0s) end",
    "open(3/2 a1 h3) t5:text l3:x2xx2 o3:3.3r end",
    "open(3/2 a1 h9) t5:text l3:x2xx2 l9:222 o3:3.3r end",
    "open(5/2 a1 h9) t5:text l9:222 o3:3.3r o4:3.1 o5:3.4 end",
    "open(5/2 a1 h9) l9:222 o3:3.3r o4:3.1 o5:3.4 end",
};
enum { DAY_STEPS = sizeof after_a_lost_host / sizeof after_a_lost_host[0] };

static void a_day_cut_short(struct disk *d) {
    for (size_t i = 0; i < DAY_STEPS; i++) {
        step_of_a_day(d, i);
        if (i == d->sync_after)
            disk_sync(d);
    }
}

static void what_was_not_synced_is_gone_with_the_host(void **state) {
    const struct disk *first = *state;
    for (size_t i = 0; i < DAY_STEPS; i++) {
        void *own = NULL;
        uint8_t before[RMD_UUID_BYTES], after[RMD_UUID_BYTES];
        struct synced *outer = synced;
        assert_int_equal(new_disk(&own, first->real), 0);
        struct disk *d = own;
        d->sync_after = i;
        read_uuid(d, before);
        in_a_process(d, a_day_cut_short);
        lose_host(d);
        expect(d, after_a_lost_host[i]);
        read_uuid(d, after);
        assert_memory_not_equal(before, after, sizeof before);
        drop_disk(&own);
        synced = outer;
    }
}

static void one_batch(struct disk *d) {
    uint8_t bytes[4] = {0};
    struct rmd_journal_record r[3] = {
        {.kind = RMD_JR_MARK, .lease = 1, .index = 0, .mark = 2},
        {.kind = RMD_JR_OUTCOME, .lease = 1, .index = 0, .bytes = rmd_slice(bytes, 0)},
        {.kind = RMD_JR_OUTCOME, .lease = 1, .index = 1, .bytes = rmd_slice(bytes, 0)},
    };
    put_lease(d, 1, 0, 1, 3);
    append(d, r, 3);
    assert_int_equal(r[1].n, 1);
    assert_int_equal(r[2].n, 2);
}

static void numbers_within_a_batch_are_dense(void **state) {
    struct disk *d = *state;
    in_a_process(d, one_batch);
    expect(d, "open(2/0 a0 h1) l1:xx0 o1:0.0 o2:0.0 end");
}

static void acknowledged_outcomes_are_trimmed_after_their_time(void **state) {
    struct disk *d = *state;
    d->keep_ms = 1000;
    disk_open(d);
    put_lease(d, 1, 0, 1, 40);
    for (uint32_t i = 0; i < 20; i++)
        put_outcome(d, 1, i);
    d->wall_ms += 900;
    for (uint32_t i = 20; i < 30; i++)
        put_outcome(d, 1, i);
    put_number(d, RMD_JR_ACKED, 25);
    disk_sync(d);
    d->wall_ms += 500; /* the first twenty are over */
    assert_int_equal(d->j.ops->trim(d->j.j), RMD_OK);
    d->wall_ms += 5000; /* all are, but five are not acknowledged */
    assert_int_equal(d->j.ops->trim(d->j.j), RMD_OK);
    assert_int_equal(d->j.ops->trim(d->j.j), RMD_OK);
    disk_close(d);
    expect(d, "open(30/25 a0 h1) l1:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0000000000 "
              "o26:1.25 o27:1.26 o28:1.27 o29:1.28 o30:1.29 end");
    disk_open(d);
    put_number(d, RMD_JR_ACKED, 30);
    disk_sync(d);
    d->wall_ms += 5000;
    assert_int_equal(d->j.ops->trim(d->j.j), RMD_OK);
    disk_close(d);
    disk_open(d);
    assert_int_equal(put_outcome(d, 1, 30), 31); /* an empty journal still knows where it was */
    disk_close(d);
}

struct again {
    uint64_t first, last, n;
    struct disk *d;
};

static void outcome_again(void *ctx, const struct rmd_node_event *e) {
    struct again *a = ctx;
    assert_int_equal(e->kind, RMD_NE_REPLAY_OUTCOME);
    assert_int_equal(e->outcome->index, e->n - 1);
    assert_true(!a->n || e->n == a->last + 1);
    a->first = a->n ? a->first : e->n;
    a->last = e->n;
    a->n++;
    if (a->n == 1) /* as a core does at its acknowledgements */
        put_outcome(a->d, 2, 0);
}

/* More than the pages in which they are read; acknowledged ones too, and none that came after the call. */
static void outcomes_are_given_again_from_any_number(void **state) {
    struct disk *d = *state;
    enum { OUTCOMES = 2345 };
    disk_open(d);
    for (uint32_t i = 0; i < OUTCOMES; i++)
        put_outcome(d, 1, i);
    put_number(d, RMD_JR_ACKED, OUTCOMES - 1);
    struct again a = {.d = d};
    assert_int_equal(d->j.ops->replay_outcomes(d->j.j, 12, outcome_again, &a), RMD_OK);
    assert_int_equal(a.first, 12);
    assert_int_equal(a.last, OUTCOMES);
    assert_int_equal(a.n, OUTCOMES - 11);
    disk_close(d);
}

static void dropped_leases_are_trimmed_around_live_ones(void **state) {
    struct disk *d = *state;
    disk_open(d);
    for (uint64_t id = 1; id <= 6; id++) {
        put_lease(d, id, 0, 1, 2);
        put_mark(d, id, 0, 1);
    }
    const uint64_t dropped[] = {1, 2, 4, 6};
    for (size_t i = 0; i < 4; i++)
        put_number(d, RMD_JR_LEASE_DROP, dropped[i]);
    disk_close(d);
    expect(d, "open(0/0 a0 h6) l3:10 l5:10 end");
    disk_open(d);
    assert_int_equal(d->j.ops->trim(d->j.j), RMD_OK);
    disk_close(d);
    expect(d, "open(0/0 a0 h6) l3:10 l5:10 end");
}

static void only_one_process_has_it(void **state) {
    struct disk *d = *state;
    char err[400] = "";
    struct rmd_journal second;
    disk_open(d);
    if (d->real) {
        struct rmd_journal_options o = {.directory = d->path, .clock = &d->clock};
        assert_int_equal(rmd_journal_open(&o, &second, err, sizeof err), RMD_EBUSY);
        assert_non_null(strstr(err, "in use"));
    } else {
        assert_int_equal(rmd_journal_fake_open(d->fake, &d->clock, 0, &second), RMD_EBUSY);
    }
    disk_close(d);
}

/* ---------------------------------------------------------------- RocksDB alone */

enum { WRITERS = 4, WRITES = 500 };

struct writer {
    struct disk *d;
    uint32_t number;
    uint64_t n[WRITES];
};

static void *write_side_by_side(void *arg) {
    struct writer *w = arg;
    for (uint32_t i = 0; i < WRITES; i++) {
        struct rmd_journal_record r[2] = {
            {.kind = RMD_JR_MARK, .lease = w->number + 1, .index = i, .mark = 2},
            {.kind = RMD_JR_OUTCOME, .lease = w->number + 1, .index = i, .bytes = rmd_slice("", 0)},
        };
        if (w->d->j.ops->append(w->d->j.j, r, 2) != RMD_OK)
            return NULL;
        w->n[i] = r[1].n;
        if (i % 100 == 0 && w->d->j.ops->sync(w->d->j.j) != RMD_OK)
            return NULL;
    }
    return w;
}

static void threads_write_side_by_side_without_holes(void **state) {
    struct disk *d = *state;
    disk_open(d);
    pthread_t t[WRITERS];
    static struct writer w[WRITERS];
    for (uint32_t i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){.d = d, .number = i};
        assert_int_equal(pthread_create(&t[i], NULL, write_side_by_side, &w[i]), 0);
    }
    uint8_t seen[WRITERS * WRITES + 1] = {0};
    for (uint32_t i = 0; i < WRITERS; i++) {
        void *ok;
        pthread_join(t[i], &ok);
        assert_non_null(ok);
        for (uint32_t k = 0; k < WRITES; k++) {
            assert_in_range(w[i].n[k], 1, WRITERS * WRITES);
            assert_true(k == 0 || w[i].n[k] > w[i].n[k - 1]);
            assert_int_equal(seen[w[i].n[k]]++, 0);
        }
    }
    disk_close(d);
}

/* A file that may not grow stands for a disk that is full: the write fails, nothing of it is there, and it works when
 * there is room again. */
static void a_full_disk_is_an_error_until_it_is_over(void **state) {
    struct disk *d = *state;
    disk_open(d);
    static uint8_t big[60000];
    memset(big, 'r', sizeof big);
    put_lease(d, 1, 0, 1, 2);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 150000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    struct rmd_journal_record r[2] = {
        {.kind = RMD_JR_OUTCOME, .lease = 1, .index = 0, .bytes = rmd_slice("", 0)},
        {.kind = RMD_JR_TEMPLATE, .hash = big, .bytes = rmd_slice(big, sizeof big)},
    };
    uint64_t good = 0;
    int rc = RMD_OK;
    for (int i = 0; i < 10 && !rc; i++) {
        rc = d->j.ops->append(d->j.j, r, 2);
        good += !rc;
    }
    assert_true(rc < 0 && good < 9);
    char why[256];
    d->j.ops->trouble(d->j.j, why, sizeof why);
    assert_non_null(strstr(why, d->path));
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(d->j.ops->append(d->j.j, r, 2), RMD_OK);
    assert_int_equal(r[0].n, good + 1);
    assert_int_equal(d->j.ops->sync(d->j.j), RMD_OK);
    disk_close(d);
}

static void a_failed_append_gives_no_number(void **state) {
    struct disk *d = *state;
    disk_open(d);
    put_lease(d, 1, 0, 1, 2);
    rmd_journal_fake_fail_next(d->fake, RMD_EFULL, 2);
    struct rmd_journal_record r = {.kind = RMD_JR_OUTCOME, .lease = 1, .index = 0, .bytes = rmd_slice("", 0)};
    assert_int_equal(d->j.ops->append(d->j.j, &r, 1), RMD_EFULL);
    assert_int_equal(d->j.ops->append(d->j.j, &r, 1), RMD_EFULL);
    assert_int_equal(d->j.ops->append(d->j.j, &r, 1), RMD_OK);
    assert_int_equal(r.n, 1);
    assert_int_equal(rmd_journal_fake_unsynced(d->fake), 2);
    disk_close(d);
}

static void a_damaged_journal_is_refused_and_named(void **state) {
    struct disk *d = *state;
    disk_open(d);
    disk_close(d);
    shell("rm -f \"$1/CURRENT\" && echo nonsense > \"$1/CURRENT\"", d->path);
    char err[400] = "";
    struct rmd_journal_options o = {.directory = d->path, .clock = &d->clock};
    assert_true(rmd_journal_open(&o, &d->j, err, sizeof err) < 0);
    assert_non_null(strstr(err, d->path));
}

#define BOTH(f)                                        \
    {"rocksdb: " #f, f, real_disk, drop_disk, NULL}, { \
        "fake: " #f, f, fake_disk, drop_disk, NULL     \
    }

static void live(char **argv) {
    struct disk d = {0};
    uint64_t life, boot, wall;
    disk_init(&d, true);
    uint64_t sync_after;
    if (rmd_parse_u64(rmd_slice_str(argv[6]), &sync_after) < 0 || !synced_attach(argv[7]))
        return;
    d.sync_after = (size_t)sync_after;
    if (rmd_parse_u64(rmd_slice_str(argv[3]), &life) < 0 || life >= LIVES ||
        rmd_parse_u64(rmd_slice_str(argv[4]), &boot) < 0 || rmd_parse_u64(rmd_slice_str(argv[5]), &wall) < 0)
        return;
    rmd_copy(d.path, sizeof d.path, argv[2]);
    d.boot = (uint8_t)boot;
    d.wall_ms = (int64_t)wall;
    disk_open(&d);
    lives[life](&d);
    kill(getpid(), SIGKILL);
}

int main(int argc, char **argv) {
    rmd_log_init("test", RMD_LOG_ERROR, rmd_clock_host());
    if (argc == 8 && strcmp(argv[1], "--live") == 0) {
        live(argv);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        BOTH(an_empty_journal_has_a_name),
        BOTH(a_killed_process_loses_nothing),
        BOTH(numbers_go_on_and_what_is_dropped_stays_away),
        BOTH(parts_are_joined),
        BOTH(a_lost_host_leaves_the_synced_part_in_doubt_under_a_new_name),
        BOTH(a_synced_answer_survives_the_host),
        BOTH(what_was_not_synced_is_gone_with_the_host),
        BOTH(numbers_within_a_batch_are_dense),
        BOTH(acknowledged_outcomes_are_trimmed_after_their_time),
        BOTH(outcomes_are_given_again_from_any_number),
        BOTH(dropped_leases_are_trimmed_around_live_ones),
        BOTH(only_one_process_has_it),
        cmocka_unit_test_setup_teardown(threads_write_side_by_side_without_holes, real_disk, drop_disk),
        cmocka_unit_test_setup_teardown(a_full_disk_is_an_error_until_it_is_over, real_disk, drop_disk),
        cmocka_unit_test_setup_teardown(a_damaged_journal_is_refused_and_named, real_disk, drop_disk),
        cmocka_unit_test_setup_teardown(a_failed_append_gives_no_number, fake_disk, drop_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
