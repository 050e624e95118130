/*
 * A delivery's journal from bytes of any kind: the first byte chooses between a whole file and entries without their
 * frames (kind, length, body ...), so that the fuzzer does not have to guess checksums. Whatever is accepted must
 * survive a checkpoint of its own.
 */
#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/journal_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void survives(const struct journal_state *s)
{
    struct journal_state again;
    struct bytebuf a, b;
    if (!s->incarnation)
        return;
    bytebuf_init(&a, 64 << 20);
    bytebuf_init(&b, 64 << 20);
    journal_state_init(&again);
    journal_write_checkpoint(s, &a);
    CHECK(journal_state_apply(&again, JOURNAL_CHECKPOINT, bytebuf_view(&a)) == 0);
    journal_write_checkpoint(&again, &b);
    CHECK(slice_eq(bytebuf_view(&a), bytebuf_view(&b)));
    journal_state_deinit(&again);
    bytebuf_deinit(&a);
    bytebuf_deinit(&b);
}

static void entries(struct slice rest, struct journal_state *s)
{
    while (rest.len >= 3) {
        size_t len = rest.ptr[1] | (size_t)rest.ptr[2] << 8;
        struct slice body = slice_first(slice_from(rest, 3), len);
        int rc = journal_state_apply(s, rest.ptr[0] % 7, body);
        if (rc < 0)
            return; /* as at an opening: the state is given up */
        rest = slice_from(rest, 3 + body.len);
    }
    survives(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uid[FRAME_UID_BYTES] = "sluice data dir";
    struct journal_state s;
    struct err e = {0};
    if (size < 1)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    journal_state_init(&s);
    if (data[0] & 1)
        entries(rest, &s);
    else if (journal_file_read(rest, uid, 5, 42, &s, &e) == 1)
        survives(&s);
    journal_state_deinit(&s);
    return 0;
}
