#include "rules/sql_text.h"

#include <stdbool.h>

#include "base/mem.h"
#include "warehouse/sql_words.h"
#include "warehouse/warehouse.h"

const char *const sql_text_params[SQL_PARAM_COUNT] = {
    [SQL_PARAM_NOW] = "now", [SQL_PARAM_FROM] = "from", [SQL_PARAM_TO] = "to", [SQL_PARAM_STEP] = "step"};

/* What gives the time of day: DuckDB's names, and whether it takes them for that only with "(" behind. */
static const struct {
    const char *name;
    bool is_called;
    const char *instead;
} clocks[] = {
    {"now", true, "$now"},
    {"today", true, "$now::DATE"},
    {"transaction_timestamp", true, "$now"},
    {"get_current_timestamp", true, "$now"},
    {"get_current_time", true, "$now::TIME"},
    {"current_localtimestamp", true, "$now"},
    {"current_localtime", true, "$now::TIME"},
    {"current_timestamp", false, "$now"},
    {"current_date", false, "$now::DATE"},
    {"current_time", false, "$now::TIME"},
    {"localtimestamp", false, "$now"},
    {"localtime", false, "$now::TIME"},
};

static enum ap_rc check_param(struct ap_slice word, struct ap_err *err)
{
    struct ap_slice name = ap_slice(word.data + 1, word.bytes - 1);
    for (size_t i = 0; i < SQL_PARAM_COUNT; i++)
        if (ap_slice_equal_cstr(name, sql_text_params[i]))
            return AP_OK;
    return ap_fail(err, AP_E_PARSE, "unknown parameter %.*s; there are $now, $from, $to and $step", AP_SLICE_ARG(word));
}

static enum ap_rc check_clock(struct ap_slice word, struct ap_slice rest, struct ap_err *err)
{
    rest = ap_slice_trim(rest);
    for (size_t i = 0; i < AP_ARRAY_COUNT(clocks); i++) {
        if (!ap_slice_equal_nocase(word, clocks[i].name) || (clocks[i].is_called && !ap_slice_starts_with(rest, "(")))
            continue;
        return ap_fail(err, AP_E_PARSE, "%s%s cannot be asked by a rule: write %s, the time that is evaluated",
                       clocks[i].name, clocks[i].is_called ? "()" : "", clocks[i].instead);
    }
    return AP_OK;
}

enum ap_rc sql_text_check(struct ap_slice sql, struct ap_err *err)
{
    struct ap_slice word;
    enum ap_rc rc = AP_OK;
    if (sql.bytes > WAREHOUSE_SQL_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "longer than %d KiB", WAREHOUSE_SQL_BYTES_MAX >> 10);
    while (rc == AP_OK && sql_next_word(&sql, &word))
        rc = word.data[0] == '$' ? check_param(word, err) : check_clock(word, sql, err);
    return rc;
}
