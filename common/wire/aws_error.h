/*
 * The errors of AWS's protocols, in one table: what handlers may answer with. broker/api and firehose/api map our own
 * status codes to these; nobody else names one. Pure; any thread.
 */
#ifndef SLUICE_WIRE_AWS_ERROR_H
#define SLUICE_WIRE_AWS_ERROR_H

#include "common/base/slice.h"

/*
 * X(name, AWS's name, HTTP status, the member that carries the text). Coral writes "message" for modelled exceptions
 * and "Message" for those its own framework throws before the operation is reached.
 */
#define AWS_ERROR_TABLE(X)                                                                               \
    /* the protocol */                                                                                   \
    X(AWS_SERIALIZATION, "SerializationException", 400, "Message")                                       \
    X(AWS_UNKNOWN_OPERATION, "UnknownOperationException", 400, "message")                                \
    X(AWS_VALIDATION, "ValidationException", 400, "message")                                             \
    X(AWS_ACCESS_DENIED, "AccessDeniedException", 400, "message")                                        \
    X(AWS_MISSING_AUTHENTICATION_TOKEN, "MissingAuthenticationTokenException", 400, "message")           \
    X(AWS_INCOMPLETE_SIGNATURE, "IncompleteSignatureException", 400, "message")                          \
    X(AWS_INVALID_SIGNATURE, "InvalidSignatureException", 400, "message")                                \
    X(AWS_UNRECOGNIZED_CLIENT, "UnrecognizedClientException", 400, "message")                            \
    X(AWS_EXPIRED_TOKEN, "ExpiredTokenException", 400, "message")                                        \
    X(AWS_REQUEST_TOO_LARGE, "RequestEntityTooLargeException", 413, "message")                           \
    X(AWS_THROTTLING, "ThrottlingException", 400, "message")                                             \
    X(AWS_INTERNAL_FAILURE, "InternalFailure", 500, "message")                                           \
    X(AWS_SERVICE_UNAVAILABLE, "ServiceUnavailableException", 503, "message")                            \
    /* Kinesis, Firehose */                                                                              \
    X(AWS_RESOURCE_NOT_FOUND, "ResourceNotFoundException", 400, "message")                               \
    X(AWS_RESOURCE_IN_USE, "ResourceInUseException", 400, "message")                                     \
    X(AWS_LIMIT_EXCEEDED, "LimitExceededException", 400, "message")                                      \
    X(AWS_INVALID_ARGUMENT, "InvalidArgumentException", 400, "message")                                  \
    X(AWS_PROVISIONED_THROUGHPUT_EXCEEDED, "ProvisionedThroughputExceededException", 400, "message")     \
    X(AWS_EXPIRED_ITERATOR, "ExpiredIteratorException", 400, "message")                                  \
    X(AWS_EXPIRED_NEXT_TOKEN, "ExpiredNextTokenException", 400, "message")                               \
    X(AWS_INTERNAL_FAILURE_EXCEPTION, "InternalFailureException", 500, "message") /* in event streams */ \
    X(AWS_KMS_ACCESS_DENIED, "KMSAccessDeniedException", 400, "message")                                 \
    X(AWS_KMS_DISABLED, "KMSDisabledException", 400, "message")                                          \
    X(AWS_KMS_INVALID_STATE, "KMSInvalidStateException", 400, "message")                                 \
    X(AWS_KMS_NOT_FOUND, "KMSNotFoundException", 400, "message")                                         \
    X(AWS_KMS_OPT_IN_REQUIRED, "KMSOptInRequired", 400, "message")                                       \
    X(AWS_KMS_THROTTLING, "KMSThrottlingException", 400, "message")                                      \
    X(AWS_CONCURRENT_MODIFICATION, "ConcurrentModificationException", 400, "message")                    \
    X(AWS_INVALID_KMS_RESOURCE, "InvalidKMSResourceException", 400, "message")                           \
    X(AWS_INVALID_SOURCE, "InvalidSourceException", 400, "message")

#define AWS_ERROR_ENUM(name, text, status, member) name,
enum aws_error { AWS_ERROR_TABLE(AWS_ERROR_ENUM) AWS_ERROR_COUNT };
#undef AWS_ERROR_ENUM

struct aws_error_info {
    const char *name;           /* "ResourceNotFoundException" */
    int http_status;            /* 400 */
    const char *message_member; /* "message" or "Message" */
};

/* Static storage. */
const struct aws_error_info *aws_error_info(enum aws_error error);
/* The error of that name, or AWS_ERROR_COUNT: what a client reads in an answer's __type (a "prefix#" is cut off). */
enum aws_error aws_error_find(struct slice name);

#endif
