/* From root to the user of the configuration, for good. */
#ifndef REMUDA_PRIVILEGE_H
#define REMUDA_PRIVILEGE_H

#include <base/buf.h>

/* Makes the data folder (mode 0700). When this is root and `user` isn't "": gives it to the user, with everything in it
 * that is still root's (from the days when the program ran as root), and becomes the user: no group and no saved id is
 * kept. `folder`, NULL or the folder of a socket: made with mode 0755 when the one above it exists, and given to the user
 * when it was made, or has nothing else in it than `name`. RMD_EINVAL or RMD_EIO with one line in err. */
struct rmd_settle {
    const char *user, *data, *folder, *name;
};
int rmd_settle_down(const struct rmd_settle *o, char *err, size_t err_n) RMD_CHECKED;

#endif
