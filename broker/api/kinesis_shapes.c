/*
 * The shape tables of the Kinesis operations, after AWS's newest model. The order of input members is the order in
 * which AWS reports validation errors (the order of a Java hash map, as kinesalite's tests recorded it; members that
 * came later stand behind them); the order of output members is that of the wire.
 */
#include "broker/api/kinesis_shapes.h"

#define NAME_PATTERN     "[a-zA-Z0-9_.-]+"
#define SEQUENCE_PATTERN "0|([1-9]\\d{0,128})"
#define HASH_KEY_PATTERN "0|([1-9]\\d{0,38})"

static const struct shape stream_name = {SHAPE_STRING, SHAPE_RANGE(1, 128), .pattern = NAME_PATTERN};
static const struct shape stream_arn = {SHAPE_STRING, SHAPE_RANGE(1, 2048),
                                        .pattern = "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+"};
static const struct shape stream_id = {SHAPE_STRING, SHAPE_RANGE(1, 24), .pattern = "[a-z0-9]{20}-[a-z0-9]{3}"};
static const struct shape shard_id = {SHAPE_STRING, SHAPE_RANGE(1, 128), .pattern = NAME_PATTERN};
static const struct shape hash_key = {SHAPE_STRING, .pattern = HASH_KEY_PATTERN};
static const struct shape sequence_number = {SHAPE_STRING, .pattern = SEQUENCE_PATTERN};
static const struct shape positive = {SHAPE_INTEGER, SHAPE_MIN(1)};
static const struct shape natural = {SHAPE_INTEGER, SHAPE_MIN(0)};
static const struct shape page_limit = {SHAPE_INTEGER, SHAPE_RANGE(1, 10000)};
static const struct shape record_kib = {SHAPE_INTEGER, SHAPE_RANGE(1024, 10240)};
static const struct shape next_token = {SHAPE_STRING, SHAPE_RANGE(1, 1048576)};
static const struct shape data = {SHAPE_BLOB, SHAPE_RANGE(0, 10485760)};
static const struct shape partition_key = {SHAPE_STRING, SHAPE_RANGE(1, 256)};
static const struct shape shard_iterator = {SHAPE_STRING, SHAPE_RANGE(1, 512)};
static const struct shape tag_key = {SHAPE_STRING, SHAPE_RANGE(1, 128)};
static const struct shape tag_value = {SHAPE_STRING, SHAPE_RANGE(0, 256)};
static const struct shape tag_map = {SHAPE_MAP, SHAPE_RANGE(1, 200), .element = &tag_value, .key = &tag_key};

static const char *const status_values[] = {"CREATING", "DELETING", "ACTIVE", "UPDATING", NULL};
static const struct shape stream_status = {SHAPE_ENUM, .values = status_values};
static const char *const mode_values[] = {"PROVISIONED", "ON_DEMAND", NULL};
static const struct shape stream_mode = {SHAPE_ENUM, .values = mode_values};
static const char *const encryption_values[] = {"NONE", "KMS", NULL};
static const struct shape encryption_type = {SHAPE_ENUM, .values = encryption_values};
static const char *const iterator_values[] = {"AFTER_SEQUENCE_NUMBER", "LATEST",       "AT_TIMESTAMP",
                                              "AT_SEQUENCE_NUMBER",    "TRIM_HORIZON", NULL};
static const struct shape iterator_type = {SHAPE_ENUM, .values = iterator_values};
static const char *const filter_values[] = {
    "AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP", NULL};
static const struct shape filter_type = {SHAPE_ENUM, .values = filter_values};

static const struct member mode_details_members[] = {
    MEMBER_ENUM(struct mode_details, mode, "StreamMode", &stream_mode, REQUIRED),
};
static const struct shape mode_details = SHAPE_OF(struct mode_details, mode_details_members, NULL);

/* Every operation on a stream takes these. */
#define STREAM_MEMBERS(c)                                                 \
    MEMBER_STRING(c, stream_name, "StreamName", &stream_name, OPTIONAL),  \
        MEMBER_STRING(c, stream_arn, "StreamARN", &stream_arn, OPTIONAL), \
        MEMBER_STRING(c, stream_id, "StreamId", &stream_id, OPTIONAL)

/* ---- inputs --------------------------------------------------------------------------------------------------------- */

static const struct member create_stream_members[] = {
    MEMBER_INTEGER(struct create_stream_input, shard_count, "ShardCount", &positive, OPTIONAL),
    MEMBER_STRING(struct create_stream_input, stream_name, "StreamName", &stream_name, REQUIRED),
    MEMBER_STRUCTURE(struct create_stream_input, mode_details, struct mode_details *, "StreamModeDetails",
                     &mode_details, OPTIONAL),
    MEMBER_MAP(struct create_stream_input, tags, "Tags", &tag_map, OPTIONAL),
    MEMBER_INTEGER(struct create_stream_input, warm_throughput, "WarmThroughputMiBps", &natural, OPTIONAL),
    MEMBER_INTEGER(struct create_stream_input, record_kib_max, "MaxRecordSizeInKiB", &record_kib, OPTIONAL),
};
const struct shape create_stream_in = SHAPE_OF(struct create_stream_input, create_stream_members, NULL);

static const struct member delete_stream_members[] = {
    MEMBER_BOOLEAN(struct delete_stream_input, enforce_consumer_deletion, "EnforceConsumerDeletion", &shape_boolean,
                   OPTIONAL),
    STREAM_MEMBERS(struct delete_stream_input),
};
const struct shape delete_stream_in = SHAPE_OF(struct delete_stream_input, delete_stream_members, NULL);

static const struct member describe_stream_members[] = {
    MEMBER_INTEGER(struct describe_stream_input, limit, "Limit", &page_limit, OPTIONAL),
    MEMBER_STRING(struct describe_stream_input, exclusive_start_shard_id, "ExclusiveStartShardId", &shard_id, OPTIONAL),
    STREAM_MEMBERS(struct describe_stream_input),
};
const struct shape describe_stream_in = SHAPE_OF(struct describe_stream_input, describe_stream_members, NULL);

static const struct member describe_stream_summary_members[] = {
    STREAM_MEMBERS(struct describe_stream_summary_input),
};
const struct shape describe_stream_summary_in =
    SHAPE_OF(struct describe_stream_summary_input, describe_stream_summary_members, NULL);

static const struct member list_streams_members[] = {
    MEMBER_INTEGER(struct list_streams_input, limit, "Limit", &page_limit, OPTIONAL),
    MEMBER_STRING(struct list_streams_input, exclusive_start_stream_name, "ExclusiveStartStreamName", &stream_name,
                  OPTIONAL),
    MEMBER_STRING(struct list_streams_input, next_token, "NextToken", &next_token, OPTIONAL),
};
const struct shape list_streams_in = SHAPE_OF(struct list_streams_input, list_streams_members, NULL);

static const struct member shard_filter_members[] = {
    MEMBER_ENUM(struct shard_filter, type, "Type", &filter_type, REQUIRED),
    MEMBER_STRING(struct shard_filter, shard_id, "ShardId", &shard_id, OPTIONAL),
    MEMBER_TIME(struct shard_filter, timestamp, "Timestamp", &shape_timestamp, OPTIONAL),
};
static const struct shape shard_filter = SHAPE_OF(struct shard_filter, shard_filter_members, NULL);

static const struct member list_shards_members[] = {
    MEMBER_STRING(struct list_shards_input, exclusive_start_shard_id, "ExclusiveStartShardId", &shard_id, OPTIONAL),
    MEMBER_INTEGER(struct list_shards_input, max_results, "MaxResults", &page_limit, OPTIONAL),
    MEMBER_STRING(struct list_shards_input, next_token, "NextToken", &next_token, OPTIONAL),
    MEMBER_TIME(struct list_shards_input, stream_creation_timestamp, "StreamCreationTimestamp", &shape_timestamp,
                OPTIONAL),
    STREAM_MEMBERS(struct list_shards_input),
    MEMBER_STRUCTURE(struct list_shards_input, filter, struct shard_filter *, "ShardFilter", &shard_filter, OPTIONAL),
};
const struct shape list_shards_in = SHAPE_OF(struct list_shards_input, list_shards_members, NULL);

static const struct member put_record_members[] = {
    MEMBER_STRING(struct put_record_input, sequence_number_for_ordering, "SequenceNumberForOrdering", &sequence_number,
                  OPTIONAL),
    MEMBER_STRING(struct put_record_input, partition_key, "PartitionKey", &partition_key, REQUIRED),
    MEMBER_STRING(struct put_record_input, explicit_hash_key, "ExplicitHashKey", &hash_key, OPTIONAL),
    MEMBER_BLOB(struct put_record_input, data, "Data", &data, REQUIRED),
    STREAM_MEMBERS(struct put_record_input),
};
const struct shape put_record_in = SHAPE_OF(struct put_record_input, put_record_members, NULL);

static const struct member put_records_entry_members[] = {
    MEMBER_STRING(struct put_records_entry, partition_key, "PartitionKey", &partition_key, REQUIRED),
    MEMBER_STRING(struct put_records_entry, explicit_hash_key, "ExplicitHashKey", &hash_key, OPTIONAL),
    MEMBER_BLOB(struct put_records_entry, data, "Data", &data, REQUIRED),
};
static const struct shape put_records_entry = SHAPE_OF(struct put_records_entry, put_records_entry_members,
                                                       "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry");
static const struct shape put_records_list = {SHAPE_LIST, SHAPE_RANGE(1, 500), .element = &put_records_entry};

static const struct member put_records_members[] = {
    MEMBER_LIST(struct put_records_input, records, "Records", &put_records_list, REQUIRED),
    STREAM_MEMBERS(struct put_records_input),
};
const struct shape put_records_in = SHAPE_OF(struct put_records_input, put_records_members, NULL);

static const struct member get_shard_iterator_members[] = {
    MEMBER_STRING(struct get_shard_iterator_input, shard_id, "ShardId", &shard_id, REQUIRED),
    MEMBER_ENUM(struct get_shard_iterator_input, type, "ShardIteratorType", &iterator_type, REQUIRED),
    MEMBER_STRING(struct get_shard_iterator_input, starting_sequence_number, "StartingSequenceNumber", &sequence_number,
                  OPTIONAL),
    STREAM_MEMBERS(struct get_shard_iterator_input),
    MEMBER_TIME(struct get_shard_iterator_input, timestamp, "Timestamp", &shape_timestamp, OPTIONAL),
};
const struct shape get_shard_iterator_in = SHAPE_OF(struct get_shard_iterator_input, get_shard_iterator_members, NULL);

static const struct member get_records_members[] = {
    MEMBER_INTEGER(struct get_records_input, limit, "Limit", &page_limit, OPTIONAL),
    MEMBER_STRING(struct get_records_input, shard_iterator, "ShardIterator", &shard_iterator, REQUIRED),
    MEMBER_STRING(struct get_records_input, stream_arn, "StreamARN", &stream_arn, OPTIONAL),
    MEMBER_STRING(struct get_records_input, stream_id, "StreamId", &stream_id, OPTIONAL),
};
const struct shape get_records_in = SHAPE_OF(struct get_records_input, get_records_members, NULL);

/* ---- outputs -------------------------------------------------------------------------------------------------------- */

static const struct member hash_range_members[] = {
    MEMBER_STRING(struct hash_key_range_out, first, "StartingHashKey", &shape_string, REQUIRED),
    MEMBER_STRING(struct hash_key_range_out, last, "EndingHashKey", &shape_string, REQUIRED),
};
static const struct shape hash_range = SHAPE_OF(struct hash_key_range_out, hash_range_members, NULL);

static const struct member sequence_range_members[] = {
    MEMBER_STRING(struct sequence_range_out, first, "StartingSequenceNumber", &shape_string, REQUIRED),
    MEMBER_STRING(struct sequence_range_out, last, "EndingSequenceNumber", &shape_string, OPTIONAL),
};
static const struct shape sequence_range = SHAPE_OF(struct sequence_range_out, sequence_range_members, NULL);

static const struct member shard_members[] = {
    MEMBER_STRING(struct shard_out, shard_id, "ShardId", &shape_string, REQUIRED),
    MEMBER_STRING(struct shard_out, parent, "ParentShardId", &shape_string, OPTIONAL),
    MEMBER_STRING(struct shard_out, adjacent_parent, "AdjacentParentShardId", &shape_string, OPTIONAL),
    MEMBER_STRUCTURE(struct shard_out, hash_range, struct hash_key_range_out *, "HashKeyRange", &hash_range, REQUIRED),
    MEMBER_STRUCTURE(struct shard_out, sequence_range, struct sequence_range_out *, "SequenceNumberRange",
                     &sequence_range, REQUIRED),
};
static const struct shape shard = SHAPE_OF(struct shard_out, shard_members, NULL);
static const struct shape shard_list = {SHAPE_LIST, .element = &shard};

static const struct member metrics_members[] = {
    MEMBER_LIST(struct enhanced_metrics_out, metrics, "ShardLevelMetrics", &shape_string_list, REQUIRED),
};
static const struct shape metrics = SHAPE_OF(struct enhanced_metrics_out, metrics_members, NULL);
static const struct shape metrics_list = {SHAPE_LIST, .element = &metrics};

#define D struct stream_description
static const struct member description_members[] = {
    MEMBER_STRING(D, name, "StreamName", &shape_string, REQUIRED),
    MEMBER_STRING(D, arn, "StreamARN", &shape_string, REQUIRED),
    MEMBER_ENUM(D, status, "StreamStatus", &stream_status, REQUIRED),
    MEMBER_STRUCTURE(D, mode_details, struct mode_details *, "StreamModeDetails", &mode_details, OPTIONAL),
    MEMBER_LIST(D, shards, "Shards", &shard_list, REQUIRED),
    MEMBER_BOOLEAN(D, more_shards, "HasMoreShards", &shape_boolean, REQUIRED),
    MEMBER_INTEGER(D, retention_hours, "RetentionPeriodHours", &shape_integer, REQUIRED),
    MEMBER_TIME(D, created, "StreamCreationTimestamp", &shape_timestamp, REQUIRED),
    MEMBER_LIST(D, monitoring, "EnhancedMonitoring", &metrics_list, REQUIRED),
    MEMBER_ENUM(D, encryption, "EncryptionType", &encryption_type, OPTIONAL),
};
#undef D
static const struct shape description = SHAPE_OF(struct stream_description, description_members, NULL);
static const struct member describe_stream_out_members[] = {
    MEMBER_STRUCTURE(struct describe_stream_output, description, struct stream_description *, "StreamDescription",
                     &description, REQUIRED),
};
const struct shape describe_stream_out = SHAPE_OF(struct describe_stream_output, describe_stream_out_members, NULL);

#define S struct stream_description_summary
static const struct member summary_members[] = {
    MEMBER_STRING(S, name, "StreamName", &shape_string, REQUIRED),
    MEMBER_STRING(S, arn, "StreamARN", &shape_string, REQUIRED),
    MEMBER_ENUM(S, status, "StreamStatus", &stream_status, REQUIRED),
    MEMBER_STRUCTURE(S, mode_details, struct mode_details *, "StreamModeDetails", &mode_details, OPTIONAL),
    MEMBER_INTEGER(S, retention_hours, "RetentionPeriodHours", &shape_integer, REQUIRED),
    MEMBER_TIME(S, created, "StreamCreationTimestamp", &shape_timestamp, REQUIRED),
    MEMBER_LIST(S, monitoring, "EnhancedMonitoring", &metrics_list, REQUIRED),
    MEMBER_ENUM(S, encryption, "EncryptionType", &encryption_type, OPTIONAL),
    MEMBER_INTEGER(S, open_shards, "OpenShardCount", &shape_integer, REQUIRED),
    MEMBER_INTEGER(S, consumers, "ConsumerCount", &shape_integer, OPTIONAL),
    MEMBER_INTEGER(S, record_kib_max, "MaxRecordSizeInKiB", &shape_integer, OPTIONAL),
};
#undef S
static const struct shape summary = SHAPE_OF(struct stream_description_summary, summary_members, NULL);
static const struct member describe_stream_summary_out_members[] = {
    MEMBER_STRUCTURE(struct describe_stream_summary_output, summary, struct stream_description_summary *,
                     "StreamDescriptionSummary", &summary, REQUIRED),
};
const struct shape describe_stream_summary_out =
    SHAPE_OF(struct describe_stream_summary_output, describe_stream_summary_out_members, NULL);

#define L struct stream_summary
static const struct member list_entry_members[] = {
    MEMBER_STRING(L, name, "StreamName", &shape_string, REQUIRED),
    MEMBER_STRING(L, arn, "StreamARN", &shape_string, REQUIRED),
    MEMBER_ENUM(L, status, "StreamStatus", &stream_status, REQUIRED),
    MEMBER_STRUCTURE(L, mode_details, struct mode_details *, "StreamModeDetails", &mode_details, OPTIONAL),
    MEMBER_TIME(L, created, "StreamCreationTimestamp", &shape_timestamp, OPTIONAL),
};
#undef L
static const struct shape list_entry = SHAPE_OF(struct stream_summary, list_entry_members, NULL);
static const struct shape list_entries = {SHAPE_LIST, .element = &list_entry};
static const struct member list_streams_out_members[] = {
    MEMBER_LIST(struct list_streams_output, names, "StreamNames", &shape_string_list, REQUIRED),
    MEMBER_BOOLEAN(struct list_streams_output, more, "HasMoreStreams", &shape_boolean, REQUIRED),
    MEMBER_STRING(struct list_streams_output, next_token, "NextToken", &shape_string, OPTIONAL),
    MEMBER_LIST(struct list_streams_output, summaries, "StreamSummaries", &list_entries, REQUIRED),
};
const struct shape list_streams_out = SHAPE_OF(struct list_streams_output, list_streams_out_members, NULL);

static const struct member list_shards_out_members[] = {
    MEMBER_LIST(struct list_shards_output, shards, "Shards", &shard_list, REQUIRED),
    MEMBER_STRING(struct list_shards_output, next_token, "NextToken", &shape_string, OPTIONAL),
};
const struct shape list_shards_out = SHAPE_OF(struct list_shards_output, list_shards_out_members, NULL);

static const struct member put_record_out_members[] = {
    MEMBER_STRING(struct put_record_output, shard_id, "ShardId", &shape_string, REQUIRED),
    MEMBER_STRING(struct put_record_output, sequence_number, "SequenceNumber", &shape_string, REQUIRED),
};
const struct shape put_record_out = SHAPE_OF(struct put_record_output, put_record_out_members, NULL);

static const struct member put_records_result_members[] = {
    MEMBER_STRING(struct put_records_result, sequence_number, "SequenceNumber", &shape_string, OPTIONAL),
    MEMBER_STRING(struct put_records_result, shard_id, "ShardId", &shape_string, OPTIONAL),
    MEMBER_STRING(struct put_records_result, error_code, "ErrorCode", &shape_string, OPTIONAL),
    MEMBER_STRING(struct put_records_result, error_message, "ErrorMessage", &shape_string, OPTIONAL),
};
static const struct shape put_records_result = SHAPE_OF(struct put_records_result, put_records_result_members, NULL);
static const struct shape put_records_results = {SHAPE_LIST, .element = &put_records_result};
static const struct member put_records_out_members[] = {
    MEMBER_INTEGER(struct put_records_output, failed, "FailedRecordCount", &shape_integer, OPTIONAL),
    MEMBER_LIST(struct put_records_output, records, "Records", &put_records_results, REQUIRED),
};
const struct shape put_records_out = SHAPE_OF(struct put_records_output, put_records_out_members, NULL);

static const struct member get_shard_iterator_out_members[] = {
    MEMBER_STRING(struct get_shard_iterator_output, shard_iterator, "ShardIterator", &shape_string, REQUIRED),
};
const struct shape get_shard_iterator_out =
    SHAPE_OF(struct get_shard_iterator_output, get_shard_iterator_out_members, NULL);
