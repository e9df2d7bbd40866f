// The disk's insides, shared by disk.c (the model) and vfs.c (SQLite's way in).
#ifndef FAULT_DISK_H
#define FAULT_DISK_H

#include <pthread.h>
#include <sqlite3.h>
#include "CFaultVFS.h"

#define SECTOR 512u

// A sector's state. GHOST: its sync failed, so it counts as clean though it is not durable.
enum { CLEAN = 0, DIRTY = 1, GHOST = 2 };

typedef struct {
    int refs;                    // names, pending changes of names, open handles
    uint8_t *data;               // as the process sees it
    uint64_t size, room;
    uint8_t *durable;
    uint64_t durable_size, durable_room;
    uint8_t *state;              // one per sector of `data`
    uint64_t sectors;
    uint64_t cut;                // lowest length since the last sync; UINT64_MAX when it was not shortened
    int shared;                  // SQLite's locks
    void *reserved, *exclusive;
} inode;

typedef struct {
    char *path;
    inode *file;
} name;

typedef struct {
    name *list;
    size_t count, room;
} names;

enum { CREATED, RENAMED, REMOVED };

typedef struct {
    int kind;
    char *path, *to;
    inode *file;
} change;

typedef struct held_lock {
    char *path;
    uint64_t holder;
    struct held_lock *next;
} held_lock;

struct fault_disk {
    sqlite3_vfs vfs;             // first: SQLite hands it back to us
    pthread_mutex_t mutex;
    int refs;                    // the owner and open handles
    uint64_t epoch;              // rises with each crash; handles of an older one are dead
    names now, durable;
    change *changes;             // of names, not yet durable, oldest first
    size_t change_count, change_room;
    held_lock *locks;
    uint64_t next_holder;
    uint64_t capacity;             // 0 is no limit
    uint64_t fail_write, fail_sync, halt;
    int halted;
    uint64_t random;
    int64_t time;
    fault_counters counters;
    void (*hook)(void *context);
    void *hook_context;
};

// All of these expect the disk to be locked.
uint64_t fault_random(uint64_t *state);
inode *fault_find(fault_disk *disk, const char *path);
inode *fault_make(fault_disk *disk, const char *path);
inode *fault_make_nameless(void);
void fault_retain(inode *file);
void fault_release(inode *file);
uint64_t fault_used(const fault_disk *disk);
int fault_read(fault_disk *disk, inode *file, uint64_t offset, void *buffer, size_t count, size_t *got);
int fault_write(fault_disk *disk, inode *file, uint64_t offset, const void *bytes, size_t count);
int fault_truncate(fault_disk *disk, inode *file, uint64_t size);
int fault_sync(fault_disk *disk, inode *file);
int fault_sync_directory(fault_disk *disk, const char *path);
int fault_sync_parent(fault_disk *disk, const char *path);
int fault_remove(fault_disk *disk, const char *path);

// Unlock and tell the hook that an operation is done.
void fault_done(fault_disk *disk);
void fault_disk_release(fault_disk *disk);
void fault_vfs_setup(fault_disk *disk, const char *name);

#endif
