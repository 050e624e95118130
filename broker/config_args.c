/* sluiced's command line and its help. */
#include <getopt.h>
#include <stdio.h>

#include "broker/config_keys.h"

enum { OPT_CONFIG = 1000, OPT_DATA, OPT_LISTEN, OPT_LOOPS, OPT_UNSIGNED, OPT_CHECK, OPT_PRINT, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"data", required_argument, NULL, OPT_DATA},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"loops", required_argument, NULL, OPT_LOOPS},
    {"allow-unsigned", no_argument, NULL, OPT_UNSIGNED},
    {"check", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static int unknown_option(const char *word, struct err *e)
{
    const char *names[ARRAY_COUNT(options)];
    uint32_t count = 0;
    for (; options[count].name; count++)
        names[count] = options[count].name;
    struct slice name = slice_str(word);
    while (name.len && name.ptr[0] == '-')
        name = slice_from(name, 1);
    name = slice_first(name, slice_find(name, '='));
    const char *near = config_nearest(name, names, count);
    if (near)
        return err_set(e, ST_INVALID, "command line: there is no option '%s'; did you mean --%s?", word, near);
    return err_set(e, ST_INVALID, "command line: there is no option '%s'; --help lists them", word);
}

static int bad_option(int found, char **argv, struct err *e)
{
    const char *word = argv[optind - 1];
    if (found == ':')
        return err_set(e, ST_INVALID, "command line: %s needs a value; --help tells which", word);
    for (uint32_t i = 0; options[i].name; i++) {
        struct slice given = slice_first(slice_str(word), slice_find(slice_str(word), '='));
        if (given.len > 2 && slice_eq_str(slice_from(given, 2), options[i].name))
            return err_set(e, ST_INVALID, "command line: --%s takes no value", options[i].name);
    }
    return unknown_option(word, e);
}

/* The greatest wish wins: help, version, check, print. */
static void wish(struct config_args *a, enum config_action action)
{
    if (action > a->action)
        a->action = action;
}

int config_args_read(int argc, char **argv, struct config_args *out, struct err *e)
{
    struct config_args a = {.action = CONFIG_RUN};
    int found;
    optind = 0; /* start anew, also when called again */
    while ((found = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (found) {
        case OPT_CONFIG:
            a.config = optarg;
            break;
        case OPT_DATA:
            a.data = optarg;
            break;
        case OPT_LISTEN:
            a.listen = optarg;
            break;
        case OPT_LOOPS:
            a.loops = optarg;
            break;
        case OPT_UNSIGNED:
            a.allow_unsigned = true;
            break;
        case OPT_CHECK:
            wish(&a, CONFIG_CHECK);
            break;
        case OPT_PRINT:
            wish(&a, CONFIG_PRINT);
            break;
        case OPT_VERSION:
            wish(&a, CONFIG_VERSION);
            break;
        case OPT_HELP:
        case 'h':
            wish(&a, CONFIG_HELP);
            break;
        default:
            return bad_option(found, argv, e);
        }
    }
    if (optind < argc)
        return err_set(e, ST_INVALID, "command line: '%s' is not an option; --help lists them", argv[optind]);
    *out = a;
    return ST_OK;
}

static const char help_text[] =
    "sluiced: a durable, partitioned streaming log that speaks the Kinesis and Firehose protocols.\n"
    "\n"
    "  sluiced [--config FILE] [--data DIR] [--listen ADDR:PORT] [--loops N] [--allow-unsigned]\n"
    "  sluiced --check | --print-config | --version | --help\n"
    "\n"
    "Without any option it starts: data in /var/lib/sluice (root) or ~/.local/state/sluice, on 127.0.0.1:4567,\n"
    "every acknowledged record on disk. Try it, in two terminals:\n"
    "\n"
    "  sluiced --data /tmp/sluice\n"
    "\n"
    "  export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1\n"
    "  alias k='aws --endpoint-url http://127.0.0.1:4567 kinesis'\n"
    "  k create-stream --stream-name events --shard-count 2\n"
    "  k put-record --stream-name events --partition-key k --data aGVsbG8=\n"
    "  curl -d '{\"hello\": 1}' http://127.0.0.1:4567/streams/events/records\n"
    "\n"
    "  --config FILE       the YAML file; without it " CONFIG_DEFAULT_FILE " if it is there\n"
    "  --data DIR          where everything is kept; one daemon at a time\n"
    "  --listen ADDR:PORT  127.0.0.1:4567; port 0 picks a free one. Other than loopback needs credentials\n"
    "  --loops N           I/O threads; 0, the default: half of the CPUs\n"
    "  --allow-unsigned    serve any address without credentials: only behind something that guards it\n"
    "  --check             read the configuration, say what is wrong in one line, and end (0: nothing)\n"
    "  --print-config      show the configuration in effect, defaults included, and end\n"
    "  --version, --help\n"
    "\n"
    "Every scalar key of the file is also a variable: SLUICE_LISTEN, SLUICE_SYNC, SLUICE_CACHE_SIZE, ...\n"
    "The command line wins over variables, they win over the file. All keys: docs/CONFIG.md. A file to begin with:\n"
    "\n"
    "  streams:\n"
    "    - {name: events, shards: 4, retention: 24h}\n"
    "  routes:\n"
    "    - {path: /prod/logger, stream: events}\n"
    "  deliveries:\n"
    "    - name: events-archive\n"
    "      source: events\n"
    "      buffer: {size: 1MiB, interval: 60s}\n"
    "      sink: file:///var/lib/sluice/out/!{timestamp:yyyy/MM/dd/HH}/\n"
    "\n"
    "SIGTERM drains and ends with status 0. Metrics: GET /metrics. Health: GET /healthz.\n";

void config_help(FILE *out)
{
    fputs(help_text, out);
}
