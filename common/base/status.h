/*
 * Operating errors as values (style.md, "three kinds"). A function that can fail returns int: >= 0 success, < 0
 * failure, either -errno or one of the domain codes below. Functions whose failure an operator sees also fill a struct
 * err, whose text is wrapped outward: "open stream 'orders': shard 3: segment 17: bad checksum at byte 8192". Outputs
 * are untouched on failure.
 */
#ifndef SLUICE_BASE_STATUS_H
#define SLUICE_BASE_STATUS_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#define must_use       __attribute__((warn_unused_result))
#define printf_like(f) __attribute__((format(printf, f, (f) + 1)))

/* X(name, value, text). Values lie below every -errno. */
#define STATUS_TABLE(X)                                                                     \
    X(ST_TORN, -5000, "the write was never completed")                                      \
    X(ST_STALE, -5001, "the bytes belong to a former use of the file")                      \
    X(ST_CORRUPT, -5002, "the bytes are damaged")                                           \
    X(ST_QUARANTINED, -5003, "the shard is quarantined: damage was found")                  \
    X(ST_FENCED, -5004, "the shard is fenced until it is reopened: a write or sync failed") \
    X(ST_THROTTLED, -5005, "a memory or rate limit is reached; try again")                  \
    X(ST_RESERVE, -5006, "the disk is down to its reserve")                                 \
    X(ST_CLOSED, -5007, "it is closed")                                                     \
    X(ST_TRIMMED, -5008, "the position has expired by retention")                           \
    X(ST_SYNTAX, -5009, "the input is not well-formed")                                     \
    X(ST_LIMIT, -5010, "a limit of the input is exceeded")                                  \
    X(ST_VERSION, -5011, "the format version is not supported")                             \
    X(ST_EXPIRED, -5012, "it has expired")                                                  \
    X(ST_DENIED, -5013, "access is denied")                                                 \
    X(ST_NOT_FOUND, -5014, "it does not exist")                                             \
    X(ST_EXISTS, -5015, "it exists already")                                                \
    X(ST_CONFLICT, -5016, "its state does not allow this")                                  \
    X(ST_INVALID, -5017, "a value is not allowed")                                          \
    X(ST_FAILED, -5018, "it failed")

#define STATUS_ENUM(name, value, text) name = value,
enum status { ST_OK = 0, STATUS_TABLE(STATUS_ENUM) };
#undef STATUS_ENUM

/* "ST_CORRUPT", "EIO", ... Static storage, never NULL. Any thread. */
const char *status_name(int status);
/* A sentence for people. Static storage, never NULL. Any thread. */
const char *status_text(int status);

#define ERR_TEXT_MAX 512

/* An error with its story. Zero-initialised means none. */
struct err {
    int code;
    char text[ERR_TEXT_MAX];
};

/* Sets code and text; returns code, so that `return err_set(e, ...)` reads well. `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) printf_like(3);
/* Sets code and "what: <text of code>". `e` may be NULL. Returns code. */
int err_set_status(struct err *e, int code, const char *fmt, ...) printf_like(3);
/* Puts "prefix: " before the text that is there. Returns the code that is there (or ST_FAILED if `e` is NULL). */
int err_wrap(struct err *e, const char *fmt, ...) printf_like(2);

#endif
