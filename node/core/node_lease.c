/* Leases: parts, the fence, hand-over to workers, what a Welcome says of them, suppression of what is held (node.h).
 *
 * The fence: an id is taken when it is above the high-water mark, and then all ids up to it are spent, but for those
 * that it passed over in this session (`gap`: a frame overtook another). A Hello closes the gaps, because the
 * coordinator reads from it what will never start. */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

void node_lease_free(struct node_lease *l) {
    rmd_list_remove(&l->in_finished);
    rmd_buf_release(&l->bytes);
    free(l->done);
    free(l->journaled);
    free(l);
}

void node_partial_free(struct node_partial *p) {
    for (uint32_t i = 0; i < p->parts; i++)
        free((void *)(uintptr_t)p->part[i].p);
    free(p->part);
    free(p);
}

/* Window given back; with an id: the whole lease is in the journal. */
void node_lease_credit(struct rmd_node *n, uint64_t id, uint64_t bytes) {
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_LEASE_ACK);
    f->lease_ack = rmd_arena_alloc(&n->out->arena, sizeof *f->lease_ack);
    remuda__lease_ack__init(f->lease_ack);
    f->lease_ack->id = id;
    f->lease_ack->credit_bytes = bytes;
    node_send(n, f);
}

/* ---------------------------------------------------------------- the fence */

static bool fence_open(const struct rmd_node *n, uint64_t id) {
    if (id > n->high_water)
        return true;
    for (int i = 0; i < n->gaps; i++)
        if (id >= n->gap[i].from && id <= n->gap[i].to)
            return true;
    return false;
}

static void gap_add(struct rmd_node *n, uint64_t from, uint64_t to) {
    if (from > to)
        return;
    if (n->gaps == NODE_GAPS_MAX) /* the oldest is closed: refused is safe */
        memmove(&n->gap[0], &n->gap[1], (size_t)--n->gaps * sizeof n->gap[0]);
    n->gap[n->gaps++] = (struct gap){from, to};
}

/* The id is spent now. */
static void fence_pass(struct rmd_node *n, uint64_t id) {
    if (id > n->high_water) {
        gap_add(n, n->high_water + 1, id - 1);
        n->high_water = id;
        return;
    }
    for (int i = 0; i < n->gaps; i++) {
        struct gap g = n->gap[i];
        if (id < g.from || id > g.to)
            continue;
        n->gap[i] = n->gap[--n->gaps];
        gap_add(n, g.from, id - 1);
        gap_add(n, id + 1, g.to);
        return;
    }
}

void node_lease_session_end(struct rmd_node *n) {
    n->gaps = 0;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->partials, &it, NULL, &v))
        node_partial_free(v);
    rmd_map_release(&n->partials);
    n->partial_bytes = 0;
    rmd_set64_release(&n->overtaken);
    for (it = 0; rmd_map_next(&n->leases, &it, NULL, &v);)
        ((struct node_lease *)v)->confirmed = false;
}

/* ---------------------------------------------------------------- one lease */

static struct node_lease *lease_new(struct rmd_node *n, const Remuda__Lease *m) {
    struct node_lease *l = rmd_alloc(sizeof *l);
    l->id = m->id;
    l->source = m->source;
    l->provider = m->provider;
    l->stream = m->stream;
    l->tenant = m->tenant;
    l->worker = m->source % n->o.workers;
    if ((l->has_campaign = m->campaign.len == sizeof l->campaign))
        memcpy(l->campaign, m->campaign.data, sizeof l->campaign);
    l->rows = l->left = (uint32_t)m->n_row;
    l->done = rmd_alloc(rmd_bit_bytes(l->rows) + 1);
    l->journaled = rmd_alloc(rmd_bit_bytes(l->rows) + 1);
    rmd_map_set_u64(&n->leases, l->id, l);
    return l;
}

static bool lease_well_formed(const Remuda__Lease *m) {
    return m->id && m->n_row && m->n_row <= RMD_NODE_LEASE_ROWS_MAX && (!m->n_item || m->n_item == m->n_row) &&
           m->template_hash.len == RMD_HASH_BYTES;
}

/* All outcomes are journaled: it may go once they are acknowledged. */
static void lease_finished(struct rmd_node *n, struct node_lease *l) {
    if (l->tmpl && l->state == LEASE_WORKING)
        l->tmpl->working[l->worker]--;
    if (l->tmpl)
        node_template_unuse(n, l->tmpl);
    l->tmpl = NULL;
    rmd_buf_release(&l->bytes);
    struct rmd_list *at = n->finished.prev; /* in order of last_n; nearly always at the end */
    while (at != &n->finished && rmd_container(at, struct node_lease, in_finished)->last_n > l->last_n)
        at = at->prev;
    rmd_list_insert_before(at->next, &l->in_finished);
}

static void lease_drop(struct rmd_node *n, struct node_lease *l) {
    node_effect(n, RMD_NF_JOURNAL_DROP)->lease = l->id;
    rmd_map_remove_u64(&n->leases, l->id);
    node_lease_free(l);
}

void node_lease_acked(struct rmd_node *n) {
    while (!rmd_list_empty(&n->finished)) {
        struct node_lease *l = rmd_container(n->finished.next, struct node_lease, in_finished);
        if (l->last_n > n->acked_n)
            return;
        lease_drop(n, l);
    }
}

void node_lease_outcome(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number) {
    struct node_lease *l = rmd_map_get_u64(&n->leases, o->lease);
    if (!l || o->index >= l->rows)
        return;
    if (number > l->last_n)
        l->last_n = number;
    if (rmd_bit_get(l->journaled, o->index))
        return;
    if (rmd_bit_get(l->done, o->index))
        n->own_back++; /* only this core closes a row before its outcome is journaled */
    rmd_bit_set(l->done, o->index);
    rmd_bit_set(l->journaled, o->index);
    if (--l->left == 0)
        lease_finished(n, l);
}

void node_lease_give_back(struct rmd_node *n, struct node_lease *l, enum rmd_return_reason reason) {
    assert(l->state == LEASE_WAITING);
    l->state = LEASE_GIVEN;
    for (uint32_t i = 0; i < l->rows; i++)
        if (!rmd_bit_get(l->done, i))
            node_own_outcome(n, l, i, RMD_OUTCOME_RETURNED, reason, 0);
    rmd_buf_release(&l->bytes);
}

/* To its worker when everything is there, else it goes on waiting. */
void node_lease_hand_over(struct rmd_node *n, struct node_lease *l) {
    if (l->state != LEASE_WAITING || !l->confirmed || !l->left || !l->tmpl || !l->tmpl->ready || n->stopping)
        return;
    node_template_working(n, l->tmpl, l->worker);
    struct rmd_mail *m = node_mail(n, l->worker, RMD_MAIL_LEASE);
    m->id = l->id;
    m->source = l->source;
    m->bytes = rmd_slice(rmd_arena_dup(&n->out->arena, l->bytes.p, l->bytes.len), l->bytes.len);
    size_t bitmap = rmd_bit_bytes(l->rows);
    m->skip = rmd_slice(rmd_arena_dup(&n->out->arena, l->done, bitmap), bitmap);
    l->state = LEASE_WORKING;
    rmd_buf_release(&l->bytes);
}

/* ---------------------------------------------------------------- suppression of what is held */

static void suppress_rows(struct rmd_node *n, struct node_lease *l, const Remuda__Lease *m) {
    for (uint32_t i = 0; i < l->rows && i < m->n_row; i++) {
        if (rmd_bit_get(l->done, i))
            continue;
        Remuda__Row *row =
            rmd_pb_decode(&remuda__row__descriptor, rmd_slice(m->row[i].data, m->row[i].len), &n->out->arena);
        if (row && node_suppress_has(n, l->tenant, l->stream, rmd_address_hash(l->tenant, rmd_slice_str(row->email))))
            node_own_outcome(n, l, i, RMD_OUTCOME_RETURNED, RMD_RETURN_SUPPRESSED, 0);
    }
}

void node_lease_suppress_held(struct rmd_node *n) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        if (l->state != LEASE_WAITING)
            continue;
        Remuda__Lease *m = rmd_pb_decode(&remuda__lease__descriptor, rmd_buf_slice(&l->bytes), &n->out->arena);
        if (m)
            suppress_rows(n, l, m);
    }
}

/* ---------------------------------------------------------------- coming in */

static void journal_part(struct rmd_node *n, uint64_t id, uint32_t part, struct rmd_slice bytes) {
    struct rmd_node_effect *x = node_effect(n, RMD_NF_JOURNAL_LEASE);
    x->lease = id;
    x->part = part;
    x->bytes = bytes;
}

/* m: the whole lease; its parts are in this step's journal effects. */
static void lease_take(struct rmd_node *n, const Remuda__Lease *m) {
    struct node_lease *l = lease_new(n, m);
    struct rmd_slice bytes = node_pack(n, m);
    l->confirmed = true;
    l->tmpl = node_template_use(n, m->template_hash.data);
    fence_pass(n, l->id);
    if (rmd_set64_remove(&n->overtaken, l->id)) {
        node_lease_give_back(n, l, RMD_RETURN_RECALLED);
        return;
    }
    rmd_buf_add(&l->bytes, bytes.p, bytes.n);
    if (n->suppressed.n && l->id < n->suppressed_before)
        suppress_rows(n, l, m);
    node_lease_hand_over(n, l);
}

/* Joins decoded parts: what stands beside the rows is the first one's. */
static Remuda__Lease *parts_join(struct rmd_node *n, struct node_partial *p) {
    struct rmd_arena *a = &n->out->arena;
    Remuda__Lease **part = rmd_arena_alloc(a, p->parts * sizeof *part);
    size_t rows = 0, items = 0;
    for (uint32_t i = 0; i < p->parts; i++) {
        part[i] = rmd_pb_decode(&remuda__lease__descriptor, p->part[i], a);
        if (!part[i] || part[i]->n_row > RMD_NODE_LEASE_ROWS_MAX - rows)
            return NULL;
        rows += part[i]->n_row;
        items += part[i]->n_item;
        if (part[i]->n_item && part[i]->n_item != part[i]->n_row)
            return NULL;
    }
    Remuda__Lease *m = rmd_arena_dup(a, part[0], sizeof *m);
    m->n_row = m->n_item = 0;
    m->row = rmd_arena_alloc(a, (rows + 1) * sizeof *m->row);
    m->item = rmd_arena_alloc(a, (rows + 1) * sizeof *m->item);
    m->part = 0;
    m->parts = 1;
    Remuda__LeaseItem *first = rmd_arena_alloc(a, sizeof *first);
    remuda__lease_item__init(first);
    for (uint32_t i = 0; i < p->parts; i++) {
        for (size_t r = 0; r < part[i]->n_row; r++) {
            m->row[m->n_row++] = part[i]->row[r];
            if (items)
                m->item[m->n_item++] = part[i]->n_item ? part[i]->item[r] : first;
        }
    }
    return lease_well_formed(m) ? m : NULL;
}

static struct node_partial *partial_for(struct rmd_node *n, const Remuda__Lease *m) {
    struct node_partial *p = rmd_map_get_u64(&n->partials, m->id);
    if (p && p->parts == m->parts)
        return p;
    if (p || m->parts > RMD_NODE_LEASE_PARTS_MAX || m->part >= m->parts)
        return NULL;
    p = rmd_alloc(sizeof *p);
    p->id = m->id;
    p->parts = m->parts;
    p->part = rmd_alloc(p->parts * sizeof *p->part);
    rmd_map_set_u64(&n->partials, p->id, p);
    return p;
}

static void partial_drop(struct rmd_node *n, struct node_partial *p) {
    n->partial_bytes -= p->bytes;
    rmd_map_remove_u64(&n->partials, p->id);
    node_partial_free(p);
}

static void part_take(struct rmd_node *n, const Remuda__Lease *m, uint64_t credit) {
    struct node_partial *p = partial_for(n, m);
    struct rmd_slice bytes = node_pack(n, m);
    if (!p || m->part >= p->parts || n->partial_bytes + bytes.n > RMD_NODE_PARTIAL_BYTES_MAX) {
        node_log(n, "lease %llu: part %u of %u refused: %s", (unsigned long long)m->id, m->part, m->parts,
                 p && m->part < p->parts ? "too many incomplete leases" : "its parts contradict each other");
        n->malformed_frames += !p || m->part >= p->parts;
        node_lease_credit(n, 0, credit);
        return;
    }
    if (!p->part[m->part].p) {
        p->part[m->part] = rmd_slice(rmd_memdup(bytes.p, bytes.n), bytes.n);
        p->bytes += bytes.n;
        n->partial_bytes += bytes.n;
        p->have++;
    }
    if (p->have < p->parts) {
        node_lease_credit(n, 0, credit);
        return;
    }
    Remuda__Lease *whole = parts_join(n, p);
    if (whole) {
        for (uint32_t i = 0; i < p->parts; i++)
            journal_part(n, p->id, i,
                         rmd_slice(rmd_arena_dup(&n->out->arena, p->part[i].p, p->part[i].n), p->part[i].n));
        lease_take(n, whole);
    } else {
        n->malformed_frames++;
    }
    node_lease_credit(n, whole ? p->id : 0, credit);
    partial_drop(n, p);
}

void node_lease_frame(struct rmd_node *n, const Remuda__Lease *m) {
    uint64_t credit = protobuf_c_message_get_packed_size(&m->base);
    if (rmd_map_get_u64(&n->leases, m->id)) {
        node_lease_credit(n, m->id, credit); /* a repeat: the journal has it */
        return;
    }
    if (n->stopping) {
        node_lease_credit(n, 0, credit); /* not in the journal: dealt anew at the next Hello */
        return;
    }
    if (!fence_open(n, m->id)) {
        node_log(n, "lease %llu refused: not above %llu, and not in the journal any more", (unsigned long long)m->id,
                 (unsigned long long)n->high_water);
        node_lease_credit(n, 0, credit);
        return;
    }
    if (n->leases.n + n->partials.n >= RMD_NODE_LEASES_MAX) {
        node_log(n, "lease %llu refused: this node holds %d leases already", (unsigned long long)m->id,
                 RMD_NODE_LEASES_MAX);
        node_lease_credit(n, 0, credit);
        return;
    }
    if (m->parts > 1) {
        part_take(n, m, credit);
    } else if (lease_well_formed(m)) {
        journal_part(n, m->id, 0, node_pack(n, m));
        lease_take(n, m);
        node_lease_credit(n, m->id, credit);
    } else {
        n->malformed_frames++;
        node_log(n, "lease %llu is malformed: refused", (unsigned long long)m->id);
        node_lease_credit(n, 0, credit);
    }
}

/* ---------------------------------------------------------------- replay */

static unsigned mark_get(struct rmd_slice marks, uint32_t i) {
    size_t byte = i / 4;
    return byte < marks.n ? marks.p[byte] >> (i % 4 * 2) & 3 : 0;
}

void node_lease_replay(struct rmd_node *n, const struct rmd_node_event *e) {
    const Remuda__Lease *m = e->lease;
    if (!lease_well_formed(m) || rmd_map_get_u64(&n->leases, m->id)) {
        node_log(n, "lease %llu in the journal is malformed: left alone", (unsigned long long)m->id);
        return;
    }
    struct node_lease *l = lease_new(n, m);
    if (l->id > n->high_water)
        n->high_water = l->id;
    for (uint32_t i = 0; i < l->rows; i++) {
        if (i / 8 < e->outcomes.n && rmd_bit_get(e->outcomes.p, i)) {
            rmd_bit_set(l->done, i);
            rmd_bit_set(l->journaled, i);
            l->left--;
        }
    }
    l->tmpl = node_template_use(n, m->template_hash.data);
    struct rmd_slice bytes = node_pack(n, m);
    rmd_buf_add(&l->bytes, bytes.p, bytes.n);
    for (uint32_t i = 0; i < l->rows; i++) {
        unsigned mark = mark_get(e->marks, i);
        if (rmd_bit_get(l->done, i) || !mark)
            continue;
        if (mark == 2)
            node_own_outcome(n, l, i, RMD_OUTCOME_UNCERTAIN, RMD_RETURN_NONE, 1);
        else
            node_own_outcome(n, l, i, RMD_OUTCOME_RETURNED, RMD_RETURN_CRASHED, 1);
    }
}

/* Leases that were finished before this start: those whose outcomes are all acknowledged may go. */
void node_lease_finish_replay(struct rmd_node *n) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        if (!l->left && !rmd_list_linked(&l->in_finished))
            lease_finished(n, l);
    }
    node_lease_acked(n);
}

/* ---------------------------------------------------------------- Welcome */

/* Takes the leases that worker w must give back because the coordinator doesn't list them. */
static void recall_unlisted(struct rmd_node *n, const struct rmd_set64 *live) {
    Remuda__Recall r;
    remuda__recall__init(&r);
    r.lease = rmd_arena_alloc(&n->out->arena, (n->leases.n + 1) * sizeof *r.lease);
    r.reason = RMD_RETURN_RECALLED;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        const struct node_lease *l = v;
        if (l->left && !rmd_set64_has(live, l->id))
            r.lease[r.n_lease++] = l->id;
    }
    if (!r.n_lease)
        return;
    r.id = UINT64_C(1) << 63 | ++n->next_internal;
    node_log(n, "%zu leases are no longer this node's: what has not started goes back", r.n_lease);
    node_recall_frame(n, &r, true);
}

void node_lease_welcome(struct rmd_node *n, const Remuda__Welcome *w) {
    struct rmd_set64 live = {0};
    for (size_t i = 0; i < w->n_lease_live; i++)
        rmd_set64_add(&live, w->lease_live[i]);
    recall_unlisted(n, &live);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        if (!rmd_set64_has(&live, l->id))
            continue;
        l->confirmed = true;
        node_lease_hand_over(n, l);
    }
    rmd_set64_release(&live);
}
