/* The shapes of the Firehose operations that exist, as C structs and tables (common/wire/shape.h). */
#ifndef SLUICE_FIREHOSE_API_FIREHOSE_SHAPES_H
#define SLUICE_FIREHOSE_API_FIREHOSE_SHAPES_H

#include "common/wire/shape.h"

#define FIREHOSE_BATCH_RECORDS_MAX 500
#define FIREHOSE_RECORD_BYTES_MAX  1024000
#define FIREHOSE_BATCH_BYTES_MAX   (4u << 20)

enum delivery_stream_type { TYPE_DIRECT_PUT = 1, TYPE_KINESIS_STREAM_AS_SOURCE };
enum delivery_stream_status { STATUS_CREATING = 1, STATUS_DELETING, STATUS_ACTIVE };
enum compression_format {
    FORMAT_UNCOMPRESSED = 1,
    FORMAT_GZIP,
    FORMAT_ZIP,
    FORMAT_SNAPPY,
    FORMAT_HADOOP_SNAPPY,
    FORMAT_ZSTD
};

struct firehose_record {
    struct slice data;
};

struct firehose_put_record_input {
    struct slice delivery_stream_name;
    struct firehose_record *record;
};
struct firehose_put_record_output {
    struct slice record_id;
    struct opt_bool encrypted;
};

struct firehose_put_batch_input {
    struct slice delivery_stream_name;
    LIST_OF(struct firehose_record) records;
};
struct firehose_put_batch_entry {
    struct slice record_id, error_code, error_message;
};
struct firehose_put_batch_output {
    struct opt_int failed_put_count;
    struct opt_bool encrypted;
    LIST_OF(struct firehose_put_batch_entry) request_responses;
};

struct list_delivery_streams_input {
    struct opt_int limit;
    int delivery_stream_type;
    struct slice exclusive_start_delivery_stream_name;
};
struct list_delivery_streams_output {
    LIST_OF(struct slice) delivery_stream_names;
    struct opt_bool has_more_delivery_streams;
};

struct describe_delivery_stream_input {
    struct slice delivery_stream_name;
    struct opt_int limit;
    struct slice exclusive_start_destination_id;
};

struct buffering_hints {
    struct opt_int size_in_mbs, interval_in_seconds;
};
struct kms_encryption_config {
    struct slice aws_kms_key_arn;
};
struct encryption_configuration {
    struct slice no_encryption_config;
    struct kms_encryption_config *kms_encryption_config;
};
struct cloud_watch_logging_options {
    struct opt_bool enabled;
};
struct processing_configuration {
    struct opt_bool enabled;
};
struct s3_destination_description {
    struct slice role_arn, bucket_arn, prefix, error_output_prefix;
    struct buffering_hints *buffering_hints;
    int compression_format;
    struct encryption_configuration *encryption_configuration;
    struct cloud_watch_logging_options *cloud_watch_logging_options;
    /* of ExtendedS3DestinationDescription only: */
    struct processing_configuration *processing_configuration;
    struct slice s3_backup_mode;
};
struct destination_description {
    struct slice destination_id;
    struct s3_destination_description *s3_destination_description, *extended_s3_destination_description;
};
struct kinesis_stream_source_description {
    struct slice kinesis_stream_arn, role_arn;
    struct opt_time delivery_start_timestamp;
};
struct source_description {
    struct kinesis_stream_source_description *kinesis_stream_source_description;
};
struct delivery_stream_encryption_configuration {
    struct slice status;
};
struct delivery_stream_description {
    struct slice delivery_stream_name, delivery_stream_arn;
    int delivery_stream_status;
    struct delivery_stream_encryption_configuration *delivery_stream_encryption_configuration;
    int delivery_stream_type;
    struct slice version_id;
    struct opt_time create_timestamp, last_update_timestamp;
    struct source_description *source;
    LIST_OF(struct destination_description) destinations;
    struct opt_bool has_more_destinations;
};
struct describe_delivery_stream_output {
    struct delivery_stream_description *delivery_stream_description;
};

extern const struct shape firehose_put_record_input, firehose_put_record_output, firehose_put_batch_input,
    firehose_put_batch_output, list_delivery_streams_input, list_delivery_streams_output,
    describe_delivery_stream_input, describe_delivery_stream_output;

#endif
