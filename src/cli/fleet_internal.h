/*
 * cli/fleet_internal.h - what the files of the fleet share: its actors
 *
 * An actor's step writes exactly one row and says when the next one is due. FLEET_NEVER: the actor is gone.
 */
#pragma once

#include <stdint.h>

#include "base/random.h"
#include "cli/fleet.h"
#include "cli/fleet_world.h"

#define FLEET_NEVER INT64_MAX

/* One copy of the product on somebody's machine. */
struct installation {
    struct ap_random random;
    uint64_t id[2];
    uint64_t session_id[2];
    uint64_t user_id;   /* 0: not signed in */
    int64_t gone_us;    /* it is not used after this */
    int64_t upgrade_us; /* how long after a release it follows */
    int64_t session_from_us;
    int32_t local_day;    /* whose sessions are planned */
    uint32_t starts_s[3]; /* of its sessions still to come, latest first, in local seconds of the day */
    uint32_t address;
    uint32_t features; /* bit set of what its owner uses */
    float daily_chance;
    float slowness;
    uint16_t steps_left;
    uint8_t starts_count;
    uint8_t country;
    uint8_t platform;
    uint8_t release;
    uint8_t is_in_session;
};

/* Makes one that is used for the first time around `from_us`; returns when its first row is due, or FLEET_NEVER. */
int64_t installation_init(struct installation *installation, const struct world *world, uint64_t seed, int64_t from_us,
                          bool is_new);
int64_t installation_step(struct installation *installation, const struct world *world, int64_t due_us,
                          int64_t shown_us, struct fleet_row *row);

/* One browser that reads the web site, page after page, for ever: a lane on which visits follow each other. */
struct visit {
    struct ap_random random;
    uint64_t id[2];
    int64_t begun_us;
    uint32_t address;
    uint8_t page, agent, vital; /* the vital that is reported next */
    float slowness;
};
int64_t visit_init(struct visit *visit, const struct world *world, uint64_t seed, int64_t from_us, double mean_gap_us);
int64_t visit_step(struct visit *visit, const struct world *world, int64_t due_us, int64_t shown_us, double mean_gap_us,
                   struct fleet_row *row);

/* All downloads there are. */
struct downloads {
    struct ap_random random;
    int64_t begun_us;
    double per_day; /* in the busiest hour of the present, counted up to a day */
};
int64_t downloads_next(struct downloads *downloads, const struct world *world, int64_t after_us);
void downloads_write(struct downloads *downloads, const struct world *world, int64_t due_us, int64_t shown_us,
                     struct fleet_row *row);

/* One test run from one place, every five minutes. */
enum { PROBE_COUNT = 9 };
struct probe {
    struct ap_random random;
    uint8_t index;
};
int64_t probe_init(struct probe *probe, uint8_t index, uint64_t seed, int64_t from_us);
int64_t probe_step(struct probe *probe, const struct world *world, int64_t due_us, int64_t shown_us,
                   struct fleet_row *row);
