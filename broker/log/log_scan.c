/*
 * The window under frame_scan (log_scan.h). The buffer always starts at a page of the file, so that O_DIRECT reads fit;
 * it grows when a single frame is larger than it. Thread: the loop's.
 */
#include "broker/log/log_scan.h"

#include "common/frame/crc32c.h"

#include <string.h>

static bool grow(struct file_scan *fs, size_t bytes)
{
    size_t cap = fs->cap ? fs->cap : SCAN_WINDOW_BYTES;
    while (cap < bytes)
        cap *= 2;
    if (cap == fs->cap)
        return true;
    uint8_t *buf = io_buffer_alloc(cap);
    if (!buf)
        return false;
    if (fs->len)
        memcpy(buf, fs->buf, fs->len);
    io_buffer_free(fs->buf);
    fs->buf = buf;
    fs->cap = cap;
    return true;
}

/* Moves the window so that it starts at the page of scan.position, keeping what is there already. */
static void slide(struct file_scan *fs)
{
    uint64_t start = fs->scan.position & ~(uint64_t)(IO_ALIGN - 1);
    if (start == fs->start)
        return;
    if (start < fs->start || start >= fs->start + fs->len) {
        fs->len = 0;
    } else {
        size_t gone = (size_t)(start - fs->start);
        fs->len -= gone;
        memmove(fs->buf, fs->buf + gone, fs->len);
    }
    fs->start = start;
}

static struct slice window(const struct file_scan *fs)
{
    if (fs->scan.position >= fs->start + fs->len)
        return SLICE_NULL;
    return slice_from(slice_of(fs->buf, fs->len), (size_t)(fs->scan.position - fs->start));
}

/* Steps through what the window holds. False: more bytes are wanted. */
static bool walk(struct file_scan *fs, int *out_status)
{
    for (;;) {
        struct frame_header h;
        struct slice body;
        uint64_t offset;
        bool beyond = fs->scan.position >= fs->start + fs->len;
        if (beyond && !fs->last) {
            fs->need = FRAME_HEADER_BYTES;
            return false;
        }
        fs->step = frame_scan_step(&fs->scan, window(fs), fs->last, &h, &body, &offset, &fs->need);
        if (fs->step == FRAME_STEP_DONE)
            return true;
        if (fs->step == FRAME_STEP_MORE)
            return false;
        int status = fs->frame(fs, &h, body, offset, fs->scan.previous_crc);
        if (status != 0) {
            *out_status = status;
            return true;
        }
    }
}

static void scan_run(struct task *t)
{
    struct file_scan *fs = CONTAINER_OF(t, struct file_scan, task);
    int status = 0;
    TASK_BEGIN(t);
    fs->len = 0;
    fs->start = fs->scan.position & ~(uint64_t)(IO_ALIGN - 1);
    fs->last = false;
    while (!walk(fs, &status)) {
        slide(fs);
        if (!grow(fs, fs->need + IO_ALIGN))
            TASK_EXIT(t, -ENOMEM);
        fs->len &= ~(size_t)(IO_ALIGN - 1); /* after a short read at the end: read the last page again */
        TASK_AWAIT(t, io_read(t->loop, &t->op, fs->file, fs->buf + fs->len, fs->cap - fs->len, fs->start + fs->len));
        if (t->op.result < 0)
            TASK_EXIT(t, (int)t->op.result);
        fs->len += (size_t)t->op.result;
        fs->last = fs->len < fs->cap;
        if (fs->start + fs->len >= fs->limit) {
            fs->len = fs->limit > fs->start ? (size_t)(fs->limit - fs->start) : 0;
            fs->last = true;
        }
    }
    TASK_END(t, status);
}

void file_scan_start(struct file_scan *fs, struct task *parent)
{
    task_start(&fs->task, parent->loop, scan_run, parent);
}

void file_scan_deinit(struct file_scan *fs)
{
    io_buffer_free(fs->buf);
    fs->buf = NULL;
    fs->cap = fs->len = 0;
}
