/* See config_check.h. */
#include "proto/io/config_check.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/io/bus.h"
#include "proto/io/secret.h"

bool rmd_host_port(const char *text, bool names, char host[256], uint16_t *port) {
    const char *colon = strrchr(text, ':');
    struct rmd_addr a;
    uint64_t n = 0;
    if (!colon || colon == text || rmd_parse_u64(rmd_slice_str(colon + 1), &n) < 0 || n == 0 || n > 65535)
        return false;
    struct rmd_slice h = rmd_slice(text, (size_t)(colon - text));
    bool brackets = h.n > 2 && h.p[0] == '[' && h.p[h.n - 1] == ']';
    if (brackets)
        h = rmd_slice(h.p + 1, h.n - 2);
    if (!rmd_copy_slice(host, 256, h))
        return false;
    *port = (uint16_t)n;
    if (rmd_addr_parse(host, &a) == RMD_OK)
        return brackets == (strchr(host, ':') != NULL);
    static const char of_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return names && !brackets && strspn(host, of_names) == strlen(host);
}

void rmd_config_check_endpoint(struct rmd_config_loader *l, const char *key, const char *endpoint, bool listen) {
    char host[256];
    uint16_t port;
    bool tcp = strncmp(endpoint, "tcp://", 6) == 0;
    if (strncmp(endpoint, "ipc://", 6) == 0 && endpoint[6])
        return;
    if (tcp && listen && endpoint[6] == '*') { /* stands for an address */
        char text[32];
        if (rmd_format(text, sizeof text, "0.0.0.0%s", endpoint + 7) > 0 && rmd_host_port(text, false, host, &port))
            return;
    }
    if (tcp && rmd_host_port(endpoint + 6, true, host, &port))
        return;
    rmd_config_finding(l, key, "\"%.200s\" is not %s", endpoint,
                       listen ? "tcp://ADDRESS:PORT (tcp://*:7350 for every address)"
                              : "tcp://HOST:PORT, as in \"tcp://192.0.2.1:7350\"");
}

void rmd_config_check_servers(struct rmd_config_loader *l, const char *key, char *const *servers) {
    for (; servers && *servers; servers++) {
        struct rmd_addr a;
        char host[256];
        uint16_t port;
        if (rmd_addr_parse(*servers, &a) != RMD_OK && !rmd_host_port(*servers, false, host, &port))
            rmd_config_finding(l, key,
                               "\"%.100s\" is not the address of a name server, like 192.0.2.53, 192.0.2.53:5353 or "
                               "[2001:db8::53]:5353",
                               *servers);
    }
}

/* ---- for --check */

static void try_open(struct rmd_config_loader *l, const char *key, const char *file, unsigned forbidden) {
    char why[512];
    int fd = -1;
    if (*file && rmd_secret_open(file, forbidden, &fd, why, sizeof why) < 0)
        rmd_config_finding(l, key, "%s", why);
    if (fd >= 0)
        close(fd);
}

void rmd_config_try_file(struct rmd_config_loader *l, const char *key, const char *file) {
    try_open(l, key, file, 0);
}

void rmd_config_try_secret(struct rmd_config_loader *l, const char *key, const char *file) {
    try_open(l, key, file, RMD_SECRET_GROUP);
}

static bool try_writable(struct rmd_config_loader *l, const char *key, const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    if (!S_ISDIR(st.st_mode))
        rmd_config_finding(l, key, "%s: is not a folder", path);
    else if (access(path, W_OK) != 0)
        rmd_config_finding(l, key, "%s: can't be written to: %s", path, strerror(errno));
    return true;
}

void rmd_config_try_folder(struct rmd_config_loader *l, const char *key, const char *path) {
    char parent[4096] = ".";
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (!*path || try_writable(l, key, path))
        return;
    while (n && path[n - 1] != '/')
        n--;
    if (n && !rmd_copy_slice(parent, sizeof parent, rmd_slice(path, n)))
        return;
    if (!try_writable(l, key, parent))
        rmd_config_finding(l, key, "%s: %s (make the folder, or correct the path)", parent, strerror(ENOENT));
}

void rmd_config_try_user(struct rmd_config_loader *l, const char *key, const char *user) {
    if (*user && !getpwnam(user))
        rmd_config_finding(l, key, "there is no user \"%s\"", user);
}

void rmd_config_try_key(struct rmd_config_loader *l, const char *key, const char *file,
                        uint8_t secret[RMD_KEY_BYTES]) {
    char why[512];
    memset(secret, 0, RMD_KEY_BYTES);
    int rc = rmd_curve_read_file(file, true, secret, why, sizeof why);
    if (rc < 0)
        rmd_config_finding(l, key, "%s%s", why, rc == RMD_ENOTFOUND ? "; make one with: remuda keygen" : "");
}
