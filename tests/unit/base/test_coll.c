/* Collections against naive models that do the same, slowly; and the generator that drives them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/coll.h>
#include <base/text.h>
#include <remuda/rng.h>

/* --- the generator */

static void test_generator_is_xoshiro(void **state) {
    (void)state;
    /* First values for the state 1, 2, 3, 4, as published with the reference implementation's ports. */
    static const uint64_t want[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240),
                                    UINT64_C(1216172134540287360)};
    struct rmd_rng rng = {{1, 2, 3, 4}}, a, b;
    for (size_t i = 0; i < 5; i++)
        assert_true(rmd_rng_next(&rng) == want[i]);
    rmd_rng_seed(&a, 0);
    assert_true(a.s[0] == UINT64_C(0xe220a8397b1dcdaf) && a.s[1] == UINT64_C(0x6e789e6aa1b965f4));
    rmd_rng_seed(&b, 0);
    for (int i = 0; i < 100; i++)
        assert_true(rmd_rng_next(&a) == rmd_rng_next(&b));
}

static void test_below_is_in_range_and_even(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 3);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t x = rmd_rng_below(&rng, 7);
        assert_in_range(x, 0, 6);
        seen[x]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9500, 10500); /* five standard deviations */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rmd_rng_below(&rng, 1), 0);
        assert_true(rmd_rng_below(&rng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    }
}

/* --- list */

struct item {
    int n;
    struct rmd_list link;
};

static void test_list(void **state) {
    (void)state;
    struct rmd_list head;
    struct item items[5] = {0};
    rmd_list_init(&head);
    assert_true(rmd_list_empty(&head));
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        assert_false(rmd_list_linked(&items[i].link));
        rmd_list_push(&head, &items[i].link);
    }
    rmd_list_remove(&items[4].link);
    rmd_list_push_front(&head, &items[4].link);
    int want[] = {4, 0, 1, 2, 3}, i = 0;
    rmd_list_for(it, &head) assert_int_equal(rmd_container(it, struct item, link)->n, want[i++]);
    rmd_list_for_safe(it, &head) rmd_list_remove(it);
    assert_int_equal(i, 5);
    assert_true(rmd_list_empty(&head));
    assert_false(rmd_list_linked(&items[2].link));
    rmd_list_remove(&items[2].link);
}

/* --- heap: the model is an array with key and moment of insertion, searched from end to end */

enum { NODES = 60 };

struct model_heap {
    bool in[NODES];
    int64_t key[NODES];
    uint64_t turn[NODES];
};

static int model_min(const struct model_heap *m) {
    int best = -1;
    for (int i = 0; i < NODES; i++)
        if (m->in[i] &&
            (best < 0 || m->key[i] < m->key[best] || (m->key[i] == m->key[best] && m->turn[i] < m->turn[best])))
            best = i;
    return best;
}

static void check_heap(const struct rmd_heap *h) {
    for (uint32_t i = 0; i < h->n; i++) {
        assert_int_equal(h->v[i]->pos, i + 1);
        const struct rmd_heap_node *up = h->v[i ? (i - 1) / 2 : 0];
        assert_true(up->key < h->v[i]->key || (up->key == h->v[i]->key && up->tie <= h->v[i]->tie));
    }
}

static void test_heap_against_a_model(void **state) {
    (void)state;
    struct rmd_heap h = {0};
    static struct rmd_heap_node nodes[NODES];
    static struct model_heap model;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 11);
    uint64_t turn = 0;
    for (int step = 0; step < 30000; step++) {
        int i = (int)rmd_rng_below(&rng, NODES);
        uint64_t what = rmd_rng_below(&rng, 10);
        if (what < 6) {
            int64_t key = (int64_t)rmd_rng_below(&rng, 20) - 10;
            if (step % 997 == 0)
                key = step % 2 ? RMD_NEVER : INT64_MIN;
            rmd_heap_set(&h, &nodes[i], key);
            if (!model.in[i] || model.key[i] != key)
                model.turn[i] = ++turn;
            model.in[i] = true;
            model.key[i] = key;
        } else if (what < 8) {
            rmd_heap_remove(&h, &nodes[i]);
            model.in[i] = false;
            assert_int_equal(nodes[i].pos, 0);
        } else {
            int best = model_min(&model);
            struct rmd_heap_node *min = rmd_heap_min(&h);
            assert_ptr_equal(min, best < 0 ? NULL : &nodes[best]);
            if (min)
                rmd_heap_remove(&h, min);
            if (best >= 0)
                model.in[best] = false;
        }
        check_heap(&h);
    }
    rmd_heap_release(&h);
    assert_null(rmd_heap_min(&h));
    for (int i = 0; i < NODES; i++)
        assert_int_equal(nodes[i].pos, 0);
}

static void test_heap_ties_leave_in_order(void **state) {
    (void)state;
    struct rmd_heap h = {0};
    struct rmd_heap_node nodes[40] = {0};
    for (int i = 0; i < 40; i++)
        rmd_heap_set(&h, &nodes[i], 5);
    rmd_heap_set(&h, &nodes[0], 5); /* keeps its turn */
    for (int i = 0; i < 40; i++) {
        assert_ptr_equal(rmd_heap_min(&h), &nodes[i]);
        rmd_heap_remove(&h, &nodes[i]);
    }
    rmd_heap_release(&h);
}

/* --- map: the model is an array of keys in order of insertion */

enum { KEYS = 300 };

struct model_map {
    int order[KEYS];
    int n;
    void *value[KEYS];
};

static struct rmd_slice key_of(int i, uint8_t out[64]) {
    size_t n = (size_t)i % 41; /* lengths on both sides of 8 and 16; key 0 is empty */
    memset(out, 'k', 64);
    if (n >= 2) {
        out[n - 2] = (uint8_t)i;
        out[n - 1] = (uint8_t)(i >> 8);
    } else if (n == 1) {
        out[0] = (uint8_t)i;
    } else if (i) {
        n = 60;
        out[30] = (uint8_t)i;
        out[31] = (uint8_t)(i >> 8);
    }
    return rmd_slice(out, n);
}

static void model_remove(struct model_map *m, int i) {
    int to = 0;
    for (int at = 0; at < m->n; at++)
        if (m->order[at] != i)
            m->order[to++] = m->order[at];
    m->n = to;
    m->value[i] = NULL;
}

static void check_map(const struct rmd_map *map, const struct model_map *model) {
    uint8_t bytes[64];
    assert_int_equal(map->n, model->n);
    uint32_t it = 0;
    struct rmd_slice key;
    void *value;
    for (int at = 0; at < model->n; at++) {
        assert_true(rmd_map_next(map, &it, &key, &value));
        assert_true(rmd_slice_eq(key, key_of(model->order[at], bytes)));
        assert_ptr_equal(value, model->value[model->order[at]]);
    }
    assert_false(rmd_map_next(map, &it, &key, &value));
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(rmd_map_get(map, key_of(i, bytes)), model->value[i]);
}

static void test_map_against_a_model(void **state) {
    (void)state;
    struct rmd_map map = {0};
    static struct model_map model;
    static char values[1000];
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 5);
    uint8_t bytes[64];
    for (int step = 0; step < 40000; step++) {
        int i = (int)rmd_rng_below(&rng, KEYS);
        bool shrink = step / 4000 % 2; /* grows and drains in turn */
        if (rmd_rng_below(&rng, 10) < (shrink ? 3 : 7)) {
            void *value = &values[rmd_rng_below(&rng, sizeof values)];
            assert_ptr_equal(rmd_map_set(&map, key_of(i, bytes), value), model.value[i]);
            if (!model.value[i])
                model.order[model.n++] = i;
            model.value[i] = value;
        } else {
            assert_ptr_equal(rmd_map_remove(&map, key_of(i, bytes)), model.value[i]);
            model_remove(&model, i);
        }
        if (step % 50 == 0)
            check_map(&map, &model);
    }
    check_map(&map, &model);
    rmd_map_release(&map);
    assert_null(rmd_map_get_str(&map, "anything"));
    assert_null(rmd_map_remove(&map, rmd_slice_str("anything")));
}

static void test_map_entries_may_be_removed_while_walking(void **state) {
    (void)state;
    struct rmd_map map = {0};
    static char value;
    for (uint64_t i = 0; i < 1000; i++)
        assert_null(rmd_map_set_u64(&map, i, &value));
    uint32_t it = 0;
    uint64_t expected = 0;
    struct rmd_slice key;
    while (rmd_map_next(&map, &it, &key, NULL)) {
        uint64_t k;
        assert_int_equal(key.n, sizeof k);
        memcpy(&k, key.p, sizeof k);
        assert_true(k == expected++);
        if (k % 3)
            assert_ptr_equal(rmd_map_remove(&map, key), &value); /* the key is the map's own */
    }
    assert_true(expected == 1000);
    assert_int_equal(map.n, 334);
    assert_ptr_equal(rmd_map_get_u64(&map, 999), &value);
    assert_null(rmd_map_get_u64(&map, 998));
    rmd_map_release(&map);
}

/* Sequential ids and one-bit differences are what the keys of a coordinator look like: runs must stay short, and a
 * map that is filled and drained for ever must not grow. */
static void test_map_stays_small_and_its_hash_spreads(void **state) {
    (void)state;
    struct rmd_map map = {0};
    static char value;
    for (uint64_t i = 0; i < 200000; i++) {
        rmd_map_set_u64(&map, i, &value);
        if (i >= 100)
            assert_non_null(rmd_map_remove_u64(&map, i - 100));
    }
    assert_int_equal(map.n, 100);
    assert_true(map.cap <= 512);
    rmd_map_release(&map);

    for (uint64_t i = 0; i < 50000; i++)
        rmd_map_set_u64(&map, i << 20, &value);
    uint64_t distance = 0;
    for (uint32_t i = 0; i < map.index_cap; i++)
        if (map.index[i])
            distance += (i - map.entries[map.index[i] - 1].hash) & (map.index_cap - 1);
    assert_true(distance / map.n < 3);
    rmd_map_release(&map);
}

/* --- set64 */

static void test_set_against_a_model(void **state) {
    (void)state;
    struct rmd_set64 set = {0};
    static bool in[2000];
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 9);
    size_t n = 0;
    assert_false(rmd_set64_has(&set, 0));
    assert_false(rmd_set64_remove(&set, 1));
    for (int step = 0; step < 200000; step++) {
        uint64_t i = rmd_rng_below(&rng, 2000), x = i * UINT64_C(0x100000001); /* 0 is one of them */
        bool shrink = step / 20000 % 2;
        if (rmd_rng_below(&rng, 20) < (shrink ? 1 : 13)) {
            assert_int_equal(rmd_set64_add(&set, x), !in[i]);
            n += !in[i];
            in[i] = true;
        } else {
            assert_int_equal(rmd_set64_remove(&set, x), in[i]);
            n -= in[i];
            in[i] = false;
        }
        assert_int_equal(rmd_set64_has(&set, x), in[i]);
        assert_int_equal(set.n, n);
        assert_true(set.n <= set.cap / 5 * 4 + 1);
        if (step % 1000 == 0)
            for (uint64_t k = 0; k < 2000; k++)
                assert_int_equal(rmd_set64_has(&set, k * UINT64_C(0x100000001)), in[k]);
    }
    rmd_set64_release(&set);
    assert_false(rmd_set64_has(&set, 0));
}

static void test_set_keeps_its_load(void **state) {
    (void)state;
    struct rmd_set64 set = {0};
    for (uint64_t i = 0; i < 300000; i++) {
        assert_true(rmd_set64_add(&set, i));
        if (i > 1000)
            assert_true(set.n * 100 >= set.cap * 49 && set.n * 100 <= set.cap * 81);
    }
    assert_true(rmd_set64_has(&set, 0) && rmd_set64_has(&set, 299999) && !rmd_set64_has(&set, 300000));
    for (uint64_t i = 0; i < 299990; i++)
        assert_true(rmd_set64_remove(&set, i));
    assert_true(set.cap <= 64);
    assert_int_equal(set.n, 10);
    rmd_set64_release(&set);
}

/* --- bitmap */

static void test_bits(void **state) {
    (void)state;
    uint8_t b[40];
    assert_int_equal(rmd_bit_bytes(0), 0);
    assert_int_equal(rmd_bit_bytes(8), 1);
    assert_int_equal(rmd_bit_bytes(9), 2);
    for (size_t nbits = 0; nbits <= 320; nbits++) {
        memset(b, 0, sizeof b);
        size_t want = 0;
        for (size_t i = 0; i < 320; i += 3) {
            rmd_bit_set(b, i);
            want += i < nbits;
        }
        assert_int_equal(rmd_bit_count(b, nbits), want);
    }
    rmd_bit_set(b, 9);
    assert_true(rmd_bit_get(b, 9) && b[1] & 2);
    rmd_bit_clear(b, 9);
    assert_false(rmd_bit_get(b, 9));
    memset(b, 0xff, sizeof b);
    assert_int_equal(rmd_bit_count(b, 317), 317);
}

/* --- arena */

static void test_arena(void **state) {
    (void)state;
    struct rmd_arena a = {0};
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 1);
    for (int round = 0; round < 3; round++) {
        uint8_t *pieces[400];
        size_t sizes[400], sum = 0;
        for (int i = 0; i < 400; i++) {
            sizes[i] = rmd_rng_below(&rng, i % 50 ? 200 : 400000);
            pieces[i] = rmd_arena_alloc(&a, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], 0);
            memset(pieces[i], i, sizes[i]);
            sum += sizes[i];
        }
        for (int i = 0; i < 400; i++) /* nobody wrote into a neighbour */
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], (uint8_t)i);
        assert_true(a.total >= sum && a.total <= sum + 400 * 16);
        rmd_arena_reset(&a);
        assert_int_equal(a.total, 0);
    }
    assert_string_equal(rmd_arena_str(&a, rmd_slice("abcdef", 3)), "abc");
    assert_string_equal(rmd_arena_str(&a, rmd_slice(NULL, 0)), "");
    assert_string_equal(rmd_arena_printf(&a, "%s-%05d", "x", 42), "x-00042");
    assert_memory_equal(rmd_arena_dup(&a, "\0\1\2", 3), "\0\1\2", 3);
    assert_ptr_not_equal(rmd_arena_alloc(&a, 0), rmd_arena_alloc(&a, 0));
    assert_int_equal(strlen(rmd_arena_printf(&a, "%*d", 300000, 1)), 300000);
    rmd_arena_release(&a);
    assert_null(a.head);
    rmd_arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generator_is_xoshiro),
        cmocka_unit_test(test_below_is_in_range_and_even),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_heap_against_a_model),
        cmocka_unit_test(test_heap_ties_leave_in_order),
        cmocka_unit_test(test_map_against_a_model),
        cmocka_unit_test(test_map_entries_may_be_removed_while_walking),
        cmocka_unit_test(test_map_stays_small_and_its_hash_spreads),
        cmocka_unit_test(test_set_against_a_model),
        cmocka_unit_test(test_set_keeps_its_load),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_arena),
    };
    return cmocka_run_group_tests_name("base/coll", tests, NULL, NULL);
}
