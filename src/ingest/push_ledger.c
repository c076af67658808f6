#include "ingest/push_ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "meta/pushed.h"
#include "tsdb/histogram.h"

enum { MARKER_MEMORY_MAX = 64 << 20 };

static const uint64_t stale_bits = 0x7ff0000000000002;

/* ---- Samples ---- */

void push_samples_init(struct push_samples *samples)
{
    *samples = (struct push_samples){0};
    ap_arena_init(&samples->arena, 0);
}

void push_samples_clear(struct push_samples *samples)
{
    batch_clear(&samples->batch);
    ap_arena_clear(&samples->arena);
}

static struct ap_slice copy(struct push_samples *samples, struct ap_slice bytes)
{
    char *to = ap_arena_try_alloc(&samples->arena, bytes.bytes);
    AP_ASSERT(to); /* the arena has no maximum: what it is filled from is bounded */
    return ap_slice(memcpy(to, bytes.data, bytes.bytes), bytes.bytes);
}

static int64_t now_ms(const struct push_ledger *ledger)
{
    return ap_clock_wall_us(ledger->options.clock) / AP_US_PER_MS;
}

/*
 * A series has one value at a time: what follows within a millisecond is written a millisecond later. Not so the groups
 * that end together, which have no series in common.
 */
static int64_t next_ts(const struct push_ledger *ledger, const struct push_group *group)
{
    return AP_MAX(AP_MAX(now_ms(ledger), ledger->marker_ts_ms + 1), group->last_ts_ms + 1);
}

static void add_number(struct batch *batch, uint64_t seed, struct ap_slice labels, int64_t ts_ms, double value)
{
    (void)batch_add_series(batch, labels, labels_hash_of(seed, labels));
    batch_add_sample(batch, ts_ms, value);
}

static void add_time_copies(const struct push_ledger *ledger, struct push_samples *samples,
                            const struct push_group *group, int64_t ts_ms, double pushed, double failed)
{
    uint64_t seed = ledger->options.hash_seed;
    add_number(&samples->batch, seed, copy(samples, ap_buf_slice(&group->pushed_labels)), ts_ms, pushed);
    add_number(&samples->batch, seed, copy(samples, ap_buf_slice(&group->failed_labels)), ts_ms, failed);
}

static void add_family(struct push_samples *samples, const struct push_family *family, int64_t ts_ms)
{
    struct batch *batch = &samples->batch;
    for (size_t i = 0; i < family->count; i++) {
        const struct push_series *series = &family->series[i];
        (void)batch_add_series(batch, copy(samples, push_series_labels(family, series)), series->hash);
        if (series->blob_bytes)
            batch_add_histogram(batch, ts_ms, copy(samples, push_series_blob(family, series)));
        else
            batch_add_sample(batch, ts_ms, series->value);
    }
}

/* A series that was a histogram ends as one. */
static void add_histogram_marker(struct push_samples *samples, struct ap_slice blob, int64_t ts_ms)
{
    AP_AUTO_ARENA struct ap_arena arena;
    AP_AUTO_BUF struct ap_buf marker = {0};
    struct histogram histogram;
    ap_arena_init(&arena, MARKER_MEMORY_MAX);
    enum ap_rc rc = histogram_decode(blob, &arena, &histogram, NULL);
    AP_ASSERT(rc == AP_OK); /* it was checked when it came in */
    histogram_set_stale(&histogram);
    histogram_encode(&histogram, &marker);
    batch_add_histogram(&samples->batch, ts_ms, copy(samples, ap_buf_slice(&marker)));
}

/* Markers for series of `before` that `after` (NULL: nothing) does not have. */
static void add_markers(struct push_ledger *ledger, struct push_samples *samples, const struct push_family *before,
                        const struct push_family *after, int64_t ts_ms)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct push_series *series = &before->series[i];
        if (after && push_family_find(after, series->hash))
            continue;
        (void)batch_add_series(&samples->batch, copy(samples, push_series_labels(before, series)), series->hash);
        if (series->blob_bytes)
            add_histogram_marker(samples, push_series_blob(before, series), ts_ms);
        else
            batch_add_sample(&samples->batch, ts_ms, ap_double_of_bits(stale_bits));
        ledger->marker_ts_ms = ts_ms;
    }
}

/* ---- A change ---- */

static enum ap_rc keep_group(struct push_ledger *ledger, const struct push_group *group, struct ap_err *err)
{
    const struct pushed_group kept = {ap_buf_slice(&group->labels), group->pushed_us, group->failed_us};
    return pushed_put_group(ledger->meta, &kept, err);
}

static enum ap_rc keep_family(struct push_ledger *ledger, const struct push_group *group,
                              const struct push_family *family, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf series = {0};
    push_family_encode(family, &series);
    const struct pushed_family kept = {
        .name = push_family_name(family),
        .help = push_family_help(family),
        .type = family->type,
        .pushed_us = family->pushed_us,
        .series = ap_buf_slice(&series),
    };
    return pushed_put_family(ledger->meta, ap_buf_slice(&group->labels), &kept, err);
}

static void add_metadata(struct push_samples *samples, const struct push_family *family)
{
    *batch_add_metadata(&samples->batch) = (struct batch_metadata){
        .metric = copy(samples, push_family_name(family)),
        .help = copy(samples, push_family_help(family)),
        .unit = ap_slice("", 0),
        .type = family->type,
    };
}

static void add_own_metadata(struct batch *batch)
{
    *batch_add_metadata(batch) = (struct batch_metadata){
        .metric = AP_SLICE_LITERAL("push_time_seconds"),
        .help = AP_SLICE_LITERAL("When the last push to this group was taken, since 1970; 0: never."),
        .unit = AP_SLICE_LITERAL(""),
        .type = METADATA_GAUGE,
    };
    *batch_add_metadata(batch) = (struct batch_metadata){
        .metric = AP_SLICE_LITERAL("push_failure_time_seconds"),
        .help = AP_SLICE_LITERAL("When a push to this group was last refused, since 1970; 0: never."),
        .unit = AP_SLICE_LITERAL(""),
        .type = METADATA_GAUGE,
    };
}

/* All families at once; those that are not pushed again end. */
static void end_missing(struct push_ledger *ledger, struct push_samples *samples, struct push_families *before,
                        const struct push_group *group, int64_t ts_ms)
{
    for (size_t i = 0; i < before->count; i++)
        add_markers(ledger, samples, before->items[i], push_group_find(group, push_family_name(before->items[i])),
                    ts_ms);
}

/* A metric of ours that somebody pushes is ours all the same. */
static bool is_ours(const struct push_family *family)
{
    struct ap_slice name = push_family_name(family);
    return ap_slice_equal_cstr(name, "push_time_seconds") || ap_slice_equal_cstr(name, "push_failure_time_seconds");
}

static enum ap_rc put_families(struct push_ledger *ledger, struct push_group *group, struct push_families *families,
                               struct push_samples *samples, int64_t ts_ms, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < families->count && rc == AP_OK; i++) {
        struct push_family *family = families->items[i];
        if (is_ours(family))
            continue;
        families->items[i] = NULL;
        AP_AUTO(push_family) struct push_family *before = push_group_put(&ledger->groups, group, family);
        if (before)
            add_markers(ledger, samples, before, family, ts_ms);
        add_family(samples, family, ts_ms);
        add_metadata(samples, family);
        rc = keep_family(ledger, group, family, err);
    }
    return rc;
}

static enum ap_rc put(struct push_ledger *ledger, struct push_update *update, struct push_samples *samples,
                      struct ap_err *err)
{
    struct push_group *group = push_groups_find(&ledger->groups, ap_buf_slice(&update->labels));
    if (!group)
        group = push_groups_add(&ledger->groups, ap_buf_slice(&update->labels));
    int64_t ts_ms = next_ts(ledger, group);
    struct push_families before = {0};
    group->pushed_us = ap_clock_wall_us(ledger->options.clock);
    group->last_ts_ms = ts_ms;
    enum ap_rc rc = keep_group(ledger, group, err);
    if (rc == AP_OK && update->kind == PUSH_REPLACE) {
        before = push_group_detach(&ledger->groups, group);
        rc = pushed_delete_families(ledger->meta, ap_buf_slice(&group->labels), err);
    }
    if (rc == AP_OK)
        rc = put_families(ledger, group, &update->families, samples, ts_ms, err);
    end_missing(ledger, samples, &before, group, ts_ms);
    push_families_clear(&before);
    add_time_copies(ledger, samples, group, ts_ms, (double)group->pushed_us / 1e6, (double)group->failed_us / 1e6);
    add_own_metadata(&samples->batch);
    return rc;
}

/* What cannot be taken leaves a mark, so that an alert can be made of it. */
static enum ap_rc note_failure(struct push_ledger *ledger, struct ap_slice labels, struct ap_err *err)
{
    struct push_group *group = push_groups_find(&ledger->groups, labels);
    if (!group && ledger->groups.count >= ledger->options.groups_max)
        return AP_OK;
    if (!group)
        group = push_groups_add(&ledger->groups, labels);
    group->failed_us = ap_clock_wall_us(ledger->options.clock);
    return keep_group(ledger, group, err);
}

static enum ap_rc check_limits(const struct push_ledger *ledger, const struct push_update *update, struct ap_err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < update->families.count; i++)
        bytes += push_family_bytes(update->families.items[i]);
    if (ledger->groups.bytes + bytes > ledger->options.bytes_max)
        return ap_fail(err, AP_E_LIMIT, "pushed metrics take %zu bytes already; %zu are allowed (push.max_size)",
                       ledger->groups.bytes, ledger->options.bytes_max);
    if (ledger->groups.count >= ledger->options.groups_max &&
        !push_groups_find(&ledger->groups, ap_buf_slice(&update->labels)))
        return ap_fail(err, AP_E_LIMIT, "there are %zu groups already, as many as are allowed (push.max_groups)",
                       ledger->groups.count);
    return AP_OK;
}

static enum ap_rc end_group(struct push_ledger *ledger, struct push_group *group, struct push_samples *samples,
                            int64_t ts_ms, struct ap_err *err)
{
    for (size_t i = 0; i < group->families.count; i++)
        add_markers(ledger, samples, group->families.items[i], NULL, ts_ms);
    double stale = ap_double_of_bits(stale_bits);
    add_time_copies(ledger, samples, group, ts_ms, stale, stale);
    ledger->marker_ts_ms = ts_ms;
    enum ap_rc rc = pushed_delete_group(ledger->meta, ap_buf_slice(&group->labels), err);
    push_groups_remove(&ledger->groups, group);
    return rc;
}

/* One that is good for every group. */
static int64_t common_ts(const struct push_ledger *ledger)
{
    int64_t ts_ms = INT64_MIN;
    for (size_t i = 0; i < ledger->groups.count; i++)
        ts_ms = AP_MAX(ts_ms, next_ts(ledger, ledger->groups.items[i]));
    return ts_ms;
}

static enum ap_rc end_groups(struct push_ledger *ledger, const struct push_update *update, struct push_samples *samples,
                             struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    if (update->kind == PUSH_DELETE) {
        struct push_group *group = push_groups_find(&ledger->groups, ap_buf_slice(&update->labels));
        return group ? end_group(ledger, group, samples, next_ts(ledger, group), err) : AP_OK;
    }
    int64_t ts_ms = common_ts(ledger);
    while (rc == AP_OK && ledger->groups.count)
        rc = end_group(ledger, ledger->groups.items[ledger->groups.count - 1], samples, ts_ms, err);
    return rc;
}

enum ap_rc push_ledger_apply(struct push_ledger *ledger, struct push_update *update, struct push_samples *samples,
                             struct ap_err *err)
{
    if (update->kind == PUSH_DELETE || update->kind == PUSH_WIPE)
        return end_groups(ledger, update, samples, err);
    enum ap_rc rc = check_limits(ledger, update, err);
    if (rc != AP_OK)
        return rc;
    rc = update->families.has_ts ? ap_fail(err, AP_E_CONFLICT, "pushed metrics must not have timestamps")
                                 : push_groups_check(&ledger->groups, ap_buf_slice(&update->labels), &update->families,
                                                     update->kind == PUSH_REPLACE, err);
    if (rc == AP_OK)
        return put(ledger, update, samples, err);
    struct ap_err failure;
    rc = note_failure(ledger, ap_buf_slice(&update->labels), &failure);
    if (rc != AP_OK) {
        *err = failure;
        return rc;
    }
    err->rc = AP_E_PARSE;
    return ap_err_prefix(err, "pushed metrics are invalid or inconsistent with existing metrics");
}

/* ---- What time brings ---- */

/* A push that was refused is one, too: the group is in use. */
static bool is_older(const struct push_group *group, int64_t since_us)
{
    return AP_MAX(group->pushed_us, group->failed_us) < since_us;
}

bool push_ledger_has_older(const struct push_ledger *ledger, int64_t since_us)
{
    for (size_t i = 0; i < ledger->groups.count; i++)
        if (is_older(ledger->groups.items[i], since_us))
            return true;
    return false;
}

enum ap_rc push_ledger_remove_older(struct push_ledger *ledger, int64_t since_us, struct push_samples *samples,
                                    uint64_t *count, struct ap_err *err)
{
    int64_t ts_ms = common_ts(ledger);
    enum ap_rc rc = AP_OK;
    for (size_t i = ledger->groups.count; i-- > 0 && rc == AP_OK;) { /* the last takes the place of one that goes */
        struct push_group *group = ledger->groups.items[i];
        if (!is_older(group, since_us))
            continue;
        rc = end_group(ledger, group, samples, ts_ms, err);
        ++*count;
    }
    return rc;
}

void push_ledger_repeat(struct push_ledger *ledger, struct push_group *group, struct batch *batch)
{
    int64_t ts_ms = next_ts(ledger, group);
    uint64_t seed = ledger->options.hash_seed;
    group->last_ts_ms = ts_ms;
    for (size_t f = 0; f < group->families.count; f++) {
        const struct push_family *family = group->families.items[f];
        for (size_t i = 0; i < family->count; i++) {
            const struct push_series *series = &family->series[i];
            (void)batch_add_series(batch, push_series_labels(family, series), series->hash);
            if (series->blob_bytes)
                batch_add_histogram(batch, ts_ms, push_series_blob(family, series));
            else
                batch_add_sample(batch, ts_ms, series->value);
        }
    }
    add_number(batch, seed, ap_buf_slice(&group->pushed_labels), ts_ms, (double)group->pushed_us / 1e6);
    add_number(batch, seed, ap_buf_slice(&group->failed_labels), ts_ms, (double)group->failed_us / 1e6);
}

/* ---- Groups from disk ---- */

struct loading {
    struct push_ledger *ledger;
    struct push_group *group;
};

static enum ap_rc load_family(struct loading *loading, const struct pushed_family *kept, struct ap_err *err)
{
    if (kept->type < 0 || kept->type >= METADATA_TYPE_COUNT)
        return ap_fail(err, AP_E_CORRUPT, "the type of the pushed metric %.*s is damaged", AP_SLICE_ARG(kept->name));
    AP_AUTO(push_family) struct push_family *family = push_family_new(kept->name, (enum metadata_type)kept->type);
    family->pushed_us = kept->pushed_us;
    push_family_set_help(family, kept->help);
    enum ap_rc rc = push_family_decode(family, loading->ledger->options.hash_seed, kept->series, err);
    if (rc == AP_OK)
        push_family_free(push_group_put(&loading->ledger->groups, loading->group, AP_MOVE(family)));
    return rc;
}

static enum ap_rc load_group(struct loading *loading, const struct pushed_group *kept, struct ap_err *err)
{
    struct ap_slice labels = kept->labels;
    loading->group = NULL;
    if (labels_check(labels, err) != AP_OK || labels_count(labels) > PUSH_KEY_LABELS_MAX ||
        labels_get(labels, ap_slice_cstr(LABEL_METRIC_NAME)).data)
        return ap_fail(err, AP_E_CORRUPT, "the labels of a pushed group are damaged");
    loading->group = push_groups_add(&loading->ledger->groups, labels);
    loading->group->pushed_us = kept->pushed_us;
    loading->group->failed_us = kept->failed_us;
    return AP_OK;
}

/* What is damaged is told and left out, until it is pushed again: it is no reason not to serve all else. */
static enum ap_rc load(const struct pushed_group *group, const struct pushed_family *family, void *context,
                       struct ap_err *err)
{
    struct loading *loading = context;
    const struct push_options *options = &loading->ledger->options;
    enum ap_rc rc = AP_OK;
    if (group)
        rc = load_group(loading, group, err);
    else if (loading->group)
        rc = load_family(loading, family, err);
    if (rc == AP_OK)
        return rc;
    if (options->trouble)
        options->trouble(err, options->context);
    return AP_OK;
}

enum ap_rc push_ledger_load(struct push_ledger *ledger, struct ap_err *err)
{
    struct loading loading = {.ledger = ledger};
    push_groups_clear(&ledger->groups);
    return pushed_each(ledger->meta, load, &loading, err);
}

enum ap_rc push_ledger_open(struct push_ledger *ledger, const struct push_options *options, struct ap_err *err)
{
    ledger->options = *options;
    ledger->options.meta_path = NULL;
    ledger->marker_ts_ms = INT64_MIN / 2;
    enum ap_rc rc = meta_open(options->meta_path, &ledger->meta, err);
    return rc == AP_OK ? push_ledger_load(ledger, err) : rc;
}

void push_ledger_close(struct push_ledger *ledger)
{
    push_groups_clear(&ledger->groups);
    meta_close(ledger->meta);
    ledger->meta = NULL;
}
