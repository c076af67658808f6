/*
 * ingest/otlp_native.h - native histograms that add up: the running sum of a stream of deltas
 *
 * A sum keeps its buckets as sorted pairs of index and count. Histograms of another resolution are added at the coarser
 * one, those of another zero threshold at the wider one. Bounds of custom buckets must be the same.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "tsdb/histogram.h"

struct otlp_native; /* private to otlp_native.c */

/* Of a sound integer histogram that is no staleness marker. */
struct otlp_native *otlp_native_new(const struct histogram *histogram);
struct otlp_native *otlp_native_copy(const struct otlp_native *native);
void otlp_native_free(struct otlp_native *native); /* NULL is allowed */
AP_DEFINE_AUTO(otlp_native, struct otlp_native, otlp_native_free)
size_t otlp_native_bytes(const struct otlp_native *native); /* of memory */

/* Whether they can be added: both exponential, or custom with the same bounds. */
bool otlp_native_fits(const struct otlp_native *native, const struct histogram *histogram);
/* AP_E_LIMIT: the sum has too many buckets, or passes 2^64; then it is as before. */
ap_nodiscard enum ap_rc otlp_native_add(struct otlp_native *native, const struct histogram *histogram,
                                        struct ap_err *err);

/* The sum as a histogram that lends from `arena` and the sum; AP_E_LIMIT: the arena is full. `is_zero`: one of this
 * resolution without observations. */
ap_nodiscard enum ap_rc otlp_native_histogram(const struct otlp_native *native, bool is_zero, struct ap_arena *arena,
                                              struct histogram *ret_histogram, struct ap_err *err);
