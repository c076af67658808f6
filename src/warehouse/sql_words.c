#include "warehouse/sql_words.h"

#include <string.h>

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t bytes_up_to(struct ap_slice text, const char *end)
{
    const char *found = memmem(text.data, text.bytes, end, strlen(end));
    return found ? (size_t)(found - text.data) + strlen(end) : text.bytes;
}

/* How long the text, quoted name or comment is that begins here; 0: none does. */
static size_t quoted_bytes(struct ap_slice text)
{
    const char quote[] = {text.data[0], '\0'};
    if (*quote == '\'' || *quote == '"') /* a doubled quote is two texts side by side */
        return 1 + bytes_up_to(ap_slice(text.data + 1, text.bytes - 1), quote);
    if (ap_slice_starts_with(text, "--"))
        return bytes_up_to(text, "\n");
    if (ap_slice_starts_with(text, "/*"))
        return 2 + bytes_up_to(ap_slice(text.data + 2, text.bytes - 2), "*/");
    return 0;
}

bool sql_next_word(struct ap_slice *rest, struct ap_slice *ret_word)
{
    while (rest->bytes) {
        size_t bytes = quoted_bytes(*rest);
        bool is_word = bytes == 0 && (rest->data[0] == '$' || is_word_char(rest->data[0]));
        for (bytes += bytes == 0; is_word && bytes < rest->bytes && is_word_char(rest->data[bytes]);)
            bytes++;
        *ret_word = ap_slice(rest->data, bytes);
        *rest = ap_slice(rest->data + bytes, rest->bytes - bytes);
        if (is_word)
            return true;
    }
    return false;
}
