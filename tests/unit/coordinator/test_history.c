/* History of the coordinator: what is appended comes back, by every filter, across threads, restarts, torn and
 * damaged files, rolling, trimming and a full disk. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

#include "coordinator/io/history.h"
#include "coordinator/io/history_segment.h"
#include "tests/kit/store_kit.h"

enum { DAY_MS = 86400000 };

struct world {
    char dir[64], sub[80];
    struct rmd_clock clock;
    int64_t wall_ms;
    struct rmd_history_options o;
    struct rmd_history *h;
};

static struct rmd_time fake_now(void *ctx) {
    struct world *w = ctx;
    return (struct rmd_time){.mono_ms = w->wall_ms, .wall_ms = w->wall_ms};
}

static void open_history(struct world *w) {
    char err[256] = "";
    if (rmd_history_open(&w->o, &w->h, err, sizeof err) < 0)
        fail_msg("%s", err);
}

static void reopen(struct world *w) {
    rmd_history_close(w->h);
    open_history(w);
}

static int setup(void **state) {
    struct world *w = rmd_alloc(sizeof *w);
    (void)!rmd_copy(w->dir, sizeof w->dir, "/tmp/remuda-history-XXXXXX");
    if (!mkdtemp(w->dir) || rmd_format(w->sub, sizeof w->sub, "%s/history", w->dir) < 0)
        return -1;
    w->wall_ms = 1000ll * DAY_MS;
    w->clock = (struct rmd_clock){.ctx = w, .now = fake_now};
    w->o = (struct rmd_history_options){
        .directory = w->sub, .keep_ms = 80ll * DAY_MS, .max_bytes = 1 << 30, .clock = &w->clock};
    open_history(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    rmd_history_close(w->h);
    (void)!umount2(w->sub, MNT_DETACH); /* of the story of the full disk, when it failed */
    rmd_remove_tree(w->dir);
    free(w);
    return 0;
}

static struct rmd_id id_of(uint8_t n) {
    struct rmd_id id;
    memset(id.b, n, sizeof id.b);
    return id;
}

/* An event about message n (0: none) of campaign c, of recipient r (a hash), with text of the given length. */
static uint64_t append(struct world *w, const char *type, uint8_t message, uint8_t campaign, uint64_t hash,
                       size_t text_bytes) {
    Remuda__EventRecord e = REMUDA__EVENT_RECORD__INIT;
    struct rmd_id m = id_of(message), c = id_of(campaign);
    char *text = rmd_alloc(text_bytes + 1);
    memset(text, 'x', text_bytes);
    e.type = (char *)(uintptr_t)type;
    e.text = text;
    e.wall_ms = w->wall_ms;
    e.address_hash = hash;
    if (message)
        e.message = (ProtobufCBinaryData){.len = sizeof m.b, .data = m.b};
    if (campaign)
        e.campaign = (ProtobufCBinaryData){.len = sizeof c.b, .data = c.b};
    uint64_t seq = rmd_history_append(w->h, &e);
    free(text);
    return seq;
}

static bool note(void *ctx, const Remuda__EventRecord *e) {
    rmd_buf_addf(ctx, "%s%" PRIu64, ((struct rmd_buf *)ctx)->len ? " " : "", e->seq);
    return true;
}

/* The numbers that a filter lets through must be these, and the last one looked at that. */
static void expect(struct world *w, struct rmd_history_filter f, size_t limit, const char *numbers, uint64_t seen) {
    struct rmd_buf got = {0};
    uint64_t last = rmd_history_read(w->h, &f, limit, note, &got);
    assert_string_equal(rmd_buf_str(&got), numbers);
    assert_int_equal(last, seen);
    rmd_buf_release(&got);
}

static struct rmd_history_filter all(void) {
    return (struct rmd_history_filter){0};
}

/* Files of the folder whose names end so. */
static size_t files(const struct world *w, const char *suffix) {
    size_t n = 0;
    DIR *d = opendir(w->sub);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += rmd_has_suffix(e->d_name, suffix);
    closedir(d);
    return n;
}

static void path_of(const struct world *w, uint64_t first, const char *suffix, char out[256]) {
    rmd_segment_path(out, 256, w->sub, first, suffix);
}

static void what_is_flushed_is_read(void **state) {
    struct world *w = *state;
    expect(w, all(), 10, "", 0);
    assert_int_equal(append(w, "delivered", 1, 1, 11, 20), 1);
    assert_int_equal(append(w, "deferred", 2, 1, 12, 20), 2);
    expect(w, all(), 10, "", 0); /* nothing is told before the step that caused it has ended */
    assert_int_equal(rmd_history_last(w->h), 0);
    rmd_history_flush(w->h);
    assert_int_equal(rmd_history_last(w->h), 2);
    expect(w, all(), 10, "1 2", 2);
    append(w, "bounced", 3, 1, 13, 0);
    rmd_history_flush(w->h);
    expect(w, (struct rmd_history_filter){.after = 2}, 10, "3", 3);
    expect(w, (struct rmd_history_filter){.after = 3}, 10, "", 3);
    expect(w, all(), 2, "1 2", 2);
    expect(w, all(), 0, "", 0);
}

static void every_filter(void **state) {
    struct world *w = *state;
    append(w, "delivered", 1, 1, 11, 0);
    append(w, "deferred", 2, 1, 12, 0);
    append(w, "incident.opened", 0, 0, 0, 0);
    append(w, "incident.closed", 0, 2, 0, 0);
    append(w, "incident", 2, 2, 11, 0);
    rmd_history_flush(w->h);
    struct rmd_id one = id_of(1), two = id_of(2), nobody = id_of(9);
    static const struct {
        const char *type, *numbers;
    } by_type[] = {{NULL, "1 2 3 4 5"}, {"delivered", "1"},       {"incident.", "3 4"},
                   {"incident", "5"},   {"incident.opened", "3"}, {"deliver", ""},
                   {".", ""},           {"delivered.", ""}};
    for (size_t i = 0; i < sizeof by_type / sizeof by_type[0]; i++)
        expect(w, (struct rmd_history_filter){.type = by_type[i].type}, 10, by_type[i].numbers, 5);
    expect(w, (struct rmd_history_filter){.campaign = &one}, 10, "1 2", 5);
    expect(w, (struct rmd_history_filter){.campaign = &two}, 10, "4 5", 5);
    expect(w, (struct rmd_history_filter){.message = &two}, 10, "2 5", 5);
    expect(w, (struct rmd_history_filter){.message = &nobody}, 10, "", 5);
    expect(w, (struct rmd_history_filter){.address_hash = 11}, 10, "1 5", 5);
    expect(w, (struct rmd_history_filter){.address_hash = 11, .type = "delivered"}, 10, "1", 5);
    expect(w, (struct rmd_history_filter){.address_hash = 11, .campaign = &two, .after = 1}, 10, "5", 5);
    expect(w, (struct rmd_history_filter){.address_hash = 11}, 1, "1", 1);
}

static void an_event_over_the_limit_is_dropped(void **state) {
    struct world *w = *state;
    assert_int_equal(append(w, "delivered", 1, 1, 11, RMD_HISTORY_EVENT_BYTES_MAX), 0);
    assert_int_equal(append(w, "delivered", 1, 1, 11, RMD_HISTORY_EVENT_BYTES_MAX - 200), 1);
    rmd_history_flush(w->h);
    expect(w, all(), 10, "1", 1);
}

/* Without a flush in between, more than the buffer holds is written all the same, and nothing is lost at the seam. */
static void a_long_step_writes_as_it_goes(void **state) {
    struct world *w = *state;
    uint64_t n = 0;
    for (size_t bytes = 0; bytes < 3 * (size_t)RMD_HISTORY_BUFFER_BYTES + 100000; bytes += 50000)
        assert_int_equal(append(w, "delivered", 1, 1, 11, 50000), ++n);
    assert_in_range(rmd_history_last(w->h), n / 2, n - 1);
    rmd_history_flush(w->h);
    assert_int_equal(rmd_history_last(w->h), n);
    reopen(w);
    assert_int_equal(rmd_history_last(w->h), n);
}

static void the_numbers_go_on_after_a_restart(void **state) {
    struct world *w = *state;
    append(w, "delivered", 1, 1, 11, 0);
    rmd_history_flush(w->h);
    append(w, "deferred", 2, 1, 12, 0); /* an orderly end writes it */
    reopen(w);
    assert_int_equal(rmd_history_last(w->h), 2);
    assert_int_equal(append(w, "bounced", 3, 1, 13, 0), 3);
    rmd_history_flush(w->h);
    expect(w, all(), 10, "1 2 3", 3);
}

static uint64_t size_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void a_torn_tail_is_cut(void **state) {
    struct world *w = *state;
    char path[256];
    path_of(w, 1, "log", path);
    append(w, "delivered", 1, 1, 11, 100);
    append(w, "delivered", 2, 1, 12, 100);
    rmd_history_flush(w->h);
    uint64_t whole = size_of(path);
    append(w, "delivered", 3, 1, 13, 100);
    rmd_history_flush(w->h);
    uint64_t full = size_of(path);
    for (uint64_t left = whole; left < full; left += 7) { /* in the head, in the checksum, in the payload */
        rmd_history_close(w->h);
        assert_int_equal(truncate(path, (off_t)left), 0);
        open_history(w);
        expect(w, all(), 10, "1 2", 2);
        assert_int_equal(size_of(path), whole);
        assert_int_equal(append(w, "delivered", 3, 1, 13, 100), 3);
        rmd_history_flush(w->h);
        expect(w, all(), 10, "1 2 3", 3);
    }
}

static void change_byte(const char *path, off_t at) {
    uint8_t b;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

/* In the open segment, what follows damage is cut, as after a host's crash; in a closed one the reader goes on with
 * the next segment, and a cursor never stands still. */
static void damage_ends_a_segment_not_the_reader(void **state) {
    struct world *w = *state;
    char path[256];
    w->o.segment_bytes = 300;
    reopen(w);
    for (uint8_t i = 1; i <= 5; i++) {
        append(w, "delivered", i, 1, 11, 100);
        rmd_history_flush(w->h);
    }
    path_of(w, 1, "log", path);
    assert_int_equal(files(w, ".log"), 3); /* 1 2, 3 4, 5 */
    change_byte(path, (off_t)size_of(path) - 20);
    expect(w, all(), 10, "1 3 4 5", 5);
    expect(w, (struct rmd_history_filter){.after = 1}, 10, "3 4 5", 5);
    expect(w, (struct rmd_history_filter){.address_hash = 11}, 10, "1 3 4 5", 5);
    path_of(w, 5, "log", path);
    change_byte(path, 20);
    reopen(w);
    assert_int_equal(rmd_history_last(w->h), 4);
    assert_int_equal(size_of(path), 0);
    assert_int_equal(append(w, "delivered", 6, 1, 11, 100), 5);
    rmd_history_flush(w->h);
    expect(w, all(), 10, "1 3 4 5", 5);
}

/* Ten events a segment, three recipients in turn. */
static void fill(struct world *w, uint8_t n) {
    w->o.segment_bytes = 10 * 200;
    reopen(w);
    for (uint8_t i = 1; i <= n; i++) {
        append(w, "delivered", i, 1, 11 + i % 3, 160);
        rmd_history_flush(w->h);
    }
}

static void full_segments_are_closed_and_indexed(void **state) {
    struct world *w = *state;
    fill(w, 35);
    size_t logs = files(w, ".log");
    assert_in_range(logs, 4, 5);
    assert_int_equal(files(w, ".idx"), 0); /* nobody asked yet */
    const char *numbers = "2 5 8 11 14 17 20 23 26 29 32 35";
    expect(w, (struct rmd_history_filter){.address_hash = 13}, 100, numbers, 35);
    assert_int_equal(files(w, ".idx"), logs - 1); /* not of the open one */
    expect(w, (struct rmd_history_filter){.address_hash = 13}, 100, numbers, 35);
    expect(w, (struct rmd_history_filter){.address_hash = 13, .after = 14}, 2, "17 20", 20);
    expect(w, (struct rmd_history_filter){.address_hash = 99}, 100, "", 35);
    reopen(w);
    expect(w, (struct rmd_history_filter){.address_hash = 13}, 100, numbers, 35);
    assert_int_equal(rmd_history_last(w->h), 35);
}

static void the_last_ones_behind_a_filter(void **state) {
    struct world *w = *state;
    assert_int_equal(rmd_history_back(w->h, &(struct rmd_history_filter){0}, 3), 0);
    fill(w, 35); /* several segments; hash 13: 2, 5, ... 35 */
    append(w, "suppression.added", 0, 0, 0, 0);
    rmd_history_flush(w->h);
    static const struct {
        size_t n;
        uint64_t hash, after, want;
        const char *type;
    } row[] = {
        {1, 0, 0, 35, NULL},        {0, 0, 0, 0, NULL},      {40, 0, 0, 0, NULL},   {36, 0, 0, 0, NULL},
        {35, 0, 0, 1, NULL},        {1, 13, 0, 34, NULL},    {2, 13, 0, 31, NULL},  {11, 13, 0, 4, NULL},
        {12, 13, 0, 1, NULL},       {13, 13, 0, 0, NULL},    {2, 13, 33, 33, NULL}, {1, 0, 0, 34, "delivered"},
        {2, 0, 0, 33, "delivered"}, {5, 0, 0, 0, "bounced"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_history_filter f = {.address_hash = row[i].hash, .after = row[i].after, .type = row[i].type};
        uint64_t got = rmd_history_back(w->h, &f, row[i].n);
        if (got != row[i].want)
            fail_msg("row %zu: behind %" PRIu64 ", expected %" PRIu64, i, got, row[i].want);
    }
}

/* An index is only a short cut: with offsets that point nowhere, nothing is shown and nothing breaks; without the
 * file it is made anew. */
static void an_index_that_lies(void **state) {
    struct world *w = *state;
    char path[256];
    fill(w, 15);
    uint64_t entry[][2] = {{13, 3}, {13, 1 << 20}, {13, UINT64_MAX - 2}};
    path_of(w, 1, "idx", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, entry, sizeof entry), sizeof entry);
    close(fd);
    struct rmd_buf got = {0};
    assert_int_equal(rmd_history_read(w->h, &(struct rmd_history_filter){.address_hash = 13}, 100, note, &got), 15);
    assert_string_equal(rmd_buf_str(&got), "11 14");
    rmd_buf_release(&got);
    assert_int_equal(unlink(path), 0);
    expect(w, (struct rmd_history_filter){.address_hash = 13}, 100, "2 5 8 11 14", 15);
}

static void oldest_segments_go_by_age(void **state) {
    struct world *w = *state;
    w->o.keep_ms = 8ll * DAY_MS;
    reopen(w);
    for (uint8_t day = 1; day <= 12; day++) { /* one event a day; each segment spans a day */
        append(w, "delivered", day, 1, 11, 0);
        rmd_history_flush(w->h);
        w->wall_ms += DAY_MS;
    }
    struct rmd_buf got = {0};
    assert_int_equal(rmd_history_read(w->h, &(struct rmd_history_filter){0}, 100, note, &got), 12);
    assert_true(rmd_has_suffix(rmd_buf_str(&got), "9 10 11 12"));
    assert_null(strstr(rmd_buf_str(&got), "1 2 "));
    rmd_buf_release(&got);
    assert_in_range(files(w, ".log"), 3, 10);
}

static void oldest_segments_go_by_size(void **state) {
    struct world *w = *state;
    w->o.max_bytes = 5000;
    fill(w, 20);
    expect(w, (struct rmd_history_filter){.address_hash = 12}, 100, "1 4 7 10 13 16 19", 20);
    for (uint8_t i = 21; i <= 60; i++) {
        append(w, "delivered", i, 1, 12, 160);
        rmd_history_flush(w->h);
    }
    assert_in_range(files(w, ".log"), 2, 4);
    assert_in_range(files(w, ".idx"), 0, 3); /* gone with their segments */
    struct rmd_buf got = {0};
    rmd_history_read(w->h, &(struct rmd_history_filter){0}, 100, note, &got);
    assert_true(rmd_has_suffix(rmd_buf_str(&got), "58 59 60"));
    assert_null(strstr(rmd_buf_str(&got), " 20 "));
    rmd_buf_release(&got);
    w->o.max_bytes = 1; /* a smaller limit acts at the next start; the open segment stays */
    reopen(w);
    assert_int_equal(files(w, ".log"), 1);
    assert_int_equal(rmd_history_last(w->h), 60);
}

struct follower {
    struct world *w;
    uint64_t seen, events;
};

static bool count(void *ctx, const Remuda__EventRecord *e) {
    struct follower *f = ctx;
    assert_int_equal(e->seq, f->events + 1);
    f->events++;
    return true;
}

static void *follow(void *arg) {
    struct follower *f = arg;
    while (f->seen < 500 && rmd_history_wait(f->w->h, f->seen, 20000))
        f->seen = rmd_history_read(f->w->h, &(struct rmd_history_filter){.after = f->seen}, 64, count, f);
    return NULL;
}

/* Two readers follow in step with a writer that rolls its segments. */
static void followers_see_everything_once(void **state) {
    struct world *w = *state;
    w->o.segment_bytes = 3000;
    reopen(w);
    struct follower f[2] = {{.w = w}, {.w = w}};
    pthread_t thread[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, follow, &f[i]), 0);
    for (int i = 1; i <= 500; i++) {
        append(w, "delivered", 1, 1, 11, 50);
        if (i % 5 == 0)
            rmd_history_flush(w->h);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(f[i].seen, 500);
        assert_int_equal(f[i].events, 500);
    }
    assert_false(rmd_history_wait(w->h, 500, 0));
    assert_true(rmd_history_wait(w->h, 499, 0));
}

static void *look_up(void *arg) {
    struct follower *f = arg;
    struct rmd_buf got = {0};
    rmd_history_read(f->w->h, &(struct rmd_history_filter){.address_hash = 13}, 100, note, &got);
    f->events = rmd_has_suffix(rmd_buf_str(&got), "2 5 8 11 14 17 20 23 26 29 32 35");
    rmd_buf_release(&got);
    return NULL;
}

static void one_index_made_by_four_threads(void **state) {
    struct world *w = *state;
    fill(w, 35);
    struct follower f[4] = {{.w = w}, {.w = w}, {.w = w}, {.w = w}};
    pthread_t thread[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look_up, &f[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(f[i].events, 1);
    }
    assert_int_equal(files(w, ".idx"), files(w, ".log") - 1);
    assert_int_equal(files(w, ""), 2 + files(w, ".idx") + files(w, ".log")); /* no half-made ones; . and .. */
}

static void a_full_disk_drops_events_and_says_so(void **state) {
    struct world *w = *state;
    char words[256];
    rmd_history_close(w->h);
    w->h = NULL;
    if (mount("tmpfs", w->sub, "tmpfs", 0, "size=64k") != 0)
        skip(); /* needs root */
    open_history(w);
    assert_false(rmd_history_trouble(w->h, words, sizeof words));
    uint64_t last = 0;
    for (int i = 0; i < 40 && !rmd_history_trouble(w->h, words, sizeof words); i++) {
        last = rmd_history_last(w->h);
        append(w, "delivered", 1, 1, 11, 5000);
        append(w, "delivered", 2, 1, 12, 5000);
        rmd_history_flush(w->h);
    }
    assert_non_null(strstr(words, "2 events could not be written"));
    assert_non_null(strstr(words, "No space left"));
    assert_int_equal(rmd_history_last(w->h), last);
    assert_true(last >= 4);
    append(w, "deferred", 3, 1, 13, 0); /* what still fits is written, over the torn part */
    rmd_history_flush(w->h);
    assert_false(rmd_history_trouble(w->h, words, sizeof words));
    reopen(w);
    assert_int_equal(rmd_history_last(w->h), last + 1);
    struct rmd_buf got = {0};
    rmd_history_read(w->h, &(struct rmd_history_filter){.after = last - 1}, 10, note, &got);
    char want[64];
    (void)!rmd_format(want, sizeof want, "%" PRIu64 " %" PRIu64, last, last + 1);
    assert_string_equal(rmd_buf_str(&got), want);
    rmd_buf_release(&got);
    rmd_history_close(w->h);
    w->h = NULL;
    assert_int_equal(umount(w->sub), 0);
}

static void a_folder_that_cannot_be(void **state) {
    struct world *w = *state;
    struct rmd_history *h = NULL;
    struct rmd_history_options o = w->o;
    char err[256] = "", path[256];
    o.directory = "/dev/null/history";
    assert_int_equal(rmd_history_open(&o, &h, err, sizeof err), RMD_EIO);
    assert_string_equal(err, "/dev/null/history: Not a directory");
    path_of(w, 1, "log", path); /* the segment's name is taken by a folder */
    rmd_history_close(w->h);
    w->h = NULL;
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(rmd_history_open(&w->o, &h, err, sizeof err), RMD_EIO);
    assert_non_null(strstr(err, "the newest segment can't be used"));
    assert_null(h);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORY(what_is_flushed_is_read),
        STORY(every_filter),
        STORY(an_event_over_the_limit_is_dropped),
        STORY(a_long_step_writes_as_it_goes),
        STORY(the_numbers_go_on_after_a_restart),
        STORY(a_torn_tail_is_cut),
        STORY(damage_ends_a_segment_not_the_reader),
        STORY(full_segments_are_closed_and_indexed),
        STORY(the_last_ones_behind_a_filter),
        STORY(an_index_that_lies),
        STORY(oldest_segments_go_by_age),
        STORY(oldest_segments_go_by_size),
        STORY(followers_see_everything_once),
        STORY(one_index_made_by_four_threads),
        STORY(a_full_disk_drops_events_and_says_so),
        STORY(a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
