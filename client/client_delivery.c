/* Delivery streams: their names; the description that AWS knows joined with the live status that only sluiced has. */
#include <stdlib.h>

#include "client/client_wait.h"
#include "common/wire/json_read.h"
#include "common/wire/json_write.h"
#include "common/wire/uri.h"

int sluice_delivery_list(struct sluice *s, char ***out_names, size_t *out_count, struct sluice_error *e)
{
    return client_list_names(s, CLIENT_FIREHOSE, "ListDeliveryStreams", "DeliveryStreamNames", "HasMoreDeliveryStreams",
                             "ExclusiveStartDeliveryStreamName", out_names, out_count, e);
}

/* The value of the answer's DeliveryStreamDescription, as it was written; ptr NULL: there is none. */
static struct slice description_of(struct slice json)
{
    struct json_reader r;
    struct slice key, found = SLICE_NULL;
    int token;
    json_reader_init(&r, json, NULL);
    if (!answer_object(&r))
        return SLICE_NULL;
    while (answer_member(&r, &key, &token)) {
        const uint8_t *begin = r.token;
        if (!json_skip(&r))
            return SLICE_NULL;
        if (slice_eq_str(key, "DeliveryStreamDescription") && token == JSON_OBJECT)
            found = slice_of(begin, (size_t)(r.at - begin));
    }
    return r.last == JSON_OBJECT_END ? found : SLICE_NULL;
}

static int describe(struct sluice *s, const char *name, struct client_answer *out, struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    bytebuf_init(&body, 1 << 16);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "DeliveryStreamName");
    json_write_str(&w, name);
    json_write_object_end(&w);
    return client_ask(s, CLIENT_FIREHOSE, "DescribeDeliveryStream", &body, out, e);
}

/* GET /deliveries/NAME. A server that has no such page (AWS) leaves *out empty. */
static int status_get(struct sluice *s, const char *name, struct client_answer *out, struct sluice_error *e)
{
    struct bytebuf page;
    struct sluice_error why;
    bytebuf_init(&page, 4096);
    bytebuf_str(&page, "/deliveries/");
    uri_encode(slice_str(name), 0, &page);
    bytebuf_byte(&page, 0);
    int rc = bytebuf_failed(&page) ? client_fail(&why, SLUICE_E_MEMORY, "no memory for the request")
                                   : client_get(s, (const char *)page.ptr, out, &why);
    bytebuf_deinit(&page);
    if (rc == 0 && json_check(out->json) < 0) {
        client_answer_free(out);
        return client_answer_bad(e, "GET /deliveries/NAME");
    }
    if (rc == SLUICE_E_NOT_FOUND || rc == SLUICE_E_DENIED || rc == SLUICE_E_INVALID)
        return 0;
    if (rc < 0 && e)
        *e = why;
    return rc;
}

int sluice_delivery_describe(struct sluice *s, const char *name, char **out_json, struct sluice_error *e)
{
    struct client_answer described, status = {0};
    int rc = describe(s, name, &described, e);
    if (rc < 0)
        return rc;
    struct slice description = description_of(described.json);
    rc = description.ptr ? status_get(s, name, &status, e) : client_answer_bad(e, "DescribeDeliveryStream");
    struct bytebuf joined;
    bytebuf_init(&joined, description.len + status.json.len + 64);
    if (rc == 0) {
        struct json_writer w;
        json_writer_init(&w, &joined);
        json_write_object(&w);
        json_write_name(&w, "description");
        json_write_raw(&w, description);
        json_write_name(&w, "status");
        json_write_raw(&w, status.json.len ? status.json : SLICE_LIT("null"));
        json_write_object_end(&w);
        bytebuf_byte(&joined, 0);
        if (bytebuf_failed(&joined))
            rc = client_fail(e, SLUICE_E_MEMORY, "no memory for the answer");
    }
    client_answer_free(&described);
    client_answer_free(&status);
    if (rc < 0)
        bytebuf_deinit(&joined);
    else
        *out_json = (char *)joined.ptr; /* malloc's, so sluice_free fits */
    return rc;
}
