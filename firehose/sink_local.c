/*
 * Objects as files of this machine. An object is built in "<folder>/.sluice-<unique>.tmp", which lies in the file system
 * of its final name, and renamed to that.
 *
 *     write     the first one creates the temporary file (and the sink's folder); then in order at its end
 *     stage     datasync, close
 *     publish   folders of the key made, each parent synced; rename that refuses to replace; sync of the folder
 *
 * Invariants
 *  L1. A final name appears only by the rename of a file whose data is on stable storage.
 *  L2. Nothing is ever replaced or removed but our temporary files.
 *  L3. A folder counts as there once it and all above it, up to the sink's own, were made (or found) and their parents
 *      synced by this process: a folder found may be another delivery's, not synced yet.
 *
 * Failure modes. A write or datasync fails: the engine aborts, the temporary file goes, the object is built again in a
 * new one (a failed sync is never tried again on the same data). The rename or the folder's sync fails: publish may be
 * called again. Whether an earlier rename took place after all is seen by content: size and CRC32C of what lies under
 * the final name against what was written. Killed: inspect finds out the same way.
 *
 * Thread: the loop's. One operation at a time an object, so one io_op an object.
 */
#include "firehose/sink_local.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/frame/crc32c.h"

#define FOLDER_MAX     1024u
#define PATH_MAX_BYTES (FOLDER_MAX + SINK_KEY_MAX + 64u)
#define TEMP_HEAD      ".sluice-"
#define TEMP_TAIL      ".tmp"
#define READ_BYTES     (256u << 10)

struct sink_local {
    struct sink sink;
    struct loop *loop;
    size_t folder_len;
    char folder[FOLDER_MAX + 1]; /* ends with '/' */
    char known[PATH_MAX_BYTES];  /* the last folder that is there in the sense of L3; "" none */

    /* clean */
    struct io_op op;
    struct io_names names;
    uint32_t next_name;
    char path[PATH_MAX_BYTES];
    const char *prefix;
    const char (*keep)[SINK_STAGE_MAX + 1];
    uint32_t keep_count;
    void (*cleaned)(struct sink *s, int status);
};

struct local_object;
typedef void local_then(struct local_object *o);

struct local_object {
    struct sink_object o;
    struct io_op op;
    struct io_file file;
    bool open;
    bool published;     /* the final name is ours; its folder's sync may be missing */
    bool folders_again; /* the folder known to be there was gone: made again once */
    struct slice data;
    char temp[PATH_MAX_BYTES], final[PATH_MAX_BYTES];

    /* the walk that makes folders: target, the part of it that is being made, and what that lies in */
    char target[PATH_MAX_BYTES], part[PATH_MAX_BYTES], above[PATH_MAX_BYTES];
    size_t part_len;
    int64_t made;
    local_then *walked;

    /* the comparison of a file with bytes and crc */
    uint8_t *buffer;
    uint64_t compare_at, compare_size;
    uint32_t compare_crc;
    bool same;
    local_then *compared;
};

static struct local_object *of(struct io_op *op)
{
    return CONTAINER_OF(op, struct local_object, op);
}

static struct local_object *local(struct sink_object *o)
{
    return CONTAINER_OF(o, struct local_object, o);
}

static struct sink_local *sink_of(struct local_object *o)
{
    return CONTAINER_OF(o->o.sink, struct sink_local, sink);
}

static struct loop *loop_of(struct local_object *o)
{
    return sink_of(o)->loop;
}

static struct io_op *next(struct local_object *o, io_done_fn *done)
{
    o->op.done = done;
    return &o->op;
}

static void finish(struct local_object *o, int status, const char *what)
{
    o->o.status = status < 0 ? status : 0;
    o->o.what = what;
    o->o.done(&o->o);
}

static void set_paths(struct local_object *o)
{
    const char *folder = sink_of(o)->folder;
    snprintf(o->temp, sizeof o->temp, "%s" TEMP_HEAD "%s" TEMP_TAIL, folder, o->o.stage);
    snprintf(o->final, sizeof o->final, "%s%s", folder, o->o.key);
}

/* ---- folders ------------------------------------------------------------------------------------------------------ */

static void walk_step(struct local_object *o);

static void copy_path(char *to, const char *from, size_t len)
{
    CHECK(len < PATH_MAX_BYTES);
    memcpy(to, from, len);
    to[len] = 0;
}

/* The length of the folder that path[0..len) lies in: "/a/b" in "/a", "/a" in "/". */
static size_t above_len(const char *path, size_t len)
{
    while (len && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    return len;
}

/* One component further down. */
static void walk_down(struct local_object *o)
{
    size_t n = o->part_len;
    while (o->target[n] == '/')
        n++;
    while (o->target[n] && o->target[n] != '/')
        n++;
    o->part_len = n;
    walk_step(o);
}

static void walk_synced(struct io_op *op)
{
    struct local_object *o = of(op);
    /* a folder that was there and lies in one that we may not read is somebody else's care */
    if (op->result < 0 && !(op->result == -EACCES && o->made == -EEXIST))
        finish(o, (int)op->result, "sync the folder above");
    else if (!o->target[o->part_len])
        o->walked(o);
    else
        walk_down(o);
}

static void walk_made(struct io_op *op)
{
    struct local_object *o = of(op);
    o->made = op->result;
    if (op->result == -ENOENT && o->part_len > 1) {
        o->part_len = above_len(o->part, o->part_len);
        walk_step(o);
    } else if (op->result < 0 && op->result != -EEXIST) {
        finish(o, (int)op->result, "make the folder");
    } else {
        copy_path(o->above, o->part, above_len(o->part, o->part_len));
        io_sync_dir(loop_of(o), next(o, walk_synced), o->above);
    }
}

static void walk_step(struct local_object *o)
{
    copy_path(o->part, o->target, o->part_len);
    io_mkdir(loop_of(o), next(o, walk_made), o->part);
}

/* Makes o->target and what is missing above it, each parent synced, beginning with its first `from_len` bytes. */
static void walk_start(struct local_object *o, size_t from_len, local_then *walked)
{
    o->part_len = from_len;
    o->walked = walked;
    walk_step(o);
}

/* ---- write, stage ------------------------------------------------------------------------------------------------- */

static void file_write(struct local_object *o);
static void file_stage(struct local_object *o);

static void file_open(struct local_object *o, io_done_fn *opened)
{
    set_paths(o);
    io_open(loop_of(o), next(o, opened), o->temp, IO_WRITE | IO_CREATE | IO_TRUNC | IO_PUBLIC);
}

static void file_opened(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result < 0) {
        finish(o, (int)op->result, "create the temporary file");
        return;
    }
    o->file = (struct io_file){(int)op->result};
    o->open = true;
    if (o->data.ptr)
        file_write(o);
    else
        file_stage(o);
}

static void folder_made(struct local_object *o)
{
    file_open(o, file_opened);
}

/* The first try to open: the sink's own folder may be missing. */
static void file_opened_first(struct io_op *op)
{
    struct local_object *o = of(op);
    struct sink_local *s = sink_of(o);
    if (op->result != -ENOENT || s->folder_len < 2) {
        file_opened(op);
        return;
    }
    copy_path(o->target, s->folder, s->folder_len - 1);
    walk_start(o, s->folder_len - 1, folder_made);
}

static void file_written(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result < 0) {
        finish(o, (int)op->result, "write");
        return;
    }
    o->o.bytes += o->data.len;
    o->o.crc = crc32c(o->o.crc, o->data.ptr, o->data.len);
    finish(o, 0, "");
}

static void file_write(struct local_object *o)
{
    io_write(loop_of(o), next(o, file_written), o->file, o->data.ptr, o->data.len, o->o.bytes);
}

static void object_write(struct sink_object *object, struct slice data)
{
    struct local_object *o = local(object);
    CHECK(data.len);
    o->data = data;
    if (o->open)
        file_write(o);
    else
        file_open(o, file_opened_first);
}

static void file_closed(struct io_op *op)
{
    finish(of(op), 0, ""); /* the data is safe: what a close says does not matter */
}

static void file_synced(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result < 0) {
        finish(o, (int)op->result, "sync");
        return;
    }
    o->open = false;
    io_close(loop_of(o), next(o, file_closed), o->file);
}

static void file_stage(struct local_object *o)
{
    io_datasync(loop_of(o), next(o, file_synced), o->file);
}

static void object_stage(struct sink_object *object)
{
    struct local_object *o = local(object);
    o->data = SLICE_NULL;
    o->published = o->folders_again = false;
    if (o->open)
        file_stage(o);
    else
        file_open(o, file_opened_first); /* an object without a byte */
}

/* ---- comparing a file ----------------------------------------------------------------------------------------------- */

static void compare_closed(struct io_op *op)
{
    struct local_object *o = of(op);
    free(o->buffer);
    o->buffer = NULL;
    if (o->o.status < 0)
        finish(o, o->o.status, "read what is there");
    else
        o->compared(o);
}

static void compare_end(struct local_object *o, int status)
{
    o->o.status = status;
    o->same = status == 0 && o->compare_at == o->o.bytes && o->compare_crc == o->o.crc;
    io_close(loop_of(o), next(o, compare_closed), o->file);
}

static void compare_read(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result <= 0) {
        compare_end(o, (int)op->result);
        return;
    }
    o->compare_crc = crc32c(o->compare_crc, o->buffer, (size_t)op->result);
    o->compare_at += (uint64_t)op->result;
    if (o->compare_at >= o->compare_size)
        compare_end(o, 0);
    else
        io_read(loop_of(o), next(o, compare_read), o->file, o->buffer, READ_BYTES, o->compare_at);
}

static void compare_sized(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result >= 0)
        o->compare_size = (uint64_t)op->result;
    if (op->result < 0 || o->compare_size != o->o.bytes || !(o->buffer = io_buffer_alloc(READ_BYTES))) {
        o->compare_at = UINT64_MAX; /* not the same */
        compare_end(o, op->result < 0 ? (int)op->result : o->compare_size != o->o.bytes ? 0 : -ENOMEM);
        return;
    }
    io_read(loop_of(o), next(o, compare_read), o->file, o->buffer, READ_BYTES, 0);
}

/* Goes on with an open file: o->same tells whether it holds the object's bytes. */
static void compare_start(struct local_object *o, int id, local_then *compared)
{
    o->file = (struct io_file){id};
    o->compare_at = 0;
    o->compare_crc = 0;
    o->compared = compared;
    io_size(loop_of(o), next(o, compare_sized), o->file);
}

/* ---- publish -------------------------------------------------------------------------------------------------------- */

static void publish_folders(struct local_object *o);

static size_t final_folder_len(const struct local_object *o)
{
    return above_len(o->final, strlen(o->final));
}

static void publish_synced(struct io_op *op)
{
    struct local_object *o = of(op);
    finish(o, (int)op->result, op->result < 0 ? "sync the folder" : "");
}

/* The final name is ours: make it last. */
static void publish_sync(struct local_object *o)
{
    o->published = true;
    copy_path(o->target, o->final, final_folder_len(o));
    io_sync_dir(loop_of(o), next(o, publish_synced), o->target);
}

static void publish_unlinked(struct io_op *op)
{
    publish_sync(of(op));
}

/* Something has the final name: ours, from an attempt that seemed to fail, or foreign. */
static void publish_compared(struct local_object *o)
{
    if (o->same)
        io_unlink(loop_of(o), next(o, publish_unlinked), o->temp);
    else
        finish(o, -EEXIST, "rename: the name is taken");
}

static void publish_opened(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result < 0)
        finish(o, (int)op->result, "rename");
    else
        compare_start(o, (int)op->result, publish_compared);
}

static void publish_renamed(struct io_op *op)
{
    struct local_object *o = of(op);
    struct sink_local *s = sink_of(o);
    if (op->result >= 0) {
        publish_sync(o);
    } else if (op->result == -EEXIST) {
        io_open(loop_of(o), next(o, publish_opened), o->final, IO_READ);
    } else if (op->result == -ENOENT && !o->folders_again) {
        o->folders_again = true; /* somebody removed the folder, or an earlier rename took place after all */
        s->known[0] = 0;
        publish_folders(o);
    } else if (op->result == -ENOENT) {
        io_open(loop_of(o), next(o, publish_opened), o->final, IO_READ);
    } else {
        finish(o, (int)op->result, "rename");
    }
}

static void publish_rename(struct local_object *o)
{
    io_rename_new(loop_of(o), next(o, publish_renamed), o->temp, o->final);
}

static void publish_walked(struct local_object *o)
{
    copy_path(sink_of(o)->known, o->target, strlen(o->target));
    if (o->published)
        publish_sync(o);
    else
        publish_rename(o);
}

static void publish_folders(struct local_object *o)
{
    struct sink_local *s = sink_of(o);
    copy_path(o->target, o->final, final_folder_len(o));
    if (strcmp(s->known, o->target) == 0)
        publish_walked(o);
    else
        walk_start(o, s->folder_len > 1 ? s->folder_len - 1 : 1, publish_walked);
}

static void object_publish(struct sink_object *object)
{
    struct local_object *o = local(object);
    set_paths(o);
    o->folders_again = false;
    publish_folders(o);
}

/* ---- inspect -------------------------------------------------------------------------------------------------------- */

static void inspect_temp_compared(struct local_object *o)
{
    o->o.found = o->same ? SINK_FOUND_STAGED : SINK_FOUND_NOTHING;
    finish(o, 0, "");
}

static void inspect_temp_opened(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result >= 0) {
        compare_start(o, (int)op->result, inspect_temp_compared);
        return;
    }
    o->o.found = SINK_FOUND_NOTHING;
    finish(o, op->result == -ENOENT ? 0 : (int)op->result, "look at the temporary file");
}

static void inspect_final_compared(struct local_object *o)
{
    o->published = o->same;
    o->o.found = o->same ? SINK_FOUND_PUBLISHED : SINK_FOUND_FOREIGN;
    finish(o, 0, "");
}

static void inspect_final_opened(struct io_op *op)
{
    struct local_object *o = of(op);
    if (op->result >= 0)
        compare_start(o, (int)op->result, inspect_final_compared);
    else if (op->result == -ENOENT || op->result == -ENOTDIR)
        io_open(loop_of(o), next(o, inspect_temp_opened), o->temp, IO_READ);
    else
        finish(o, (int)op->result, "look at the object");
}

static void object_inspect(struct sink_object *object)
{
    struct local_object *o = local(object);
    set_paths(o);
    o->published = false;
    io_open(loop_of(o), next(o, inspect_final_opened), o->final, IO_READ);
}

/* ---- abort ---------------------------------------------------------------------------------------------------------- */

static void abort_unlinked(struct io_op *op)
{
    finish(of(op), 0, ""); /* if it failed: the next start cleans */
}

static void abort_closed(struct io_op *op)
{
    struct local_object *o = of(op);
    io_unlink(loop_of(o), next(o, abort_unlinked), o->temp);
}

static void object_abort(struct sink_object *object)
{
    struct local_object *o = local(object);
    set_paths(o);
    if (o->open) {
        o->open = false;
        io_close(loop_of(o), next(o, abort_closed), o->file);
    } else {
        io_unlink(loop_of(o), next(o, abort_unlinked), o->temp);
    }
}

/* ---- clean ---------------------------------------------------------------------------------------------------------- */

/* "".sluice-<stage>.tmp" with our prefix, and not to be kept. */
static bool is_leftover(const struct sink_local *s, const char *name)
{
    size_t head = sizeof TEMP_HEAD - 1, tail = sizeof TEMP_TAIL - 1, n = strlen(name);
    if (n <= head + tail || strncmp(name, TEMP_HEAD, head) != 0 || strcmp(name + n - tail, TEMP_TAIL) != 0 ||
        strncmp(name + head, s->prefix, strlen(s->prefix)) != 0)
        return false;
    struct slice stage = slice_of(name + head, n - head - tail);
    for (uint32_t i = 0; i < s->keep_count; i++)
        if (slice_eq_str(stage, s->keep[i]))
            return false;
    return true;
}

static void clean_step(struct io_op *op)
{
    struct sink_local *s = CONTAINER_OF(op, struct sink_local, op);
    while (s->next_name < s->names.count) {
        const char *name = s->names.name[s->next_name++];
        if (!is_leftover(s, name))
            continue;
        snprintf(s->path, sizeof s->path, "%s%s", s->folder, name);
        op->done = clean_step;
        io_unlink(s->loop, op, s->path);
        return;
    }
    io_names_free(&s->names);
    s->names = (struct io_names){0};
    s->cleaned(&s->sink, 0);
}

static void clean_listed(struct io_op *op)
{
    struct sink_local *s = CONTAINER_OF(op, struct sink_local, op);
    if (op->result >= 0)
        clean_step(op);
    else
        s->cleaned(&s->sink, op->result == -ENOENT ? 0 : (int)op->result);
}

static void local_clean(struct sink *sink, const char *prefix, const char (*keep)[SINK_STAGE_MAX + 1],
                        uint32_t keep_count, void (*done)(struct sink *s, int status))
{
    struct sink_local *s = CONTAINER_OF(sink, struct sink_local, sink);
    s->prefix = prefix;
    s->keep = keep;
    s->keep_count = keep_count;
    s->cleaned = done;
    s->next_name = 0;
    s->op.done = clean_listed;
    io_list(s->loop, &s->op, s->folder, &s->names);
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static struct sink_object *local_object_create(struct sink *s)
{
    struct local_object *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->o.sink = s;
    return &o->o;
}

static void local_object_destroy(struct sink_object *object)
{
    if (!object)
        return;
    struct local_object *o = local(object);
    CHECK(!o->open);
    free(o);
}

static void local_destroy(struct sink *sink)
{
    free(CONTAINER_OF(sink, struct sink_local, sink));
}

static const struct sink_ops local_ops = {
    .object_create = local_object_create,
    .object_destroy = local_object_destroy,
    .write = object_write,
    .stage = object_stage,
    .publish = object_publish,
    .inspect = object_inspect,
    .abort = object_abort,
    .clean = local_clean,
    .destroy = local_destroy,
};

int sink_local_create(struct loop *loop, const char *folder, struct sink **out, struct err *e)
{
    size_t n = strlen(folder);
    if (n > FOLDER_MAX || n == 0 || folder[0] != '/' || folder[n - 1] != '/' || strstr(folder, "/../"))
        return err_set(e, ST_INVALID, "sink 'file://%.200s': not an absolute folder that ends with '/'", folder);
    struct sink_local *s = calloc(1, sizeof *s);
    if (!s)
        return err_set_status(e, -ENOMEM, "sink 'file://%.200s'", folder);
    s->sink.ops = &local_ops;
    s->loop = loop;
    s->folder_len = n;
    memcpy(s->folder, folder, n + 1);
    *out = &s->sink;
    return 0;
}
