#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void ap_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "BUG: %s:%d: %s: broken promise: %s\n", file, line, function, condition);
    abort();
}
