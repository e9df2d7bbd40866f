// Makes syncs slow or fail while the program runs: a preload library.
//
//     SYNC_CONTROL=/path LD_PRELOAD=./sync.so program …
//
// The file holds a number of milliseconds that each fsync and fdatasync takes longer, or "fail": each fails with EIO, and
// the time of the first whose file's path has SYNC_FATAL in it, in nanoseconds by the monotonic clock, is written into
// /path.failed. A file that is missing or empty changes nothing.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Returns 1 when this sync has to fail; waits as long as is asked otherwise.
static int obey(void) {
    const char *path = getenv("SYNC_CONTROL");
    if (!path) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[32] = {0};
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    if (!strncmp(text, "fail", 4)) return 1;
    long milliseconds = atol(text);
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    if (milliseconds > 0) nanosleep(&pause, NULL);
    return 0;
}

static void note_failure(int descriptor) {
    const char *path = getenv("SYNC_CONTROL"), *fatal = getenv("SYNC_FATAL");
    char link[64], synced[4096] = {0}, name[4096], text[32];
    struct timespec now;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if (!fatal || readlink(link, synced, sizeof synced - 1) < 0 || !strstr(synced, fatal)) return;
    if (!path || snprintf(name, sizeof name, "%s.failed", path) >= (int)sizeof name) return;
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(text, sizeof text, "%lld", now.tv_sec * 1000000000LL + now.tv_nsec);
    if (write(file, text, length) != length) unlink(name);
    close(file);
}

static int sync_by(const char *name, int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (obey()) {
        note_failure(descriptor);
        errno = EIO;
        return -1;
    }
    return real(descriptor);
}

int fsync(int descriptor) { return sync_by("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_by("fdatasync", descriptor); }
