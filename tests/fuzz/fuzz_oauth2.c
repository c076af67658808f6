/*
 * Any bytes as the answer of a token server; the first one chooses the status. What is taken is one header field that
 * ends nowhere early, and is found again; what is refused says so without a word of the answer that is no error code.
 */
#include <stdint.h>

#include "base/assert.h"
#include "scrape/oauth2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const struct ap_buf *line)
{
    static const char begin[] = "Authorization: ";
    AP_ASSERT(line->bytes > sizeof(begin) && memcmp(line->data, begin, sizeof(begin) - 1) == 0);
    AP_ASSERT(line->data[line->bytes - 1] == '\0');
    for (size_t i = 0; i + 1 < line->bytes; i++)
        AP_ASSERT(line->data[i] >= ' ' && line->data[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned statuses[] = {200, 201, 302, 400, 401, 429, 500};
    if (size == 0)
        return 0;
    const struct oauth2 oauth2 = {.identity = AP_SLICE_LITERAL("fuzz")};
    AP_AUTO(oauth2_tokens) struct oauth2_tokens *tokens = oauth2_tokens_new();
    AP_AUTO_BUF struct ap_buf line = {0}, found = {0};
    struct ap_err err = {0};
    enum ap_rc rc = oauth2_tokens_take(tokens, &oauth2, statuses[data[0] % AP_ARRAY_COUNT(statuses)],
                                       ap_slice(data + 1, size - 1), &line, &err);
    if (rc == AP_OK)
        check_line(&line);
    else
        AP_ASSERT(line.bytes == 0 && err.text[0] && !strpbrk(err.text, "\r\n"));
    if (oauth2_tokens_find(tokens, &oauth2, &found))
        AP_ASSERT(rc == AP_OK && ap_slice_equal(ap_buf_slice(&found), ap_buf_slice(&line)));
    return 0;
}
