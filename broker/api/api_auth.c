/*
 * Who signed a request: SigV4 checked against the configuration's credentials, and AWS's names for what is wrong with
 * it. Without credentials any signature, and none at all, is accepted. One verifier a loop (it caches derived keys).
 */
#include "broker/api/api_impl.h"

static struct slice secret_of(void *ctx, struct slice access_key)
{
    const struct config *config = ctx;
    for (uint32_t i = 0; i < config->credential_count; i++)
        if (slice_eq_str(access_key, config->credentials[i].access_key_id))
            return slice_str(config->credentials[i].secret_access_key);
    return SLICE_NULL;
}

void api_auth_init(struct api_loop *l)
{
    const struct config *config = l->api->options.config;
    sigv4_verifier_init(&l->verifier);
    l->verifier.secret = secret_of;
    l->verifier.ctx = (void *)(uintptr_t)config;
    l->verifier.region = l->api->region;
    l->verifier.services = l->api->signing_names;
}

static enum aws_error error_of(enum sigv4_error e)
{
    switch (e) {
    case SIGV4_MISSING:
        return AWS_MISSING_AUTHENTICATION_TOKEN;
    case SIGV4_INCOMPLETE:
    case SIGV4_PRESIGNED:
        return AWS_INCOMPLETE_SIGNATURE;
    case SIGV4_UNKNOWN_KEY:
        return AWS_UNRECOGNIZED_CLIENT;
    case SIGV4_OUT_OF_MEMORY:
        return AWS_THROTTLING;
    default:
        return AWS_INVALID_SIGNATURE;
    }
}

bool api_verify(struct api_loop *l, struct http_exchange *x, struct slice *out_access_key,
                struct dispatch_denial *out_denial)
{
    const struct sigv4_request rq = {.method = x->method,
                                     .path = x->path,
                                     .query = x->query,
                                     .headers = x->headers,
                                     .header_count = x->header_count,
                                     .body = x->body};
    struct sigv4_result result;
    enum sigv4_error e = sigv4_verify(&l->verifier, &rq, loop_wall(l->io), x->arena, &result);
    if (e == SIGV4_OK) {
        *out_access_key = result.access_key;
        return true;
    }
    out_denial->error = error_of(e);
    out_denial->message = result.message;
    return false;
}

bool api_authenticate(void *ctx, void *exchange, const struct service *service, struct slice *out_access_key,
                      struct dispatch_denial *out_denial)
{
    struct api_loop *l = ctx;
    (void)service;
    if (!l->api->options.config->credential_count) {
        *out_access_key = SLICE_NULL;
        return true;
    }
    return api_verify(l, exchange, out_access_key, out_denial);
}
