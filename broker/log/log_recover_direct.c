/*
 * Step 3 of the opening: what direct shards have in their segments beyond the checkpointed end.
 *
 * Segment files behind the active one count ("followers") if their heads are good and of an opening that was completed:
 * what a later, unfinished opening has written are copies of frames that still lie where it found them. A frame whose
 * counter lies at or above a follower's base was left by a write that failed: the shard went on in that file.
 *
 * What is found up to the greatest durable_to was synced by the process that wrote it. The rest, at most the last write,
 * may have been acknowledged, or its sync may have failed: then it can be read now and be gone after the next power cut,
 * sync or not (Linux marks such pages clean). So it is not trusted where it lies: its frames become unmigrated entries,
 * and go to a new segment. Thread: the calling loop's.
 */
#include "broker/log/log_recover.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- followers --------------------------------------------------------------------------------------------------- */

/* The first page (or more) of a file: 1 if it counts, 0 if not, ST_CORRUPT if it once did and is damaged. */
static int read_follower(struct recover *r, struct slice window, uint64_t base, struct follower *out)
{
    struct log_shard *s = r->shard;
    struct frame_header h;
    struct log_segment_head head;
    uint32_t crc;
    if (frame_header_read(window, &h, &crc) == 0 && h.kind == LOG_KIND_SEGMENT && h.offset == 0 &&
        h.shard_uid == s->uid && memcmp(h.log_uid, r->uid, FRAME_UID_BYTES) == 0 &&
        window.len >= FRAME_HEADER_BYTES + h.stored_bytes &&
        crc32c(0, window.ptr + FRAME_HEADER_BYTES, h.stored_bytes) == h.body_crc &&
        log_segment_head_read(slice_of(window.ptr + FRAME_HEADER_BYTES, h.stored_bytes), &head) == 0) {
        bool fresh = h.open_epoch > r->last_epoch;
        if (head.base != base || h.generation <= s->not_before || (fresh && !(head.flags & LOG_SEGMENT_REPLACES)))
            return 0;
        *out = (struct follower){base, h.generation, head.size, head.previous_generation, head.previous_end, fresh};
        return 1;
    }
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN)
        if (memcmp(window.ptr + at, "SFRM", 4) == 0 && frame_header_read(slice_from(window, at), &h, &crc) == 0 &&
            memcmp(h.log_uid, r->uid, FRAME_UID_BYTES) == 0 && h.shard_uid == s->uid && h.offset == at &&
            h.open_epoch <= r->last_epoch && h.durable_to > 0 && h.generation > s->not_before)
            return ST_CORRUPT;
    return 0;
}

/* Fills r->followers from the shard's folder. */
static void followers_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub2);
    struct log_shard *s = r->shard;
    uint64_t base;
    int status;
    TASK_BEGIN(t);
    r->follower_count = r->follower_at = 0;
    log_path_shard_dir(r->path, r->o->options->dir, s->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
    if (t->op.result == -ENOENT && !s->has_segment)
        TASK_EXIT(t, 0);
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    free(r->followers);
    r->followers = calloc(r->names.count + 1, sizeof *r->followers);
    if (!r->followers)
        t->status = -ENOMEM;
    for (r->folder_at = 0; r->folder_at < r->names.count && t->status == 0; r->folder_at++) {
        if (!log_name_parse(r->names.name[r->folder_at], ".seg", &base) || (s->has_segment && base <= s->segment_base))
            continue;
        log_path_segment(r->path, r->o->options->dir, s->uid, base);
        TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
        t->status = t->op.result < 0 ? recover_fail(r, (int)t->op.result, r->path) : 0;
        if (t->status < 0)
            break;
        r->file = (struct io_file){(int)t->op.result};
        TASK_AWAIT(t, io_read(t->loop, &t->op, r->file, r->buf, HEAD_WINDOW_BYTES, 0));
        r->got_status = t->op.result;
        TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
        if (r->got_status < 0) {
            t->status = recover_fail(r, (int)r->got_status, r->path);
            break;
        }
        status = log_name_parse(r->names.name[r->folder_at], ".seg", &base)
                     ? read_follower(r, slice_of(r->buf, (size_t)r->got_status), base, &r->followers[r->follower_count])
                     : 0;
        if (status == ST_CORRUPT)
            shard_quarantine(s, r->path, 0, "damage below what was synced");
        r->follower_count += status == 1;
    }
    io_names_free(&r->names);
    TASK_END(t, t->status);
}

/* ---- one segment ------------------------------------------------------------------------------------------------- */

static uint64_t next_base(const struct recover *r)
{
    return r->follower_at < r->follower_count ? r->followers[r->follower_at].base : UINT64_MAX;
}

/* Passes over fresh files that were written for another state of the shard. */
static void settle_follower(struct recover *r)
{
    const struct log_shard *s = r->shard;
    while (r->follower_at < r->follower_count && r->followers[r->follower_at].fresh &&
           r->followers[r->follower_at].previous_generation != (s->has_segment ? s->segment_generation : 0))
        r->follower_at++;
}

static int segment_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                         uint32_t crc)
{
    struct recover *r = fs->owner;
    struct log_shard *s = r->shard;
    struct block_header b = {0};
    uint64_t end = offset + frame_space(h->stored_bytes);
    if (h->shard_uid != s->uid || (h->kind == LOG_KIND_BLOCK && block_header_read(body, &b) < 0))
        return ST_CORRUPT;
    if (h->kind == LOG_KIND_SEGMENT && offset == 0)
        r->own_head_known = log_segment_head_read(body, &r->own_head) == 0;
    if ((h->open_epoch > r->last_epoch && !r->fresh) || (h->kind == LOG_KIND_BLOCK && b.base_counter >= next_base(r)))
        return 2; /* a copy, or left by a write that failed */
    if (r->pass == PASS_TRUST) {
        if (h->durable_to > r->trusted_to)
            r->trusted_to = h->durable_to;
        return 0;
    }
    if (r->pass == PASS_LOAD) {
        int status = h->kind == LOG_KIND_BLOCK && end > r->trusted_to ? recover_load(r, s, h, body, offset) : 0;
        if (status == 1) { /* again once a flush has given memory back */
            fs->scan.position = offset;
            fs->scan.previous_crc = h->previous_crc;
        }
        r->tail |= status == 0 && h->kind == LOG_KIND_BLOCK && end > r->trusted_to;
        return status;
    }
    if (end > r->trusted_to)
        return 2;
    s->segment_end = end;
    s->segment_crc = crc;
    if (h->kind == LOG_KIND_BLOCK) {
        s->segment_next = s->durable_next = b.base_counter + b.record_count;
        s->last_arrival = s->durable_arrival = s->segment_last_arrival = b.arrival;
    }
    return 0;
}

/* Where the walk begins: behind the checkpoint; at the start of a segment that holds no block yet. */
static void walk_from(struct recover *r)
{
    struct log_shard *s = r->shard;
    r->checkpointed_end = s->segment_end;
    r->own_head_known = r->tail = false;
    if (s->segment_next <= s->segment_base) {
        s->segment_end = 0;
        s->segment_crc = 0;
    }
    r->from = s->segment_end;
    r->from_crc = s->segment_crc;
    r->from_generation = s->segment_generation;
}

static void scan_begin(struct recover *r, enum direct_pass pass)
{
    struct frame_context c = {.generation = r->from_generation, .known_durable_to = r->checkpointed_end};
    if (pass == PASS_TRUST) {
        settle_follower(r);
        if (r->follower_at < r->follower_count &&
            r->followers[r->follower_at].previous_generation == r->from_generation &&
            r->followers[r->follower_at].previous_end > c.known_durable_to)
            c.known_durable_to = r->followers[r->follower_at].previous_end;
        r->trusted_to = c.known_durable_to;
    }
    memcpy(c.log_uid, r->uid, FRAME_UID_BYTES);
    frame_scan_init(&r->scan.scan, &c, r->from, r->from_crc);
    r->scan.limit = UINT64_MAX;
    r->scan.frame = segment_frame;
    r->scan.owner = r;
    r->scan.file = r->file;
    r->pass = pass;
}

/* A segment without a trusted block: the shard stands at the end of the one before it. If frames were found in it, they
 * are written to a new file of the same name, and the old one stays until that is complete. */
static void step_back(struct recover *r)
{
    struct log_shard *s = r->shard;
    s->replacing = true;
    s->replace_base = s->segment_base;
    s->has_segment = r->own_head_known && r->own_head.previous_base != UINT64_MAX;
    s->segment_base = s->has_segment ? r->own_head.previous_base : 0;
    s->segment_generation = s->has_segment ? r->own_head.previous_generation : 0;
    s->segment_end = s->has_segment ? r->own_head.previous_end : 0;
    s->segment_crc = s->has_segment ? r->own_head.previous_crc : 0;
    s->segment_size = s->has_segment ? s->segment_size : 0;
    s->index_from = UINT64_MAX;
}

/* One pass over r->file. */
static void pass_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub3);
    TASK_BEGIN(t);
    for (;;) {
        TASK_CALL(t, file_scan_start(&r->scan, t));
        if (r->scan.task.status != 1)
            break;
        recover_start_flushes(r); /* memory is short; then the walk goes on at the same frame */
        r->flush_progress = false;
        while (!r->flush_progress)
            TASK_PARK(t);
    }
    t->status = r->scan.task.status;
    if (t->status == 0 && frame_scan_verdict(&r->scan.scan) == FRAME_END_VERSION)
        t->status = ST_VERSION;
    else if (r->pass == PASS_TRUST)
        r->corrupt =
            t->status == ST_CORRUPT || (t->status == 0 && frame_scan_verdict(&r->scan.scan) == FRAME_END_CORRUPT);
    TASK_END(t, t->status == 2 || t->status == ST_CORRUPT ? 0 : t->status);
}

/* The active segment: how far it is trusted, what it holds up to there, and the frames behind, which move. */
static void segment_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub2);
    struct log_shard *s = r->shard;
    TASK_BEGIN(t);
    log_path_segment(r->path, r->o->options->dir, s->uid, s->segment_base);
    TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
    if (t->op.result == -ENOENT) {
        shard_quarantine(s, r->path, 0, "the file is missing");
        TASK_EXIT(t, 0);
    }
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    r->file = (struct io_file){(int)t->op.result};
    walk_from(r);
    scan_begin(r, PASS_TRUST);
    TASK_CALL(t, task_start(&r->sub3, t->loop, pass_run, t));
    r->cut_at = r->scan.scan.end;
    if (r->sub3.status == 0) {
        scan_begin(r, PASS_APPLY);
        TASK_CALL(t, task_start(&r->sub3, t->loop, pass_run, t));
    }
    if (r->sub3.status == 0 && r->corrupt) {
        shard_quarantine(s, r->path, r->cut_at, "damage below what was synced");
    } else if (r->sub3.status == 0) {
        if (s->segment_next <= s->segment_base)
            step_back(r);
        s->new_segment_wanted = true; /* never over the sectors where frames lie now */
        scan_begin(r, PASS_LOAD);
        TASK_CALL(t, task_start(&r->sub3, t->loop, pass_run, t));
        s->replacing &= r->tail;
        s->new_segment_wanted &= r->tail;
    }
    TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
    TASK_END(t, r->sub3.status < 0 ? recover_fail(r, r->sub3.status, r->path) : 0);
}

/* The next follower becomes the active segment. */
static void enter_follower(struct recover *r)
{
    struct log_shard *s = r->shard;
    const struct follower *f = &r->followers[r->follower_at++];
    if (f->base != s->durable_next ||
        (s->has_segment && f->previous_generation == s->segment_generation && f->previous_end > s->segment_end)) {
        log_path_segment(r->path, r->o->options->dir, s->uid, f->base);
        shard_quarantine(s, r->path, 0, "records before this segment are missing");
        return;
    }
    r->fresh = f->fresh;
    s->new_segment_wanted = false;
    s->has_segment = true;
    s->segment_base = f->base;
    s->segment_generation = f->generation;
    s->segment_size = f->size;
    s->segment_end = 0;
    s->segment_crc = 0;
    s->index_from = UINT64_MAX;
}

void recover_direct_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct log_shard *s = r->shard;
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&r->sub2, t->loop, followers_run, t));
    if (r->sub2.status < 0)
        TASK_EXIT(t, r->sub2.status);
    r->fresh = r->tail = false;
    for (;;) {
        /* behind the end of a sealed one nothing counts */
        if (s->has_segment && s->state == LOG_SHARD_OK && !s->new_segment_wanted) {
            TASK_CALL(t, task_start(&r->sub2, t->loop, segment_run, t));
            if (r->sub2.status < 0)
                TASK_EXIT(t, r->sub2.status);
        }
        settle_follower(r);
        if (s->state != LOG_SHARD_OK || r->follower_at == r->follower_count || r->tail)
            break;
        enter_follower(r);
    }
    TASK_END(t, 0);
}

static bool is_stray(const struct log_shard *s, const char *name)
{
    uint64_t base;
    bool beside = log_name_parse(name, ".seg.new", &base);
    if (!beside && (!log_name_parse(name, ".seg", &base) || (s->has_segment && base <= s->segment_base)))
        return false;
    /* a flush of this opening may be writing one already */
    return !(s->replacing && base == s->replace_base) && !(s->stray && base == s->stray_base);
}

/* Files beyond the active segment were started by a write that never counted; a later opening must not meet them. */
void recover_strays_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct log_shard *s = r->shard;
    TASK_BEGIN(t);
    log_path_shard_dir(r->path, r->o->options->dir, s->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
    if (t->op.result == -ENOENT)
        TASK_EXIT(t, 0);
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    for (r->folder_at = 0; r->folder_at < r->names.count; r->folder_at++) {
        if (!is_stray(s, r->names.name[r->folder_at]))
            continue;
        log_path_shard_dir(r->path, r->o->options->dir, s->uid);
        snprintf(r->path2, sizeof r->path2, "%.*s/%.64s", (int)sizeof r->path2 - 70, r->path,
                 r->names.name[r->folder_at]);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path2));
        t->status = t->op.result < 0 && t->op.result != -ENOENT ? (int)t->op.result : 0;
        if (t->status < 0)
            break;
        r->strays = true;
    }
    io_names_free(&r->names);
    if (t->status < 0)
        TASK_EXIT(t, recover_fail(r, t->status, r->path2));
    if (r->strays) {
        r->strays = false;
        log_path_shard_dir(r->path, r->o->options->dir, s->uid);
        TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->path));
        if (t->op.result < 0)
            TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    }
    TASK_END(t, 0);
}

void recover_replace_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct log_shard *s = r->shard;
    TASK_BEGIN(t);
    log_path_segment(r->path2, r->o->options->dir, s->uid, s->replace_base);
    log_path_segment(r->path, r->o->options->dir, s->uid, s->replace_base);
    log_path_replacing(r->path);
    TASK_AWAIT(t, io_rename(t->loop, &t->op, r->path, r->path2));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    log_path_shard_dir(r->path, r->o->options->dir, s->uid);
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->path));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    s->replacing = false;
    TASK_END(t, 0);
}
