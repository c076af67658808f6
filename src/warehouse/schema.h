/* warehouse/schema.h - tables, roll-ups and views as DDL; see warehouse_apply_schema() in warehouse/warehouse.h */
#pragma once

#include "warehouse/warehouse_internal.h"

/* Makes what is missing of the declared tables and of the warehouse's own. */
ap_nodiscard enum ap_rc schema_make_tables(duckdb_connection connection, struct ap_err *err);
