/*
 * A shard's segments, for the offline verification (log_inspect.h).
 *
 * What counts of a shard's files, by its entry in the journals: those below the active segment (sealed), the active one up
 * to the entry's end, and, if the entry says "direct", the active one beyond that end (not if it is sealed: a write there
 * has failed) and the files started since. The
 * end of a sealed one is told by the head of the next; where that is not known (the next one was replaced) a block with a
 * counter of the next one ends it. Files that do not count were left by writes or openings that were never completed.
 * Thread: the loop's.
 */
#include "broker/log/log_inspect_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* The folder's names are sorted: a sidecar stands before its segment. */
static int take_names(struct inspect *i)
{
    free(i->segment_names);
    i->segment_name_count = 0;
    i->segment_names = calloc(i->names.count + 1, sizeof *i->segment_names);
    if (!i->segment_names)
        return -ENOMEM;
    for (uint32_t k = 0; k < i->names.count; k++) {
        uint64_t base;
        bool segment = log_name_parse(i->names.name[k], ".seg", &base);
        if (!segment && !log_name_parse(i->names.name[k], ".idx", &base))
            continue;
        struct segment_name *last = i->segment_name_count ? &i->segment_names[i->segment_name_count - 1] : NULL;
        if (!last || last->base != base) {
            last = &i->segment_names[i->segment_name_count++];
            *last = (struct segment_name){.base = base};
        }
        last->segment |= segment;
        last->sidecar |= !segment;
    }
    return 0;
}

/* Position of the next segment from `at` on; segment_name_count: none. */
static uint32_t next_segment(const struct inspect *i, uint32_t at)
{
    while (at < i->segment_name_count && !i->segment_names[at].segment)
        at++;
    return at;
}

/* ---- the front of a file ---------------------------------------------------------------------------------------- */

static void read_start(struct inspect *i, struct segment_start *out, struct slice window)
{
    struct frame_header h;
    uint32_t crc;
    if (frame_header_read(window, &h, &crc) == 0 && h.kind == LOG_KIND_SEGMENT && h.offset == 0 &&
        h.shard_uid == i->shard->uid && memcmp(h.log_uid, i->recover.uid, FRAME_UID_BYTES) == 0 &&
        window.len - FRAME_HEADER_BYTES >= h.stored_bytes &&
        crc32c(0, window.ptr + FRAME_HEADER_BYTES, h.stored_bytes) == h.body_crc &&
        log_segment_head_read(slice_of(window.ptr + FRAME_HEADER_BYTES, h.stored_bytes), &out->head) == 0 &&
        out->head.base == out->base) {
        out->good = true;
        out->generation = h.generation;
        out->epoch = h.open_epoch;
        return;
    }
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN)
        if (frame_header_read(slice_from(window, at), &h, &crc) == 0 &&
            memcmp(h.log_uid, i->recover.uid, FRAME_UID_BYTES) == 0 && h.shard_uid == i->shard->uid && h.offset == at &&
            h.generation > i->shard->entry.not_before && h.durable_to > 0)
            out->synced = true;
}

/* Reads into i->next what stands at the front of the segment at i->segment_at (if there is one). */
static void start_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub2);
    TASK_BEGIN(t);
    i->next = (struct segment_start){.base = i->segment_names[i->segment_at].base};
    log_path_segment(i->path2, i->o->dir, i->shard->uid, i->next.base);
    TASK_AWAIT(t, io_open(t->loop, &t->op, i->path2, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path2));
    i->file = (struct io_file){(int)t->op.result};
    i->want = IO_ALIGN;
    while (t->status == 0 && i->want) {
        TASK_AWAIT(t, io_read(t->loop, &t->op, i->file, i->buf, i->want, 0));
        t->status = t->op.result < 0 ? (int)t->op.result : 0;
        if (t->status == 0)
            read_start(i, &i->next, slice_of(i->buf, (size_t)t->op.result));
        i->want = i->next.good || i->want > IO_ALIGN ? 0 : HEAD_WINDOW_BYTES;
    }
    TASK_AWAIT(t, io_close(t->loop, &t->op, i->file));
    TASK_END(t, t->status < 0 ? inspect_fail(i, t->status, i->path2) : 0);
}

/* ---- what counts ------------------------------------------------------------------------------------------------ */

static bool is_direct(const struct inspect_shard *s)
{
    return s->known && (s->entry.flags & LOG_ENTRY_DIRECT);
}

static bool has_active(const struct inspect_shard *s)
{
    return s->known && (s->entry.flags & LOG_ENTRY_SEGMENT);
}

static bool is_active(const struct inspect *i)
{
    return has_active(i->shard) && i->start.base == i->shard->entry.segment_base;
}

static bool is_sealed(const struct inspect *i)
{
    return has_active(i->shard) && i->start.base < i->shard->entry.segment_base;
}

/* Written by an opening that was never completed, in the place of a file that it could not trust. */
static bool is_fresh(const struct inspect *i, const struct segment_start *f)
{
    return f->good && f->epoch > i->recover.last_epoch && (f->head.flags & LOG_SEGMENT_REPLACES);
}

/* Whether `f`, a file behind the active one, counts as what follows on `before`; tells if not. */
static bool follower_counts(struct inspect *i, const struct segment_start *f, const struct segment_start *before,
                            bool telling)
{
    struct inspect_shard *s = i->shard;
    if (is_direct(s) && f->good && f->generation > s->entry.not_before &&
        (f->epoch <= i->recover.last_epoch ||
         (is_fresh(i, f) && f->head.previous_generation == (before ? before->generation : 0))))
        return true;
    if (!telling)
        return false;
    if (is_direct(s) && f->synced)
        inspect_tell(i, LOG_DAMAGE, s, i->path, 0, "the head is damaged, and the file was synced");
    else
        inspect_tell(i, LOG_NOTE, s, i->path, 0, "left by a write or an opening that was never completed");
    return false;
}

static bool next_counts(struct inspect *i)
{
    return i->segment_at < i->segment_name_count &&
           ((has_active(i->shard) && i->next.base <= i->shard->entry.segment_base) ||
            follower_counts(i, &i->next, &i->start, false));
}

static void tell_missing(struct inspect *i, uint64_t base)
{
    char file[LOG_PATH_MAX];
    log_path_segment(file, i->o->dir, i->shard->uid, base);
    inspect_tell(i, LOG_DAMAGE, i->shard, file, 0, "the file is missing");
    i->missing = true;
}

/* How this segment names the one before. */
static void check_link(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    const struct log_segment_head *h = &i->start.head;
    i->missing = false;
    if (!i->start.good || h->previous_base == UINT64_MAX || h->previous_base == i->start.base)
        return; /* the first one, or it has replaced an empty one */
    if (i->before_counts ? h->previous_base > i->before.base : s->known && s->entry.first_counter < i->start.base)
        tell_missing(i, h->previous_base);
    else if (i->before_counts && i->before.good &&
             (h->previous_base != i->before.base || h->previous_generation != i->before.generation))
        inspect_tell(i, LOG_DAMAGE, s, i->path, 0, "it does not name the segment %016llx as the one before",
                     (unsigned long long)i->before.base);
}

/* Where the records of this segment must begin. */
static void check_base(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    if (i->before_counts && !i->missing && i->start.base != s->have && !inspect_skipped(s->have, i->start.base))
        inspect_tell(i, LOG_DAMAGE, s, i->path, 0, "it begins with record %llu, but the segment before ends at %llu",
                     (unsigned long long)i->start.base, (unsigned long long)s->have);
    s->have = i->start.base;
}

/* Damage has taken records here; that has been told. */
static void records_lost(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    uint64_t to = is_active(i) ? s->entry.segment_next : next_counts(i) ? i->next.base : s->have;
    if (s->have < to)
        s->have = to;
}

/* Whether the file is walked; tells why not. */
static bool segment_begins(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    bool old = is_sealed(i) || is_active(i);
    i->counts = old || follower_counts(i, &i->start, i->before_counts ? &i->before : NULL, true);
    if (!i->counts)
        return false;
    s->report.segments++;
    check_link(i);
    check_base(i);
    if (!i->start.good)
        inspect_tell(i, LOG_DAMAGE, s, i->path, 0, "the head is damaged");
    else if (is_active(i) && i->start.generation != s->entry.segment_generation &&
             s->entry.segment_next != s->entry.segment_base)
        inspect_tell(i, LOG_DAMAGE, s, i->path, 0, "the file is not the one that the journal names (its generation)");
    else
        return true;
    records_lost(i);
    return false;
}

static void walk_begin(struct inspect *i)
{
    const struct log_entry *e = &i->shard->entry;
    uint64_t limit = UINT64_MAX;
    i->known_end = 0;
    if (next_counts(i) && i->next.good && i->next.head.previous_generation == i->start.generation) {
        limit = i->known_end = i->next.head.previous_end;
        i->known_crc = i->next.head.previous_crc;
    } else if (is_active(i) && i->start.generation == e->segment_generation) {
        i->known_end = e->segment_end;
        i->known_crc = e->segment_crc;
        limit = is_direct(i->shard) && !(e->flags & LOG_ENTRY_SEALED) ? UINT64_MAX : e->segment_end;
    }
    inspect_walk_begin(i, i->start.generation, i->known_end, limit);
}

/* ---- walking one ------------------------------------------------------------------------------------------------ */

/* The sidecar's places must be those of blocks. */
static void check_place(struct inspect *i, uint64_t offset, const struct block_header *b)
{
    const struct segment_index *ix = &i->load.found.index;
    for (; i->check_places && i->place < ix->count && ix->at[i->place].offset <= offset; i->place++) {
        const struct index_entry *at = &ix->at[i->place];
        if (at->offset == offset && at->counter == b->base_counter && at->arrival.ms == b->arrival.ms)
            continue;
        char file[LOG_PATH_MAX];
        log_path_index(file, i->o->dir, i->shard->uid, i->start.base);
        inspect_tell(i, LOG_DAMAGE, i->shard, file, 0,
                     "its place %u, record %llu at byte %llu, is not what the segment holds there", i->place,
                     (unsigned long long)at->counter, (unsigned long long)at->offset);
        i->check_places = false;
    }
}

/* 1: what follows does not count. */
static int segment_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                         uint32_t crc)
{
    struct inspect *i = fs->owner;
    struct inspect_shard *s = i->shard;
    struct block_header b = {0};
    uint64_t end = offset + frame_space(h->stored_bytes);
    if (end > i->known_end && h->open_epoch > i->recover.last_epoch && !is_fresh(i, &i->start))
        return 1; /* copies, by an opening that was never completed */
    if (h->kind == LOG_KIND_BLOCK && offset >= i->known_end && next_counts(i) && block_header_read(body, &b) == 0 &&
        b.base_counter >= i->next.base)
        return 1; /* left by a write that failed: the shard went on in the next file */
    inspect_frame(i, s, h, offset);
    if (h->shard_uid != s->uid)
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "a frame of shard %016llx", (unsigned long long)h->shard_uid);
    else if (h->kind == LOG_KIND_BLOCK)
        inspect_block(i, s, body, offset, &b);
    else if (h->kind != LOG_KIND_SEGMENT || offset != 0)
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "a frame of kind %u in a segment", h->kind);
    if (end == i->known_end && crc != i->known_crc)
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "this last frame is not the one that was synced");
    if (h->kind == LOG_KIND_BLOCK)
        check_place(i, offset, &b);
    return 0;
}

/* What the walk of a file has left open. */
static void segment_ends(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    if (i->o->damages != i->damages) {
        i->check_places = false;
        records_lost(i);
        return;
    }
    check_place(i, UINT64_MAX, &(struct block_header){0});
    if (!is_active(i) || s->have >= s->entry.segment_next)
        return;
    if (!inspect_skipped(s->have, s->entry.segment_next))
        inspect_tell(i, LOG_DAMAGE, s, i->path, i->scan.scan.end, "records %llu to %llu are missing",
                     (unsigned long long)s->have, (unsigned long long)s->entry.segment_next - 1);
    s->have = s->entry.segment_next;
}

/* Loads the sidecar of a sealed segment, if it has one. */
static void sidecar_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub2);
    char file[LOG_PATH_MAX];
    TASK_BEGIN(t);
    memset(&i->load, 0, sizeof i->load);
    i->log_shard->uid = i->shard->uid;
    memcpy(i->log->uid, i->recover.uid, FRAME_UID_BYTES);
    i->load.found.base = i->start.base;
    i->load.next_base = i->next.base;
    i->load.limit = UINT64_MAX;
    TASK_CALL(t, index_load_start(&i->load, i->log_shard, t));
    i->check_places = i->load.task.status == 0 && !i->load.rebuilt;
    i->place = 0;
    if (i->load.task.status == -ENOMEM)
        t->status = -ENOMEM;
    if (i->check_places)
        i->o->sidecars++;
    log_path_index(file, i->o->dir, i->shard->uid, i->start.base);
    if (!i->check_places)
        inspect_tell(i, LOG_NOTE, i->shard, file, 0, "an index that does not fit its segment; it will be made again");
    index_load_deinit(&i->load);
    TASK_END(t, t->status);
}

static bool has_sidecar(const struct inspect *i)
{
    for (uint32_t k = 0; k < i->segment_name_count; k++)
        if (i->segment_names[k].base == i->start.base)
            return i->segment_names[k].sidecar;
    return false;
}

/* The segment i->start, its sidecar first. */
static void segment_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub2);
    TASK_BEGIN(t);
    TASK_AWAIT(t, io_open(t->loop, &t->op, i->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    i->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, i->file));
    i->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    walk_begin(i);
    i->scan.frame = segment_frame;
    do {
        TASK_CALL(t, file_scan_start(&i->scan, t));
        t->status = i->scan.task.status;
    } while (t->status == 0 && inspect_walk_resumes(i, false));
    if (t->status >= 0)
        segment_ends(i);
    TASK_AWAIT(t, io_close(t->loop, &t->op, i->file));
    TASK_END(t, t->status < 0 ? inspect_fail(i, t->status, i->path) : 0);
}

/* ---- all of a shard --------------------------------------------------------------------------------------------- */

static void shard_begins(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    uint32_t first = next_segment(i, 0);
    s->have = first < i->segment_name_count ? i->segment_names[first].base : 0;
    if (!has_active(s) || s->entry.first_counter > s->have)
        s->have = s->known ? s->entry.segment_next : 0;
    i->before_counts = i->counts = i->missing = false;
    if (!s->proved && first < i->segment_name_count) {
        log_path_shard_dir(i->path, i->o->dir, s->uid);
        inspect_tell(i, LOG_NOTE, s, i->path, 0, "no journal knows this shard; its files are not looked at");
    }
    if (!s->proved)
        i->segment_name_count = 0;
    if (s->no_folder && has_active(s))
        inspect_removed(i, s);
}

static void shard_ends(struct inspect *i)
{
    struct inspect_shard *s = i->shard;
    bool found = false;
    for (uint32_t k = 0; k < i->segment_name_count; k++)
        found |= i->segment_names[k].segment && i->segment_names[k].base == s->entry.segment_base;
    if (!has_active(s) || found || s->removed)
        return;
    tell_missing(i, s->entry.segment_base);
    if (s->have < s->entry.segment_next)
        s->have = s->entry.segment_next;
}

void inspect_segments_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub);
    TASK_BEGIN(t);
    log_path_shard_dir(i->path, i->o->dir, i->shard->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, i->path, &i->names));
    if (t->op.result < 0 && t->op.result != -ENOENT)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    i->shard->no_folder = t->op.result == -ENOENT;
    t->status = take_names(i);
    io_names_free(&i->names);
    if (t->status < 0)
        TASK_EXIT(t, t->status);
    shard_begins(i);
    i->segment_at = next_segment(i, 0);
    if (i->segment_at < i->segment_name_count) {
        TASK_CALL(t, task_start(&i->sub2, t->loop, start_run, t));
        if (i->sub2.status < 0)
            TASK_EXIT(t, i->sub2.status);
    }
    while (i->segment_at < i->segment_name_count) {
        i->start = i->next;
        i->next = (struct segment_start){0};
        i->segment_at = next_segment(i, i->segment_at + 1);
        if (i->segment_at < i->segment_name_count) {
            TASK_CALL(t, task_start(&i->sub2, t->loop, start_run, t));
            if (i->sub2.status < 0)
                TASK_EXIT(t, i->sub2.status);
        }
        log_path_segment(i->path, i->o->dir, i->shard->uid, i->start.base);
        i->check_places = false;
        if (segment_begins(i)) {
            if (is_sealed(i) && has_sidecar(i) && next_counts(i))
                TASK_CALL(t, task_start(&i->sub2, t->loop, sidecar_run, t));
            TASK_CALL(t, task_start(&i->sub2, t->loop, segment_run, t));
            index_free(&i->load.found.index);
            if (i->sub2.status < 0)
                TASK_EXIT(t, i->sub2.status);
        }
        if (i->counts)
            i->before = i->start;
        i->before_counts |= i->counts;
    }
    shard_ends(i);
    TASK_END(t, 0);
}
