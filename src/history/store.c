#include "history/store.h"

#include "os/thread.h"
#include "tsdb/labels.h"

static enum ap_rc adopt(void *context, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err)
{
    return tsdb_adopt(context, id, ret_adoption, err);
}

/* Waiting for the log. */
struct logging {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool is_done; /* under mtx */
    enum ap_rc rc;
};

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct logging *logging = append->context;
    pthread_mutex_lock(&logging->mtx);
    logging->is_done = true;
    logging->rc = rc;
    pthread_cond_signal(&logging->cond);
    pthread_mutex_unlock(&logging->mtx);
}

static enum ap_rc add_extras(void *context, struct batch *batch, uint64_t *ret_exemplars, struct ap_err *err)
{
    struct tsdb *tsdb = context;
    struct logging logging = {.is_done = false};
    struct tsdb_append append = {.batch = batch, .done = done, .context = &logging};
    for (size_t i = 0; i < batch->series_count; i++)
        batch->series[i].hash = labels_hash_of(tsdb_hash_seed(tsdb), batch->series[i].labels);
    pthread_mutex_init(&logging.mtx, NULL);
    os_cond_init(&logging.cond);
    enum ap_rc rc = tsdb_append(tsdb, &append, err);
    if (rc == AP_OK) {
        pthread_mutex_lock(&logging.mtx);
        while (!logging.is_done)
            (void)pthread_cond_wait(&logging.cond, &logging.mtx);
        pthread_mutex_unlock(&logging.mtx);
        if (logging.rc != AP_OK)
            rc = ap_fail(err, logging.rc, "the log did not take exemplars and metadata");
    }
    pthread_mutex_destroy(&logging.mtx);
    pthread_cond_destroy(&logging.cond);
    if (rc == AP_OK)
        *ret_exemplars = append.outcome.exemplars_written;
    return rc;
}

struct history_store history_store_local(struct tsdb *tsdb)
{
    return (struct history_store){.adopt = adopt, .add_extras = add_extras, .context = tsdb};
}
