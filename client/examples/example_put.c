/*
 * Puts each line of standard input into a stream, several requests in flight.
 *     cc example_put.c $(pkg-config --cflags --libs sluice) -o example_put
 *     seq 1000 | ./example_put events
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <sluice/sluice.h>

static int lines_put(struct sluice_producer *p, struct sluice_error *e)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = getline(&line, &room, stdin)) >= 0) {
        size_t len = (size_t)n;
        if (len && line[len - 1] == '\n')
            len--;
        rc = sluice_producer_put(p, &(struct sluice_record){.data = line, .data_bytes = len}, NULL, e);
    }
    free(line);
    return rc;
}

int main(int argc, char **argv)
{
    struct sluice *s;
    struct sluice_producer *p;
    struct sluice_producer_stats stats;
    struct sluice_error e;
    if (argc != 2) {
        fprintf(stderr, "usage: example_put STREAM < LINES\n");
        return 2;
    }
    if (sluice_open(NULL, &s, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    if (sluice_producer_open(s, argv[1], NULL, &p, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        sluice_close(s);
        return 1;
    }
    int rc = lines_put(p, &e);
    if (rc < 0)
        fprintf(stderr, "%s\n", e.message);
    int flushed = sluice_producer_flush(p, &e); /* now every record is on the server's disk, or told as failed */
    if (flushed < 0)
        fprintf(stderr, "%s\n", e.message);
    sluice_producer_stats(p, &stats);
    printf("%llu stored, %llu failed\n", (unsigned long long)stats.stored, (unsigned long long)stats.failed);
    sluice_producer_close(p, NULL);
    sluice_close(s);
    return rc < 0 || flushed < 0;
}
