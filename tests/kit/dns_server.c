/* Knot DNS as a child of a test (see dns_server.h). */
#include "tests/kit/dns_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/buf.h>
#include <base/text.h>

enum { READY_TRIES = 100, READY_WAIT_MS = 100, STOP_TRIES = 50, STOP_WAIT_MS = 100 };

struct rmd_dns_server {
    pid_t pid;
    char dir[64];
    char address[32];
    uint16_t port;
};

static const char knotd[] = "/usr/sbin/knotd";

static int write_file(const char *dir, const char *name, const char *text) {
    char path[256];
    if (rmd_format(path, sizeof path, "%s/%s", dir, name) < 0)
        return RMD_ELIMIT;
    FILE *f = fopen(path, "w");
    if (!f)
        return RMD_EIO;
    bool ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok ? RMD_OK : RMD_EIO;
}

/* A port that is free for UDP and TCP now. */
static uint16_t free_port(void) {
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool ok = bind(udp, (struct sockaddr *)&a, sizeof a) == 0 &&
                  getsockname(udp, (struct sockaddr *)&a, &n) == 0 && bind(tcp, (struct sockaddr *)&a, sizeof a) == 0;
        close(udp);
        close(tcp);
        if (ok)
            return ntohs(a.sin_port);
    }
    return 0;
}

static int write_config(const struct rmd_dns_server *s, const struct rmd_dns_zone *zones, size_t n) {
    struct rmd_buf conf = {0};
    rmd_buf_addf(
        &conf,
        "server:\n  rundir: \"%s\"\n  listen: 127.0.0.1@%u\n  udp-workers: 1\n  tcp-workers: 1\n"
        "  background-workers: 1\ndatabase:\n  storage: \"%s\"\nlog:\n - target: stderr\n   any: error\nzone:\n",
        s->dir, s->port, s->dir);
    int rc = RMD_OK;
    for (size_t i = 0; i < n && rc == RMD_OK; i++) {
        char name[128];
        rmd_format(name, sizeof name, "%s.zone", zones[i].name);
        rmd_buf_addf(&conf, " - domain: %s\n   storage: \"%s\"\n   file: %s\n", zones[i].name, s->dir, name);
        rc = write_file(s->dir, name, zones[i].text);
    }
    if (rc == RMD_OK)
        rc = write_file(s->dir, "knot.conf", rmd_buf_str(&conf));
    rmd_buf_release(&conf);
    return rc;
}

static void run_child(const char *dir) {
    char conf[256];
    rmd_format(conf, sizeof conf, "%s/knot.conf", dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    execl(knotd, "knotd", "-c", conf, (char *)NULL);
    _exit(127);
}

/* Asks for the SOA of a zone until an answer comes. */
static bool answers(uint16_t port, const char *zone) {
    uint8_t q[300] = {0x12, 0x34, 0, 0, 0, 1};
    size_t n = 12;
    for (const char *label = zone; *label;) {
        size_t len = strcspn(label, ".");
        q[n++] = (uint8_t)len;
        memcpy(q + n, label, len);
        n += len;
        label += len + (label[len] == '.');
    }
    q[n++] = 0;
    memcpy(q + n, "\0\6\0\1", 4);
    n += 4;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t reply[512];
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send(fd, q, n, 0) == (ssize_t)n &&
              poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, READY_WAIT_MS) == 1 &&
              recv(fd, reply, sizeof reply, 0) > 12 && (reply[3] & 15) == 0 && reply[7] > 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool wait_ready(struct rmd_dns_server *s, const struct rmd_dns_zone *zones, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int tries = 0;
        while (!answers(s->port, zones[i].name)) {
            int status;
            if (++tries > READY_TRIES)
                return false;
            if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
                s->pid = 0;
                return false;
            }
            poll(NULL, 0, READY_WAIT_MS / 4); /* a refused connection answers at once */
        }
    }
    return true;
}

int rmd_dns_server_start(const struct rmd_dns_zone *zones, size_t n, struct rmd_dns_server **out, char *err,
                         size_t err_n) {
    *out = NULL;
    if (access(knotd, X_OK) != 0) {
        rmd_format(err, err_n, "%s is not installed", knotd);
        return RMD_ENOTFOUND;
    }
    struct rmd_dns_server *s = rmd_alloc(sizeof *s);
    rmd_copy(s->dir, sizeof s->dir, "/tmp/remuda-dns-XXXXXX");
    s->port = free_port();
    rmd_format(s->address, sizeof s->address, "127.0.0.1:%u", s->port);
    if (!mkdtemp(s->dir) || !s->port || write_config(s, zones, n) < 0) {
        rmd_format(err, err_n, "no temporary directory or port: %s", strerror(errno));
        rmd_dns_server_stop(s);
        return RMD_EIO;
    }
    s->pid = fork();
    if (s->pid == 0)
        run_child(s->dir);
    if (s->pid < 0 || !wait_ready(s, zones, n)) {
        rmd_format(err, err_n, "knotd with %s/knot.conf doesn't answer on %s", s->dir, s->address);
        rmd_dns_server_stop(s);
        return RMD_EIO;
    }
    *out = s;
    return RMD_OK;
}

const char *rmd_dns_server_address(const struct rmd_dns_server *s) {
    return s->address;
}

/* The directory and what Knot put there: files, and directories of files. */
static void remove_tree(const char *dir, int depth) {
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            rmd_format(path, sizeof path, "%s/%s", dir, e->d_name) < 0)
            continue;
        if (unlink(path) != 0 && depth > 0)
            remove_tree(path, depth - 1);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

void rmd_dns_server_stop(struct rmd_dns_server *s) {
    if (!s)
        return;
    int status;
    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        bool gone = false;
        for (int i = 0; i < STOP_TRIES && !gone; i++) {
            gone = waitpid(s->pid, &status, WNOHANG) == s->pid;
            if (!gone)
                poll(NULL, 0, STOP_WAIT_MS);
        }
        if (!gone) {
            kill(s->pid, SIGKILL);
            waitpid(s->pid, &status, 0);
        }
    }
    if (strncmp(s->dir, "/tmp/remuda-dns-", 16) == 0)
        remove_tree(s->dir, 2);
    free(s);
}
