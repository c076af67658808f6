/*
 * warehouse/readers.h - the threads that answer queries, their queue, and the watchdog that ends long ones
 */
#pragma once

#include "warehouse/warehouse_internal.h"

ap_nodiscard enum ap_rc readers_open(struct warehouse *warehouse, struct readers **ret_readers, struct ap_err *err);

/* Interrupts what runs, answers what waits with AP_E_BUSY. NULL is allowed. */
void readers_close(struct readers *readers);

/* Fills in the query figures. */
void readers_stats_get(struct readers *readers, struct warehouse_stats *ret_stats);
