/*
 * Opening a data directory: from what a stop, a crash or a former number of loops has left to running logs.
 *
 *   1 list journals, read their heads        which opening (epoch) is the last complete one: every loop's head is there
 *   2 walk the newest journal of each loop   entries and proofs: what each shard must have
 *   3 walk the segments of direct shards     beyond their checkpointed ends; sync what is accepted
 *   4 walk the needed journals again         frames that are in no segment become unmigrated entries, in order
 *   5 migrate all of them, synced
 *   6 head of a new journal for every loop   from here on the new opening is the complete one
 *   7 remove the old journals, hand the logs over to their loops
 *
 * A crash at any step finds the same old journals again: nothing of them is changed before 6 is durable for all loops,
 * and what 5 wrote lies beyond the ends that they know.
 *
 * Damage. Torn ends are cut off. Behind damage in a journal the walk resumes; a shard is quarantined if a head, an
 * entry or a proof says that it must have more than was found, if its frames show a gap, or if the proofs of the damaged
 * rounds are lost too and nothing later confirms it. Damage in a segment quarantines its shard. Journals with damage
 * are kept, renamed to *.damaged. Only a journal whose head cannot be told from a head that was never written, although
 * later frames exist, fails the opening (ST_CORRUPT).
 *
 * All logs run on the calling loop until they are handed over. Thread: the calling loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_WINDOW_BYTES (1u << 20)
#define HEAD_SEARCH_BYTES (16u << 20)
#define COUNTER_SKIP      (1ull << 32)

struct old_journal {
    uint32_t folder;
    uint64_t sequence, size;
    bool head_ok, needed, newest, damaged, clean;
    uint8_t uid[FRAME_UID_BYTES];
    uint64_t generation;
    uint32_t epoch;
    struct log_head head;
    struct log_proof *older; /* head.journals: generation, end */
    uint64_t known_end;      /* from a newer head; UINT64_MAX: open */
    bool soft;               /* not all below known_end was synced */
};

struct recover {
    struct task task, sub;
    struct log_open *o;
    struct log_options options;
    struct loop *loop;
    struct io_names folders, names;
    struct io_file file;
    uint32_t folder_at, at, loops;
    struct old_journal *old;
    uint32_t old_count, old_cap;
    uint8_t *buf;
    size_t buf_bytes, want, got;
    struct file_scan scan;
    uint8_t uid[FRAME_UID_BYTES];
    bool uid_known;
    uint32_t epoch, last_epoch; /* of this opening; of the last complete one */
    struct old_journal *walking;
    bool loading;
    uint64_t round; /* number of the last round frame seen; UINT64_MAX: none */
    bool resumed, unproven;
    struct log_shard *shard; /* being worked on */
    struct log *log;
    struct list *shard_it;
    uint64_t next_base;
    char path[LOG_PATH_MAX];
    char path2[LOG_PATH_MAX + 16];
    uint32_t handed;
    bool flush_progress, entered, strays, head_taken, rolled, skip;
    int status;
    uint32_t old_at;
    uint64_t quarantined;
    struct task outer;
    struct log_opening_hook hook;
    struct opening_hand *hands;
    struct log_journal_waiter waiter;
};

static int fail(struct recover *r, int status, const char *what)
{
    return err_set_status(&r->o->err, status, "%s", what);
}

/* ---- shards ----------------------------------------------------------------------------------------------------- */

static struct log_shard *shard_of(struct recover *r, uint64_t uid)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        struct log_shard *s = log_shard_find(r->o->logs[i], uid);
        if (s)
            return s;
    }
    /* on disk, but not in `live`: kept, by the first loop, and reported */
    struct log_shard *s = shard_new(r->o->logs[0], uid);
    if (s) {
        s->unknown = true;
        r->o->unknown_count++;
    }
    return s;
}

static int make_live_shards(struct recover *r)
{
    for (size_t i = 0; i < r->o->live_count; i++) {
        const struct log_live_shard *l = &r->o->live[i];
        struct log_shard *s = shard_new(r->o->logs[l->loop_index % r->loops], l->uid);
        if (!s)
            return -ENOMEM;
        s->deleting = l->deleting;
    }
    return 0;
}

static int take_entry(struct recover *r, const struct log_entry *e)
{
    struct log_shard *s = shard_of(r, e->uid);
    if (!s)
        return -ENOMEM;
    if (s->deleting)
        return 0;
    if (e->next > s->proven)
        s->proven = e->next;
    s->confirmed = true;
    if (e->segment_next < s->segment_next)
        return 0;
    s->has_segment = e->flags & LOG_ENTRY_SEGMENT;
    s->mark = e->flags & LOG_ENTRY_DIRECT ? MARK_DURABLE : MARK_NONE;
    s->segment_next = e->segment_next;
    s->segment_base = e->segment_base;
    s->segment_generation = e->segment_generation;
    s->segment_end = e->segment_end;
    s->segment_size = e->segment_size;
    s->segment_crc = e->segment_crc;
    s->index_from = e->segment_end;
    s->disk_bytes = e->disk_bytes;
    if (e->first_counter > s->first_counter)
        s->first_counter = e->first_counter;
    if (e->last_arrival.ms > s->last_arrival.ms)
        s->last_arrival = e->last_arrival;
    if (e->flags & LOG_ENTRY_QUARANTINED)
        shard_quarantine(s, "journal checkpoint", 0, "quarantined at an earlier start; sluice inspect tells where");
    return 0;
}

/* ---- 1: heads --------------------------------------------------------------------------------------------------- */

static struct old_journal *old_add(struct recover *r)
{
    if (r->old_count == r->old_cap) {
        uint32_t cap = r->old_cap ? 2 * r->old_cap : 16;
        struct old_journal *old = realloc(r->old, cap * sizeof *old);
        if (!old)
            return NULL;
        r->old = old;
        r->old_cap = cap;
    }
    struct old_journal *j = &r->old[r->old_count++];
    *j = (struct old_journal){.known_end = UINT64_MAX};
    return j;
}

/* The head frame at `at` of the window. */
static bool head_at(struct recover *r, struct old_journal *j, struct slice window, size_t at, size_t *out_want)
{
    struct frame_header h;
    uint32_t crc;
    if (frame_header_read(slice_from(window, at), &h, &crc) < 0 || h.kind != LOG_KIND_HEAD || h.offset != at)
        return false;
    if (window.len - at - FRAME_HEADER_BYTES < h.stored_bytes) {
        *out_want = at + FRAME_HEADER_BYTES + h.stored_bytes;
        return false;
    }
    struct slice body = slice_of(window.ptr + at + FRAME_HEADER_BYTES, h.stored_bytes);
    const uint8_t *journals, *entries;
    struct log_head head;
    if (crc32c(0, body.ptr, body.len) != h.body_crc || log_head_read(body, &head, &journals, &entries) < 0)
        return false;
    struct log_proof *older = calloc(head.journals + 1, sizeof *older);
    if (!older)
        return false;
    for (uint32_t i = 0; i < head.journals; i++)
        older[i] = log_proof_read(journals + (size_t)i * LOG_PROOF_BYTES);
    free(j->older);
    j->older = older;
    j->head = head;
    j->generation = h.generation;
    j->epoch = h.open_epoch;
    memcpy(j->uid, h.log_uid, FRAME_UID_BYTES);
    j->head_ok = true;
    return true;
}

/* Finds a good copy of the head. False with *out_want > 0: a larger window is wanted. */
static bool find_head(struct recover *r, struct old_journal *j, struct slice window, size_t *out_want)
{
    *out_want = 0;
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN) {
        if (memcmp(window.ptr + at, "SFRM", 4) == 0 && head_at(r, j, window, at, out_want))
            return true;
        if (*out_want > window.len && *out_want <= HEAD_SEARCH_BYTES)
            return false;
    }
    if (!j->head_ok && window.len == HEAD_WINDOW_BYTES)
        *out_want = HEAD_SEARCH_BYTES;
    return false;
}

/* Newest generation of frames that are only written behind a durable head; 0: none. Kept for files without a head. */
static void note_strays(struct old_journal *j, struct slice window)
{
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN) {
        struct frame_header h;
        uint32_t crc;
        if (memcmp(window.ptr + at, "SFRM", 4) != 0 || frame_header_read(slice_from(window, at), &h, &crc) < 0 ||
            h.offset != at || (h.kind != LOG_KIND_ROUND && h.kind != LOG_KIND_BLOCK) || h.generation <= j->generation)
            continue;
        j->generation = h.generation;
        memcpy(j->uid, h.log_uid, FRAME_UID_BYTES);
    }
}

static bool grow_buf(struct recover *r, size_t bytes)
{
    if (r->buf_bytes >= bytes)
        return true;
    io_buffer_free(r->buf);
    bytes = page_up(bytes);
    r->buf = io_buffer_alloc(bytes);
    r->buf_bytes = r->buf ? bytes : 0;
    return r->buf != NULL;
}

/* Reads the head of old[at]. */
static void head_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct old_journal *j = &r->old[r->at];
    TASK_BEGIN(t);
    log_path_journal(r->path, r->o->options->dir, j->folder, j->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    r->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, r->file));
    j->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    r->want = HEAD_WINDOW_BYTES;
    while (r->want) {
        if (!grow_buf(r, r->want))
            TASK_EXIT(t, -ENOMEM);
        TASK_AWAIT(t, io_read(t->loop, &t->op, r->file, r->buf, page_up(r->want), 0));
        if (t->op.result < 0)
            TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
        r->got = (size_t)t->op.result;
        if (find_head(r, j, slice_of(r->buf, r->got), &r->want) || r->got < r->buf_bytes || r->got >= HEAD_SEARCH_BYTES)
            r->want = 0;
    }
    if (!j->head_ok)
        note_strays(j, slice_of(r->buf, r->got));
    TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
    TASK_END(t, 0);
}

static void list_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    const char *dir = r->o->options->dir;
    TASK_BEGIN(t);
    snprintf(r->path, sizeof r->path, "%s/journal", dir);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    snprintf(r->path, sizeof r->path, "%s/shards", dir);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    snprintf(r->path, sizeof r->path, "%s/journal", dir);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->folders));
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    for (r->folder_at = 0; r->folder_at < r->folders.count; r->folder_at++) {
        snprintf(r->path, sizeof r->path, "%s/journal/%s", dir, r->folders.name[r->folder_at]);
        TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
        if (t->op.result < 0)
            TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
        for (uint32_t i = 0; i < r->names.count; i++) {
            uint64_t folder = 0, sequence = 0;
            if (!slice_parse_u64(slice_str(r->folders.name[r->folder_at]), &folder) || folder > UINT32_MAX ||
                !log_name_parse(r->names.name[i], ".jnl", &sequence))
                continue;
            struct old_journal *j = old_add(r);
            if (!j) {
                io_names_free(&r->names);
                TASK_EXIT(t, -ENOMEM);
            }
            j->folder = (uint32_t)folder;
            j->sequence = sequence;
        }
        io_names_free(&r->names);
    }
    TASK_END(t, 0);
}

/* The last opening of which every loop's head is there; 0: none. */
static uint32_t complete_epoch(const struct recover *r)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < r->old_count; i++) {
        const struct old_journal *j = &r->old[i];
        if (!j->head_ok || j->epoch <= best)
            continue;
        uint32_t found = 0;
        for (uint32_t loop = 0; loop < j->head.loop_count; loop++)
            for (uint32_t k = 0; k < r->old_count; k++)
                if (r->old[k].head_ok && r->old[k].epoch == j->epoch && r->old[k].head.loop_index == loop) {
                    found++;
                    break;
                }
        if (found == j->head.loop_count)
            best = j->epoch;
    }
    return best;
}

static void choose_journals(struct recover *r)
{
    r->last_epoch = complete_epoch(r);
    r->epoch = 1;
    for (uint32_t i = 0; i < r->old_count; i++)
        if (r->old[i].head_ok && r->old[i].epoch >= r->epoch)
            r->epoch = r->old[i].epoch + 1;
    for (uint32_t i = 0; i < r->old_count; i++) {
        struct old_journal *j = &r->old[i];
        if (!j->head_ok || j->epoch != r->last_epoch)
            continue;
        memcpy(r->uid, j->uid, FRAME_UID_BYTES);
        r->uid_known = true;
        j->newest = true;
        for (uint32_t k = 0; k < r->old_count; k++) {
            const struct old_journal *o = &r->old[k];
            if (o->head_ok && o->epoch == j->epoch && o->head.loop_index == j->head.loop_index &&
                o->generation > j->generation)
                j->newest = false;
        }
    }
    for (uint32_t i = 0; i < r->old_count; i++) {
        struct old_journal *j = &r->old[i];
        j->needed |= j->newest;
        for (uint32_t n = 0; j->newest && n < j->head.journals; n++)
            for (uint32_t k = 0; k < r->old_count; k++)
                if (r->old[k].head_ok && r->old[k].generation == j->older[n].uid) {
                    r->old[k].needed = true;
                    r->old[k].known_end = j->older[n].next & ~(uint64_t)LOG_END_SOFT;
                    r->old[k].soft = j->older[n].next & LOG_END_SOFT;
                }
    }
}

/* Files without a head are spares, or were about to become journals. One with frames that only follow a durable head,
 * newer than the newest head of its folder, has lost its head to damage: then nothing can be told. */
static int check_headless(struct recover *r)
{
    for (uint32_t i = 0; i < r->old_count; i++) {
        struct old_journal *j = &r->old[i];
        uint64_t newest = 0;
        if (j->head_ok || j->generation == 0)
            continue;
        for (uint32_t k = 0; k < r->old_count; k++)
            if (r->old[k].newest && r->old[k].folder == j->folder)
                newest = r->old[k].generation;
        if (!r->uid_known || (j->generation > newest && memcmp(j->uid, r->uid, FRAME_UID_BYTES) == 0)) {
            log_path_journal(r->path, r->o->options->dir, j->folder, j->sequence);
            return err_set(&r->o->err, ST_CORRUPT, "%s: the head is damaged, and later records are there", r->path);
        }
    }
    return 0;
}

/* A journal that the newest head lists must be there; if it is not, files without a head may be what is left of it. */
static void keep_headless_if_missing(struct recover *r)
{
    bool missing = false;
    for (uint32_t i = 0; i < r->old_count; i++)
        for (uint32_t n = 0; r->old[i].newest && n < r->old[i].head.journals; n++) {
            bool found = false;
            for (uint32_t k = 0; k < r->old_count; k++)
                found |= r->old[k].head_ok && r->old[k].generation == r->old[i].older[n].uid;
            missing |= !found;
        }
    for (uint32_t i = 0; missing && i < r->old_count; i++)
        r->old[i].damaged |= !r->old[i].head_ok;
}

/* Order of replay: by loop, then by generation. */
static int compare_journals(const void *a, const void *b)
{
    const struct old_journal *x = a, *y = b;
    if (x->head.loop_index != y->head.loop_index)
        return x->head.loop_index < y->head.loop_index ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}

/* ---- 2 and 4: walking journals ---------------------------------------------------------------------------------- */

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
        struct log_shard *s = shard_of(r, p.uid);
        if (!s)
            return -ENOMEM;
        s->confirmed = true;
        if (p.next > s->proven)
            s->proven = p.next;
    }
    for (uint32_t i = 0; i < h.entries; i++) {
        struct log_entry e;
        log_entry_read(entries + (size_t)i * LOG_ENTRY_BYTES, &e);
        status = take_entry(r, &e);
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
        status = take_entry(r, &e);
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
    struct log_shard *s = shard_of(r, h->shard_uid);
    if (s)
        s->confirmed = true; /* a gap shows in step 4 */
    return s ? 0 : -ENOMEM;
}

/* Step 4: a frame that is in no segment becomes an entry. 1: stop, memory is short. */
static int load_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                      uint32_t crc)
{
    struct recover *r = fs->owner;
    struct block_header b;
    if (h->kind != LOG_KIND_BLOCK)
        return 0;
    struct log_shard *s = shard_of(r, h->shard_uid);
    if (!s)
        return -ENOMEM;
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
    if (cache_take(s->log, frame_space(h->stored_bytes), &chunk, &mem) == 0) {
        e = cache_entry_add(s, chunk, mem);
        cache_unpin(s->log, chunk);
    }
    if (!e) { /* again once a flush has given memory back */
        fs->scan.position = offset;
        fs->scan.previous_crc = h->previous_crc;
        return 1;
    }
    memset(mem + FRAME_HEADER_BYTES + h->stored_bytes, 0,
           page_up(frame_space(h->stored_bytes)) - FRAME_HEADER_BYTES - h->stored_bytes);
    memcpy(mem + FRAME_HEADER_BYTES, body.ptr, body.len);
    e->stored_bytes = h->stored_bytes;
    e->record_count = b.record_count;
    e->base = b.base_counter;
    e->arrival = b.arrival;
    e->body_crc = h->body_crc;
    s->journal_sent = s->journal_pos = s->ring_tail;
    s->durable_next = end;
    s->durable_arrival = s->last_arrival = b.arrival;
    if (!list_linked(&s->unmigrated_link))
        list_push_back(&s->log->unmigrated, &s->unmigrated_link);
    return 0;
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

static bool flushes_pending(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        if (!list_empty(&r->o->logs[i]->unmigrated))
            return true;
    return false;
}

static void start_flushes(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->unmigrated) {
            struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
            flush_start(s, false);
        }
}

/* Walks r->walking to its end, resuming behind damage. */
static void walk_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    log_path_journal(r->path, r->o->options->dir, r->walking->folder, r->walking->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    r->scan.file = (struct io_file){(int)t->op.result};
    if (r->loading) { /* what is accepted is on stable storage before anything follows from it */
        TASK_AWAIT(t, io_datasync(t->loop, &t->op, r->scan.file));
        if (t->op.result < 0) {
            r->scan.task.status = fail(r, (int)t->op.result, r->path);
            goto close_file;
        }
    }
    walk_begin(r);
    for (;;) {
        TASK_CALL(t, file_scan_start(&r->scan, t));
        if (r->scan.task.status < 0)
            break;
        if (r->scan.task.status == 1) { /* memory is short: move what there is to the segments */
            if (!flushes_pending(r)) {
                r->scan.task.status = -ENOMEM;
                break;
            }
            start_flushes(r);
            r->flush_progress = false;
            while (!r->flush_progress)
                TASK_PARK(t);
            continue;
        }
        if (frame_scan_verdict(&r->scan.scan) == FRAME_END_VERSION) {
            r->scan.task.status = fail(r, ST_VERSION, r->path);
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

/* ---- 3: segments of direct shards -------------------------------------------------------------------------------- */

static int segment_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                         uint32_t crc)
{
    struct recover *r = fs->owner;
    struct log_shard *s = r->shard;
    struct block_header b;
    if (h->shard_uid != s->uid)
        return ST_CORRUPT;
    if (h->kind == LOG_KIND_BLOCK) {
        int status = block_header_read(body, &b);
        if (status < 0)
            return status;
        if (b.base_counter >= r->next_base)
            return 1; /* left by a write that failed: the shard went on in the next file */
        s->segment_next = b.base_counter + b.record_count;
        s->last_arrival = b.arrival;
    }
    s->segment_end = offset + frame_space(h->stored_bytes);
    s->segment_crc = crc;
    return 0;
}

/* The least base above the active segment's among the folder's names; UINT64_MAX: none. */
static uint64_t next_base(const struct log_shard *s, const struct io_names *names)
{
    uint64_t best = UINT64_MAX, base;
    for (uint32_t i = 0; i < names->count; i++)
        if (log_name_parse(names->name[i], ".seg", &base) && (!s->has_segment || base > s->segment_base) && base < best)
            best = base;
    return best;
}

/* The first page of the next segment: 1 and the shard stands at it, 0 if it was never completed, or ST_CORRUPT. */
static int enter_segment(struct recover *r, struct slice page)
{
    struct log_shard *s = r->shard;
    struct frame_header h;
    struct log_segment_head head;
    uint32_t crc;
    if (frame_header_read(page, &h, &crc) < 0 || h.kind != LOG_KIND_SEGMENT || h.offset != 0 || h.shard_uid != s->uid ||
        memcmp(h.log_uid, r->uid, FRAME_UID_BYTES) != 0 || page.len < frame_space(h.stored_bytes) ||
        crc32c(0, page.ptr + FRAME_HEADER_BYTES, h.stored_bytes) != h.body_crc ||
        log_segment_head_read(slice_of(page.ptr + FRAME_HEADER_BYTES, h.stored_bytes), &head) < 0)
        return 0;
    if (head.base != r->next_base)
        return 0;
    if (head.base != s->segment_next ||
        (s->has_segment && head.previous_generation == s->segment_generation && head.previous_end > s->segment_end))
        return ST_CORRUPT; /* the segment before it has lost what was synced */
    s->has_segment = true;
    s->segment_base = head.base;
    s->segment_generation = h.generation;
    s->segment_size = head.size;
    s->segment_end = 0;
    s->segment_crc = 0;
    s->index_from = UINT64_MAX;
    return 1;
}

/* Frames of a file whose first frame is not good: was anything in it ever synced? */
static bool holds_synced(struct recover *r, struct slice window)
{
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN) {
        struct frame_header h;
        uint32_t crc;
        if (memcmp(window.ptr + at, "SFRM", 4) == 0 && frame_header_read(slice_from(window, at), &h, &crc) == 0 &&
            memcmp(h.log_uid, r->uid, FRAME_UID_BYTES) == 0 && h.shard_uid == r->shard->uid && h.offset == at &&
            h.durable_to > 0)
            return true;
    }
    return false;
}

static void segment_scan_begin(struct recover *r)
{
    struct log_shard *s = r->shard;
    struct frame_context c = {.generation = s->segment_generation, .known_durable_to = s->segment_end};
    memcpy(c.log_uid, r->uid, FRAME_UID_BYTES);
    frame_scan_init(&r->scan.scan, &c, s->segment_end, s->segment_crc);
    r->scan.limit = UINT64_MAX;
    r->scan.frame = segment_frame;
    r->scan.owner = r;
    r->scan.file = r->file;
}

/* Walks the shard's segments from their checkpointed end on, and syncs what is accepted. */
static void direct_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct log_shard *s = r->shard;
    int status;
    TASK_BEGIN(t);
    log_path_shard_dir(r->path, r->o->options->dir, s->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
    if (t->op.result == -ENOENT && !s->has_segment)
        TASK_EXIT(t, 0);
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    r->next_base = next_base(s, &r->names);
    r->entered = s->has_segment;
    for (;;) {
        if (r->entered) {
            log_path_segment(r->path, r->o->options->dir, s->uid, s->segment_base);
            TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_WRITE | IO_DIRECT));
            if (t->op.result == -ENOENT) {
                shard_quarantine(s, r->path, 0, "the file is missing");
                break;
            }
            if (t->op.result < 0) {
                r->status = (int)t->op.result;
                io_names_free(&r->names);
                TASK_EXIT(t, fail(r, r->status, r->path));
            }
            r->file = (struct io_file){(int)t->op.result};
            segment_scan_begin(r);
            TASK_CALL(t, file_scan_start(&r->scan, t));
            if (r->scan.task.status < 0 && r->scan.task.status != ST_CORRUPT) {
                r->status = r->scan.task.status;
                goto close_file;
            }
            if (r->scan.task.status == ST_CORRUPT ||
                (r->scan.task.status == 0 && frame_scan_verdict(&r->scan.scan) == FRAME_END_CORRUPT))
                shard_quarantine(s, r->path, r->scan.scan.end, "damage below what was synced");
            TASK_AWAIT(t, io_datasync(t->loop, &t->op, r->file));
            r->status = t->op.result < 0 ? (int)t->op.result : 0;
        close_file:
            TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
            if (r->status < 0) {
                io_names_free(&r->names);
                TASK_EXIT(t, fail(r, r->status, r->path));
            }
            if (s->state == LOG_SHARD_QUARANTINED)
                break;
        }
        r->next_base = next_base(s, &r->names);
        if (r->next_base == UINT64_MAX)
            break;
        log_path_segment(r->path, r->o->options->dir, s->uid, r->next_base);
        TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
        if (t->op.result >= 0) {
            r->file = (struct io_file){(int)t->op.result};
            TASK_AWAIT(t, io_read(t->loop, &t->op, r->file, r->buf, HEAD_WINDOW_BYTES, 0));
            if (t->op.result < 0) {
                r->status = (int)t->op.result;
                TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
                t->op.result = r->status;
            }
        }
        if (t->op.result < 0) {
            r->status = (int)t->op.result;
            io_names_free(&r->names);
            TASK_EXIT(t, fail(r, r->status, r->path));
        }
        status = t->op.result < 0 ? 0 : enter_segment(r, slice_of(r->buf, (size_t)t->op.result));
        if (status == 0 && t->op.result > 0 && holds_synced(r, slice_of(r->buf, (size_t)t->op.result)))
            status = ST_CORRUPT;
        if (status == ST_CORRUPT)
            shard_quarantine(s, r->path, 0, "damage below what was synced");
        r->entered = status == 1;
        TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
        if (!r->entered)
            break;
        r->next_base = next_base(s, &r->names);
    }
    io_names_free(&r->names);
    TASK_END(t, 0);
}

/* Files beyond the active segment were started by a write that never counted; a later opening must not meet them. */
static void strays_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct log_shard *s = r->shard;
    uint64_t base;
    TASK_BEGIN(t);
    log_path_shard_dir(r->path, r->o->options->dir, s->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
    if (t->op.result < 0)
        TASK_EXIT(t, 0);
    for (r->folder_at = 0; r->folder_at < r->names.count; r->folder_at++) {
        if (!log_name_parse(r->names.name[r->folder_at], ".seg", &base) || (s->has_segment && base <= s->segment_base))
            continue;
        log_path_segment(r->path, r->o->options->dir, s->uid, base);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path));
        r->strays = true;
    }
    io_names_free(&r->names);
    if (r->strays) {
        r->strays = false;
        log_path_shard_dir(r->path, r->o->options->dir, s->uid);
        TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->path));
    }
    TASK_END(t, 0);
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

static void for_each_shard(struct recover *r, void (*f)(struct recover *r, struct log_shard *s))
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->shards)
            f(r, CONTAINER_OF(it, struct log_shard, link));
}

/* Before the frames are loaded: what lies in segments is what there is. */
static void stand_at_segment(struct recover *r, struct log_shard *s)
{
    s->durable_next = s->segment_next;
    s->durable_arrival = s->segment_last_arrival = s->last_arrival;
}

static void judge(struct recover *r, struct log_shard *s)
{
    if (s->deleting)
        return;
    if (s->durable_next < s->proven)
        shard_quarantine(s, "commit journal", 0, "acknowledged records are missing");
    else if (r->unproven && !s->confirmed && s->proven)
        shard_quarantine(s, "commit journal", 0, "damage may have taken records of this shard");
}

static void settle_counters(struct recover *r, struct log_shard *s)
{
    if (r->skip && s->state == LOG_SHARD_OK && !s->deleting) {
        s->skip_from = s->durable_next;
        s->skip_to = s->segment_next = s->durable_next = s->durable_next + COUNTER_SKIP;
    }
    s->next_counter = s->synced_next = s->durable_next;
    s->mark = MARK_NONE;
    s->reopening = s->flush_failed = s->fenced_by_journal = false;
    segment_close(s->log, &s->segment_file);
}

/* Whether a loop that did not sync every commit has stopped without saying so. */
static bool must_skip(const struct recover *r)
{
    for (uint32_t i = 0; i < r->old_count; i++)
        if (r->old[i].newest && r->old[i].head.sync != LOG_SYNC_BATCH && !r->old[i].clean)
            return true;
    return false;
}

/* ---- 6 and 7 ------------------------------------------------------------------------------------------------------ */

static void rolled(struct log_journal_waiter *w, int status)
{
    struct recover *r = CONTAINER_OF(w, struct recover, waiter);
    r->status = status;
    r->rolled = true;
    task_wake(&r->sub);
}

/* The folder and the first journal of r->log. */
static void journal_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    log_path_journal_dir(r->path, r->log->dir, r->log->index);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    for (uint32_t i = 0; i < r->old_count; i++)
        if (r->old[i].folder == r->log->index && r->old[i].sequence > r->log->journal_sequence)
            r->log->journal_sequence = r->old[i].sequence;
    r->waiter.rolled = rolled;
    r->rolled = false;
    r->log->journal_waiter = &r->waiter;
    journal_roll_start(r->log);
    while (!r->rolled)
        TASK_PARK(t);
    TASK_END(t, r->status < 0 ? fail(r, r->status, "create the commit journal") : 0);
}

/* Old journals go; damaged ones are kept under another name. */
static void remove_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    for (r->at = 0; r->at < r->old_count; r->at++) {
        log_path_journal(r->path, r->o->options->dir, r->old[r->at].folder, r->old[r->at].sequence);
        if (r->old[r->at].damaged) {
            snprintf(r->path2, sizeof r->path2, "%s.damaged", r->path);
            TASK_AWAIT(t, io_rename(t->loop, &t->op, r->path, r->path2));
        } else {
            TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path));
        }
    }
    TASK_END(t, 0);
}

/* A log on its way to its own loop: first it opens its journal there; then, once all could, it is started (or closed
 * again, if one could not). */
struct opening_hand {
    struct io_msg msg;
    struct task task;
    struct recover *r;
    struct log *log;
    bool second, start;
    int status;
    char path[LOG_PATH_MAX];
};

static void hand_back(struct io_msg *m)
{
    struct opening_hand *h = CONTAINER_OF(m, struct opening_hand, msg);
    h->r->handed++;
    if (h->status < 0)
        h->r->status = h->status;
    task_wake(&h->r->task);
}

static void hand_run(struct task *t)
{
    struct opening_hand *h = CONTAINER_OF(t, struct opening_hand, task);
    struct journal_file *j = h->log->journal;
    TASK_BEGIN(t);
    if (!h->second) {
        log_path_journal(h->path, h->log->dir, h->log->index, j->sequence);
        TASK_AWAIT(t, io_open(t->loop, &t->op, h->path, IO_READ | IO_WRITE | IO_DIRECT));
        if (t->op.result >= 0)
            j->file = (struct io_file){(int)t->op.result};
        else
            h->status = (int)t->op.result;
    } else if (h->start) {
        log_started(h->log);
    } else if (j->file.id >= 0) {
        TASK_AWAIT(t, io_close(t->loop, &t->op, j->file));
        j->file = IO_FILE_NONE;
    }
    TASK_END(t, 0);
}

static void hand_finished(struct task *t)
{
    struct opening_hand *h = CONTAINER_OF(t, struct opening_hand, task);
    h->msg.deliver = hand_back;
    loop_post(h->r->loop, &h->msg);
}

/* On the log's own loop. */
static void hand_over(struct io_msg *m)
{
    struct opening_hand *h = CONTAINER_OF(m, struct opening_hand, msg);
    h->task.finished = hand_finished;
    task_start(&h->task, h->log->loop, hand_run, NULL);
}

static void hand_all(struct recover *r, bool second)
{
    r->handed = 0;
    for (uint32_t i = 0; i < r->loops; i++) {
        struct opening_hand *h = &r->hands[i];
        struct log *log = r->o->logs[i];
        h->r = r;
        h->log = log;
        h->second = second;
        h->start = r->status == 0;
        log->loop = r->o->loops[i];
        log->opening_hook = NULL;
        h->msg.deliver = hand_over;
        loop_post(log->loop, &h->msg);
    }
}

static uint32_t tasks_left(struct recover *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->loops; i++)
        n += r->o->logs[i] ? r->o->logs[i]->tasks : 0;
    return n;
}

static void stop_all(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        if (r->o->logs[i])
            r->o->logs[i]->closing = true; /* flushes end after their current write */
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int create_logs(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        int status = log_create(r->loop, r->o->options, r->uid, r->epoch, i, r->loops, &r->o->logs[i]);
        if (status < 0)
            return status;
        r->o->logs[i]->opening = true;
        r->o->logs[i]->opening_hook = &r->hook;
    }
    return make_live_shards(r);
}

/* The next shard, over all logs, that `wanted` says yes to; NULL at the end. */
static struct log_shard *next_shard(struct recover *r, bool (*wanted)(const struct log_shard *s))
{
    for (;;) {
        if (!r->shard_it)
            r->shard_it = r->o->logs[r->at]->shards.next;
        else
            r->shard_it = r->shard_it->next;
        while (r->shard_it == &r->o->logs[r->at]->shards) {
            if (++r->at == r->loops)
                return NULL;
            r->shard_it = r->o->logs[r->at]->shards.next;
        }
        struct log_shard *s = CONTAINER_OF(r->shard_it, struct log_shard, link);
        if (wanted(s))
            return s;
    }
}

static bool is_direct(const struct log_shard *s)
{
    return s->mark != MARK_NONE && !s->deleting && s->state == LOG_SHARD_OK;
}

static bool has_strays(const struct log_shard *s)
{
    return (s->mark != MARK_NONE || list_linked(&s->unmigrated_link)) && s->state == LOG_SHARD_OK;
}

/* A shard whose segment is damaged or missing cannot take its frames; another trouble ends the opening. */
static int flush_trouble(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->unmigrated) {
            struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
            if (s->flush)
                continue;
            if (s->state == LOG_SHARD_QUARANTINED) {
                s->durable_next = s->segment_next;
                list_remove(&s->unmigrated_link);
                cache_shard_clear(s);
            } else if (s->flush_failed) {
                return s->flush_status;
            }
        }
    return 0;
}

static uint64_t quarantined_shards(struct recover *r)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < r->loops; i++)
        n += r->o->logs[i]->stats.quarantined_shards;
    return n;
}

/* Fresh damage: the journals that were read stay as evidence. */
static void keep_evidence(struct recover *r)
{
    if (quarantined_shards(r) > r->quarantined)
        for (uint32_t i = 0; i < r->old_count; i++)
            r->old[i].damaged |= r->old[i].needed;
}

/* Descriptors, timers and deferred calls belong to this loop; the logs will run on others. */
static void let_go(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        struct log *log = r->o->logs[i];
        if (!log)
            continue;
        LIST_FOREACH (it, &log->shards)
            segment_close(log, &CONTAINER_OF(it, struct log_shard, link)->segment_file);
        if (log->journal)
            segment_close(log, &log->journal->file);
        timer_disarm(log->loop, &log->retry_timer);
        loop_defer_cancel(&log->kick);
    }
}

static void recover_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, task);
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&r->sub, t->loop, list_run, t));
    if (r->sub.status < 0)
        TASK_EXIT(t, r->sub.status);
    for (r->at = 0; r->at < r->old_count; r->at++) {
        TASK_CALL(t, task_start(&r->sub, t->loop, head_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    choose_journals(r);
    if (check_headless(r) < 0)
        TASK_EXIT(t, r->o->err.code);
    keep_headless_if_missing(r);
    if (!r->uid_known)
        loop_random(t->loop, r->uid, sizeof r->uid);
    if (r->old_count)
        qsort(r->old, r->old_count, sizeof *r->old, compare_journals);
    if (create_logs(r) < 0)
        TASK_EXIT(t, fail(r, -ENOMEM, "start the log"));
    for (r->at = 0; r->at < r->old_count; r->at++) { /* 2 */
        if (!r->old[r->at].newest)
            continue;
        r->walking = &r->old[r->at];
        TASK_CALL(t, task_start(&r->sub, t->loop, walk_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    if (!grow_buf(r, HEAD_WINDOW_BYTES))
        TASK_EXIT(t, -ENOMEM);
    r->quarantined = quarantined_shards(r);
    for (r->at = 0, r->shard_it = NULL; (r->shard = next_shard(r, is_direct));) { /* 3 */
        TASK_CALL(t, task_start(&r->sub, t->loop, direct_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    for_each_shard(r, stand_at_segment);
    r->loading = true;
    for (r->old_at = 0; r->old_at < r->old_count; r->old_at++) { /* 4 */
        if (!r->old[r->old_at].needed)
            continue;
        r->walking = &r->old[r->old_at];
        TASK_CALL(t, task_start(&r->sub, t->loop, walk_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    for_each_shard(r, judge);
    for (r->at = 0, r->shard_it = NULL; (r->shard = next_shard(r, has_strays));)
        TASK_CALL(t, task_start(&r->sub, t->loop, strays_run, t));
    start_flushes(r); /* 5 */
    while (flushes_pending(r)) {
        r->flush_progress = false;
        TASK_PARK(t);
        if (flush_trouble(r) < 0)
            TASK_EXIT(t, fail(r, flush_trouble(r), "move journaled records to their segments"));
        start_flushes(r);
    }
    keep_evidence(r);
    r->skip = must_skip(r);
    for_each_shard(r, settle_counters);
    for (r->at = 0; r->at < r->loops; r->at++) { /* 6 */
        r->log = r->o->logs[r->at];
        TASK_CALL(t, task_start(&r->sub, t->loop, journal_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    snprintf(r->path, sizeof r->path, "%s/journal", r->o->options->dir);
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->path));
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->path));
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->o->options->dir));
    if (t->op.result < 0)
        TASK_EXIT(t, fail(r, (int)t->op.result, r->o->options->dir));
    TASK_CALL(t, task_start(&r->sub, t->loop, remove_run, t)); /* 7 */
    let_go(r);
    while (tasks_left(r))
        TASK_PARK(t);
    r->status = 0;
    hand_all(r, false);
    while (r->handed < r->loops)
        TASK_PARK(t);
    hand_all(r, true);
    while (r->handed < r->loops)
        TASK_PARK(t);
    TASK_END(t, r->status);
}

/* ---- around it --------------------------------------------------------------------------------------------------- */

static void outer_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, outer);
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&r->task, t->loop, recover_run, t));
    r->status = r->task.status;
    if (r->status < 0) {
        stop_all(r);
        while (tasks_left(r))
            TASK_PARK(t);
        let_go(r);
        while (tasks_left(r))
            TASK_PARK(t);
    }
    TASK_END(t, r->status);
}

static void outer_finished(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, outer);
    struct log_open *o = r->o;
    o->status = r->status;
    if (o->status < 0) {
        if (!o->err.code)
            err_set_status(&o->err, o->status, "open the log in %s", o->options->dir);
        for (uint32_t i = 0; i < r->loops; i++) {
            log_free(o->logs[i]);
            o->logs[i] = NULL;
        }
    }
    for (uint32_t i = 0; i < r->old_count; i++)
        free(r->old[i].older);
    free(r->old);
    free(r->hands);
    io_names_free(&r->folders);
    io_buffer_free(r->buf);
    file_scan_deinit(&r->scan);
    free(r);
    o->done(o);
}

/* Some background work of a log has ended. */
static void progress(struct log_opening_hook *h)
{
    struct recover *r = CONTAINER_OF(h, struct recover, hook);
    r->flush_progress = true;
    if (r->outer.parked)
        task_wake(&r->outer);
    else if (r->task.parked)
        task_wake(&r->task);
    else
        task_wake(&r->sub);
}

struct opening_start {
    struct io_msg msg;
    struct recover *r;
};

static void start_deferred(struct io_msg *m)
{
    struct opening_start *b = CONTAINER_OF(m, struct opening_start, msg);
    struct recover *r = b->r;
    free(b);
    r->outer.finished = outer_finished;
    task_start(&r->outer, r->loop, outer_run, NULL);
}

void log_open(struct log_open *o)
{
    struct recover *r = calloc(1, sizeof *r);
    struct opening_start *b = calloc(1, sizeof *b);
    o->status = 0;
    o->err = (struct err){0};
    o->unknown_count = 0;
    CHECK(o->loop_count > 0 && r && b);
    for (uint32_t i = 0; i < o->loop_count; i++)
        o->logs[i] = NULL;
    r->hands = calloc(o->loop_count, sizeof *r->hands);
    CHECK(r->hands);
    r->o = o;
    r->loop = o->loops[0];
    r->loops = o->loop_count;
    r->hook.progress = progress;
    b->r = r;
    b->msg.deliver = start_deferred;
    loop_post(r->loop, &b->msg); /* done never comes inside the call */
}
