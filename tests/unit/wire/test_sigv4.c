/*
 * Signature Version 4: AWS's own cases (tests/vectors/sigv4/cases.txt) signed and verified, then every refusal with
 * AWS's words. argv[1] is the vectors' file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/sigv4.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY    "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static const char *vectors_path;

static struct wall_ms at(const char *text)
{
    struct wall_ms t;
    assert_int_equal(sigv4_time_parse(slice_str(text), &t), 0);
    return t;
}

static struct slice secret_of(void *ctx, struct slice access_key)
{
    ++*(int *)ctx;
    return slice_eq_str(access_key, KEY) ? SLICE_LIT(SECRET) : SLICE_NULL;
}

struct bench {
    struct sigv4_verifier v;
    struct sigv4_result result;
    struct arena arena;
    int lookups;
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    sigv4_verifier_init(&b->v);
    b->v.secret = secret_of;
    b->v.ctx = &b->lookups;
    arena_init(&b->arena, 4096, 1 << 20);
}

static void bench_deinit(struct bench *b)
{
    sigv4_verifier_deinit(&b->v);
    arena_deinit(&b->arena);
}

static enum sigv4_error verify(struct bench *b, const struct sigv4_request *r, const char *now)
{
    arena_reset(&b->arena);
    return sigv4_verify(&b->v, r, at(now), &b->arena, &b->result);
}

/* ---- AWS's cases -------------------------------------------------------------------------------------------------- */

#define HEADERS_MAX 16

struct vector {
    char name[80], method[8], target[200], body[64], token[600], signed_headers[200], signature[80];
    char lines[HEADERS_MAX][700];
    struct http_header headers[HEADERS_MAX + SIGV4_ADDED_MAX];
    uint32_t header_count;
    bool s3;
};

static void vector_header(struct vector *v, const char *line)
{
    assert_true(v->header_count < HEADERS_MAX);
    char *copy = v->lines[v->header_count];
    snprintf(copy, sizeof v->lines[0], "%s", line);
    char *colon = strchr(copy, ':');
    assert_non_null(colon);
    *colon = 0;
    v->headers[v->header_count++] = (struct http_header){slice_str(copy), slice_str(colon + 1)};
}

/* Reads one line of a case; true when it was the last. */
static bool vector_line(struct vector *v, const char *word, const char *rest)
{
    if (strcmp(word, "case") == 0)
        snprintf(v->name, sizeof v->name, "%s", rest);
    else if (strcmp(word, "request") == 0)
        assert_int_equal(sscanf(rest, "%7s %199[^\n]", v->method, v->target), 2);
    else if (strcmp(word, "header") == 0)
        vector_header(v, rest);
    else if (strcmp(word, "body") == 0)
        snprintf(v->body, sizeof v->body, "%s", rest);
    else if (strcmp(word, "token") == 0)
        snprintf(v->token, sizeof v->token, "%s", rest);
    else if (strcmp(word, "signed") == 0)
        snprintf(v->signed_headers, sizeof v->signed_headers, "%s", rest);
    else if (strcmp(word, "signature") == 0)
        snprintf(v->signature, sizeof v->signature, "%s", rest);
    else if (strcmp(word, "s3") == 0)
        v->s3 = true;
    else
        fail_msg("unknown word %s", word);
    return strcmp(word, "signature") == 0;
}

static void vector_check(struct vector *v)
{
    struct slice target = slice_str(v->target);
    size_t question = slice_find(target, '?');
    struct sigv4_request r = {.method = slice_str(v->method),
                              .path = slice_first(target, question),
                              .query = slice_from(target, question + 1),
                              .body = slice_str(v->body),
                              .s3_path = v->s3};
    struct sigv4_credentials c = {SLICE_LIT(KEY), SLICE_LIT(SECRET), v->token[0] ? slice_str(v->token) : SLICE_NULL};
    struct sigv4_signer signer;
    struct sigv4_added added;
    struct bench b;
    char want[1000];

    vector_header(v, "Host:example.amazonaws.com");
    r.headers = v->headers;
    r.header_count = v->header_count;
    assert_int_equal(sigv4_signer_init(&signer, &c, SLICE_LIT("us-east-1"), SLICE_LIT("service"), 0), 0);
    if (v->s3) {
        /* the suite's cases do not sign a body hash header, as S3's signer would: run the stages */
        uint8_t key[SHA256_BYTES];
        char got[SHA256_HEX_SIZE], hash[SHA256_HEX_SIZE];
        struct bytebuf canonical, text;
        bytebuf_init(&canonical, 10000);
        bytebuf_init(&text, 10000);
        v->headers[r.header_count++] = (struct http_header){SLICE_LIT("x-amz-date"), SLICE_LIT("20150830T123600Z")};
        digest_sha256_hex(r.body, hash);
        sigv4_canonical_request(&r, slice_str(v->signed_headers), slice_str(hash), &canonical);
        sigv4_string_to_sign(SLICE_LIT("20150830T123600Z"), SLICE_LIT("20150830/us-east-1/service/aws4_request"),
                             bytebuf_view(&canonical), &text);
        assert_int_equal(
            sigv4_derive_key(c.secret_key, SLICE_LIT("20150830"), SLICE_LIT("us-east-1"), SLICE_LIT("service"), key),
            0);
        sigv4_signature(key, bytebuf_view(&text), got);
        if (strcmp(got, v->signature) != 0)
            fail_msg("%s: the canonical request is\n%.*s", v->name, SLICE_FMT(bytebuf_view(&canonical)));
        bytebuf_deinit(&canonical);
        bytebuf_deinit(&text);
        sigv4_signer_deinit(&signer);
        return;
    }
    assert_int_equal(sigv4_sign(&signer, &r, at("20150830T123600Z"), &added), 0);
    snprintf(want, sizeof want,
             "AWS4-HMAC-SHA256 Credential=" KEY
             "/20150830/us-east-1/service/aws4_request, SignedHeaders=%s, Signature=%s",
             v->signed_headers, v->signature);
    struct slice got = added.headers[added.count - 1].value;
    if (!slice_eq_str(got, want))
        fail_msg("%s: signed as %.*s", v->name, SLICE_FMT(got));

    memcpy(v->headers + r.header_count, added.headers, added.count * sizeof added.headers[0]);
    r.header_count += added.count;
    bench_init(&b);
    b.v.region = "us-east-1";
    if (verify(&b, &r, "20150830T123900Z") != SIGV4_OK)
        fail_msg("%s: %.*s", v->name, SLICE_FMT(b.result.message));
    assert_true(slice_eq_str(b.result.access_key, KEY) && slice_eq_str(b.result.service, "service"));
    bench_deinit(&b);
    sigv4_signer_deinit(&signer);
}

static void aws_own_cases_are_signed_and_verified(void **state)
{
    static struct vector v;
    char line[1000];
    int count = 0;
    FILE *f = fopen(vectors_path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (!line[0] || line[0] == '#')
            continue;
        char *rest = strchr(line, ' ');
        if (rest)
            *rest++ = 0;
        if (!vector_line(&v, line, rest ? rest : ""))
            continue;
        vector_check(&v);
        memset(&v, 0, sizeof v);
        count++;
    }
    fclose(f);
    assert_int_equal(count, 33);
}

/* ---- refusals ----------------------------------------------------------------------------------------------------- */

/* A signed Kinesis request that the tests below spoil. */
struct signed_request {
    struct http_header headers[16];
    struct sigv4_request r;
    struct sigv4_signer signer;
};

static void signed_request_init(struct signed_request *s, const char *time)
{
    struct sigv4_credentials c = {SLICE_LIT(KEY), SLICE_LIT(SECRET), SLICE_NULL};
    struct sigv4_added added;
    *s = (struct signed_request){
        .headers = {{SLICE_LIT("Host"), SLICE_LIT("localhost:4567")},
                    {SLICE_LIT("X-Amz-Target"), SLICE_LIT("Kinesis_20131202.ListStreams")},
                    {SLICE_LIT("Content-Type"), SLICE_LIT("application/x-amz-json-1.1")}},
        .r = {.method = SLICE_LIT("POST"), .path = SLICE_LIT("/"), .header_count = 3, .body = SLICE_LIT("{}")},
    };
    s->r.headers = s->headers;
    assert_int_equal(sigv4_signer_init(&s->signer, &c, SLICE_LIT("eu-west-1"), SLICE_LIT("kinesis"), 0), 0);
    assert_int_equal(sigv4_sign(&s->signer, &s->r, at(time), &added), 0);
    memcpy(s->headers + 3, added.headers, added.count * sizeof added.headers[0]);
    s->r.header_count += added.count;
}

static struct slice *header_slot(struct signed_request *s, const char *name)
{
    for (uint32_t i = 0; i < s->r.header_count; i++)
        if (slice_eq_nocase(s->headers[i].name, slice_str(name)))
            return &s->headers[i].value;
    fail_msg("no header %s", name);
    return NULL;
}

static void message_is(const struct bench *b, const char *want)
{
    if (!slice_eq_str(b->result.message, want))
        fail_msg("the message is: %.*s", SLICE_FMT(b->result.message));
}

static void a_wrong_signature_is_answered_with_the_strings_that_were_signed(void **state)
{
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    signed_request_init(&s, "20251122T210304Z");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_OK);
    s.r.body = SLICE_LIT("[]");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_MISMATCH);
    message_is(&b,
               "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
               "Access Key and signing method. Consult the service documentation for details.\n\n"
               "The Canonical String for this request should have been\n"
               "'POST\n/\n\ncontent-type:application/x-amz-json-1.1\nhost:localhost:4567\nx-amz-date:20251122T210304Z\n"
               "x-amz-target:Kinesis_20131202.ListStreams\n\ncontent-type;host;x-amz-date;x-amz-target\n"
               "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945'\n\n"
               "The String-to-Sign should have been\n"
               "'AWS4-HMAC-SHA256\n20251122T210304Z\n20251122/eu-west-1/kinesis/aws4_request\n"
               "0a4246dab142a463a871992e0c9b0da7922a5862030ca5ccde7da7c95edadf1b'\n");
    sigv4_signer_deinit(&s.signer);
    bench_deinit(&b);
}

static void each_part_of_a_request_is_covered_by_its_signature(void **state)
{
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    for (int part = 0; part < 7; part++) {
        signed_request_init(&s, "20251122T210304Z");
        switch (part) {
        case 0:
            s.r.method = SLICE_LIT("PUT");
            break;
        case 1:
            s.r.path = SLICE_LIT("/x");
            break;
        case 2:
            s.r.query = SLICE_LIT("a=b");
            break;
        case 3:
            *header_slot(&s, "host") = SLICE_LIT("localhost:4568");
            break;
        case 4:
            *header_slot(&s, "x-amz-target") = SLICE_LIT("Kinesis_20131202.DeleteStream");
            break;
        case 5:
            *header_slot(&s, "x-amz-date") = SLICE_LIT("20251122T210305Z");
            break;
        case 6:
            s.r.body = SLICE_LIT("{ }");
            break;
        }
        assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_MISMATCH);
        sigv4_signer_deinit(&s.signer);
    }
    bench_deinit(&b);
}

static void the_clock_may_differ_by_five_minutes_either_way(void **state)
{
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    signed_request_init(&s, "20251122T210304Z");
    assert_int_equal(verify(&b, &s.r, "20251122T210804Z"), SIGV4_OK);
    assert_int_equal(verify(&b, &s.r, "20251122T205804Z"), SIGV4_OK);
    assert_int_equal(verify(&b, &s.r, "20251122T210805Z"), SIGV4_EXPIRED);
    message_is(&b,
               "Signature expired: 20251122T210304Z is now earlier than 20251122T210305Z (20251122T210805Z - 5 min.)");
    assert_int_equal(verify(&b, &s.r, "20251122T205803Z"), SIGV4_EXPIRED);
    message_is(&b, "Signature not yet current: 20251122T210304Z is still later than 20251122T210303Z "
                   "(20251122T205803Z + 5 min.)");
    sigv4_signer_deinit(&s.signer);
    bench_deinit(&b);
}

static void a_scope_that_does_not_fit_is_named_in_full(void **state)
{
    static const char *const services[] = {"firehose", "sts", NULL};
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    b.v.region = "us-east-1";
    b.v.services = services;
    signed_request_init(&s, "20251122T210304Z");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_SCOPE);
    message_is(&b, "Credential should be scoped to a valid region, not 'eu-west-1'. "
                   "Credential should be scoped to correct service: 'firehose'.");
    b.v.region = NULL;
    b.v.services = NULL;
    *header_slot(&s, "authorization") =
        SLICE_LIT("AWS4-HMAC-SHA256 Credential=" KEY "/b/r/s/e, SignedHeaders=host;x-amz-target, Signature=0");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_SCOPE);
    message_is(&b,
               "Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. Date in Credential scope "
               "does not match YYYYMMDD from ISO-8601 version of date from HTTP: 'b' != '20251122', from "
               "'20251122T210304Z'.");
    sigv4_signer_deinit(&s.signer);
    bench_deinit(&b);
}

struct refusal {
    const char *authorization, *date, *query;
    enum sigv4_error error;
    const char *message;
};

#define GOOD_CREDENTIAL "Credential=" KEY "/20251122/eu-west-1/kinesis/aws4_request"

static const struct refusal refusals[] = {
    {NULL, "20251122T210304Z", "", SIGV4_MISSING, "Missing Authentication Token"},
    {NULL, NULL, "a=b&X-Amz-Algorithm=AWS4-HMAC-SHA256", SIGV4_PRESIGNED,
     "Signatures in the query string are not supported: use the 'Authorization' header."},
    {"X", NULL, "X-Amz-Algorithm", SIGV4_TWO_METHODS,
     "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
    {"X", NULL, "", SIGV4_INCOMPLETE,
     "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
     "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
     "'X-Amz-Date' or a 'Date' header. Authorization=X"},
    {"AWS4- Signature=b,Credential=a", "x", "", SIGV4_INCOMPLETE,
     "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4- Signature=b,Credential=a"},
    {"AWS4-HMAC-SHA256 Credential", "x", "", SIGV4_INCOMPLETE,
     "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 "
     "Credential'."},
    {"A Credential=a Credential=b", "x", "", SIGV4_INCOMPLETE,
     "Authorization header has more than one 'Credential' parameter. Authorization=A Credential=a Credential=b"},
    {"A Credential=a,Color=b", "x", "", SIGV4_INCOMPLETE,
     "Authorization header has an unknown 'Color' parameter. Authorization=A Credential=a,Color=b"},
    {"A Credential=a Signature=b SignedHeaders=c", "201", "", SIGV4_INCOMPLETE,
     "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601"},
    {"A Credential=a Signature=b SignedHeaders=c", "20250230T000000Z", "", SIGV4_INCOMPLETE,
     "Date must be in ISO-8601 'basic format'. Got '20250230T000000Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
    {"A Credential=a Signature=b SignedHeaders=x-amz-target", "20251122T210304Z", "", SIGV4_NOT_SIGNED,
     "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
    {"A Credential=a Signature=b SignedHeaders=HOST", "20251122T210304Z", "", SIGV4_NOT_SIGNED,
     "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
    {"AWS4-HMAC-SHA25 Credential=a Signature=b SignedHeaders=host;x-amz-target", "20251122T210304Z", "",
     SIGV4_INCOMPLETE, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). "},
    {"AWS4-HMAC-SHA256 Credential=a/b/c/d// Signature=b SignedHeaders=host;x-amz-target", "20251122T210304Z", "",
     SIGV4_INCOMPLETE,
     "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d//'"},
    {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f Signature=b SignedHeaders=host;x-amz-target", "20251122T210304Z", "",
     SIGV4_INCOMPLETE,
     "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d/e/f'"},
    {"AWS4-HMAC-SHA256 Credential=AKIDNOBODY/20251122/eu-west-1/kinesis/aws4_request, Signature=b, "
     "SignedHeaders=host;x-amz-target",
     "20251122T210304Z", "", SIGV4_UNKNOWN_KEY, "The security token included in the request is invalid."},
    {"AWS4-HMAC-SHA256 " GOOD_CREDENTIAL ",SignedHeaders=host;x-amz-target,Signature=b",
     "Sat, 22 Nov 2025 21:03:04 GMT", "", SIGV4_MISMATCH, NULL},
};

static void each_way_to_fail_has_its_error_and_its_words(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        const struct refusal *f = &refusals[i];
        struct http_header headers[5] = {{SLICE_LIT("host"), SLICE_LIT("h")},
                                         {SLICE_LIT("x-amz-target"), SLICE_LIT("T")}};
        struct sigv4_request r = {.method = SLICE_LIT("POST"),
                                  .path = SLICE_LIT("/"),
                                  .query = slice_str(f->query),
                                  .headers = headers,
                                  .header_count = 2};
        struct bench b;
        bench_init(&b);
        if (f->authorization)
            headers[r.header_count++] = (struct http_header){SLICE_LIT("authorization"), slice_str(f->authorization)};
        if (f->date)
            headers[r.header_count++] =
                (struct http_header){slice_str(strchr(f->date, ',') ? "date" : "X-Amz-Date"), slice_str(f->date)};
        enum sigv4_error got = verify(&b, &r, "20251122T210304Z");
        if (got != f->error)
            fail_msg("case %zu: error %d, %.*s", i, got, SLICE_FMT(b.result.message));
        if (f->message)
            message_is(&b, f->message);
        bench_deinit(&b);
    }
}

static void a_body_that_is_not_the_announced_one_is_refused(void **state)
{
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    signed_request_init(&s, "20251122T210304Z");
    s.headers[s.r.header_count++] =
        (struct http_header){SLICE_LIT("x-amz-content-sha256"), SLICE_LIT("UNSIGNED-PAYLOAD")};
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_BODY_HASH);
    message_is(&b, "The provided 'x-amz-content-sha256' header does not match what was computed.");
    s.headers[s.r.header_count - 1].value =
        SLICE_LIT("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_OK);
    sigv4_signer_deinit(&s.signer);
    bench_deinit(&b);
}

static void derived_keys_are_kept_for_good_requests_only(void **state)
{
    struct bench b;
    struct signed_request s;
    bench_init(&b);
    signed_request_init(&s, "20251122T210304Z");
    s.r.body = SLICE_LIT("x");
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_MISMATCH);
    assert_int_equal(b.v.cache[0].used, 0);
    s.r.body = SLICE_LIT("{}");
    for (int i = 0; i < 3; i++)
        assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_OK);
    int kept = 0;
    for (int i = 0; i < SIGV4_CACHED_KEYS; i++)
        kept += b.v.cache[i].used != 0;
    assert_int_equal(kept, 1);
    assert_int_equal(b.lookups, 4);
    sigv4_verifier_forget(&b.v);
    assert_int_equal(verify(&b, &s.r, "20251122T210304Z"), SIGV4_OK);
    sigv4_signer_deinit(&s.signer);
    bench_deinit(&b);
}

static void a_session_token_is_signed_and_handed_on(void **state)
{
    struct bench b;
    struct sigv4_signer signer;
    struct sigv4_added added;
    struct sigv4_credentials c = {SLICE_LIT(KEY), SLICE_LIT(SECRET), SLICE_LIT("TOKEN")};
    struct http_header headers[8] = {{SLICE_LIT("Host"), SLICE_LIT("h")}};
    struct sigv4_request r = {.method = SLICE_LIT("GET"), .headers = headers, .header_count = 1};
    bench_init(&b);
    assert_int_equal(sigv4_signer_init(&signer, &c, SLICE_LIT("r"), SLICE_LIT("kinesis"), 0), 0);
    assert_int_equal(sigv4_sign(&signer, &r, at("20251122T210304Z"), &added), 0);
    memcpy(headers + 1, added.headers, added.count * sizeof headers[0]);
    r.header_count += added.count;
    assert_int_equal(verify(&b, &r, "20251122T210304Z"), SIGV4_OK);
    assert_true(slice_eq_str(b.result.session_token, "TOKEN"));
    for (uint32_t i = 0; i < r.header_count; i++)
        if (slice_eq_str(headers[i].name, "X-Amz-Security-Token"))
            headers[i].value = SLICE_LIT("OTHER");
    assert_int_equal(verify(&b, &r, "20251122T210304Z"), SIGV4_MISMATCH);
    sigv4_signer_deinit(&signer);
    bench_deinit(&b);
}

static void an_s3_request_may_leave_its_body_unsigned(void **state)
{
    struct sigv4_signer signer;
    struct sigv4_added added;
    struct sigv4_credentials c = {SLICE_LIT(KEY), SLICE_LIT(SECRET), SLICE_NULL};
    struct http_header host = {SLICE_LIT("Host"), SLICE_LIT("h")};
    struct sigv4_request r = {
        .method = SLICE_LIT("PUT"), .path = SLICE_LIT("/b//k"), .headers = &host, .header_count = 1};
    assert_int_equal(sigv4_signer_init(&signer, &c, SLICE_LIT("r"), SLICE_LIT("s3"), SIGV4_S3 | SIGV4_UNSIGNED_PAYLOAD),
                     0);
    assert_int_equal(sigv4_sign(&signer, &r, at("20251122T210304Z"), &added), 0);
    assert_true(slice_eq_str(http_header_find(added.headers, added.count, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD"));
    struct slice first = http_header_find(added.headers, added.count, "authorization");
    char before[300];
    snprintf(before, sizeof before, "%.*s", SLICE_FMT(first));
    r.body = SLICE_LIT("whatever");
    assert_int_equal(sigv4_sign(&signer, &r, at("20251122T210304Z"), &added), 0);
    assert_true(slice_eq_str(http_header_find(added.headers, added.count, "authorization"), before));
    sigv4_signer_deinit(&signer);
}

static void a_full_arena_is_told_from_a_wrong_signature(void **state)
{
    struct bench b;
    struct sigv4_request r = {.method = SLICE_LIT("GET")};
    bench_init(&b);
    arena_deinit(&b.arena);
    arena_init(&b.arena, 16, 16);
    assert_int_equal(verify(&b, &r, "20251122T210304Z"), SIGV4_OUT_OF_MEMORY);
    bench_deinit(&b);
}

static void a_secret_that_is_too_long_is_refused(void **state)
{
    char secret[SIGV4_SECRET_BYTES_MAX + 1] = {0};
    uint8_t key[SHA256_BYTES];
    assert_int_equal(sigv4_derive_key(slice_of(secret, sizeof secret), SLICE_NULL, SLICE_NULL, SLICE_NULL, key),
                     ST_LIMIT);
}

static void times_are_parsed_strictly(void **state)
{
    static const char *const bad[] = {"",
                                      "20150830T123600",
                                      "20150830t123600Z",
                                      "20151330T123600Z",
                                      "20150830T243600Z",
                                      "20150830T126000Z",
                                      "20150830T123660Z",
                                      "2015083OT123600Z",
                                      "20150832T123600Z",
                                      "Sun, 30 Aug 2015 12:36:00 UTC",
                                      "Sun, 30 Agu 2015 12:36:00 GMT"};
    struct wall_ms t;
    char text[SIGV4_TIME_SIZE];
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(sigv4_time_parse(slice_str(bad[i]), &t), ST_SYNTAX);
    assert_true(at("Sun, 30 Aug 2015 12:36:00 GMT").ms == at("20150830T123600Z").ms);
    sigv4_time_text(at("20240229T235959Z"), text);
    assert_string_equal(text, "20240229T235959Z");
}

int main(int argc, char **argv)
{
    vectors_path = argc > 1 ? argv[1] : "tests/vectors/sigv4/cases.txt";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_own_cases_are_signed_and_verified),
        cmocka_unit_test(a_wrong_signature_is_answered_with_the_strings_that_were_signed),
        cmocka_unit_test(each_part_of_a_request_is_covered_by_its_signature),
        cmocka_unit_test(the_clock_may_differ_by_five_minutes_either_way),
        cmocka_unit_test(a_scope_that_does_not_fit_is_named_in_full),
        cmocka_unit_test(each_way_to_fail_has_its_error_and_its_words),
        cmocka_unit_test(a_body_that_is_not_the_announced_one_is_refused),
        cmocka_unit_test(derived_keys_are_kept_for_good_requests_only),
        cmocka_unit_test(a_session_token_is_signed_and_handed_on),
        cmocka_unit_test(an_s3_request_may_leave_its_body_unsigned),
        cmocka_unit_test(a_full_arena_is_told_from_a_wrong_signature),
        cmocka_unit_test(a_secret_that_is_too_long_is_refused),
        cmocka_unit_test(times_are_parsed_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
