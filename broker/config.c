/*
 * The order of it all: defaults, file, environment, command line, then the files that were named and the checks (see
 * config.h). A struct config is built on the stack and handed over whole.
 */
#include "broker/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config_keys.h"

#define FILE_MAX  (1u << 20)
#define ARENA_MAX (64u << 20)

int config_fail(const struct config *c, struct config_mark mark, struct err *e, const char *key, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX], where[ERR_TEXT_MAX / 2];
    va_list ap;
    va_start(ap, fmt); /* may print e->text itself, so not straight into it */
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!c->file)
        snprintf(where, sizeof where, "configuration: ");
    else if (mark.line)
        snprintf(where, sizeof where, "%s:%u:%u: ", c->file, mark.line, mark.column);
    else
        snprintf(where, sizeof where, "%s: ", c->file);
    return key && key[0] ? err_set(e, ST_INVALID, "%skey '%s': %s", where, key, text)
                         : err_set(e, ST_INVALID, "%s%s", where, text);
}

int config_wrap_delivery(const struct config *c, const struct config_delivery *d, struct config_mark mark,
                         const char *key, struct err *e)
{
    char path[64];
    int code = e->code;
    snprintf(path, sizeof path, "deliveries[%u].%s", (unsigned)(d - c->deliveries), key);
    config_fail(c, mark, e, path, "%s", e->text);
    return e->code = code;
}

int config_read_file(struct arena *arena, const char *path, size_t limit, struct slice *out, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), status = ST_OK;
    if (fd < 0)
        return err_set_status(e, -errno, "'%s'", path);
    size_t len = 0, cap = limit;
    ssize_t n = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size < limit)
        cap = (size_t)st.st_size;
    uint8_t *bytes = arena_alloc(arena, cap + 1); /* one more tells whether there is more */
    while (bytes && len <= cap && (n = read(fd, bytes + len, cap + 1 - len)) > 0)
        len += (size_t)n;
    if (!bytes)
        status = err_set_status(e, -ENOMEM, "'%s'", path);
    else if (n < 0)
        status = err_set_status(e, -errno, "'%s'", path); /* EISDIR among others */
    else if (len > cap)
        status = err_set(e, ST_LIMIT, "'%s': is larger than %zu bytes", path, cap);
    close(fd);
    if (status == 0)
        *out = slice_of(bytes, len);
    return status;
}

/* ---- environment ------------------------------------------------------------------------------------------------- */

static const char *variable(const struct config_world *world, const char *name)
{
    size_t len = strlen(name);
    for (char *const *p = world->environ; p && *p; p++)
        if (strncmp(*p, name, len) == 0 && (*p)[len] == '=')
            return *p + len + 1;
    return NULL;
}

/* Appends ".cache.size" as "_CACHE_SIZE". */
static void variable_name(char *out, size_t cap, const char *prefix, const char *key)
{
    size_t n = (size_t)snprintf(out, cap, "%s_%s", prefix, key);
    for (size_t i = 0; i < n && i < cap; i++)
        if (out[i] >= 'a' && out[i] <= 'z')
            out[i] = (char)(out[i] - 32);
}

static int environment_map(struct config *c, const struct config_world *world, const struct config_map *map, void *base,
                           const char *prefix, struct err *e)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct config_key *k = &map->keys[i];
        char name[64];
        int status = ST_OK;
        variable_name(name, sizeof name, prefix, k->name);
        const char *text = config_key_is_nested(k) ? NULL : variable(world, name);
        if (k->type == KEY_MAP)
            status = environment_map(c, world, k->map, (char *)base + k->offset, name, e);
        else if (text)
            status = config_value_set(k, base, slice_str(text), &c->arena, NULL, e);
        if (status == ST_INVALID && k->type != KEY_MAP)
            err_wrap(e, "environment: %s", name);
        if (status < 0)
            return status;
        if (text && k->type == KEY_ADDRESS)
            c->listen_origin = "environment: SLUICE_LISTEN";
    }
    return ST_OK;
}

/* All names that mean something, for near misses. */
static uint32_t known_variables(struct config *c, const struct config_map *map, const char *prefix, const char **out,
                                uint32_t cap)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->count && count < cap; i++) {
        char name[64];
        variable_name(name, sizeof name, prefix, map->keys[i].name);
        if (map->keys[i].type == KEY_MAP)
            count += known_variables(c, map->keys[i].map, name, out + count, cap - count);
        else if (!config_key_is_nested(&map->keys[i]) &&
                 (out[count] = (char *)arena_copy(&c->arena, slice_str(name)).ptr))
            count++;
    }
    return count;
}

/* An unknown SLUICE_ variable is nobody's error (service managers make such), but one close to a known name deserves a
 * line in the log. */
static void warn_misspelt(struct config *c, const struct config_world *world)
{
    const char *known[64], **warnings = arena_zalloc(&c->arena, 16 * sizeof *warnings);
    uint32_t count = 0, known_count = known_variables(c, &config_root, "SLUICE", known, ARRAY_COUNT(known) - 1);
    known[known_count++] = "SLUICE_CONFIG";
    for (char *const *p = world->environ; warnings && p && *p && count < 16; p++) {
        struct slice name = slice_first(slice_str(*p), slice_find(slice_str(*p), '='));
        const char *near = slice_starts(name, SLICE_LIT("SLUICE_")) ? config_nearest(name, known, known_count) : NULL;
        bool exact = near && slice_eq_str(name, near);
        if (near && !exact)
            warnings[count++] = (const char *)arena_printf(&c->arena, "variable %.*s is not known; did you mean %s?",
                                                           SLICE_FMT(name), near)
                                    .ptr;
    }
    c->warnings = (struct config_texts){warnings, count};
}

/* ---- defaults and the command line ------------------------------------------------------------------------------- */

static const struct config_key *root_key(const char *name)
{
    for (uint32_t i = 0; i < config_root.count; i++)
        if (strcmp(config_root.keys[i].name, name) == 0)
            return &config_root.keys[i];
    return NULL;
}

static int set_root(struct config *c, const char *name, const char *text, const char *origin, struct err *e)
{
    int status = config_value_set(root_key(name), c, slice_str(text), &c->arena, NULL, e);
    if (status < 0)
        err_wrap(e, "%s", origin);
    return status;
}

/* /var/lib/sluice for root, else $XDG_STATE_HOME/sluice or ~/.local/state/sluice; NULL: cannot be told. */
static const char *default_data(struct config *c, const struct config_world *world)
{
    const char *state = variable(world, "XDG_STATE_HOME"), *home = variable(world, "HOME");
    if (world->root)
        return "/var/lib/sluice";
    if (state && state[0] == '/') /* relative ones are to be ignored (XDG Base Directory Specification) */
        return (const char *)arena_printf(&c->arena, "%s/sluice", state).ptr;
    if (home && home[0])
        return (const char *)arena_printf(&c->arena, "%s/.local/state/sluice", home).ptr;
    return NULL;
}

static int set_defaults(struct config *c, const struct config_world *world, struct err *e)
{
    const char *region = variable(world, "AWS_REGION");
    int status = config_value_defaults(&config_root, c, &c->arena, e);
    c->data = default_data(c, world);
    if (status == 0 && region && region[0])
        status = set_root(c, "region", region, "environment: AWS_REGION", e);
    return status;
}

static int set_arguments(struct config *c, const struct config_args *args, struct err *e)
{
    int status = ST_OK;
    if (args->data)
        status = set_root(c, "data", args->data, "command line: --data", e);
    if (status == 0 && args->loops)
        status = set_root(c, "loops", args->loops, "command line: --loops", e);
    if (status == 0 && args->listen) {
        status = set_root(c, "listen", args->listen, "command line: --listen", e);
        c->listen_origin = "command line: --listen";
    }
    if (args->allow_unsigned)
        c->allow_unsigned = true;
    return status;
}

/* Everything behind the file's text, in order. `name` NULL: there is no file. */
static int build(struct config *c, const struct config_args *args, const struct config_world *world, const char *name,
                 struct slice text, struct err *e)
{
    int status = set_defaults(c, world, e);
    if (status == 0 && name)
        status = config_yaml_read(c, name, text, e);
    if (status == 0)
        status = environment_map(c, world, &config_root, c, "SLUICE", e);
    if (status == 0)
        status = set_arguments(c, args, e);
    if (status == 0 && !c->data)
        status =
            err_set(e, ST_INVALID, "data: no data directory: neither HOME nor XDG_STATE_HOME is set; say --data DIR");
    if (status == 0)
        status = config_files_read(c, e);
    if (status == 0)
        status = config_check(c, e);
    if (status == 0)
        warn_misspelt(c, world);
    return status;
}

int config_load_text(const struct config_args *args, const struct config_world *world, const char *name,
                     struct slice text, struct config *out, struct err *e)
{
    struct config c = {0};
    arena_init(&c.arena, 64 << 10, ARENA_MAX);
    const char *kept = name ? (const char *)arena_copy(&c.arena, slice_str(name)).ptr : NULL;
    int status = name && !kept ? err_set_status(e, -ENOMEM, "configuration") : build(&c, args, world, kept, text, e);
    if (status < 0) {
        arena_deinit(&c.arena);
        return status;
    }
    *out = c;
    return ST_OK;
}

int config_load(const struct config_args *args, const struct config_world *world, struct config *out, struct err *e)
{
    const char *name = args->config ? args->config : variable(world, "SLUICE_CONFIG");
    struct arena arena;
    struct slice text = SLICE_NULL;
    int status = ST_OK;
    bool named = name && name[0];
    if (!named)
        name = world->default_file;
    arena_init(&arena, 64 << 10, FILE_MAX + (64 << 10));
    if (name)
        status = config_read_file(&arena, name, FILE_MAX, &text, e);
    if (status == -ENOENT && !named) {
        status = ST_OK;
        name = NULL;
    }
    if (status < 0)
        err_wrap(e, "configuration");
    else
        status = config_load_text(args, world, name, text, out, e);
    arena_deinit(&arena);
    return status;
}

void config_free(struct config *c)
{
    arena_deinit(&c->arena);
    *c = (struct config){0};
}
