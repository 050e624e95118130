/*
 * Steps 2 and 4 of the opening: walking journals, first for what they know (entries, proofs), then for the frames that are
 * in no segment. Behind damage the walk resumes; what is missing shows as a gap, or by a proof. Thread: the calling
 * loop's.
 */
#include "broker/log/log_recover.h"

static int take_round(struct recover *r, struct slice body)
{
    struct log_round_head h;
    const uint8_t *proofs, *entries;
    int status = log_round_head_read(body, &h, &proofs, &entries);
    if (status < 0)
        return status;
    if (r->resumed && h.round > r->round + 1)
        r->unproven = true; /* the lists of damaged rounds are lost too */
    r->resumed = false;
    r->round = h.round;
    r->walking->clean = h.flags & LOG_ROUND_CLEAN;
    for (uint32_t i = 0; i < h.proofs; i++) {
        struct log_proof p = log_proof_read(proofs + (size_t)i * LOG_PROOF_BYTES);
        struct log_shard *s = recover_shard(r, p.uid);
        if (!s)
            return -ENOMEM;
        s->confirmed = true;
        if (p.next > s->proven)
            s->proven = p.next;
    }
    for (uint32_t i = 0; i < h.entries; i++) {
        struct log_entry e;
        log_entry_read(entries + (size_t)i * LOG_ENTRY_BYTES, &e);
        status = recover_entry(r, &e);
        if (status < 0)
            return status;
    }
    return 0;
}

static int take_head(struct recover *r, struct slice body)
{
    struct log_head h;
    const uint8_t *journals, *entries;
    int status = log_head_read(body, &h, &journals, &entries);
    if (status < 0)
        return status;
    r->round = h.round - 1;
    r->head_taken = true;
    r->resumed = false;
    for (uint32_t i = 0; i < h.entries; i++) {
        struct log_entry e;
        log_entry_read(entries + (size_t)i * LOG_ENTRY_BYTES, &e);
        status = recover_entry(r, &e);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Step 2: what is known. */
static int know_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                      uint32_t crc)
{
    struct recover *r = fs->owner;
    if (h->kind == LOG_KIND_HEAD)
        return take_head(r, body);
    if (h->kind == LOG_KIND_ROUND)
        return take_round(r, body);
    r->walking->clean = false;
    struct log_shard *s = recover_shard(r, h->shard_uid);
    if (s)
        s->confirmed = true; /* a gap shows in step 4 */
    return s ? 0 : -ENOMEM;
}

int recover_load(struct recover *r, struct log_shard *s, const struct frame_header *h, struct slice body,
                 uint64_t offset)
{
    struct block_header b;
    if (s->deleting || s->state == LOG_SHARD_QUARANTINED)
        return 0;
    if (block_header_read(body, &b) < 0) {
        shard_quarantine(s, r->path, offset, "a bad block header in an intact frame");
        return 0;
    }
    uint64_t end = b.base_counter + b.record_count;
    if (end <= s->durable_next)
        return 0;
    if (b.base_counter != s->durable_next) {
        shard_quarantine(s, r->path, offset, "frames before this one are missing");
        return 0;
    }
    struct chunk *chunk;
    uint8_t *mem;
    struct block_entry *e = NULL;
    uint64_t space = frame_space(h->stored_bytes);
    if (cache_take(s->log, space, &chunk, &mem) == 0) {
        e = cache_entry_add(s, chunk, mem);
        cache_unpin(s->log, chunk);
    }
    if (!e)
        return 1;
    memcpy(mem + FRAME_HEADER_BYTES, body.ptr, body.len);
    memset(mem + FRAME_HEADER_BYTES + body.len, 0, page_up(space) - FRAME_HEADER_BYTES - body.len);
    e->stored_bytes = h->stored_bytes;
    e->record_count = b.record_count;
    e->base = b.base_counter;
    e->arrival = b.arrival;
    e->body_crc = h->body_crc;
    s->loaded = true;
    s->journal_sent = s->journal_pos = s->ring_tail;
    s->durable_next = end;
    s->durable_arrival = s->last_arrival = b.arrival;
    if (!list_linked(&s->unmigrated_link))
        list_push_back(&s->log->unmigrated, &s->unmigrated_link);
    return 0;
}

/* Step 4. */
static int load_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                      uint32_t crc)
{
    struct recover *r = fs->owner;
    if (h->kind != LOG_KIND_BLOCK)
        return 0;
    struct log_shard *s = recover_shard(r, h->shard_uid);
    if (!s)
        return -ENOMEM;
    int status = recover_load(r, s, h, body, offset);
    if (status == 1) { /* again once a flush has given memory back */
        fs->scan.position = offset;
        fs->scan.previous_crc = h->previous_crc;
    }
    return status;
}

static void walk_begin(struct recover *r)
{
    struct old_journal *j = r->walking;
    struct frame_context c = {.generation = j->generation,
                              .known_durable_to = j->known_end == UINT64_MAX || j->soft ? 0 : j->known_end};
    memcpy(c.log_uid, r->uid, FRAME_UID_BYTES);
    frame_scan_init(&r->scan.scan, &c, 0, 0);
    r->scan.limit = j->known_end;
    r->scan.frame = r->loading ? load_frame : know_frame;
    r->scan.owner = r;
    r->resumed = false;
    r->head_taken = r->loading;
}

/* Walks r->walking to its end, resuming behind damage. */
void recover_walk_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    log_path_journal(r->path, r->o->options->dir, r->walking->folder, r->walking->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    r->scan.file = (struct io_file){(int)t->op.result};
    if (r->loading) { /* what is accepted is on stable storage before anything follows from it */
        TASK_AWAIT(t, io_datasync(t->loop, &t->op, r->scan.file));
        if (t->op.result < 0) {
            r->scan.task.status = recover_fail(r, (int)t->op.result, r->path);
            goto close_file;
        }
    }
    walk_begin(r);
    for (;;) {
        TASK_CALL(t, file_scan_start(&r->scan, t));
        if (r->scan.task.status < 0)
            break;
        if (r->scan.task.status == 1) { /* memory is short: move what there is to the segments */
            if (!recover_flushes_pending(r)) {
                r->scan.task.status = -ENOMEM;
                break;
            }
            recover_start_flushes(r);
            r->flush_progress = false;
            while (!r->flush_progress)
                TASK_PARK(t);
            continue;
        }
        if (frame_scan_verdict(&r->scan.scan) == FRAME_END_VERSION) {
            r->scan.task.status = recover_fail(r, ST_VERSION, r->path);
            break;
        }
        /* without its first copy a head has no later frame to prove it, but the second copy does */
        if (frame_scan_verdict(&r->scan.scan) != FRAME_END_CORRUPT && (r->head_taken || !r->scan.scan.resume_at))
            break;
        r->walking->damaged = true;
        r->walking->clean = false;
        if (!r->scan.scan.resume_at) {
            r->unproven |= !r->loading && r->walking->newest;
            break;
        }
        frame_scan_resume(&r->scan.scan);
        r->resumed = true;
        for (uint32_t i = 0; !r->loading && i < r->loops; i++)
            LIST_FOREACH (it, &r->o->logs[i]->shards)
                CONTAINER_OF(it, struct log_shard, link)->confirmed = false;
    }
close_file:
    TASK_AWAIT(t, io_close(t->loop, &t->op, r->scan.file));
    TASK_END(t, r->scan.task.status);
}
