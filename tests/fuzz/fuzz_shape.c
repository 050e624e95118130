/*
 * Shape decoding, validation and encoding: the first byte chooses the shape, the rest is the body. What is valid is
 * written and read back, and must give the same text again; what is not valid has a message. The arena is small, so that
 * running out of it is met as well.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../unit/wire/wire_shapes.h"
#include "common/base/check.h"
#include "common/wire/json_read.h"
#include "common/wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct shape *const shapes[] = {&everything,     &put_records_in, &get_shard_iterator_in, &get_records_in,
                                             &remove_tags_in, &add_tags_in,    &nothing_shape};

/* What was written decodes and validates, and is written the same again. */
static void read_back(const struct shape *shape, struct slice json, struct arena *arena)
{
    struct shape_decoder d = {.arena = arena};
    struct bytebuf again;
    void *value;
    int status = shape_decode_json(&d, shape, json, &value);
    if (status == 0)
        status = shape_validate(&d, shape, value);
    if (status == -ENOMEM)
        return;
    CHECK(status == 0);
    bytebuf_init(&again, 64 << 20);
    shape_encode_json(shape, value, &again);
    CHECK(slice_eq(bytebuf_view(&again), json));
    bytebuf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct shape *shape = shapes[data[0] % ARRAY_COUNT(shapes)];
    struct arena arena;
    arena_init(&arena, 1024, data[0] & 0x80 ? 2048 : 8 << 20);
    struct shape_decoder d = {.arena = &arena};
    void *value = NULL;
    int status = shape_decode_json(&d, shape, slice_of(data + 1, size - 1), &value);
    if (status == 0) {
        status = shape_validate(&d, shape, value);
        CHECK(status == 0 || status == -ENOMEM || (status == ST_INVALID && d.message.len));
        CHECK(status != ST_INVALID || utf8_valid(d.message));
    } else {
        CHECK(value == NULL &&
              (status == ST_SYNTAX || status == ST_INVALID || status == ST_LIMIT || status == -ENOMEM));
        CHECK(status == -ENOMEM || (json_check(slice_of(data + 1, size - 1)) == 0) == (status == ST_INVALID) ||
              status == ST_SYNTAX);
    }
    if (status == 0) {
        struct bytebuf out;
        bytebuf_init(&out, 64 << 20);
        shape_encode_json(shape, value, &out);
        read_back(shape, bytebuf_view(&out), &arena);
        bytebuf_deinit(&out);
    }
    arena_deinit(&arena);
    return 0;
}
