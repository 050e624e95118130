/*
 * The `sluice` command, built on libsluice: finds the command, opens the handle, leaves the rest to cmd_*.c. Output meant for
 * reading goes to stdout, everything else to stderr; --json makes stdout fit for scripts.
 */
#include "client/cli.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytebuf.h"
#include "common/wire/json_write.h"

static const char help[] =
    "sluice - put, follow and administer streams\n"
    "\n"
    "  sluice stream create NAME [--shards N]   make a stream, and wait until it is active\n"
    "  sluice stream list\n"
    "  sluice stream describe NAME\n"
    "  sluice stream delete NAME                delete it with all its records, and wait until it is gone\n"
    "\n"
    "  sluice put STREAM [FILE...]              store records: a record a line, from stdin or the files\n"
    "         --whole                           each file is one record\n"
    "         --key KEY                         one partition key for all: one shard, in order\n"
    "  sluice tail STREAM                       print records as they come\n"
    "         --from start|latest|15m|2026-11-22T10:00:00Z\n"
    "         --until-now                       end when all that is there has been printed\n"
    "\n"
    "  sluice delivery list\n"
    "  sluice delivery describe NAME            lag, counts, last error\n"
    "\n"
    "  --endpoint URL   the daemon; default $SLUICE_ENDPOINT, else http://127.0.0.1:4567\n"
    "  --json           output for scripts: one JSON object, or one a line\n"
    "  --version, --help\n"
    "\n"
    "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a daemon without credentials needs none.\n"
    "\n"
    "To try it:   sluiced &   sluice stream create events   seq 1000 | sluice put events   sluice tail events --from "
    "start\n";

struct sluice *cli_open(const struct cli *cli, uint32_t connections)
{
    struct sluice *s;
    struct sluice_error e;
    struct sluice_options o = {.endpoint = cli->endpoint, .connections_max = connections};
    if (sluice_open(&o, &s, &e) < 0) {
        cli_failed(cli, "cannot start", &e);
        return NULL;
    }
    return s;
}

void cli_print_json_string(const char *text, size_t len)
{
    struct bytebuf b;
    struct json_writer w;
    bytebuf_init(&b, 64u << 20);
    json_writer_init(&w, &b);
    json_write_string(&w, slice_of(text, len));
    if (!bytebuf_failed(&b))
        fwrite(b.ptr, 1, b.len, stdout);
    bytebuf_deinit(&b);
}

int cli_failed(const struct cli *cli, const char *what, const struct sluice_error *e)
{
    fprintf(stderr, "sluice: %s: %s\n", what, e->message);
    if (e->code == SLUICE_E_CONNECT)
        fprintf(stderr, "        is sluiced running? --endpoint or SLUICE_ENDPOINT names another address\n");
    return 1;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("sluice: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputs("\n        sluice --help tells what there is\n", stderr);
    va_end(ap);
    return 2;
}

static int command_run(struct cli *cli, const char *name)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } commands[] = {
        {"stream", cmd_stream},
        {"put", cmd_put},
        {"tail", cmd_tail},
        {"delivery", cmd_delivery},
    };
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(cli);
    return cli_usage("there is no command '%s'", name);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"endpoint", 1, NULL, 'e'},
                                            {"json", 0, NULL, 'j'},
                                            {"help", 0, NULL, 'h'},
                                            {"version", 0, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    struct cli cli = {0};
    signal(SIGPIPE, SIG_IGN);
    /* '+': stop at the command's name; its own options are the command's. */
    for (int c; (c = getopt_long(argc, argv, "+h", options, NULL)) != -1;) {
        switch (c) {
        case 'e':
            cli.endpoint = optarg;
            break;
        case 'j':
            cli.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'v':
            printf("sluice %s\n", sluice_version());
            return 0;
        default:
            return 2;
        }
    }
    if (optind == argc) {
        fputs(help, stderr);
        return 2;
    }
    const char *name = argv[optind];
    cli.argc = argc - optind;
    cli.argv = argv + optind;
    optind = 1;
    int status = command_run(&cli, name);
    return fflush(stdout) != 0 && status == 0 ? 1 : status;
}
