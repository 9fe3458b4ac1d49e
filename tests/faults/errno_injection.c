/* Lets calls of the C library fail for chosen paths: preloaded into an agent, told what to do through a shared file.

   The file named by FAULTS_RULES is an array of struct rule, mapped here and by the test (errno_injection.py), which arms
   and disarms rules while the agent runs and reads how often each matched. Calls of one meaning go by one name, whatever
   the variant: "open" is open, open64, openat and openat64. What the library was not told to touch it passes on. */

#define _GNU_SOURCE
#define _FORTIFY_SOURCE 0
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES 64
#define ANY_NUMBER 0
#define NONE (-1)

struct rule {
    uint32_t armed;
    int32_t error;   /* 0: only counted, or answered with `answer` */
    uint32_t first;  /* the match from which on calls fail, from 1 */
    uint32_t times;  /* how many fail; ANY_NUMBER */
    uint32_t seen;
    uint32_t failed;
    int64_t answer;  /* statfs: the f_type it says */
    char call[16];
    char path[488];   /* fnmatch(3) patterns; `/` is a character like others */
    char target[480]; /* of the second path of rename and link; "" for any */
};

static struct rule *rules;

__attribute__((constructor)) static void map_rules(void) {
    const char *name = getenv("FAULTS_RULES");
    if (name == NULL) return;
    long file = syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
    if (file < 0) return;
    void *found = mmap(NULL, RULES * sizeof(struct rule), PROT_READ | PROT_WRITE, MAP_SHARED, (int)file, 0);
    syscall(SYS_close, file);
    if (found != MAP_FAILED) rules = found;
}

static void path_of(int handle, char *path) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
}

/* Write the path that a call means: a handle's own (name NULL), or a name in a folder held open. */
static void resolve(int folder, const char *name, char *path) {
    if (name == NULL) {
        path_of(folder, path);
    } else if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        path_of(folder, path);
        if (strcmp(name, ".") != 0) {
            size_t length = strlen(path);
            snprintf(path + length, PATH_MAX - length, "/%s", name);
        }
    }
}

/* Return the rule by which a call is to fail, or be answered, now. */
static struct rule *meets2(const char *call, int folder, const char *name, int there, const char *new_name) {
    if (rules == NULL) return NULL;
    int before = errno;
    char path[PATH_MAX], target[PATH_MAX];
    int resolved = 0;
    struct rule *found = NULL;
    for (int index = 0; index < RULES && found == NULL; index++) {
        struct rule *rule = &rules[index];
        if (!__atomic_load_n(&rule->armed, __ATOMIC_ACQUIRE) || strcmp(rule->call, call) != 0) continue;
        if (!resolved) {
            resolve(folder, name, path);
            target[0] = '\0';
            if (new_name != NULL) resolve(there, new_name, target);
            resolved = 1;
        }
        if (fnmatch(rule->path, path, 0) != 0) continue;
        if (rule->target[0] && fnmatch(rule->target, target, 0) != 0) continue;
        uint32_t number = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
        if (number < rule->first || (rule->times != ANY_NUMBER && number >= rule->first + rule->times)) continue;
        if (rule->error == 0 && rule->answer == 0) continue;
        __atomic_add_fetch(&rule->failed, 1, __ATOMIC_SEQ_CST);
        found = rule;
    }
    errno = before;
    return found;
}

static int fails2(const char *call, int folder, const char *name, int there, const char *new_name) {
    struct rule *rule = meets2(call, folder, name, there, new_name);
    if (rule == NULL || rule->error == 0) return 0;
    errno = rule->error;
    return 1;
}

static int fails(const char *call, int folder, const char *name) { return fails2(call, folder, name, NONE, NULL); }

#define NEXT(name) ((__typeof__(&name))next(&next_##name, #name))
#define KEEP(name) static void *next_##name

static void *next(void **kept, const char *name) {
    if (*kept == NULL) *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

#define MODE(flags)                                          \
    mode_t mode = 0;                                         \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                        \
        va_start(rest, flags);                               \
        mode = va_arg(rest, mode_t);                         \
        va_end(rest);                                        \
    }

#define OPEN(name)                                                  \
    KEEP(name);                                                     \
    int name(const char *path, int flags, ...) {                    \
        MODE(flags)                                                 \
        if (fails("open", AT_FDCWD, path)) return -1;               \
        return NEXT(name)(path, flags, mode);                       \
    }
#define OPENAT(name)                                                \
    KEEP(name);                                                     \
    int name(int folder, const char *path, int flags, ...) {        \
        MODE(flags)                                                 \
        if (fails("open", folder, path)) return -1;                 \
        return NEXT(name)(folder, path, flags, mode);               \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

KEEP(fdopendir);
DIR *fdopendir(int handle) { return fails("list", handle, NULL) ? NULL : NEXT(fdopendir)(handle); }
KEEP(opendir);
DIR *opendir(const char *path) { return fails("list", AT_FDCWD, path) ? NULL : NEXT(opendir)(path); }

/* --- handles ------------------------------------------------------------------------------------------------------ */

#define BY_HANDLE(type, name, call, parameters, arguments)          \
    KEEP(name);                                                     \
    type name parameters {                                          \
        if (fails(call, handle, NULL)) return -1;                   \
        return NEXT(name) arguments;                                \
    }
struct stat64;
struct statvfs;
struct statvfs64;
struct timespec;
int fstat64(int, struct stat64 *);
int fstatvfs(int, struct statvfs *);
int fstatvfs64(int, struct statvfs64 *);
int futimens(int, const struct timespec *);
int fchmod(int, mode_t);

BY_HANDLE(ssize_t, read, "read", (int handle, void *data, size_t size), (handle, data, size))
BY_HANDLE(ssize_t, write, "write", (int handle, const void *data, size_t size), (handle, data, size))
BY_HANDLE(ssize_t, pwrite, "write", (int handle, const void *data, size_t size, off_t at), (handle, data, size, at))
BY_HANDLE(ssize_t, pwrite64, "write", (int handle, const void *data, size_t size, off64_t at), (handle, data, size, at))
BY_HANDLE(int, fsync, "fsync", (int handle), (handle))
BY_HANDLE(int, fdatasync, "fsync", (int handle), (handle))
BY_HANDLE(int, ftruncate, "truncate", (int handle, off_t size), (handle, size))
BY_HANDLE(int, ftruncate64, "truncate", (int handle, off64_t size), (handle, size))
BY_HANDLE(int, fstat64, "fstat", (int handle, struct stat64 *status), (handle, status))
BY_HANDLE(int, fstatvfs, "space", (int handle, struct statvfs *space), (handle, space))
BY_HANDLE(int, fstatvfs64, "space", (int handle, struct statvfs64 *space), (handle, space))
BY_HANDLE(int, fchmod, "chmod", (int handle, mode_t mode), (handle, mode))
BY_HANDLE(int, futimens, "utime", (int handle, const struct timespec *times), (handle, times))

KEEP(close);
int close(int handle) {
    int is_to_fail = fails("close", handle, NULL), error = errno;
    int done = NEXT(close)(handle); /* a close that fails has closed all the same */
    if (!is_to_fail) return done;
    errno = error;
    return -1;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

int stat64(const char *, struct stat64 *);
int lstat64(const char *, struct stat64 *);
int fstatat64(int, const char *, struct stat64 *, int);
int statvfs(const char *, struct statvfs *);
int statvfs64(const char *, struct statvfs64 *);
int mkdirat(int, const char *, mode_t);
int mkdir(const char *, mode_t);

#define BY_NAME(name, call, folder, parameters, arguments)          \
    KEEP(name);                                                     \
    int name parameters {                                           \
        if (fails(call, folder, path)) return -1;                   \
        return NEXT(name) arguments;                                \
    }
BY_NAME(stat64, "stat", AT_FDCWD, (const char *path, struct stat64 *status), (path, status))
BY_NAME(lstat64, "stat", AT_FDCWD, (const char *path, struct stat64 *status), (path, status))
BY_NAME(fstatat64, "stat", at, (int at, const char *path, struct stat64 *status, int flags), (at, path, status, flags))
BY_NAME(statvfs, "space", AT_FDCWD, (const char *path, struct statvfs *space), (path, space))
BY_NAME(statvfs64, "space", AT_FDCWD, (const char *path, struct statvfs64 *space), (path, space))
BY_NAME(mkdir, "mkdir", AT_FDCWD, (const char *path, mode_t mode), (path, mode))
BY_NAME(mkdirat, "mkdir", at, (int at, const char *path, mode_t mode), (at, path, mode))
BY_NAME(unlink, "unlink", AT_FDCWD, (const char *path), (path))
BY_NAME(unlinkat, "unlink", at, (int at, const char *path, int flags), (at, path, flags))
BY_NAME(faccessat, "access", at, (int at, const char *path, int mode, int flags), (at, path, mode, flags))

#define BY_TWO_NAMES(name, call, parameters, arguments)             \
    KEEP(name);                                                     \
    int name parameters {                                           \
        if (fails2(call, from, path, to, new_path)) return -1;      \
        return NEXT(name) arguments;                                \
    }
BY_TWO_NAMES(renameat, "rename", (int from, const char *path, int to, const char *new_path), (from, path, to, new_path))
BY_TWO_NAMES(renameat2, "rename", (int from, const char *path, int to, const char *new_path, unsigned flags),
             (from, path, to, new_path, flags))
BY_TWO_NAMES(linkat, "link", (int from, const char *path, int to, const char *new_path, int flags),
             (from, path, to, new_path, flags))
KEEP(rename);
int rename(const char *path, const char *new_path) {
    if (fails2("rename", AT_FDCWD, path, AT_FDCWD, new_path)) return -1;
    return NEXT(rename)(path, new_path);
}

/* --- file systems and events -------------------------------------------------------------------------------------- */

struct statfs;
int statfs(const char *, struct statfs *);
KEEP(statfs);
int statfs(const char *path, struct statfs *answer) {
    struct rule *rule = meets2("statfs", AT_FDCWD, path, NONE, NULL);
    if (rule != NULL && rule->error != 0) {
        errno = rule->error;
        return -1;
    }
    int done = NEXT(statfs)(path, answer);
    if (rule != NULL && done == 0) *(long *)answer = (long)rule->answer; /* f_type comes first */
    return done;
}

int inotify_add_watch(int, const char *, uint32_t);
BY_NAME(inotify_add_watch, "watch", AT_FDCWD, (int handle, const char *path, uint32_t mask), (handle, path, mask))
int inotify_init1(int);
KEEP(inotify_init1);
int inotify_init1(int flags) { return fails("watch", AT_FDCWD, "") ? -1 : NEXT(inotify_init1)(flags); }
