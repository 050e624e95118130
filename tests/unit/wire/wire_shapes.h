/*
 * Operations to test the wire layer with, after Kinesis's models: PutRecords, GetShardIterator, GetRecords, AddTags and
 * RemoveTags, and "Everything", which has a member of each type. Used by the unit tests and the fuzz target.
 */
#ifndef SLUICE_TESTS_WIRE_SHAPES_H
#define SLUICE_TESTS_WIRE_SHAPES_H

#include "common/wire/shape.h"

struct put_records_entry {
    struct slice partition_key, explicit_hash_key, data;
};
struct put_records_in {
    LIST_OF(struct put_records_entry) records;
    struct slice stream_name;
};
extern const struct shape put_records_in;

enum iterator_type { AFTER_SEQUENCE_NUMBER = 1, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON };
struct get_shard_iterator_in {
    struct slice shard_id;
    int shard_iterator_type; /* enum iterator_type */
    struct slice starting_sequence_number, stream_name;
    struct opt_time timestamp;
};
extern const struct shape get_shard_iterator_in;

struct get_records_in {
    struct opt_int limit;
    struct slice shard_iterator;
};
extern const struct shape get_records_in;

struct add_tags_in {
    struct shape_map tags;
    struct slice stream_name;
};
extern const struct shape add_tags_in;

struct remove_tags_in {
    LIST_OF(struct slice) tag_keys;
    struct slice stream_name;
};
extern const struct shape remove_tags_in;

struct inner {
    struct slice name, note;
    LIST_OF(struct inner_item) items;
};
struct inner_item {
    struct opt_long n;
    LIST_OF(int) kinds;
};
struct everything {
    struct slice text, arn;
    struct slice bytes;
    int kind;
    struct opt_int small;
    struct opt_long big;
    struct opt_double ratio;
    struct opt_bool flag;
    struct opt_time when;
    LIST_OF(struct slice) names;
    LIST_OF(int) kinds;
    LIST_OF(struct opt_int) numbers;
    struct shape_map tags;
    struct inner *inner;
};
extern const struct shape everything;

struct nothing {
    char unused;
};
extern const struct shape nothing_shape;

#endif
