#include "promql/storage.h"

static enum ap_rc tsdb_storage_select(void *context, const struct matchers *matchers, int64_t min_ts_ms,
                                      int64_t max_ts_ms, uint64_t series_max, void **ret_set, struct ap_err *err)
{
    struct tsdb_select_options options = {matchers, min_ts_ms, max_ts_ms, series_max};
    struct tsdb_set *set = NULL;
    enum ap_rc rc = tsdb_select(context, &options, &set, err);
    *ret_set = set;
    return rc;
}

static size_t tsdb_storage_count(const void *set)
{
    return tsdb_set_count(set);
}

static struct ap_slice tsdb_storage_labels(const void *set, size_t index)
{
    return tsdb_set_labels(set, index);
}

static enum ap_rc tsdb_storage_read(void *set, size_t index, struct tsdb_columns *columns, struct ap_err *err)
{
    return tsdb_set_read(set, index, columns, err);
}

static void tsdb_storage_free(void *set)
{
    tsdb_set_free(set);
}

static uint64_t tsdb_storage_mark(void *context)
{
    return tsdb_change_mark(context);
}

static int64_t tsdb_storage_changed_since(void *context, uint64_t mark)
{
    return tsdb_changed_since(context, mark);
}

struct promql_storage promql_storage_tsdb(struct tsdb *tsdb)
{
    static const struct promql_storage_class class = {
        .select = tsdb_storage_select,
        .count = tsdb_storage_count,
        .labels = tsdb_storage_labels,
        .read = tsdb_storage_read,
        .free = tsdb_storage_free,
        .mark = tsdb_storage_mark,
        .changed_since = tsdb_storage_changed_since,
    };
    return (struct promql_storage){&class, tsdb};
}
