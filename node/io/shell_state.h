/* What shell.c (life, waiting), shell_effects.c (node effects) and shell_sources.c (are the addresses here?) share;
 * nobody else includes this. */
#ifndef REMUDA_NODE_SHELL_STATE_H
#define REMUDA_NODE_SHELL_STATE_H

#include "node/io/loop.h"
#include "node/io/shell.h"
#include "node/io/sts.h"
#include "proto/io/bus.h"
#include "proto/io/dns_cares.h"

/* An event for the core that came out of carrying out effects. */
struct shell_later {
    struct shell_later *next;
    enum rmd_node_event_kind kind;
    uint64_t n, token;
    bool txt;
    size_t bytes_n;
    uint8_t bytes[]; /* encoded Outcome; a struct rmd_addr_answer or rmd_txt_answer */
};

struct shell_source {
    uint32_t id;
    bool missing;
    struct rmd_addr bind;
};

struct rmd_node_shell {
    const struct rmd_node_config *config;
    const struct rmd_clock *clock;
    struct rmd_journal journal;
    struct rmd_bus_client *bus;
    struct rmd_node *node;
    struct rmd_node_effects effects;
    struct rmd_arena decoded;
    struct rmd_mailbox *inbox;
    struct rmd_loop **loop;
    uint32_t workers;
    struct rmd_rules_ref *rules;
    char **address; /* of the host, NULL-terminated */
    int signals;
    int stop_signals;
    bool stopped, failed;
    int64_t stop_at, stats_at, trim_at, sources_at, bus_logged_at;
    struct shell_later *later, **later_last;
    uint64_t replay_from; /* 0: nothing to replay */
    struct rmd_journal_record *record;
    size_t record_cap;
    struct rmd_buf encoded;
    struct shell_source *source;
    size_t sources;
    struct rmd_dns_cares *dns;   /* of the watch */
    struct rmd_sts_service *sts; /* NULL: MTA-STS isn't looked at */
    bool watch_closed;
    char bus_trouble[256];
    uint64_t unsent_frames;
};

/* shell.c */
void node_shell_step(struct rmd_node_shell *s, struct rmd_node_event *e);
/* Reads signals; true: the process was told to end. */
bool node_shell_read_signals(struct rmd_node_shell *s);
struct rmd_time node_shell_now(const struct rmd_node_shell *s);

/* shell_effects.c */
void node_shell_carry_out(struct rmd_node_shell *s);
/* The core gets it behind the step that is being carried out. */
void node_shell_looked_up(struct rmd_node_shell *s, uint64_t token, const struct rmd_addr_answer *addr,
                          const struct rmd_txt_answer *txt);

/* shell_watch.c */
int node_shell_watch_open(struct rmd_node_shell *s, const char *servers, char *err, size_t err_n) RMD_CHECKED;
void node_shell_watch_close(struct rmd_node_shell *s);
void node_shell_watch_lookup(struct rmd_node_shell *s, const struct rmd_node_effect *f);
int node_shell_watch_fd(const struct rmd_node_shell *s);
int64_t node_shell_watch_deadline(const struct rmd_node_shell *s);
void node_shell_watch_process(struct rmd_node_shell *s);

/* shell_sts.c */
int node_shell_sts_open(struct rmd_node_shell *s, const struct rmd_dns_cares_options *dns, char *err,
                        size_t err_n) RMD_CHECKED;
void node_shell_sts_learn(struct rmd_node_shell *s, const Remuda__Policy *p);

/* shell_sources.c */
char **node_shell_addresses(void); /* plumbed addresses, as text, NULL-terminated; the caller frees */
void node_shell_addresses_free(char **address);
void node_shell_sources_learn(struct rmd_node_shell *s, const Remuda__Policy *p);
void node_shell_sources_check(struct rmd_node_shell *s);

#endif
