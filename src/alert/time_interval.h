/*
 * alert/time_interval.h - times at which notifications are muted, or not: Alertmanager's time intervals
 *
 *     - times: [{start_time: "18:00", end_time: "24:00"}]
 *       weekdays: ["monday:friday", sunday]
 *       days_of_month: ["1:5", "-3:-1"]
 *       months: ["december:december", "1:3"]
 *       years: ["2026:2027"]
 *       location: Europe/Berlin
 *
 * An interval holds at a moment when each of its lists has a range with the moment in it; a list that is not there has
 * all. Ends of times are not part of them, all other ends are. Negative days count from the end of the month.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"
#include "codec/zone.h"

enum time_field {
    TIME_FIELD_TIMES, /* minutes of the day; the end is not part of it */
    TIME_FIELD_WEEKDAYS,
    TIME_FIELD_DAYS_OF_MONTH,
    TIME_FIELD_MONTHS,
    TIME_FIELD_YEARS,
    TIME_FIELD_COUNT
};

struct time_range {
    int first;
    int last;
};

struct time_interval {
    struct {
        struct time_range *ranges; /* the arena's */
        size_t count;
        bool is_there;
    } fields[TIME_FIELD_COUNT];
    struct zone *zone; /* owned; NULL: UTC */
};

/* Reads one. AP_E_PARSE: "file:line:column: …". Ranges are from `arena`; clear it afterwards in any case. */
ap_nodiscard enum ap_rc time_interval_read(const struct yaml_node *node, struct ap_arena *arena,
                                           struct time_interval *ret_interval, struct ap_err *err);
void time_interval_clear(struct time_interval *interval);

bool time_interval_contains(const struct time_interval *interval, int64_t unix_s);
