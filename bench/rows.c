/* bench/rows.c - `bench-rows COUNT [SEED]`: that many product events of the simulated fleet, as NDJSON */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/fleet.h"

static const double events_at_scale_1 = 1.91e6; /* in 90 days */

int main(int argc, char **argv)
{
    unsigned long long count = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (count == 0) {
        fprintf(stderr, "Usage: bench-rows COUNT [SEED]\n");
        return 2;
    }
    const struct fleet_options options = {
        .seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
        .now_us = ap_clock_wall_us(&ap_clock_system),
        .days = 90,
        .scale = (double)count / events_at_scale_1,
    };
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    struct fleet_row row;
    while (count > 0) {
        fleet_next(fleet, &row);
        if (row.table != FLEET_TABLE_EVENTS)
            continue;
        if (fwrite(row.line, 1, row.bytes, stdout) != row.bytes) {
            perror("bench-rows");
            return 1;
        }
        count--;
    }
    return 0;
}
