/* The cutting proxy; the contract is in pg_proxy.h.
 *
 * The client's side is parsed (PostgreSQL's protocol 3.0, 55.7 "Message Formats": a type byte, a length that counts
 * itself, a body; the first message has no type). COMMIT is recognised as the text of a Parse message, which is how
 * the store sends it. Bytes go to the server message by message, so that a cut lies exactly between two. */
#include "tests/kit/pg_proxy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/text.h>

enum { PAIRS_MAX = 16, READ_BYTES = 64 << 10, MESSAGE_MAX = 128 << 20 };

struct pair {
    int client, server; /* -1: free */
    struct rmd_buf in;  /* from the client, not yet whole messages */
    bool started;       /* the first message has passed */
    bool commit_passed; /* this COMMIT is to be cut; its Sync is not forwarded yet */
    bool drop_answer;   /* COMMIT and Sync are with the server */
    struct rmd_buf answer;
};

struct rmd_pg_proxy {
    char dir[64], socket[96], conninfo[160], server_socket[108];
    int listener, wake;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    enum rmd_pg_cut kind;
    int cuts_left, cuts_done;
    bool down, stop;
    struct pair pairs[PAIRS_MAX]; /* the thread's own */
};

static void pair_close(struct pair *p) {
    close(p->client);
    close(p->server);
    rmd_buf_release(&p->in);
    rmd_buf_release(&p->answer);
    *p = (struct pair){.client = -1, .server = -1};
}

static int unix_socket(const char *path, struct sockaddr_un *addr) {
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!rmd_copy(addr->sun_path, sizeof addr->sun_path, path))
        return -1;
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static bool write_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

/* Parse: name, NUL, query, NUL, ... */
static bool is_commit(const uint8_t *message, size_t n) {
    static const char COMMIT[] = "COMMIT";
    const uint8_t *name = message + 5, *end = message + n;
    const uint8_t *nul = message[0] == 'P' && n > 5 ? memchr(name, 0, n - 5) : NULL;
    return nul && (size_t)(end - nul - 1) >= sizeof COMMIT && memcmp(nul + 1, COMMIT, sizeof COMMIT) == 0;
}

/* Length of the first whole message in the buffer; 0: not whole yet. */
static size_t message_length(const struct pair *p) {
    size_t head = p->started ? 1 : 0;
    if (p->in.len < head + 4)
        return 0;
    size_t n = head + rmd_get_be32(p->in.p + head);
    return n <= p->in.len ? n : 0;
}

/* Counts a cut that is due; false when none is. */
static bool take_cut(struct rmd_pg_proxy *x, enum rmd_pg_cut *kind) {
    pthread_mutex_lock(&x->lock);
    bool due = x->cuts_left > 0;
    if (due) {
        x->cuts_left--;
        *kind = x->kind;
    }
    pthread_mutex_unlock(&x->lock);
    return due;
}

static void cut(struct rmd_pg_proxy *x, struct pair *p) {
    pthread_mutex_lock(&x->lock);
    x->cuts_done++;
    x->down |= x->kind == RMD_CUT_DOWN_AFTER_COMMIT;
    pthread_mutex_unlock(&x->lock);
    pair_close(p); /* last: the client must not see it before it is counted */
}

/* Forwards one message, or cuts; false when the pair is gone. */
static bool forward(struct rmd_pg_proxy *x, struct pair *p, size_t n) {
    enum rmd_pg_cut kind = RMD_CUT_KINDS;
    if (p->started && is_commit(p->in.p, n) && take_cut(x, &kind)) {
        if (kind == RMD_CUT_BEFORE_COMMIT) {
            cut(x, p);
            return false;
        }
        p->commit_passed = true;
        p->drop_answer = kind != RMD_CUT_WITH_COMMIT;
    }
    bool sync = p->started && p->in.p[0] == 'S';
    bool ok = write_all(p->server, p->in.p, n);
    p->started = true;
    rmd_buf_consume(&p->in, n);
    if (!ok) {
        pair_close(p);
        return false;
    }
    if (sync && p->commit_passed && !p->drop_answer) {
        cut(x, p);
        return false;
    }
    return true;
}

static void from_client(struct rmd_pg_proxy *x, struct pair *p) {
    uint8_t *chunk = rmd_alloc(READ_BYTES);
    ssize_t n = recv(p->client, chunk, READ_BYTES, 0);
    if (n > 0) {
        p->in.limit = MESSAGE_MAX;
        rmd_buf_add(&p->in, chunk, (size_t)n);
    }
    free(chunk);
    if (n <= 0 || p->in.overflow) {
        pair_close(p);
        return;
    }
    for (size_t len; (len = message_length(p)) > 0;) {
        if (!forward(x, p, len))
            return;
    }
}

/* CommandComplete of COMMIT: its tag. */
static bool has_commit_tag(const struct rmd_buf *b) {
    return rmd_case_find(rmd_buf_slice(b), rmd_slice_str("COMMIT")) != NULL;
}

static void from_server(struct rmd_pg_proxy *x, struct pair *p) {
    uint8_t *chunk = rmd_alloc(READ_BYTES);
    ssize_t n = recv(p->server, chunk, READ_BYTES, 0);
    if (n <= 0 || (!p->commit_passed && !write_all(p->client, chunk, (size_t)n))) {
        pair_close(p);
    } else if (p->commit_passed) {
        rmd_buf_add(&p->answer, chunk, (size_t)n);
        if (has_commit_tag(&p->answer))
            cut(x, p);
    }
    free(chunk);
}

static void accept_one(struct rmd_pg_proxy *x, bool down) {
    int client = accept(x->listener, NULL, NULL);
    if (client < 0)
        return;
    struct pair *p = NULL;
    for (int i = 0; i < PAIRS_MAX && !p && !down; i++)
        p = x->pairs[i].client < 0 ? &x->pairs[i] : NULL;
    struct sockaddr_un addr;
    int server = p ? unix_socket(x->server_socket, &addr) : -1;
    if (server < 0 || connect(server, (struct sockaddr *)&addr, sizeof addr)) {
        close(client);
        if (server >= 0)
            close(server);
        return;
    }
    *p = (struct pair){.client = client, .server = server};
}

static bool is_down(struct rmd_pg_proxy *x) {
    pthread_mutex_lock(&x->lock);
    bool down = x->down;
    pthread_mutex_unlock(&x->lock);
    return down;
}

static void serve(struct rmd_pg_proxy *x, bool down) {
    struct pollfd fds[2 + 2 * PAIRS_MAX] = {{.fd = x->wake, .events = POLLIN}, {.fd = x->listener, .events = POLLIN}};
    for (int i = 0; i < PAIRS_MAX; i++) {
        if (down && x->pairs[i].client >= 0)
            pair_close(&x->pairs[i]);
        fds[2 + 2 * i] = (struct pollfd){.fd = x->pairs[i].client, .events = POLLIN};
        fds[3 + 2 * i] = (struct pollfd){.fd = x->pairs[i].server, .events = POLLIN};
    }
    if (poll(fds, 2 + 2 * PAIRS_MAX, -1) < 0)
        return;
    uint64_t count;
    if (fds[0].revents && read(x->wake, &count, sizeof count) < 0)
        return;
    for (int i = 0; i < PAIRS_MAX; i++) {
        struct pair *p = &x->pairs[i];
        if (p->client >= 0 && fds[2 + 2 * i].revents)
            from_client(x, p);
        if (p->client >= 0 && fds[3 + 2 * i].revents)
            from_server(x, p);
    }
    if (fds[1].revents)
        accept_one(x, is_down(x));
}

static void *proxy_main(void *arg) {
    struct rmd_pg_proxy *x = arg;
    for (;;) {
        pthread_mutex_lock(&x->lock);
        bool stop = x->stop, down = x->down;
        pthread_mutex_unlock(&x->lock);
        if (stop)
            return NULL;
        serve(x, down);
    }
}

static void wake(struct rmd_pg_proxy *x) {
    uint64_t one = 1;
    ssize_t ignored = write(x->wake, &one, sizeof one);
    (void)ignored;
}

struct rmd_pg_proxy *rmd_pg_proxy_start(const char *server_socket) {
    struct rmd_pg_proxy *x = rmd_alloc(sizeof *x);
    struct sockaddr_un addr;
    for (int i = 0; i < PAIRS_MAX; i++)
        x->pairs[i].client = x->pairs[i].server = -1;
    rmd_copy(x->server_socket, sizeof x->server_socket, server_socket);
    rmd_copy(x->dir, sizeof x->dir, "/tmp/rmd-proxy-XXXXXX");
    pthread_mutex_init(&x->lock, NULL);
    x->wake = eventfd(0, EFD_CLOEXEC);
    x->listener = -1;
    if (x->wake < 0 || !mkdtemp(x->dir))
        goto fail;
    if (rmd_format(x->socket, sizeof x->socket, "%s/.s.PGSQL.5432", x->dir) < 0 ||
        rmd_format(x->conninfo, sizeof x->conninfo, "host=%s port=5432 user=remuda dbname=postgres", x->dir) < 0)
        goto fail;
    x->listener = unix_socket(x->socket, &addr);
    if (x->listener < 0 || bind(x->listener, (struct sockaddr *)&addr, sizeof addr) || listen(x->listener, 16) ||
        pthread_create(&x->thread, NULL, proxy_main, x))
        goto fail;
    return x;
fail:
    close(x->listener);
    close(x->wake);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return NULL;
}

void rmd_pg_proxy_stop(struct rmd_pg_proxy *x) {
    pthread_mutex_lock(&x->lock);
    x->stop = true;
    pthread_mutex_unlock(&x->lock);
    wake(x);
    pthread_join(x->thread, NULL);
    for (int i = 0; i < PAIRS_MAX; i++) {
        if (x->pairs[i].client >= 0)
            pair_close(&x->pairs[i]);
    }
    close(x->listener);
    close(x->wake);
    unlink(x->socket);
    rmdir(x->dir);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

const char *rmd_pg_proxy_conninfo(const struct rmd_pg_proxy *x) {
    return x->conninfo;
}

void rmd_pg_proxy_cut(struct rmd_pg_proxy *x, enum rmd_pg_cut kind, int times) {
    pthread_mutex_lock(&x->lock);
    x->kind = kind;
    x->cuts_left = times;
    pthread_mutex_unlock(&x->lock);
}

int rmd_pg_proxy_cuts_done(struct rmd_pg_proxy *x) {
    pthread_mutex_lock(&x->lock);
    int n = x->cuts_done;
    pthread_mutex_unlock(&x->lock);
    return n;
}

void rmd_pg_proxy_down(struct rmd_pg_proxy *x, bool down) {
    pthread_mutex_lock(&x->lock);
    x->down = down;
    pthread_mutex_unlock(&x->lock);
    wake(x);
}
