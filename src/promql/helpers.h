/*
 * promql/helpers.h - an engine's threads, which help whoever has a large query
 *
 * A job has parts; the caller and every helper that has nothing else to do take one after the other. When all helpers
 * are busy, the caller does it all by itself: nothing ever waits for a free one.
 */
#pragma once

#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"

struct helpers; /* private to helpers.c */

/* 0 threads are allowed: then callers are alone. */
ap_nodiscard enum ap_rc helpers_open(size_t thread_count, struct helpers **ret_helpers, struct ap_err *err);
void helpers_close(struct helpers *helpers); /* no job may be under way; NULL is allowed */
AP_DEFINE_AUTO(helpers, struct helpers, helpers_close)

/* Calls part(context, 0 … parts - 1), each once, and returns when all have returned. Any thread. */
void helpers_run(struct helpers *helpers, size_t parts, void (*part)(void *context, size_t part), void *context);
