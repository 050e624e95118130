/*
 * The io_uring backend: the ring, file operations, polls. Sockets are in loop_uring_net.c.
 *
 * The ring is made for one thread (SINGLE_ISSUER, DEFER_TASKRUN: completions are processed only inside io_uring_enter,
 * so the loop is not interrupted; kernel 6.0 lacks the second, older ones are refused with -ENOSYS). It is created
 * disabled; the first wait enables it, and the thread that does so is its owner. Until then SQEs only queue up.
 *
 * Happy path: submit fills in an SQE. One io_uring_enter an iteration submits them all and waits for the first
 * completion, a wake or the next timer. Each CQE's user data is its io_op (0: nobody cares); an op of kind INTERNAL
 * has a handler, all others go to loop_op_finish.
 *
 * Invariants
 *  U1. uring_sqe never fails: if the submission queue is full it submits, and if that does not help it spills into
 *      memory of ours. While anything is spilled everything new is, so order is kept.
 *  U2. A CQE is copied and released before its op is finished: callbacks may submit, and the kernel may overflow into
 *      its own list (FEAT_NODROP), which the next enter flushes.
 *  U3. One iteration handles the CQEs that were there when it began; multishot operations cannot starve the rest.
 *  U4. Nothing that the kernel writes to is freed while in flight: the wake is a multishot poll of an eventfd that is
 *      never read (each write is an edge), and needs no memory.
 *
 * What the ring cannot do goes to a worker: truncate (6.9 can, liburing 2.3 cannot say it), size, list, disk_free, the
 * sync of a folder, and rename_new where the file system has no RENAME_NOREPLACE.
 *
 * Registered files are not used. Measured (4 KiB reads, 32 a submission): 550 against 610 ns where the page is cached,
 * no difference within 7.5 µs where the disk is read; what this project does is large, direct, or followed by a sync.
 *
 * Failure modes: wait returns < 0 only if the ring itself is broken. If the owner has ended, the kernel has ended its
 * operations with it; the thread that destroys the loop completes them with -ECANCELED (abandoned_wait).
 * Thread: the owner, but wake.
 */
#include "common/io/loop_uring.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/io/loop_system.h"
#include "common/io/worker_pool.h"

#define SQ_ENTRIES 512u

uint64_t thread_number(void)
{
    static atomic_uint_fast64_t last;
    static _Thread_local uint64_t own;
    if (own == 0)
        own = atomic_fetch_add(&last, 1) + 1;
    return own;
}

/* ---- submission -------------------------------------------------------------------------------------------------- */

static struct io_uring_sqe *sq_next(struct uring_loop *u, union uring_aux **aux)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (sqe)
        *aux = &u->aux[sqe - u->ring.sq.sqes];
    return sqe;
}

static struct io_uring_sqe *spill_next(struct uring_loop *u, union uring_aux **aux)
{
    if (u->spill_count == u->spill_cap) {
        uint32_t bigger = u->spill_cap ? u->spill_cap * 2 : 256;
        struct uring_spill *grown = realloc(u->spill, bigger * sizeof *grown);
        CHECK(grown);
        u->spill = grown;
        u->spill_cap = bigger;
    }
    struct uring_spill *s = &u->spill[u->spill_count++];
    *aux = &s->aux;
    return &s->sqe;
}

struct io_uring_sqe *uring_sqe(struct uring_loop *u, union uring_aux **aux)
{
    union uring_aux *ignored;
    if (!aux)
        aux = &ignored;
    if (u->spill_count > 0)
        return spill_next(u, aux);
    struct io_uring_sqe *sqe = sq_next(u, aux);
    if (!sqe && u->owner == thread_number()) {
        io_uring_submit(&u->ring);
        sqe = sq_next(u, aux);
    }
    return sqe ? sqe : spill_next(u, aux);
}

/* Moves what was spilled into the queue, as far as the kernel takes it. */
static void spill_flush(struct uring_loop *u)
{
    uint32_t done = 0;
    while (done < u->spill_count) {
        union uring_aux *aux;
        struct io_uring_sqe *sqe = sq_next(u, &aux);
        if (!sqe) {
            if (io_uring_submit(&u->ring) <= 0)
                break;
            continue;
        }
        struct uring_spill *s = &u->spill[done++];
        *sqe = s->sqe;
        *aux = s->aux;
        if (sqe->opcode == IORING_OP_SENDMSG || sqe->opcode == IORING_OP_CONNECT)
            sqe->addr = (uintptr_t)aux;
    }
    memmove(u->spill, u->spill + done, (u->spill_count - done) * sizeof *u->spill);
    u->spill_count -= done;
}

void uring_internal(struct io_uring_sqe *sqe, struct io_op *op, uring_cqe_fn *handler)
{
    op->kind = IO_KIND_INTERNAL;
    op->backend[0] = (void *)handler;
    io_uring_sqe_set_data(sqe, op);
}

void uring_cancel_op(struct uring_loop *u, struct io_op *op)
{
    struct io_uring_sqe *sqe = uring_sqe(u, NULL);
    io_uring_prep_cancel(sqe, op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, NULL);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void prep_transfer(struct io_uring_sqe *sqe, struct io_op *op)
{
    uint64_t at = op->offset + op->moved;
    unsigned len = op->iov->iov_len < TRANSFER_MAX ? (unsigned)op->iov->iov_len : TRANSFER_MAX;
    if (op->kind == IO_KIND_READ)
        io_uring_prep_read(sqe, op->fd, op->iov->iov_base, len, at);
    else if (op->iov_count == 1)
        io_uring_prep_write(sqe, op->fd, op->iov->iov_base, len, at);
    else
        io_uring_prep_writev(sqe, op->fd, op->iov, op->iov_count, at);
}

static void prep_file_op(struct io_uring_sqe *sqe, struct io_op *op)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, op->path, open_flags_system(op->open_flags),
                             open_mode_system(op->open_flags));
        break;
    case IO_KIND_CLOSE:
        io_uring_prep_close(sqe, op->fd);
        break;
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        prep_transfer(sqe, op);
        break;
    case IO_KIND_DATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_KIND_ALLOCATE:
        io_uring_prep_fallocate(sqe, op->fd, 0, (off_t)op->offset, (off_t)op->length);
        break;
    case IO_KIND_RENAME:
        io_uring_prep_renameat(sqe, AT_FDCWD, op->path, AT_FDCWD, op->path2, 0);
        break;
    case IO_KIND_RENAME_NEW:
        io_uring_prep_renameat(sqe, AT_FDCWD, op->path, AT_FDCWD, op->path2, RENAME_NOREPLACE);
        break;
    case IO_KIND_UNLINK:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, op->path, 0);
        break;
    case IO_KIND_MKDIR:
        io_uring_prep_mkdirat(sqe, AT_FDCWD, op->path, 0700);
        break;
    case IO_KIND_RMDIR:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, op->path, AT_REMOVEDIR);
        break;
    default:
        check_failed("a file operation of the ring", __FILE__, __LINE__);
    }
}

static void uring_submit(struct loop *loop, struct io_op *op)
{
    switch (op->kind) {
    case IO_KIND_TRUNCATE:
    case IO_KIND_SIZE:
    case IO_KIND_SYNC_DIR:
    case IO_KIND_LIST:
    case IO_KIND_DISK_FREE:
        file_op_on_worker(loop, op);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe(uring_of(loop), NULL);
    prep_file_op(sqe, op);
    io_uring_sqe_set_data(sqe, op);
}

static void uring_cancel(struct loop *loop, struct io_op *op)
{
    if (!op->on_worker) /* a worker's result is soon there */
        uring_cancel_op(uring_of(loop), op);
}

/* ---- polls ------------------------------------------------------------------------------------------------------- */

static int uring_poll_arm(struct io_poll *p)
{
    unsigned mask = (p->events & IO_POLL_IN ? POLLIN | POLLRDHUP : 0) | (p->events & IO_POLL_OUT ? POLLOUT : 0);
    struct io_uring_sqe *sqe = uring_sqe(uring_of(p->loop), NULL);
    io_uring_prep_poll_add(sqe, p->fd, mask);
    io_uring_sqe_set_data(sqe, &p->op);
    return 0;
}

static void uring_poll_disarm(struct io_poll *p)
{
    uring_cancel_op(uring_of(p->loop), &p->op);
}

static int poll_result(int res)
{
    if (res < 0)
        return res;
    return (res & (POLLIN | POLLRDHUP | POLLHUP) ? IO_POLL_IN : 0) | (res & POLLOUT ? IO_POLL_OUT : 0) |
           (res & (POLLERR | POLLNVAL) ? IO_POLL_ERR : 0);
}

/* ---- completion -------------------------------------------------------------------------------------------------- */

static void cqe_handle(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    switch (op->kind) {
    case IO_KIND_INTERNAL:
        ((uring_cqe_fn *)op->backend[0])(u, op, res, flags);
        return;
    case IO_KIND_POLL:
        res = poll_result(res);
        break;
    case IO_KIND_CONNECT:
        uring_connect_finished(op, res);
        break;
    case IO_KIND_RENAME_NEW:
        if (res == -EINVAL && op->state == IO_IN_FLIGHT) {
            file_op_on_worker(&u->loop, op);
            return;
        }
        break;
    }
    loop_op_finish(&u->loop, op, res);
}

static void cqes_handle(struct uring_loop *u)
{
    struct io_uring_cqe *cqe;
    for (unsigned n = io_uring_cq_ready(&u->ring); n > 0 && io_uring_peek_cqe(&u->ring, &cqe) == 0; n--) {
        struct io_op *op = io_uring_cqe_get_data(cqe);
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cqe_seen(&u->ring, cqe); /* U2 */
        if (op)
            cqe_handle(u, op, res, flags);
    }
}

/* ---- wake -------------------------------------------------------------------------------------------------------- */

static void wake_arm(struct uring_loop *u);

static void wake_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    if (!(flags & IORING_CQE_F_MORE))
        wake_arm(u);
}

static void wake_arm(struct uring_loop *u)
{
    struct io_uring_sqe *sqe = uring_sqe(u, NULL);
    io_uring_prep_poll_multishot(sqe, u->wake_fd, POLLIN);
    uring_internal(sqe, &u->wake_op, wake_cqe);
}

static void uring_wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(uring_of(loop)->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int ring_enable(struct uring_loop *u)
{
    /* Debian's liburing 2.3 declares io_uring_enable_rings but does not export it. */
    int r = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r < 0)
        return r;
    u->owner = thread_number();
    (void)io_uring_register_ring_fd(&u->ring); /* a little cheaper to enter; not there before 5.18 */
    return 0;
}

/* Submits, and blocks until the first completion or `until`. */
static int ring_enter(struct uring_loop *u, struct mono_ns until)
{
    struct io_uring_cqe *cqe;
    int64_t left = until.ns == INT64_MIN ? 0 : until.ns == INT64_MAX ? 1 : until.ns - system_mono(&u->loop).ns;
    int r;
    if (left <= 0 || u->resumed || u->spill_count > 0) {
        r = io_uring_submit_and_get_events(&u->ring);
    } else if (until.ns == INT64_MAX) {
        r = io_uring_submit_and_wait(&u->ring, 1);
    } else {
        struct __kernel_timespec ts = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
    }
    return r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY ? 0 : r;
}

/* The owner has ended: completes what it left. Only loop_destroy gets here, so nothing new is started but closes. */
static int abandoned_wait(struct uring_loop *u, struct mono_ns until)
{
    cqes_handle(u);
    uring_net_abandon(u);
    bool any = false;
    LIST_FOREACH_SAFE (n, &u->loop.ops) {
        struct io_op *op = CONTAINER_OF(n, struct io_op, link);
        if (op->on_worker)
            continue;
        any = true;
        if (op->kind == IO_KIND_CONNECT)
            uring_connect_finished(op, -ECANCELED);
        loop_op_finish_soon(&u->loop, op, op->kind == IO_KIND_CLOSE ? file_op_execute(op) : -ECANCELED);
    }
    if (any || until.ns == INT64_MIN || !u->loop.jobs)
        return 0;
    struct pollfd p = {.fd = u->wake_fd, .events = POLLIN};
    poll(&p, 1, 10);
    return 0;
}

static int uring_wait(struct loop *loop, struct mono_ns until)
{
    struct uring_loop *u = uring_of(loop);
    if (u->owner == 0) {
        int r = ring_enable(u);
        if (r < 0)
            return r;
    }
    if (uring_abandoned(u)) {
        CHECK(loop->closing);
        return abandoned_wait(u, until);
    }
    if (u->spill_count > 0)
        spill_flush(u);
    int r = ring_enter(u, until);
    if (r < 0)
        return r;
    uring_resumed_run(u);
    cqes_handle(u);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void uring_destroy(struct loop *loop)
{
    struct uring_loop *u = uring_of(loop);
    io_uring_queue_exit(&u->ring);
    uring_recv_deinit(u);
    close(u->wake_fd);
    free(u->spill);
    free(u->aux);
    worker_pool_unref();
    free(u);
}

static const struct loop_backend uring_backend = {
    .name = "io_uring",
    .destroy = uring_destroy,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .wait = uring_wait,
    .wake = uring_wake,
    .mono = system_mono,
    .wall = system_wall,
    .random = system_random,
    .listen = uring_listen,
    .listener_close = uring_listener_close,
    .adopt = uring_adopt,
    .refuse = uring_refuse,
    .connect = uring_connect,
    .send = uring_send,
    .recv_start = uring_recv_start,
    .recv_stop = uring_recv_stop,
    .shutdown = uring_shutdown,
    .close = uring_close,
    .job = system_job,
    .poll_arm = uring_poll_arm,
    .poll_disarm = uring_poll_disarm,
    .spawn = process_spawn,
    .child_kill = process_kill,
    .signal_watch = process_signal_watch,
    .signal_unwatch = process_signal_unwatch,
};

/* With the most that the kernel has; -ENOSYS for one without multishot receive (before 6.0). */
static int ring_init(struct io_uring *ring, uint32_t ops_max)
{
    const unsigned base = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL |
                          IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    const unsigned flags[] = {base | IORING_SETUP_DEFER_TASKRUN, base | IORING_SETUP_COOP_TASKRUN};
    int r = -ENOSYS;
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        struct io_uring_params p = {.flags = flags[i], .cq_entries = ops_max * 2};
        r = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
        if (r != -EINVAL)
            return r;
    }
    return -ENOSYS;
}

static int loop_init(struct uring_loop *u, const struct loop_options *o)
{
    uint32_t ops_max = o->ops_max ? o->ops_max : 4096;
    int r = ring_init(&u->ring, ops_max < SQ_ENTRIES ? SQ_ENTRIES : ops_max);
    if (r < 0)
        return r;
    u->aux = calloc(u->ring.sq.ring_entries, sizeof *u->aux);
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = !u->aux ? -ENOMEM : u->wake_fd < 0 ? -errno : 0;
    if (r == 0)
        r = uring_recv_init(u, o->recv_buffers ? o->recv_buffers : 256, o->recv_buf_bytes ? o->recv_buf_bytes : 16384);
    if (r == 0)
        r = worker_pool_ref(o->workers);
    if (r < 0) {
        io_uring_queue_exit(&u->ring);
        uring_recv_deinit(u);
        if (u->wake_fd >= 0)
            close(u->wake_fd);
        free(u->aux);
        return r;
    }
    wake_arm(u);
    return 0;
}

int loop_uring_create(const struct loop_options *options, struct loop **out, struct err *e)
{
    struct uring_loop *u = calloc(1, sizeof *u);
    if (!u)
        return err_set_status(e, -ENOMEM, "io_uring");
    loop_core_init(&u->loop, &uring_backend);
    u->wake_fd = -1;
    int r = loop_init(u, options);
    if (r < 0) {
        free(u);
        return err_set_status(e, r, "io_uring");
    }
    *out = &u->loop;
    return 0;
}
