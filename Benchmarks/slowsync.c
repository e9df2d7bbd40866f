// Makes a process's disk slow to sync, for `LD_PRELOAD`: each fdatasync takes SLOWSYNC_US microseconds longer, and is
// counted in the file SLOWSYNC_DIR/<pid>: eight bytes, native order. Unlike a tracer it leaves everything else as fast as
// it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real_fdatasync)(int);
static _Atomic unsigned long *calls;
static long delay_us;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void) {
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *delay = getenv("SLOWSYNC_US"), *folder = getenv("SLOWSYNC_DIR");
    delay_us = delay ? atol(delay) : 0;
    if (!folder) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder, getpid());
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || ftruncate(file, sizeof *calls) != 0) return;
    void *page = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) calls = page;
}

int fdatasync(int file) {
    pthread_once(&once, prepare);
    if (calls) atomic_fetch_add(calls, 1);
    struct timespec pause = {delay_us / 1000000, delay_us % 1000000 * 1000};
    if (delay_us > 0) nanosleep(&pause, NULL);
    return real_fdatasync(file);
}
