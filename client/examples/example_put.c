/*
 * Puts each line of standard input into a stream, several requests in flight.
 *     cc example_put.c $(pkg-config --cflags --libs sluice) -o example_put
 *     seq 1000 | ./example_put events
 */
#include <stdio.h>
#include <string.h>

#include <sluice/sluice.h>

int main(int argc, char **argv)
{
    struct sluice *s;
    struct sluice_producer *p;
    struct sluice_error e;
    char line[65536];
    if (argc != 2) {
        fprintf(stderr, "usage: example_put STREAM < LINES\n");
        return 2;
    }
    if (sluice_open(NULL, &s, &e) < 0 || sluice_producer_open(s, argv[1], NULL, &p, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        struct sluice_record record = {.data = line, .data_bytes = strcspn(line, "\n")};
        if (sluice_producer_put(p, &record, NULL, &e) < 0)
            break;
    }
    struct sluice_producer_stats stats;
    int rc = sluice_producer_flush(p, &e); /* every record is on the server's disk now, or told as failed */
    sluice_producer_stats(p, &stats);
    if (rc < 0)
        fprintf(stderr, "%s\n", e.message);
    printf("%llu stored, %llu failed\n", (unsigned long long)stats.stored, (unsigned long long)stats.failed);
    sluice_producer_close(p, NULL);
    sluice_close(s);
    return rc < 0;
}
