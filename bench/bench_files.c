/*
 * The peer of `sluice-bench log` with many shards: a file a shard, zeroed ahead, O_DIRECT; each round writes one batch to each
 * file and waits for an fdatasync of each, from as many threads as in_flight says. An operation is one write and its sync.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/base/slice.h"
#include "common/io/loop.h"

#define FILE_BYTES (4u << 20)

struct files_worker {
    const struct bench_params *p;
    int *fds;
    uint32_t first, step;
    double until;
    struct histogram latency_ns;
    uint64_t operations;
    pthread_t thread;
};

static void *worker_run(void *arg)
{
    struct files_worker *w = arg;
    uint32_t len = (w->p->batch_bytes + IO_ALIGN - 1) & ~(IO_ALIGN - 1);
    uint8_t *buf = io_buffer_alloc(len);
    if (!buf)
        bench_die("no memory");
    memset(buf, 7, len);
    for (uint64_t round = 0; bench_now() < w->until; round++) {
        for (uint32_t s = w->first; s < w->p->shards; s += w->step) {
            uint64_t start = bench_now_ns(), slots = FILE_BYTES / len;
            if (pwrite(w->fds[s], buf, len, (off_t)(round % slots * len)) != (ssize_t)len || fdatasync(w->fds[s]) < 0)
                bench_die("write: %m");
            histogram_record(&w->latency_ns, bench_now_ns() - start);
            w->operations++;
        }
    }
    io_buffer_free(buf);
    return NULL;
}

static void files_open(const struct bench_params *p, const char *folder, int *fds)
{
    uint8_t *zeros = io_buffer_alloc(FILE_BYTES);
    if (!zeros)
        bench_die("no memory");
    memset(zeros, 0, FILE_BYTES);
    for (uint32_t s = 0; s < p->shards; s++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%u", folder, s);
        fds[s] = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
        if (fds[s] < 0 || write(fds[s], zeros, FILE_BYTES) != (ssize_t)FILE_BYTES || fdatasync(fds[s]) < 0)
            bench_die("%s: %m", path);
    }
    io_buffer_free(zeros);
}

void bench_files(const struct bench_params *p)
{
    const char *folder = bench_folder(p);
    int *fds = calloc(p->shards, sizeof *fds);
    uint32_t threads = p->in_flight < p->shards ? p->in_flight : p->shards;
    struct files_worker *workers = calloc(threads, sizeof *workers);
    if (!fds || !workers)
        bench_die("no memory");
    files_open(p, folder, fds);
    static struct bench_result r = {.name = "files"};
    double start = bench_now(), cpu = bench_cpu(0);
    for (uint32_t i = 0; i < threads; i++) {
        workers[i] =
            (struct files_worker){.p = p, .fds = fds, .first = i, .step = threads, .until = start + p->seconds};
        if (pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) != 0)
            bench_die("no thread");
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        histogram_add(&r.latency_ns, &workers[i].latency_ns);
        r.operations += workers[i].operations;
    }
    r.seconds = bench_now() - start;
    r.cpu_seconds = bench_cpu(0) - cpu;
    r.records = r.operations * (p->batch_bytes / p->record_bytes ? p->batch_bytes / p->record_bytes : 1);
    r.bytes = r.operations * p->batch_bytes;
    bench_print(p, &r);
    for (uint32_t s = 0; s < p->shards; s++)
        close(fds[s]);
    bench_folder_remove(folder);
    free(fds);
    free(workers);
}
