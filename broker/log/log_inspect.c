/*
 * The offline verification of a data directory (log_inspect.h), in the steps of an opening:
 *
 *   1 list the journals, read their heads, choose those that count      log_recover_heads.c
 *   2 walk the newest of each loop: what each shard must have           log_inspect_journal.c
 *   3 walk all segments of all shards, with their sidecars              log_inspect_segment.c
 *   4 walk the journals that count: every frame, and the blocks that
 *     are in no segment, which must go on where the segments end        log_inspect_journal.c
 *   5 judge: does each shard have what was promised?
 *
 * The rules are those of frame_scan, block_read, log_format and log_index; here they are put together without a log.
 * Differences to an opening: sealed segments and sidecars are walked too; nothing is synced, moved or removed; after
 * damage it goes on wherever something can be recognised. Thread: the loop's.
 */
#include "broker/log/log_inspect_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNTER_SKIP (1ull << 32)

/* ---- telling ---------------------------------------------------------------------------------------------------- */

void inspect_tell(struct inspect *i, enum log_severity severity, struct inspect_shard *s, const char *file,
                  uint64_t offset, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    i->o->notes += severity == LOG_NOTE;
    i->o->torn += severity == LOG_TORN;
    i->o->damages += severity == LOG_DAMAGE;
    if (s)
        s->report.damages += severity == LOG_DAMAGE;
    struct log_finding f = {severity, file, offset, what};
    i->o->finding(i->o, &f);
}

int inspect_fail(struct inspect *i, int status, const char *file)
{
    return err_set_status(&i->o->err, status, "%s", file);
}

/* ---- shards ----------------------------------------------------------------------------------------------------- */

struct inspect_shard *inspect_shard_of(struct inspect *i, uint64_t uid)
{
    struct inspect_shard *s = hashmap_get(&i->map, slice_of(&uid, sizeof uid));
    if (s)
        return s;
    if (i->shard_count == i->shard_cap) {
        uint32_t cap = i->shard_cap ? 2 * i->shard_cap : 64;
        struct inspect_shard **at = realloc(i->shards, cap * sizeof(*at));
        if (!at)
            return NULL;
        i->shards = at;
        i->shard_cap = cap;
    }
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->uid = s->report.uid = uid;
    if (hashmap_put(&i->map, slice_of(&s->uid, sizeof s->uid), s) < 0) {
        free(s);
        return NULL;
    }
    return i->shards[i->shard_count++] = s;
}

static int compare_shards(const void *a, const void *b)
{
    const struct inspect_shard *x = *(struct inspect_shard *const *)a, *y = *(struct inspect_shard *const *)b;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* ---- what is the same for journals and segments ----------------------------------------------------------------- */

void inspect_walk_begin(struct inspect *i, uint64_t generation, uint64_t known_end, uint64_t limit)
{
    struct frame_context c = {.generation = generation, .known_durable_to = known_end};
    memcpy(c.log_uid, i->recover.uid, FRAME_UID_BYTES);
    frame_scan_init(&i->scan.scan, &c, 0, 0);
    i->scan.file = i->file;
    i->scan.limit = limit;
    i->scan.owner = i;
    i->durable_to = 0;
    i->damages = i->o->damages;
    i->resumed = i->clean = false;
}

/* The walk that tells: journals are walked twice. */
static void tell_end(struct inspect *i, enum frame_verdict verdict)
{
    const struct frame_scan *scan = &i->scan.scan;
    uint64_t known = scan->context.known_durable_to, synced = known > scan->durable_to ? known : scan->durable_to;
    if (verdict == FRAME_END_VERSION)
        inspect_tell(i, LOG_DAMAGE, i->shard, i->path, scan->end, "written by a newer version: not understood");
    else if (verdict == FRAME_END_TORN && !i->clean)
        inspect_tell(i, LOG_TORN, i->shard, i->path, scan->end,
                     "what follows was never synced: a write that was not completed, or the file's past");
    else if (verdict == FRAME_END_CORRUPT && i->size < synced && !scan->resume_at)
        inspect_tell(i, LOG_DAMAGE, i->shard, i->path, scan->end, "the file is cut off: it was synced up to byte %llu",
                     (unsigned long long)synced);
    else if (verdict == FRAME_END_CORRUPT)
        inspect_tell(i, LOG_DAMAGE, i->shard, i->path, scan->end, "damage: it was synced up to byte %llu",
                     (unsigned long long)synced);
}

bool inspect_walk_resumes(struct inspect *i, bool must_resume)
{
    struct frame_scan *scan = &i->scan.scan;
    enum frame_verdict verdict = frame_scan_verdict(scan);
    bool telling = i->shard || i->loading;
    if (must_resume && scan->resume_at && (verdict == FRAME_END_CLEAN || verdict == FRAME_END_TORN)) {
        if (telling)
            inspect_tell(i, LOG_DAMAGE, i->shard, i->path, scan->end, "the first frame is damaged");
    } else {
        if (telling)
            tell_end(i, verdict);
        if (verdict != FRAME_END_CORRUPT || !scan->resume_at)
            return false;
    }
    frame_scan_resume(scan);
    return i->resumed = true;
}

void inspect_frame(struct inspect *i, struct inspect_shard *s, const struct frame_header *h, uint64_t offset)
{
    if (h->durable_to > offset || h->durable_to < i->durable_to)
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "durable_to is %llu, behind a frame with %llu",
                     (unsigned long long)h->durable_to, (unsigned long long)i->durable_to);
    i->durable_to = h->durable_to;
}

void inspect_removed(struct inspect *i, struct inspect_shard *s)
{
    char dir[LOG_PATH_MAX];
    log_path_shard_dir(dir, i->o->dir, s->uid);
    inspect_tell(i, LOG_NOTE, s, dir, 0, "the folder is gone: right if this shard's stream was deleted");
    s->removed = true;
}

bool inspect_skipped(uint64_t from, uint64_t to)
{
    return to > from && (to - from) % COUNTER_SKIP == 0;
}

static bool records_fill_block(const struct block_header *b, struct slice payload)
{
    if (b->codec != BLOCK_CODEC_NONE)
        return true; /* nothing writes it yet */
    struct block_iter it = block_iter_start(b, payload);
    struct block_record r;
    int more = 1;
    while (more > 0)
        more = block_iter_next(&it, &r);
    return more == 0;
}

/* Its entry says that it may have had segments. */
static bool may_be_removed(const struct inspect_shard *s)
{
    return s->no_folder && s->known && (s->entry.flags & (LOG_ENTRY_SEGMENT | LOG_ENTRY_DIRECT));
}

void inspect_block(struct inspect *i, struct inspect_shard *s, struct slice body, uint64_t offset,
                   struct block_header *out)
{
    struct slice payload;
    struct block_header b;
    int status = block_read(body, &b, &payload);
    if (status < 0) {
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "a bad block in an intact frame: %s", status_text(status));
        return;
    }
    if (body.len != BLOCK_HEADER_BYTES + (size_t)b.payload_bytes || !records_fill_block(&b, payload))
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "the records do not fill their block");
    uint64_t have = s->have;
    if (may_be_removed(s) && b.base_counter > have && !inspect_skipped(have, b.base_counter)) {
        inspect_removed(i, s);
        return;
    }
    if (b.base_counter != have && !inspect_skipped(have, b.base_counter))
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset,
                     b.base_counter > have ? "shard %016llx: records %llu to %llu are missing before this block"
                                           : "shard %016llx: the block goes back from record %llu to %llu",
                     (unsigned long long)s->uid, (unsigned long long)have,
                     (unsigned long long)(b.base_counter > have ? b.base_counter - 1 : b.base_counter));
    if (b.arrival.ms < s->arrival.ms)
        inspect_tell(i, LOG_DAMAGE, s, i->path, offset, "shard %016llx: time falls from %lld to %lld",
                     (unsigned long long)s->uid, (long long)s->arrival.ms, (long long)b.arrival.ms);
    s->arrival = b.arrival;
    s->have = b.base_counter + b.record_count;
    s->report.records += b.record_count;
    s->report.bytes += frame_space((uint32_t)body.len);
    *out = b;
}

/* ---- the verdict ------------------------------------------------------------------------------------------------ */

static void judge(struct inspect *i, struct inspect_shard *s)
{
    char dir[LOG_PATH_MAX];
    log_path_shard_dir(dir, i->o->dir, s->uid);
    if (s->have < s->proven && !inspect_skipped(s->have, s->proven))
        inspect_tell(i, LOG_DAMAGE, s, dir, 0,
                     "shard %016llx: records %llu to %llu, which were acknowledged, are missing at its end",
                     (unsigned long long)s->uid, (unsigned long long)s->have, (unsigned long long)(s->proven - 1));
    if (s->known && (s->entry.flags & LOG_ENTRY_QUARANTINED))
        inspect_tell(i, LOG_DAMAGE, s, dir, 0, "shard %016llx: quarantined by an opening that found damage",
                     (unsigned long long)s->uid);
    s->report.next_counter = s->have;
    s->report.first_counter = s->known && s->entry.first_counter < s->have ? s->entry.first_counter : s->have;
}

static void judge_all(struct inspect *i)
{
    if (i->shard_count)
        qsort(i->shards, i->shard_count, sizeof(*i->shards), compare_shards);
    for (uint32_t k = 0; k < i->shard_count; k++) {
        struct inspect_shard *s = i->shards[k];
        if (may_be_removed(s) && !s->removed && s->have < s->proven && !inspect_skipped(s->have, s->proven))
            inspect_removed(i, s);
        if (s->removed) /* the journal still tells of it; only the catalog knows whether it should be there */
            continue;
        judge(i, s);
        i->o->shards++;
        i->o->segments += s->report.segments;
        i->o->records += s->report.records;
        i->o->bytes += s->report.bytes;
        i->o->shard(i->o, &s->report);
    }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Shards that only the disk knows. */
static int shards_from_names(struct inspect *i)
{
    for (uint32_t k = 0; k < i->names.count; k++) {
        uint64_t uid;
        if (log_name_parse(i->names.name[k], "", &uid) && !inspect_shard_of(i, uid))
            return -ENOMEM;
    }
    return 0;
}

static void run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, task);
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&i->sub, t->loop, inspect_list_run, t)); /* 1 */
    if (i->sub.status == -ENOENT || i->sub.status == -ENOTDIR)
        err_set(&i->o->err, i->sub.status, "%s: this is no data directory of sluiced", i->o->dir);
    if (i->sub.status < 0)
        TASK_EXIT(t, i->sub.status);
    for (i->journal_at = 0; i->journal_at < i->recover.old_count; i->journal_at++) {
        i->recover.at = i->journal_at;
        TASK_CALL(t, task_start(&i->recover.sub, t->loop, recover_head_run, t));
        if (i->recover.sub.status < 0) {
            i->o->err = i->open.err;
            TASK_EXIT(t, i->recover.sub.status);
        }
    }
    inspect_choose(i);
    for (i->journal_at = 0; i->journal_at < i->recover.old_count; i->journal_at++) { /* 2 */
        i->journal = &i->recover.old[i->journal_at];
        if (!i->journal->newest)
            continue;
        TASK_CALL(t, task_start(&i->sub, t->loop, inspect_journal_run, t));
        if (i->sub.status < 0)
            TASK_EXIT(t, i->sub.status);
    }
    snprintf(i->path, sizeof i->path, "%s/shards", i->o->dir); /* 3 */
    TASK_AWAIT(t, io_list(t->loop, &t->op, i->path, &i->names));
    if (t->op.result < 0 && t->op.result != -ENOENT)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    if (t->op.result >= 0)
        t->status = shards_from_names(i);
    io_names_free(&i->names);
    if (t->status < 0)
        TASK_EXIT(t, t->status);
    if (!i->recover.uid_known && i->shard_count)
        inspect_tell(i, LOG_DAMAGE, NULL, i->path, 0,
                     "shards without a commit journal: what they must hold is not known");
    for (i->shard_at = 0; i->recover.uid_known && i->shard_at < i->shard_count; i->shard_at++) {
        i->shard = i->shards[i->shard_at];
        TASK_CALL(t, task_start(&i->sub, t->loop, inspect_segments_run, t));
        if (i->sub.status < 0)
            TASK_EXIT(t, i->sub.status);
    }
    i->shard = NULL;
    i->loading = true;
    for (i->journal_at = 0; i->journal_at < i->recover.old_count; i->journal_at++) { /* 4 */
        i->journal = &i->recover.old[i->journal_at];
        if (!i->journal->needed)
            continue;
        TASK_CALL(t, task_start(&i->sub, t->loop, inspect_journal_run, t));
        if (i->sub.status < 0)
            TASK_EXIT(t, i->sub.status);
        i->o->journals++;
    }
    judge_all(i); /* 5 */
    TASK_END(t, 0);
}

static void inspect_free(struct inspect *i)
{
    for (uint32_t k = 0; k < i->shard_count; k++)
        free(i->shards[k]);
    for (uint32_t k = 0; k < i->recover.old_count; k++)
        free(i->recover.old[k].older);
    free(i->shards);
    free(i->recover.old);
    io_buffer_free(i->recover.buf);
    free(i->segment_names);
    free(i->log);
    free(i->log_shard);
    hashmap_deinit(&i->map);
    io_names_free(&i->folders);
    io_names_free(&i->names);
    io_buffer_free(i->buf);
    file_scan_deinit(&i->scan);
    free(i);
}

static void end_if_idle(struct inspect *i)
{
    struct log_inspect *o = i->o;
    if (!i->ended || i->log->tasks)
        return;
    inspect_free(i);
    o->done(o);
}

static void file_closed(struct log_opening_hook *h)
{
    end_if_idle(CONTAINER_OF(h, struct inspect, hook));
}

static void finished(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, task);
    i->o->status = t->status;
    if (i->o->status < 0 && !i->o->err.code)
        err_set_status(&i->o->err, i->o->status, "%s", i->o->dir);
    i->ended = true;
    end_if_idle(i);
}

int log_inspect_start(struct loop *loop, struct log_inspect *o)
{
    if (strlen(o->dir) >= LOG_DIR_MAX)
        return -ENAMETOOLONG;
    struct inspect *i = calloc(1, sizeof *i);
    if (!i)
        return -ENOMEM;
    i->o = o;
    i->options.dir = o->dir;
    i->open.options = &i->options;
    i->recover.o = &i->open;
    i->recover.loop = loop;
    i->buf = io_buffer_alloc(HEAD_WINDOW_BYTES);
    i->log = calloc(1, sizeof *i->log);
    i->log_shard = calloc(1, sizeof *i->log_shard);
    if (!i->buf || !i->log || !i->log_shard) {
        inspect_free(i);
        return -ENOMEM;
    }
    i->log_shard->log = i->log;
    i->log->loop = loop;
    i->hook.progress = file_closed;
    i->log->opening_hook = &i->hook;
    snprintf(i->log->dir, sizeof i->log->dir, "%s", o->dir);
    hashmap_init(&i->map, 0);
    o->status = 0;
    o->err = (struct err){0};
    o->shards = o->segments = o->sidecars = o->journals = o->records = o->bytes = 0;
    o->notes = o->torn = o->damages = 0;
    i->task.finished = finished;
    task_start(&i->task, loop, run, NULL);
    return 0;
}
