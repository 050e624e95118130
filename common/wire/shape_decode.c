/*
 * JSON into C structs, by table. One pass with the pull reader; values land where they belong, blobs are decoded from
 * base64 on the way, lists grow by doubling in the arena. The texts of wrong types are Coral's (AWS's framework), as
 * kinesalite recorded them from the service. Recursion follows the input's nesting, which the reader limits.
 *
 * Happy path: about ten reader tokens a record. Failure: the first one ends it; nothing needs undoing, for all memory
 * is the arena's.
 */
#include <limits.h>

#include "common/wire/base64.h"
#include "common/wire/json_read.h"
#include "common/wire/shape.h"
#include "common/wire/shape_value.h"
#include "common/wire/utf8.h"

struct decoding {
    struct shape_decoder *d;
    struct json_reader r;
};

static const uint8_t nothing[16]; /* what empty strings, lists and maps point to */

static int value_decode(struct decoding *dc, const struct shape *shape, enum json_token token, void *at);
static int members_decode(struct decoding *dc, const struct shape *shape, void *base);

/* ---- type errors ------------------------------------------------------------------------------------------------ */

static int type_error(struct decoding *dc, const char *text)
{
    dc->d->message = slice_str(text);
    return ST_INVALID;
}

/* "<java class> can not be converted to <what>" */
static int conversion_error(struct decoding *dc, enum json_token token, const char *what)
{
    const char *class = token == JSON_STRING   ? "java.lang.String"
                        : token == JSON_NUMBER ? "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
                                               : "java.lang.Boolean";
    dc->d->message = arena_printf(dc->d->arena, "class %s can not be converted to %s", class, what);
    return ST_INVALID;
}

/* A value that begins with `token` stands where a `shape` is wanted. */
static int mismatch(struct decoding *dc, const struct shape *shape, enum json_token token)
{
    if (token == JSON_ERROR)
        return dc->r.status;
    if (token == JSON_ARRAY)
        return type_error(dc, "Start of list found where not expected");
    if (token == JSON_OBJECT)
        return type_error(dc, "Start of structure or map found where not expected.");
    switch (shape->type) {
    case SHAPE_STRING:
    case SHAPE_ENUM:
        return conversion_error(dc, token, "an String");
    case SHAPE_BLOB:
        return conversion_error(dc, token, "a Blob");
    case SHAPE_INTEGER:
        return conversion_error(dc, token, "an Integer");
    case SHAPE_LONG:
        return conversion_error(dc, token, "an Long");
    case SHAPE_DOUBLE:
        return conversion_error(dc, token, "an Double");
    case SHAPE_BOOLEAN:
        return conversion_error(dc, token, "an Boolean");
    case SHAPE_TIMESTAMP:
        return conversion_error(dc, token, "milliseconds since epoch");
    case SHAPE_LIST:
        return type_error(dc, "Expected list or null");
    case SHAPE_MAP:
        return type_error(dc, "Expected map or null");
    case SHAPE_STRUCTURE:
        break;
    }
    return type_error(dc, "Expected null");
}

/* ---- scalars ---------------------------------------------------------------------------------------------------- */

/* What AWS says of `text`, which is no base64. Characters are counted and shown whole. */
static int blob_error(struct decoding *dc, struct slice text, enum base64_fault fault, size_t fault_at)
{
    struct arena *arena = dc->d->arena;
    size_t characters = utf8_length(text);
    if (characters % 4) {
        dc->d->message = arena_printf(arena,
                                      "'%.*s' can not be converted to a Blob: Base64 encoded length is expected a "
                                      "multiple of 4 bytes but found: %zu",
                                      SLICE_FMT(text), characters);
    } else if (fault == BASE64_LAST) {
        dc->d->message = arena_printf(
            arena, "'%.*s' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
            SLICE_FMT(text));
    } else {
        size_t at = 0; /* of the first character that is no base64 at all; else the misplaced padding */
        while (at < text.len && text.ptr[at] < 0x80)
            at++;
        if (at > fault_at)
            at = fault_at;
        struct slice bad = slice_of(text.ptr + at, utf8_sequence(text.ptr + at, text.ptr + text.len));
        dc->d->message = arena_printf(arena, "'%.*s' can not be converted to a Blob: Invalid Base64 character: '%.*s'",
                                      SLICE_FMT(text), SLICE_FMT(bad));
    }
    return ST_INVALID;
}

static int blob_decode(struct decoding *dc, struct slice *out)
{
    struct slice text = dc->r.text;
    size_t len = 0, fault_at = 0;
    uint8_t *to = arena_alloc(dc->d->arena, base64_decoded_max(text.len));
    if (!to)
        return -ENOMEM;
    enum base64_fault fault = base64_decode(text, to, &len, &fault_at);
    if (fault != BASE64_OK)
        return blob_error(dc, text, fault, fault_at);
    *out = slice_of(to, len);
    return 0;
}

static int enum_decode(struct decoding *dc, const struct shape *shape, int *out)
{
    struct shape_decoder *d = dc->d;
    *out = shape_enum_value(shape, dc->r.text);
    if (*out)
        return 0;
    if (d->note_count < SHAPE_NOTES_MAX) {
        struct shape_note *note = arena_alloc(d->arena, sizeof *note);
        if (!note)
            return -ENOMEM;
        *note = (struct shape_note){.next = d->notes, .text = dc->r.text, .value = -(int)++d->note_count};
        d->notes = note;
    }
    *out = -(int)d->note_count;
    return 0;
}

/* Strings that mean a boolean are taken, as AWS does; others are shown in capitals, as AWS does. */
static int boolean_decode(struct decoding *dc, enum json_token token, struct opt_bool *out)
{
    static const char *const words[][2] = {{"true", "false"}, {"1", "0"}, {"yes", "no"}};
    if (token == JSON_TRUE || token == JSON_FALSE) {
        *out = OPT_BOOL(token == JSON_TRUE);
        return 0;
    }
    if (token != JSON_STRING)
        return mismatch(dc, &shape_boolean, token);
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        for (int no = 0; no < 2; no++)
            if (slice_eq_nocase(dc->r.text, slice_str(words[i][no]))) {
                *out = OPT_BOOL(!no);
                return 0;
            }
    uint8_t *capitals = arena_alloc(dc->d->arena, dc->r.text.len);
    if (!capitals)
        return -ENOMEM;
    for (size_t i = 0; i < dc->r.text.len; i++) {
        uint8_t c = dc->r.text.ptr[i];
        capitals[i] = c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
    }
    dc->d->message = arena_printf(dc->d->arena, "'%.*s' can not be converted to an Boolean", (int)dc->r.text.len,
                                  (const char *)capitals);
    return ST_INVALID;
}

static int number_decode(struct decoding *dc, const struct shape *shape, void *at)
{
    int64_t v;
    switch (shape->type) {
    case SHAPE_INTEGER:
        v = json_number_i64(dc->r.text);
        *(struct opt_int *)at = OPT_INT((int32_t)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v));
        return 0;
    case SHAPE_LONG:
        *(struct opt_long *)at = OPT_LONG(json_number_i64(dc->r.text));
        return 0;
    case SHAPE_DOUBLE:
        *(struct opt_double *)at = OPT_DOUBLE(json_number_double(dc->r.text));
        return 0;
    default:
        *(struct opt_time *)at = OPT_TIME(((struct wall_ms){json_number_seconds_ms(dc->r.text)}));
        return 0;
    }
}

/* ---- lists and maps --------------------------------------------------------------------------------------------- */

/* A growing array of `each` bytes an item. */
struct items {
    char *ptr;
    size_t each;
    uint32_t count, cap;
};

/* Room for one more, zeroed; NULL without memory. */
static void *items_add(struct decoding *dc, struct items *items)
{
    if (items->count == items->cap) {
        uint32_t cap = items->cap ? items->cap * 2 : 8;
        char *ptr = items->cap > UINT32_MAX / 2 ? NULL : arena_alloc(dc->d->arena, cap * items->each);
        if (!ptr)
            return NULL;
        if (items->count)
            memcpy(ptr, items->ptr, items->count * items->each);
        items->ptr = ptr;
        items->cap = cap;
    }
    void *at = items->ptr + items->count++ * items->each;
    memset(at, 0, items->each);
    return at;
}

static int list_decode(struct decoding *dc, const struct shape *shape, struct shape_list *out)
{
    const struct shape *element = shape->element;
    struct items items = {.each = shape_element_size(element)};
    enum json_token token;
    while ((token = json_next(&dc->r)) != JSON_ARRAY_END) {
        if (token == JSON_ERROR)
            return dc->r.status;
        void *at = items_add(dc, &items);
        if (!at)
            return -ENOMEM;
        int status = 0;
        if (element->type == SHAPE_STRUCTURE && token == JSON_OBJECT)
            status = members_decode(dc, element, at); /* inline, not behind a pointer */
        else if (token != JSON_NULL)
            status = value_decode(dc, element, token, at);
        if (status < 0)
            return status;
    }
    *out = (struct shape_list){.items = items.ptr ? items.ptr : (void *)nothing, .count = items.count};
    return 0;
}

/* Duplicates are looked for among so many keys only; no map of AWS's takes more than 200. */
#define MAP_UNIQUE_MAX 256

static struct shape_pair *pair_find(struct items *items, struct slice key)
{
    struct shape_pair *pairs = (struct shape_pair *)items->ptr;
    for (uint32_t i = 0; i < items->count && i < MAP_UNIQUE_MAX; i++)
        if (slice_eq(pairs[i].key, key))
            return &pairs[i];
    return NULL;
}

static int map_decode(struct decoding *dc, const struct shape *shape, struct shape_map *out)
{
    struct items items = {.each = sizeof(struct shape_pair)};
    enum json_token token;
    while ((token = json_next(&dc->r)) == JSON_KEY) {
        struct shape_pair *pair = pair_find(&items, dc->r.text);
        if (!pair && !(pair = items_add(dc, &items)))
            return -ENOMEM;
        *pair = (struct shape_pair){.key = dc->r.text};
        token = json_next(&dc->r);
        int status = token == JSON_NULL ? 0 : value_decode(dc, shape->element, token, &pair->value);
        if (status < 0)
            return status;
    }
    if (token == JSON_ERROR)
        return dc->r.status;
    *out = (struct shape_map){.items = items.ptr ? (void *)items.ptr : (void *)nothing, .count = items.count};
    return 0;
}

/* ---- structures ------------------------------------------------------------------------------------------------- */

/* The member of that name; `hint` is the index after the last one found: clients write them in a fixed order. */
static const struct member *member_find(const struct shape *shape, struct slice name, uint32_t *hint)
{
    for (uint32_t i = 0, at = *hint; i < shape->member_count; i++, at++) {
        if (at >= shape->member_count)
            at = 0;
        const struct member *m = &shape->members[at];
        if (m->name_len == name.len && memcmp(m->name, name.ptr, name.len) == 0) {
            *hint = at + 1;
            return m;
        }
    }
    return NULL;
}

static int members_decode(struct decoding *dc, const struct shape *shape, void *base)
{
    enum json_token token;
    uint32_t hint = 0;
    while ((token = json_next(&dc->r)) == JSON_KEY) {
        const struct member *m = member_find(shape, dc->r.text, &hint);
        if (!m) {
            if (!json_skip(&dc->r))
                return dc->r.status;
            continue;
        }
        void *at = (char *)base + m->offset;
        token = json_next(&dc->r);
        if (token == JSON_NULL) {
            memset(at, 0, shape_member_size(m->shape));
            continue;
        }
        int status = value_decode(dc, m->shape, token, at);
        if (status < 0)
            return status;
    }
    return token == JSON_ERROR ? dc->r.status : 0;
}

static int structure_decode(struct decoding *dc, const struct shape *shape, void **out)
{
    void *base = arena_zalloc(dc->d->arena, shape->size);
    if (!base)
        return -ENOMEM;
    int status = members_decode(dc, shape, base);
    if (status == 0)
        *out = base;
    return status;
}

/* The value that `token` began, into the member (or scalar element) at `at`. */
static int value_decode(struct decoding *dc, const struct shape *shape, enum json_token token, void *at)
{
    switch (shape->type) {
    case SHAPE_STRING:
        if (token != JSON_STRING)
            return mismatch(dc, shape, token);
        *(struct slice *)at = dc->r.text;
        return 0;
    case SHAPE_BLOB:
        return token == JSON_STRING ? blob_decode(dc, at) : mismatch(dc, shape, token);
    case SHAPE_ENUM:
        return token == JSON_STRING ? enum_decode(dc, shape, at) : mismatch(dc, shape, token);
    case SHAPE_BOOLEAN:
        return boolean_decode(dc, token, at);
    case SHAPE_LIST:
        return token == JSON_ARRAY ? list_decode(dc, shape, at) : mismatch(dc, shape, token);
    case SHAPE_MAP:
        return token == JSON_OBJECT ? map_decode(dc, shape, at) : mismatch(dc, shape, token);
    case SHAPE_STRUCTURE:
        return token == JSON_OBJECT ? structure_decode(dc, shape, at) : mismatch(dc, shape, token);
    default:
        return token == JSON_NUMBER ? number_decode(dc, shape, at) : mismatch(dc, shape, token);
    }
}

int shape_decode_json(struct shape_decoder *d, const struct shape *shape, struct slice body, void **out)
{
    struct decoding dc = {.d = d};
    void *value = NULL;
    d->message = SLICE_NULL;
    json_reader_init(&dc.r, body, d->arena);
    enum json_token token = json_next(&dc.r);
    int status = 0;
    if (token != JSON_OBJECT && token != JSON_ARRAY)
        status = token == JSON_ERROR ? dc.r.status : ST_SYNTAX;
    else if (token == JSON_ARRAY)
        status = mismatch(&dc, shape, token);
    else
        status = structure_decode(&dc, shape, &value);
    if (status == ST_INVALID) { /* malformed JSON behind a wrong type is malformed JSON */
        int syntax = json_check(body);
        if (syntax < 0) {
            d->message = SLICE_NULL;
            return syntax;
        }
    }
    if (status == 0 && json_next(&dc.r) != JSON_END)
        status = dc.r.status;
    if (status == 0)
        *out = value;
    return status;
}
