// A disk in memory for deterministic simulation: a SQLite VFS and a small file API over the same files.
//
// Writes go to a cache of sectors (512 bytes); only a sync makes them durable. Creations, renames and removals become
// durable with a sync of their directory (SQLite syncs the directory of journals and write-ahead logs that it makes).
// A crash keeps what is durable and, by a seed, some of what is not: any subset of sectors, some of them torn.
//
// Nothing here reads a clock or draws a random number: what varies comes from seeds. A disk may be used from several
// threads, one call at a time.
#ifndef C_FAULT_VFS_H
#define C_FAULT_VFS_H

#include <stddef.h>
#include <stdint.h>

typedef struct fault_disk fault_disk;

enum {
    FAULT_OK = 0,
    FAULT_NO_FILE = 1,   // there is no such file
    FAULT_FULL = 2,      // the disk's capacity is used up
    FAULT_IO = 3,        // an injected failure, or the disk is halted
    FAULT_BUSY = 4,      // somebody holds the lock
};

// What a crash does to the sectors that no sync has made durable.
enum {
    FAULT_CRASH_LOSE = 0,     // all are lost
    FAULT_CRASH_SUBSET = 1,   // each is kept or lost
    FAULT_CRASH_TORN = 2,     // each is kept, lost or torn in the middle
    FAULT_CRASH_KEEP = 3,     // all are kept: the process died, the machine did not
};

typedef struct {
    uint64_t writes;        // calls that wrote to a file, or changed its length
    uint64_t syncs;         // syncs of files
    uint64_t dir_syncs;     // syncs of directories
    uint64_t bytes_written;
    uint64_t operations;    // all of the above and renames, removals, creations
} fault_counters;

// Makes a disk and registers it with SQLite as the VFS `name`, which must be new. NULL when out of memory.
fault_disk *fault_disk_create(const char *name, uint64_t seed);
// Unregisters it. Open handles stay safe to close, and only that.
void fault_disk_destroy(fault_disk *disk);
// A new disk that holds what this one would after a crash now. This one is not touched.
fault_disk *fault_disk_crashed_copy(fault_disk *disk, const char *name, uint64_t seed, int mode);

// Faults. ------------------------------------------------------------------------------------------------------------

// Power loss: unsynced data fall as `mode` and `seed` say, handles that are open now fail from here on, injected
// failures and locks end.
void fault_disk_crash(fault_disk *disk, uint64_t seed, int mode);
// The nth write from now (1 is the next) fails and writes nothing; 0 takes it back.
void fault_disk_fail_write(fault_disk *disk, uint64_t nth);
// The nth sync from now fails; the sectors then count as clean, though they are not durable: what Linux does.
void fault_disk_fail_sync(fault_disk *disk, uint64_t nth);
// After the nth operation from now everything fails, as for a process that has been cut off; 0 takes it back.
void fault_disk_halt(fault_disk *disk, uint64_t nth);
// Bytes that all files together may hold; 0 is no limit.
void fault_disk_set_capacity(fault_disk *disk, uint64_t bytes);
uint64_t fault_disk_used(fault_disk *disk);
// Flips a bit of what is durable and of what is cached. FAULT_NO_FILE beyond the file's end.
int fault_disk_flip_bit(fault_disk *disk, const char *path, uint64_t offset, int bit);
// What is durable now, to go back to later: a restored backup. Free it with fault_image_free.
void *fault_disk_image(fault_disk *disk);
void fault_disk_restore(fault_disk *disk, const void *image);
void fault_image_free(void *image);
// What SQLite is told about the time: milliseconds since 1970.
void fault_disk_set_time(fault_disk *disk, int64_t milliseconds);
fault_counters fault_disk_counters(fault_disk *disk);
// Called after every operation, with the disk unlocked; NULL for none.
void fault_disk_set_hook(fault_disk *disk, void (*hook)(void *context), void *context);

// Files. Directories need not be made. -------------------------------------------------------------------------------

int fault_file_size(fault_disk *disk, const char *path, uint64_t *size);
// Reads up to `count` bytes and says how many there were.
int fault_file_read(fault_disk *disk, const char *path, uint64_t offset, void *buffer, size_t count, size_t *got);
int fault_file_write(fault_disk *disk, const char *path, uint64_t offset, const void *bytes, size_t count);
int fault_file_sync(fault_disk *disk, const char *path);
int fault_dir_sync(fault_disk *disk, const char *path);
int fault_file_rename(fault_disk *disk, const char *from, const char *to);
int fault_file_remove(fault_disk *disk, const char *path);
// Takes the lock named `path` until fault_lock_release, or a crash. The result tells the holder to the release.
int fault_lock_take(fault_disk *disk, const char *path, uint64_t *holder);
void fault_lock_release(fault_disk *disk, const char *path, uint64_t holder);
// Calls `visit` with each name in the directory, in bytewise order.
void fault_dir_list(fault_disk *disk, const char *directory, void (*visit)(void *context, const char *name), void *context);

#endif
