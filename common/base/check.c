#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "sluice: bug: %s:%d: this must hold: %s\n", file, line, expr);
    abort();
}
