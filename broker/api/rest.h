/*
 * The REST ingestion, for people with nothing but curl:
 *
 *     curl --data-binary @event.json http://HOST/streams/events/records
 *     {"shardId":"shardId-000000000002","sequenceNumber":"496..."}
 *
 * POST /streams/NAME/records, and the routes of the configuration. The body is one record, or with Content-Type
 * application/x-ndjson a record a line (blank lines are passed over; the answer lists a result a record). The answer
 * leaves after the sync. Errors are JSON: {"error":"not_found","message":"... what to do"}. docs: broker/api/README.md.
 *
 * Each loop; the routes are constant.
 */
#ifndef SLUICE_API_REST_H
#define SLUICE_API_REST_H

#include "broker/api/api_impl.h"

#define REST_LINES_MAX 10000u

/* Compiles the configuration's routes. -ENOMEM. */
int rest_create(const struct api *api, struct rest **out) must_use;
void rest_destroy(struct rest *rest);

/* True: the path is ours and the request is (or will be) answered. */
bool rest_request(struct api_loop *l, struct http_exchange *x);
/* Answers 404 for a path that nobody knows. */
void rest_not_found(struct api_loop *l, struct http_exchange *x);

#endif
