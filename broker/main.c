/* sluiced: reads the command line and the configuration, then runs the server. Exit: 0, 1 (could not start), 2 (command line). */
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/config.h"
#include "broker/server.h"
#include "common/base/diag.h"
#include "common/io/loop.h"

/* Blocks from here on go back to the system when they are freed. glibc raises this bound by itself once larger blocks
 * have come and gone, and its heaps then keep two to three times what is in use: memory that the configuration bounds
 * would not be bounded. What the data path uses again and again is pooled. */
#define MMAP_BYTES (256 << 10)

int main(int argc, char **argv)
{
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    struct config_args args;
    struct config config;
    struct err e = {0};
    if (config_args_read(argc, argv, &args, &e) < 0) {
        fprintf(stderr, "sluiced: %s\n", e.text);
        return 2;
    }
    if (args.action == CONFIG_HELP) {
        config_help(stdout);
        return 0;
    }
    if (args.action == CONFIG_VERSION) {
        printf("sluiced %s\n", SLUICE_VERSION);
        return 0;
    }
    struct config_world world = {.environ = environ, .root = geteuid() == 0, .default_file = CONFIG_DEFAULT_FILE};
    if (config_load(&args, &world, &config, &e) < 0) {
        fprintf(stderr, "sluiced: %s\n", e.text);
        return 1;
    }
    diag_setup(config.log.level, loop_wall_process);
    for (uint32_t i = 0; i < config.warnings.count; i++)
        diag(DIAG_WARN, "configuration", "%s", config.warnings.item[i]);
    int rc = 0;
    if (args.action == CONFIG_PRINT)
        rc = config_print(&config, stdout);
    else if (args.action == CONFIG_RUN)
        rc = server_run(&config, &e);
    if (rc < 0)
        fprintf(stderr, "sluiced: %s\n", e.text[0] ? e.text : status_text(rc));
    config_free(&config);
    return rc < 0 ? 1 : 0;
}
