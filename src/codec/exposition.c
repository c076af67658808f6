#include "codec/exposition.h"

#include <float.h>
#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/assert.h"
#include "base/buf.h"

/* ---- Characters ---- */

enum { CLASS_LABEL = 1, CLASS_METRIC = 2, CLASS_DIGIT = 4, CLASS_SPACE = 8 };

#define LETTER (CLASS_LABEL | CLASS_METRIC)
#define DIGIT  (CLASS_LABEL | CLASS_METRIC | CLASS_DIGIT)
static const uint8_t classes[256] = {
    ['a' ... 'z'] = LETTER, ['A' ... 'Z'] = LETTER, ['_'] = LETTER,       [':'] = CLASS_METRIC,
    ['0' ... '9'] = DIGIT,  [' '] = CLASS_SPACE,    ['\t'] = CLASS_SPACE,
};

static inline bool is_class(char c, uint8_t class)
{
    return classes[(uint8_t)c] & class;
}

struct exposition {
    enum exposition_format format;
    const char *next; /* the line to be read */
    const char *end;  /* of the text */
    size_t line;
    bool has_eof;
    /* Of the line being read. */
    const char *line_begin;
    const char *line_end;
    const char *fault; /* where it is bad */
    const char *reason;
    struct ap_buf unescaped; /* reserved for all of the line at once: what points into it must not move */
    struct exposition_label labels[EXPOSITION_LABELS_MAX];
    struct exposition_label exemplar_labels[EXPOSITION_LABELS_MAX];
};

/* Returns NULL, which the callers pass on. */
static const char *bad(struct exposition *parser, const char *at, const char *reason)
{
    parser->fault = at;
    parser->reason = reason;
    return NULL;
}

static inline const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && is_class(*at, CLASS_SPACE))
        at++;
    return at;
}

/* ---- Numbers ---- */

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double slow_number(struct ap_slice text)
{
    char copy[EXPOSITION_NUMBER_BYTES_MAX + 1]; /* strtod() wants a NUL; nothing here sets another locale */
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    return strtod(copy, NULL);
}

/*
 * Powers of ten up to 10^22 are doubles, and integers up to 2^53: dividing or multiplying two of them is one rounding,
 * so the result is the right one (Clinger 1990). Where long double has 64 bits the same holds up to 10^27 and 2^64, but
 * the result is rounded twice; that is wrong only when the first rounding hit the middle between two doubles.
 */
static bool fast_number(uint64_t digits, int exponent, double *ret_value)
{
    if (digits <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22) {
        *ret_value = exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent];
        return true;
    }
#if LDBL_MANT_DIG == 64 && defined(__x86_64__)
    static const long double long_powers[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                              1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                              1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    if (exponent >= -27 && exponent <= 27) {
        long double value =
            exponent < 0 ? (long double)digits / long_powers[-exponent] : (long double)digits * long_powers[exponent];
        uint64_t mantissa;
        memcpy(&mantissa, &value, sizeof(mantissa)); /* the lower 8 of its 10 bytes */
        *ret_value = (double)value;
        return (mantissa & 0x7ff) != 0x400;
    }
#endif
    return false;
}

/* "nan", "inf" and "infinity" in any case; the length, or 0. */
static size_t word_number(const char *at, const char *end, double *ret_value)
{
    static const struct {
        const char *word;
        uint64_t bits;
    } words[] = {
        {"nan", UINT64_C(0x7ff8000000000001)},
        {"infinity", UINT64_C(0x7ff0000000000000)},
        {"inf", UINT64_C(0x7ff0000000000000)},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        size_t bytes = strlen(words[i].word);
        if ((size_t)(end - at) < bytes || !ap_slice_equal_nocase(ap_slice(at, bytes), words[i].word))
            continue;
        memcpy(ret_value, &words[i].bits, sizeof(*ret_value));
        return bytes;
    }
    return 0;
}

static const char *parse_exponent(const char *at, const char *end, int *exponent)
{
    bool is_negative = false;
    int value = 0;
    if (at < end && (*at == '-' || *at == '+'))
        is_negative = *at++ == '-';
    if (at == end || !is_class(*at, CLASS_DIGIT))
        return NULL;
    for (; at < end && is_class(*at, CLASS_DIGIT); at++)
        if (value < 100000) /* far outside a double's range, and far from an int's */
            value = value * 10 + (*at - '0');
    *exponent += is_negative ? -value : value;
    return at;
}

/*
 * Decimal numbers as Go's ParseFloat reads them, which is the format's definition. Ends at a space, a line feed or the
 * end, *ret_end. Returns NULL, or why it is none; then *ret_end is where it is bad.
 */
static const char *read_number(const char *begin, const char *end, double *ret_value, const char **ret_end)
{
    enum { EXPONENT_CAP = 100000 };
    const char *at = begin;
    bool is_negative = false;
    *ret_end = begin;
    if (at < end && (*at == '-' || *at == '+'))
        is_negative = *at++ == '-';
    const char *digits_begin = at;
    const char *point = NULL;
    uint64_t digits = 0; /* the first 19 significant ones */
    int exponent = 0;
    bool is_cut = false;
    for (; at < end; at++) {
        uint8_t digit = (uint8_t)(*at - '0');
        if (digit > 9) {
            if (*at != '.' || point)
                break;
            point = at;
        } else if (digits < UINT64_C(1000000000000000000)) {
            digits = digits * 10 + digit;
            exponent -= point != NULL;
        } else {
            is_cut |= digit != 0;
            exponent += !point && exponent < EXPONENT_CAP;
        }
    }
    double value;
    if (at - digits_begin == (point != NULL)) {
        size_t bytes = point ? 0 : word_number(at, end, &value);
        if (bytes == 0)
            return "expected a number";
        at += bytes;
    } else {
        if (at < end && (*at == 'e' || *at == 'E')) {
            at = parse_exponent(at + 1, end, &exponent);
            if (!at)
                return "expected a number";
        }
        if (at - begin > EXPOSITION_NUMBER_BYTES_MAX)
            return "a number has too many digits";
        if (is_cut || !fast_number(digits, exponent, &value))
            value = slow_number(ap_slice(digits_begin, (size_t)(at - digits_begin)));
        if (isinf(value))
            return "the number is larger than a double can be";
    }
    *ret_end = at;
    if (at < end && !is_class(*at, CLASS_SPACE) && *at != '\n')
        return "expected a space behind the number";
    *ret_value = is_negative && !isnan(value) ? -value : value;
    return NULL;
}

static const char *parse_number(struct exposition *parser, const char *begin, double *ret_value)
{
    const char *end;
    const char *reason = read_number(begin, parser->line_end, ret_value, &end);
    return reason ? bad(parser, end, reason) : end;
}

const char *exposition_number(const char *at, const char *end, double *ret_value)
{
    const char *number_end;
    return read_number(at, end, ret_value, &number_end) ? NULL : number_end;
}

/* ---- Times ---- */

static const char *parse_milliseconds(struct exposition *parser, const char *begin, int64_t *ret_ts_ms)
{
    const char *at = begin;
    bool is_negative = at < parser->line_end && *at == '-';
    int64_t value = 0;
    at += is_negative;
    const char *digits = at;
    for (; at < parser->line_end && is_class(*at, CLASS_DIGIT); at++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *at - '0', &value))
            return bad(parser, begin, "the time is out of range");
    if (at == digits || (at < parser->line_end && !is_class(*at, CLASS_SPACE)))
        return bad(parser, begin, "expected a time in milliseconds");
    *ret_ts_ms = is_negative ? -value : value;
    return at;
}

static const char *parse_seconds(struct exposition *parser, const char *begin, int64_t *ret_ts_ms)
{
    double seconds;
    const char *at = parse_number(parser, begin, &seconds);
    if (!at)
        return at;
    double ms = seconds * 1000;
    if (!(fabs(ms) < 9e18))
        return bad(parser, begin, "the time is out of range");
    /* 1.001 times 1000 is a little below 1001 as a double, and means 1001; what is really between is cut off. */
    double nearest = rint(ms);
    *ret_ts_ms = (int64_t)(fabs(ms - nearest) < 1e-3 ? nearest : ms);
    return at;
}

static const char *parse_ts(struct exposition *parser, const char *at, int64_t *ret_ts_ms)
{
    return parser->format == EXPOSITION_OPENMETRICS ? parse_seconds(parser, at, ret_ts_ms)
                                                    : parse_milliseconds(parser, at, ret_ts_ms);
}

/* ---- Text in quotes ---- */

/* The first `"` or backslash at or behind `at`; line_end when the line has none. */
static inline const char *find_quote(const struct exposition *parser, const char *at)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    while (parser->end - at >= 16) { /* may look beyond the line, not beyond the text */
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
        if (found) {
            at += __builtin_ctz((unsigned)found);
            return at < parser->line_end ? at : parser->line_end;
        }
        at += 16;
        if (at >= parser->line_end)
            return parser->line_end;
    }
#endif
    while (at < parser->line_end && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* Writes the character that `escaped` stands for behind a backslash; others keep their backslash. */
static void add_escaped(struct ap_buf *out, char escaped, bool has_quotes)
{
    if (escaped == 'n') {
        ap_buf_add_char(out, '\n');
        return;
    }
    if (escaped != '\\' && (escaped != '"' || !has_quotes))
        ap_buf_add_char(out, '\\');
    ap_buf_add_char(out, escaped);
}

/* So that nothing moves while the line is read; what is unescaped is never longer than what was escaped. */
static void reserve_unescaped(struct exposition *parser)
{
    if (parser->unescaped.bytes == 0)
        (void)ap_buf_reserve(&parser->unescaped, (size_t)(parser->line_end - parser->line_begin));
}

static const char *parse_escaped(struct exposition *parser, const char *begin, const char *at,
                                 struct ap_slice *ret_text)
{
    struct ap_buf *out = &parser->unescaped;
    reserve_unescaped(parser);
    size_t start = out->bytes;
    ap_buf_add(out, begin, (size_t)(at - begin));
    while (at < parser->line_end && *at != '"') {
        if (*at == '\\') {
            if (++at == parser->line_end)
                break;
            add_escaped(out, *at++, true);
            continue;
        }
        const char *next = find_quote(parser, at);
        ap_buf_add(out, at, (size_t)(next - at));
        at = next;
    }
    if (at == parser->line_end)
        return bad(parser, begin - 1, "the quote is not closed");
    *ret_text = ap_slice(out->data + start, out->bytes - start);
    return at + 1;
}

/* `at` is at the opening quote. */
static inline const char *parse_quoted(struct exposition *parser, const char *at, struct ap_slice *ret_text)
{
    const char *begin = at + 1;
    const char *found = find_quote(parser, begin);
    if (__builtin_expect(found < parser->line_end && *found == '"', 1)) {
        *ret_text = ap_slice(begin, (size_t)(found - begin));
        return found + 1;
    }
    return parse_escaped(parser, begin, found, ret_text);
}

/* ---- Labels ---- */

/*
 * `at` is behind the opening brace. A quoted name without a value is the metric's; then *name must still be empty, and
 * the braces the place for it (NULL: not here).
 */
static const char *parse_labels(struct exposition *parser, const char *at, struct exposition_label *labels,
                                size_t *ret_count, struct ap_slice *name)
{
    const char *end = parser->line_end;
    size_t count = 0;
    for (;;) {
        at = skip_spaces(at, end);
        if (at < end && *at == '}')
            break;
        const char *begin = at;
        struct exposition_label label;
        bool is_quoted = at < end && *at == '"';
        if (is_quoted) {
            at = parse_quoted(parser, at, &label.name);
            if (!at)
                return at;
        } else {
            while (at < end && is_class(*at, CLASS_LABEL))
                at++;
            label.name = ap_slice(begin, (size_t)(at - begin));
            if (at == begin || is_class(*begin, CLASS_DIGIT))
                return bad(parser, begin, "expected the name of a label, or }");
        }
        if (at < end && is_class(*at, CLASS_SPACE))
            at = skip_spaces(at, end);
        if (at < end && *at == '=') {
            at = skip_spaces(at + 1, end);
            if (at == end || *at != '"')
                return bad(parser, at, "expected the label's value in quotes");
            at = parse_quoted(parser, at, &label.value);
            if (!at)
                return at;
            if (count == EXPOSITION_LABELS_MAX)
                return bad(parser, begin, "too many labels");
            labels[count++] = label;
        } else if (is_quoted && name && name->bytes == 0) {
            *name = label.name;
        } else {
            return bad(parser, at, "expected = behind the name of the label");
        }
        if (at < end && is_class(*at, CLASS_SPACE))
            at = skip_spaces(at, end);
        if (at == end || (*at != ',' && *at != '}'))
            return bad(parser, at, "expected , or } behind the label");
        at += *at == ',';
    }
    *ret_count = count;
    return at + 1;
}

/* ---- Lines ---- */

static const char *parse_metric_name(struct exposition *parser, const char *begin, struct ap_slice *ret_name)
{
    const char *at = begin;
    while (at < parser->line_end && is_class(*at, CLASS_METRIC))
        at++;
    if (at == begin || is_class(*begin, CLASS_DIGIT))
        return bad(parser, begin, "expected the name of a metric");
    *ret_name = ap_slice(begin, (size_t)(at - begin));
    return at;
}

/* `at` is behind the # of it. */
static const char *parse_exemplar(struct exposition *parser, const char *at, struct exposition_exemplar *exemplar)
{
    const char *end = parser->line_end;
    at = skip_spaces(at, end);
    if (at == end || *at != '{')
        return bad(parser, at, "expected the labels of an exemplar");
    at = parse_labels(parser, at + 1, parser->exemplar_labels, &exemplar->label_count, NULL);
    if (at)
        at = parse_number(parser, skip_spaces(at, end), &exemplar->value);
    if (!at)
        return at;
    exemplar->labels = parser->exemplar_labels;
    at = skip_spaces(at, end);
    exemplar->has_ts = at < end;
    exemplar->ts_ms = 0;
    /* Seconds in either format: only OpenMetrics has exemplars. */
    return exemplar->has_ts ? parse_seconds(parser, at, &exemplar->ts_ms) : at;
}

static enum exposition_kind parse_sample(struct exposition *parser, const char *at, struct exposition_entry *entry)
{
    const char *begin = at;
    const char *end = parser->line_end;
    entry->name = (struct ap_slice){0};
    entry->label_count = 0;
    entry->labels = parser->labels;
    if (*at != '{') {
        at = parse_metric_name(parser, at, &entry->name);
        if (!at)
            return EXPOSITION_BAD;
        at = skip_spaces(at, end);
    }
    const char *series_end = begin + entry->name.bytes;
    if (at < end && *at == '{') {
        at = parse_labels(parser, at + 1, parser->labels, &entry->label_count, &entry->name);
        if (!at)
            return EXPOSITION_BAD;
        series_end = at;
    }
    entry->series = ap_slice(begin, (size_t)(series_end - begin));
    if (entry->name.bytes == 0) {
        (void)bad(parser, begin, "the metric has no name");
        return EXPOSITION_BAD;
    }
    at = parse_number(parser, skip_spaces(at, end), &entry->value);
    if (!at)
        return EXPOSITION_BAD;
    at = skip_spaces(at, end);
    entry->has_ts = at < end && *at != '#';
    entry->ts_ms = 0;
    if (entry->has_ts) {
        at = parse_ts(parser, at, &entry->ts_ms);
        if (!at)
            return EXPOSITION_BAD;
        at = skip_spaces(at, end);
    }
    entry->has_exemplar = at < end && *at == '#';
    if (entry->has_exemplar) {
        at = parse_exemplar(parser, at + 1, &entry->exemplar);
        if (!at)
            return EXPOSITION_BAD;
        at = skip_spaces(at, end);
    }
    if (at < end) {
        (void)bad(parser, at, "expected the end of the line");
        return EXPOSITION_BAD;
    }
    return EXPOSITION_SAMPLE;
}

static struct ap_slice unescape_help(struct exposition *parser, const char *at)
{
    const char *end = parser->line_end;
    bool has_quotes = parser->format == EXPOSITION_OPENMETRICS;
    if (!memchr(at, '\\', (size_t)(end - at)))
        return ap_slice(at, (size_t)(end - at));
    struct ap_buf *out = &parser->unescaped;
    reserve_unescaped(parser);
    size_t start = out->bytes;
    while (at < end) {
        if (*at != '\\' || at + 1 == end) {
            ap_buf_add_char(out, *at++);
            continue;
        }
        add_escaped(out, at[1], has_quotes);
        at += 2;
    }
    return ap_slice(out->data + start, out->bytes - start);
}

static bool find_type(struct ap_slice word, enum exposition_type *ret_type)
{
    static const struct {
        const char *word;
        enum exposition_type type;
    } types[] = {
        {"counter", EXPOSITION_COUNTER},     {"gauge", EXPOSITION_GAUGE},
        {"histogram", EXPOSITION_HISTOGRAM}, {"summary", EXPOSITION_SUMMARY},
        {"untyped", EXPOSITION_UNKNOWN},     {"unknown", EXPOSITION_UNKNOWN},
        {"info", EXPOSITION_INFO},           {"gaugehistogram", EXPOSITION_GAUGE_HISTOGRAM},
        {"stateset", EXPOSITION_STATE_SET},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(types); i++) {
        if (ap_slice_equal_cstr(word, types[i].word)) {
            *ret_type = types[i].type;
            return true;
        }
    }
    return false;
}

/* EXPOSITION_END: it is only a comment. `at` is behind the #. */
static enum exposition_kind parse_comment(struct exposition *parser, const char *at, struct exposition_entry *entry)
{
    const char *end = parser->line_end;
    const char *word_begin = skip_spaces(at, end);
    at = word_begin;
    while (at < end && !is_class(*at, CLASS_SPACE))
        at++;
    struct ap_slice word = ap_slice(word_begin, (size_t)(at - word_begin));
    bool is_openmetrics = parser->format == EXPOSITION_OPENMETRICS;
    enum exposition_kind kind;
    if (ap_slice_equal_cstr(word, "HELP"))
        kind = EXPOSITION_HELP;
    else if (ap_slice_equal_cstr(word, "TYPE"))
        kind = EXPOSITION_TYPE;
    else if (ap_slice_equal_cstr(word, "UNIT"))
        kind = EXPOSITION_UNIT;
    else {
        parser->has_eof |= is_openmetrics && ap_slice_equal_cstr(word, "EOF");
        return EXPOSITION_END;
    }
    at = skip_spaces(at, end);
    at = at < end && *at == '"' ? parse_quoted(parser, at, &entry->name) : parse_metric_name(parser, at, &entry->name);
    if (!at)
        return EXPOSITION_BAD;
    if (entry->name.bytes == 0 || (at < end && !is_class(*at, CLASS_SPACE))) {
        (void)bad(parser, at, "expected the name of a metric and a space");
        return EXPOSITION_BAD;
    }
    at += at < end;
    entry->text = kind == EXPOSITION_HELP ? unescape_help(parser, at) : ap_slice_trim(ap_slice(at, (size_t)(end - at)));
    if (kind == EXPOSITION_TYPE && !find_type(entry->text, &entry->type)) {
        (void)bad(parser, at, "expected a type: counter, gauge, histogram, summary, unknown, …");
        return EXPOSITION_BAD;
    }
    return kind;
}

struct exposition *exposition_new(void)
{
    return ap_new0(struct exposition);
}

void exposition_free(struct exposition *parser)
{
    if (!parser)
        return;
    ap_buf_clear(&parser->unescaped);
    free(parser);
}

void exposition_begin(struct exposition *parser, enum exposition_format format, struct ap_slice text)
{
    parser->format = format;
    parser->next = text.data ? text.data : "";
    parser->end = parser->next + text.bytes;
    parser->line = 0;
    parser->has_eof = false;
}

bool exposition_has_eof(const struct exposition *parser)
{
    return parser->has_eof;
}

const char *exposition_place(const struct exposition *parser)
{
    return parser->next < parser->end ? parser->next : NULL;
}

void exposition_go_on(struct exposition *parser, const char *place, size_t line_count)
{
    parser->next = place;
    parser->line += line_count;
}

enum exposition_kind exposition_next(struct exposition *parser, struct exposition_entry *ret_entry)
{
    while (parser->next < parser->end) {
        const char *begin = parser->next;
        const char *end = memchr(begin, '\n', (size_t)(parser->end - begin));
        parser->next = end ? end + 1 : parser->end;
        end = end ? end : parser->end;
        if (end > begin && end[-1] == '\r')
            end--;
        parser->line++;
        parser->line_begin = begin;
        parser->line_end = end;
        ap_buf_reset(&parser->unescaped);
        ret_entry->line = parser->line;
        ret_entry->series = ap_slice(begin, (size_t)(end - begin));
        const char *at = skip_spaces(begin, end);
        if (at == end)
            continue;
        enum exposition_kind kind;
        if (parser->has_eof) {
            (void)bad(parser, at, "there is something behind # EOF");
            kind = EXPOSITION_BAD;
        } else if (*at == '#') {
            kind = parse_comment(parser, at + 1, ret_entry);
        } else {
            kind = parse_sample(parser, at, ret_entry);
        }
        if (kind == EXPOSITION_BAD) {
            ret_entry->column = (size_t)(parser->fault - begin) + 1;
            ret_entry->reason = parser->reason;
        }
        if (kind != EXPOSITION_END)
            return kind;
    }
    return EXPOSITION_END;
}
