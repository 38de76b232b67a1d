/* --check beyond the file: does what the configuration names exist, and is it what it must be. See coord_config.h. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>
#include <remuda/types.h>

#include "coordinator/io/coord_config.h"
#include "proto/io/bus.h"

static void try_file(struct rmd_config_loader *l, const char *key, const char *file) {
    int fd = *file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;
    if (!*file)
        return;
    if (fd < 0)
        rmd_config_finding(l, key, "%s: %s", file, strerror(errno));
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rmd_config_finding(l, key, "%s: is not a file", file);
    if (fd >= 0)
        close(fd);
}

/* The folder that a file or folder is made in. */
static void try_parent(struct rmd_config_loader *l, const char *key, const char *path) {
    const char *slash = strrchr(path, '/');
    char parent[4096];
    struct stat st;
    if (!slash || !rmd_copy_slice(parent, sizeof parent, rmd_slice(path, (size_t)(slash - path) + 1)))
        return;
    if (stat(parent, &st) != 0)
        rmd_config_finding(l, key, "%s: %s (make the folder, or correct the path)", parent, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        rmd_config_finding(l, key, "%s: is not a folder", parent);
    else if (access(parent, W_OK) != 0)
        rmd_config_finding(l, key, "%s: can't be written to: %s", parent, strerror(errno));
}

/* tcp://ADDRESS:PORT, as nodes reach it; ipc:// for tests on one host. */
static void try_endpoint(struct rmd_config_loader *l, const char *e) {
    const char *colon = strrchr(e, ':');
    uint64_t port = 0;
    if (strncmp(e, "ipc://", 6) == 0 && e[6])
        return;
    bool tcp = strncmp(e, "tcp://", 6) == 0 && colon > e + 6;
    if (!tcp || rmd_parse_u64(rmd_slice_str(colon + 1), &port) < 0 || port == 0 || port > 65535)
        rmd_config_finding(l, "bus.listen", "\"%s\" is not tcp://ADDRESS:PORT (tcp://*:7350 for every address)", e);
}

static void try_data(struct rmd_config_loader *l, const struct rmd_coord_config *c) {
    struct stat st;
    if (stat(c->data, &st) != 0)
        try_parent(l, "data", c->data);
    else if (!S_ISDIR(st.st_mode))
        rmd_config_finding(l, "data", "%s: is not a folder", c->data);
    else if (access(c->data, W_OK) != 0)
        rmd_config_finding(l, "data", "%s: can't be written to: %s", c->data, strerror(errno));
}

void rmd_coord_config_try(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    uint8_t key[RMD_KEY_BYTES];
    char why[512];
    int rc = rmd_curve_read_file(c->bus_secret_key, true, key, why, sizeof why);
    explicit_bzero(key, sizeof key);
    if (rc < 0)
        rmd_config_finding(l, "bus.secret_key", "%s%s", why,
                           rc == RMD_ENOTFOUND ? "; make one with: remuda keygen" : "");
    if (!c->bus_listen || !c->bus_listen[0])
        rmd_config_finding(l, "bus.listen", "is empty: no node could connect");
    for (char **e = c->bus_listen; e && *e; e++)
        try_endpoint(l, *e);
    try_data(l, c);
    try_parent(l, "api.socket", c->api_socket);
    try_file(l, "api.tls_certificate", c->api_tls_certificate);
    try_file(l, "api.tls_key", c->api_tls_key);
    try_file(l, "api.token_file", c->api_token_file);
    if (*c->user && !getpwnam(c->user))
        rmd_config_finding(l, "user", "there is no user \"%s\"", c->user);
}
