/*
 * rules/keep.h - what rules give, into the time-series store
 *
 * Samples can be queried as soon as they are kept; they are on disk some 50 ms later, written together with
 * those of other rules and what else is sent. A failure of the log is told to trouble() and counted: by then the rules
 * that came after have seen them.
 */
#pragma once

#include <stdint.h>

#include "base/mem.h"
#include "rules/world.h"

struct tsdb;
struct rules_keep; /* private to keep.c */

/* `trouble` is called on any thread. The store is lent. */
struct rules_keep *rules_keep_new(struct tsdb *tsdb, void (*trouble)(const struct ap_err *err, void *context),
                                  void *context);
/* Waits until the log has what was kept. NULL is allowed. */
void rules_keep_free(struct rules_keep *keep);
AP_DEFINE_AUTO(rules_keep, struct rules_keep, rules_keep_free)

/* For struct rules_world; `context` is the struct rules_keep. AP_E_CONFLICT: samples were refused, `err` says why;
 * AP_E_BUSY, AP_E_FULL, AP_E_LIMIT: none was taken. */
ap_nodiscard enum ap_rc rules_keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err);
