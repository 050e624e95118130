/*
 * A run of one letter is a field; how many there are chooses its form, as java.time.format.DateTimeFormatterBuilder
 * describes. A number's field pads with zeros to the count; too many letters are an error, as in Java.
 */
#include "firehose/date_pattern.h"

#include <stdio.h>

#define DAY_MS 86400000ll

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const quarters[] = {"1st quarter", "2nd quarter", "3rd quarter", "4th quarter"};

struct moment {
    struct wall_parts p;
    int day_of_year; /* 1.. */
    int64_t ms_of_day;
};

static struct moment moment_of(struct wall_ms t)
{
    struct moment m = {.p = wall_split(t)};
    struct wall_parts first = {.year = m.p.year, .month = 1, .day = 1};
    int64_t year_ms = t.ms - wall_join(&first).ms;
    m.day_of_year = (int)(year_ms / DAY_MS) + 1;
    m.ms_of_day = year_ms % DAY_MS;
    return m;
}

/* ISO 8601: week 1 holds the year's first Thursday. */
static int week_of(const struct moment *m, int *out_year)
{
    int iso_day = m->p.weekday == 0 ? 7 : m->p.weekday;
    int week = (m->day_of_year - iso_day + 10) / 7;
    int year = m->p.year;
    struct wall_parts first = {.year = year, .month = 1, .day = 1};
    if (week < 1) { /* the last week of the year before */
        struct wall_parts last = {.year = year - 1, .month = 12, .day = 31};
        struct moment l = moment_of(wall_join(&last));
        return week_of(&l, out_year);
    }
    if (week == 53) {
        struct wall_parts next = {.year = year + 1, .month = 1, .day = 1};
        int next_day = wall_split(wall_join(&next)).weekday;
        if (next_day >= 1 && next_day <= 4) { /* January 1st is Monday to Thursday: its week is week 1 */
            week = 1;
            year++;
        }
    }
    (void)first;
    *out_year = year;
    return week;
}

static int put_number(struct bytebuf *out, int64_t v, unsigned count, unsigned count_max)
{
    if (count > count_max)
        return ST_SYNTAX;
    bytebuf_printf(out, "%0*lld", (int)count, (long long)v);
    return 0;
}

static int put_year(struct bytebuf *out, int year, unsigned count)
{
    if (count == 2)
        bytebuf_printf(out, "%02d", year % 100);
    else
        return put_number(out, year, count, 19);
    return 0;
}

/* 1, 2: number; 3: the first three letters; 4: all; 5: the first letter. */
static int put_name(struct bytebuf *out, const char *name, int number, unsigned count)
{
    switch (count) {
    case 1:
    case 2:
        return put_number(out, number, count, 2);
    case 3:
        bytebuf_append(out, name, 3);
        return 0;
    case 4:
        bytebuf_str(out, name);
        return 0;
    case 5:
        bytebuf_append(out, name, 1);
        return 0;
    default:
        return ST_SYNTAX;
    }
}

static int put_quarter(struct bytebuf *out, int month, unsigned count)
{
    int q = (month - 1) / 3 + 1;
    switch (count) {
    case 3:
        bytebuf_printf(out, "Q%d", q);
        return 0;
    case 4:
        bytebuf_str(out, quarters[q - 1]);
        return 0;
    case 5:
        bytebuf_printf(out, "%d", q);
        return 0;
    default:
        return put_number(out, q, count, 2);
    }
}

/* The fraction's first `count` digits of nine. */
static int put_fraction(struct bytebuf *out, int ms, unsigned count)
{
    char digits[24];
    if (count > 9)
        return ST_SYNTAX;
    snprintf(digits, sizeof digits, "%03d000000", ms % 1000);
    bytebuf_append(out, digits, count);
    return 0;
}

/* UTC in each of the zone's forms. */
static int put_zone(struct bytebuf *out, char letter, unsigned count)
{
    static const char *const offsets[] = {"+00", "+0000", "+00:00", "+0000", "+00:00"};
    switch (letter) {
    case 'X':
        bytebuf_str(out, "Z");
        return count <= 5 ? 0 : ST_SYNTAX;
    case 'x':
        if (count > 5)
            return ST_SYNTAX;
        bytebuf_str(out, offsets[count - 1]);
        return 0;
    case 'Z':
        bytebuf_str(out, count < 4 ? "+0000" : count == 4 ? "GMT" : "Z");
        return count <= 5 ? 0 : ST_SYNTAX;
    case 'O':
        bytebuf_str(out, "GMT");
        return count == 1 || count == 4 ? 0 : ST_SYNTAX;
    case 'V':
        bytebuf_str(out, "UTC");
        return count == 2 ? 0 : ST_SYNTAX;
    default: /* z */
        bytebuf_str(out, count < 4 ? "UTC" : "Coordinated Universal Time");
        return count <= 4 ? 0 : ST_SYNTAX;
    }
}

static int put_day_name(struct bytebuf *out, const struct moment *m, char letter, unsigned count)
{
    if (letter == 'E' && count < 3)
        count = 3;
    if (letter == 'c' && count == 2)
        return ST_SYNTAX;
    return put_name(out, days[m->p.weekday], m->p.weekday + 1, count);
}

static int put_clock(struct bytebuf *out, const struct wall_parts *p, char letter, unsigned count)
{
    switch (letter) {
    case 'H':
        return put_number(out, p->hour, count, 2);
    case 'k':
        return put_number(out, p->hour ? p->hour : 24, count, 2);
    case 'K':
        return put_number(out, p->hour % 12, count, 2);
    case 'h':
        return put_number(out, p->hour % 12 ? p->hour % 12 : 12, count, 2);
    case 'm':
        return put_number(out, p->minute, count, 2);
    case 's':
        return put_number(out, p->second, count, 2);
    default: /* a */
        bytebuf_str(out, p->hour < 12 ? "AM" : "PM");
        return count == 1 ? 0 : ST_SYNTAX;
    }
}

static int put_week(struct bytebuf *out, const struct moment *m, char letter, unsigned count)
{
    int year, week = week_of(m, &year);
    return letter == 'Y' ? put_year(out, year, count) : put_number(out, week, count, 2);
}

static int put_field(struct bytebuf *out, const struct moment *m, char letter, unsigned count)
{
    switch (letter) {
    case 'G':
        bytebuf_str(out, count == 4 ? "Anno Domini" : count == 5 ? "A" : "AD");
        return count <= 5 ? 0 : ST_SYNTAX;
    case 'y':
    case 'u':
        return put_year(out, m->p.year, count);
    case 'Y':
    case 'w':
        return put_week(out, m, letter, count);
    case 'M':
    case 'L':
        return put_name(out, months[m->p.month - 1], m->p.month, count);
    case 'd':
        return put_number(out, m->p.day, count, 2);
    case 'D':
        return put_number(out, m->day_of_year, count, 3);
    case 'Q':
    case 'q':
        return put_quarter(out, m->p.month, count);
    case 'E':
    case 'e':
    case 'c':
        return put_day_name(out, m, letter, count);
    case 'H':
    case 'k':
    case 'K':
    case 'h':
    case 'm':
    case 's':
    case 'a':
        return put_clock(out, &m->p, letter, count);
    case 'S':
        return put_fraction(out, m->p.ms, count);
    case 'A':
        return put_number(out, m->ms_of_day, count, 19);
    case 'n':
        return put_number(out, m->p.ms * 1000000ll, count, 19);
    case 'N':
        return put_number(out, m->ms_of_day * 1000000ll, count, 19);
    case 'X':
    case 'x':
    case 'Z':
    case 'O':
    case 'V':
    case 'z':
        return put_zone(out, letter, count);
    default:
        return ST_SYNTAX;
    }
}

/* A quoted part that begins at pattern[at]; returns the index behind it, or 0 if it does not end. */
static size_t put_quoted(struct bytebuf *out, struct slice pattern, size_t at)
{
    if (at + 1 < pattern.len && pattern.ptr[at + 1] == '\'') {
        bytebuf_byte(out, '\'');
        return at + 2;
    }
    for (size_t i = at + 1; i < pattern.len; i++) {
        if (pattern.ptr[i] != '\'') {
            bytebuf_byte(out, pattern.ptr[i]);
        } else if (i + 1 < pattern.len && pattern.ptr[i + 1] == '\'') {
            bytebuf_byte(out, '\'');
            i++;
        } else {
            return i + 1;
        }
    }
    return 0;
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int date_pattern_format(struct slice pattern, struct wall_ms time, struct bytebuf *out, struct err *e)
{
    if (!pattern.len)
        return err_set(e, ST_SYNTAX, "the date pattern is empty");
    struct moment m = moment_of(time);
    for (size_t i = 0; i < pattern.len;) {
        uint8_t c = pattern.ptr[i];
        if (c == '\'') {
            size_t behind = put_quoted(out, pattern, i);
            if (!behind)
                return err_set(e, ST_SYNTAX, "the quote at %zu of the date pattern does not end", i + 1);
            i = behind;
        } else if (is_letter(c)) {
            size_t n = 1;
            while (i + n < pattern.len && pattern.ptr[i + n] == c)
                n++;
            if (n > 19 || put_field(out, &m, (char)c, (unsigned)n) < 0)
                return err_set(e, ST_SYNTAX, "the date pattern has no field '%.*s'", n > 20 ? 20 : (int)n,
                               (const char *)pattern.ptr + i);
            i += n;
        } else if (strchr("{}#[]", c)) { /* the NUL too: strchr finds the terminator */
            return err_set(e, ST_SYNTAX, "the character 0x%02x in a date pattern must be quoted", c);
        } else {
            bytebuf_byte(out, c);
            i++;
        }
    }
    return 0;
}
