/* Any text as a query: refused with a reason, or what is printed parses again and is printed as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "promql/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool print(struct ap_slice text, struct ap_buf *out)
{
    struct promql_query query;
    struct ap_err err = {0};
    if (promql_parse(text, true, &query, &err) != AP_OK) {
        AP_ASSERT(err.text[0] != '\0');
        return false;
    }
    promql_print(query.expr, out);
    AP_AUTO_BUF struct ap_buf pretty = {0};
    promql_print_pretty(query.expr, &pretty);
    promql_query_clear(&query);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_AUTO_BUF struct ap_buf first = {0};
    AP_AUTO_BUF struct ap_buf second = {0};
    if (print(ap_slice((const char *)data, size), &first)) {
        AP_ASSERT(print(ap_buf_slice(&first), &second));
        AP_ASSERT(ap_slice_equal(ap_buf_slice(&first), ap_buf_slice(&second)));
    }
    return 0;
}
