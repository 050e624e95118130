/*
 * The insides of the HTTP client: http_client.c (calls, pool, deadlines, the end), http_client_resolve.c (names),
 * http_client_conn.c (one request and its answer on one connection).
 *
 *   call:  http_client_call ─▶ waiting ─▶ given to a connection (idle, or new: it connects first) ─▶ sent, answered ─▶
 *          done. Its memory belongs to the loop while the send is in flight, so `done` waits for the send's end.
 *   connection: CONNECTING ─▶ BUSY ◀─▶ IDLE; any ─▶ CLOSING ─▶ freed in `closed`
 *
 * Invariants
 *  K1. A connection has a call exactly while it is CONNECTING or BUSY, or CLOSING with the call still to be finished.
 *  K2. `done` is called from a callback of the loop, never from inside http_client_call or http_call_cancel; it may call
 *      both, and http_client_destroy: what those start is done by `pump`, at the end of the iteration.
 */
#ifndef SLUICE_HTTP_HTTP_CLIENT_INTERNAL_H
#define SLUICE_HTTP_HTTP_CLIENT_INTERNAL_H

#include "common/http/http_client.h"

#define HTTP_CLIENT_ADDRESSES_MAX 8
#define HTTP_CLIENT_HEADERS_MAX   100

enum http_client_state { CLIENT_CONNECTING, CLIENT_BUSY, CLIENT_IDLE, CLIENT_CLOSING };

struct http_client_conn {
    struct net_conn net;
    struct http_client *client;
    struct list link; /* client->conns */
    struct list idle; /* client->idle, the last used first */
    enum http_client_state state;
    struct http_call *call;
    struct mono_ns deadline; /* of connecting, of idling */
    struct io_op op;         /* connect, send */
    bool op_busy, used, connected;
    bool answered;      /* the answer is complete */
    int error;          /* the call's, once it has failed */
    uint32_t address;   /* which of the client's is tried */
    uint32_t tried;     /* how many were */
    struct bytebuf out; /* the request's head */
    struct iovec iov[2];
    struct bytebuf in; /* the answer: head, then body */
    struct http1_parser parser;
    struct http1_chunks chunks;
    struct http1_field fields[HTTP_CLIENT_HEADERS_MAX];
    struct http_header headers[HTTP_CLIENT_HEADERS_MAX];
};

enum http_client_resolved { RESOLVE_NONE, RESOLVE_RUNNING, RESOLVE_DONE };

struct http_client {
    struct loop *loop;
    struct http_client_options options;
    char *host, *host_header;
    struct http1_limits limits;
    struct sigv4_signer signer;
    bool signs;
    struct list conns, idle, waiting;
    struct io_defer pump;
    struct io_timer timer;
    struct http_client_stats stats;

    bool is_name;
    enum http_client_resolved resolved;
    struct io_job resolve;
    struct net_address addresses[HTTP_CLIENT_ADDRESSES_MAX]; /* the job's while it runs */
    uint32_t address_count;
    int resolve_error;

    bool destroying;
    void (*destroyed)(void *ctx);
    void *destroyed_ctx;
};

/* ---- http_client.c ---- */

void http_client_wake(struct http_client *k);
void http_client_want_timer(struct http_client *k, struct mono_ns when);
/* Ends a call that is on no connection any more. */
void http_client_finish(struct http_client *k, struct http_call *call, int error);

/* ---- http_client_resolve.c ---- */

/* Fills the address from a numeric host, or marks the host as a name. */
void http_client_host(struct http_client *k);
/* Starts resolving; ends in `wake`. */
void http_client_resolve(struct http_client *k);

/* ---- http_client_conn.c ---- */

/* A new connection for `call`; -ENOMEM. */
int http_client_conn_open(struct http_client *k, struct http_call *call) must_use;
/* Sends `call` on an idle connection. */
void http_client_conn_start(struct http_client_conn *c, struct http_call *call);
/* Ends the connection; its call, if any, with `error`. */
void http_client_conn_fail(struct http_client_conn *c, int error);
/* Builds the head of `call` into c->out: 0, -ENOMEM, ST_LIMIT. */
int http_client_head(struct http_client_conn *c, const struct http_call *call) must_use;

#endif
