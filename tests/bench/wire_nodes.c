/* Nodes without a wire: for measuring what dealing costs the coordinator, they answer for receivers at once.
 *
 *     wire_nodes ENDPOINT COORDINATOR.pub DEFERRED_PER_MILLE NODE.key...
 *
 * Each key is a node with a session of its own on the real bus. A node acknowledges a lease, says of each of its recipients that it was
 * delivered (of so many in a thousand first attempts, that it was deferred), and gathers outcomes into Reports as a real one does. What
 * isn't acknowledged is reported again in the next session, as from a journal.
 *
 * Words on standard input:   go N NODES   the first NODES of them take leases, until N recipients are leased; 0: until `hold`
 *                            hold         no more leases
 *                            quit
 * Lines of JSON on standard output, times in microseconds of the monotonic clock:
 *     {"first_lease_us": T}                                  of each `go`, and after each new Welcome
 *     {"round": {"recipients", "leases", "us", "settled_us"}}   every outcome of a round is settled
 *
 * Between rounds a node says that it is stopping, so that it gets no leases; `go` says Hello again. */
#include <poll.h>
#include <unistd.h>

#include "node/core/node.h"
#include "proto/codec.h"
#include "proto/io/bus.h"
#include "proto/io/clock.h"
#include "proto/tls.h"

#include <base/text.h>

enum {
    NODES_MAX = 256,
    HEARTBEAT_MS = 1000,
    QUIET_MS = 300,
    DRY_MS = 5000,
    TEMPLATES_MAX = 256,
    LINE_MAX_BYTES = 256
};

struct outcome {
    uint64_t lease;
    uint32_t index;
    bool deferred;
};

struct node {
    struct rmd_bus_client *bus;
    uint8_t uuid[RMD_UUID_BYTES];
    bool serving, told_first, takes;
    uint64_t epoch, high_water;
    int64_t hello_ms, heartbeat_ms, opened_ms, report_ms;
    struct outcome *v; /* not acknowledged: numbers acked + 1 and on */
    size_t n, cap;
    uint64_t acked, sent;                     /* numbers */
    uint64_t end[RMD_NODE_REPORTS_IN_FLIGHT]; /* of reports under way, in order */
    size_t in_flight;
    uint8_t template[TEMPLATES_MAX][RMD_HASH_BYTES];
    size_t n_templates;
};

struct round {
    bool on, held;
    uint64_t wanted, recipients, leases;
    int64_t began_us, last_us, settled_us;
};

static struct node nodes[NODES_MAX];
static size_t n_nodes;
static struct round now_on;
static uint8_t boot[RMD_UUID_BYTES];
static uint32_t deferred_permille;
static struct rmd_arena arena;
static struct rmd_buf out;
static uint64_t chance;

static int64_t us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what) {
    fprintf(stderr, "wire_nodes: %s\n", what);
    exit(1);
}

static void send_frame(struct node *n, Remuda__Frame *f) {
    rmd_buf_clear(&out);
    rmd_frame_encode(f, &out);
    if (rmd_bus_client_send(n->bus, rmd_buf_slice(&out)) < 0)
        n->serving = false; /* Hello again */
}

static Remuda__Frame frame(const struct node *n, Remuda__Frame__BodyCase body) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    f.epoch = n->epoch;
    f.body_case = body;
    return f;
}

/* ---------------------------------------------------------------- session */

static void hello(struct node *n, int64_t ms) {
    static char *no_address[1];
    Remuda__Hello h = REMUDA__HELLO__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_HELLO);
    f.hello = &h;
    h.version_min = RMD_PROTOCOL_VERSION_MIN;
    h.version_max = RMD_PROTOCOL_VERSION;
    h.software = (char *)(uintptr_t) "wire_nodes";
    h.hostname = (char *)(uintptr_t) "bench";
    h.boot_id = (ProtobufCBinaryData){sizeof boot, boot};
    h.journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    h.journal_position = n->acked + n->n;
    h.reported_position = n->acked;
    h.lease_high_water = n->high_water;
    h.address = no_address;
    h.epoch_seen = n->epoch;
    h.node_mono_ms = ms;
    h.worker_threads = 1;
    h.connection_limit = 10000;
    n->serving = n->told_first = false;
    n->hello_ms = ms;
    send_frame(n, &f);
}

static void heartbeat(struct node *n, int64_t ms) {
    Remuda__Heartbeat h = REMUDA__HEARTBEAT__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_HEARTBEAT);
    f.heartbeat = &h;
    h.node_mono_ms = ms;
    h.stopping = !n->takes;
    n->heartbeat_ms = ms;
    send_frame(n, &f);
}

static void welcome(struct node *n, const Remuda__Frame *f, int64_t ms) {
    n->epoch = f->epoch;
    n->serving = true;
    n->in_flight = 0;
    n->sent = n->acked; /* everything that isn't acknowledged, again */
    heartbeat(n, ms);
}

/* ---------------------------------------------------------------- leases */

static void fetch(struct node *n, ProtobufCBinaryData hash) {
    for (size_t i = 0; i < n->n_templates; i++)
        if (memcmp(n->template[i], hash.data, hash.len) == 0)
            return;
    if (hash.len != RMD_HASH_BYTES || n->n_templates == TEMPLATES_MAX)
        return;
    memcpy(n->template[n->n_templates++], hash.data, hash.len);
    Remuda__Fetch m = REMUDA__FETCH__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_FETCH);
    f.fetch = &m;
    m.template_hash = hash;
    send_frame(n, &f);
}

static void hold(int64_t ms) {
    now_on.held = true;
    for (size_t i = 0; i < n_nodes; i++) {
        if (!nodes[i].takes)
            continue;
        nodes[i].takes = false;
        if (nodes[i].serving)
            heartbeat(&nodes[i], ms);
    }
}

static void lease(struct node *n, const Remuda__Lease *l, int64_t ms) {
    now_on.last_us = us();
    if (!n->told_first) {
        n->told_first = true;
        printf("{\"first_lease_us\": %lld}\n", (long long)now_on.last_us);
        fflush(stdout);
    }
    if (l->id > n->high_water)
        n->high_water = l->id;
    fetch(n, l->template_hash);
    Remuda__LeaseAck a = REMUDA__LEASE_ACK__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_LEASE_ACK);
    f.lease_ack = &a;
    a.id = l->id;
    a.credit_bytes = protobuf_c_message_get_packed_size(&l->base);
    send_frame(n, &f);
    if (n->n + l->n_row > n->cap) {
        n->cap = 2 * (n->n + l->n_row);
        n->v = rmd_realloc(n->v, n->cap * sizeof *n->v);
    }
    if (n->sent == n->acked + n->n)
        n->opened_ms = ms;
    for (size_t i = 0; i < l->n_row; i++) {
        bool first = !l->n_item || !l->item[i]->attempt;
        chance = rmd_mix64(chance + 1);
        n->v[n->n++] = (struct outcome){
            .lease = l->id, .index = (uint32_t)i, .deferred = first && chance % 1000 < deferred_permille};
    }
    now_on.recipients += l->n_row;
    now_on.leases++;
    if (now_on.wanted && !now_on.held && now_on.recipients >= now_on.wanted)
        hold(ms);
}

/* ---------------------------------------------------------------- reports */

static Remuda__Outcome *outcome(const struct outcome *x, int64_t wall_ms) {
    static const char words[2][64] = {"250 2.0.0 Ok: queued as 4Zk3Qf0vXbz9rq",
                                      "451 4.7.1 Greylisted, try again later"};
    Remuda__Outcome *o = rmd_arena_alloc(&arena, sizeof *o);
    Remuda__Reply *r = o->reply = rmd_arena_alloc(&arena, sizeof *r);
    Remuda__Verdict *v = rmd_arena_alloc(&arena, sizeof *v);
    const char *text = words[x->deferred];
    remuda__outcome__init(o);
    remuda__reply__init(r);
    remuda__verdict__init(v);
    o->lease = x->lease;
    o->index = x->index;
    o->kind = x->deferred ? RMD_OUTCOME_DEFERRED : RMD_OUTCOME_DELIVERED;
    o->rcpts = 1;
    o->reply = r;
    o->verdict = v;
    r->code = x->deferred ? 451 : 250;
    r->enhanced = (char *)(uintptr_t)(x->deferred ? "4.7.1" : "2.0.0");
    r->text = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    r->stage = x->deferred ? RMD_STAGE_RCPT : RMD_STAGE_DOT;
    r->mx_host = (char *)(uintptr_t) "mx.example.test";
    r->mx_addr = (char *)(uintptr_t) "192.0.2.25";
    v->class_ = x->deferred ? RMD_CLASS_GREYLISTED : RMD_CLASS_DELIVERED;
    v->scope = x->deferred ? RMD_SCOPE_RECIPIENT | RMD_SCOPE_LANE : RMD_SCOPE_RECIPIENT;
    v->action = x->deferred ? RMD_ACTION_RETRY_SAME : RMD_ACTION_NONE;
    v->rule = (char *)(uintptr_t)(x->deferred ? "greylisted" : "code");
    o->took_ms = 180;
    o->tls = true;
    o->connection = x->lease;
    o->wall_ms = wall_ms;
    return o;
}

/* False: nothing is ripe. */
static bool report(struct node *n, int64_t ms) {
    size_t from = (size_t)(n->sent - n->acked), left = n->n - from;
    if (!left || n->in_flight == RMD_NODE_REPORTS_IN_FLIGHT ||
        (left < RMD_NODE_REPORT_MAX && ms - n->opened_ms < RMD_NODE_REPORT_DELAY_MS))
        return false;
    size_t m = left < RMD_NODE_REPORT_MAX ? left : RMD_NODE_REPORT_MAX;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    Remuda__Report r = REMUDA__REPORT__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_REPORT);
    f.report = &r;
    rmd_arena_reset(&arena);
    r.journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    r.first_n = n->sent + 1;
    r.n_outcome = m;
    r.outcome = rmd_arena_alloc(&arena, m * sizeof *r.outcome);
    for (size_t i = 0; i < m; i++)
        r.outcome[i] = outcome(&n->v[from + i], (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000);
    n->sent += m;
    n->end[n->in_flight++] = n->sent;
    n->opened_ms = ms;
    send_frame(n, &f);
    return true;
}

static void report_ack(struct node *n, const Remuda__ReportAck *a) {
    uint64_t upto = a->up_to_n;
    if (upto <= n->acked || upto > n->sent)
        return;
    size_t gone = (size_t)(upto - n->acked), done = 0;
    n->n -= gone;
    memmove(n->v, n->v + gone, n->n * sizeof *n->v);
    n->acked = upto;
    while (done < n->in_flight && n->end[done] <= upto)
        done++;
    n->in_flight -= done;
    memmove(n->end, n->end + done, n->in_flight * sizeof n->end[0]);
    now_on.settled_us = us();
}

/* ---------------------------------------------------------------- frames */

static void recall(struct node *n, const Remuda__Recall *r) {
    Remuda__Recalled m = REMUDA__RECALLED__INIT; /* everything it had was tried already */
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_RECALLED);
    f.recalled = &m;
    m.id = r->id;
    m.up_to_n = n->acked + n->n;
    m.journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    send_frame(n, &f);
}

static void suppress(struct node *n, const Remuda__Suppress *s) {
    Remuda__SuppressAck m = REMUDA__SUPPRESS_ACK__INIT;
    Remuda__Frame f = frame(n, REMUDA__FRAME__BODY_SUPPRESS_ACK);
    f.suppress_ack = &m;
    m.id = s->id;
    send_frame(n, &f);
}

static void take(struct node *n, const Remuda__Frame *f, int64_t ms) {
    if (f->body_case != REMUDA__FRAME__BODY_WELCOME && f->body_case != REMUDA__FRAME__BODY_REFUSED && !n->serving)
        return; /* of a session that is over */
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_WELCOME:
        welcome(n, f, ms);
        break;
    case REMUDA__FRAME__BODY_REFUSED: /* the coordinator is starting */
        n->serving = false;
        n->hello_ms = ms - RMD_NODE_HELLO_MS + RMD_NODE_NOT_READY_MS;
        break;
    case REMUDA__FRAME__BODY_LEASE:
        lease(n, f->lease, ms);
        break;
    case REMUDA__FRAME__BODY_REPORT_ACK:
        report_ack(n, f->report_ack);
        break;
    case REMUDA__FRAME__BODY_RECALL:
        recall(n, f->recall);
        break;
    case REMUDA__FRAME__BODY_SUPPRESS:
        suppress(n, f->suppress);
        break;
    default:
        break;
    }
}

static void serve(struct node *n, int64_t ms) {
    static struct rmd_arena frames;
    struct rmd_slice bytes;
    int rc;
    while ((rc = rmd_bus_client_recv(n->bus, &bytes)) != RMD_EAGAIN) {
        Remuda__Frame *f = NULL;
        rmd_arena_reset(&frames);
        if (rc == RMD_OK && rmd_frame_decode(bytes, &frames, &f) == RMD_OK)
            take(n, f, ms);
    }
    if (!n->serving && (n->takes || n->n) && ms - n->hello_ms >= RMD_NODE_HELLO_MS)
        hello(n, ms);
    if (n->serving && ms - n->heartbeat_ms >= HEARTBEAT_MS)
        heartbeat(n, ms);
    while (n->serving && report(n, ms)) {
    }
}

/* ---------------------------------------------------------------- rounds */

static void settle_round(int64_t ms) {
    bool open = false;
    for (size_t i = 0; i < n_nodes; i++)
        open |= nodes[i].n > 0;
    if (now_on.on && now_on.wanted && !now_on.held && us() - now_on.last_us > DRY_MS * 1000)
        hold(ms); /* the queue has no more */
    if (!now_on.on || !now_on.held || open || us() - now_on.last_us < QUIET_MS * 1000)
        return;
    now_on.on = false;
    printf("{\"round\": {\"recipients\": %llu, \"leases\": %llu, \"us\": %lld, \"settled_us\": %lld}}\n",
           (unsigned long long)now_on.recipients, (unsigned long long)now_on.leases,
           (long long)(now_on.last_us - now_on.began_us), (long long)(now_on.settled_us - now_on.began_us));
    fflush(stdout);
}

static void quit(void) {
    for (size_t i = 0; i < n_nodes; i++) {
        Remuda__Bye b = REMUDA__BYE__INIT;
        Remuda__Frame f = frame(&nodes[i], REMUDA__FRAME__BODY_BYE);
        f.bye = &b;
        b.reason = (char *)(uintptr_t) "the measurement is over";
        if (nodes[i].serving)
            send_frame(&nodes[i], &f);
        rmd_bus_client_close(nodes[i].bus);
    }
    exit(0);
}

static void word(const char *line, int64_t ms) {
    unsigned long long wanted;
    size_t count;
    if (sscanf(line, "go %llu %zu", &wanted, &count) == 2) {
        now_on = (struct round){.on = true, .wanted = wanted, .began_us = us(), .last_us = us()};
        for (size_t i = 0; i < n_nodes && i < count; i++) {
            nodes[i].takes = true;
            hello(&nodes[i], ms);
        }
    } else if (strncmp(line, "hold", 4) == 0) {
        hold(ms);
    } else if (strncmp(line, "quit", 4) == 0) {
        quit();
    } else {
        die("a word that isn't known");
    }
}

static void words(int64_t ms) {
    static char line[LINE_MAX_BYTES];
    static size_t n;
    ssize_t got = read(STDIN_FILENO, line + n, sizeof line - 1 - n);
    if (got <= 0)
        exit(0); /* who started us has ended */
    n += (size_t)got;
    line[n] = 0;
    for (char *end; (end = strchr(line, '\n')) != NULL;) {
        *end = 0;
        word(line, ms);
        n -= (size_t)(end + 1 - line);
        memmove(line, end + 1, n + 1);
    }
}

static void open_node(const char *endpoint, const uint8_t server[RMD_KEY_BYTES], const char *key_path) {
    struct node *n = &nodes[n_nodes++];
    char err[512] = "";
    struct rmd_bus_client_options o = {.endpoint = endpoint};
    memcpy(o.server_key, server, sizeof o.server_key);
    rmd_random_bytes(n->uuid, sizeof n->uuid);
    n->hello_ms = INT64_MIN / 2;
    if (rmd_curve_read_file(key_path, true, o.secret_key, err, sizeof err) < 0 ||
        rmd_bus_client_open(&o, &n->bus, err, sizeof err) < 0)
        die(err);
}

int main(int argc, char **argv) {
    uint8_t server[RMD_KEY_BYTES];
    char err[512] = "";
    uint64_t permille;
    if (argc < 5 || argc - 4 > NODES_MAX || rmd_parse_u64(rmd_slice_str(argv[3]), &permille) || permille > 1000)
        die("usage: wire_nodes ENDPOINT COORDINATOR.pub DEFERRED_PER_MILLE NODE.key...");
    deferred_permille = (uint32_t)permille;
    if (rmd_curve_read_file(argv[2], false, server, err, sizeof err) < 0)
        die(err);
    rmd_clock_host()->boot_id(NULL, boot);
    for (int i = 4; i < argc; i++)
        open_node(argv[1], server, argv[i]);
    struct pollfd fd[NODES_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    for (size_t i = 0; i < n_nodes; i++)
        fd[i + 1] = (struct pollfd){.fd = rmd_bus_client_fd(nodes[i].bus), .events = POLLIN};
    for (;;) {
        poll(fd, n_nodes + 1, 10);
        int64_t ms = us() / 1000;
        if (fd[0].revents)
            words(ms);
        for (size_t i = 0; i < n_nodes; i++)
            serve(&nodes[i], ms);
        settle_round(ms);
    }
}
