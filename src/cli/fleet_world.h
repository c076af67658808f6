/*
 * cli/fleet_world.h - what the fleet lives in: countries, hours, releases, incidents
 *
 * Made once from seed and present, then constant.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

enum { WORLD_RELEASES = 11, WORLD_INCIDENTS_PAST = 3, WORLD_INCIDENTS = 24, WORLD_WEEK_HOURS = 168 };

struct world_country {
    const char *code;
    uint32_t weight;
    int32_t utc_offset_min; /* of standard time: the fleet knows no summer time */
    struct {
        uint32_t address;
        uint32_t bits;
    } networks[2]; /* of providers of that country, so that a geographic database resolves them */
};
extern const struct world_country world_countries[];

/* What a release brings. Its place in the list is its order of appearance. */
struct world_release {
    const char *version;
    double days;           /* from the present; negative is before it */
    double upgrade_factor; /* on how long installations take to upgrade: an urgent fix goes out faster */
    double startup_factor;
    double failure_factor;
};
extern const struct world_release world_releases[WORLD_RELEASES];

struct world_incident {
    int64_t from_us;
    int64_t until_us;
    double severity; /* 0 … 1 */
};

struct world {
    int64_t now_us;
    int64_t released_us[WORLD_RELEASES];
    struct world_incident incidents[WORLD_INCIDENTS];
    double week_demand[WORLD_WEEK_HOURS]; /* by UTC hour of the week from Monday 00:00, relative to its maximum */
    double week_demand_mean;
};

void world_init(struct world *world, uint64_t seed, int64_t now_us);

/* An index into world_countries, drawn by weight. */
uint32_t world_draw_country(struct ap_random *random);
uint32_t world_draw_address(uint32_t country, struct ap_random *random);

/* Second of a local day on which somebody begins to work, and the chance that they do on that day of the week. */
uint32_t world_draw_second_of_day(struct ap_random *random);
double world_weekday_factor(int64_t local_day);

/* Between 0 and 1: how busy the whole world is, people of all countries together. */
double world_demand(const struct world *world, int64_t wall_us);

/* The release that an installation runs which takes `upgrade_us` to follow. */
uint32_t world_release_at(const struct world *world, int64_t wall_us, int64_t upgrade_us);

/* 0: nothing is wrong with the network; 1: much is. */
double world_incident_severity(const struct world *world, int64_t wall_us);

/* Log-normal with this median: what durations look like. `sigma` 0.3 is narrow, 1 wide. */
double world_draw_duration(struct ap_random *random, double median, double sigma);

/* Exponential, at least 1 µs. */
int64_t world_draw_gap_us(struct ap_random *random, double mean_us);

/* An index into `weights`, by weight. */
uint32_t world_draw_weighted(struct ap_random *random, const uint32_t *weights, uint32_t count);
