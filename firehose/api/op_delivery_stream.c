/*
 * ListDeliveryStreams and DescribeDeliveryStream. What AWS's shapes cannot say is said so:
 *   - a file sink of the configuration file is BucketARN "arn:aws:s3:::" and its folder without the first '/';
 *   - age encryption is KMSEncryptionConfig with the key "arn:aws:kms:<region>:<account>:key/age";
 *   - zstd is CompressionFormat "ZSTD"; sizes and times below AWS's units are rounded up.
 */
#include "firehose/api/firehose_impl.h"

#define LIST_LIMIT_DEFAULT 10

static bool of_type(const struct firehose_api_delivery *d, int type)
{
    return !type || (type == TYPE_KINESIS_STREAM_AS_SOURCE) == (d->settings->source[0] != 0);
}

void op_list_delivery_streams(struct call *call)
{
    const struct list_delivery_streams_input *in = call->input;
    uint32_t limit = in->limit.set ? (uint32_t)in->limit.value : LIST_LIMIT_DEFAULT;
    struct list_delivery_streams_output out = {.has_more_delivery_streams = OPT_BOOL(false)};
    struct firehose_api_delivery d;
    struct slice after = in->exclusive_start_delivery_stream_name;
    out.delivery_stream_names.items = arena_alloc(call->arena, limit * sizeof *out.delivery_stream_names.items);
    if (!out.delivery_stream_names.items) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
        return;
    }
    while (firehose_hooks->next(call, after, &d)) {
        after = slice_str(d.settings->name);
        if (!of_type(&d, in->delivery_stream_type))
            continue;
        if (out.delivery_stream_names.count == limit) {
            out.has_more_delivery_streams.value = true;
            break;
        }
        out.delivery_stream_names.items[out.delivery_stream_names.count++] = after;
    }
    call_reply(call, &out);
}

/* ---- describe ----------------------------------------------------------------------------------------------------- */

/* All that a description points to. */
struct description {
    struct describe_delivery_stream_output out;
    struct delivery_stream_description d;
    struct destination_description destination;
    struct s3_destination_description s3, extended;
    struct buffering_hints hints;
    struct encryption_configuration encryption;
    struct kms_encryption_config kms;
    struct cloud_watch_logging_options logging;
    struct processing_configuration processing;
    struct source_description source;
    struct kinesis_stream_source_description kinesis;
    struct delivery_stream_encryption_configuration sse;
};

static struct slice given(const char *text)
{
    return *text ? slice_str(text) : SLICE_NULL;
}

static int compression_of(const struct delivery_settings *s)
{
    return s->compression == COMPRESSION_ZSTD ? FORMAT_ZSTD : FORMAT_UNCOMPRESSED;
}

static void describe_s3(struct call *call, struct description *x, const struct delivery_settings *s)
{
    size_t base = sizeof "file:///" - 1, n = strlen(s->sink);
    x->hints.size_in_mbs = OPT_INT((int32_t)((s->buffer_bytes + (1u << 20) - 1) >> 20));
    x->hints.interval_in_seconds = OPT_INT((int32_t)((s->interval_ms + 999) / 1000));
    if (s->recipient_count) {
        x->kms.aws_kms_key_arn =
            arena_printf(call->arena, "arn:aws:kms:%s:%s:key/age", firehose_hooks->region, firehose_hooks->account);
        x->encryption.kms_encryption_config = &x->kms;
    } else {
        x->encryption.no_encryption_config = SLICE_LIT("NoEncryption");
    }
    x->logging.enabled = OPT_BOOL(false);
    x->s3 = (struct s3_destination_description){
        .role_arn = s->role_arn[0] ? slice_str(s->role_arn)
                                   : arena_printf(call->arena, "arn:aws:iam::%s:role/sluice", firehose_hooks->account),
        .bucket_arn = s->bucket_arn[0] ? slice_str(s->bucket_arn)
                                       : arena_printf(call->arena, "arn:aws:s3:::%.*s",
                                                      n > base ? (int)(n - base - 1) : 0, s->sink + base),
        .prefix = given(s->prefix),
        .error_output_prefix = given(s->error_prefix),
        .buffering_hints = &x->hints,
        .compression_format = compression_of(s),
        .encryption_configuration = &x->encryption,
        .cloud_watch_logging_options = &x->logging,
    };
    x->processing.enabled = OPT_BOOL(false);
    x->extended = x->s3;
    x->extended.processing_configuration = &x->processing;
    x->extended.s3_backup_mode = SLICE_LIT("Disabled");
    x->destination = (struct destination_description){SLICE_LIT("destinationId-000000000001"), &x->s3, &x->extended};
}

static void describe_source(struct call *call, struct description *x, const struct firehose_api_delivery *d)
{
    const struct delivery_settings *s = d->settings;
    if (!s->source[0]) {
        x->sse.status = SLICE_LIT("DISABLED");
        x->d.delivery_stream_encryption_configuration = &x->sse;
        x->d.delivery_stream_type = TYPE_DIRECT_PUT;
        return;
    }
    x->kinesis = (struct kinesis_stream_source_description){
        .kinesis_stream_arn = arena_printf(call->arena, "arn:aws:kinesis:%s:%s:stream/%s", firehose_hooks->region,
                                           firehose_hooks->account, s->source),
        .role_arn = x->s3.role_arn,
        .delivery_start_timestamp = OPT_TIME(d->created),
    };
    x->source.kinesis_stream_source_description = &x->kinesis;
    x->d.source = &x->source;
    x->d.delivery_stream_type = TYPE_KINESIS_STREAM_AS_SOURCE;
}

void op_describe_delivery_stream(struct call *call)
{
    const struct describe_delivery_stream_input *in = call->input;
    struct firehose_api_delivery d;
    if (!firehose_hooks->find(call, in->delivery_stream_name, &d)) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Firehose %.*s under account %s not found.",
                  SLICE_FMT(in->delivery_stream_name), firehose_hooks->account);
        return;
    }
    struct description *x = arena_zalloc(call->arena, sizeof *x);
    if (!x) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
        return;
    }
    const struct delivery_settings *s = d.settings;
    x->out.delivery_stream_description = &x->d;
    x->d.delivery_stream_name = slice_str(s->name);
    x->d.delivery_stream_arn = arena_printf(call->arena, "arn:aws:firehose:%s:%s:deliverystream/%s",
                                            firehose_hooks->region, firehose_hooks->account, s->name);
    x->d.delivery_stream_status = d.deleting ? STATUS_DELETING : d.active ? STATUS_ACTIVE : STATUS_CREATING;
    x->d.version_id = arena_printf(call->arena, "%u", s->version);
    x->d.create_timestamp = OPT_TIME(d.created);
    if (d.updated.ms && d.updated.ms != d.created.ms)
        x->d.last_update_timestamp = OPT_TIME(d.updated);
    describe_s3(call, x, s);
    describe_source(call, x, &d);
    bool past = in->exclusive_start_destination_id.ptr != NULL; /* there is one destination: none behind it */
    x->d.destinations.items = &x->destination;
    x->d.destinations.count = past ? 0 : 1;
    x->d.has_more_destinations = OPT_BOOL(false);
    call_reply(call, &x->out);
}
