/*
 * sluice tail: prints the records of all shards as they come. The shards are read in turn; only when none had anything
 * does it wait a little.
 *
 * Order: a shard that was split or merged is read to its end before its children are begun, so that the records of one
 * key come in order. With --until-now a shard is left alone once it was caught up with.
 * An iterator that has expired (the process was stopped for minutes) is made anew behind the last record printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/client_wait.h"
#include "common/base/clock.h"
#include "common/io/loop.h"
#include "common/wire/utf8.h"

#define CALM_MS 200

static const char help[] =
    "sluice tail STREAM\n"
    "\n"
    "Prints the stream's records as they come, a record a line, from every shard.\n"
    "\n"
    "  --from POSITION   latest (what comes from now on; the default), start (the oldest there is), a time such as\n"
    "                    2026-11-22T10:00:00Z, or so long ago: 90s, 15m, 2h, 1d\n"
    "  --until-now       end when all that is there has been printed\n"
    "  --json            {\"shard\", \"sequence_number\", \"arrival\", \"partition_key\", \"data\"} a line; a record\n"
    "                    that is not UTF-8 text has \"data_base64\" in place of \"data\"\n"
    "\n"
    "  sluice tail events --from 15m --until-now | wc -l\n";

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
    double began; /* seconds since 1970 */
    bool until_now;
    struct tail_shard *shard;
    size_t count;
};

/* ---- where to begin ----------------------------------------------------------------------------------------------- */

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

/* 2026-11-22T10:00:00Z */
static bool time_parse(const char *text, double *out)
{
    struct wall_parts p = {0};
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &p.year, &p.month, &p.day, &p.hour, &p.minute, &p.second, &used) !=
            6 ||
        !used || text[used])
        return false;
    if (p.year < 1970 || p.month < 1 || p.month > 12 || p.day < 1 || p.day > 31 || p.hour < 0 || p.hour > 23 ||
        p.minute < 0 || p.minute > 59 || p.second < 0 || p.second > 60)
        return false;
    *out = (double)wall_join(&p).ms / 1000;
    return true;
}

static bool from_parse(const char *text, struct sluice_position *out)
{
    double now = (double)loop_wall_process().ms / 1000, back, at;
    if (strcmp(text, "latest") == 0)
        *out = (struct sluice_position){.from = SLUICE_FROM_LATEST};
    else if (strcmp(text, "start") == 0)
        *out = (struct sluice_position){.from = SLUICE_FROM_TRIM_HORIZON};
    else if (duration_parse(text, &back))
        *out = (struct sluice_position){.from = SLUICE_FROM_TIMESTAMP, .timestamp = back < now ? now - back : 0};
    else if (time_parse(text, &at))
        *out = (struct sluice_position){.from = SLUICE_FROM_TIMESTAMP, .timestamp = at};
    else
        return false;
    return true;
}

/* ---- shards ------------------------------------------------------------------------------------------------------- */

static struct tail_shard *shard_find(const struct tail_run *run, const char *id)
{
    for (size_t i = 0; i < run->count; i++)
        if (strcmp(run->shard[i].id, id) == 0)
            return &run->shard[i];
    return NULL;
}

static int shard_begin(struct tail_run *run, const struct sluice_shard *shard, const struct sluice_position *from)
{
    struct sluice_error e;
    struct tail_shard *more = realloc(run->shard, (run->count + 1) * sizeof *more);
    if (!more) {
        fprintf(stderr, "sluice: no memory\n");
        return 1;
    }
    run->shard = more;
    struct tail_shard *t = &more[run->count];
    *t = (struct tail_shard){0};
    snprintf(t->id, sizeof t->id, "%s", shard->id);
    if (sluice_iterator(run->s, run->stream, t->id, from, t->iterator, &e) < 0)
        return cli_failed(run->stream, &e);
    run->count++;
    return 0;
}

static bool is_listed(const struct sluice_shard *shards, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (*id && strcmp(shards[i].id, id) == 0)
            return true;
    return false;
}

/* From the start: the shards without parents, whose children follow. From now on: those that are open. */
static int shards_begin(struct tail_run *run)
{
    struct sluice_error e;
    struct sluice_shard *shards;
    size_t count;
    int status = 0;
    if (sluice_shard_list(run->s, run->stream, &shards, &count, &e) < 0)
        return cli_failed(run->stream, &e);
    for (size_t i = 0; i < count && status == 0; i++) {
        bool child = is_listed(shards, count, shards[i].parent) || is_listed(shards, count, shards[i].adjacent_parent);
        if (run->from.from == SLUICE_FROM_LATEST ? !shards[i].closed : !child)
            status = shard_begin(run, &shards[i], &run->from);
    }
    sluice_free(shards);
    return status;
}

/* True if every parent that is being read has been read to its end, and there is one. */
static bool parents_over(const struct tail_run *run, const struct sluice_shard *shard)
{
    const struct tail_shard *a = shard_find(run, shard->parent), *b = shard_find(run, shard->adjacent_parent);
    return (a || b) && (!a || a->ended) && (!b || b->ended);
}

/* Begins at the children whose parents are over. */
static int children_begin(struct tail_run *run)
{
    static const struct sluice_position start = {.from = SLUICE_FROM_TRIM_HORIZON};
    struct sluice_error e;
    struct sluice_shard *shards;
    size_t count;
    int status = 0;
    if (sluice_shard_list(run->s, run->stream, &shards, &count, &e) < 0)
        return cli_failed(run->stream, &e);
    const struct sluice_position *from = run->from.from == SLUICE_FROM_TIMESTAMP ? &run->from : &start;
    for (size_t i = 0; i < count && status == 0; i++)
        if (!shard_find(run, shards[i].id) && parents_over(run, &shards[i]))
            status = shard_begin(run, &shards[i], from);
    sluice_free(shards);
    return status;
}

/* ---- records ------------------------------------------------------------------------------------------------------ */

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
    if (utf8_valid(slice_of(r->data, r->data_bytes))) {
        fputs(",\"data\":", stdout);
        cli_print_json_string(r->data, r->data_bytes);
    } else {
        fputs(",\"data_base64\":", stdout);
        cli_print_json_base64(r->data, r->data_bytes);
    }
    puts("}");
}

/* Where to go on when the iterator has expired. Nothing read yet from LATEST: what came since the beginning. */
static struct sluice_position position_again(const struct tail_run *run, const struct tail_shard *t)
{
    if (t->last[0])
        return (struct sluice_position){.from = SLUICE_FROM_AFTER_SEQUENCE_NUMBER, .sequence_number = t->last};
    if (run->from.from == SLUICE_FROM_LATEST)
        return (struct sluice_position){.from = SLUICE_FROM_TIMESTAMP, .timestamp = run->began};
    return run->from;
}

/* 1: printed something; 0: nothing there; -1: failed. */
static int shard_print(struct tail_run *run, size_t index)
{
    struct tail_shard *t = &run->shard[index];
    struct sluice_error e;
    struct sluice_batch *batch;
    int rc = sluice_read(run->s, t->iterator, 0, &batch, &e);
    if (rc == SLUICE_E_EXPIRED) {
        struct sluice_position again = position_again(run, t);
        rc = sluice_iterator(run->s, run->stream, t->id, &again, t->iterator, &e);
        if (rc == 0)
            return 1;
    }
    if (rc < 0) {
        cli_failed(run->stream, &e);
        return -1;
    }
    for (size_t i = 0; i < batch->count; i++)
        record_print(run, t, &batch->records[i]);
    if (batch->count)
        snprintf(t->last, sizeof t->last, "%s", batch->records[batch->count - 1].sequence_number);
    t->ended = batch->shard_ended;
    t->caught_up |= batch->behind_ms == 0;
    int some = batch->count > 0;
    sluice_batch_free(batch);
    if (fflush(stdout) != 0 || ferror(stdout))
        return -1; /* main says why */
    if (t->ended && children_begin(run) != 0)
        return -1;
    return some;
}

static int tail_follow(struct tail_run *run)
{
    int status = shards_begin(run);
    while (status == 0) {
        bool some = false, open = false;
        for (size_t i = 0; i < run->count && status == 0; i++) {
            if (run->shard[i].ended || (run->until_now && run->shard[i].caught_up))
                continue;
            open = true;
            int n = shard_print(run, i);
            status = n < 0;
            some |= n > 0;
        }
        if (!open) /* until now; or the stream's last shard has ended */
            break;
        if (!some && status == 0)
            client_wait_ms(run->s, CALM_MS);
    }
    return status;
}

int cmd_tail(struct cli *cli)
{
    static const struct option options[] = {{"from", 1, NULL, 'f'}, {"until-now", 0, NULL, 'u'}, CLI_COMMON};
    struct tail_run run = {.cli = cli, .from = {.from = SLUICE_FROM_LATEST}};
    for (int c; (c = cli_option(cli, options, help)) != CLI_END;) {
        if (c == CLI_STOP)
            return cli->status;
        if (c == 'u')
            run.until_now = true;
        else if (!from_parse(optarg, &run.from))
            return cli_usage("--from '%s': say start, latest, 15m or 2026-11-22T10:00:00Z", optarg);
    }
    if (cli->argc - optind != 1)
        return cli_usage("tail takes one stream");
    run.stream = cli->argv[optind];
    run.began = (double)loop_wall_process().ms / 1000;
    if (cli_stream_check(cli, run.stream) != 0)
        return 1;
    run.s = cli_open(cli, 2, CLI_PATIENT);
    if (!run.s)
        return 1;
    int status = tail_follow(&run);
    free(run.shard);
    sluice_close(run.s);
    return status;
}
