/* What the files of broker/api share among themselves. Nobody else includes it. */
#ifndef SLUICE_API_API_IMPL_H
#define SLUICE_API_API_IMPL_H

#include "broker/api/api.h"
#include "broker/api/registry.h"
#include "broker/api/shard_call.h"
#include "broker/shard/seqnum.h"
#include "broker/shard/shard_limit.h"
#include "broker/shard/token.h"
#include "common/wire/sigv4.h"

#define API_RECORD_BYTES_DEFAULT (1u << 20)
#define API_REQUEST_BYTES_MAX    (10u << 20) /* data and keys of one PutRecords; of one answer of GetRecords */
#define API_RECORDS_MAX          500u

struct rest;
struct changes;
struct stop;

/* Constant once api_start is done, but for `changes`, which belongs to loops[0]. */
struct api {
    struct api_options options; /* the pointers in it that must live until api_stop do */
    struct log_options log_options;
    char account[STREAM_ACCOUNT_LEN + 1];
    char region[STREAM_REGION_MAX + 1];
    struct token_key key;
    uint32_t loop_count;
    struct api_loop *loop; /* of loop_count */
    const struct service **services;
    const char **signing_names; /* of the services, NULL-terminated */
    const char *operation_name[API_OPERATIONS_MAX], *operation_service[API_OPERATIONS_MAX];
    uint32_t operation_count;
    uint32_t rest_operation; /* index of "rest:put" */
    struct rest *rest;
    int64_t iterator_life_ms;
    struct changes *changes;
    struct stop *stop;
};

struct api_loop {
    struct api *api;
    uint32_t index;
    struct loop *io;
    struct log *log;
    struct registry registry;
    struct dispatch dispatch;
    struct sigv4_verifier verifier;
    struct api_stats stats;
    uint64_t answer_bytes; /* granted to answers of GetRecords that are being built */
    struct hashmap limits; /* shard uid -> struct limit_entry, with limits_aws */
    struct list watches;   /* struct api_stream_watch */
    struct io_defer tell;
    void *user;
};

/* ---- requests: api_request.c ---- */

int api_register_services(struct api *api) must_use;
void api_loop_init_requests(struct api_loop *l);
void api_count(struct api_loop *l, uint32_t operation, enum api_result result, struct mono_ns received);

/* ---- signatures: api_auth.c ---- */

void api_auth_init(struct api_loop *l);
/* True if the request is signed by one of the configuration's credentials. */
bool api_verify(struct api_loop *l, struct http_exchange *x, struct slice *out_access_key,
                struct dispatch_denial *out_denial);
/* The dispatcher's hook: api_verify, if there are credentials. */
bool api_authenticate(void *ctx, void *exchange, const struct service *service, struct slice *out_access_key,
                      struct dispatch_denial *out_denial);

/* ---- streams change: stream_change.c ---- */

int changes_create(struct api *api) must_use;
void changes_destroy(struct api *api);
/* Takes up what a crash left CREATING or DELETING. loops[0]. */
int changes_resume(struct api *api) must_use;
/* `idle` once no change is under way; new ones are refused from now on. */
void changes_drain(struct api *api, void (*idle)(struct api *api));
/* Makes the loop's log agree with a stream's rows: shards that it owns and does not have, and their retention. */
int stream_apply(struct api_loop *l, const struct catalog_stream *row, const struct catalog_shard *shards,
                 uint32_t count) must_use;
void stream_changed(struct api_loop *l, uint64_t stream_uid);

/* ---- messages and limits: shard_call.c ---- */

/* Runs `deliver` on the loop `to`: at once if that is the loop `from` that we are on. */
void api_send(struct api_loop *from, struct api_loop *to, struct io_msg *m, void (*deliver)(struct io_msg *m));

/* True if the shard's read limit allows a call now. Owner. */
bool shard_read_allowed(struct api_loop *owner, uint64_t shard_uid) must_use;
/* What that call returned. Owner. */
void shard_read_charge(struct api_loop *owner, uint64_t shard_uid, uint64_t bytes);
void shard_limits_forget(struct api_loop *owner, uint64_t shard_uid);

/* ---- helpers of the operations: api_common.c ---- */

/* The stream that a request names by StreamName or StreamARN (either may be missing: ptr NULL); NULL: the call has been
 * failed with AWS's error. Internal streams do not exist here. */
struct registry_stream *api_named_stream(struct call *call, struct slice name, struct slice arn);
/* The name alone, for messages and for streams that need not exist. Length 0: the call has been failed. */
struct slice api_named(struct call *call, struct slice name, struct slice arn);
/* The stream of that name that the API shows; NULL: none. */
struct registry_stream *api_visible_stream(struct api_loop *l, struct slice name);
void api_fail_no_stream(struct call *call, struct slice name);
/* Fails the call for a status of the log or the catalog. */
void api_fail_status(struct call *call, int status, const char *what);
struct token_nonce api_nonce(struct api_loop *l);
/* "Thu Jan 22 01:22:02 UTC 2015" */
#define API_TIME_TEXT_MAX 32
void api_time_text(struct wall_ms t, char out[API_TIME_TEXT_MAX]);

extern const struct service kinesis_service;

void op_create_stream(struct call *call);
void op_delete_stream(struct call *call);
void op_describe_stream(struct call *call);
void op_describe_stream_summary(struct call *call);
void op_list_streams(struct call *call);
void op_list_shards(struct call *call);
void op_put_record(struct call *call);
void op_put_records(struct call *call);
void op_get_shard_iterator(struct call *call);
void op_get_records(struct call *call);

#endif
