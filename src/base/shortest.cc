#include "base/shortest.h"

#include <charconv>
#include <cmath>

void ap_shortest(double value, struct ap_shortest *ret)
{
    char text[32]; /* d.ddde±x */
    const char *end = std::to_chars(text, text + sizeof(text), std::fabs(value), std::chars_format::scientific).ptr;
    const char *at = text;
    ret->count = 0;
    for (; *at != 'e'; at++)
        if (*at != '.')
            ret->digits[ret->count++] = *at;
    at += at[1] == '+' ? 2 : 1; /* from_chars() reads no '+' */
    int exponent = 0;
    std::from_chars(at, end, exponent);
    ret->point = exponent + 1;
}
