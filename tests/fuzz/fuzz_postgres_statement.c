/*
 * Any bytes as the text of a statement: the label is short, UTF-8, on one line, and holds nothing that stood between
 * single quotes: the input goes in once more as a literal, of which nothing may be seen.
 */
#include <stdint.h>

#include "base/assert.h"
#include "collect/postgres_statement.h"
#include "collect/postgres_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct ap_slice label)
{
    AP_ASSERT(label.bytes <= POSTGRES_STATEMENT_BYTES_MAX);
    AP_ASSERT(ap_utf8_valid_bytes(label) == label.bytes);
    for (size_t i = 0; i < label.bytes; i++)
        AP_ASSERT((unsigned char)label.data[i] >= ' ' && label.data[i] != 0x7F);
}

static void check_hidden(struct ap_slice input)
{
    AP_AUTO_BUF struct ap_buf sql = {0}, label = {0};
    ap_buf_add_cstr(&sql, "SELECT '");
    for (size_t i = 0; i < input.bytes; i++) {
        if (input.data[i] == '\\')
            return; /* the end of the literal is in doubt, and so is what is behind it */
        ap_buf_add_char(&sql, input.data[i]);
        if (input.data[i] == '\'')
            ap_buf_add_char(&sql, '\'');
    }
    ap_buf_add_cstr(&sql, "' FROM t");
    postgres_statement_label(ap_buf_slice(&sql), &label);
    AP_ASSERT(ap_slice_equal_cstr(ap_buf_slice(&label), "SELECT '?' FROM t"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_slice input = ap_slice(data, size);
    AP_AUTO_BUF struct ap_buf label = {0}, quoted = {0}, value = {0};
    postgres_statement_label(input, &label);
    check(ap_buf_slice(&label));
    check_hidden(input);
    postgres_text_label(input, &quoted);
    AP_ASSERT(ap_utf8_valid_bytes(ap_buf_slice(&quoted)) == quoted.bytes);
    AP_ASSERT(postgres_text_value(input, &value) || value.bytes == 0);
    return 0;
}
