/*
 * The Authorization header, taken apart strictly and with AWS's words for what is wrong:
 *     AWS4-HMAC-SHA256 Credential=keyid/date/region/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=hex
 * Parameters are separated by commas, spaces or both. All that is missing is said in one message, as AWS does.
 */
#include "common/wire/sigv4.h"

static bool is_separator(uint8_t c)
{
    return c == ',' || c == ' ' || c == '\t';
}

/* Takes the next parameter off `*s`; false at the end. */
static bool param_next(struct slice *s, struct slice *out)
{
    while (s->len && is_separator(s->ptr[0]))
        *s = slice_from(*s, 1);
    size_t n = 0;
    while (n < s->len && !is_separator(s->ptr[n]))
        n++;
    *out = slice_first(*s, n);
    *s = slice_from(*s, n);
    return n > 0;
}

static struct slice *param_slot(struct sigv4_authorization *a, struct slice name)
{
    if (slice_eq_str(name, "Credential"))
        return &a->credential;
    if (slice_eq_str(name, "SignedHeaders"))
        return &a->signed_headers;
    return slice_eq_str(name, "Signature") ? &a->signature : NULL;
}

static bool take_params(struct slice params, struct slice header, struct sigv4_authorization *a,
                        struct bytebuf *message)
{
    struct slice param;
    while (param_next(&params, &param)) {
        size_t eq = slice_find(param, '=');
        if (eq == param.len) {
            bytebuf_printf(message,
                           "'%.*s' not a valid key=value pair (missing equal-sign) in Authorization header: '%.*s'.",
                           SLICE_FMT(param), SLICE_FMT(header));
            return false;
        }
        struct slice *slot = param_slot(a, slice_first(param, eq));
        if (!slot || slot->ptr) {
            bytebuf_printf(message, "Authorization header has %s '%.*s' parameter. Authorization=%.*s",
                           slot ? "more than one" : "an unknown", SLICE_FMT(slice_first(param, eq)), SLICE_FMT(header));
            return false;
        }
        *slot = slice_from(param, eq + 1);
    }
    return true;
}

enum sigv4_error sigv4_authorization_parse(struct slice header, bool has_date, struct sigv4_authorization *out,
                                           struct bytebuf *message)
{
    struct sigv4_authorization a = {0};
    size_t space = slice_find(header, ' '), before = message->len;
    a.algorithm = slice_first(header, space);
    if (!take_params(slice_from(header, space), header, &a, message))
        return SIGV4_INCOMPLETE;

    if (a.credential.len == 0)
        bytebuf_str(message, "Authorization header requires 'Credential' parameter. ");
    if (a.signature.len == 0)
        bytebuf_str(message, "Authorization header requires 'Signature' parameter. ");
    if (a.signed_headers.len == 0)
        bytebuf_str(message, "Authorization header requires 'SignedHeaders' parameter. ");
    if (!has_date)
        bytebuf_str(message, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
    if (message->len != before || bytebuf_failed(message)) {
        bytebuf_printf(message, "Authorization=%.*s", SLICE_FMT(header));
        return SIGV4_INCOMPLETE;
    }
    *out = a;
    return SIGV4_OK;
}

enum sigv4_error sigv4_credential_split(struct sigv4_authorization *a, struct bytebuf *message)
{
    struct slice *const parts[] = {&a->access_key, &a->date, &a->region, &a->service, &a->terminator};
    struct slice left = a->credential;
    size_t count = 0;
    while (left.len && left.ptr[left.len - 1] == '/')
        left.len--; /* AWS ignores slashes at the end */
    for (bool more = true; more; count++) {
        size_t n = slice_find(left, '/');
        if (count < ARRAY_COUNT(parts))
            *parts[count] = slice_first(left, n);
        more = n < left.len;
        left = slice_from(left, n + 1);
    }
    if (count == ARRAY_COUNT(parts) && a->access_key.len)
        return SIGV4_OK;
    bytebuf_printf(message,
                   "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                   "got '%.*s'",
                   SLICE_FMT(a->credential));
    return SIGV4_INCOMPLETE;
}
