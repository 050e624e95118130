/* The tables. Members of outputs stand in the order of AWS's model. */
#include "firehose/api/firehose_shapes.h"

static const struct shape name_shape = {SHAPE_STRING, SHAPE_RANGE(1, 64), .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape data_shape = {SHAPE_BLOB, SHAPE_RANGE(0, FIREHOSE_RECORD_BYTES_MAX)};

static const char *const type_values[] = {"DirectPut", "KinesisStreamAsSource", NULL};
static const struct shape type_shape = {SHAPE_ENUM, .values = type_values};
static const char *const status_values[] = {"CREATING", "DELETING", "ACTIVE", NULL};
static const struct shape status_shape = {SHAPE_ENUM, .values = status_values};
static const char *const format_values[] = {"UNCOMPRESSED", "GZIP", "ZIP", "Snappy", "HADOOP_SNAPPY", "ZSTD", NULL};
static const struct shape format_shape = {SHAPE_ENUM, .values = format_values};

/* ---- puts ------------------------------------------------------------------------------------------------------------ */

static const struct member record_members[] = {
    MEMBER_BLOB(struct firehose_record, data, "Data", &data_shape, REQUIRED),
};
static const struct shape record_shape =
    SHAPE_OF(struct firehose_record, record_members, "com.amazonaws.firehose.v20150804.Record");
static const struct shape records_shape = {SHAPE_LIST, SHAPE_RANGE(1, FIREHOSE_BATCH_RECORDS_MAX),
                                           .element = &record_shape};

static const struct member firehose_put_record_input_members[] = {
    MEMBER_STRING(struct firehose_put_record_input, delivery_stream_name, "DeliveryStreamName", &name_shape, REQUIRED),
    MEMBER_STRUCTURE(struct firehose_put_record_input, record, struct firehose_record *, "Record", &record_shape,
                     REQUIRED),
};
const struct shape firehose_put_record_input =
    SHAPE_OF(struct firehose_put_record_input, firehose_put_record_input_members, NULL);

static const struct member put_record_output_members[] = {
    MEMBER_STRING(struct firehose_put_record_output, record_id, "RecordId", &shape_string, REQUIRED),
    MEMBER_BOOLEAN(struct firehose_put_record_output, encrypted, "Encrypted", &shape_boolean, OPTIONAL),
};
const struct shape firehose_put_record_output =
    SHAPE_OF(struct firehose_put_record_output, put_record_output_members, NULL);

static const struct member put_record_batch_input_members[] = {
    MEMBER_STRING(struct firehose_put_batch_input, delivery_stream_name, "DeliveryStreamName", &name_shape, REQUIRED),
    MEMBER_LIST(struct firehose_put_batch_input, records, "Records", &records_shape, REQUIRED),
};
const struct shape firehose_put_batch_input =
    SHAPE_OF(struct firehose_put_batch_input, put_record_batch_input_members, NULL);

static const struct member entry_members[] = {
    MEMBER_STRING(struct firehose_put_batch_entry, record_id, "RecordId", &shape_string, OPTIONAL),
    MEMBER_STRING(struct firehose_put_batch_entry, error_code, "ErrorCode", &shape_string, OPTIONAL),
    MEMBER_STRING(struct firehose_put_batch_entry, error_message, "ErrorMessage", &shape_string, OPTIONAL),
};
static const struct shape entry_shape = SHAPE_OF(struct firehose_put_batch_entry, entry_members, NULL);
static const struct shape entries_shape = {SHAPE_LIST, .element = &entry_shape};
static const struct member put_record_batch_output_members[] = {
    MEMBER_INTEGER(struct firehose_put_batch_output, failed_put_count, "FailedPutCount", &shape_integer, REQUIRED),
    MEMBER_BOOLEAN(struct firehose_put_batch_output, encrypted, "Encrypted", &shape_boolean, OPTIONAL),
    MEMBER_LIST(struct firehose_put_batch_output, request_responses, "RequestResponses", &entries_shape, REQUIRED),
};
const struct shape firehose_put_batch_output =
    SHAPE_OF(struct firehose_put_batch_output, put_record_batch_output_members, NULL);

/* ---- list -------------------------------------------------------------------------------------------------------------- */

static const struct shape limit_shape = {SHAPE_INTEGER, SHAPE_RANGE(1, 10000)};
static const struct member list_input_members[] = {
    MEMBER_INTEGER(struct list_delivery_streams_input, limit, "Limit", &limit_shape, OPTIONAL),
    MEMBER_ENUM(struct list_delivery_streams_input, delivery_stream_type, "DeliveryStreamType", &type_shape, OPTIONAL),
    MEMBER_STRING(struct list_delivery_streams_input, exclusive_start_delivery_stream_name,
                  "ExclusiveStartDeliveryStreamName", &name_shape, OPTIONAL),
};
const struct shape list_delivery_streams_input = SHAPE_OF(struct list_delivery_streams_input, list_input_members, NULL);

static const struct member list_output_members[] = {
    MEMBER_LIST(struct list_delivery_streams_output, delivery_stream_names, "DeliveryStreamNames", &shape_string_list,
                REQUIRED),
    MEMBER_BOOLEAN(struct list_delivery_streams_output, has_more_delivery_streams, "HasMoreDeliveryStreams",
                   &shape_boolean, REQUIRED),
};
const struct shape list_delivery_streams_output =
    SHAPE_OF(struct list_delivery_streams_output, list_output_members, NULL);

/* ---- describe ------------------------------------------------------------------------------------------------------------ */

static const struct shape destination_id_shape = {SHAPE_STRING, SHAPE_RANGE(1, 100), .pattern = "[a-zA-Z0-9-]+"};
static const struct member describe_input_members[] = {
    MEMBER_STRING(struct describe_delivery_stream_input, delivery_stream_name, "DeliveryStreamName", &name_shape,
                  REQUIRED),
    MEMBER_INTEGER(struct describe_delivery_stream_input, limit, "Limit", &limit_shape, OPTIONAL),
    MEMBER_STRING(struct describe_delivery_stream_input, exclusive_start_destination_id, "ExclusiveStartDestinationId",
                  &destination_id_shape, OPTIONAL),
};
const struct shape describe_delivery_stream_input =
    SHAPE_OF(struct describe_delivery_stream_input, describe_input_members, NULL);

static const struct member hints_members[] = {
    MEMBER_INTEGER(struct buffering_hints, size_in_mbs, "SizeInMBs", &shape_integer, OPTIONAL),
    MEMBER_INTEGER(struct buffering_hints, interval_in_seconds, "IntervalInSeconds", &shape_integer, OPTIONAL),
};
static const struct shape hints_shape = SHAPE_OF(struct buffering_hints, hints_members, NULL);
static const struct member kms_members[] = {
    MEMBER_STRING(struct kms_encryption_config, aws_kms_key_arn, "AWSKMSKeyARN", &shape_string, REQUIRED),
};
static const struct shape kms_shape = SHAPE_OF(struct kms_encryption_config, kms_members, NULL);
static const struct member encryption_members[] = {
    MEMBER_STRING(struct encryption_configuration, no_encryption_config, "NoEncryptionConfig", &shape_string, OPTIONAL),
    MEMBER_STRUCTURE(struct encryption_configuration, kms_encryption_config, struct kms_encryption_config *,
                     "KMSEncryptionConfig", &kms_shape, OPTIONAL),
};
static const struct shape encryption_shape = SHAPE_OF(struct encryption_configuration, encryption_members, NULL);
static const struct member logging_members[] = {
    MEMBER_BOOLEAN(struct cloud_watch_logging_options, enabled, "Enabled", &shape_boolean, OPTIONAL),
};
static const struct shape logging_shape = SHAPE_OF(struct cloud_watch_logging_options, logging_members, NULL);
static const struct member processing_members[] = {
    MEMBER_BOOLEAN(struct processing_configuration, enabled, "Enabled", &shape_boolean, OPTIONAL),
};
static const struct shape processing_shape = SHAPE_OF(struct processing_configuration, processing_members, NULL);

#define S3_MEMBERS                                                                                                   \
    MEMBER_STRING(struct s3_destination_description, role_arn, "RoleARN", &shape_string, REQUIRED),                  \
        MEMBER_STRING(struct s3_destination_description, bucket_arn, "BucketARN", &shape_string, REQUIRED),          \
        MEMBER_STRING(struct s3_destination_description, prefix, "Prefix", &shape_string, OPTIONAL),                 \
        MEMBER_STRING(struct s3_destination_description, error_output_prefix, "ErrorOutputPrefix", &shape_string,    \
                      OPTIONAL),                                                                                     \
        MEMBER_STRUCTURE(struct s3_destination_description, buffering_hints, struct buffering_hints *,               \
                         "BufferingHints", &hints_shape, REQUIRED),                                                  \
        MEMBER_ENUM(struct s3_destination_description, compression_format, "CompressionFormat", &format_shape,       \
                    REQUIRED),                                                                                       \
        MEMBER_STRUCTURE(struct s3_destination_description, encryption_configuration,                                \
                         struct encryption_configuration *, "EncryptionConfiguration", &encryption_shape, REQUIRED), \
        MEMBER_STRUCTURE(struct s3_destination_description, cloud_watch_logging_options,                             \
                         struct cloud_watch_logging_options *, "CloudWatchLoggingOptions", &logging_shape, OPTIONAL)

static const struct member s3_members[] = {S3_MEMBERS};
static const struct shape s3_shape = SHAPE_OF(struct s3_destination_description, s3_members, NULL);
static const struct member extended_s3_members[] = {
    S3_MEMBERS,
    MEMBER_STRUCTURE(struct s3_destination_description, processing_configuration, struct processing_configuration *,
                     "ProcessingConfiguration", &processing_shape, OPTIONAL),
    MEMBER_STRING(struct s3_destination_description, s3_backup_mode, "S3BackupMode", &shape_string, OPTIONAL),
};
static const struct shape extended_s3_shape = SHAPE_OF(struct s3_destination_description, extended_s3_members, NULL);

static const struct member destination_members[] = {
    MEMBER_STRING(struct destination_description, destination_id, "DestinationId", &shape_string, REQUIRED),
    MEMBER_STRUCTURE(struct destination_description, s3_destination_description, struct s3_destination_description *,
                     "S3DestinationDescription", &s3_shape, OPTIONAL),
    MEMBER_STRUCTURE(struct destination_description, extended_s3_destination_description,
                     struct s3_destination_description *, "ExtendedS3DestinationDescription", &extended_s3_shape,
                     OPTIONAL),
};
static const struct shape destination_shape = SHAPE_OF(struct destination_description, destination_members, NULL);
static const struct shape destinations_shape = {SHAPE_LIST, .element = &destination_shape};

static const struct member kinesis_source_members[] = {
    MEMBER_STRING(struct kinesis_stream_source_description, kinesis_stream_arn, "KinesisStreamARN", &shape_string,
                  OPTIONAL),
    MEMBER_STRING(struct kinesis_stream_source_description, role_arn, "RoleARN", &shape_string, OPTIONAL),
    MEMBER_TIME(struct kinesis_stream_source_description, delivery_start_timestamp, "DeliveryStartTimestamp",
                &shape_timestamp, OPTIONAL),
};
static const struct shape kinesis_source_shape =
    SHAPE_OF(struct kinesis_stream_source_description, kinesis_source_members, NULL);
static const struct member source_members[] = {
    MEMBER_STRUCTURE(struct source_description, kinesis_stream_source_description,
                     struct kinesis_stream_source_description *, "KinesisStreamSourceDescription",
                     &kinesis_source_shape, OPTIONAL),
};
static const struct shape source_shape = SHAPE_OF(struct source_description, source_members, NULL);
static const struct member sse_members[] = {
    MEMBER_STRING(struct delivery_stream_encryption_configuration, status, "Status", &shape_string, OPTIONAL),
};
static const struct shape sse_shape = SHAPE_OF(struct delivery_stream_encryption_configuration, sse_members, NULL);

static const struct member description_members[] = {
    MEMBER_STRING(struct delivery_stream_description, delivery_stream_name, "DeliveryStreamName", &name_shape,
                  REQUIRED),
    MEMBER_STRING(struct delivery_stream_description, delivery_stream_arn, "DeliveryStreamARN", &shape_string,
                  REQUIRED),
    MEMBER_ENUM(struct delivery_stream_description, delivery_stream_status, "DeliveryStreamStatus", &status_shape,
                REQUIRED),
    MEMBER_STRUCTURE(struct delivery_stream_description, delivery_stream_encryption_configuration,
                     struct delivery_stream_encryption_configuration *, "DeliveryStreamEncryptionConfiguration",
                     &sse_shape, OPTIONAL),
    MEMBER_ENUM(struct delivery_stream_description, delivery_stream_type, "DeliveryStreamType", &type_shape, REQUIRED),
    MEMBER_STRING(struct delivery_stream_description, version_id, "VersionId", &shape_string, REQUIRED),
    MEMBER_TIME(struct delivery_stream_description, create_timestamp, "CreateTimestamp", &shape_timestamp, OPTIONAL),
    MEMBER_TIME(struct delivery_stream_description, last_update_timestamp, "LastUpdateTimestamp", &shape_timestamp,
                OPTIONAL),
    MEMBER_STRUCTURE(struct delivery_stream_description, source, struct source_description *, "Source", &source_shape,
                     OPTIONAL),
    MEMBER_LIST(struct delivery_stream_description, destinations, "Destinations", &destinations_shape, REQUIRED),
    MEMBER_BOOLEAN(struct delivery_stream_description, has_more_destinations, "HasMoreDestinations", &shape_boolean,
                   REQUIRED),
};
static const struct shape description_shape = SHAPE_OF(struct delivery_stream_description, description_members, NULL);
static const struct member describe_output_members[] = {
    MEMBER_STRUCTURE(struct describe_delivery_stream_output, delivery_stream_description,
                     struct delivery_stream_description *, "DeliveryStreamDescription", &description_shape, REQUIRED),
};
const struct shape describe_delivery_stream_output =
    SHAPE_OF(struct describe_delivery_stream_output, describe_output_members, NULL);
