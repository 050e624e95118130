/*
 * The format stage: records out of blocks, concatenated, into the raw bytes of an object, with a delimiter. It runs on
 * a worker (or at once for a few records) and touches nothing but what its struct names.
 *
 * One run copies until the output is full, the blocks are used up or the object may take no further record. A record
 * larger than the room left is continued by the next run: `run->part_done` bytes of it are out already.
 */
#ifndef SLUICE_FIREHOSE_FORMAT_H
#define SLUICE_FIREHOSE_FORMAT_H

#include "common/frame/block.h"
#include "firehose/source.h"

enum format_delimiter {
    FORMAT_DELIMITER_NONE,    /* records as they are */
    FORMAT_DELIMITER_NEWLINE, /* a newline behind each record that does not end with one */
    FORMAT_DELIMITER_ALWAYS,  /* a newline behind each record: AWS's AppendDelimiterToRecord */
    FORMAT_DELIMITER_COUNT
};

/* "none", "newline", "newline-always". */
const char *format_delimiter_name(enum format_delimiter d);
bool format_delimiter_find(struct slice name, enum format_delimiter *out) must_use;

/* A place in a sequence of blocks. Zeroed: its beginning. */
struct format_cursor {
    uint32_t block;
    bool entered; /* `iter` and `counter` stand inside of blocks[block] */
    struct block_iter iter;
    struct block_record record; /* the next one, if have_record */
    bool have_record, begun;    /* begun: it is in the object, some of its bytes may be out already */
    uint64_t counter;           /* of the next record */
    size_t record_done;         /* bytes of `record` (and its delimiter) that are out already */
};

enum format_end {
    FORMAT_USED_UP, /* all blocks, or everything below `to`, are out */
    FORMAT_FULL,    /* no room left in the output */
    FORMAT_CUT,     /* the next record belongs to the next object */
    FORMAT_CORRUPT, /* a block's payload contradicts itself; it checked out when it was read, so this is damage */
};

struct format_run {
    /* in */
    const struct source_block *blocks;
    uint32_t block_count;
    uint64_t from, to; /* records with a counter in [from, to) */
    enum format_delimiter delimiter;
    uint64_t object_bytes, object_bytes_max; /* so far (before this run), and the most */
    bool stop;                               /* finish a record that is half out, begin no other */
    uint8_t *out;
    size_t out_cap;
    /* in and out */
    struct format_cursor cursor;
    size_t out_len;
    /* out: of this run */
    enum format_end end;
    uint64_t records, bytes;
    uint64_t first_counter, next_counter; /* records begun: [first, next); equal: none */
    struct wall_ms oldest;                /* arrival of the first of them */
};

/* Any thread. */
void format_records(struct format_run *run);

#endif
