/*
 * libsluice inside: the handle with its background loop, and requests on it. The public contract is include/sluice/sluice.h.
 *
 *     any thread ──client_request_start──▶ mailbox ─▶ loop thread ─▶ http_client ─▶ server
 *                ◀──────── done ────────── loop thread ◀─ retries with backoff and jitter ◀─ answer
 *
 * Invariants
 *  K1. One thread per handle runs the loop; http_client, timers and every `done` live on it.
 *  K2. A request's `done` comes exactly once: with error.code 0 and the answer, or with the last failure.
 *  K3. Only throttling, 5xx, timeouts and lost connections are tried again; each wait is random between half and all of
 *      50 ms * 2^attempt, at most 5 s. A connection that the server had closed while it was idle is no loss: the first
 *      attempt on one is tried again at once.
 *  K4. Nobody asks any more when the handle is closed (the contract of sluice_close), so no timer is ever left behind.
 */
#ifndef SLUICE_CLIENT_CLIENT_H
#define SLUICE_CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/http/http_client.h"
#include "sluice/sluice.h"

enum client_service { CLIENT_KINESIS, CLIENT_FIREHOSE, CLIENT_SERVICE_COUNT };

struct sluice {
    struct loop *loop;
    pthread_t thread;
    struct http_client *http[CLIENT_SERVICE_COUNT];
    /* from the options, owned */
    char *host, *region, *access_key, *secret_key, *session_token;
    uint16_t port;
    uint32_t timeout_ms, retries_max, connections_max;
    atomic_uint_fast64_t random;
    /* start-up and shut-down hand-shake */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    uint32_t clients_alive;
    struct sluice_error start_error;
    struct io_msg close_msg;
};

struct client_request {
    struct sluice *s;
    enum client_service service;
    const char *operation; /* "PutRecords"; static */
    const char *page;      /* in place of an operation: GET this path. The caller's */
    struct bytebuf body;   /* the caller's; unchanged until done */
    void (*done)(struct client_request *r);
    /* out, in done: */
    struct sluice_error error;
    struct slice answer;        /* lives until done returns */
    struct client_answer *keep; /* in: move the answer in here instead; may be NULL */
    uint32_t attempts;
    /* private */
    struct io_msg msg;
    struct http_call call;
    struct http_header headers[2];
    char target[96];
    struct io_timer timer;
};

/* `r` is zeroed but for s, service, operation or page, body, done, keep. Any thread. */
void client_request_start(struct client_request *r);

/* An answer that was moved out of its connection; client_answer_free it. */
struct client_answer {
    struct bytebuf buf;
    struct slice json;
};
void client_answer_free(struct client_answer *a);

/* Sends `body` (taken over and freed in every case) and waits. `out` may be NULL. Returns 0 or the code in `e`. */
int client_ask(struct sluice *s, enum client_service service, const char *operation, struct bytebuf *body,
               struct client_answer *out, struct sluice_error *e);

/* The same for a page of the server's own, such as "/deliveries/NAME". */
int client_get(struct sluice *s, const char *page, struct client_answer *out, struct sluice_error *e);

/* Fills `e` (may be NULL) and returns code. */
int client_fail(struct sluice_error *e, int code, const char *fmt, ...) printf_like(3);
/* A server's error name as a code. */
int client_code_of(const char *name, int http_status);
bool client_code_retryable(int code);
/* A copy with a NUL behind it; free() it. NULL without memory. */
char *client_text(struct slice text);
/* Random bits, any thread. */
uint64_t client_random(struct sluice *s);

/* ---- reading answers ---------------------------------------------------------------------------------------------- */

struct json_reader;
/* Steps into the object that the next token must begin. */
bool answer_object(struct json_reader *r);
/* The next key of the object into *key, with its value's first token read; false at the end or on an error. */
bool answer_member(struct json_reader *r, struct slice *key, int *value_token);
/* Copies text, cut to `size` - 1 bytes (not within a character), NUL-terminated. */
void answer_text(char *to, size_t size, struct slice text);

#endif
