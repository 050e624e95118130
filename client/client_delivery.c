/* Delivery streams: their names, and a description as the server gives it. */
#include <stdlib.h>

#include "client/client_wait.h"
#include "common/wire/json_write.h"

int sluice_delivery_list(struct sluice *s, char ***out_names, size_t *out_count, struct sluice_error *e)
{
    return client_list_names(s, CLIENT_FIREHOSE, "ListDeliveryStreams", "DeliveryStreamNames", "HasMoreDeliveryStreams",
                             "ExclusiveStartDeliveryStreamName", out_names, out_count, e);
}

int sluice_delivery_describe(struct sluice *s, const char *name, char **out_json, struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    struct client_answer answer;
    bytebuf_init(&body, 1 << 16);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "DeliveryStreamName");
    json_write_str(&w, name);
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_FIREHOSE, "DescribeDeliveryStream", &body, &answer, e);
    if (rc < 0)
        return rc;
    char *text = strndup((const char *)answer.json.ptr, answer.json.len);
    client_answer_free(&answer);
    if (!text)
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    *out_json = text;
    return 0;
}
