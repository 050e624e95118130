/*
 * AWS Signature Version 4 in the stages of its specification: canonical request, string to sign, derived key,
 * signature. The signer serves http_client and the S3 sink, the verifier the server. Both keep a scratch buffer and
 * derived keys, so that a request allocates nothing in the steady state; each belongs to one thread.
 *
 * The verifier checks in AWS's order and with AWS's words; which AWS error an enum sigv4_error becomes is its caller's
 * matter (each has one obvious name). What it demands beyond the signature itself: a date within 5 minutes, `host` and
 * (if sent) `x-amz-target` among the signed headers, a body whose SHA-256 is the signed one. Signatures are compared in
 * constant time; an unknown access key is answered before anything secret is computed, as AWS does.
 */
#ifndef SLUICE_WIRE_SIGV4_H
#define SLUICE_WIRE_SIGV4_H

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/base/clock.h"
#include "common/wire/digest.h"
#include "common/wire/http1.h"

#define SIGV4_SKEW_MS          (5 * 60 * 1000)
#define SIGV4_SECRET_BYTES_MAX 128

struct sigv4_request {
    struct slice method; /* "POST" */
    struct slice path;   /* as sent, not decoded; "" is "/" */
    struct slice query;  /* as sent, without '?' */
    const struct http_header *headers;
    uint32_t header_count;
    struct slice body;
    bool s3_path; /* S3: the path is neither normalised nor encoded a second time */
};

/* ---- stages ----------------------------------------------------------------------------------------------------- */

#define SIGV4_TIME_SIZE 17 /* "20150830T123600Z" with its NUL */

/* "20150830T123600Z"; its first 8 characters are the scope's date. */
void sigv4_time_text(struct wall_ms t, char out[SIGV4_TIME_SIZE]);
/* The inverse; also takes RFC 1123 ("Sun, 30 Aug 2015 12:36:00 GMT"). ST_SYNTAX otherwise, or for no such date. */
int sigv4_time_parse(struct slice s, struct wall_ms *out) must_use;

/* Stage 1, appended to `out`. `signed_headers` is "host;x-amz-date", lower-case, in signing order; `payload_hash` is
 * the body's SHA-256 in hexadecimal, or UNSIGNED-PAYLOAD. A signed header that the request does not have counts as
 * empty. */
void sigv4_canonical_request(const struct sigv4_request *r, struct slice signed_headers, struct slice payload_hash,
                             struct bytebuf *out);
/* Stage 2. `scope` is "20150830/us-east-1/kinesis/aws4_request". */
void sigv4_string_to_sign(struct slice time_text, struct slice scope, struct slice canonical_request,
                          struct bytebuf *out);
/* Stage 3: valid for one date, region and service. ST_LIMIT: a secret longer than SIGV4_SECRET_BYTES_MAX. */
int sigv4_derive_key(struct slice secret, struct slice date, struct slice region, struct slice service,
                     uint8_t out[SHA256_BYTES]) must_use;
/* Stage 4. */
void sigv4_signature(const uint8_t key[SHA256_BYTES], struct slice string_to_sign, char out_hex[SHA256_HEX_SIZE]);

/* ---- signing ---------------------------------------------------------------------------------------------------- */

struct sigv4_credentials {
    struct slice access_key, secret_key;
    struct slice session_token; /* ptr NULL: none */
};

enum sigv4_sign_flags {
    SIGV4_S3 = 1,               /* S3's path rules; adds X-Amz-Content-Sha256 */
    SIGV4_UNSIGNED_PAYLOAD = 2, /* with SIGV4_S3: the body is not hashed */
};

struct sigv4_signer {
    /* private */
    char *strings; /* one allocation that holds the five below */
    size_t strings_bytes;
    struct slice access_key, secret_key, session_token, region, service;
    unsigned flags;
    char key_date[9];
    uint8_t key[SHA256_BYTES];
    char time_text[SIGV4_TIME_SIZE], payload_hash[SHA256_HEX_SIZE];
    struct bytebuf scratch, text;
};

/* Copies everything. -ENOMEM; ST_LIMIT: a secret longer than SIGV4_SECRET_BYTES_MAX. */
int sigv4_signer_init(struct sigv4_signer *s, const struct sigv4_credentials *credentials, struct slice region,
                      struct slice service, unsigned flags) must_use;
void sigv4_signer_deinit(struct sigv4_signer *s);

#define SIGV4_ADDED_MAX 4
/* The headers to add to a request that has been signed; views into the signer, valid until it signs again. */
struct sigv4_added {
    struct http_header headers[SIGV4_ADDED_MAX];
    uint32_t count;
};
/* Signs `r`, whose headers must hold Host and whatever else is to be sent, for the time `now`. Connection, Expect,
 * Transfer-Encoding, User-Agent and X-Amzn-Trace-Id are left unsigned, as botocore does. -ENOMEM; ST_LIMIT: more than
 * 128 headers. */
int sigv4_sign(struct sigv4_signer *s, const struct sigv4_request *r, struct wall_ms now,
               struct sigv4_added *out) must_use;

/* ---- verifying -------------------------------------------------------------------------------------------------- */

enum sigv4_error {
    SIGV4_OK,
    SIGV4_MISSING,      /* MissingAuthenticationToken: nothing signs the request */
    SIGV4_INCOMPLETE,   /* IncompleteSignature: the Authorization header or the date is malformed */
    SIGV4_UNKNOWN_KEY,  /* UnrecognizedClient: no such access key */
    SIGV4_EXPIRED,      /* InvalidSignature: outside the 5 minutes, either way */
    SIGV4_SCOPE,        /* InvalidSignature: region, service, terminator or date of the credential */
    SIGV4_NOT_SIGNED,   /* InvalidSignature: a header that must be signed is not */
    SIGV4_MISMATCH,     /* InvalidSignature: another signature was calculated */
    SIGV4_BODY_HASH,    /* InvalidSignature: the body is not what x-amz-content-sha256 says */
    SIGV4_PRESIGNED,    /* IncompleteSignature: query-string signatures are not taken */
    SIGV4_TWO_METHODS,  /* InvalidSignature: both header and query string sign */
    SIGV4_OUT_OF_MEMORY /* the arena is full: throttle */
};

/* Authorization, taken apart; views into the header. */
struct sigv4_authorization {
    struct slice algorithm, credential, signed_headers, signature;
    struct slice access_key, date, region, service, terminator; /* of the credential */
};
/* Takes the header apart. SIGV4_OK or SIGV4_INCOMPLETE, whose words (AWS's) are appended to `message`. `has_date`:
 * there is an X-Amz-Date or Date header; its lack belongs into the same message. The credential is not split yet. */
enum sigv4_error sigv4_authorization_parse(struct slice header, bool has_date, struct sigv4_authorization *out,
                                           struct bytebuf *message);

/* Splits a->credential into its five parts. SIGV4_OK or SIGV4_INCOMPLETE with AWS's words. */
enum sigv4_error sigv4_credential_split(struct sigv4_authorization *a, struct bytebuf *message);

/* The secret of an access key, valid until the verifier's call returns; ptr NULL: no such key. */
typedef struct slice sigv4_secret_fn(void *ctx, struct slice access_key);

#define SIGV4_CACHED_KEYS 32
struct sigv4_cached_key {
    char name[112]; /* access key/date/region/service, NUL-terminated */
    uint64_t used;
    uint8_t key[SHA256_BYTES];
};
struct sigv4_verifier {
    /* set by the owner before the first use */
    sigv4_secret_fn *secret;
    void *ctx;
    const char *region;          /* NULL: any */
    const char *const *services; /* "kinesis", ..., NULL: any */
    /* private */
    struct sigv4_cached_key cache[SIGV4_CACHED_KEYS];
    uint64_t uses;
    struct bytebuf canonical, scratch;
};

/* Zeroes and sets up; give secret, ctx, region, services afterwards. */
void sigv4_verifier_init(struct sigv4_verifier *v);
void sigv4_verifier_deinit(struct sigv4_verifier *v);
/* Forgets derived keys: call it when secrets change. */
void sigv4_verifier_forget(struct sigv4_verifier *v);

struct sigv4_result {
    enum sigv4_error error;
    struct slice message;                     /* AWS's words, in the arena; empty if SIGV4_OK */
    struct slice access_key, region, service; /* of the credential, views into the request; also on most errors */
    struct slice session_token;               /* ptr NULL: none */
};
/* Verifies `r` at the time `now`. Returns out->error. */
enum sigv4_error sigv4_verify(struct sigv4_verifier *v, const struct sigv4_request *r, struct wall_ms now,
                              struct arena *arena, struct sigv4_result *out);

#endif
