/* What a host keeps that loses its power: this program's fsync() and fdatasync() stand in front of the C library's, for RocksDB
 * too, and note the size of each file that was synced, by inode, in memory that parent and children share. cut_file() cuts a
 * file back to what was noted; one that was never synced is emptied.
 *
 * One .c file of a program includes this: it defines the C library's names. */
#ifndef REMUDA_TESTS_SYNCED_H
#define REMUDA_TESTS_SYNCED_H

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/text.h>

enum { SYNCED_MAX = 4096, SYNCED_PATH = 64 };

struct synced {
    pthread_mutex_t lock;
    size_t n;
    struct {
        ino_t inode;
        off_t size;
    } files[SYNCED_MAX];
};

static struct synced *synced; /* NULL: nothing is noted */

static void note_synced(ino_t inode, off_t size) {
    pthread_mutex_lock(&synced->lock);
    size_t i = 0;
    while (i < synced->n && synced->files[i].inode != inode)
        i++;
    if (i < SYNCED_MAX) {
        synced->files[i].inode = inode;
        if (i == synced->n || synced->files[i].size < size)
            synced->files[i].size = size;
        synced->n += i == synced->n;
    }
    pthread_mutex_unlock(&synced->lock);
}

/* The size before the call: what is appended during it may not be on the disk. */
static int noting_sync(int fd, long call) {
    struct stat st;
    int seen = synced ? fstat(fd, &st) : -1;
    long rc = syscall(call, fd);
    if (!rc && !seen && S_ISREG(st.st_mode))
        note_synced(st.st_ino, st.st_size);
    return (int)rc;
}

int fsync(int fd) {
    return noting_sync(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return noting_sync(fd, SYS_fdatasync);
}

/* An inode may be used again by a file that is never synced. */
int unlink(const char *path) {
    struct stat st;
    if (synced && !stat(path, &st)) {
        pthread_mutex_lock(&synced->lock);
        for (size_t i = 0; i < synced->n; i++)
            synced->files[i].size = synced->files[i].inode == st.st_ino ? 0 : synced->files[i].size;
        pthread_mutex_unlock(&synced->lock);
    }
    return (int)syscall(SYS_unlink, path);
}

static void each_file(const char *dir, void (*fn)(const char *path)) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *de; (de = readdir(d)) != NULL;) {
        char path[512];
        struct stat st;
        assert_true(rmd_format(path, sizeof path, "%s/%s", dir, de->d_name) > 0);
        if (!stat(path, &st) && S_ISREG(st.st_mode))
            fn(path);
    }
    closedir(d);
}

static void cut_file(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    off_t size = 0;
    for (size_t i = 0; i < synced->n; i++) {
        if (synced->files[i].inode == st.st_ino)
            size = synced->files[i].size;
    }
    if (size < st.st_size)
        assert_int_equal(truncate(path, size), 0);
}

/* memory: receives the path of what is shared; children give it to synced_attach(). */
static void synced_start(char memory[SYNCED_PATH]) {
    pthread_mutexattr_t attr;
    rmd_copy(memory, SYNCED_PATH, "/tmp/rmd-synced-XXXXXX");
    int fd = mkstemp(memory);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof *synced), 0);
    synced = mmap(NULL, sizeof *synced, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(synced != MAP_FAILED);
    close(fd);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&synced->lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

static bool synced_attach(const char *memory) {
    int fd = open(memory, O_RDWR | O_CLOEXEC);
    synced = mmap(NULL, sizeof *synced, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (synced == MAP_FAILED)
        synced = NULL;
    return synced != NULL;
}

static void synced_forget(void) {
    munmap(synced, sizeof *synced);
    synced = NULL;
}

#endif
