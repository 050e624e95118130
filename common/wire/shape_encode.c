/* C structs into JSON, by table: in the order of the members, without what is not given. */
#include "common/base/check.h"
#include "common/wire/json_write.h"
#include "common/wire/shape.h"
#include "common/wire/shape_value.h"

static void members_encode(struct json_writer *w, const struct shape *shape, const void *base);

static void list_encode(struct json_writer *w, const struct shape *shape, const struct shape_list *list);

static void map_encode(struct json_writer *w, const struct shape_map *map)
{
    json_write_object(w);
    for (uint32_t i = 0; i < map->count; i++) {
        json_write_key(w, map->items[i].key);
        json_write_string(w, map->items[i].value);
    }
    json_write_object_end(w);
}

static void value_encode(struct json_writer *w, const struct shape *shape, const void *at)
{
    const char *name;
    switch (shape->type) {
    case SHAPE_STRING:
        json_write_string(w, *(const struct slice *)at);
        break;
    case SHAPE_BLOB:
        json_write_base64(w, *(const struct slice *)at);
        break;
    case SHAPE_ENUM:
        name = shape_enum_name(shape, *(const int *)at);
        CHECK(name != NULL);
        json_write_str(w, name);
        break;
    case SHAPE_INTEGER:
        json_write_i64(w, ((const struct opt_int *)at)->value);
        break;
    case SHAPE_LONG:
        json_write_i64(w, ((const struct opt_long *)at)->value);
        break;
    case SHAPE_DOUBLE:
        json_write_double(w, ((const struct opt_double *)at)->value);
        break;
    case SHAPE_BOOLEAN:
        json_write_bool(w, ((const struct opt_bool *)at)->value);
        break;
    case SHAPE_TIMESTAMP:
        json_write_seconds(w, ((const struct opt_time *)at)->value);
        break;
    case SHAPE_LIST:
        list_encode(w, shape, at);
        break;
    case SHAPE_MAP:
        map_encode(w, at);
        break;
    case SHAPE_STRUCTURE:
        members_encode(w, shape, shape_pointer_at(at));
        break;
    }
}

static void list_encode(struct json_writer *w, const struct shape *shape, const struct shape_list *list)
{
    size_t each = shape_element_size(shape->element);
    json_write_array(w);
    for (uint32_t i = 0; i < list->count; i++) {
        const char *at = (const char *)list->items + i * each;
        if (shape->element->type == SHAPE_STRUCTURE)
            members_encode(w, shape->element, at);
        else
            value_encode(w, shape->element, at);
    }
    json_write_array_end(w);
}

static void members_encode(struct json_writer *w, const struct shape *shape, const void *base)
{
    json_write_object(w);
    for (uint32_t i = 0; i < shape->member_count; i++) {
        const struct member *m = &shape->members[i];
        const void *at = (const char *)base + m->offset;
        bool always = m->need == REQUIRED && (m->shape->type == SHAPE_LIST || m->shape->type == SHAPE_MAP);
        if (!always && !shape_given(m->shape, at))
            continue;
        json_write_name(w, m->name);
        value_encode(w, m->shape, at);
    }
    json_write_object_end(w);
}

void shape_encode_json(const struct shape *shape, const void *value, struct bytebuf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    members_encode(&w, shape, value);
}
