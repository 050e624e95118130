/* sluice stream create | list | describe | delete */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/base/clock.h"

static const char help[] =
    "sluice stream create NAME [--shards N]   make a stream, and wait until it is active\n"
    "sluice stream list\n"
    "sluice stream describe NAME              its settings and shards\n"
    "sluice stream delete NAME                delete it with all its records, and wait until it is gone\n"
    "\n"
    "A stream is an ordered log in N parts (shards; default 1). A record's partition key decides its shard: records\n"
    "of one key stay in order. More shards spread the work of consumers that read side by side.\n"
    "\n"
    "  sluice stream create events --shards 4\n";

#define SHARDS_MAX 100000

static const char *const status_names[] = {"CREATING", "DELETING", "ACTIVE", "UPDATING"};

static bool shards_parse(const char *text, unsigned long *out)
{
    char *end;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return !errno && text[0] >= '0' && text[0] <= '9' && !*end && *out > 0 && *out <= SHARDS_MAX;
}

static int stream_create(struct cli *cli)
{
    static const struct option options[] = {{"shards", 1, NULL, 's'}, CLI_COMMON};
    unsigned long shards = 1;
    for (int c; (c = cli_option(cli, options, help)) != CLI_END;) {
        if (c == CLI_STOP)
            return cli->status;
        if (!shards_parse(optarg, &shards))
            return cli_usage("--shards '%s' is not a number from 1 to %d", optarg, SHARDS_MAX);
    }
    if (cli->argc - optind != 1)
        return cli_usage("stream create takes one name");
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    const char *name = cli->argv[optind];
    int status = 0;
    if (sluice_stream_create(s, name, (uint32_t)shards, &e) < 0)
        status = cli_failed(name, &e);
    else if (cli->json)
        printf("{\"stream\":\"%s\",\"shards\":%lu}\n", name, shards);
    else
        printf("stream %s is active, %lu shard%s\n", name, shards, shards == 1 ? "" : "s");
    sluice_close(s);
    return status;
}

static int stream_list(struct cli *cli)
{
    struct sluice_error e;
    if (cli_words(cli, 0, help) == CLI_STOP)
        return cli->status;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    char **names;
    size_t count;
    int status = 0;
    if (sluice_stream_list(s, &names, &count, &e) < 0) {
        status = cli_failed("stream list", &e);
    } else {
        cli_print_names(cli, "stream", names);
        sluice_free(names);
    }
    sluice_close(s);
    return status;
}

static void shards_print(const struct cli *cli, const struct sluice_shard *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct sluice_shard *h = &shards[i];
        if (!cli->json) {
            printf("  %s  %s%s%s\n", h->id, h->closed ? "closed" : "open", h->parent[0] ? ", from " : "", h->parent);
            continue;
        }
        printf("%s{\"id\":\"%s\"", i ? "," : "", h->id);
        if (h->parent[0])
            printf(",\"parent\":\"%s\"", h->parent);
        if (h->adjacent_parent[0])
            printf(",\"adjacent_parent\":\"%s\"", h->adjacent_parent);
        printf(",\"first_hash\":\"%s\",\"last_hash\":\"%s\",\"closed\":%s}", h->first_hash, h->last_hash,
               h->closed ? "true" : "false");
    }
}

static void stream_print(const struct cli *cli, const struct sluice_stream *d, const struct sluice_shard *shards,
                         size_t count)
{
    char created[CLOCK_TEXT_MAX];
    wall_format_iso((struct wall_ms){(int64_t)(d->created * 1000)}, created);
    printf(cli->json
               ? "{\"stream\":\"%s\",\"arn\":\"%s\",\"status\":\"%s\",\"created\":\"%s\",\"retention_hours\":%u,"
                 "\"open_shards\":%u,\"shards\":["
               : "%s\n  arn        %s\n  status     %s\n  created    %s\n  retention  %u h\n  shards     %u open\n",
           d->name, d->arn, status_names[d->status], created, d->retention_hours, d->open_shards);
    shards_print(cli, shards, count);
    if (cli->json)
        puts("]}");
}

static int stream_describe(struct cli *cli)
{
    struct sluice_error e;
    if (cli_words(cli, 1, help) == CLI_STOP)
        return cli->status;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    const char *name = cli->argv[optind];
    struct sluice_stream d;
    struct sluice_shard *shards = NULL;
    size_t count = 0;
    int status = 0;
    if (sluice_stream_describe(s, name, &d, &e) < 0 || sluice_shard_list(s, name, &shards, &count, &e) < 0)
        status = cli_failed(name, &e);
    else
        stream_print(cli, &d, shards, count);
    sluice_free(shards);
    sluice_close(s);
    return status;
}

static int stream_delete(struct cli *cli)
{
    struct sluice_error e;
    if (cli_words(cli, 1, help) == CLI_STOP)
        return cli->status;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    const char *name = cli->argv[optind];
    int status = 0;
    if (sluice_stream_delete(s, name, &e) < 0)
        status = cli_failed(name, &e);
    else if (cli->json)
        printf("{\"stream\":\"%s\",\"deleted\":true}\n", name);
    else
        printf("stream %s is gone\n", name);
    sluice_close(s);
    return status;
}

int cmd_stream(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } verbs[] = {
        {"create", stream_create}, {"list", stream_list}, {"describe", stream_describe}, {"delete", stream_delete}};
    if (cli->argc < 2)
        return cli_usage("stream create, list, describe or delete?");
    if (cli->argv[1][0] == '-')
        return cli_words(cli, 0, help) == CLI_STOP ? cli->status
                                                   : cli_usage("stream create, list, describe or delete?");
    cli->argc--;
    cli->argv++;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(cli->argv[0], verbs[i].name) == 0)
            return verbs[i].run(cli);
    return cli_usage("there is no 'stream %s'", cli->argv[0]);
}
