#include "base/slice.h"

#include <stdint.h>

#include "base/mem.h"

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool ap_slice_equal_nocase(struct ap_slice a, const char *text)
{
    size_t i = 0;
    for (; i < a.bytes && text[i] != '\0'; i++)
        if (ascii_lower(a.data[i]) != ascii_lower(text[i]))
            return false;
    return i == a.bytes && text[i] == '\0';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct ap_slice ap_slice_trim(struct ap_slice slice)
{
    while (slice.bytes > 0 && is_space(slice.data[0])) {
        slice.data++;
        slice.bytes--;
    }
    while (slice.bytes > 0 && is_space(slice.data[slice.bytes - 1]))
        slice.bytes--;
    return slice;
}

struct ap_slice ap_slice_split(struct ap_slice *rest, char separator)
{
    const char *at = rest->bytes ? memchr(rest->data, separator, rest->bytes) : NULL;
    struct ap_slice part = *rest;
    if (!at) {
        *rest = (struct ap_slice){0};
        return part;
    }
    part.bytes = (size_t)(at - part.data);
    *rest = ap_slice(at + 1, rest->bytes - part.bytes - 1);
    return part;
}

char *ap_slice_dup(struct ap_slice slice)
{
    return ap_strndup(slice.data ? slice.data : "", slice.bytes);
}

/* Length of the sequence that `p` starts, or 0 when it is not one (RFC 3629 section 4). */
static size_t utf8_sequence_bytes(const uint8_t *p, size_t left)
{
    uint8_t first = p[0];
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < bytes)
        return 0;
    /* Only the second byte has a narrower range, after e0, ed, f0 and f4. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

size_t ap_utf8_valid_bytes(struct ap_slice slice)
{
    const uint8_t *p = (const uint8_t *)slice.data;
    size_t i = 0;
    while (i < slice.bytes) {
        uint64_t eight;
        if (slice.bytes - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
        } else if (p[i] < 0x80) {
            i++;
        } else {
            size_t bytes = utf8_sequence_bytes(p + i, slice.bytes - i);
            if (bytes == 0)
                return i;
            i += bytes;
        }
    }
    return i;
}

size_t ap_utf8_encode(uint32_t rune, char bytes[AP_UTF8_BYTES_MAX])
{
    static const uint8_t first_bits[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t count = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = count; i-- > 1; rune >>= 6)
        bytes[i] = (char)(0x80 | (rune & 0x3f));
    bytes[0] = (char)(first_bits[count] | rune);
    return count;
}
