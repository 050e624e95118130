/*
 * What the benchmarks share: parameters, the result that each prints as a table for people or one JSON object, and
 * plain helpers. Benchmarks never fail a build; figures carry machine, commit and parameters.
 */
#ifndef SLUICE_BENCH_BENCH_H
#define SLUICE_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/histogram.h"

struct bench_params {
    const char *dir;    /* NULL: a temporary folder */
    const char *daemon; /* path of sluiced, for the benchmarks over HTTP */
    const char *sync;
    uint32_t record_bytes, batch_bytes, batch_records, shards, in_flight, connections;
    double seconds;
    bool json, read;
};

struct bench_result {
    const char *name;
    uint64_t records, bytes, operations;
    double seconds, cpu_seconds; /* CPU of the side under test: this process (log) or the daemon (put, get) */
    struct histogram latency_ns; /* of one operation */
};

void bench_print(const struct bench_params *p, const struct bench_result *r);
double bench_now(void);
uint64_t bench_now_ns(void);
/* User plus system CPU seconds of a process (0: this one) so far. */
double bench_cpu(int pid);
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *fmt, ...);
/* Makes a temporary folder below p->dir or $TMPDIR; removed by bench_folder_remove. */
const char *bench_folder(const struct bench_params *p);
void bench_folder_remove(const char *path);

void bench_log(const struct bench_params *p);
void bench_files(const struct bench_params *p);
void bench_put(const struct bench_params *p);
void bench_get(const struct bench_params *p);

#endif
