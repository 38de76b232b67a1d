/* Hash map from byte strings to pointers (see coll.h).
 *
 * Entries stand densely in order of insertion; the index, a power of two at most half full, holds entry number + 1
 * (0: free) and is probed linearly. A removed entry keeps its place and its index slot, with key NULL, until the
 * entries are full: then the living move together, in order, and the index is made anew. So removal never moves
 * anything, which is what allows it while walking.
 *
 * The hash has no seed: a run replays exactly. Keys that a stranger chooses could be made to collide, so a map whose
 * keys come from outside must have a limit of its own on their number. */
#include <base/coll.h>

#include <assert.h>

enum { MAP_FIRST = 8, MAP_MAX = 1 << 30 };

static uint64_t read64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t fold_multiply(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* In the manner of wyhash: 16 bytes a multiplication, the tail read with overlap. */
static uint32_t map_hash(struct rmd_slice key) {
    const uint64_t k0 = UINT64_C(0xa0761d6478bd642f), k1 = UINT64_C(0xe7037ed1a0b428db);
    const uint8_t *p = key.p;
    size_t n = key.n;
    uint64_t h = k0 ^ n, a = 0, b = 0;
    for (; n > 16; n -= 16, p += 16)
        h = fold_multiply(read64(p) ^ k1, read64(p + 8) ^ h);
    if (n >= 8) {
        a = read64(p);
        b = read64(p + n - 8);
    } else {
        for (size_t i = 0; i < n; i++)
            a = a << 8 | p[i];
    }
    h = fold_multiply(k1 ^ (uint64_t)key.n, fold_multiply(a ^ k1, b ^ h));
    return (uint32_t)(h ^ h >> 32);
}

/* The entry with this key, or NULL. */
static struct rmd_map_entry *map_find(const struct rmd_map *m, struct rmd_slice key, uint32_t hash) {
    if (!m->n)
        return NULL;
    uint32_t mask = m->index_cap - 1;
    for (uint32_t i = hash & mask; m->index[i]; i = (i + 1) & mask) {
        struct rmd_map_entry *e = &m->entries[m->index[i] - 1];
        if (e->hash == hash && e->key && e->key_n == key.n && (!key.n || memcmp(e->key, key.p, key.n) == 0))
            return e;
    }
    return NULL;
}

static void index_add(struct rmd_map *m, uint32_t entry) {
    uint32_t mask = m->index_cap - 1, i = m->entries[entry].hash & mask;
    while (m->index[i])
        i = (i + 1) & mask;
    m->index[i] = entry + 1;
}

/* Closes the gaps and gives room for as many again as are living, so that the next rebuild is as far away. */
static void map_rebuild(struct rmd_map *m) {
    uint32_t cap = MAP_FIRST, to = 0;
    while (cap < m->n * 2)
        cap *= 2;
    assert(cap <= MAP_MAX);
    for (uint32_t i = 0; i < m->used; i++)
        if (m->entries[i].key)
            m->entries[to++] = m->entries[i];
    assert(to == m->n);
    m->used = to;
    if (cap != m->cap) {
        m->entries = rmd_realloc(m->entries, (size_t)cap * sizeof *m->entries);
        free(m->index);
        m->index = rmd_alloc((size_t)cap * 2 * sizeof *m->index);
    } else {
        memset(m->index, 0, (size_t)m->index_cap * sizeof *m->index);
    }
    m->cap = cap;
    m->index_cap = cap * 2;
    for (uint32_t i = 0; i < m->used; i++)
        index_add(m, i);
}

void *rmd_map_get(const struct rmd_map *m, struct rmd_slice key) {
    if (!m->n)
        return NULL;
    struct rmd_map_entry *e = map_find(m, key, map_hash(key));
    return e ? e->value : NULL;
}

void *rmd_map_set(struct rmd_map *m, struct rmd_slice key, void *value) {
    assert(value);
    assert(key.n < UINT32_MAX);
    uint32_t hash = map_hash(key);
    struct rmd_map_entry *e = map_find(m, key, hash);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    if (m->used == m->cap)
        map_rebuild(m);
    m->entries[m->used] = (struct rmd_map_entry){
        .key = rmd_memdup(key.p, key.n), .key_n = (uint32_t)key.n, .hash = hash, .value = value};
    index_add(m, m->used++);
    m->n++;
    return NULL;
}

void *rmd_map_remove(struct rmd_map *m, struct rmd_slice key) {
    struct rmd_map_entry *e = m->n ? map_find(m, key, map_hash(key)) : NULL;
    if (!e)
        return NULL;
    void *value = e->value;
    free(e->key);
    e->key = NULL;
    e->value = NULL;
    m->n--;
    return value;
}

bool rmd_map_next(const struct rmd_map *m, uint32_t *it, struct rmd_slice *key, void **value) {
    while (*it < m->used) {
        const struct rmd_map_entry *e = &m->entries[(*it)++];
        if (!e->key)
            continue;
        if (key)
            *key = rmd_slice(e->key, e->key_n);
        if (value)
            *value = e->value;
        return true;
    }
    return false;
}

void rmd_map_release(struct rmd_map *m) {
    for (uint32_t i = 0; i < m->used; i++)
        free(m->entries[i].key);
    free(m->entries);
    free(m->index);
    *m = (struct rmd_map){0};
}
