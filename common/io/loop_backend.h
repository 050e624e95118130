/*
 * What a backend implements; private to common/io and to tests/sim. The core (loop_core.c, loop_file.c, loop_net.c,
 * loop_timer.c) owns what is the same for all: timers, deferred functions, the mailbox, completing short transfers
 * (L5), the once-only rule (L4), the states of connections, job hand-over. A backend turns submitted ops into raw
 * results and moves connections' bytes.
 *
 * The rule between the two: a backend calls the loop_* functions at the end of this header that lead to the caller's
 * functions (finish, data, ended, closed, accepted) only from inside its `wait`, never from another call of its table
 * (L2). Where it knows a result at once it uses loop_op_finish_soon.
 */
#ifndef SLUICE_IO_LOOP_BACKEND_H
#define SLUICE_IO_LOOP_BACKEND_H

#include <stdatomic.h>

#include "common/io/loop.h"

enum io_kind {
    IO_KIND_NONE,
    IO_KIND_OPEN,
    IO_KIND_CLOSE,
    IO_KIND_READ,  /* one iovec; at op->offset + op->moved, as for WRITE */
    IO_KIND_WRITE, /* op->iov, iov_count; the backend may see a rest after a short write */
    IO_KIND_DATASYNC,
    IO_KIND_ALLOCATE, /* op->offset, op->length */
    IO_KIND_TRUNCATE, /* op->length */
    IO_KIND_SIZE,
    IO_KIND_RENAME,
    IO_KIND_RENAME_NEW,
    IO_KIND_UNLINK,
    IO_KIND_MKDIR,
    IO_KIND_RMDIR,
    IO_KIND_SYNC_DIR,
    IO_KIND_LIST,
    IO_KIND_DISK_FREE, /* op->names carries the uint64_t *out_total */
    IO_KIND_SEND,      /* op->conn, op->iov, iov_count */
    IO_KIND_CONNECT,   /* op->conn */
    IO_KIND_POLL,      /* the op of a struct io_poll; raw result: IO_POLL_* or -errno */
    IO_KIND_INTERNAL   /* a backend's own use: receive, accept, close of a socket. Never given to loop_op_finish */
};

/* READY: the result is known (loop_op_finish_soon), the backend has to do with the op no more. */
enum io_state { IO_IDLE, IO_IN_FLIGHT, IO_CANCELLING, IO_READY, IO_READY_CANCELLING };

/*
 *            net_connect            0 from the backend
 *   FREE ─────────────▶ CONNECTING ───────────────────▶ OPEN ──net_close──▶ CLOSING ──loop_conn_closed──▶ FREE
 *    │                      └──────── error ──▶ FREE      ▲
 *    └──────────────────── net_adopt ─────────────────────┘
 */
enum conn_state { CONN_FREE, CONN_CONNECTING, CONN_OPEN, CONN_CLOSING };

struct loop_backend {
    const char *name;
    /* Frees the loop; called when nothing is in flight any more. */
    void (*destroy)(struct loop *loop);
    /* Starts op (kind and arguments set), or its rest. Its raw result must arrive later through loop_op_finish. */
    void (*submit)(struct loop *loop, struct io_op *op);
    /* Asks for an early end of any op in flight but POLL; at most once an op. */
    void (*cancel)(struct loop *loop, struct io_op *op);
    /* Submits what is queued, then gathers completions. Blocks until at least one, a wake, or `until` (ns; INT64_MAX:
     * for ever; already past: only polls). Returns 0 or -errno if the backend broke. */
    int (*wait)(struct loop *loop, struct mono_ns until);
    /* Makes a blocked wait return. Any thread. */
    void (*wake)(struct loop *loop);
    struct mono_ns (*mono)(struct loop *loop);
    struct wall_ms (*wall)(struct loop *loop);
    void (*random)(struct loop *loop, void *out, size_t len);

    /* Returns the port. `l` is otherwise set up by the core. */
    int (*listen)(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e);
    /* Stops accepting; loop_listener_closed must follow. */
    void (*listener_close)(struct net_listener *l);
    /* Takes the socket (conn is zeroed but loop, ops, link and fd = socket). recv_start follows. */
    void (*adopt)(struct loop *loop, struct net_conn *conn, int socket);
    void (*refuse)(struct loop *loop, int socket);
    /* The raw result of op (CONNECT) must follow; on 0 the core calls recv_start, on an error the backend has let go
     * of everything already. An error of the set-up goes through loop_op_finish_soon. */
    void (*connect)(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
    /* Sends op->iov; may finish with less, then called again with the rest. */
    void (*send)(struct net_conn *conn, struct io_op *op);
    /* (Re-)arm receiving; loop_conn_data and loop_conn_ended may follow. Also called when it was never stopped. */
    void (*recv_start)(struct net_conn *conn);
    /* conn->paused has been set: no loop_conn_data from now on until recv_start; what was on its way waits. */
    void (*recv_stop)(struct net_conn *conn);
    /* Ends our direction; no send is in flight. */
    void (*shutdown)(struct net_conn *conn);
    /* conn->state is CLOSING and no send is in flight: let go of everything, then call loop_conn_closed. */
    void (*close)(struct net_conn *conn);

    /* Runs j->work somewhere, then loop_job_finish(j) on the loop's thread, from inside wait or by a message. */
    void (*job)(struct loop *loop, struct io_job *j);
    /* p->fd and p->events are set, p->op is in flight: its raw result is IO_POLL_* bits. < 0: it failed at once and
     * nothing was started. */
    int (*poll_arm)(struct io_poll *p);
    /* p->op must finish soon (any result). */
    void (*poll_disarm)(struct io_poll *p);
    /* -ENOSYS where a backend has no children or signals. */
    int (*spawn)(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e);
    void (*child_kill)(struct io_child *c, int signal);
    int (*signal_watch)(struct io_signal *s);
    void (*signal_unwatch)(struct io_signal *s);
};

struct loop {
    const struct loop_backend *backend;
    struct loop_stats stats;
    struct mono_ns now; /* valid while now_fresh, read on demand, once an iteration */
    struct wall_ms wall;
    bool now_fresh, wall_fresh;
    bool closing; /* loop_destroy has begun: new ops fail with -ECANCELED, timers and deferred functions rest */
    bool firing;  /* due timers are being fired */
    atomic_bool stopping;
    atomic_bool sleeping;          /* set before wait may block; loop_post wakes only then */
    atomic_uint posting;           /* threads inside loop_post or loop_stop: loop_destroy waits for them */
    _Atomic(struct io_msg *) mail; /* Treiber stack, reversed when drained */
    struct list deferred;
    struct list ops;   /* in flight, by io_op.link */
    struct list ready; /* ops whose result is known already (loop_op_finish_soon) */
    struct list conns; /* CONN_OPEN and CONN_CLOSING */
    struct list listeners;
    struct list signals;
    struct io_timer *timers; /* root of a pairing heap by (when, order) */
    uint64_t timer_order;
    uint32_t in_flight; /* ops in `ops` and `ready` */
    uint32_t jobs;      /* submitted, `done` not yet called */
    int fallback_errno;
};

/* For backends: sets up the core part (the struct is zeroed by the backend). */
void loop_core_init(struct loop *loop, const struct loop_backend *backend);
/* One iteration: wait, results known already, messages, timers, deferred. The simulator drives loops with this. */
int loop_core_step(struct loop *loop, bool may_block) must_use;
/* Fires all timers that are due. Part of the step. */
void loop_timers_fire(struct loop *loop);
/* When the next timer is due; INT64_MAX if none. */
struct mono_ns loop_next_timer(const struct loop *loop);
/* True if the next step has something to do without any completion: results known, messages, deferred functions, a
 * stop. (Due timers are not counted: see loop_next_timer.) */
bool loop_has_work(const struct loop *loop);

/* The raw result of an op: finishes it, or submits the rest of a short transfer. From inside wait only. */
void loop_op_finish(struct loop *loop, struct io_op *op, int64_t raw_result);
/* The same, in the coming step. From anywhere on the loop's thread. */
void loop_op_finish_soon(struct loop *loop, struct io_op *op, int64_t raw_result);
/* Marks op as in flight (core's own use, and for the op of a poll). */
void loop_op_start(struct loop *loop, struct io_op *op, enum io_kind kind);

/* The parts of loop_op_finish; each lives with its concept. True: the op goes on and is not finished. */
bool file_op_goes_on(struct loop *loop, struct io_op *op, int64_t *raw_result);
void conn_op_finished(struct loop *loop, struct io_op *op);
void poll_op_finished(struct loop *loop, struct io_op *op);

/* What happens to connections. `data` is called only if the connection is open and not paused, `ended` at most once. */
void loop_conn_data(struct net_conn *conn, struct slice data);
void loop_conn_ended(struct net_conn *conn, int status);
/* After `close`: takes conn out and calls ops->closed; the struct may be gone when this returns. */
void loop_conn_closed(struct net_conn *conn);
void loop_listener_accepted(struct net_listener *l, int socket, const struct net_address *peer);
/* After `listener_close`. The struct may be gone when this returns. */
void loop_listener_closed(struct net_listener *l);
/* Calls j->done. */
void loop_job_finish(struct io_job *j);

/* Constructors of the real backends. */
int loop_uring_create(const struct loop_options *options, struct loop **out, struct err *e) must_use;
int loop_libuv_create(const struct loop_options *options, struct loop **out, struct err *e) must_use;

#endif
