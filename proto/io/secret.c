/* See secret.h. */
#include "proto/io/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

int rmd_secret_open(const char *path, unsigned forbidden, int *fd, char *err, size_t err_n) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        int code = errno;
        rmd_format(err, err_n, "%s: cannot be opened: %s", path, strerror(code));
        return code == ENOENT ? RMD_ENOTFOUND : RMD_EIO;
    }
    struct stat st;
    int rc = RMD_OK;
    if (fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        rmd_format(err, err_n, "%s: is not a regular file", path);
        rc = RMD_EIO;
    } else if (st.st_mode & forbidden) {
        rmd_format(err, err_n, "%s: a secret that others can read (mode %04o); do: chmod %s %s", path,
                   (unsigned)(st.st_mode & 07777), forbidden == RMD_SECRET_GROUP ? "o=" : "600", path);
        rc = RMD_EAUTH;
    }
    if (rc < 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

int rmd_secret_read(const char *path, unsigned forbidden, size_t limit, char **text, size_t *n, char *err,
                    size_t err_n) {
    int fd;
    int rc = rmd_secret_open(path, forbidden, &fd, err, err_n);
    *text = NULL;
    *n = 0;
    if (rc < 0)
        return rc;
    char *p = rmd_alloc(limit + 2);
    ssize_t got = 1;
    while (*n <= limit && (got = read(fd, p + *n, limit + 1 - *n)) > 0)
        *n += (size_t)got;
    if (got < 0 || *n > limit) {
        rmd_format(err, err_n, "%s: %s", path, got < 0 ? strerror(errno) : "is too long for what it should be");
        rc = got < 0 ? RMD_EIO : RMD_ELIMIT;
    }
    close(fd);
    if (rc == RMD_OK) {
        *text = p;
        return rc;
    }
    explicit_bzero(p, limit + 2);
    free(p);
    return rc;
}
