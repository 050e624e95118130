/*
 * Names of objects: <prefix><name>-<version>-yyyy-MM-dd-HH-mm-ss-<unique><extension>. Pure; any thread.
 *
 * The unique part is 36 characters that look like a UUID and never come twice:
 *
 *     1f0c9a3e-0000-0000-002a-00000000004d
 *     |        |              ` the object's number in its delivery's journal, 48 bits
 *     |        ` the delivery's uid, 48 bits
 *     ` random, made with the journal: another journal (a lost one, another machine) gives other names
 */
#ifndef SLUICE_FIREHOSE_NAME_H
#define SLUICE_FIREHOSE_NAME_H

#include "common/base/bytebuf.h"
#include "firehose/delivery_settings.h"
#include "firehose/prefix_expression.h"
#include "firehose/sink.h"

#define NAME_UNIQUE_CHARS 36u
/* Up to the object's number: the same for all objects of a delivery. */
#define NAME_UNIQUE_PREFIX_CHARS 24u

/* Writes the unique part, NUL-terminated. */
void name_unique(uint32_t incarnation, uint64_t delivery_uid, uint64_t object, char out[NAME_UNIQUE_CHARS + 1]);
/* The name of what an attempt at the object stages: "<unique>.<attempt>". */
void name_stage(uint32_t incarnation, uint64_t delivery_uid, uint64_t object, uint32_t attempt,
                char out[SINK_STAGE_MAX + 1]);
/* The object's key behind the sink's base. ST_LIMIT: longer than SINK_KEY_MAX; ST_INVALID: a component is ".." or a NUL
 * is in it. */
int name_object_key(const struct delivery_settings *settings, const char *unique, const struct prefix_values *values,
                    char out[SINK_KEY_MAX + 1]) must_use;

#endif
