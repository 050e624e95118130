/*
 * What all parts of the shape engine need to know of a shape: how large its values are, whether one is given, the names
 * of enums, and whether a table makes sense. Decoding, validation and encoding have files of their own.
 */
#include "common/wire/shape.h"

#include <string.h>

#include "common/wire/shape_pattern.h"
#include "common/wire/shape_value.h"

const struct shape shape_string = {SHAPE_STRING};
const struct shape shape_blob = {SHAPE_BLOB};
const struct shape shape_integer = {SHAPE_INTEGER};
const struct shape shape_long = {SHAPE_LONG};
const struct shape shape_double = {SHAPE_DOUBLE};
const struct shape shape_boolean = {SHAPE_BOOLEAN};
const struct shape shape_timestamp = {SHAPE_TIMESTAMP};
const struct shape shape_string_list = {SHAPE_LIST, .element = &shape_string};
const struct shape shape_string_map = {SHAPE_MAP, .key = &shape_string, .element = &shape_string};

size_t shape_member_size(const struct shape *shape)
{
    return shape->type == SHAPE_STRUCTURE ? sizeof(void *) : shape_element_size(shape);
}

size_t shape_element_size(const struct shape *shape)
{
    switch (shape->type) {
    case SHAPE_STRING:
    case SHAPE_BLOB:
        return sizeof(struct slice);
    case SHAPE_ENUM:
        return sizeof(int);
    case SHAPE_INTEGER:
        return sizeof(struct opt_int);
    case SHAPE_LONG:
        return sizeof(struct opt_long);
    case SHAPE_DOUBLE:
        return sizeof(struct opt_double);
    case SHAPE_BOOLEAN:
        return sizeof(struct opt_bool);
    case SHAPE_TIMESTAMP:
        return sizeof(struct opt_time);
    case SHAPE_LIST:
        return sizeof(struct shape_list);
    case SHAPE_MAP:
        return sizeof(struct shape_map);
    case SHAPE_STRUCTURE:
        break;
    }
    return shape->size;
}

bool shape_given(const struct shape *shape, const void *at)
{
    switch (shape->type) {
    case SHAPE_STRING:
    case SHAPE_BLOB:
        return ((const struct slice *)at)->ptr != NULL;
    case SHAPE_ENUM:
        return *(const int *)at != 0;
    case SHAPE_INTEGER:
        return ((const struct opt_int *)at)->set;
    case SHAPE_LONG:
        return ((const struct opt_long *)at)->set;
    case SHAPE_DOUBLE:
        return ((const struct opt_double *)at)->set;
    case SHAPE_BOOLEAN:
        return ((const struct opt_bool *)at)->set;
    case SHAPE_TIMESTAMP:
        return ((const struct opt_time *)at)->set;
    case SHAPE_LIST:
        return ((const struct shape_list *)at)->items != NULL;
    case SHAPE_MAP:
        return ((const struct shape_map *)at)->items != NULL;
    case SHAPE_STRUCTURE:
        break;
    }
    return shape_pointer_at(at) != NULL;
}

const char *shape_enum_name(const struct shape *shape, int value)
{
    for (int i = 1; shape->values[i - 1]; i++)
        if (i == value)
            return shape->values[i - 1];
    return NULL;
}

int shape_enum_value(const struct shape *shape, struct slice name)
{
    for (int i = 0; shape->values[i]; i++)
        if (slice_eq_str(name, shape->values[i]))
            return i + 1;
    return 0;
}

/* ---- the check of tables ---------------------------------------------------------------------------------------- */

static const char *check(const struct shape *shape, unsigned depth);

static const char *check_members(const struct shape *shape, unsigned depth)
{
    if (shape->size == 0)
        return "a structure has no size";
    for (uint32_t i = 0; i < shape->member_count; i++) {
        const struct member *m = &shape->members[i];
        if (!m->name || m->name_len == 0 || strlen(m->name) != m->name_len)
            return "a member has no name";
        if (!m->shape)
            return "a member has no shape";
        if (m->offset + shape_member_size(m->shape) > shape->size)
            return "a member lies outside of its struct";
        for (uint32_t j = 0; j < i; j++) {
            const struct member *other = &shape->members[j];
            if (strcmp(other->name, m->name) == 0)
                return "two members have the same name";
            if (other->offset < m->offset + shape_member_size(m->shape) &&
                m->offset < other->offset + shape_member_size(other->shape))
                return "two members lie over each other";
        }
        const char *wrong = check(m->shape, depth + 1);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *check(const struct shape *shape, unsigned depth)
{
    if (depth > 32)
        return "a structure contains itself";
    if (shape->has_min && shape->has_max && shape->min > shape->max)
        return "a minimum is above its maximum";
    if (shape->pattern && (shape->type != SHAPE_STRING || !pattern_supported(shape->pattern)))
        return "a pattern is not supported";
    switch (shape->type) {
    case SHAPE_ENUM:
        return shape->values && shape->values[0] ? NULL : "an enum has no values";
    case SHAPE_LIST:
        return shape->element ? check(shape->element, depth + 1) : "a list has no element";
    case SHAPE_MAP:
        if (!shape->key || !shape->element || shape->key->type != SHAPE_STRING || shape->element->type != SHAPE_STRING)
            return "a map is not from strings to strings";
        return NULL;
    case SHAPE_STRUCTURE:
        return check_members(shape, depth);
    default:
        return NULL;
    }
}

const char *shape_check(const struct shape *shape)
{
    return check(shape, 0);
}
