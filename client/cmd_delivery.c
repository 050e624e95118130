/*
 * sluice delivery list | describe. The description is the library's JSON (settings and live status), laid out for
 * reading unless --json is given.
 */
#include <stdio.h>
#include <string.h>

#include "client/cli.h"

static const char help[] =
    "sluice delivery list\n"
    "sluice delivery describe NAME\n"
    "\n"
    "A delivery gathers the records of a stream into files; deliveries are made in sluiced's configuration.\n"
    "describe prints its settings (\"description\", as AWS describes a delivery stream) and how it fares (\"status\":\n"
    "state, lag, counts, last error). --json prints them on one line.\n";

static int delivery_list(struct cli *cli)
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
    if (sluice_delivery_list(s, &names, &count, &e) < 0) {
        status = cli_failed("delivery list", &e);
    } else {
        cli_print_names(cli, "delivery", names);
        sluice_free(names);
    }
    sluice_close(s);
    return status;
}

/* Indents JSON that is known to be well-formed: the server's, read by the library. */
static void json_print(const char *json)
{
    int depth = 0;
    bool string = false;
    for (const char *c = json; *c; c++) {
        if (string) {
            putchar(*c);
            if (*c == '\\' && c[1])
                putchar(*++c);
            else if (*c == '"')
                string = false;
            continue;
        }
        if (*c == ' ' || *c == '\n' || *c == '\r' || *c == '\t')
            continue;
        bool closing = *c == '}' || *c == ']', empty = (*c == '{' && c[1] == '}') || (*c == '[' && c[1] == ']');
        if (closing && depth > 0)
            printf("\n%*s", --depth * 2, "");
        putchar(*c);
        if (empty) {
            putchar(*++c);
        } else if (*c == '{' || *c == '[') {
            printf("\n%*s", ++depth * 2, "");
        } else if (*c == ',') {
            printf("\n%*s", depth * 2, "");
        } else if (*c == ':') {
            putchar(' ');
        }
        string = *c == '"';
    }
    putchar('\n');
}

static int delivery_describe(struct cli *cli)
{
    struct sluice_error e;
    if (cli_words(cli, 1, help) == CLI_STOP)
        return cli->status;
    struct sluice *s = cli_open(cli, 1, CLI_BRISK);
    if (!s)
        return 1;
    char *json;
    int status = 0;
    if (sluice_delivery_describe(s, cli->argv[optind], &json, &e) < 0) {
        status = cli_failed(cli->argv[optind], &e);
    } else {
        if (cli->json)
            puts(json);
        else
            json_print(json);
        sluice_free(json);
    }
    sluice_close(s);
    return status;
}

int cmd_delivery(struct cli *cli)
{
    if (cli->argc < 2)
        return cli_usage("delivery list or describe?");
    if (cli->argv[1][0] == '-')
        return cli_words(cli, 0, help) == CLI_STOP ? cli->status : cli_usage("delivery list or describe?");
    cli->argc--;
    cli->argv++;
    if (strcmp(cli->argv[0], "list") == 0)
        return delivery_list(cli);
    if (strcmp(cli->argv[0], "describe") == 0)
        return delivery_describe(cli);
    return cli_usage("there is no 'delivery %s'", cli->argv[0]);
}
