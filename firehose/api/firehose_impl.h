/* What the operations' files share. */
#ifndef SLUICE_FIREHOSE_API_FIREHOSE_IMPL_H
#define SLUICE_FIREHOSE_API_FIREHOSE_IMPL_H

#include "firehose/api/firehose_api.h"
#include "firehose/api/firehose_shapes.h"

extern const struct firehose_api_hooks *firehose_hooks;

void op_firehose_put_record(struct call *call);
void op_firehose_put_batch(struct call *call);
void op_list_delivery_streams(struct call *call);
void op_describe_delivery_stream(struct call *call);

#endif
