/*
 * A block from bytes of any kind, its records walked. Half of the inputs are payloads that get right checksums here, so
 * that the walk is reached without guessing them.
 */
#include "common/base/check.h"
#include "common/frame/block.h"
#include "common/frame/crc32c.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches all that an accepted block lends. */
static void walk(const struct block_header *h, struct slice payload)
{
    struct block_iter it = block_iter_start(h, payload);
    struct block_record r;
    uint64_t records = 0, bytes = 0;
    uint32_t sum = 0;
    int more;
    while ((more = block_iter_next(&it, &r)) == 1) {
        records++;
        bytes += block_record_bytes(r.key, r.data);
        sum ^= crc32c(0, r.key.ptr, r.key.len) ^ crc32c(0, r.data.ptr, r.data.len);
        CHECK(bytes <= payload.len);
    }
    if (more == 0)
        CHECK(records == h->record_count && bytes == payload.len);
    CHECK(sum != 1 || records); /* keeps the reads */
}

static void read_any(struct slice from)
{
    struct block_header h;
    struct slice payload;
    if (block_read(from, &h, &payload) < 0)
        return;
    CHECK(payload.len == h.payload_bytes && payload.ptr == from.ptr + BLOCK_HEADER_BYTES);
    uint8_t again[BLOCK_HEADER_BYTES];
    block_header_write(again, &h);
    CHECK(memcmp(again, from.ptr, BLOCK_HEADER_BYTES) == 0); /* one encoding for one block */
    if (h.codec == BLOCK_CODEC_NONE)
        walk(&h, payload);
}

/* record count (2 bytes), then the payload */
static void read_payload(struct slice from)
{
    if (from.len < 3)
        return;
    size_t len = from.len - 2;
    uint8_t *block = malloc(BLOCK_HEADER_BYTES + len);
    CHECK(block != NULL);
    memcpy(block + BLOCK_HEADER_BYTES, from.ptr + 2, len);
    struct block_header h = {.record_count = from.ptr[0] | (uint32_t)from.ptr[1] << 8,
                             .payload_bytes = (uint32_t)len,
                             .raw_bytes = (uint32_t)len,
                             .payload_crc = crc32c(0, block + BLOCK_HEADER_BYTES, len),
                             .base_counter = 7,
                             .arrival = {1795381384567}};
    block_header_write(block, &h);
    read_any(slice_of(block, BLOCK_HEADER_BYTES + len));
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    if (data[0] & 1)
        read_payload(rest);
    else
        read_any(rest);
    return 0;
}
