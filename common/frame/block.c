/*
 * Blocks: encoding and checking (byte layout in block.h). Owns no memory. Bytes come from disk or from a producer and
 * are never trusted: every length is checked before it is used. Any thread.
 */
#include "common/frame/block.h"

#include "common/frame/crc32c.h"
#include "common/frame/little_endian.h"

#define BLOCK_MAGIC     "SBLK"
#define BLOCK_VERSION   1
#define BLOCK_RAW_MAX   (64u << 20)
#define OWN_CRC_END     44u
#define STAMPED_CRC_END 64u

size_t block_record_write(uint8_t *to, struct slice key, struct slice data)
{
    put_le32(to, (uint32_t)data.len);
    put_le16(to + 4, (uint16_t)key.len);
    put_le16(to + 6, 0);
    if (key.len)
        memcpy(to + BLOCK_RECORD_BYTES, key.ptr, key.len);
    if (data.len)
        memcpy(to + BLOCK_RECORD_BYTES + key.len, data.ptr, data.len);
    return BLOCK_RECORD_BYTES + key.len + data.len;
}

void block_header_write(uint8_t to[BLOCK_HEADER_BYTES], const struct block_header *h)
{
    memcpy(to, BLOCK_MAGIC, 4);
    to[4] = BLOCK_VERSION;
    to[5] = h->codec;
    put_le16(to + 6, h->flags);
    put_le32(to + 8, h->record_count);
    put_le32(to + 12, h->payload_bytes);
    put_le32(to + 16, h->raw_bytes);
    put_le32(to + 20, h->producer_epoch);
    put_le64(to + 24, h->producer_id);
    put_le64(to + 32, h->producer_sequence);
    put_le32(to + 40, h->payload_crc);
    put_le32(to + 44, crc32c(0, to, OWN_CRC_END));
    put_le64(to + 48, h->base_counter);
    put_le64(to + 56, (uint64_t)h->arrival.ms);
    put_le32(to + 64, crc32c(0, to + OWN_CRC_END, STAMPED_CRC_END - OWN_CRC_END));
    put_le32(to + 68, 0);
}

/* Lengths that no encoder of ours makes; checked before anything is allocated or decompressed by them. */
static bool lengths_possible(const struct block_header *h)
{
    if (h->record_count == 0 || h->payload_bytes == 0 || h->raw_bytes > BLOCK_RAW_MAX ||
        h->payload_bytes > BLOCK_RAW_MAX)
        return false;
    if ((uint64_t)h->record_count * BLOCK_RECORD_BYTES > h->raw_bytes)
        return false;
    return h->codec != BLOCK_CODEC_NONE || h->payload_bytes == h->raw_bytes;
}

int block_header_read(struct slice from, struct block_header *out)
{
    if (from.len < BLOCK_HEADER_BYTES)
        return ST_TORN;
    const uint8_t *p = from.ptr;
    if (memcmp(p, BLOCK_MAGIC, 4) != 0 || get_le32(p + 44) != crc32c(0, p, OWN_CRC_END) ||
        get_le32(p + 64) != crc32c(0, p + OWN_CRC_END, STAMPED_CRC_END - OWN_CRC_END) || get_le32(p + 68) != 0)
        return ST_CORRUPT;
    if (p[4] != BLOCK_VERSION || p[5] > BLOCK_CODEC_ZSTD)
        return ST_VERSION;
    struct block_header h = {
        .codec = p[5],
        .flags = get_le16(p + 6),
        .record_count = get_le32(p + 8),
        .payload_bytes = get_le32(p + 12),
        .raw_bytes = get_le32(p + 16),
        .producer_epoch = get_le32(p + 20),
        .producer_id = get_le64(p + 24),
        .producer_sequence = get_le64(p + 32),
        .payload_crc = get_le32(p + 40),
        .base_counter = get_le64(p + 48),
        .arrival = {(int64_t)get_le64(p + 56)},
    };
    if (!lengths_possible(&h) || h.base_counter + h.record_count < h.base_counter)
        return ST_CORRUPT;
    *out = h;
    return 0;
}

int block_read(struct slice from, struct block_header *out, struct slice *out_payload)
{
    struct block_header h;
    int status = block_header_read(from, &h);
    if (status < 0)
        return status;
    if (from.len - BLOCK_HEADER_BYTES < h.payload_bytes)
        return ST_TORN;
    struct slice payload = slice_of(from.ptr + BLOCK_HEADER_BYTES, h.payload_bytes);
    if (crc32c(0, payload.ptr, payload.len) != h.payload_crc)
        return ST_CORRUPT;
    *out = h;
    *out_payload = payload;
    return 0;
}

int block_iter_next(struct block_iter *it, struct block_record *out)
{
    if (it->left == 0)
        return it->rest.len == 0 ? 0 : ST_CORRUPT;
    if (it->rest.len < BLOCK_RECORD_BYTES)
        return ST_CORRUPT;
    size_t data_len = get_le32(it->rest.ptr), key_len = get_le16(it->rest.ptr + 4);
    if (it->rest.len - BLOCK_RECORD_BYTES < data_len + key_len)
        return ST_CORRUPT;
    out->key = slice_of(it->rest.ptr + BLOCK_RECORD_BYTES, key_len);
    out->data = slice_of(it->rest.ptr + BLOCK_RECORD_BYTES + key_len, data_len);
    it->rest = slice_from(it->rest, BLOCK_RECORD_BYTES + key_len + data_len);
    it->left--;
    return 1;
}
