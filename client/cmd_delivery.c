/* sluice delivery list | describe. The description is the server's own JSON, laid out for reading unless --json is given. */
#include <stdio.h>
#include <string.h>

#include "client/cli.h"

static int delivery_list(struct cli *cli)
{
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    char **names;
    size_t count;
    int status = 0;
    if (sluice_delivery_list(s, &names, &count, &e) < 0) {
        status = cli_failed(cli, "list", &e);
    } else {
        for (size_t i = 0; i < count; i++)
            printf(cli->json ? "{\"delivery\":\"%s\"}\n" : "%s\n", names[i]);
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
    if (cli->argc != 2)
        return cli_usage("delivery describe takes one name");
    struct sluice_error e;
    struct sluice *s = cli_open(cli, 1);
    if (!s)
        return 1;
    char *json;
    int status = 0;
    if (sluice_delivery_describe(s, cli->argv[1], &json, &e) < 0) {
        status = cli_failed(cli, cli->argv[1], &e);
    } else {
        if (cli->json)
            printf("%s\n", json);
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
    const char *verb = cli->argv[1];
    cli->argc--;
    cli->argv++;
    if (strcmp(verb, "list") == 0)
        return delivery_list(cli);
    if (strcmp(verb, "describe") == 0)
        return delivery_describe(cli);
    return cli_usage("there is no 'delivery %s'", verb);
}
