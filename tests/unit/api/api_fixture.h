/*
 * A broker/api on the simulator: two loops on one thread, the log in memory (fake_log.c), the catalog in memory, and
 * requests that come as structs instead of bytes.
 */
#ifndef SLUICE_TESTS_API_FIXTURE_H
#define SLUICE_TESTS_API_FIXTURE_H

#include "broker/api/api.h"
#include "tests/sim/sim.h"
#include "tests/unit/api/fake_log.h"

#define FIXTURE_LOOPS 2

struct fixture {
    struct sim_world *world;
    struct loop *loop[FIXTURE_LOOPS];
    struct catalog *catalog;
    struct config config;
    struct log_options log_options;
    struct api_options options;
    struct api *api;
    int start_status;
    struct err start_err;
    uint32_t next_loop; /* requests go to the loops in turn */
};

/* Makes the world and the catalog; config is all zeros. */
void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);
/* api_start, run to its end; f->api is NULL if it failed. */
void fixture_start(struct fixture *f);
/* api_stop, run to its end: the catalog stays, so that fixture_start is a restart (of an empty log). */
void fixture_stop(struct fixture *f);
void fixture_run(struct fixture *f, bool (*until)(void *arg), void *arg);

struct reply {
    bool answered;
    int status;
    char *body; /* NUL-terminated; valid until the next request */
    size_t len;
    char retry_after[16], allow[64], content_type[64];
};

/* An AWS request to the next loop; `json` is the body. */
struct reply aws(struct fixture *f, const char *operation, const char *json);
/* The same to one loop, without waiting for its answer. */
struct pending_request;
struct pending_request *aws_begin(struct fixture *f, uint32_t loop, const char *operation, const char *json);
struct reply aws_end(struct fixture *f, struct pending_request *p);
/* Any request. `headers`: "name: value" strings, NULL at the end; NULL: none. */
struct reply http(struct fixture *f, const char *method, const char *target, const char *const *headers,
                  struct slice body);

/* Zeroed memory, to be freed. */
void *fixture_alloc(size_t len);
/* The value of the first "name":"..." in a body; static storage, "" if there is none. */
const char *field(const struct reply *r, const char *name);
void assert_error(const struct reply *r, int status, const char *type, const char *message);
/* Creates a stream and waits until it is ACTIVE. */
void create_stream(struct fixture *f, const char *name, unsigned shards);
/* An iterator of a shard, by its type and more members (",\"Timestamp\":5"). */
const char *iterator_of(struct fixture *f, const char *stream, unsigned shard, const char *type, const char *more);
struct reply get_records(struct fixture *f, const char *iterator, const char *more);

#endif
