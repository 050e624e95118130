/*
 * A loop with an HTTP server on it, and raw connections to send it whatever bytes a test wants. The loop runs on the
 * test's own thread, inside bench_until, until the condition holds; every event stops it, so that the condition is looked
 * at again. Ten seconds without the condition fail the test.
 */
#ifndef SLUICE_TESTS_HTTP_BENCH_H
#define SLUICE_TESTS_HTTP_BENCH_H

#include "common/base/bytebuf.h"
#include "common/http/http_server.h"

#define BENCH_LATER_MAX 2048

struct bench {
    struct loop *loop;
    struct http_server *server;
    uint16_t port;
    struct io_timer watchdog, tick;
    bool too_late, server_stopping, server_stopped;
    uint64_t requests;                            /* the handler's calls */
    struct http_exchange *later[BENCH_LATER_MAX]; /* those to "/later", not answered yet */
    uint32_t later_count;
    void (*handler)(struct bench *b, struct http_exchange *x); /* NULL: bench_handle */
};

/* A bench with a loop of the kind that SLUICE_TEST_LOOP names (uring, libuv; auto otherwise). */
void bench_init(struct bench *b);
/* Starts the server; request, ctx and listen of `o` are filled in. */
void bench_serve(struct bench *b, struct http_server_options o);
/* Stops the server if it runs, and the loop. */
void bench_deinit(struct bench *b);
void bench_until(struct bench *b, bool (*condition)(void *arg), void *arg);
/* The same for conditions that no event of the bench announces: looks every few milliseconds. */
void bench_poll(struct bench *b, bool (*condition)(void *arg), void *arg);
/* Makes bench_until look again. */
void bench_wake(struct bench *b);
/* Begins to stop the server; server_stopped tells when it has. */
void bench_stop(struct bench *b, uint32_t grace_ms);

/* "/echo" answers the body, "/later" waits in b->later, "/big" answers 4 MiB, "/head" its method and path; all others
 * "METHOD PATH BODY-LENGTH". */
void bench_handle(struct bench *b, struct http_exchange *x);
/* Answers b->later[i] with "later N" (N is its place at arrival). */
void bench_answer_later(struct bench *b, uint32_t i);

struct raw {
    struct net_conn conn;
    struct bench *b;
    struct io_op op;
    struct iovec iov;
    struct slice left; /* still to be sent */
    size_t step;
    bool connected, sending, ended, closed;
    int error;
    struct bytebuf got;
    uint64_t got_bytes;
    bool drop_input; /* count only */
};

/* Connects and sends `text` in pieces of `step` bytes (0: at once). `text` must live until it is sent. */
void raw_open(struct raw *r, struct bench *b, struct slice text, size_t step);
/* Sends more on the open connection. */
void raw_send(struct raw *r, struct slice text);
/* Conditions for bench_until. */
bool raw_is_sent(void *arg);
bool raw_has_ended(void *arg);
bool raw_is_closed(void *arg);
/* Waits until the server has ended the connection. */
void raw_wait_end(struct raw *r);
/* Waits until `count` complete answers have come. */
void raw_wait_answers(struct raw *r, uint32_t count);
/* Closes our side and waits. */
void raw_close(struct raw *r);

/* The answers received so far, parsed; fails the test if they are not HTTP. Returns how many; [i] has status and body
 * (views into r->got). */
struct raw_answer {
    int status;
    struct slice head, body;
    bool close;
};
uint32_t raw_answers(const struct raw *r, struct raw_answer *out, uint32_t max);

#endif
