/* Names on the wire (see shard_name.h). */
#include "broker/shard/shard_name.h"

#include <stdio.h>

#include "common/base/check.h"

void shard_id_format(uint32_t index, char out[SHARD_ID_TEXT_MAX])
{
    memcpy(out, "shardId-000000000000", SHARD_ID_TEXT_MAX);
    for (char *p = out + SHARD_ID_LEN - 1; index; index /= 10)
        *p-- = (char)('0' + index % 10);
}

int shard_id_parse(struct slice text, uint32_t *out_index)
{
    size_t dash = slice_find(text, '-');
    struct slice digits = dash < text.len ? slice_from(text, dash + 1) : text;
    uint64_t index = 0;
    if (digits.len == 0 || digits.len > STREAM_NAME_LEN_MAX)
        return ST_SYNTAX;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return ST_SYNTAX;
        index = index * 10 + (digits.ptr[i] - '0');
        if (index > SHARD_INDEX_MAX)
            return ST_SYNTAX;
    }
    *out_index = (uint32_t)index;
    return ST_OK;
}

bool stream_name_valid(struct slice name)
{
    if (name.len == 0 || name.len > STREAM_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

uint32_t stream_arn_format(const char *region, const char *account, struct slice name, char out[STREAM_ARN_TEXT_MAX])
{
    int n = snprintf(out, STREAM_ARN_TEXT_MAX, "arn:aws:kinesis:%s:%s:stream/%.*s", region, account, SLICE_FMT(name));
    CHECK(n > 0 && (uint32_t)n < STREAM_ARN_TEXT_MAX);
    return (uint32_t)n;
}

/* Takes what stands before the next `c`; false if there is none. */
static bool take_until(struct slice *rest, uint8_t c, struct slice *out)
{
    size_t at = slice_find(*rest, c);
    if (at == rest->len)
        return false;
    *out = slice_first(*rest, at);
    *rest = slice_from(*rest, at + 1);
    return true;
}

static bool account_valid(struct slice s)
{
    uint64_t v;
    return s.len == STREAM_ACCOUNT_LEN && slice_parse_u64(s, &v);
}

/* Up to and including "stream/"; *rest is then what follows. */
static int arn_head(struct slice *rest, struct stream_arn *out)
{
    struct slice arn, partition, service;
    if (!take_until(rest, ':', &arn) || !slice_eq_str(arn, "arn") || !take_until(rest, ':', &partition) ||
        !slice_starts(partition, SLICE_LIT("aws")) || !take_until(rest, ':', &service) ||
        !slice_eq_str(service, "kinesis") || !take_until(rest, ':', &out->region) || out->region.len == 0 ||
        out->region.len > STREAM_REGION_MAX || !take_until(rest, ':', &out->account) || !account_valid(out->account) ||
        !slice_starts(*rest, SLICE_LIT("stream/")))
        return ST_SYNTAX;
    *rest = slice_from(*rest, sizeof "stream/" - 1);
    return ST_OK;
}

int stream_arn_parse(struct slice arn, struct stream_arn *out)
{
    struct stream_arn got;
    if (arn_head(&arn, &got) < 0 || !stream_name_valid(arn))
        return ST_SYNTAX;
    got.name = arn;
    *out = got;
    return ST_OK;
}

int consumer_arn_parse(struct slice arn, struct consumer_arn *out)
{
    struct consumer_arn got;
    if (arn_head(&arn, &got.stream) < 0 || !take_until(&arn, '/', &got.stream.name) ||
        !stream_name_valid(got.stream.name) || !slice_starts(arn, SLICE_LIT("consumer/")))
        return ST_SYNTAX;
    arn = slice_from(arn, sizeof "consumer/" - 1);
    if (!take_until(&arn, ':', &got.consumer) || !stream_name_valid(got.consumer) ||
        !slice_parse_u64(arn, &got.created_s))
        return ST_SYNTAX;
    *out = got;
    return ST_OK;
}
