/*
 * codec/zone.h - time zones: how far a place's clocks are from UTC at a moment
 *
 * Reads the files of the time zone database (TZif, RFC 9636, versions 1 to 4) and what they end with, a rule for all
 * time to come (POSIX.1-2017, "TZ"). Leap seconds are not told apart, as nowhere here.
 *
 * A zone is immutable: any thread may ask it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

struct zone; /* private to zone.c; NULL is UTC */

enum { ZONE_BYTES_MAX = 256 << 10 };

/* AP_E_PARSE: not such a file, or damaged. The bytes are not needed afterwards. */
ap_nodiscard enum ap_rc zone_decode(struct ap_slice bytes, struct zone **ret_zone, struct ap_err *err);
/* "Europe/Berlin" from /usr/share/zoneinfo; "UTC" is NULL. AP_E_NOT_FOUND: there is none of that name. */
ap_nodiscard enum ap_rc zone_load(const char *name, struct zone **ret_zone, struct ap_err *err);
void zone_free(struct zone *zone); /* NULL is allowed */
AP_DEFINE_AUTO(zone, struct zone, zone_free)

/* Seconds east of UTC at `unix_s`. */
int32_t zone_offset_s(const struct zone *zone, int64_t unix_s);

/* A moment as the clocks and calendars of the place have it (proleptic Gregorian). */
struct ap_civil zone_time_of(const struct zone *zone, int64_t unix_s);
int zone_days_in_month(int64_t year, int month);
