/*
 * A scan over a file of any bytes. The input begins with how it is done, then comes the file:
 *
 *    0  1  flags: 1 repair the checksums of what looks like a frame; 2 every window is the least that is asked for (else
 *          they are of the size at 2)
 *    1  1  known_durable_to, in units of 64 bytes
 *    2  2  window size
 *    4     file
 *
 * uid and generation are those of the first header, so that real files are scanned as such. Checked: frames are yielded
 * in order, aligned and inside the file; the scan ends; the same file in other windows gives the same frames and verdict;
 * what is resumed behind damage ends too.
 */
#include "common/base/check.h"
#include "common/frame/crc32c.h"
#include "common/frame/frame.h"
#include "common/frame/little_endian.h"

#include <stdlib.h>

#define FILE_MAX    (256u << 10)
#define RESUMES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint64_t frames, end, durable_to;
    uint32_t sum;
    enum frame_verdict verdict;
};

/* A copy of exactly these bytes, so that an over-read is seen. */
static uint8_t *copy_of(struct slice s)
{
    uint8_t *copy = malloc(s.len ? s.len : 1);
    CHECK(copy != NULL);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

static void one_frame(const struct frame_scan *scan, const struct frame_header *h, struct slice body, uint64_t offset,
                      size_t file_bytes, struct outcome *out)
{
    CHECK(offset % FRAME_ALIGN == 0 && offset >= out->end && body.len == h->stored_bytes && h->offset == offset);
    CHECK(offset + FRAME_HEADER_BYTES + body.len <= file_bytes);
    out->end = offset + frame_space(h->stored_bytes);
    CHECK(scan->end == out->end && scan->position == out->end);
    out->frames++;
    out->sum = out->sum * 31 + crc32c(scan->previous_crc, body.ptr, body.len);
}

/* Scans to the verdict. `window`: bytes a window, or 0: the least that is asked for. */
static void scan_to_end(struct frame_scan *scan, struct slice file, size_t window, struct outcome *out)
{
    size_t need = FRAME_HEADER_BYTES;
    for (uint64_t last_position = 0;;) {
        struct slice rest = slice_from(file, (size_t)(scan->position < file.len ? scan->position : file.len));
        size_t want = window && window > need ? window : need;
        struct slice given = slice_first(rest, want);
        uint8_t *bytes = copy_of(given);
        struct frame_header h;
        struct slice body;
        uint64_t offset, before = scan->position;
        size_t asked = 0;
        enum frame_step step =
            frame_scan_step(scan, slice_of(bytes, given.len), given.len == rest.len, &h, &body, &offset, &asked);
        if (step == FRAME_STEP_FRAME)
            one_frame(scan, &h, body, offset, file.len, out);
        free(bytes);
        CHECK(scan->position >= last_position);
        last_position = scan->position;
        if (step == FRAME_STEP_DONE)
            break;
        if (step == FRAME_STEP_MORE)
            CHECK(given.len < rest.len && (scan->position > before || asked > given.len));
        need = step == FRAME_STEP_MORE ? asked : FRAME_HEADER_BYTES;
    }
    out->verdict = frame_scan_verdict(scan);
    out->end = scan->end;
    out->durable_to = scan->durable_to;
}

static void context_of(struct slice file, uint64_t known, struct frame_context *out)
{
    *out = (struct frame_context){.known_durable_to = known};
    if (file.len < FRAME_HEADER_BYTES)
        return;
    memcpy(out->log_uid, file.ptr + 16, FRAME_UID_BYTES);
    out->generation = get_le64(file.ptr + 32);
}

/* Makes the checksums of whatever bears the magic right, so that headers can be changed at will. */
static void repair(uint8_t *file, size_t len)
{
    uint32_t previous = 0;
    for (size_t at = 0; at + FRAME_HEADER_BYTES <= len; at += FRAME_ALIGN) {
        uint8_t *p = file + at;
        if (memcmp(p, "SFRM", 4) != 0)
            continue;
        uint32_t stored = get_le32(p + 64);
        if (stored <= len - at - FRAME_HEADER_BYTES)
            put_le32(p + 108, crc32c(0, p + FRAME_HEADER_BYTES, stored));
        if (p[7] == 0)
            put_le32(p + 104, previous);
        previous = crc32c(0, p, 112);
        put_le32(p + 112, previous);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size - 4 > FILE_MAX)
        return 0;
    struct slice file = slice_of(data + 4, size - 4);
    uint8_t *bytes = copy_of(file);
    file.ptr = bytes;
    if (data[0] & 1)
        repair(bytes, file.len);
    struct frame_context c;
    context_of(file, (uint64_t)data[1] * 64, &c);
    struct frame_scan scan;
    struct outcome whole = {0}, pieces = {0};
    frame_scan_init(&scan, &c, 0, 0);
    scan_to_end(&scan, file, file.len + 1, &whole);
    frame_scan_init(&scan, &c, 0, 0);
    scan_to_end(&scan, file, data[0] & 2 ? 0 : get_le16(data + 2), &pieces);
    CHECK(whole.frames == pieces.frames && whole.sum == pieces.sum && whole.end == pieces.end &&
          whole.verdict == pieces.verdict);
    for (int i = 0; i < RESUMES_MAX && scan.resume_at; i++) {
        struct outcome behind = {.end = scan.resume_at};
        CHECK(scan.resume_at >= scan.end);
        frame_scan_resume(&scan);
        scan_to_end(&scan, file, file.len + 1, &behind);
    }
    free(bytes);
    return 0;
}
