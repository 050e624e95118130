/*
 * The frame: what wraps each block (or checkpoint, or journal entry) on disk, so that after a crash the end of the good
 * data is found by rule. Used by the shards' segments, the commit journals and the firehose's journal. Pure: no I/O.
 * Little-endian. Source: storage.md, "Two headers, one payload" and "Opening, and damage".
 *
 *  offset size  field
 *       0    4  magic "SFRM"
 *       4    2  version (1)
 *       6    1  kind (the file's owner gives it a meaning; 0 = mark: no body, only carries durable_to)
 *       7    1  zero
 *       8    4  compatible flags: a reader may ignore unknown ones
 *      12    4  incompatible flags: a reader must refuse unknown ones. 1 = body sealed (key id, nonce)
 *      16   16  log uid: random, of this data directory
 *      32    8  file generation: new at each creation or recycling of the file
 *      40    8  own offset in the file
 *      48    8  shard uid (0: none)
 *      56    4  shard epoch (fencing; 1 on a single node)
 *      60    4  open epoch: new at each start
 *      64    4  stored length: bytes of the body
 *      68    4  key id (0: not sealed)
 *      72   24  nonce (zero: not sealed)
 *      96    8  durable_to: the synced end of this file (behind a frame) when this was built
 *     104    4  CRC32C of the previous frame's header in this file (of its bytes 0..111); the first: 0
 *     108    4  CRC32C of the body
 *     112    4  CRC32C of bytes 0..111
 *     116   12  zero
 *     128       body, then zeros to the next multiple of 64
 *
 * Frames lie 64-byte aligned; each write starts at a multiple of 4096 and pads its end with zeros, so a scan that meets
 * zeros goes on at the next multiple of 4096.
 */
#ifndef SLUICE_FRAME_FRAME_H
#define SLUICE_FRAME_FRAME_H

#include "common/base/slice.h"
#include "common/base/status.h"

#define FRAME_HEADER_BYTES 128u
#define FRAME_ALIGN        64u
#define FRAME_WRITE_ALIGN  4096u
#define FRAME_UID_BYTES    16u
#define FRAME_NONCE_BYTES  24u
#define FRAME_BODY_MAX     (64u << 20)

#define FRAME_KIND_MARK 0u

#define FRAME_INCOMPAT_SEALED 1u
#define FRAME_INCOMPAT_KNOWN  FRAME_INCOMPAT_SEALED

struct frame_header {
    uint8_t kind;
    uint32_t compat_flags, incompat_flags;
    uint8_t log_uid[FRAME_UID_BYTES];
    uint64_t generation, offset;
    uint64_t shard_uid;
    uint32_t shard_epoch, open_epoch;
    uint32_t stored_bytes;
    uint32_t key_id;
    uint8_t nonce[FRAME_NONCE_BYTES];
    uint64_t durable_to;
    uint32_t previous_crc, body_crc;
};

static inline uint64_t frame_space(uint32_t stored_bytes)
{
    return ((uint64_t)FRAME_HEADER_BYTES + stored_bytes + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
}

/* Writes the 128 header bytes; returns the header's CRC, which the next frame takes as previous_crc. */
uint32_t frame_header_write(uint8_t to[FRAME_HEADER_BYTES], const struct frame_header *h);
/* Reads a header and checks magic, version, flags and header CRC, nothing else. ST_TORN (too few bytes), ST_CORRUPT,
 * ST_VERSION. *out_crc is the header's CRC. */
int frame_header_read(struct slice from, struct frame_header *out, uint32_t *out_crc) must_use;

/* What is known of a file before it is scanned. */
struct frame_context {
    uint8_t log_uid[FRAME_UID_BYTES];
    uint64_t generation;
    uint64_t known_durable_to; /* from a checkpoint elsewhere; 0: none */
};

/*
 * Walks a file's frames by window: the caller feeds bytes, the scanner yields frames and at last a verdict. The scanner
 * itself decides torn/stale/corrupt.
 *
 * A frame is *current* if its header is intact, uid, generation and offset are those of this place in this file, and
 * its open epoch is not older than that of the frame before. It *follows* if besides its previous_crc is the CRC of the
 * header before it. The scan goes from frame to frame as long as a current one follows: at `position`, or, where no
 * frame lies there, at the next multiple of 4096 (padding, or the rest of a torn write that an opening has cut off: the
 * chain tells that nothing is missing between). Where none follows the chain is broken at `end`, behind the last good
 * frame. Then it looks on, at every multiple of 64, for current frames: the first is where frame_scan_resume would go
 * on; one with durable_to > end proves that bytes at `end` were once synced.
 */
enum frame_verdict {
    FRAME_END_CLEAN,   /* zeros or stale bytes follow the last frame */
    FRAME_END_TORN,    /* damage at `end`, nothing says it was ever synced: cut it off */
    FRAME_END_CORRUPT, /* bytes at `end` are damaged or missing, and were synced once: quarantine */
    FRAME_END_VERSION  /* a current frame of an unknown version or with unknown incompatible flags lies at `end` */
};

struct frame_scan {
    struct frame_context context;
    uint64_t position; /* where the window starts that is wanted next */
    uint32_t previous_crc;
    uint32_t open_epoch; /* of the last frame: an older one after it is stale. The caller may set it before the start */
    bool any_chain;      /* the next frame's previous_crc is not known and not checked */
    uint64_t end;        /* behind the last good frame */
    uint64_t durable_to; /* the greatest durable_to seen */
    uint64_t resume_at;  /* after the break: the first current frame beyond `end`; 0: none */
    bool broken;         /* the chain has ended; looking for evidence beyond `end` */
    bool damaged; /* what ended it looks like a write that never completed, or damage; not zeros or stale bytes */
    bool unknown_version;
};

enum frame_step {
    FRAME_STEP_FRAME, /* *out_header, *out_body (borrowed from the window) are a good frame, which lies at *out_offset
                       */
    FRAME_STEP_MORE,  /* feed a window that starts at scan->position: of at least *out_need bytes, or with all bytes up
                       * to the end of the file and `last` set */
    FRAME_STEP_DONE   /* ask frame_scan_verdict */
};

/* Starts a scan at `position` (a multiple of 64), where a frame with this previous_crc is expected. */
void frame_scan_init(struct frame_scan *scan, const struct frame_context *context, uint64_t position,
                     uint32_t previous_crc);
/* `window` holds the file's bytes from scan->position on; `last`: the file ends with it. After FRAME, scan->position is
 * behind the frame (perhaps behind the window). The CRC of the yielded frame's header is scan->previous_crc. */
enum frame_step frame_scan_step(struct frame_scan *scan, struct slice window, bool last,
                                struct frame_header *out_header, struct slice *out_body, uint64_t *out_offset,
                                size_t *out_need);
/* After DONE. */
enum frame_verdict frame_scan_verdict(const struct frame_scan *scan);
/* After DONE with resume_at set: goes on behind the damage, at resume_at; what lay between is lost. */
void frame_scan_resume(struct frame_scan *scan);

#endif
