/*
 * DirectPut's way into the log: one intake a loop and delivery, which appends to the delivery's hidden stream. A record stays on
 * its connection's loop: the shard that this loop owns is taken; where the number of loops has changed since and it owns none,
 * the first shard, by a message. What waits for delivery is capped in bytes, each shard at its part:
 * beyond it, ST_RESERVE (ServiceUnavailableException).
 */
#ifndef SLUICE_BROKER_DELIVERY_INTAKE_H
#define SLUICE_BROKER_DELIVERY_INTAKE_H

#include "broker/api/api.h"
#include "firehose/source.h"

struct delivery_intake;

/* On l's thread, or before the loops run requests. -ENOMEM. */
int delivery_intake_create(struct api_loop *l, uint64_t stream_uid, uint64_t capacity_bytes,
                           struct delivery_intake **out) must_use;
/* NULL is allowed; no append may be under way. */
void delivery_intake_destroy(struct delivery_intake *i);
struct intake *delivery_intake_of(struct delivery_intake *i);

#endif
