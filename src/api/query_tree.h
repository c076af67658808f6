/*
 * api/query_tree.h - a query's tree as JSON, as Prometheus' /api/v1/parse_query gives it to its user interface
 *
 * Members are in order of their names, as Prometheus writes them.
 */
#pragma once

#include "base/buf.h"
#include "promql/ast.h"

/* As deep as the tree, which the parser limits. */
void query_tree_add_json(struct ap_buf *out, const struct promql_expr *expr);
