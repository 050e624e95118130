/* zstd for the compression stage: each piece is a frame with its content size and checksum. See compress.h. */
#ifndef SLUICE_FIREHOSE_COMPRESS_ZSTD_H
#define SLUICE_FIREHOSE_COMPRESS_ZSTD_H

#include "common/base/slice.h"
#include "common/base/status.h"

struct zstd_piece;

/* NULL without memory. */
struct zstd_piece *zstd_piece_create(void) must_use;
void zstd_piece_destroy(struct zstd_piece *z);
size_t zstd_piece_bound(size_t len);
/* One frame. -ENOMEM, ST_FAILED. */
int zstd_piece_compress(struct zstd_piece *z, int level, struct slice raw, uint8_t *out, size_t cap,
                        size_t *out_len) must_use;

#endif
