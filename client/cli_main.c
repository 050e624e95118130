/*
 * The `sluice` command, built on libsluice alone: finds the command, leaves the rest to cmd_*.c; here is also what they
 * share (cli.h).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/base/bytebuf.h"
#include "common/wire/base64.h"
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
    "  sluice delivery describe NAME            settings, lag, counts, last error\n"
    "\n"
    "  sluice inspect DIR                       verify a data directory while no daemon runs on it\n"
    "\n"
    "  --endpoint URL   the daemon; default $SLUICE_ENDPOINT, else http://127.0.0.1:4567\n"
    "  --json           output for scripts: one JSON object, or one a line\n"
    "  --version, --help; sluice COMMAND --help tells more\n"
    "\n"
    "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a daemon without credentials needs none.\n"
    "Exit status: 0 done, 1 the server or the data said no, 2 the command line is wrong.\n"
    "\n"
    "To try it:\n"
    "  sluiced &\n"
    "  sluice stream create events\n"
    "  seq 1000 | sluice put events\n"
    "  sluice tail events --from start\n";

/* ---- the command line --------------------------------------------------------------------------------------------- */

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

int cli_option(struct cli *cli, const struct option *options, const char *text)
{
    for (;;) {
        int c = getopt_long(cli->argc, cli->argv, ":h", options, NULL);
        switch (c) {
        case 'E':
            cli->endpoint = optarg;
            continue;
        case 'J':
            cli->json = true;
            continue;
        case 'h':
            fputs(text, stdout);
            cli->status = 0;
            return CLI_STOP;
        case ':':
            cli->status = cli_usage("%s: %s needs a value", cli->argv[0], cli->argv[optind - 1]);
            return CLI_STOP;
        case '?':
            cli->status = cli_usage("%s: there is no option '%s'", cli->argv[0], cli->argv[optind - 1]);
            return CLI_STOP;
        default:
            return c;
        }
    }
}

int cli_words(struct cli *cli, int names, const char *text)
{
    static const struct option options[] = {CLI_COMMON};
    if (cli_option(cli, options, text) == CLI_STOP)
        return CLI_STOP;
    if (cli->argc - optind == names)
        return 0;
    cli->status = names ? cli_usage("%s takes one name", cli->argv[0])
                        : cli_usage("%s takes no arguments, not '%s'", cli->argv[0], cli->argv[optind]);
    return CLI_STOP;
}

/* ---- the server --------------------------------------------------------------------------------------------------- */

struct sluice *cli_open(const struct cli *cli, uint32_t connections, enum cli_patience patience)
{
    struct sluice *s;
    struct sluice_error e;
    struct sluice_options o = {.endpoint = cli->endpoint, .connections_max = connections};
    if (patience == CLI_BRISK)
        o.retries_max = 2;
    if (sluice_open(&o, &s, &e) < 0) {
        cli_failed("cannot start", &e);
        return NULL;
    }
    return s;
}

int cli_failed(const char *what, const struct sluice_error *e)
{
    fprintf(stderr, "sluice: %s: %s\n", what, e->message);
    if (e->code == SLUICE_E_CONNECT)
        fputs("        is sluiced running? --endpoint or SLUICE_ENDPOINT names another address\n", stderr);
    else if (e->code == SLUICE_E_DENIED)
        fputs("        AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be one of the daemon's credentials\n", stderr);
    return 1;
}

int cli_stream_check(const struct cli *cli, const char *stream)
{
    struct sluice_error e;
    struct sluice_stream known;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    int rc = sluice_stream_describe(s, stream, &known, &e);
    if (rc < 0)
        cli_failed(stream, &e);
    if (rc == SLUICE_E_NOT_FOUND)
        fprintf(stderr, "        sluice stream create %s makes it\n", stream);
    sluice_close(s);
    return rc < 0 ? 1 : 0;
}

/* ---- output ------------------------------------------------------------------------------------------------------- */

void cli_print_json_string(const char *text, size_t len)
{
    struct bytebuf b;
    struct json_writer w;
    bytebuf_init(&b, 128u << 20);
    json_writer_init(&w, &b);
    json_write_string(&w, slice_of(text, len));
    if (bytebuf_failed(&b))
        fputs("null", stdout);
    else
        fwrite(b.ptr, 1, b.len, stdout);
    bytebuf_deinit(&b);
}

void cli_print_json_base64(const void *bytes, size_t len)
{
    char *text = malloc(base64_encoded_len(len) + 1);
    if (text)
        base64_encode(slice_of(bytes, len), text);
    if (text)
        printf("\"%.*s\"", (int)base64_encoded_len(len), text);
    else
        fputs("null", stdout);
    free(text);
}

void cli_print_names(const struct cli *cli, const char *key, char *const *names)
{
    for (; *names; names++) {
        if (!cli->json) {
            puts(*names);
            continue;
        }
        printf("{\"%s\":", key);
        cli_print_json_string(*names, strlen(*names));
        puts("}");
    }
}

/* ---- main --------------------------------------------------------------------------------------------------------- */

static int command_run(struct cli *cli, const char *name)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } commands[] = {
        {"stream", cmd_stream},     {"put", cmd_put},         {"tail", cmd_tail},
        {"delivery", cmd_delivery}, {"inspect", cmd_inspect},
    };
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(cli);
    if (strcmp(name, "help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    return cli_usage("there is no command '%s'", name);
}

/* What stdout could not take is a failure. (A reader that has gone ends the process by SIGPIPE, as is usual.) */
static int output_end(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "sluice: standard output: %s\n", errno ? status_text(-errno) : "a write failed");
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"version", 0, NULL, 'v'}, CLI_COMMON};
    struct cli cli = {.argc = argc, .argv = argv};
    opterr = 0;
    /* '+': stop at the command's name; what follows is the command's. */
    for (int c; (c = getopt_long(argc, argv, "+:h", options, NULL)) != -1;) {
        switch (c) {
        case 'E':
            cli.endpoint = optarg;
            break;
        case 'J':
            cli.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return output_end(0);
        case 'v':
            printf("sluice %s\n", sluice_version());
            return output_end(0);
        case ':':
            return cli_usage("%s needs a value", argv[optind - 1]);
        default:
            return cli_usage("there is no option '%s'", argv[optind - 1]);
        }
    }
    if (optind == argc) {
        fputs(help, stderr);
        return 2;
    }
    cli.argc = argc - optind;
    cli.argv = argv + optind;
    optind = 0; /* a new scan, in which options and words may mix */
    return output_end(command_run(&cli, cli.argv[0]));
}
