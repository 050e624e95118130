/*
 * The catalog's tables and their history (see catalog_schema.h).
 *
 * Unsigned 64-bit values lie in SQLite's signed integers as their two's complement: UINT64_MAX is -1. Uids come from
 * one counter and stay below 2^63. The tables are STRICT, so that a value of another type is refused, not converted.
 */
#include "broker/catalog/catalog_schema.h"

#include <sqlite3.h>
#include <stdio.h>

/* Version 1. */
static const char step_1[] = "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
                             "CREATE TABLE uid (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL) STRICT;"
                             "INSERT INTO uid VALUES (1, 1);"
                             "CREATE TABLE stream ("
                             "  uid INTEGER PRIMARY KEY,"
                             "  name TEXT NOT NULL UNIQUE,"
                             "  status INTEGER NOT NULL,"
                             "  mode INTEGER NOT NULL,"
                             "  internal INTEGER NOT NULL,"
                             "  created_ms INTEGER NOT NULL,"
                             "  retention_ms INTEGER NOT NULL,"
                             "  retention_bytes INTEGER NOT NULL,"
                             "  record_bytes_max INTEGER NOT NULL,"
                             "  next_shard_index INTEGER NOT NULL) STRICT;"
                             "CREATE TABLE shard ("
                             "  uid INTEGER PRIMARY KEY,"
                             "  stream_uid INTEGER NOT NULL REFERENCES stream (uid),"
                             "  idx INTEGER NOT NULL,"
                             "  state INTEGER NOT NULL,"
                             "  first_hash BLOB NOT NULL CHECK (length(first_hash) = 16),"
                             "  last_hash BLOB NOT NULL CHECK (length(last_hash) = 16),"
                             "  parent INTEGER NOT NULL,"
                             "  adjacent_parent INTEGER NOT NULL,"
                             "  created_ms INTEGER NOT NULL,"
                             "  first_counter INTEGER NOT NULL,"
                             "  end_counter INTEGER NOT NULL,"
                             "  UNIQUE (stream_uid, idx)) STRICT;"
                             "CREATE TABLE delivery ("
                             "  uid INTEGER PRIMARY KEY,"
                             "  name TEXT NOT NULL UNIQUE,"
                             "  source_stream_uid INTEGER NOT NULL,"
                             "  direct_put INTEGER NOT NULL,"
                             "  from_config INTEGER NOT NULL,"
                             "  version INTEGER NOT NULL,"
                             "  created_ms INTEGER NOT NULL,"
                             "  updated_ms INTEGER NOT NULL,"
                             "  deleting INTEGER NOT NULL,"
                             "  settings_json TEXT NOT NULL) STRICT;";

const char *const catalog_steps[] = {step_1};
const uint32_t catalog_step_count = sizeof catalog_steps / sizeof catalog_steps[0];

int catalog_status(struct sqlite3 *db)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ST_OK;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_IOERR:
        return -EIO;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ST_CORRUPT;
    case SQLITE_CONSTRAINT: {
        int detail = sqlite3_extended_errcode(db);
        return detail == SQLITE_CONSTRAINT_UNIQUE || detail == SQLITE_CONSTRAINT_PRIMARYKEY ? ST_EXISTS : ST_INVALID;
    }
    default:
        return ST_FAILED;
    }
}

static int sql_failed(struct sqlite3 *db, struct err *e, const char *what)
{
    int status = catalog_status(db);
    return err_set(e, status < 0 ? status : ST_FAILED, "%s: %s", what, sqlite3_errmsg(db));
}

static int query_number(struct sqlite3 *db, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int status = ST_OK;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else
        status = sql_failed(db, e, sql);
    sqlite3_finalize(st);
    return status;
}

static int run_step(struct sqlite3 *db, const char *step, uint32_t version, struct err *e)
{
    char tail[128];
    snprintf(tail, sizeof tail, "PRAGMA application_id = %d; PRAGMA user_version = %u; COMMIT;", CATALOG_APPLICATION_ID,
             version);
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, step, NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(db, tail, NULL, NULL, NULL) == SQLITE_OK)
        return ST_OK;
    sql_failed(db, e, "SQLite");
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return err_wrap(e, "change to schema version %u", version);
}

static int read_version(struct sqlite3 *db, uint32_t count, uint32_t *out_version, struct err *e)
{
    int64_t application = 0, version = 0, tables = 0;
    int status = query_number(db, "PRAGMA application_id", &application, e);
    if (status == 0)
        status = query_number(db, "PRAGMA user_version", &version, e);
    if (status == 0)
        status = query_number(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
    if (status < 0)
        return status;
    if (application != CATALOG_APPLICATION_ID && (application != 0 || version != 0 || tables != 0))
        return err_set(e, ST_CORRUPT, "it is an SQLite database, but not a catalog of sluice");
    if (version < 0 || version > count)
        return err_set(e, ST_VERSION, "it has schema version %lld, made by a newer sluice; this one knows up to %u",
                       (long long)version, count);
    *out_version = (uint32_t)version;
    return ST_OK;
}

int catalog_check_version(struct sqlite3 *db, uint32_t count, struct err *e)
{
    uint32_t version;
    return read_version(db, count, &version, e);
}

int catalog_migrate(struct sqlite3 *db, const char *const *steps, uint32_t count, struct err *e)
{
    uint32_t version = 0;
    int status = read_version(db, count, &version, e);
    for (uint32_t v = version; v < count && status == 0; v++)
        status = run_step(db, steps[v], v + 1, e);
    return status;
}
