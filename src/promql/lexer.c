#include "promql/lexer.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
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

static bool refuse(char *ret_error, size_t error_bytes, const char *format, ...) ap_printf(3, 4);
static bool refuse(char *ret_error, size_t error_bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (ret_error)
        vsnprintf(ret_error, error_bytes, format, arguments);
    va_end(arguments);
    return false;
}

/* Of the first thing that is wrong; `ret_error` may be NULL. */
static bool parse_duration(struct ap_slice text, int64_t *ret_ms, char *ret_error, size_t error_bytes)
{
    static const int64_t ms_max = INT64_C(9223372036854); /* what Prometheus' nanoseconds in 64 bits can say */
    int64_t sum = 0;
    size_t unit = 0; /* the largest one that may follow */
    size_t at = 0;
    bool is_in_range = true;
    while (at < text.bytes) {
        int64_t number = 0;
        size_t digits = at;
        for (; at < text.bytes && is_digit(text.data[at]); at++)
            if (__builtin_mul_overflow(number, 10, &number) ||
                __builtin_add_overflow(number, text.data[at] - '0', &number))
                is_in_range = false;
        size_t name = at;
        while (at < text.bytes && !is_digit(text.data[at]))
            at++;
        if (name == digits || at == name)
            return refuse(ret_error, error_bytes, "not a valid duration string: \"%.*s\"", AP_SLICE_ARG(text));
        size_t found = 0;
        while (found < AP_ARRAY_COUNT(units) &&
               !ap_slice_equal_cstr(ap_slice(text.data + name, at - name), units[found].name))
            found++;
        if (found == AP_ARRAY_COUNT(units))
            return refuse(ret_error, error_bytes, "unknown unit \"%.*s\" in duration \"%.*s\"", (int)(at - name),
                          text.data + name, AP_SLICE_ARG(text));
        if (found < unit)
            return refuse(ret_error, error_bytes, "not a valid duration string: \"%.*s\"", AP_SLICE_ARG(text));
        if (!is_in_range || __builtin_mul_overflow(number, units[found].ms, &number) ||
            __builtin_add_overflow(sum, number, &sum) || sum > ms_max)
            return refuse(ret_error, error_bytes, "duration out of range");
        unit = found + 1;
    }
    *ret_ms = sum;
    return text.bytes > 0 || refuse(ret_error, error_bytes, "empty duration string");
}

bool promql_parse_duration(struct ap_slice text, int64_t *ret_ms)
{
    return parse_duration(text, ret_ms, NULL, 0);
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
            while (lexer->at < lexer->query.bytes && peek(lexer, 0) != '\n' && peek(lexer, 0) != '\r')
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

static struct promql_token fail(struct promql_lexer *lexer, uint32_t at, const char *format, ...) ap_printf(3, 4);
static struct promql_token fail(struct promql_lexer *lexer, uint32_t at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(lexer->error, sizeof(lexer->error), format, arguments);
    va_end(arguments);
    lexer->error_at = at;
    struct promql_token token = finish(lexer, TOKEN_ERROR, AP_MIN(at, lexer->at));
    lexer->at = (uint32_t)lexer->query.bytes;
    return token;
}

/* The character at `at`, as far as it is UTF-8. */
static struct ap_slice character_at(const struct promql_lexer *lexer, uint32_t at)
{
    uint32_t bytes = at < lexer->query.bytes; /* 0 at the end */
    while (at + bytes < lexer->query.bytes && bytes > 0 && bytes < 4 &&
           ((uint8_t)lexer->query.data[at + bytes] & 0xc0) == 0x80)
        bytes++;
    struct ap_slice character = ap_slice(lexer->query.data + at, bytes);
    character.bytes = ap_utf8_valid_bytes(character);
    return character;
}

static uint32_t rune_of(struct ap_slice character)
{
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t rune = character.bytes ? (uint8_t)character.data[0] & masks[character.bytes] : 0xfffd;
    for (size_t i = 1; i < character.bytes; i++)
        rune = rune << 6 | ((uint8_t)character.data[i] & 0x3f);
    return rune;
}

static struct promql_token fail_character(struct promql_lexer *lexer, uint32_t at, const char *what)
{
    struct ap_slice character = character_at(lexer, at);
    uint32_t rune = rune_of(character);
    if (rune == '\\' || rune == '\n' || rune == '\t' || rune == '\r')
        return fail(lexer, lexer->at, "unexpected character%s: '\\%c'", what,
                    rune == '\n'   ? 'n'
                    : rune == '\t' ? 't'
                    : rune == '\r' ? 'r'
                                   : '\\');
    if (rune < 0x20 || rune == 0x7f)
        return fail(lexer, lexer->at, "unexpected character%s: '\\x%02x'", what, rune);
    return fail(lexer, lexer->at, "unexpected character%s: '%.*s'", what, AP_SLICE_ARG(character));
}

static bool is_alphanumeric(char c)
{
    return is_letter(c) || is_digit(c);
}

/* Takes one character of the set. */
static bool accept(struct promql_lexer *lexer, const char *set)
{
    char c = peek(lexer, 0);
    if (c == '\0' || !strchr(set, c))
        return false;
    lexer->at++;
    return true;
}

/* The rest of a number and a unit, and more of them. Which units there are, and in which order, is for later. */
static bool scan_duration(struct promql_lexer *lexer)
{
    const char *letters = "smhdwy";
    do {
        if (!accept(lexer, letters))
            return false;
        (void)accept(lexer, "s");
        letters = "smhdw";
        if (!is_digit(peek(lexer, 0)))
            break;
        while (is_digit(peek(lexer, 0)))
            lexer->at++;
    } while (true);
    bool is_whole = !is_alphanumeric(peek(lexer, 0));
    lexer->at += !is_whole;
    return is_whole;
}

/* Digits, with underscores between them. */
static void scan_digits(struct promql_lexer *lexer, bool is_hexadecimal)
{
    for (;; lexer->at++) {
        char c = peek(lexer, 0);
        char next = peek(lexer, 1);
        bool is_hex = is_hexadecimal && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
        if (!is_digit(c) && !is_hex && !(c == '_' && is_alphanumeric(next) && next != '_'))
            return;
    }
}

static void scan_number(struct promql_lexer *lexer)
{
    if (peek(lexer, 0) == '0' && (peek(lexer, 1) == 'x' || peek(lexer, 1) == 'X')) {
        lexer->at += 2;
        scan_digits(lexer, true);
        return;
    }
    scan_digits(lexer, false);
    if (peek(lexer, 0) == '.') {
        lexer->at++;
        if (is_digit(peek(lexer, 0)))
            scan_digits(lexer, false);
    }
    char sign = peek(lexer, 1);
    if ((peek(lexer, 0) == 'e' || peek(lexer, 0) == 'E') &&
        (is_digit(sign) || ((sign == '+' || sign == '-') && is_digit(peek(lexer, 2))))) {
        lexer->at += 2;
        scan_digits(lexer, false);
    }
}

/* As Go reads it: 0x1f, 010 of eight's powers, everything else decimal. */
static bool number_value(struct ap_slice text, double *ret_value)
{
    char digits[400];
    size_t count = 0;
    bool is_octal = text.bytes > 1 && text.data[0] == '0';
    for (size_t i = 0; i < text.bytes && count < sizeof(digits) - 1; i++) {
        if (text.data[i] == '_')
            continue;
        digits[count++] = text.data[i];
        is_octal = is_octal && text.data[i] >= '0' && text.data[i] <= '7';
    }
    digits[count] = '\0';
    char *end;
    errno = 0;
    if (is_octal || (count > 1 && (digits[1] == 'x' || digits[1] == 'X'))) {
        long long value = strtoll(digits, &end, 0);
        *ret_value = (double)value;
        if (errno == 0 && *end == '\0')
            return true;
    }
    *ret_value = strtod(digits, &end);
    return *end == '\0';
}

/* A number, or with units behind it a duration. */
static struct promql_token read_number(struct promql_lexer *lexer)
{
    uint32_t start = lexer->at;
    scan_number(lexer);
    lexer->has_duration = true;
    if (!is_alphanumeric(peek(lexer, 0))) {
        struct promql_token token = finish(lexer, TOKEN_NUMBER, start);
        bool is_number = number_value(token.text, &token.number);
        if (!is_number || isinf(token.number))
            return fail(lexer, start, "error parsing number: strconv.ParseFloat: parsing \"%.*s\": %s",
                        (int)AP_MIN(token.text.bytes, (size_t)100), token.text.data,
                        is_number ? "value out of range" : "invalid syntax");
        return token;
    }
    if (!scan_duration(lexer))
        return fail(lexer, start, "bad number or duration syntax: \"%.*s\"",
                    (int)AP_MIN(lexer->at - start, (uint32_t)100), lexer->query.data + start);
    struct promql_token token = finish(lexer, TOKEN_DURATION, start);
    int64_t ms = 0;
    char error[200];
    if (!parse_duration(token.text, &ms, error, sizeof(error)))
        return fail(lexer, start, "%s", error);
    token.number = (double)ms;
    return token;
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What stands behind a backslash, as in Go: \n, \x41, \u00e9, \101 and so on. NULL: no such thing, *ret_error says why.
 */
static char *read_escape(struct promql_lexer *lexer, char quote, char *to, struct promql_token *ret_error,
                         uint32_t start)
{
    static const char letters[] = "abfnrtv\\";
    static const char values[] = "\a\b\f\n\r\t\v\\";
    char c = peek(lexer, 0);
    const char *found = c ? strchr(letters, c) : NULL;
    if (found || c == quote) {
        lexer->at++;
        *to = found ? values[found - letters] : quote;
        return to + 1;
    }
    unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    bool is_octal = digits == 3;
    struct ap_slice character = character_at(lexer, lexer->at);
    if (digits == 0 && lexer->at < lexer->query.bytes) {
        *ret_error =
            fail(lexer, start, "unknown escape sequence U+%04X '%.*s'", rune_of(character), AP_SLICE_ARG(character));
        return NULL;
    }
    lexer->at += !is_octal && digits > 0;
    uint64_t rune = 0;
    for (unsigned i = 0; i < AP_MAX(digits, 1U); i++, lexer->at++) {
        int digit = hex_digit(peek(lexer, 0));
        character = character_at(lexer, lexer->at);
        if (lexer->at >= lexer->query.bytes)
            *ret_error = fail(lexer, start, "escape sequence not terminated");
        else if (digit < 0 || (is_octal && digit > 7))
            *ret_error = fail(lexer, start, "illegal character U+%04X '%.*s' in escape sequence", rune_of(character),
                              AP_SLICE_ARG(character));
        else {
            rune = rune * (is_octal ? 8 : 16) + (uint64_t)digit;
            continue;
        }
        return NULL;
    }
    if (rune > (digits >= 4 ? 0x10ffff : 255) || (rune >= 0xd800 && rune < 0xe000)) {
        *ret_error = fail(lexer, start, "escape sequence is an invalid Unicode code point");
        return NULL;
    }
    if (digits >= 4)
        return to + ap_utf8_encode((uint32_t)rune, to);
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
        struct ap_slice character = character_at(lexer, lexer->at);
        if (character.bytes == 0)
            return fail(lexer, start, "invalid UTF-8 rune");
        lexer->at++;
        if (c == quote)
            break;
        if (c != '\\' || quote == '`') {
            memcpy(to, character.data, character.bytes);
            to += character.bytes;
            lexer->at += (uint32_t)character.bytes - 1;
            continue;
        }
        struct promql_token error;
        to = read_escape(lexer, quote, to, &error, start);
        if (!to)
            return error;
    }
    struct promql_token token = finish(lexer, TOKEN_TEXT, start);
    token.text = ap_slice(text, (size_t)(to - text));
    return token;
}

static struct promql_token read_word(struct promql_lexer *lexer)
{
    uint32_t start = lexer->at;
    bool has_colons = !lexer->is_in_brackets && !lexer->is_in_braces;
    while (is_alphanumeric(peek(lexer, 0)) || (peek(lexer, 0) == ':' && has_colons))
        lexer->at++;
    struct promql_token token = finish(lexer, TOKEN_WORD, start);
    token.is_label = lexer->is_in_braces;
    if (!token.is_label && (ap_slice_equal_nocase(token.text, "inf") || ap_slice_equal_nocase(token.text, "nan"))) {
        token.kind = TOKEN_NUMBER;
        token.number = ap_slice_equal_nocase(token.text, "inf") ? INFINITY : NAN;
    }
    return token;
}

static struct promql_token read_end(struct promql_lexer *lexer)
{
    if (lexer->is_in_braces)
        return fail(lexer, lexer->at, "unexpected end of input inside braces");
    if (lexer->is_in_brackets)
        return fail(lexer, lexer->at, "unexpected end of input in duration expression");
    if (lexer->parens > 0)
        return fail(lexer, lexer->at, "unclosed left parenthesis");
    return finish(lexer, TOKEN_END, lexer->at);
}

/* What the sign opens or closes. */
static struct promql_token note_sign(struct promql_lexer *lexer, struct promql_token token)
{
    switch (token.kind) {
    case TOKEN_LEFT_PAREN:
        lexer->parens++;
        break;
    case TOKEN_RIGHT_PAREN:
        if (lexer->parens == 0)
            return fail(lexer, token.end, "unexpected right parenthesis ')'");
        lexer->parens--;
        break;
    case TOKEN_LEFT_BRACE:
        if (lexer->is_in_braces)
            return fail(lexer, token.start, "unexpected left brace '{'");
        lexer->is_in_braces = true;
        break;
    case TOKEN_RIGHT_BRACE:
        if (!lexer->is_in_braces)
            return fail(lexer, token.start, "unexpected character: '}'");
        lexer->is_in_braces = false;
        break;
    case TOKEN_LEFT_BRACKET:
        lexer->is_in_brackets = true;
        lexer->has_duration = false;
        lexer->has_colon = false;
        break;
    case TOKEN_RIGHT_BRACKET:
        if (!lexer->is_in_brackets)
            return fail(lexer, token.start, "unexpected right bracket ']'");
        lexer->is_in_brackets = false;
        break;
    case TOKEN_COLON:
        if (!lexer->has_duration)
            return fail(lexer, token.end, "unexpected colon before duration in duration expression");
        if (lexer->has_colon)
            return fail(lexer, token.end, "unexpected repeated colon in duration expression");
        lexer->has_colon = true;
        break;
    default:
        break;
    }
    return token;
}

static const struct sign {
    char text[3];
    enum promql_token_kind kind;
    bool is_in_braces; /* makes sense there */
    bool is_in_brackets;
} signs[] = {
    /* The longer ones first. */
    {"==", TOKEN_EQUAL_EQUAL, false, false}, {"=~", TOKEN_MATCH, true, false},
    {"!=", TOKEN_NOT_EQUAL, true, false},    {"!~", TOKEN_NOT_MATCH, true, false},
    {"</", TOKEN_TRIM_UPPER, false, false},  {">/", TOKEN_TRIM_LOWER, false, false},
    {"<=", TOKEN_LESS_EQUAL, false, false},  {">=", TOKEN_GREATER_EQUAL, false, false},
    {"(", TOKEN_LEFT_PAREN, false, true},    {")", TOKEN_RIGHT_PAREN, false, true},
    {"{", TOKEN_LEFT_BRACE, true, false},    {"}", TOKEN_RIGHT_BRACE, true, false},
    {"[", TOKEN_LEFT_BRACKET, false, false}, {"]", TOKEN_RIGHT_BRACKET, false, true},
    {",", TOKEN_COMMA, true, true},          {":", TOKEN_COLON, false, true},
    {"@", TOKEN_AT, false, false},           {"+", TOKEN_ADD, false, true},
    {"-", TOKEN_SUB, false, true},           {"*", TOKEN_MUL, false, true},
    {"/", TOKEN_DIV, false, true},           {"%", TOKEN_MOD, false, true},
    {"^", TOKEN_POW, false, true},           {"<", TOKEN_LESS, false, false},
    {">", TOKEN_GREATER, false, false},      {"=", TOKEN_EQUAL, true, false},
};

static struct promql_token read_sign(struct promql_lexer *lexer)
{
    const char *where = lexer->is_in_braces ? " inside braces" : lexer->is_in_brackets ? " in duration expression" : "";
    uint32_t start = lexer->at;
    for (size_t i = 0; i < AP_ARRAY_COUNT(signs); i++) {
        size_t bytes = strlen(signs[i].text);
        if (lexer->query.bytes - start < bytes || memcmp(lexer->query.data + start, signs[i].text, bytes) != 0 ||
            (lexer->is_in_braces && !signs[i].is_in_braces) || (lexer->is_in_brackets && !signs[i].is_in_brackets))
            continue;
        if (signs[i].kind == TOKEN_MATCH && !lexer->is_in_braces)
            return fail_character(lexer, start + 1, " after '='");
        lexer->at += (uint32_t)bytes;
        return note_sign(lexer, finish(lexer, signs[i].kind, start));
    }
    if (peek(lexer, 0) == '!' && !lexer->is_in_brackets)
        return fail_character(lexer, start + 1, lexer->is_in_braces ? " after '!' inside braces" : " after '!'");
    return fail_character(lexer, start, where);
}

struct promql_token promql_lexer_next(struct promql_lexer *lexer)
{
    skip_blanks(lexer);
    char c = peek(lexer, 0);
    if (lexer->at >= lexer->query.bytes)
        return read_end(lexer);
    if (!lexer->is_in_braces && (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))))
        return read_number(lexer);
    if (lexer->is_in_brackets && is_letter(c)) {
        static const char *const words[] = {"step", "range", "min_of", "max_of", "min", "max"};
        struct promql_token word = read_word(lexer);
        for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++)
            if (word.kind == TOKEN_WORD && ap_slice_equal_nocase(word.text, words[i]))
                return lexer->has_duration = true, word;
        lexer->at = word.start;
        return fail_character(lexer, word.start, " in duration expression");
    }
    if (is_letter(c) || (c == ':' && !lexer->is_in_braces && !lexer->is_in_brackets))
        return read_word(lexer);
    if ((c == '"' || c == '\'' || c == '`') && !lexer->is_in_brackets)
        return read_text(lexer);
    return read_sign(lexer);
}
