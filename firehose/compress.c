/* The table of formats, and what is the same for all of them. Each format's library is called from one file. */
#include "firehose/compress.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/compress_zstd.h"

struct compressor {
    enum compression kind;
    struct zstd_piece *zstd;
};

static const struct {
    const char *name, *extension;
} formats[COMPRESSION_COUNT] = {
    [COMPRESSION_NONE] = {"none", ""},
    [COMPRESSION_ZSTD] = {"zstd", ".zst"},
};

const char *compression_name(enum compression c)
{
    return formats[c].name;
}

const char *compression_extension(enum compression c)
{
    return formats[c].extension;
}

bool compression_find(struct slice name, enum compression *out)
{
    for (int i = 0; i < COMPRESSION_COUNT; i++) {
        if (slice_eq_str(name, formats[i].name)) {
            *out = (enum compression)i;
            return true;
        }
    }
    return false;
}

size_t compress_bound(enum compression c, size_t len)
{
    return c == COMPRESSION_ZSTD ? zstd_piece_bound(len) : len;
}

int compressor_create(enum compression c, struct compressor **out)
{
    CHECK(c == COMPRESSION_ZSTD);
    struct compressor *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->kind = c;
    made->zstd = zstd_piece_create();
    if (!made->zstd) {
        free(made);
        return -ENOMEM;
    }
    *out = made;
    return 0;
}

void compressor_destroy(struct compressor *c)
{
    if (!c)
        return;
    zstd_piece_destroy(c->zstd);
    free(c);
}

int compress_piece(struct compressor *c, int level, struct slice raw, bool first, uint8_t *out, size_t cap,
                   size_t *out_len)
{
    if (!raw.len && !first) {
        *out_len = 0;
        return 0;
    }
    return zstd_piece_compress(c->zstd, level, raw, out, cap, out_len);
}
