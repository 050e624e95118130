/*
 * Heads of HTTP/1.1 messages. What is shared by both directions and by the body decoder (http1_chunks.c) is in the
 * header.
 *
 * Happy path: http1_parse finds the end of the current line from scan_at on (so that no byte is searched twice), checks
 * that it is CRLF, and hands the line to the start-line or the header-line parser by `stage`; the empty line ends the
 * head, where framing is decided once all headers are known.
 * Failure: the first error is final; the parser then answers HTTP1_FAILED for ever.
 */
#include "common/wire/http1.h"

#include "common/base/check.h"
#include "common/wire/uri.h"

#define METHOD_BYTES_MAX 32

enum stage { STAGE_START, STAGE_HEADERS, STAGE_DONE };

/* RFC 9110, 5.6.2: the characters of a token. */
static const bool token_char[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0'] = 1,  ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1,
    ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['A'] = 1,  ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
    ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1,  ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1,
    ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1,  ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,
    ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,  ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
    ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1,  ['z'] = 1,
};

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!token_char[s.ptr[i]])
            return false;
    return s.len > 0;
}

/* RFC 9110, 5.5: visible characters, space, tab, and bytes from 0x80 on. */
static bool is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return false;
    return true;
}

/* Visible ASCII but '#': laxer than RFC 3986, because clients do send '|' or '"' unescaped, and harmless. */
static bool is_target(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f || s.ptr[i] == '#')
            return false;
    return s.len > 0;
}

int http1_error_status(enum http1_error error)
{
    switch (error) {
#define CASE(name, status, text) \
    case name:                   \
        return status;
        HTTP1_ERROR_TABLE(CASE)
#undef CASE
    case HTTP1_OK:
        break;
    }
    return 200;
}

const char *http1_error_text(enum http1_error error)
{
    switch (error) {
#define CASE(name, status, text) \
    case name:                   \
        return text;
        HTTP1_ERROR_TABLE(CASE)
#undef CASE
    case HTTP1_OK:
        break;
    }
    return "no error";
}

struct slice http_header_find(const struct http_header *headers, uint32_t count, const char *name)
{
    struct slice want = slice_str(name);
    for (uint32_t i = 0; i < count; i++)
        if (slice_eq_nocase(headers[i].name, want))
            return headers[i].value;
    return SLICE_NULL;
}

/* ---- start lines ------------------------------------------------------------------------------------------------ */

static struct http1_span span_of(const uint8_t *buf, struct slice s)
{
    return (struct http1_span){(uint32_t)(s.ptr - buf), (uint32_t)s.len};
}

/* "HTTP/1.1" or "HTTP/1.0". */
static enum http1_error parse_version(struct http1_parser *p, struct slice s, enum http1_error malformed)
{
    if (s.len != 8 || memcmp(s.ptr, "HTTP/", 5) != 0 || s.ptr[5] < '0' || s.ptr[5] > '9' || s.ptr[6] != '.' ||
        s.ptr[7] < '0' || s.ptr[7] > '9')
        return malformed;
    if (s.ptr[5] != '1' || s.ptr[7] > '1')
        return HTTP1_BAD_VERSION;
    p->version_minor = (uint8_t)(s.ptr[7] - '0');
    return HTTP1_OK;
}

static enum http1_error parse_request_line(struct http1_parser *p, const uint8_t *buf, struct slice line)
{
    if (slice_eq_str(line, "PRI * HTTP/2.0"))
        return HTTP1_H2_PREFACE;
    size_t first = slice_find(line, ' ');
    struct slice method = slice_first(line, first), rest = slice_from(line, first + 1);
    size_t second = slice_find(rest, ' ');
    struct slice target = slice_first(rest, second);
    if (!is_token(method) || method.len > METHOD_BYTES_MAX || second == rest.len)
        return HTTP1_BAD_REQUEST_LINE;
    if (target.len > p->limits->target_bytes_max)
        return HTTP1_TARGET_TOO_LONG;
    if (!is_target(target))
        return HTTP1_BAD_TARGET;
    enum http1_error error = parse_version(p, slice_from(rest, second + 1), HTTP1_BAD_REQUEST_LINE);
    if (error)
        return error;
    if (slice_eq_str(method, "CONNECT"))
        return HTTP1_CONNECT;
    p->method = span_of(buf, method);
    p->target = span_of(buf, target);
    return HTTP1_OK;
}

static enum http1_error parse_status_line(struct http1_parser *p, struct slice line)
{
    enum http1_error error = parse_version(p, slice_first(line, 8), HTTP1_BAD_STATUS_LINE);
    if (error)
        return error;
    struct slice rest = slice_from(line, 8);
    uint64_t status;
    if (rest.len < 4 || rest.ptr[0] != ' ' || !slice_parse_u64(slice_of(rest.ptr + 1, 3), &status) || status < 100 ||
        (rest.len > 4 && rest.ptr[4] != ' ') || !is_field_value(rest))
        return HTTP1_BAD_STATUS_LINE;
    p->status = (uint16_t)status;
    return HTTP1_OK;
}

/* ---- header lines ----------------------------------------------------------------------------------------------- */

static enum http1_error take_content_length(struct http1_parser *p, struct slice value)
{
    if (p->has_length)
        return HTTP1_REPEATED_CONTENT_LENGTH;
    p->has_length = true;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return HTTP1_BAD_CONTENT_LENGTH;
    if (value.len == 0)
        return HTTP1_BAD_CONTENT_LENGTH;
    return slice_parse_u64(value, &p->content_length) ? HTTP1_OK : HTTP1_BODY_TOO_LARGE;
}

static enum http1_error take_transfer_encoding(struct http1_parser *p, struct slice value)
{
    if (p->has_coding)
        return HTTP1_REPEATED_CODING;
    p->has_coding = true;
    return slice_eq_nocase(value, SLICE_LIT("chunked")) ? HTTP1_OK : HTTP1_UNKNOWN_CODING;
}

static enum http1_error take_host(struct http1_parser *p, const uint8_t *buf, struct slice value)
{
    struct uri_authority a;
    if (!p->is_request)
        return HTTP1_OK;
    if (p->has_host)
        return HTTP1_REPEATED_HOST;
    p->has_host = true;
    if (uri_authority_parse(value, &a) < 0)
        return HTTP1_BAD_HOST;
    p->host = span_of(buf, value);
    return HTTP1_OK;
}

static enum http1_error take_connection(struct http1_parser *p, struct slice value)
{
    while (value.len) {
        size_t n = slice_find(value, ',');
        if (slice_eq_nocase(slice_trim(slice_first(value, n)), SLICE_LIT("close")))
            p->close = true;
        value = slice_from(value, n + 1);
    }
    return HTTP1_OK;
}

static enum http1_error take_expect(struct http1_parser *p, struct slice value)
{
    if (!p->is_request)
        return HTTP1_OK;
    if (!slice_eq_nocase(value, SLICE_LIT("100-continue")))
        return HTTP1_UNKNOWN_EXPECTATION;
    p->expect_continue = true;
    return HTTP1_OK;
}

/* The headers that decide framing; told apart by length first. */
static enum http1_error take_header(struct http1_parser *p, const uint8_t *buf, struct slice name, struct slice value)
{
    switch (name.len) {
    case 4:
        return slice_eq_nocase(name, SLICE_LIT("host")) ? take_host(p, buf, value) : HTTP1_OK;
    case 6:
        return slice_eq_nocase(name, SLICE_LIT("expect")) ? take_expect(p, value) : HTTP1_OK;
    case 10:
        return slice_eq_nocase(name, SLICE_LIT("connection")) ? take_connection(p, value) : HTTP1_OK;
    case 14:
        return slice_eq_nocase(name, SLICE_LIT("content-length")) ? take_content_length(p, value) : HTTP1_OK;
    case 17:
        return slice_eq_nocase(name, SLICE_LIT("transfer-encoding")) ? take_transfer_encoding(p, value) : HTTP1_OK;
    default:
        return HTTP1_OK;
    }
}

static enum http1_error parse_header_line(struct http1_parser *p, const uint8_t *buf, struct slice line)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return HTTP1_FOLDED_HEADER;
    size_t colon = slice_find(line, ':');
    struct slice name = slice_first(line, colon), value = slice_trim(slice_from(line, colon + 1));
    if (colon == line.len)
        return HTTP1_BAD_HEADER_NAME;
    if (colon > 0 && (name.ptr[colon - 1] == ' ' || name.ptr[colon - 1] == '\t'))
        return HTTP1_SPACE_BEFORE_COLON;
    if (!is_token(name))
        return HTTP1_BAD_HEADER_NAME;
    if (!is_field_value(value))
        return HTTP1_BAD_HEADER_VALUE;
    if (p->field_count == p->limits->headers_max)
        return HTTP1_TOO_MANY_HEADERS;
    p->fields[p->field_count++] = (struct http1_field){span_of(buf, name), span_of(buf, value)};
    return take_header(p, buf, name, value);
}

/* ---- the end of the head: framing -------------------------------------------------------------------------------- */

static enum http1_error check_target(struct http1_parser *p, const uint8_t *buf)
{
    struct http1_target t;
    enum http1_error error = http1_target_split(http1_view(buf, p->target), &t);
    if (error)
        return error;
    if (t.path.len == 1 && t.path.ptr[0] == '*' && !slice_eq_str(http1_view(buf, p->method), "OPTIONS"))
        return HTTP1_BAD_TARGET;
    if (!p->has_host)
        return p->version_minor == 0 ? HTTP1_OK : HTTP1_NO_HOST;
    if (t.authority.ptr && !slice_eq_nocase(t.authority, http1_view(buf, p->host)))
        return HTTP1_HOST_MISMATCH;
    return HTTP1_OK;
}

static enum http1_error finish_head(struct http1_parser *p, const uint8_t *buf)
{
    if (p->has_length && p->has_coding)
        return HTTP1_LENGTH_AND_CODING;
    if (p->has_coding && p->version_minor == 0)
        return HTTP1_CODING_IN_1_0;
    if (p->is_request) {
        enum http1_error error = check_target(p, buf);
        if (error)
            return error;
    }
    if (!p->is_request && (p->no_body || p->status < 200 || p->status == 204 || p->status == 304))
        p->body = HTTP1_BODY_NONE;
    else if (p->has_coding)
        p->body = HTTP1_BODY_CHUNKED;
    else if (p->has_length)
        p->body = p->content_length > 0 ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
    else
        p->body = p->is_request ? HTTP1_BODY_NONE : HTTP1_BODY_UNTIL_CLOSE;
    if (p->body == HTTP1_BODY_LENGTH && p->content_length > p->limits->body_bytes_max)
        return HTTP1_BODY_TOO_LARGE;
    if (p->body == HTTP1_BODY_NONE || p->version_minor == 0)
        p->expect_continue = false;
    p->keep_alive = p->version_minor == 1 && !p->close && p->body != HTTP1_BODY_UNTIL_CLOSE;
    return HTTP1_OK;
}

/* ---- the machine ------------------------------------------------------------------------------------------------ */

static void parser_init(struct http1_parser *p, const struct http1_limits *limits, struct http1_field *fields)
{
    CHECK(limits->head_bytes_max <= INT32_MAX);
    *p = (struct http1_parser){.limits = limits, .fields = fields, .stage = STAGE_START};
}

void http1_request_init(struct http1_parser *p, const struct http1_limits *limits, struct http1_field *fields)
{
    parser_init(p, limits, fields);
    p->is_request = true;
}

void http1_response_init(struct http1_parser *p, const struct http1_limits *limits, struct http1_field *fields,
                         bool no_body)
{
    parser_init(p, limits, fields);
    p->no_body = no_body;
}

/* One whole line, without its CRLF. */
static enum http1_error take_line(struct http1_parser *p, const uint8_t *buf, struct slice line)
{
    if (p->stage == STAGE_HEADERS) {
        if (line.len > 0)
            return parse_header_line(p, buf, line);
        p->head_bytes = p->scan_at;
        p->stage = STAGE_DONE;
        return finish_head(p, buf);
    }
    /* RFC 9112, 2.2: one empty line before a request is let pass (old clients end a body with it) */
    if (line.len == 0 && p->is_request && !p->empty_line_seen) {
        p->empty_line_seen = true;
        return HTTP1_OK;
    }
    p->stage = STAGE_HEADERS;
    return p->is_request ? parse_request_line(p, buf, line) : parse_status_line(p, line);
}

/* What can be said about a line whose end has not come yet, so that nonsense is refused early. */
static enum http1_error check_partial(const struct http1_parser *p, const uint8_t *buf, size_t len)
{
    size_t have = len - p->line_at;
    if (p->stage == STAGE_START && p->is_request && have > 0) {
        uint8_t first = buf[p->line_at];
        if (first == 0x16)
            return HTTP1_TLS;
        if (!token_char[first] && first != '\r')
            return HTTP1_BAD_REQUEST_LINE;
        /* the longest request line: method, space, target, " HTTP/1.1\r" */
        if (have > METHOD_BYTES_MAX + 1 + (size_t)p->limits->target_bytes_max + 10)
            return HTTP1_TARGET_TOO_LONG;
    }
    return len > p->limits->head_bytes_max ? HTTP1_HEAD_TOO_LARGE : HTTP1_OK;
}

static enum http1_progress fail(struct http1_parser *p, enum http1_error error)
{
    p->error = error;
    return HTTP1_FAILED;
}

enum http1_progress http1_parse(struct http1_parser *p, const uint8_t *buf, size_t len)
{
    if (p->error)
        return HTTP1_FAILED;
    while (p->stage != STAGE_DONE) {
        struct slice rest = slice_of(buf + p->scan_at, len - p->scan_at);
        size_t n = slice_find(rest, '\n');
        if (n == rest.len) {
            p->scan_at = (uint32_t)(len <= p->limits->head_bytes_max ? len : p->scan_at);
            enum http1_error error = check_partial(p, buf, len);
            return error ? fail(p, error) : HTTP1_MORE;
        }
        size_t end = p->scan_at + n; /* of the '\n' */
        if (end >= p->limits->head_bytes_max)
            return fail(p, HTTP1_HEAD_TOO_LARGE);
        struct slice line = slice_of(buf + p->line_at, end - p->line_at);
        if (line.len == 0 || line.ptr[line.len - 1] != '\r')
            return fail(p, p->stage == STAGE_START && line.len && line.ptr[0] == 0x16 ? HTTP1_TLS : HTTP1_BAD_LINE_END);
        line.len--;
        if (slice_find(line, '\r') != line.len)
            return fail(p, HTTP1_BAD_LINE_END);
        p->line_at = p->scan_at = (uint32_t)end + 1;
        enum http1_error error = take_line(p, buf, line);
        if (error)
            return fail(p, error);
    }
    return HTTP1_DONE;
}

void http1_headers(const struct http1_parser *p, const uint8_t *buf, struct http_header *out)
{
    for (uint32_t i = 0; i < p->field_count; i++)
        out[i] = (struct http_header){http1_view(buf, p->fields[i].name), http1_view(buf, p->fields[i].value)};
}

enum http1_error http1_target_split(struct slice target, struct http1_target *out)
{
    struct http1_target t = {0};
    if (target.len && target.ptr[0] == '/') {
        size_t question = slice_find(target, '?');
        t.path = slice_first(target, question);
        t.query = slice_from(target, question + 1);
    } else if (slice_eq_str(target, "*")) {
        t.path = target;
    } else {
        struct uri u;
        if (uri_parse(target, &u) < 0)
            return HTTP1_BAD_TARGET;
        t = (struct http1_target){u.authority, u.path, u.query};
    }
    *out = t;
    return HTTP1_OK;
}
