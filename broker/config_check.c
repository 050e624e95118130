/*
 * What must fit together: names that occur once, routes and their keys, deliveries and their recipients, the rule that
 * nobody but loopback is served without credentials. Files that the configuration names are read here too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/config_keys.h"

#define SMALL_FILE_MAX (64u << 10)
#define RECIPIENTS_MAX 16u

/* ---- lines of small files ---------------------------------------------------------------------------------------- */

/* Takes the next line that is not empty and no comment ('#'). */
static bool next_line(struct slice *rest, struct slice *out)
{
    while (rest->len) {
        size_t end = slice_find(*rest, '\n');
        struct slice line = slice_first(*rest, end);
        *rest = slice_from(*rest, end + 1);
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        line = slice_trim(line);
        if (line.len && line.ptr[0] != '#') {
            *out = line;
            return true;
        }
    }
    return false;
}

static const char *key_name(struct config *c, const char *list, uint32_t i, const char *key)
{
    struct slice s = arena_printf(&c->arena, "%s[%u].%s", list, i, key);
    return s.ptr ? (const char *)s.ptr : key;
}

static int read_secret(struct config *c, uint32_t i, struct err *e)
{
    struct config_credential *k = &c->credentials[i];
    const char *key = key_name(c, "credentials", i, "secret_access_key_file");
    struct slice text;
    if (!k->secret_access_key_file == !k->secret_access_key)
        return config_fail(c, k->mark, e, key_name(c, "credentials", i, "secret_access_key"),
                           k->secret_access_key ? "is given besides secret_access_key_file; one of the two is allowed"
                                                : "is missing: it or secret_access_key_file is needed");
    if (!k->secret_access_key_file)
        return ST_OK;
    if (config_read_file(&c->arena, k->secret_access_key_file, SMALL_FILE_MAX, &text, e) < 0)
        return config_fail(c, k->mark, e, key, "%s", e->text);
    struct slice line = slice_first(text, slice_find(text, '\n'));
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    line = slice_trim(line);
    if (line.len == 0)
        return config_fail(c, k->mark, e, key, "'%s': its first line is empty; it is the secret",
                           k->secret_access_key_file);
    struct slice copy = arena_copy(&c->arena, line);
    k->secret_access_key = (const char *)copy.ptr;
    return copy.ptr ? ST_OK : err_set_status(e, -ENOMEM, "configuration");
}

/* The lines of a small file as texts; without empty ones and comments. The errors of config_read_file. */
static int read_lines(struct config *c, const char *path, struct config_texts *out, struct err *e)
{
    struct slice text, rest, line;
    uint32_t count = 0;
    int status = config_read_file(&c->arena, path, SMALL_FILE_MAX, &text, e);
    if (status < 0)
        return status;
    for (rest = text; next_line(&rest, &line);)
        count++;
    const char **items = arena_zalloc(&c->arena, (count + 1) * sizeof *items);
    for (uint32_t i = 0; items && i < count && next_line(&text, &line); i++)
        if (!(items[i] = (const char *)arena_copy(&c->arena, line).ptr))
            items = NULL;
    if (!items)
        return err_set_status(e, -ENOMEM, "'%s'", path);
    *out = (struct config_texts){items, count};
    return ST_OK;
}

static int read_recipients(struct config *c, uint32_t i, struct err *e)
{
    struct config_delivery *d = &c->deliveries[i];
    const char *key = key_name(c, "deliveries", i, "encryption.age_file");
    if (!d->encryption.age_file)
        return ST_OK;
    if (d->encryption.age.count)
        return config_fail(c, d->encryption_mark, e, key, "is given besides `age`; one of the two is allowed");
    if (read_lines(c, d->encryption.age_file, &d->encryption.age, e) < 0)
        return config_fail(c, d->encryption_mark, e, key, "%s", e->text);
    if (d->encryption.age.count == 0)
        return config_fail(c, d->encryption_mark, e, key, "'%s': holds no recipient", d->encryption.age_file);
    return ST_OK;
}

static int read_keys(struct config *c, uint32_t i, struct err *e)
{
    struct config_route *r = &c->routes[i];
    const char *key = key_name(c, "routes", i, "keys_file");
    if (!r->keys_file)
        return ST_OK;
    if (read_lines(c, r->keys_file, &r->keys, e) < 0)
        return config_fail(c, r->keys_file_mark, e, key, "%s", e->text);
    if (r->keys.count == 0)
        return config_fail(c, r->keys_file_mark, e, key, "'%s': holds no key (a key a line)", r->keys_file);
    return ST_OK;
}

int config_files_read(struct config *c, struct err *e)
{
    int status = ST_OK;
    for (uint32_t i = 0; i < c->credential_count && status == 0; i++)
        status = read_secret(c, i, e);
    for (uint32_t i = 0; i < c->route_count && status == 0; i++)
        status = read_keys(c, i, e);
    for (uint32_t i = 0; i < c->delivery_count && status == 0; i++)
        status = read_recipients(c, i, e);
    return status;
}

/* ---- what must fit ----------------------------------------------------------------------------------------------- */

static int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The first text that occurs twice among members of a list's structs, or NULL. */
static const char *twice(struct config *c, const void *structs, uint32_t count, size_t bytes, size_t offset)
{
    const char **texts = arena_zalloc(&c->arena, (count + 1) * sizeof *texts);
    for (uint32_t i = 0; texts && i < count; i++)
        texts[i] = *(const char *const *)((const char *)structs + i * bytes + offset);
    if (!texts || count < 2)
        return NULL;
    qsort(texts, count, sizeof *texts, text_order);
    for (uint32_t i = 1; i < count; i++)
        if (strcmp(texts[i - 1], texts[i]) == 0)
            return texts[i];
    return NULL;
}

#define CHECK_TWICE(c, list, count, type, member)                                                                  \
    do {                                                                                                           \
        const char *name = twice(c, (c)->list, (c)->count, sizeof(struct type), offsetof(struct type, member));    \
        for (uint32_t i = name ? (c)->count : 0; i-- > 0;)                                                         \
            if (strcmp((c)->list[i].member, name) == 0)                                                            \
                return config_fail(c, (c)->list[i].mark, e, key_name(c, #list, i, #member), "'%s' is given twice", \
                                   name);                                                                          \
    } while (0)

static int check_names(struct config *c, struct err *e)
{
    CHECK_TWICE(c, credentials, credential_count, config_credential, access_key_id);
    CHECK_TWICE(c, streams, stream_count, config_stream, name);
    CHECK_TWICE(c, routes, route_count, config_route, path);
    CHECK_TWICE(c, deliveries, delivery_count, config_delivery, name);
    return ST_OK;
}

static int check_route(struct config *c, uint32_t i, struct err *e)
{
    struct config_route *r = &c->routes[i];
    if (r->auth == CONFIG_AUTH_AUTO)
        r->auth = r->keys_file ? CONFIG_AUTH_KEY : c->credential_count ? CONFIG_AUTH_SIGV4 : CONFIG_AUTH_NONE;
    if (r->auth == CONFIG_AUTH_SIGV4 && c->credential_count == 0)
        return config_fail(c, r->auth_mark, e, key_name(c, "routes", i, "auth"), "'sigv4' needs `credentials`");
    if (r->auth == CONFIG_AUTH_KEY && !r->keys_file)
        return config_fail(c, r->auth_mark, e, key_name(c, "routes", i, "auth"), "'key' needs `keys_file`");
    if (r->keys_file && r->auth != CONFIG_AUTH_KEY)
        return config_fail(c, r->keys_file_mark, e, key_name(c, "routes", i, "keys_file"), "needs `auth: key`");
    return ST_OK;
}

/* The form only; the checksum is looked at where the key is used (firehose/age_recipient.h). */
static bool recipient_plausible(const char *text)
{
    static const char bech32[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    size_t len = strlen(text);
    if (len != 62 || strncmp(text, "age1", 4) != 0)
        return false;
    return strspn(text + 4, bech32) == len - 4;
}

static int check_recipients(struct config *c, uint32_t i, struct err *e)
{
    const struct config_delivery *d = &c->deliveries[i];
    const struct config_texts *age = &d->encryption.age;
    const char *key = key_name(c, "deliveries", i, d->encryption.age_file ? "encryption.age_file" : "encryption.age");
    if (age->count > RECIPIENTS_MAX)
        return config_fail(c, d->encryption_mark, e, key, "names more than %u recipients", RECIPIENTS_MAX);
    for (uint32_t k = 0; k < age->count; k++) {
        if (strncmp(age->item[k], "AGE-SECRET-KEY-", 15) == 0)
            return config_fail(c, d->encryption_mark, e, key,
                               "holds a secret key; the daemon must only know public ones (age-keygen -y turns it "
                               "into age1...)");
        if (!recipient_plausible(age->item[k]))
            return config_fail(c, d->encryption_mark, e, key,
                               "'%.80s' is not an age recipient (age1 and 58 characters)", age->item[k]);
    }
    return ST_OK;
}

/* "scheme://host[:port]", as browsers send it. */
static int check_origins(struct config *c, struct err *e)
{
    for (uint32_t i = 0; i < c->origins.count; i++) {
        const char *origin = c->origins.item[i], *host = strstr(origin, "://");
        if (!host || host == origin || host[3] == 0 || strchr(host + 3, '/'))
            return config_fail(c, (struct config_mark){0}, e, "origins",
                               "'%.200s' is not an origin (like https://console.example.com)", origin);
    }
    return ST_OK;
}

/* Architecture, decision 11: without credentials loopback only, unless that is said explicitly. */
static int check_listen(struct config *c, struct err *e)
{
    if (c->listen.loopback || c->credential_count || c->allow_unsigned)
        return ST_OK;
    return err_set(
        e, ST_INVALID,
        "%s: '%s' is not a loopback address, and without `credentials` anybody who reaches it could read and "
        "write; configure credentials, or say --allow-unsigned",
        c->listen_origin ? c->listen_origin : "listen", c->listen.host);
}

int config_check(struct config *c, struct err *e)
{
    int status = check_names(c, e);
    for (uint32_t i = 0; i < c->route_count && status == 0; i++)
        status = check_route(c, i, e);
    for (uint32_t i = 0; i < c->delivery_count && status == 0; i++)
        status = check_recipients(c, i, e);
    if (status == 0)
        status = check_origins(c, e);
    if (status == 0 && c->segments.min_bytes > c->segments.max_bytes)
        status = config_fail(c, (struct config_mark){0}, e, "segments.min", "is above segments.max");
    return status < 0 ? status : check_listen(c, e);
}

/* ---- against what exists ----------------------------------------------------------------------------------------- */

static bool configured(const struct config *c, const char *name)
{
    for (uint32_t i = 0; i < c->stream_count; i++)
        if (strcmp(c->streams[i].name, name) == 0)
            return true;
    return false;
}

static int no_such_stream(const struct config *c, struct config_mark mark, const char *list, uint32_t i,
                          const char *key, const char *name, struct err *e)
{
    const char *names[64], *near;
    char path[64];
    uint32_t count = 0;
    for (; count < c->stream_count && count < ARRAY_COUNT(names); count++)
        names[count] = c->streams[count].name;
    near = config_nearest(slice_str(name), names, count);
    snprintf(path, sizeof path, "%s[%u].%s", list, i, key);
    if (near)
        return config_fail(c, mark, e, path, "there is no stream '%s'; did you mean '%s'?", name, near);
    return config_fail(c, mark, e, path, "there is no stream '%s'; name it under `streams` and it is made", name);
}

int config_check_streams(const struct config *c, bool (*exists)(void *ctx, const char *name), void *ctx, struct err *e)
{
    for (uint32_t i = 0; i < c->route_count; i++) {
        const struct config_route *r = &c->routes[i];
        if (!configured(c, r->stream) && !exists(ctx, r->stream))
            return no_such_stream(c, r->stream_mark, "routes", i, "stream", r->stream, e);
    }
    for (uint32_t i = 0; i < c->delivery_count; i++) {
        const struct config_delivery *d = &c->deliveries[i];
        if (d->source && !configured(c, d->source) && !exists(ctx, d->source))
            return no_such_stream(c, d->source_mark, "deliveries", i, "source", d->source, e);
    }
    return ST_OK;
}
