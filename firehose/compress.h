/*
 * The compression stage. An object is compressed piece by piece; each piece by itself, so that the pieces of one object
 * are compressed by several workers at once, and joined in order. Every format here allows that: zstd frames (each with
 * its content checksum) concatenate, as gzip members, Snappy blocks and deflate blocks do.
 *
 * A `struct compressor` holds the working memory of one piece at a time; one thread at a time.
 */
#ifndef SLUICE_FIREHOSE_COMPRESS_H
#define SLUICE_FIREHOSE_COMPRESS_H

#include "common/base/slice.h"
#include "common/base/status.h"

enum compression { COMPRESSION_NONE, COMPRESSION_ZSTD, COMPRESSION_COUNT };

#define COMPRESS_ZSTD_LEVEL_DEFAULT 1
#define COMPRESS_ZSTD_LEVEL_MAX     19

struct compressor;

/* "none", "zstd". */
const char *compression_name(enum compression c);
/* ".zst"; "" for none. */
const char *compression_extension(enum compression c);
/* False if there is none of that name. */
bool compression_find(struct slice name, enum compression *out) must_use;

/* Bytes of output that `len` bytes of input can need. */
size_t compress_bound(enum compression c, size_t len);

/* Not for COMPRESSION_NONE, which needs no work. -ENOMEM. */
int compressor_create(enum compression c, struct compressor **out) must_use;
/* NULL is allowed. */
void compressor_destroy(struct compressor *c);
/*
 * Compresses one piece at `level` into `out` (compress_bound of room); *out_len is its length. An empty piece gives
 * nothing, unless it is `first`: then a valid empty file. -ENOMEM, ST_FAILED (the library refused).
 */
int compress_piece(struct compressor *c, int level, struct slice raw, bool first, uint8_t *out, size_t cap,
                   size_t *out_len) must_use;

#endif
