/* A disk whose past is on record, for the power-cut test: a FUSE file system of two files.
 *
 *   disk      SIZE bytes, zero at first, kept in memory; a loop device and ext4 lie over it. Every write, every zeroed
 *             range and every flush is appended to the log.
 *   position  the number of log entries so far, as text: what is acknowledged at position N may rest on entries
 *             0..N-1 alone, and only on those of them that a flush covers.
 *
 * The log is a sequence of entries: a header (struct log_entry, little endian as the machine) and, for a write, its
 * bytes. A write enters the log when it is done, right before its answer; a flush does so with the position at which it
 * arrived. So a flush covers exactly the writes that were answered before it was asked for, which is all that a disk
 * with a volatile cache promises. Every eighth write is held back for up to HOLD_US, so that flushes overtake writes
 * in flight: a log that syncs too early is found out.
 *
 * Threads: libfuse's; one lock guards image, log and position. If the log cannot be written, every later request fails
 * with EIO: what cannot be replayed must not be acknowledged.
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ENTRY_WRITE = 1, ENTRY_ZERO = 2, ENTRY_FLUSH = 3 };

/* | 0 kind u32 | 4 reserved u32 | 8 offset u64 | 16 length u64 | 24 covers u64 |
 * covers: of a flush, the number of entries that it covers. */
struct log_entry {
    uint32_t kind;
    uint32_t reserved;
    uint64_t offset;
    uint64_t length;
    uint64_t covers;
};
_Static_assert(sizeof(struct log_entry) == 32, "the replayer reads 32 bytes");

static struct {
    pthread_mutex_t lock;
    uint8_t *image;
    uint64_t image_size;
    int log_fd;
    bool broken;       /* the log misses an entry */
    uint64_t position; /* entries in the log */
    uint64_t dice;
    unsigned hold_us;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .dice = 0x9e3779b97f4a7c15u};

/* Appends an entry; the lock is held. */
static int log_append(struct log_entry entry, const void *bytes)
{
    struct iovec parts[2] = {{&entry, sizeof(entry)}, {(void *)(uintptr_t)bytes, entry.length}};
    size_t total = sizeof(entry) + (bytes ? entry.length : 0);
    if (disk.broken)
        return -EIO;
    if (writev(disk.log_fd, parts, bytes ? 2 : 1) != (ssize_t)total) {
        perror("write_log_fuse: log");
        disk.broken = true;
        return -EIO;
    }
    disk.position++;
    return 0;
}

static void hold_some_writes(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.dice ^= disk.dice << 13;
    disk.dice ^= disk.dice >> 7;
    disk.dice ^= disk.dice << 17;
    uint64_t roll = disk.dice;
    pthread_mutex_unlock(&disk.lock);
    if (disk.hold_us == 0 || roll % 8 != 0)
        return;
    struct timespec pause = {.tv_nsec = (long)(roll / 8 % disk.hold_us) * 1000};
    nanosleep(&pause, NULL);
}

static bool is_disk(const char *path)
{
    return strcmp(path, "/disk") == 0;
}

static bool is_position(const char *path)
{
    return strcmp(path, "/position") == 0;
}

static int op_getattr(const char *path, struct stat *out, struct fuse_file_info *file)
{
    (void)file;
    *out = (struct stat){.st_nlink = 1, .st_mode = S_IFREG | 0600};
    if (strcmp(path, "/") == 0)
        *out = (struct stat){.st_nlink = 2, .st_mode = S_IFDIR | 0700};
    else if (is_disk(path))
        out->st_size = (off_t)disk.image_size;
    else if (!is_position(path))
        return -ENOENT;
    return 0;
}

static int op_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t from, struct fuse_file_info *file,
                      enum fuse_readdir_flags flags)
{
    (void)path, (void)from, (void)file, (void)flags;
    static const char *const names[] = {".", "..", "disk", "position"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        fill(out, names[i], NULL, 0, 0);
    return 0;
}

static int op_open(const char *path, struct fuse_file_info *file)
{
    if (!is_disk(path) && !is_position(path))
        return -ENOENT;
    file->direct_io = is_position(path); /* never from the page cache */
    return 0;
}

static int read_position(char *out, size_t size, off_t offset)
{
    char text[32];
    pthread_mutex_lock(&disk.lock);
    bool broken = disk.broken;
    int length = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)disk.position);
    pthread_mutex_unlock(&disk.lock);
    if (broken)
        return -EIO;
    if (offset >= length)
        return 0;
    size_t take = (size_t)(length - offset) < size ? (size_t)(length - offset) : size;
    memcpy(out, text + offset, take);
    return (int)take;
}

static int op_read(const char *path, char *out, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    if (is_position(path))
        return read_position(out, size, offset);
    if (offset < 0 || (uint64_t)offset >= disk.image_size)
        return 0;
    if (size > disk.image_size - (uint64_t)offset)
        size = disk.image_size - (uint64_t)offset;
    pthread_mutex_lock(&disk.lock);
    memcpy(out, disk.image + offset, size);
    pthread_mutex_unlock(&disk.lock);
    return (int)size;
}

static bool in_image(off_t offset, uint64_t length)
{
    return offset >= 0 && (uint64_t)offset <= disk.image_size && length <= disk.image_size - (uint64_t)offset;
}

static int op_write(const char *path, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    if (!is_disk(path))
        return -EACCES;
    if (!in_image(offset, size))
        return -ENOSPC;
    hold_some_writes();
    pthread_mutex_lock(&disk.lock);
    struct log_entry entry = {.kind = ENTRY_WRITE, .offset = (uint64_t)offset, .length = size};
    int status = log_append(entry, bytes);
    if (status == 0)
        memcpy(disk.image + offset, bytes, size);
    pthread_mutex_unlock(&disk.lock);
    return status < 0 ? status : (int)size;
}

/* Discards and zeroed ranges of the loop device. */
static int op_fallocate(const char *path, int mode, off_t offset, off_t length, struct fuse_file_info *file)
{
    (void)file;
    if (!is_disk(path) || !(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
        return -EOPNOTSUPP;
    if (length < 0 || !in_image(offset, (uint64_t)length))
        return -EINVAL;
    pthread_mutex_lock(&disk.lock);
    struct log_entry entry = {.kind = ENTRY_ZERO, .offset = (uint64_t)offset, .length = (uint64_t)length};
    int status = log_append(entry, NULL);
    if (status == 0)
        memset(disk.image + offset, 0, (size_t)length);
    pthread_mutex_unlock(&disk.lock);
    return status;
}

static int op_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)path, (void)data_only, (void)file;
    pthread_mutex_lock(&disk.lock);
    struct log_entry entry = {.kind = ENTRY_FLUSH, .covers = disk.position};
    int status = log_append(entry, NULL);
    pthread_mutex_unlock(&disk.lock);
    return status;
}

static struct fuse_operations operations = {
    .getattr = op_getattr,
    .readdir = op_readdir,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .fallocate = op_fallocate,
    .fsync = op_fsync,
};

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: write_log_fuse MOUNTPOINT LOG SIZE HOLD_US\n");
        return 2;
    }
    disk.image_size = strtoull(argv[3], NULL, 10);
    disk.hold_us = (unsigned)strtoul(argv[4], NULL, 10);
    disk.log_fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (disk.log_fd < 0) {
        perror(argv[2]);
        return 1;
    }
    disk.image =
        mmap(NULL, disk.image_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (disk.image == MAP_FAILED) {
        perror("write_log_fuse: image");
        return 1;
    }
    char *arguments[] = {argv[0], (char *)(uintptr_t) "-f", argv[1], NULL};
    int status = fuse_main(3, arguments, &operations, NULL);
    close(disk.log_fd);
    return status;
}
