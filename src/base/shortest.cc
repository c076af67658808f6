#include "base/shortest.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

/*
 * Most numbers that people measure have a few digits behind the point. Whole ten-thousandths of at most 15 digits are
 * read back as the quotient by 10000, which is rounded but once; and there is one decimal of at most 15 digits for each
 * double, so that no shorter one can exist.
 */
static bool add_short_decimal(double value, struct ap_shortest *ret)
{
    if (!(value < 1e11))
        return false;
    auto scaled = static_cast<std::uint64_t>(value * 10000 + 0.5);
    if (static_cast<double>(scaled) / 10000 != value)
        return false;
    char digits[20];
    const char *end = std::to_chars(digits, digits + sizeof(digits), scaled).ptr;
    ret->point = static_cast<int>(end - digits) - 4;
    while (end[-1] == '0')
        end--;
    ret->count = static_cast<int>(end - digits);
    std::memcpy(ret->digits, digits, static_cast<std::size_t>(ret->count));
    return true;
}

void ap_shortest(double value, struct ap_shortest *ret)
{
    if (add_short_decimal(std::fabs(value), ret))
        return;
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
