/*
 * The catalog in SQLite. It owns one connection; who else might open the file is locked out (locking_mode=EXCLUSIVE).
 *
 * Durability: a write-ahead log with synchronous=FULL. A change is durable when its call returns, at the price of one
 * sync (a rollback journal takes three, and two directory operations); a kill or power cut leaves whole transactions
 * only. EXCLUSIVE besides keeps the WAL's index in our memory, so there is no -shm file and no shared mapping.
 *
 * Happy path of a change: begin() takes the lock and BEGIN IMMEDIATE, statements run, finish() commits or rolls back
 * and gives the lock back. Outputs (uids) are handed over after the commit.
 *
 * Failure: an error before the commit rolls back; nothing happened. After an I/O error or damage memory and disk may
 * disagree, so the handle is broken: every later change gets ST_FENCED until the daemon has been restarted. A full disk
 * (-ENOSPC) is no such error.
 *
 * Any thread; the handle's mutex lets in one call at a time.
 */
#include "broker/catalog/catalog.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/catalog/catalog_backend.h"
#include "broker/catalog/catalog_schema.h"
#include "common/base/check.h"

struct catalog_sqlite {
    struct catalog base;
    sqlite3 *db;
    pthread_mutex_t lock;
    bool broken; /* an I/O error or damage was seen */
};

static struct catalog_sqlite *sqlite_of(struct catalog *c)
{
    return CONTAINER_OF(c, struct catalog_sqlite, base);
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

/* One value for a statement. */
struct bind {
    enum { BIND_INT, BIND_TEXT, BIND_BLOB } kind;
    int64_t number;
    struct slice bytes;
};

static struct bind bind_int(int64_t v)
{
    return (struct bind){BIND_INT, v, SLICE_NULL};
}

static struct bind bind_u64(uint64_t v)
{
    return (struct bind){BIND_INT, (int64_t)v, SLICE_NULL};
}

static struct bind bind_text(const char *s)
{
    return (struct bind){BIND_TEXT, 0, slice_str(s ? s : "")};
}

static struct bind bind_blob(const void *p, size_t len)
{
    return (struct bind){BIND_BLOB, 0, slice_of(p, len)};
}

static int bind_one(sqlite3_stmt *st, int at, const struct bind *b)
{
    const char *bytes = b->bytes.len ? (const char *)b->bytes.ptr : "";
    switch (b->kind) {
    case BIND_INT:
        return sqlite3_bind_int64(st, at, b->number);
    case BIND_TEXT:
        return sqlite3_bind_text64(st, at, bytes, b->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite3_bind_blob64(st, at, bytes, b->bytes.len, SQLITE_STATIC);
    }
}

/* What SQLite says, as a status; remembers what must not be survived. */
static int sql_status(struct catalog_sqlite *c)
{
    int status = catalog_status(c->db);
    if (status == -EIO || status == ST_CORRUPT)
        c->broken = true;
    return status < 0 ? status : ST_FAILED;
}

static int prepare(struct catalog_sqlite *c, const char *sql, const struct bind *b, int count, sqlite3_stmt **out)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(c->db, sql, -1, &st, NULL) != SQLITE_OK)
        return sql_status(c);
    for (int i = 0; i < count; i++) {
        if (bind_one(st, i + 1, &b[i]) != SQLITE_OK) {
            sqlite3_finalize(st);
            return -ENOMEM;
        }
    }
    *out = st;
    return ST_OK;
}

/* Runs a change; the number of rows that it touched, or an error. */
static int run(struct catalog_sqlite *c, const char *sql, const struct bind *b, int count)
{
    sqlite3_stmt *st;
    int status = prepare(c, sql, b, count, &st);
    if (status < 0)
        return status;
    if (sqlite3_step(st) == SQLITE_DONE)
        status = sqlite3_changes(c->db);
    else
        status = sql_status(c);
    sqlite3_finalize(st);
    return status;
}
#define RUN(c, sql, ...) \
    run(c, sql, (struct bind[]){__VA_ARGS__}, (int)(sizeof((struct bind[]){__VA_ARGS__}) / sizeof(struct bind)))

/* A change of one row: ST_NOT_FOUND if there was none. */
static int one_row(int status)
{
    return status == 0 ? ST_NOT_FOUND : status < 0 ? status : ST_OK;
}

/* A single number out of the database; ST_NOT_FOUND without a row. */
static int query_one(struct catalog_sqlite *c, const char *sql, struct bind b, int64_t *out)
{
    sqlite3_stmt *st;
    int status = prepare(c, sql, &b, 1, &st);
    if (status < 0)
        return status;
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else
        status = step == SQLITE_DONE ? ST_NOT_FOUND : sql_status(c);
    sqlite3_finalize(st);
    return status;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static int begin(struct catalog_sqlite *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->broken)
        return ST_FENCED;
    return sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK ? ST_OK : sql_status(c);
}

/* Ends what begin() began, also where that failed: commits if `status` is 0, else rolls back. */
static int finish(struct catalog_sqlite *c, int status)
{
    if (status == ST_OK && sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        status = sql_status(c);
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* Takes `count` uids from the counter; they are spent with the transaction. */
static int take_uids(struct catalog_sqlite *c, uint64_t count, uint64_t *out_first)
{
    int64_t next = 0;
    int status = query_one(c, "SELECT next FROM uid WHERE one = ?", bind_int(1), &next);
    if (status == 0)
        status = one_row(RUN(c, "UPDATE uid SET next = ?", bind_u64((uint64_t)next + count)));
    if (status == 0)
        *out_first = (uint64_t)next;
    return status == ST_NOT_FOUND ? ST_CORRUPT : status;
}

/* ---- streams and shards ------------------------------------------------------------------------------------------ */

static int insert_stream(struct catalog_sqlite *c, uint64_t uid, const struct catalog_stream *s)
{
    return one_row(RUN(c, "INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", bind_u64(uid), bind_text(s->name),
                       bind_int(s->status), bind_int(s->mode), bind_int(s->internal), bind_int(s->created.ms),
                       bind_int(s->retention_ms), bind_u64(s->retention_bytes), bind_int(s->record_bytes_max),
                       bind_int(s->next_shard_index)));
}

static int update_stream(struct catalog_sqlite *c, const struct catalog_stream *s)
{
    return one_row(RUN(c,
                       "UPDATE stream SET status = ?, mode = ?, internal = ?, created_ms = ?, retention_ms = ?,"
                       " retention_bytes = ?, record_bytes_max = ?, next_shard_index = ? WHERE uid = ?",
                       bind_int(s->status), bind_int(s->mode), bind_int(s->internal), bind_int(s->created.ms),
                       bind_int(s->retention_ms), bind_u64(s->retention_bytes), bind_int(s->record_bytes_max),
                       bind_int(s->next_shard_index), bind_u64(s->uid)));
}

static int insert_shard(struct catalog_sqlite *c, uint64_t uid, uint64_t stream_uid, const struct catalog_shard *s)
{
    return one_row(RUN(c, "INSERT INTO shard VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", bind_u64(uid),
                       bind_u64(stream_uid), bind_int(s->index), bind_int(s->state), bind_blob(&s->first_hash, 16),
                       bind_blob(&s->last_hash, 16), bind_int(s->parent), bind_int(s->adjacent_parent),
                       bind_int(s->created.ms), bind_u64(s->first_counter), bind_u64(s->end_counter)));
}

static int update_shard(struct catalog_sqlite *c, const struct catalog_shard *s)
{
    return one_row(RUN(c,
                       "UPDATE shard SET state = ?, first_hash = ?, last_hash = ?, parent = ?, adjacent_parent = ?,"
                       " created_ms = ?, first_counter = ?, end_counter = ? WHERE uid = ? AND stream_uid = ?",
                       bind_int(s->state), bind_blob(&s->first_hash, 16), bind_blob(&s->last_hash, 16),
                       bind_int(s->parent), bind_int(s->adjacent_parent), bind_int(s->created.ms),
                       bind_u64(s->first_counter), bind_u64(s->end_counter), bind_u64(s->uid),
                       bind_u64(s->stream_uid)));
}

static int insert_shards(struct catalog_sqlite *c, uint64_t first_uid, uint64_t stream_uid,
                         const struct catalog_shard *shards, uint32_t count)
{
    int status = ST_OK;
    for (uint32_t i = 0; i < count && status == 0; i++)
        status = insert_shard(c, first_uid + i, stream_uid, &shards[i]);
    return status;
}

static void fill_in_shards(struct catalog_shard *shards, uint32_t count, uint64_t first_uid, uint64_t stream_uid)
{
    for (uint32_t i = 0; i < count; i++) {
        shards[i].uid = first_uid + i;
        shards[i].stream_uid = stream_uid;
    }
}

static int sqlite_stream_add(struct catalog *base, struct catalog_stream *s, struct catalog_shard *shards,
                             uint32_t shard_count)
{
    struct catalog_sqlite *c = sqlite_of(base);
    uint64_t uid = 0;
    int status = begin(c);
    if (status == 0)
        status = take_uids(c, 1 + (uint64_t)shard_count, &uid);
    if (status == 0)
        status = insert_stream(c, uid, s);
    if (status == 0)
        status = insert_shards(c, uid + 1, uid, shards, shard_count);
    status = finish(c, status);
    if (status < 0)
        return status;
    s->uid = uid;
    fill_in_shards(shards, shard_count, uid + 1, uid);
    return ST_OK;
}

static int sqlite_stream_update(struct catalog *base, const struct catalog_stream *s)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status = update_stream(c, s);
    return finish(c, status);
}

static int sqlite_stream_mark_deleting(struct catalog *base, uint64_t uid)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status =
            one_row(RUN(c, "UPDATE stream SET status = ? WHERE uid = ?", bind_int(STREAM_DELETING), bind_u64(uid)));
    if (status == 0)
        status = RUN(c, "UPDATE shard SET state = ? WHERE stream_uid = ?", bind_int(SHARD_DELETING), bind_u64(uid));
    return finish(c, status < 0 ? status : ST_OK);
}

static int sqlite_stream_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int64_t stream_status = 0;
    int status = begin(c);
    if (status == 0)
        status = query_one(c, "SELECT status FROM stream WHERE uid = ?", bind_u64(uid), &stream_status);
    if (status == 0 && stream_status != STREAM_DELETING)
        status = ST_CONFLICT;
    if (status == 0)
        status = RUN(c, "DELETE FROM shard WHERE stream_uid = ?", bind_u64(uid));
    if (status >= 0)
        status = one_row(RUN(c, "DELETE FROM stream WHERE uid = ?", bind_u64(uid)));
    return finish(c, status);
}

static int sqlite_reshard(struct catalog *base, const struct catalog_stream *s, const struct catalog_shard *changed,
                          uint32_t changed_count, struct catalog_shard *added, uint32_t added_count)
{
    struct catalog_sqlite *c = sqlite_of(base);
    uint64_t first_uid = 0;
    int status = begin(c);
    if (status == 0)
        status = update_stream(c, s);
    for (uint32_t i = 0; i < changed_count && status == 0; i++)
        status = changed[i].stream_uid == s->uid ? update_shard(c, &changed[i]) : ST_NOT_FOUND;
    if (status == 0)
        status = take_uids(c, added_count, &first_uid);
    if (status == 0)
        status = insert_shards(c, first_uid, s->uid, added, added_count);
    status = finish(c, status);
    if (status == 0)
        fill_in_shards(added, added_count, first_uid, s->uid);
    return status;
}

static int sqlite_shard_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status = one_row(RUN(c, "DELETE FROM shard WHERE uid = ?", bind_u64(uid)));
    return finish(c, status);
}

/* ---- deliveries and values --------------------------------------------------------------------------------------- */

static int sqlite_delivery_add(struct catalog *base, struct catalog_delivery *d)
{
    struct catalog_sqlite *c = sqlite_of(base);
    uint64_t uid = 0;
    int status = begin(c);
    if (status == 0)
        status = take_uids(c, 1, &uid);
    if (status == 0)
        status = one_row(RUN(c, "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", bind_u64(uid),
                             bind_text(d->name), bind_u64(d->source_stream_uid), bind_int(d->direct_put),
                             bind_int(d->from_config), bind_int(d->version), bind_int(d->created.ms),
                             bind_int(d->updated.ms), bind_int(d->deleting), bind_text(d->settings_json)));
    status = finish(c, status);
    if (status == 0)
        d->uid = uid;
    return status;
}

static int sqlite_delivery_update(struct catalog *base, const struct catalog_delivery *d)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status = one_row(RUN(c,
                             "UPDATE delivery SET source_stream_uid = ?, direct_put = ?, from_config = ?, version = ?,"
                             " created_ms = ?, updated_ms = ?, deleting = ?, settings_json = ? WHERE uid = ?",
                             bind_u64(d->source_stream_uid), bind_int(d->direct_put), bind_int(d->from_config),
                             bind_int(d->version), bind_int(d->created.ms), bind_int(d->updated.ms),
                             bind_int(d->deleting), bind_text(d->settings_json), bind_u64(d->uid)));
    return finish(c, status);
}

static int sqlite_delivery_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status = one_row(RUN(c, "DELETE FROM delivery WHERE uid = ?", bind_u64(uid)));
    return finish(c, status);
}

static int sqlite_value_get(struct catalog *base, const char *key, void *out, size_t cap, size_t *out_len)
{
    struct catalog_sqlite *c = sqlite_of(base);
    struct bind b = bind_text(key);
    sqlite3_stmt *st = NULL;
    pthread_mutex_lock(&c->lock);
    int status = prepare(c, "SELECT value FROM value WHERE key = ?", &b, 1, &st);
    int step = status == 0 ? sqlite3_step(st) : SQLITE_ERROR;
    if (step == SQLITE_ROW) {
        const void *bytes = sqlite3_column_blob(st, 0);
        size_t len = (size_t)sqlite3_column_bytes(st, 0);
        if (len && cap)
            memcpy(out, bytes, len < cap ? len : cap);
        *out_len = len;
    } else if (status == 0) {
        status = step == SQLITE_DONE ? ST_NOT_FOUND : sql_status(c);
    }
    sqlite3_finalize(st);
    pthread_mutex_unlock(&c->lock);
    return status;
}

static int sqlite_value_put(struct catalog *base, const char *key, struct slice value)
{
    struct catalog_sqlite *c = sqlite_of(base);
    int status = begin(c);
    if (status == 0)
        status =
            one_row(RUN(c, "INSERT INTO value VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                        bind_text(key), bind_blob(value.ptr, value.len)));
    return finish(c, status);
}

/* ---- reading everything ------------------------------------------------------------------------------------------ */

static uint64_t column_u64(sqlite3_stmt *st, int at)
{
    return (uint64_t)sqlite3_column_int64(st, at);
}

static void column_name(sqlite3_stmt *st, int at, char out[CATALOG_NAME_MAX + 1])
{
    const char *text = (const char *)sqlite3_column_text(st, at);
    size_t len = text ? strnlen(text, CATALOG_NAME_MAX) : 0;
    if (len)
        memcpy(out, text, len);
    out[len] = 0;
}

static void column_hash(sqlite3_stmt *st, int at, struct hash_key *out)
{
    const void *bytes = sqlite3_column_blob(st, at);
    if (bytes && sqlite3_column_bytes(st, at) == sizeof out->byte)
        memcpy(out->byte, bytes, sizeof out->byte);
}

/* Calls `row` for each row of the query; 0, an error, or what `row` returned if not 0. */
static int each_row(struct catalog *base, const char *sql, int (*row)(sqlite3_stmt *st, void *ctx), void *ctx)
{
    struct catalog_sqlite *c = sqlite_of(base);
    sqlite3_stmt *st = NULL;
    pthread_mutex_lock(&c->lock);
    int status = prepare(c, sql, NULL, 0, &st);
    int step = SQLITE_DONE;
    while (status == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
        status = row(st, ctx);
    if (status == 0 && step != SQLITE_DONE)
        status = sql_status(c);
    sqlite3_finalize(st);
    pthread_mutex_unlock(&c->lock);
    return status;
}

struct stream_visit {
    int (*visit)(void *ctx, const struct catalog_stream *s);
    void *ctx;
};

static int stream_row(sqlite3_stmt *st, void *ctx)
{
    struct stream_visit *v = ctx;
    struct catalog_stream s = {.uid = column_u64(st, 0),
                               .status = (enum stream_status)sqlite3_column_int(st, 2),
                               .mode = (enum stream_mode)sqlite3_column_int(st, 3),
                               .internal = sqlite3_column_int(st, 4) != 0,
                               .created = {sqlite3_column_int64(st, 5)},
                               .retention_ms = sqlite3_column_int64(st, 6),
                               .retention_bytes = column_u64(st, 7),
                               .record_bytes_max = (uint32_t)sqlite3_column_int64(st, 8),
                               .next_shard_index = (uint32_t)sqlite3_column_int64(st, 9)};
    column_name(st, 1, s.name);
    return v->visit(v->ctx, &s);
}

static int sqlite_each_stream(struct catalog *base, int (*visit)(void *, const struct catalog_stream *), void *ctx)
{
    struct stream_visit v = {visit, ctx};
    return each_row(base, "SELECT * FROM stream ORDER BY uid", stream_row, &v);
}

struct shard_visit {
    int (*visit)(void *ctx, const struct catalog_shard *s);
    void *ctx;
};

static int shard_row(sqlite3_stmt *st, void *ctx)
{
    struct shard_visit *v = ctx;
    struct catalog_shard s = {.uid = column_u64(st, 0),
                              .stream_uid = column_u64(st, 1),
                              .index = (uint32_t)sqlite3_column_int64(st, 2),
                              .state = (enum shard_state)sqlite3_column_int(st, 3),
                              .parent = sqlite3_column_int64(st, 6),
                              .adjacent_parent = sqlite3_column_int64(st, 7),
                              .created = {sqlite3_column_int64(st, 8)},
                              .first_counter = column_u64(st, 9),
                              .end_counter = column_u64(st, 10)};
    column_hash(st, 4, &s.first_hash);
    column_hash(st, 5, &s.last_hash);
    return v->visit(v->ctx, &s);
}

static int sqlite_each_shard(struct catalog *base, int (*visit)(void *, const struct catalog_shard *), void *ctx)
{
    struct shard_visit v = {visit, ctx};
    return each_row(base, "SELECT * FROM shard ORDER BY stream_uid, idx", shard_row, &v);
}

struct delivery_visit {
    int (*visit)(void *ctx, const struct catalog_delivery *d);
    void *ctx;
};

static int delivery_row(sqlite3_stmt *st, void *ctx)
{
    struct delivery_visit *v = ctx;
    const char *settings = (const char *)sqlite3_column_text(st, 9);
    struct catalog_delivery d = {.uid = column_u64(st, 0),
                                 .source_stream_uid = column_u64(st, 2),
                                 .direct_put = sqlite3_column_int(st, 3) != 0,
                                 .from_config = sqlite3_column_int(st, 4) != 0,
                                 .version = (uint32_t)sqlite3_column_int64(st, 5),
                                 .created = {sqlite3_column_int64(st, 6)},
                                 .updated = {sqlite3_column_int64(st, 7)},
                                 .deleting = sqlite3_column_int(st, 8) != 0,
                                 .settings_json = settings ? settings : ""};
    column_name(st, 1, d.name);
    return v->visit(v->ctx, &d);
}

static int sqlite_each_delivery(struct catalog *base, int (*visit)(void *, const struct catalog_delivery *), void *ctx)
{
    struct delivery_visit v = {visit, ctx};
    return each_row(base, "SELECT * FROM delivery ORDER BY uid", delivery_row, &v);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void sqlite_close(struct catalog *base)
{
    struct catalog_sqlite *c = sqlite_of(base);
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static const struct catalog_ops sqlite_ops = {
    .close = sqlite_close,
    .each_stream = sqlite_each_stream,
    .each_shard = sqlite_each_shard,
    .each_delivery = sqlite_each_delivery,
    .stream_add = sqlite_stream_add,
    .stream_update = sqlite_stream_update,
    .stream_mark_deleting = sqlite_stream_mark_deleting,
    .stream_remove = sqlite_stream_remove,
    .reshard = sqlite_reshard,
    .shard_remove = sqlite_shard_remove,
    .delivery_add = sqlite_delivery_add,
    .delivery_update = sqlite_delivery_update,
    .delivery_remove = sqlite_delivery_remove,
    .value_get = sqlite_value_get,
    .value_put = sqlite_value_put,
};

/* Makes the file with mode 0600 (settings may hold secrets); SQLite gives its WAL the same. */
static int create_private(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_status(e, -errno, "open");
    close(fd);
    return ST_OK;
}

static int pragma(sqlite3 *db, const char *sql, struct err *e)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return ST_OK;
    int status = catalog_status(db);
    if (status == -EBUSY)
        return err_set(e, status, "another process has it open");
    return err_set(e, status < 0 ? status : ST_FAILED, "%s: %s", sql, sqlite3_errmsg(db));
}

/* Reads the whole database once: damage is found at the start, not by the first reader of a bad page. It is small. */
static int check_pages(sqlite3 *db, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int status = ST_CORRUPT;
    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
        err_set(e, status, "%s", sqlite3_errmsg(db));
    else if (strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0)
        err_set(e, status, "%s", (const char *)sqlite3_column_text(st, 0));
    else
        status = ST_OK;
    sqlite3_finalize(st);
    return status;
}

/* The version is looked at before anything is written: a newer database stays as it is. */
static int set_up(sqlite3 *db, struct err *e)
{
    int status =
        pragma(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON", e);
    if (status == 0)
        status = pragma(db, "BEGIN; SELECT * FROM sqlite_schema; COMMIT", e);
    if (status == 0)
        status = check_pages(db, e);
    if (status == 0)
        status = catalog_check_version(db, catalog_step_count, e);
    if (status == 0)
        status = pragma(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", e);
    if (status == 0)
        status = catalog_migrate(db, catalog_steps, catalog_step_count, e);
    return status;
}

int catalog_open_sqlite(const char *path, struct catalog **out, struct err *e)
{
    CHECK(sqlite3_threadsafe());
    struct catalog_sqlite *c = calloc(1, sizeof *c);
    if (!c)
        return err_set_status(e, -ENOMEM, "catalog '%s'", path);
    c->base.ops = &sqlite_ops;
    pthread_mutex_init(&c->lock, NULL);
    int status = create_private(path, e);
    if (status == 0 && sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        status = err_set(e, c->db ? catalog_status(c->db) : -ENOMEM, "%s", c->db ? sqlite3_errmsg(c->db) : "no memory");
    if (status == 0)
        status = set_up(c->db, e);
    if (status < 0) {
        sqlite_close(&c->base);
        err_wrap(e, "catalog '%s'", path);
        return status;
    }
    *out = &c->base;
    return ST_OK;
}
