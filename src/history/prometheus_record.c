#include "history/prometheus_record.h"

#include "base/mem.h"
#include "history/byte_reader.h"
#include "history/prometheus_decode.h"

enum type {
    TYPE_SERIES = 1,
    TYPE_SAMPLES = 2,
    TYPE_TOMBSTONES = 3,
    TYPE_EXEMPLARS = 4,
    TYPE_MMAP_MARKERS = 5,
    TYPE_METADATA = 6,
    TYPE_HISTOGRAMS = 7,
    TYPE_FLOAT_HISTOGRAMS = 8,
    TYPE_CUSTOM_HISTOGRAMS = 9,
    TYPE_CUSTOM_FLOAT_HISTOGRAMS = 10,
    TYPE_SAMPLES_V2 = 11,
    TYPE_HISTOGRAMS_V2 = 12,
    TYPE_FLOAT_HISTOGRAMS_V2 = 13,
    TYPE_MIN_VALID_TIME = 14,
};

/* One more label than is allowed, so that whoever gets them sees that there are too many. */
enum { LABELS_READ_MAX = LABELS_COUNT_MAX + 1, NO_START = 0, SAME_START = 1 };

static size_t read_labels(struct byte_reader *reader, struct label labels[LABELS_READ_MAX])
{
    uint64_t count = byte_reader_varint(reader);
    for (uint64_t i = 0; i < count && !reader->is_cut; i++) {
        struct label label;
        label.name = byte_reader_text(reader);
        label.value = byte_reader_text(reader);
        if (i < LABELS_READ_MAX)
            labels[i] = label;
    }
    return (size_t)AP_MIN(count, (uint64_t)LABELS_READ_MAX);
}

static void visit_series(struct byte_reader *reader, const struct prometheus_record_visitor *visitor)
{
    struct label labels[LABELS_READ_MAX];
    while (byte_reader_left(reader)) {
        uint64_t ref = byte_reader_u64(reader);
        size_t count = read_labels(reader, labels);
        if (!reader->is_cut && visitor->series)
            visitor->series(visitor->context, ref, labels, count);
    }
}

/* ---- Who and when: the head of each sample ---- */

struct naming {
    bool is_v2;
    bool is_begun;
    uint64_t first_ref; /* of version 1; of version 2 the one before */
    uint64_t first_ts;
};

static void begin_naming(struct byte_reader *reader, struct naming *naming)
{
    if (naming->is_v2 || !byte_reader_left(reader))
        return;
    naming->first_ref = byte_reader_u64(reader);
    naming->first_ts = byte_reader_u64(reader);
}

static void read_name(struct byte_reader *reader, struct naming *naming, uint64_t *ret_ref, int64_t *ret_ts_ms)
{
    uint64_t ref = (uint64_t)byte_reader_zigzag(reader), ts = (uint64_t)byte_reader_zigzag(reader);
    if (!naming->is_v2) {
        *ret_ref = naming->first_ref + ref;
        *ret_ts_ms = (int64_t)(naming->first_ts + ts);
        return;
    }
    if (naming->is_begun) {
        uint8_t start = byte_reader_u8(reader);
        if (start != NO_START && start != SAME_START)
            (void)byte_reader_zigzag(reader);
    } else {
        (void)byte_reader_zigzag(reader); /* start time */
        naming->first_ts = 0;
    }
    *ret_ref = naming->first_ref += ref;
    *ret_ts_ms = (int64_t)(naming->first_ts + ts);
    if (!naming->is_begun)
        naming->first_ts = ts;
    naming->is_begun = true;
}

static void visit_samples(struct byte_reader *reader, bool is_v2, const struct prometheus_record_visitor *visitor)
{
    struct naming naming = {.is_v2 = is_v2};
    begin_naming(reader, &naming);
    while (byte_reader_left(reader)) {
        uint64_t ref;
        int64_t ts_ms;
        read_name(reader, &naming, &ref, &ts_ms);
        double value = byte_reader_double(reader);
        if (!reader->is_cut && visitor->sample)
            visitor->sample(visitor->context, ref, ts_ms, value);
    }
}

static void visit_histograms(struct byte_reader *reader, bool is_v2, bool is_float,
                             const struct prometheus_record_visitor *visitor)
{
    struct naming naming = {.is_v2 = is_v2};
    begin_naming(reader, &naming);
    while (byte_reader_left(reader)) {
        uint64_t ref;
        int64_t ts_ms;
        struct ap_slice raw;
        read_name(reader, &naming, &ref, &ts_ms);
        prometheus_histogram_skip(reader, is_float, &raw);
        if (!reader->is_cut && visitor->histogram)
            visitor->histogram(visitor->context, ref, ts_ms, is_float, raw);
    }
}

/* ---- The others ---- */

static void visit_exemplars(struct byte_reader *reader, const struct prometheus_record_visitor *visitor)
{
    struct label labels[LABELS_READ_MAX];
    struct naming naming = {0};
    begin_naming(reader, &naming);
    while (byte_reader_left(reader)) {
        struct prometheus_exemplar exemplar = {.labels = labels};
        read_name(reader, &naming, &exemplar.ref, &exemplar.ts_ms);
        exemplar.value = byte_reader_double(reader);
        exemplar.label_count = read_labels(reader, labels);
        if (!reader->is_cut && visitor->exemplar)
            visitor->exemplar(visitor->context, &exemplar);
    }
}

static void visit_stones(struct byte_reader *reader, const struct prometheus_record_visitor *visitor)
{
    while (byte_reader_left(reader)) {
        struct prometheus_stone stone = {.series_ref = byte_reader_u64(reader)};
        stone.min_ts_ms = byte_reader_zigzag(reader);
        stone.max_ts_ms = byte_reader_zigzag(reader);
        if (!reader->is_cut && visitor->stone)
            visitor->stone(visitor->context, &stone);
    }
}

static void visit_markers(struct byte_reader *reader, const struct prometheus_record_visitor *visitor)
{
    while (byte_reader_left(reader)) {
        uint64_t ref = byte_reader_u64(reader), chunk_ref = byte_reader_u64(reader);
        if (!reader->is_cut && visitor->chunk_marker)
            visitor->chunk_marker(visitor->context, ref, chunk_ref);
    }
}

static void visit_metadata(struct byte_reader *reader, const struct prometheus_record_visitor *visitor)
{
    while (byte_reader_left(reader)) {
        struct prometheus_metadata metadata = {.ref = byte_reader_varint(reader)};
        metadata.type = byte_reader_u8(reader);
        uint64_t count = byte_reader_varint(reader);
        for (uint64_t i = 0; i < count && !reader->is_cut; i++) {
            struct ap_slice name = byte_reader_text(reader), value = byte_reader_text(reader);
            if (ap_slice_equal_cstr(name, "UNIT"))
                metadata.unit = value;
            else if (ap_slice_equal_cstr(name, "HELP"))
                metadata.help = value;
        }
        if (!reader->is_cut && visitor->metadata)
            visitor->metadata(visitor->context, &metadata);
    }
}

enum ap_rc prometheus_record_visit(struct ap_slice record, const struct prometheus_record_visitor *visitor,
                                   struct ap_err *err)
{
    struct byte_reader reader = byte_reader(record);
    uint8_t type = byte_reader_u8(&reader);
    switch (type) {
    case TYPE_SERIES:
        visit_series(&reader, visitor);
        break;
    case TYPE_SAMPLES:
    case TYPE_SAMPLES_V2:
        visit_samples(&reader, type == TYPE_SAMPLES_V2, visitor);
        break;
    case TYPE_TOMBSTONES:
        visit_stones(&reader, visitor);
        break;
    case TYPE_EXEMPLARS:
        visit_exemplars(&reader, visitor);
        break;
    case TYPE_MMAP_MARKERS:
        visit_markers(&reader, visitor);
        break;
    case TYPE_METADATA:
        visit_metadata(&reader, visitor);
        break;
    case TYPE_HISTOGRAMS:
    case TYPE_CUSTOM_HISTOGRAMS:
    case TYPE_HISTOGRAMS_V2:
        visit_histograms(&reader, type == TYPE_HISTOGRAMS_V2, false, visitor);
        break;
    case TYPE_FLOAT_HISTOGRAMS:
    case TYPE_CUSTOM_FLOAT_HISTOGRAMS:
    case TYPE_FLOAT_HISTOGRAMS_V2:
        visit_histograms(&reader, type == TYPE_FLOAT_HISTOGRAMS_V2, true, visitor);
        break;
    case TYPE_MIN_VALID_TIME:
        if (visitor->min_valid_time)
            visitor->min_valid_time(visitor->context, (int64_t)byte_reader_u64(&reader));
        break;
    default:
        if (visitor->unknown)
            visitor->unknown(visitor->context, type);
        break;
    }
    return reader.is_cut ? ap_fail(err, AP_E_CORRUPT, "a record of type %u makes no sense", type) : AP_OK;
}
