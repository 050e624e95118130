/*
 * Architecture decision 11: no web page may post to the daemon. Without credentials only loopback names are taken as
 * Host (a page that has rebound its own name to 127.0.0.1 sends that name); an Origin header, which browsers send with
 * each cross-site POST, must be configured, or be the daemon's own loopback address.
 */
#include "common/http/http_server_internal.h"
#include "common/wire/uri.h"

static bool is_listed(const char *const *origins, struct slice origin)
{
    for (; origins && *origins; origins++)
        if (slice_eq_nocase(origin, slice_str(*origins)))
            return true;
    return false;
}

static bool is_own(struct slice host, struct slice origin)
{
    struct uri u;
    return uri_parse(origin, &u) == 0 && slice_eq_nocase(u.authority, host) && uri_host_is_loopback(&u.at);
}

const char *http_guard_check(const struct http_server_options *o, struct slice host, struct slice origin)
{
    struct uri_authority a;
    if (o->require_local_host && host.ptr && (uri_authority_parse(host, &a) < 0 || !uri_host_is_loopback(&a)))
        return "without credentials only a loopback Host is served";
    if (origin.ptr && !is_listed(o->origins, origin) && !is_own(host, origin))
        return "the Origin is not allowed";
    return NULL;
}
