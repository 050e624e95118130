/*
 * sluice put: a record a line from stdin or files (or a file a record), through a producer that keeps several requests
 * in flight. It ends with 0 only when every record was acknowledged.
 *
 * Happy path: the stream is asked for once, then file_put reads into one buffer, lines_put takes the whole lines out of
 * it, the producer copies them. A line longer than the buffer grows it, up to the record limit.
 * Failure: the first record that the server refuses for good ends the reading (an endless input must not be read on
 * for nothing); what was accepted until then is flushed and counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli.h"
#include "common/base/clock.h"
#include "common/io/loop.h"

#define READ_BYTES   (1u << 20)
#define RECORD_MAX   (10u << 20)
#define PROGRESS_MS  200
#define CONNECTIONS  4
#define BAR_CHARS    20
#define LOOK_RECORDS 256 /* how often the producer is asked how it goes */

static const char help[] =
    "sluice put STREAM [FILE...]\n"
    "\n"
    "Stores records: each line of the files, or of standard input, is one record, without its newline. An empty line "
    "is\n"
    "an empty record. '-' is standard input. It ends with 0 when every record is on the server's disk.\n"
    "\n"
    "  --whole     each file is one record, whatever is in it\n"
    "  --key KEY   one partition key for all: they go to one shard and keep their order. Without it each record gets\n"
    "              a random key, which spreads them over the shards\n"
    "\n"
    "  seq 1000 | sluice put events\n"
    "  journalctl -f -o json | sluice put events\n"
    "  sluice put images --whole *.jpg\n";

struct put_run {
    struct sluice_producer *producer;
    const char *stream, *key;
    bool json, whole, progress;
    uint64_t bytes_total; /* of the files; 0: unknown */
    uint64_t bytes_read, records;
    struct wall_ms started, shown;
};

/* ---- what it tells ------------------------------------------------------------------------------------------------ */

static double run_seconds(const struct put_run *run)
{
    return (double)(loop_wall_process().ms - run->started.ms) / 1000;
}

static void progress_show(struct put_run *run, const struct sluice_producer_stats *st, bool last)
{
    struct wall_ms now = loop_wall_process();
    if (!run->progress || (!last && now.ms - run->shown.ms < PROGRESS_MS))
        return;
    run->shown = now;
    double seconds = run_seconds(run);
    char bar[BAR_CHARS + 4] = "";
    if (run->bytes_total) {
        uint64_t done = run->bytes_read < run->bytes_total ? run->bytes_read : run->bytes_total;
        size_t n = (size_t)((double)done / (double)run->bytes_total * BAR_CHARS);
        snprintf(bar, sizeof bar, "[%20s] ", "");
        memset(bar + 1, '#', n);
    }
    fprintf(stderr, "\r%s%llu records, %.1f MB, %.0f records/s, %llu waiting   %s", bar, (unsigned long long)st->stored,
            (double)st->stored_bytes / 1e6, seconds > 0 ? (double)st->stored / seconds : 0,
            (unsigned long long)(st->accepted - st->stored - st->failed), last ? "\n" : "");
}

static void result_print(const struct put_run *run, const struct sluice_producer_stats *st)
{
    double seconds = run_seconds(run);
    double rate = seconds > 0 ? (double)st->stored / seconds : (double)st->stored;
    if (st->failed)
        fprintf(stderr, "sluice: %llu of %llu records were not stored\n", (unsigned long long)st->failed,
                (unsigned long long)st->accepted);
    if (run->json)
        printf("{\"stored\":%llu,\"failed\":%llu,\"bytes\":%llu,\"requests\":%llu,\"retries\":%llu,\"seconds\":%.3f}\n",
               (unsigned long long)st->stored, (unsigned long long)st->failed, (unsigned long long)st->stored_bytes,
               (unsigned long long)st->requests, (unsigned long long)st->retries, seconds);
    else
        fprintf(stderr, "%llu records stored (%.1f MB) in %.2f s: %.0f records/s\n", (unsigned long long)st->stored,
                (double)st->stored_bytes / 1e6, seconds, rate);
}

/* ---- from bytes to records ---------------------------------------------------------------------------------------- */

/* Shows the progress; false: records have failed, so it is over. */
static bool going_well(struct put_run *run)
{
    struct sluice_producer_stats st;
    sluice_producer_stats(run->producer, &st);
    progress_show(run, &st, false);
    return st.failed == 0;
}

/* 0, or 1: it is over. */
static int record_put(struct put_run *run, const char *name, const char *data, size_t len)
{
    struct sluice_error e;
    struct sluice_record record = {.data = data, .data_bytes = len, .partition_key = run->key};
    run->records++;
    if (sluice_producer_put(run->producer, &record, NULL, &e) < 0) {
        char what[256];
        snprintf(what, sizeof what, "%.200s: record %llu", name, (unsigned long long)run->records);
        return cli_failed(what, &e);
    }
    return run->records % LOOK_RECORDS == 0 && !going_well(run);
}

/* Puts the whole lines in buf[0..len); the number of bytes used is returned, or -1. */
static ssize_t lines_put(struct put_run *run, const char *name, const char *buf, size_t len)
{
    size_t at = 0;
    while (at < len) {
        const char *end = memchr(buf + at, '\n', len - at);
        if (!end)
            break;
        if (record_put(run, name, buf + at, (size_t)(end - (buf + at))) != 0)
            return -1;
        at = (size_t)(end - buf) + 1;
    }
    return (ssize_t)at;
}

struct text_buffer {
    char *ptr;
    size_t len, cap;
};

static int buffer_grow(struct text_buffer *b, const char *name)
{
    if (b->cap > RECORD_MAX) {
        fprintf(stderr, "sluice: %s: a record is longer than %u bytes\n", name, RECORD_MAX);
        return 1;
    }
    size_t cap = b->cap ? b->cap * 2 : READ_BYTES;
    char *bigger = realloc(b->ptr, cap);
    if (!bigger) {
        fprintf(stderr, "sluice: %s: no memory for %zu bytes\n", name, cap);
        return 1;
    }
    b->ptr = bigger;
    b->cap = cap;
    return 0;
}

/* Reads once and puts the lines that are whole. 1: go on; 0: the end of the file; -1: it is over. */
static int file_step(struct put_run *run, int fd, const char *name, struct text_buffer *b)
{
    if (b->len == b->cap && buffer_grow(b, name) != 0)
        return -1;
    ssize_t n = read(fd, b->ptr + b->len, b->cap - b->len);
    if (n < 0 && errno == EINTR)
        return 1;
    if (n < 0) {
        fprintf(stderr, "sluice: %s: %s\n", name, status_text(-errno));
        return -1;
    }
    if (n == 0)
        return 0;
    b->len += (size_t)n;
    run->bytes_read += (uint64_t)n;
    if (run->whole)
        return 1;
    ssize_t used = lines_put(run, name, b->ptr, b->len);
    if (used < 0)
        return -1;
    b->len -= (size_t)used;
    memmove(b->ptr, b->ptr + used, b->len);
    return going_well(run) ? 1 : -1;
}

static int file_put(struct put_run *run, int fd, const char *name)
{
    struct text_buffer b = {0};
    int step;
    do
        step = file_step(run, fd, name, &b);
    while (step > 0);
    int status = step < 0;
    if (status == 0 && (b.len || run->whole))
        status = record_put(run, name, b.ptr, b.len); /* the last line has no newline, or the file is the record */
    free(b.ptr);
    return status;
}

static int files_put(struct put_run *run, char **names, int count)
{
    struct stat st;
    for (int i = 0; i < count; i++)
        if (stat(names[i], &st) == 0 && S_ISREG(st.st_mode))
            run->bytes_total += (uint64_t)st.st_size;
    if (count == 0)
        return file_put(run, STDIN_FILENO, "standard input");
    int status = 0;
    for (int i = 0; i < count && status == 0; i++) {
        bool standard = strcmp(names[i], "-") == 0;
        int fd = standard ? STDIN_FILENO : open(names[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            fprintf(stderr, "sluice: %s: %s\n", names[i], status_text(-errno));
            return 1;
        }
        status = file_put(run, fd, standard ? "standard input" : names[i]);
        if (!standard)
            close(fd);
    }
    return status;
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

static int put_everything(struct put_run *run, struct sluice *s, char **names, int count)
{
    struct sluice_error e;
    /* One key means one shard, in order: then only one request at a time. */
    struct sluice_producer_options o = {.in_flight_max = run->key ? 1 : CONNECTIONS, .linger_ms = 20};
    if (sluice_producer_open(s, run->stream, &o, &run->producer, &e) < 0)
        return cli_failed(run->stream, &e);
    run->started = run->shown = loop_wall_process();
    int status = files_put(run, names, count);
    int flushed = sluice_producer_flush(run->producer, &e);
    struct sluice_producer_stats st;
    sluice_producer_stats(run->producer, &st);
    progress_show(run, &st, true);
    if (flushed < 0)
        status = cli_failed(run->stream, &e);
    result_print(run, &st);
    sluice_producer_close(run->producer, NULL);
    return status;
}

int cmd_put(struct cli *cli)
{
    static const struct option options[] = {{"whole", 0, NULL, 'w'}, {"key", 1, NULL, 'k'}, CLI_COMMON};
    struct put_run run = {.progress = isatty(STDERR_FILENO)};
    for (int c; (c = cli_option(cli, options, help)) != CLI_END;) {
        if (c == CLI_STOP)
            return cli->status;
        if (c == 'w')
            run.whole = true;
        else
            run.key = optarg;
    }
    if (optind == cli->argc)
        return cli_usage("put: into which stream?");
    run.json = cli->json;
    run.stream = cli->argv[optind];
    if (cli_stream_check(cli, run.stream) != 0)
        return 1;
    struct sluice *s = cli_open(cli, CONNECTIONS, CLI_PATIENT);
    if (!s)
        return 1;
    int status = put_everything(&run, s, cli->argv + optind + 1, cli->argc - optind - 1);
    sluice_close(s);
    return status;
}
