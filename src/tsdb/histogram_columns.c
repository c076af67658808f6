#include "tsdb/histogram_columns.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_values.h"
#include "tsdb/histogram.h"
#include "tsdb/int_column.h"

/*
 * Limits of what a chunk in columns holds. Encoding keeps to the same ones as decoding, so that what was written can be
 * read; they bound the memory of both.
 */
enum {
    CELLS_MAX = 1 << 21,        /* of all matrices */
    SPANS_MAX = 1 << 18,        /* of all layouts */
    LAYOUT_CELLS_MAX = 1 << 19, /* buckets of all layouts */
    BOUNDS_MAX = 1 << 18,       /* of all families */
    INDICES_MAX = 1 << 16,      /* buckets of one sign that a family has */
    LOOK_BACK = 16,             /* layouts, families among which an equal one is looked for */
    PADDING = 64,               /* decoders write behind the end */
    RESERVE = 4096,             /* histogram_encode() asks for more room than it takes */
};

/* A layout's first byte. */
enum {
    LAYOUT_FLOAT = 1,
    LAYOUT_HINT_SHIFT = 1,
    LAYOUT_HINTS = 3,
    LAYOUT_STALE = 8,
    LAYOUT_SAME_SPANS = 16, /* as the last layout that has any */
    LAYOUT_BITS = 31,
};

enum { POSITIVE, NEGATIVE, SIGNS };
enum { COLUMN_SUM, COLUMN_ZERO, COLUMN_REST, COLUMN_BUCKETS };

union cell {
    int64_t integer;
    double real;
};

/* Histograms whose buckets mean the same: form, schema, zero threshold and bounds agree. */
struct family {
    const struct histogram *common;
    size_t row_count;          /* samples */
    int64_t *indices[SIGNS];   /* of the buckets that any of them has, rising */
    size_t index_count[SIGNS]; /* and how many */
    size_t next_row;           /* while rows are gathered or handed out */
    union cell *cells;         /* column after column */
};

/* Which of its family's buckets a histogram has, and its reset hint. */
struct layout {
    struct histogram histogram; /* without its numbers */
    bool is_stale;              /* nothing else then but form and hint */
    uint32_t family;
    uint32_t *columns[SIGNS]; /* which column each bucket is */
};

struct plan {
    struct ap_arena arena;
    struct layout *layouts; /* as many as there are samples at most, as families */
    size_t layout_count;
    struct family *families;
    size_t family_count;
    uint32_t *layout_of; /* each sample's */
    int64_t *own;        /* indices of one layout's buckets, while columns are planned */
    size_t sample_count;
    size_t span_count; /* of all layouts; likewise the next two */
    size_t layout_cell_count;
    size_t bound_count;
};

static void plan_clear(struct plan *plan)
{
    ap_arena_clear(&plan->arena);
}

static bool plan_init(struct plan *plan, size_t sample_count)
{
    *plan = (struct plan){.sample_count = sample_count};
    ap_arena_init(&plan->arena, 0); /* the limits above bound it */
    plan->layouts = ap_arena_try_alloc(&plan->arena, sample_count * sizeof(*plan->layouts));
    plan->families = ap_arena_try_alloc(&plan->arena, sample_count * sizeof(*plan->families));
    plan->layout_of = ap_arena_try_alloc(&plan->arena, sample_count * sizeof(*plan->layout_of));
    plan->own = ap_arena_try_alloc(&plan->arena, HISTOGRAM_BUCKETS_MAX * sizeof(*plan->own));
    return plan->layouts && plan->families && plan->layout_of && plan->own;
}

static const struct histogram_buckets *buckets_of(const struct histogram *histogram, unsigned sign)
{
    return sign == POSITIVE ? &histogram->positive : &histogram->negative;
}

static size_t column_count(const struct family *family)
{
    return COLUMN_BUCKETS + family->index_count[POSITIVE] + family->index_count[NEGATIVE];
}

static bool is_real(const struct family *family, size_t column)
{
    return column == COLUMN_SUM || (column != COLUMN_REST && family->common->is_float);
}

static union cell *cell_of(const struct family *family, size_t column, size_t row)
{
    return &family->cells[column * family->row_count + row];
}

/* What the count is expected to be: the sum of all buckets. What it differs by is stored. */
static uint64_t expected_count(const struct histogram *histogram)
{
    if (!histogram->is_float) {
        uint64_t sum = histogram->zero_count;
        for (unsigned sign = 0; sign < SIGNS; sign++)
            for (size_t i = 0; i < buckets_of(histogram, sign)->count; i++)
                sum += buckets_of(histogram, sign)->counts[i];
        return sum;
    }
    double sum = histogram->zero_value;
    for (unsigned sign = 0; sign < SIGNS; sign++)
        for (size_t i = 0; i < buckets_of(histogram, sign)->count; i++)
            sum += buckets_of(histogram, sign)->values[i];
    return isnan(sum) ? 0 : ap_double_to_bits(sum); /* which NaN comes out is the compiler's choice */
}

static uint64_t count_bits(const struct histogram *histogram)
{
    return histogram->is_float ? ap_double_to_bits(histogram->count_value) : histogram->count;
}

/* ---- Which buckets a family has, and which column is whose: the same for both directions ---- */

/* Writes the indices of all buckets of one sign; they rise, since only the first offset may be negative. */
static void list_indices(const struct histogram_buckets *buckets, int64_t *ret_indices)
{
    int64_t index = 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        index += buckets->spans[i].offset;
        for (uint32_t j = 0; j < buckets->spans[i].length; j++)
            *ret_indices++ = index++;
    }
}

/* Both rise; so does the result, which has each index once. */
static size_t merge_indices(const int64_t *a, size_t a_count, const int64_t *b, size_t b_count, int64_t *ret_indices)
{
    size_t i = 0;
    size_t j = 0;
    size_t count = 0;
    while (i < a_count || j < b_count) {
        bool is_a = j == b_count || (i < a_count && a[i] <= b[j]);
        int64_t index = is_a ? a[i] : b[j];
        i += i < a_count && a[i] == index;
        j += j < b_count && b[j] == index;
        ret_indices[count++] = index;
    }
    return count;
}

static bool plan_sign(struct plan *plan, uint32_t number, unsigned sign)
{
    struct family *family = &plan->families[number];
    size_t all_count = 0;
    for (size_t i = 0; i < plan->layout_count; i++)
        if (!plan->layouts[i].is_stale && plan->layouts[i].family == number)
            all_count += buckets_of(&plan->layouts[i].histogram, sign)->count;
    int64_t *indices = ap_arena_try_alloc(&plan->arena, all_count * sizeof(*indices) + 1);
    int64_t *scratch = ap_arena_try_alloc(&plan->arena, all_count * sizeof(*scratch) + 1);
    if (!indices || !scratch)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < plan->layout_count; i++) {
        const struct histogram_buckets *buckets = buckets_of(&plan->layouts[i].histogram, sign);
        if (plan->layouts[i].is_stale || plan->layouts[i].family != number || !buckets->count)
            continue;
        list_indices(buckets, plan->own);
        count = merge_indices(indices, count, plan->own, buckets->count, scratch);
        int64_t *merged = scratch;
        scratch = indices;
        indices = merged;
        if (count > INDICES_MAX)
            return false;
    }
    family->indices[sign] = indices;
    family->index_count[sign] = count;
    size_t first_column = COLUMN_BUCKETS + (sign == NEGATIVE ? family->index_count[POSITIVE] : 0);
    for (size_t i = 0; i < plan->layout_count; i++) {
        struct layout *layout = &plan->layouts[i];
        const struct histogram_buckets *buckets = buckets_of(&layout->histogram, sign);
        if (layout->is_stale || layout->family != number)
            continue;
        layout->columns[sign] = ap_arena_try_alloc(&plan->arena, buckets->count * sizeof(uint32_t) + 1);
        if (!layout->columns[sign])
            return false;
        list_indices(buckets, plan->own);
        for (size_t j = 0, at = 0; j < buckets->count; j++, at++) {
            while (indices[at] != plan->own[j])
                at++;
            layout->columns[sign][j] = (uint32_t)(first_column + at);
        }
    }
    return true;
}

/* After layouts and samples are known. False: over a limit, or no memory. */
static bool plan_columns(struct plan *plan)
{
    size_t cell_count = 0;
    for (size_t i = 0; i < plan->sample_count; i++) {
        const struct layout *layout = &plan->layouts[plan->layout_of[i]];
        if (!layout->is_stale)
            plan->families[layout->family].row_count++;
    }
    for (uint32_t number = 0; number < plan->family_count; number++) {
        struct family *family = &plan->families[number];
        if (!plan_sign(plan, number, POSITIVE) || !plan_sign(plan, number, NEGATIVE))
            return false;
        cell_count += column_count(family) * family->row_count;
        if (cell_count > CELLS_MAX)
            return false;
        size_t bytes = (column_count(family) * family->row_count + PADDING) * sizeof(union cell);
        family->cells = ap_arena_try_alloc(&plan->arena, bytes);
        if (!family->cells)
            return false;
        memset(family->cells, 0, bytes);
    }
    return true;
}

/* Counts what a layout takes; false over a limit. */
static bool plan_admits(struct plan *plan, const struct histogram *histogram, bool has_own_spans, bool is_new_family)
{
    if (has_own_spans)
        plan->span_count += histogram->positive.span_count + histogram->negative.span_count;
    plan->layout_cell_count += histogram->positive.count + histogram->negative.count;
    if (is_new_family)
        plan->bound_count += histogram->custom_value_count;
    return plan->span_count <= SPANS_MAX && plan->layout_cell_count <= LAYOUT_CELLS_MAX &&
           plan->bound_count <= BOUNDS_MAX;
}

/* ---- Encoding ---- */

static bool is_same_array(const void *a, size_t a_count, const void *b, size_t b_count, size_t element_bytes)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * element_bytes) == 0);
}

static bool has_same_spans(const struct histogram *a, const struct histogram *b)
{
    for (unsigned sign = 0; sign < SIGNS; sign++) {
        const struct histogram_buckets *a_buckets = buckets_of(a, sign);
        const struct histogram_buckets *b_buckets = buckets_of(b, sign);
        if (!is_same_array(a_buckets->spans, a_buckets->span_count, b_buckets->spans, b_buckets->span_count,
                           sizeof(struct histogram_span)))
            return false;
    }
    return true;
}

static bool is_same_family(const struct histogram *a, const struct histogram *b)
{
    return a->is_float == b->is_float && a->schema == b->schema &&
           ap_double_to_bits(a->zero_threshold) == ap_double_to_bits(b->zero_threshold) &&
           is_same_array(a->custom_values, a->custom_value_count, b->custom_values, b->custom_value_count,
                         sizeof(double));
}

static bool is_same_layout(const struct layout *layout, const struct histogram *histogram, bool is_stale)
{
    const struct histogram *other = &layout->histogram;
    if (layout->is_stale != is_stale || other->reset_hint != histogram->reset_hint ||
        other->is_float != histogram->is_float)
        return false;
    return is_stale || (has_same_spans(other, histogram) && is_same_family(other, histogram));
}

static size_t look_back_to(size_t count)
{
    return count > LOOK_BACK ? count - LOOK_BACK : 0;
}

static uint32_t family_of(struct plan *plan, const struct histogram *histogram)
{
    for (size_t i = plan->family_count; i-- > look_back_to(plan->family_count);)
        if (is_same_family(plan->families[i].common, histogram))
            return (uint32_t)i;
    plan->families[plan->family_count] = (struct family){.common = histogram};
    return (uint32_t)plan->family_count++;
}

static void write_spans(const struct histogram_buckets *buckets, struct ap_buf *out)
{
    ap_buf_add_varint(out, buckets->span_count);
    for (size_t i = 0; i < buckets->span_count; i++) {
        ap_buf_add_varint(out, ap_zigzag(buckets->spans[i].offset));
        ap_buf_add_varint(out, buckets->spans[i].length);
    }
}

static void write_family(const struct histogram *common, struct ap_buf *out)
{
    ap_buf_add_varint(out, ap_zigzag(common->schema));
    ap_buf_add_u64(out, ap_double_to_bits(common->zero_threshold));
    ap_buf_add_varint(out, common->custom_value_count);
    for (size_t i = 0; i < common->custom_value_count; i += CHUNK_SAMPLES_MAX)
        chunk_encode_values(common->custom_values + i,
                            AP_MIN(common->custom_value_count - i, (size_t)CHUNK_SAMPLES_MAX), out);
}

/* The layout of a histogram, written when it is a new one. `with_spans` is the last one that has spans. */
static bool add_layout(struct plan *plan, const struct histogram *histogram, const struct histogram **with_spans,
                       uint32_t *ret_layout, struct ap_buf *out)
{
    bool is_stale = histogram_is_stale(histogram);
    for (size_t i = plan->layout_count; i-- > look_back_to(plan->layout_count);) {
        if (is_same_layout(&plan->layouts[i], histogram, is_stale)) {
            *ret_layout = (uint32_t)i;
            return true;
        }
    }
    *ret_layout = (uint32_t)plan->layout_count;
    struct layout *layout = &plan->layouts[plan->layout_count++];
    *layout = (struct layout){.histogram = *histogram, .is_stale = is_stale};
    bool is_same = !is_stale && *with_spans && has_same_spans(*with_spans, histogram);
    ap_buf_add_char(out,
                    (char)((histogram->is_float ? LAYOUT_FLOAT : 0) | (int)histogram->reset_hint << LAYOUT_HINT_SHIFT |
                           (is_stale ? LAYOUT_STALE : 0) | (is_same ? LAYOUT_SAME_SPANS : 0)));
    if (is_stale)
        return true;
    size_t family_count = plan->family_count;
    layout->family = family_of(plan, histogram);
    ap_buf_add_varint(out, layout->family);
    if (plan->family_count > family_count)
        write_family(histogram, out);
    if (!is_same) {
        write_spans(&histogram->positive, out);
        write_spans(&histogram->negative, out);
    }
    *with_spans = histogram;
    return plan_admits(plan, histogram, !is_same, plan->family_count > family_count);
}

static void fill_row(const struct plan *plan, const struct layout *layout, const struct histogram *histogram)
{
    struct family *family = &plan->families[layout->family];
    size_t row = family->next_row++;
    cell_of(family, COLUMN_SUM, row)->real = histogram->sum;
    if (histogram->is_float)
        cell_of(family, COLUMN_ZERO, row)->real = histogram->zero_value;
    else
        cell_of(family, COLUMN_ZERO, row)->integer = (int64_t)histogram->zero_count;
    cell_of(family, COLUMN_REST, row)->integer = (int64_t)(count_bits(histogram) - expected_count(histogram));
    for (unsigned sign = 0; sign < SIGNS; sign++) {
        const struct histogram_buckets *buckets = buckets_of(histogram, sign);
        for (size_t i = 0; i < buckets->count; i++) {
            if (histogram->is_float)
                cell_of(family, layout->columns[sign][i], row)->real = buckets->values[i];
            else
                cell_of(family, layout->columns[sign][i], row)->integer = (int64_t)buckets->counts[i];
        }
    }
}

static void write_columns(const struct family *family, struct ap_buf *out)
{
    for (size_t column = 0; column < column_count(family); column++) {
        const union cell *cells = cell_of(family, column, 0);
        if (is_real(family, column))
            chunk_encode_values(&cells->real, family->row_count, out);
        else
            int_column_encode(&cells->integer, family->row_count, out);
    }
}

/* Only what comes back to the bit is for columns. */
static bool read_blobs(const struct ap_slice *blobs, size_t count, struct ap_arena *arena, struct histogram *histograms)
{
    AP_AUTO_BUF struct ap_buf again = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct ap_err ignored;
        bytes += blobs[i].bytes;
        ap_buf_reset(&again);
        if (bytes > HISTOGRAM_CHUNK_BLOBS_BYTES_MAX ||
            histogram_decode(blobs[i], arena, &histograms[i], &ignored) != AP_OK)
            return false;
        histogram_encode(&histograms[i], &again);
        if (!ap_slice_equal(ap_buf_slice(&again), blobs[i]))
            return false;
    }
    return true;
}

static bool encode(struct plan *plan, const struct ap_slice *blobs, struct ap_buf *out)
{
    struct histogram *histograms = ap_arena_try_alloc(&plan->arena, plan->sample_count * sizeof(*histograms));
    AP_AUTO_BUF struct ap_buf layouts = {0};
    const struct histogram *with_spans = NULL;
    if (!histograms || !read_blobs(blobs, plan->sample_count, &plan->arena, histograms))
        return false;
    for (size_t i = 0; i < plan->sample_count; i++)
        if (!add_layout(plan, &histograms[i], &with_spans, &plan->layout_of[i], &layouts))
            return false;
    if (!plan_columns(plan))
        return false;
    ap_buf_add_varint(out, plan->layout_count);
    ap_buf_add_slice(out, ap_buf_slice(&layouts));
    for (size_t i = 0, end; i < plan->sample_count; i = end) {
        for (end = i + 1; end < plan->sample_count && plan->layout_of[end] == plan->layout_of[i];)
            end++;
        ap_buf_add_varint(out, plan->layout_of[i]);
        ap_buf_add_varint(out, end - i);
    }
    for (size_t i = 0; i < plan->sample_count; i++) {
        const struct layout *layout = &plan->layouts[plan->layout_of[i]];
        if (!layout->is_stale)
            fill_row(plan, layout, &histograms[i]);
    }
    for (size_t i = 0; i < plan->family_count; i++)
        write_columns(&plan->families[i], out);
    return true;
}

bool histogram_columns_encode(const struct ap_slice *blobs, size_t count, struct ap_buf *out)
{
    struct plan plan;
    bool is_written = plan_init(&plan, count) && encode(&plan, blobs, out);
    plan_clear(&plan);
    return is_written;
}

/* ---- Decoding ---- */

static bool read_spans(struct plan *plan, struct ap_slice *rest, struct histogram_buckets *ret_buckets)
{
    uint64_t span_count;
    if (!bitpack_take_varint(rest, &span_count) || span_count > HISTOGRAM_SPANS_MAX || span_count > rest->bytes / 2)
        return false;
    struct histogram_span *spans = ap_arena_try_alloc(&plan->arena, (size_t)span_count * sizeof(*spans) + 1);
    uint64_t bucket_count = 0;
    for (uint64_t i = 0; spans && i < span_count; i++) {
        uint64_t zigzag;
        uint64_t length;
        if (!bitpack_take_varint(rest, &zigzag) || !bitpack_take_varint(rest, &length))
            return false;
        int64_t offset = ap_unzigzag(zigzag);
        if (offset < (i ? 0 : INT32_MIN) || offset > INT32_MAX || length > HISTOGRAM_BUCKETS_MAX)
            return false;
        spans[i] = (struct histogram_span){(int32_t)offset, (uint32_t)length};
        bucket_count += length;
    }
    *ret_buckets =
        (struct histogram_buckets){.spans = spans, .span_count = (size_t)span_count, .count = (size_t)bucket_count};
    return spans && bucket_count <= HISTOGRAM_BUCKETS_MAX;
}

static bool read_family(struct plan *plan, struct ap_slice *rest, struct histogram *histogram)
{
    uint64_t schema;
    uint64_t bound_count;
    if (!bitpack_take_varint(rest, &schema) ||
        !bitpack_take(rest, &histogram->zero_threshold, sizeof(histogram->zero_threshold)) ||
        !bitpack_take_varint(rest, &bound_count) || bound_count > HISTOGRAM_BUCKETS_MAX ||
        plan->bound_count + bound_count > BOUNDS_MAX)
        return false;
    double *bounds = ap_arena_try_alloc(&plan->arena, ((size_t)bound_count + PADDING) * sizeof(*bounds));
    for (size_t i = 0; bounds && i < bound_count; i += CHUNK_SAMPLES_MAX)
        if (!chunk_decode_values(rest, AP_MIN((size_t)bound_count - i, (size_t)CHUNK_SAMPLES_MAX), bounds + i))
            return false;
    histogram->schema = (int32_t)ap_unzigzag(schema);
    histogram->custom_values = bounds;
    histogram->custom_value_count = (size_t)bound_count;
    return bounds != NULL;
}

static bool read_layout(struct plan *plan, struct ap_slice *rest, const struct histogram **with_spans)
{
    struct layout *layout = &plan->layouts[plan->layout_count];
    struct histogram *histogram = &layout->histogram;
    uint8_t flags;
    uint64_t number;
    if (!bitpack_take(rest, &flags, 1) || flags > LAYOUT_BITS)
        return false;
    *layout = (struct layout){.is_stale = flags & LAYOUT_STALE};
    plan->layout_count++;
    histogram->is_float = flags & LAYOUT_FLOAT;
    histogram->reset_hint = (enum histogram_reset_hint)(flags >> LAYOUT_HINT_SHIFT & LAYOUT_HINTS);
    if (layout->is_stale)
        return true;
    if (!bitpack_take_varint(rest, &number) || number > plan->family_count)
        return false;
    bool is_new_family = number == plan->family_count;
    layout->family = (uint32_t)number;
    if (is_new_family) {
        plan->families[plan->family_count++] = (struct family){.common = histogram};
        if (!read_family(plan, rest, histogram))
            return false;
    } else {
        const struct histogram *common = plan->families[number].common;
        if (common->is_float != histogram->is_float)
            return false;
        histogram->schema = common->schema;
        histogram->zero_threshold = common->zero_threshold;
        histogram->custom_values = common->custom_values;
        histogram->custom_value_count = common->custom_value_count;
    }
    bool has_own_spans = !(flags & LAYOUT_SAME_SPANS);
    if (!has_own_spans) {
        if (!*with_spans)
            return false;
        histogram->positive = (*with_spans)->positive;
        histogram->negative = (*with_spans)->negative;
    } else if (!read_spans(plan, rest, &histogram->positive) || !read_spans(plan, rest, &histogram->negative)) {
        return false;
    }
    *with_spans = histogram;
    return plan_admits(plan, histogram, has_own_spans, is_new_family);
}

static bool read_plan(struct plan *plan, struct ap_slice *rest)
{
    const struct histogram *with_spans = NULL;
    uint64_t layout_count;
    if (!bitpack_take_varint(rest, &layout_count) || layout_count > plan->sample_count)
        return false;
    for (uint64_t i = 0; i < layout_count; i++)
        if (!read_layout(plan, rest, &with_spans))
            return false;
    for (size_t done = 0; done < plan->sample_count;) {
        uint64_t layout;
        uint64_t run;
        if (!bitpack_take_varint(rest, &layout) || !bitpack_take_varint(rest, &run) || layout >= layout_count ||
            run == 0 || run > plan->sample_count - done)
            return false;
        for (; run > 0; run--)
            plan->layout_of[done++] = (uint32_t)layout;
    }
    if (!plan_columns(plan))
        return false;
    for (size_t i = 0; i < plan->family_count; i++)
        if (plan->families[i].row_count == 0)
            return false;
    return true;
}

static bool read_columns(const struct family *family, struct ap_slice *rest)
{
    for (size_t column = 0; column < column_count(family); column++) {
        union cell *cells = cell_of(family, column, 0);
        if (!(is_real(family, column) ? chunk_decode_values(rest, family->row_count, &cells->real)
                                      : int_column_decode(rest, family->row_count, &cells->integer)))
            return false;
    }
    return true;
}

/* The numbers of one sign go to `to`, which has room for them. */
static void gather_buckets(const struct family *family, const uint32_t *columns, size_t row, union cell *to,
                           struct histogram_buckets *buckets)
{
    for (size_t i = 0; i < buckets->count; i++)
        to[i] = *cell_of(family, columns[i], row);
    if (family->common->is_float)
        buckets->values = &to->real;
    else
        buckets->counts = (const uint64_t *)&to->integer;
}

static void gather_row(const struct plan *plan, const struct layout *layout, union cell *scratch, struct ap_buf *out)
{
    struct histogram histogram = layout->histogram;
    if (layout->is_stale) {
        histogram_set_stale(&histogram);
        histogram_encode(&histogram, out);
        return;
    }
    struct family *family = &plan->families[layout->family];
    size_t row = family->next_row++;
    histogram.sum = cell_of(family, COLUMN_SUM, row)->real;
    if (histogram.is_float)
        histogram.zero_value = cell_of(family, COLUMN_ZERO, row)->real;
    else
        histogram.zero_count = (uint64_t)cell_of(family, COLUMN_ZERO, row)->integer;
    gather_buckets(family, layout->columns[POSITIVE], row, scratch, &histogram.positive);
    gather_buckets(family, layout->columns[NEGATIVE], row, scratch + histogram.positive.count, &histogram.negative);
    uint64_t count = expected_count(&histogram) + (uint64_t)cell_of(family, COLUMN_REST, row)->integer;
    if (histogram.is_float)
        histogram.count_value = ap_double_of_bits(count);
    else
        histogram.count = count;
    histogram_encode(&histogram, out);
}

static bool decode(struct plan *plan, struct ap_slice rest, struct ap_buf *out, struct ap_slice *ret_blobs)
{
    if (!read_plan(plan, &rest))
        return false;
    for (size_t i = 0; i < plan->family_count; i++)
        if (!read_columns(&plan->families[i], &rest))
            return false;
    union cell *scratch = ap_arena_try_alloc(&plan->arena, (size_t)SIGNS * HISTOGRAM_BUCKETS_MAX * sizeof(*scratch));
    if (rest.bytes || !scratch)
        return false;
    for (size_t i = 0; i < plan->sample_count; i++) {
        size_t start = out->bytes;
        gather_row(plan, &plan->layouts[plan->layout_of[i]], scratch, out);
        if (!ap_buf_ok(out))
            return false;
        ret_blobs[i] = ap_slice(NULL, out->bytes - start);
    }
    return true;
}

bool histogram_columns_decode(struct ap_slice bytes, size_t count, struct ap_arena *arena, struct ap_slice *ret_blobs)
{
    struct plan plan;
    AP_AUTO_BUF struct ap_buf out;
    ap_buf_init(&out, HISTOGRAM_CHUNK_BLOBS_BYTES_MAX + RESERVE);
    bool is_read = plan_init(&plan, count) && decode(&plan, bytes, &out, ret_blobs);
    plan_clear(&plan);
    char *to = is_read ? ap_arena_try_alloc(arena, out.bytes) : NULL;
    if (!to)
        return false;
    memcpy(to, out.data, out.bytes);
    for (size_t i = 0; i < count; i++) {
        ret_blobs[i].data = to;
        to += ret_blobs[i].bytes;
    }
    return true;
}
