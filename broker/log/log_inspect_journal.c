/*
 * Journals, for the offline verification: their heads, which of them count, and the two walks (log_inspect.h).
 * Thread: the loop's.
 */
#include "broker/log/log_inspect_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- listing ---------------------------------------------------------------------------------------------------- */

static int journal_add(struct inspect *i, uint32_t folder, uint64_t sequence)
{
    if (i->journal_count == i->journal_cap) {
        uint32_t cap = i->journal_cap ? 2 * i->journal_cap : 16;
        struct inspect_journal *at = realloc(i->journals, cap * sizeof *at);
        if (!at)
            return -ENOMEM;
        i->journals = at;
        i->journal_cap = cap;
    }
    i->journals[i->journal_count++] =
        (struct inspect_journal){.folder = folder, .sequence = sequence, .end = UINT64_MAX};
    return 0;
}

static int names_to_journals(struct inspect *i, const char *folder_name)
{
    uint64_t folder, sequence;
    if (!slice_parse_u64(slice_str(folder_name), &folder) || folder > UINT32_MAX)
        return 0;
    for (uint32_t k = 0; k < i->names.count; k++) {
        const char *name = i->names.name[k];
        size_t len = strlen(name);
        char file[LOG_PATH_MAX + 64];
        if (log_name_parse(name, ".jnl", &sequence) && journal_add(i, (uint32_t)folder, sequence) < 0)
            return -ENOMEM;
        if (len > 8 && strcmp(name + len - 8, ".damaged") == 0) {
            snprintf(file, sizeof file, "%s/%s", i->path, name);
            inspect_tell(i, LOG_NOTE, NULL, file, 0, "kept because an opening found damage in it; nothing reads it");
        }
    }
    return 0;
}

void inspect_list_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub);
    TASK_BEGIN(t);
    snprintf(i->path, sizeof i->path, "%s/journal", i->o->dir);
    TASK_AWAIT(t, io_list(t->loop, &t->op, i->path, &i->folders));
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    for (i->folder_at = 0; i->folder_at < i->folders.count; i->folder_at++) {
        snprintf(i->path, sizeof i->path, "%s/journal/%.64s", i->o->dir, i->folders.name[i->folder_at]);
        TASK_AWAIT(t, io_list(t->loop, &t->op, i->path, &i->names));
        if (t->op.result == -ENOTDIR)
            continue;
        if (t->op.result < 0)
            TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
        t->status = names_to_journals(i, i->folders.name[i->folder_at]);
        io_names_free(&i->names);
        if (t->status < 0)
            TASK_EXIT(t, t->status);
    }
    io_names_free(&i->folders);
    TASK_END(t, 0);
}

/* ---- heads ------------------------------------------------------------------------------------------------------ */

/* The copy of the head at `at`. False with *out_want > 0: a larger window is wanted. */
static bool head_at(struct inspect_journal *j, struct slice window, size_t at, size_t *out_want)
{
    struct frame_header h;
    struct log_head head;
    const uint8_t *journals, *entries;
    uint32_t crc;
    if (frame_header_read(slice_from(window, at), &h, &crc) < 0 || h.kind != LOG_KIND_HEAD || h.offset != at)
        return false;
    if (window.len - at - FRAME_HEADER_BYTES < h.stored_bytes) {
        *out_want = at + FRAME_HEADER_BYTES + h.stored_bytes;
        return false;
    }
    struct slice body = slice_of(window.ptr + at + FRAME_HEADER_BYTES, h.stored_bytes);
    if (crc32c(0, body.ptr, body.len) != h.body_crc || log_head_read(body, &head, &journals, &entries) < 0)
        return false;
    j->older = calloc(head.journals + 1, sizeof *j->older);
    if (!j->older)
        return false;
    for (uint32_t k = 0; k < head.journals; k++)
        j->older[k] = log_proof_read(journals + (size_t)k * LOG_PROOF_BYTES);
    j->head = head;
    j->generation = h.generation;
    j->epoch = h.open_epoch;
    memcpy(j->uid, h.log_uid, FRAME_UID_BYTES);
    return j->head_ok = true;
}

/* Either copy. False: a window of *out_want bytes is wanted; 0: there is none. */
static bool head_find(struct inspect_journal *j, struct slice window, size_t *out_want)
{
    *out_want = 0;
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN) {
        if (head_at(j, window, at, out_want))
            return true;
        if (*out_want)
            return false;
    }
    if (window.len == INSPECT_HEAD_BYTES)
        *out_want = INSPECT_HEAD_BYTES_MAX;
    return false;
}

/* Without a head: the newest generation of frames that are written only behind a durable one; 0: none. */
static void note_headless(struct inspect_journal *j, struct slice window)
{
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= window.len; at += FRAME_ALIGN) {
        struct frame_header h;
        uint32_t crc;
        if (frame_header_read(slice_from(window, at), &h, &crc) < 0 || h.offset != at ||
            (h.kind != LOG_KIND_ROUND && h.kind != LOG_KIND_BLOCK) || h.generation <= j->generation)
            continue;
        j->generation = h.generation;
        memcpy(j->uid, h.log_uid, FRAME_UID_BYTES);
    }
}

void inspect_head_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub);
    struct inspect_journal *j = &i->journals[i->journal_at];
    TASK_BEGIN(t);
    log_path_journal(i->path, i->o->dir, j->folder, j->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, i->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    i->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, i->file));
    i->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    i->want = INSPECT_HEAD_BYTES;
    do {
        i->want = page_up(i->want);
        if (!inspect_grow(i, i->want)) {
            t->status = -ENOMEM;
            break;
        }
        TASK_AWAIT(t, io_read(t->loop, &t->op, i->file, i->buf, i->want, 0));
        if (t->op.result < 0) {
            t->status = (int)t->op.result;
            break;
        }
        i->got = (size_t)t->op.result;
    } while (!head_find(j, slice_of(i->buf, i->got), &i->want) && i->want > i->got && i->got < i->size &&
             i->want <= INSPECT_HEAD_BYTES_MAX);
    if (t->status == 0 && !j->head_ok)
        note_headless(j, slice_of(i->buf, i->got));
    TASK_AWAIT(t, io_close(t->loop, &t->op, i->file));
    TASK_END(t, t->status < 0 ? inspect_fail(i, t->status, i->path) : 0);
}

/* ---- which of them count ---------------------------------------------------------------------------------------- */

static bool head_there(const struct inspect *i, uint32_t epoch, uint32_t loop)
{
    for (uint32_t k = 0; k < i->journal_count; k++)
        if (i->journals[k].head_ok && i->journals[k].epoch == epoch && i->journals[k].head.loop_index == loop)
            return true;
    return false;
}

/* The last opening of which every loop's head is there; 0: none. */
static uint32_t complete_epoch(const struct inspect *i)
{
    uint32_t best = 0;
    for (uint32_t k = 0; k < i->journal_count; k++) {
        const struct inspect_journal *j = &i->journals[k];
        uint32_t loop = 0;
        while (j->head_ok && j->epoch > best && loop < j->head.loop_count && head_there(i, j->epoch, loop))
            loop++;
        if (j->head_ok && j->epoch > best && loop == j->head.loop_count)
            best = j->epoch;
    }
    return best;
}

static bool is_newest(const struct inspect *i, const struct inspect_journal *j)
{
    if (!j->head_ok || j->epoch != i->last_epoch)
        return false;
    for (uint32_t k = 0; k < i->journal_count; k++) {
        const struct inspect_journal *other = &i->journals[k];
        if (other->head_ok && other->epoch == j->epoch && other->head.loop_index == j->head.loop_index &&
            other->generation > j->generation)
            return false;
    }
    return true;
}

/* What the newest head `j` says of older journals. */
static void need_older(struct inspect *i, const struct inspect_journal *j)
{
    char file[LOG_PATH_MAX];
    log_path_journal(file, i->o->dir, j->folder, j->sequence);
    for (uint32_t n = 0; n < j->head.journals; n++) {
        bool found = false;
        for (uint32_t k = 0; k < i->journal_count; k++) {
            struct inspect_journal *o = &i->journals[k];
            if (!o->head_ok || o->generation != j->older[n].uid)
                continue;
            found = o->needed = true;
            o->end = j->older[n].next & ~(uint64_t)LOG_END_SOFT;
            o->soft = j->older[n].next & LOG_END_SOFT;
        }
        if (!found)
            inspect_tell(i, LOG_DAMAGE, NULL, file, 0,
                         "its head needs an older journal, of generation %016llx, that is missing or has lost its head",
                         (unsigned long long)j->older[n].uid);
    }
}

static void check_headless(struct inspect *i, const struct inspect_journal *j)
{
    char file[LOG_PATH_MAX];
    uint64_t newest = 0;
    for (uint32_t k = 0; k < i->journal_count; k++)
        if (i->journals[k].newest && i->journals[k].folder == j->folder)
            newest = i->journals[k].generation;
    if (i->uid_known && (j->generation <= newest || memcmp(j->uid, i->uid, FRAME_UID_BYTES) != 0))
        return;
    log_path_journal(file, i->o->dir, j->folder, j->sequence);
    inspect_tell(i, LOG_DAMAGE, NULL, file, 0,
                 "the head is damaged, and later records are there: no opening is possible");
}

/* Order of replay: by loop, then by generation. */
static int compare_journals(const void *a, const void *b)
{
    const struct inspect_journal *x = a, *y = b;
    if (x->head.loop_index != y->head.loop_index)
        return x->head.loop_index < y->head.loop_index ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}

void inspect_choose(struct inspect *i)
{
    if (i->journal_count)
        qsort(i->journals, i->journal_count, sizeof *i->journals, compare_journals);
    i->last_epoch = complete_epoch(i);
    for (uint32_t k = 0; k < i->journal_count; k++) {
        struct inspect_journal *j = &i->journals[k];
        j->needed = j->newest = is_newest(i, j);
        if (j->newest) {
            memcpy(i->uid, j->uid, FRAME_UID_BYTES);
            i->uid_known = true;
        }
    }
    for (uint32_t k = 0; k < i->journal_count; k++)
        if (i->journals[k].newest)
            need_older(i, &i->journals[k]);
    for (uint32_t k = 0; k < i->journal_count; k++)
        if (!i->journals[k].head_ok && i->journals[k].generation)
            check_headless(i, &i->journals[k]);
}

/* ---- walking ---------------------------------------------------------------------------------------------------- */

static int take_entries(struct inspect *i, const uint8_t *from, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        struct log_entry e;
        log_entry_read(from + (size_t)k * LOG_ENTRY_BYTES, &e);
        struct inspect_shard *s = inspect_shard_of(i, e.uid);
        if (!s)
            return -ENOMEM;
        s->proved = true;
        if (e.next > s->proven)
            s->proven = e.next;
        if (s->known && e.segment_next < s->entry.segment_next)
            continue;
        if (s->known && s->entry.first_counter > e.first_counter)
            e.first_counter = s->entry.first_counter;
        s->entry = e;
        s->known = true;
    }
    return 0;
}

static int take_proofs(struct inspect *i, const uint8_t *from, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        struct log_proof p = log_proof_read(from + (size_t)k * LOG_PROOF_BYTES);
        struct inspect_shard *s = inspect_shard_of(i, p.uid);
        if (!s)
            return -ENOMEM;
        s->proved = true;
        if (p.next > s->proven)
            s->proven = p.next;
    }
    return 0;
}

/* The first walk, of the newest journals: what they know. What is wrong with them the second one tells. */
static int know_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                      uint32_t crc)
{
    struct inspect *i = fs->owner;
    const uint8_t *first, *entries;
    struct log_head head;
    struct log_round_head round;
    i->head_seen |= h->kind == LOG_KIND_HEAD;
    if (h->kind == LOG_KIND_HEAD && log_head_read(body, &head, &first, &entries) == 0)
        return take_entries(i, entries, head.entries);
    if (h->kind == LOG_KIND_ROUND && log_round_head_read(body, &round, &first, &entries) == 0) {
        int status = take_proofs(i, first, round.proofs);
        return status < 0 ? status : take_entries(i, entries, round.entries);
    }
    if (h->kind == LOG_KIND_BLOCK) {
        struct inspect_shard *s = inspect_shard_of(i, h->shard_uid);
        if (!s)
            return -ENOMEM;
        s->proved = true;
    }
    return 0;
}

static void check_round(struct inspect *i, struct slice body, uint64_t offset)
{
    struct log_round_head r;
    const uint8_t *proofs, *entries;
    if (log_round_head_read(body, &r, &proofs, &entries) < 0) {
        inspect_tell(i, LOG_DAMAGE, NULL, i->path, offset, "a round frame whose lists do not fill it");
        return;
    }
    if (i->round != UINT64_MAX && !i->resumed && r.round != i->round + 1)
        inspect_tell(i, LOG_DAMAGE, NULL, i->path, offset, "round %llu follows on round %llu",
                     (unsigned long long)r.round, (unsigned long long)i->round);
    i->round = r.round;
    i->clean = r.flags & LOG_ROUND_CLEAN;
}

static void check_head(struct inspect *i, struct slice body, uint64_t offset)
{
    struct log_head h;
    const uint8_t *journals, *entries;
    if (log_head_read(body, &h, &journals, &entries) < 0) {
        inspect_tell(i, LOG_DAMAGE, NULL, i->path, offset, "a head whose lists do not fill it");
        return;
    }
    i->round = h.round - 1;
    i->head_seen = true;
}

static int load_block(struct inspect *i, const struct frame_header *h, struct slice body, uint64_t offset)
{
    struct block_header b;
    struct inspect_shard *s = inspect_shard_of(i, h->shard_uid);
    if (!s)
        return -ENOMEM;
    if (s->removed)
        return 0;
    if (block_header_read(body, &b) == 0 && b.base_counter + b.record_count <= s->have)
        return 0; /* it lies in a segment, too */
    uint64_t records = s->report.records;
    inspect_block(i, s, body, offset, &b);
    s->report.journaled += s->report.records - records;
    return 0;
}

/* The second walk, of all that are needed: every frame, and the blocks that are in no segment. */
static int load_frame(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset,
                      uint32_t crc)
{
    struct inspect *i = fs->owner;
    int status = 0;
    inspect_frame(i, NULL, h, offset);
    if (h->kind == LOG_KIND_HEAD)
        check_head(i, body, offset);
    else if (h->kind == LOG_KIND_ROUND)
        check_round(i, body, offset);
    else if (h->kind == LOG_KIND_BLOCK)
        status = load_block(i, h, body, offset);
    else
        inspect_tell(i, LOG_DAMAGE, NULL, i->path, offset, "a frame of kind %u in a journal", h->kind);
    if (h->kind != LOG_KIND_BLOCK)
        i->resumed = false;
    return status;
}

void inspect_journal_run(struct task *t)
{
    struct inspect *i = CONTAINER_OF(t, struct inspect, sub);
    struct inspect_journal *j = i->journal;
    TASK_BEGIN(t);
    log_path_journal(i->path, i->o->dir, j->folder, j->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, i->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    i->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, i->file));
    i->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    inspect_walk_begin(i, j->generation, j->end == UINT64_MAX || j->soft ? 0 : j->end, j->end);
    i->scan.frame = i->loading ? load_frame : know_frame;
    i->head_seen = i->clean = false;
    i->round = UINT64_MAX;
    do {
        TASK_CALL(t, file_scan_start(&i->scan, t));
        t->status = i->scan.task.status;
        /* without its first copy a head has no later frame to prove it, but the second copy does */
    } while (t->status == 0 && inspect_walk_resumes(i, !i->head_seen));
    TASK_AWAIT(t, io_close(t->loop, &t->op, i->file));
    TASK_END(t, t->status < 0 ? inspect_fail(i, t->status, i->path) : 0);
}
