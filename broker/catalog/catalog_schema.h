/*
 * The tables of the catalog and how an older database becomes a current one: a list of steps, step n making schema
 * version n + 1 out of n. Each runs in one transaction together with the version's new number (PRAGMA user_version), so
 * that a kill in the middle leaves the version before. A step that has been released is never changed: what it made
 * lies on somebody's disk (tests/vectors/catalog/ keeps a database of each version).
 *
 * Private to broker/catalog and its tests.
 */
#ifndef SLUICE_CATALOG_CATALOG_SCHEMA_H
#define SLUICE_CATALOG_CATALOG_SCHEMA_H

#include <stdint.h>

#include "common/base/status.h"

struct sqlite3;

#define CATALOG_APPLICATION_ID 0x534c4354 /* "SLCT", in the database's header */

/* The steps, the last one making the current version. */
extern const char *const catalog_steps[];
extern const uint32_t catalog_step_count;

/* Looks only: ST_CORRUPT: not a catalog of ours, or unreadable; ST_VERSION: its version is above `count`. */
int catalog_check_version(struct sqlite3 *db, uint32_t count, struct err *e) must_use;
/* Brings an open database (an empty one too) to version `count` by the steps it lacks. The errors of
 * catalog_check_version; -ENOSPC, -EIO, -EACCES. */
int catalog_migrate(struct sqlite3 *db, const char *const *steps, uint32_t count, struct err *e) must_use;

/* SQLite's answer as one of ours: -ENOMEM, -EIO, -ENOSPC, -EACCES, -EBUSY, ST_CORRUPT, ST_EXISTS (a unique name or
 * index), ST_INVALID (another constraint), ST_FAILED. 0 for SQLITE_OK, _ROW, _DONE. */
int catalog_status(struct sqlite3 *db);

#endif
