/* The bodies of the REST ingestion: lines are found as a plain loop finds them, a stamped record is a JSON object that
 * begins with the stamp, and a blank or broken one is refused. */
#include <stdlib.h>
#include <string.h>

#include "broker/api/rest_body.h"
#include "common/wire/json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Every record lies in the body, in order, holds no line feed, and what lies between records is blank. */
static void check_lines(struct slice body, struct arena *arena)
{
    struct rest_records r;
    int status = rest_split_lines(body, 100, arena, &r);
    if (status < 0) {
        must(status == ST_LIMIT || status == -ENOMEM);
        return;
    }
    const uint8_t *at = body.ptr;
    for (uint32_t i = 0; i <= r.count; i++) {
        const uint8_t *begin = i < r.count ? r.data[i].ptr : body.ptr + body.len;
        for (; at < begin; at++)
            must(*at == '\n' || *at == '\r' || *at == ' ' || *at == '\t');
        if (i == r.count)
            break;
        must(r.data[i].len > 0 && slice_find(r.data[i], '\n') == r.data[i].len);
        at += r.data[i].len;
    }
}

static void check_stamp(struct slice body, struct arena *arena)
{
    static const char stamp[] = "{\"at\":\"1970-01-01T00:00:00.001Z\"";
    struct slice out = SLICE_NULL;
    const char *why = NULL;
    int status = rest_stamp(body, "at", (struct wall_ms){1}, arena, &out, &why);
    if (status == -ENOMEM)
        return;
    if (status < 0) {
        must(status == ST_SYNTAX && why && !out.ptr);
        return;
    }
    must(json_check(body) == 0 && json_check(out) == 0);
    must(out.len >= sizeof(stamp) && memcmp(out.ptr, stamp, sizeof(stamp) - 1) == 0);
    struct slice again; /* stamping twice is stamping once */
    must(rest_stamp(out, "at", (struct wall_ms){1}, arena, &again, &why) == 0 && slice_eq(out, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, 4096, 1 << 20);
    uint8_t *copy = malloc(size ? size : 1); /* ASan sees its end */
    must(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    check_lines(slice_of(copy, size), &arena);
    check_stamp(slice_of(copy, size), &arena);
    free(copy);
    arena_deinit(&arena);
    return 0;
}
