/*
 * Appends (and reads) straight on broker/log, without HTTP: what the engine itself can do. `in_flight` appends of one batch
 * each are kept under way on every shard; an operation is one append, timed from the call to its acknowledgement.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "broker/log/log.h"

struct append_slot {
    struct log_append append;
    struct bench_log_run *run;
    struct log_shard *shard;
    uint64_t started_ns;
};

struct bench_log_run {
    const struct bench_params *p;
    struct loop *loop;
    struct log *log;
    struct log_open open;
    struct log_close close;
    struct log_options options;
    struct log_live_shard *live;
    struct block_record *records;
    uint32_t record_count;
    struct append_slot *slots;
    uint32_t under_way;
    struct bench_result result, read_result;
    double started, cpu_started;
    /* reading back */
    struct log_read read;
    uint32_t read_shard;
    uint64_t read_counter;
    uint64_t read_started_ns;
};

static void reading_start(struct bench_log_run *run);

static void run_closed(struct log_close *c)
{
    loop_stop(CONTAINER_OF(c, struct bench_log_run, close)->loop);
}

static void run_finish(struct bench_log_run *run)
{
    run->close = (struct log_close){.done = run_closed};
    log_close(run->log, &run->close);
}

static void append_next(struct append_slot *slot);

static void append_done(struct log_append *a)
{
    struct append_slot *slot = CONTAINER_OF(a, struct append_slot, append);
    struct bench_log_run *run = slot->run;
    if (a->status < 0)
        bench_die("append: %s", status_text(a->status));
    histogram_record(&run->result.latency_ns, bench_now_ns() - slot->started_ns);
    run->result.operations++;
    run->result.records += run->record_count;
    run->result.bytes += (uint64_t)run->record_count * run->p->record_bytes;
    run->under_way--;
    if (bench_now() - run->started < run->p->seconds) {
        append_next(slot);
        return;
    }
    if (run->under_way == 0) {
        run->result.seconds = bench_now() - run->started;
        run->result.cpu_seconds = bench_cpu(0) - run->cpu_started;
        if (run->p->read)
            reading_start(run);
        else
            run_finish(run);
    }
}

static void append_next(struct append_slot *slot)
{
    struct bench_log_run *run = slot->run;
    slot->started_ns = bench_now_ns();
    slot->append.done = append_done;
    int rc = log_append(slot->shard, run->records, run->record_count, &slot->append);
    if (rc < 0)
        bench_die("append: %s", status_text(rc));
    run->under_way++;
}

static void read_next(struct bench_log_run *run);

static void read_done(struct log_read *r)
{
    struct bench_log_run *run = CONTAINER_OF(r, struct bench_log_run, read);
    if (r->status == ST_TRIMMED || r->status < 0)
        bench_die("read: %s", status_text(r->status));
    histogram_record(&run->read_result.latency_ns, bench_now_ns() - run->read_started_ns);
    run->read_result.operations++;
    for (uint32_t i = 0; i < r->block_count; i++) {
        run->read_counter = r->block[i].header.base_counter + r->block[i].header.record_count;
        run->read_result.records += r->block[i].header.record_count;
        run->read_result.bytes += r->block[i].payload.len;
        log_block_release(run->log, &r->block[i]);
    }
    if (r->block_count == 0) {
        run->read_counter = 0;
        if (++run->read_shard == run->p->shards) {
            run->read_result.seconds = bench_now() - run->started;
            run->read_result.cpu_seconds = bench_cpu(0) - run->cpu_started;
            run_finish(run);
            return;
        }
    }
    read_next(run);
}

static void read_next(struct bench_log_run *run)
{
    struct log_shard *shard = run->slots[run->read_shard * run->p->in_flight].shard;
    struct log_shard_info info;
    log_shard_info(shard, &info);
    if (run->read_counter < info.first_counter)
        run->read_counter = info.first_counter;
    run->read_started_ns = bench_now_ns();
    run->read = (struct log_read){.done = read_done,
                                  .from_counter = run->read_counter,
                                  .bytes_max = 4 << 20,
                                  .blocks_max = LOG_READ_BLOCKS_MAX,
                                  .visibility = LOG_VISIBLE};
    log_read(shard, &run->read);
}

static void reading_start(struct bench_log_run *run)
{
    run->read_result.name = "log-read";
    run->started = bench_now();
    run->cpu_started = bench_cpu(0);
    read_next(run);
}

static void run_opened(struct log_open *o)
{
    struct bench_log_run *run = CONTAINER_OF(o, struct bench_log_run, open);
    if (o->status < 0)
        bench_die("%s", o->err.text);
    run->started = bench_now();
    run->cpu_started = bench_cpu(0);
    for (uint32_t s = 0; s < run->p->shards; s++) {
        struct log_shard *shard;
        int rc = log_shard_create(run->log, s + 1, &shard);
        if (rc < 0)
            bench_die("shard: %s", status_text(rc));
        for (uint32_t i = 0; i < run->p->in_flight; i++) {
            struct append_slot *slot = &run->slots[s * run->p->in_flight + i];
            slot->run = run;
            slot->shard = shard;
            append_next(slot);
        }
    }
}

static void records_make(struct bench_log_run *run)
{
    const struct bench_params *p = run->p;
    run->record_count = p->batch_bytes / p->record_bytes ? p->batch_bytes / p->record_bytes : 1;
    run->records = calloc(run->record_count, sizeof *run->records);
    uint8_t *data = malloc((size_t)run->record_count * p->record_bytes);
    if (!run->records || !data)
        bench_die("no memory");
    uint64_t x = 88172645463325252ull;
    for (size_t i = 0; i < (size_t)run->record_count * p->record_bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)x;
    }
    for (uint32_t i = 0; i < run->record_count; i++)
        run->records[i] =
            (struct block_record){SLICE_LIT("key"), slice_of(data + (size_t)i * p->record_bytes, p->record_bytes)};
}

void bench_log(const struct bench_params *p)
{
    const char *folder = bench_folder(p);
    static struct bench_log_run run;
    struct err e = {0};
    run.p = p;
    run.result.name = "log";
    records_make(&run);
    run.slots = calloc((size_t)p->shards * p->in_flight, sizeof *run.slots);
    if (!run.slots || loop_create(&(struct loop_options){0}, &run.loop, &e) < 0)
        bench_die("%s", e.text[0] ? e.text : "no memory");
    run.options = (struct log_options){
        .dir = folder,
        .sync = strcmp(p->sync, "never") == 0           ? LOG_SYNC_NEVER
                : strncmp(p->sync, "interval:", 9) == 0 ? LOG_SYNC_INTERVAL
                                                        : LOG_SYNC_BATCH,
        .sync_interval_ms = strncmp(p->sync, "interval:", 9) == 0 ? (uint32_t)strtoul(p->sync + 9, NULL, 10) : 0,
        .cache_bytes = 0};
    run.open = (struct log_open){
        .done = run_opened, .logs = &run.log, .loops = &run.loop, .loop_count = 1, .options = &run.options};
    log_open(&run.open);
    if (loop_run(run.loop) < 0)
        bench_die("the loop broke");
    struct bench_params shown = *p;
    shown.batch_records = run.record_count;
    bench_print(&shown, &run.result);
    if (p->read)
        bench_print(&shown, &run.read_result);
    loop_destroy(run.loop);
    bench_folder_remove(folder);
}
