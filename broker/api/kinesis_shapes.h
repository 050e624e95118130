/*
 * What the Kinesis operations take and give: the C structs over which kinesis_shapes.c lays the shape tables. Members
 * are named as in AWS's newest model.
 */
#ifndef SLUICE_API_KINESIS_SHAPES_H
#define SLUICE_API_KINESIS_SHAPES_H

#include "common/wire/shape.h"

enum kinesis_stream_status { KINESIS_CREATING = 1, KINESIS_DELETING, KINESIS_ACTIVE, KINESIS_UPDATING };
enum kinesis_mode { KINESIS_PROVISIONED = 1, KINESIS_ON_DEMAND };
enum kinesis_encryption { KINESIS_ENCRYPTION_NONE = 1, KINESIS_ENCRYPTION_KMS };
enum kinesis_iterator_type { /* in the order of AWS's validation message */
                             KINESIS_AFTER_SEQUENCE_NUMBER = 1,
                             KINESIS_LATEST,
                             KINESIS_AT_TIMESTAMP,
                             KINESIS_AT_SEQUENCE_NUMBER,
                             KINESIS_TRIM_HORIZON,
};
enum kinesis_shard_filter {
    KINESIS_AFTER_SHARD_ID = 1,
    KINESIS_AT_TRIM_HORIZON,
    KINESIS_FROM_TRIM_HORIZON,
    KINESIS_AT_LATEST,
    KINESIS_AT_TIMESTAMP_FILTER,
    KINESIS_FROM_TIMESTAMP,
};

struct mode_details {
    int mode;
};

/* ---- inputs ---- */

struct create_stream_input {
    struct slice stream_name;
    struct opt_int shard_count;
    struct mode_details *mode_details;
    struct shape_map tags;
    struct opt_int warm_throughput;
    struct opt_int record_kib_max;
};

struct delete_stream_input {
    struct slice stream_name, stream_arn, stream_id;
    struct opt_bool enforce_consumer_deletion;
};

struct describe_stream_input {
    struct slice stream_name, stream_arn, stream_id;
    struct opt_int limit;
    struct slice exclusive_start_shard_id;
};

struct describe_stream_summary_input {
    struct slice stream_name, stream_arn, stream_id;
};

struct list_streams_input {
    struct opt_int limit;
    struct slice exclusive_start_stream_name;
    struct slice next_token;
};

struct shard_filter {
    int type;
    struct slice shard_id;
    struct opt_time timestamp;
};

struct list_shards_input {
    struct slice stream_name, stream_arn, stream_id;
    struct slice next_token;
    struct slice exclusive_start_shard_id;
    struct opt_int max_results;
    struct opt_time stream_creation_timestamp;
    struct shard_filter *filter;
};

struct put_record_input {
    struct slice stream_name, stream_arn, stream_id;
    struct slice data, partition_key, explicit_hash_key, sequence_number_for_ordering;
};

struct put_records_entry {
    struct slice data, partition_key, explicit_hash_key;
};

struct put_records_input {
    struct slice stream_name, stream_arn, stream_id;
    LIST_OF(struct put_records_entry) records;
};

struct get_shard_iterator_input {
    struct slice stream_name, stream_arn, stream_id;
    struct slice shard_id;
    int type;
    struct slice starting_sequence_number;
    struct opt_time timestamp;
};

struct get_records_input {
    struct slice shard_iterator, stream_arn, stream_id;
    struct opt_int limit;
};

/* ---- outputs ---- */

struct hash_key_range_out {
    struct slice first, last;
};

struct sequence_range_out {
    struct slice first, last;
};

struct shard_out {
    struct slice shard_id, parent, adjacent_parent;
    struct hash_key_range_out *hash_range;
    struct sequence_range_out *sequence_range;
};

struct enhanced_metrics_out {
    LIST_OF(struct slice) metrics;
};

struct stream_description {
    struct slice name, arn;
    int status;
    struct mode_details *mode_details;
    LIST_OF(struct shard_out) shards;
    struct opt_bool more_shards;
    struct opt_int retention_hours;
    struct opt_time created;
    LIST_OF(struct enhanced_metrics_out) monitoring;
    int encryption;
};

struct describe_stream_output {
    struct stream_description *description;
};

struct stream_description_summary {
    struct slice name, arn;
    int status;
    struct mode_details *mode_details;
    struct opt_int retention_hours;
    struct opt_time created;
    LIST_OF(struct enhanced_metrics_out) monitoring;
    int encryption;
    struct opt_int open_shards, consumers;
    struct opt_int record_kib_max;
};

struct describe_stream_summary_output {
    struct stream_description_summary *summary;
};

struct stream_summary {
    struct slice name, arn;
    int status;
    struct mode_details *mode_details;
    struct opt_time created;
};

struct list_streams_output {
    LIST_OF(struct slice) names;
    struct opt_bool more;
    struct slice next_token;
    LIST_OF(struct stream_summary) summaries;
};

struct list_shards_output {
    LIST_OF(struct shard_out) shards;
    struct slice next_token;
};

struct put_record_output {
    struct slice shard_id, sequence_number;
};

struct put_records_result {
    struct slice sequence_number, shard_id, error_code, error_message;
};

struct put_records_output {
    struct opt_int failed;
    LIST_OF(struct put_records_result) records;
};

struct get_shard_iterator_output {
    struct slice shard_iterator;
};

extern const struct shape create_stream_in, delete_stream_in, describe_stream_in, describe_stream_summary_in,
    list_streams_in, list_shards_in, put_record_in, put_records_in, get_shard_iterator_in, get_records_in;
extern const struct shape describe_stream_out, describe_stream_summary_out, list_streams_out, list_shards_out,
    put_record_out, put_records_out, get_shard_iterator_out;

#endif
