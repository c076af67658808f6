#include "scrape/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "scrape/failure_log.h"

enum {
    METADATA_EVERY_PAGES = 240, /* unchanged metadata is said again then, in case the store has lost it */
    TROUBLE_EVERY_S = 60,       /* of one target */
    BODY_KEPT_BYTES = 1 << 20,
};

/* ---- What was told of it ---- */

static char *put(char **at, const void *data, size_t bytes)
{
    char *to = *at;
    if (bytes)
        memcpy(to, data, bytes);
    *at += bytes;
    return to;
}

static struct ap_slice put_slice(char **at, struct ap_slice slice)
{
    return ap_slice(put(at, slice.data, slice.bytes), slice.bytes);
}

struct target_info *target_info_new(const struct scrape_target *from)
{
    size_t params_bytes = from->param_count * sizeof(*from->params);
    size_t bytes = strlen(from->url) + 1 + from->labels.bytes + from->discovered.bytes + from->address.bytes;
    for (size_t i = 0; i < from->param_count; i++)
        bytes += from->params[i].name.bytes + from->params[i].value.bytes;
    struct target_info *info = ap_alloc0(1, sizeof(*info) + params_bytes + bytes);
    struct label *params = (struct label *)(void *)(info + 1);
    char *at = (char *)(params + from->param_count);
    info->ref_count = 1;
    info->shown = *from;
    info->shown.job = scrape_job_ref(from->job);
    info->shown.url = put(&at, from->url, strlen(from->url) + 1);
    info->shown.labels = put_slice(&at, from->labels);
    info->shown.discovered = put_slice(&at, from->discovered);
    info->shown.address = put_slice(&at, from->address);
    for (size_t i = 0; i < from->param_count; i++) {
        params[i].name = put_slice(&at, from->params[i].name);
        params[i].value = put_slice(&at, from->params[i].value);
    }
    info->shown.params = params;
    return info;
}

struct target_info *target_info_ref(struct target_info *info)
{
    __atomic_add_fetch(&info->ref_count, 1, __ATOMIC_RELAXED);
    return info;
}

void target_info_unref(struct target_info *info)
{
    if (!info || __atomic_sub_fetch(&info->ref_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    scrape_job_unref(info->shown.job);
    free(info);
}

struct target *target_new(const struct scrape_target *from, uint64_t cache_seed, uint64_t hash_seed)
{
    struct target *target = ap_new0(struct target);
    target->ref_count = 1;
    target->info = target_info_new(from);
    target->heap_index = SIZE_MAX;
    pthread_mutex_init(&target->cache_mutex, NULL);
    line_cache_init(&target->cache, cache_seed);
    report_init(&target->report, target->info->shown.labels, hash_seed);
    return target;
}

struct target *target_ref(struct target *target)
{
    __atomic_add_fetch(&target->ref_count, 1, __ATOMIC_RELAXED);
    return target;
}

static void drop_old_cache(struct target *target)
{
    if (!target->old_cache)
        return;
    line_cache_clear(target->old_cache);
    free(target->old_cache);
    target->old_cache = NULL;
}

void target_unref(struct target *target)
{
    if (!target || __atomic_sub_fetch(&target->ref_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    target_info_unref(target->info);
    target_info_unref(target->asked);
    target_info_unref(target->made_by);
    free(target->last_error);
    ap_buf_clear(&target->answer.body);
    line_cache_clear(&target->cache);
    drop_old_cache(target);
    pthread_mutex_destroy(&target->cache_mutex);
    free(target);
}

void target_desk_init(struct target_desk *desk, struct keeper *keeper)
{
    *desk = (struct target_desk){
        .keeper = keeper, .page = page_new(), .keeping = keeping_new(keeper), .inflate = inflate_new()};
}

void target_desk_clear(struct target_desk *desk)
{
    page_free(desk->page);
    keeping_free(desk->keeping);
    inflate_free(desk->inflate);
}

/* ---- One scrape ---- */

/* What is done with one page. */
struct finishing {
    struct target *target;
    struct target_desk *desk;
    const struct scrape_target *shown; /* as it was when it was asked */
    struct ap_slice body;
    char *unpacked; /* owned */
    struct ap_err err;
    bool is_over_limit;
};

static enum ap_rc over_limit(struct finishing *finishing)
{
    finishing->is_over_limit = true;
    return ap_fail(&finishing->err, AP_E_LIMIT, "body size limit exceeded");
}

static enum ap_rc unpack(struct finishing *finishing)
{
    const struct fetch_answer *answer = &finishing->target->answer;
    uint64_t limit = finishing->shown->job->limits.body_bytes_max;
    finishing->body = ap_buf_slice(&answer->body);
    if (answer->is_gzip && finishing->body.bytes) {
        size_t max = limit && limit < FETCH_BODY_BYTES_MAX ? (size_t)limit : (size_t)FETCH_BODY_BYTES_MAX;
        size_t bytes = 0;
        enum ap_rc rc = inflate_body(finishing->desk->inflate, INFLATE_GZIP, finishing->body, max, &finishing->unpacked,
                                     &bytes, &finishing->err);
        if (rc == AP_E_LIMIT)
            return over_limit(finishing);
        if (rc != AP_OK)
            return rc;
        finishing->body = ap_slice(finishing->unpacked, bytes);
    }
    /* A body of exactly so many bytes is over it, as in Prometheus. */
    return limit && finishing->body.bytes >= limit ? over_limit(finishing) : AP_OK;
}

static enum ap_rc read_page(struct finishing *finishing)
{
    const struct fetch_answer *answer = &finishing->target->answer;
    struct ap_err *err = &finishing->err;
    enum page_format format = PAGE_FORMAT_TEXT;
    enum ap_rc rc = unpack(finishing);
    if (rc == AP_OK && finishing->body.bytes) /* an empty page is one in any format */
        rc = content_type_format(ap_slice_cstr(answer->content_type), finishing->shown->job->fallback, &format, err);
    if (rc != AP_OK || finishing->body.bytes == 0)
        return rc;
    switch (format) {
    case PAGE_FORMAT_PROTOBUF:
        return page_read_protobuf(finishing->desk->page, finishing->body, err);
    case PAGE_FORMAT_TEXT:
        return page_read_text(finishing->desk->page, EXPOSITION_TEXT, finishing->body, err);
    case PAGE_FORMAT_OPENMETRICS:
        return page_read_text(finishing->desk->page, EXPOSITION_OPENMETRICS, finishing->body, err);
    }
    return AP_E_INTERNAL;
}

/* What lines become depends on these alone. */
static bool is_making_the_same(const struct scrape_job *a, const struct scrape_job *b)
{
    return a == b || (a->metric_relabel == b->metric_relabel && a->is_honoring_labels == b->is_honoring_labels &&
                      a->limits.labels_max == b->limits.labels_max &&
                      a->limits.label_name_bytes_max == b->limits.label_name_bytes_max &&
                      a->limits.label_value_bytes_max == b->limits.label_value_bytes_max);
}

/* After a reload lines may become other series; those that they were have to end, unless they are told again. */
static void check_rules(struct target *target)
{
    if (target->made_by && !is_making_the_same(target->made_by->shown.job, target->asked->shown.job) &&
        target->cache.count) {
        drop_old_cache(target);
        target->old_cache = ap_new0(struct line_cache);
        *target->old_cache = target->cache;
        line_cache_init(&target->cache, target->old_cache->seed);
        if (target->is_marked)
            drop_old_cache(target);
        target->is_marked = false;
    }
    if (target->made_by == target->asked)
        return;
    target_info_unref(target->made_by);
    target->made_by = target_info_ref(target->asked);
}

static void begin_page(struct finishing *finishing)
{
    struct target *target = finishing->target;
    struct target_desk *desk = finishing->desk;
    uint64_t failures = keeper_failures(desk->keeper);
    struct page_options options = {
        .job = finishing->shown->job,
        .target_labels = finishing->shown->labels,
        .ts_ms = target->ts_ms,
        .hash_seed = keeper_hash_seed(desk->keeper),
        .is_wanting_start_times = desk->is_wanting_start_times,
        .is_telling_all_metadata =
            failures != target->seen_failures || ++target->page_count % METADATA_EVERY_PAGES == 0,
    };
    target->seen_failures = failures;
    page_begin(desk->page, &options, &target->cache);
}

static void keep_good(struct finishing *finishing)
{
    struct target *target = finishing->target;
    struct keeping *keeping = finishing->desk->keeping;
    keep_page(keeping);
    if (!target->is_marked)
        keep_markers_of_missing(keeping);
    target->is_marked = false;
}

static void keep_bad(struct finishing *finishing)
{
    struct target *target = finishing->target;
    line_cache_drop(&target->cache);
    if (!target->is_marked)
        keep_markers_of_all(finishing->desk->keeping, &target->cache);
    target->is_marked = true;
}

static void keep_figures(struct finishing *finishing, int64_t duration_us)
{
    struct target *target = finishing->target;
    const struct page *page = finishing->desk->page;
    const struct scrape_job *job = finishing->shown->job;
    bool is_up = finishing->err.rc == AP_OK;
    double body_bytes = is_up ? (double)finishing->body.bytes : finishing->is_over_limit ? -1 : 0;
    const double values[REPORT_COUNT] = {
        [REPORT_UP] = is_up,
        [REPORT_DURATION_SECONDS] = (double)duration_us / 1e6,
        [REPORT_SAMPLES_SCRAPED] = (double)page->sample_count,
        [REPORT_SAMPLES_POST_METRIC_RELABELING] = (double)page->kept_count,
        [REPORT_SERIES_ADDED] = is_up ? (double)page->series_added : 0,
        [REPORT_TIMEOUT_SECONDS] = (double)finishing->shown->timeout_ms / 1e3,
        [REPORT_SAMPLE_LIMIT] = (double)job->limits.samples_max,
        [REPORT_BODY_SIZE_BYTES] = body_bytes,
    };
    target->has_report |= job->is_extra_metrics;
    keep_report(finishing->desk->keeping, values,
                job->is_extra_metrics ? (size_t)REPORT_COUNT : (size_t)REPORT_BASIC_COUNT);
}

static bool may_tell(int64_t *told_us)
{
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    if (*told_us && now_us - *told_us < TROUBLE_EVERY_S * AP_US_PER_S)
        return false;
    *told_us = now_us;
    return true;
}

/* What is left out does not make a target down; it is told, seldom. */
static void tell_page(struct finishing *finishing)
{
    struct target *target = finishing->target;
    const struct page *page = finishing->desk->page;
    if (page->duplicate_count + page->future_count == 0 || !may_tell(&target->told_us))
        return;
    struct ap_err err;
    (void)ap_fail(&err, AP_E_CONFLICT,
                  "job %s, target %s: samples were left out: %" PRIu64 " told twice, %" PRIu64
                  " more than ten minutes in the future",
                  finishing->shown->job->name, finishing->shown->url, page->duplicate_count, page->future_count);
    finishing->desk->trouble(&err, finishing->desk->context);
}

static void log_failure(struct finishing *finishing)
{
    struct target_desk *desk = finishing->desk;
    struct ap_err err;
    if (finishing->err.rc != AP_OK && finishing->shown->job->failure_log_file &&
        failure_log_add(finishing->shown, finishing->err.text, &err) != AP_OK && may_tell(&desk->log_told_us))
        desk->trouble(&err, desk->context);
}

uint64_t target_desk_flush(struct target_desk *desk)
{
    struct keep_outcome outcome;
    struct ap_err err;
    keep_flush(desk->keeping, &outcome);
    uint64_t outside = outcome.refused_old + outcome.refused_future;
    uint64_t refused = outcome.refused_duplicate + outside + outcome.refused_other;
    if ((refused == 0 && outcome.rc == AP_OK) || !may_tell(&desk->told_us))
        return refused;
    if (outcome.rc != AP_OK)
        (void)ap_fail(&err, outcome.rc, "the store did not take what was scraped: %s", outcome.reason);
    else
        (void)ap_fail(&err, AP_E_CONFLICT,
                      "scraped samples were left out: %" PRIu64 " with another value for a time that has one, %" PRIu64
                      " too old or too far in the future, %" PRIu64 " for other reasons; first: %s",
                      outcome.refused_duplicate, outside, outcome.refused_other, outcome.reason);
    desk->trouble(&err, desk->context);
    return refused;
}

void target_finish(struct target *target, struct target_desk *desk, struct target_result *ret_result)
{
    struct finishing finishing = {.target = target, .desk = desk, .shown = &target->asked->shown};
    struct page *page = desk->page;
    int64_t began_us = ap_clock_monotonic_us(&ap_clock_system);
    struct ap_err failure = target->answer.err; /* of a collector whose page is kept */
    if (!target->answer.is_kept)
        finishing.err = failure;
    finishing.is_over_limit = target->answer.is_over_limit;
    uint64_t refused = 0;
    pthread_mutex_lock(&target->cache_mutex);
    check_rules(target);
    begin_page(&finishing);
    if (finishing.err.rc == AP_OK)
        finishing.err.rc = read_page(&finishing);
    bool is_page_good = finishing.err.rc == AP_OK;
    /* What waits for others must not need the page, which the next target takes. */
    bool is_waiting =
        page->extra_count + page->metadata_count == 0 && !target->old_cache &&
        (is_page_good ? line_cache_is_same(&target->cache) : target->cache.count == target->cache.known_count);
    target->report.target_labels = finishing.shown->labels;
    keep_begin(desk->keeping, target->ts_ms, page, &target->cache, &target->report);
    if (is_page_good)
        keep_good(&finishing);
    else
        keep_bad(&finishing);
    if (target->answer.is_kept)
        finishing.err = failure;
    if (target->old_cache)
        keep_markers_of_all(desk->keeping, target->old_cache);
    /* Not what it waited for its turn. */
    int64_t duration_us = target->answer.duration_us + ap_clock_monotonic_us(&ap_clock_system) - began_us;
    keep_figures(&finishing, duration_us);
    if (!is_waiting)
        refused = target_desk_flush(desk);
    if (is_page_good)
        line_cache_keep(&target->cache);
    drop_old_cache(target);
    pthread_mutex_unlock(&target->cache_mutex);
    tell_page(&finishing);
    log_failure(&finishing);
    *ret_result = (struct target_result){
        .err = finishing.err,
        .duration_us = duration_us,
        .samples = page->sample_count,
        .samples_refused = refused + page->duplicate_count + page->future_count,
        .body_bytes = finishing.body.bytes,
    };
    free(finishing.unpacked);
    ap_buf_clear(&target->answer.body);
}

void target_end(struct target *target, struct target_desk *desk)
{
    pthread_mutex_lock(&target->cache_mutex);
    keep_begin(desk->keeping, target->stale_ms, desk->page, &target->cache, &target->report);
    if (!target->is_marked)
        keep_markers_of_all(desk->keeping, &target->cache);
    if (target->old_cache)
        keep_markers_of_all(desk->keeping, target->old_cache);
    keep_report(desk->keeping, NULL, target->has_report ? (size_t)REPORT_COUNT : (size_t)REPORT_BASIC_COUNT);
    pthread_mutex_unlock(&target->cache_mutex);
}
