/* Priority inside a lane: transactional mail doesn't wait behind bulk mail.
 *
 * A site has two queues. The urgent one goes first, but while bulk mail waits as well no more than RMD_WORKER_URGENT_RUN in a row: the
 * weights by which the coordinator deals (8 to 1), so that bulk mail never starves. The coordinator says with a lease how many
 * connections of the lane are kept for urgent mail (LeaseShare.kept): bulk mail has no more transactions open than the rest, at the lane
 * and at each site, and dials no more, so that urgent mail finds a place however slow the receiver is. A limit of one connection can keep
 * none: urgent mail is next then. */
#include "node/core/worker_internal.h"

static uint32_t bulk_limit(uint32_t limit, uint32_t kept) {
    return limit > kept ? limit - kept : limit; /* one is left for bulk mail at least */
}

uint32_t rmd_lane_bulk_limit(const struct rmd_lane *lane) {
    return bulk_limit(rmd_width_limit(&lane->width, rmd_lane_limit(lane)), lane->kept);
}

uint32_t rmd_site_bulk_limit(const struct rmd_wsite *site) {
    return bulk_limit(rmd_width_limit(&site->width, rmd_site_limit(site)), site->lane->kept);
}

static bool bulk_barred(const struct rmd_wsite *site) {
    return site->lane->bulk_open >= rmd_lane_bulk_limit(site->lane) || site->bulk_open >= rmd_site_bulk_limit(site);
}

bool rmd_message_urgent(const struct rmd_wmessage *m) {
    return m->lease->pb->urgent;
}

struct rmd_wmessage *rmd_site_head(const struct rmd_wsite *site) {
    bool urgent = !rmd_list_empty(&site->urgent), bulk = !rmd_list_empty(&site->queue);
    if (urgent && (!bulk || site->urgent_run < RMD_WORKER_URGENT_RUN || bulk_barred(site)))
        return rmd_container(site->urgent.next, struct rmd_wmessage, link);
    return bulk ? rmd_container(site->queue.next, struct rmd_wmessage, link) : NULL;
}

bool rmd_site_waits_for_slot(const struct rmd_wsite *site, const struct rmd_wmessage *m) {
    return !rmd_message_urgent(m) && bulk_barred(site);
}

void rmd_site_enqueue(struct rmd_wsite *site, struct rmd_wmessage *m, bool front) {
    struct rmd_list *q = rmd_message_urgent(m) ? &site->urgent : &site->queue;
    site->queued++;
    site->lane->urgent_queued += rmd_message_urgent(m);
    if (front)
        rmd_list_push_front(q, &m->link);
    else
        rmd_list_push(q, &m->link);
}

void rmd_site_dequeued(struct rmd_wsite *site, const struct rmd_wmessage *m) {
    site->queued--;
    site->lane->urgent_queued -= rmd_message_urgent(m);
}

/* A transaction begins, and ends. */
void rmd_conn_began(struct rmd_wconn *c, const struct rmd_wmessage *m) {
    c->bulk = !rmd_message_urgent(m);
    c->site->urgent_run = c->bulk || rmd_list_empty(&c->site->queue) ? 0 : c->site->urgent_run + 1;
    c->site->bulk_open += c->bulk;
    c->site->lane->bulk_open += c->bulk;
}

void rmd_conn_ended(struct rmd_worker *w, struct rmd_wconn *c) {
    c->site->bulk_open -= c->bulk;
    c->site->lane->bulk_open -= c->bulk;
    if (c->bulk && c->site->lane->kept) /* another site may wait for its place */
        rmd_worker_wake_lane(w, c->site->lane);
    c->bulk = false;
}

/* A site of the ring with urgent mail: it goes first. They are woken to the front, so that few stand before it. */
struct rmd_wsite *rmd_lane_urgent_site(const struct rmd_lane *lane) {
    enum { LOOK = 16 };
    int looked = 0;
    rmd_list_for(it, &lane->ring) {
        struct rmd_wsite *site = rmd_container(it, struct rmd_wsite, ring);
        if (!lane->urgent_queued || looked++ >= LOOK)
            break;
        if (!rmd_list_empty(&site->urgent))
            return site;
    }
    return NULL;
}
