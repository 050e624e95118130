/*
 * Verifies requests that another signer has signed: test_sigv4_botocore.py writes them to stdin as
 *     METHOD SP PATH SP QUERY LF, NAME: VALUE LF ..., LF, BODY-LENGTH LF, BODY, one after the other
 * and reads a line for each: "ok" or the message (line feeds as spaces). argv: access key, secret, time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/wire/sigv4.h"

#define HEADERS_MAX 64

static char **arguments;

static struct slice secret_of(void *ctx, struct slice access_key)
{
    return slice_eq_str(access_key, arguments[1]) ? slice_str(arguments[2]) : SLICE_NULL;
}

static char *line_read(char *line, size_t size)
{
    if (!fgets(line, (int)size, stdin))
        return NULL;
    line[strcspn(line, "\n")] = 0;
    return line;
}

static uint32_t headers_read(struct http_header *headers, char (*lines)[4096])
{
    uint32_t n = 0;
    while (n < HEADERS_MAX && line_read(lines[n], sizeof lines[n]) && lines[n][0]) {
        char *colon = strchr(lines[n], ':');
        if (!colon)
            exit(2);
        *colon = 0;
        headers[n] = (struct http_header){slice_str(lines[n]), slice_trim(slice_str(colon + 1))};
        n++;
    }
    return n;
}

int main(int argc, char **argv)
{
    static char line[65536], lines[HEADERS_MAX][4096], body[1 << 16];
    struct http_header headers[HEADERS_MAX];
    struct sigv4_verifier v;
    struct arena arena;
    struct wall_ms now;
    arguments = argv;
    if (argc < 4 || sigv4_time_parse(slice_str(argv[3]), &now) < 0)
        return 2;
    sigv4_verifier_init(&v);
    v.secret = secret_of;
    arena_init(&arena, 1 << 16, 1 << 20);
    while (line_read(line, sizeof line)) {
        struct slice all = slice_str(line);
        struct sigv4_request r = {0};
        struct sigv4_result result;
        r.method = slice_first(all, slice_find(all, ' '));
        all = slice_from(all, r.method.len + 1);
        r.path = slice_first(all, slice_find(all, ' '));
        r.query = slice_from(all, r.path.len + 1);
        r.headers = headers;
        r.header_count = headers_read(headers, lines);
        char length[32];
        if (!line_read(length, sizeof length))
            return 2;
        r.body = slice_of(body, strtoul(length, NULL, 10));
        if (r.body.len > sizeof body || fread(body, 1, r.body.len, stdin) != r.body.len)
            return 2;
        arena_reset(&arena);
        if (sigv4_verify(&v, &r, now, &arena, &result) == SIGV4_OK) {
            puts("ok");
            continue;
        }
        for (size_t i = 0; i < result.message.len; i++)
            putchar(result.message.ptr[i] == '\n' ? ' ' : result.message.ptr[i]);
        putchar('\n');
    }
    arena_deinit(&arena);
    sigv4_verifier_deinit(&v);
    return 0;
}
