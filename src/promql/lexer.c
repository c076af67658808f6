#include "promql/lexer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void promql_lexer_init(struct promql_lexer *lexer, struct ap_slice query, struct ap_arena *arena)
{
    *lexer = (struct promql_lexer){.query = query, .arena = arena};
}

const char *promql_token_name(enum promql_token_kind kind)
{
    static const char *const names[] = {
        [TOKEN_END] = "end of input",    [TOKEN_WORD] = "identifier",
        [TOKEN_NUMBER] = "number",       [TOKEN_DURATION] = "duration",
        [TOKEN_TEXT] = "string",         [TOKEN_LEFT_PAREN] = "\"(\"",
        [TOKEN_RIGHT_PAREN] = "\")\"",   [TOKEN_LEFT_BRACE] = "\"{\"",
        [TOKEN_RIGHT_BRACE] = "\"}\"",   [TOKEN_LEFT_BRACKET] = "\"[\"",
        [TOKEN_RIGHT_BRACKET] = "\"]\"", [TOKEN_COMMA] = "\",\"",
        [TOKEN_COLON] = "\":\"",         [TOKEN_AT] = "\"@\"",
        [TOKEN_ADD] = "\"+\"",           [TOKEN_SUB] = "\"-\"",
        [TOKEN_MUL] = "\"*\"",           [TOKEN_DIV] = "\"/\"",
        [TOKEN_MOD] = "\"%\"",           [TOKEN_POW] = "\"^\"",
        [TOKEN_EQUAL_EQUAL] = "\"==\"",  [TOKEN_NOT_EQUAL] = "\"!=\"",
        [TOKEN_LESS] = "\"<\"",          [TOKEN_LESS_EQUAL] = "\"<=\"",
        [TOKEN_GREATER] = "\">\"",       [TOKEN_GREATER_EQUAL] = "\">=\"",
        [TOKEN_TRIM_UPPER] = "\"</\"",   [TOKEN_TRIM_LOWER] = "\">/\"",
        [TOKEN_EQUAL] = "\"=\"",         [TOKEN_MATCH] = "\"=~\"",
        [TOKEN_NOT_MATCH] = "\"!~\"",    [TOKEN_ERROR] = "nothing",
    };
    return names[kind];
}

/* ---- Durations ---- */

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    {"y", INT64_C(365) * 86400 * 1000},
    {"w", INT64_C(7) * 86400 * 1000},
    {"d", INT64_C(86400) * 1000},
    {"h", INT64_C(3600) * 1000},
    {"m", INT64_C(60) * 1000},
    {"s", 1000},
    {"ms", 1},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool promql_parse_duration(struct ap_slice text, int64_t *ret_ms)
{
    int64_t sum = 0;
    size_t unit = 0;
    size_t at = 0;
    while (at < text.bytes) {
        int64_t number = 0;
        size_t digits = at;
        for (; at < text.bytes && is_digit(text.data[at]); at++)
            if (__builtin_mul_overflow(number, 10, &number) ||
                __builtin_add_overflow(number, text.data[at] - '0', &number))
                return false;
        size_t name = at;
        while (at < text.bytes && text.data[at] >= 'a' && text.data[at] <= 'z')
            at++;
        if (name == digits || at == name)
            return false;
        while (unit < AP_ARRAY_COUNT(units) &&
               !ap_slice_equal_cstr(ap_slice(text.data + name, at - name), units[unit].name))
            unit++;
        if (unit == AP_ARRAY_COUNT(units) || __builtin_mul_overflow(number, units[unit].ms, &number) ||
            __builtin_add_overflow(sum, number, &sum))
            return false;
        unit++;
    }
    *ret_ms = sum;
    return text.bytes > 0;
}

/* ---- Tokens ---- */

static char peek(const struct promql_lexer *lexer, uint32_t ahead)
{
    return lexer->at + ahead < lexer->query.bytes ? lexer->query.data[lexer->at + ahead] : '\0';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_blanks(struct promql_lexer *lexer)
{
    while (lexer->at < lexer->query.bytes) {
        char c = peek(lexer, 0);
        if (c == '#')
            while (lexer->at < lexer->query.bytes && peek(lexer, 0) != '\n')
                lexer->at++;
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            lexer->at++;
        else
            return;
    }
}

static struct promql_token finish(const struct promql_lexer *lexer, enum promql_token_kind kind, uint32_t start)
{
    return (struct promql_token){
        .kind = kind,
        .start = start,
        .end = lexer->at,
        .text = ap_slice(lexer->query.data + start, lexer->at - start),
    };
}

static struct promql_token fail(struct promql_lexer *lexer, uint32_t at, const char *text)
{
    snprintf(lexer->error, sizeof(lexer->error), "%s", text);
    lexer->error_at = at;
    struct promql_token token = finish(lexer, TOKEN_ERROR, at);
    lexer->at = (uint32_t)lexer->query.bytes;
    return token;
}

/* A number, or with units behind it a duration. */
static struct promql_token read_number(struct promql_lexer *lexer)
{
    uint32_t start = lexer->at;
    bool is_hexadecimal = peek(lexer, 0) == '0' && (peek(lexer, 1) == 'x' || peek(lexer, 1) == 'X');
    if (is_hexadecimal)
        lexer->at += 2;
    bool is_plain = !is_hexadecimal; /* digits alone */
    for (;; lexer->at++) {
        char c = peek(lexer, 0);
        if (is_digit(c) || (is_hexadecimal && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))))
            continue;
        if (is_hexadecimal)
            break;
        bool is_exponent =
            (c == 'e' || c == 'E') && (is_digit(peek(lexer, 1)) ||
                                       ((peek(lexer, 1) == '+' || peek(lexer, 1) == '-') && is_digit(peek(lexer, 2))));
        if (c != '.' && !is_exponent)
            break;
        is_plain = false;
        if (is_exponent) {
            lexer->at += 2;
            while (is_digit(peek(lexer, 0)))
                lexer->at++;
            break;
        }
    }
    if (is_plain && is_letter(peek(lexer, 0))) {
        while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0)))
            lexer->at++;
        struct promql_token token = finish(lexer, TOKEN_DURATION, start);
        int64_t ms;
        if (!promql_parse_duration(token.text, &ms))
            return fail(lexer, start, "bad number or duration syntax");
        token.number = (double)ms;
        return token;
    }
    struct promql_token token = finish(lexer, TOKEN_NUMBER, start);
    char text[64];
    char *end;
    if (is_letter(peek(lexer, 0)) || token.text.bytes >= sizeof(text) - 1)
        return fail(lexer, start, "bad number or duration syntax");
    memcpy(text, token.text.data, token.text.bytes);
    text[token.text.bytes] = '\0';
    token.number = strtod(text, &end);
    if (*end != '\0')
        return fail(lexer, start, "bad number or duration syntax");
    return token;
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What stands behind a backslash, as in Go: \n, \x41, \u00e9, \101 and so on. NULL: no such thing. */
static char *read_escape(struct promql_lexer *lexer, char quote, char *to)
{
    static const char letters[] = "abfnrtv\\";
    static const char values[] = "\a\b\f\n\r\t\v\\";
    char c = peek(lexer, 0);
    const char *found = c ? strchr(letters, c) : NULL;
    lexer->at++;
    if (found || c == quote) {
        *to = found ? values[found - letters] : quote;
        return to + 1;
    }
    unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    bool is_octal = digits == 3;
    if (is_octal)
        lexer->at--;
    uint32_t rune = 0;
    for (unsigned i = 0; i < digits; i++, lexer->at++) {
        int digit = hex_digit(peek(lexer, 0));
        if (digit < 0 || (is_octal && digit > 7))
            return NULL;
        rune = rune * (is_octal ? 8 : 16) + (uint32_t)digit;
    }
    if (digits == 0 || rune > 0x10ffff || (digits >= 4 && rune >= 0xd800 && rune < 0xe000) || (is_octal && rune > 255))
        return NULL;
    if (digits >= 4)
        return to + ap_utf8_encode(rune, to);
    *to = (char)rune; /* a byte */
    return to + 1;
}

static struct promql_token read_text(struct promql_lexer *lexer)
{
    uint32_t start = lexer->at;
    char quote = peek(lexer, 0);
    char *text = ap_arena_alloc0(lexer->arena, lexer->query.bytes - start + 1);
    char *to = text;
    lexer->at++;
    for (;;) {
        char c = peek(lexer, 0);
        if (lexer->at >= lexer->query.bytes || (c == '\n' && quote != '`'))
            return fail(lexer, start, quote == '`' ? "unterminated raw string" : "unterminated quoted string");
        lexer->at++;
        if (c == quote)
            break;
        if (c != '\\' || quote == '`') {
            *to++ = c;
            continue;
        }
        uint32_t escape = lexer->at - 1;
        to = read_escape(lexer, quote, to);
        if (!to)
            return fail(lexer, escape, "unknown escape sequence");
    }
    struct promql_token token = finish(lexer, TOKEN_TEXT, start);
    token.text = ap_slice(text, (size_t)(to - text));
    if (ap_utf8_valid_bytes(token.text) != token.text.bytes)
        return fail(lexer, start, "the string is not UTF-8");
    return token;
}

static struct promql_token read_word(struct promql_lexer *lexer, bool is_in_brackets)
{
    uint32_t start = lexer->at;
    while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0)) || (peek(lexer, 0) == ':' && !is_in_brackets))
        lexer->at++;
    struct promql_token token = finish(lexer, TOKEN_WORD, start);
    if (ap_slice_equal_nocase(token.text, "inf") || ap_slice_equal_nocase(token.text, "nan")) {
        token.kind = TOKEN_NUMBER;
        token.number = ap_slice_equal_nocase(token.text, "inf") ? INFINITY : NAN;
    }
    return token;
}

struct promql_token promql_lexer_next(struct promql_lexer *lexer, bool is_in_brackets)
{
    static const struct sign {
        char text[3];
        enum promql_token_kind kind;
    } signs[] = {
        /* The longer ones first. */
        {"==", TOKEN_EQUAL_EQUAL}, {"=~", TOKEN_MATCH},        {"!=", TOKEN_NOT_EQUAL},  {"!~", TOKEN_NOT_MATCH},
        {"</", TOKEN_TRIM_UPPER},  {">/", TOKEN_TRIM_LOWER},   {"<=", TOKEN_LESS_EQUAL}, {">=", TOKEN_GREATER_EQUAL},
        {"(", TOKEN_LEFT_PAREN},   {")", TOKEN_RIGHT_PAREN},   {"{", TOKEN_LEFT_BRACE},  {"}", TOKEN_RIGHT_BRACE},
        {"[", TOKEN_LEFT_BRACKET}, {"]", TOKEN_RIGHT_BRACKET}, {",", TOKEN_COMMA},       {"@", TOKEN_AT},
        {"+", TOKEN_ADD},          {"-", TOKEN_SUB},           {"*", TOKEN_MUL},         {"/", TOKEN_DIV},
        {"%", TOKEN_MOD},          {"^", TOKEN_POW},           {"<", TOKEN_LESS},        {">", TOKEN_GREATER},
        {"=", TOKEN_EQUAL},
    };
    skip_blanks(lexer);
    uint32_t start = lexer->at;
    char c = peek(lexer, 0);
    if (start >= lexer->query.bytes)
        return finish(lexer, TOKEN_END, start);
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return read_number(lexer);
    if (c == ':' && is_in_brackets) {
        lexer->at++;
        return finish(lexer, TOKEN_COLON, start);
    }
    if (is_letter(c) || c == ':')
        return read_word(lexer, is_in_brackets);
    if (c == '"' || c == '\'' || c == '`')
        return read_text(lexer);
    for (size_t i = 0; i < AP_ARRAY_COUNT(signs); i++) {
        size_t bytes = strlen(signs[i].text);
        if (lexer->query.bytes - start >= bytes && memcmp(lexer->query.data + start, signs[i].text, bytes) == 0) {
            lexer->at += (uint32_t)bytes;
            return finish(lexer, signs[i].kind, start);
        }
    }
    uint32_t bytes = 1; /* of the character */
    while (start + bytes < lexer->query.bytes && bytes < 4 &&
           ((uint8_t)lexer->query.data[start + bytes] & 0xc0) == 0x80)
        bytes++;
    char text[64];
    struct ap_slice character = ap_slice(lexer->query.data + start, bytes);
    snprintf(text, sizeof(text), "unexpected character: '%.*s'", (int)ap_utf8_valid_bytes(character), character.data);
    return fail(lexer, start, text);
}
