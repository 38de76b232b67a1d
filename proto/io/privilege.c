/* See privilege.h. */
#include "proto/io/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

static int say(char *err, size_t err_n, const char *path, const char *what) {
    rmd_format(err, err_n, "%s: %s", path, what);
    return RMD_EIO;
}

static int make_data(const char *path, char *err, size_t err_n) {
    struct stat st;
    char why[256];
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        rmd_format(why, sizeof why, "%s (make the folder, or correct `data`)", strerror(errno));
        return say(err, err_n, path, why);
    }
    return lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) ? say(err, err_n, path, "is not a folder") : RMD_OK;
}

static bool only_has(const char *folder, const char *name) {
    DIR *d = opendir(folder);
    bool only = d != NULL;
    for (struct dirent *e; d && only && (e = readdir(d)) != NULL;)
        only = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, name) == 0;
    if (d)
        closedir(d);
    return only;
}

static int make_folder(const struct rmd_settle *o, const struct passwd *to, char *err, size_t err_n) {
    struct stat st;
    if (!o->folder)
        return RMD_OK;
    bool made = mkdir(o->folder, 0755) == 0;
    if (!made && errno != EEXIST)
        return say(err, err_n, o->folder, strerror(errno));
    if (made && chmod(o->folder, 0755) != 0) /* whatever the umask is */
        return say(err, err_n, o->folder, strerror(errno));
    bool ours = to && lstat(o->folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
                (made || only_has(o->folder, o->name));
    if (ours && lchown(o->folder, to->pw_uid, to->pw_gid) != 0)
        return say(err, err_n, o->folder, "could not be given to the user of the configuration");
    return RMD_OK;
}

/* nftw() has no argument of one's own; this runs once, before there is a second thread. */
static struct {
    uid_t uid;
    gid_t gid;
} giving;

/* What has a second name may stand elsewhere, too: not given away. */
static int give(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)at;
    bool other = type == FTW_NS || st->st_uid != 0 || (S_ISREG(st->st_mode) && st->st_nlink > 1);
    return other ? 0 : lchown(path, giving.uid, giving.gid);
}

/* The folder itself last: as long as it is root's, nobody else has put anything into it, and the next start goes on. */
static int give_data(const char *path, const struct passwd *to, char *err, size_t err_n) {
    struct stat st;
    giving.uid = to->pw_uid;
    giving.gid = to->pw_gid;
    bool roots = lstat(path, &st) == 0 && st.st_uid == 0;
    if (roots && nftw(path, give, 16, FTW_PHYS | FTW_DEPTH) != 0)
        return say(err, err_n, path, "could not be given to the user of the configuration");
    return RMD_OK;
}

static int become(const char *user, const struct passwd *p, char *err, size_t err_n) {
    if (initgroups(user, p->pw_gid) != 0 || setgid(p->pw_gid) != 0 || setuid(p->pw_uid) != 0)
        return say(err, err_n, user, "could not become this user");
    if (p->pw_uid && (setuid(0) == 0 || seteuid(0) == 0))
        return say(err, err_n, user, "root could be had back after becoming this user: not running like this");
    return RMD_OK;
}

int rmd_settle_down(const struct rmd_settle *o, char *err, size_t err_n) {
    bool drop = *o->user && geteuid() == 0;
    struct passwd *p = drop ? getpwnam(o->user) : NULL;
    if (drop && !p) {
        say(err, err_n, o->user, "there is no such user (`user` in the configuration)");
        return RMD_EINVAL;
    }
    int rc = make_data(o->data, err, err_n);
    if (rc == RMD_OK)
        rc = make_folder(o, p, err, err_n);
    if (rc < 0 || !drop)
        return rc;
    rc = give_data(o->data, p, err, err_n);
    return rc < 0 ? rc : become(o->user, p, err, err_n);
}
