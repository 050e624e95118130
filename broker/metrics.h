/*
 * GET /metrics (Prometheus text), /healthz, /deliveries/NAME (a delivery's status as JSON). The numbers live with their loops; a
 * request gathers them by one message that visits each loop.
 */
#ifndef SLUICE_BROKER_METRICS_H
#define SLUICE_BROKER_METRICS_H

#include <stdatomic.h>

#include "broker/api/api.h"
#include "broker/config.h"
#include "broker/delivery_host.h"

struct metrics {
    struct api *api; /* NULL while starting: not healthy */
    struct delivery_host *deliveries;
    struct http_server **servers; /* a loop each */
    struct loop **loops;
    uint32_t loop_count;
    const struct config *config;
    atomic_bool draining; /* set on loops[0], read on all */
};

/* Answers the three, false for any other target. On l's thread. */
bool metrics_request(struct metrics *m, struct api_loop *l, struct http_exchange *x);

#endif
