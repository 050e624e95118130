/*
 * The insides of the HTTP server, shared by its four files: http_server.c (life, accepting, deadlines, memory),
 * http_server_receive.c (bytes to requests), http_server_answer.c (answers to bytes), http_guard.c (Host and Origin).
 *
 *                          data                      handler
 *   connection  IDLE ───────────────▶ RECEIVING ───────────────▶ requests in `queue`, in order
 *     phase READING: takes requests; DRAINING: takes no more, the last answer ends it; LINGERING: FIN sent, what still
 *     comes is thrown away, so that the answer is not lost to a reset; GONE: net_close was called.
 *   request     HEAD ─▶ (RESERVING) ─▶ BODY ─▶ HANDLING ─▶ ANSWERED ─▶ sent, back to the free list
 *
 * Invariants
 *  H1. conn->receiving is NULL or the last of conn->queue; all before it are HANDLING or ANSWERED.
 *  H2. A connection without requests owns no buffer. A request, its buffers, arena and send op are reused.
 *  H3. Nothing is freed or sent from inside a handler's call: http_respond only marks, `turn` (deferred to the end of
 *      the iteration) sends, so that answers given in one iteration share one send.
 *  H4. server->stats.memory_bytes is the sum of `charged` over all live requests.
 *  H5. Each deadline list is in order of its deadlines (one constant time-out a list), so that its first is the next.
 */
#ifndef SLUICE_HTTP_HTTP_SERVER_INTERNAL_H
#define SLUICE_HTTP_HTTP_SERVER_INTERNAL_H

#include "common/base/pool.h"
#include "common/http/http_server.h"
#include "common/wire/http1.h"

#define HTTP_IOV_MAX 32

enum http_phase { HTTP_READING, HTTP_DRAINING, HTTP_LINGERING, HTTP_GONE };
enum http_stage { HTTP_HEAD, HTTP_RESERVING, HTTP_BODY, HTTP_HANDLING, HTTP_ANSWERED };

struct http_request {
    struct http_exchange x;
    struct list link;       /* conn->queue; server->orphans; server->spare */
    struct http_conn *conn; /* NULL: the client has gone */
    enum http_stage stage;
    bool close_after, is_head, granted, continue_due;

    uint8_t *buf; /* head, body, padding */
    size_t len, cap;
    uint64_t charged;
    struct http1_parser parser;
    struct http1_chunks chunks;
    struct arena arena;

    struct bytebuf out_head;
    struct bytebuf out_owned; /* of http_respond_buf */
    struct slice out_body;
    struct io_op send_op; /* of a send that starts with this request's answer */
    struct iovec iov[HTTP_IOV_MAX];

    char peer[64];
    struct http1_field fields[]; /* limits.headers_max */
};

struct http_conn {
    struct net_conn net;
    struct http_server *server;
    struct list link;         /* server->conns */
    struct list timed;        /* server->idle, receiving or lingering */
    struct list timed_answer; /* server->answering */
    struct list hungry;       /* server->hungry: waits for memory */
    struct list dirty;        /* server->dirty: has something to send */
    struct mono_ns deadline, answer_deadline;
    struct list queue;
    uint64_t hungry_bytes; /* how much it waits for */
    uint32_t queued;
    enum http_phase phase;
    bool blocked; /* not reading: pipeline or memory is full */
    bool ended;   /* the peer has sent its FIN */
    struct http_request *receiving;
    struct http_request *sending; /* the first of the batch on its way; it owns the op */
    uint32_t batch;               /* answers in it */
    uint8_t *stash;               /* bytes that came while blocked */
    size_t stash_len;
    char peer[64];
};

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    struct http1_limits limits;
    struct net_listener listener;
    struct pool conn_pool;
    struct list conns, idle, receiving, answering, lingering, hungry, dirty, orphans;
    struct list spare; /* requests for reuse, the last used first */
    uint64_t spare_bytes;
    uint32_t live_requests;
    uint32_t granted; /* requests past RESERVING: they hold memory for their body */
    uint32_t starved; /* those of them that wait for more (chunked bodies) */
    struct io_timer timer, grace;
    struct io_defer turn;
    int64_t date_second;
    char date[32];
    bool listening, stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct http_server_stats stats;
};

/* ---- http_server.c ---- */

/* Asks for `turn` at the end of this iteration. */
void http_server_wake(struct http_server *s);
/* A request object, or NULL without memory. */
struct http_request *http_request_new(struct http_conn *c);
/* Unlinks it, gives its memory back. */
void http_request_free(struct http_server *s, struct http_request *r);
/* Makes `charged` what the request holds now. */
void http_request_charge(struct http_server *s, struct http_request *r);
/* Whether `bytes` more may be taken now by a request (NULL: a new one). */
bool http_memory_allows(const struct http_server *s, const struct http_request *r, uint64_t bytes);
/* Queues for `bytes` of memory, and leaves that queue (harmless if it is not in it). */
void http_conn_starve(struct http_conn *c, uint64_t bytes);
void http_conn_unstarve(struct http_conn *c);
/* Starts the one deadline of the receiving side over: `list` is one of the server's. */
void http_conn_deadline(struct http_conn *c, struct list *list, uint32_t ms);
void http_conn_answer_deadline(struct http_conn *c);
/* Idle: the keep-alive deadline, or the end if the server stops or the peer has ended. */
void http_conn_rest(struct http_conn *c);
/* net_close, once. `c` is freed later. */
void http_conn_drop(struct http_conn *c);

/* ---- http_server_receive.c ---- */

void http_conn_data(struct net_conn *net, struct slice data);
/* Goes on with what was stashed, once memory or the pipeline has room. */
void http_conn_unblock(struct http_conn *c);
/* Answers the request that is being received with an error, and takes no more. */
void http_conn_refuse(struct http_conn *c, int status, const char *text);

/* ---- http_server_answer.c ---- */

/* Sends what can be sent. */
void http_conn_flush(struct http_conn *c);
/* Lays an error answer into `r`, which was HEAD, RESERVING or BODY. */
void http_answer_error(struct http_request *r, int status, const char *text);

/* ---- http_guard.c ---- */

/* NULL, or why the request is refused with 403. `host` and `origin` have ptr NULL if the header is absent. */
const char *http_guard_check(const struct http_server_options *o, struct slice host, struct slice origin);

#endif
