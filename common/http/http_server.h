/*
 * The HTTP server: common/wire's protocol cores joined to common/io's connections. One server a loop. HTTP/1.1 with
 * keep-alive and pipelining (answers leave in request order, the requests themselves are handled at the same time);
 * HTTP/2 and TLS join behind this same header.
 *
 * An exchange is one request and its answer. The handler gets it once the body is complete, and answers now or later,
 * on the same loop, exactly once. All memory of a request (head, body, what the handler allocates from exchange->arena)
 * lives until its answer has been sent. If the client goes away meanwhile the handler still answers; the answer is
 * dropped. After answering, the handler must not touch the exchange any more.
 *
 * What is answered without the handler, with a body {"message": "..."} and the end of the connection: 400 (malformed),
 * 403 (Host or Origin), 408 (too slow), 413, 414, 417, 431, 501, 503 (no memory came free in time), 505. A POST without
 * Content-Length has an empty body; 411 is never needed.
 */
#ifndef SLUICE_HTTP_HTTP_SERVER_H
#define SLUICE_HTTP_HTTP_SERVER_H

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/base/slice.h"
#include "common/io/loop.h"
#include "common/wire/http1.h"

struct http_server;

#define HTTP_BODY_PADDING 64

struct http_exchange {
    /* the request */
    struct slice method; /* "POST" */
    struct slice target; /* as sent: path and query */
    struct slice path;   /* not decoded */
    struct slice query;  /* without '?', not decoded */
    const struct http_header *headers;
    uint32_t header_count;
    struct slice body; /* HTTP_BODY_PADDING zero bytes follow it, so that a scanner may read past its end */
    const char *peer;  /* numeric address */
    struct arena *arena;
    struct mono_ns received; /* when the last byte came */
    struct http_server *server;
    void *user; /* the handler's */
    /* private */
    void *private;
};

/* The value of the first header of that name, or an empty slice with ptr NULL. */
struct slice http_exchange_header(const struct http_exchange *x, const char *name);

struct http_server_options {
    struct net_address listen; /* port 0: any */
    uint32_t connections_max;  /* 0 = 16384; over it new ones are closed */
    uint32_t head_bytes_max;   /* 0 = 64 KiB: 431 */
    uint32_t headers_max;      /* 0 = 100: 431 */
    uint64_t body_bytes_max;   /* 0 = 16 MiB: 413 */
    uint32_t target_bytes_max; /* 0 = 8 KiB: 414 */
    uint32_t pipeline_max;     /* requests in flight of one connection; over it reading pauses; 0 = 16 */
    uint64_t memory_bytes_max; /* of all requests in flight; over it reading pauses; 0 = 256 MiB. A request that is
                                   alone is let through whatever its size */
    uint32_t idle_ms;          /* keep-alive without a request; 0 = 120,000 */
    uint32_t request_ms;       /* from a request's first to its last byte; 0 = 60,000: 408 */
    uint32_t answer_ms;      /* for an answer to be taken by the client, else the connection is dropped; 0 = 120,000 */
    bool require_local_host; /* no credentials: refuse a non-loopback Host header (403) */
    const char *const *origins; /* allowed Origin values, NULL-terminated; NULL: any Origin header is refused (403)
                                   unless its host is loopback and equals Host */
    /* Called with a complete request. */
    void (*request)(void *ctx, struct http_exchange *x);
    void *ctx;
};

/* Listens; *out_port is the port in use. Fills `e`. */
int http_server_start(struct loop *loop, const struct http_server_options *options, struct http_server **out,
                      uint16_t *out_port, struct err *e) must_use;
/* Stops accepting, ends idle connections, lets requests in flight finish (at most `grace_ms`, then their connections
 * are dropped), frees, then calls `stopped` (may be NULL). That waits for every handler to have answered, also for
 * clients that have gone. Call it once, and before loop_destroy. */
void http_server_stop(struct http_server *server, uint32_t grace_ms, void (*stopped)(void *ctx), void *ctx);

/* Answers. Any status of 200 and above. `headers` are copied (Content-Length, Date and Connection are added; give Content-Type among them). `body`
 * must live until the answer has been sent: lay it in x->arena, or use http_respond_buf. */
void http_respond(struct http_exchange *x, int status, const struct http_header *headers, uint32_t header_count,
                  struct slice body);
/* The same with a body that the server takes over and frees (bytebuf_deinit). */
void http_respond_buf(struct http_exchange *x, int status, const struct http_header *headers, uint32_t header_count,
                      struct bytebuf *body);
/* Makes the connection close after this answer. */
void http_exchange_close_after(struct http_exchange *x);

struct http_server_stats {
    uint64_t accepted, refused, requests, bad_requests, bytes_in, bytes_out;
    uint64_t connections;  /* now */
    uint64_t memory_bytes; /* now */
};
const struct http_server_stats *http_server_stats(const struct http_server *server);

#endif
