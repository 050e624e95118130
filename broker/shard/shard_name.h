/*
 * Names on the wire: shard ids, stream names, stream ARNs. Pure; any thread.
 *
 *   shardId-000000000003
 *   arn:aws:kinesis:REGION:ACCOUNT:stream/NAME
 */
#ifndef SLUICE_SHARD_SHARD_NAME_H
#define SLUICE_SHARD_SHARD_NAME_H

#include "common/base/slice.h"
#include "common/base/status.h"

#define SHARD_ID_LEN        20u /* "shardId-" and 12 digits */
#define SHARD_ID_TEXT_MAX   (SHARD_ID_LEN + 1)
#define SHARD_INDEX_MAX     INT32_MAX
#define STREAM_NAME_LEN_MAX 128u
#define STREAM_ARN_TEXT_MAX 256u
#define STREAM_ACCOUNT_LEN  12u
#define STREAM_REGION_MAX   32u

/* "shardId-%012u" and a NUL. */
void shard_id_format(uint32_t index, char out[SHARD_ID_TEXT_MAX]);
/* Reads a shard id as AWS does: what stands behind the first '-', or all of it without one, is a decimal of at most
 * SHARD_INDEX_MAX ("shardId-000000000003", "shard-3" and "3" are the same). ST_SYNTAX otherwise: AWS then answers
 * "Could not find shard X in stream S under account A." */
int shard_id_parse(struct slice text, uint32_t *out_index) must_use;

/* 1 to 128 of a-z A-Z 0-9 _ . - */
bool stream_name_valid(struct slice name);

/* Writes the ARN and a NUL; returns its length. The region and account are the configuration's, checked there. */
uint32_t stream_arn_format(const char *region, const char *account, struct slice name, char out[STREAM_ARN_TEXT_MAX]);
/* The parts of an ARN; slices borrow from `arn`. ST_SYNTAX: not arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME with a
 * valid name (PARTITION: aws, aws-cn, aws-us-gov, ...; account 12 digits). */
struct stream_arn {
    struct slice region, account, name;
};
int stream_arn_parse(struct slice arn, struct stream_arn *out) must_use;
/* The same for a consumer: arn:...:stream/NAME/consumer/CONSUMER:EPOCH. */
struct consumer_arn {
    struct stream_arn stream;
    struct slice consumer;
    uint64_t created_s;
};
int consumer_arn_parse(struct slice arn, struct consumer_arn *out) must_use;

#endif
