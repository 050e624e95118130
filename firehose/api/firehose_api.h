/*
 * The Data Firehose operations: Firehose_20150804. Registered with the dispatcher as a service; what they act on they
 * get from the daemon's main through struct firehose_api_hooks. Handlers run on the call's loop.
 *
 * Now: PutRecord, PutRecordBatch, DescribeDeliveryStream, ListDeliveryStreams.
 */
#ifndef SLUICE_FIREHOSE_API_FIREHOSE_API_H
#define SLUICE_FIREHOSE_API_FIREHOSE_API_H

#include "common/wire/dispatch.h"
#include "firehose/delivery_settings.h"
#include "firehose/source.h"

/* A delivery stream as the operations see it on one loop. Lives until the loop's next iteration. */
struct firehose_api_delivery {
    const struct delivery_settings *settings;
    struct wall_ms created, updated;
    struct intake *intake; /* of this loop; NULL: a stream is the source, or it cannot take records yet */
    bool active;           /* else CREATING */
    bool deleting;
};

struct firehose_api_hooks {
    /* False: there is none of that name. */
    bool (*find)(const struct call *call, struct slice name, struct firehose_api_delivery *out);
    /* The first in name order behind `after` (empty: the very first). False at the end. */
    bool (*next)(const struct call *call, struct slice after, struct firehose_api_delivery *out);
    const char *account, *region; /* of ARNs */
    /* The call's loop, for randomness. */
    struct loop *(*loop)(const struct call *call);
};

/* Before the first call; the hooks must live as long as the process. */
void firehose_api_setup(const struct firehose_api_hooks *hooks);
/* To be given to the dispatcher. */
extern const struct service firehose_service;

#endif
