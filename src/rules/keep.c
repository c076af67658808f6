#include "rules/keep.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "promql/float_histogram.h"
#include "tsdb/tsdb.h"

struct rules_keep {
    struct tsdb *tsdb;
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t pending_count; /* appends that the log has yet to answer; under mutex */
};

/* What one rule gave, until both the log and rules_keep() are done with it. */
struct kept {
    struct tsdb_append append;
    struct rules_keep *keep;
    uint32_t holder_count; /* atomic */
};

static void let_go(struct kept *kept)
{
    if (__atomic_sub_fetch(&kept->holder_count, 1, __ATOMIC_ACQ_REL) == 0)
        free(kept);
}

static void count_pending(struct rules_keep *keep, int change)
{
    pthread_mutex_lock(&keep->mutex);
    keep->pending_count += change;
    pthread_cond_broadcast(&keep->changed);
    pthread_mutex_unlock(&keep->mutex);
}

static void appended(struct tsdb_append *append, enum ap_rc rc)
{
    struct kept *kept = append->context;
    struct rules_keep *keep = kept->keep;
    if (rc != AP_OK) {
        struct ap_err err;
        (void)ap_fail(&err, rc, "the log did not take what rules gave; after a crash it may be missing");
        keep->trouble(&err, keep->context);
    }
    let_go(kept);
    count_pending(keep, -1);
}

/* Histograms become bytes in `arena`. */
static enum ap_rc fill(struct batch *batch, const struct rules_sample *samples, size_t count, uint64_t seed,
                       struct ap_arena *arena, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf blob = {0};
    for (size_t i = 0; i < count; i++) {
        (void)batch_add_series(batch, samples[i].labels, labels_hash_of(seed, samples[i].labels));
        if (!samples[i].histogram) {
            batch_add_sample(batch, samples[i].ts_ms, samples[i].value);
            continue;
        }
        ap_buf_reset(&blob);
        float_histogram_encode(samples[i].histogram, arena, &blob);
        struct ap_slice bytes = ap_buf_slice(&blob);
        const char *copy = ap_arena_try_strndup(arena, bytes);
        if (!copy)
            return ap_fail(err, AP_E_NOMEM, "no memory for a histogram of %zu bytes", bytes.bytes);
        batch_add_histogram(batch, samples[i].ts_ms, ap_slice(copy, bytes.bytes));
    }
    return AP_OK;
}

static enum ap_rc append(struct rules_keep *keep, const struct batch *batch, struct ap_err *err)
{
    struct kept *kept = ap_new0(struct kept);
    kept->keep = keep;
    kept->holder_count = 2;
    kept->append.batch = batch;
    kept->append.done = appended;
    kept->append.context = kept;
    kept->append.can_wait = true;
    count_pending(keep, 1);
    enum ap_rc rc = tsdb_append(keep->tsdb, &kept->append, err);
    if (rc != AP_OK) { /* appended() was not and will not be called */
        let_go(kept);
        count_pending(keep, -1);
    } else if (kept->append.outcome.samples_refused) {
        rc = ap_fail(err, AP_E_CONFLICT, "%" PRIu64 " samples were refused; the first: %s",
                     kept->append.outcome.samples_refused, kept->append.outcome.reason);
    }
    let_go(kept);
    return rc;
}

enum ap_rc rules_keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    struct rules_keep *keep = context;
    struct batch batch = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    enum ap_rc rc = fill(&batch, samples, count, tsdb_hash_seed(keep->tsdb), &arena, err);
    if (rc == AP_OK)
        rc = append(keep, &batch, err);
    batch_clear(&batch);
    return rc;
}

struct rules_keep *rules_keep_new(struct tsdb *tsdb, void (*trouble)(const struct ap_err *err, void *context),
                                  void *context)
{
    struct rules_keep *keep = ap_new0(struct rules_keep);
    keep->tsdb = tsdb;
    keep->trouble = trouble;
    keep->context = context;
    pthread_mutex_init(&keep->mutex, NULL);
    pthread_cond_init(&keep->changed, NULL);
    return keep;
}

void rules_keep_free(struct rules_keep *keep)
{
    if (!keep)
        return;
    pthread_mutex_lock(&keep->mutex);
    while (keep->pending_count)
        pthread_cond_wait(&keep->changed, &keep->mutex);
    pthread_mutex_unlock(&keep->mutex);
    pthread_cond_destroy(&keep->changed);
    pthread_mutex_destroy(&keep->mutex);
    free(keep);
}
