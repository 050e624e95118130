/* sluice stream create | list | describe | delete */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/base/clock.h"

static const char *const status_names[] = {"CREATING", "DELETING", "ACTIVE", "UPDATING"};

static int stream_create(struct cli *cli)
{
    static const struct option options[] = {{"shards", 1, NULL, 's'}, {"json", 0, NULL, 'j'}, {NULL, 0, NULL, 0}};
    unsigned long shards = 1;
    for (int c; (c = getopt_long(cli->argc, cli->argv, "", options, NULL)) != -1;) {
        if (c == '?')
            return 2;
        if (c == 'j') {
            cli->json = true;
            continue;
        }
        char *end;
        errno = 0;
        shards = strtoul(optarg, &end, 10);
        if (errno || *end || shards == 0 || shards > 100000)
            return cli_usage("--shards '%s' is not a number of shards", optarg);
    }
    if (cli->argc - optind != 1)
        return cli_usage("stream create takes one name");
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    const char *name = cli->argv[optind];
    int status = 0;
    if (sluice_stream_create(s, name, (uint32_t)shards, &e) < 0)
        status = cli_failed(cli, name, &e);
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
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    char **names;
    size_t count;
    int status = 0;
    if (sluice_stream_list(s, &names, &count, &e) < 0) {
        status = cli_failed(cli, "list", &e);
    } else {
        for (size_t i = 0; i < count; i++)
            printf(cli->json ? "{\"stream\":\"%s\"}\n" : "%s\n", names[i]);
        sluice_free(names);
    }
    sluice_close(s);
    return status;
}

static void shards_print(const struct cli *cli, const struct sluice_shard *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct sluice_shard *h = &shards[i];
        if (cli->json)
            printf("%s{\"id\":\"%s\",\"first_hash\":\"%s\",\"last_hash\":\"%s\",\"closed\":%s}", i ? "," : "", h->id,
                   h->first_hash, h->last_hash, h->closed ? "true" : "false");
        else
            printf("  %s  %s%s%s\n", h->id, h->closed ? "closed" : "open", h->parent[0] ? ", from " : "", h->parent);
    }
}

static int stream_describe(struct cli *cli)
{
    if (cli->argc != 2)
        return cli_usage("stream describe takes one name");
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    struct sluice_stream d;
    struct sluice_shard *shards = NULL;
    size_t count = 0;
    int status = 0;
    if (sluice_stream_describe(s, cli->argv[1], &d, &e) < 0 ||
        sluice_shard_list(s, cli->argv[1], &shards, &count, &e) < 0) {
        status = cli_failed(cli, cli->argv[1], &e);
    } else {
        char created[CLOCK_TEXT_MAX];
        wall_format_iso((struct wall_ms){(int64_t)(d.created * 1000)}, created);
        printf(cli->json
                   ? "{\"stream\":\"%s\",\"arn\":\"%s\",\"status\":\"%s\",\"created\":\"%s\",\"retention_hours\":%u,"
                     "\"open_shards\":%u,\"shards\":["
                   : "%s\n  arn        %s\n  status     %s\n  created    %s\n  retention  %u h\n  shards     %u open\n",
               d.name, d.arn, status_names[d.status], created, d.retention_hours, d.open_shards);
        shards_print(cli, shards, count);
        if (cli->json)
            printf("]}\n");
    }
    sluice_free(shards);
    sluice_close(s);
    return status;
}

static int stream_delete(struct cli *cli)
{
    if (cli->argc != 2)
        return cli_usage("stream delete takes one name");
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    int status = 0;
    if (sluice_stream_delete(s, cli->argv[1], &e) < 0)
        status = cli_failed(cli, cli->argv[1], &e);
    else if (!cli->json)
        printf("stream %s is gone\n", cli->argv[1]);
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
    const char *verb = cli->argv[1];
    cli->argc--;
    cli->argv++;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(cli);
    return cli_usage("there is no 'stream %s'", verb);
}
