/*
 * Constraints, with the texts of AWS's ValidationException. Members are checked in the order of their table; of one
 * member: null, pattern, minimum, maximum (kinesalite recorded this order from the service); a list or map itself before
 * what is in it. Elements of lists of structures have paths of their own ("records.1.member.partitionKey"); scalars in
 * lists and maps are reported as one error of the whole ("Member must satisfy constraint: [...]").
 *
 * The tenth error is the last one shown, as at AWS. What is not at AWS: a value longer than VALUE_SHOWN_MAX is cut off
 * in the message, so that an answer cannot be many times as large as its request.
 */
#include <inttypes.h>

#include "common/wire/shape.h"
#include "common/wire/shape_pattern.h"
#include "common/wire/shape_value.h"
#include "common/wire/utf8.h"

#define ERRORS_MAX      10
#define VALUE_SHOWN_MAX (64 * 1024)
#define TEXT_MAX        (1024 * 1024)

/* Where a value stands: its member's name, or its place in a list. */
struct path {
    const struct path *parent;
    const char *name; /* of a member; NULL: the element `index` */
    uint32_t index;
};

struct validation {
    const struct shape_decoder *d;
    struct bytebuf text; /* the errors so far */
    uint32_t errors;
};

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static void path_write(struct bytebuf *out, const struct path *path)
{
    if (path->parent) {
        path_write(out, path->parent);
        bytebuf_byte(out, '.');
    }
    if (!path->name) {
        bytebuf_printf(out, "%u.member", path->index + 1);
        return;
    }
    uint8_t first = (uint8_t)path->name[0];
    bytebuf_byte(out, first >= 'A' && first <= 'Z' ? (uint8_t)(first + 32) : first);
    bytebuf_str(out, path->name + 1);
}

static void value_write(const struct validation *v, struct bytebuf *out, const struct shape *shape, const void *at);

static void string_write(struct bytebuf *out, struct slice s)
{
    if (!s.ptr) {
        bytebuf_str(out, "null");
        return;
    }
    size_t len = s.len > VALUE_SHOWN_MAX ? VALUE_SHOWN_MAX : s.len;
    while (len < s.len && (s.ptr[len] & 0xc0) == 0x80) /* not within a character */
        len--;
    bytebuf_append(out, s.ptr, len);
    if (len < s.len)
        bytebuf_str(out, "...");
}

static void list_write(const struct validation *v, struct bytebuf *out, const struct shape *element,
                       const struct shape_list *list)
{
    size_t each = shape_element_size(element), begin = out->len;
    bytebuf_byte(out, '[');
    for (uint32_t i = 0; i < list->count; i++) {
        if (i)
            bytebuf_str(out, ", ");
        if (out->len - begin > VALUE_SHOWN_MAX) {
            bytebuf_str(out, "...");
            break;
        }
        if (element->type == SHAPE_STRUCTURE)
            bytebuf_printf(out, "%s@c965e310", element->java_name ? element->java_name : "structure");
        else
            value_write(v, out, element, (const char *)list->items + i * each);
    }
    bytebuf_byte(out, ']');
}

static void map_write(struct bytebuf *out, const struct shape_map *map)
{
    size_t begin = out->len;
    bytebuf_byte(out, '{');
    for (uint32_t i = 0; i < map->count; i++) {
        if (i)
            bytebuf_str(out, ", ");
        if (out->len - begin > VALUE_SHOWN_MAX) {
            bytebuf_str(out, "...");
            break;
        }
        string_write(out, map->items[i].key);
        bytebuf_byte(out, '=');
        string_write(out, map->items[i].value);
    }
    bytebuf_byte(out, '}');
}

static struct slice enum_text(const struct validation *v, const struct shape *shape, int value)
{
    if (value > 0)
        return slice_str(shape_enum_name(shape, value));
    for (const struct shape_note *n = v->d->notes; n; n = n->next)
        if (n->value == value)
            return n->text;
    return SLICE_NULL;
}

static void value_write(const struct validation *v, struct bytebuf *out, const struct shape *shape, const void *at)
{
    if (!shape_given(shape, at)) {
        bytebuf_str(out, "null");
        return;
    }
    switch (shape->type) {
    case SHAPE_STRING:
        string_write(out, *(const struct slice *)at);
        break;
    case SHAPE_BLOB:
        bytebuf_printf(out, "java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]", ((const struct slice *)at)->len,
                       ((const struct slice *)at)->len);
        break;
    case SHAPE_ENUM:
        string_write(out, enum_text(v, shape, *(const int *)at));
        break;
    case SHAPE_INTEGER:
        bytebuf_printf(out, "%" PRId32, ((const struct opt_int *)at)->value);
        break;
    case SHAPE_LONG:
        bytebuf_printf(out, "%" PRId64, ((const struct opt_long *)at)->value);
        break;
    case SHAPE_DOUBLE:
        bytebuf_printf(out, "%.15g", ((const struct opt_double *)at)->value);
        break;
    case SHAPE_BOOLEAN:
        bytebuf_str(out, ((const struct opt_bool *)at)->value ? "true" : "false");
        break;
    case SHAPE_TIMESTAMP:
        bytebuf_printf(out, "%" PRId64, ((const struct opt_time *)at)->value.ms);
        break;
    case SHAPE_LIST:
        list_write(v, out, shape->element, at);
        break;
    case SHAPE_MAP:
        map_write(out, at);
        break;
    case SHAPE_STRUCTURE:
        bytebuf_str(out, shape->java_name ? shape->java_name : "structure");
        break;
    }
}

static void enum_set_write(struct bytebuf *out, const struct shape *shape)
{
    bytebuf_str(out, "Member must satisfy enum value set: [");
    for (int i = 0; shape->values[i]; i++) {
        if (i)
            bytebuf_str(out, ", ");
        bytebuf_str(out, shape->values[i]);
    }
    bytebuf_byte(out, ']');
}

static bool measures_length(const struct shape *shape)
{
    return shape->type != SHAPE_INTEGER && shape->type != SHAPE_LONG && shape->type != SHAPE_DOUBLE;
}

static void limit_write(struct bytebuf *out, const struct shape *shape, bool upper)
{
    bytebuf_printf(out, "Member must have %s %s than or equal to %" PRId64, measures_length(shape) ? "length" : "value",
                   upper ? "less" : "greater", upper ? shape->max : shape->min);
}

/* All constraints of the scalars in a list or a map: "[..., ...]". */
static void constraints_write(struct bytebuf *out, const struct shape *shape)
{
    const char *comma = "";
    bytebuf_byte(out, '[');
    if (shape->has_max) {
        limit_write(out, shape, true);
        comma = ", ";
    }
    if (shape->has_min) {
        bytebuf_str(out, comma);
        limit_write(out, shape, false);
        comma = ", ";
    }
    if (shape->pattern) {
        bytebuf_printf(out, "%sMember must satisfy regular expression pattern: %s", comma, shape->pattern);
        comma = ", ";
    }
    if (shape->type == SHAPE_ENUM) {
        bytebuf_str(out, comma);
        enum_set_write(out, shape);
        comma = ", ";
    }
    if (!*comma)
        bytebuf_str(out, "Member must not be null");
    bytebuf_byte(out, ']');
}

/* Begins the next error, up to where the broken constraint follows. False: there are enough of them. */
static bool error_begin(struct validation *v, const struct shape *shape, const void *at, const struct path *path)
{
    if (v->errors == ERRORS_MAX)
        return false;
    if (v->errors++)
        bytebuf_str(&v->text, "; ");
    bool given = shape_given(shape, at);
    bytebuf_str(&v->text, given ? "Value '" : "Value ");
    value_write(v, &v->text, shape, at);
    bytebuf_str(&v->text, given ? "' at '" : " at '");
    path_write(&v->text, path);
    bytebuf_str(&v->text, "' failed to satisfy constraint: ");
    return true;
}

/* ---- checks ----------------------------------------------------------------------------------------------------- */

/* -1: below the minimum, 1: above the maximum. */
static int compare_length(const struct shape *shape, int64_t len)
{
    if (shape->has_min && len < shape->min)
        return -1;
    return shape->has_max && len > shape->max ? 1 : 0;
}

/* Characters are counted only if bytes do not decide: there are at most as many characters, and at least a quarter. */
static int compare_string(const struct shape *shape, struct slice s)
{
    bool short_enough = !shape->has_max || (int64_t)s.len <= shape->max;
    bool long_enough = !shape->has_min || (int64_t)(s.len + 3) / 4 >= shape->min;
    return short_enough && long_enough ? 0 : compare_length(shape, (int64_t)utf8_length(s));
}

static int compare_double(const struct shape *shape, double value)
{
    if (shape->has_min && value < (double)shape->min)
        return -1;
    return shape->has_max && value > (double)shape->max ? 1 : 0;
}

static int compare(const struct shape *shape, const void *at)
{
    if (!shape->has_min && !shape->has_max)
        return 0;
    switch (shape->type) {
    case SHAPE_STRING:
        return compare_string(shape, *(const struct slice *)at);
    case SHAPE_BLOB:
        return compare_length(shape, (int64_t)((const struct slice *)at)->len);
    case SHAPE_INTEGER:
        return compare_length(shape, ((const struct opt_int *)at)->value);
    case SHAPE_LONG:
        return compare_length(shape, ((const struct opt_long *)at)->value);
    case SHAPE_DOUBLE:
        return compare_double(shape, ((const struct opt_double *)at)->value);
    case SHAPE_LIST:
        return compare_length(shape, ((const struct shape_list *)at)->count);
    case SHAPE_MAP:
        return compare_length(shape, ((const struct shape_map *)at)->count);
    default:
        return 0;
    }
}

static bool pattern_holds(const struct shape *shape, const void *at)
{
    return shape->type != SHAPE_STRING || !shape->pattern || pattern_match(shape->pattern, *(const struct slice *)at);
}

/* A scalar in a list or a map: all its constraints at once. Null breaks them. */
static bool scalar_holds(const struct shape *shape, const void *at)
{
    if (!shape_given(shape, at) || (shape->type == SHAPE_ENUM && *(const int *)at < 0))
        return false;
    return compare(shape, at) == 0 && pattern_holds(shape, at);
}

static void members_validate(struct validation *v, const struct shape *shape, const void *base,
                             const struct path *parent);
static void value_validate(struct validation *v, const struct shape *shape, const void *at, const struct path *path);

static void elements_validate(struct validation *v, const struct shape *shape, const struct shape_list *list,
                              const struct path *path)
{
    const struct shape *element = shape->element;
    size_t each = shape_element_size(element);
    for (uint32_t i = 0; i < list->count && v->errors < ERRORS_MAX; i++) {
        const void *at = (const char *)list->items + i * each;
        const struct path here = {.parent = path, .index = i};
        if (element->type == SHAPE_STRUCTURE) {
            members_validate(v, element, at, &here);
        } else if (element->type == SHAPE_LIST || element->type == SHAPE_MAP) {
            value_validate(v, element, at, &here);
        } else if (!scalar_holds(element, at)) {
            if (error_begin(v, shape, list, path)) {
                bytebuf_str(&v->text, "Member must satisfy constraint: ");
                constraints_write(&v->text, element);
            }
            return; /* one error for all elements */
        }
    }
}

/* The first pair whose key (or value) breaks its constraints makes one error of the whole map. */
static void pairs_validate(struct validation *v, const struct shape *shape, const struct shape_map *map, bool keys,
                           const struct path *path)
{
    const struct shape *side = keys ? shape->key : shape->element;
    for (uint32_t i = 0; i < map->count; i++) {
        if (scalar_holds(side, keys ? &map->items[i].key : &map->items[i].value))
            continue;
        if (error_begin(v, shape, map, path)) {
            bytebuf_str(&v->text, keys ? "Map keys must satisfy constraint: " : "Map value must satisfy constraint: ");
            constraints_write(&v->text, side);
        }
        return;
    }
}

/* A value that is given. */
static void value_validate(struct validation *v, const struct shape *shape, const void *at, const struct path *path)
{
    if (!pattern_holds(shape, at) && error_begin(v, shape, at, path))
        bytebuf_printf(&v->text, "Member must satisfy regular expression pattern: %s", shape->pattern);
    int order = compare(shape, at);
    if (order != 0 && error_begin(v, shape, at, path))
        limit_write(&v->text, shape, order > 0);
    switch (shape->type) {
    case SHAPE_ENUM:
        if (*(const int *)at < 0 && error_begin(v, shape, at, path))
            enum_set_write(&v->text, shape);
        break;
    case SHAPE_LIST:
        elements_validate(v, shape, at, path);
        break;
    case SHAPE_MAP:
        pairs_validate(v, shape, at, true, path);
        pairs_validate(v, shape, at, false, path);
        break;
    case SHAPE_STRUCTURE:
        members_validate(v, shape, shape_pointer_at(at), path);
        break;
    default:
        break;
    }
}

static void members_validate(struct validation *v, const struct shape *shape, const void *base,
                             const struct path *parent)
{
    for (uint32_t i = 0; i < shape->member_count && v->errors < ERRORS_MAX; i++) {
        const struct member *m = &shape->members[i];
        const void *at = (const char *)base + m->offset;
        const struct path path = {.parent = parent, .name = m->name};
        if (shape_given(m->shape, at))
            value_validate(v, m->shape, at, &path);
        else if (m->need == REQUIRED && error_begin(v, m->shape, at, &path))
            bytebuf_str(&v->text, "Member must not be null");
    }
}

int shape_validate(struct shape_decoder *d, const struct shape *shape, const void *value)
{
    struct validation v = {.d = d};
    int status = 0;
    bytebuf_init(&v.text, TEXT_MAX);
    members_validate(&v, shape, value, NULL);
    if (v.errors) {
        struct slice text = bytebuf_view(&v.text);
        d->message = arena_printf(d->arena, "%u validation error%s detected: ", v.errors, v.errors > 1 ? "s" : "");
        uint8_t *joined = d->message.ptr ? arena_alloc(d->arena, d->message.len + text.len) : NULL;
        if (joined && !bytebuf_failed(&v.text)) {
            memcpy(joined, d->message.ptr, d->message.len);
            memcpy(joined + d->message.len, text.ptr, text.len);
            d->message = slice_of(joined, d->message.len + text.len);
        }
        status = d->message.ptr ? ST_INVALID : -ENOMEM;
    }
    bytebuf_deinit(&v.text);
    return status;
}
