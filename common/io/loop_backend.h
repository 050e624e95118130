/*
 * What a backend implements; private to common/io and to tests/sim. The core (loop_core.c) owns what is the same for
 * all: the timer heap, deferred functions, the mailbox, completing short transfers (L5), the once-only rule (L4), job
 * hand-over. A backend turns submitted ops into raw results and moves connections' bytes.
 */
#ifndef SLUICE_IO_LOOP_BACKEND_H
#define SLUICE_IO_LOOP_BACKEND_H

#include <stdatomic.h>

#include "common/io/loop.h"

enum io_kind {
    IO_KIND_NONE,
    IO_KIND_OPEN,
    IO_KIND_CLOSE,
    IO_KIND_READ,
    IO_KIND_WRITE, /* op->iov, iov_count; the backend may see a rest after a short write */
    IO_KIND_DATASYNC,
    IO_KIND_ALLOCATE,
    IO_KIND_TRUNCATE,
    IO_KIND_SIZE,
    IO_KIND_RENAME,
    IO_KIND_RENAME_NEW,
    IO_KIND_UNLINK,
    IO_KIND_MKDIR,
    IO_KIND_RMDIR,
    IO_KIND_SYNC_DIR,
    IO_KIND_LIST,
    IO_KIND_DISK_FREE, /* op->names carries the uint64_t *out_total */
    IO_KIND_SEND,
    IO_KIND_CONNECT,
    IO_KIND_INTERNAL /* a backend's own use: receive, accept, poll, close of a socket */
};

enum io_state { IO_IDLE, IO_IN_FLIGHT, IO_CANCELLING };

struct loop_backend {
    const char *name;
    void (*destroy)(struct loop *loop);
    /* Starts op (kind and arguments set). Its raw result must arrive later through loop_op_finish. */
    void (*submit)(struct loop *loop, struct io_op *op);
    void (*cancel)(struct loop *loop, struct io_op *op);
    /* Submits what is queued, then gathers completions. Blocks until at least one, a wake, or `until` (ns; INT64_MAX:
     * for ever; already past: only polls). Returns 0 or -errno if the backend broke. */
    int (*wait)(struct loop *loop, struct mono_ns until);
    /* Makes a blocked wait return. Any thread. */
    void (*wake)(struct loop *loop);
    struct mono_ns (*mono)(struct loop *loop);
    struct wall_ms (*wall)(struct loop *loop);
    void (*random)(struct loop *loop, void *out, size_t len);

    int (*listen)(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e);
    void (*listener_close)(struct net_listener *l);
    void (*adopt)(struct loop *loop, struct net_conn *conn, int socket);
    void (*refuse)(struct loop *loop, int socket);
    void (*connect)(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
    void (*send)(struct net_conn *conn, struct io_op *op);
    void (*recv_start)(struct net_conn *conn); /* (re-)arm receiving */
    void (*recv_stop)(struct net_conn *conn);
    void (*shutdown)(struct net_conn *conn);
    void (*close)(struct net_conn *conn);

    void (*job)(struct loop *loop, struct io_job *j);
    int (*poll_arm)(struct io_poll *p);
    void (*poll_disarm)(struct io_poll *p);
    int (*spawn)(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e);
    void (*child_kill)(struct io_child *c, int signal);
    int (*signal_watch)(struct io_signal *s);
    void (*signal_unwatch)(struct io_signal *s);
};

struct loop {
    const struct loop_backend *backend;
    struct loop_stats stats;
    struct mono_ns now;
    struct wall_ms wall;
    bool wall_fresh;
    atomic_bool stopping;
    atomic_bool sleeping;          /* set before wait may block; loop_post wakes only then */
    _Atomic(struct io_msg *) mail; /* Treiber stack, reversed when drained */
    struct list deferred;
    struct io_timer **heap; /* 1-based binary heap by (when, arming order) */
    uint32_t heap_count, heap_cap;
    int fallback_errno;
    uint32_t in_flight;
    struct list signals;
};

/* For backends: sets up the core part; -ENOMEM. */
int loop_core_init(struct loop *loop, const struct loop_backend *backend) must_use;
void loop_core_deinit(struct loop *loop);
/* One iteration: wait, messages, timers, deferred. The simulator drives loops with this. */
int loop_core_step(struct loop *loop, bool may_block) must_use;
/* The raw result of an op: finishes it, or submits the rest of a short transfer. */
void loop_op_finish(struct loop *loop, struct io_op *op, int64_t raw_result);
/* When the next timer is due; INT64_MAX if none. */
struct mono_ns loop_next_timer(const struct loop *loop);

/* Constructors of the real backends. */
int loop_uring_create(const struct loop_options *options, struct loop **out, struct err *e) must_use;
int loop_libuv_create(const struct loop_options *options, struct loop **out, struct err *e) must_use;

#endif
