/*
 * From an HTTP exchange to an operation: X-Amz-Target names it, the shape tables decode and validate its input into a C
 * struct, the handler fills an output struct, the shape tables encode that. Protocol errors (unknown target, bad
 * content type, serialisation, validation) are answered here, with AWS's names and texts; handlers never see them.
 * Registered by broker/api and firehose/api. This header is pure: the HTTP side is joined through struct
 * call_transport.
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
    const struct shape *input;  /* a structure shape; its C struct is what call->input points to */
    const struct shape *output; /* NULL: an empty body, 200 */
    void (*run)(struct call *call);
};

struct service {
    const char *target_prefix; /* "Kinesis_20131202" */
    const char *signing_name;  /* "kinesis" */
    const struct operation *operations;
    uint32_t operation_count;
};

/* One call of an operation. Lives until it is answered, by exactly one of call_reply and call_fail, at once or later on
 * the same loop. */
struct call {
    const struct service *service;
    const struct operation *operation;
    struct arena *arena;         /* of the request */
    void *input;                 /* decoded, validated; slices borrow from the request or the arena */
    void *ctx;                   /* what the registrar gave: the daemon's context of this loop */
    const char *access_key;      /* who signed; NULL: nobody had to */
    struct slice account_region; /* reserved */
    void (*answered)(struct call *call, int http_status, struct bytebuf *body, const char *error_name); /* transport */
    void *transport;
};

void call_reply(struct call *call, const void *output);
/* `fmt` is the exact AWS message. */
void call_fail(struct call *call, enum aws_error error, const char *fmt, ...) printf_like(3);

#endif
