/* The service's table. */
#include "firehose/api/firehose_api.h"

#include "firehose/api/firehose_impl.h"

const struct firehose_api_hooks *firehose_hooks;

void firehose_api_setup(const struct firehose_api_hooks *hooks)
{
    firehose_hooks = hooks;
}

static const struct operation operations[] = {
    {"DescribeDeliveryStream", &describe_delivery_stream_input, &describe_delivery_stream_output,
     op_describe_delivery_stream},
    {"ListDeliveryStreams", &list_delivery_streams_input, &list_delivery_streams_output, op_list_delivery_streams},
    {"PutRecord", &firehose_put_record_input, &firehose_put_record_output, op_firehose_put_record},
    {"PutRecordBatch", &firehose_put_batch_input, &firehose_put_batch_output, op_firehose_put_batch},
};

const struct service firehose_service = {
    .target_prefix = "Firehose_20150804",
    .signing_name = "firehose",
    .operations = operations,
    .operation_count = ARRAY_COUNT(operations),
};
