/* CURVE keys in memory and in files (see bus.h). Z85 is ZeroMQ's RFC 32: 40 characters for 32 bytes.
 *
 * A secret file is written with mode 0600 from the start and never replaces another; one that others can read is
 * refused with the command that mends it. Secrets are wiped from the stack after use. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zmq.h>

#include <base/text.h>

#include "proto/io/bus.h"
#include "proto/io/secret.h"

enum { Z85_CHARS = 40, KEY_FILE_MAX = 256 };

int rmd_curve_generate(uint8_t public_key[RMD_KEY_BYTES], uint8_t secret_key[RMD_KEY_BYTES]) {
    char public_text[Z85_CHARS + 1], secret_text[Z85_CHARS + 1];
    if (zmq_curve_keypair(public_text, secret_text) != 0)
        return RMD_EUNSUPPORTED; /* libzmq built without CURVE */
    bool ok = zmq_z85_decode(public_key, public_text) && zmq_z85_decode(secret_key, secret_text);
    explicit_bzero(secret_text, sizeof secret_text);
    return ok ? RMD_OK : RMD_EFORMAT;
}

int rmd_curve_public(const uint8_t secret_key[RMD_KEY_BYTES], uint8_t public_key[RMD_KEY_BYTES]) {
    char public_text[Z85_CHARS + 1], secret_text[Z85_CHARS + 1];
    rmd_curve_format(secret_key, secret_text);
    int rc = zmq_curve_public(public_text, secret_text);
    explicit_bzero(secret_text, sizeof secret_text);
    if (rc != 0)
        return RMD_EUNSUPPORTED;
    return rmd_curve_parse(public_text, public_key);
}

void rmd_curve_format(const uint8_t key[RMD_KEY_BYTES], char out[41]) {
    zmq_z85_encode(out, key, RMD_KEY_BYTES);
}

int rmd_curve_parse(const char *text, uint8_t key[RMD_KEY_BYTES]) {
    uint8_t bytes[RMD_KEY_BYTES];
    if (strlen(text) != Z85_CHARS || !zmq_z85_decode(bytes, text))
        return RMD_EFORMAT;
    memcpy(key, bytes, RMD_KEY_BYTES);
    explicit_bzero(bytes, sizeof bytes);
    return RMD_OK;
}

int rmd_curve_read(const char *named, uint8_t key[RMD_KEY_BYTES], char *err, size_t err_n) {
    return rmd_curve_is_text(named) ? rmd_curve_parse(named, key)
                                    : rmd_curve_read_file(named, false, key, err, err_n);
}

bool rmd_curve_is_text(const char *named) {
    uint8_t key[RMD_KEY_BYTES];
    return access(named, F_OK) != 0 && rmd_curve_parse(named, key) == RMD_OK;
}

static int say(char *err, size_t err_n, int rc, const char *path, const char *what) {
    rmd_format(err, err_n, "%s: %s", path, what);
    return rc;
}

int rmd_curve_read_file(const char *path, bool secret, uint8_t key[RMD_KEY_BYTES], char *err, size_t err_n) {
    int fd;
    int rc = rmd_secret_open(path, secret ? RMD_SECRET_OWNER : 0, &fd, err, err_n);
    char text[KEY_FILE_MAX + 1];
    ssize_t n = rc == RMD_OK ? read(fd, text, KEY_FILE_MAX) : 0;
    if (rc == RMD_OK && n < 0) {
        rmd_format(err, err_n, "%s: cannot be read: %s", path, strerror(errno));
        rc = RMD_EIO;
    }
    if (rc == RMD_OK) {
        struct rmd_slice z85 = rmd_trim(rmd_slice(text, (size_t)n));
        char one[Z85_CHARS + 1];
        if (!rmd_copy_slice(one, sizeof one, z85) || rmd_curve_parse(one, key) < 0)
            rc = say(err, err_n, RMD_EFORMAT, path,
                     "is not a key: expected 40 characters of Z85, as remuda keygen writes them");
        explicit_bzero(one, sizeof one);
    }
    explicit_bzero(text, sizeof text);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int write_all(int fd, const char *text, size_t n) {
    while (n) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        text += done;
        n -= (size_t)done;
    }
    return fsync(fd);
}

int rmd_curve_write_file(const char *path, bool secret, const uint8_t key[RMD_KEY_BYTES], char *err, size_t err_n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644);
    if (fd < 0) {
        int code = errno;
        if (code == EEXIST)
            return say(err, err_n, RMD_EEXISTS, path, "exists already; a key is never overwritten");
        rmd_format(err, err_n, "%s: cannot be created: %s", path, strerror(code));
        return RMD_EIO;
    }
    char text[Z85_CHARS + 2];
    rmd_curve_format(key, text);
    text[Z85_CHARS] = '\n';
    text[Z85_CHARS + 1] = 0;
    int rc = RMD_OK;
    if (write_all(fd, text, Z85_CHARS + 1) < 0) {
        int code = errno;
        rmd_format(err, err_n, "%s: cannot be written: %s", path, strerror(code));
        rc = code == ENOSPC || code == EDQUOT ? RMD_EFULL : RMD_EIO;
        unlink(path);
    }
    explicit_bzero(text, sizeof text);
    close(fd);
    return rc;
}
