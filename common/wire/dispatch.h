/*
 * From a request to an operation: X-Amz-Target names it, the shape tables decode and validate its input into a C
 * struct, the handler fills an output struct, the shape tables encode that. Protocol errors (unknown target, bad
 * content type, credentials, serialisation, validation) are answered here, with AWS's names and texts; handlers never
 * see them. Operations are registered by broker/api and firehose/api. This header is pure: the HTTP side gives slices
 * and takes an answer through a callback; randomness and credentials come through callbacks too.
 *
 * The life of a call: dispatch_run makes it in the request's arena and calls operation->run; the handler answers
 * once, with call_reply or call_fail, at once or later on the same loop; the transport's `answered` is called within.
 * Everything of the call lives in the request's arena, which the transport keeps until the answer has been sent.
 * Thread: the loop that owns the request.
 */
#ifndef SLUICE_WIRE_DISPATCH_H
#define SLUICE_WIRE_DISPATCH_H

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/wire/aws_error.h"
#include "common/wire/shape.h"

struct call;

struct operation {
    const char *name;           /* "PutRecord" */
    const struct shape *input;  /* a structure; its C struct is what call->input points to */
    const struct shape *output; /* NULL: success has an empty body */
    void (*run)(struct call *call);
};

struct service {
    const char *target_prefix; /* "Kinesis_20131202" */
    const char *signing_name;  /* "kinesis" */
    const struct operation *operations;
    uint32_t operation_count;
};

/* What the transport knows of a request; absent headers have ptr NULL. All must live until the answer. */
struct dispatch_request {
    struct slice method; /* "POST" */
    struct slice content_type;
    struct slice amz_target; /* X-Amz-Target */
    struct slice body;
    struct arena *arena;
    void *exchange; /* for `authenticate` and `answered` */
};

#define DISPATCH_REQUEST_ID_MAX 37  /* a UUID and its NUL */
#define DISPATCH_ID_2_MAX       101 /* 72 bytes in base64, its NUL, rounded up */

struct dispatch_answer {
    int http_status;
    const char *content_type;                 /* NULL: send none */
    char request_id[DISPATCH_REQUEST_ID_MAX]; /* x-amzn-RequestId */
    char id_2[DISPATCH_ID_2_MAX];             /* x-amz-id-2 */
    struct bytebuf *body;                     /* the receiver takes its memory over: move the struct out */
    const char *error_name;                   /* NULL: success. For metrics; static */
    const struct operation *operation;        /* NULL: none was reached. For metrics */
};

enum dispatch_encoding { DISPATCH_JSON, DISPATCH_CBOR };

/* One call of an operation. */
struct call {
    const struct service *service;
    const struct operation *operation;
    enum dispatch_encoding encoding; /* of the request and of its answer */
    struct arena *arena;             /* of the request */
    void *input;                     /* decoded, validated; slices borrow from the request or the arena */
    void *ctx;                       /* dispatch_options.ctx: the daemon's context of this loop */
    struct slice access_key;         /* who signed; ptr NULL: nobody had to */
    void *user;                      /* the handler's, NULL at first */
    /* private */
    const struct dispatch *dispatch;
    void *exchange;
};

/* A refusal of credentials: AWS's error and its exact text. */
struct dispatch_denial {
    enum aws_error error;
    struct slice message; /* in the request's arena, or static */
};

struct dispatch_options {
    const struct service *const *services; /* NULL-terminated; must outlive the dispatcher */
    size_t answer_bytes_max;               /* 0 = 32 MiB */
    void *ctx;                             /* given to the handlers in call->ctx */
    /* Fills `len` random bytes. */
    void (*random)(void *ctx, void *out, size_t len);
    /* True if the request may pass; *out_access_key is in the arena or the request. Else *out_denial. NULL: all pass.
     */
    bool (*authenticate)(void *ctx, void *exchange, const struct service *service, struct slice *out_access_key,
                         struct dispatch_denial *out_denial);
    /* Called once a request. */
    void (*answered)(void *ctx, void *exchange, struct dispatch_answer *answer);
};

struct dispatch {
    struct dispatch_options options;
};

void dispatch_init(struct dispatch *d, const struct dispatch_options *options);
/* Takes a request: answers it, or calls its operation. Copies what it needs of `rq` (not the bytes). */
void dispatch_run(const struct dispatch *d, const struct dispatch_request *rq);

/* Answers with the operation's output struct (NULL if the operation has none). It is encoded before this returns. */
void call_reply(struct call *call, const void *output);
/* Answers with a body that the handler has encoded itself, as call->encoding says (GetRecords: records are written
 * straight from blocks). Takes the memory over; a buffer that has failed is answered as InternalFailure. */
void call_reply_body(struct call *call, struct bytebuf *body);
/* Answers with an error; `fmt` makes the exact AWS message. */
void call_fail(struct call *call, enum aws_error error, const char *fmt, ...) printf_like(3);
/* The same with a finished text; SLICE_NULL: an error without a text. */
void call_fail_text(struct call *call, enum aws_error error, struct slice message);

#endif
