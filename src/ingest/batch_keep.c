#include "ingest/batch_keep.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct batch_keeper {
    /* Constant. */
    struct tsdb *tsdb;
    metrics_append_fn append;
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
    /* Under mtx, a leaf. */
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    size_t pending_count;
};

/* One batch, until both the log and batch_keep() are done with it. */
struct kept {
    struct tsdb_append append;
    struct batch_keeper *keeper;
    uint32_t holder_count; /* atomic */
};

struct batch_keeper *batch_keeper_new(struct tsdb *tsdb, metrics_append_fn append,
                                      void (*trouble)(const struct ap_err *err, void *context), void *context)
{
    struct batch_keeper *keeper = ap_new0(struct batch_keeper);
    keeper->tsdb = tsdb;
    keeper->append = append;
    keeper->trouble = trouble;
    keeper->context = context;
    pthread_mutex_init(&keeper->mtx, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    return keeper;
}

void batch_keeper_free(struct batch_keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->mtx);
    while (keeper->pending_count)
        pthread_cond_wait(&keeper->changed, &keeper->mtx);
    pthread_mutex_unlock(&keeper->mtx);
    pthread_mutex_destroy(&keeper->mtx);
    pthread_cond_destroy(&keeper->changed);
    free(keeper);
}

bool batch_keeper_is_behind(struct batch_keeper *keeper)
{
    pthread_mutex_lock(&keeper->mtx);
    bool is_behind = keeper->pending_count > 0;
    pthread_mutex_unlock(&keeper->mtx);
    return is_behind;
}

static void tell(const struct batch_keeper *keeper, const struct ap_err *err)
{
    if (keeper->trouble)
        keeper->trouble(err, keeper->context);
}

static void let_go(struct kept *kept)
{
    if (__atomic_sub_fetch(&kept->holder_count, 1, __ATOMIC_ACQ_REL) == 0)
        free(kept);
}

/* The last thing that is done with a batch: the keeper may go away then. */
static void count_pending(struct batch_keeper *keeper, bool is_more)
{
    pthread_mutex_lock(&keeper->mtx);
    keeper->pending_count += is_more ? 1 : -(size_t)1;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mtx);
}

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct kept *kept = append->context;
    struct batch_keeper *keeper = kept->keeper;
    if (rc != AP_OK) {
        struct ap_err err;
        (void)ap_fail(&err, rc, "the log did not take the samples; after a crash they may be missing");
        tell(keeper, &err);
    }
    let_go(kept);
    count_pending(keeper, false);
}

enum ap_rc batch_keep(struct batch_keeper *keeper, const struct batch *batch, struct tsdb_outcome *ret_outcome)
{
    struct kept *kept = ap_new0(struct kept);
    kept->keeper = keeper;
    kept->holder_count = 2;
    kept->append.batch = batch;
    kept->append.done = done;
    kept->append.context = kept;
    count_pending(keeper, true);
    struct ap_err err;
    enum ap_rc rc = keeper->append(keeper->tsdb, &kept->append, &err);
    *ret_outcome = kept->append.outcome;
    if (rc != AP_OK) { /* done() was not and will not be called */
        tell(keeper, &err);
        *ret_outcome = (struct tsdb_outcome){0};
        let_go(kept);
        count_pending(keeper, false);
    } else if (ret_outcome->samples_refused) {
        (void)ap_fail(&err, AP_E_LIMIT, "%" PRIu64 " samples were refused. First: %s", ret_outcome->samples_refused,
                      ret_outcome->reason);
        tell(keeper, &err);
    }
    let_go(kept);
    return rc;
}
