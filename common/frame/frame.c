/*
 * Frames: header encoding, and the scanner that holds the torn/stale/corrupt rule (frame.h, storage.md "Opening, and
 * damage"). Owns no memory, does no I/O. Bytes come from disk and are never trusted. Any thread.
 *
 *            frame follows                      none follows            search reaches the end, or has its proof
 *   walking ───────────────▶ walking   walking ─────────────▶ searching ─────────────────────────▶ done
 *                                         ▲                                                         │
 *                                         └───────────────────── frame_scan_resume ─────────────────┘
 */
#include "common/frame/frame.h"

#include "common/frame/crc32c.h"
#include "common/frame/little_endian.h"

#define FRAME_MAGIC   "SFRM"
#define FRAME_VERSION 1
#define HEADER_CRC_AT 112u

uint32_t frame_header_write(uint8_t to[FRAME_HEADER_BYTES], const struct frame_header *h)
{
    memcpy(to, FRAME_MAGIC, 4);
    put_le16(to + 4, FRAME_VERSION);
    to[6] = h->kind;
    to[7] = 0;
    put_le32(to + 8, h->compat_flags);
    put_le32(to + 12, h->incompat_flags);
    memcpy(to + 16, h->log_uid, FRAME_UID_BYTES);
    put_le64(to + 32, h->generation);
    put_le64(to + 40, h->offset);
    put_le64(to + 48, h->shard_uid);
    put_le32(to + 56, h->shard_epoch);
    put_le32(to + 60, h->open_epoch);
    put_le32(to + 64, h->stored_bytes);
    put_le32(to + 68, h->key_id);
    memcpy(to + 72, h->nonce, FRAME_NONCE_BYTES);
    put_le64(to + 96, h->durable_to);
    put_le32(to + 104, h->previous_crc);
    put_le32(to + 108, h->body_crc);
    uint32_t crc = crc32c(0, to, HEADER_CRC_AT);
    put_le32(to + HEADER_CRC_AT, crc);
    memset(to + HEADER_CRC_AT + 4, 0, FRAME_HEADER_BYTES - HEADER_CRC_AT - 4);
    return crc;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

int frame_header_read(struct slice from, struct frame_header *out, uint32_t *out_crc)
{
    if (from.len < FRAME_HEADER_BYTES)
        return ST_TORN;
    const uint8_t *p = from.ptr;
    uint32_t crc = get_le32(p + HEADER_CRC_AT);
    if (memcmp(p, FRAME_MAGIC, 4) != 0 || crc != crc32c(0, p, HEADER_CRC_AT) ||
        !all_zero(p + HEADER_CRC_AT + 4, FRAME_HEADER_BYTES - HEADER_CRC_AT - 4))
        return ST_CORRUPT;
    if (get_le16(p + 4) != FRAME_VERSION || (get_le32(p + 12) & ~FRAME_INCOMPAT_KNOWN))
        return ST_VERSION;
    struct frame_header h = {
        .kind = p[6],
        .compat_flags = get_le32(p + 8),
        .incompat_flags = get_le32(p + 12),
        .generation = get_le64(p + 32),
        .offset = get_le64(p + 40),
        .shard_uid = get_le64(p + 48),
        .shard_epoch = get_le32(p + 56),
        .open_epoch = get_le32(p + 60),
        .stored_bytes = get_le32(p + 64),
        .key_id = get_le32(p + 68),
        .durable_to = get_le64(p + 96),
        .previous_crc = get_le32(p + 104),
        .body_crc = get_le32(p + 108),
    };
    memcpy(h.log_uid, p + 16, FRAME_UID_BYTES);
    memcpy(h.nonce, p + 72, FRAME_NONCE_BYTES);
    if (h.stored_bytes > FRAME_BODY_MAX)
        return ST_CORRUPT;
    *out = h;
    *out_crc = crc;
    return 0;
}

void frame_scan_init(struct frame_scan *scan, const struct frame_context *context, uint64_t position,
                     uint32_t previous_crc)
{
    *scan =
        (struct frame_scan){.context = *context, .position = position, .previous_crc = previous_crc, .end = position};
}

static bool is_current(const struct frame_scan *scan, const struct frame_header *h, uint64_t offset)
{
    return memcmp(h->log_uid, scan->context.log_uid, FRAME_UID_BYTES) == 0 &&
           h->generation == scan->context.generation && h->offset == offset && h->open_epoch >= scan->open_epoch;
}

/* A header that is ours by uid, generation and offset, but that this version cannot read. */
static bool is_unknown_version(const struct frame_scan *scan, const uint8_t *p)
{
    return memcmp(p + 16, scan->context.log_uid, FRAME_UID_BYTES) == 0 &&
           get_le64(p + 32) == scan->context.generation && get_le64(p + 40) == scan->position;
}

enum found { FOUND_FRAME, FOUND_NONE, FOUND_SHORT, FOUND_DAMAGED /* a current header, but a bad body */ };

/* Looks for the frame that follows at scan->position. */
static enum found walk_here(struct frame_scan *scan, struct slice window, bool last, struct frame_header *h,
                            struct slice *out_body, size_t *out_need)
{
    uint32_t crc = 0;
    int status = frame_header_read(window, h, &crc);
    if (status == ST_TORN && !last) {
        *out_need = FRAME_HEADER_BYTES;
        return FOUND_SHORT;
    }
    if (status == ST_VERSION && is_unknown_version(scan, window.ptr))
        scan->unknown_version = true;
    if (status < 0) {
        size_t look = window.len < FRAME_HEADER_BYTES ? window.len : FRAME_HEADER_BYTES;
        scan->damaged |= !all_zero(window.ptr, look);
        return FOUND_NONE;
    }
    if (!is_current(scan, h, scan->position) || (!scan->any_chain && h->previous_crc != scan->previous_crc))
        return FOUND_NONE;
    size_t need = (size_t)FRAME_HEADER_BYTES + h->stored_bytes;
    if (window.len < need && !last) {
        *out_need = need;
        return FOUND_SHORT;
    }
    if (window.len < need || crc32c(0, window.ptr + FRAME_HEADER_BYTES, h->stored_bytes) != h->body_crc) {
        scan->damaged = true;
        return FOUND_DAMAGED;
    }
    *out_body = slice_of(window.ptr + FRAME_HEADER_BYTES, h->stored_bytes);
    scan->previous_crc = crc;
    return FOUND_FRAME;
}

static void accept(struct frame_scan *scan, const struct frame_header *h)
{
    scan->position += frame_space(h->stored_bytes);
    scan->end = scan->position;
    scan->open_epoch = h->open_epoch;
    if (h->durable_to > scan->durable_to)
        scan->durable_to = h->durable_to;
    scan->resume_at = 0;
    scan->any_chain = scan->damaged = false;
}

/* The first current frame in the first `len` bytes of the window, or `len`. Needs FRAME_HEADER_BYTES behind each start.
 */
static size_t find_current(const struct frame_scan *scan, struct slice window, size_t from, size_t len,
                           struct frame_header *h)
{
    uint32_t crc;
    for (size_t at = from; at < len; at += FRAME_ALIGN)
        if (window.len - at >= FRAME_HEADER_BYTES && memcmp(window.ptr + at, FRAME_MAGIC, 4) == 0 &&
            frame_header_read(slice_from(window, at), h, &crc) == 0 && is_current(scan, h, scan->position + at))
            return at;
    return len;
}

/* Beyond the break: looks through the window for the place to resume and for proof that `end` was once synced. */
static enum frame_step search(struct frame_scan *scan, struct slice window, bool last, size_t *out_need)
{
    size_t len = window.len < FRAME_HEADER_BYTES
                     ? 0
                     : (window.len - FRAME_HEADER_BYTES) / FRAME_ALIGN * FRAME_ALIGN + FRAME_ALIGN;
    struct frame_header h;
    for (size_t at = 0; (at = find_current(scan, window, at, len, &h)) < len; at += FRAME_ALIGN) {
        if (!scan->resume_at)
            scan->resume_at = scan->position + at;
        if (h.durable_to > scan->durable_to)
            scan->durable_to = h.durable_to;
        if (scan->durable_to > scan->end)
            return FRAME_STEP_DONE;
    }
    scan->position += len;
    if (last)
        return FRAME_STEP_DONE;
    *out_need = FRAME_HEADER_BYTES;
    return FRAME_STEP_MORE;
}

/* No frame follows here, inside a page: goes on at the next one, remembering a current frame passed over. */
static bool skip_to_next_page(struct frame_scan *scan, struct slice *window, bool last, size_t *out_need)
{
    size_t skip = -scan->position & (FRAME_WRITE_ALIGN - 1);
    if (window->len < skip + FRAME_HEADER_BYTES && !last) {
        *out_need = skip + FRAME_HEADER_BYTES;
        return false;
    }
    struct frame_header h;
    size_t len = skip < window->len ? skip : window->len;
    size_t at = find_current(scan, *window, FRAME_ALIGN, len, &h);
    if (at < len)
        scan->resume_at = scan->position + at;
    *window = slice_from(*window, skip);
    scan->position += skip;
    return true;
}

enum frame_step frame_scan_step(struct frame_scan *scan, struct slice window, bool last,
                                struct frame_header *out_header, struct slice *out_body, uint64_t *out_offset,
                                size_t *out_need)
{
    while (!scan->broken) {
        struct frame_header h;
        enum found found = walk_here(scan, window, last, &h, out_body, out_need);
        if (found == FOUND_SHORT)
            return FRAME_STEP_MORE;
        if (found == FOUND_FRAME) {
            *out_header = h;
            *out_offset = scan->position;
            accept(scan, &h);
            return FRAME_STEP_FRAME;
        }
        if (scan->unknown_version)
            return FRAME_STEP_DONE;
        if (scan->position % FRAME_WRITE_ALIGN == 0) {
            size_t behind = found == FOUND_DAMAGED ? FRAME_ALIGN : 0; /* it is no place to resume */
            window = slice_from(window, behind);
            scan->position += behind;
            scan->broken = true;
        } else if (!skip_to_next_page(scan, &window, last, out_need))
            return FRAME_STEP_MORE;
    }
    return search(scan, window, last, out_need);
}

enum frame_verdict frame_scan_verdict(const struct frame_scan *scan)
{
    if (scan->unknown_version)
        return FRAME_END_VERSION;
    if (scan->durable_to > scan->end || scan->context.known_durable_to > scan->end)
        return FRAME_END_CORRUPT;
    return scan->damaged ? FRAME_END_TORN : FRAME_END_CLEAN;
}

void frame_scan_resume(struct frame_scan *scan)
{
    scan->position = scan->end = scan->resume_at;
    scan->resume_at = 0;
    scan->any_chain = true;
    scan->broken = scan->damaged = false;
}
