/*
 * sluice tail: prints the records of all shards as they come. The shards are read in turn; only when none had anything does it
 * wait a little. A shard that has ended is replaced by its children, which are read from their start.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/client_wait.h"
#include "common/base/clock.h"

#define CALM_MS 200

struct tail_shard {
    char id[64];
    char iterator[SLUICE_ITERATOR_MAX];
    bool ended, caught_up;
    char last[64]; /* sequence number of the last record: where to go on if the iterator has expired */
};

struct tail_run {
    struct cli *cli;
    struct sluice *s;
    const char *stream;
    struct sluice_position from;
    struct tail_shard *shard;
    size_t count;
};

static bool duration_parse(const char *text, double *out)
{
    char *end;
    double n = strtod(text, &end);
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < 4; i++)
        if (end != text && n >= 0 && strcmp(end, units[i].unit) == 0) {
            *out = n * units[i].seconds;
            return true;
        }
    return false;
}

static bool from_parse(const char *text, struct sluice_position *out)
{
    struct wall_parts p = {.month = 1, .day = 1};
    double back;
    int used = 0;
    if (strcmp(text, "latest") == 0)
        *out = (struct sluice_position){.from = SLUICE_FROM_LATEST};
    else if (strcmp(text, "start") == 0)
        *out = (struct sluice_position){.from = SLUICE_FROM_TRIM_HORIZON};
    else if (duration_parse(text, &back))
        *out = (struct sluice_position){.from = SLUICE_FROM_TIMESTAMP,
                                        .timestamp = (double)loop_wall_process().ms / 1000 - back};
    else if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &p.year, &p.month, &p.day, &p.hour, &p.minute, &p.second,
                    &used) == 6 &&
             text[used] == 0)
        *out = (struct sluice_position){.from = SLUICE_FROM_TIMESTAMP, .timestamp = (double)wall_join(&p).ms / 1000};
    else
        return false;
    return true;
}

static int shard_begin(struct tail_run *run, const char *id, const struct sluice_position *from)
{
    struct sluice_error e;
    for (size_t i = 0; i < run->count; i++)
        if (strcmp(run->shard[i].id, id) == 0)
            return 0;
    struct tail_shard *more = realloc(run->shard, (run->count + 1) * sizeof *more);
    if (!more) {
        fprintf(stderr, "sluice: no memory\n");
        return 1;
    }
    run->shard = more;
    struct tail_shard *t = &more[run->count];
    *t = (struct tail_shard){0};
    snprintf(t->id, sizeof t->id, "%s", id);
    if (sluice_iterator(run->s, run->stream, id, from, t->iterator, &e) < 0)
        return cli_failed(run->cli, run->stream, &e);
    run->count++;
    return 0;
}

/* Begins at the stream's shards; with `children` only at those whose parents were being read, from their start. */
static int shards_begin(struct tail_run *run, bool children)
{
    struct sluice_error e;
    struct sluice_shard *shards;
    size_t count;
    int status = 0;
    if (sluice_shard_list(run->s, run->stream, &shards, &count, &e) < 0)
        return cli_failed(run->cli, run->stream, &e);
    static const struct sluice_position start = {.from = SLUICE_FROM_TRIM_HORIZON};
    for (size_t i = 0; i < count && status == 0; i++)
        if (children ? shards[i].parent[0] != 0 : !(shards[i].closed && run->from.from == SLUICE_FROM_LATEST))
            status = shard_begin(run, shards[i].id, children ? &start : &run->from);
    sluice_free(shards);
    return status;
}

static void record_print(const struct tail_run *run, const struct tail_shard *t, const struct sluice_read_record *r)
{
    if (!run->cli->json) {
        fwrite(r->data, 1, r->data_bytes, stdout);
        putchar('\n');
        return;
    }
    printf("{\"shard\":\"%s\",\"sequence_number\":\"%s\",\"arrival\":%.3f,\"partition_key\":", t->id,
           r->sequence_number, r->arrival);
    cli_print_json_string(r->partition_key, strlen(r->partition_key));
    printf(",\"data\":");
    cli_print_json_string(r->data, r->data_bytes);
    printf("}\n");
}

/* 1: printed something; 0: nothing there; -1: failed. */
static int shard_print(struct tail_run *run, struct tail_shard *t)
{
    struct sluice_error e;
    struct sluice_batch *batch;
    int rc = sluice_read(run->s, t->iterator, 0, &batch, &e);
    if (rc == SLUICE_E_EXPIRED) {
        struct sluice_position again = run->from;
        if (t->last[0])
            again = (struct sluice_position){.from = SLUICE_FROM_AFTER_SEQUENCE_NUMBER, .sequence_number = t->last};
        rc = sluice_iterator(run->s, run->stream, t->id, &again, t->iterator, &e);
        if (rc == 0)
            return 1;
    }
    if (rc < 0) {
        cli_failed(run->cli, run->stream, &e);
        return -1;
    }
    for (size_t i = 0; i < batch->count; i++)
        record_print(run, t, &batch->records[i]);
    if (batch->count)
        snprintf(t->last, sizeof t->last, "%s", batch->records[batch->count - 1].sequence_number);
    t->ended = batch->shard_ended;
    t->caught_up = batch->behind_ms == 0 && batch->count == 0;
    int some = batch->count > 0;
    sluice_batch_free(batch);
    if (fflush(stdout) != 0)
        return -1; /* nobody reads any more */
    if (t->ended && shards_begin(run, true) != 0)
        return -1;
    return some;
}

static int tail_follow(struct tail_run *run, bool until_now)
{
    int status = shards_begin(run, false);
    while (status == 0) {
        bool some = false, all_caught_up = true;
        for (size_t i = 0; i < run->count && status == 0; i++) {
            if (run->shard[i].ended)
                continue;
            int n = shard_print(run, &run->shard[i]);
            if (n < 0)
                status = 1;
            some |= n > 0;
            all_caught_up &= run->shard[i].ended || run->shard[i].caught_up;
        }
        if (until_now && all_caught_up)
            break;
        if (!some && status == 0)
            client_wait_ms(run->s, CALM_MS);
    }
    return status;
}

int cmd_tail(struct cli *cli)
{
    static const struct option options[] = {
        {"from", 1, NULL, 'f'}, {"until-now", 0, NULL, 'u'}, {"json", 0, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct tail_run run = {.cli = cli, .from = {.from = SLUICE_FROM_LATEST}};
    bool until_now = false;
    for (int c; (c = getopt_long(cli->argc, cli->argv, "", options, NULL)) != -1;) {
        if (c == 'u')
            until_now = true;
        else if (c == 'j')
            cli->json = true;
        else if (c != 'f')
            return 2;
        else if (!from_parse(optarg, &run.from))
            return cli_usage("--from '%s': say start, latest, 15m or 2026-11-22T10:00:00Z", optarg);
    }
    if (cli->argc - optind != 1)
        return cli_usage("tail: which stream?");
    run.stream = cli->argv[optind];
    run.s = cli_open(cli, 2);
    if (!run.s)
        return 1;
    int status = tail_follow(&run, until_now);
    free(run.shard);
    sluice_close(run.s);
    return status;
}
