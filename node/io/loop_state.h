/* What loop.c (thread, mailbox, DNS) and loop_effects.c (carrying out effects, connections) share; nobody else
 * includes this. */
#ifndef REMUDA_NODE_LOOP_STATE_H
#define REMUDA_NODE_LOOP_STATE_H

#include "node/io/dial.h"
#include "node/io/loop.h"

struct loop_conn {
    struct rmd_dial dial;
    uint32_t generation; /* of the number: an event of a closed connection is told from one of its successor */
    uint32_t events;     /* asked of epoll */
    bool registered;
    bool dot, opened; /* a final dot, or a transaction's begin, is in what has not left yet */
    bool held;        /* content of it waits for its mark */
};

/* Something that happened while effects were carried out: it becomes an event when they are done. */
enum loop_later_kind { LATER_FAILED, LATER_SENT, LATER_TLS, LATER_MX, LATER_ADDR, LATER_TLSA };
struct loop_later {
    struct loop_later *next;
    enum loop_later_kind kind;
    uint32_t conn, generation;
    bool ok;
    enum rmd_own_error error;
    char text[160];
    char name[RMD_DOMAIN_MAX + 32];
    struct rmd_mx_answer *mx;
    struct rmd_addr_answer *addr;
    struct rmd_tlsa_answer *tlsa;
    struct rmd_tls_info tls;
};

/* Content whose mark waits for company in the journal (loop_effects.c). */
struct loop_held {
    uint64_t lease;
    uint32_t index, conn, generation;
    struct rmd_slice bytes;
};

struct rmd_loop {
    struct rmd_loop_options o;
    struct rmd_rules_ref *rules;
    struct rmd_worker *worker;
    struct rmd_worker_effects effects;
    struct rmd_dns_cares *dns_object;
    struct rmd_dns dns;
    struct rmd_tls_context *tls;
    struct rmd_mailbox *inbox;
    int epoll;
    pthread_t thread;
    atomic_bool quit;
    bool failed; /* the journal gave up: nothing is carried out any more */
    struct loop_conn *conn;
    uint32_t conns;
    struct loop_later *later, **later_last;
    struct rmd_journal_record *record;
    size_t record_cap;
    struct rmd_buf encoded;
    struct loop_held *held;
    size_t held_n, held_cap;
    pthread_mutex_t stats_lock;
    struct rmd_worker_stats stats;
    uint8_t read[RMD_DIAL_READ_BYTES];
};

/* loop.c */
void loop_step(struct rmd_loop *l, struct rmd_worker_event *e);
struct loop_later *loop_later(struct rmd_loop *l, enum loop_later_kind kind);

/* loop_effects.c */
void loop_carry_out(struct rmd_loop *l);
/* Before the thread waits: nothing is held any longer. What comes of it is in `later`. */
void loop_let_go(struct rmd_loop *l);
void loop_conn_event(struct rmd_loop *l, uint32_t conn, uint32_t generation, uint32_t events);
void loop_conns_close(struct rmd_loop *l);

#endif
