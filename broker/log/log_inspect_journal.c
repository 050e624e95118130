/*
 * Journals, for the offline verification: which there are, which count (as an opening chooses them), and the two walks
 * (log_inspect.h). Thread: the loop's.
 */
#include "broker/log/log_inspect_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- listing ---------------------------------------------------------------------------------------------------- */

static int journal_add(struct recover *r, uint32_t folder, uint64_t sequence)
{
    if (r->old_count == r->old_cap) {
        uint32_t cap = r->old_cap ? 2 * r->old_cap : 16;
        struct old_journal *old = realloc(r->old, cap * sizeof *old);
        if (!old)
            return -ENOMEM;
        r->old = old;
        r->old_cap = cap;
    }
    r->old[r->old_count++] = (struct old_journal){.folder = folder, .sequence = sequence, .known_end = UINT64_MAX};
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
        if (log_name_parse(name, ".jnl", &sequence) && journal_add(&i->recover, (uint32_t)folder, sequence) < 0)
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

/* ---- which of them count ---------------------------------------------------------------------------------------- */

/* Whether all that the newest head `j` names is there. */
static void check_older(struct inspect *i, const struct old_journal *j)
{
    const struct recover *r = &i->recover;
    char file[LOG_PATH_MAX];
    log_path_journal(file, i->o->dir, j->folder, j->sequence);
    for (uint32_t n = 0; n < j->head.journals; n++) {
        bool found = false;
        for (uint32_t k = 0; k < r->old_count; k++)
            found |= r->old[k].head_ok && r->old[k].generation == j->older[n].uid;
        if (!found)
            inspect_tell(
                i, LOG_NOTE, NULL, file, 0,
                "its head lists an older journal, of generation %016llx, that is not there; records that only it "
                "held are told as missing",
                (unsigned long long)j->older[n].uid);
    }
}

void inspect_choose(struct inspect *i)
{
    struct recover *r = &i->recover;
    recover_choose(r);
    if (recover_check_headless(r) < 0)
        inspect_tell(i, LOG_DAMAGE, NULL, r->path, 0, "the head is damaged, and later records are there: no opening");
    if (r->old_count)
        qsort(r->old, r->old_count, sizeof *r->old, recover_compare);
    for (uint32_t k = 0; k < r->old_count; k++)
        if (r->old[k].newest)
            check_older(i, &r->old[k]);
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
    const struct old_journal *j = i->journal;
    TASK_BEGIN(t);
    log_path_journal(i->path, i->o->dir, j->folder, j->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, i->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, inspect_fail(i, (int)t->op.result, i->path));
    i->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, i->file));
    i->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    inspect_walk_begin(i, j->generation, j->known_end == UINT64_MAX || j->soft ? 0 : j->known_end, j->known_end);
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
