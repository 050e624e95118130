/*
 * One frame a piece. Against one frame an object, pieces of 1 MiB cost about 1% of ratio at level 1 (its window is 512
 * KiB) and let every worker take part in one object.
 */
#include "firehose/compress_zstd.h"

#include <stdlib.h>

#include <zstd.h>
#include <zstd_errors.h>

struct zstd_piece {
    ZSTD_CCtx *ctx;
};

struct zstd_piece *zstd_piece_create(void)
{
    struct zstd_piece *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    z->ctx = ZSTD_createCCtx();
    if (!z->ctx || ZSTD_isError(ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_checksumFlag, 1))) {
        zstd_piece_destroy(z);
        return NULL;
    }
    return z;
}

void zstd_piece_destroy(struct zstd_piece *z)
{
    if (!z)
        return;
    ZSTD_freeCCtx(z->ctx);
    free(z);
}

size_t zstd_piece_bound(size_t len)
{
    return ZSTD_compressBound(len);
}

static int zstd_status(size_t code)
{
    return ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation ? -ENOMEM : ST_FAILED;
}

int zstd_piece_compress(struct zstd_piece *z, int level, struct slice raw, uint8_t *out, size_t cap, size_t *out_len)
{
    size_t n = ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_compressionLevel, level);
    if (ZSTD_isError(n))
        return zstd_status(n);
    n = ZSTD_compress2(z->ctx, out, cap, raw.ptr, raw.len);
    if (ZSTD_isError(n))
        return zstd_status(n);
    *out_len = n;
    return 0;
}
