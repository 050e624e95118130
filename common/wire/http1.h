/*
 * HTTP/1.1 on the wire (RFC 9112): a strict incremental parser of request and response heads, and of chunked bodies.
 * No I/O and no allocation: the head is parsed where the caller gathers it, results are spans (offsets) into that
 * buffer, so that it may move while it grows. Each byte is looked at once, however the input is split.
 *
 * Strict means, against request smuggling: lines end in CRLF and in nothing else; no line folding; no space before a
 * colon; one Content-Length of digits only; never both Content-Length and Transfer-Encoding; the only transfer coding
 * is "chunked"; exactly one Host. What is refused has an error of its own, with the status to answer. After an error
 * nothing of the connection can be trusted: answer and close. Pure; a parser belongs to one thread.
 */
#ifndef SLUICE_WIRE_HTTP1_H
#define SLUICE_WIRE_HTTP1_H

#include "common/base/slice.h"
#include "common/base/status.h"

struct http_header {
    struct slice name; /* as sent; compare with slice_eq_nocase */
    struct slice value;
};
/* The value of the first header of that name (any case), or an empty slice with ptr NULL. */
struct slice http_header_find(const struct http_header *headers, uint32_t count, const char *name);

/* X(name, HTTP status to answer, text) */
#define HTTP1_ERROR_TABLE(X)                                                               \
    X(HTTP1_BAD_REQUEST_LINE, 400, "the request line is malformed")                        \
    X(HTTP1_BAD_TARGET, 400, "the request target is malformed")                            \
    X(HTTP1_BAD_STATUS_LINE, 400, "the status line is malformed")                          \
    X(HTTP1_BAD_LINE_END, 400, "a line does not end in CRLF")                              \
    X(HTTP1_BAD_HEADER_NAME, 400, "a header name is malformed")                            \
    X(HTTP1_SPACE_BEFORE_COLON, 400, "a header has a space before its colon")              \
    X(HTTP1_FOLDED_HEADER, 400, "a header is folded over several lines")                   \
    X(HTTP1_BAD_HEADER_VALUE, 400, "a header value contains a control character")          \
    X(HTTP1_BAD_CONTENT_LENGTH, 400, "Content-Length is not a number")                     \
    X(HTTP1_REPEATED_CONTENT_LENGTH, 400, "there is more than one Content-Length")         \
    X(HTTP1_LENGTH_AND_CODING, 400, "there are both Content-Length and Transfer-Encoding") \
    X(HTTP1_CODING_IN_1_0, 400, "Transfer-Encoding is not part of HTTP/1.0")               \
    X(HTTP1_REPEATED_CODING, 400, "there is more than one Transfer-Encoding")              \
    X(HTTP1_NO_HOST, 400, "there is no Host header")                                       \
    X(HTTP1_REPEATED_HOST, 400, "there is more than one Host header")                      \
    X(HTTP1_BAD_HOST, 400, "the Host header is malformed")                                 \
    X(HTTP1_HOST_MISMATCH, 400, "the Host header is not the target's host")                \
    X(HTTP1_BAD_CHUNK, 400, "a chunk is malformed")                                        \
    X(HTTP1_TLS, 400, "this port speaks HTTP without TLS")                                 \
    X(HTTP1_BODY_TOO_LARGE, 413, "the body is too large")                                  \
    X(HTTP1_TARGET_TOO_LONG, 414, "the request target is too long")                        \
    X(HTTP1_UNKNOWN_EXPECTATION, 417, "the only known expectation is 100-continue")        \
    X(HTTP1_HEAD_TOO_LARGE, 431, "the head is too large")                                  \
    X(HTTP1_TOO_MANY_HEADERS, 431, "there are too many headers")                           \
    X(HTTP1_TRAILER_TOO_LARGE, 431, "the trailer is too large")                            \
    X(HTTP1_UNKNOWN_CODING, 501, "the only known transfer coding is chunked")              \
    X(HTTP1_CONNECT, 501, "CONNECT is not supported")                                      \
    X(HTTP1_BAD_VERSION, 505, "the protocol version is not HTTP/1.1 or HTTP/1.0")          \
    X(HTTP1_H2_PREFACE, 505, "HTTP/2 is not supported: use HTTP/1.1")

#define HTTP1_ERROR_ENUM(name, status, text) name,
enum http1_error { HTTP1_OK = 0, HTTP1_ERROR_TABLE(HTTP1_ERROR_ENUM) };
#undef HTTP1_ERROR_ENUM

/* The status to answer; 200 for HTTP1_OK. */
int http1_error_status(enum http1_error error);
/* A sentence without a full stop. Static storage. */
const char *http1_error_text(enum http1_error error);
/* "Not Found"; "" for a status that is not in the table. Static storage. */
const char *http1_reason(int status);

struct http1_limits {
    uint32_t head_bytes_max; /* of all lines with their ends */
    uint32_t headers_max;    /* also the size of the caller's array of fields */
    uint32_t target_bytes_max;
    uint64_t body_bytes_max;
};

/* Bytes [at, at + len) of the caller's buffer. */
struct http1_span {
    uint32_t at, len;
};
struct http1_field {
    struct http1_span name, value;
};
static inline struct slice http1_view(const uint8_t *buf, struct http1_span s)
{
    return slice_of(buf + s.at, s.len);
}

enum http1_progress { HTTP1_MORE, HTTP1_DONE, HTTP1_FAILED };
enum http1_body { HTTP1_BODY_NONE, HTTP1_BODY_LENGTH, HTTP1_BODY_CHUNKED, HTTP1_BODY_UNTIL_CLOSE };

struct http1_parser {
    /* results, valid after HTTP1_DONE */
    struct http1_span method, target; /* of a request */
    struct http1_span host;           /* of a request: the Host header's value; len 0 if there is none */
    uint16_t status;                  /* of a response */
    uint32_t head_bytes;              /* the body starts here */
    uint32_t field_count;
    struct http1_field *fields; /* the caller's */
    enum http1_body body;
    uint64_t content_length; /* of HTTP1_BODY_LENGTH; never 0 in a request (that is BODY_NONE) */
    uint8_t version_minor;   /* 0 or 1 */
    bool keep_alive;         /* false for HTTP/1.0, whatever it says */
    bool expect_continue;
    enum http1_error error; /* after HTTP1_FAILED */
    /* private */
    const struct http1_limits *limits;
    uint32_t line_at, scan_at; /* the current line's start; up to here no line end was found */
    uint8_t stage;
    bool is_request, no_body, empty_line_seen, has_length, has_coding, has_host, close;
};

/* `fields` has room for limits->headers_max; both live as long as the parser is used. */
void http1_request_init(struct http1_parser *p, const struct http1_limits *limits, struct http1_field *fields);
/* `no_body`: the request was HEAD. */
void http1_response_init(struct http1_parser *p, const struct http1_limits *limits, struct http1_field *fields,
                         bool no_body);
/* Parses on. `buf` holds all `len` bytes since the head's start (it may have moved). HTTP1_MORE: call again with more;
 * HTTP1_DONE: the head ends at head_bytes, what follows is the body; HTTP1_FAILED: see error. A 1xx response is DONE
 * like any other: init again for the next. */
enum http1_progress http1_parse(struct http1_parser *p, const uint8_t *buf, size_t len);
/* Turns the fields into headers that point into `buf`; `out` has room for field_count. */
void http1_headers(const struct http1_parser *p, const uint8_t *buf, struct http_header *out);

/* The parts of a request target in origin form (/path?query), absolute form (http://host/path?query) or "*". */
struct http1_target {
    struct slice authority; /* of an absolute form; else ptr NULL */
    struct slice path, query;
};
/* HTTP1_OK or HTTP1_BAD_TARGET. */
enum http1_error http1_target_split(struct slice target, struct http1_target *out);

/* A chunked body. */
struct http1_chunks {
    enum http1_error error;
    /* private */
    uint64_t left, body_bytes, body_bytes_max;
    uint32_t line_bytes, trailer_bytes;
    uint8_t stage, digits;
};
void http1_chunks_init(struct http1_chunks *c, uint64_t body_bytes_max);
/* Decodes from `in`: *out_used bytes were consumed, *out_data is the payload among them (a view of `in`, may be
 * empty). HTTP1_MORE: call again with the rest of the input; HTTP1_DONE: the body and its trailer have ended, the rest
 * is the next message; HTTP1_FAILED: see error. Trailers are checked and dropped. */
enum http1_progress http1_chunks_next(struct http1_chunks *c, struct slice in, size_t *out_used,
                                      struct slice *out_data);

#endif
