/* Prefixes and date patterns of any bytes, at any time: checked and evaluated alike, never out of bounds. */
#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/age_recipient.h"
#include "firehose/delivery_settings.h"
#include "firehose/prefix_expression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fixed_random(void *ctx, uint8_t *out, size_t len)
{
    memset(out, 7, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 9)
        return 0;
    int64_t ms;
    memcpy(&ms, data, 8);
    struct slice text = slice_of(data + 9, size - 9);
    enum prefix_kind kind = data[8] & 1 ? PREFIX_OF_ERRORS : PREFIX_OF_OBJECTS;
    struct prefix_values v = {.time = {ms % 253402300800000ll}, .random_bytes = fixed_random, .error_type = "failed"};
    struct prefix_facts facts;
    struct err e = {0};
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    int checked = prefix_check(text, kind, &facts, &e);
    int evaluated = prefix_evaluate(text, kind, &v, &out);
    CHECK((checked < 0) >= (evaluated < 0)); /* what was checked evaluates */
    CHECK(checked == 0 || e.text[0]);
    bytebuf_deinit(&out);
    struct age_recipient r;
    if (age_recipient_parse(text, &r, &e) == 0) {
        char again[AGE_RECIPIENT_TEXT_MAX + 1];
        age_recipient_print(&r, again);
        CHECK(slice_eq_str(text, again));
    }
    struct delivery_settings s;
    if (delivery_settings_parse(text, &s, &e) == 0) {
        struct delivery_settings same;
        bytebuf_init(&out, DELIVERY_JSON_MAX * 2);
        delivery_settings_print(&s, &out);
        CHECK(delivery_settings_parse(bytebuf_view(&out), &same, &e) == 0);
        bytebuf_deinit(&out);
    }
    return 0;
}
