/* Shared by loop_uring.c (ring, files, polls) and loop_uring_net.c (sockets); private to the io_uring backend. */
#ifndef SLUICE_IO_LOOP_URING_H
#define SLUICE_IO_LOOP_URING_H

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/io/loop_backend.h"

/* What an SQE points to and the kernel copies when it is submitted. One a slot of the submission queue. */
union uring_aux {
    struct msghdr msg;
    struct sockaddr_in6 address; /* a sockaddr_in fits too */
};

/* An SQE for which the queue has no room yet. */
struct uring_spill {
    struct io_uring_sqe sqe;
    union uring_aux aux;
};

/* Memory for received bytes: owned by the buffer ring (slot[bid]), by a paused connection, or spare. */
struct recv_chunk {
    struct recv_chunk *next;
    uint32_t len;
    uint8_t bytes[];
};

struct uring_recv {
    struct io_uring_buf_ring *ring;
    struct recv_chunk **slot; /* [count], by buffer id */
    struct recv_chunk *spare;
    uint32_t count, bytes; /* buffers in the ring; size of one */
    uint32_t spares, held; /* chunks in `spare`; chunks that paused connections hold */
};

struct uring_loop {
    struct loop loop;
    struct io_uring ring;
    uint64_t owner;       /* thread_number() of the thread that enabled the ring; 0: not enabled yet */
    union uring_aux *aux; /* by slot of the submission queue */
    struct uring_spill *spill;
    uint32_t spill_count, spill_cap;
    int wake_fd;
    struct io_op wake_op;
    struct uring_recv recv;
    struct net_conn *resumed; /* connections whose held bytes can be delivered */
};

static inline struct uring_loop *uring_of(struct loop *loop)
{
    return CONTAINER_OF(loop, struct uring_loop, loop);
}

/* What an op of kind INTERNAL does with its completions; in op->backend[0]. */
typedef void uring_cqe_fn(struct uring_loop *u, struct io_op *op, int res, unsigned flags);

/* A number that no other thread of the process ever had or will have (a pthread_t or a tid may come again). */
uint64_t thread_number(void);
/* The owner has ended; somebody else destroys the loop. */
static inline bool uring_abandoned(const struct uring_loop *u)
{
    return u->owner != 0 && u->owner != thread_number();
}

/* An SQE to fill in; never NULL. *aux is its slot's; valid until the next call. */
struct io_uring_sqe *uring_sqe(struct uring_loop *u, union uring_aux **aux);
/* Makes op INTERNAL, with `handler`, and the SQE's user data. */
void uring_internal(struct io_uring_sqe *sqe, struct io_op *op, uring_cqe_fn *handler);
/* Asks the kernel to cancel what was submitted for op. */
void uring_cancel_op(struct uring_loop *u, struct io_op *op);

int uring_recv_init(struct uring_loop *u, uint32_t count, uint32_t bytes) must_use;
void uring_recv_deinit(struct uring_loop *u);
/* Delivers the bytes that resumed connections hold. */
void uring_resumed_run(struct uring_loop *u);
/* The owner thread has ended, and with it whatever the kernel had in flight for it: nothing is armed any more. */
void uring_net_abandon(struct uring_loop *u);

int uring_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e);
void uring_listener_close(struct net_listener *l);
void uring_adopt(struct loop *loop, struct net_conn *conn, int socket);
void uring_refuse(struct loop *loop, int socket);
void uring_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
void uring_send(struct net_conn *conn, struct io_op *op);
void uring_recv_start(struct net_conn *conn);
void uring_recv_stop(struct net_conn *conn);
void uring_shutdown(struct net_conn *conn);
void uring_close(struct net_conn *conn);
/* A connect's raw result: lets go of the socket on failure. */
void uring_connect_finished(struct io_op *op, int res);

#endif
