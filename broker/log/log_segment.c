/*
 * Segment files: creating, opening, closing; what happens when a shard's active segment changes.
 *
 * A segment file is named by the counter of its first record and begins with a segment frame that names the segment
 * before it and where that ended. A file's name is durable before anything in it is acknowledged. Sizes double from
 * segment_bytes_min to segment_bytes_max; the size is where a segment is full, not what is allocated.
 *
 * Sub tasks of a flush (their status says how it went); closing goes on by itself. Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct closer {
    struct io_op op;
    struct log *log;
};

static void closed(struct io_op *op)
{
    struct closer *c = CONTAINER_OF(op, struct closer, op);
    struct log *log = c->log;
    free(c);
    log_task_ended(log);
}

void segment_close(struct log *log, struct io_file *file)
{
    if (file->id < 0)
        return;
    struct closer *c = calloc(1, sizeof *c);
    if (!c)
        return; /* without memory for it the descriptor stays open */
    c->log = log;
    c->op.done = closed;
    log_task_started(log);
    io_close(log->loop, &c->op, *file);
    *file = IO_FILE_NONE;
}

static uint64_t next_size(const struct log_shard *s)
{
    const struct log_options *o = &s->log->options;
    if (!s->has_segment)
        return o->segment_bytes_min;
    uint64_t size = s->segment_size * 2;
    if (size < o->segment_bytes_min)
        size = o->segment_bytes_min;
    return size > o->segment_bytes_max ? o->segment_bytes_max : size;
}

/* Creates the file for the next segment: its folder if this is the shard's first, the file, and makes both durable. */
void segment_create_run(struct task *t)
{
    struct flush *f = CONTAINER_OF(t, struct flush, sub);
    struct log_shard *s = f->shard;
    TASK_BEGIN(t);
    if (segment_list_reserve(s) < 0)
        TASK_EXIT(t, -ENOMEM);
    if (!s->has_segment) {
        log_path_shard_dir(f->path, s->log->dir, s->uid);
        TASK_AWAIT(t, io_mkdir(t->loop, &t->op, f->path));
        if (t->op.result < 0 && t->op.result != -EEXIST)
            TASK_EXIT(t, (int)t->op.result);
        snprintf(f->path, sizeof f->path, "%s/shards", s->log->dir);
        TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, f->path));
        if (t->op.result < 0)
            TASK_EXIT(t, (int)t->op.result);
    }
    f->new_base = s->segment_pos < s->ring_tail ? shard_entry(s, s->segment_pos)->base
                  : s->fragments                ? s->block_base
                                                : s->segment_next;
    f->new_generation = log_generation_next(s->log);
    f->new_size = next_size(s);
    if (s->stray && s->stray_base != f->new_base) { /* left by an attempt that failed */
        log_path_segment(f->path, s->log->dir, s->uid, s->stray_base);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, f->path));
        if (t->op.result < 0 && t->op.result != -ENOENT)
            TASK_EXIT(t, (int)t->op.result);
    }
    s->stray = true;
    s->stray_base = f->new_base;
    log_path_segment(f->path, s->log->dir, s->uid, f->new_base);
    if (s->replacing && f->new_base == s->replace_base)
        log_path_replacing(f->path);
    segment_close(s->log, &f->new_file);
    TASK_AWAIT(t, io_open(t->loop, &t->op, f->path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNC | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    f->new_file = (struct io_file){(int)t->op.result};
    log_path_shard_dir(f->path, s->log->dir, s->uid);
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, f->path));
    TASK_END(t, t->op.result < 0 ? (int)t->op.result : 0);
}

void segment_open_run(struct task *t)
{
    struct flush *f = CONTAINER_OF(t, struct flush, sub);
    struct log_shard *s = f->shard;
    TASK_BEGIN(t);
    log_path_segment(f->path, s->log->dir, s->uid, s->segment_base);
    TASK_AWAIT(t, io_open(t->loop, &t->op, f->path, IO_READ | IO_WRITE | IO_DIRECT));
    if (t->op.result == -ENOENT) /* below its checkpoint a file is missing */
        shard_quarantine(s, f->path, 0, "the file is missing");
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    s->segment_file = (struct io_file){(int)t->op.result};
    s->segment_allocated = 0;
    TASK_END(t, 0);
}

/* What is known of the active segment becomes the last entry of the shard's list, if that is loaded. */
static void seal_in_list(struct log_shard *s)
{
    if (!s->segments_loaded || s->segments.count == 0)
        return;
    struct segment_info *i = &s->segments.at[s->segments.count - 1];
    i->end = s->segment_end;
    i->crc = s->segment_crc;
    i->next = s->segment_next;
    i->generation = s->segment_generation;
    i->first_arrival = s->segment_first_arrival;
    i->last_arrival = s->segment_last_arrival;
    i->disk_bytes = page_up(s->segment_end);
    if (s->index_from == 0) {
        i->index = s->index;
        i->known = true;
        s->index = (struct segment_index){0};
    }
}

void segment_switched(struct flush *f)
{
    struct log_shard *s = f->shard;
    if (s->has_segment && s->segment_base != f->new_base) {
        index_write(s);
        seal_in_list(s);
    }
    bool replaces = s->has_segment && s->segment_base == f->new_base;
    segment_close(s->log, &s->segment_file);
    index_free(&s->index);
    s->index_from = 0;
    s->segment_file = f->new_file;
    f->new_file = IO_FILE_NONE;
    s->has_segment = true;
    s->stray = s->new_segment_wanted = false;
    s->segment_base = f->new_base;
    s->segment_generation = f->new_generation;
    s->segment_size = f->new_size;
    s->segment_allocated = f->allocate_to;
    s->segment_first_arrival = (struct wall_ms){0};
    f->allocate_to = 0;
    if (s->segments_loaded && !replaces) {
        struct segment_info info = {.base = s->segment_base, .generation = s->segment_generation};
        segment_list_add(s, &info);
    }
}
