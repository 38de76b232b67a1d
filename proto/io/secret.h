/* Files with secrets in them: keys, tokens. Refused when others may read them: what is lying open is no secret. */
#ifndef REMUDA_SECRET_H
#define REMUDA_SECRET_H

#include <base/buf.h>

enum {
    RMD_SECRET_OWNER = 077, /* for the owner alone: keys of the bus */
    RMD_SECRET_GROUP = 07,  /* a group may have it, as Debian's ssl-cert does: TLS keys, tokens */
};

/* Opens for reading. RMD_ENOTFOUND, RMD_EIO (also: not a regular file), RMD_EAUTH (permissions that `forbidden` has), with
 * one line in err that names the path. Checked on the descriptor: what is read is what was checked. */
int rmd_secret_open(const char *path, unsigned forbidden, int *fd, char *err, size_t err_n) RMD_CHECKED;
/* All of the file, terminated; limit: more is RMD_ELIMIT. The caller wipes and frees. */
int rmd_secret_read(const char *path, unsigned forbidden, size_t limit, char **text, size_t *n, char *err,
                    size_t err_n) RMD_CHECKED;

#endif
