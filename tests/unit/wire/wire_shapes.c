#include "wire_shapes.h"

static const struct shape stream_name = {SHAPE_STRING, SHAPE_RANGE(1, 128), .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape shard_id = {SHAPE_STRING, SHAPE_RANGE(1, 128), .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape hash_key = {SHAPE_STRING, .pattern = "0|([1-9]\\d{0,38})"};
static const struct shape sequence_number = {SHAPE_STRING, .pattern = "0|([1-9]\\d{0,128})"};
static const struct shape partition_key = {SHAPE_STRING, SHAPE_RANGE(1, 256)};
static const struct shape data = {SHAPE_BLOB, SHAPE_MAX(1048576)};

static const struct member put_records_entry_members[] = {
    MEMBER_STRING(struct put_records_entry, partition_key, "PartitionKey", &partition_key, REQUIRED),
    MEMBER_STRING(struct put_records_entry, explicit_hash_key, "ExplicitHashKey", &hash_key, OPTIONAL),
    MEMBER_BLOB(struct put_records_entry, data, "Data", &data, REQUIRED),
};
static const struct shape put_records_entry = SHAPE_OF(struct put_records_entry, put_records_entry_members,
                                                       "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry");
static const struct shape put_records_list = {SHAPE_LIST, SHAPE_RANGE(1, 500), .element = &put_records_entry};
static const struct member put_records_members[] = {
    MEMBER_LIST(struct put_records_in, records, "Records", &put_records_list, REQUIRED),
    MEMBER_STRING(struct put_records_in, stream_name, "StreamName", &stream_name, REQUIRED),
};
const struct shape put_records_in = SHAPE_OF(struct put_records_in, put_records_members, NULL);

static const char *const iterator_types[] = {"AFTER_SEQUENCE_NUMBER", "LATEST",       "AT_TIMESTAMP",
                                             "AT_SEQUENCE_NUMBER",    "TRIM_HORIZON", NULL};
static const struct shape iterator_type = {SHAPE_ENUM, .values = iterator_types};
static const struct member get_shard_iterator_members[] = {
    MEMBER_STRING(struct get_shard_iterator_in, shard_id, "ShardId", &shard_id, REQUIRED),
    MEMBER_ENUM(struct get_shard_iterator_in, shard_iterator_type, "ShardIteratorType", &iterator_type, REQUIRED),
    MEMBER_STRING(struct get_shard_iterator_in, starting_sequence_number, "StartingSequenceNumber", &sequence_number,
                  OPTIONAL),
    MEMBER_STRING(struct get_shard_iterator_in, stream_name, "StreamName", &stream_name, REQUIRED),
    MEMBER_TIME(struct get_shard_iterator_in, timestamp, "Timestamp", &shape_timestamp, OPTIONAL),
};
const struct shape get_shard_iterator_in = SHAPE_OF(struct get_shard_iterator_in, get_shard_iterator_members, NULL);

static const struct shape limit = {SHAPE_INTEGER, SHAPE_RANGE(1, 10000)};
static const struct shape shard_iterator = {SHAPE_STRING, SHAPE_RANGE(1, 512)};
static const struct member get_records_members[] = {
    MEMBER_INTEGER(struct get_records_in, limit, "Limit", &limit, OPTIONAL),
    MEMBER_STRING(struct get_records_in, shard_iterator, "ShardIterator", &shard_iterator, REQUIRED),
};
const struct shape get_records_in = SHAPE_OF(struct get_records_in, get_records_members, NULL);

static const struct shape tag_key = {SHAPE_STRING, SHAPE_RANGE(1, 128)};
static const struct shape tag_value = {SHAPE_STRING, SHAPE_RANGE(0, 256)};
static const struct shape tag_map = {SHAPE_MAP, SHAPE_RANGE(1, 10), .key = &tag_key, .element = &tag_value};
static const struct member add_tags_members[] = {
    MEMBER_MAP(struct add_tags_in, tags, "Tags", &tag_map, REQUIRED),
    MEMBER_STRING(struct add_tags_in, stream_name, "StreamName", &stream_name, REQUIRED),
};
const struct shape add_tags_in = SHAPE_OF(struct add_tags_in, add_tags_members, NULL);

static const struct shape tag_key_list = {SHAPE_LIST, SHAPE_RANGE(1, 10), .element = &tag_key};
static const struct member remove_tags_members[] = {
    MEMBER_LIST(struct remove_tags_in, tag_keys, "TagKeys", &tag_key_list, REQUIRED),
    MEMBER_STRING(struct remove_tags_in, stream_name, "StreamName", &stream_name, REQUIRED),
};
const struct shape remove_tags_in = SHAPE_OF(struct remove_tags_in, remove_tags_members, NULL);

static const struct shape kind_list = {SHAPE_LIST, SHAPE_MAX(3), .element = &iterator_type};
static const struct shape positive = {SHAPE_LONG, SHAPE_MIN(1)};
static const struct member inner_item_members[] = {
    MEMBER_LONG(struct inner_item, n, "N", &positive, OPTIONAL),
    MEMBER_LIST(struct inner_item, kinds, "Kinds", &kind_list, OPTIONAL),
};
static const struct shape inner_item = SHAPE_OF(struct inner_item, inner_item_members, "test.Item");
static const struct shape inner_items = {SHAPE_LIST, .element = &inner_item};
static const struct member inner_members[] = {
    MEMBER_STRING(struct inner, name, "Name", &shape_string, REQUIRED),
    MEMBER_STRING(struct inner, note, "Note", &shape_string, OPTIONAL),
    MEMBER_LIST(struct inner, items, "Items", &inner_items, OPTIONAL),
};
static const struct shape inner = SHAPE_OF(struct inner, inner_members, "test.Inner");
static const struct shape arn = {SHAPE_STRING, SHAPE_RANGE(1, 2048),
                                 .pattern = "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+"};
static const struct shape proportion = {SHAPE_DOUBLE, SHAPE_RANGE(0, 1)};
static const struct shape numbers = {SHAPE_LIST, .element = &limit};
static const struct member everything_members[] = {
    MEMBER_STRING(struct everything, text, "Text", &shape_string, OPTIONAL),
    MEMBER_STRING(struct everything, arn, "ARN", &arn, OPTIONAL),
    MEMBER_BLOB(struct everything, bytes, "Bytes", &shape_blob, OPTIONAL),
    MEMBER_ENUM(struct everything, kind, "Kind", &iterator_type, OPTIONAL),
    MEMBER_INTEGER(struct everything, small, "Small", &shape_integer, OPTIONAL),
    MEMBER_LONG(struct everything, big, "Big", &shape_long, OPTIONAL),
    MEMBER_DOUBLE(struct everything, ratio, "Ratio", &proportion, OPTIONAL),
    MEMBER_BOOLEAN(struct everything, flag, "Flag", &shape_boolean, OPTIONAL),
    MEMBER_TIME(struct everything, when, "When", &shape_timestamp, OPTIONAL),
    MEMBER_LIST(struct everything, names, "Names", &shape_string_list, OPTIONAL),
    MEMBER_LIST(struct everything, kinds, "Kinds", &kind_list, OPTIONAL),
    MEMBER_LIST(struct everything, numbers, "Numbers", &numbers, OPTIONAL),
    MEMBER_MAP(struct everything, tags, "Tags", &shape_string_map, OPTIONAL),
    MEMBER_STRUCTURE(struct everything, inner, struct inner *, "Inner", &inner, OPTIONAL),
};
const struct shape everything = SHAPE_OF(struct everything, everything_members, NULL);

const struct shape nothing_shape = SHAPE_OF_NOTHING(struct nothing);
