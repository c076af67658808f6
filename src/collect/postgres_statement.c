#include "collect/postgres_statement.h"

#include <ctype.h>

#define CUT         "…"
#define REPLACEMENT "\xEF\xBF\xBD"

/* What is left of the statement, and the label so far. */
struct shortening {
    struct ap_slice sql;
    struct ap_buf *out;
    size_t start_bytes; /* of the label in `out` */
    bool is_blank_due;  /* before the next thing, unless it is the first */
    bool is_full;
};

static char peek(const struct shortening *s, size_t offset)
{
    return offset < s->sql.bytes ? s->sql.data[offset] : '\0';
}

static void skip(struct shortening *s, size_t bytes)
{
    s->sql = ap_slice(s->sql.data + bytes, s->sql.bytes - bytes);
}

/* Letters, digits and the rest of UTF-8: what names are made of. */
static bool is_of_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static void cut(struct shortening *s)
{
    ap_buf_add_cstr(s->out, CUT);
    s->is_full = true;
}

static void add(struct shortening *s, const char *text, size_t bytes)
{
    size_t used = s->out->bytes - s->start_bytes;
    bool has_blank = s->is_blank_due && used > 0;
    if (s->is_full)
        return;
    if (used + has_blank + bytes > POSTGRES_STATEMENT_BYTES_MAX - strlen(CUT)) {
        cut(s);
        return;
    }
    if (has_blank)
        ap_buf_add_char(s->out, ' ');
    ap_buf_add(s->out, text, bytes);
    s->is_blank_due = false;
}

static void skip_line_comment(struct shortening *s)
{
    const char *end = memchr(s->sql.data, '\n', s->sql.bytes);
    skip(s, end ? (size_t)(end - s->sql.data) : s->sql.bytes);
    s->is_blank_due = true;
}

/* They nest. */
static void skip_block_comment(struct shortening *s)
{
    size_t depth = 0;
    do {
        if (peek(s, 0) == '/' && peek(s, 1) == '*') {
            depth++;
            skip(s, 2);
        } else if (peek(s, 0) == '*' && peek(s, 1) == '/') {
            depth--;
            skip(s, 2);
        } else {
            skip(s, s->sql.bytes > 0);
        }
    } while (depth > 0 && s->sql.bytes > 0);
    s->is_blank_due = true;
}

/* At a quote. Two in a row are one that belongs to the text. */
static void mask_literal(struct shortening *s)
{
    add(s, "'?'", 3);
    skip(s, 1);
    while (s->sql.bytes > 0) {
        if (peek(s, 0) == '\\') {
            skip(s, s->sql.bytes);
            if (!s->is_full)
                cut(s);
            return;
        }
        if (peek(s, 0) == '\'' && peek(s, 1) != '\'') {
            skip(s, 1);
            return;
        }
        skip(s, peek(s, 0) == '\'' ? 2 : 1);
    }
}

/* The length of `$tag$` where one begins; 0: it is a parameter or something else. */
static size_t dollar_quote_bytes(const struct shortening *s)
{
    size_t bytes = 1;
    if (isdigit((unsigned char)peek(s, 1)))
        return 0;
    while (is_of_name(peek(s, bytes)))
        bytes++;
    return peek(s, bytes) == '$' ? bytes + 1 : 0;
}

static void mask_dollar_quote(struct shortening *s, size_t tag_bytes)
{
    struct ap_slice tag = ap_slice(s->sql.data, tag_bytes);
    add(s, "'?'", 3);
    skip(s, tag_bytes);
    const char *end = memmem(s->sql.data, s->sql.bytes, tag.data, tag.bytes);
    skip(s, end ? (size_t)(end - s->sql.data) + tag_bytes : s->sql.bytes);
}

/* One character, whatever it is. */
static void copy_character(struct shortening *s)
{
    unsigned char c = (unsigned char)peek(s, 0);
    if (c <= ' ' || c == 0x7F) {
        s->is_blank_due = true;
        skip(s, 1);
        return;
    }
    size_t bytes = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    bool is_valid = bytes <= s->sql.bytes && ap_utf8_valid_bytes(ap_slice(s->sql.data, bytes)) == bytes;
    /* U+0080 to U+009F are control characters too. */
    if (is_valid && c == 0xC2 && (unsigned char)peek(s, 1) < 0xA0)
        s->is_blank_due = true;
    else if (is_valid)
        add(s, s->sql.data, bytes);
    else
        add(s, REPLACEMENT, strlen(REPLACEMENT));
    skip(s, is_valid ? bytes : 1);
}

/* A name in quotes, which may look like a comment or a literal inside. */
static void copy_quoted_name(struct shortening *s)
{
    do
        copy_character(s);
    while (s->sql.bytes > 0 && peek(s, 0) != '"');
    if (s->sql.bytes > 0)
        copy_character(s);
}

void postgres_statement_label(struct ap_slice sql, struct ap_buf *out)
{
    struct shortening s = {.sql = sql, .out = out, .start_bytes = out->bytes};
    bool is_in_name = false;
    while (s.sql.bytes > 0 && !s.is_full) {
        char c = peek(&s, 0);
        size_t tag_bytes = c == '$' && !is_in_name ? dollar_quote_bytes(&s) : 0;
        is_in_name = is_of_name(c) || (is_in_name && c == '$');
        if (c == '-' && peek(&s, 1) == '-')
            skip_line_comment(&s);
        else if (c == '/' && peek(&s, 1) == '*')
            skip_block_comment(&s);
        else if (c == '\'')
            mask_literal(&s);
        else if (tag_bytes)
            mask_dollar_quote(&s, tag_bytes);
        else if (c == '"')
            copy_quoted_name(&s);
        else
            copy_character(&s);
    }
}
