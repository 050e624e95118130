/*
 * Operations on files, as far as they are the same for every backend: filling in the op, and L5 — a transfer is
 * finished only when it has moved everything, met the end of the file (reads) or failed.
 *
 * After a short transfer the rest is submitted from where it stopped. One subtlety: on a file opened with IO_DIRECT
 * every offset must be a multiple of IO_ALIGN, but a short transfer may stop in between (a read at the end of the file
 * always does). So a transfer whose offset and length are aligned steps back to the last multiple and repeats up to
 * 4,095 bytes (op->again). Worked: 8,192 bytes at 0 of a file of 5,000: the first read gives 5,000; it steps back to
 * 4,096 and repeats 904 bytes; the second read gives 904, no more than it repeated, so the end is at 5,000.
 *
 * Failure modes: a write that makes no progress is -EIO; an error after a short transfer is the op's result.
 * Thread: the loop's own, but io_buffer_*.
 */
#include "common/io/loop_backend.h"

#include <stdlib.h>

#include "common/base/check.h"

#define IOV_COUNT_MAX 64

static void op_submit(struct loop *loop, struct io_op *op)
{
    if (loop->closing && op->kind != IO_KIND_CLOSE)
        loop_op_finish_soon(loop, op, -ECANCELED);
    else
        loop->backend->submit(loop, op);
}

/* Starts an op that is no transfer and has nothing more to fill in. */
static void op_simple(struct loop *loop, struct io_op *op, enum io_kind kind, int fd, const char *path)
{
    loop_op_start(loop, op, kind);
    op->fd = fd;
    op->path = path;
    op_submit(loop, op);
}

void io_open(struct loop *loop, struct io_op *op, const char *path, unsigned flags)
{
    loop_op_start(loop, op, IO_KIND_OPEN);
    op->path = path;
    op->open_flags = (uint16_t)flags;
    op_submit(loop, op);
}

void io_close(struct loop *loop, struct io_op *op, struct io_file file)
{
    op_simple(loop, op, IO_KIND_CLOSE, file.id, NULL);
}

/* Sets iov to what lies after op->moved. An entry that has been moved in part goes alone. */
static void transfer_aim(struct io_op *op)
{
    uint64_t skip = op->moved;
    uint32_t k = 0;
    while (k + 1 < op->vec_count && skip >= op->vec[k].iov_len)
        skip -= op->vec[k++].iov_len;
    if (skip == 0) {
        op->iov = op->vec + k;
        op->iov_count = op->vec_count - k;
    } else {
        op->one = (struct iovec){(char *)op->vec[k].iov_base + skip, op->vec[k].iov_len - skip};
        op->iov = &op->one;
        op->iov_count = 1;
    }
}

static void transfer_start(struct loop *loop, struct io_op *op, struct io_file file, uint64_t offset)
{
    op->fd = file.id;
    op->offset = offset;
    op->moved = 0;
    op->again = 0;
    op->iov = op->vec;
    op->iov_count = op->vec_count;
    op_submit(loop, op);
}

void io_read(struct loop *loop, struct io_op *op, struct io_file file, void *buf, size_t len, uint64_t offset)
{
    loop_op_start(loop, op, IO_KIND_READ);
    op->whole = (struct iovec){buf, len};
    op->vec = &op->whole;
    op->vec_count = 1;
    op->length = len;
    transfer_start(loop, op, file, offset);
}

void io_write(struct loop *loop, struct io_op *op, struct io_file file, const void *buf, size_t len, uint64_t offset)
{
    loop_op_start(loop, op, IO_KIND_WRITE);
    op->whole = (struct iovec){(void *)(uintptr_t)buf, len};
    op->vec = &op->whole;
    op->vec_count = 1;
    op->length = len;
    transfer_start(loop, op, file, offset);
}

void io_writev(struct loop *loop, struct io_op *op, struct io_file file, const struct iovec *iov, uint32_t count,
               uint64_t offset)
{
    CHECK(count <= IOV_COUNT_MAX);
    loop_op_start(loop, op, IO_KIND_WRITE);
    op->vec = iov;
    op->vec_count = count;
    op->length = 0;
    for (uint32_t i = 0; i < count; i++)
        op->length += iov[i].iov_len;
    transfer_start(loop, op, file, offset);
}

void io_datasync(struct loop *loop, struct io_op *op, struct io_file file)
{
    op_simple(loop, op, IO_KIND_DATASYNC, file.id, NULL);
}

void io_allocate(struct loop *loop, struct io_op *op, struct io_file file, uint64_t offset, uint64_t length)
{
    op->offset = offset;
    op->length = length;
    op_simple(loop, op, IO_KIND_ALLOCATE, file.id, NULL);
}

void io_truncate(struct loop *loop, struct io_op *op, struct io_file file, uint64_t length)
{
    op->length = length;
    op_simple(loop, op, IO_KIND_TRUNCATE, file.id, NULL);
}

void io_size(struct loop *loop, struct io_op *op, struct io_file file)
{
    op_simple(loop, op, IO_KIND_SIZE, file.id, NULL);
}

void io_rename(struct loop *loop, struct io_op *op, const char *from, const char *to)
{
    op->path2 = to;
    op_simple(loop, op, IO_KIND_RENAME, -1, from);
}

void io_rename_new(struct loop *loop, struct io_op *op, const char *from, const char *to)
{
    op->path2 = to;
    op_simple(loop, op, IO_KIND_RENAME_NEW, -1, from);
}

void io_unlink(struct loop *loop, struct io_op *op, const char *path)
{
    op_simple(loop, op, IO_KIND_UNLINK, -1, path);
}

void io_mkdir(struct loop *loop, struct io_op *op, const char *path)
{
    op_simple(loop, op, IO_KIND_MKDIR, -1, path);
}

void io_rmdir(struct loop *loop, struct io_op *op, const char *path)
{
    op_simple(loop, op, IO_KIND_RMDIR, -1, path);
}

void io_sync_dir(struct loop *loop, struct io_op *op, const char *path)
{
    op_simple(loop, op, IO_KIND_SYNC_DIR, -1, path);
}

void io_list(struct loop *loop, struct io_op *op, const char *path, struct io_names *out)
{
    op->names = out;
    op_simple(loop, op, IO_KIND_LIST, -1, path);
}

void io_disk_free(struct loop *loop, struct io_op *op, const char *path, uint64_t *out_total)
{
    op->names = (struct io_names *)(void *)out_total;
    op_simple(loop, op, IO_KIND_DISK_FREE, -1, path);
}

/* ---- raw results ------------------------------------------------------------------------------------------------- */

/* A file system without O_DIRECT says -EINVAL, some only after having created the file: hence no IO_EXCL in the second
 * attempt (had the file been there, the first one would have said -EEXIST). */
static bool open_goes_on(struct loop *loop, struct io_op *op, int64_t raw)
{
    if (raw != -EINVAL || !(op->open_flags & IO_DIRECT))
        return false;
    op->open_flags &= (uint16_t) ~(IO_DIRECT | IO_EXCL);
    op->flags_out |= IO_RESULT_BUFFERED;
    op_submit(loop, op);
    return true;
}

/* Counts `raw` bytes in. Returns true if that was progress. */
static bool transfer_advance(struct io_op *op, uint64_t raw)
{
    uint64_t again = op->again;
    op->again = 0;
    op->moved += raw > again ? raw : again;
    return raw > again;
}

/* L5. */
static bool transfer_goes_on(struct loop *loop, struct io_op *op, int64_t *raw)
{
    bool may_go_on = op->state != IO_CANCELLING && !loop->closing;
    if (*raw == -EINTR || *raw == -EAGAIN) {
        if (!may_go_on)
            *raw = -ECANCELED;
    } else if (*raw < 0) {
        return false;
    } else {
        bool progress = transfer_advance(op, (uint64_t)*raw);
        if (op->moved >= op->length || (!progress && op->kind == IO_KIND_READ)) {
            *raw = (int64_t)op->moved;
            return false;
        }
        *raw = progress ? -ECANCELED : -EIO;
        may_go_on &= progress;
        if (op->kind != IO_KIND_SEND && op->offset % IO_ALIGN == 0 && op->length % IO_ALIGN == 0) {
            op->again = (uint32_t)(op->moved % IO_ALIGN);
            op->moved -= op->again;
        }
    }
    if (!may_go_on)
        return false;
    transfer_aim(op);
    if (op->kind == IO_KIND_SEND)
        loop->backend->send(op->conn, op);
    else
        op_submit(loop, op);
    return true;
}

bool file_op_goes_on(struct loop *loop, struct io_op *op, int64_t *raw_result)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        return open_goes_on(loop, op, *raw_result);
    case IO_KIND_READ:
    case IO_KIND_WRITE:
    case IO_KIND_SEND:
        return transfer_goes_on(loop, op, raw_result);
    default:
        return false;
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

void io_names_free(struct io_names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (struct io_names){0};
}

void *io_buffer_alloc(size_t len)
{
    size_t rounded = (len + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN;
    if (rounded < len)
        return NULL;
    return aligned_alloc(IO_ALIGN, rounded ? rounded : IO_ALIGN);
}

void io_buffer_free(void *buf)
{
    free(buf);
}
