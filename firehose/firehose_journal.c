/*
 * The journal's I/O. One operation at a time, so one io_op carries everything; what is appended meanwhile waits in
 * `pending` and goes out together with the next write.
 *
 *            list, read the newest file that has a checkpoint
 *   NEW ─────────────────────────────────────────────────────▶ roll ───▶ IDLE ◀──────────────┐
 *                                                               ▲  ▲       │ flush            │ datasync done:
 *                       a write or a sync failed, or the file   │  │       ▼                  │ appends done
 *                       is full ─────────────────────────────────┘  │     WRITING ─▶ SYNCING ──┘
 *                                                     a roll failed │
 *                                                     (after a pause)
 * Invariants
 *  F1. A file begins with a checkpoint; it becomes the current one only once that is synced and its folder is too. The
 *      older files are removed only then. So there is always one good file, and the newest good one has everything.
 *  F2. Once a roll has begun, nothing is appended to the old file any more, also if the roll fails: the new file may be
 *      on disk after all, and would be taken at the next opening.
 *  F3. After a failed write or sync the file is given up. The next file's checkpoint holds the state with all appends,
 *      those that wait included; they are done when it is durable.
 *  F4. A frame's durable_to is the end of the last frame that was synced before it (not of its padding: what lies
 *      there proves nothing). 100 ms after the last write, and at a close, a mark
 *      is written, so that the last entry too is known to have been synced.
 *  F5. Opening always rolls: a torn tail is never appended to.
 *
 * Failure modes: a full or failing disk: rolls are tried again with growing pauses (100 ms to 10 s); appends wait,
 * nothing is acknowledged. Damage below what was synced: the opening reports ST_CORRUPT. Errors while reading at the
 * opening are tried again like rolls. Thread: the loop's.
 */
#include "firehose/firehose_journal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/journal_file.h"

#define MARK_AFTER_MS  100
#define RETRY_MS_MIN   100
#define RETRY_MS_MAX   10000
#define FILE_BYTES_MAX (256u << 20)
#define PENDING_MAX    (256u << 20)

enum phase { PHASE_NEW, PHASE_OPENING, PHASE_IDLE, PHASE_BUSY, PHASE_WAITING, PHASE_CLOSED };

struct firehose_journal {
    struct loop *loop;
    char folder[FIREHOSE_JOURNAL_PATH_MAX - JOURNAL_NAME_CHARS - 2];
    uint64_t roll_bytes;
    struct journal_state state;
    struct firehose_journal_stats stats;
    enum phase phase;
    uint64_t next_object;

    struct journal_tail tail;
    uint64_t generation_last; /* the greatest that was ever tried */
    struct io_file file;
    bool have_file, need_roll, need_mark;

    /* entries not written yet, each: kind (1), length (4), body */
    struct bytebuf pending, body, out;
    struct list waiting, flying; /* struct firehose_append */
    struct io_defer flush;
    struct io_timer timer; /* the mark, or a retry */
    uint32_t retry_ms;

    /* opening */
    void (*opened)(struct firehose_journal *j, int status, const struct err *e);
    void *owner;
    bool found, state_read, open_reported;
    struct io_names names;
    uint64_t *older; /* generations of this delivery's files, ascending */
    uint32_t older_count, reading;
    uint8_t *content;
    size_t content_bytes;

    void (*closed)(struct firehose_journal *j);
    bool close_tried;

    struct io_op op;
    char path[FIREHOSE_JOURNAL_PATH_MAX];
};

static void open_list(struct firehose_journal *j);
static void roll_start(struct firehose_journal *j);
static void work(struct firehose_journal *j);
static void flush_run(struct io_defer *d);
static void timer_fired(struct io_timer *t);

/* ---- life -------------------------------------------------------------------------------------------------------- */

int firehose_journal_create(struct loop *loop, const struct firehose_journal_options *options,
                            struct firehose_journal **out)
{
    struct firehose_journal *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    if (strlen(options->folder) >= sizeof j->folder) {
        free(j);
        return -ENAMETOOLONG;
    }
    memcpy(j->folder, options->folder, strlen(options->folder) + 1);
    j->loop = loop;
    j->roll_bytes = options->roll_bytes ? options->roll_bytes : FIREHOSE_JOURNAL_ROLL_BYTES;
    journal_state_init(&j->state);
    j->state.delivery_uid = j->tail.delivery_uid = options->delivery_uid;
    memcpy(j->tail.log_uid, options->log_uid, FRAME_UID_BYTES);
    bytebuf_init(&j->pending, PENDING_MAX);
    bytebuf_init(&j->body, PENDING_MAX);
    bytebuf_init(&j->out, PENDING_MAX);
    list_init(&j->waiting);
    list_init(&j->flying);
    j->flush.run = flush_run;
    j->timer.fired = timer_fired;
    j->retry_ms = RETRY_MS_MIN;
    *out = j;
    return 0;
}

static void opening_forget(struct firehose_journal *j)
{
    io_names_free(&j->names);
    j->names = (struct io_names){0};
    free(j->older);
    j->older = NULL;
    free(j->content);
    j->content = NULL;
    j->older_count = 0;
}

void firehose_journal_destroy(struct firehose_journal *j)
{
    if (!j)
        return;
    CHECK(j->phase == PHASE_NEW || j->phase == PHASE_CLOSED);
    opening_forget(j);
    journal_state_deinit(&j->state);
    bytebuf_deinit(&j->pending);
    bytebuf_deinit(&j->body);
    bytebuf_deinit(&j->out);
    free(j);
}

void *firehose_journal_owner(const struct firehose_journal *j)
{
    return j->owner;
}

bool firehose_journal_found(const struct firehose_journal *j)
{
    return j->found;
}

const struct journal_state *firehose_journal_state(const struct firehose_journal *j)
{
    return &j->state;
}

uint64_t firehose_journal_take_object(struct firehose_journal *j)
{
    if (j->next_object < j->state.next_object)
        j->next_object = j->state.next_object;
    return j->next_object++;
}

const struct firehose_journal_stats *firehose_journal_stats(const struct firehose_journal *j)
{
    return &j->stats;
}

static struct firehose_journal *of(struct io_op *op)
{
    return CONTAINER_OF(op, struct firehose_journal, op);
}

static struct io_op *next(struct firehose_journal *j, io_done_fn *done)
{
    j->op.done = done;
    return &j->op;
}

static const char *file_path(struct firehose_journal *j, uint64_t generation)
{
    char name[JOURNAL_NAME_CHARS + 1];
    journal_file_name(j->state.delivery_uid, generation, name);
    snprintf(j->path, sizeof j->path, "%s/%s", j->folder, name);
    return j->path;
}

/* A try has failed: again after a pause, from work(). */
static void retry_later(struct firehose_journal *j, int error)
{
    j->stats.failures++;
    j->stats.last_error = error;
    if (j->phase != PHASE_OPENING)
        j->phase = PHASE_WAITING;
    if (j->closed && j->close_tried) {
        work(j);
        return;
    }
    j->close_tried = j->closed != NULL;
    timer_arm(j->loop, &j->timer, mono_add_ms(loop_now(j->loop), j->retry_ms));
    j->retry_ms = j->retry_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : j->retry_ms * 2;
}

/* ---- rolling to a new file ---------------------------------------------------------------------------------------- */

static void complete(struct firehose_journal *j, struct list *appends)
{
    for (struct list *n; (n = list_pop_front(appends));) {
        struct firehose_append *a = CONTAINER_OF(n, struct firehose_append, link);
        a->done(a);
    }
}

static void opened_report(struct firehose_journal *j, int status, const struct err *e)
{
    if (j->open_reported)
        return;
    j->open_reported = true;
    opening_forget(j);
    j->opened(j, status, e);
}

/* Older files go one after the other; what stays behind is removed at the next roll or opening. */
static void roll_unlink(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (j->older_count) {
        io_unlink(j->loop, next(j, roll_unlink), file_path(j, j->older[--j->older_count]));
        return;
    }
    j->phase = PHASE_IDLE;
    j->retry_ms = RETRY_MS_MIN;
    j->stats.last_error = 0;
    j->stats.rolls++;
    struct list done;
    list_init(&done);
    list_splice_back(&done, &j->flying);
    opened_report(j, 0, NULL);
    complete(j, &done);
    work(j);
}

static void roll_synced_dir(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        retry_later(j, (int)op->result);
        return;
    }
    j->need_roll = false;
    j->need_mark = true;
    j->tail.durable = j->tail.frames_end;
    roll_unlink(op);
}

static void roll_synced(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0)
        retry_later(j, (int)op->result);
    else
        io_sync_dir(j->loop, next(j, roll_synced_dir), j->folder);
}

static void roll_written(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        retry_later(j, (int)op->result);
        return;
    }
    j->stats.writes++;
    j->stats.bytes += j->out.len;
    j->tail.end = j->out.len;
    io_datasync(j->loop, next(j, roll_synced), j->file);
}

static void roll_created(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        retry_later(j, (int)op->result);
        return;
    }
    j->file = (struct io_file){(int)op->result};
    j->have_file = true;
    io_write(j->loop, next(j, roll_written), j->file, j->out.ptr, j->out.len, 0);
}

/* Remembers the file that is given up, so that it is removed once the next one is good. */
static int remember_old(struct firehose_journal *j, uint64_t generation)
{
    uint64_t *older = realloc(j->older, (j->older_count + 1) * sizeof *older);
    if (!older)
        return -ENOMEM;
    j->older = older;
    j->older[j->older_count++] = generation;
    return 0;
}

static void roll_create(struct firehose_journal *j)
{
    journal_state_forget_settings(&j->state);
    j->tail.generation = ++j->generation_last;
    j->tail.end = j->tail.frames_end = j->tail.durable = 0;
    j->tail.previous_crc = 0;
    j->tail.open_epoch = j->state.open_epoch;
    bytebuf_reset(&j->body);
    bytebuf_reset(&j->out);
    journal_write_checkpoint(&j->state, &j->body);
    journal_frame_add(&j->tail, JOURNAL_CHECKPOINT, bytebuf_view(&j->body), &j->out);
    journal_write_pad(&j->out);
    if (bytebuf_failed(&j->body) || bytebuf_failed(&j->out) || remember_old(j, j->tail.generation) < 0) {
        retry_later(j, -ENOMEM);
        return;
    }
    j->older_count--; /* there is room for it now: remember_old cannot fail when it is given up */
    /* everything appended so far is in the checkpoint */
    bytebuf_reset(&j->pending);
    list_splice_back(&j->flying, &j->waiting);
    io_open(j->loop, next(j, roll_created), file_path(j, j->tail.generation), IO_WRITE | IO_CREATE | IO_EXCL);
}

static void roll_closed_old(struct io_op *op)
{
    roll_create(of(op));
}

static void roll_start(struct firehose_journal *j)
{
    if (j->phase != PHASE_OPENING)
        j->phase = PHASE_BUSY;
    j->need_roll = true; /* F2 */
    if (j->tail.generation && (!j->older_count || j->older[j->older_count - 1] != j->tail.generation) &&
        remember_old(j, j->tail.generation) < 0) {
        retry_later(j, -ENOMEM);
        return;
    }
    if (j->have_file) {
        j->have_file = false;
        io_close(j->loop, next(j, roll_closed_old), j->file);
        return;
    }
    roll_create(j);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void write_synced(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) { /* never again on this file */
        j->need_roll = true;
        retry_later(j, (int)op->result);
        return;
    }
    j->stats.writes++;
    j->stats.bytes += j->out.len;
    j->tail.durable = j->tail.frames_end;
    j->phase = PHASE_IDLE;
    struct list done;
    list_init(&done);
    list_splice_back(&done, &j->flying);
    complete(j, &done);
    work(j);
}

static void write_written(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        j->need_roll = true;
        retry_later(j, (int)op->result);
        return;
    }
    j->tail.end += j->out.len;
    io_datasync(j->loop, next(j, write_synced), j->file);
}

/* Builds the frames of all that is pending (or a mark) at the file's end and writes them. */
static void write_start(struct firehose_journal *j)
{
    bytebuf_reset(&j->out);
    struct slice rest = bytebuf_view(&j->pending);
    j->need_mark = rest.len != 0;
    if (!rest.len)
        journal_frame_add(&j->tail, FRAME_KIND_MARK, SLICE_NULL, &j->out);
    while (rest.len) {
        uint32_t len;
        memcpy(&len, rest.ptr + 1, sizeof len);
        journal_frame_add(&j->tail, rest.ptr[0], slice_of(rest.ptr + 5, len), &j->out);
        rest = slice_from(rest, 5 + (size_t)len);
    }
    journal_write_pad(&j->out);
    if (bytebuf_failed(&j->out)) {
        j->need_roll = true; /* the frames' chain has moved on */
        retry_later(j, -ENOMEM);
        return;
    }
    bytebuf_reset(&j->pending);
    list_splice_back(&j->flying, &j->waiting);
    j->phase = PHASE_BUSY;
    io_write(j->loop, next(j, write_written), j->file, j->out.ptr, j->out.len, j->tail.end);
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

static void close_finish(struct firehose_journal *j)
{
    timer_disarm(j->loop, &j->timer);
    loop_defer_cancel(&j->flush);
    j->phase = PHASE_CLOSED;
    opening_forget(j);
    list_init(&j->waiting);
    list_init(&j->flying);
    void (*closed)(struct firehose_journal *) = j->closed;
    j->closed = NULL;
    closed(j);
}

static void close_closed(struct io_op *op)
{
    close_finish(of(op));
}

static void close_file(struct firehose_journal *j)
{
    j->phase = PHASE_BUSY;
    if (j->have_file) {
        j->have_file = false;
        io_close(j->loop, next(j, close_closed), j->file);
    } else {
        close_finish(j);
    }
}

/* Nothing is in flight: what is next? */
static void work(struct firehose_journal *j)
{
    bool idle = j->phase == PHASE_IDLE;
    if (!idle && j->phase != PHASE_WAITING && !(j->phase == PHASE_OPENING && j->closed))
        return;
    if (j->closed && ((j->phase == PHASE_OPENING) || (j->close_tried && !idle)))
        close_file(j);
    else if (!idle)
        return;
    else if (j->need_roll)
        roll_start(j);
    else if (j->pending.len && j->tail.end >= j->roll_bytes)
        roll_start(j);
    else if (j->pending.len || (j->closed && j->need_mark))
        write_start(j);
    else if (j->closed)
        close_file(j);
    else if (j->need_mark)
        timer_arm(j->loop, &j->timer, mono_add_ms(loop_now(j->loop), MARK_AFTER_MS));
}

static void flush_run(struct io_defer *d)
{
    struct firehose_journal *j = CONTAINER_OF(d, struct firehose_journal, flush);
    if (j->phase == PHASE_IDLE) {
        timer_disarm(j->loop, &j->timer);
        work(j);
    } else if (j->phase == PHASE_CLOSED && j->closed) {
        close_finish(j);
    }
}

static void timer_fired(struct io_timer *t)
{
    struct firehose_journal *j = CONTAINER_OF(t, struct firehose_journal, timer);
    if (j->phase == PHASE_IDLE && !j->need_roll && j->need_mark && !j->pending.len)
        write_start(j);
    else if (j->phase == PHASE_WAITING)
        roll_start(j);
    else if (j->phase == PHASE_OPENING && j->state_read)
        roll_start(j);
    else if (j->phase == PHASE_OPENING)
        open_list(j);
}

void firehose_journal_close(struct firehose_journal *j, void (*closed)(struct firehose_journal *j))
{
    j->closed = closed;
    if (j->phase == PHASE_NEW)
        j->phase = PHASE_IDLE;
    /* what waits for a retry gets it now, once */
    if (timer_armed(&j->timer) && j->phase != PHASE_IDLE) {
        j->close_tried = true;
        timer_arm(j->loop, &j->timer, loop_now(j->loop));
        return;
    }
    loop_defer(j->loop, &j->flush);
}

/* ---- appending ---------------------------------------------------------------------------------------------------- */

/* Makes room first, so that a change of the state is always followed by its entry. */
static int append_room(struct firehose_journal *j, size_t body_bytes)
{
    CHECK(j->phase != PHASE_NEW && j->phase != PHASE_CLOSED && !j->closed);
    return bytebuf_reserve(&j->pending, 5 + body_bytes) ? 0 : (j->pending.failed = false, -ENOMEM);
}

static void append_body(struct firehose_journal *j, uint8_t kind, struct firehose_append *a)
{
    uint32_t len = (uint32_t)j->body.len;
    bytebuf_byte(&j->pending, kind);
    bytebuf_append(&j->pending, &len, sizeof len);
    bytebuf_append(&j->pending, j->body.ptr, len);
    CHECK(!bytebuf_failed(&j->pending));
    if (a)
        list_push_back(&j->waiting, &a->link);
    loop_defer(j->loop, &j->flush);
}

/* The body is built in j->body, which a roll in flight does not use any more once its frame is built. */
static struct bytebuf *body_start(struct firehose_journal *j)
{
    bytebuf_reset(&j->body);
    return &j->body;
}

int firehose_journal_settings(struct firehose_journal *j, uint32_t version, struct slice json, uint32_t *out_id,
                              struct firehose_append *a)
{
    const struct journal_state *s = &j->state;
    uint32_t id = s->settings_count ? s->settings[s->settings_count - 1].id + 1 : 1;
    journal_write_settings(&(struct journal_settings){id, version, json}, body_start(j));
    int rc = bytebuf_failed(&j->body) ? -ENOMEM : append_room(j, j->body.len);
    if (rc == 0)
        rc = journal_state_add_settings(&j->state, id, version, json);
    if (rc < 0)
        return rc;
    append_body(j, JOURNAL_SETTINGS, a);
    *out_id = id;
    return 0;
}

int firehose_journal_intent(struct firehose_journal *j, const struct journal_intent *i, struct firehose_append *a)
{
    journal_write_intent(i, body_start(j));
    int rc = bytebuf_failed(&j->body) ? -ENOMEM : append_room(j, j->body.len);
    if (rc == 0)
        rc = journal_state_add_intent(&j->state, i);
    if (rc < 0)
        return rc;
    append_body(j, JOURNAL_INTENT, a);
    return 0;
}

int firehose_journal_commit(struct firehose_journal *j, uint64_t object, struct firehose_append *a)
{
    journal_write_commit(object, body_start(j));
    int rc = bytebuf_failed(&j->body) ? -ENOMEM : append_room(j, j->body.len);
    if (rc == 0)
        rc = journal_state_commit(&j->state, object);
    if (rc < 0)
        return rc;
    append_body(j, JOURNAL_COMMIT, a);
    return 0;
}

int firehose_journal_positions(struct firehose_journal *j, const struct journal_part *parts, uint32_t count,
                               struct firehose_append *a)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct journal_part *p = journal_state_part(&j->state, parts[i].uid);
        if (p && p->position > parts[i].position)
            return ST_CONFLICT;
    }
    journal_write_positions(parts, count, body_start(j));
    int rc = bytebuf_failed(&j->body) ? -ENOMEM : append_room(j, j->body.len);
    /* a failure half-way leaves positions that no entry tells of: harmless, they are those of lost or new parts */
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = journal_state_set_position(&j->state, parts[i].uid, parts[i].position);
    if (rc < 0)
        return rc;
    append_body(j, JOURNAL_POSITIONS, a);
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void open_failed(struct firehose_journal *j, int status, struct err *e)
{
    char path[FIREHOSE_JOURNAL_PATH_MAX];
    memcpy(path, j->path, sizeof path);
    err_wrap(e, "delivery journal '%.180s'", path);
    j->stats.last_error = status;
    j->phase = PHASE_CLOSED;
    opened_report(j, status, e);
    if (j->closed)
        loop_defer(j->loop, &j->flush);
}

/* The state is known (or there is none): onto a file of its own. */
static void open_roll(struct firehose_journal *j)
{
    struct journal_state *s = &j->state;
    while (!s->incarnation)
        loop_random(j->loop, &s->incarnation, sizeof s->incarnation);
    s->open_epoch++;
    j->state_read = true;
    roll_start(j);
}

static void open_read_next(struct firehose_journal *j);

/* A whole file is in memory. */
static void open_scan(struct firehose_journal *j)
{
    struct err e = {0};
    uint64_t generation = j->older[j->reading];
    uint64_t uid = j->state.delivery_uid;
    int rc = journal_file_read(slice_of(j->content, j->content_bytes), j->tail.log_uid, generation, uid, &j->state, &e);
    free(j->content);
    j->content = NULL;
    if (rc == 1) {
        j->found = true;
        open_roll(j);
        return;
    }
    journal_state_deinit(&j->state);
    j->state.delivery_uid = uid;
    if (rc == 0)
        open_read_next(j);
    else if (rc == -ENOMEM)
        retry_later(j, rc);
    else
        open_failed(j, rc, &e);
}

static void open_closed(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (j->content)
        open_scan(j);
    else
        retry_later(j, j->stats.last_error);
}

static void open_close(struct firehose_journal *j, int error)
{
    if (error < 0) {
        free(j->content);
        j->content = NULL;
        j->stats.last_error = error;
    }
    j->have_file = false;
    io_close(j->loop, next(j, open_closed), j->file);
}

static void open_content(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result >= 0)
        j->content_bytes = (size_t)op->result;
    open_close(j, op->result < 0 ? (int)op->result : 0);
}

static void open_sized(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0 || op->result > FILE_BYTES_MAX) {
        open_close(j, op->result < 0 ? (int)op->result : -EFBIG);
        return;
    }
    size_t size = (size_t)op->result;
    j->content = malloc(size + 1);
    if (!j->content)
        open_close(j, -ENOMEM);
    else
        io_read(j->loop, next(j, open_content), j->file, j->content, size, 0);
}

static void open_opened(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        retry_later(j, (int)op->result);
        return;
    }
    j->file = (struct io_file){(int)op->result};
    j->have_file = true;
    io_size(j->loop, next(j, open_sized), j->file);
}

/* The next older file; none is left: there is no journal. */
static void open_read_next(struct firehose_journal *j)
{
    if (j->reading == 0) {
        open_roll(j);
        return;
    }
    j->reading--;
    io_open(j->loop, next(j, open_opened), file_path(j, j->older[j->reading]), IO_READ);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void open_listed(struct io_op *op)
{
    struct firehose_journal *j = of(op);
    if (op->result < 0) {
        retry_later(j, (int)op->result);
        return;
    }
    for (uint32_t i = 0; i < j->names.count; i++) {
        uint64_t uid, generation;
        if (!journal_file_name_parse(j->names.name[i], &uid, &generation) || uid != j->state.delivery_uid)
            continue;
        if (remember_old(j, generation) < 0) {
            retry_later(j, -ENOMEM);
            return;
        }
    }
    if (j->older_count)
        qsort(j->older, j->older_count, sizeof *j->older, compare_u64);
    j->generation_last = j->older_count ? j->older[j->older_count - 1] : 0;
    j->reading = j->older_count;
    open_read_next(j);
}

static void open_list(struct firehose_journal *j)
{
    opening_forget(j);
    io_list(j->loop, next(j, open_listed), j->folder, &j->names);
}

void firehose_journal_open(struct firehose_journal *j,
                           void (*opened)(struct firehose_journal *j, int status, const struct err *e), void *owner)
{
    CHECK(j->phase == PHASE_NEW);
    j->phase = PHASE_OPENING;
    j->opened = opened;
    j->owner = owner;
    open_list(j);
}
