/*
 * An asynchronous HTTP/1.1 client for one endpoint: a small pool of keep-alive connections, one request at a time on
 * each, further requests waiting in order. The endpoint is a numeric address, or a name that is resolved on a worker
 * (and again when all its addresses fail). Requests are signed (SigV4) if credentials are given. Nothing is retried:
 * that is the caller's decision, for which `sent` and `reused` tell what is known. Belongs to one loop's thread.
 */
#ifndef SLUICE_HTTP_HTTP_CLIENT_H
#define SLUICE_HTTP_HTTP_CLIENT_H

#include "common/io/loop.h"
#include "common/wire/http1.h"
#include "common/wire/sigv4.h"

struct http_client;

struct http_client_options {
    const char *host; /* numeric address (IPv6 without brackets) or name */
    uint16_t port;
    uint32_t connections_max;                    /* 0 = 4 */
    uint32_t connect_ms;                         /* name and connection together; 0 = 5,000 */
    uint32_t request_ms;                         /* from http_client_call to the answer's last byte; 0 = 60,000 */
    uint32_t idle_ms;                            /* an idle connection is closed after this; 0 = 60,000 */
    uint64_t response_bytes_max;                 /* of a body; 0 = 64 MiB */
    const struct sigv4_credentials *credentials; /* NULL: requests are not signed. Copied */
    const char *region, *service;                /* with credentials */
    unsigned sign_flags;                         /* enum sigv4_sign_flags */
};

/* One request and its answer. The caller owns the struct and everything it points to until `done`. */
struct http_call {
    /* set by the caller */
    const char *method;                /* "POST" */
    const char *target;                /* "/path?query", encoded */
    const struct http_header *headers; /* Host, Content-Length and the signature are added */
    uint32_t header_count;
    struct slice body;
    uint32_t timeout_ms; /* 0: the client's request_ms */
    void (*done)(struct http_call *call);
    void *user;
    /* the answer, valid until `done` returns (http_call_take_body moves the body out) */
    int error; /* 0; -ECONNREFUSED, -ECONNRESET, -EPIPE, -ETIMEDOUT, ...; -ENOENT: no such name; ST_SYNTAX: the answer is
                   not HTTP; ST_LIMIT: the body is too large; -ECANCELED; -ENOMEM */
    int status; /* 200, ...; 0 on an error before the head was complete */
    const struct http_header *answer_headers;
    uint32_t answer_header_count;
    struct slice answer_body;
    bool sent;   /* at least a part of the request may have reached the server */
    bool reused; /* it went over a connection that had been used before: an error with reused and no status usually
                    means that the server had closed it as idle */
    /* private */
    struct list link;
    struct http_client *client;
    struct http_client_conn *conn;
    struct mono_ns deadline;
    bool active, cancelled;
};

/* Copies the options. Nothing is connected yet. -ENOMEM, -EINVAL; fills `e`. */
int http_client_create(struct loop *loop, const struct http_client_options *options, struct http_client **out,
                       struct err *e) must_use;
/* Ends every call with -ECANCELED, closes the connections, calls `destroyed` (may be NULL), frees. The calls' `done`
 * come first, all of them later than this call (L2). */
void http_client_destroy(struct http_client *client, void (*destroyed)(void *ctx), void *ctx);

/* Starts a call; `done` comes exactly once, later, on the loop's thread. */
void http_client_call(struct http_client *client, struct http_call *call);
/* Asks for an early end: `done` comes with -ECANCELED, later, unless the answer was complete already. The connection
 * that it was on is closed. Harmless on a call that is not active. */
void http_call_cancel(struct http_call *call);

/* The value of the answer's first header of that name, or ptr NULL. In `done`. */
struct slice http_call_header(const struct http_call *call, const char *name);
/* Moves the answer's body out: the caller frees it with bytebuf_deinit. In `done`. The buffer's bytes before *out_at
 * are the head. */
void http_call_take_body(struct http_call *call, struct bytebuf *out, size_t *out_at);

struct http_client_stats {
    uint64_t calls, errors, connects;
    uint32_t connections, waiting; /* now */
};
const struct http_client_stats *http_client_stats(const struct http_client *client);

#endif
