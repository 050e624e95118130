/* strerrorname_np and strerrordesc_np: thread-safe, and without a locale. */
#include "common/base/status.h"

#include <stdio.h>
#include <string.h>

const char *status_name(int status)
{
    switch (status) {
    case ST_OK:
        return "ST_OK";
#define STATUS_CASE(name, value, text) \
    case name:                         \
        return #name;
        STATUS_TABLE(STATUS_CASE)
#undef STATUS_CASE
    default:
        break;
    }
    const char *name = strerrorname_np(-status);
    return name ? name : "unknown status";
}

const char *status_text(int status)
{
    switch (status) {
    case ST_OK:
        return "success";
#define STATUS_CASE(name, value, text) \
    case name:                         \
        return text;
        STATUS_TABLE(STATUS_CASE)
#undef STATUS_CASE
    default:
        break;
    }
    const char *text = strerrordesc_np(-status);
    return text ? text : "unknown status";
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    e->code = code;
    return code;
}

int err_set_status(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    char what[ERR_TEXT_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(e, code, "%s: %s", what, status_text(code));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ST_FAILED;
    char before[ERR_TEXT_MAX];
    char prefix[ERR_TEXT_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(before, e->text, sizeof before);
    before[sizeof before - 1] = 0;
    size_t n = (size_t)snprintf(e->text, sizeof e->text, "%s: ", prefix);
    snprintf(e->text + n, sizeof e->text - n, "%s", before);
    return e->code;
}
