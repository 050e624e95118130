/*
 * sluice put: a record a line from stdin or files (or a file a record), through a producer that keeps several requests in
 * flight. Lines are found in one large buffer; a line longer than it grows it up to the record limit. It ends with 0 only
 * when every record was acknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli.h"
#include "common/base/clock.h"
#include "common/io/loop.h"

#define READ_BYTES  (1u << 20)
#define RECORD_MAX  (10u << 20)
#define PROGRESS_MS 200
#define CONNECTIONS 4

struct put_run {
    struct cli *cli;
    struct sluice_producer *producer;
    const char *key;
    bool whole, progress;
    uint64_t bytes_total; /* of the files; 0: unknown */
    uint64_t bytes_read, lines;
    struct wall_ms started, shown;
};

static void progress_show(struct put_run *run, bool last)
{
    struct wall_ms now = loop_wall_process();
    if (!run->progress || (!last && now.ms - run->shown.ms < PROGRESS_MS))
        return;
    run->shown = now;
    struct sluice_producer_stats st;
    sluice_producer_stats(run->producer, &st);
    double seconds = (double)(now.ms - run->started.ms) / 1000;
    char bar[32] = "";
    if (run->bytes_total) {
        int n = (int)(20 * run->bytes_read / run->bytes_total);
        snprintf(bar, sizeof bar, "[%.*s%*s] ", n, "####################", 20 - n, "");
    }
    fprintf(stderr, "\r%s%llu records, %.1f MB, %.0f records/s, %llu waiting   %s", bar, (unsigned long long)st.stored,
            (double)st.stored_bytes / 1e6, seconds > 0 ? (double)st.stored / seconds : 0,
            (unsigned long long)(st.accepted - st.stored - st.failed), last ? "\n" : "");
}

static int record_put(struct put_run *run, const char *data, size_t len)
{
    struct sluice_error e;
    struct sluice_record record = {.data = data, .data_bytes = len, .partition_key = run->key};
    if (sluice_producer_put(run->producer, &record, NULL, &e) < 0)
        return cli_failed(run->cli, "put", &e);
    run->lines++;
    if ((run->lines & 255) == 0)
        progress_show(run, false);
    return 0;
}

/* Puts the whole lines in buf[0..len); the number of bytes used is returned, or -1. */
static ssize_t lines_put(struct put_run *run, const char *buf, size_t len)
{
    size_t at = 0;
    while (at < len) {
        const char *end = memchr(buf + at, '\n', len - at);
        if (!end)
            break;
        if (record_put(run, buf + at, (size_t)(end - (buf + at))) != 0)
            return -1;
        at = (size_t)(end - buf) + 1;
    }
    return (ssize_t)at;
}

static int file_put(struct put_run *run, int fd, const char *name)
{
    size_t cap = READ_BYTES, len = 0;
    char *buf = malloc(cap);
    int status = 0;
    while (buf && status == 0) {
        if (len == cap) {
            if (cap > RECORD_MAX) {
                fprintf(stderr, "sluice: %s: a record is longer than %u bytes\n", name, RECORD_MAX);
                status = 1;
                break;
            }
            char *bigger = realloc(buf, cap * 2);
            if (!bigger)
                break;
            buf = bigger;
            cap *= 2;
        }
        ssize_t n = read(fd, buf + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "sluice: %s: %s\n", name, status_text(-errno));
            status = 1;
        }
        if (n <= 0)
            break;
        len += (size_t)n;
        run->bytes_read += (uint64_t)n;
        if (run->whole)
            continue;
        ssize_t used = lines_put(run, buf, len);
        if (used < 0) {
            status = 1;
            break;
        }
        memmove(buf, buf + used, len - (size_t)used);
        len -= (size_t)used;
    }
    if (!buf) {
        fprintf(stderr, "sluice: no memory\n");
        return 1;
    }
    if (status == 0 && (len || run->whole))
        status = record_put(run, buf, len); /* the last line has no newline, or the file is the record */
    free(buf);
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
        int fd = strcmp(names[i], "-") == 0 ? STDIN_FILENO : open(names[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            fprintf(stderr, "sluice: %s: %s\n", names[i], status_text(-errno));
            return 1;
        }
        status = file_put(run, fd, names[i]);
        if (fd != STDIN_FILENO)
            close(fd);
    }
    return status;
}

static void result_print(struct put_run *run, const struct sluice_producer_stats *st)
{
    double seconds = (double)(loop_wall_process().ms - run->started.ms) / 1000;
    double rate = seconds > 0 ? (double)st->stored / seconds : 0;
    if (run->cli->json)
        printf("{\"stored\":%llu,\"failed\":%llu,\"bytes\":%llu,\"requests\":%llu,\"retries\":%llu,\"seconds\":%.3f}\n",
               (unsigned long long)st->stored, (unsigned long long)st->failed, (unsigned long long)st->stored_bytes,
               (unsigned long long)st->requests, (unsigned long long)st->retries, seconds);
    else
        fprintf(stderr, "%llu records stored (%.1f MB) in %.2f s: %.0f records/s\n", (unsigned long long)st->stored,
                (double)st->stored_bytes / 1e6, seconds, rate);
}

static int put_everything(struct put_run *run, struct sluice *s, const char *stream, char **names, int count)
{
    struct sluice_error e;
    /* One key means one shard, in order: then only one request at a time. */
    struct sluice_producer_options o = {.in_flight_max = run->key ? 1 : CONNECTIONS, .linger_ms = 20};
    if (sluice_producer_open(s, stream, &o, &run->producer, &e) < 0)
        return cli_failed(run->cli, stream, &e);
    run->started = run->shown = loop_wall_process();
    int status = files_put(run, names, count);
    int flushed = sluice_producer_flush(run->producer, &e);
    progress_show(run, true);
    struct sluice_producer_stats st;
    sluice_producer_stats(run->producer, &st);
    if (flushed < 0)
        status = cli_failed(run->cli, stream, &e);
    if (st.failed)
        fprintf(stderr, "sluice: %llu of %llu records were not stored\n", (unsigned long long)st.failed,
                (unsigned long long)st.accepted);
    result_print(run, &st);
    sluice_producer_close(run->producer, NULL);
    return status;
}

int cmd_put(struct cli *cli)
{
    static const struct option options[] = {
        {"whole", 0, NULL, 'w'}, {"key", 1, NULL, 'k'}, {"json", 0, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct put_run run = {.cli = cli, .progress = isatty(STDERR_FILENO)};
    for (int c; (c = getopt_long(cli->argc, cli->argv, "", options, NULL)) != -1;) {
        if (c == 'w')
            run.whole = true;
        else if (c == 'k')
            run.key = optarg;
        else if (c == 'j')
            cli->json = true;
        else
            return 2;
    }
    if (optind == cli->argc)
        return cli_usage("put: into which stream?");
    struct sluice *s = cli_open(cli, CONNECTIONS);
    if (!s)
        return 1;
    int status = put_everything(&run, s, cli->argv[optind], cli->argv + optind + 1, cli->argc - optind - 1);
    sluice_close(s);
    return status;
}
