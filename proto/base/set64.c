/* Set of 64-bit hashes (see coll.h): one array, linear probing, 0 marks a free place (0 as a member is a flag).
 *
 * The home of x is its mixed value scaled to the capacity, so that the capacity can be any number: growing by 1.6
 * from a load of 0.8 leads to 0.5, where powers of two would waste more. Removal shifts the run back, leaving no
 * tombstones. */
#include <base/coll.h>

#include <base/text.h>

#include <assert.h>

enum { SET_FIRST = 64 };

static size_t set_home(const struct rmd_set64 *s, uint64_t x) {
    return (size_t)((unsigned __int128)rmd_mix64(x) * s->cap >> 64);
}

static size_t set_after(const struct rmd_set64 *s, size_t i) {
    return i + 1 == s->cap ? 0 : i + 1;
}

/* Where x is, or the free place where it would be. */
static size_t set_find(const struct rmd_set64 *s, uint64_t x) {
    size_t i = set_home(s, x);
    while (s->v[i] && s->v[i] != x)
        i = set_after(s, i);
    return i;
}

static void set_resize(struct rmd_set64 *s, size_t cap) {
    assert(cap <= SIZE_MAX / sizeof *s->v);
    uint64_t *old = s->v;
    size_t old_cap = s->cap;
    s->v = rmd_alloc(cap * sizeof *s->v);
    s->cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i])
            s->v[set_find(s, old[i])] = old[i];
    free(old);
}

bool rmd_set64_has(const struct rmd_set64 *s, uint64_t x) {
    if (!x)
        return s->has_zero;
    return s->cap && s->v[set_find(s, x)] == x;
}

bool rmd_set64_add(struct rmd_set64 *s, uint64_t x) {
    if (rmd_set64_has(s, x))
        return false;
    if (!x) {
        s->has_zero = true;
    } else {
        if (s->n >= s->cap / 5 * 4)
            set_resize(s, s->cap ? s->cap + s->cap / 5 * 3 : SET_FIRST);
        s->v[set_find(s, x)] = x;
    }
    s->n++;
    return true;
}

/* Moves later members of the run into the gap, as long as their home isn't behind it. */
static void set_close_gap(struct rmd_set64 *s, size_t gap) {
    for (size_t i = set_after(s, gap); s->v[i]; i = set_after(s, i)) {
        size_t home = set_home(s, s->v[i]);
        size_t from_home = i >= home ? i - home : i + s->cap - home;
        size_t from_gap = i >= gap ? i - gap : i + s->cap - gap;
        if (from_home < from_gap)
            continue;
        s->v[gap] = s->v[i];
        gap = i;
    }
    s->v[gap] = 0;
}

bool rmd_set64_remove(struct rmd_set64 *s, uint64_t x) {
    if (!rmd_set64_has(s, x))
        return false;
    s->n--;
    if (!x) {
        s->has_zero = false;
        return true;
    }
    set_close_gap(s, set_find(s, x));
    if (s->cap > SET_FIRST && s->n < s->cap / 5)
        set_resize(s, s->n * 2 > SET_FIRST ? s->n * 2 : SET_FIRST);
    return true;
}

void rmd_set64_release(struct rmd_set64 *s) {
    free(s->v);
    *s = (struct rmd_set64){0};
}
