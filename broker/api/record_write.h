/*
 * The Records of a GetRecords answer, written straight from blocks: base64 goes from the block's payload into the
 * output, sequence numbers run on from the block's first. Pure: no I/O, no clock.
 */
#ifndef SLUICE_API_RECORD_WRITE_H
#define SLUICE_API_RECORD_WRITE_H

#include "broker/shard/seqnum.h"
#include "common/base/bytebuf.h"
#include "common/frame/block.h"

struct record_writer {
    struct bytebuf *out;
    struct seqnum_shard shard;
    uint64_t next_counter; /* of the next record to be written; those before it are passed over */
    uint32_t records_left; /* limits: records, and bytes of data and keys (the first record is always written) */
    uint64_t bytes_left;
    /* what was written: */
    uint32_t records;
    uint64_t bytes;
    struct wall_ms last_arrival; /* of the last record, if there is one */
    bool full;                   /* a limit is reached */
};

/* Writes what fits of a block. ST_CORRUPT: its payload is not what its header says; nothing of the record that could
 * not be read was written. Ask bytebuf_failed too. */
int record_write_block(struct record_writer *w, const struct block_header *h, struct slice payload) must_use;

#endif
