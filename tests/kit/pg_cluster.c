/* A private PostgreSQL server; the contract is in pg_cluster.h. */
#include "tests/kit/pg_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <base/text.h>

enum { ARGS_MAX = 20, READY_TRIES = 1500, READY_WAIT_MS = 20 };

static const char *const BIN_PATTERN = "/usr/lib/postgresql/*/bin/postgres";

/* The directory of the newest server's programs. */
static int find_bin(char *out, size_t n) {
    glob_t g;
    if (glob(BIN_PATTERN, 0, NULL, &g))
        return RMD_ENOTFOUND;
    bool ok = rmd_copy(out, n, g.gl_pathv[g.gl_pathc - 1]);
    globfree(&g);
    *strrchr(out, '/') = 0;
    return ok ? RMD_OK : RMD_ELIMIT;
}

/* In the child: becomes postgres when root, since the server refuses to run as root. */
static void drop_root(void) {
    const struct passwd *pw = getuid() == 0 ? getpwnam("postgres") : NULL;
    if (getuid() != 0)
        return;
    if (!pw || setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
        _exit(126);
}

static pid_t spawn(const char *dir, const char *const argv[]) {
    pid_t parent = getpid(), pid = fork();
    if (pid)
        return pid;
    drop_root();
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    char log[128];
    if (getppid() != parent || chdir(dir) || rmd_format(log, sizeof log, "%s/log", dir) < 0)
        _exit(126);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    char *args[ARGS_MAX + 1] = {0};
    for (size_t i = 0; i < ARGS_MAX && argv[i]; i++)
        args[i] = (char *)(uintptr_t)argv[i];
    execv(args[0], args);
    _exit(127);
}

static int run(const char *dir, const char *const argv[]) {
    int status = 0;
    pid_t pid = spawn(dir, argv);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
        return RMD_EIO;
    return RMD_OK;
}

static int wait_ready(struct rmd_pg_cluster *c) {
    for (int i = 0; i < READY_TRIES; i++) {
        if (PQping(c->conninfo) == PQPING_OK)
            return RMD_OK;
        if (waitpid(c->pid, NULL, WNOHANG) == c->pid) {
            c->pid = 0;
            return RMD_EIO;
        }
        const struct timespec pause = {.tv_nsec = READY_WAIT_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    return RMD_ETIMEOUT;
}

static int start_server(struct rmd_pg_cluster *c, const char *bin) {
    char program[160], data[96];
    if (rmd_format(program, sizeof program, "%s/postgres", bin) < 0 ||
        rmd_format(data, sizeof data, "%s/data", c->dir) < 0)
        return RMD_ELIMIT;
    const char *const argv[] = {program,
                                "-D",
                                data,
                                "-k",
                                c->dir,
                                "-h",
                                "",
                                "-c",
                                "max_connections=40",
                                "-c",
                                "shared_buffers=32MB",
                                "-c",
                                "dynamic_shared_memory_type=mmap",
                                NULL};
    c->pid = spawn(c->dir, argv);
    return c->pid < 0 ? RMD_EIO : wait_ready(c);
}

int rmd_pg_cluster_start(struct rmd_pg_cluster *c) {
    *c = (struct rmd_pg_cluster){0};
    char bin[128], program[160], data[96];
    const char *tmp = getenv("TMPDIR");
    if (find_bin(bin, sizeof bin)) {
        rmd_format(c->err, sizeof c->err, "no PostgreSQL server is installed (%s)", BIN_PATTERN);
        return RMD_ENOTFOUND;
    }
    /* A socket's path has at most 107 bytes. */
    if (rmd_format(c->dir, sizeof c->dir, "%s/rmd-pg-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp") < 0 ||
        !mkdtemp(c->dir))
        return RMD_EIO;
    const struct passwd *pw = getuid() == 0 ? getpwnam("postgres") : NULL;
    if (pw && chown(c->dir, pw->pw_uid, pw->pw_gid))
        return RMD_EIO;
    if (rmd_format(program, sizeof program, "%s/initdb", bin) < 0 ||
        rmd_format(data, sizeof data, "%s/data", c->dir) < 0 ||
        rmd_format(c->socket, sizeof c->socket, "%s/.s.PGSQL.5432", c->dir) < 0 ||
        rmd_format(c->conninfo, sizeof c->conninfo, "host=%s port=5432 user=remuda dbname=postgres", c->dir) < 0)
        return RMD_ELIMIT;
    const char *const argv[] = {program, "-D", data,   "-U",         "remuda",    "-A",
                                "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions",
                                NULL};
    int rc = run(c->dir, argv);
    if (!rc)
        rc = start_server(c, bin);
    if (rc) {
        char dir[64];
        rmd_copy(dir, sizeof dir, c->dir);
        rmd_format(c->err, sizeof c->err, "PostgreSQL doesn't start; see %s/log", dir);
    }
    return rc;
}

static void kill_server(struct rmd_pg_cluster *c, int sig) {
    if (c->pid <= 0)
        return;
    kill(c->pid, sig);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

int rmd_pg_cluster_crash_restart(struct rmd_pg_cluster *c) {
    char bin[128];
    kill_server(c, SIGQUIT); /* immediate: no checkpoint, recovery from the log at the next start */
    int rc = find_bin(bin, sizeof bin);
    return rc ? rc : start_server(c, bin);
}

void rmd_pg_cluster_stop(struct rmd_pg_cluster *c) {
    kill_server(c, SIGQUIT);
    if (!c->dir[0])
        return;
    const char *const argv[] = {"/bin/rm", "-rf", "--", c->dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    c->dir[0] = 0;
}
