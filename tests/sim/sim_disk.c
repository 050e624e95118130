/*
 * The simulated disk as a loop sees it: an operation becomes an event with a jittered delay, and takes effect when that
 * event comes; faults are drawn when it is submitted. The state and the rules of durability: sim_store.c.
 *
 *  - A datasync covers what was written by operations *completed* before it was submitted (L6), and nothing else.
 *  - A write that fails, is cancelled or is in flight at a crash may have changed any of its units.
 *  - A file's id is never used again; an operation on a closed id is a bug of the caller and aborts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "tests/sim/sim_internal.h"

static const char *const kind_names[] = {
    [IO_KIND_OPEN] = "open",         [IO_KIND_CLOSE] = "close",
    [IO_KIND_READ] = "read",         [IO_KIND_WRITE] = "write",
    [IO_KIND_DATASYNC] = "datasync", [IO_KIND_ALLOCATE] = "allocate",
    [IO_KIND_TRUNCATE] = "truncate", [IO_KIND_SIZE] = "size",
    [IO_KIND_RENAME] = "rename",     [IO_KIND_RENAME_NEW] = "rename_new",
    [IO_KIND_UNLINK] = "unlink",     [IO_KIND_MKDIR] = "mkdir",
    [IO_KIND_RMDIR] = "rmdir",       [IO_KIND_SYNC_DIR] = "sync_dir",
    [IO_KIND_LIST] = "list",         [IO_KIND_DISK_FREE] = "disk_free",
};

static bool has_path(const struct io_op *op)
{
    return op->kind == IO_KIND_OPEN || (op->kind >= IO_KIND_RENAME && op->kind <= IO_KIND_DISK_FREE);
}

static bool has_path2(const struct io_op *op)
{
    return op->kind == IO_KIND_RENAME || op->kind == IO_KIND_RENAME_NEW;
}

static bool transfers(const struct io_op *op)
{
    return op->kind == IO_KIND_READ || op->kind == IO_KIND_WRITE;
}

static uint64_t iov_bytes(const struct io_op *op)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < op->iov_count; i++)
        sum += op->iov[i].iov_len;
    return sum;
}

static void trace(struct sim_world *w, const char *when, const struct sim_event *e, int64_t result)
{
    const struct io_op *op = e->op;
    fprintf(stderr, "%12.6f %-6s %-10s #%" PRIu64, (double)w->now_ns / 1e9, when, kind_names[op->kind], e->order);
    if (e->node)
        fprintf(stderr, " node=%" PRIu64, e->node->number);
    if (has_path(op))
        fprintf(stderr, " %s", op->path);
    if (has_path2(op))
        fprintf(stderr, " -> %s", op->path2);
    if (transfers(op))
        fprintf(stderr, " %" PRIu64 "+%" PRIu64, op->offset + op->moved, iov_bytes(op));
    if (e->fault)
        fprintf(stderr, " fault=%d", e->fault);
    if (*when == 'e')
        fprintf(stderr, " = %" PRId64, result);
    fputc('\n', stderr);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static bool fault_fits(const struct io_op *op, enum sim_fault fault)
{
    switch (fault) {
    case SIM_FAULT_EIO:
        return op->kind != IO_KIND_CLOSE;
    case SIM_FAULT_ENOSPC:
        return (op->kind == IO_KIND_OPEN && (op->open_flags & IO_CREATE)) || op->kind == IO_KIND_WRITE ||
               op->kind == IO_KIND_ALLOCATE || op->kind == IO_KIND_RENAME || op->kind == IO_KIND_RENAME_NEW ||
               op->kind == IO_KIND_MKDIR || op->kind == IO_KIND_DATASYNC;
    case SIM_FAULT_SHORT:
    case SIM_FAULT_CANCEL:
        return transfers(op);
    case SIM_FAULT_SYNC:
        return op->kind == IO_KIND_DATASYNC || op->kind == IO_KIND_SYNC_DIR;
    default:
        return false;
    }
}

static enum sim_fault fault_by_number(struct sim_world *w, const struct io_op *op)
{
    if (w->fail == SIM_FAULT_NONE || !fault_fits(op, w->fail))
        return SIM_FAULT_NONE;
    if (w->fail_in > 1) {
        w->fail_in--;
        return SIM_FAULT_NONE;
    }
    enum sim_fault fault = w->fail;
    if (w->fail_more-- == 0)
        w->fail = SIM_FAULT_NONE;
    return fault;
}

static enum sim_fault fault_by_chance(struct sim_world *w, const struct io_op *op)
{
    const struct sim_faults *f = &w->options.faults;
    switch (op->kind) {
    case IO_KIND_READ:
        return sim_chance(w, f->read_eio) ? SIM_FAULT_EIO : sim_chance(w, f->short_io) ? SIM_FAULT_SHORT : 0;
    case IO_KIND_WRITE:
        return sim_chance(w, f->write_eio)      ? SIM_FAULT_EIO
               : sim_chance(w, f->write_enospc) ? SIM_FAULT_ENOSPC
               : sim_chance(w, f->short_io)     ? SIM_FAULT_SHORT
                                                : 0;
    case IO_KIND_DATASYNC:
        return sim_chance(w, f->sync_eio) ? SIM_FAULT_SYNC : 0;
    case IO_KIND_CLOSE:
        return 0;
    default:
        return sim_chance(w, f->meta_eio) ? SIM_FAULT_EIO : 0;
    }
}

static enum sim_fault fault_draw(struct sim_world *w, const struct io_op *op)
{
    for (int f = 1; f < SIM_FAULT_KINDS; f++)
        w->fault_ops[f] += fault_fits(op, (enum sim_fault)f);
    enum sim_fault fault = fault_by_number(w, op);
    if (fault == SIM_FAULT_NONE)
        fault = fault_by_chance(w, op);
    w->faults_hit += fault != SIM_FAULT_NONE;
    return fault;
}

void sim_fail_nth(struct sim_world *w, enum sim_fault fault, uint64_t nth, uint64_t more)
{
    w->fail = fault;
    w->fail_in = nth;
    w->fail_more = more;
}

uint64_t sim_fault_ops(const struct sim_world *w, enum sim_fault fault)
{
    return w->fault_ops[fault];
}

uint64_t sim_faults_hit(const struct sim_world *w)
{
    return w->faults_hit;
}

void sim_cut_at(struct sim_world *w, uint64_t nth)
{
    w->cut_in = nth;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static struct sim_file *file_of(struct sim_world *w, int id)
{
    CHECK(id >= 0 && (uint32_t)id < w->file_count && w->files[id].node);
    return &w->files[id];
}

static int64_t file_add(struct sim_world *w, struct store_node *node, unsigned flags)
{
    if (w->file_count == w->file_cap) {
        w->file_cap = w->file_cap ? w->file_cap * 2 : 64;
        w->files = sim_heap_keep_again(w->files, w->file_cap * sizeof *w->files);
    }
    store_hold(node);
    w->files[w->file_count] = (struct sim_file){node, flags};
    return w->file_count++;
}

void sim_disk_close_all(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->file_count; i++)
        if (w->files[i].node)
            store_release(&w->store, w->files[i].node);
    w->file_count = 0;
}

static bool on_file(const struct io_op *op)
{
    return op->kind >= IO_KIND_CLOSE && op->kind <= IO_KIND_SIZE;
}

static bool misaligned(const struct sim_file *f, const struct io_op *op)
{
    if (!(f->flags & IO_DIRECT) || !transfers(op))
        return false;
    uint64_t bits = op->offset + op->moved;
    for (uint32_t i = 0; i < op->iov_count; i++)
        bits |= (uint64_t)(uintptr_t)op->iov[i].iov_base | op->iov[i].iov_len;
    return bits % IO_ALIGN != 0;
}

/* ---- in flight --------------------------------------------------------------------------------------------------- */

/* A hash of what must not change until the op is done (S3). */
static uint64_t seal_of(const struct io_op *op)
{
    uint64_t h = has_path(op) ? hash_bytes(slice_str(op->path), 1) : 1;
    if (has_path2(op))
        h = hash_bytes(slice_str(op->path2), h);
    for (uint32_t i = 0; op->kind == IO_KIND_WRITE && i < op->iov_count; i++)
        h = hash_bytes(slice_of(op->iov[i].iov_base, op->iov[i].iov_len), h);
    return h;
}

static int64_t delay_draw(struct sim_world *w, const struct io_op *op)
{
    uint64_t us;
    switch (op->kind) {
    case IO_KIND_DATASYNC:
    case IO_KIND_SYNC_DIR:
        us = sim_between(w, 80, sim_chance(w, 100000) ? 8000 : 600);
        break;
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        us = sim_between(w, 10, sim_chance(w, 100000) ? 2000 : 150) + iov_bytes(op) / 4096;
        break;
    default:
        us = sim_between(w, 5, 100);
    }
    if (sim_chance(w, w->options.faults.slow))
        us += sim_below(w, 500000);
    return (int64_t)us * US;
}

static void disk_done(struct sim_event *e);

bool sim_event_is_disk(const struct sim_event *e)
{
    return e->run == disk_done;
}

static void rubbish(struct sim_world *w, const struct io_op *op)
{
    int byte = (int)sim_below(w, 256);
    for (uint32_t i = 0; i < op->iov_count; i++)
        memset(op->iov[i].iov_base, byte, op->iov[i].iov_len);
}

static void count(struct sim_world *w, const struct io_op *op)
{
    w->counts.ops++;
    w->counts.reads += op->kind == IO_KIND_READ;
    w->counts.writes += op->kind == IO_KIND_WRITE;
    w->counts.syncs += op->kind == IO_KIND_DATASYNC;
    w->counts.dir_syncs += op->kind == IO_KIND_SYNC_DIR;
    if (op->kind == IO_KIND_WRITE)
        w->counts.write_bytes += iov_bytes(op);
}

void sim_disk_submit(struct loop *loop, struct io_op *op)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct sim_world *w = l->world;
    if (w->cut_in && --w->cut_in == 0) {
        w->cut = true;
        return;
    }
    if (on_file(op) && misaligned(file_of(w, op->fd), op)) {
        loop_op_finish_soon(loop, op, -EINVAL);
        return;
    }
    count(w, op);
    struct sim_event *e = sim_event_add(l, disk_done, delay_draw(w, op));
    e->op = op;
    op->backend[0] = e;
    e->fault = fault_draw(w, op);
    e->seal = seal_of(op);
    if (on_file(op)) {
        struct sim_file *f = file_of(w, op->fd);
        e->node = f->node;
        if (op->kind == IO_KIND_CLOSE)
            f->node = NULL; /* its hold is the event's now */
        else
            store_hold(e->node);
    }
    if (op->kind == IO_KIND_READ)
        rubbish(w, op);
    if (op->kind == IO_KIND_DATASYNC)
        store_sync_begin(e->node, &e->sync);
    e->change = w->store.next_number;
    if (w->trace)
        trace(w, "start", e, 0);
}

void sim_disk_cancel(struct loop *loop, struct io_op *op)
{
    struct sim_event *e = op->backend[0];
    struct sim_world *w = e->loop->world;
    if (sim_chance(w, 500000))
        return; /* it was too late */
    e->cancelled = true;
    sim_event_move(e, (int64_t)sim_between(w, US, 50 * US));
}

/* ---- doing it ---------------------------------------------------------------------------------------------------- */

static int64_t do_open(struct sim_world *w, struct io_op *op)
{
    struct store_node *n;
    int rc = store_open(&w->store, op->path, op->open_flags, &n);
    if (rc < 0)
        return rc;
    if ((op->open_flags & IO_DIRECT) && w->options.refuse_direct)
        return -EINVAL; /* having created it, as some file systems do */
    return file_add(w, n, op->open_flags);
}

/* Bytes that a transfer of `len` moves when it is to fall short: less than all, but more than the core repeats
 * (op->again), for else it would be the end of the file. Whole units if `len` is. */
static uint64_t shortened(struct sim_world *w, uint64_t len, const struct io_op *op)
{
    uint64_t unit = len % STORE_UNIT == 0 ? STORE_UNIT : 1, least = op->again / unit + 1;
    return len / unit > least ? sim_between(w, least, len / unit - 1) * unit : len;
}

static int64_t do_transfer(struct sim_world *w, struct sim_event *e, uint64_t len, uint32_t skip)
{
    struct io_op *op = e->op;
    uint64_t moved = 0, at = op->offset + op->moved;
    for (uint32_t i = 0; i < op->iov_count && moved < len; i++) {
        size_t part = op->iov[i].iov_len < len - moved ? op->iov[i].iov_len : len - moved;
        int64_t n = op->kind == IO_KIND_READ
                        ? store_read(e->node, op->iov[i].iov_base, part, at + moved)
                        : store_write(&w->store, e->node, op->iov[i].iov_base, part, at + moved, skip);
        if (n < 0)
            return moved ? (int64_t)moved : n;
        moved += (uint64_t)n;
        if ((size_t)n < part)
            break;
    }
    return (int64_t)moved;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int64_t do_list(struct sim_world *w, struct io_op *op)
{
    struct store_node *n = store_find(&w->store, op->path);
    if (!n || !n->folder)
        return n ? -ENOTDIR : -ENOENT;
    struct io_names *out = op->names;
    out->count = (uint32_t)n->live.count;
    out->name = calloc(n->live.count + 1, sizeof *out->name); /* the caller's heap: io_names_free frees it */
    for (uint32_t i = 0; i < out->count; i++)
        out->name[i] = strdup(n->live.at[i].name);
    qsort(out->name, out->count, sizeof *out->name, name_order);
    return out->count;
}

static int64_t do_sync_dir(struct sim_world *w, struct sim_event *e)
{
    struct store_node *n = store_find(&w->store, e->op->path);
    if (!n || !n->folder)
        return n ? -ENOTDIR : -ENOENT;
    store_sync_folder(&w->store, n, e->change);
    return 0;
}

static int64_t do_disk_free(struct sim_world *w, struct io_op *op)
{
    uint64_t *total = (uint64_t *)(void *)op->names;
    *total = w->store.capacity;
    return w->store.used < w->store.capacity ? (int64_t)(w->store.capacity - w->store.used) : 0;
}

/* The operation without a fault. */
static int64_t perform(struct sim_world *w, struct sim_event *e)
{
    struct io_op *op = e->op;
    struct store *s = &w->store;
    switch (op->kind) {
    case IO_KIND_OPEN:
        return do_open(w, op);
    case IO_KIND_CLOSE:
        return 0;
    case IO_KIND_READ:
    case IO_KIND_WRITE: {
        uint64_t len = iov_bytes(op);
        return do_transfer(w, e, e->fault == SIM_FAULT_SHORT ? shortened(w, len, op) : len, 0);
    }
    case IO_KIND_DATASYNC:
        store_sync_end(s, &e->sync);
        return 0;
    case IO_KIND_ALLOCATE:
        return store_allocate(s, e->node, op->offset, op->length);
    case IO_KIND_TRUNCATE:
        return store_truncate(s, e->node, op->length);
    case IO_KIND_SIZE:
        return (int64_t)e->node->size;
    case IO_KIND_RENAME:
        return store_rename(s, op->path, op->path2, true);
    case IO_KIND_RENAME_NEW:
        return store_rename(s, op->path, op->path2, false);
    case IO_KIND_UNLINK:
        return store_unlink(s, op->path, false);
    case IO_KIND_MKDIR:
        return store_mkdir(s, op->path);
    case IO_KIND_RMDIR:
        return store_unlink(s, op->path, true);
    case IO_KIND_SYNC_DIR:
        return do_sync_dir(w, e);
    case IO_KIND_LIST:
        return do_list(w, op);
    case IO_KIND_DISK_FREE:
        return do_disk_free(w, op);
    default:
        CHECK(!"an operation that the disk knows");
        return -EINVAL;
    }
}

/* What a failed, cancelled or cut-off operation leaves behind. */
static void perform_partly(struct sim_world *w, struct sim_event *e)
{
    if (e->op->kind == IO_KIND_WRITE && sim_chance(w, 700000))
        (void)do_transfer(w, e, iov_bytes(e->op), sim_chance(w, 500000) ? 0 : (uint32_t)sim_below(w, 1000000));
}

static int64_t perform_with_fault(struct sim_world *w, struct sim_event *e)
{
    if (e->cancelled || e->fault == SIM_FAULT_CANCEL) {
        if (e->op->kind == IO_KIND_DATASYNC)
            store_sync_drop(&w->store, &e->sync);
        perform_partly(w, e);
        return -ECANCELED;
    }
    if (e->fault == SIM_FAULT_NONE || e->fault == SIM_FAULT_SHORT)
        return perform(w, e);
    if (e->op->kind == IO_KIND_DATASYNC)
        store_sync_fail(&w->store, &e->sync);
    perform_partly(w, e);
    return e->fault == SIM_FAULT_ENOSPC ? -ENOSPC : -EIO;
}

static void disk_done(struct sim_event *e)
{
    struct sim_world *w = e->loop->world;
    struct io_op *op = e->op;
    CHECK(op->backend[0] == e);
    CHECK(e->seal == seal_of(op)); /* S3: the caller changed a buffer or a path in flight */
    if (e->cancelled && op->kind == IO_KIND_CLOSE)
        e->cancelled = false;
    int64_t result = perform_with_fault(w, e);
    if (w->trace)
        trace(w, "end", e, result);
    if (e->node)
        store_release(&w->store, e->node);
    loop_op_finish(&e->loop->loop, op, result);
}

void sim_disk_abandon(struct sim_event *e)
{
    struct sim_world *w = e->loop->world;
    if (e->op->kind == IO_KIND_DATASYNC) {
        if (sim_chance(w, 300000))
            store_sync_end(&w->store, &e->sync);
        else
            store_sync_drop(&w->store, &e->sync);
    } else if (e->op->kind == IO_KIND_WRITE) {
        perform_partly(w, e);
    } else if (has_path(e->op) && e->op->kind != IO_KIND_LIST && e->op->kind != IO_KIND_DISK_FREE &&
               sim_chance(w, 500000)) {
        (void)perform(w, e); /* a change of names: unsynced, so the crash decides */
    }
    if (e->node)
        store_release(&w->store, e->node);
}

/* ---- the disk, seen by the test ---------------------------------------------------------------------------------- */

void sim_disk_mkdirs(struct sim_world *w, const char *path)
{
    char part[512];
    size_t len = strlen(path);
    CHECK(len < sizeof part);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        int rc = store_mkdir(&w->store, part);
        CHECK(rc == 0 || rc == -EEXIST);
        char name[STORE_NAME_MAX + 1];
        store_sync_folder(&w->store, store_parent(&w->store, part, name, &rc), UINT64_MAX);
    }
}

int64_t sim_disk_size(struct sim_world *w, const char *path)
{
    struct store_node *n = store_find(&w->store, path);
    return n && !n->folder ? (int64_t)n->size : -ENOENT;
}

int64_t sim_disk_peek(struct sim_world *w, const char *path, uint64_t offset, void *out, size_t len)
{
    struct store_node *n = store_find(&w->store, path);
    return n && !n->folder ? store_read(n, out, len, offset) : -ENOENT;
}

void sim_disk_poke(struct sim_world *w, const char *path, uint64_t offset, const void *bytes, size_t len)
{
    struct store_node *n;
    int rc = store_open(&w->store, path, IO_WRITE | IO_CREATE, &n);
    CHECK(rc == 0);
    store_poke(&w->store, n, offset, bytes, len);
    char name[STORE_NAME_MAX + 1];
    store_sync_folder(&w->store, store_parent(&w->store, path, name, &rc), UINT64_MAX);
}

bool sim_disk_flip(struct sim_world *w, const char *path, uint64_t offset, uint8_t mask)
{
    struct store_node *n = store_find(&w->store, path);
    return n && !n->folder && store_flip(n, offset, mask);
}

bool sim_disk_remove(struct sim_world *w, const char *path)
{
    char name[STORE_NAME_MAX + 1];
    int rc = store_unlink(&w->store, path, false);
    if (rc == 0)
        store_sync_folder(&w->store, store_parent(&w->store, path, name, &rc), UINT64_MAX);
    return rc == 0;
}

static int entry_order(const void *a, const void *b)
{
    return strcmp(((const struct store_entry *)a)->name, ((const struct store_entry *)b)->name);
}

static void walk_node(struct store_node *n, const char *path,
                      void (*each)(void *arg, const char *path, struct store_node *n), void *arg)
{
    each(arg, path, n);
    if (!n->folder)
        return;
    size_t count = n->live.count;
    struct store_entry *copy = sim_heap_keep((count + 1) * sizeof *copy);
    if (count)
        memcpy(copy, n->live.at, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, entry_order);
    for (size_t i = 0; i < count; i++) {
        char below[1024];
        snprintf(below, sizeof below, "%s/%s", strcmp(path, "/") == 0 ? "" : path, copy[i].name);
        walk_node(copy[i].node, below, each, arg);
    }
    sim_heap_keep_free(copy);
}

struct file_walk {
    void (*each)(void *arg, const char *path, uint64_t size);
    void *arg;
};

static void walk_file(void *arg, const char *path, struct store_node *n)
{
    struct file_walk *f = arg;
    if (!n->folder)
        f->each(f->arg, path, n->size);
}

void sim_disk_walk(struct sim_world *w, const char *path, void (*each)(void *arg, const char *path, uint64_t size),
                   void *arg)
{
    struct store_node *n = store_find(&w->store, path);
    struct file_walk f = {each, arg};
    if (n)
        walk_node(n, path, walk_file, &f);
}

static void copy_node(void *arg, const char *path, struct store_node *from)
{
    struct store *to = arg;
    struct store_node *n;
    if (from->folder) {
        int made = store_mkdir(to, path);
        CHECK(made == 0 || made == -EEXIST);
        return;
    }
    int rc = store_open(to, path, IO_WRITE | IO_CREATE, &n);
    CHECK(rc == 0);
    uint8_t page[STORE_PAGE];
    for (uint64_t at = 0; at < from->size; at += STORE_PAGE) {
        int64_t len = store_read(from, page, sizeof page, at);
        CHECK(store_write(to, n, page, (size_t)len, at, 0) == len);
    }
}

void sim_disk_copy(struct sim_world *to, struct sim_world *from)
{
    uint64_t capacity = to->store.capacity;
    CHECK(to->file_count == 0);
    store_deinit(&to->store);
    store_init(&to->store, to, UINT64_MAX / 2, &to->counts);
    walk_node(from->store.root, "/", copy_node, &to->store);
    store_sync_all(&to->store);
    to->store.capacity = capacity;
}

void sim_disk_set_capacity(struct sim_world *w, uint64_t bytes)
{
    w->store.capacity = bytes;
}

uint64_t sim_disk_used(const struct sim_world *w)
{
    return w->store.used;
}

static void hash_node(void *arg, const char *path, struct store_node *n)
{
    uint64_t *h = arg;
    uint8_t page[STORE_PAGE];
    *h = hash_bytes(slice_str(path), *h);
    for (uint64_t at = 0; !n->folder && at < n->size; at += STORE_PAGE) {
        int64_t len = store_read(n, page, sizeof page, at);
        *h = hash_bytes(slice_of(page, (size_t)len), *h);
    }
}

uint64_t sim_disk_hash(struct sim_world *w)
{
    uint64_t h = 0;
    walk_node(w->store.root, "/", hash_node, &h);
    return h;
}
