#include "base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

void ap_buf_init(struct ap_buf *buf, size_t bytes_max)
{
    *buf = (struct ap_buf){.bytes_max = bytes_max};
}

void ap_buf_clear(struct ap_buf *buf)
{
    free(buf->data);
    *buf = (struct ap_buf){.bytes_max = buf->bytes_max};
}

void ap_buf_reset(struct ap_buf *buf)
{
    buf->bytes = 0;
    buf->is_overflown = false;
}

char *ap_buf_grow(struct ap_buf *buf, size_t bytes)
{
    size_t needed = buf->bytes + bytes;
    if (buf->is_overflown || needed < bytes || (buf->bytes_max && needed > buf->bytes_max)) {
        buf->is_overflown = true;
        return NULL;
    }
    if (needed > buf->capacity_bytes) {
        size_t capacity = AP_MAX(buf->capacity_bytes * 2, (size_t)64);
        capacity = AP_MAX(capacity, needed);
        if (buf->bytes_max)
            capacity = AP_MIN(capacity, buf->bytes_max);
        buf->data = ap_realloc(buf->data, capacity);
        buf->capacity_bytes = capacity;
    }
    return buf->data + buf->bytes;
}

void ap_buf_printf(struct ap_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    AP_ASSERT(bytes >= 0);
    char *to = ap_buf_reserve(buf, (size_t)bytes + 1); /* vsnprintf wants room for its NUL */
    if (to) {
        vsnprintf(to, (size_t)bytes + 1, format, again);
        buf->bytes += (size_t)bytes;
    }
    va_end(again);
}

static void add_little_endian(struct ap_buf *buf, uint64_t value, size_t bytes)
{
    uint8_t out[8];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
    ap_buf_add(buf, out, bytes);
}

void ap_buf_add_u16(struct ap_buf *buf, uint16_t value)
{
    add_little_endian(buf, value, 2);
}

void ap_buf_add_u32(struct ap_buf *buf, uint32_t value)
{
    add_little_endian(buf, value, 4);
}

void ap_buf_add_u64(struct ap_buf *buf, uint64_t value)
{
    add_little_endian(buf, value, 8);
}

void ap_buf_add_varint(struct ap_buf *buf, uint64_t value)
{
    uint8_t out[10];
    size_t bytes = 0;
    while (value >= 0x80) {
        out[bytes++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[bytes++] = (uint8_t)value;
    ap_buf_add(buf, out, bytes);
}

void ap_buf_add_utf8(struct ap_buf *buf, uint32_t rune)
{
    char out[AP_UTF8_BYTES_MAX];
    size_t bytes = ap_utf8_encode(rune, out);
    ap_buf_add(buf, out, bytes);
}

static void add_json_escaped(struct ap_buf *buf, uint8_t c)
{
    switch (c) {
    case '"':
        ap_buf_add(buf, "\\\"", 2);
        break;
    case '\\':
        ap_buf_add(buf, "\\\\", 2);
        break;
    case '\n':
        ap_buf_add(buf, "\\n", 2);
        break;
    case '\r':
        ap_buf_add(buf, "\\r", 2);
        break;
    case '\t':
        ap_buf_add(buf, "\\t", 2);
        break;
    default:
        ap_buf_printf(buf, "\\u%04x", c);
    }
}

/* One run of valid UTF-8: copied as it is but for the characters that JSON wants escaped. */
static void add_json_run(struct ap_buf *buf, struct ap_slice run)
{
    size_t copied = 0;
    for (size_t i = 0; i < run.bytes; i++) {
        uint8_t c = (uint8_t)run.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        ap_buf_add(buf, run.data + copied, i - copied);
        add_json_escaped(buf, c);
        copied = i + 1;
    }
    ap_buf_add(buf, run.data + copied, run.bytes - copied);
}

/* Eight bytes of which each is printable ASCII that JSON wants no escape for. */
static inline bool is_plain_word(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    /* A byte below what is taken off borrows, which sets its upper bit; what that does to bytes above does not matter.
     */
    uint64_t below_space = word - ones * 0x20;
    uint64_t quotes = (word ^ ones * '"') - ones, backslashes = (word ^ ones * '\\') - ones;
    return ((below_space | quotes | backslashes | word) & highs) == 0;
}

static bool is_plain(struct ap_slice text)
{
    uint64_t word;
    if (text.bytes < sizeof(word)) {
        memset(&word, 'x', sizeof(word));
        for (size_t i = 0; i < text.bytes; i++)
            word = word << 8 | (uint8_t)text.data[i];
        return is_plain_word(word);
    }
    for (size_t i = 0; i < text.bytes - sizeof(word); i += sizeof(word)) {
        memcpy(&word, text.data + i, sizeof(word));
        if (!is_plain_word(word))
            return false;
    }
    memcpy(&word, text.data + text.bytes - sizeof(word), sizeof(word));
    return is_plain_word(word);
}

void ap_buf_add_json_string(struct ap_buf *buf, struct ap_slice text)
{
    if (text.bytes && is_plain(text)) { /* most of what there is to write */
        char *to = ap_buf_reserve(buf, text.bytes + 2);
        if (!to)
            return;
        to[0] = to[text.bytes + 1] = '"';
        memcpy(to + 1, text.data, text.bytes);
        buf->bytes += text.bytes + 2;
        return;
    }
    ap_buf_add_char(buf, '"');
    while (text.bytes > 0) {
        size_t valid_bytes = ap_utf8_valid_bytes(text);
        add_json_run(buf, ap_slice(text.data, valid_bytes));
        text = ap_slice(text.data + valid_bytes, text.bytes - valid_bytes);
        if (text.bytes > 0) {
            ap_buf_add_cstr(buf, "\xef\xbf\xbd");
            text = ap_slice(text.data + 1, text.bytes - 1);
        }
    }
    ap_buf_add_char(buf, '"');
}

void ap_buf_add_integer(struct ap_buf *buf, int64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char text[24];
    char *at = text + sizeof(text);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    for (; rest >= 10000; rest /= 10000) {
        uint64_t four = rest % 10000;
        memcpy(at -= 2, pairs + four % 100 * 2, 2);
        memcpy(at -= 2, pairs + four / 100 * 2, 2);
    }
    for (; rest >= 10; rest /= 100)
        memcpy(at -= 2, pairs + rest % 100 * 2, 2);
    if (rest || at == text + sizeof(text))
        *--at = (char)('0' + rest);
    if (value < 0)
        *--at = '-';
    ap_buf_add(buf, at, (size_t)(text + sizeof(text) - at));
}

void ap_buf_add_json_double(struct ap_buf *buf, double value)
{
    if (!isfinite(value)) {
        ap_buf_add_cstr(buf, "null");
        return;
    }
    if (value == 0) {
        ap_buf_add_cstr(buf, signbit(value) ? "-0" : "0");
        return;
    }
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) { /* most of what there is to write */
        ap_buf_add_integer(buf, (int64_t)value);
        return;
    }
    struct ap_shortest shortest;
    ap_shortest(value, &shortest);
    if (value < 0)
        ap_buf_add_char(buf, '-');
    int exponent = shortest.point - 1;
    if (exponent >= -5 && exponent < 17) {
        ap_buf_add_positional(buf, &shortest);
        return;
    }
    ap_buf_add_scientific(buf, &shortest, 2);
}

void ap_buf_add_positional(struct ap_buf *buf, const struct ap_shortest *shortest)
{
    static const char zeros[] = "0000000000000000000000000000000000000000";
    int point = shortest->point, count = shortest->count;
    if (point <= 0)
        ap_buf_add_cstr(buf, "0.");
    for (int left = -point; left > 0; left -= (int)sizeof(zeros) - 1)
        ap_buf_add(buf, zeros, AP_MIN((size_t)left, sizeof(zeros) - 1));
    int whole = point <= 0 ? count : AP_MIN(point, count);
    ap_buf_add(buf, shortest->digits, (size_t)whole);
    for (int left = point - count; left > 0; left -= (int)sizeof(zeros) - 1)
        ap_buf_add(buf, zeros, AP_MIN((size_t)left, sizeof(zeros) - 1));
    if (whole < count) {
        ap_buf_add_char(buf, '.');
        ap_buf_add(buf, shortest->digits + whole, (size_t)(count - whole));
    }
}

void ap_buf_add_scientific(struct ap_buf *buf, const struct ap_shortest *shortest, int exponent_digits)
{
    ap_buf_add(buf, shortest->digits, 1);
    if (shortest->count > 1) {
        ap_buf_add_char(buf, '.');
        ap_buf_add(buf, shortest->digits + 1, (size_t)shortest->count - 1);
    }
    ap_buf_printf(buf, "e%+.*d", exponent_digits, shortest->point - 1);
}

char *ap_buf_detach(struct ap_buf *buf)
{
    buf->data = ap_realloc(buf->data, buf->bytes + 1);
    buf->data[buf->bytes] = '\0';
    char *data = buf->data;
    *buf = (struct ap_buf){.bytes_max = buf->bytes_max};
    return data;
}
