/*
 * The JSON reader: whatever it accepts, the writer writes so that it reads back the same (keys, strings and structure;
 * numbers as they stand), and json_check and json_skip agree with json_next.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/json_read.h"
#include "common/wire/json_write.h"
#include "common/wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void number_use(struct slice number)
{
    int64_t i = json_number_i64(number);
    double d = json_number_double(number);
    (void)json_number_seconds_ms(number);
    if (d > -9e15 && d < 9e15) /* cut off, not rounded; 0.99...9 may round up as a double */
        CHECK((double)i - d <= 1 && d - (double)i <= 1);
}

/* Copies the value token by token. Returns the reader's status. */
static int copy(struct slice in, struct arena *arena, struct bytebuf *out)
{
    struct json_reader r;
    struct json_writer w;
    json_reader_init(&r, in, arena);
    json_writer_init(&w, out);
    for (;;) {
        switch (json_next(&r)) {
        case JSON_ERROR:
            CHECK(r.status < 0 && r.what && json_reader_offset(&r) <= in.len);
            return r.status;
        case JSON_END:
            CHECK(w.depth == 0);
            return 0;
        case JSON_OBJECT:
            json_write_object(&w);
            break;
        case JSON_OBJECT_END:
            json_write_object_end(&w);
            break;
        case JSON_ARRAY:
            json_write_array(&w);
            break;
        case JSON_ARRAY_END:
            json_write_array_end(&w);
            break;
        case JSON_KEY:
            CHECK(utf8_valid(r.text));
            json_write_key(&w, r.text);
            break;
        case JSON_STRING:
            CHECK(r.text.ptr && utf8_valid(r.text));
            json_write_string(&w, r.text);
            break;
        case JSON_NUMBER:
            number_use(r.text);
            json_write_raw(&w, r.text);
            break;
        case JSON_TRUE:
        case JSON_FALSE:
            json_write_bool(&w, r.last == JSON_TRUE);
            break;
        case JSON_NULL:
            json_write_null(&w);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct bytebuf one, two;
    arena_init(&arena, 4096, 64 << 20);
    bytebuf_init(&one, 64 << 20);
    bytebuf_init(&two, 64 << 20);
    int status = copy(slice_of(data, size), &arena, &one);
    CHECK(json_check(slice_of(data, size)) == status);
    if (status == 0) {
        CHECK(copy(bytebuf_view(&one), &arena, &two) == 0);
        CHECK(slice_eq(bytebuf_view(&one), bytebuf_view(&two)));
    }
    bytebuf_deinit(&two);
    bytebuf_deinit(&one);
    arena_deinit(&arena);
    return 0;
}
