/* Preloaded into a process (LD_PRELOAD), fails or kills it at its n-th file operation below a directory.

   FAULT="<n> <what> <once|on> <directory>", read at each operation, so that a fork may set it for itself:
   the n-th (from 1) operation, or with `on` that and each later one, gets `what`: an errno, or `kill`
   before it is done, or `killed` after it is. A write to which something happens has written its first half.
   FAULT_LOG names a file that receives a line for each operation. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long count;

struct fault {
    int code;   /* an errno, or 0 */
    int before; /* kill before the operation */
    int after;  /* kill after it */
};

static void record(const char *name) {
    const char *log = getenv("FAULT_LOG");
    int file = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
    if (file < 0) return;
    char line[64];
    syscall(SYS_write, file, line, snprintf(line, sizeof line, "%s\n", name));
    syscall(SYS_close, file);
}

static struct fault at(const char *name, const char *path) {
    struct fault none = {0, 0, 0}, fault = none;
    const char *plan = getenv("FAULT");
    long n;
    char what[16], repeat[8], under[4096];
    if (!plan || sscanf(plan, "%ld %15s %7s %4095s", &n, what, repeat, under) != 4) return none;
    char whole[8192] = "";
    if (path[0] != '/' && getcwd(whole, 4096)) strcat(whole, "/");
    strncat(whole, path, 4095);
    if (strncmp(whole, under, strlen(under))) return none;
    record(name);
    long now = ++count;
    if (now != n && !(now > n && !strcmp(repeat, "on"))) return none;
    fault.before = !strcmp(what, "kill");
    fault.after = !strcmp(what, "killed");
    if (!fault.before && !fault.after) fault.code = atoi(what);
    return fault;
}

static struct fault at_descriptor(const char *name, int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return at(name, path);
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); }

#define STRIKE(fault, real)                     \
    do {                                        \
        if ((fault).before) die();              \
        if ((fault).code) {                     \
            errno = (fault).code;               \
            return -1;                          \
        }                                       \
        __typeof__(real) result = real;         \
        if ((fault).after) die();               \
        return result;                          \
    } while (0)

ssize_t write(int file, const void *bytes, size_t size) {
    struct fault fault = at_descriptor("write", file);
    size_t half = size < 8192 ? size / 2 : size / 8192 * 4096; /* whole pages, for what bypasses the page cache */
    if (fault.code || fault.before) REAL(write)(file, bytes, half);
    STRIKE(fault, REAL(write)(file, bytes, size));
}

int fsync(int file) {
    struct fault fault = at_descriptor("fsync", file);
    STRIKE(fault, REAL(fsync)(file));
}

int rename(const char *from, const char *to) {
    struct fault fault = at("rename", to);
    STRIKE(fault, REAL(rename)(from, to));
}

int link(const char *from, const char *to) {
    struct fault fault = at("link", to);
    STRIKE(fault, REAL(link)(from, to));
}

int unlink(const char *path) {
    struct fault fault = at("unlink", path);
    STRIKE(fault, REAL(unlink)(path));
}

#define OPENING(open)                                                           \
    int open(const char *path, int flags, ...) {                                \
        mode_t mode = 0;                                                        \
        if (flags & (O_CREAT | O_TMPFILE)) {                                    \
            va_list rest;                                                       \
            va_start(rest, flags);                                              \
            mode = va_arg(rest, mode_t);                                        \
            va_end(rest);                                                       \
        }                                                                       \
        struct fault fault = {0, 0, 0};                                         \
        if (flags & O_CREAT) fault = at("create", path);                        \
        STRIKE(fault, REAL(open)(path, flags, mode));                           \
    }

OPENING(open)
OPENING(open64)
