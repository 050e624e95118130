/*
 * libsluice against a scripted server: what is sent, what becomes of each kind of answer, the producer's promises. What
 * the daemon makes of it all is tests/e2e/test_client.py's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sluice/sluice.h>

#include "tests/unit/client/script_server.h"

struct fixture {
    struct script_server server;
    struct sluice *s;
    struct sluice_error e;
    /* what scripts use */
    bool go;
    uint32_t waiting, waiting_max;
    char bodies[16][4096];
    char head[4096];
    uint32_t body_count;
    const char *answers[16];
    int statuses[16];
};

/* Remembers the bodies; answers with answers[n] (the last one for ever). */
static void script_list(struct script_server *server, const struct script_request *r, struct script_answer *a)
{
    struct fixture *f = server->user;
    uint32_t n = f->body_count < 15 ? f->body_count++ : 15;
    snprintf(f->bodies[n], sizeof f->bodies[n], "%s", r->body);
    snprintf(f->head, sizeof f->head, "%s", r->head);
    while (n > 0 && !f->answers[n] && !f->statuses[n])
        n--;
    a->status = f->statuses[n] < 0 ? 0 : f->statuses[n] ? f->statuses[n] : 200;
    a->body = f->answers[n] ? f->answers[n] : "";
}

/* Stores every record of a PutRecords or PutRecordBatch request. */
static void store_all(const struct script_request *r, struct script_answer *a)
{
    size_t len = 0;
    bool firehose = strcmp(r->operation, "PutRecordBatch") == 0;
    len += (size_t)snprintf(a->room, sizeof a->room,
                            firehose ? "{\"FailedPutCount\":0,\"RequestResponses\":["
                                     : "{\"FailedRecordCount\":0,\"Records\":[");
    int n = 0;
    for (const char *at = r->body; (at = strstr(at, "\"Data\":")); at++, n++)
        len += (size_t)snprintf(a->room + len, sizeof a->room - len,
                                firehose ? "%s{\"RecordId\":\"%d\"}"
                                         : "%s{\"SequenceNumber\":\"%d\",\"ShardId\":\"shardId-000000000000\"}",
                                n ? "," : "", n);
    snprintf(a->room + len, sizeof a->room - len, "]}");
    a->body = a->room;
}

static void script_store(struct script_server *server, const struct script_request *r, struct script_answer *a)
{
    struct fixture *f = server->user;
    uint32_t n = f->body_count < 15 ? f->body_count++ : 15;
    snprintf(f->bodies[n], sizeof f->bodies[n], "%s", r->body);
    store_all(r, a);
}

/* The same, once the test has said go. */
static void script_hold(struct script_server *server, const struct script_request *r, struct script_answer *a)
{
    struct fixture *f = server->user;
    f->waiting++;
    if (f->waiting > f->waiting_max)
        f->waiting_max = f->waiting;
    pthread_cond_broadcast(&server->changed);
    bool went = script_wait(server, &f->go);
    f->waiting--;
    if (went)
        store_all(r, a);
    else
        a->status = 0;
}

static void await_waiting(struct fixture *f, uint32_t n)
{
    pthread_mutex_lock(&f->server.lock);
    while (f->waiting < n)
        pthread_cond_wait(&f->server.changed, &f->server.lock);
    pthread_mutex_unlock(&f->server.lock);
}

static void let_go(struct fixture *f)
{
    pthread_mutex_lock(&f->server.lock);
    f->go = true;
    pthread_cond_broadcast(&f->server.changed);
    pthread_mutex_unlock(&f->server.lock);
}

static struct sluice_options options_of(struct fixture *f)
{
    return (struct sluice_options){.endpoint = f->server.endpoint, .region = "eu-west-1", .retries_max = 3};
}

static int setup(void **state)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                        "AWS_REGION",        "AWS_DEFAULT_REGION",    "SLUICE_ENDPOINT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->server.user = f;
    f->server.script = script_list;
    script_start(&f->server);
    struct sluice_options o = options_of(f);
    assert_int_equal(sluice_open(&o, &f->s, &f->e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sluice_close(f->s);
    script_stop(&f->server);
    free(f);
    return 0;
}

static struct sluice_record record_of(const char *data, const char *key)
{
    return (struct sluice_record){.data = data, .data_bytes = strlen(data), .partition_key = key};
}

#define STORED "{\"Records\":[{\"SequenceNumber\":\"42\",\"ShardId\":\"shardId-000000000007\"}]}"

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void wrong_options_are_told_and_leave_the_output_alone(void **state)
{
    (void)state;
    static const struct {
        struct sluice_options o;
        const char *text;
    } cases[] = {
        {{.endpoint = "127.0.0.1:1"}, "endpoint '127.0.0.1:1' does not begin with http://"},
        {{.endpoint = "https://a"}, "endpoint 'https://a': this version speaks http:// only"},
        {{.endpoint = "http://"}, "endpoint 'http://' is not http://HOST:PORT"},
        {{.endpoint = "http://a/b"}, "endpoint 'http://a/b' is not http://HOST:PORT"},
        {{.endpoint = "http://a", .access_key_id = "k"}, "an access key id is given without its secret access key"},
        {{.endpoint = "http://a", .secret_access_key = "s"}, "a secret access key is given without its access key id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sluice *s = (struct sluice *)&s;
        struct sluice_error e;
        assert_int_equal(sluice_open(&cases[i].o, &s, &e), SLUICE_E_ARGUMENT);
        assert_int_equal(e.code, SLUICE_E_ARGUMENT);
        assert_string_equal(e.message, cases[i].text);
        assert_ptr_equal(s, &s);
        assert_int_equal(sluice_open(&cases[i].o, &s, NULL), SLUICE_E_ARGUMENT);
    }
    sluice_close(NULL);
}

static void options_come_from_the_environment_too(void **state)
{
    struct fixture *f = *state;
    struct sluice *s;
    setenv("SLUICE_ENDPOINT", f->server.endpoint, 1);
    setenv("AWS_DEFAULT_REGION", "ap-south-1", 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    f->answers[0] = STORED;
    struct sluice_record r = record_of("x", "k");
    assert_int_equal(sluice_open(NULL, &s, &f->e), 0);
    assert_int_equal(sluice_put(s, "events", &r, NULL, &f->e), 0);
    sluice_close(s);
    assert_non_null(strstr(f->head, "X-Amz-Target: Kinesis_20131202.PutRecords\r\n"));
    assert_non_null(strstr(f->head, "Content-Type: application/x-amz-json-1.1\r\n"));
    assert_non_null(strstr(f->head, "Credential=AKID/"));
    assert_non_null(strstr(f->head, "/ap-south-1/kinesis/aws4_request"));
    assert_non_null(strcasestr(f->head, "X-Amz-Security-Token: token\r\n"));
    /* a key of the caller's own has nothing to do with the environment's token */
    struct sluice_options o = {.access_key_id = "OTHER", .secret_access_key = "other"};
    assert_int_equal(sluice_open(&o, &s, &f->e), 0);
    assert_int_equal(sluice_put(s, "events", &r, NULL, &f->e), 0);
    sluice_close(s);
    assert_non_null(strstr(f->head, "Credential=OTHER/"));
    assert_null(strcasestr(f->head, "X-Amz-Security-Token"));
}

static void without_credentials_nothing_is_signed(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r = record_of("x", "k");
    f->answers[0] = STORED;
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, &f->e), 0);
    assert_null(strcasestr(f->head, "Authorization"));
}

/* ---- putting ------------------------------------------------------------------------------------------------------ */

static void a_put_sends_the_record_and_tells_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct sluice_put_result result;
    struct sluice_record r = {
        .data = "\0\xff\"", .data_bytes = 3, .partition_key = "k\"\xc3\xbc", .explicit_hash_key = "7"};
    f->answers[0] = STORED;
    assert_int_equal(sluice_put(f->s, "events", &r, &result, &f->e), 0);
    assert_string_equal(f->bodies[0], "{\"StreamName\":\"events\",\"Records\":[{\"Data\":\"AP8i\",\"PartitionKey\":"
                                      "\"k\\\"\xc3\xbc\",\"ExplicitHashKey\":\"7\"}]}");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.shard_id, "shardId-000000000007");
    assert_string_equal(result.sequence_number, "42");
    r.partition_key = r.explicit_hash_key = NULL;
    r.data = NULL;
    r.data_bytes = 0;
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, NULL), 0);
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, NULL), 0);
    assert_non_null(strstr(f->bodies[1], "{\"Data\":\"\",\"PartitionKey\":\""));
    assert_string_not_equal(f->bodies[1], f->bodies[2]); /* chance keys */
}

static void records_that_no_server_takes_are_refused_before_anything_is_sent(void **state)
{
    struct fixture *f = *state;
    static char long_key[258];
    memset(long_key, 'k', 257);
    static const struct {
        struct sluice_record r;
        const char *text;
    } cases[] = {
        {{.data = NULL, .data_bytes = 1}, "the record has no data pointer"},
        {{.data = "", .data_bytes = (10u << 20) + 1, .partition_key = "k"},
         "a record of 10485761 bytes is over the limit of 10485760, key included"},
        {{.data = "", .data_bytes = SIZE_MAX, .partition_key = "k"},
         "a record of 18446744073709551615 bytes is over the limit of 10485760, key included"},
        {{.data = "", .partition_key = ""}, "a partition key has 1 to 256 characters"},
        {{.data = "", .partition_key = long_key}, "a partition key has 1 to 256 characters"},
        {{.data = "", .partition_key = "\xff"}, "the partition key is not UTF-8"},
        {{.data = "", .explicit_hash_key = ""}, "an explicit hash key is a decimal from 0 to 2^128 - 1"},
        {{.data = "", .explicit_hash_key = "01"}, "an explicit hash key is a decimal from 0 to 2^128 - 1"},
        {{.data = "", .explicit_hash_key = "-1"}, "an explicit hash key is a decimal from 0 to 2^128 - 1"},
        {{.data = "", .explicit_hash_key = "340282366920938463463374607431768211456"},
         "an explicit hash key is a decimal from 0 to 2^128 - 1"},
    };
    struct sluice_put_result result = {.code = 77};
    struct sluice_producer *p;
    assert_int_equal(sluice_producer_open(f->s, "events", NULL, &p, &f->e), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(sluice_put(f->s, "events", &cases[i].r, &result, &f->e), SLUICE_E_ARGUMENT);
        assert_string_equal(f->e.message, cases[i].text);
        assert_int_equal(result.code, 77);
        assert_int_equal(sluice_producer_put(p, &cases[i].r, NULL, &f->e), SLUICE_E_ARGUMENT);
        assert_string_equal(f->e.message, cases[i].text);
    }
    struct sluice_record good = {.data = "", .explicit_hash_key = "340282366920938463463374607431768211455"};
    assert_int_equal(sluice_put_batch(f->s, "events", &good, 0, NULL, &f->e), SLUICE_E_ARGUMENT);
    assert_int_equal(sluice_put_batch(f->s, "events", &good, 501, NULL, &f->e), SLUICE_E_ARGUMENT);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    assert_int_equal(f->server.requests, 0);
}

static void a_batch_tells_of_each_record(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r[3] = {record_of("a", "1"), record_of("b", "2"), record_of("c", "3")};
    struct sluice_put_result out[3];
    f->answers[0] = "{\"FailedRecordCount\":1,\"Records\":[{\"SequenceNumber\":\"1\",\"ShardId\":\"s\"},{\"ErrorCode\":"
                    "\"KMSDisabledException\",\"ErrorMessage\":\"off\"},{\"SequenceNumber\":\"3\",\"ShardId\":\"s\"}]}";
    assert_int_equal(sluice_put_batch(f->s, "events", r, 3, out, &f->e), SLUICE_E_INVALID);
    assert_string_equal(f->e.name, "KMSDisabledException");
    assert_string_equal(f->e.message, "off");
    assert_int_equal(out[0].code, 0);
    assert_int_equal(out[1].code, SLUICE_E_INVALID);
    assert_int_equal(out[2].code, 0);
    assert_string_equal(out[2].sequence_number, "3");
    assert_int_equal(f->server.requests, 1);
}

static void throttled_records_are_sent_again_alone_until_the_retries_end(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r[2] = {record_of("a", "1"), record_of("b", "2")};
    struct sluice_put_result out[2];
    f->answers[0] = "{\"Records\":[{\"SequenceNumber\":\"1\",\"ShardId\":\"s\"},{\"ErrorCode\":"
                    "\"ProvisionedThroughputExceededException\",\"ErrorMessage\":\"slow\"}]}";
    f->answers[1] =
        "{\"Records\":[{\"ErrorCode\":\"ProvisionedThroughputExceededException\",\"ErrorMessage\":\"slow\"}]}";
    assert_int_equal(sluice_put_batch(f->s, "events", r, 2, out, &f->e), SLUICE_E_THROTTLED);
    assert_string_equal(f->e.message, "slow");
    assert_int_equal(out[0].code, 0);
    assert_int_equal(out[1].code, SLUICE_E_THROTTLED);
    assert_int_equal(f->server.requests, 4); /* retries_max is 3 */
    assert_null(strstr(f->bodies[1], "\"YQ==\""));
    assert_non_null(strstr(f->bodies[1], "\"Yg==\""));
    assert_string_equal(f->bodies[1], f->bodies[3]);
}

static void lost_and_failing_answers_are_tried_again_refusals_are_not(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r = record_of("a", "1");
    static const int fail[3] = {-1, 500, 503};
    memcpy(f->statuses, fail, sizeof fail);
    f->answers[3] = STORED;
    f->statuses[3] = 200;
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, &f->e), 0);
    assert_int_equal(f->server.requests, 4);
    static const struct {
        const char *answer;
        int status, code;
    } refusals[] = {
        {"{\"__type\":\"ResourceNotFoundException\",\"message\":\"why\"}", 400, SLUICE_E_NOT_FOUND},
        {"{\"__type\":\"a#ResourceInUseException\",\"message\":\"why\"}", 400, SLUICE_E_EXISTS},
        {"{\"__type\":\"ValidationException\",\"message\":\"why\"}", 400, SLUICE_E_INVALID},
        {"{\"__type\":\"SerializationException\",\"Message\":\"why\"}", 400, SLUICE_E_INVALID},
        {"{\"__type\":\"InvalidSignatureException\",\"message\":\"why\"}", 400, SLUICE_E_DENIED},
        {"{\"__type\":\"ExpiredIteratorException\",\"message\":\"why\"}", 400, SLUICE_E_EXPIRED},
        {"{\"message\":\"why\"}", 403, SLUICE_E_DENIED},
        {"{\"message\":\"why\"}", 413, SLUICE_E_INVALID},
        {"{\"message\":\"why\"}", 404, SLUICE_E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        f->body_count = 0;
        memset(f->answers, 0, sizeof f->answers);
        memset(f->statuses, 0, sizeof f->statuses);
        f->answers[0] = refusals[i].answer;
        f->statuses[0] = refusals[i].status;
        assert_int_equal(sluice_put(f->s, "events", &r, NULL, &f->e), refusals[i].code);
        assert_int_equal(f->e.http_status, refusals[i].status);
        assert_string_equal(f->e.message, "why");
        assert_int_equal(f->body_count, 1);
    }
}

static void the_last_failure_is_told_when_the_retries_end(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r = record_of("a", "1");
    f->statuses[0] = -1;
    f->statuses[1] = 500;
    f->answers[1] = "{\"__type\":\"InternalFailure\",\"message\":\"broken\"}";
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, &f->e), SLUICE_E_SERVER);
    assert_string_equal(f->e.name, "InternalFailure");
    assert_string_equal(f->e.message, "broken");
    assert_int_equal(f->server.requests, 4);
    script_stop(&f->server); /* nobody listens any more */
    assert_int_equal(sluice_put(f->s, "events", &r, NULL, &f->e), SLUICE_E_CONNECT);
    assert_int_equal(f->e.http_status, 0);
    assert_non_null(strstr(f->e.message, "127.0.0.1:"));
    script_start(&f->server); /* for the teardown */
}

static void no_answer_in_time_is_a_timeout(void **state)
{
    struct fixture *f = *state;
    struct sluice *s;
    struct sluice_options o = options_of(f);
    struct sluice_record r = record_of("a", "1");
    f->server.script = script_hold;
    o.timeout_ms = 30;
    o.retries_max = UINT32_MAX;
    assert_int_equal(sluice_open(&o, &s, &f->e), 0);
    assert_int_equal(sluice_put(s, "events", &r, NULL, &f->e), SLUICE_E_TIMEOUT);
    sluice_close(s);
}

static void delivery_records_have_no_keys(void **state)
{
    struct fixture *f = *state;
    struct sluice_record r[2] = {record_of("a", "ignored"), record_of("b", NULL)};
    struct sluice_put_result out[2];
    f->server.script = script_store;
    assert_int_equal(sluice_delivery_put_batch(f->s, "inbox", r, 2, out, &f->e), 0);
    assert_string_equal(f->bodies[0],
                        "{\"DeliveryStreamName\":\"inbox\",\"Records\":[{\"Data\":\"YQ==\"},{\"Data\":\"Yg==\"}]}");
    assert_string_equal(out[1].sequence_number, "1");
}

/* ---- the producer ------------------------------------------------------------------------------------------------- */

struct told {
    pthread_mutex_t lock;
    uint32_t count, stored;
    uintptr_t order[2000];
    int codes[2000];
    char last_message[448];
};

static void done(void *ctx, void *tag, const struct sluice_put_result *result, const struct sluice_error *e)
{
    struct told *t = ctx;
    pthread_mutex_lock(&t->lock);
    assert_int_equal(result->code, e->code);
    t->order[t->count] = (uintptr_t)tag;
    t->codes[t->count++] = result->code;
    t->stored += result->code == 0;
    snprintf(t->last_message, sizeof t->last_message, "%s", e->message);
    pthread_mutex_unlock(&t->lock);
}

static void a_producer_batches_by_count_and_keeps_order_with_one_in_flight(void **state)
{
    struct fixture *f = *state;
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct sluice_producer_options o = {
        .batch_records = 100, .linger_ms = 60000, .in_flight_max = 1, .done = done, .ctx = &told};
    struct sluice_producer *p;
    struct sluice_producer_stats st;
    f->server.script = script_store;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    struct sluice_record r = record_of("xyz", "k");
    for (uintptr_t i = 0; i < 1050; i++)
        assert_int_equal(sluice_producer_put(p, &r, (void *)i, &f->e), 0);
    assert_int_equal(sluice_producer_flush(p, &f->e), 0);
    assert_int_equal(told.stored, 1050);
    for (uintptr_t i = 0; i < 1050; i++)
        assert_int_equal(told.order[i], i);
    sluice_producer_stats(p, &st);
    assert_int_equal(st.accepted, 1050);
    assert_int_equal(st.stored, 1050);
    assert_int_equal(st.failed, 0);
    assert_int_equal(st.stored_bytes, 1050 * 4);
    assert_int_equal(st.requests, 11);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    assert_int_equal(f->server.connections, 1);
}

static void a_producer_batches_by_bytes(void **state)
{
    struct fixture *f = *state;
    struct sluice_producer_options o = {.batch_bytes = 100, .linger_ms = 60000};
    struct sluice_producer *p;
    struct sluice_producer_stats st;
    f->server.script = script_store;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    char data[200];
    memset(data, 'x', sizeof data);
    for (int i = 0; i < 4; i++) { /* 39 + 1 bytes each: two a batch */
        struct sluice_record r = {.data = data, .data_bytes = 39, .partition_key = "k"};
        assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
    }
    struct sluice_record large = {.data = data, .data_bytes = 200, .partition_key = "k"}; /* alone */
    assert_int_equal(sluice_producer_put(p, &large, NULL, &f->e), 0);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    (void)st;
    assert_int_equal(f->server.requests, 3);
}

static void a_lone_record_leaves_after_the_linger(void **state)
{
    struct fixture *f = *state;
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct sluice_producer_options o = {.linger_ms = 1, .done = done, .ctx = &told};
    struct sluice_producer *p;
    f->server.script = script_store;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    struct sluice_record r = record_of("x", "k");
    for (uint32_t i = 1; i <= 3; i++) { /* each is answered though nobody flushes */
        assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
        pthread_mutex_lock(&f->server.lock);
        while (f->server.requests < i)
            pthread_cond_wait(&f->server.changed, &f->server.lock);
        pthread_mutex_unlock(&f->server.lock);
    }
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    assert_int_equal(told.stored, 3);
}

static void several_requests_are_in_flight_but_no_more_than_allowed(void **state)
{
    struct fixture *f = *state;
    struct sluice_producer_options o = {.batch_records = 1, .in_flight_max = 3};
    struct sluice_producer *p;
    f->server.script = script_hold;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    struct sluice_record r = record_of("x", "k");
    for (int i = 0; i < 20; i++)
        assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
    await_waiting(f, 3);
    let_go(f);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    assert_int_equal(f->waiting_max, 3);
    assert_int_equal(f->server.requests, 20);
}

static void a_full_buffer_refuses_or_waits(void **state)
{
    struct fixture *f = *state;
    struct sluice_producer_options o = {.batch_records = 2, .buffer_bytes_max = 10, .nonblocking = true};
    struct sluice_producer *p;
    f->server.script = script_hold;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    struct sluice_record r = record_of("1234", "k"); /* 5 bytes */
    assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
    assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
    assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), SLUICE_E_MEMORY);
    assert_string_equal(f->e.message, "the producer's buffer of 10 bytes is full");
    let_go(f);
    assert_int_equal(sluice_producer_flush(p, &f->e), 0);
    struct sluice_record large = record_of("much more than ten bytes", "k"); /* goes when nothing else is there */
    assert_int_equal(sluice_producer_put(p, &large, NULL, &f->e), 0);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    o.nonblocking = false;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    for (int i = 0; i < 50; i++) /* more than fits: each waits for room */
        assert_int_equal(sluice_producer_put(p, &r, NULL, &f->e), 0);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
}

static void failures_reach_the_callbacks_and_the_flush(void **state)
{
    struct fixture *f = *state;
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct sluice_producer_options o = {.batch_records = 2, .in_flight_max = 1, .done = done, .ctx = &told};
    struct sluice_producer *p;
    struct sluice_producer_stats st;
    f->statuses[0] = 400;
    f->answers[0] = "{\"__type\":\"ResourceNotFoundException\",\"message\":\"no such stream\"}";
    f->statuses[1] = 200;
    f->answers[1] =
        "{\"Records\":[{\"SequenceNumber\":\"1\",\"ShardId\":\"s\"},{\"ErrorCode\":\"AccessDeniedException\","
        "\"ErrorMessage\":\"not yours\"}]}";
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    struct sluice_record r = record_of("x", "k");
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(sluice_producer_put(p, &r, (void *)i, &f->e), 0);
    assert_int_equal(sluice_producer_flush(p, &f->e), SLUICE_E_NOT_FOUND);
    assert_string_equal(f->e.message, "no such stream");
    assert_int_equal(told.count, 4);
    assert_int_equal(told.codes[0], SLUICE_E_NOT_FOUND);
    assert_int_equal(told.codes[1], SLUICE_E_NOT_FOUND);
    assert_int_equal(told.codes[2], 0);
    assert_int_equal(told.codes[3], SLUICE_E_DENIED);
    assert_string_equal(told.last_message, "not yours");
    sluice_producer_stats(p, &st);
    assert_int_equal(st.stored, 1);
    assert_int_equal(st.failed, 3);
    assert_int_equal(st.stored_bytes, 2);
    assert_int_equal(sluice_producer_close(p, &f->e), 0); /* told once */
}

struct putter {
    struct sluice_producer *p;
    pthread_t thread;
    int failed;
};

static void *putter_run(void *arg)
{
    struct putter *t = arg;
    struct sluice_record r = record_of("some data", NULL);
    for (int i = 0; i < 5000; i++) {
        t->failed |= sluice_producer_put(t->p, &r, NULL, NULL) < 0;
        if (i % 500 == 0)
            t->failed |= sluice_producer_flush(t->p, NULL) < 0;
    }
    return NULL;
}

static void many_threads_share_one_producer(void **state)
{
    struct fixture *f = *state;
    struct sluice_producer_options o = {.linger_ms = 1, .buffer_bytes_max = 20000};
    struct putter t[4];
    struct sluice_producer *p;
    struct sluice_producer_stats st;
    f->server.script = script_store;
    assert_int_equal(sluice_producer_open(f->s, "events", &o, &p, &f->e), 0);
    for (int i = 0; i < 4; i++) {
        t[i] = (struct putter){.p = p};
        assert_int_equal(pthread_create(&t[i].thread, NULL, putter_run, &t[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i].thread, NULL);
        assert_int_equal(t[i].failed, 0);
    }
    assert_int_equal(sluice_producer_flush(p, &f->e), 0);
    sluice_producer_stats(p, &st);
    assert_int_equal(st.accepted, 20000);
    assert_int_equal(st.stored, 20000);
    assert_int_equal(sluice_producer_close(p, &f->e), 0);
    assert_int_equal(sluice_producer_close(NULL, &f->e), 0);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static void positions_become_iterator_types(void **state)
{
    struct fixture *f = *state;
    char it[SLUICE_ITERATOR_MAX] = "before";
    f->answers[0] = "{\"ShardIterator\":\"AAA=\"}";
    static const struct {
        struct sluice_position at;
        const char *text;
    } cases[] = {
        {{SLUICE_FROM_TRIM_HORIZON, "ignored", 0}, "\"TRIM_HORIZON\"}"},
        {{SLUICE_FROM_LATEST, NULL, 0}, "\"LATEST\"}"},
        {{SLUICE_FROM_SEQUENCE_NUMBER, "12", 0}, "\"AT_SEQUENCE_NUMBER\",\"StartingSequenceNumber\":\"12\"}"},
        {{SLUICE_FROM_AFTER_SEQUENCE_NUMBER, "12", 0}, "\"AFTER_SEQUENCE_NUMBER\",\"StartingSequenceNumber\":\"12\"}"},
        {{SLUICE_FROM_TIMESTAMP, NULL, 1763845384.25}, "\"AT_TIMESTAMP\",\"Timestamp\":1763845384.25}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[256];
        snprintf(want, sizeof want, "{\"StreamName\":\"events\",\"ShardId\":\"s\",\"ShardIteratorType\":%s",
                 cases[i].text);
        assert_int_equal(sluice_iterator(f->s, "events", "s", &cases[i].at, it, &f->e), 0);
        assert_string_equal(f->bodies[i], want);
        assert_string_equal(it, "AAA=");
    }
    struct sluice_position none = {SLUICE_FROM_SEQUENCE_NUMBER, NULL, 0};
    assert_int_equal(sluice_iterator(f->s, "events", "s", &none, it, &f->e), SLUICE_E_ARGUMENT);
    none.from = 9;
    assert_int_equal(sluice_iterator(f->s, "events", "s", &none, it, &f->e), SLUICE_E_ARGUMENT);
    assert_string_equal(it, "AAA=");
}

static void a_read_gives_the_records_and_moves_the_iterator(void **state)
{
    struct fixture *f = *state;
    char it[SLUICE_ITERATOR_MAX] = "first";
    struct sluice_batch *batch;
    f->answers[0] =
        "{\"Extra\":[{}],\"MillisBehindLatest\":12,\"NextShardIterator\":\"second\",\"Records\":[{\"Data\":\"AP8=\","
        "\"PartitionKey\":\"k\\u00fc\",\"SequenceNumber\":\"1\",\"ApproximateArrivalTimestamp\":1.5,\"EncryptionType\":"
        "\"NONE\"},{\"Data\":\"\",\"PartitionKey\":\"k\",\"SequenceNumber\":\"2\"}]}";
    f->answers[1] = "{\"MillisBehindLatest\":0,\"Records\":[]}";
    assert_int_equal(sluice_read(f->s, it, 7, &batch, &f->e), 0);
    assert_string_equal(f->bodies[0], "{\"ShardIterator\":\"first\",\"Limit\":7}");
    assert_int_equal(batch->count, 2);
    assert_int_equal(batch->behind_ms, 12);
    assert_false(batch->shard_ended);
    assert_int_equal(batch->records[0].data_bytes, 2);
    assert_memory_equal(batch->records[0].data, "\0\xff", 2);
    assert_string_equal(batch->records[0].partition_key, "k\xc3\xbc");
    assert_true(batch->records[0].arrival == 1.5);
    assert_int_equal(batch->records[1].data_bytes, 0);
    assert_string_equal(batch->records[1].sequence_number, "2");
    assert_string_equal(it, "second");
    sluice_batch_free(batch);
    assert_int_equal(sluice_read(f->s, it, 0, &batch, &f->e), 0);
    assert_string_equal(f->bodies[1], "{\"ShardIterator\":\"second\"}");
    assert_true(batch->shard_ended);
    assert_int_equal(batch->count, 0);
    assert_string_equal(it, "");
    sluice_batch_free(batch);
    sluice_batch_free(NULL);
}

static void a_batch_of_many_records_is_whole(void **state)
{
    struct fixture *f = *state;
    char it[SLUICE_ITERATOR_MAX] = "x";
    struct sluice_batch *batch;
    char *text = malloc(1 << 20);
    assert_non_null(text);
    size_t len = (size_t)snprintf(text, 1 << 20, "{\"NextShardIterator\":\"n\",\"MillisBehindLatest\":0,\"Records\":[");
    for (int i = 0; i < 10000; i++)
        len += (size_t)snprintf(text + len, (1 << 20) - len,
                                "%s{\"Data\":\"AAA=\",\"PartitionKey\":\"%d\",\"SequenceNumber\":\"%d\"}", i ? "," : "",
                                i, i);
    snprintf(text + len, (1 << 20) - len, "]}");
    f->answers[0] = text;
    assert_int_equal(sluice_read(f->s, it, 0, &batch, &f->e), 0);
    assert_int_equal(batch->count, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(atoi(batch->records[i].partition_key), i);
    sluice_batch_free(batch);
    free(text);
}

static void nonsense_leaves_the_iterator_and_the_output_alone(void **state)
{
    struct fixture *f = *state;
    static char long_one[2048];
    snprintf(long_one, sizeof long_one, "{\"NextShardIterator\":\"%01500d\",\"Records\":[]}", 7);
    const char *const cases[] = {"",
                                 "{",
                                 "[]",
                                 "{\"Records\":[{\"Data\":\"?\",\"PartitionKey\":\"k\",\"SequenceNumber\":\"1\"}]}",
                                 "{\"Records\":[{\"Data\":\"AAA=\",\"SequenceNumber\":\"1\"}]}",
                                 "{\"Records\":[7]}",
                                 "{\"Records\":[{}]}",
                                 "{\"NextShardIterator\":\"\",\"Records\":[]}",
                                 long_one};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char it[SLUICE_ITERATOR_MAX] = "same";
        struct sluice_batch *batch = (struct sluice_batch *)it;
        f->answers[0] = cases[i];
        f->body_count = 0;
        assert_int_equal(sluice_read(f->s, it, 0, &batch, &f->e), SLUICE_E_PROTOCOL);
        assert_string_equal(it, "same");
        assert_ptr_equal(batch, it);
        assert_string_equal(f->e.message, "the answer to GetRecords is not what the protocol says");
    }
}

/* ---- deliveries --------------------------------------------------------------------------------------------------- */

static void script_delivery(struct script_server *server, const struct script_request *r, struct script_answer *a)
{
    struct fixture *f = server->user;
    if (strcmp(r->operation, "DescribeDeliveryStream") == 0) {
        a->body =
            "{\"Other\":1,\"DeliveryStreamDescription\":{\"DeliveryStreamName\":\"a b\",\"x\":[1,{\"y\":\"}\"}]}}";
        return;
    }
    a->status = strstr(r->head, "GET /deliveries/a%20b HTTP/1.1\r\n") ? f->statuses[0] : 500;
    a->body = f->answers[0];
}

static void a_delivery_is_described_with_its_live_status(void **state)
{
    struct fixture *f = *state;
    char *json = NULL;
    f->server.script = script_delivery;
    f->statuses[0] = 200;
    f->answers[0] = "{\"state\":\"running\"}";
    assert_int_equal(sluice_delivery_describe(f->s, "a b", &json, &f->e), 0);
    assert_string_equal(json, "{\"description\":{\"DeliveryStreamName\":\"a "
                              "b\",\"x\":[1,{\"y\":\"}\"}]},\"status\":{\"state\":\"running\"}}");
    sluice_free(json);
    f->statuses[0] = 404; /* another server than sluiced */
    f->answers[0] = "<html>";
    assert_int_equal(sluice_delivery_describe(f->s, "a b", &json, &f->e), 0);
    assert_non_null(strstr(json, ",\"status\":null}"));
    sluice_free(json);
    f->statuses[0] = 200;
    assert_int_equal(sluice_delivery_describe(f->s, "a b", &json, &f->e), SLUICE_E_PROTOCOL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(wrong_options_are_told_and_leave_the_output_alone),
        CASE(options_come_from_the_environment_too),
        CASE(without_credentials_nothing_is_signed),
        CASE(a_put_sends_the_record_and_tells_where_it_is),
        CASE(records_that_no_server_takes_are_refused_before_anything_is_sent),
        CASE(a_batch_tells_of_each_record),
        CASE(throttled_records_are_sent_again_alone_until_the_retries_end),
        CASE(lost_and_failing_answers_are_tried_again_refusals_are_not),
        CASE(the_last_failure_is_told_when_the_retries_end),
        CASE(no_answer_in_time_is_a_timeout),
        CASE(delivery_records_have_no_keys),
        CASE(a_producer_batches_by_count_and_keeps_order_with_one_in_flight),
        CASE(a_producer_batches_by_bytes),
        CASE(a_lone_record_leaves_after_the_linger),
        CASE(several_requests_are_in_flight_but_no_more_than_allowed),
        CASE(a_full_buffer_refuses_or_waits),
        CASE(failures_reach_the_callbacks_and_the_flush),
        CASE(many_threads_share_one_producer),
        CASE(positions_become_iterator_types),
        CASE(a_read_gives_the_records_and_moves_the_iterator),
        CASE(a_batch_of_many_records_is_whole),
        CASE(nonsense_leaves_the_iterator_and_the_output_alone),
        CASE(a_delivery_is_described_with_its_live_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
