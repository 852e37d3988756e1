/* A layer between davy and its disk that knows what was synced.
 *
 * Preloaded into davy (LD_PRELOAD), it keeps under DAVY_LAYER_BOOK what a disk would still hold after
 * a power cut: of each file under DAVY_LAYER_ROOT the bytes as of its last sync, of each folder the
 * names as of its last sync. What happened to names stands in `journal`, one line each; `power_cut.rs`
 * reads it and makes the folder that a cut leaves. While `refuse-sync` lies in the book, syncs of files fail;
 * while `forget-sync` does, they do nothing.
 *
 * Writes are not caught: a sync reads the whole file. Locks of fcntl() go with the closing of any
 * descriptor of a file, so a file is read by the descriptor that is synced.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FILES_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *book;
static size_t root_length;
static int journal = -1;
static unsigned long next_id;
/* Number of each file that was opened, by its inode; open addressing. */
static struct { ino_t inode; unsigned long id; } files[FILES_MAX];

static void give_up(const char *what) {
    fprintf(stderr, "layer: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("DAVY_LAYER_ROOT");
    book = getenv("DAVY_LAYER_BOOK");
    if (!root || !book) return;
    root_length = strlen(root);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/journal", book);
    journal = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (journal < 0) give_up(path);
}

static void note(const char *what, unsigned long id, const char *one, const char *other) {
    char line[3 * PATH_MAX];
    int length = snprintf(line, sizeof line, "%s\t%lu\t%s\t%s\n", what, id, one, other);
    if (write(journal, line, length) != length) give_up("journal");
}

/* The whole path in `whole`; whether it lies under the root. */
static int is_ours(int folder, const char *path, char *whole) {
    char joined[2 * PATH_MAX], parent[PATH_MAX];
    if (journal < 0 || !path) return 0;
    if (path[0] == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else if (folder == AT_FDCWD) {
        if (!getcwd(parent, sizeof parent)) return 0;
        snprintf(joined, sizeof joined, "%s/%s", parent, path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, parent, sizeof parent - 1);
        if (length < 0) return 0;
        parent[length] = 0;
        snprintf(joined, sizeof joined, "%s/%s", parent, path);
    }
    size_t length = strlen(joined);
    while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
    char *slash = strrchr(joined, '/');
    *slash = 0;
    if (!realpath(slash == joined ? "/" : joined, parent)) return 0;
    snprintf(whole, 2 * PATH_MAX, "%s/%s", parent, slash + 1);
    return !strncmp(whole, root, root_length) && (whole[root_length] == '/' || !whole[root_length]);
}

static unsigned long *id_of(ino_t inode) {
    size_t at = inode % FILES_MAX;
    for (size_t tried = 0; tried < FILES_MAX; tried++, at = (at + 1) % FILES_MAX) {
        if (!files[at].id) files[at].inode = inode;
        if (files[at].inode == inode) return &files[at].id;
    }
    errno = ENFILE;
    give_up("too many files");
    return 0;
}

static void opened(int fd, const char *whole, int was_there) {
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) || !S_ISREG(stat.st_mode)) return;
    unsigned long *id = id_of(stat.st_ino);
    if (was_there && *id) return;
    *id = ++next_id;
    note(was_there ? "known" : "made", *id, whole, "");
}

/* What was synced of a file, in one piece: as long as it was when the sync began. What is appended
 * while it goes on may not count on it. */
static int keep(int fd, unsigned long id, off_t length_then) {
    char made[PATH_MAX], kept[PATH_MAX], from[64], bytes[1 << 16];
    snprintf(made, sizeof made, "%s/unfinished", book);
    snprintf(kept, sizeof kept, "%s/%lu", book, id);
    int source = fd;
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
        source = REAL(open)(from, O_RDONLY | O_CLOEXEC);
        if (source < 0) give_up(from);
    }
    int copy = REAL(open)(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (copy < 0) give_up(made);
    off_t at = 0;
    ssize_t length = 0;
    while (at < length_then) {
        size_t left = length_then - at;
        size_t wanted = left < sizeof bytes ? left : sizeof bytes;
        if ((length = pread(source, bytes, wanted, at)) <= 0) break;
        if (write(copy, bytes, length) != length) give_up(made);
        at += length;
    }
    if (length < 0) give_up("read");
    close(copy);
    if (source != fd) close(source);
    return REAL(rename)(made, kept);
}

static int synced(int fd) {
    struct stat stat;
    if (journal < 0 || fstat(fd, &stat)) return 0;
    pthread_mutex_lock(&lock);
    int failed = 0;
    if (S_ISDIR(stat.st_mode)) {
        char link[64], path[PATH_MAX], whole[2 * PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = 0;
            if (is_ours(AT_FDCWD, path, whole)) note("named", 0, whole, "");
        }
    } else if (S_ISREG(stat.st_mode)) {
        unsigned long id = *id_of(stat.st_ino);
        char refuse[PATH_MAX], forget[PATH_MAX];
        snprintf(refuse, sizeof refuse, "%s/refuse-sync", book);
        snprintf(forget, sizeof forget, "%s/forget-sync", book);
        if (id && !access(refuse, F_OK)) {
            failed = 1;
        } else if (id && access(forget, F_OK)) {
            if (keep(fd, id, stat.st_size)) give_up("keep");
            note("synced", id, "", "");
        }
    }
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    return failed ? -1 : 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

/* Opens, and notes what was opened; `CALL` is the real call. */
#define OPENED(folder, path, CALL)                                                                 \
    char whole[2 * PATH_MAX];                                                                      \
    if (!is_ours(folder, path, whole)) return CALL;                                                \
    pthread_mutex_lock(&lock);                                                                     \
    int was_there = !access(whole, F_OK);                                                          \
    int fd = CALL;                                                                                 \
    int error = errno;                                                                             \
    opened(fd, whole, was_there);                                                                  \
    pthread_mutex_unlock(&lock);                                                                   \
    errno = error;                                                                                 \
    return fd

#define MODE()                                                                                     \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE()
    OPENED(AT_FDCWD, path, REAL(open)(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    MODE()
    OPENED(AT_FDCWD, path, REAL(open64)(path, flags, mode));
}
int openat(int folder, const char *path, int flags, ...) {
    MODE()
    OPENED(folder, path, REAL(openat)(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE()
    OPENED(folder, path, REAL(openat64)(folder, path, flags, mode));
}

/* Changes a name, and notes it where that worked. */
#define CHANGED(what, from_folder, from, to_folder, to, CALL)                                      \
    char one[2 * PATH_MAX] = "", other[2 * PATH_MAX] = "";                                         \
    int is_one = is_ours(from_folder, from, one);                                                  \
    int is_other = is_ours(to_folder, to, other);                                            \
    if (!is_one && !is_other) return CALL;                                                         \
    pthread_mutex_lock(&lock);                                                                     \
    int result = CALL;                                                                             \
    int error = errno;                                                                             \
    if (!result) note(what, 0, one, other);                                                        \
    pthread_mutex_unlock(&lock);                                                                   \
    errno = error;                                                                                 \
    return result

static const char *const nothing = 0;

int rename(const char *from, const char *to) {
    CHANGED("renamed", AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to));
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    CHANGED("renamed", from_folder, from, to_folder, to,
            REAL(renameat)(from_folder, from, to_folder, to));
}
int link(const char *from, const char *to) {
    CHANGED("linked", AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to));
}
int unlink(const char *path) {
    CHANGED("removed", AT_FDCWD, path, AT_FDCWD, nothing, REAL(unlink)(path));
}
int unlinkat(int folder, const char *path, int flags) {
    CHANGED("removed", folder, path, AT_FDCWD, nothing, REAL(unlinkat)(folder, path, flags));
}
int rmdir(const char *path) {
    CHANGED("removed", AT_FDCWD, path, AT_FDCWD, nothing, REAL(rmdir)(path));
}
int mkdir(const char *path, mode_t mode) {
    CHANGED("folder", AT_FDCWD, path, AT_FDCWD, nothing, REAL(mkdir)(path, mode));
}
