// Makes syncs slow or fail while the program runs: a preload library.
//
//     SYNC_CONTROL=/path LD_PRELOAD=./sync.so program …
//
// The file holds a number of milliseconds that each fsync and fdatasync takes longer, or "fail": the next one fails with
// EIO. A file that is missing or empty changes nothing.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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

static int sync_by(const char *name, int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (obey()) {
        errno = EIO;
        return -1;
    }
    return real(descriptor);
}

int fsync(int descriptor) { return sync_by("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_by("fdatasync", descriptor); }
