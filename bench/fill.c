/*
 * bench/fill.c - `bench-fill URL COUNT`: sends the whole fleet's 90 days, scaled so that it has COUNT product events
 *
 * What the demo does, only larger. Prints one JSON object: rows, seconds, waits (429 and 503 answers).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/fleet.h"
#include "cli/fleet_sender.h"

static const double events_at_scale_1 = 1.91e6;

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "Usage: bench-fill URL COUNT\n");
        return 2;
    }
    const struct fleet_options options = {
        .seed = 1,
        .now_us = ap_clock_wall_us(&ap_clock_system),
        .days = 90,
        .scale = strtod(argv[2], NULL) / events_at_scale_1,
    };
    const struct fleet_sender_options sender_options = {.url = argv[1], .connection_count = 4, .batch_rows = 1000};
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    AP_AUTO(fleet_sender) struct fleet_sender *sender = fleet_sender_new(&sender_options);
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    struct ap_err err = {0};
    struct fleet_row row;
    enum ap_rc rc = AP_OK;
    uint64_t events = 0;
    while (rc == AP_OK && fleet_peek_us(fleet) < options.now_us) {
        fleet_next(fleet, &row);
        events += row.table == FLEET_TABLE_EVENTS;
        rc = fleet_sender_add(sender, &row, &err);
    }
    if (rc == AP_OK)
        rc = fleet_sender_flush(sender, &err);
    if (rc != AP_OK) {
        fprintf(stderr, "bench-fill: %s\n", err.text);
        return 1;
    }
    printf("{\"rows\":%" PRIu64 ",\"events\":%" PRIu64 ",\"seconds\":%.3f,\"waits\":%" PRIu64 "}\n",
           fleet_sender_rows(sender), events, (double)(ap_clock_monotonic_us(&ap_clock_system) - start_us) / 1e6,
           fleet_sender_waits(sender));
    return 0;
}
