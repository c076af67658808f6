/* A unit of an import: what the source has of a span, as a block; and the threads that work on units. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/random.h"
#include "history/import_internal.h"
#include "os/fs.h"
#include "os/thread.h"

enum { PROGRESS_MS = 100, THREADS_MAX = 64, MIB = 1 << 20 };

struct history_merge *import_unit_merge(struct history_import *import, const struct import_unit *unit,
                                        struct history_trouble *trouble)
{
    const struct history_import_options *options = &import->options;
    return history_merge_new(import->source, &(struct history_merge_options){
                                                 .min_ts_ms = unit->min_ts_ms,
                                                 .max_ts_ms = unit->max_ts_ms,
                                                 .selectors = options->selectors,
                                                 .selector_count = options->selector_count,
                                                 .memory_bytes = options->memory_bytes / options->thread_count,
                                                 .trouble = trouble,
                                             });
}

/* ---- Building ---- */

static enum ap_rc add_all(struct history_import *import, struct import_unit *unit, struct block_writer *writer,
                          struct prometheus_refusals *refusals, struct ap_err *err)
{
    AP_AUTO(history_merge) struct history_merge *merge = import_unit_merge(import, unit, &import->trouble);
    struct history_samples samples = {0};
    enum ap_rc rc = AP_OK;
    for (bool is_end = false; rc == AP_OK;) {
        struct ap_slice labels;
        rc = history_merge_next(merge, &labels, &samples, refusals, &is_end, err);
        if (rc != AP_OK || is_end)
            break;
        uint64_t count = samples.count + samples.histogram_count;
        if (count == 0)
            continue;
        unit->series++;
        unit->samples += count;
        atomic_fetch_add_explicit(&import->samples_done, count, memory_order_relaxed);
        const struct block_samples block_samples = {
            .ts_ms = samples.ts_ms,
            .values = samples.values,
            .count = samples.count,
            .histogram_ts_ms = samples.histogram_ts_ms,
            .histograms = samples.histograms,
            .histogram_count = samples.histogram_count,
        };
        rc = block_writer_add_samples(writer, labels, &block_samples, err);
    }
    history_samples_clear(&samples);
    return rc;
}

static void make_id(const struct history_import *import, char ret_id[BLOCK_ID_BYTES])
{
    struct ap_random random;
    ap_random_init(&random, ap_random_system_seed());
    uint64_t high = ap_random_u64(&random);
    block_id_make(ap_clock_wall_us(import->options.clock) / AP_US_PER_MS, high, ap_random_u64(&random), ret_id);
}

static enum ap_rc check_room(const struct history_import *import, int staging_fd, struct ap_err *err)
{
    struct statvfs disk;
    if (fstatvfs(staging_fd, &disk) != 0)
        return ap_fail_errno(err, errno, "ask for the free space of %s", import->tsdb_dir);
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize, wanted = import->options.free_bytes_min;
    if (free_bytes >= wanted)
        return AP_OK;
    return ap_fail(err, AP_E_FULL, "the disk of %s has %.1f MiB free, and %.1f MiB are left to the server",
                   import->tsdb_dir, (double)free_bytes / MIB, (double)wanted / MIB);
}

enum ap_rc import_unit_build(struct history_import *import, struct import_unit *unit, int staging_fd,
                             struct ap_err *err)
{
    char id[BLOCK_ID_BYTES];
    make_id(import, id);
    struct prometheus_refusals refusals = {0};
    AP_AUTO(block_writer) struct block_writer *writer = NULL;
    unit->series = unit->samples = 0;
    enum ap_rc rc = check_room(import, staging_fd, err);
    if (rc == AP_OK)
        rc = block_writer_new(&os_fs_system, staging_fd, id, &writer, err);
    if (rc == AP_OK)
        rc = add_all(import, unit, writer, &refusals, err);
    if (rc == AP_OK)
        rc = block_writer_finish(writer, &(struct block_meta){.level = 1}, err);
    pthread_mutex_lock(&import->mtx);
    if (import->refusals.histograms == 0)
        import->refusals.first = refusals.first;
    import->refusals.histograms += refusals.histograms;
    pthread_mutex_unlock(&import->mtx);
    if (rc == AP_OK)
        memcpy(unit->id, id, sizeof(unit->id));
    else
        unit->id[0] = '\0';
    return rc == AP_E_NOT_FOUND && unit->samples == 0 ? AP_OK : rc;
}

/* ---- Threads ---- */

struct running {
    struct history_import *import;
    const struct import_work *work;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    /* Under mtx. */
    size_t next;
    size_t active; /* threads */
    size_t *finished;
    size_t finished_count;
    bool is_failed;
    struct ap_err err;
};

static void *run_thread(void *context)
{
    struct running *running = context;
    struct history_import *import = running->import;
    pthread_mutex_lock(&running->mtx);
    while (running->next < import->unit_count && !running->is_failed) {
        size_t index = running->next++;
        struct import_unit *unit = &import->units[index];
        if (unit->is_done && !running->work->is_all)
            continue;
        pthread_mutex_unlock(&running->mtx);
        struct ap_err err;
        enum ap_rc rc = running->work->work(import, unit, running->work->context, &err);
        pthread_mutex_lock(&running->mtx);
        if (rc == AP_OK) {
            running->finished[running->finished_count++] = index;
        } else if (!running->is_failed) {
            running->is_failed = true;
            running->err = err;
        }
        pthread_cond_signal(&running->cond);
    }
    running->active--;
    pthread_cond_signal(&running->cond);
    pthread_mutex_unlock(&running->mtx);
    return NULL;
}

static void tell_progress(struct history_import *import, enum history_phase phase, uint64_t total)
{
    if (import->options.progress)
        import->options.progress(
            &(struct history_progress){.phase = phase, .done = atomic_load(&import->samples_done), .total = total},
            import->options.context);
}

/* What threads finished, until all have ended. */
static void finish_all(struct running *running, uint64_t total)
{
    struct history_import *import = running->import;
    size_t seen = 0;
    pthread_mutex_lock(&running->mtx);
    while (running->active || seen < running->finished_count) {
        if (seen == running->finished_count) {
            (void)os_cond_wait_until(&running->cond, &running->mtx, os_deadline_us(PROGRESS_MS));
            pthread_mutex_unlock(&running->mtx);
            tell_progress(import, running->work->phase, total);
            pthread_mutex_lock(&running->mtx);
            continue;
        }
        struct import_unit *unit = &import->units[running->finished[seen++]];
        if (running->is_failed)
            continue;
        pthread_mutex_unlock(&running->mtx);
        struct ap_err err;
        enum ap_rc rc = running->work->finish(import, unit, running->work->context, &err);
        pthread_mutex_lock(&running->mtx);
        if (rc != AP_OK && !running->is_failed) {
            running->is_failed = true;
            running->err = err;
        }
    }
    pthread_mutex_unlock(&running->mtx);
}

enum ap_rc import_work_run(struct history_import *import, const struct import_work *work, struct ap_err *err)
{
    struct running running = {.import = import, .work = work};
    pthread_t threads[THREADS_MAX];
    size_t thread_count = 0;
    uint64_t total = 0;
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < import->unit_count; i++)
        total += import->units[i].is_done && !work->is_all ? 0 : import->units[i].samples_estimate;
    atomic_store(&import->samples_done, 0);
    running.finished = ap_new0_array(size_t, import->unit_count + 1);
    pthread_mutex_init(&running.mtx, NULL);
    os_cond_init(&running.cond);
    size_t wanted = AP_MIN((size_t)import->options.thread_count, (size_t)THREADS_MAX);
    pthread_mutex_lock(&running.mtx);
    while (thread_count < wanted && rc == AP_OK) {
        rc = os_thread_start("history", run_thread, &running, &threads[thread_count], err);
        if (rc == AP_OK) {
            thread_count++;
            running.active++;
        }
    }
    if (rc != AP_OK) {
        running.is_failed = true;
        running.err = *err;
    }
    pthread_mutex_unlock(&running.mtx);
    finish_all(&running, total);
    for (size_t i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    if (running.is_failed) {
        *err = running.err;
        rc = running.err.rc;
    }
    tell_progress(import, work->phase, total);
    pthread_mutex_destroy(&running.mtx);
    pthread_cond_destroy(&running.cond);
    free(running.finished);
    return rc;
}
