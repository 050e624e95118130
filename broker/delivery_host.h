/*
 * The daemon's deliveries: brings those of the configuration into the catalog, gives each a source (and, for DirectPut, a hidden
 * stream and intakes), and runs it on its loop's firehose. What a delivery does is firehose/'s; this joins it to the log.
 *
 *     host_start ──▶ firehose opened on every loop ──▶ for each delivery: stream, catalog row, source, firehose_add
 *                ──▶ for each hidden stream without a delivery: held ──▶ done
 *     host_stop  ──▶ every loop at the same time: deliveries stop (draining), sources close ──▶ done
 *
 * A delivery that is no longer in the configuration does not run, and the diagnostics name it at each start. Its journal
 * stays, so that it goes on where it was if it comes back. DirectPut's records exist nowhere but in its hidden stream,
 * and were acknowledged: they are held for ever (until the delivery is back). Those of a stream are the stream's, whose
 * retention goes on.
 *
 * Invariants
 *  D1. The table of hosted deliveries is complete before the first request and constant afterwards: any loop may read it.
 *  D2. A delivery's catalog row (its uid) exists before its journal, and is never made twice for one name.
 */
#ifndef SLUICE_BROKER_DELIVERY_HOST_H
#define SLUICE_BROKER_DELIVERY_HOST_H

#include "broker/api/api.h"
#include "broker/config.h"
#include "broker/delivery_intake.h"
#include "broker/delivery_source.h"
#include "firehose/api/firehose_api.h"
#include "firehose/firehose.h"

struct delivery_host;

struct hosted_delivery {
    struct delivery_host *host;
    const struct config_delivery *wanted;
    struct catalog_delivery row;
    struct delivery_settings settings;
    uint32_t loop_index;
    struct delivery_intake **intakes; /* a loop each; NULL: a stream is the source */
    struct delivery_source *source;
    struct delivery *delivery; /* its loop's */
    /* starting and stopping */
    struct io_msg msg;
    struct api_change change;
    struct delivery_source_open opening;
    struct err err;
};

struct delivery_host_options {
    struct api *api;
    struct loop **loops;
    uint32_t loop_count;
    struct catalog *catalog;
    const struct config *config;
    const char *journal_folder;
    uint8_t log_uid[16];
};

struct delivery_host_start {
    void (*done)(struct delivery_host_start *s);
    int status;
    struct err err;
    struct delivery_host *host; /* set also on failure: stop it */
};
/* On loops[0]. `options` and config until stopped. Blocks for the catalog's few transactions: the daemon is not serving yet. */
void delivery_host_start(const struct delivery_host_options *options, struct delivery_host_start *s);
/* On loops[0]. Frees the host, then `stopped`. */
void delivery_host_stop(struct delivery_host *h, uint32_t grace_ms, void (*stopped)(void *ctx), void *ctx);

/* Sorted by name. Any thread (D1). */
const struct hosted_delivery *delivery_host_at(const struct delivery_host *h, uint32_t index);
uint32_t delivery_host_count(const struct delivery_host *h);
struct hosted_delivery *delivery_host_find(struct delivery_host *h, struct slice name);
/* The loop's firehose, for its metrics; on that loop. */
struct firehose *delivery_host_firehose(struct delivery_host *h, uint32_t loop_index);

/* What firehose/api asks for; setup once. The call's ctx is an api_loop whose user is the host. */
extern struct firehose_api_hooks delivery_host_hooks;

#endif
