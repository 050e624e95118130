/* What the operations share: whose stream a request means, and how our own status becomes one of AWS's errors. */
#include "broker/api/api_impl.h"
#include "common/base/diag.h"

struct slice api_named(struct call *call, struct slice name, struct slice arn)
{
    const struct api *api = ((struct api_loop *)call->ctx)->api;
    struct stream_arn parts;
    if (!name.ptr && !arn.ptr) {
        call_fail(call, AWS_INVALID_ARGUMENT, "Either StreamName or StreamARN should be provided.");
        return SLICE_NULL;
    }
    if (!arn.ptr)
        return name;
    if (stream_arn_parse(arn, &parts) < 0) {
        call_fail(call, AWS_INVALID_ARGUMENT, "StreamARN %.*s is not the ARN of a stream.", SLICE_FMT(arn));
        return SLICE_NULL;
    }
    if (name.ptr && !slice_eq(name, parts.name)) {
        call_fail(call, AWS_INVALID_ARGUMENT, "StreamName %.*s and StreamARN %.*s do not name the same stream.",
                  SLICE_FMT(name), SLICE_FMT(arn));
        return SLICE_NULL;
    }
    if (!slice_eq_str(parts.account, api->account) || !slice_eq_str(parts.region, api->region)) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Stream %.*s under account %.*s not found.", SLICE_FMT(parts.name),
                  SLICE_FMT(parts.account));
        return SLICE_NULL;
    }
    return parts.name;
}

void api_fail_no_stream(struct call *call, struct slice name)
{
    const struct api *api = ((struct api_loop *)call->ctx)->api;
    call_fail(call, AWS_RESOURCE_NOT_FOUND, "Stream %.*s under account %s not found.", SLICE_FMT(name), api->account);
}

struct registry_stream *api_visible_stream(struct api_loop *l, struct slice name)
{
    struct registry_stream *s = registry_find(&l->registry, name);
    return s && !s->row.internal ? s : NULL;
}

struct registry_stream *api_named_stream(struct call *call, struct slice name, struct slice arn)
{
    struct slice found = api_named(call, name, arn);
    if (!found.len)
        return NULL;
    struct registry_stream *s = api_visible_stream(call->ctx, found);
    if (!s)
        api_fail_no_stream(call, found);
    return s;
}

void api_fail_status(struct call *call, int status, const char *what)
{
    if (status == ST_THROTTLED || status == ST_RESERVE) {
        call_fail(call, AWS_PROVISIONED_THROUGHPUT_EXCEEDED, "Rate exceeded: %s.", status_text(status));
        return;
    }
    diag(DIAG_ERROR, "request_failed", "operation=%s step=\"%s\" error=%s", call->operation->name, what,
         status_name(status));
    call_fail_text(call, AWS_INTERNAL_FAILURE, SLICE_NULL);
}

struct token_nonce api_nonce(struct api_loop *l)
{
    struct token_nonce n;
    loop_random(l->io, n.byte, sizeof(n.byte));
    return n;
}

void api_time_text(struct wall_ms t, char out[API_TIME_TEXT_MAX])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct wall_parts p = wall_split(t);
    snprintf(out, API_TIME_TEXT_MAX, "%s %s %02d %02d:%02d:%02d UTC %04d", days[p.weekday % 7],
             months[(unsigned)(p.month - 1) % 12], p.day % 100, p.hour % 100, p.minute % 100, p.second % 100,
             p.year % 10000);
}
