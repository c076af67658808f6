/* api/result_json.h - results of the warehouse as text */
#pragma once

#include "base/buf.h"
#include "warehouse/warehouse.h"

/* One cell as JSON; a timestamp as RFC 3339 text. */
void result_add_cell(struct ap_buf *out, const struct warehouse_cell *cell);

/* {"columns":[{"name","type"}],"rows":[[…]],"row_count","truncated","took_ms"} */
void result_add_json(struct ap_buf *out, const struct warehouse_result *result);

/* A line of names, then one a row, as RFC 4180 has it. Null is an empty field, empty text is "". */
void result_add_csv(struct ap_buf *out, const struct warehouse_result *result);
