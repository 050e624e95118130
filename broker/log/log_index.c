/*
 * Where things are in a shard's segments: the list of its segment files, and for each a sparse index (a block about
 * every 64 KiB: counter, offset, arrival). The active segment's index grows in memory as flushes are applied; when the
 * segment is sealed it is written to a sidecar file. Everything here can be rebuilt from the segments: a sidecar that
 * is missing, torn or of another generation is replaced by a scan.
 *
 * Sidecar, little-endian, <base>.idx:
 *    0  4  magic "SIDX"          32  8  base counter         72  4  entries
 *    4  4  version (1)           40  8  end                  76  4  CRC of the last frame's header
 *    8 16  log uid               48  8  next counter         80  4  CRC32C of bytes 0..79 and of the entries
 *   24  8  generation            56  8  first arrival        84  4  zero
 *                                64  8  last arrival         88     entries: counter (8), offset (8), arrival (8)
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"
#include "common/frame/little_endian.h"

#include <stdlib.h>

#define INDEX_MAGIC      "SIDX"
#define INDEX_VERSION    1u
#define INDEX_HEAD_BYTES 88u
#define INDEX_AT_BYTES   24u
#define INDEX_CRC_AT     80u

int index_add(struct segment_index *ix, uint64_t counter, uint64_t offset, struct wall_ms arrival)
{
    if (ix->count && offset < ix->at[ix->count - 1].offset + INDEX_STEP)
        return 0;
    if (ix->count == ix->cap) {
        uint32_t cap = ix->cap ? 2 * ix->cap : 16;
        struct index_entry *at = realloc(ix->at, cap * sizeof *at);
        if (!at)
            return -ENOMEM;
        ix->at = at;
        ix->cap = cap;
    }
    ix->at[ix->count++] = (struct index_entry){counter, offset, arrival};
    return 0;
}

void index_note(struct log_shard *s, uint64_t counter, uint64_t offset, struct wall_ms arrival)
{
    if (s->segment_first_arrival.ms == 0)
        s->segment_first_arrival = arrival;
    if (index_add(&s->index, counter, offset, arrival) < 0) { /* rebuilt by a scan when it is needed */
        index_free(&s->index);
        s->index_from = UINT64_MAX;
    }
}

void index_free(struct segment_index *ix)
{
    free(ix->at);
    *ix = (struct segment_index){0};
}

uint32_t index_find(const struct segment_index *ix, uint64_t counter)
{
    uint32_t low = 0, high = ix->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (ix->at[mid].counter <= counter)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : 0;
}

uint32_t index_find_time(const struct segment_index *ix, struct wall_ms at)
{
    uint32_t low = 0, high = ix->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (ix->at[mid].arrival.ms < at.ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : 0;
}

/* ---- the sidecar ------------------------------------------------------------------------------------------------ */

struct index_writer {
    struct task task;
    struct log *log;
    uint8_t *buf;
    size_t bytes;
    struct io_file file;
    char path[LOG_PATH_MAX];
};

static void write_run(struct task *t)
{
    struct index_writer *w = CONTAINER_OF(t, struct index_writer, task);
    TASK_BEGIN(t);
    TASK_AWAIT(t, io_open(t->loop, &t->op, w->path, IO_WRITE | IO_CREATE | IO_TRUNC));
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    w->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_write(t->loop, &t->op, w->file, w->buf, w->bytes, 0));
    TASK_AWAIT(t, io_close(t->loop, &t->op, w->file));
    TASK_END(t, 0);
}

static void write_finished(struct task *t)
{
    struct index_writer *w = CONTAINER_OF(t, struct index_writer, task);
    struct log *log = w->log;
    io_buffer_free(w->buf);
    free(w);
    log_task_ended(log);
}

static void encode(uint8_t *to, const struct log *log, const struct segment_info *i)
{
    memcpy(to, INDEX_MAGIC, 4);
    put_le32(to + 4, INDEX_VERSION);
    memcpy(to + 8, log->uid, FRAME_UID_BYTES);
    put_le64(to + 24, i->generation);
    put_le64(to + 32, i->base);
    put_le64(to + 40, i->end);
    put_le64(to + 48, i->next);
    put_le64(to + 56, (uint64_t)i->first_arrival.ms);
    put_le64(to + 64, (uint64_t)i->last_arrival.ms);
    put_le32(to + 72, i->index.count);
    put_le32(to + 76, i->crc);
    put_le32(to + 84, 0);
    uint8_t *p = to + INDEX_HEAD_BYTES;
    for (uint32_t k = 0; k < i->index.count; k++, p += INDEX_AT_BYTES) {
        put_le64(p, i->index.at[k].counter);
        put_le64(p + 8, i->index.at[k].offset);
        put_le64(p + 16, (uint64_t)i->index.at[k].arrival.ms);
    }
    size_t bytes = (size_t)i->index.count * INDEX_AT_BYTES;
    put_le32(to + INDEX_CRC_AT, crc32c(crc32c(0, to, INDEX_CRC_AT), to + INDEX_HEAD_BYTES, bytes));
}

void index_write_info(struct log_shard *s, const struct segment_info *i)
{
    struct index_writer *w = calloc(1, sizeof *w);
    if (!w)
        return;
    w->bytes = INDEX_HEAD_BYTES + (size_t)i->index.count * INDEX_AT_BYTES;
    w->buf = io_buffer_alloc(w->bytes);
    if (!w->buf) {
        free(w);
        return;
    }
    encode(w->buf, s->log, i);
    w->log = s->log;
    log_path_index(w->path, s->log->dir, s->uid, i->base);
    w->task.finished = write_finished;
    log_task_started(s->log);
    task_start(&w->task, s->log->loop, write_run, NULL);
}

void index_write(struct log_shard *s)
{
    if (s->index_from != 0 || s->index.count == 0)
        return;
    struct segment_info i = {.base = s->segment_base,
                             .generation = s->segment_generation,
                             .end = s->segment_end,
                             .crc = s->segment_crc,
                             .next = s->segment_next,
                             .first_arrival = s->segment_first_arrival,
                             .last_arrival = s->segment_last_arrival,
                             .index = s->index};
    index_write_info(s, &i);
}

static int decode(struct slice from, const struct log *log, struct segment_info *i)
{
    if (from.len < INDEX_HEAD_BYTES || memcmp(from.ptr, INDEX_MAGIC, 4) != 0 ||
        get_le32(from.ptr + 4) != INDEX_VERSION || memcmp(from.ptr + 8, log->uid, FRAME_UID_BYTES) != 0)
        return ST_CORRUPT;
    uint32_t count = get_le32(from.ptr + 72);
    uint64_t bytes = (uint64_t)count * INDEX_AT_BYTES;
    if (bytes != from.len - INDEX_HEAD_BYTES || count == 0 || get_le64(from.ptr + 32) != i->base ||
        get_le32(from.ptr + INDEX_CRC_AT) !=
            crc32c(crc32c(0, from.ptr, INDEX_CRC_AT), from.ptr + INDEX_HEAD_BYTES, bytes))
        return ST_CORRUPT;
    struct index_entry *at = malloc(count * sizeof *at);
    if (!at)
        return -ENOMEM;
    const uint8_t *p = from.ptr + INDEX_HEAD_BYTES;
    for (uint32_t k = 0; k < count; k++, p += INDEX_AT_BYTES)
        at[k] = (struct index_entry){get_le64(p), get_le64(p + 8), {(int64_t)get_le64(p + 16)}};
    index_free(&i->index);
    i->index = (struct segment_index){count, count, at};
    i->generation = get_le64(from.ptr + 24);
    i->end = get_le64(from.ptr + 40);
    i->crc = get_le32(from.ptr + 76);
    i->next = get_le64(from.ptr + 48);
    i->first_arrival.ms = (int64_t)get_le64(from.ptr + 56);
    i->last_arrival.ms = (int64_t)get_le64(from.ptr + 64);
    return 0;
}

/* ---- loading the index of one segment --------------------------------------------------------------------------- */

static int index_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                       uint32_t crc)
{
    struct index_load *l = fs->owner;
    struct segment_info *i = &l->found;
    if (h->kind != LOG_KIND_BLOCK)
        return 0;
    struct block_header b;
    int status = block_header_read(body, &b);
    if (status < 0)
        return status;
    if (!l->active && b.base_counter >= l->next_base)
        return 1;
    if (i->index.count == 0)
        i->first_arrival = b.arrival;
    i->last_arrival = b.arrival;
    i->next = b.base_counter + b.record_count;
    i->end = offset + frame_space(h->stored_bytes);
    i->crc = crc;
    return index_add(&i->index, b.base_counter, offset, b.arrival);
}

#define SIDECAR_BYTES_MAX (1u << 20) /* 64 MiB / 64 KiB * 24 bytes is far below */

/* A sidecar may be left over from before a crash after which the segment's end was written anew: only one that agrees
 * with what the next segment's head says of this one's end counts. */
static bool sidecar_good(struct index_load *l, size_t len)
{
    return decode(slice_of(l->buf, len), l->shard->log, &l->found) == 0 && l->found.generation == l->generation &&
           l->found.end == l->known_end && l->found.crc == l->known_crc;
}

/* What the next segment's head, in the buffer, says of this one. */
static void note_end(struct index_load *l, size_t len)
{
    struct frame_header h;
    struct log_segment_head head;
    uint32_t crc;
    if (frame_header_read(slice_of(l->buf, len), &h, &crc) < 0 || h.kind != LOG_KIND_SEGMENT ||
        h.shard_uid != l->shard->uid || len < FRAME_HEADER_BYTES + h.stored_bytes ||
        crc32c(0, l->buf + FRAME_HEADER_BYTES, h.stored_bytes) != h.body_crc ||
        log_segment_head_read(slice_of(l->buf + FRAME_HEADER_BYTES, h.stored_bytes), &head) < 0 ||
        head.previous_generation != l->generation)
        return;
    l->known_end = head.previous_end;
    l->known_crc = head.previous_crc;
}

/* Reads the first page of the file at l->path (with `whole`: all of a sidecar) into the buffer: status or length. */
static void first_page_run(struct task *t)
{
    struct index_load *l = CONTAINER_OF(t, struct index_load, page);
    TASK_BEGIN(t);
    TASK_AWAIT(t, io_open(t->loop, &t->op, l->path, l->whole ? IO_READ : IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    l->other = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_read(t->loop, &t->op, l->other, l->buf, l->whole ? SIDECAR_BYTES_MAX : IO_ALIGN, 0));
    l->got = t->op.result;
    TASK_AWAIT(t, io_close(t->loop, &t->op, l->other));
    TASK_END(t, l->got < 0 ? (int)l->got : 0);
}

static bool own_head_good(struct index_load *l)
{
    struct frame_header h;
    uint32_t crc;
    if (frame_header_read(slice_of(l->buf, (size_t)l->got), &h, &crc) < 0 || h.kind != LOG_KIND_SEGMENT ||
        h.offset != 0 || h.shard_uid != l->shard->uid || memcmp(h.log_uid, l->shard->log->uid, FRAME_UID_BYTES) != 0)
        return false;
    l->generation = h.generation;
    return true;
}

static void scan_begin(struct index_load *l)
{
    struct frame_context c = {.generation = l->generation, .known_durable_to = l->known_end};
    memcpy(c.log_uid, l->shard->log->uid, FRAME_UID_BYTES);
    frame_scan_init(&l->scan.scan, &c, 0, 0);
    index_free(&l->found.index);
    l->found.generation = l->generation;
    l->found.next = l->found.base;
    l->scan.file = l->file;
    /* beyond the end there may be what a failed write, or a crash, has left: the shard went on in the next file */
    l->scan.limit = l->known_end ? l->known_end : UINT64_MAX;
    l->scan.frame = index_frame;
    l->scan.owner = l;
}

static void load_run(struct task *t)
{
    struct index_load *l = CONTAINER_OF(t, struct index_load, task);
    const struct log *log = l->shard->log;
    TASK_BEGIN(t);
    l->file = IO_FILE_NONE;
    l->buf = io_buffer_alloc(SIDECAR_BYTES_MAX);
    if (!l->buf)
        TASK_EXIT(t, -ENOMEM);
    log_path_segment(l->path, log->dir, l->shard->uid, l->found.base);
    TASK_CALL(t, task_start(&l->page, t->loop, first_page_run, t));
    if (l->page.status < 0)
        TASK_EXIT(t, l->page.status);
    if (!own_head_good(l))
        TASK_EXIT(t, ST_CORRUPT);
    l->known_end = l->active ? l->limit : 0;
    if (!l->active) {
        log_path_segment(l->path, log->dir, l->shard->uid, l->next_base);
        TASK_CALL(t, task_start(&l->page, t->loop, first_page_run, t));
        if (l->page.status == 0)
            note_end(l, (size_t)l->got);
        log_path_index(l->path, log->dir, l->shard->uid, l->found.base);
        l->whole = true;
        TASK_CALL(t, task_start(&l->page, t->loop, first_page_run, t));
        if (l->page.status == 0 && sidecar_good(l, (size_t)l->got))
            TASK_EXIT(t, 0);
    }
    log_path_segment(l->path, log->dir, l->shard->uid, l->found.base);
    TASK_AWAIT(t, io_open(t->loop, &t->op, l->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    l->file = (struct io_file){(int)t->op.result};
    scan_begin(l);
    TASK_CALL(t, file_scan_start(&l->scan, t));
    if (l->scan.task.status < 0)
        TASK_EXIT(t, l->scan.task.status);
    if (l->scan.task.status == 1 || frame_scan_verdict(&l->scan.scan) != FRAME_END_CORRUPT) {
        l->rebuilt = true;
    } else { /* readers shall meet the damage, not step over it */
        l->found.end = l->known_end > l->scan.scan.durable_to ? l->known_end : l->scan.scan.durable_to;
        l->found.next = l->next_base;
    }
    TASK_END(t, 0);
}

void index_load_start(struct index_load *l, struct log_shard *s, struct task *parent)
{
    l->shard = s;
    task_start(&l->task, parent->loop, load_run, parent);
}

void index_load_deinit(struct index_load *l)
{
    segment_close(l->shard->log, &l->file);
    io_buffer_free(l->buf);
    file_scan_deinit(&l->scan);
    l->buf = NULL;
}

/* ---- the list of segments --------------------------------------------------------------------------------------- */

int segment_list_reserve(struct log_shard *s)
{
    struct segment_list *l = &s->segments;
    if (l->count < l->cap)
        return 0;
    uint32_t cap = l->cap ? 2 * l->cap : 8;
    struct segment_info *at = realloc(l->at, cap * sizeof *at);
    if (!at)
        return -ENOMEM;
    l->at = at;
    l->cap = cap;
    return 0;
}

void segment_list_add(struct log_shard *s, const struct segment_info *info)
{
    CHECK(s->segments.count < s->segments.cap);
    s->segments.at[s->segments.count++] = *info;
}

void segment_list_free(struct log_shard *s)
{
    for (uint32_t i = 0; i < s->segments.count; i++)
        index_free(&s->segments.at[i].index);
    free(s->segments.at);
    s->segments = (struct segment_list){0};
    s->segments_loaded = false;
}

/* The folder's names, sorted, become the list; files beyond the active segment were never acknowledged. */
int segment_list_from_names(struct log_shard *s, const struct io_names *names)
{
    segment_list_free(s);
    for (uint32_t i = 0; i < names->count; i++) {
        struct segment_info info = {0};
        if (!log_name_parse(names->name[i], ".seg", &info.base) || info.base > s->segment_base)
            continue;
        int status = segment_list_reserve(s);
        if (status < 0) {
            segment_list_free(s);
            return status;
        }
        segment_list_add(s, &info);
    }
    if (segment_list_reserve(s) < 0) { /* for the one that a flush may be starting */
        segment_list_free(s);
        return -ENOMEM;
    }
    s->segments_loaded = true;
    return 0;
}
