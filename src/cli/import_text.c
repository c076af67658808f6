#include "cli/import_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/tsdb_store.h"
#include "tsdb/labels.h"

enum {
    BAR_WIDTH = 24,
    BAR_INTERVAL_US = 200 * 1000,
    LINE_INTERVAL_US = 5 * 1000 * 1000, /* where there is no terminal */
    TROUBLES_MAX = 100,
    DIFFERENCES_MAX = 100,
};

void import_text_init(struct import_text *text, bool is_json)
{
    *text = (struct import_text){.is_json = is_json, .is_terminal = isatty(STDERR_FILENO) != 0};
    text->began_us = text->told_us = ap_clock_monotonic_us(&ap_clock_system);
    pthread_mutex_init(&text->mtx, NULL);
}

void import_text_clear(struct import_text *text)
{
    ap_buf_clear(&text->differences);
    pthread_mutex_destroy(&text->mtx);
}

/* ---- Standard error ---- */

static void wipe_bar_locked(struct import_text *text)
{
    if (text->has_bar)
        fputs("\r\033[K", stderr);
    text->has_bar = false;
}

void import_text_say(struct import_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&text->mtx);
    wipe_bar_locked(text);
    fputs("apiary import: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    pthread_mutex_unlock(&text->mtx);
    va_end(args);
}

void import_text_trouble(const struct ap_err *err, void *context)
{
    struct import_text *text = context;
    uint64_t told = __atomic_fetch_add(&text->troubles_told, 1, __ATOMIC_RELAXED);
    if (told < TROUBLES_MAX)
        import_text_say(text, "%s", err->text);
    else if (told == TROUBLES_MAX)
        import_text_say(text, "and more of that, which is counted only");
}

/* "12.3 M" */
static void format_count(uint64_t count, char text[32])
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    double value = (double)count;
    size_t unit = 0;
    for (; value >= 10000 && unit + 1 < AP_ARRAY_COUNT(units); unit++)
        value /= 1000;
    snprintf(text, 32, unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

void import_text_progress(const struct history_progress *progress, void *context)
{
    static const char *const names[] = {"looking through blocks", "importing", "verifying"};
    struct import_text *text = context;
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    if (progress->phase != text->phase) {
        text->phase = progress->phase;
        text->began_us = now_us;
    }
    bool is_end = progress->done >= progress->total;
    if (now_us - text->told_us < (text->is_terminal ? BAR_INTERVAL_US : LINE_INTERVAL_US) ||
        (is_end && !text->is_terminal))
        return;
    text->told_us = now_us;
    char done[32], total[32], rate[32];
    double seconds = (double)(now_us - text->began_us) / 1e6;
    double part = progress->total ? AP_MIN((double)progress->done / (double)progress->total, 1.0) : 0;
    format_count(progress->done, done);
    format_count(progress->total, total);
    format_count(seconds > 0 ? (uint64_t)((double)progress->done / seconds) : 0, rate);
    const char *what = progress->phase == HISTORY_OPENING ? "blocks" : "samples";
    pthread_mutex_lock(&text->mtx);
    wipe_bar_locked(text);
    if (text->is_terminal) {
        int width = (int)(part * BAR_WIDTH);
        fprintf(stderr, "%s [%.*s%*s] %3.0f%%  %s of %s %s, %s/s", names[progress->phase], width,
                "########################", BAR_WIDTH - width, "", part * 100, done, total, what, rate);
        if (part > 0.02 && !is_end)
            fprintf(stderr, ", %.0f s left", seconds / part - seconds);
        text->has_bar = true;
        fflush(stderr);
    } else {
        fprintf(stderr, "apiary import: %s: %.0f%%, %s of %s %s, %s/s\n", names[progress->phase], part * 100, done,
                total, what, rate);
    }
    pthread_mutex_unlock(&text->mtx);
}

/* ---- What it found ---- */

void import_text_facts(struct import_text *text, const char *dir, const struct history_facts *facts)
{
    if (text->is_json)
        return;
    char first[32], last[32], bytes[32], head_bytes[32];
    pthread_mutex_lock(&text->mtx);
    wipe_bar_locked(text);
    pthread_mutex_unlock(&text->mtx);
    tsdb_store_format_bytes(facts->block_bytes, bytes);
    tsdb_store_format_bytes(facts->head.bytes, head_bytes);
    printf("found in %s\n", dir);
    printf("  blocks    %" PRIu64 ": %" PRIu64 " series (summed up), %" PRIu64 " samples, %s\n", facts->block_count,
           facts->block_series, facts->block_samples, bytes);
    if (facts->damaged_blocks)
        printf("            and %" PRIu64 " damaged, which are left out\n", facts->damaged_blocks);
    printf("  head      %" PRIu64 " series, %" PRIu64 " samples, %s of logs and chunks\n", facts->head.series_count,
           facts->head.sample_count, head_bytes);
    if (facts->unit_count == 0) {
        printf("  nothing of the time that was asked for\n");
    } else {
        tsdb_store_format_time(facts->first_ts_ms, first);
        tsdb_store_format_time(facts->last_ts_ms, last);
        printf("  time      %s to %s UTC\n", first, last);
        printf("  steps     %" PRIu64 " of %" PRId64 " h; done by earlier runs: %" PRIu64 "\n", facts->unit_count,
               facts->unit_ms / 3600000, facts->units_done);
    }
    if (facts->head.torn_bytes)
        printf("  note      the log ends in the middle of a record (%" PRIu64 " bytes), as after a crash\n",
               facts->head.torn_bytes);
    fflush(stdout);
}

/* ---- What came of it ---- */

static void add_selector_time(struct ap_buf *out, int64_t ts_ms)
{
    char time[AP_TIME_TEXT_BYTES];
    ap_time_format(ts_ms * AP_US_PER_MS, time);
    ap_buf_add_json_string(out, ap_slice_cstr(time));
}

void import_text_difference(const struct history_difference *difference, void *context)
{
    struct import_text *text = context;
    AP_AUTO_BUF struct ap_buf labels = {0};
    labels_format(difference->labels, &labels);
    if (text->is_json) {
        struct ap_buf *json = &text->differences;
        ap_buf_add_cstr(json, json->bytes ? ",{\"series\":" : "{\"series\":");
        ap_buf_add_json_string(json, ap_buf_slice(&labels));
        ap_buf_add_cstr(json, ",\"from\":");
        add_selector_time(json, difference->min_ts_ms);
        ap_buf_add_cstr(json, ",\"to\":");
        add_selector_time(json, difference->max_ts_ms);
        ap_buf_printf(json,
                      ",\"samples\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"other\":%" PRIu64 ",\"checksum\":\"%016" PRIx64
                      "\",\"stored_checksum\":\"%016" PRIx64 "\"}",
                      difference->source_count, difference->store_count, difference->other_count,
                      difference->source_checksum, difference->store_checksum);
        return;
    }
    if (text->differences_told++ >= DIFFERENCES_MAX)
        return;
    char from[32], to[32];
    tsdb_store_format_time(difference->min_ts_ms, from);
    tsdb_store_format_time(difference->max_ts_ms, to);
    pthread_mutex_lock(&text->mtx);
    wipe_bar_locked(text);
    pthread_mutex_unlock(&text->mtx);
    printf("differs: %.*s, %s to %s: %" PRIu64 " samples, %" PRIu64 " missing, %" PRIu64
           " with another value; checksum %016" PRIx64 ", stored %016" PRIx64 "\n",
           AP_SLICE_ARG(ap_buf_slice(&labels)), from, to, difference->source_count,
           difference->source_count - difference->store_count, difference->other_count, difference->source_checksum,
           difference->store_checksum);
}

bool import_outcome_is_clean(const struct import_outcome *outcome)
{
    const struct history_facts *facts = &outcome->facts;
    return outcome->damages == 0 && facts->refused_series == 0 && facts->head.unknown_records == 0 &&
           facts->future_ts_ms == 0 && outcome->report.histograms_refused == 0 &&
           outcome->verification.differing_series == 0;
}

static void add_report(const struct history_report *report, struct ap_buf *json)
{
    ap_buf_printf(json,
                  ",\"import\":{\"steps\":%" PRIu64 ",\"samples_read\":%" PRIu64 ",\"samples_added\":%" PRIu64
                  ",\"samples_same\":%" PRIu64 ",\"samples_other\":%" PRIu64 ",\"histograms_refused\":%" PRIu64
                  ",\"exemplars\":%" PRIu64 ",\"metadata\":%" PRIu64 "}",
                  report->units, report->samples_read, report->samples_added, report->samples_same,
                  report->samples_other, report->histograms_refused, report->exemplars, report->metadata);
}

static void add_verification(const struct import_text *text, const struct history_verification *verification,
                             struct ap_buf *json)
{
    ap_buf_printf(json,
                  ",\"verification\":{\"series\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"checksum\":\"%016" PRIx64
                  "\",\"stored_checksum\":\"%016" PRIx64 "\",\"differing_series\":%" PRIu64
                  ",\"missing_samples\":%" PRIu64 ",\"other_samples\":%" PRIu64 ",\"differences\":[",
                  verification->series, verification->samples, verification->checksum, verification->store_checksum,
                  verification->differing_series, verification->missing_samples, verification->other_samples);
    ap_buf_add_slice(json, ap_buf_slice(&text->differences));
    ap_buf_add_cstr(json, "]}");
}

static void print_json(const struct import_text *text, const char *dir, const struct import_outcome *outcome)
{
    const struct history_facts *facts = &outcome->facts;
    AP_AUTO_BUF struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"directory\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(dir));
    ap_buf_printf(&json,
                  ",\"blocks\":%" PRIu64 ",\"damaged_blocks\":%" PRIu64 ",\"block_samples\":%" PRIu64
                  ",\"bytes\":%" PRIu64 ",\"head_series\":%" PRIu64 ",\"head_samples\":%" PRIu64,
                  facts->block_count, facts->damaged_blocks, facts->block_samples,
                  facts->block_bytes + facts->head.bytes, facts->head.series_count, facts->head.sample_count);
    if (facts->unit_count) {
        ap_buf_add_cstr(&json, ",\"from\":");
        add_selector_time(&json, facts->first_ts_ms);
        ap_buf_add_cstr(&json, ",\"to\":");
        add_selector_time(&json, facts->last_ts_ms);
    }
    ap_buf_printf(&json,
                  ",\"steps\":%" PRIu64 ",\"steps_done_before\":%" PRIu64 ",\"refused_series\":%" PRIu64
                  ",\"lost_samples\":%" PRIu64 ",\"unknown_records\":%" PRIu64 ",\"damages\":%" PRIu64,
                  facts->unit_count, facts->units_done, facts->refused_series, facts->head.lost_samples,
                  facts->head.unknown_records, outcome->damages);
    if (outcome->has_imported)
        add_report(&outcome->report, &json);
    if (outcome->has_verified)
        add_verification(text, &outcome->verification, &json);
    ap_buf_add_cstr(&json, ",\"seconds\":");
    ap_buf_add_json_double(&json, outcome->seconds);
    printf("%.*s}\n", AP_SLICE_ARG(ap_buf_slice(&json)));
}

/* What was left out, and why; each with what it means. */
static void print_left_out(const struct import_outcome *outcome)
{
    const struct history_facts *facts = &outcome->facts;
    if (outcome->damages)
        printf("damage    %" PRIu64 " places in the source are damaged; what they held is not there\n",
               outcome->damages);
    if (facts->refused_series)
        printf("refused   %" PRIu64 " series, for their labels; the first: %s\n", facts->refused_series,
               facts->refusal.text);
    if (outcome->report.histograms_refused)
        printf("refused   %" PRIu64 " histograms; the first: %s\n", outcome->report.histograms_refused,
               outcome->report.refusal.text);
    if (facts->head.lost_samples)
        printf("left out  %" PRIu64 " samples of the log that belong to series which it does not name\n",
               facts->head.lost_samples);
    if (facts->head.unknown_records)
        printf("left out  %" PRIu64 " records of the log that a newer Prometheus wrote\n", facts->head.unknown_records);
    if (facts->future_ts_ms) {
        char time[32];
        tsdb_store_format_time(facts->future_ts_ms, time);
        printf("left out  samples more than an hour ahead of the clock, the newest of %s UTC\n", time);
    }
}

void import_text_outcome(struct import_text *text, const char *dir, const struct import_outcome *outcome)
{
    pthread_mutex_lock(&text->mtx);
    wipe_bar_locked(text);
    pthread_mutex_unlock(&text->mtx);
    if (text->is_json) {
        print_json(text, dir, outcome);
        return;
    }
    const struct history_report *report = &outcome->report;
    const struct history_verification *verification = &outcome->verification;
    if (outcome->has_imported) {
        printf("imported  %" PRIu64 " samples in %" PRIu64 " steps", report->samples_added, report->units);
        if (report->samples_same)
            printf("; %" PRIu64 " were there already", report->samples_same);
        if (report->samples_other)
            printf("; %" PRIu64 " have another value in Apiary, which stays", report->samples_other);
        printf("\n");
        if (report->exemplars || report->metadata)
            printf("          %" PRIu64 " exemplars, %" PRIu64 " metadata records\n", report->exemplars,
                   report->metadata);
    }
    print_left_out(outcome);
    if (!outcome->has_verified)
        return;
    if (text->differences_told > DIFFERENCES_MAX)
        printf("… and %" PRIu64 " series more\n", text->differences_told - DIFFERENCES_MAX);
    if (verification->differing_series)
        printf("verified  %" PRIu64 " series differ: %" PRIu64 " samples missing, %" PRIu64
               " with another value, of %" PRIu64 " samples in %" PRIu64 " series\n",
               verification->differing_series, verification->missing_samples, verification->other_samples,
               verification->samples, verification->series);
    else
        printf("verified  %" PRIu64 " samples in %" PRIu64
               " series: all are in Apiary, to the bit (checksum %016" PRIx64 ")\n",
               verification->samples, verification->series, verification->checksum);
}
