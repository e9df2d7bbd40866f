// The small file API beside SQLite's, and the switches for faults.
#include <stdlib.h>
#include <string.h>
#include "disk.h"

int fault_file_size(fault_disk *disk, const char *path, uint64_t *size) {
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    int result = disk->halted ? FAULT_IO : file ? FAULT_OK : FAULT_NO_FILE;
    if (result == FAULT_OK) *size = file->size;
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

int fault_file_read(fault_disk *disk, const char *path, uint64_t offset, void *buffer, size_t count, size_t *got) {
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    int result = file ? fault_read(disk, file, offset, buffer, count, got) : disk->halted ? FAULT_IO : FAULT_NO_FILE;
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

int fault_file_write(fault_disk *disk, const char *path, uint64_t offset, const void *bytes, size_t count) {
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    if (!file) file = fault_make(disk, path);
    int result = file ? fault_write(disk, file, offset, bytes, count) : FAULT_IO;
    fault_done(disk);
    return result;
}

int fault_file_sync(fault_disk *disk, const char *path) {
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    int result = file ? fault_sync(disk, file) : disk->halted ? FAULT_IO : FAULT_NO_FILE;
    fault_done(disk);
    return result;
}

int fault_dir_sync(fault_disk *disk, const char *path) {
    pthread_mutex_lock(&disk->mutex);
    int result = fault_sync_directory(disk, path);
    fault_done(disk);
    return result;
}

int fault_file_remove(fault_disk *disk, const char *path) {
    pthread_mutex_lock(&disk->mutex);
    int result = fault_remove(disk, path);
    fault_done(disk);
    return result;
}

int fault_lock_take(fault_disk *disk, const char *path, uint64_t *holder) {
    pthread_mutex_lock(&disk->mutex);
    int result = disk->halted ? FAULT_IO : FAULT_OK;
    for (held_lock *lock = disk->locks; lock; lock = lock->next) {
        if (strcmp(lock->path, path) == 0) result = FAULT_BUSY;
    }
    if (result == FAULT_OK) {
        held_lock *lock = malloc(sizeof(held_lock));
        char *copy = strdup(path);
        if (!lock || !copy) abort();
        *holder = ++disk->next_holder;
        *lock = (held_lock){copy, *holder, disk->locks};
        disk->locks = lock;
    }
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

void fault_lock_release(fault_disk *disk, const char *path, uint64_t holder) {
    pthread_mutex_lock(&disk->mutex);
    for (held_lock **link = &disk->locks; *link; link = &(*link)->next) {
        held_lock *lock = *link;
        if (lock->holder != holder || strcmp(lock->path, path) != 0) continue;
        *link = lock->next;
        free(lock->path);
        free(lock);
        break;
    }
    pthread_mutex_unlock(&disk->mutex);
}

void fault_dir_list(fault_disk *disk, const char *directory, void (*visit)(void *, const char *), void *context) {
    size_t length = strlen(directory);
    pthread_mutex_lock(&disk->mutex);
    for (size_t at = 0; at < disk->now.count; at++) {
        const char *path = disk->now.list[at].path;
        const char *slash = strrchr(path, '/');
        if (slash && (size_t)(slash - path) == length && strncmp(path, directory, length) == 0) visit(context, slash + 1);
    }
    pthread_mutex_unlock(&disk->mutex);
}

void fault_disk_fail_write(fault_disk *disk, uint64_t nth) {
    pthread_mutex_lock(&disk->mutex);
    disk->fail_write = nth;
    pthread_mutex_unlock(&disk->mutex);
}

void fault_disk_fail_sync(fault_disk *disk, uint64_t nth) {
    pthread_mutex_lock(&disk->mutex);
    disk->fail_sync = nth;
    pthread_mutex_unlock(&disk->mutex);
}

void fault_disk_halt(fault_disk *disk, uint64_t nth) {
    pthread_mutex_lock(&disk->mutex);
    disk->halt = nth;
    pthread_mutex_unlock(&disk->mutex);
}

void fault_disk_set_capacity(fault_disk *disk, uint64_t bytes) {
    pthread_mutex_lock(&disk->mutex);
    disk->capacity = bytes;
    pthread_mutex_unlock(&disk->mutex);
}

uint64_t fault_disk_used(fault_disk *disk) {
    pthread_mutex_lock(&disk->mutex);
    uint64_t used = fault_used(disk);
    pthread_mutex_unlock(&disk->mutex);
    return used;
}

int fault_disk_flip_bit(fault_disk *disk, const char *path, uint64_t offset, int bit) {
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    int result = FAULT_NO_FILE;
    uint8_t mask = (uint8_t)(1u << (bit & 7));
    if (file && offset < file->size) {
        file->data[offset] ^= mask;
        result = FAULT_OK;
    }
    if (file && offset < file->durable_size) {
        file->durable[offset] ^= mask;
        result = FAULT_OK;
    }
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

void fault_disk_set_time(fault_disk *disk, int64_t milliseconds) {
    pthread_mutex_lock(&disk->mutex);
    disk->time = milliseconds;
    pthread_mutex_unlock(&disk->mutex);
}

fault_counters fault_disk_counters(fault_disk *disk) {
    pthread_mutex_lock(&disk->mutex);
    fault_counters counters = disk->counters;
    pthread_mutex_unlock(&disk->mutex);
    return counters;
}

void fault_disk_set_hook(fault_disk *disk, void (*hook)(void *), void *context) {
    pthread_mutex_lock(&disk->mutex);
    disk->hook = hook;
    disk->hook_context = context;
    pthread_mutex_unlock(&disk->mutex);
}
