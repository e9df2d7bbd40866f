// The model: files as cached and durable sectors, names as they are and as they are durable.
#include <stdlib.h>
#include <string.h>
#include "disk.h"

uint64_t fault_random(uint64_t *state) {
    // SplitMix64.
    uint64_t word = (*state += 0x9E3779B97F4A7C15u);
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

static void *grow(void *memory, size_t bytes) {
    void *grown = realloc(memory, bytes ? bytes : 1);
    if (!grown) abort();  // a simulation without memory has nothing to say
    return grown;
}

static char *copy_text(const char *text) {
    size_t length = strlen(text) + 1;
    return memcpy(grow(NULL, length), text, length);
}

// ---- files ----

inode *fault_make_nameless(void) {
    inode *file = calloc(1, sizeof(inode));
    if (!file) abort();
    file->refs = 1;
    file->cut = UINT64_MAX;
    return file;
}

void fault_retain(inode *file) { file->refs++; }

void fault_release(inode *file) {
    if (--file->refs > 0) return;
    free(file->data);
    free(file->durable);
    free(file->state);
    free(file);
}

static void ensure(uint8_t **bytes, uint64_t *room, uint64_t wanted) {
    if (wanted <= *room) return;
    uint64_t larger = *room ? *room : 4096;
    while (larger < wanted) larger *= 2;
    *bytes = grow(*bytes, larger);
    memset(*bytes + *room, 0, larger - *room);
    *room = larger;
}

static void ensure_state(inode *file, uint64_t size) {
    uint64_t wanted = (size + SECTOR - 1) / SECTOR;
    if (wanted <= file->sectors) return;
    uint64_t larger = file->sectors ? file->sectors : 8;
    while (larger < wanted) larger *= 2;
    file->state = grow(file->state, larger);
    memset(file->state + file->sectors, CLEAN, larger - file->sectors);
    file->sectors = larger;
}

static void mark_dirty(inode *file, uint64_t from, uint64_t to) {
    if (from >= to) return;
    for (uint64_t sector = from / SECTOR; sector <= (to - 1) / SECTOR; sector++) file->state[sector] = DIRTY;
}

// Counts an operation that is about to happen; FAULT_IO when the process is cut off.
static int begin(fault_disk *disk) {
    if (disk->halted) return FAULT_IO;
    disk->counters.operations++;
    if (disk->halt > 0 && --disk->halt == 0) disk->halted = 1;
    return FAULT_OK;
}

int fault_read(fault_disk *disk, inode *file, uint64_t offset, void *buffer, size_t count, size_t *got) {
    *got = 0;
    if (disk->halted) return FAULT_IO;
    if (offset >= file->size) return FAULT_OK;
    *got = file->size - offset < count ? (size_t)(file->size - offset) : count;
    memcpy(buffer, file->data + offset, *got);
    return FAULT_OK;
}

int fault_write(fault_disk *disk, inode *file, uint64_t offset, const void *bytes, size_t count) {
    if (disk->halted) return FAULT_IO;
    if (disk->fail_write > 0 && --disk->fail_write == 0) return FAULT_IO;
    uint64_t end = offset + count;
    uint64_t added = end > file->size ? end - file->size : 0;
    if (added && disk->capacity && fault_used(disk) + added > disk->capacity) return FAULT_FULL;
    if (begin(disk) != FAULT_OK) return FAULT_IO;
    disk->counters.writes++;
    disk->counters.bytes_written += count;
    ensure(&file->data, &file->room, end);
    ensure_state(file, end);
    // A gap reads as zeros, and these are new content, too.
    if (offset > file->size) memset(file->data + file->size, 0, offset - file->size);
    if (added) mark_dirty(file, file->size < offset ? file->size : offset, end);
    if (count) memcpy(file->data + offset, bytes, count);
    mark_dirty(file, offset, end);
    if (added) file->size = end;
    return FAULT_OK;
}

int fault_truncate(fault_disk *disk, inode *file, uint64_t size) {
    if (size > file->size) {
        uint8_t zero = 0;
        return fault_write(disk, file, size - 1, &zero, 1);
    }
    if (disk->halted) return FAULT_IO;
    if (disk->fail_write > 0 && --disk->fail_write == 0) return FAULT_IO;
    if (begin(disk) != FAULT_OK) return FAULT_IO;
    disk->counters.writes++;
    for (uint64_t sector = (size + SECTOR - 1) / SECTOR; sector < file->sectors; sector++) file->state[sector] = CLEAN;
    file->size = size;
    if (size < file->cut) file->cut = size;
    return FAULT_OK;
}

static void make_durable(inode *file, uint64_t sector, uint64_t bytes) {
    uint64_t from = sector * SECTOR;
    ensure(&file->durable, &file->durable_room, from + bytes);
    memcpy(file->durable + from, file->data + from, bytes);
    if (from + bytes > file->durable_size) {
        // What lies between the old end and this sector is a hole.
        if (from > file->durable_size) memset(file->durable + file->durable_size, 0, from - file->durable_size);
        file->durable_size = from + bytes;
    }
}

static uint64_t sector_bytes(const inode *file, uint64_t sector) {
    uint64_t left = file->size - sector * SECTOR;
    return left < SECTOR ? left : SECTOR;
}

static void apply_cut(inode *file) {
    if (file->cut < file->durable_size) file->durable_size = file->cut;
    file->cut = UINT64_MAX;
}

int fault_sync(fault_disk *disk, inode *file) {
    if (begin(disk) != FAULT_OK) return FAULT_IO;
    disk->counters.syncs++;
    int fails = disk->fail_sync > 0 && --disk->fail_sync == 0;
    if (!fails) apply_cut(file);
    for (uint64_t sector = 0; sector * SECTOR < file->size; sector++) {
        if (file->state[sector] != DIRTY) continue;
        if (fails) {
            file->state[sector] = GHOST;
        } else {
            make_durable(file, sector, sector_bytes(file, sector));
            file->state[sector] = CLEAN;
        }
    }
    return fails ? FAULT_IO : FAULT_OK;
}

// ---- names ----

static size_t position(const names *table, const char *path) {
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(table->list[middle].path, path) < 0) low = middle + 1; else high = middle;
    }
    return low;
}

static inode *lookup(const names *table, const char *path) {
    size_t at = position(table, path);
    return at < table->count && strcmp(table->list[at].path, path) == 0 ? table->list[at].file : NULL;
}

static void drop_name(names *table, const char *path) {
    size_t at = position(table, path);
    if (at >= table->count || strcmp(table->list[at].path, path) != 0) return;
    free(table->list[at].path);
    fault_release(table->list[at].file);
    memmove(table->list + at, table->list + at + 1, (table->count - at - 1) * sizeof(name));
    table->count--;
}

static void put_name(names *table, const char *path, inode *file) {
    fault_retain(file);
    drop_name(table, path);
    if (table->count == table->room) {
        table->room = table->room ? table->room * 2 : 8;
        table->list = grow(table->list, table->room * sizeof(name));
    }
    size_t at = position(table, path);
    memmove(table->list + at + 1, table->list + at, (table->count - at) * sizeof(name));
    table->list[at] = (name){copy_text(path), file};
    table->count++;
}

static void clear_names(names *table) {
    for (size_t at = 0; at < table->count; at++) {
        free(table->list[at].path);
        fault_release(table->list[at].file);
    }
    table->count = 0;
}

static void apply_change(fault_disk *disk, const change *pending) {
    switch (pending->kind) {
    case CREATED: put_name(&disk->durable, pending->path, pending->file); break;
    case REMOVED: drop_name(&disk->durable, pending->path); break;
    case RENAMED:
        put_name(&disk->durable, pending->to, pending->file);
        drop_name(&disk->durable, pending->path);
        break;
    }
}

static void free_change(change *pending) {
    free(pending->path);
    free(pending->to);
    if (pending->file) fault_release(pending->file);
}

static void remember_change(fault_disk *disk, int kind, const char *path, const char *to, inode *file) {
    if (disk->change_count == disk->change_room) {
        disk->change_room = disk->change_room ? disk->change_room * 2 : 16;
        disk->changes = grow(disk->changes, disk->change_room * sizeof(change));
    }
    if (file) fault_retain(file);
    disk->changes[disk->change_count++] = (change){kind, copy_text(path), to ? copy_text(to) : NULL, file};
}

static size_t parent_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static int is_in(const char *path, const char *directory, size_t length) {
    return parent_length(path) == length && strncmp(path, directory, length) == 0;
}

// What the files that have a name take; a removed one's space is free at once.
uint64_t fault_used(const fault_disk *disk) {
    uint64_t used = 0;
    for (size_t at = 0; at < disk->now.count; at++) used += disk->now.list[at].file->size;
    return used;
}

inode *fault_find(fault_disk *disk, const char *path) { return lookup(&disk->now, path); }

inode *fault_make(fault_disk *disk, const char *path) {
    if (begin(disk) != FAULT_OK) return NULL;
    inode *file = fault_make_nameless();
    put_name(&disk->now, path, file);
    remember_change(disk, CREATED, path, NULL, file);
    fault_release(file);
    return file;
}

int fault_remove(fault_disk *disk, const char *path) {
    if (disk->halted) return FAULT_IO;
    if (!fault_find(disk, path)) return FAULT_NO_FILE;
    if (begin(disk) != FAULT_OK) return FAULT_IO;
    remember_change(disk, REMOVED, path, NULL, NULL);
    drop_name(&disk->now, path);
    return FAULT_OK;
}

static int sync_names(fault_disk *disk, const char *directory, size_t length) {
    if (begin(disk) != FAULT_OK) return FAULT_IO;
    disk->counters.dir_syncs++;
    size_t kept = 0;
    for (size_t at = 0; at < disk->change_count; at++) {
        change pending = disk->changes[at];
        if (is_in(pending.path, directory, length)) {
            apply_change(disk, &pending);
            free_change(&pending);
        } else {
            disk->changes[kept++] = pending;
        }
    }
    disk->change_count = kept;
    return FAULT_OK;
}

int fault_sync_directory(fault_disk *disk, const char *path) { return sync_names(disk, path, strlen(path)); }
int fault_sync_parent(fault_disk *disk, const char *path) { return sync_names(disk, path, parent_length(path)); }

int fault_file_rename(fault_disk *disk, const char *from, const char *to) {
    pthread_mutex_lock(&disk->mutex);
    int result = FAULT_NO_FILE;
    inode *file = fault_find(disk, from);
    if (file && begin(disk) == FAULT_OK) {
        remember_change(disk, RENAMED, from, to, file);
        put_name(&disk->now, to, file);
        drop_name(&disk->now, from);
        result = FAULT_OK;
    } else if (disk->halted) {
        result = FAULT_IO;
    }
    fault_done(disk);
    return result;
}

// ---- crashes ----

static int is_kept(int mode, uint64_t *random) {
    switch (mode) {
    case FAULT_CRASH_LOSE: return 0;
    case FAULT_CRASH_KEEP: return 1;
    default: return (int)(fault_random(random) & 1);
    }
}

// Brings a file to what it is after a crash: what is durable, and what `mode` keeps of the rest.
static void crash_file(inode *file, uint64_t *random, int mode) {
    if (file->cut != UINT64_MAX && is_kept(mode, random)) apply_cut(file);
    for (uint64_t sector = 0; sector * SECTOR < file->size; sector++) {
        if (file->state[sector] == CLEAN) continue;
        uint64_t bytes = sector_bytes(file, sector);
        if (mode == FAULT_CRASH_TORN) {
            uint64_t choice = fault_random(random) % 3;
            if (choice == 0) continue;
            if (choice == 1) bytes = fault_random(random) % bytes;
            if (bytes) make_durable(file, sector, bytes);
        } else if (is_kept(mode, random)) {
            make_durable(file, sector, bytes);
        }
    }
    ensure(&file->data, &file->room, file->durable_size);
    ensure_state(file, file->durable_size);
    file->size = file->durable_size;
    if (file->size) memcpy(file->data, file->durable, file->size);
    if (file->sectors) memset(file->state, CLEAN, file->sectors);
    file->cut = UINT64_MAX;
    file->shared = 0;
    file->reserved = file->exclusive = NULL;
}

// Of each directory's changes a beginning is kept: journalling file systems keep their order.
static void crash_names(fault_disk *disk, uint64_t *random, int mode) {
    for (size_t at = 0; at < disk->change_count; at++) {
        change *pending = &disk->changes[at];
        int blocked = 0;
        for (size_t earlier = 0; earlier < at && !blocked; earlier++) {
            change *other = &disk->changes[earlier];
            blocked = other->kind < 0 && is_in(other->path, pending->path, parent_length(pending->path));
        }
        if (!blocked && is_kept(mode, random)) apply_change(disk, pending); else pending->kind = -1;
    }
    for (size_t at = 0; at < disk->change_count; at++) free_change(&disk->changes[at]);
    disk->change_count = 0;
    clear_names(&disk->now);
    for (size_t at = 0; at < disk->durable.count; at++) {
        put_name(&disk->now, disk->durable.list[at].path, disk->durable.list[at].file);
    }
}

static void drop_locks(fault_disk *disk) {
    while (disk->locks) {
        held_lock *lock = disk->locks;
        disk->locks = lock->next;
        free(lock->path);
        free(lock);
    }
}

static void crash(fault_disk *disk, uint64_t seed, int mode) {
    uint64_t random = seed;
    disk->epoch++;
    disk->halted = 0;
    disk->halt = disk->fail_sync = disk->fail_write = 0;
    drop_locks(disk);
    crash_names(disk, &random, mode);
    for (size_t at = 0; at < disk->now.count; at++) crash_file(disk->now.list[at].file, &random, mode);
}

void fault_disk_crash(fault_disk *disk, uint64_t seed, int mode) {
    pthread_mutex_lock(&disk->mutex);
    crash(disk, seed, mode);
    pthread_mutex_unlock(&disk->mutex);
}

static inode *copy_file(const inode *file) {
    inode *copy = fault_make_nameless();
    ensure(&copy->data, &copy->room, file->size);
    if (file->size) memcpy(copy->data, file->data, file->size);
    copy->size = file->size;
    ensure(&copy->durable, &copy->durable_room, file->durable_size);
    if (file->durable_size) memcpy(copy->durable, file->durable, file->durable_size);
    copy->durable_size = file->durable_size;
    ensure_state(copy, file->sectors * SECTOR);
    if (file->sectors) memcpy(copy->state, file->state, file->sectors);
    copy->cut = file->cut;
    return copy;
}

// The copies keep what the originals share: one file may be known by a name now, a durable name and pending changes.
static inode *copied(inode *file, inode **from, inode **to, size_t *count) {
    for (size_t at = 0; at < *count; at++) {
        if (from[at] == file) return to[at];
    }
    from[*count] = file;
    to[*count] = copy_file(file);
    return to[(*count)++];
}

fault_disk *fault_disk_crashed_copy(fault_disk *disk, const char *vfs, uint64_t seed, int mode) {
    pthread_mutex_lock(&disk->mutex);
    fault_disk *copy = fault_disk_create(vfs, disk->random);
    size_t most = disk->now.count + disk->durable.count + disk->change_count, count = 0;
    inode **from = grow(NULL, most * sizeof(inode *)), **to = grow(NULL, most * sizeof(inode *));
    for (size_t at = 0; at < disk->now.count; at++) {
        name *entry = &disk->now.list[at];
        put_name(&copy->now, entry->path, copied(entry->file, from, to, &count));
    }
    for (size_t at = 0; at < disk->durable.count; at++) {
        name *entry = &disk->durable.list[at];
        put_name(&copy->durable, entry->path, copied(entry->file, from, to, &count));
    }
    for (size_t at = 0; at < disk->change_count; at++) {
        change *pending = &disk->changes[at];
        inode *file = pending->file ? copied(pending->file, from, to, &count) : NULL;
        remember_change(copy, pending->kind, pending->path, pending->to, file);
    }
    for (size_t at = 0; at < count; at++) fault_release(to[at]);
    free(from);
    free(to);
    copy->time = disk->time;
    copy->capacity = disk->capacity;
    crash(copy, seed, mode);
    pthread_mutex_unlock(&disk->mutex);
    return copy;
}

// ---- images ----

typedef struct {
    size_t count;
    name *list;
} image;

void *fault_disk_image(fault_disk *disk) {
    pthread_mutex_lock(&disk->mutex);
    image *taken = grow(NULL, sizeof(image));
    taken->count = disk->durable.count;
    taken->list = grow(NULL, taken->count * sizeof(name));
    for (size_t at = 0; at < taken->count; at++) {
        taken->list[at].path = copy_text(disk->durable.list[at].path);
        taken->list[at].file = copy_file(disk->durable.list[at].file);
    }
    pthread_mutex_unlock(&disk->mutex);
    return taken;
}

void fault_disk_restore(fault_disk *disk, const void *opaque) {
    const image *taken = opaque;
    pthread_mutex_lock(&disk->mutex);
    for (size_t at = 0; at < disk->change_count; at++) free_change(&disk->changes[at]);
    disk->change_count = 0;
    clear_names(&disk->now);
    clear_names(&disk->durable);
    for (size_t at = 0; at < taken->count; at++) {
        inode *file = copy_file(taken->list[at].file);
        put_name(&disk->durable, taken->list[at].path, file);
        fault_release(file);
    }
    crash(disk, 0, FAULT_CRASH_LOSE);
    pthread_mutex_unlock(&disk->mutex);
}

void fault_image_free(void *opaque) {
    image *taken = opaque;
    for (size_t at = 0; at < taken->count; at++) {
        free(taken->list[at].path);
        fault_release(taken->list[at].file);
    }
    free(taken->list);
    free(taken);
}

// ---- the disk itself ----

fault_disk *fault_disk_create(const char *name, uint64_t seed) {
    fault_disk *disk = calloc(1, sizeof(fault_disk));
    if (!disk) return NULL;
    pthread_mutex_init(&disk->mutex, NULL);
    disk->refs = 1;
    disk->random = seed;
    fault_vfs_setup(disk, name);
    return disk;
}

void fault_disk_release(fault_disk *disk) {
    pthread_mutex_lock(&disk->mutex);
    int left = --disk->refs;
    pthread_mutex_unlock(&disk->mutex);
    if (left > 0) return;
    pthread_mutex_destroy(&disk->mutex);
    free(disk->now.list);
    free(disk->durable.list);
    free(disk->changes);
    free((void *)disk->vfs.zName);
    free(disk);
}

void fault_disk_destroy(fault_disk *disk) {
    sqlite3_vfs_unregister(&disk->vfs);
    pthread_mutex_lock(&disk->mutex);
    disk->epoch++;
    disk->halted = 1;
    disk->hook = NULL;
    drop_locks(disk);
    for (size_t at = 0; at < disk->change_count; at++) free_change(&disk->changes[at]);
    disk->change_count = 0;
    clear_names(&disk->now);
    clear_names(&disk->durable);
    pthread_mutex_unlock(&disk->mutex);
    fault_disk_release(disk);
}

void fault_done(fault_disk *disk) {
    void (*hook)(void *) = disk->halted ? NULL : disk->hook;
    void *context = disk->hook_context;
    pthread_mutex_unlock(&disk->mutex);
    if (hook) hook(context);
}
