// SQLite's way to the disk. No shared memory: the log's connection is exclusive, and then SQLite needs none for its
// write-ahead log.
#include <stdlib.h>
#include <string.h>
#include "disk.h"

typedef struct {
    sqlite3_file base;           // first: SQLite hands it back to us
    fault_disk *disk;
    inode *file;
    uint64_t epoch;
    int level;                   // SQLITE_LOCK_...
    int syncs_directory;         // a journal or write-ahead log that was made new
    char *path;                  // NULL for a nameless one
    int deletes;
} handle;

// Locks the disk; 0 for a handle from before a crash, which is then not locked.
static int enter(handle *open) {
    pthread_mutex_lock(&open->disk->mutex);
    if (open->epoch == open->disk->epoch && !open->disk->halted) return 1;
    pthread_mutex_unlock(&open->disk->mutex);
    return 0;
}

static int leave(handle *open, int result) {
    fault_done(open->disk);
    return result;
}

static int close_file(sqlite3_file *base) {
    handle *open = (handle *)base;
    fault_disk *disk = open->disk;
    pthread_mutex_lock(&disk->mutex);
    if (open->epoch == disk->epoch) {
        if (open->file->exclusive == open) open->file->exclusive = NULL;
        if (open->file->reserved == open) open->file->reserved = NULL;
        if (open->level >= SQLITE_LOCK_SHARED) open->file->shared--;
        if (open->deletes && open->path) fault_remove(disk, open->path);
    }
    fault_release(open->file);
    pthread_mutex_unlock(&disk->mutex);
    free(open->path);
    fault_disk_release(disk);
    return SQLITE_OK;
}

static int read_file(sqlite3_file *base, void *buffer, int count, sqlite3_int64 offset) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_READ;
    size_t got = 0;
    int result = fault_read(open->disk, open->file, (uint64_t)offset, buffer, (size_t)count, &got);
    pthread_mutex_unlock(&open->disk->mutex);
    if (result != FAULT_OK) return SQLITE_IOERR_READ;
    if (got == (size_t)count) return SQLITE_OK;
    memset((char *)buffer + got, 0, (size_t)count - got);
    return SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_WRITE;
    int result = fault_write(open->disk, open->file, (uint64_t)offset, bytes, (size_t)count);
    return leave(open, result == FAULT_OK ? SQLITE_OK : result == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE);
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_TRUNCATE;
    int result = fault_truncate(open->disk, open->file, (uint64_t)size);
    return leave(open, result == FAULT_OK ? SQLITE_OK : SQLITE_IOERR_TRUNCATE);
}

static int sync_file(sqlite3_file *base, int flags) {
    (void)flags;
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_FSYNC;
    int result = fault_sync(open->disk, open->file);
    if (result == FAULT_OK && open->syncs_directory && open->path) {
        result = fault_sync_parent(open->disk, open->path);
        open->syncs_directory = 0;
    }
    return leave(open, result == FAULT_OK ? SQLITE_OK : SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_FSTAT;
    *size = (sqlite3_int64)open->file->size;
    pthread_mutex_unlock(&open->disk->mutex);
    return SQLITE_OK;
}

static int lock_file(sqlite3_file *base, int level) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_LOCK;
    inode *file = open->file;
    int result = SQLITE_OK;
    if (level > open->level) {
        int others = file->shared - (open->level >= SQLITE_LOCK_SHARED ? 1 : 0);
        if (file->exclusive && file->exclusive != open) result = SQLITE_BUSY;
        if (level >= SQLITE_LOCK_RESERVED && file->reserved && file->reserved != open) result = SQLITE_BUSY;
        if (level == SQLITE_LOCK_EXCLUSIVE && others > 0) result = SQLITE_BUSY;
        if (result == SQLITE_OK) {
            if (open->level < SQLITE_LOCK_SHARED) file->shared++;
            if (level >= SQLITE_LOCK_RESERVED) file->reserved = open;
            if (level == SQLITE_LOCK_EXCLUSIVE) file->exclusive = open;
            open->level = level;
        }
    }
    pthread_mutex_unlock(&open->disk->mutex);
    return result;
}

static int unlock_file(sqlite3_file *base, int level) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_UNLOCK;
    if (level < open->level) {
        if (open->file->exclusive == open) open->file->exclusive = NULL;
        if (open->file->reserved == open) open->file->reserved = NULL;
        if (level < SQLITE_LOCK_SHARED) open->file->shared--;
        open->level = level;
    }
    pthread_mutex_unlock(&open->disk->mutex);
    return SQLITE_OK;
}

static int check_reserved(sqlite3_file *base, int *reserved) {
    handle *open = (handle *)base;
    if (!enter(open)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
    *reserved = open->file->reserved != NULL;
    pthread_mutex_unlock(&open->disk->mutex);
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int operation, void *argument) {
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base) {
    (void)base;
    return 4096;
}

// What SQLite assumes of Unix files, too: bytes beside an overwritten range never change, not even by a torn write.
static int characteristics(sqlite3_file *base) {
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_reserved,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
};

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out_flags) {
    fault_disk *disk = (fault_disk *)vfs;
    handle *open = (handle *)base;
    memset(open, 0, sizeof(handle));
    pthread_mutex_lock(&disk->mutex);
    inode *file = path ? fault_find(disk, path) : fault_make_nameless();
    int is_new = 0;
    if (!file && (flags & SQLITE_OPEN_CREATE) && !disk->halted) {
        file = fault_make(disk, path);
        is_new = 1;
    }
    if (!file || disk->halted) {
        if (file && !path) fault_release(file);
        pthread_mutex_unlock(&disk->mutex);
        return SQLITE_CANTOPEN;
    }
    if (path) fault_retain(file);
    disk->refs++;
    open->disk = disk;
    open->file = file;
    open->epoch = disk->epoch;
    open->path = path ? strdup(path) : NULL;
    open->deletes = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    open->syncs_directory = is_new && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL));
    open->base.pMethods = &methods;
    if (out_flags) *out_flags = flags;
    fault_done(disk);
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int sync_directory) {
    fault_disk *disk = (fault_disk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    int result = fault_remove(disk, path);
    if (result == FAULT_OK && sync_directory) result = fault_sync_parent(disk, path);
    fault_done(disk);
    return result == FAULT_OK ? SQLITE_OK : result == FAULT_NO_FILE ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
}

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *result) {
    fault_disk *disk = (fault_disk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    inode *file = fault_find(disk, path);
    // As SQLite's Unix VFS has it: an empty journal is as good as none.
    *result = file && (flags != SQLITE_ACCESS_EXISTS || file->size > 0);
    pthread_mutex_unlock(&disk->mutex);
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *path, int room, char *full) {
    (void)vfs;
    size_t length = strlen(path) + 1;
    if (length > (size_t)room) return SQLITE_CANTOPEN;
    memcpy(full, path, length);
    return SQLITE_OK;
}

static int randomness(sqlite3_vfs *vfs, int count, char *bytes) {
    fault_disk *disk = (fault_disk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    for (int at = 0; at < count; at++) bytes[at] = (char)fault_random(&disk->random);
    pthread_mutex_unlock(&disk->mutex);
    return count;
}

static int sleep_for(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int current_time_milliseconds(sqlite3_vfs *vfs, sqlite3_int64 *now) {
    fault_disk *disk = (fault_disk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    // Julian days begin 2,440,587.5 days before 1970.
    *now = disk->time + 210866760000000;
    pthread_mutex_unlock(&disk->mutex);
    return SQLITE_OK;
}

static int current_time(sqlite3_vfs *vfs, double *now) {
    sqlite3_int64 milliseconds = 0;
    current_time_milliseconds(vfs, &milliseconds);
    *now = (double)milliseconds / 86400000.0;
    return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int count, char *text) {
    (void)vfs;
    if (count > 0 && text) text[0] = 0;
    return 0;
}

void fault_vfs_setup(fault_disk *disk, const char *name) {
    char *copy = strdup(name);
    if (!copy) abort();
    disk->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(handle),
        .mxPathname = 512,
        .zName = copy,
        .xOpen = open_file,
        .xDelete = delete_file,
        .xAccess = access_file,
        .xFullPathname = full_path,
        .xRandomness = randomness,
        .xSleep = sleep_for,
        .xCurrentTime = current_time,
        .xGetLastError = last_error,
        .xCurrentTimeInt64 = current_time_milliseconds,
    };
    sqlite3_vfs_register(&disk->vfs, 0);
}
