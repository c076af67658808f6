#include "tsdb/int_column.h"

#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/vectors.h"

enum {
    BLOCK = 64, /* numbers that have a width of their own when the column is cut in blocks */
    BLOCKS_MAX = INT_COLUMN_COUNT_MAX / BLOCK,
    BASE_BITS = 8,       /* how finely a base is placed, in parts of the width: 2^-8 of the range */
    SAMPLE_MAX = 64,     /* numbers looked at to choose the order */
    MEDIAN_OF = 9,       /* numbers looked at to find the middle */
    OUTLIERS_SHARE = 4,  /* at most a quarter are outliers */
    FRAME_FIX_BITS = 16, /* what a frame costs whatever is in it, about */
    UNARY_MAX = 20,      /* longer upper parts are outliers */
    REAL_WIDTH = 40,     /* numbers so wide are doubles: those are dense towards one end */

    HEAD_ORDER = 3,
    HEAD_HAS_BLOCKS = 4,
    HEAD_HAS_OUTLIERS = 8,
    WIDTH_BITS = 6, /* of a frame's first byte; the shape is above */
    WIDTH_64 = 63,  /* there stands for 64 */
    UPPERS_ARE_VARINTS = 255,
};

/*
 * What is packed for number x. In a flat frame all numbers are distances below 2^width. In the others the distance may
 * be of any size: its lower bits are packed, and what is above them follows in unary, which takes little when small
 * distances are frequent and large ones are rare (Rice's code).
 */
enum shape {
    SHAPE_FLAT, /* x - base */
    SHAPE_BELL, /* zigzag(x - base): on both sides of the base */
    SHAPE_FALL, /* base - x: dense below the base */
    SHAPE_RISE, /* x - base: dense above it */
};

struct frame {
    uint64_t base;
    unsigned width;
    enum shape shape;
    size_t cost_bits; /* of everything, about */
};

struct layout {
    unsigned order;
    struct frame frames[BLOCKS_MAX];
    size_t frame_count; /* 1: one for all */
    size_t cost_bits;
};

static inline int64_t difference(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

/* Without its sign: as many bits as it takes beside one for the sign. */
static inline unsigned magnitude_bits(int64_t number)
{
    return 63 - (unsigned)__builtin_clzll(((uint64_t)number ^ ap_sign_mask(number)) << 1 | 1);
}

static inline unsigned base_shift(unsigned width)
{
    return width > BASE_BITS && width <= BITPACK_WIDTH_NARROW_MAX ? width - BASE_BITS : 0;
}

/* ---- Choosing ---- */

struct span {
    int64_t lowest;
    int64_t highest;
};

WITH_VECTORS static struct span span_of_block(const int64_t *numbers)
{
    struct span span = {numbers[0], numbers[0]};
    for (size_t i = 0; i < BLOCK; i++) {
        span.lowest = numbers[i] < span.lowest ? numbers[i] : span.lowest;
        span.highest = numbers[i] > span.highest ? numbers[i] : span.highest;
    }
    return span;
}

static struct span span_of(const int64_t *numbers, size_t count)
{
    if (count == BLOCK)
        return span_of_block(numbers);
    struct span span = {numbers[0], numbers[0]};
    for (size_t i = 1; i < count; i++) {
        span.lowest = AP_MIN(span.lowest, numbers[i]);
        span.highest = AP_MAX(span.highest, numbers[i]);
    }
    return span;
}

static inline void order_pair(int64_t *a, int64_t *b)
{
    int64_t low = AP_MIN(*a, *b);
    *b = AP_MAX(*a, *b);
    *a = low;
}

/* The middle one of MEDIAN_OF, by exchanges that do not branch. count >= MEDIAN_OF. */
static int64_t median(const int64_t *numbers, size_t count)
{
    /* A network that brings the fifth of nine to its place (Paeth: Median Finding on a 3x3 Grid, 1990). */
    static const uint8_t pairs[][2] = {{1, 2}, {4, 5}, {7, 8}, {0, 1}, {3, 4}, {6, 7}, {1, 2}, {4, 5}, {7, 8}, {0, 3},
                                       {5, 8}, {4, 7}, {3, 6}, {1, 4}, {2, 5}, {4, 7}, {4, 2}, {6, 4}, {4, 2}};
    int64_t nine[MEDIAN_OF];
    size_t step = count / MEDIAN_OF;
    for (size_t i = 0; i < MEDIAN_OF; i++)
        nine[i] = numbers[step / 2 + i * step];
    for (size_t i = 0; i < AP_ARRAY_COUNT(pairs); i++)
        order_pair(&nine[pairs[i][0]], &nine[pairs[i][1]]);
    return nine[4];
}

/* Puts the base at `wanted`, or at the next step below it (above it in a falling frame). */
static void place_base(struct frame *frame, uint64_t wanted, uint64_t before)
{
    unsigned shift = base_shift(frame->width);
    uint64_t up = frame->shape == SHAPE_FALL ? (UINT64_C(1) << shift) - 1 : 0;
    frame->base = frame->width == 64 ? 0 : before + ((uint64_t)((int64_t)(wanted + up - before) >> shift) << shift);
}

/* How a frame's base is written: its distance to the one before, in steps that fit the width. */
static int64_t base_step(const struct frame *frame, uint64_t before)
{
    return frame->width == 64 ? 0 : (int64_t)(frame->base - before) >> base_shift(frame->width);
}

static size_t fix_bits(const struct frame *frame, uint64_t before)
{
    return FRAME_FIX_BITS + magnitude_bits(base_step(frame, before));
}

/* The narrowest flat frame that has room for all of the span. */
static struct frame flat_frame(struct span span, size_t count, uint64_t before)
{
    struct frame frame = {.shape = SHAPE_FLAT};
    unsigned bits = bitpack_bits((uint64_t)span.highest - (uint64_t)span.lowest);
    for (;; bits = frame.width + 1) { /* once more when it does not fit behind the rounded base */
        frame.width = bitpack_width(bits);
        place_base(&frame, (uint64_t)span.lowest, before);
        if (frame.width == 64 || bitpack_bits((uint64_t)span.highest - frame.base) <= frame.width)
            break;
    }
    frame.cost_bits = frame.width * count + fix_bits(&frame, before);
    return frame;
}

/*
 * How many numbers are how far from the middle, in powers of two. Each class is a candidate for what is packed, and the
 * classes above it are the outliers then.
 */
struct classes {
    uint32_t counts[65];
    unsigned top; /* the last one that is not empty */
};

static void classify(const int64_t *numbers, size_t count, int64_t middle, struct classes *classes)
{
    uint32_t second[65] = {0}; /* counting in turns: an addition does not wait for the one before */
    memset(classes->counts, 0, sizeof(classes->counts));
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
        classes->counts[magnitude_bits(difference(numbers[i], middle))]++;
        second[magnitude_bits(difference(numbers[i + 1], middle))]++;
    }
    if (i < count)
        second[magnitude_bits(difference(numbers[i], middle))]++;
    classes->top = 0;
    for (unsigned class = 0; class < 65; class ++) {
        classes->counts[class] += second[class];
        if (classes->counts[class])
            classes->top = class;
    }
}

/* About what the classes above `class` take as outliers of a frame of this width. */
static size_t outliers_cost(const struct classes *classes, unsigned class, unsigned width, size_t count,
                            size_t outliers)
{
    size_t packed = outliers * (classes->top + 1 - AP_MIN(width, classes->top));
    size_t varints = 0;
    for (unsigned above = class + 1; above <= classes->top; above++)
        varints += classes->counts[above] * ((above + 7 - AP_MIN(width, above)) / 7 * 8);
    return outliers * bitpack_bits(count - 1) + AP_MIN(packed, varints) + 16;
}

/* The numbers less than 2^class from the middle. */
struct inliers {
    struct span distances;
    size_t count;
    uint64_t sum;     /* of distances, modulo 2^64 */
    uint64_t far_sum; /* of their magnitudes */
};

static void gather(const int64_t *numbers, size_t count, int64_t middle, unsigned class, struct inliers *ret_inliers)
{
    struct inliers inliers = {.distances = {INT64_MAX, INT64_MIN}};
    int64_t limit = class > 62 ? INT64_MAX : (INT64_C(1) << class) - 1;
    for (size_t i = 0; i < count; i++) {
        int64_t distance = difference(numbers[i], middle);
        int64_t magnitude = (int64_t)((uint64_t)distance ^ ap_sign_mask(distance));
        int64_t is_in = -(int64_t)(magnitude <= limit); /* all ones or none */
        int64_t low = is_in ? distance : INT64_MAX;
        int64_t high = is_in ? distance : INT64_MIN;
        inliers.distances.lowest = AP_MIN(inliers.distances.lowest, low);
        inliers.distances.highest = AP_MAX(inliers.distances.highest, high);
        inliers.count -= (size_t)is_in;
        inliers.sum += (uint64_t)(distance & is_in);
        inliers.far_sum += (uint64_t)(magnitude & is_in);
    }
    *ret_inliers = inliers;
}

static inline uint64_t distance_to(uint64_t number, uint64_t base, enum shape shape)
{
    uint64_t distance = number - base;
    return shape == SHAPE_BELL ? ap_zigzag((int64_t)distance) : shape == SHAPE_FALL ? -distance : distance;
}

/* What the numbers take in this frame with upper parts in unary; `outlier_bits` for each that is too far. */
static size_t rice_cost(const int64_t *numbers, size_t count, const struct frame *frame, size_t outlier_bits)
{
    size_t unary = 0;
    size_t outliers = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t upper = distance_to((uint64_t)numbers[i], frame->base, frame->shape) >> frame->width;
        outliers += upper > UNARY_MAX;
        unary += upper > UNARY_MAX ? 0 : upper;
    }
    return count * (frame->width + 1) + unary + outliers * outlier_bits + (outliers ? 16 : 0);
}

static void try_rice(const int64_t *numbers, size_t count, enum shape shape, unsigned width, uint64_t base,
                     uint64_t before, size_t outlier_bits, struct frame *best)
{
    struct frame frame = {.shape = shape, .width = width};
    place_base(&frame, base, before);
    frame.cost_bits = fix_bits(&frame, before) + rice_cost(numbers, count, &frame, outlier_bits);
    if (frame.cost_bits < best->cost_bits)
        *best = frame;
}

static void try_bell(const int64_t *numbers, size_t count, int64_t middle, const struct inliers *inliers,
                     size_t outlier_bits, uint64_t before, struct frame *best)
{
    int64_t mean = (int64_t)inliers->sum / (int64_t)inliers->count;
    /* A zigzag is twice the magnitude; the best width is the logarithm of 0.69 of the mean zigzag, about. */
    unsigned width = magnitude_bits((int64_t)(inliers->far_sum / inliers->count * 11 / 8));
    uint64_t base = (uint64_t)middle + (uint64_t)mean;
    if (width > 0)
        try_rice(numbers, count, SHAPE_BELL, width - 1, base, before, outlier_bits, best);
    try_rice(numbers, count, SHAPE_BELL, width, base, before, outlier_bits, best);
}

/* Doubles of one size after the other: each power of two below the highest has half as many. */
static void try_one_sided(const int64_t *numbers, size_t count, int64_t middle, struct span span, uint64_t before,
                          struct frame *best)
{
    bool is_falling = (uint64_t)span.highest - (uint64_t)middle < (uint64_t)middle - (uint64_t)span.lowest;
    enum shape shape = is_falling ? SHAPE_FALL : SHAPE_RISE;
    uint64_t base = (uint64_t)(is_falling ? span.highest : span.lowest);
    unsigned widest = AP_MIN(best->width, (unsigned)BITPACK_WIDTH_NARROW_MAX);
    for (unsigned width = widest - 4; width < widest; width++)
        try_rice(numbers, count, shape, width, base, before, 24, best);
}

/* The frame that makes the whole smallest. Outliers cost, but less than a bit more for everybody. */
static struct frame choose_frame(const int64_t *numbers, size_t count, struct span span, uint64_t before)
{
    struct frame best = flat_frame(span, count, before);
    if (best.width <= 1 || count < 2 * MEDIAN_OF)
        return best;
    struct classes classes;
    int64_t middle = median(numbers, count);
    classify(numbers, count, middle, &classes);
    size_t outliers = classes.counts[classes.top];
    unsigned best_class = classes.top;
    size_t least = best.cost_bits;
    for (unsigned class = classes.top; class -- > 0 && outliers <= count / OUTLIERS_SHARE;) {
        unsigned width = AP_MIN(class + 1, best.width);
        size_t cost = width * count + FRAME_FIX_BITS + class + outliers_cost(&classes, class, width, count, outliers);
        if (cost < least) {
            least = cost;
            best_class = class;
        }
        outliers += classes.counts[class];
    }
    struct inliers inliers;
    gather(numbers, count, middle, best_class, &inliers);
    outliers = count - inliers.count;
    size_t outliers_bits = 0;
    if (outliers) {
        struct span tight = {(int64_t)((uint64_t)middle + (uint64_t)inliers.distances.lowest),
                             (int64_t)((uint64_t)middle + (uint64_t)inliers.distances.highest)};
        struct frame frame = flat_frame(tight, count, before);
        outliers_bits = outliers_cost(&classes, best_class, frame.width, count, outliers);
        frame.cost_bits += outliers_bits;
        if (frame.cost_bits < best.cost_bits)
            best = frame;
    }
    if (best.width < 56)
        try_bell(numbers, count, middle, &inliers, outliers ? outliers_bits / outliers : 16, before, &best);
    if (best.width >= REAL_WIDTH)
        try_one_sided(numbers, count, middle, span, before, &best);
    return best;
}

/* One frame for all, or one for each block when that is smaller. */
static void choose_frames(const int64_t *numbers, size_t count, struct layout *layout)
{
    struct span spans[BLOCKS_MAX];
    struct span whole = {numbers[0], numbers[0]};
    size_t frame_count = (count + BLOCK - 1) / BLOCK;
    size_t least = 0; /* what the blocks take at least, guessed where there are outliers */
    for (size_t i = 0; i < frame_count; i++) {
        spans[i] = span_of(numbers + i * BLOCK, AP_MIN((size_t)BLOCK, count - i * BLOCK));
        whole.lowest = AP_MIN(whole.lowest, spans[i].lowest);
        whole.highest = AP_MAX(whole.highest, spans[i].highest);
    }
    layout->frames[0] = choose_frame(numbers, count, whole, 0);
    layout->frame_count = 1;
    layout->cost_bits = layout->frames[0].cost_bits;
    if (frame_count < 2 || layout->frames[0].width <= 1)
        return;
    size_t share = layout->cost_bits / frame_count;
    for (size_t i = 0; i < frame_count; i++) {
        size_t flat = bitpack_bits((uint64_t)spans[i].highest - (uint64_t)spans[i].lowest) * BLOCK + FRAME_FIX_BITS;
        least += AP_MIN(flat, share);
    }
    if (least + layout->cost_bits / 16 >= layout->cost_bits)
        return; /* too little to gain */
    struct frame frames[BLOCKS_MAX];
    size_t cost_bits = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < frame_count && cost_bits < layout->cost_bits; i++) {
        frames[i] = choose_frame(numbers + i * BLOCK, AP_MIN((size_t)BLOCK, count - i * BLOCK), spans[i], before);
        before = frames[i].base;
        cost_bits += frames[i].cost_bits;
    }
    if (cost_bits >= layout->cost_bits)
        return;
    memcpy(layout->frames, frames, frame_count * sizeof(frames[0]));
    layout->frame_count = frame_count;
    layout->cost_bits = cost_bits;
}

/* ret_rests[0, count - order): what is left of the numbers at this order. */
static void subtract(const int64_t *numbers, size_t count, unsigned order, int64_t *ret_rests)
{
    if (order == 1) {
        for (size_t i = 1; i < count; i++)
            ret_rests[i - 1] = difference(numbers[i], numbers[i - 1]);
    } else {
        for (size_t i = 2; i < count; i++)
            ret_rests[i - 2] =
                difference(difference(numbers[i], numbers[i - 1]), difference(numbers[i - 1], numbers[i - 2]));
    }
}

/* How many bits a number takes at each order, in sum over a sample of at most SAMPLE_MAX; returns how many those are.
 */
static size_t estimate(const int64_t *numbers, size_t count, size_t ret_bits[3])
{
    int64_t rests[3][SAMPLE_MAX];
    size_t step = (count - 2 + SAMPLE_MAX - 1) / SAMPLE_MAX;
    size_t taken = 0;
    for (size_t i = 2; i < count; i += step, taken++) {
        int64_t delta = difference(numbers[i], numbers[i - 1]);
        rests[0][taken] = numbers[i];
        rests[1][taken] = delta;
        rests[2][taken] = difference(delta, difference(numbers[i - 1], numbers[i - 2]));
    }
    for (unsigned order = 0; order < 3; order++) {
        int64_t middle = taken >= MEDIAN_OF ? median(rests[order], taken) : rests[order][0];
        ret_bits[order] = 0;
        for (size_t i = 0; i < taken; i++)
            ret_bits[order] += magnitude_bits(difference(rests[order][i], middle));
    }
    return taken;
}

/* The order's numbers are in rests[order]; rests[0] is the column itself. */
static void choose_layout(const int64_t *rests[3], int64_t scratch[2][INT_COLUMN_COUNT_MAX], size_t count,
                          struct layout *ret_layout)
{
    size_t bits[3] = {0, SIZE_MAX / 2, SIZE_MAX / 2};
    size_t slack = 0;
    if (count > 2)
        slack = estimate(rests[0], count, bits) / 4; /* an estimate may be wrong by a quarter of a bit a number */
    size_t least = AP_MIN(AP_MIN(bits[0], bits[1]), bits[2]);
    *ret_layout = (struct layout){.cost_bits = SIZE_MAX};
    for (unsigned order = 0; order < 3; order++) {
        if (bits[order] > least + slack)
            continue;
        if (order) {
            subtract(rests[0], count, order, scratch[order - 1]);
            rests[order] = scratch[order - 1];
        }
        struct layout layout;
        choose_frames(rests[order], count - order, &layout);
        if (layout.cost_bits >= ret_layout->cost_bits)
            continue;
        layout.order = order;
        *ret_layout = layout;
    }
}

/* ---- Encoding ---- */

struct outliers {
    size_t count;
    uint64_t positions[INT_COLUMN_COUNT_MAX];
    uint64_t uppers[INT_COLUMN_COUNT_MAX]; /* as zigzag - 1: 0 does not occur */
    unsigned uppers_width;
    size_t varint_bytes;
};

static void note_outlier(struct outliers *outliers, size_t position, int64_t upper)
{
    uint64_t written = ap_zigzag(upper) - 1;
    outliers->positions[outliers->count] = position;
    outliers->uppers[outliers->count++] = written;
    outliers->uppers_width = AP_MAX(outliers->uppers_width, bitpack_width(bitpack_bits(written)));
    outliers->varint_bytes += written ? (bitpack_bits(written) + 6) / 7 : 1;
}

/* For each number as many zeros as its upper part says, then a one. Those above UNARY_MAX get no zeros. */
static void encode_unary(const uint64_t *distances, size_t first, size_t count, unsigned width,
                         struct outliers *outliers, struct ap_buf *out)
{
    char *to = ap_buf_reserve(out, (count * (UNARY_MAX + 1) / 64 + 2) * sizeof(uint64_t));
    if (!to)
        return;
    uint64_t word = 0;
    unsigned at = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t upper = distances[i] >> width;
        if (upper > UNARY_MAX)
            note_outlier(outliers, first + i, (int64_t)distances[i] >> width);
        else
            at += (unsigned)upper;
        if (at >= 64) {
            memcpy(to, &word, sizeof(word));
            to += sizeof(word);
            word = 0;
            at -= 64;
        }
        word |= UINT64_C(1) << at++;
    }
    memcpy(to, &word, sizeof(word));
    out->bytes = (size_t)(to - out->data) + (at + 7) / 8;
}

/* Writes one frame's numbers, and notes those that do not fit. */
static void encode_frame(const int64_t *numbers, size_t first, size_t count, const struct frame *frame,
                         struct outliers *outliers, struct ap_buf *out)
{
    uint64_t distances[INT_COLUMN_COUNT_MAX];
    uint64_t any = 0;
    for (size_t i = 0; i < count; i++) {
        distances[i] = distance_to((uint64_t)numbers[first + i], frame->base, frame->shape);
        any |= distances[i];
    }
    bitpack_write(distances, count, frame->width, out);
    if (frame->shape != SHAPE_FLAT) {
        encode_unary(distances, first, count, frame->width, outliers, out);
    } else if (bitpack_bits(any) > frame->width) {
        for (size_t i = 0; i < count; i++)
            if (distances[i] >> frame->width)
                note_outlier(outliers, first + i, (int64_t)distances[i] >> frame->width);
    }
}

static void encode_outliers(const struct outliers *outliers, size_t count, struct ap_buf *out)
{
    bool are_varints = outliers->varint_bytes < bitpack_bytes(outliers->count, outliers->uppers_width);
    ap_buf_add_varint(out, outliers->count);
    ap_buf_add_char(out, (char)(are_varints ? UPPERS_ARE_VARINTS : outliers->uppers_width));
    bitpack_write(outliers->positions, outliers->count, bitpack_bits(count - 1), out);
    if (!are_varints)
        bitpack_write(outliers->uppers, outliers->count, outliers->uppers_width, out);
    for (size_t i = 0; are_varints && i < outliers->count; i++)
        ap_buf_add_varint(out, outliers->uppers[i]);
}

void int_column_encode(const int64_t *numbers, size_t count, struct ap_buf *out)
{
    AP_ASSERT(count >= 1 && count <= INT_COLUMN_COUNT_MAX);
    int64_t scratch[2][INT_COLUMN_COUNT_MAX];
    const int64_t *rests[3] = {numbers};
    struct layout layout;
    choose_layout(rests, scratch, count, &layout);

    size_t head_at = out->bytes;
    ap_buf_add_char(out, (char)(layout.order | (layout.frame_count > 1 ? HEAD_HAS_BLOCKS : 0)));
    if (layout.order >= 1)
        ap_buf_add_varint(out, ap_zigzag(numbers[0]));
    if (layout.order == 2)
        ap_buf_add_varint(out, ap_zigzag(difference(numbers[1], numbers[0])));
    uint64_t before = 0;
    for (size_t i = 0; i < layout.frame_count; i++) {
        const struct frame *frame = &layout.frames[i];
        ap_buf_add_char(out, (char)((frame->width == 64 ? WIDTH_64 : frame->width) | frame->shape << WIDTH_BITS));
        ap_buf_add_varint(out, ap_zigzag(base_step(&layout.frames[i], before)));
        before = layout.frames[i].base;
    }
    struct outliers outliers;
    outliers.count = outliers.varint_bytes = 0;
    outliers.uppers_width = 0;
    size_t rest_count = count - layout.order;
    size_t frame_size = layout.frame_count > 1 ? BLOCK : rest_count;
    for (size_t i = 0; i < layout.frame_count; i++)
        encode_frame(rests[layout.order], i * frame_size, AP_MIN(frame_size, rest_count - i * frame_size),
                     &layout.frames[i], &outliers, out);
    if (outliers.count == 0 || !ap_buf_ok(out))
        return;
    out->data[head_at] |= HEAD_HAS_OUTLIERS;
    encode_outliers(&outliers, rest_count, out);
}

/* ---- Decoding ---- */

static bool decode_frames(struct ap_slice *rest, size_t frame_count, struct frame *ret_frames)
{
    uint64_t before = 0;
    for (size_t i = 0; i < frame_count; i++) {
        uint8_t first;
        uint64_t step;
        if (!bitpack_take(rest, &first, 1) || !bitpack_take_varint(rest, &step))
            return false;
        unsigned width = first & ((1 << WIDTH_BITS) - 1);
        ret_frames[i].width = width == WIDTH_64 ? 64 : width;
        ret_frames[i].shape = (enum shape)(first >> WIDTH_BITS);
        if (width == WIDTH_64 && ret_frames[i].shape != SHAPE_FLAT)
            return false; /* nothing is above */
        ret_frames[i].base = width == WIDTH_64 ? 0 : before + ((uint64_t)ap_unzigzag(step) << base_shift(width));
        before = ret_frames[i].base;
    }
    return true;
}

enum { ONES_AT_A_TIME = 4 };

/*
 * Where the first `count` ones are, in bits; false: there are fewer. Some are looked for whether they are there or not,
 * which takes fewer branches; what was not there is overwritten by the next word's.
 */
WITH_BITS static bool find_ones(struct ap_slice bits, size_t count, uint32_t *ret_places)
{
    const uint64_t last = UINT64_C(1) << 63; /* so that there is one to be found */
    size_t found = 0;
    for (size_t at = 0; at < bits.bytes && found < count; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, bits.data + at, AP_MIN(sizeof(word), bits.bytes - at));
        size_t end = found + (size_t)__builtin_popcountll(word);
        for (size_t to = found; to < end; to += ONES_AT_A_TIME)
            for (size_t i = 0; i < ONES_AT_A_TIME; i++, word &= word - 1)
                ret_places[to + i] = (uint32_t)at * 8 + (uint32_t)__builtin_ctzll(word | last);
        found = end;
    }
    return found >= count;
}

/* Adds the upper parts: to each number as much as there are zeros before its one. Ends with the byte of the last. */
static bool decode_unary(struct ap_slice *rest, size_t count, unsigned width, uint64_t *numbers)
{
    uint32_t places[INT_COLUMN_COUNT_MAX + 64 + ONES_AT_A_TIME];
    if (!find_ones(*rest, count, places))
        return false;
    numbers[0] += (uint64_t)places[0] << width;
    for (size_t i = 1; i < count; i++)
        numbers[i] += (uint64_t)(places[i] - places[i - 1] - 1) << width;
    size_t bytes = places[count - 1] / 8 + 1;
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static bool decode_outliers(struct ap_slice *rest, size_t count, const struct frame *frames, size_t frame_size,
                            uint64_t *numbers)
{
    uint64_t outlier_count;
    uint8_t uppers_width;
    uint64_t positions[INT_COLUMN_COUNT_MAX + BITPACK_PADDING];
    uint64_t uppers[INT_COLUMN_COUNT_MAX + BITPACK_PADDING];
    if (!bitpack_take_varint(rest, &outlier_count) || outlier_count > count || !bitpack_take(rest, &uppers_width, 1) ||
        !bitpack_read(rest, (size_t)outlier_count, bitpack_bits(count - 1), positions))
        return false;
    if (uppers_width != UPPERS_ARE_VARINTS && !bitpack_read(rest, (size_t)outlier_count, uppers_width, uppers))
        return false;
    for (size_t i = 0; i < outlier_count; i++) {
        if ((uppers_width == UPPERS_ARE_VARINTS && !bitpack_take_varint(rest, &uppers[i])) || positions[i] >= count)
            return false;
        unsigned width = frames[positions[i] / frame_size].width;
        if (width < 64)
            numbers[positions[i]] += (uint64_t)ap_unzigzag(uppers[i] + 1) << width;
    }
    return true;
}

WITH_VECTORS static void add_base(uint64_t *numbers, size_t count, const struct frame *frame)
{
    uint64_t base = frame->base;
    switch (frame->shape) {
    case SHAPE_FLAT:
    case SHAPE_RISE:
        for (size_t i = 0; i < count; i++)
            numbers[i] += base;
        break;
    case SHAPE_BELL:
        for (size_t i = 0; i < count; i++)
            numbers[i] = base + (uint64_t)ap_unzigzag(numbers[i]);
        break;
    case SHAPE_FALL:
        for (size_t i = 0; i < count; i++)
            numbers[i] = base - numbers[i];
        break;
    }
}

static void add_up(uint64_t *numbers, size_t count, unsigned order)
{
    uint64_t sum = numbers[0];
    if (order == 1) {
        for (size_t i = 1; i < count; i++)
            numbers[i] = sum += numbers[i];
    } else if (order == 2) {
        uint64_t delta = numbers[1];
        numbers[1] = sum += delta;
        for (size_t i = 2; i < count; i++) {
            delta += numbers[i];
            numbers[i] = sum += delta;
        }
    }
}

bool int_column_decode(struct ap_slice *rest, size_t count, int64_t *ret_numbers)
{
    uint8_t head;
    AP_ASSERT(count >= 1 && count <= INT_COLUMN_COUNT_MAX);
    if (!bitpack_take(rest, &head, 1) || head >= HEAD_HAS_OUTLIERS << 1 || (head & HEAD_ORDER) > 2 ||
        (head & HEAD_ORDER) >= count)
        return false;
    unsigned order = head & HEAD_ORDER;
    uint64_t *numbers = (uint64_t *)(void *)ret_numbers;
    for (unsigned i = 0; i < order; i++) {
        uint64_t first;
        if (!bitpack_take_varint(rest, &first))
            return false;
        numbers[i] = (uint64_t)ap_unzigzag(first);
    }
    size_t rest_count = count - order;
    size_t frame_size = head & HEAD_HAS_BLOCKS ? BLOCK : rest_count;
    size_t frame_count = (rest_count + frame_size - 1) / frame_size;
    struct frame frames[BLOCKS_MAX];
    if (!decode_frames(rest, frame_count, frames))
        return false;
    for (size_t f = 0; f < frame_count; f++) {
        uint64_t *to = numbers + order + f * frame_size;
        size_t to_count = AP_MIN(frame_size, rest_count - f * frame_size);
        if (!bitpack_read(rest, to_count, frames[f].width, to))
            return false;
        if (frames[f].shape != SHAPE_FLAT && !decode_unary(rest, to_count, frames[f].width, to))
            return false;
    }
    if (head & HEAD_HAS_OUTLIERS && !decode_outliers(rest, rest_count, frames, frame_size, numbers + order))
        return false;
    for (size_t f = 0; f < frame_count; f++)
        add_base(numbers + order + f * frame_size, AP_MIN(frame_size, rest_count - f * frame_size), &frames[f]);
    add_up(numbers, count, order);
    return true;
}
