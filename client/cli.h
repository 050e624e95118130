/* What the commands of `sluice` share. A command returns the process's exit status: 0, 1 (the server or the data said no), 2
 * (the command line is wrong). */
#ifndef SLUICE_CLIENT_CLI_H
#define SLUICE_CLIENT_CLI_H

#include <stdbool.h>

#include "sluice/sluice.h"

struct cli {
    const char *endpoint; /* NULL: the library's default */
    bool json;
    int argc; /* what stands behind the command's own words */
    char **argv;
};

int cmd_stream(struct cli *cli);
int cmd_put(struct cli *cli);
int cmd_tail(struct cli *cli);
int cmd_delivery(struct cli *cli);
int cmd_inspect(struct cli *cli);

/* Opens the handle or prints why not. NULL: exit with 1. */
struct sluice *cli_open(const struct cli *cli, uint32_t connections);
/* Prints "sluice: what: message" (or a JSON object) on stderr; returns 1. */
int cli_failed(const struct cli *cli, const char *what, const struct sluice_error *e);
/* Prints the message and a pointer to --help on stderr; returns 2. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Writes `text` as a JSON string with its quotes on stdout. */
void cli_print_json_string(const char *text, size_t len);

#endif
