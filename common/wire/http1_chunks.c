/*
 * Chunked bodies (RFC 9112, 7.1), a byte at a time except for the payload, which is passed through as views. Sizes are
 * 1 to 16 hexadecimal digits; extensions are skipped and bounded; the trailer's lines are checked, bounded and dropped.
 */
#include "common/wire/http1.h"

#define CHUNK_LINE_BYTES_MAX 256
#define TRAILER_BYTES_MAX    8192

enum chunk_stage {
    CHUNK_SIZE,      /* in the digits */
    CHUNK_EXTENSION, /* after them, up to CR */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_START, /* of a line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    CHUNK_END_LF, /* the last one */
    CHUNK_DONE
};

void http1_chunks_init(struct http1_chunks *c, uint64_t body_bytes_max)
{
    *c = (struct http1_chunks){.body_bytes_max = body_bytes_max, .stage = CHUNK_SIZE};
}

static int hex_value(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* After the size's digits. */
static enum http1_error size_ends(struct http1_chunks *c, uint8_t b)
{
    if (c->digits == 0)
        return HTTP1_BAD_CHUNK;
    /* left + body_bytes cannot overflow: both are checked against the limit first */
    if (c->left > c->body_bytes_max || c->body_bytes + c->left > c->body_bytes_max)
        return HTTP1_BODY_TOO_LARGE;
    c->stage = b == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
    return b == '\r' || b == ';' ? HTTP1_OK : HTTP1_BAD_CHUNK;
}

static enum http1_error size_byte(struct http1_chunks *c, uint8_t b)
{
    int v = hex_value(b);
    if (++c->line_bytes > CHUNK_LINE_BYTES_MAX)
        return HTTP1_BAD_CHUNK;
    if (v < 0)
        return size_ends(c, b);
    if (c->digits == 16)
        return HTTP1_BAD_CHUNK;
    c->digits++;
    c->left = c->left << 4 | (uint64_t)v;
    return HTTP1_OK;
}

static enum http1_error extension_byte(struct http1_chunks *c, uint8_t b)
{
    if (++c->line_bytes > CHUNK_LINE_BYTES_MAX || (b < 0x20 && b != '\t' && b != '\r') || b == 0x7f)
        return HTTP1_BAD_CHUNK;
    if (b == '\r')
        c->stage = CHUNK_SIZE_LF;
    return HTTP1_OK;
}

static enum http1_error size_line_feed(struct http1_chunks *c, uint8_t b)
{
    if (b != '\n')
        return HTTP1_BAD_CHUNK;
    c->stage = c->left ? CHUNK_DATA : TRAILER_START;
    return HTTP1_OK;
}

static enum http1_error data_ends(struct http1_chunks *c, uint8_t b)
{
    if (b != (c->stage == CHUNK_DATA_CR ? '\r' : '\n'))
        return HTTP1_BAD_CHUNK;
    c->stage = c->stage == CHUNK_DATA_CR ? CHUNK_DATA_LF : CHUNK_SIZE;
    c->line_bytes = c->digits = 0;
    return HTTP1_OK;
}

static bool is_name_byte(uint8_t b)
{
    return b > 0x20 && b < 0x7f && b != ':';
}

static enum http1_error trailer_byte(struct http1_chunks *c, uint8_t b)
{
    if (++c->trailer_bytes > TRAILER_BYTES_MAX)
        return HTTP1_TRAILER_TOO_LARGE;
    switch (c->stage) {
    case TRAILER_START:
        if (b == '\r')
            c->stage = CHUNK_END_LF;
        else if (is_name_byte(b))
            c->stage = TRAILER_NAME;
        else
            return HTTP1_BAD_CHUNK;
        return HTTP1_OK;
    case TRAILER_NAME:
        if (b == ':')
            c->stage = TRAILER_VALUE;
        else if (!is_name_byte(b))
            return HTTP1_BAD_CHUNK;
        return HTTP1_OK;
    case TRAILER_VALUE:
        if (b == '\r')
            c->stage = TRAILER_LF;
        else if ((b < 0x20 && b != '\t') || b == 0x7f)
            return HTTP1_BAD_CHUNK;
        return HTTP1_OK;
    case TRAILER_LF:
        c->stage = TRAILER_START;
        break;
    default: /* CHUNK_END_LF */
        c->stage = CHUNK_DONE;
        break;
    }
    return b == '\n' ? HTTP1_OK : HTTP1_BAD_CHUNK;
}

static enum http1_error framing_byte(struct http1_chunks *c, uint8_t b)
{
    switch (c->stage) {
    case CHUNK_SIZE:
        return size_byte(c, b);
    case CHUNK_EXTENSION:
        return extension_byte(c, b);
    case CHUNK_SIZE_LF:
        return size_line_feed(c, b);
    case CHUNK_DATA_CR:
    case CHUNK_DATA_LF:
        return data_ends(c, b);
    default:
        return trailer_byte(c, b);
    }
}

enum http1_progress http1_chunks_next(struct http1_chunks *c, struct slice in, size_t *out_used, struct slice *out_data)
{
    size_t used = 0;
    *out_data = SLICE_NULL;
    while (!c->error && used < in.len && c->stage != CHUNK_DONE) {
        if (c->stage == CHUNK_DATA) {
            *out_data = slice_first(slice_from(in, used), c->left < in.len ? (size_t)c->left : in.len);
            used += out_data->len;
            c->left -= out_data->len;
            c->body_bytes += out_data->len;
            if (c->left == 0)
                c->stage = CHUNK_DATA_CR;
            break;
        }
        c->error = framing_byte(c, in.ptr[used]);
        used++;
    }
    *out_used = used;
    if (c->error)
        return HTTP1_FAILED;
    return c->stage == CHUNK_DONE ? HTTP1_DONE : HTTP1_MORE;
}
