/* Calendar arithmetic by Howard Hinnant's days-from-civil method: no time zone database, no libc state. */
#include "common/base/clock.h"

#include <stdio.h>

#define MS_PER_DAY 86400000ll

static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

struct wall_parts wall_split(struct wall_ms t)
{
    int64_t days = t.ms / MS_PER_DAY;
    int64_t rest = t.ms % MS_PER_DAY;
    if (rest < 0) {
        rest += MS_PER_DAY;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp + (mp < 10 ? 3 : -9));
    int64_t weekday = (days + 4) % 7;
    return (struct wall_parts){
        .year = (int)(yoe + era * 400 + (month <= 2)),
        .month = month,
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int)(rest / 3600000),
        .minute = (int)(rest / 60000 % 60),
        .second = (int)(rest / 1000 % 60),
        .ms = (int)(rest % 1000),
        .weekday = (int)(weekday < 0 ? weekday + 7 : weekday),
    };
}

struct wall_ms wall_join(const struct wall_parts *p)
{
    int64_t days = days_from_civil(p->year, p->month, p->day);
    return (struct wall_ms){days * MS_PER_DAY + p->hour * 3600000ll + p->minute * 60000ll + p->second * 1000ll + p->ms};
}

int wall_format_iso(struct wall_ms t, char out[CLOCK_TEXT_MAX])
{
    struct wall_parts p = wall_split(t);
    return snprintf(out, CLOCK_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)p.year % 10000u,
                    (unsigned)p.month % 100u, (unsigned)p.day % 100u, (unsigned)p.hour % 100u,
                    (unsigned)p.minute % 100u, (unsigned)p.second % 100u, (unsigned)p.ms % 1000u);
}
