/*
 * rules/sql_query.h - what a rule asks in SQL: rows as samples
 *
 *     SELECT version, avg(failed::INT) AS value FROM … WHERE timestamp > $now - INTERVAL 1 HOUR GROUP BY version
 *
 *     version   value             {version="2.1.0"} 0.02
 *     2.1.0     0.02        ──►   {version="2.2.0"} 0.11
 *     2.2.0     0.11
 *
 * The column `value`, or else the only one of numbers, is the figure; columns of texts become labels, where a name that
 * cannot be a label's gets '_' for what is wrong in it. A row without a figure, and one of NaN, is none.
 */
#pragma once

#include "rules/query.h"
#include "rules/rule_file.h"
#include "rules/sql_text.h"

enum { RULES_SQL_ROWS_MAX = 10000 };

/*
 * The vector is from `arena`, has the rows that meet the rule's threshold, and *ret_has_figure whether any row had a
 * figure. Blocks until the warehouse has answered, or world->is_ending. AP_E_LIMIT: more than RULES_SQL_ROWS_MAX rows;
 * AP_E_BUSY: the tables are behind what came in; other codes as of warehouse_query_run() and rules_sql_check().
 */
ap_nodiscard enum ap_rc rules_sql_query(const struct rules_world *world, const struct rule *rule, int64_t ts_ms,
                                        int64_t step_ms, struct ap_arena *arena, struct rules_vector *ret_vector,
                                        bool *ret_has_figure, struct ap_err *err);

/*
 * Whether the warehouse understands the query, and its columns can be told apart as above. Runs nothing.
 * `ret_line` is that of the query in which the fault is, from 1.
 */
ap_nodiscard enum ap_rc rules_sql_check(struct warehouse *warehouse, struct ap_slice sql, int *ret_line,
                                        struct ap_err *err);
bool rules_group_has_sql(const struct rule_group *group);
/* That of all rules of a group: each that is wrong is told as "file:line: alert NAME: sql: sentence". How many were. */
size_t rules_sql_check_group(struct warehouse *warehouse, const struct rule_group *group, rule_file_report_fn report,
                             void *context);
