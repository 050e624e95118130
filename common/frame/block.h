/*
 * The block: records of one shard, as they come from a producer, lie on disk, sit in the tail cache, are read back and
 * feed the firehose. Record i of a block has counter base + i. Little-endian. Source: storage.md, "Two headers, one
 * payload".
 *
 *  offset size  field
 *       0    4  magic "SBLK"
 *       4    1  version (1)
 *       5    1  codec: 0 none, 1 zstd
 *       6    2  flags (0)
 *       8    4  record count, 1..
 *      12    4  payload length as stored here
 *      16    4  raw length: of the payload once decompressed (= payload length for codec none)
 *      20    4  producer epoch   \
 *      24    8  producer id       } 0, 0, 0: no idempotent producer
 *      32    8  producer sequence/
 *      40    4  CRC32C of the payload as stored; the producer's, never recomputed
 *      44    4  CRC32C of bytes 0..43
 *      48    8  base counter               \  the daemon stamps these, so they have
 *      56    8  arrival time, ms since 1970 }  a CRC of their own
 *      64    4  CRC32C of bytes 44..63     /
 *      68    4  zero
 *      72       payload
 *
 * Payload (codec none), one after the other without padding:
 *       0    4  data length
 *       4    2  partition key length in bytes
 *       6    2  flags (0)
 *       8       partition key, then data
 */
#ifndef SLUICE_FRAME_BLOCK_H
#define SLUICE_FRAME_BLOCK_H

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define BLOCK_HEADER_BYTES      72u
#define BLOCK_RECORD_BYTES      8u         /* before each record's key */
#define BLOCK_PAYLOAD_BYTES_MAX (1u << 20) /* unless a single record is larger */

enum block_codec { BLOCK_CODEC_NONE = 0, BLOCK_CODEC_ZSTD = 1 };

struct block_header {
    uint8_t codec;
    uint16_t flags;
    uint32_t record_count, payload_bytes, raw_bytes;
    uint32_t producer_epoch;
    uint64_t producer_id, producer_sequence;
    uint32_t payload_crc;
    uint64_t base_counter;
    struct wall_ms arrival;
};

struct block_record {
    struct slice key, data;
};

/* Bytes a record takes in a payload. */
static inline size_t block_record_bytes(struct slice key, struct slice data)
{
    return BLOCK_RECORD_BYTES + key.len + data.len;
}

/* Writes one record at `to` (block_record_bytes of room); returns the bytes written. key.len <= 65535. */
size_t block_record_write(uint8_t *to, struct slice key, struct slice data);
/* Writes the 72 header bytes from `h` (payload_crc given), both CRCs computed. */
void block_header_write(uint8_t to[BLOCK_HEADER_BYTES], const struct block_header *h);
/* Reads and checks a header: ST_TORN (fewer than 72 bytes), ST_CORRUPT (magic, CRC, impossible lengths), ST_VERSION. */
int block_header_read(struct slice from, struct block_header *out) must_use;
/* Reads and checks header and payload CRC; *out_payload borrows from `from`. The same errors. */
int block_read(struct slice from, struct block_header *out, struct slice *out_payload) must_use;

/* Walks a raw payload. Slices borrow from it. */
struct block_iter {
    struct slice rest;
    uint32_t left;
};
static inline struct block_iter block_iter_start(const struct block_header *h, struct slice payload)
{
    return (struct block_iter){payload, h->record_count};
}
/* 1 and a record, 0 at the end, ST_CORRUPT if a length runs over the payload or bytes are left over. */
int block_iter_next(struct block_iter *it, struct block_record *out) must_use;

#endif
