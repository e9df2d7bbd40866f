// Remembers what a power cut would take away: a preload library for any program that writes files.
//
//     cc -shared -fPIC -O2 -o powercut.so powercut.c -ldl -lpthread
//     POWERCUT_DIR=/data POWERCUT_JOURNAL=/elsewhere/journal LD_PRELOAD=./powercut.so program …
//
// Each change to a file below POWERCUT_DIR is noted in the journal with what was there before and what comes, before it is
// made; each successful sync is noted with the changes it covers. Nothing is held back: the program runs on its real disk.
// Once it was killed, `powercut.py` takes from the files what no sync had covered: each sector of 512 bytes keeps at
// random one of the contents it had since the last sync, and the changes of names that no directory's sync covered are
// kept up to a random one. When all is synced the journal is empty again.
//
// What is not seen: writes through a memory map, and through a descriptor that was not opened here (dup, a passed one).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 65536, MOST_FILES = 4096 };

// A record: this head, then `before` bytes of what was there, then `after` bytes of what comes.
// kind 'W' write, 'T' truncate: `offset` the first byte concerned, `size` the file's length before.
// 'S' sync of the file `inode`, 'D' of the directory `inode`: covers records numbered up to `offset`.
// 'C' created, 'U' unlinked, 'R' renamed: in directory `inode`; the names are text in `after`, see powercut.py.
struct head {
    char kind, unused[7];
    uint64_t number, inode, offset, size, before, after;
};

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off64_t);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_renameat2)(int, const char *, int, const char *, unsigned);
static int (*real_unlinkat)(int, const char *, int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_length;
static int journal = -1;
static char graveyard[PATH_MAX];
static uint64_t last_number;
static _Atomic unsigned char tracked[MOST_DESCRIPTORS];  // 1: a file below the directory, 2: a directory

// Inodes with changes that no sync has covered, and how the last of them is numbered.
static struct { uint64_t inode, last; } dirty[MOST_FILES];
static int dirty_count;

static void give_up(const char *what) {
    dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
    _exit(86);
}

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_renameat2 = dlsym(RTLD_NEXT, "renameat2");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    const char *where = getenv("POWERCUT_DIR"), *into = getenv("POWERCUT_JOURNAL");
    if (!where || !into) return;
    if (!realpath(where, directory)) give_up(where);
    directory_length = strlen(directory);
    if (snprintf(graveyard, sizeof graveyard, "%s.graveyard", directory) >= (int)sizeof graveyard) give_up(directory);
    mkdir(graveyard, 0700);
    journal = real_openat(AT_FDCWD, into, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) give_up(into);
}

// --- which descriptors concern us ---

static int below(const char *path) {
    return !strncmp(path, directory, directory_length) && (path[directory_length] == '/' || !path[directory_length]);
}

static void track(int descriptor) {
    if (journal < 0 || descriptor < 0 || descriptor >= MOST_DESCRIPTORS) return;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    struct stat64 status;
    if (!below(path) || fstat64(descriptor, &status)) return;
    tracked[descriptor] = S_ISREG(status.st_mode) ? 1 : S_ISDIR(status.st_mode) ? 2 : 0;
}

static int is_file(int descriptor) {
    return journal >= 0 && descriptor >= 0 && descriptor < MOST_DESCRIPTORS && tracked[descriptor] == 1;
}

// --- the journal; all with the lock held ---

static void mark_dirty(uint64_t inode) {
    for (int i = 0; i < dirty_count; i++)
        if (dirty[i].inode == inode) { dirty[i].last = last_number; return; }
    if (dirty_count == MOST_FILES) { errno = EMFILE; give_up("more unsynced files than can be remembered"); }
    dirty[dirty_count].inode = inode;
    dirty[dirty_count++].last = last_number;
}

static void note(struct head head, const struct iovec *before, const struct iovec *after, int pieces) {
    head.number = ++last_number;
    struct iovec all[3] = {{&head, sizeof head}};
    int count = 1;
    if (before && before->iov_len) { head.before = before->iov_len; all[count++] = *before; }
    if (after && pieces == 1 && after->iov_len) { head.after = after->iov_len; all[count++] = *after; }
    size_t whole = 0;
    for (int i = 0; i < count; i++) whole += all[i].iov_len;
    if (real_writev(journal, all, count) != (ssize_t)whole) give_up("the journal can't be written");
    mark_dirty(head.inode);
}

// A sync of `inode` has succeeded; it had begun when `number` was the last record.
static void note_sync(char kind, uint64_t inode, uint64_t number) {
    for (int i = 0; i < dirty_count; i++)
        if (dirty[i].inode == inode && dirty[i].last <= number) { dirty[i] = dirty[--dirty_count]; break; }
    if (dirty_count == 0) {
        if (ftruncate64(journal, 0) != 0) give_up("the journal can't be emptied");
        return;
    }
    struct head head = {.kind = kind, .number = last_number, .inode = inode, .offset = number};
    if (real_write(journal, &head, sizeof head) != sizeof head) give_up("the journal can't be written");
}

// Notes that `length` bytes at `offset` are about to change; `after` is nil for a truncation.
static void note_change(int descriptor, uint64_t offset, const void *after, size_t length) {
    struct stat64 status;
    if (fstat64(descriptor, &status)) give_up("fstat");
    struct head head = {
        .kind = after ? 'W' : 'T', .inode = status.st_ino, .offset = offset, .size = (uint64_t)status.st_size};
    // Sectors are torn as wholes: what is around the bytes in theirs is noted too.
    uint64_t start = offset & ~511ull, end = after ? (offset + length + 511) & ~511ull : head.size;
    if (end > head.size) end = head.size;
    struct iovec before = {NULL, end > start ? end - start : 0};
    if (before.iov_len) {
        before.iov_base = malloc(before.iov_len);
        // A descriptor that is open for writing alone can't be read: its file can.
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        int reader = real_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        if (reader < 0 || !before.iov_base) give_up("a file can't be read before it is written");
        size_t done = 0;
        while (done < before.iov_len) {
            ssize_t got = pread64(reader, (char *)before.iov_base + done, before.iov_len - done, (off64_t)(start + done));
            if (got <= 0) give_up("a file can't be read before it is written");
            done += (size_t)got;
        }
        real_close(reader);
    }
    struct iovec comes = {(void *)after, length};
    note(head, &before, after ? &comes : NULL, 1);
    free(before.iov_base);
}

static uint64_t inode_of_parent(int at, const char *path, char *parent, char *whole) {
    char copy[PATH_MAX];
    if (path[0] != '/' && at != AT_FDCWD) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, copy, sizeof copy - 1);
        if (length <= 0) return 0;
        copy[length] = 0;
        if ((size_t)length + strlen(path) + 2 > sizeof copy) return 0;
        strcat(strcat(copy, "/"), path);
    } else {
        if (strlen(path) >= sizeof copy) return 0;
        strcpy(copy, path);
    }
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (!realpath(slash == copy ? "/" : slash ? (*slash = 0, copy) : ".", parent)) return 0;
    struct stat64 status;
    if (!below(parent) || stat64(parent, &status)) return 0;
    if (snprintf(whole, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX) return 0;
    return status.st_ino;
}

static void note_names(char kind, uint64_t directory_inode, const char *first, const char *second, const char *kept) {
    char text[3 * PATH_MAX];
    int length = snprintf(text, sizeof text, "%s%c%s%c%s%c", first, 0, second, 0, kept, 0);
    struct iovec after = {text, (size_t)length};
    note((struct head){.kind = kind, .inode = directory_inode}, NULL, &after, 1);
}

// Keeps what a name stands for, when that name is about to go: a second link to it, outside the directory.
static void keep(const char *path, char *kept) {
    kept[0] = 0;
    struct stat64 status;
    if (lstat64(path, &status) || !S_ISREG(status.st_mode)) return;
    snprintf(kept, PATH_MAX, "%s/%llu", graveyard, (unsigned long long)last_number + 1);
    if (link(path, kept)) kept[0] = 0;
}

// --- what programs call ---

static int open_noting(int at, const char *path, int flags, mode_t mode) {
    int is_new = 0, descriptor;
    char parent[PATH_MAX], whole[PATH_MAX];
    uint64_t inode = 0;
    if (journal >= 0 && (flags & (O_CREAT | O_TRUNC))) {
        pthread_mutex_lock(&lock);
        inode = inode_of_parent(at, path, parent, whole);
        struct stat64 status;
        if (inode) is_new = lstat64(whole, &status) != 0;
        if (inode && !is_new && (flags & O_TRUNC) && S_ISREG(status.st_mode) && status.st_size > 0) {
            int existing = real_openat(AT_FDCWD, whole, O_RDWR | O_CLOEXEC);
            if (existing >= 0) { note_change(existing, 0, NULL, 0); real_close(existing); }
        }
        descriptor = real_openat(at, path, flags, mode);
        if (descriptor >= 0 && is_new) note_names('C', inode, whole, "", "");
        pthread_mutex_unlock(&lock);
    } else {
        descriptor = real_openat(at, path, flags, mode);
    }
    int reason = errno;
    track(descriptor);
    errno = reason;
    return descriptor;
}

#define WITH_MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }
int open(const char *path, int flags, ...) { WITH_MODE return open_noting(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { WITH_MODE return open_noting(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { WITH_MODE return open_noting(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { WITH_MODE return open_noting(at, path, flags | O_LARGEFILE, mode); }
int __open_2(const char *path, int flags) { return open_noting(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_noting(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_noting(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS) tracked[descriptor] = 0;
    return real_close(descriptor);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset) {
    if (!is_file(descriptor)) return real_pwrite(descriptor, bytes, length, offset);
    pthread_mutex_lock(&lock);
    note_change(descriptor, (uint64_t)offset, bytes, length);
    ssize_t done = real_pwrite(descriptor, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) { return pwrite64(descriptor, bytes, length, offset); }

static off64_t position(int descriptor) {
    struct stat64 status;
    if ((fcntl(descriptor, F_GETFL) & O_APPEND) && !fstat64(descriptor, &status)) return status.st_size;
    return lseek64(descriptor, 0, SEEK_CUR);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    if (!is_file(descriptor)) return real_write(descriptor, bytes, length);
    pthread_mutex_lock(&lock);
    note_change(descriptor, (uint64_t)position(descriptor), bytes, length);
    ssize_t done = real_write(descriptor, bytes, length);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t write_pieces(int descriptor, const struct iovec *pieces, int count, off64_t offset, int moves) {
    pthread_mutex_lock(&lock);
    ssize_t whole = 0;
    for (int i = 0; i < count; i++) {
        note_change(descriptor, (uint64_t)(offset + whole), pieces[i].iov_base, pieces[i].iov_len);
        ssize_t done = moves ? real_write(descriptor, pieces[i].iov_base, pieces[i].iov_len)
                             : real_pwrite(descriptor, pieces[i].iov_base, pieces[i].iov_len, offset + whole);
        if (done < 0) { if (!whole) whole = -1; break; }
        whole += done;
        if ((size_t)done < pieces[i].iov_len) break;
    }
    pthread_mutex_unlock(&lock);
    return whole;
}
ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    if (!is_file(descriptor)) return real_writev(descriptor, pieces, count);
    return write_pieces(descriptor, pieces, count, position(descriptor), 1);
}
ssize_t pwritev64(int descriptor, const struct iovec *pieces, int count, off64_t offset) {
    if (!is_file(descriptor)) return real_pwritev(descriptor, pieces, count, offset);
    return write_pieces(descriptor, pieces, count, offset, 0);
}
ssize_t pwritev(int descriptor, const struct iovec *pieces, int count, off_t offset) { return pwritev64(descriptor, pieces, count, offset); }

int ftruncate64(int descriptor, off64_t length) {
    if (!is_file(descriptor)) return real_ftruncate(descriptor, length);
    pthread_mutex_lock(&lock);
    note_change(descriptor, (uint64_t)length, NULL, 0);
    int done = real_ftruncate(descriptor, length);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

static int sync_noting(int descriptor, int (*call)(int)) {
    int kind = descriptor >= 0 && descriptor < MOST_DESCRIPTORS ? tracked[descriptor] : 0;
    if (journal < 0 || !kind) return call(descriptor);
    struct stat64 status;
    if (fstat64(descriptor, &status)) return -1;
    pthread_mutex_lock(&lock);
    uint64_t number = last_number;
    pthread_mutex_unlock(&lock);
    int done = call(descriptor);
    if (done == 0) {
        pthread_mutex_lock(&lock);
        note_sync(kind == 1 ? 'S' : 'D', status.st_ino, number);
        pthread_mutex_unlock(&lock);
    }
    return done;
}
int fsync(int descriptor) { return sync_noting(descriptor, real_fsync); }
int fdatasync(int descriptor) { return sync_noting(descriptor, real_fdatasync); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char parent[PATH_MAX], first[PATH_MAX], second[PATH_MAX], kept[PATH_MAX];
    if (journal < 0) return real_renameat2(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    uint64_t inode = inode_of_parent(from_at, from, parent, first), other = inode_of_parent(to_at, to, parent, second);
    if (inode && other) keep(second, kept);
    int done = real_renameat2(from_at, from, to_at, to, flags);
    if (done == 0 && inode && other) note_names('R', other, first, second, kept);
    pthread_mutex_unlock(&lock);
    return done;
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }

int unlinkat(int at, const char *path, int flags) {
    char parent[PATH_MAX], whole[PATH_MAX], kept[PATH_MAX];
    if (journal < 0 || (flags & AT_REMOVEDIR)) return real_unlinkat(at, path, flags);
    pthread_mutex_lock(&lock);
    uint64_t inode = inode_of_parent(at, path, parent, whole);
    if (inode) keep(whole, kept);
    int done = real_unlinkat(at, path, flags);
    if (done == 0 && inode && kept[0]) note_names('U', inode, whole, "", kept);
    pthread_mutex_unlock(&lock);
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int remove(const char *path) {
    if (!unlinkat(AT_FDCWD, path, 0)) return 0;
    return errno == EISDIR || errno == EPERM ? rmdir(path) : -1;
}
