/* remuda-receivers: the MX hosts of many test domains in one process, with policy as configuration.
 *
 * Who owns what. struct rmd_rcv is the program: providers, open connections, timers, the transcript, the verifier.
 * One thread runs everything but signature checks, which have threads of their own behind a bounded queue. A provider
 * owns its listeners, its policy, and what it remembers of clients (counts, greylist, listings). A connection owns
 * its buffers and borrows its provider and client.
 *
 * Order of things: a transcript line is written (one write() call) before the reply that it describes leaves, but for
 * `verdict` lines, which are written after the blocking reply went into the socket.
 *
 * Units: monotonic microseconds of CLOCK_BOOTTIME in *_us, milliseconds in *_ms. Protocol: RFC 5321, 2920, 1870,
 * 6152, 6531, 3207, 3030. */
#ifndef REMUDA_RECEIVERS_H
#define REMUDA_RECEIVERS_H

#include <sys/socket.h>

#include <base/coll.h>
#include <base/text.h>

enum rmd_rcv_stage { RCV_GREETING, RCV_EHLO, RCV_MAIL, RCV_RCPT, RCV_DATA, RCV_DOT, RCV_STAGES };
#define RCV_ANY ((1u << RCV_STAGES) - 1)

/* Where a connection is cut. The first five close instead of the reply of their stage; `before-dot` closes once the
 * first bytes of the content came; the last two after the whole message was read, without a reply. */
enum rmd_rcv_cut {
    RCV_CUT_GREETING,
    RCV_CUT_EHLO,
    RCV_CUT_MAIL,
    RCV_CUT_RCPT,
    RCV_CUT_DATA,
    RCV_CUT_BEFORE_DOT,
    RCV_CUT_AFTER_LOST,     /* the message is forgotten */
    RCV_CUT_AFTER_ACCEPTED, /* the message is accepted and logged as such */
    RCV_CUTS
};

enum rmd_rcv_tls { RCV_TLS_OFF, RCV_TLS_ON, RCV_TLS_REQUIRED, RCV_TLS_BROKEN, RCV_TLS_REFUSE };

enum {
    RCV_PROVIDERS_MAX = 256,
    RCV_LISTENERS_MAX = 1024,
    RCV_CLIENTS_MAX = 65536,     /* addresses remembered by a provider */
    RCV_GREYLIST_MAX = 1 << 20,  /* triplets remembered by a provider */
    RCV_CONNECTIONS_MAX = 65536, /* in all */
    RCV_RCPTS_MAX = 1000,        /* of one transaction, whatever the policy says */
    RCV_COMMAND_MAX = 2048,      /* bytes of a command line with CRLF */
    RCV_READ_BYTES = 64 << 10,   /* one read */
    RCV_OUT_MAX = 64 << 10,      /* unsent replies after which commands wait */
    RCV_TEXT_MAX = 4096,         /* an expanded reply text */
    RCV_BLOCKS_MAX = 4096,       /* block rules of a provider */
    RCV_LIST_MAX = 4096,         /* items of a list setting */
    RCV_X_MAX = 16,              /* X- header fields copied into the transcript */
    RCV_MESSAGE_MAX = 64 << 20,  /* bytes, whatever the policy says */
};

struct rmd_rcv_list {
    char **v;
    size_t n;
};

/* Every member here is a row of the table in settings.c: name, type, default, meaning. */
struct rmd_rcv_policy {
    bool pipelining, ehlo, eightbitmime, smtputf8, chunking, dsn, requiretls, strict_line, reset, greylist;
    int64_t starttls; /* enum rmd_rcv_tls */
    int64_t size_bytes, announce_size_bytes, line_bytes, flood_bytes;
    int64_t throttle, throttle_least;
    int64_t rcpts, rcpt_per_minute, connections_per_ip, connections, messages_per_connection, multiline;
    int64_t idle_ms, drip_ms, greylist_ms, delay_ms, delay_stage_ms[RCV_STAGES];
    double unknown, full, defer, cut[RCV_CUTS];
    int64_t cut_nth[RCV_CUTS];
    int64_t drip_stages, nul_stages, flood_stages, dnsbl_stages; /* bit a stage */
    int64_t dnsbl_cache_ms, dnsbl_timeout_ms;
    char *dnsbl_zone, *dnsbl_server;
    char *rate_text, *connections_text, *messages_text, *greylist_text, *unknown_text, *full_text, *defer_text;
    char *content_text, *relay_text, *dnsbl_text;
    char *reply[RCV_STAGES]; /* said instead of going on, when set */
    struct rmd_rcv_list unknown_users, full_users, content_words;
};

struct rmd_rcv_block {
    struct rmd_addr net;
    unsigned prefix; /* bits; 0 = everybody */
    unsigned stages;
    char *text;
};

/* Something in the epoll set. */
struct rmd_rcv;
struct rmd_rcv_watch {
    void (*ready)(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events);
    int fd;
    uint32_t interest;
};

struct rmd_rcv_timer {
    struct rmd_heap_node node; /* key: microseconds */
    void (*fire)(struct rmd_rcv *r, struct rmd_rcv_timer *t);
};

/* What a provider remembers of one client address. */
struct rmd_rcv_client {
    char ip[48];
    struct rmd_addr addr;
    unsigned connections;
    uint32_t rcpts[60]; /* by second */
    int64_t rcpts_s;    /* second of the newest slot */
    int64_t bears_ppm, room_ppm,
        throttle_us; /* throttle: of its allowance what is left, RCPTs that it may send now, as of */
    bool dnsbl_asking, dnsbl_listed;
    int64_t dnsbl_answer_us; /* 0: never asked */
};

struct rmd_rcv_listener {
    struct rmd_rcv_watch watch; /* fd < 0: down */
    struct rmd_rcv_provider *provider;
    char addr[64]; /* as configured, "127.0.0.1:25" or "[::1]:25" */
};

#define RCV_COUNTERS(X) \
    X(connections)      \
    X(accepted)         \
    X(rcpts)            \
    X(refused) X(greylisted) X(blocked) X(cuts) X(smuggling) X(violations) X(dnsbl_queries) X(dnsbl_listed) X(tls)

struct rmd_rcv_provider {
    char *name, *host;
    struct rmd_rcv_list domains;
    struct rmd_rcv_listener *listeners;
    size_t listeners_n;
    struct rmd_rcv_policy policy;
    struct rmd_rcv_block *blocks;
    size_t blocks_n;
    struct rmd_map clients;  /* address text -> struct rmd_rcv_client */
    struct rmd_map greylist; /* hash of (client, sender, recipient) -> first attempt, ms + 1 */
    struct rmd_rcv_dnsbl *dnsbl;
    int64_t messages;           /* transactions that reached DATA or BDAT */
    int64_t cut_next[RCV_CUTS]; /* armed by the control socket */
    unsigned open;
#define RCV_COUNTER_FIELD(name) uint64_t n_##name;
    RCV_COUNTERS(RCV_COUNTER_FIELD)
#undef RCV_COUNTER_FIELD
};

enum rmd_rcv_state { RCV_S_GREETING, RCV_S_COMMAND, RCV_S_CONTENT, RCV_S_BDAT, RCV_S_DOT, RCV_S_TLS, RCV_S_FLOOD };

/* What one pass over the content found. */
struct rmd_rcv_content {
    uint32_t lines, longest;
    size_t partial; /* bytes of the present line that were consumed already */
    bool bare_lf, bare_cr, nul, eight_bit, smuggling, too_big, after_crlf;
};

struct rmd_rcv_conn {
    struct rmd_rcv_watch watch;
    struct rmd_list all;
    struct rmd_rcv_provider *provider;
    struct rmd_rcv_client *client;
    const char *local; /* the listener's address */
    uint64_t serial;
    struct rmd_rcv_timer hold, idle;
    void *ssl;
    bool handshake_wants_write;
    struct rmd_buf in, out, msg;
    size_t in_pos, out_pos;
    enum rmd_rcv_state state;
    bool held, gated, dnsbl_wait, dnsbl_done; /* see gate() in smtp.c */
    bool closing, lingering, dead, peer_closed, drip;
    size_t verdict_at;      /* out bytes after which the blocking reply has left; 0: none pending */
    struct rmd_buf verdict; /* its JSON members */
    bool extended, greeted, refused_greeting, mail, utf8, body8, chunking;
    char helo[256], sender[512];
    char **rcpts;
    size_t rcpts_n;
    int64_t declared_size;
    int64_t accepted; /* on this connection */
    uint64_t message; /* number of the transaction on this connection */
    uint64_t bdat_left;
    bool bdat_last, bdat_refused; /* refused: the chunk is dropped, its reply was said */
    int cut;                      /* enum rmd_rcv_cut chosen for this message, or -1 */
    uint64_t flooded;
    struct rmd_rcv_content content;
};

struct rmd_rcv {
    int epoll_fd;
    int64_t now_us;
    struct rmd_rcv_provider *providers[RCV_PROVIDERS_MAX];
    size_t providers_n;
    struct rmd_list conns, dead;
    size_t conns_n;
    struct rmd_heap timers;
    uint64_t serial, random;
    struct rmd_rcv_transcript *transcript;
    struct rmd_rcv_verifier *verifier; /* NULL: nothing is verified */
    void *tls;                         /* SSL_CTX */
    char *save, *tls_cert, *tls_key;
    struct rmd_rcv_list dkim_keys;
    char *dkim_dns;
    bool dkim_verify;
    double dkim_sample;
    int64_t dkim_threads, dkim_queue_bytes;
    bool stop;
};

/* --- settings.c: the table of settings */
int rmd_rcv_policy_set(struct rmd_rcv_policy *p, const char *name, const char *value, char *err,
                       size_t err_n) RMD_CHECKED;
void rmd_rcv_policy_defaults(struct rmd_rcv_policy *p);
void rmd_rcv_policy_copy(struct rmd_rcv_policy *to, const struct rmd_rcv_policy *from);
void rmd_rcv_policy_release(struct rmd_rcv_policy *p);
bool rmd_rcv_policy_get(const struct rmd_rcv_policy *p, size_t row, const char **name, struct rmd_buf *value);
void rmd_rcv_policy_help(struct rmd_buf *out);
const char *rmd_rcv_stage_name(enum rmd_rcv_stage s);
const char *rmd_rcv_cut_name(int cut);
int rmd_rcv_cut_parse(const char *s); /* -1: no such */
int rmd_rcv_stages_parse(const char *s, int64_t *bits) RMD_CHECKED;
int rmd_rcv_bool_parse(const char *s, bool *out) RMD_CHECKED;
void rmd_rcv_list_add(struct rmd_rcv_list *l, const char *comma_separated);
void rmd_rcv_list_release(struct rmd_rcv_list *l);

/* --- config.c: the file. The message of a failure names file, line and reason. */
int rmd_rcv_config_load(struct rmd_rcv *r, const char *path, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_config_release(struct rmd_rcv *r);
struct rmd_rcv_provider *rmd_rcv_provider_find(struct rmd_rcv *r, const char *name);
int rmd_rcv_net_parse(const char *s, struct rmd_addr *net,
                      unsigned *prefix) RMD_CHECKED; /* "*", address, address/bits */
int rmd_rcv_endpoint_parse(const char *s, struct rmd_addr *addr, uint16_t *port) RMD_CHECKED;
int rmd_rcv_block_add(struct rmd_rcv_provider *p, const char *net, const char *stages, const char *text) RMD_CHECKED;
size_t rmd_rcv_block_remove(struct rmd_rcv_provider *p, const char *net, unsigned stages);

/* --- loop.c: epoll, timers, listeners */
int64_t rmd_rcv_boot_us(void);
int64_t rmd_rcv_wall_ms(void);
void rmd_rcv_watch_set(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t interest); /* 0 removes */
void rmd_rcv_timer_set(struct rmd_rcv *r, struct rmd_rcv_timer *t, int64_t at_us);
void rmd_rcv_timer_stop(struct rmd_rcv *r, struct rmd_rcv_timer *t);
int rmd_rcv_listen(struct rmd_rcv *r, struct rmd_rcv_listener *l, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_unlisten(struct rmd_rcv *r, struct rmd_rcv_listener *l);
int rmd_rcv_accept(int listener, struct sockaddr *peer, socklen_t *n); /* non-blocking, close-on-exec; -1 */
void rmd_rcv_run(struct rmd_rcv *r);
double rmd_rcv_chance(struct rmd_rcv *r); /* [0, 1), from the configured seed */

/* --- conn.c: bytes of a connection */
void rmd_rcv_conn_open(struct rmd_rcv *r, struct rmd_rcv_listener *l, int fd, const struct rmd_addr *peer);
void rmd_rcv_conn_work(struct rmd_rcv *r, struct rmd_rcv_conn *c); /* steps the session, sends what is due */
void rmd_rcv_conn_close(struct rmd_rcv *r, struct rmd_rcv_conn *c);
void rmd_rcv_conn_reap(struct rmd_rcv *r);
void rmd_rcv_conn_drain(struct rmd_rcv *r, struct rmd_rcv_conn *c); /* closes once everything is sent */

/* --- tls.c */
int rmd_rcv_tls_init(struct rmd_rcv *r, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_tls_release(struct rmd_rcv *r);
int rmd_rcv_tls_start(struct rmd_rcv *r, struct rmd_rcv_conn *c) RMD_CHECKED;
void rmd_rcv_tls_free(struct rmd_rcv_conn *c);
/* 1 done, 0 wants more, < 0 failed. */
int rmd_rcv_tls_handshake(struct rmd_rcv *r, struct rmd_rcv_conn *c) RMD_CHECKED;
/* Like recv and send: > 0 bytes, 0 end, -1 not now, -2 error. */
ssize_t rmd_rcv_tls_read(struct rmd_rcv_conn *c, void *p, size_t n);
ssize_t rmd_rcv_tls_write(struct rmd_rcv_conn *c, const void *p, size_t n);

/* --- smtp.c, smtp_cmd.c, content.c: the session. Takes input from c->in, leaves replies in c->out. */
bool rmd_rcv_smtp_step(struct rmd_rcv *r, struct rmd_rcv_conn *c); /* true: did something, call again */
void rmd_rcv_smtp_violation(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *what);
bool rmd_rcv_smtp_gate(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage);
void rmd_rcv_smtp_command(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice line);
void rmd_rcv_smtp_reset(struct rmd_rcv_conn *c); /* forgets the transaction */
bool rmd_rcv_content_feed(struct rmd_rcv *r, struct rmd_rcv_conn *c);
bool rmd_rcv_bdat_feed(struct rmd_rcv *r, struct rmd_rcv_conn *c);
void rmd_rcv_content_done(struct rmd_rcv *r, struct rmd_rcv_conn *c);
/* Finds a header field's value (unfolded by the caller if it cares); n = 0 when absent. *at: where to go on, starts
 * at 0. */
struct rmd_slice rmd_rcv_header_find(struct rmd_slice msg, const char *name, size_t *at);

/* --- policy.c: decisions, and how they are said */
/* What stands in the way of every client at this stage (cut, flood, block, listing, configured reply). True: dealt
 * with. */
bool rmd_rcv_policy_refuses(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *rcpt);
/* NULL: the recipient may pass; else the text to refuse it with, and its reason. */
const char *rmd_rcv_policy_rcpt(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *rcpt, const char **reason);
int rmd_rcv_policy_choose_cut(struct rmd_rcv *r, struct rmd_rcv_conn *c);
bool rmd_rcv_policy_cut_now(struct rmd_rcv *r, struct rmd_rcv_conn *c, int cut);
void rmd_rcv_cut(struct rmd_rcv *r, struct rmd_rcv_conn *c, int cut);
/* Says `text` ("550 5.1.1 ...", '\n' between lines, %ip and so on expanded, "raw:" said as it is). A refusal (4xx,
 * 5xx) is logged with its reason; 421 closes. */
void rmd_rcv_reply(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *reason,
                   const char *rcpt, const char *text);
int rmd_rcv_reply_code(const char *text);

/* --- dnsbl.c: a blocklist asked over DNS, with c-ares */
int rmd_rcv_dnsbl_open(struct rmd_rcv *r, struct rmd_rcv_provider *p, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_dnsbl_close(struct rmd_rcv *r, struct rmd_rcv_provider *p);
/* True: the answer in the client's record is fresh. False: asked; connections with dnsbl_wait are worked on later. */
bool rmd_rcv_dnsbl_fresh(struct rmd_rcv *r, struct rmd_rcv_provider *p, struct rmd_rcv_client *client);

/* --- transcript.c: JSON lines */
struct rmd_rcv_transcript *rmd_rcv_transcript_open(const char *path, char *err, size_t err_n);
void rmd_rcv_transcript_close(struct rmd_rcv_transcript *t);
void rmd_rcv_transcript_flush(struct rmd_rcv_transcript *t);
/* Begins a line with time, provider, client and event; the caller adds members (each begins with a comma) and ends
 * it. */
struct rmd_buf *rmd_rcv_line(struct rmd_rcv *r, const struct rmd_rcv_conn *c, const char *event);
struct rmd_buf *rmd_rcv_line_of(struct rmd_rcv *r, const struct rmd_rcv_provider *p, const char *event);
void rmd_rcv_line_end(struct rmd_rcv *r);
void rmd_rcv_json_str(struct rmd_buf *b, const char *name, struct rmd_slice value); /* ,"name":"value" */
void rmd_rcv_json_cstr(struct rmd_buf *b, const char *name, const char *value);
void rmd_rcv_json_int(struct rmd_buf *b, const char *name, int64_t value);
void rmd_rcv_json_bool(struct rmd_buf *b, const char *name, bool value);
void rmd_rcv_json_quote(struct rmd_buf *b, struct rmd_slice s); /* "value" */
/* A line from another thread, complete but for the end of line. */
void rmd_rcv_transcript_write(struct rmd_rcv_transcript *t, struct rmd_buf *line);

/* --- verify.c: DKIM, in threads of its own */
struct rmd_rcv_check {
    struct rmd_buf msg; /* moves to the verifier */
    const char *provider, *ip, *rcpt, *id;
};
int rmd_rcv_verifier_start(struct rmd_rcv *r, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_verifier_stop(struct rmd_rcv *r); /* finishes the queue first */
void rmd_rcv_verifier_add(struct rmd_rcv *r, struct rmd_rcv_check *check);
size_t rmd_rcv_verifier_pending(struct rmd_rcv *r);

/* --- keys.c: public keys from files ("selector._domainkey.domain v=DKIM1; ...") or from a name server */
struct rmd_rcv_keys *rmd_rcv_keys_open(const struct rmd_rcv_list *files, const char *server, char *err, size_t err_n);
void rmd_rcv_keys_close(struct rmd_rcv_keys *k);
/* Copies the TXT content, terminated; RMD_ENOTFOUND, RMD_EIO (no answer), RMD_ELIMIT. One thread a handle. */
int rmd_rcv_keys_find(struct rmd_rcv_keys *k, const char *name, char *out, size_t n) RMD_CHECKED;

/* --- control.c: the run-time switches */
int rmd_rcv_control_open(struct rmd_rcv *r, const char *path, char *err, size_t err_n) RMD_CHECKED;
void rmd_rcv_control_close(struct rmd_rcv *r);

#endif
