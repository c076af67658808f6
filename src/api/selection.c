#include "api/selection.h"

#include <string.h>

#include "base/mem.h"

static enum ap_rc read_matchers(const struct params *params, struct selection *selection, struct ap_err *err)
{
    struct ap_slice text;
    for (size_t at = 0; params_next(params, "match[]", &at, &text);) {
        if (selection->count == SELECTION_MATCHERS_MAX)
            return ap_fail(err, AP_E_PARSE, "at most %d match[] are allowed", SELECTION_MATCHERS_MAX);
        if (matchers_parse(text, &selection->items[selection->count], err) != AP_OK) {
            err->rc = AP_E_PARSE; /* too complex an expression is the client's fault as well */
            return ap_err_prefix(err, "invalid parameter \"match[]\"");
        }
        selection->count++;
    }
    return AP_OK;
}

enum ap_rc selection_read(const struct params *params, bool is_needed, struct selection *ret_selection,
                          struct ap_err *err)
{
    *ret_selection = (struct selection){.items = ap_new0_array(struct matchers, SELECTION_MATCHERS_MAX)};
    enum ap_rc rc = read_matchers(params, ret_selection, err);
    if (rc == AP_OK && is_needed && ret_selection->count == 0)
        rc = ap_fail(err, AP_E_PARSE, "no match[] parameter provided");
    if (rc == AP_OK)
        rc = params_time(params, "start", PARAMS_TS_MIN_MS, &ret_selection->min_ts_ms, err);
    if (rc == AP_OK)
        rc = params_time(params, "end", PARAMS_TS_MAX_MS, &ret_selection->max_ts_ms, err);
    return rc;
}

bool selection_is_of_no_time(const struct selection *selection)
{
    return selection->max_ts_ms < selection->min_ts_ms;
}

enum ap_rc selection_check_time(const struct selection *selection, struct ap_err *err)
{
    return selection_is_of_no_time(selection)
               ? ap_fail(err, AP_E_PARSE, "invalid parameter \"end\": end timestamp must not be before start time")
               : AP_OK;
}

void selection_clear(struct selection *selection)
{
    for (size_t i = 0; i < selection->count; i++)
        matchers_clear(&selection->items[i]);
    free(selection->items);
    *selection = (struct selection){0};
}

enum ap_rc selection_open(const struct selection *selection, struct tsdb *tsdb, struct selection_cursor *ret_cursor,
                          struct ap_err *err)
{
    *ret_cursor = (struct selection_cursor){0};
    for (size_t i = 0; i < selection->count && !selection_is_of_no_time(selection); i++) {
        struct tsdb_select_options options = {
            .matchers = &selection->items[i],
            .min_ts_ms = selection->min_ts_ms,
            .max_ts_ms = selection->max_ts_ms,
        };
        enum ap_rc rc = tsdb_select(tsdb, &options, &ret_cursor->sets[i], err);
        if (rc != AP_OK) {
            selection_close(ret_cursor);
            return rc;
        }
        ret_cursor->set_count++;
    }
    return AP_OK;
}

bool selection_next(struct selection_cursor *cursor)
{
    cursor->set = NULL;
    for (size_t i = 0; i < cursor->set_count; i++) {
        struct tsdb_set *set = cursor->sets[i];
        if (cursor->next[i] == tsdb_set_count(set))
            continue;
        struct ap_slice labels = tsdb_set_labels(set, cursor->next[i]);
        int order = cursor->set ? labels_compare(labels, cursor->labels) : -1;
        if (order < 0) {
            cursor->set = set;
            cursor->index = cursor->next[i];
            cursor->labels = labels;
        }
    }
    if (!cursor->set)
        return false;
    for (size_t i = 0; i < cursor->set_count; i++)
        if (cursor->next[i] < tsdb_set_count(cursor->sets[i]) &&
            labels_compare(tsdb_set_labels(cursor->sets[i], cursor->next[i]), cursor->labels) == 0)
            cursor->next[i]++;
    return true;
}

void selection_close(struct selection_cursor *cursor)
{
    for (size_t i = 0; i < cursor->set_count; i++)
        tsdb_set_free(cursor->sets[i]);
    *cursor = (struct selection_cursor){0};
}
