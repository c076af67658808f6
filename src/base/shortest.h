/*
 * base/shortest.h - the fewest digits that read back as the same double
 *
 * What every text of a float here is made of. The digits come from the C++ library's std::to_chars (U. Adams 2018,
 * "Ryū: Fast Float-to-String Conversion"), which no C library has; shortest.cc is all there is of that language.
 */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

enum { AP_SHORTEST_DIGITS_MAX = 17 };

struct ap_shortest {
    char digits[AP_SHORTEST_DIGITS_MAX]; /* '0' to '9', neither the first nor the last a '0', but for "0" */
    int count;                           /* at least 1 */
    int point;                           /* the value is 0.DIGITS times 10^point */
};

/* Of the absolute value; it must be finite and not 0. */
void ap_shortest(double value, struct ap_shortest *ret);

#ifdef __cplusplus
}
#endif
