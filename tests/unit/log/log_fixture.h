/* A log in a folder of its own, driven step by step: every helper runs the loop until its answer is there. */
#ifndef SLUICE_TESTS_LOG_FIXTURE_H
#define SLUICE_TESTS_LOG_FIXTURE_H

#include "broker/log/log.h"

#include <stdbool.h>

struct fixture {
    char dir[64];
    struct loop *loop;
    struct log *log;
    struct log_options options;
    struct log_open open;
    struct log_live_shard live[64];
    size_t live_count;
};

void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f); /* frees; the log must be closed or dropped */
int fixture_open(struct fixture *f);    /* status; fails the test only by the caller's assertion */
void fixture_close(struct fixture *f);
/* As after kill -9: the folder is copied to another place, the log closed, and the copy takes its place. */
void fixture_crash(struct fixture *f);
void fixture_run(struct fixture *f, bool *until);
void fixture_pause_ms(struct fixture *f, int64_t ms); /* runs the loop that long */

struct log_shard *fixture_shard(struct fixture *f, uint64_t uid);
/* Appends `count` records of `bytes` bytes each whose text tells shard and counter; waits. Status. */
int put(struct fixture *f, uint64_t uid, uint32_t count, size_t bytes);
/* The same without waiting; *a and its records must live. */
struct put {
    struct log_append a;
    bool done;
    struct block_record *records;
    uint8_t *text;
};
int put_start(struct fixture *f, struct put *p, uint64_t uid, uint32_t count, size_t bytes);
int put_wait(struct fixture *f, struct put *p);
/* Reads everything from `from` to the visible end and checks each record's text and order; returns how many. */
uint64_t read_all(struct fixture *f, uint64_t uid, uint64_t from, bool *out_from_disk);
/* Status of one read; the blocks are released; *out_first, *out_count tell of them. */
int read_one(struct fixture *f, uint64_t uid, uint64_t from, uint64_t *out_first, uint32_t *out_count);
uint64_t seek_time(struct fixture *f, uint64_t uid, int64_t ms);
struct log_shard_info info(struct fixture *f, uint64_t uid);

#endif
