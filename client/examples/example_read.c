/*
 * Prints all records that a stream holds now, shard by shard.
 *     cc example_read.c $(pkg-config --cflags --libs sluice) -o example_read
 *     ./example_read events
 */
#include <stdio.h>

#include <sluice/sluice.h>

static int shard_print(struct sluice *s, const char *stream, const char *shard, struct sluice_error *e)
{
    static const struct sluice_position start = {.from = SLUICE_FROM_TRIM_HORIZON};
    char iterator[SLUICE_ITERATOR_MAX];
    struct sluice_batch *batch;
    int rc = sluice_iterator(s, stream, shard, &start, iterator, e);
    for (int more = 1; rc == 0 && more;) {
        rc = sluice_read(s, iterator, 1000, &batch, e);
        if (rc < 0)
            break;
        for (size_t i = 0; i < batch->count; i++)
            printf("%s %s %.*s\n", shard, batch->records[i].partition_key, (int)batch->records[i].data_bytes,
                   (const char *)batch->records[i].data);
        more = !batch->shard_ended && (batch->count > 0 || batch->behind_ms > 0);
        sluice_batch_free(batch);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct sluice *s;
    struct sluice_shard *shards;
    struct sluice_error e;
    size_t count;
    if (argc != 2) {
        fprintf(stderr, "usage: example_read STREAM\n");
        return 2;
    }
    if (sluice_open(NULL, &s, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    int rc = sluice_shard_list(s, argv[1], &shards, &count, &e);
    if (rc < 0) {
        shards = NULL;
        count = 0;
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = shard_print(s, argv[1], shards[i].id, &e);
    if (rc < 0)
        fprintf(stderr, "%s\n", e.message);
    sluice_free(shards);
    sluice_close(s);
    return rc < 0;
}
