/* The configuration's file: any bytes give a configuration or one line of error, and what was accepted prints as a file
 * that is accepted again. The files that it names are never there. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const variables[] = {"HOME=/h", NULL};
static const struct config_world world = {.environ = (char *const *)variables};
static const struct config_args args = {.allow_unsigned = true};

static void print_and_read_again(const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    struct err e = {0};
    struct config again;
    FILE *f = open_memstream(&text, &len);
    if (!f || config_print(c, f) < 0)
        abort();
    fclose(f);
    if (config_load_text(&args, &world, "again", slice_of(text, len), &again, &e) < 0) {
        fprintf(stderr, "%s\n%s\n", e.text, text);
        abort();
    }
    config_free(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct err e = {0};
    if (config_load_text(&args, &world, "/fuzz/file", slice_of(data, size), &c, &e) < 0) {
        if (e.text[0] == 0 || e.code >= 0)
            abort();
        return 0;
    }
    print_and_read_again(&c);
    config_free(&c);
    return 0;
}
