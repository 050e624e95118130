#include "common/base/diag.h"

#include <stdio.h>
#include <unistd.h>

static struct wall_ms (*diag_now)(void);
static enum diag_level diag_min = DIAG_INFO;

void diag_setup(enum diag_level min, struct wall_ms (*now)(void))
{
    diag_min = min;
    diag_now = now;
}

void diag(enum diag_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info ", "warn ", "error"};
    if (level < diag_min)
        return;
    char line[1024], time[CLOCK_TEXT_MAX] = "-";
    if (diag_now)
        wall_format_iso(diag_now(), time);
    int n = snprintf(line, sizeof line, "%s %s %s ", time, names[level], event);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)n);
    (void)written; /* nobody is left to tell */
}
