/* Any text as a selector; what is accepted matches or does not, and ends. */
#include "tsdb/matcher.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char labels[] = "\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x0a\x0a\x03job\x12\x03"
                                 "abc";
    struct matchers matchers;
    struct ap_err err;
    if (matchers_parse(ap_slice(data, bytes), &matchers, &err) == AP_OK) {
        (void)matchers_match(&matchers, ap_slice(labels, sizeof(labels) - 1));
        matchers_clear(&matchers);
    }
    return 0;
}
