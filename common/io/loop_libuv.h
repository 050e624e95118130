/* Shared by loop_libuv.c (loop, polls) and loop_libuv_net.c (sockets); private to the libuv backend. */
#ifndef SLUICE_IO_LOOP_LIBUV_H
#define SLUICE_IO_LOOP_LIBUV_H

#include <uv.h>

#include "common/io/loop_backend.h"

#define LIBUV_RECV_BYTES 65536u

struct libuv_loop {
    struct loop loop;
    uv_loop_t uv;
    uv_async_t async; /* the wake */
    uv_timer_t timer; /* ends a blocked wait */
    uint8_t *recv_buf;
    uint32_t broken; /* connections that libuv would not watch (libuv_conn.broken) */
};

static inline struct libuv_loop *libuv_of(struct loop *loop)
{
    return CONTAINER_OF(loop, struct libuv_loop, loop);
}

/* Tells and closes the connections that libuv would not watch. */
void libuv_broken_run(struct libuv_loop *u);

int libuv_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e);
void libuv_listener_close(struct net_listener *l);
void libuv_adopt(struct loop *loop, struct net_conn *conn, int socket);
void libuv_refuse(struct loop *loop, int socket);
void libuv_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
/* Early end of a SEND or CONNECT. */
void libuv_net_cancel(struct loop *loop, struct io_op *op);
void libuv_send(struct net_conn *conn, struct io_op *op);
void libuv_recv_start(struct net_conn *conn);
void libuv_recv_stop(struct net_conn *conn);
void libuv_shutdown(struct net_conn *conn);
void libuv_close(struct net_conn *conn);

#endif
