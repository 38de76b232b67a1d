/* Intake: what is accepted, what is rejected and why, how rows become chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/intake.h"
#include "proto/io/idn.h"

struct world {
    struct rmd_intake *intake;
    struct rmd_buf rejects;
    struct rmd_map seen; /* addresses found in chunks */
    size_t chunks, rows, batches, tail_chunks, biggest;
    int fail_after; /* batches until on_batch fails; 0: never */
    int require;
};

static void on_reject(void *ctx, const struct rmd_intake_reject *r) {
    struct world *w = ctx;
    rmd_buf_addf(&w->rejects, "%llu %.*s: %s\n", (unsigned long long)r->line, (int)r->email.n,
                 (const char *)r->email.p, r->reason);
}

static void check_chunk(struct world *w, const struct rmd_batch_op *op) {
    struct rmd_arena arena = {0};
    Remuda__Chunk *c = rmd_pb_decode(&remuda__chunk__descriptor, op->value, &arena);
    assert_non_null(c);
    assert_int_equal(op->key.p[0], 'K');
    assert_int_equal(c->n_row, c->n_address_hash);
    assert_true(c->n_row <= RMD_CHUNK_ROWS_MAX && c->n_row > 0);
    assert_true(c->n_domain == 1 ? c->n_domain_of == 0 : c->n_domain_of == c->n_row);
    uint32_t group = rmd_get_be32(op->key.p + 1 + 4 + 16);
    assert_int_equal((group & (uint32_t)RMD_GROUP_TAIL) != 0 || c->n_domain == 1, 1);
    w->tail_chunks += (group & (uint32_t)RMD_GROUP_TAIL) != 0;
    for (size_t i = 0; i < c->n_row; i++) {
        Remuda__Row *row = rmd_pb_decode(&remuda__row__descriptor, rmd_slice(c->row[i].data, c->row[i].len), &arena);
        assert_non_null(row);
        struct rmd_slice email = rmd_slice_str(row->email), domain = rmd_address_domain(email);
        assert_int_equal(c->address_hash[i], rmd_address_hash(1, email));
        assert_true(rmd_slice_eq(domain, rmd_slice_str(c->domain[c->n_domain_of ? c->domain_of[i] : 0])));
        assert_null(rmd_map_set(&w->seen, email, w));
    }
    w->chunks++;
    w->rows += c->n_row;
    w->biggest = op->value.n > w->biggest ? op->value.n : w->biggest;
    rmd_arena_release(&arena);
}

static int on_batch(void *ctx, struct rmd_batch *b) {
    struct world *w = ctx;
    size_t pos = 0;
    struct rmd_batch_op op;
    w->batches++;
    bool fail = w->fail_after && w->batches >= (size_t)w->fail_after;
    while (!fail && rmd_batch_next(b, &pos, &op))
        check_chunk(w, &op);
    rmd_batch_release(b);
    return fail ? RMD_EFULL : RMD_OK;
}

static int on_header(void *ctx, const char *const *columns, size_t n) {
    struct world *w = ctx;
    (void)columns;
    if (w->require && (size_t)w->require <= n)
        rmd_intake_require(w->intake, (size_t)w->require - 1);
    return RMD_OK;
}

static void begin(struct world *w) {
    struct rmd_intake_options o = {.tenant = 1,
                                   .to_ascii = rmd_idn_to_ascii,
                                   .rejected = on_reject,
                                   .batch = on_batch,
                                   .header = on_header,
                                   .ctx = w};
    w->intake = rmd_intake_new(&o);
}

static void end(struct world *w) {
    rmd_intake_free(w->intake);
    rmd_buf_release(&w->rejects);
    rmd_map_release(&w->seen);
}

static int feed(struct world *w, const char *text) {
    int rc = rmd_intake_feed(w->intake, rmd_slice_str(text));
    return rc < 0 ? rc : rmd_intake_finish(w->intake);
}

/* Groups in the order of their keys: the most recently engaged recipients first, in the tail as well. */
struct ordered_chunk {
    uint32_t group;
    char first[64];
    size_t n;
};
struct ordered {
    struct ordered_chunk v[256];
    size_t n;
};

static int keep_order(void *ctx, struct rmd_batch *b) {
    struct ordered *o = ctx;
    size_t pos = 0;
    struct rmd_batch_op op;
    struct rmd_arena arena = {0};
    while (rmd_batch_next(b, &pos, &op)) {
        const Remuda__Chunk *c = rmd_pb_decode(&remuda__chunk__descriptor, op.value, &arena);
        const Remuda__Row *row =
            rmd_pb_decode(&remuda__row__descriptor, rmd_slice(c->row[0].data, c->row[0].len), &arena);
        assert_true(o->n < 256);
        o->v[o->n].group = rmd_get_be32(op.key.p + 1 + 4 + 16);
        o->v[o->n].n = c->n_row;
        rmd_copy(o->v[o->n++].first, 64, row->email);
    }
    rmd_arena_release(&arena);
    rmd_batch_release(b);
    return RMD_OK;
}

static int by_group(const void *a, const void *b) {
    const struct ordered_chunk *x = a, *y = b;
    return x->group < y->group ? -1 : x->group > y->group;
}

static void the_list_says_who_was_engaged(void **state) {
    (void)state;
    const int64_t day = 86400000, now = INT64_C(20500) * day;
    static const struct {
        int64_t days;
        unsigned class;
    } age[] = {{-3, 0}, {0, 0}, {7, 0}, {8, 1}, {30, 1}, {31, 2}, {90, 2}, {91, 3}, {365, 3}, {366, 4}, {9000, 4}};
    for (size_t i = 0; i < sizeof age / sizeof age[0]; i++)
        assert_int_equal(rmd_engagement_class(now - age[i].days * day, now), age[i].class);
    struct ordered o = {0};
    struct rmd_buf csv = {0}, rejects = {0};
    struct rmd_intake_options opt = {
        .tenant = 1, .now_wall_ms = now, .to_ascii = rmd_idn_to_ascii, .batch = keep_order, .ctx = &o};
    struct rmd_intake *i = rmd_intake_new(&opt);
    static const int64_t ages[] = {400, 2, 60, 200, 20};
    rmd_buf_addf(&csv, "Engaged_At,email\n");
    for (int k = 0; k < 600; k++) { /* 100 of each class at one big domain, and a tail of small ones */
        char at[32] = "";
        if (k % 6 < 5)
            rmd_date_rfc3339(now - ages[k % 6] * day, at);
        rmd_buf_addf(&csv, "%s,c%d.%d@big.example\n", at, k % 6, k);
        if (k % 6 == 1 || k % 6 == 0)
            rmd_buf_addf(&csv, "%s,t%d.%d@small%d.example\n", at, k % 6, k, k);
    }
    assert_int_equal(rmd_intake_feed(i, rmd_buf_slice(&csv)), RMD_OK);
    assert_int_equal(rmd_intake_finish(i), RMD_OK);
    assert_true(rmd_intake_engaged(i));
    assert_int_equal(rmd_intake_accepted(i), 800);
    qsort(o.v, o.n, sizeof o.v[0], by_group);
    static const char want[] = "c1t1c4c2c3c0t0c5"; /* by class: within a week, a month, ..., not known */
    char got[sizeof want] = "", last[3] = "";
    for (size_t k = 0; k < o.n; k++) {
        if (strncmp(last, o.v[k].first, 2) != 0) {
            rmd_copy(last, sizeof last, o.v[k].first);
            assert_true(rmd_copy(got + strlen(got), sizeof got - strlen(got), last));
        }
        assert_int_equal(rmd_group_is_tail(true, o.v[k].group), o.v[k].first[0] == 't');
    }
    assert_string_equal(got, want);
    assert_int_equal(o.v[0].n, 100);
    assert_int_equal(rmd_group_of(true, 0, false, rmd_fnv32(rmd_slice_str("big.example"))), o.v[0].group);
    rmd_intake_free(i);
    rmd_buf_release(&csv);
    rmd_buf_release(&rejects);
    struct world w = {0}; /* what isn't a date is named, and "" is nobody's fault */
    begin(&w);
    assert_int_equal(feed(&w, "email,engaged_at\nann@example.org,yesterday\nbob@example.org,\n"), RMD_OK);
    assert_string_equal(rmd_buf_str(&w.rejects),
                        "2 ann@example.org: engaged_at is neither a date like 2026-11-23 nor a time like "
                        "2026-11-23T10:00:00Z\n");
    end(&w);
}

static void bad_rows_are_named_and_good_ones_stay(void **state) {
    (void)state;
    struct world w = {.require = 1};
    begin(&w);
    assert_int_equal(feed(&w, "name,Email,code\n"
                              "Ann,ann@example.org,1\n"
                              "Bob,bob@example.org\n"
                              "Cay,ann@EXAMPLE.org,2\n"
                              "Dan,dan.example.org,3\n"
                              ",eve@example.org,4\n"
                              "Fay,fay@example,5\n"
                              "Gus,,6\n"
                              "Hal,hal@b\xc3\xbc"
                              "cher.example,7\n"
                              "Ivy,ivy@xn--bcher-kva.example,8,9\n"
                              "Jon, jon@example.org ,10\n"
                              "Kim,ki m@example.org,11\n"
                              "\"Lou\nLee\",lou@example.org,12\n"
                              "Mia,mia@example.org,\"13\n"),
                     RMD_OK);
    assert_string_equal(rmd_buf_str(&w.rejects),
                        "3 bob@example.org: fewer fields than the header row has columns\n"
                        "4 ann@EXAMPLE.org: duplicate of an earlier row\n"
                        "5 dan.example.org: there is no @ with a domain behind it\n"
                        "6 eve@example.org: a field that the template needs is empty\n"
                        "7 fay@example: has a domain without a dot\n"
                        "8 : the address is empty\n"
                        "10 ivy@xn--bcher-kva.example: more fields than the header row has columns\n"
                        "12 ki m@example.org: has a character that needs quotes in its local part\n"
                        "15 mia@example.org: the quote that opens on line 15 is never closed: the rest of the file "
                        "(0 lines behind it) was read as this field\n");
    assert_int_equal(rmd_intake_accepted(w.intake), 4);
    assert_int_equal(w.rows, 4);
    assert_int_equal(rmd_intake_rejected(w.intake), 9);
    assert_non_null(rmd_map_get_str(&w.seen, "hal@xn--bcher-kva.example"));
    assert_non_null(rmd_map_get_str(&w.seen, "jon@example.org"));
    end(&w);
}

static void unusable_headers_say_why(void **state) {
    (void)state;
    static const struct {
        const char *in, *trouble;
    } t[] = {{"", "line 1 of the recipients: the file is empty"},
             {"name,address\n", "line 1 of the recipients: there is no column email (the first line must name the "
                                "columns, one of them email)"},
             {"email,name,name\n", "line 1 of the recipients: two columns have the same name"},
             {"email,Email\n", "line 1 of the recipients: the column email stands there twice"},
             {"email,,x\n", "line 1 of the recipients: a column has no name"}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct world w = {0};
        begin(&w);
        assert_int_equal(feed(&w, t[i].in), RMD_EFORMAT);
        assert_string_equal(rmd_intake_trouble(w.intake), t[i].trouble);
        end(&w);
    }
}

/* 60,000 rows: three big domains and a long tail. */
static void big_domains_get_chunks_and_the_tail_is_shared(void **state) {
    (void)state;
    struct world w = {0};
    struct rmd_buf b = {0};
    begin(&w);
    assert_int_equal(rmd_intake_feed(w.intake, rmd_slice_str("email,name\n")), RMD_OK);
    for (int i = 0; i < 60000; i++) {
        rmd_buf_clear(&b);
        if (i % 2)
            rmd_buf_addf(&b, "user%d@big%d.example,Name %d\n", i, i % 3, i);
        else
            rmd_buf_addf(&b, "user%d@small%d.example,Name %d\n", i, i / 10, i);
        assert_int_equal(rmd_intake_feed(w.intake, rmd_buf_slice(&b)), RMD_OK);
    }
    assert_int_equal(rmd_intake_finish(w.intake), RMD_OK);
    assert_int_equal(w.rows, 60000);
    assert_int_equal(rmd_intake_chunks(w.intake), w.chunks);
    assert_in_range(w.chunks - w.tail_chunks, 117, 123);
    assert_in_range(w.tail_chunks, 117, 190);
    rmd_buf_release(&b);
    end(&w);
}

static void long_rows_keep_chunks_below_their_limit(void **state) {
    (void)state;
    struct world w = {0};
    struct rmd_buf b = {0};
    begin(&w);
    rmd_buf_addstr(&b, "email,text\n");
    for (int i = 0; i < 200; i++) {
        rmd_buf_addf(&b, "user%d@example.org,", i);
        for (int k = 0; k < 5000; k++)
            rmd_buf_addc(&b, 'x');
        rmd_buf_addc(&b, '\n');
    }
    assert_int_equal(feed(&w, rmd_buf_str(&b)), RMD_OK);
    assert_int_equal(w.rows, 200);
    assert_true(w.biggest <= RMD_CHUNK_BYTES_MAX + 8192);
    rmd_buf_release(&b);
    end(&w);
}

static void a_full_disk_stops_the_intake(void **state) {
    (void)state;
    struct world w = {.fail_after = 1};
    begin(&w);
    assert_int_equal(feed(&w, "email\na@example.org\n"), RMD_EFULL);
    assert_int_equal(rmd_intake_feed(w.intake, rmd_slice_str("b@example.org\n")), RMD_EFULL);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_says_who_was_engaged),
        cmocka_unit_test(bad_rows_are_named_and_good_ones_stay),
        cmocka_unit_test(unusable_headers_say_why),
        cmocka_unit_test(big_domains_get_chunks_and_the_tail_is_shared),
        cmocka_unit_test(long_rows_keep_chunks_below_their_limit),
        cmocka_unit_test(a_full_disk_stops_the_intake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
