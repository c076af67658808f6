/*
 * Pages of protobuf: delimited io.prometheus.client.MetricFamily messages. What they say is written as the lines that
 * the text formats would have, and goes the same way from there: the cache knows text only, and a target that changes
 * its format goes on with the same series.
 */
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "codec/protobuf.h"
#include "scrape/page_internal.h"

enum {
    TYPE_COUNTER = 0,
    TYPE_GAUGE = 1,
    TYPE_SUMMARY = 2,
    TYPE_UNTYPED = 3,
    TYPE_HISTOGRAM = 4,
    TYPE_GAUGE_HISTOGRAM = 5,
    TYPE_COUNT = 6,
    NUMBERS_BYTES_MAX = (HISTOGRAM_BUCKETS_MAX + 1) * 8,
};

struct family {
    struct page *page;
    struct ap_slice name;
    struct ap_slice help;
    struct ap_slice unit;
    uint64_t type;
    struct ap_slice message; /* all of it */
};

/* One metric of a family: what all its samples have in common. */
struct metric {
    const struct family *family;
    struct exposition_label labels[EXPOSITION_LABELS_MAX];
    size_t label_count; /* of the metric; one more may be added for a sample */
    int64_t ts_ms;
    bool has_ts;
    int64_t start_ts_ms;
};

static enum ap_rc malformed(struct ap_err *err)
{
    return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers");
}

/* ---- Small messages ---- */

static bool read_label(struct ap_slice message, struct exposition_label *label)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    *label = (struct exposition_label){{"", 0}, {"", 0}};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            label->name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            label->value = field.bytes;
    }
    return !reader.is_malformed;
}

/* google.protobuf.Timestamp. */
static bool read_ts(struct ap_slice message, int64_t *ret_ts_ms)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    int64_t seconds = 0;
    int64_t nanos = 0;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            seconds = (int64_t)field.number;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_VARINT))
            nanos = (int32_t)field.number;
    }
    if (__builtin_mul_overflow(seconds, 1000, ret_ts_ms) ||
        __builtin_add_overflow(*ret_ts_ms, nanos / 1000000, ret_ts_ms))
        return false;
    return !reader.is_malformed;
}

static bool read_exemplar(struct ap_slice message, struct exposition_exemplar *exemplar,
                          struct exposition_label labels[EXPOSITION_LABELS_MAX])
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    *exemplar = (struct exposition_exemplar){.labels = labels};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES)) {
            if (exemplar->label_count == EXPOSITION_LABELS_MAX ||
                !read_label(field.bytes, &labels[exemplar->label_count++]))
                return false;
        } else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_FIXED64)) {
            exemplar->value = ap_double_of_bits(field.number);
        } else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES)) {
            exemplar->has_ts = true;
            if (!read_ts(field.bytes, &exemplar->ts_ms))
                return false;
        }
    }
    return !reader.is_malformed;
}

/* ---- Samples ---- */

struct sample {
    const char *suffix;
    const char *bound_name; /* "le", "quantile"; NULL: none */
    double bound;
    double value;
    struct ap_slice exemplar; /* message; data NULL: none */
};

/* Prometheus' ordinary NaN, whatever NaN it was, as the text formats have it. */
static double ordinary(double value)
{
    return isnan(value) ? ap_double_of_bits(UINT64_C(0x7ff8000000000001)) : value;
}

static void begin_entry(struct metric *metric, struct ap_slice name, double value, struct exposition_entry *entry)
{
    *entry = (struct exposition_entry){
        .name = name,
        .labels = metric->labels,
        .label_count = metric->label_count,
        .value = ordinary(value),
        .ts_ms = metric->ts_ms,
        .has_ts = metric->has_ts,
    };
}

static enum ap_rc tell(struct metric *metric, const struct sample *sample, struct ap_err *err)
{
    struct page *page = metric->family->page;
    struct ap_buf *name = &page->told[0];
    struct ap_buf *bound = &page->told[1];
    struct ap_buf *series = &page->told[2];
    struct exposition_label exemplar_labels[EXPOSITION_LABELS_MAX];
    struct exposition_entry entry;
    for (size_t i = 0; i < AP_ARRAY_COUNT(page->told); i++)
        ap_buf_reset(&page->told[i]);
    ap_buf_add_slice(name, metric->family->name);
    ap_buf_add_cstr(name, sample->suffix);
    begin_entry(metric, ap_buf_slice(name), sample->value, &entry);
    if (sample->bound_name) {
        if (metric->label_count == EXPOSITION_LABELS_MAX)
            return ap_fail(err, AP_E_LIMIT, "a metric has more than %d labels", EXPOSITION_LABELS_MAX - 1);
        page_add_number(bound, sample->bound);
        metric->labels[entry.label_count++] =
            (struct exposition_label){ap_slice_cstr(sample->bound_name), ap_buf_slice(bound)};
    }
    page_add_series_text(series, entry.name, entry.labels, entry.label_count);
    entry.series = ap_buf_slice(series);
    if (sample->exemplar.data) {
        entry.has_exemplar = true;
        if (!read_exemplar(sample->exemplar, &entry.exemplar, exemplar_labels))
            return malformed(err);
    }
    return page_tell_sample(page, &entry, metric->start_ts_ms, err);
}

/* Counter, Gauge, Untyped. */
static enum ap_rc read_value(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct sample sample = {.suffix = ""};
    bool is_counter = metric->family->type == TYPE_COUNTER;
    bool is_sound = true;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_FIXED64))
            sample.value = ap_double_of_bits(field.number);
        else if (is_counter && field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            sample.exemplar = field.bytes;
        else if (is_counter && field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            is_sound &= read_ts(field.bytes, &metric->start_ts_ms);
    }
    return reader.is_malformed || !is_sound ? malformed(err) : tell(metric, &sample, err);
}

static bool read_quantile(struct ap_slice message, struct sample *sample)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_FIXED64))
            sample->bound = ap_double_of_bits(field.number);
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_FIXED64))
            sample->value = ap_double_of_bits(field.number);
    }
    return !reader.is_malformed;
}

static enum ap_rc read_summary(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct sample count = {.suffix = "_count"};
    struct sample sum = {.suffix = "_sum"};
    bool is_sound = true;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            count.value = (double)field.number;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_FIXED64))
            sum.value = ap_double_of_bits(field.number);
        else if (field.tag == PROTOBUF_TAG(4, PROTOBUF_BYTES))
            is_sound &= read_ts(field.bytes, &metric->start_ts_ms);
    }
    if (reader.is_malformed || !is_sound)
        return malformed(err);
    enum ap_rc rc = tell(metric, &count, err);
    if (rc == AP_OK)
        rc = tell(metric, &sum, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        struct sample quantile = {.suffix = "", .bound_name = "quantile"};
        if (field.tag != PROTOBUF_TAG(3, PROTOBUF_BYTES))
            continue;
        rc = read_quantile(field.bytes, &quantile) ? tell(metric, &quantile, err) : malformed(err);
    }
    return rc;
}

/* ---- Histograms ---- */

enum { NEGATIVE_SPANS, NEGATIVE_COUNTS, POSITIVE_SPANS, POSITIVE_COUNTS, ARRAY_COUNT };

struct reading {
    struct histogram histogram;
    struct ap_buf numbers[ARRAY_COUNT];
    int64_t before[2]; /* the last bucket's count, by sign, for the deltas */
    bool is_native;
    bool is_malformed;
    const char *fault; /* why it is refused; NULL: sound so far */
    double count;      /* of classic ones */
};

static void reading_clear(struct reading *reading)
{
    for (size_t i = 0; i < ARRAY_COUNT; i++)
        ap_buf_clear(&reading->numbers[i]);
}

static void add_number(struct reading *reading, size_t array, uint64_t bits)
{
    ap_buf_add(&reading->numbers[array], &bits, sizeof(bits));
}

static void add_delta(struct reading *reading, size_t array, uint64_t number)
{
    int64_t *before = &reading->before[array == POSITIVE_COUNTS];
    if (__builtin_add_overflow(*before, ap_unzigzag(number), before) || *before < 0)
        reading->fault = "a bucket of a histogram has a negative count";
    add_number(reading, array, (uint64_t)*before);
}

static void add_packed_deltas(struct reading *reading, size_t array, struct ap_slice packed)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    const uint8_t *end = at + packed.bytes;
    while (at && at < end) {
        uint64_t number;
        at = protobuf_varint(at, end, &number);
        if (at)
            add_delta(reading, array, number);
    }
    reading->is_malformed |= !at && packed.bytes;
}

static void add_packed_doubles(struct reading *reading, size_t array, struct ap_slice packed)
{
    reading->is_malformed |= packed.bytes % 8 != 0;
    for (size_t i = 0; i + 8 <= packed.bytes; i += 8)
        add_number(reading, array, protobuf_fixed64((const uint8_t *)packed.data + i));
}

static void add_span(struct reading *reading, size_t array, struct ap_slice message)
{
    struct histogram_span span = {0};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            span.offset = (int32_t)ap_unzigzag((uint32_t)field.number);
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_VARINT))
            span.length = (uint32_t)field.number;
    }
    reading->is_malformed |= reader.is_malformed;
    reading->is_native = true;
    _Static_assert(sizeof(span) == sizeof(uint64_t), "spans take as much as numbers");
    uint64_t bits;
    memcpy(&bits, &span, sizeof(bits));
    add_number(reading, array, bits);
}

static void read_histogram_field(struct reading *reading, const struct protobuf_field *field, int64_t *start_ts_ms)
{
    struct histogram *histogram = &reading->histogram;
    switch (field->tag) {
    case PROTOBUF_TAG(1, PROTOBUF_VARINT):
        histogram->count = field->number;
        break;
    case PROTOBUF_TAG(4, PROTOBUF_FIXED64):
        histogram->count_value = ap_double_of_bits(field->number);
        histogram->is_float |= histogram->count_value > 0;
        break;
    case PROTOBUF_TAG(2, PROTOBUF_FIXED64):
        histogram->sum = ordinary(ap_double_of_bits(field->number));
        break;
    case PROTOBUF_TAG(5, PROTOBUF_VARINT):
        histogram->schema = (int32_t)ap_unzigzag((uint32_t)field->number);
        break;
    case PROTOBUF_TAG(6, PROTOBUF_FIXED64):
        histogram->zero_threshold = ap_double_of_bits(field->number);
        reading->is_native |= histogram->zero_threshold > 0;
        break;
    case PROTOBUF_TAG(7, PROTOBUF_VARINT):
        histogram->zero_count = field->number;
        reading->is_native |= field->number > 0;
        break;
    case PROTOBUF_TAG(8, PROTOBUF_FIXED64):
        histogram->zero_value = ap_double_of_bits(field->number);
        histogram->is_float |= histogram->zero_value > 0;
        reading->is_native |= histogram->zero_value > 0;
        break;
    case PROTOBUF_TAG(9, PROTOBUF_BYTES):
        add_span(reading, NEGATIVE_SPANS, field->bytes);
        break;
    case PROTOBUF_TAG(10, PROTOBUF_BYTES):
        add_packed_deltas(reading, NEGATIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(10, PROTOBUF_VARINT):
        add_delta(reading, NEGATIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(11, PROTOBUF_BYTES):
        histogram->is_float |= field->bytes.bytes > 0;
        add_packed_doubles(reading, NEGATIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(11, PROTOBUF_FIXED64):
        histogram->is_float = true;
        add_number(reading, NEGATIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(12, PROTOBUF_BYTES):
        add_span(reading, POSITIVE_SPANS, field->bytes);
        break;
    case PROTOBUF_TAG(13, PROTOBUF_BYTES):
        add_packed_deltas(reading, POSITIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(13, PROTOBUF_VARINT):
        add_delta(reading, POSITIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(14, PROTOBUF_BYTES):
        histogram->is_float |= field->bytes.bytes > 0;
        add_packed_doubles(reading, POSITIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(14, PROTOBUF_FIXED64):
        histogram->is_float = true;
        add_number(reading, POSITIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(15, PROTOBUF_BYTES):
        reading->is_malformed |= !read_ts(field->bytes, start_ts_ms);
        break;
    default:
        break;
    }
}

static struct histogram_buckets buckets_of(const struct reading *reading, size_t spans, size_t counts)
{
    bool is_float = reading->histogram.is_float;
    return (struct histogram_buckets){
        .spans = (const void *)reading->numbers[spans].data,
        .span_count = reading->numbers[spans].bytes / 8,
        .counts = is_float ? NULL : (const void *)reading->numbers[counts].data,
        .values = is_float ? (const void *)reading->numbers[counts].data : NULL,
        .count = reading->numbers[counts].bytes / 8,
    };
}

/* Those of the histogram itself, or, where it has none, its buckets'. Without a time nobody could tell which are new.
 */
static enum ap_rc tell_exemplars(struct page *page, struct ap_slice message, struct page_extra *extra,
                                 struct ap_err *err)
{
    size_t count = 0;
    for (int pass = 0; pass < 2 && count == 0; pass++) {
        struct protobuf_reader reader = protobuf_reader(message);
        struct protobuf_field field;
        while (protobuf_next(&reader, &field)) {
            struct ap_slice told = {0};
            if (pass == 0 && field.tag == PROTOBUF_TAG(16, PROTOBUF_BYTES)) {
                told = field.bytes;
            } else if (pass == 1 && field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES)) {
                struct protobuf_reader bucket = protobuf_reader(field.bytes);
                struct protobuf_field part;
                while (protobuf_next(&bucket, &part))
                    if (part.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
                        told = part.bytes;
            }
            if (!told.data)
                continue;
            struct exposition_exemplar exemplar;
            struct exposition_label labels[EXPOSITION_LABELS_MAX];
            if (!read_exemplar(told, &exemplar, labels))
                return malformed(err);
            struct label kept[EXPOSITION_LABELS_MAX];
            for (size_t i = 0; i < exemplar.label_count; i++)
                kept[i] = (struct label){labels[i].name, labels[i].value};
            count++;
            if (exemplar.has_ts)
                page_add_exemplar(page, extra, kept, exemplar.label_count, exemplar.value, exemplar.ts_ms);
        }
    }
    return AP_OK;
}

static enum ap_rc tell_native(struct metric *metric, struct ap_slice message, struct reading *reading,
                              struct ap_err *err)
{
    struct page *page = metric->family->page;
    struct histogram *histogram = &reading->histogram;
    for (size_t i = 0; i < ARRAY_COUNT; i++)
        if (!ap_buf_ok(&reading->numbers[i]))
            return ap_fail(err, AP_E_LIMIT, "a histogram may have %d buckets of one sign", HISTOGRAM_BUCKETS_MAX);
    if (reading->fault && !histogram->is_float)
        return ap_fail(err, AP_E_PARSE, "%s", reading->fault);
    if (histogram->is_float && histogram->count_value == 0)
        histogram->count_value = (double)histogram->count;
    if (metric->family->type == TYPE_GAUGE_HISTOGRAM)
        histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
    histogram->negative = buckets_of(reading, NEGATIVE_SPANS, NEGATIVE_COUNTS);
    histogram->positive = buckets_of(reading, POSITIVE_SPANS, POSITIVE_COUNTS);
    struct exposition_entry entry;
    struct told_sample sample = {.entry = &entry, .start_ts_ms = metric->start_ts_ms, .has_exemplars = true};
    enum ap_rc rc = page_keep_histogram(page, histogram, &sample.histogram, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_BUF struct ap_buf series = {0};
    begin_entry(metric, metric->family->name, 0, &entry);
    page_add_series_text(&series, entry.name, entry.labels, entry.label_count);
    entry.series = ap_buf_slice(&series);
    struct page_extra *extra;
    rc = page_take_sample(page, &sample, &extra, err);
    return rc == AP_OK && extra ? tell_exemplars(page, message, extra, err) : rc;
}

static bool read_bucket(struct ap_slice message, bool is_float, struct sample *sample)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT) && !is_float)
            sample->value = (double)field.number;
        else if (field.tag == PROTOBUF_TAG(4, PROTOBUF_FIXED64) && is_float)
            sample->value = ap_double_of_bits(field.number);
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_FIXED64))
            sample->bound = ap_double_of_bits(field.number);
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            sample->exemplar = field.bytes;
    }
    return !reader.is_malformed;
}

/* _bucket (one to +Inf, too, if it was not told), _count, _sum. */
static enum ap_rc tell_classic(struct metric *metric, struct ap_slice message, const struct reading *reading,
                               struct ap_err *err)
{
    const struct histogram *histogram = &reading->histogram;
    bool is_float = histogram->count_value > 0;
    double count = is_float ? histogram->count_value : (double)histogram->count;
    bool is_gauge = metric->family->type == TYPE_GAUGE_HISTOGRAM;
    struct sample samples[] = {{.suffix = is_gauge ? "_gcount" : "_count", .value = count},
                               {.suffix = is_gauge ? "_gsum" : "_sum", .value = histogram->sum}};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    bool has_infinity = false;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        struct sample bucket = {.suffix = "_bucket", .bound_name = "le"};
        if (field.tag != PROTOBUF_TAG(3, PROTOBUF_BYTES))
            continue;
        if (!read_bucket(field.bytes, is_float, &bucket))
            return malformed(err);
        has_infinity |= isinf(bucket.bound) && bucket.bound > 0;
        rc = tell(metric, &bucket, err);
    }
    struct sample infinity = {.suffix = "_bucket", .bound_name = "le", .bound = INFINITY, .value = count};
    if (rc == AP_OK && !has_infinity)
        rc = tell(metric, &infinity, err);
    for (size_t i = 0; rc == AP_OK && i < AP_ARRAY_COUNT(samples); i++)
        rc = tell(metric, &samples[i], err);
    return rc;
}

static enum ap_rc read_histogram(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    const struct scrape_job *job = metric->family->page->options.job;
    AP_CLEANUP(reading_clear) struct reading reading = {.is_native = false};
    for (size_t i = 0; i < ARRAY_COUNT; i++)
        reading.numbers[i].bytes_max = NUMBERS_BYTES_MAX;
    bool has_buckets = false;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        has_buckets |= field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES);
        read_histogram_field(&reading, &field, &metric->start_ts_ms);
    }
    if (reader.is_malformed || reading.is_malformed)
        return malformed(err);
    bool is_native = reading.is_native && job->is_native_histograms;
    enum ap_rc rc = AP_OK;
    if (is_native)
        rc = tell_native(metric, message, &reading, err);
    if (rc == AP_OK && (!is_native || (job->is_always_classic && has_buckets)))
        rc = tell_classic(metric, message, &reading, err);
    return rc;
}

/* ---- Metrics and families ---- */

static enum ap_rc read_metric(const struct family *family, struct ap_slice message, struct ap_err *err)
{
    /* By type: where the value is. */
    static const uint32_t fields[TYPE_COUNT] = {3, 2, 4, 5, 7, 7};
    struct metric metric = {.family = family, .start_ts_ms = PAGE_NO_TS};
    struct ap_slice value = {0};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES)) {
            if (metric.label_count == EXPOSITION_LABELS_MAX)
                return ap_fail(err, AP_E_LIMIT, "a metric has more than %d labels", EXPOSITION_LABELS_MAX);
            if (!read_label(field.bytes, &metric.labels[metric.label_count++]))
                return malformed(err);
        } else if (field.tag == PROTOBUF_TAG(fields[family->type], PROTOBUF_BYTES)) {
            value = field.bytes;
        } else if (field.tag == PROTOBUF_TAG(6, PROTOBUF_VARINT)) {
            metric.ts_ms = (int64_t)field.number;
            metric.has_ts = metric.ts_ms != 0;
        }
    }
    if (reader.is_malformed)
        return malformed(err);
    if (!value.data)
        value = ap_slice("", 0); /* all its fields are 0 */
    switch (family->type) {
    case TYPE_SUMMARY:
        return read_summary(&metric, value, err);
    case TYPE_HISTOGRAM:
    case TYPE_GAUGE_HISTOGRAM:
        return read_histogram(&metric, value, err);
    default:
        return read_value(&metric, value, err);
    }
}

static void add_help(struct ap_buf *out, struct ap_slice help)
{
    for (size_t i = 0; i < help.bytes; i++) {
        if (help.data[i] == '\\' || help.data[i] == '\n')
            ap_buf_add_char(out, '\\');
        ap_buf_add_char(out, help.data[i] == '\n' ? 'n' : help.data[i]);
    }
}

static enum ap_rc tell_comment(const struct family *family, enum exposition_kind kind, struct ap_err *err)
{
    static const struct {
        const char *name;
        enum exposition_type type;
    } types[TYPE_COUNT] = {{"counter", EXPOSITION_COUNTER},     {"gauge", EXPOSITION_GAUGE},
                           {"summary", EXPOSITION_SUMMARY},     {"unknown", EXPOSITION_UNKNOWN},
                           {"histogram", EXPOSITION_HISTOGRAM}, {"gaugehistogram", EXPOSITION_GAUGE_HISTOGRAM}};
    AP_AUTO_BUF struct ap_buf line = {0};
    struct exposition_entry entry = {.name = family->name, .type = types[family->type].type};
    ap_buf_add_cstr(&line, kind == EXPOSITION_HELP ? "# HELP " : kind == EXPOSITION_UNIT ? "# UNIT " : "# TYPE ");
    AP_AUTO_BUF struct ap_buf series = {0};
    page_add_series_text(&series, family->name, NULL, 0);
    /* A name that has to be quoted stands in braces in a series, and without them here. */
    struct ap_slice name = ap_buf_slice(&series);
    ap_buf_add_slice(&line, name.data[0] == '{' ? ap_slice(name.data + 1, name.bytes - 2) : name);
    ap_buf_add_char(&line, ' ');
    if (kind == EXPOSITION_HELP) {
        add_help(&line, family->help);
        entry.text = family->help;
    } else if (kind == EXPOSITION_UNIT) {
        ap_buf_add_slice(&line, family->unit);
        entry.text = family->unit;
    } else {
        ap_buf_add_cstr(&line, types[family->type].name);
    }
    entry.series = ap_buf_slice(&line);
    return page_take_comment(family->page, kind, &entry, err);
}

static enum ap_rc read_family(struct page *page, struct ap_slice message, struct ap_err *err)
{
    struct family family = {.page = page, .message = message};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            family.name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            family.help = field.bytes;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_VARINT))
            family.type = field.number;
        else if (field.tag == PROTOBUF_TAG(5, PROTOBUF_BYTES))
            family.unit = field.bytes;
    }
    if (reader.is_malformed)
        return malformed(err);
    if (family.name.bytes == 0 || ap_utf8_valid_bytes(family.name) < family.name.bytes)
        return ap_fail(err, AP_E_PARSE, "invalid metric name: %.*s", AP_SLICE_ARG(family.name));
    if (family.type >= TYPE_COUNT)
        return ap_fail(err, AP_E_PARSE, "unknown metric type for metric \"%.*s\"", AP_SLICE_ARG(family.name));
    enum ap_rc rc = family.help.bytes ? tell_comment(&family, EXPOSITION_HELP, err) : AP_OK;
    if (rc == AP_OK)
        rc = tell_comment(&family, EXPOSITION_TYPE, err);
    if (rc == AP_OK && family.unit.bytes)
        rc = tell_comment(&family, EXPOSITION_UNIT, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == PROTOBUF_TAG(4, PROTOBUF_BYTES))
            rc = read_metric(&family, field.bytes, err);
    return rc == AP_OK && page->is_gathering ? page_custom_end(page, err) : rc;
}

enum ap_rc page_read_protobuf(struct page *page, struct ap_slice body, struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)body.data;
    const uint8_t *end = at + body.bytes;
    while (at < end) {
        uint64_t bytes;
        at = protobuf_varint(at, end, &bytes);
        if (!at || bytes > (uint64_t)(end - at))
            return ap_fail(err, AP_E_PARSE, "the page is cut off");
        enum ap_rc rc = read_family(page, ap_slice(at, (size_t)bytes), err);
        if (rc != AP_OK)
            return rc;
        at += bytes;
    }
    return page_end(page, err);
}
