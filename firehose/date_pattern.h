/*
 * Java DateTimeFormatter patterns, as far as they make sense in UTC and English: what !{timestamp:...} takes.
 *
 *     y u   year (yy: two digits)           M L  month (MMM Jan, MMMM January, MMMMM J)     d  day of month
 *     D     day of year                     Q q  quarter (QQQ Q1, QQQQ 1st quarter)         H  hour 0-23
 *     k     hour 1-24   K  hour 0-11        h    hour 1-12        a  AM/PM                  m  minute    s  second
 *     S     fraction of a second            A    millisecond of the day                     n N  nanosecond of second, day
 *     E     day of week (Mon, EEEE Monday)  e c  number of the day of week, from Sunday     G  era
 *     Y w   week-based year, week (ISO)     X x Z O z VV   the zone: Z, +00, +0000, GMT, UTC
 *     'text' literal, '' a quote; other letters and { } # [ ] are refused.
 *
 * Pure; any thread.
 */
#ifndef SLUICE_FIREHOSE_DATE_PATTERN_H
#define SLUICE_FIREHOSE_DATE_PATTERN_H

#include "common/base/bytebuf.h"
#include "common/base/clock.h"

/* Appends `time` formatted by `pattern`. ST_SYNTAX: the pattern is wrong; `e` (may be NULL) says where; part of the text
 * may have been appended. */
int date_pattern_format(struct slice pattern, struct wall_ms time, struct bytebuf *out, struct err *e) must_use;

#endif
