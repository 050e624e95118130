/*
 * The configuration file: libyaml's document, walked by the table of keys, so that each value's place is known. This and
 * config_print.c are the only files that include yaml.h.
 *
 * Refused: keys that are not in the table (with the near miss), keys given twice, more than one document, NUL bytes.
 * Aliases are allowed; they cannot make the walk endless, for the table is only a few maps deep.
 */
#include <stdio.h>
#include <yaml.h>

#include "broker/config_keys.h"

#define PATH_MAX_BYTES 200
#define LIST_MAX       10000

struct walk {
    struct config *c;
    yaml_document_t *doc;
    const char *folder;        /* what relative paths are below; NULL: the current one */
    char path[PATH_MAX_BYTES]; /* "deliveries[0].buffer" */
};

static int walk_map(struct walk *w, yaml_node_t *node, const struct config_map *map, void *base, struct err *e);

static struct config_mark mark_of(const yaml_node_t *node)
{
    return (struct config_mark){(uint32_t)node->start_mark.line + 1, (uint32_t)node->start_mark.column + 1};
}

static struct slice scalar(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

/* An empty plain value, "~" or "null": nothing said. */
static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    struct slice s = scalar(node);
    return s.len == 0 || slice_eq_str(s, "~") || slice_eq_str(s, "null");
}

static const char *kind_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? "a plain value" : node->type == YAML_SEQUENCE_NODE ? "a list" : "a mapping";
}

static int wrong_kind(struct walk *w, const yaml_node_t *node, struct err *e, const char *wanted)
{
    return config_fail(w->c, mark_of(node), e, w->path, "is %s, where %s is allowed", kind_of(node), wanted);
}

/* Longer paths are cut: they are for messages only. Returns the length to cut back to. */
static size_t path_push(struct walk *w, const char *dot, struct slice name)
{
    size_t len = strlen(w->path);
    snprintf(w->path + len, sizeof w->path - len, "%s%.*s", len ? dot : "", SLICE_FMT(slice_first(name, 60)));
    return len;
}

static int walk_scalar(struct walk *w, yaml_node_t *node, const struct config_key *k, void *base, struct err *e)
{
    if (node->type != YAML_SCALAR_NODE)
        return wrong_kind(w, node, e, k->allowed);
    if (is_null(node))
        return config_fail(w->c, mark_of(node), e, w->path, "a value is missing: %s", k->allowed);
    struct slice text = scalar(node);
    if (text.len && memchr(text.ptr, 0, text.len))
        return config_fail(w->c, mark_of(node), e, w->path, "holds a NUL byte");
    int status = config_value_set(k, base, text, &w->c->arena, w->folder, e);
    if (status == ST_INVALID)
        return config_fail(w->c, mark_of(node), e, w->path, "%s", e->text);
    return status;
}

static int walk_texts(struct walk *w, yaml_node_t *node, const struct config_key *k, void *base, struct err *e)
{
    static const struct config_key one = {.type = KEY_TEXT, .allowed = "a text"};
    struct config_texts *out = (struct config_texts *)((char *)base + k->offset);
    if (is_null(node))
        return ST_OK;
    if (node->type != YAML_SEQUENCE_NODE)
        return wrong_kind(w, node, e, k->allowed);
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > LIST_MAX)
        return config_fail(w->c, mark_of(node), e, w->path, "has more than %d items", LIST_MAX);
    const char **items = arena_zalloc(&w->c->arena, (count + 1) * sizeof *items);
    if (!items)
        return err_set_status(e, -ENOMEM, "configuration");
    for (size_t i = 0; i < count; i++) {
        char index[24];
        snprintf(index, sizeof index, "[%zu]", i);
        size_t cut = path_push(w, "", slice_str(index));
        int status =
            walk_scalar(w, yaml_document_get_node(w->doc, node->data.sequence.items.start[i]), &one, &items[i], e);
        if (status < 0)
            return status;
        w->path[cut] = 0;
    }
    *out = (struct config_texts){items, (uint32_t)count};
    return ST_OK;
}

static int walk_list(struct walk *w, yaml_node_t *node, const struct config_key *k, void *base, struct err *e)
{
    if (is_null(node))
        return ST_OK;
    if (node->type != YAML_SEQUENCE_NODE)
        return wrong_kind(w, node, e, "a list");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > LIST_MAX)
        return config_fail(w->c, mark_of(node), e, w->path, "has more than %d items", LIST_MAX);
    char *elements = arena_zalloc(&w->c->arena, (count + 1) * k->map->bytes);
    if (!elements)
        return err_set_status(e, -ENOMEM, "configuration");
    for (size_t i = 0; i < count; i++) {
        char index[24];
        void *element = elements + i * k->map->bytes;
        snprintf(index, sizeof index, "[%zu]", i);
        size_t cut = path_push(w, "", slice_str(index));
        int status = config_value_defaults(k->map, element, &w->c->arena, e);
        if (status == 0)
            status =
                walk_map(w, yaml_document_get_node(w->doc, node->data.sequence.items.start[i]), k->map, element, e);
        if (status < 0)
            return status;
        w->path[cut] = 0;
    }
    *(void **)((char *)base + k->offset) = elements;
    *(uint32_t *)((char *)base + k->count_offset) = (uint32_t)count;
    return ST_OK;
}

static int unknown_key(struct walk *w, const yaml_node_t *node, const struct config_map *map, struct err *e)
{
    const char *names[64];
    char all[300];
    size_t used = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        names[i] = map->keys[i].name;
        if (used < sizeof all)
            used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = config_nearest(scalar(node), names, map->count);
    path_push(w, ".", scalar(node));
    if (near)
        return config_fail(w->c, mark_of(node), e, w->path, "there is no such key; did you mean '%s'?", near);
    return config_fail(w->c, mark_of(node), e, w->path, "there is no such key; there are: %s", all);
}

static int walk_value(struct walk *w, yaml_node_t *node, const struct config_key *k, void *base, struct err *e)
{
    if (k->mark_offset)
        *(struct config_mark *)((char *)base + k->mark_offset) = mark_of(node);
    switch (k->type) {
    case KEY_MAP:
        if (is_null(node))
            return ST_OK;
        return walk_map(w, node, k->map, (char *)base + k->offset, e);
    case KEY_LIST:
        return walk_list(w, node, k, base, e);
    case KEY_TEXTS:
        return walk_texts(w, node, k, base, e);
    default:
        if (k->type == KEY_ADDRESS) {
            w->c->listen_origin = (const char *)arena_printf(&w->c->arena, "%s:%u:%u: key 'listen'", w->c->file,
                                                             mark_of(node).line, mark_of(node).column)
                                      .ptr;
            if (!w->c->listen_origin)
                return err_set_status(e, -ENOMEM, "configuration");
        }
        return walk_scalar(w, node, k, base, e);
    }
}

/* The plain value in place of a map that has a shorthand: `retention: 24h`. */
static int walk_shorthand(struct walk *w, yaml_node_t *node, const struct config_map *map, void *base, struct err *e)
{
    for (uint32_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i].name, map->shorthand) == 0)
            return walk_scalar(w, node, &map->keys[i], base, e);
    return wrong_kind(w, node, e, "a mapping");
}

static int walk_pair(struct walk *w, yaml_node_pair_t *pair, const struct config_map *map, void *base, uint64_t *seen,
                     struct err *e)
{
    yaml_node_t *key = yaml_document_get_node(w->doc, pair->key);
    if (key->type != YAML_SCALAR_NODE)
        return config_fail(w->c, mark_of(key), e, w->path, "a key is %s, where a name is allowed", kind_of(key));
    uint32_t i = 0;
    while (i < map->count && !slice_eq_str(scalar(key), map->keys[i].name))
        i++;
    if (i == map->count)
        return unknown_key(w, key, map, e);
    size_t cut = path_push(w, ".", scalar(key));
    if (*seen & 1ull << i)
        return config_fail(w->c, mark_of(key), e, w->path, "is given twice");
    *seen |= 1ull << i;
    int status = walk_value(w, yaml_document_get_node(w->doc, pair->value), &map->keys[i], base, e);
    if (status == 0)
        w->path[cut] = 0;
    return status;
}

static int walk_map(struct walk *w, yaml_node_t *node, const struct config_map *map, void *base, struct err *e)
{
    uint64_t seen = 0;
    if (map->shorthand && node->type == YAML_SCALAR_NODE)
        return walk_shorthand(w, node, map, base, e);
    if (node->type != YAML_MAPPING_NODE)
        return wrong_kind(w, node, e, "a mapping");
    if (map->has_mark)
        *(struct config_mark *)((char *)base + map->mark_offset) = mark_of(node);
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        int status = walk_pair(w, p, map, base, &seen, e);
        if (status < 0)
            return status;
    }
    for (uint32_t i = 0; i < map->count; i++) {
        if (map->keys[i].required && !(seen & 1ull << i)) {
            path_push(w, ".", slice_str(map->keys[i].name));
            return config_fail(w->c, mark_of(node), e, w->path, "is missing: %s", map->keys[i].allowed);
        }
    }
    return ST_OK;
}

static int not_yaml(struct config *c, const yaml_parser_t *p, struct err *e)
{
    if (p->error == YAML_MEMORY_ERROR)
        return err_set_status(e, -ENOMEM, "configuration");
    if (p->error == YAML_READER_ERROR)
        return err_set(e, ST_SYNTAX, "%s: byte %zu: not YAML: %s", c->file, p->problem_offset, p->problem);
    return err_set(e, ST_SYNTAX, "%s:%zu:%zu: not YAML: %s%s%s", c->file, p->problem_mark.line + 1,
                   p->problem_mark.column + 1, p->problem ? p->problem : "unknown error", p->context ? ", " : "",
                   p->context ? p->context : "");
}

/* The folder of the file, for what is named relative to it; NULL: the current one. */
static int folder_of(struct config *c, const char *name, const char **out)
{
    const char *slash = strrchr(name, '/');
    *out = slash == name ? "" : NULL;
    if (!slash || slash == name)
        return ST_OK;
    *out = (const char *)arena_copy(&c->arena, slice_of(name, (size_t)(slash - name))).ptr;
    return *out ? ST_OK : -ENOMEM;
}

/* A second document would be ignored silently otherwise. */
static int read_end(struct config *c, yaml_parser_t *parser, struct err *e)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc))
        return not_yaml(c, parser, e);
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    int status = root ? config_fail(c, mark_of(root), e, NULL, "a second document; there may be only one") : ST_OK;
    yaml_document_delete(&doc);
    return status;
}

int config_yaml_read(struct config *c, const char *name, struct slice text, struct err *e)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    struct walk w = {.c = c, .doc = &doc};
    c->file = name;
    if (folder_of(c, name, &w.folder) < 0 || !yaml_parser_initialize(&parser))
        return err_set_status(e, -ENOMEM, "configuration");
    yaml_parser_set_input_string(&parser, text.ptr ? text.ptr : (const uint8_t *)"", text.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    int status;
    if (!yaml_parser_load(&parser, &doc)) {
        status = not_yaml(c, &parser, e);
    } else {
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        status = root && !is_null(root) ? walk_map(&w, root, &config_root, c, e) : ST_OK;
        yaml_document_delete(&doc);
        if (status == 0 && root)
            status = read_end(c, &parser, e);
    }
    yaml_parser_delete(&parser);
    return status;
}
