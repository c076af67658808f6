#include "promql/series_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "promql/run.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

enum { VALUES_MAX = 1000000, NUMBER_BYTES_MAX = 400, BUCKETS_MAX = 10000 };

/* ---- Labels ---- */

enum ap_rc series_text_labels(struct ap_slice text, struct ap_buf *out, struct ap_err *err)
{
    struct ap_slice trimmed = ap_slice_trim(text);
    if (ap_slice_equal_cstr(trimmed, "{}"))
        return AP_OK;
    struct matchers matchers;
    enum ap_rc rc = matchers_parse(trimmed, &matchers, err);
    if (rc != AP_OK)
        return rc;
    struct label labels[MATCHERS_MAX];
    for (size_t i = 0; i < matchers.count && rc == AP_OK; i++) {
        labels[i] = (struct label){matcher_name(matchers.items[i]), matcher_value(matchers.items[i])};
        if (matcher_kind_of(matchers.items[i]) != MATCHER_EQUAL)
            rc = ap_fail(err, AP_E_PARSE, "a series has labels with =, found another operator for \"%.*s\"",
                         AP_SLICE_ARG(labels[i].name));
    }
    if (rc == AP_OK)
        rc = labels_encode(labels, matchers.count, out, err);
    matchers_clear(&matchers);
    return rc;
}

/* ---- Values ---- */

struct values {
    struct ap_slice text;
    size_t at;
    size_t count;
    series_text_fn each;
    void *context;
    struct ap_arena arena;
    struct ap_err *err;
};

static char peek(const struct values *values)
{
    return values->at < values->text.bytes ? values->text.data[values->at] : '\0';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct values *values)
{
    while (is_blank(peek(values)))
        values->at++;
}

static enum ap_rc fail(struct values *values, const char *expected)
{
    return ap_fail(values->err, AP_E_PARSE, "series values, byte %zu: expected %s, found \"%.*s\"", values->at + 1,
                   expected, (int)AP_MIN(values->text.bytes - values->at, (size_t)20), values->text.data + values->at);
}

static bool take(struct values *values, const char *word)
{
    size_t bytes = strlen(word);
    if (values->text.bytes - values->at < bytes || memcmp(values->text.data + values->at, word, bytes) != 0)
        return false;
    values->at += bytes;
    return true;
}

/* Up to a sign, an x or a blank that ends it. `is_signed`: one may stand in front. */
static bool read_number(struct values *values, bool is_signed, double *ret_number)
{
    size_t from = values->at;
    if (is_signed && (peek(values) == '-' || peek(values) == '+'))
        values->at++;
    for (char c = peek(values); c; c = peek(values)) {
        char before = values->at > from ? values->text.data[values->at - 1] : '\0';
        bool is_exponent_sign = (c == '+' || c == '-') && (before == 'e' || before == 'E');
        if (!is_exponent_sign && !memchr("0123456789.eEinfINFaNAyYtT", c, 26))
            break;
        values->at++;
    }
    char copy[NUMBER_BYTES_MAX];
    size_t bytes = values->at - from;
    char *end = copy;
    if (bytes > 0 && bytes < sizeof(copy)) {
        memcpy(copy, values->text.data + from, bytes);
        copy[bytes] = '\0';
        *ret_number = strtod(copy, &end);
    }
    if (bytes == 0 || bytes >= sizeof(copy) || end != copy + bytes) {
        values->at = from;
        return false;
    }
    return true;
}

/* "x5" behind a value: so many more. */
static enum ap_rc read_times(struct values *values, size_t *ret_times)
{
    *ret_times = 0;
    if (peek(values) != 'x')
        return AP_OK;
    values->at++;
    size_t from = values->at;
    for (; peek(values) >= '0' && peek(values) <= '9'; values->at++) {
        *ret_times = *ret_times * 10 + (size_t)(peek(values) - '0');
        if (*ret_times > VALUES_MAX)
            return ap_fail(values->err, AP_E_LIMIT, "series values: more than %d of them", VALUES_MAX);
    }
    return values->at > from ? AP_OK : fail(values, "a number of times");
}

static enum ap_rc give(struct values *values, bool is_missing, double value, const struct float_histogram *histogram)
{
    if (++values->count > VALUES_MAX)
        return ap_fail(values->err, AP_E_LIMIT, "series values: more than %d of them", VALUES_MAX);
    values->each(is_missing, value, histogram, values->context);
    return AP_OK;
}

/* ---- Histograms ---- */

static enum ap_rc read_list(struct values *values, double **ret_items, size_t *ret_count)
{
    skip_blanks(values);
    if (!take(values, "["))
        return fail(values, "[");
    double *items = ap_arena_alloc0(&values->arena, BUCKETS_MAX * sizeof(double));
    size_t count = 0;
    for (skip_blanks(values); !take(values, "]"); skip_blanks(values))
        if (count == BUCKETS_MAX || !read_number(values, true, &items[count++]))
            return fail(values, "a number or ]");
    *ret_items = items;
    *ret_count = count;
    return AP_OK;
}

static void set_buckets(struct float_buckets *buckets, const double *values, size_t count, double offset,
                        struct ap_arena *arena)
{
    buckets->indexes = ap_arena_alloc0(arena, (count + 1) * sizeof(*buckets->indexes));
    buckets->values = ap_arena_alloc0(arena, (count + 1) * sizeof(*buckets->values));
    buckets->count = buckets->capacity = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        buckets->indexes[i] = (int32_t)offset + (int32_t)i;
        buckets->values[i] = values[i];
    }
}

static enum ap_rc read_hint(struct values *values, struct float_histogram *histogram)
{
    static const struct {
        const char *name;
        enum histogram_reset_hint hint;
    } hints[] = {{"unknown", HISTOGRAM_RESET_UNKNOWN},
                 {"reset", HISTOGRAM_RESET_YES},
                 {"not_reset", HISTOGRAM_RESET_NO},
                 {"gauge", HISTOGRAM_RESET_GAUGE}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(hints); i++) {
        if (take(values, hints[i].name)) {
            histogram->reset_hint = hints[i].hint;
            return AP_OK;
        }
    }
    return fail(values, "unknown, reset, not_reset or gauge");
}

static enum ap_rc read_histogram(struct values *values, struct float_histogram **ret_histogram)
{
    enum { SCHEMA, SUM, COUNT, ZERO_COUNT, ZERO_WIDTH, OFFSET, NEGATIVE_OFFSET, NUMBERS };
    static const char *const numbers[NUMBERS] = {
        "schema:", "sum:", "count:", "z_bucket:", "z_bucket_w:", "offset:", "n_offset:"};
    double numbers_read[NUMBERS] = {0};
    double *positive = NULL, *negative = NULL, *bounds = NULL;
    size_t positive_count = 0, negative_count = 0, bound_count = 0;
    struct float_histogram *histogram = ap_arena_alloc0(&values->arena, sizeof(*histogram));
    enum ap_rc rc = AP_OK;
    for (skip_blanks(values); !take(values, "}}") && rc == AP_OK; skip_blanks(values)) {
        size_t i = 0;
        while (i < NUMBERS && !take(values, numbers[i]))
            i++;
        if (i < NUMBERS)
            rc = read_number(values, true, &numbers_read[i]) ? AP_OK : fail(values, "a number");
        else if (take(values, "buckets:"))
            rc = read_list(values, &positive, &positive_count);
        else if (take(values, "n_buckets:"))
            rc = read_list(values, &negative, &negative_count);
        else if (take(values, "custom_values:"))
            rc = read_list(values, &bounds, &bound_count);
        else if (take(values, "counter_reset_hint:"))
            rc = read_hint(values, histogram);
        else
            rc = fail(values, "a member of a histogram, or }}");
    }
    histogram->schema = (int32_t)numbers_read[SCHEMA];
    histogram->sum = numbers_read[SUM];
    histogram->count = numbers_read[COUNT];
    histogram->zero_count = numbers_read[ZERO_COUNT];
    histogram->zero_threshold = numbers_read[ZERO_WIDTH];
    histogram->bounds = bounds;
    histogram->bound_count = (uint32_t)bound_count;
    set_buckets(&histogram->positive, positive, positive_count, numbers_read[OFFSET], &values->arena);
    set_buckets(&histogram->negative, negative, negative_count, numbers_read[NEGATIVE_OFFSET], &values->arena);
    *ret_histogram = histogram;
    return rc;
}

static enum ap_rc read_histograms(struct values *values)
{
    struct float_histogram *histogram, *step = NULL;
    struct float_histogram_notes notes = {0};
    size_t times = 0;
    enum ap_rc rc = read_histogram(values, &histogram);
    char sign = peek(values);
    if (rc == AP_OK && (sign == '+' || sign == '-')) {
        values->at++;
        if (!take(values, "{{"))
            return fail(values, "{{");
        rc = read_histogram(values, &step);
    }
    if (rc == AP_OK)
        rc = read_times(values, &times);
    for (size_t i = 0; i <= times && rc == AP_OK; i++) {
        if (i > 0 && step) {
            enum histogram_reset_hint hint = histogram->reset_hint;
            histogram = float_histogram_copy(histogram, &values->arena);
            bool is_fitting = sign == '+' ? float_histogram_add(histogram, step, &values->arena, &notes)
                                          : float_histogram_subtract(histogram, step, &values->arena, &notes);
            if (!is_fitting)
                return fail(values, "an increment of the same kind of buckets");
            histogram->reset_hint = hint;
        }
        rc = give(values, false, 0, histogram);
    }
    return rc;
}

/* ---- All of them ---- */

static enum ap_rc read_floats(struct values *values)
{
    double value, step = 0;
    size_t times;
    if (!read_number(values, true, &value))
        return fail(values, "a number, _, stale or {{");
    if ((peek(values) == '+' || peek(values) == '-') && !read_number(values, true, &step))
        return fail(values, "a number");
    enum ap_rc rc = read_times(values, &times);
    for (size_t i = 0; i <= times && rc == AP_OK; i++) {
        rc = give(values, false, value, NULL);
        value += step;
    }
    return rc;
}

static enum ap_rc read_item(struct values *values)
{
    if (take(values, "_")) {
        size_t times;
        bool is_repeated = peek(values) == 'x';
        enum ap_rc rc = read_times(values, &times);
        for (size_t i = 0; i < (is_repeated ? times : 1) && rc == AP_OK; i++)
            rc = give(values, true, 0, NULL);
        return rc;
    }
    if (take(values, "stale"))
        return give(values, false, absent(), NULL);
    if (take(values, "{{"))
        return read_histograms(values);
    return read_floats(values);
}

enum ap_rc series_text_values(struct ap_slice text, series_text_fn each, void *context, struct ap_err *err)
{
    struct values values = {.text = text, .each = each, .context = context, .err = err};
    ap_arena_init(&values.arena, 0);
    enum ap_rc rc = AP_OK;
    for (skip_blanks(&values); rc == AP_OK && values.at < text.bytes; skip_blanks(&values)) {
        rc = read_item(&values);
        if (rc == AP_OK && values.at < text.bytes && !is_blank(peek(&values)))
            rc = fail(&values, "a blank behind a value");
    }
    ap_arena_clear(&values.arena);
    return rc;
}
