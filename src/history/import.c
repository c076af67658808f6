#include "history/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/assert.h"
#include "history/import_internal.h"
#include "os/fs.h"

enum {
    UNIT_RANGES_MAX = 27,         /* 54 hours of 2-hour ranges: what their merging comes to in three steps */
    UNIT_SAMPLES_MAX = 200 << 20, /* what a kill may cost: a few seconds to a minute */
    FUTURE_MS_MAX = 3600 * 1000,  /* as tsdb_adopt() allows */
    UNITS_MAX = 1 << 20,
    LOCK_TRIES = 5,
    LOCK_WAIT_US = 50 * 1000,
};

/* ---- Planning ---- */

static int64_t floor_to(int64_t value, int64_t unit)
{
    int64_t rest = value % unit;
    return value - (rest < 0 ? rest + unit : rest);
}

/* How many of `samples` that lie evenly in [first, last] are in [min, max]. */
static uint64_t share(uint64_t samples, int64_t first, int64_t last, int64_t min, int64_t max)
{
    int64_t from = AP_MAX(first, min), to = AP_MIN(last, max);
    if (from > to)
        return 0;
    double part = ((double)to - (double)from + 1) / ((double)last - (double)first + 1);
    return (uint64_t)((double)samples * part);
}

static uint64_t estimate(const struct history_source *source, int64_t min_ts_ms, int64_t max_ts_ms, bool *ret_touches)
{
    uint64_t samples = 0;
    bool touches = false;
    for (size_t i = 0; i < source->block_count; i++) {
        const struct prometheus_block *block = source->blocks[i];
        if (block->first_ts_ms > max_ts_ms || block->last_ts_ms < min_ts_ms)
            continue;
        touches = true;
        samples += share(block->sample_count, block->first_ts_ms, block->last_ts_ms, min_ts_ms, max_ts_ms);
    }
    const struct prometheus_head_facts *head = &source->head_facts;
    if (head->min_ts_ms <= max_ts_ms && head->max_ts_ms >= min_ts_ms) {
        touches = true;
        samples += share(head->sample_count, head->min_ts_ms, head->max_ts_ms, min_ts_ms, max_ts_ms);
    }
    *ret_touches = touches;
    return samples;
}

static uint64_t fingerprint_of(const struct history_import *import, const struct import_unit *unit)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    const struct history_source *source = import->source;
    ap_buf_add_u64(&bytes, (uint64_t)unit->min_ts_ms);
    ap_buf_add_u64(&bytes, (uint64_t)unit->max_ts_ms);
    ap_buf_add_slice(&bytes, import->options.selectors_text);
    for (size_t i = 0; i < source->block_count; i++) {
        const struct prometheus_block *block = source->blocks[i];
        if (block->first_ts_ms <= unit->max_ts_ms && block->last_ts_ms >= unit->min_ts_ms)
            ap_buf_add_u64(&bytes, block->fingerprint);
    }
    const struct prometheus_head_facts *head = &source->head_facts;
    if (head->min_ts_ms <= unit->max_ts_ms && head->max_ts_ms >= unit->min_ts_ms) {
        ap_buf_add_u64(&bytes, head->bytes);
        ap_buf_add_u64(&bytes, head->sample_count);
        ap_buf_add_u64(&bytes, (uint64_t)head->min_ts_ms);
        ap_buf_add_u64(&bytes, (uint64_t)head->max_ts_ms);
    }
    return XXH3_64bits(bytes.data, bytes.bytes);
}

static void add_unit(struct history_import *import, int64_t min_ts_ms, int64_t max_ts_ms, uint64_t samples)
{
    if (import->unit_count % 64 == 0)
        import->units = ap_realloc(import->units, (import->unit_count + 64) * sizeof(*import->units));
    struct import_unit *unit = &import->units[import->unit_count++];
    *unit = (struct import_unit){.min_ts_ms = min_ts_ms, .max_ts_ms = max_ts_ms, .samples_estimate = samples};
    unit->fingerprint = fingerprint_of(import, unit);
    const struct import_note *note = import_state_find(&import->state, unit->fingerprint);
    unit->is_done = note && note->staged[0] == '\0';
    import->facts.units_done += unit->is_done;
    import->facts.samples_estimate += samples;
}

static void find_span(struct history_import *import)
{
    struct history_facts *facts = &import->facts;
    const struct history_source *source = import->source;
    int64_t first = source->head_facts.min_ts_ms, last = source->head_facts.max_ts_ms;
    for (size_t i = 0; i < source->block_count; i++) {
        first = AP_MIN(first, source->blocks[i]->first_ts_ms);
        last = AP_MAX(last, source->blocks[i]->last_ts_ms);
    }
    int64_t future_ms = ap_clock_wall_us(import->options.clock) / AP_US_PER_MS + FUTURE_MS_MAX;
    if (last > future_ms && import->options.to_ms > future_ms)
        facts->future_ts_ms = last;
    facts->first_ts_ms = AP_MAX(first, import->options.from_ms);
    facts->last_ts_ms = AP_MIN(AP_MIN(last, import->options.to_ms), future_ms);
    if (facts->first_ts_ms > facts->last_ts_ms) {
        facts->first_ts_ms = INT64_MAX;
        facts->last_ts_ms = INT64_MIN;
    }
}

/* The largest aligned span in which nowhere are too many samples. */
static enum ap_rc plan(struct history_import *import, struct ap_err *err)
{
    struct history_facts *facts = &import->facts;
    find_span(import);
    if (facts->first_ts_ms > facts->last_ts_ms)
        return AP_OK;
    int64_t range_ms = import->options.block_range_ms;
    int64_t span_ms = range_ms * UNIT_RANGES_MAX;
    while (span_ms > range_ms && span_ms > import->options.unit_ms_max)
        span_ms /= 3;
    for (;; span_ms /= 3) {
        uint64_t most = 0;
        import->unit_count = 0;
        facts->units_done = facts->samples_estimate = 0;
        int64_t start = floor_to(facts->first_ts_ms, span_ms);
        if (((double)facts->last_ts_ms - (double)start) / (double)span_ms > UNITS_MAX)
            return ap_fail(err, AP_E_LIMIT,
                           "the samples span more than %d times %" PRId64 " hours; use --from and --to", UNITS_MAX,
                           span_ms / 3600000);
        for (; start <= facts->last_ts_ms; start += span_ms) {
            bool touches;
            int64_t min = AP_MAX(start, facts->first_ts_ms), max = AP_MIN(start + span_ms - 1, facts->last_ts_ms);
            uint64_t samples = estimate(import->source, min, max, &touches);
            most = AP_MAX(most, samples);
            if (touches)
                add_unit(import, min, max, samples);
        }
        if (most <= UNIT_SAMPLES_MAX || span_ms <= range_ms)
            break;
    }
    facts->unit_ms = span_ms;
    facts->unit_count = import->unit_count;
    return AP_OK;
}

/* ---- Opening ---- */

static void tell(const struct ap_err *err, void *context)
{
    const struct history_import *import = context;
    if (import->options.trouble)
        import->options.trouble(err, import->options.context);
}

static void opened(size_t number, size_t count, void *context)
{
    const struct history_import *import = context;
    if (import->options.progress)
        import->options.progress(&(struct history_progress){HISTORY_OPENING, number, count}, import->options.context);
}

static void fill_facts(struct history_import *import)
{
    struct history_facts *facts = &import->facts;
    const struct history_source *source = import->source;
    facts->head = source->head_facts;
    facts->block_count = source->block_count;
    facts->damaged_blocks = source->damaged_blocks;
    facts->refused_series = source->head_facts.refused_series;
    facts->refusal = source->head_facts.refusal;
    for (size_t i = 0; i < source->block_count; i++) {
        const struct prometheus_block *block = source->blocks[i];
        facts->block_series += block->series_count;
        facts->block_samples += block->sample_count;
        facts->block_bytes += block->bytes;
        if (block->refused_series && facts->refused_series == 0)
            facts->refusal = block->refusal;
        facts->refused_series += block->refused_series;
    }
}

enum ap_rc history_import_open(const struct history_import_options *options, struct history_import **ret_import,
                               struct ap_err *err)
{
    AP_AUTO(history_import) struct history_import *import = ap_new0(struct history_import);
    AP_ASSERT(options->thread_count > 0);
    import->options = *options;
    import->lock_fd = -1;
    import->tsdb_dir = ap_strdup(options->tsdb_dir);
    pthread_mutex_init(&import->mtx, NULL);
    import->trouble.tell = tell;
    import->trouble.context = import;
    const struct history_source_options source_options = {
        .trouble = &import->trouble,
        .opened = opened,
        .context = import,
    };
    enum ap_rc rc = history_source_open(options->dir, &source_options, &import->source, err);
    if (rc != AP_OK)
        return rc;
    import_state_read(import->tsdb_dir, &import->state);
    fill_facts(import);
    rc = plan(import, err);
    if (rc == AP_OK)
        *ret_import = AP_MOVE(import);
    return rc;
}

void history_import_close(struct history_import *import)
{
    if (!import)
        return;
    history_source_close(import->source);
    import_state_clear(&import->state);
    free(import->units);
    free(import->tsdb_dir);
    if (import->lock_fd >= 0)
        close(import->lock_fd);
    pthread_mutex_destroy(&import->mtx);
    free(import);
}

void history_import_facts(const struct history_import *import, struct history_facts *ret_facts)
{
    *ret_facts = import->facts;
}

uint64_t history_import_damages(const struct history_import *import)
{
    return atomic_load(&import->trouble.damages);
}

/* ---- What an earlier run left ---- */

struct staged {
    struct history_import *import;
    int staging_fd;
    const struct history_store *store;
    struct history_report *report;
};

static bool is_noted(const struct import_state *state, const char *name)
{
    for (size_t i = 0; i < state->count; i++)
        if (strcmp(state->notes[i].staged, name) == 0)
            return true;
    return false;
}

static bool unlink_each(void *context, const char *name)
{
    (void)unlinkat(*(const int *)context, name, 0);
    return true;
}

/* Blocks that were not finished, or finished and not noted. */
static bool remove_unnoted(void *context, const char *name)
{
    const struct staged *staged = context;
    if (is_noted(&staged->import->state, name))
        return true;
    int fd = openat(staged->staging_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return true;
    (void)os_fs_system.list(os_fs_system.context, fd, unlink_each, &fd);
    close(fd);
    (void)unlinkat(staged->staging_fd, name, AT_REMOVEDIR);
    return true;
}

/* First forgotten, then moved: a note of a block that is not in staging/ says that it was taken in. */
static enum ap_rc put_aside(const struct staged *staged, uint64_t fingerprint, const char *id, struct ap_err *err)
{
    struct ap_err failed;
    const char *tsdb_dir = staged->import->tsdb_dir;
    AP_AUTO_FREE char *path = ap_asprintf("%s/quarantine", tsdb_dir);
    AP_AUTO_FD int fd = -1;
    enum ap_rc rc = import_state_forget(&staged->import->state, tsdb_dir, fingerprint, &failed);
    if (rc == AP_OK)
        rc = os_dir_open(path, &fd, &failed);
    if (rc == AP_OK && renameat(staged->staging_fd, id, fd, id) != 0)
        rc = ap_fail_errno(&failed, errno, "move staging/%s to quarantine/", id);
    if (rc != AP_OK)
        return ap_err_prefix(err, "%s, after", failed.text);
    return ap_err_prefix(err, "a step's block is damaged and was moved to %s; run this again", path);
}

/* A block that is in staging/ no more was taken in: nobody else takes it from there. */
static enum ap_rc adopt(const struct staged *staged, uint64_t fingerprint, const char *id, struct ap_err *err)
{
    struct tsdb_adoption adoption = {0};
    enum ap_rc rc = staged->store->adopt(staged->store->context, id, &adoption, err);
    if (rc == AP_E_CORRUPT)
        return put_aside(staged, fingerprint, id, err);
    if (rc != AP_OK && rc != AP_E_NOT_FOUND)
        return rc;
    staged->report->samples_added += adoption.samples_added;
    staged->report->samples_same += adoption.samples_same;
    staged->report->samples_other += adoption.samples_other;
    return import_state_note(&staged->import->state, staged->import->tsdb_dir, fingerprint, NULL, err);
}

static enum ap_rc recover(const struct staged *staged, struct ap_err *err)
{
    struct history_import *import = staged->import;
    (void)os_fs_system.list(os_fs_system.context, staged->staging_fd, remove_unnoted, (void *)(uintptr_t)staged);
    for (size_t i = 0; i < import->state.count; i++) {
        const struct import_note note = import->state.notes[i];
        enum ap_rc rc = note.staged[0] ? adopt(staged, note.fingerprint, note.staged, err) : AP_OK;
        if (rc != AP_OK)
            return rc;
    }
    for (size_t i = 0; i < import->unit_count; i++) {
        const struct import_note *note = import_state_find(&import->state, import->units[i].fingerprint);
        import->units[i].is_done = note != NULL;
    }
    return AP_OK;
}

/* ---- Running ---- */

static enum ap_rc build(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err)
{
    const struct staged *staged = context;
    return import_unit_build(import, unit, staged->staging_fd, err);
}

static enum ap_rc finish(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err)
{
    const struct staged *staged = context;
    staged->report->units++;
    staged->report->series += unit->series;
    staged->report->samples_read += unit->samples;
    if (unit->id[0] == '\0')
        return import_state_note(&import->state, import->tsdb_dir, unit->fingerprint, NULL, err);
    enum ap_rc rc = import_state_note(&import->state, import->tsdb_dir, unit->fingerprint, unit->id, err);
    return rc == AP_OK ? adopt(staged, unit->fingerprint, unit->id, err) : rc;
}

enum ap_rc history_import_lock(struct history_import *import, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/import", import->tsdb_dir);
    AP_AUTO_FD int dir_fd = -1, lock_fd = -1;
    if (import->lock_fd >= 0)
        return AP_OK;
    enum ap_rc rc = os_dir_open(path, &dir_fd, err);
    if (rc != AP_OK)
        return rc;
    lock_fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock_fd < 0)
        return ap_fail_errno(err, errno, "open %s/lock", path);
    /* A server that clears up holds it for a moment. */
    for (int tries = 0; flock(lock_fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (tries == LOCK_TRIES)
            return ap_fail(err, AP_E_CONFLICT, "another import is at work on %s", import->tsdb_dir);
        usleep(LOCK_WAIT_US);
    }
    import->lock_fd = AP_MOVE_FD(lock_fd);
    return AP_OK;
}

enum ap_rc history_import_run(struct history_import *import, const struct history_store *store,
                              struct history_report *ret_report, struct ap_err *err)
{
    AP_AUTO_FD int staging_fd = -1;
    AP_AUTO_FREE char *path = ap_asprintf("%s/staging", import->tsdb_dir);
    struct staged staged = {.import = import, .store = store, .report = ret_report};
    *ret_report = (struct history_report){0};
    enum ap_rc rc = history_import_lock(import, err);
    if (rc == AP_OK)
        rc = os_dir_open(path, &staging_fd, err);
    staged.staging_fd = staging_fd;
    if (rc == AP_OK)
        rc = recover(&staged, err);
    const struct import_work work = {.work = build, .finish = finish, .context = &staged, .phase = HISTORY_IMPORTING};
    if (rc == AP_OK)
        rc = import_work_run(import, &work, err);
    ret_report->histograms_refused = import->refusals.histograms;
    ret_report->refusal = import->refusals.first;
    if (rc == AP_OK)
        rc = import_extras(import, store, ret_report, err);
    return rc;
}
