/*
 * cli/check_warehouse.h - a warehouse to bind SQL in, without rows, that is thrown away: all tables, and what packs add
 */
#pragma once

#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"

struct cli_list;
struct pack;
struct warehouse;

struct check_warehouse; /* private to check_warehouse.c */

/* Packs are lent; they fit together or `err` says what does not. */
ap_nodiscard enum ap_rc check_warehouse_open(const struct pack *const *packs, size_t pack_count,
                                             struct check_warehouse **ret_made, struct ap_err *err);
/* The same of directories of packs. */
ap_nodiscard enum ap_rc check_warehouse_open_dirs(const struct cli_list *dirs, struct check_warehouse **ret_made,
                                                  struct ap_err *err);
void check_warehouse_close(struct check_warehouse *made); /* NULL is allowed */
AP_DEFINE_AUTO(check_warehouse, struct check_warehouse, check_warehouse_close)

struct warehouse *check_warehouse_of(const struct check_warehouse *made);
