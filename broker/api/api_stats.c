/* The counters of the API: adding up over loops, and writing them as Prometheus text. Pure. */
#include "broker/api/api_impl.h"

static const char *const result_names[API_RESULT_COUNT] = {"ok", "client_error", "throttled", "server_error"};

/* Upper edges of the latency buckets that are shown, µs. */
static const uint32_t latency_edges[] = {100,   250,   500,    1000,   2500,   5000,    10000,
                                         25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

const struct api_stats *api_stats(const struct api_loop *l)
{
    return &l->stats;
}

const char *api_operation_name(const struct api *api, uint32_t i)
{
    return i < api->operation_count ? api->operation_name[i] : NULL;
}

void api_stats_add(struct api_stats *sum, const struct api_stats *one)
{
    sum->records_in += one->records_in;
    sum->bytes_in += one->bytes_in;
    sum->records_failed += one->records_failed;
    sum->records_out += one->records_out;
    sum->bytes_out += one->bytes_out;
    sum->remote_calls += one->remote_calls;
    for (uint32_t i = 0; i < AWS_ERROR_COUNT; i++)
        sum->errors[i] += one->errors[i];
    for (uint32_t i = 0; i < ARRAY_COUNT(sum->errors_rest); i++)
        sum->errors_rest[i] += one->errors_rest[i];
    for (uint32_t i = 0; i < API_OPERATIONS_MAX; i++) {
        for (uint32_t k = 0; k < API_RESULT_COUNT; k++)
            sum->operation[i].requests[k] += one->operation[i].requests[k];
        histogram_add(&sum->operation[i].latency_us, &one->operation[i].latency_us);
    }
}

static void counter(struct bytebuf *out, const char *name, const char *help, uint64_t value)
{
    bytebuf_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", name, help, name, name,
                   (unsigned long long)value);
}

static void write_requests(const struct api *api, const struct api_stats *sum, struct bytebuf *out)
{
    bytebuf_str(out, "# HELP sluice_requests_total Requests by operation and result.\n"
                     "# TYPE sluice_requests_total counter\n");
    for (uint32_t i = 0; i < api->operation_count; i++)
        for (uint32_t k = 0; k < API_RESULT_COUNT; k++)
            if (sum->operation[i].requests[k])
                bytebuf_printf(out, "sluice_requests_total{service=\"%s\",operation=\"%s\",result=\"%s\"} %llu\n",
                               api->operation_service[i], api->operation_name[i], result_names[k],
                               (unsigned long long)sum->operation[i].requests[k]);
}

static void write_latency(const struct api *api, const struct api_stats *sum, struct bytebuf *out)
{
    bytebuf_str(out, "# HELP sluice_request_seconds From a request's last byte to its answer.\n"
                     "# TYPE sluice_request_seconds histogram\n");
    for (uint32_t i = 0; i < api->operation_count; i++) {
        const struct histogram *h = &sum->operation[i].latency_us;
        const char *service = api->operation_service[i], *name = api->operation_name[i];
        if (!h->count)
            continue;
        for (uint32_t k = 0; k < ARRAY_COUNT(latency_edges); k++)
            bytebuf_printf(out, "sluice_request_seconds_bucket{service=\"%s\",operation=\"%s\",le=\"%u.%06u\"} %llu\n",
                           service, name, latency_edges[k] / 1000000, latency_edges[k] % 1000000,
                           (unsigned long long)histogram_count_le(h, latency_edges[k]));
        bytebuf_printf(out, "sluice_request_seconds_bucket{service=\"%s\",operation=\"%s\",le=\"+Inf\"} %llu\n",
                       service, name, (unsigned long long)h->count);
        bytebuf_printf(out, "sluice_request_seconds_sum{service=\"%s\",operation=\"%s\"} %.6f\n", service, name,
                       (double)h->sum / 1e6);
        bytebuf_printf(out, "sluice_request_seconds_count{service=\"%s\",operation=\"%s\"} %llu\n", service, name,
                       (unsigned long long)h->count);
    }
}

static void write_errors(const struct api_stats *sum, struct bytebuf *out)
{
    bytebuf_str(out, "# HELP sluice_errors_total Errors by AWS's name, or by the REST ingestion's HTTP status.\n"
                     "# TYPE sluice_errors_total counter\n");
    for (uint32_t i = 0; i < AWS_ERROR_COUNT; i++)
        if (sum->errors[i])
            bytebuf_printf(out, "sluice_errors_total{error=\"%s\"} %llu\n", aws_error_info((enum aws_error)i)->name,
                           (unsigned long long)sum->errors[i]);
    for (uint32_t i = 0; i < ARRAY_COUNT(sum->errors_rest); i++)
        if (sum->errors_rest[i])
            bytebuf_printf(out, "sluice_errors_total{error=\"rest_%u\"} %llu\n", i,
                           (unsigned long long)sum->errors_rest[i]);
}

void api_stats_write(const struct api *api, const struct api_stats *sum, struct bytebuf *out)
{
    counter(out, "sluice_records_in_total", "Records acknowledged.", sum->records_in);
    counter(out, "sluice_bytes_in_total", "Bytes acknowledged: data and partition keys.", sum->bytes_in);
    counter(out, "sluice_records_refused_total", "Records that were not stored.", sum->records_failed);
    counter(out, "sluice_records_out_total", "Records read by GetRecords.", sum->records_out);
    counter(out, "sluice_bytes_out_total", "Bytes read by GetRecords: data and partition keys.", sum->bytes_out);
    counter(out, "sluice_loop_messages_total", "Calls on shards of another loop.", sum->remote_calls);
    write_requests(api, sum, out);
    write_latency(api, sum, out);
    write_errors(sum, out);
}
