/*
 * Offline verification of a data directory: walks its journals, segments and sidecars by the rules of an opening
 * (docs/FORMAT.md) and tells what is wrong where. Read-only: it takes no lock, changes nothing and repairs nothing; the
 * caller sees to it that no daemon writes there meanwhile.
 *
 * Checked: every frame of the journals that count and of every segment (header, place, chain, checksum, durable_to),
 * every block (both headers' checksums, the payload's, its records' lengths, counters without a gap, times that do not
 * fall), what heads, entries and proofs say must be there, how segments name one another, and sidecars against their
 * segments. Memory: windows of 1 MiB (more for a larger frame), and a few hundred bytes a shard.
 *
 * Only the catalog knows which shards should be there: one whose folder is gone gets a note (its stream may have been
 * deleted), one whose removal was interrupted looks damaged.
 */
#ifndef SLUICE_LOG_INSPECT_H
#define SLUICE_LOG_INSPECT_H

#include "common/base/clock.h"
#include "common/io/loop.h"

enum log_severity {
    LOG_NOTE,  /* harmless: an opening puts it right by itself */
    LOG_TORN,  /* a write that never completed; an opening cuts it off */
    LOG_DAMAGE /* what was synced is damaged or missing, or contradicts itself */
};

/* Texts live for the length of the call. */
struct log_finding {
    enum log_severity severity;
    const char *file; /* its path */
    uint64_t offset;
    const char *what;
};

struct log_shard_report {
    uint64_t uid;
    uint64_t first_counter; /* the oldest one that retention has left */
    uint64_t next_counter;  /* behind the newest record */
    uint64_t records;       /* that are there, those that have expired in a kept segment included */
    uint64_t bytes;         /* their frames */
    uint64_t segments;
    uint64_t journaled; /* of the records: in no segment yet */
    uint64_t damages;
};

struct log_inspect {
    void (*done)(struct log_inspect *i);
    void (*finding)(struct log_inspect *i, const struct log_finding *f);
    void (*shard)(struct log_inspect *i, const struct log_shard_report *s); /* at the end, by uid */
    const char *dir;                                                        /* until done */
    void *private;
    /* out: */
    int status;     /* 0: the whole was looked at, whatever was found; else why not, in `err` too */
    struct err err; /* "FILE: text" */
    uint64_t shards, segments, sidecars, journals, records, bytes;
    uint64_t notes, torn, damages;
};

/* `i` until done. -ENOMEM: nothing was begun, `done` will not come. In status besides: -ENOENT (no data directory of
 * sluice), -EACCES, -EIO, ST_VERSION, ... Thread: the loop's. */
int log_inspect_start(struct loop *loop, struct log_inspect *i) must_use;

#endif
