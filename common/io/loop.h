/*
 * The one seam between sluice and the world. Everything that touches a file, a socket, a clock, randomness, another
 * thread or a child process goes through this header, so that the same code runs on io_uring (loop_uring.c), on libuv
 * (loop_libuv.c, where io_uring is blocked) and on the deterministic simulator (tests/sim), under one contract suite.
 *
 * Shape: completion-based. The caller embeds an io_op (or io_timer, net_conn, ...) in a struct of its own, submits it
 * and gets it back through its `done` function. No call blocks; no call allocates after start-up.
 *
 * Invariants
 *  L1. A loop belongs to the thread that runs it. Only loop_post and loop_stop may be called from another thread.
 *  L2. `done` is never called from inside the submitting call: always later, from loop_run, on the loop's thread.
 *  L3. Between submit and done the op and every buffer and path named in it belong to the loop and must stay where they
 *      are. An op is zeroed before its first use and submitted at most once at a time; in `done` it may be submitted
 *      again or freed.
 *  L4. Every submitted op is completed exactly once, also when cancelled (-ECANCELED, or its real result if that was
 *      faster) and also when the loop is stopping.
 *  L5. Reads and writes are completed in full by this layer (it submits the rest after a short transfer): a write's
 *      result is its length or an error; a read's is its length, or less at the end of the file only.
 *  L6. An operation is ordered after another only if it is submitted after that one's `done`. In particular a datasync
 *      covers exactly the writes that were done before it was submitted.
 *  L7. Deferred functions (loop_defer) run at the end of the iteration, after all completions that were ready: this is
 *      where group commit gathers its round.
 */
#ifndef SLUICE_IO_LOOP_H
#define SLUICE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/status.h"

struct loop;

/* ---- life ------------------------------------------------------------------------------------------------------ */

enum loop_kind { LOOP_AUTO, LOOP_URING, LOOP_LIBUV };

struct loop_options {
    enum loop_kind kind;     /* AUTO: io_uring, or libuv where io_uring_setup gives EPERM or ENOSYS */
    uint32_t ops_max;        /* most operations in flight; 0 = 4096 */
    uint32_t workers;        /* threads of the worker pool that this loop's jobs share; 0 = CPUs. One pool a process */
    uint32_t recv_buffers;   /* receive buffers of the loop; 0 = 256 */
    uint32_t recv_buf_bytes; /* size of one; 0 = 16384 */
};

/* Creates a loop. It may be created on one thread, given listeners, timers and operations there, and then be run on
 * another: nothing starts before the first loop_run. Errors: -ENOMEM, -EPERM/-ENOSYS (URING asked for and blocked, or
 * the kernel is older than 6.0), -errno of the ring's set-up. Every error fills `e`. */
int loop_create(const struct loop_options *options, struct loop **out, struct err *e) must_use;
/* Runs until loop_stop; the thread that runs it owns it from then on. Returns 0, or -errno if the backend broke. */
int loop_run(struct loop *loop) must_use;
/* Makes loop_run return after its current iteration. Any thread. */
void loop_stop(struct loop *loop);
/* Cancels what is in flight, waits for it (each op's `done`, each connection's and listener's `closed` and each job's
 * `done` is called in here; timers, polls and deferred functions are dropped), frees. Children are left alone. To be
 * called by the thread that ran the loop, or by any thread once that one has ended. NULL is allowed. */
void loop_destroy(struct loop *loop);
/* "io_uring", "libuv" or "sim". */
const char *loop_backend_name(const struct loop *loop);
/* The errno for which AUTO fell back to libuv; 0 if it did not. */
int loop_fallback_errno(const struct loop *loop);

/* Clocks are read once an iteration; loop_now_precise reads the clock again. */
struct mono_ns loop_now(struct loop *loop);
struct mono_ns loop_now_precise(struct loop *loop);
struct wall_ms loop_wall(struct loop *loop);
/* Unpredictable bytes (getrandom; in the simulator its seeded generator). */
void loop_random(struct loop *loop, void *out, size_t len);
/* The wall clock without a loop, for the diagnostics log only. Any thread. */
struct wall_ms loop_wall_process(void);

/* Counters for /metrics; read by the loop's own thread. */
struct loop_stats {
    uint64_t iterations;
    uint64_t ops;         /* submitted */
    uint64_t wakeups;     /* times that the loop slept and was woken */
    uint64_t posts;       /* messages delivered */
    uint64_t recv_pauses; /* times that receiving stopped: net_pause, or no receive buffer was left */
};
const struct loop_stats *loop_stats(const struct loop *loop);

/* ---- operations on files ---------------------------------------------------------------------------------------- */

struct io_op;
typedef void io_done_fn(struct io_op *op);

struct io_file {
    int id; /* < 0: none. Never an fd for the caller to use */
};
#define IO_FILE_NONE ((struct io_file){-1})

enum io_open_flags {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_CREATE = 4, /* mode 0600 */
    IO_EXCL = 8,   /* with IO_CREATE: -EEXIST if it is there */
    IO_TRUNC = 16,
    IO_DIRECT = 32, /* O_DIRECT: buffers, lengths and offsets in multiples of IO_ALIGN. Where the file system refuses
                       it, the open goes on buffered, and IO_RESULT_BUFFERED is set in op->flags_out */
    IO_PUBLIC = 64, /* with IO_CREATE: mode 0644 */
};
#define IO_RESULT_BUFFERED 1u

#define IO_ALIGN 4096u

struct io_names; /* what io_list found */

struct io_op {
    io_done_fn *done;
    int64_t result;     /* >= 0, or -errno */
    uint32_t flags_out; /* IO_RESULT_* */
    /* private to common/io: */
    uint8_t kind, state;
    uint16_t open_flags;
    bool on_worker; /* runs on the worker pool */
    int fd;
    struct loop *loop;
    struct iovec whole, one; /* the only buffer; the rest of one */
    const struct iovec *iov; /* what the backend moves now */
    uint32_t iov_count;
    uint32_t vec_count;
    const struct iovec *vec;        /* all that the caller gave */
    uint64_t offset, length, moved; /* the backend moves to or from offset + moved */
    uint32_t again;                 /* bytes after `moved` that an aligned transfer repeats (loop_file.c) */
    struct net_conn *conn;          /* SEND, CONNECT */
    const char *path, *path2;
    struct io_names *names;
    struct list link;
    void *backend[6];
};

/* Each submits `op`; op->done must be set. What op->result is on success: */

/* the file's id (make a struct io_file of it). Errors: -ENOENT, -EEXIST, -EACCES, -EMFILE, -ENOSPC, ... */
void io_open(struct loop *loop, struct io_op *op, const char *path, unsigned flags);
/* 0. The id is invalid from the call on. */
void io_close(struct loop *loop, struct io_op *op, struct io_file file);
/* bytes read; less than `len` at the end of the file only. */
void io_read(struct loop *loop, struct io_op *op, struct io_file file, void *buf, size_t len, uint64_t offset);
/* `len`. On an error an unknown part of the range may have been written. */
void io_write(struct loop *loop, struct io_op *op, struct io_file file, const void *buf, size_t len, uint64_t offset);
/* the sum of the lengths. The iovec array must live until done. At most 64 entries. */
void io_writev(struct loop *loop, struct io_op *op, struct io_file file, const struct iovec *iov, uint32_t count,
               uint64_t offset);
/* 0: data and the metadata needed to read it are on stable storage (fdatasync). After an error the caller must assume
 * the unsynced data lost (reliability.md); it must not simply try again. */
void io_datasync(struct loop *loop, struct io_op *op, struct io_file file);
/* 0: the range has disk space and the file is at least offset + length long (fallocate). -EOPNOTSUPP where the file
 * system cannot. */
void io_allocate(struct loop *loop, struct io_op *op, struct io_file file, uint64_t offset, uint64_t length);
/* 0. */
void io_truncate(struct loop *loop, struct io_op *op, struct io_file file, uint64_t length);
/* the file's length in bytes. */
void io_size(struct loop *loop, struct io_op *op, struct io_file file);
/* 0. Atomic replacement of `to`. Durable after io_sync_dir of the folder(s). */
void io_rename(struct loop *loop, struct io_op *op, const char *from, const char *to);
/* 0. Fails with -EEXIST instead of replacing `to` (hard link + unlink where the file system has no RENAME_NOREPLACE).
 */
void io_rename_new(struct loop *loop, struct io_op *op, const char *from, const char *to);
void io_unlink(struct loop *loop, struct io_op *op, const char *path);
/* 0, mode 0700. -EEXIST if it is there. */
void io_mkdir(struct loop *loop, struct io_op *op, const char *path);
void io_rmdir(struct loop *loop, struct io_op *op, const char *path);
/* 0: the folder's entries are on stable storage. */
void io_sync_dir(struct loop *loop, struct io_op *op, const char *path);
/* the number of names; fills `out` with the folder's entries but "." and "..", sorted bytewise. io_names_free it. */
void io_list(struct loop *loop, struct io_op *op, const char *path, struct io_names *out);
/* free bytes for unprivileged users in the file system that holds `path`; `*out_total` gets its size. */
void io_disk_free(struct loop *loop, struct io_op *op, const char *path, uint64_t *out_total);

/* Asks for an early end. The op still completes (L4). Harmless if it is not in flight. */
void io_cancel(struct loop *loop, struct io_op *op);

struct io_names {
    uint32_t count;
    char **name; /* NUL-terminated, owned */
};
void io_names_free(struct io_names *names);

/* Memory for IO_DIRECT: aligned to IO_ALIGN, length rounded up. NULL without memory. Free with io_buffer_free. Any
 * thread. */
void *io_buffer_alloc(size_t len) must_use;
void io_buffer_free(void *buf);

/* ---- stream sockets --------------------------------------------------------------------------------------------- */

struct net_conn;
struct net_listener;

/* What the owner of a connection provides. All on the loop's thread. */
struct net_conn_ops {
    /* Bytes have arrived. `data` is lent for the length of the call. The owner may pause, send or close inside. */
    void (*data)(struct net_conn *conn, struct slice data);
    /* The peer has ended its direction (status 0), or the connection broke (-errno). Comes at most once; nothing
     * follows but `closed`. The owner should call net_close. */
    void (*ended)(struct net_conn *conn, int status);
    /* After net_close, when nothing is in flight any more: the struct may be freed. Comes exactly once. */
    void (*closed)(struct net_conn *conn);
};

struct net_conn {
    const struct net_conn_ops *ops;
    /* private to common/io: */
    struct loop *loop;
    int fd;
    uint8_t state; /* enum conn_state */
    bool paused, recv_armed, end_told, shut;
    struct io_op *sending, *connecting;
    struct io_op recv_op, close_op;
    struct list link;
    void *backend[22];
};

struct net_address {
    char text[64]; /* numeric: "127.0.0.1", "::1" */
    uint16_t port;
    bool shared; /* net_listen: another listener of ours has the port already */
};

typedef void net_accept_fn(struct net_listener *l, int socket, const struct net_address *peer);

struct net_listener {
    net_accept_fn *accepted; /* must call net_adopt or net_refuse with `socket` */
    /* private to common/io: */
    struct loop *loop;
    int fd;
    bool closing;
    struct io_op op;
    void (*closed)(struct net_listener *l);
    struct list link;
    void *backend[4];
};

/* Listens on a numeric address. A port that anybody listens on is refused; each further loop joins its process's first
 * listener with at->shared (SO_REUSEPORT), so that it has one of its own. Port 0 picks a free one; the port in use is
 * returned (> 0). Errors: -EADDRINUSE, -EACCES, -EINVAL (not a numeric address), ... */
int net_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e) must_use;
/* Stops accepting; `closed` is called once nothing is in flight. */
void net_listener_close(struct net_listener *l, void (*closed)(struct net_listener *l));
/* Takes an accepted socket into `conn` and starts receiving. conn->ops must be set; all else is overwritten. */
void net_adopt(struct loop *loop, struct net_conn *conn, int socket);
/* Closes an accepted socket at once. */
void net_refuse(struct loop *loop, int socket);
/* Connects; op->result 0 or -ECONNREFUSED, -ETIMEDOUT, ... On 0 receiving has started; on failure the conn is closed
 * already (no `closed` call). */
void net_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
/* Sends all bytes of the vector (lives until done; at most 64 entries); one send at a time a connection. Result: bytes
 * sent, or -EPIPE, -ECONNRESET, ... */
void net_send(struct net_conn *conn, struct io_op *op, const struct iovec *iov, uint32_t count);
/* No further `data` after at most one that was already on its way, until resumed: back-pressure reaches the peer. */
void net_pause(struct net_conn *conn);
void net_resume(struct net_conn *conn);
/* Ends our direction (FIN) once what was sent before is sent. */
void net_shutdown(struct net_conn *conn);
/* Drops the connection; a send in flight completes with -ECANCELED first. Then `closed`. While connecting it is the
 * same as io_cancel of the connect's op (no `closed`). Harmless if it was called before. */
void net_close(struct net_conn *conn);

/* ---- time ------------------------------------------------------------------------------------------------------- */

struct io_timer {
    void (*fired)(struct io_timer *t);
    /* private to common/io: */
    struct mono_ns when;
    uint64_t order; /* of arming, from 1; 0: not armed */
    struct io_timer *child, *next, *prev;
};

/* Calls fired once at or after `when`; of two that are due, first the one with the earlier `when`, then the one armed
 * first. A timer is zeroed before its first use. Arming an armed timer moves it. O(log n), no allocation. */
void timer_arm(struct loop *loop, struct io_timer *t, struct mono_ns when);
void timer_disarm(struct loop *loop, struct io_timer *t);
static inline bool timer_armed(const struct io_timer *t)
{
    return t->order != 0;
}

/* ---- end of the iteration --------------------------------------------------------------------------------------- */

struct io_defer {
    void (*run)(struct io_defer *d);
    struct list link; /* private */
};
/* Runs `d` once at the end of this iteration (L7); called from a deferred function, at the end of the next one, which
 * does not sleep. Harmless if it is queued already. */
void loop_defer(struct loop *loop, struct io_defer *d);
void loop_defer_cancel(struct io_defer *d);

/* ---- other threads ---------------------------------------------------------------------------------------------- */

struct io_msg {
    void (*deliver)(struct io_msg *m); /* runs on the target loop's thread */
    struct io_msg *next;               /* private */
};
/* Hands `m` to `to`'s thread. Lock-free, any thread; wakes `to` only if it sleeps. Messages of one sender arrive in
 * order. */
void loop_post(struct loop *to, struct io_msg *m);

/* CPU-heavy or blocking work on the bounded worker pool. `work` runs on a worker, then `done` on the loop. In the
 * simulator both run on the one thread, in an order chosen by its seed. */
struct io_job {
    void (*work)(struct io_job *j);
    void (*done)(struct io_job *j);
    /* private to common/io: */
    struct loop *loop;
    struct io_msg msg;
    struct io_job *next;
};
void job_submit(struct loop *loop, struct io_job *j);

/* ---- foreign descriptors, children, signals --------------------------------------------------------------------- */

enum io_poll_events { IO_POLL_IN = 1, IO_POLL_OUT = 2, IO_POLL_ERR = 4 };

/* Watches a descriptor that somebody else owns (libcurl's). One-shot: arm again from `ready`. */
struct io_poll {
    void (*ready)(struct io_poll *p, unsigned events);
    /* private: */
    struct loop *loop;
    int fd;
    unsigned events;
    bool armed;
    struct io_op op;
    void *backend[22];
};
void poll_arm(struct loop *loop, struct io_poll *p, int fd, unsigned events);
/* `ready` is not called after this returns. `p` must stay until the loop has completed its op: call `poll_idle` to ask.
 */
void poll_disarm(struct io_poll *p);
bool poll_idle(const struct io_poll *p);

/* A child process with pipes on stdin and stdout, which are connections as sockets are. */
struct io_child {
    void (*exited)(struct io_child *c,
                   int status); /* wait status; after it the struct may be freed once the pipes are closed */
    struct net_conn *to_stdin;  /* the owner's; its ops must be set. NULL: /dev/null */
    struct net_conn *from_stdout;
    /* private: */
    struct loop *loop;
    int pid;
    struct io_poll watch;
    void *backend[2];
};
/* Starts argv[0] (an absolute path or found in PATH) in a process group of its own. stderr is ours. Errors: -ENOENT,
 * -EAGAIN, -ENOMEM. */
int child_spawn(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e) must_use;
/* Sends `signal` to the child's process group. */
void child_kill(struct io_child *c, int signal);

struct io_signal {
    void (*received)(struct io_signal *s, int signal);
    /* private: */
    struct loop *loop;
    int signal;
    struct list link;
    struct io_poll watch;
    int fd;
    void *backend[2];
};
/* Takes a signal over from its default action, for the process, whichever thread it hits. One loop only. `s` must stay
 * until after signal_unwatch its watch is idle (poll_idle(&s->watch)). -EBUSY: watched already; or -errno. */
int signal_watch(struct loop *loop, struct io_signal *s, int signal) must_use;
void signal_unwatch(struct io_signal *s);

#endif
