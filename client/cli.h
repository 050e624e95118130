/*
 * What the commands of `sluice` share. A command returns the process's exit status: 0, 1 (the server or the data said
 * no), 2 (the command line is wrong). What was asked for goes to stdout, everything else to stderr; with --json stdout
 * is JSON, one object or one a line. One thread.
 */
#ifndef SLUICE_CLIENT_CLI_H
#define SLUICE_CLIENT_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "sluice/sluice.h"

struct cli {
    const char *endpoint; /* NULL: the library's default */
    bool json;
    int argc; /* the command's words: argv[0] is its name */
    char **argv;
    int status; /* with CLI_STOP */
};

int cmd_stream(struct cli *cli);
int cmd_put(struct cli *cli);
int cmd_tail(struct cli *cli);
int cmd_delivery(struct cli *cli);
int cmd_inspect(struct cli *cli);

/* ---- the command line --------------------------------------------------------------------------------------------- */

/* The options that every command takes; they end a command's own table. */
#define CLI_COMMON                                                              \
    {"endpoint", 1, NULL, 'E'}, {"json", 0, NULL, 'J'}, {"help", 0, NULL, 'h'}, \
    {                                                                           \
        NULL, 0, NULL, 0                                                        \
    }
#define CLI_END  (-1)
#define CLI_STOP (-2)

/* The next of the command's own options (its value in optarg); CLI_END: the rest of argv begins at optind; CLI_STOP:
 * return cli->status (help was asked for, or the option is none). */
int cli_option(struct cli *cli, const struct option *options, const char *help);
/* The same for a command without options of its own and with one name (or, names 0, none): 0, or CLI_STOP. */
int cli_words(struct cli *cli, int names, const char *help);

/* Prints the message and a pointer to --help on stderr; returns 2. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- the server --------------------------------------------------------------------------------------------------- */

enum cli_patience {
    CLI_BRISK,  /* one question: a server that is not there is told at once */
    CLI_PATIENT /* a long transfer: outlives a restart of the server */
};

/* Opens the handle or prints why not. NULL: exit with 1. */
struct sluice *cli_open(const struct cli *cli, uint32_t connections, enum cli_patience patience);
/* Prints "sluice: what: message" on stderr, and what may help; returns 1. */
int cli_failed(const char *what, const struct sluice_error *e);
/* Asks the server for the stream before a long transfer begins: 0, or 1 and it has said why. */
int cli_stream_check(const struct cli *cli, const char *stream);

/* ---- output ------------------------------------------------------------------------------------------------------- */

/* Writes `text` (UTF-8) as a JSON string with its quotes on stdout. */
void cli_print_json_string(const char *text, size_t len);
/* The bytes as a JSON string in base64. */
void cli_print_json_base64(const void *bytes, size_t len);
/* Names, a line each; with --json as {"key":"name"}. */
void cli_print_names(const struct cli *cli, const char *key, char *const *names);

#endif
