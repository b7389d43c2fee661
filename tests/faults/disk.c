/* Preloaded into the fault campaign: the n-th call that writes below a folder fails, as on a full or broken disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long fail_at, calls;
static int error_number;

/* Fail at call n (0: only count) below the folder; from then on every call fails, as on a disk that stays full. */
void faults_arm(const char *below, long n, int number) {
    snprintf(folder, sizeof folder, "%s", below);
    fail_at = n, error_number = number, calls = 0;
}

long faults_calls(void) { return calls; }

static int inside(const char *path) { return folder[0] && !strncmp(path, folder, strlen(folder)); }

static int fails(void) {
    calls++;
    if (!fail_at || calls < fail_at) return 0;
    errno = error_number;
    return 1;
}

static int fd_fails(int fd) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path) && fails();
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) { return fd_fails(fd) ? -1 : NEXT(write)(fd, data, size); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fd_fails(fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return fd_fails(fd) ? -1 : NEXT(writev)(fd, parts, count); }
int fsync(int fd) { return fd_fails(fd) ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fd_fails(fd) ? -1 : NEXT(fdatasync)(fd); }
int ftruncate64(int fd, off64_t size) { return fd_fails(fd) ? -1 : NEXT(ftruncate64)(fd, size); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    return fd_fails(out) ? -1 : NEXT(copy_file_range)(in, from, out, to, size, flags);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    ssize_t (*next)(int, int, off64_t *, size_t) = dlsym(RTLD_NEXT, "sendfile64");
    return fd_fails(out) ? -1 : next(out, in, at, size);
}
int rename(const char *old, const char *new) { return inside(new) && fails() ? -1 : NEXT(rename)(old, new); }
int mkdir(const char *path, mode_t mode) { return inside(path) && fails() ? -1 : NEXT(mkdir)(path, mode); }

static int creates_and_fails(const char *path, int flags) { return (flags & O_CREAT) && inside(path) && fails(); }

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return creates_and_fails(path, flags) ? -1 : NEXT(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return creates_and_fails(path, flags) ? -1 : NEXT(open64)(path, flags, mode);
}
