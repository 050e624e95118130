/* Which sink a base belongs to: by its scheme. A new sink is one line here and a file of its own. */
#include "firehose/sink.h"

#include "firehose/sink_local.h"

static const struct {
    const char *scheme;
    int (*create)(struct loop *loop, const char *rest, struct sink **out, struct err *e);
} sinks[] = {
    {"file://", sink_local_create},
};

int sink_create(struct loop *loop, const char *base, struct sink **out, struct err *e)
{
    for (size_t i = 0; i < ARRAY_COUNT(sinks); i++) {
        size_t n = strlen(sinks[i].scheme);
        if (strncmp(base, sinks[i].scheme, n) == 0)
            return sinks[i].create(loop, base + n, out, e);
    }
    return err_set(e, ST_INVALID, "sink '%.200s': no sink has that scheme; known is file:///folder/", base);
}
