/*
 * Any text as a selector: what is accepted matches or does not, and ends. What a matcher says about itself holds: its
 * values match, and nothing matches that lacks its prefix. The text, cut in two at a line end, gives a value to try.
 */
#include <stdint.h>

#include "base/assert.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct matcher *matcher, struct ap_slice value)
{
    const struct ap_slice *values;
    size_t count;
    bool matches = matcher_matches(matcher, value);
    AP_ASSERT(matcher_matches_empty(matcher) == matcher_matches(matcher, ap_slice("", 0)));
    if (matcher_values(matcher, &values, &count)) {
        bool is_listed = false;
        for (size_t i = 0; i < count; i++) {
            AP_ASSERT(matcher_matches(matcher, values[i]));
            is_listed |= ap_slice_equal(values[i], value);
        }
        AP_ASSERT(is_listed == matches);
    }
    struct ap_slice prefix = matcher_prefix(matcher);
    if (matches && prefix.bytes)
        AP_ASSERT(value.bytes >= prefix.bytes && memcmp(value.data, prefix.data, prefix.bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_slice rest = ap_slice(data, size);
    struct ap_slice text = ap_slice_split(&rest, '\n');
    struct ap_slice value = rest.data && ap_utf8_valid_bytes(rest) == rest.bytes ? rest : ap_slice("up", 2);
    struct matchers matchers;
    struct ap_err err = {0};
    if (matchers_parse(text, &matchers, &err) != AP_OK) {
        AP_ASSERT(err.text[0] != '\0' && matchers.count == 0);
        return 0;
    }
    for (size_t i = 0; i < matchers.count; i++)
        check(matchers.items[i], value);

    struct label labels[] = {{ap_slice_cstr(LABEL_METRIC_NAME), value}, {ap_slice("job", 3), ap_slice("abc", 3)}};
    AP_AUTO_BUF struct ap_buf canonical = {0};
    if (labels_encode(labels, 2, &canonical, &err) == AP_OK)
        (void)matchers_match(&matchers, ap_buf_slice(&canonical));
    matchers_clear(&matchers);
    return 0;
}
