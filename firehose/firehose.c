/*
 * The deliveries of one loop: an array sorted by name, the pool of pieces that they share, and the folder of their
 * journals. Deliveries do the work; here they are made, found, changed and stopped.
 *
 * A change of settings stops the delivery (which delivers what is open under the old settings) and starts another one
 * on the same journal. While that goes on the entry stays in the list, so that the name is not taken again.
 *
 * Failure modes: a delivery whose journal is damaged stays in the list as FAILED, for its status to be seen; the others
 * run. Thread: the loop's.
 */
#include "firehose/firehose.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/json_write.h"
#include "firehose/journal_file.h"

#define MEMORY_DEFAULT     (64ull << 20)
#define DELIVERIES_DEFAULT 1000u
#define FOLDER_MAX         1024u
#define UPDATE_GRACE_MS    30000u

enum entry_change { CHANGE_NONE, CHANGE_UPDATE, CHANGE_REMOVE };

struct firehose_entry {
    struct firehose *f;
    struct delivery *d;
    uint64_t uid;
    struct source *source;
    enum entry_change change;
    bool erase;
    struct delivery_settings *next; /* UPDATE */
    void (*done)(struct firehose *f, uint64_t uid, void *ctx);
    void *ctx;
};

struct firehose {
    struct firehose_options options;
    struct loop *loop;
    char folder[FOLDER_MAX + 1], above[FOLDER_MAX + 1];
    struct piece_pool pieces;
    struct firehose_entry **entries; /* sorted by name */
    uint32_t count;

    struct io_op op;
    void (*opened)(struct firehose *f, int status, void *ctx);
    void *opened_ctx;

    void (*stopped)(struct firehose *f, void *ctx);
    void *stopped_ctx;
    uint32_t stopping; /* deliveries that are not stopped yet */
    struct io_defer stop_check;

    /* erasing journals of removed deliveries, one entry at a time */
    struct firehose_entry *erasing;
    struct io_names names;
    uint32_t erase_next;
    char path[FOLDER_MAX + JOURNAL_NAME_CHARS + 8];
};

static void erase_listed(struct io_op *op);

/* ---- life -------------------------------------------------------------------------------------------------------------- */

static void stop_check_run(struct io_defer *x)
{
    struct firehose *f = CONTAINER_OF(x, struct firehose, stop_check);
    if (!f->stopping && !f->erasing && f->stopped) {
        void (*stopped)(struct firehose *, void *) = f->stopped;
        f->stopped = NULL;
        stopped(f, f->stopped_ctx);
    }
}

int firehose_create(const struct firehose_options *options, struct firehose **out, struct err *e)
{
    size_t n = strlen(options->journal_folder);
    if (n == 0 || n > FOLDER_MAX)
        return err_set(e, ST_INVALID, "the folder of the delivery journals: its name has %zu characters", n);
    struct firehose *f = calloc(1, sizeof *f);
    if (!f)
        return err_set_status(e, -ENOMEM, "deliveries");
    f->options = *options;
    f->loop = options->loop;
    memcpy(f->folder, options->journal_folder, n + 1);
    if (!f->options.deliveries_max)
        f->options.deliveries_max = DELIVERIES_DEFAULT;
    piece_pool_init(&f->pieces, options->memory_bytes_max ? options->memory_bytes_max : MEMORY_DEFAULT);
    f->entries = calloc(f->options.deliveries_max, sizeof *f->entries);
    if (!f->entries) {
        free(f);
        return err_set_status(e, -ENOMEM, "deliveries");
    }
    f->stop_check.run = stop_check_run;
    *out = f;
    return 0;
}

static void entry_free(struct firehose_entry *x)
{
    delivery_destroy(x->d);
    free(x->next);
    free(x);
}

void firehose_destroy(struct firehose *f)
{
    if (!f)
        return;
    loop_defer_cancel(&f->stop_check);
    for (uint32_t i = 0; i < f->count; i++)
        entry_free(f->entries[i]);
    piece_pool_deinit(&f->pieces);
    free(f->entries);
    free(f);
}

/* ---- the journals' folder ----------------------------------------------------------------------------------------------- */

static void open_synced(struct io_op *op)
{
    struct firehose *f = CONTAINER_OF(op, struct firehose, op);
    f->opened(f, op->result < 0 ? (int)op->result : 0, f->opened_ctx);
}

static void open_made(struct io_op *op)
{
    struct firehose *f = CONTAINER_OF(op, struct firehose, op);
    if (op->result < 0 && op->result != -EEXIST) {
        f->opened(f, (int)op->result, f->opened_ctx);
        return;
    }
    memcpy(f->above, f->folder, sizeof f->above);
    char *slash = strrchr(f->above, '/');
    if (!slash)
        memcpy(f->above, ".", 2);
    else
        slash[slash == f->above] = 0;
    op->done = open_synced;
    io_sync_dir(f->loop, op, f->above);
}

void firehose_open(struct firehose *f, void (*done)(struct firehose *f, int status, void *ctx), void *ctx)
{
    f->opened = done;
    f->opened_ctx = ctx;
    f->op.done = open_made;
    io_mkdir(f->loop, &f->op, f->folder);
}

/* ---- finding ------------------------------------------------------------------------------------------------------------ */

static const char *entry_name(const struct firehose_entry *x)
{
    return delivery_settings_of(x->d)->name;
}

static struct firehose_entry *entry_find(const struct firehose *f, uint64_t uid)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->entries[i]->uid == uid)
            return f->entries[i];
    return NULL;
}

/* The index of the first name that is not less; *out_equal: it is that name. */
static uint32_t entry_place(const struct firehose *f, struct slice name, bool *out_equal)
{
    uint32_t low = 0, high = f->count;
    *out_equal = false;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        struct slice at = slice_str(entry_name(f->entries[mid]));
        int c = memcmp(at.ptr, name.ptr, at.len < name.len ? at.len : name.len);
        if (c == 0)
            c = (at.len > name.len) - (at.len < name.len);
        if (c == 0)
            *out_equal = true;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct delivery *firehose_find(struct firehose *f, struct slice name)
{
    bool equal;
    uint32_t at = entry_place(f, name, &equal);
    return equal ? f->entries[at]->d : NULL;
}

struct delivery *firehose_find_uid(struct firehose *f, uint64_t uid)
{
    struct firehose_entry *x = entry_find(f, uid);
    return x ? x->d : NULL;
}

struct delivery *firehose_next(struct firehose *f, struct delivery *after)
{
    uint32_t i = 0;
    while (after && i < f->count && f->entries[i++]->d != after)
        ;
    return i < f->count ? f->entries[i]->d : NULL;
}

/* ---- adding, changing, removing ------------------------------------------------------------------------------------------- */

static int entry_delivery(struct firehose *f, struct firehose_entry *x, const struct delivery_settings *settings,
                          struct err *e)
{
    struct delivery_options o = {
        .loop = f->loop,
        .journal_folder = f->folder,
        .uid = x->uid,
        .pieces = &f->pieces,
        .jobs_max = f->options.jobs_max,
        .source = x->source,
    };
    memcpy(o.log_uid, f->options.log_uid, sizeof o.log_uid);
    return delivery_create(&o, settings, &x->d, e);
}

int firehose_add(struct firehose *f, uint64_t uid, const struct delivery_settings *settings, struct source *source,
                 struct delivery **out, struct err *e)
{
    bool equal;
    uint32_t at = entry_place(f, slice_str(settings->name), &equal);
    if (equal || entry_find(f, uid))
        return err_set(e, ST_EXISTS, "delivery '%s': it exists already", settings->name);
    if (f->count == f->options.deliveries_max || f->stopped)
        return err_set(e, ST_LIMIT, "delivery '%s': there are %u already", settings->name, f->count);
    struct firehose_entry *x = calloc(1, sizeof *x);
    if (!x)
        return err_set_status(e, -ENOMEM, "delivery '%s'", settings->name);
    x->f = f;
    x->uid = uid;
    x->source = source;
    int rc = entry_delivery(f, x, settings, e);
    if (rc < 0) {
        free(x);
        return rc;
    }
    memmove(&f->entries[at + 1], &f->entries[at], (f->count - at) * sizeof *f->entries);
    f->entries[at] = x;
    f->count++;
    delivery_start(x->d, NULL, x);
    if (out)
        *out = x->d;
    return 0;
}

/* The delivery has stopped for a change of its settings: another one takes its place. */
static void update_stopped(struct delivery *d)
{
    struct firehose_entry *x = delivery_owner(d);
    struct firehose *f = x->f;
    struct err e;
    struct delivery *old = x->d;
    if (f->stopped) { /* the whole firehose is stopping: the new settings come with the next start */
        x->change = CHANGE_NONE;
        f->stopping--;
        loop_defer(f->loop, &f->stop_check);
        return;
    }
    x->change = CHANGE_NONE;
    if (entry_delivery(f, x, x->next, &e) < 0) { /* memory: it stays stopped, and its status says so */
        x->d = old;
    } else {
        delivery_destroy(old);
        delivery_start(x->d, NULL, x);
    }
    free(x->next);
    x->next = NULL;
    if (x->done)
        x->done(f, x->uid, x->ctx);
}

int firehose_update(struct firehose *f, uint64_t uid, const struct delivery_settings *settings,
                    void (*done)(struct firehose *f, uint64_t uid, void *ctx), void *ctx, struct err *e)
{
    struct firehose_entry *x = entry_find(f, uid);
    if (!x)
        return err_set_status(e, ST_NOT_FOUND, "delivery '%s'", settings->name);
    if (x->change || f->stopped || strcmp(settings->name, entry_name(x)) != 0)
        return err_set(e, ST_CONFLICT, "delivery '%s': it is being changed, or another name is given", entry_name(x));
    int rc = delivery_settings_check(settings, e);
    if (rc < 0)
        return rc;
    x->next = malloc(sizeof *x->next);
    if (!x->next)
        return err_set_status(e, -ENOMEM, "delivery '%s'", settings->name);
    *x->next = *settings;
    x->change = CHANGE_UPDATE;
    x->done = done;
    x->ctx = ctx;
    delivery_stop(x->d, UPDATE_GRACE_MS, update_stopped);
    return 0;
}

static void remove_finish(struct firehose *f, struct firehose_entry *x)
{
    uint32_t at = 0;
    while (f->entries[at] != x)
        at++;
    memmove(&f->entries[at], &f->entries[at + 1], (f->count - at - 1) * sizeof *f->entries);
    f->count--;
    if (x->done)
        x->done(f, x->uid, x->ctx);
    if (f->stopped) {
        f->stopping--;
        loop_defer(f->loop, &f->stop_check);
    }
    entry_free(x);
}

/* Files that no uid names any more: if an unlink fails they stay, and harm nobody. */
static void erase_step(struct io_op *op)
{
    struct firehose *f = CONTAINER_OF(op, struct firehose, op);
    while (f->erase_next < f->names.count) {
        const char *name = f->names.name[f->erase_next++];
        uint64_t uid, generation;
        if (!journal_file_name_parse(name, &uid, &generation) || uid != f->erasing->uid)
            continue;
        snprintf(f->path, sizeof f->path, "%s/%s", f->folder, name);
        op->done = erase_step;
        io_unlink(f->loop, op, f->path);
        return;
    }
    io_names_free(&f->names);
    f->names = (struct io_names){0};
    struct firehose_entry *x = f->erasing;
    f->erasing = NULL;
    remove_finish(f, x);
    for (uint32_t i = 0; i < f->count && !f->erasing; i++) { /* another one waits */
        if (f->entries[i]->erase) {
            f->erasing = f->entries[i];
            f->erasing->erase = false;
            f->op.done = erase_listed;
            io_list(f->loop, &f->op, f->folder, &f->names);
        }
    }
}

static void erase_listed(struct io_op *op)
{
    struct firehose *f = CONTAINER_OF(op, struct firehose, op);
    f->erase_next = 0;
    erase_step(op);
}

static void remove_stopped(struct delivery *d)
{
    struct firehose_entry *x = delivery_owner(d);
    struct firehose *f = x->f;
    if (!x->erase) {
        remove_finish(f, x);
        return;
    }
    if (f->erasing)
        return; /* in its turn */
    f->erasing = x;
    x->erase = false;
    f->op.done = erase_listed;
    io_list(f->loop, &f->op, f->folder, &f->names);
}

int firehose_remove(struct firehose *f, uint64_t uid, uint32_t grace_ms, bool erase,
                    void (*done)(struct firehose *f, uint64_t uid, void *ctx), void *ctx)
{
    struct firehose_entry *x = entry_find(f, uid);
    if (!x)
        return ST_NOT_FOUND;
    if (x->change || f->stopped)
        return ST_CONFLICT;
    x->change = CHANGE_REMOVE;
    x->erase = erase;
    x->done = done;
    x->ctx = ctx;
    delivery_stop(x->d, grace_ms, remove_stopped);
    return 0;
}

/* ---- stopping --------------------------------------------------------------------------------------------------------------- */

static void one_stopped(struct delivery *d)
{
    struct firehose_entry *x = delivery_owner(d);
    x->f->stopping--;
    loop_defer(x->f->loop, &x->f->stop_check);
}

void firehose_stop(struct firehose *f, uint32_t grace_ms, void (*stopped)(struct firehose *f, void *ctx), void *ctx)
{
    CHECK(!f->stopped);
    f->stopped = stopped;
    f->stopped_ctx = ctx;
    f->stopping = f->count;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->entries[i]->change == CHANGE_NONE)
            delivery_stop(f->entries[i]->d, grace_ms, one_stopped);
    loop_defer(f->loop, &f->stop_check);
}

/* ---- status ----------------------------------------------------------------------------------------------------------------- */

static double seconds(int64_t ms)
{
    return (double)ms / 1000.0;
}

/* X(name, type, help, format, expression of `s`) */
#define METRICS(X)                                                                                               \
    X("lag_records", "gauge", "Acknowledged records that are in no committed object", "%" PRIu64, s.lag_records) \
    X("lag_bytes", "gauge", "Bytes of those; of unread ones estimated", "%" PRIu64, s.lag_bytes)                 \
    X("lag_seconds", "gauge", "Age of the oldest of those that were read", "%.3f", seconds(s.lag_ms))            \
    X("objects_open", "gauge", "Objects begun and not committed", "%" PRIu32, s.objects_open)                    \
    X("objects_total", "counter", "Objects committed since the start", "%" PRIu64, s.objects)                    \
    X("records_total", "counter", "Records in them", "%" PRIu64, s.records)                                      \
    X("raw_bytes_total", "counter", "Bytes in them before compression", "%" PRIu64, s.raw_bytes)                 \
    X("stored_bytes_total", "counter", "Bytes in them as stored", "%" PRIu64, s.stored_bytes)                    \
    X("lost_records_total", "counter", "Records that retention took undelivered", "%" PRIu64, s.lost_records)    \
    X("retries_total", "counter", "Failed operations of the sink", "%" PRIu64, s.retries)                        \
    X("objects_redone_total", "counter", "Objects built again from their intent", "%" PRIu64, s.objects_redone)  \
    X("objects_found_total", "counter", "Objects found complete after a restart", "%" PRIu64, s.objects_found)   \
    X("journal_writes_total", "counter", "Writes to the delivery's journal", "%" PRIu64, s.journal_writes)       \
    X("journal_failures_total", "counter", "Failed ones", "%" PRIu64, s.journal_failures)                        \
    X("state", "gauge", "0 opening, 1 running, 2 retrying, 3 stopping, 4 stopped, 5 failed", "%d", (int)s.state) \
    X("last_object_seconds", "gauge", "When the last object was committed, seconds since 1970", "%.3f",          \
      seconds(s.last_object.ms))                                                                                 \
    X("last_error_seconds", "gauge", "When something failed last", "%.3f", seconds(s.last_error_time.ms))

void firehose_sample(struct firehose *f, struct bytebuf *out)
{
    for (uint32_t i = 0; i < f->count; i++) {
        struct firehose_sample one;
        memset(&one, 0, sizeof one);
        memcpy(one.name, entry_name(f->entries[i]), strlen(entry_name(f->entries[i])));
        delivery_status(f->entries[i]->d, &one.status);
        bytebuf_slice(out, slice_of(&one, sizeof one));
    }
}

void firehose_metrics_write(const struct firehose_sample *sample, uint32_t count, struct bytebuf *out)
{
#define WRITE_METRIC(metric, type, help, format, expression)                                                         \
    bytebuf_str(out, "# HELP sluice_delivery_" metric " " help ".\n# TYPE sluice_delivery_" metric " " type "\n");   \
    for (uint32_t i = 0; i < count; i++) {                                                                           \
        const struct delivery_status s = sample[i].status;                                                           \
        bytebuf_printf(out, "sluice_delivery_" metric "{delivery=\"%s\"} " format "\n", sample[i].name, expression); \
    }
    METRICS(WRITE_METRIC)
#undef WRITE_METRIC
}

static void print_u64(struct json_writer *w, const char *name, uint64_t v)
{
    json_write_name(w, name);
    json_write_u64(w, v);
}

static void print_time(struct json_writer *w, const char *name, struct wall_ms t)
{
    char text[CLOCK_TEXT_MAX];
    json_write_name(w, name);
    if (t.ms)
        json_write_string(w, slice_of(text, (size_t)wall_format_iso(t, text)));
    else
        json_write_null(w);
}

void delivery_status_print(struct delivery *d, struct bytebuf *out)
{
    struct delivery_status s;
    struct json_writer w;
    delivery_status(d, &s);
    json_writer_init(&w, out);
    json_write_object(&w);
    json_write_name(&w, "name");
    json_write_str(&w, delivery_settings_of(d)->name);
    print_u64(&w, "uid", delivery_uid(d));
    json_write_name(&w, "state");
    json_write_str(&w, delivery_state_name(s.state));
    print_u64(&w, "lag_records", s.lag_records);
    print_u64(&w, "lag_bytes", s.lag_bytes);
    print_u64(&w, "lag_ms", (uint64_t)s.lag_ms);
    print_u64(&w, "objects_open", s.objects_open);
    print_u64(&w, "objects", s.objects);
    print_u64(&w, "records", s.records);
    print_u64(&w, "raw_bytes", s.raw_bytes);
    print_u64(&w, "stored_bytes", s.stored_bytes);
    print_u64(&w, "lost_records", s.lost_records);
    print_u64(&w, "retries", s.retries);
    print_u64(&w, "objects_redone", s.objects_redone);
    print_u64(&w, "objects_found", s.objects_found);
    print_time(&w, "last_object", s.last_object);
    json_write_name(&w, "last_key");
    json_write_str(&w, s.last_key);
    print_time(&w, "last_error_time", s.last_error_time);
    json_write_name(&w, "last_error");
    json_write_str(&w, s.last_error);
    json_write_object_end(&w);
}
