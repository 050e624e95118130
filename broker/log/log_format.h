/*
 * Bodies of the log's frames and names of its files. docs/FORMAT.md holds the same tables. Little-endian. Pure.
 *
 * Kinds of frames
 *   1 block     common/frame/block.h
 *   2 head      first thing in a journal file, twice (two copies): everything about the loop's shards
 *   3 round     first thing in every later write to a journal: what the round before held, and news about shards
 *   4 segment   first thing in a segment file
 *
 * Entry: what is known of a shard; 104 bytes
 *    0  8  shard uid
 *    8  4  flags: 1 direct (its segment must be scanned beyond `end`), 2 quarantined, 4 has a segment, 8 sealed
 *          (nothing behind `end` counts: a write there has failed)
 *   12  4  shard epoch
 *   16  8  first counter (retention has taken what is below)
 *   24  8  segment next: frames with counters below lie in segments, synced
 *   32  8  next: the shard has the records below, synced (journaled frames included)
 *   40  8  base of the active segment (its file's name)
 *   48  8  generation of that file
 *   56  8  end: behind the last synced frame in it
 *   64  8  size at which the segment is full
 *   72  4  CRC of the header of the last frame in it
 *   76  4  bytes of the producer table that follows (0)
 *   80  8  arrival of the newest block, ms
 *   88  8  bytes on disk
 *   96  8  segment files of this or an older generation that start behind `end` do not count
 *
 * Head
 *    0  8  round: number of the next round
 *    8  4  loop index
 *   12  4  loop count: an opening is complete once the head of every loop of its epoch is durable
 *   16  4  sync mode (enum log_sync)
 *   20  4  copy (0, 1)
 *   24  4  older journals that are still needed
 *   28  4  entries
 *   32     for each older journal: generation (8), end (8): nothing beyond it counts; bit 0 of the end (a multiple of 64
 *          otherwise): soft, the bytes before it were acknowledged without a sync (interval, never); then the entries
 *
 * Round
 *    0  8  round number
 *    8  8  oldest journal generation still needed
 *   16  4  flags: 1 clean stop
 *   20  4  proofs
 *   24  4  entries
 *   28  4  zero
 *   32     for each shard of the round before: uid (8), next counter behind that round (8); then the entries
 *
 * Segment
 *    0  8  base counter: of the first record here
 *    8  8  base of the segment before (UINT64_MAX: none)
 *   16  8  generation of the segment before
 *   24  8  end of the segment before: behind its last frame
 *   32  8  arrival of the newest block before this segment, ms
 *   40  8  size at which this segment is full
 *   48  4  bytes of the producer table that follows (0)
 *   52  4  CRC of the header of the last frame of the segment before
 *   56  4  flags: 1 replaces (an opening has written it in the place of a file that it could not trust)
 *   60  4  zero
 */
#ifndef SLUICE_LOG_FORMAT_H
#define SLUICE_LOG_FORMAT_H

#include "broker/log/log.h"
#include "common/frame/frame.h"

enum log_kind { LOG_KIND_BLOCK = 1, LOG_KIND_HEAD = 2, LOG_KIND_ROUND = 3, LOG_KIND_SEGMENT = 4 };

#define LOG_ENTRY_BYTES      104u
#define LOG_HEAD_BYTES       32u
#define LOG_ROUND_BYTES      32u
#define LOG_PROOF_BYTES      16u
#define LOG_SEGMENT_BYTES    64u
#define LOG_SEGMENT_REPLACES 1u

enum log_entry_flags { LOG_ENTRY_DIRECT = 1, LOG_ENTRY_QUARANTINED = 2, LOG_ENTRY_SEGMENT = 4, LOG_ENTRY_SEALED = 8 };
#define LOG_ROUND_CLEAN 1u
#define LOG_END_SOFT    1u /* of a head's older journal */

struct log_entry {
    uint64_t uid;
    uint32_t flags, shard_epoch;
    uint64_t first_counter, segment_next, next;
    uint64_t segment_base, segment_generation, segment_end, segment_size;
    uint32_t segment_crc;
    struct wall_ms last_arrival;
    uint64_t disk_bytes, not_before;
};

struct log_proof { /* also a head's older journal: generation and end */
    uint64_t uid, next;
};

struct log_head {
    uint64_t round;
    uint32_t loop_index, loop_count, sync, copy, journals, entries;
};

struct log_round_head {
    uint64_t round, oldest_generation;
    uint32_t flags, proofs, entries;
};

struct log_segment_head {
    uint64_t base, previous_base, previous_generation, previous_end;
    struct wall_ms last_arrival;
    uint64_t size;
    uint32_t previous_crc, flags;
};

void log_entry_write(uint8_t *to, const struct log_entry *e);
void log_entry_read(const uint8_t *from, struct log_entry *out);
void log_proof_write(uint8_t *to, struct log_proof p);
struct log_proof log_proof_read(const uint8_t *from);
void log_head_write(uint8_t *to, const struct log_head *h);
void log_round_head_write(uint8_t *to, const struct log_round_head *h);
void log_segment_head_write(uint8_t *to, const struct log_segment_head *h);
/* Each checks that the body is as long as its counts say: 0, or ST_CORRUPT. *out_* borrow from `body`. */
int log_head_read(struct slice body, struct log_head *out, const uint8_t **out_journals,
                  const uint8_t **out_entries) must_use;
int log_round_head_read(struct slice body, struct log_round_head *out, const uint8_t **out_proofs,
                        const uint8_t **out_entries) must_use;
int log_segment_head_read(struct slice body, struct log_segment_head *out) must_use;

/* Paths. All fit LOG_PATH_MAX if the directory has at most LOG_DIR_MAX bytes. */
#define LOG_DIR_MAX  900u
#define LOG_PATH_MAX 1024u
void log_path_journal_dir(char out[LOG_PATH_MAX], const char *dir, uint32_t loop_index);
void log_path_journal(char out[LOG_PATH_MAX], const char *dir, uint32_t loop_index, uint64_t sequence);
void log_path_shard_dir(char out[LOG_PATH_MAX], const char *dir, uint64_t uid);
void log_path_segment(char out[LOG_PATH_MAX], const char *dir, uint64_t uid, uint64_t base);
void log_path_index(char out[LOG_PATH_MAX], const char *dir, uint64_t uid, uint64_t base);
/* Appends ".new": the name of a segment file that will replace one. */
void log_path_replacing(char path[LOG_PATH_MAX]);
/* Parses "<16 hex>" + suffix (".seg", ".jnl", ".idx", ""). */
bool log_name_parse(const char *name, const char *suffix, uint64_t *out);

#endif
