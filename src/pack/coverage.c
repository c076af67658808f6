#include "pack/coverage.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/buf.h"
#include "tsdb/tsdb.h"

#define STALE_BITS UINT64_C(0x7ff0000000000002)

enum { ASK_EVERY_SERIES = 256 }; /* whether it is cancelled */

/* A version of one instance, from its first to its last target_info. */
struct stay {
    struct ap_slice job, instance; /* lent by the set */
    uint32_t version;              /* index into memory->versions */
    int64_t first_ms;
    int64_t last_ms;
};

struct coverage_memory {
    struct ap_arena arena; /* texts */
};

/* What is at hand while it is being taken. */
struct taking {
    const struct pack *pack;
    const struct coverage_options *options;
    struct coverage *coverage;
    struct tsdb_set *set;
    struct tsdb_columns columns;
    struct stay *stays; /* by job, instance and first_ms */
    size_t stay_count;
    size_t stay_capacity;
    size_t version_capacity;
    size_t stranger_capacity;
};

static const struct ap_slice name_label = AP_SLICE_LITERAL(LABEL_METRIC_NAME);
static const struct ap_slice version_label = AP_SLICE_LITERAL("service_version");
static const struct ap_slice job_label = AP_SLICE_LITERAL("job");
static const struct ap_slice instance_label = AP_SLICE_LITERAL("instance");

static const char *keep_text(struct coverage *coverage, struct ap_slice text)
{
    char *copy = ap_arena_try_strndup(&coverage->memory->arena, text);
    return copy ? copy : "";
}

/* ---- Which series ---- */

/* Of texts that shall match as they are. */
static void add_alternative(struct ap_buf *regex, const char *text)
{
    ap_buf_add_cstr(regex, regex->bytes ? "|" : "");
    for (; *text; text++) {
        if (strchr("\\.+*?()|[]{}^$", *text))
            ap_buf_add_char(regex, '\\');
        ap_buf_add_char(regex, *text);
    }
}

/* Everything of the product's services; of a pack that names none, what the catalogue has. */
static enum ap_rc select_series(struct taking *taking, struct tsdb *tsdb, struct ap_err *err)
{
    const struct pack *pack = taking->pack;
    AP_AUTO_BUF struct ap_buf regex = {0};
    for (size_t i = 0; i < pack->service_count; i++)
        add_alternative(&regex, pack->services[i]);
    if (pack->service_count == 0) {
        ap_buf_add_cstr(&regex, "target_info");
        for (size_t a = 0; a < pack->area_count; a++) {
            for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
                add_alternative(&regex, pack->areas[a].metrics[m].series);
                ap_buf_add_cstr(&regex, "(_count)?");
            }
        }
    }
    struct matchers matchers = {0};
    enum ap_rc rc = matcher_new(MATCHER_REGEX, pack->service_count ? job_label : name_label, ap_buf_slice(&regex),
                                &matchers.items[0], err);
    if (rc != AP_OK)
        return rc;
    matchers.count = 1;
    const struct tsdb_select_options select = {
        .matchers = &matchers, .min_ts_ms = taking->options->from_ms, .max_ts_ms = taking->options->to_ms};
    rc = tsdb_select(tsdb, &select, &taking->set, err);
    matchers_clear(&matchers);
    return rc;
}

/* Floats and histograms together: the first and the last time at which there was something; false: there was not. */
static bool find_ends(const struct tsdb_columns *columns, int64_t *ret_first_ms, int64_t *ret_last_ms)
{
    int64_t first_ms = INT64_MAX, last_ms = INT64_MIN;
    size_t begin = 0, end = columns->count;
    while (begin < end && ap_double_to_bits(columns->values[begin]) == STALE_BITS)
        begin++;
    while (end > begin && ap_double_to_bits(columns->values[end - 1]) == STALE_BITS)
        end--;
    if (begin < end) {
        first_ms = columns->ts_ms[begin];
        last_ms = columns->ts_ms[end - 1];
    }
    if (columns->histogram_count > 0) {
        first_ms = AP_MIN(first_ms, columns->histogram_ts_ms[0]);
        last_ms = AP_MAX(last_ms, columns->histogram_ts_ms[columns->histogram_count - 1]);
    }
    *ret_first_ms = first_ms;
    *ret_last_ms = last_ms;
    return first_ms <= last_ms;
}

/* ---- Versions ---- */

/* The version's place in the list of all; too many are the one without a name. */
static uint32_t intern_version(struct taking *taking, struct ap_slice version)
{
    struct coverage *coverage = taking->coverage;
    for (size_t i = 0; i < coverage->version_count; i++) {
        if (ap_slice_equal_cstr(version, coverage->versions[i].version))
            return (uint32_t)i;
    }
    if (coverage->version_count >= COVERAGE_VERSIONS_MAX && version.bytes > 0) {
        coverage->is_cut = true;
        return intern_version(taking, (struct ap_slice){0});
    }
    if (coverage->version_count == taking->version_capacity) {
        taking->version_capacity = taking->version_capacity ? taking->version_capacity * 2 : 16;
        coverage->versions = ap_realloc(coverage->versions, taking->version_capacity * sizeof(*coverage->versions));
    }
    coverage->versions[coverage->version_count] =
        (struct coverage_version){.version = keep_text(coverage, version), .newest_ms = INT64_MIN};
    return (uint32_t)coverage->version_count++;
}

static int compare_slices(struct ap_slice a, struct ap_slice b)
{
    int order = memcmp(a.data ? a.data : "", b.data ? b.data : "", AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_instances(const struct stay *a, struct ap_slice job, struct ap_slice instance)
{
    int order = compare_slices(a->job, job);
    return order ? order : compare_slices(a->instance, instance);
}

static int compare_stays(const void *left, const void *right)
{
    const struct stay *a = left, *b = right;
    int order = compare_instances(a, b->job, b->instance);
    return order ? order : (a->first_ms > b->first_ms) - (a->first_ms < b->first_ms);
}

static enum ap_rc read_series(struct taking *taking, size_t index, struct ap_err *err)
{
    const struct coverage_options *options = taking->options;
    if (index % ASK_EVERY_SERIES == 0 && options->is_cancelled && options->is_cancelled(options->context))
        return ap_fail(err, AP_E_BUSY, "nobody waits for the coverage any more");
    return tsdb_set_read(taking->set, index, &taking->columns, err);
}

static enum ap_rc read_stays(struct taking *taking, struct ap_err *err)
{
    for (size_t i = 0; i < tsdb_set_count(taking->set); i++) {
        struct ap_slice labels = tsdb_set_labels(taking->set, i);
        if (!ap_slice_equal_cstr(labels_get(labels, name_label), "target_info"))
            continue;
        struct stay stay = {.job = labels_get(labels, job_label), .instance = labels_get(labels, instance_label)};
        enum ap_rc rc = read_series(taking, i, err);
        if (rc != AP_OK)
            return rc;
        if (!find_ends(&taking->columns, &stay.first_ms, &stay.last_ms))
            continue;
        stay.version = intern_version(taking, labels_get(labels, version_label));
        struct coverage_version *version = &taking->coverage->versions[stay.version];
        version->series_count++;
        version->newest_ms = AP_MAX(version->newest_ms, stay.last_ms);
        if (taking->stay_count == taking->stay_capacity) {
            taking->stay_capacity = taking->stay_capacity ? taking->stay_capacity * 2 : 64;
            taking->stays = ap_realloc(taking->stays, taking->stay_capacity * sizeof(*taking->stays));
        }
        taking->stays[taking->stay_count++] = stay;
    }
    if (taking->stay_count > 0)
        qsort(taking->stays, taking->stay_count, sizeof(*taking->stays), compare_stays);
    return AP_OK;
}

/* Those of one instance, in order of time. */
static const struct stay *find_stays(const struct taking *taking, struct ap_slice labels, size_t *ret_count)
{
    struct ap_slice job = labels_get(labels, job_label), instance = labels_get(labels, instance_label);
    size_t low = 0, high = taking->stay_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_instances(&taking->stays[middle], job, instance) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < taking->stay_count && compare_instances(&taking->stays[end], job, instance) == 0)
        end++;
    *ret_count = end - low;
    return taking->stays + low;
}

/* ---- What was seen of a metric ---- */

static void note_version(struct taking *taking, struct coverage_seen *seen, uint32_t version, int64_t newest_ms)
{
    struct coverage_version *whole = &taking->coverage->versions[version];
    const char *text = whole->version;
    whole->newest_ms = AP_MAX(whole->newest_ms, newest_ms);
    size_t at = 0;
    while (at < seen->version_count && strcmp(seen->versions[at].version, text) != 0)
        at++;
    if (at == seen->version_count) {
        seen->versions = ap_realloc(seen->versions, (seen->version_count + 1) * sizeof(*seen->versions));
        seen->versions[seen->version_count++] = (struct coverage_version){.version = text, .newest_ms = INT64_MIN};
    }
    seen->versions[at].series_count++;
    seen->versions[at].newest_ms = AP_MAX(seen->versions[at].newest_ms, newest_ms);
}

/* The last time in [from, until) at which the series that was read had a sample; INT64_MIN: none. */
static int64_t newest_between(const struct tsdb_columns *columns, int64_t from_ms, int64_t until_ms)
{
    int64_t newest_ms = INT64_MIN;
    for (size_t i = columns->count; i > 0 && newest_ms == INT64_MIN; i--) {
        int64_t ts_ms = columns->ts_ms[i - 1];
        if (ts_ms < until_ms && ts_ms >= from_ms && ap_double_to_bits(columns->values[i - 1]) != STALE_BITS)
            newest_ms = ts_ms;
    }
    for (size_t i = columns->histogram_count; i > 0; i--) {
        int64_t ts_ms = columns->histogram_ts_ms[i - 1];
        if (ts_ms < until_ms && ts_ms >= from_ms)
            return AP_MAX(newest_ms, ts_ms);
    }
    return newest_ms;
}

/* The series with these labels, which was read, into what is known of its metric. */
static void note_series(struct taking *taking, struct ap_slice labels, struct coverage_seen *seen)
{
    int64_t first_ms, last_ms;
    if (!find_ends(&taking->columns, &first_ms, &last_ms))
        return;
    seen->newest_ms = seen->series_count ? AP_MAX(seen->newest_ms, last_ms) : last_ms;
    seen->series_count++;
    struct ap_slice own = labels_get(labels, version_label);
    size_t count = 0;
    const struct stay *stays = own.data ? NULL : find_stays(taking, labels, &count);
    if (count == 0)
        note_version(taking, seen, intern_version(taking, own), last_ms);
    else if (count == 1)
        note_version(taking, seen, stays[0].version, last_ms);
    for (size_t i = 0; i < count && count > 1; i++) {
        /* What came before the first target_info belongs to it too. */
        int64_t newest_ms = newest_between(&taking->columns, i == 0 ? INT64_MIN : stays[i].first_ms,
                                           i + 1 < count ? stays[i + 1].first_ms : INT64_MAX);
        if (newest_ms != INT64_MIN)
            note_version(taking, seen, stays[i].version, newest_ms);
    }
}

static bool ends_with(struct ap_slice text, const char *end)
{
    size_t bytes = strlen(end);
    return text.bytes > bytes && memcmp(text.data + text.bytes - bytes, end, bytes) == 0;
}

/* Of a histogram in several series its _count stands for all of them. */
static bool is_part(struct ap_slice name)
{
    return ends_with(name, "_bucket") || ends_with(name, "_sum");
}

/* What a scraper adds by itself, and what recording rules made. */
static bool is_of_the_product(struct ap_slice name)
{
    return !ap_slice_equal_cstr(name, "target_info") && !ap_slice_equal_cstr(name, "up") &&
           !ap_slice_starts_with(name, "scrape_") && !memchr(name.data, ':', name.bytes);
}

/* Where to note a series of this name that the catalogue does not know; NULL: nowhere. */
static struct coverage_seen *find_stranger(struct taking *taking, struct ap_slice name)
{
    struct coverage *coverage = taking->coverage;
    if (ends_with(name, "_count"))
        name.bytes -= strlen("_count");
    /* Series come in order of their names, but for label names before "__name__" by bytes, such as "A". */
    for (size_t i = coverage->stranger_count; i > 0; i--) {
        if (ap_slice_equal_cstr(name, coverage->strangers[i - 1].series))
            return &coverage->strangers[i - 1].seen;
    }
    if (coverage->stranger_count == COVERAGE_STRANGERS_MAX) {
        coverage->is_cut = true;
        return NULL;
    }
    if (coverage->stranger_count == taking->stranger_capacity) {
        taking->stranger_capacity = taking->stranger_capacity ? taking->stranger_capacity * 2 : 16;
        coverage->strangers = ap_realloc(coverage->strangers, taking->stranger_capacity * sizeof(*coverage->strangers));
    }
    struct coverage_stranger *stranger = &coverage->strangers[coverage->stranger_count++];
    *stranger = (struct coverage_stranger){.series = keep_text(coverage, name), .seen = {.unit = ""}};
    return &stranger->seen;
}

static struct coverage_seen *find_seen(struct taking *taking, struct ap_slice name)
{
    const struct catalogue_metric *metric = catalogue_find_series(taking->pack, name);
    for (size_t i = 0; i < taking->coverage->entry_count && metric; i++) {
        if (taking->coverage->entries[i].metric == metric)
            return &taking->coverage->entries[i].seen;
    }
    return taking->pack->service_count && is_of_the_product(name) ? find_stranger(taking, name) : NULL;
}

static enum ap_rc read_metrics(struct taking *taking, struct ap_err *err)
{
    for (size_t i = 0; i < tsdb_set_count(taking->set); i++) {
        struct ap_slice labels = tsdb_set_labels(taking->set, i);
        struct ap_slice name = labels_get(labels, name_label);
        struct coverage_seen *seen = name.data && !is_part(name) ? find_seen(taking, name) : NULL;
        if (!seen)
            continue;
        enum ap_rc rc = read_series(taking, i, err);
        if (rc != AP_OK)
            return rc;
        note_series(taking, labels, seen);
    }
    return AP_OK;
}

/* ---- Metadata ---- */

enum metadata_type coverage_expected_type(const struct catalogue_metric *metric)
{
    switch (metric->type) {
    case CATALOGUE_COUNTER:
        return METADATA_COUNTER;
    case CATALOGUE_UP_DOWN_COUNTER: /* goes down as well, which no counter of Prometheus' does */
    case CATALOGUE_GAUGE:
        return METADATA_GAUGE;
    case CATALOGUE_HISTOGRAM:
        return METADATA_HISTOGRAM;
    }
    return METADATA_UNKNOWN;
}

struct metadata_reading {
    struct coverage *coverage;
    struct coverage_seen *seen;
};

static bool take_metadata(const struct batch_metadata *metadata, void *context)
{
    struct metadata_reading *reading = context;
    reading->seen->has_metadata = true;
    reading->seen->type = metadata->type;
    reading->seen->unit = keep_text(reading->coverage, metadata->unit);
    return false;
}

/* A counter's family may be called with or without its _total, depending on who told of it. */
static void read_metadata(struct coverage *coverage, struct tsdb *tsdb, const char *series, struct coverage_seen *seen)
{
    struct metadata_reading reading = {coverage, seen};
    struct ap_slice family = ap_slice_cstr(series);
    tsdb_metadata(tsdb, family, take_metadata, &reading);
    if (!seen->has_metadata && ends_with(family, "_total"))
        tsdb_metadata(tsdb, ap_slice(family.data, family.bytes - strlen("_total")), take_metadata, &reading);
}

static void compare_metadata(struct coverage_entry *entry)
{
    const struct coverage_seen *seen = &entry->seen;
    const char *word = catalogue_unit_word(entry->metric->unit);
    if (seen->has_metadata && seen->type != METADATA_UNKNOWN)
        entry->type_fit = seen->type == coverage_expected_type(entry->metric) ? COVERAGE_AGREES : COVERAGE_DIFFERS;
    if (!seen->has_metadata || !word)
        return;
    bool is_same = strcmp(seen->unit, word) == 0 || strcmp(seen->unit, entry->metric->unit) == 0 ||
                   (strcmp(entry->metric->unit, "1") == 0 && strcmp(seen->unit, "ratio") == 0);
    if (is_same)
        entry->unit_fit = COVERAGE_AGREES;
    else if (seen->unit[0]) /* the text format of scrapes has no units */
        entry->unit_fit = COVERAGE_DIFFERS;
}

/* ---- All of it ---- */

/* "2.9.0" before "2.10.0": runs of digits by their value. */
static int compare_version_texts(const char *a, const char *b)
{
    while (*a && *b) {
        size_t digits_a = strspn(a, "0123456789"), digits_b = strspn(b, "0123456789");
        if (digits_a && digits_b) {
            unsigned long long left = strtoull(a, NULL, 10), right = strtoull(b, NULL, 10);
            if (left != right)
                return left < right ? -1 : 1;
            a += digits_a;
            b += digits_b;
        } else if (*a != *b) {
            break;
        } else {
            a++;
            b++;
        }
    }
    return (unsigned char)*a - (unsigned char)*b;
}

static int compare_versions(const void *left, const void *right)
{
    return compare_version_texts(((const struct coverage_version *)left)->version,
                                 ((const struct coverage_version *)right)->version);
}

static int compare_strangers(const void *left, const void *right)
{
    return strcmp(((const struct coverage_stranger *)left)->series, ((const struct coverage_stranger *)right)->series);
}

static void sort_versions(struct coverage_version *versions, size_t count)
{
    if (count > 1)
        qsort(versions, count, sizeof(*versions), compare_versions);
}

static void add_entries(struct coverage *coverage, const struct pack *pack)
{
    size_t count = 0;
    for (size_t a = 0; a < pack->area_count; a++)
        count += pack->areas[a].metric_count;
    coverage->entries = ap_realloc(NULL, (count + 1) * sizeof(*coverage->entries));
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++)
            coverage->entries[coverage->entry_count++] =
                (struct coverage_entry){.metric = &pack->areas[a].metrics[m], .seen = {.unit = ""}};
    }
}

/* When everything has been read: metadata, order, sums. */
static void finish(struct coverage *coverage, struct tsdb *tsdb)
{
    for (size_t i = 0; i < coverage->entry_count; i++) {
        struct coverage_entry *entry = &coverage->entries[i];
        coverage->seen_count += entry->seen.series_count > 0;
        sort_versions(entry->seen.versions, entry->seen.version_count);
        read_metadata(coverage, tsdb, entry->metric->series, &entry->seen);
        compare_metadata(entry);
    }
    size_t kept = 0; /* a stranger may have had nothing but staleness markers */
    for (size_t i = 0; i < coverage->stranger_count; i++) {
        struct coverage_stranger *stranger = &coverage->strangers[i];
        if (stranger->seen.series_count == 0)
            continue;
        sort_versions(stranger->seen.versions, stranger->seen.version_count);
        read_metadata(coverage, tsdb, stranger->series, &stranger->seen);
        coverage->strangers[kept++] = *stranger;
    }
    coverage->stranger_count = kept;
    if (kept > 1)
        qsort(coverage->strangers, kept, sizeof(*coverage->strangers), compare_strangers);
    sort_versions(coverage->versions, coverage->version_count);
}

enum ap_rc coverage_take(const struct pack *pack, struct tsdb *tsdb, const struct coverage_options *options,
                         struct coverage **ret_coverage, struct ap_err *err)
{
    AP_AUTO(coverage) struct coverage *coverage = ap_new0(struct coverage);
    coverage->memory = ap_new0(struct coverage_memory);
    ap_arena_init(&coverage->memory->arena, 0);
    add_entries(coverage, pack);
    struct taking taking = {.pack = pack, .options = options, .coverage = coverage};
    enum ap_rc rc = select_series(&taking, tsdb, err);
    if (rc == AP_OK)
        rc = read_stays(&taking, err);
    if (rc == AP_OK)
        rc = read_metrics(&taking, err);
    if (rc == AP_OK) {
        finish(coverage, tsdb);
        *ret_coverage = AP_MOVE(coverage);
    }
    free(taking.stays);
    tsdb_columns_clear(&taking.columns);
    tsdb_set_free(taking.set);
    return rc;
}

void coverage_free(struct coverage *coverage)
{
    if (!coverage)
        return;
    for (size_t i = 0; i < coverage->entry_count; i++)
        free(coverage->entries[i].seen.versions);
    for (size_t i = 0; i < coverage->stranger_count; i++)
        free(coverage->strangers[i].seen.versions);
    free(coverage->entries);
    free(coverage->strangers);
    free(coverage->versions);
    ap_arena_clear(&coverage->memory->arena);
    free(coverage->memory);
    free(coverage);
}
