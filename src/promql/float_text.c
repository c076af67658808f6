#include "promql/float_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/shortest.h"

static struct float_text special(double value)
{
    struct float_text ret = {"NaN"};
    if (value == 0)
        snprintf(ret.text, sizeof(ret.text), "%s", signbit(value) ? "-0" : "0");
    else if (!isnan(value))
        snprintf(ret.text, sizeof(ret.text), "%s", value > 0 ? "+Inf" : "-Inf");
    return ret;
}

struct float_text plain_float(double value)
{
    if (value == 0 || !isfinite(value))
        return special(value);
    struct ap_shortest digits;
    ap_shortest(value, &digits);
    struct float_text ret = {""};
    char *to = ret.text;
    if (value < 0)
        *to++ = '-';
    if (digits.point <= 0) {
        *to++ = '0';
        *to++ = '.';
        memset(to, '0', (size_t)-digits.point);
        to += -digits.point;
    }
    for (int i = 0; i < digits.count || i < digits.point; i++) {
        if (i == digits.point && i > 0)
            *to++ = '.';
        *to++ = i < digits.count ? digits.digits[i] : '0';
    }
    *to = '\0';
    return ret;
}

struct float_text go_float(double value)
{
    if (value == 0 || !isfinite(value))
        return special(value);
    struct ap_shortest digits;
    ap_shortest(value, &digits);
    int exponent = digits.point - 1;
    if (exponent >= -4 && exponent < 6)
        return plain_float(value);
    struct float_text ret = {""};
    snprintf(ret.text, sizeof(ret.text), "%s%c%s%.*se%c%02d", value < 0 ? "-" : "", digits.digits[0],
             digits.count > 1 ? "." : "", digits.count - 1, digits.digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    return ret;
}

struct float_text open_metrics_float(double value)
{
    struct float_text ret = go_float(value);
    if (isfinite(value) && !strpbrk(ret.text, ".e"))
        memcpy(ret.text + strlen(ret.text), ".0", sizeof(".0"));
    return ret;
}
