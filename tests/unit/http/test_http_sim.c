/*
 * Server and client in the simulator: random requests over a network that splits, delays and resets, many seeds. Every
 * call ends exactly once; an answer without an error is the right one; afterwards nothing is left, neither connections
 * nor memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/http/http_client.h"
#include "common/http/http_server.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define SEEDS     500
#define CALLS     60
#define BODY_MAX  30000
#define LATER_MAX 64

struct sim_call {
    struct http_call call;
    struct run *run;
    uint32_t done;
};

struct run {
    struct sim_world *w;
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct sim_call calls[CALLS];
    uint32_t ended, good, failed;
    uint64_t wrong; /* what must not be */
    struct http_exchange *later[LATER_MAX];
    uint32_t later_count;
    struct io_timer answer; /* answers one of `later` */
    bool stopped, destroyed;
};

static uint8_t body[BODY_MAX + CALLS];

/* Each body is a window of `body`, so that it tells its call. */
static struct slice body_of(struct sim_world *w, uint32_t i)
{
    return slice_of(body + i, sim_chance(w, 500000) ? sim_below(w, 100) : sim_below(w, BODY_MAX));
}

static void answer_one(struct run *r)
{
    uint32_t i = (uint32_t)sim_below(r->w, r->later_count);
    struct http_exchange *x = r->later[i];
    r->later[i] = r->later[--r->later_count];
    http_respond(x, 200, NULL, 0, x->body);
}

static void answer_fired(struct io_timer *t)
{
    struct run *r = CONTAINER_OF(t, struct run, answer);
    if (r->later_count)
        answer_one(r);
    if (r->later_count)
        timer_arm(r->loop, t, mono_add_ms(loop_now(r->loop), (int64_t)sim_below(r->w, 20)));
}

static void handle(void *ctx, struct http_exchange *x)
{
    struct run *r = ctx;
    if (sim_chance(r->w, 500000) || r->later_count == LATER_MAX) {
        http_respond(x, 200, NULL, 0, x->body);
        return;
    }
    r->later[r->later_count++] = x;
    timer_arm(r->loop, &r->answer, mono_add_ms(loop_now(r->loop), (int64_t)sim_below(r->w, 20)));
}

static void call_done(struct http_call *h)
{
    struct sim_call *c = CONTAINER_OF(h, struct sim_call, call);
    struct run *r = c->run;
    r->wrong += c->done++ > 0;
    r->ended++;
    if (h->error)
        r->failed++;
    else
        r->good += h->status == 200;
    if (!h->error && h->status == 200)
        r->wrong += !slice_eq(h->answer_body, h->body);
    else if (!h->error) /* a slow network may make requests late */
        r->wrong += h->status != 408 && h->status != 503;
}

static bool all_ended(void *arg)
{
    return ((struct run *)arg)->ended == CALLS;
}

static void stopped(void *ctx)
{
    ((struct run *)ctx)->stopped = true;
}

static void destroyed(void *ctx)
{
    ((struct run *)ctx)->destroyed = true;
}

static bool all_gone(void *arg)
{
    struct run *r = arg;
    return r->stopped && r->destroyed;
}

static void run_start(struct run *r)
{
    uint16_t port;
    struct err e = {0};
    struct sim_world *w = r->w;
    struct http_server_options so = {.listen = {.text = "127.0.0.1"},
                                     .request = handle,
                                     .ctx = r,
                                     .pipeline_max = 4,
                                     .memory_bytes_max = sim_chance(w, 500000) ? 60000 : 0,
                                     .idle_ms = 200,
                                     .request_ms = 1000};
    sim_enter(w);
    r->loop = sim_loop_create(w);
    if (http_server_start(r->loop, &so, &r->server, &port, &e) < 0)
        fail_msg("%s", e.text);
    struct http_client_options co = {.host = "127.0.0.1", .port = port, .request_ms = 5000};
    co.connections_max = (uint32_t)sim_between(w, 1, 12);
    if (http_client_create(r->loop, &co, &r->client, &e) < 0)
        fail_msg("%s", e.text);
    for (uint32_t i = 0; i < CALLS; i++) {
        struct sim_call *c = &r->calls[i];
        c->run = r;
        c->call = (struct http_call){.method = "POST", .target = "/x", .body = body_of(w, i), .done = call_done};
        http_client_call(r->client, &c->call);
        if (sim_chance(w, 50000))
            http_call_cancel(&c->call);
    }
    sim_leave(w);
}

static void run_end(struct run *r, uint64_t seed)
{
    sim_enter(r->w);
    while (r->later_count) /* of clients that have gone */
        answer_one(r);
    http_client_destroy(r->client, destroyed, r);
    http_server_stop(r->server, 1000, stopped, r);
    sim_leave(r->w);
    sim_run(r->w, all_gone, r, 10000);
    if (!all_gone(r))
        fail_msg("seed %llu: the server or the client did not end", (unsigned long long)seed);
    sim_enter(r->w);
    loop_destroy(r->loop);
    sim_leave(r->w);
    assert_int_equal(sim_heap_live(), 0);
}

static void one_seed(uint64_t seed, uint64_t *good, uint64_t *failed)
{
    static struct run r;
    memset(&r, 0, sizeof r);
    r.w = sim_create(&(struct sim_options){
        .seed = seed, .faults = {.reset = seed % 3 ? 3000 : 0, .slow = seed % 2 ? 20000 : 0, .short_io = 100000}});
    r.answer.fired = answer_fired;
    run_start(&r);
    sim_run(r.w, all_ended, &r, 60000);
    if (r.ended != CALLS || r.wrong)
        fail_msg("seed %llu: %u calls ended, %llu of them wrongly", (unsigned long long)seed, r.ended,
                 (unsigned long long)r.wrong);
    run_end(&r, seed);
    *good += r.good;
    *failed += r.failed;
    sim_destroy(r.w);
}

static void calls_over_a_bad_network_end_once_and_right(void **state)
{
    uint64_t good = 0, failed = 0;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 2654435761u >> 24);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        one_seed(seed, &good, &failed);
    /* the test is worth nothing if the network broke everything, or nothing */
    assert_true(good > SEEDS * CALLS / 2);
    assert_true(failed > SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_over_a_bad_network_end_once_and_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
