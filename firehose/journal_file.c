/* See journal_file.h. The rules about damage are common/frame's; here only what a file must begin with. */
#include "firehose/journal_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/frame/crc32c.h"

void journal_frame_add(struct journal_tail *tail, uint8_t kind, struct slice body, struct bytebuf *out)
{
    struct frame_header h = {
        .kind = kind,
        .generation = tail->generation,
        .offset = tail->end + out->len,
        .shard_uid = tail->delivery_uid,
        .shard_epoch = 1,
        .open_epoch = tail->open_epoch,
        .stored_bytes = (uint32_t)body.len,
        .durable_to = tail->durable,
        .previous_crc = tail->previous_crc,
        .body_crc = crc32c(0, body.ptr, body.len),
    };
    memcpy(h.log_uid, tail->log_uid, FRAME_UID_BYTES);
    uint64_t space = frame_space(h.stored_bytes);
    uint8_t *to = bytebuf_reserve(out, space);
    if (!to)
        return;
    tail->previous_crc = frame_header_write(to, &h);
    if (body.len)
        memcpy(to + FRAME_HEADER_BYTES, body.ptr, body.len);
    memset(to + FRAME_HEADER_BYTES + body.len, 0, space - FRAME_HEADER_BYTES - body.len);
    bytebuf_advance(out, space);
    tail->frames_end = tail->end + out->len;
}

void journal_write_pad(struct bytebuf *out)
{
    size_t pad = (FRAME_WRITE_ALIGN - out->len % FRAME_WRITE_ALIGN) % FRAME_WRITE_ALIGN;
    uint8_t *to = bytebuf_reserve(out, pad);
    if (!to)
        return;
    memset(to, 0, pad);
    bytebuf_advance(out, pad);
}

/* A file that begins with somebody else's frame is not ours to start over. */
static int check_owner(struct slice file, const uint8_t log_uid[FRAME_UID_BYTES], struct err *e)
{
    struct frame_header h;
    uint32_t crc;
    if (frame_header_read(file, &h, &crc) == 0 && memcmp(h.log_uid, log_uid, FRAME_UID_BYTES) != 0)
        return err_set(e, ST_CORRUPT, "it belongs to another data directory");
    return 0;
}

static int apply_frame(struct journal_state *state, const struct frame_header *h, struct slice body, uint64_t offset,
                       uint64_t delivery_uid, struct err *e)
{
    if (h->kind == FRAME_KIND_MARK)
        return 0;
    bool checkpoint = h->kind == JOURNAL_CHECKPOINT;
    if (h->shard_uid != delivery_uid || checkpoint != (offset == 0))
        return err_set(e, ST_CORRUPT, "an entry at byte %" PRIu64 " that does not belong there", offset);
    int rc = journal_state_apply(state, h->kind, body);
    if (rc < 0)
        return err_set_status(e, rc, "the entry at byte %" PRIu64, offset);
    return 0;
}

int journal_file_read(struct slice file, const uint8_t log_uid[FRAME_UID_BYTES], uint64_t generation,
                      uint64_t delivery_uid, struct journal_state *state, struct err *e)
{
    struct frame_context context = {.generation = generation};
    struct frame_scan scan;
    struct frame_header h;
    struct slice body;
    uint64_t offset;
    size_t need;
    enum frame_step step;
    int rc = check_owner(file, log_uid, e);
    if (rc < 0)
        return rc;
    memcpy(context.log_uid, log_uid, FRAME_UID_BYTES);
    state->delivery_uid = delivery_uid;
    frame_scan_init(&scan, &context, 0, 0);
    bool any = false;
    do {
        step = frame_scan_step(&scan, slice_from(file, (size_t)scan.position), true, &h, &body, &offset, &need);
        if (step == FRAME_STEP_FRAME) {
            rc = apply_frame(state, &h, body, offset, delivery_uid, e);
            if (rc < 0)
                return rc;
            any = true;
        }
    } while (step == FRAME_STEP_FRAME);
    switch (frame_scan_verdict(&scan)) {
    case FRAME_END_CORRUPT:
        return err_set(e, ST_CORRUPT, "damaged at byte %" PRIu64, scan.end);
    case FRAME_END_VERSION:
        return err_set(e, ST_VERSION, "at byte %" PRIu64 ": written by a newer sluice", scan.end);
    default:
        return any;
    }
}

void journal_file_name(uint64_t delivery_uid, uint64_t generation, char out[JOURNAL_NAME_CHARS + 1])
{
    snprintf(out, JOURNAL_NAME_CHARS + 1, "delivery-%016" PRIx64 "-%016" PRIx64 ".journal", delivery_uid, generation);
}

static bool parse_hex16(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        char c = s[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

bool journal_file_name_parse(const char *name, uint64_t *out_delivery_uid, uint64_t *out_generation)
{
    uint64_t uid, generation;
    if (strlen(name) != JOURNAL_NAME_CHARS || strncmp(name, "delivery-", 9) != 0 || !parse_hex16(name + 9, &uid) ||
        name[25] != '-' || !parse_hex16(name + 26, &generation) || strcmp(name + 42, ".journal") != 0)
        return false;
    *out_delivery_uid = uid;
    *out_generation = generation;
    return true;
}
