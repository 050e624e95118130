/*
 * Step 1 of the opening: finds the journal files, reads their heads (either copy), and decides which count: those of the
 * last opening that was completed, the newest of each loop and the older ones that its head lists. Thread: the calling
 * loop's.
 */
#include "broker/log/log_recover.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

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

/* Reads the head of old[at]. */
void recover_head_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    struct old_journal *j = &r->old[r->at];
    TASK_BEGIN(t);
    log_path_journal(r->path, r->o->options->dir, j->folder, j->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    r->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_size(t->loop, &t->op, r->file));
    j->size = t->op.result > 0 ? (uint64_t)t->op.result : 0;
    r->want = HEAD_WINDOW_BYTES;
    while (r->want) {
        if (!recover_grow_buf(r, r->want))
            TASK_EXIT(t, -ENOMEM);
        TASK_AWAIT(t, io_read(t->loop, &t->op, r->file, r->buf, page_up(r->want), 0));
        if (t->op.result < 0)
            TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
        r->got = (size_t)t->op.result;
        if (find_head(r, j, slice_of(r->buf, r->got), &r->want) || r->got < r->buf_bytes || r->got >= HEAD_SEARCH_BYTES)
            r->want = 0;
    }
    if (!j->head_ok)
        note_strays(j, slice_of(r->buf, r->got));
    TASK_AWAIT(t, io_close(t->loop, &t->op, r->file));
    TASK_END(t, 0);
}

void recover_list_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    const char *dir = r->o->options->dir;
    TASK_BEGIN(t);
    snprintf(r->path, sizeof r->path, "%s/journal", dir);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    snprintf(r->path, sizeof r->path, "%s/shards", dir);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    snprintf(r->path, sizeof r->path, "%s/journal", dir);
    TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->folders));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    for (r->folder_at = 0; r->folder_at < r->folders.count; r->folder_at++) {
        snprintf(r->path, sizeof r->path, "%s/journal/%s", dir, r->folders.name[r->folder_at]);
        TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
        if (t->op.result < 0)
            TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
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

void recover_choose(struct recover *r)
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
int recover_check_headless(struct recover *r)
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
void recover_keep_headless(struct recover *r)
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
int recover_compare(const void *a, const void *b)
{
    const struct old_journal *x = a, *y = b;
    if (x->head.loop_index != y->head.loop_index)
        return x->head.loop_index < y->head.loop_index ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}
