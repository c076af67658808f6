#include "cli/fleet_world.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"

#define NET(a, b, bits)                                                                                                \
    {                                                                                                                  \
        (uint32_t)(a) << 24 | (uint32_t)(b) << 16, (bits)                                                              \
    }

/* Networks of large access providers: each lies as a whole in its country, in every geographic database. */
const struct world_country world_countries[] = {
    {"US", 248, -360, {NET(12, 0, 9), NET(73, 0, 9)}},       {"DE", 92, 60, {NET(84, 128, 10), NET(91, 0, 10)}},
    {"GB", 71, 0, {NET(86, 128, 10), NET(86, 128, 11)}},     {"IN", 69, 330, {NET(117, 192, 10), NET(122, 160, 12)}},
    {"FR", 48, 60, {NET(90, 0, 10), NET(92, 128, 10)}},      {"CA", 45, -300, {NET(99, 224, 11), NET(70, 64, 12)}},
    {"JP", 42, 540, {NET(126, 64, 10), NET(153, 128, 10)}},  {"BR", 38, -180, {NET(179, 128, 11), NET(179, 208, 12)}},
    {"NL", 32, 60, {NET(77, 160, 12), NET(145, 96, 11)}},    {"AU", 27, 600, {NET(101, 160, 11), NET(124, 176, 12)}},
    {"PL", 24, 60, {NET(83, 0, 11), NET(89, 64, 12)}},       {"ES", 23, 60, {NET(83, 32, 11), NET(88, 0, 11)}},
    {"CN", 22, 480, {NET(112, 0, 10), NET(183, 0, 10)}},     {"SE", 19, 60, {NET(78, 64, 12), NET(81, 224, 12)}},
    {"KR", 19, 540, {NET(121, 128, 10), NET(175, 192, 10)}}, {"IT", 19, 60, {NET(79, 0, 10), NET(151, 32, 11)}},
    {"CH", 18, 60, {NET(178, 192, 13), NET(85, 0, 13)}},     {"UA", 15, 120, {NET(176, 36, 14), NET(37, 52, 14)}},
    {"TR", 12, 180, {NET(78, 160, 11), NET(88, 224, 11)}},   {"CZ", 11, 60, {NET(88, 100, 14), NET(90, 180, 14)}},
    {"TW", 11, 480, {NET(1, 160, 12), NET(114, 32, 12)}},    {"MX", 11, -360, {NET(189, 128, 10), NET(187, 192, 11)}},
    {"AT", 10, 60, {NET(77, 116, 14), NET(80, 120, 14)}},    {"BE", 10, 60, {NET(109, 128, 12), NET(81, 240, 13)}},
    {"DK", 10, 60, {NET(188, 176, 13), NET(80, 160, 13)}},   {"NO", 10, 60, {NET(84, 208, 13), NET(88, 88, 13)}},
    {"FI", 10, 120, {NET(91, 152, 13), NET(84, 248, 14)}},   {"ID", 9, 420, {NET(36, 64, 11), NET(120, 160, 11)}},
    {"AR", 9, -180, {NET(186, 128, 12), NET(190, 224, 13)}}, {"IL", 9, 120, {NET(79, 176, 13), NET(109, 64, 14)}},
    {"PT", 8, 0, {NET(85, 240, 13), NET(188, 80, 14)}},      {"VN", 8, 420, {NET(113, 160, 11), NET(14, 224, 11)}},
    {"RO", 8, 120, {NET(92, 80, 13), NET(86, 120, 14)}},     {"ZA", 8, 120, {NET(41, 0, 11), NET(197, 64, 11)}},
    {"IE", 7, 0, {NET(86, 40, 13), NET(87, 32, 12)}},        {"NG", 7, 60, {NET(105, 112, 12), NET(102, 88, 13)}},
    {"CO", 7, -300, {NET(181, 128, 11), NET(186, 80, 13)}},  {"NZ", 6, 720, {NET(122, 56, 13), NET(121, 72, 14)}},
    {"PK", 6, 300, {NET(39, 32, 11), NET(182, 176, 12)}},    {"TH", 6, 420, {NET(171, 96, 13), NET(125, 24, 14)}},
    {"MY", 5, 480, {NET(175, 136, 13), NET(121, 120, 14)}},  {"EG", 5, 120, {NET(156, 160, 11), NET(197, 32, 11)}},
    {"CL", 5, -240, {NET(191, 112, 13), NET(186, 104, 14)}}, {"KE", 5, 180, {NET(105, 160, 13), NET(197, 176, 13)}},
    {"PH", 5, 480, {NET(112, 200, 13), NET(124, 104, 14)}},  {"HK", 5, 480, {NET(113, 252, 14), NET(219, 76, 14)}},
    {"AE", 4, 240, {NET(94, 200, 13), NET(2, 48, 14)}},
};
enum { COUNTRIES = AP_ARRAY_COUNT(world_countries) };

/* 2.0.0 is the bad one: it starts slowly and fails often until 2.0.1 comes, seventeen hours later. */
const struct world_release world_releases[WORLD_RELEASES] = {
    {"1.8.2", -400, 1, 1.22, 1.5}, {"1.9.0", -104, 1, 1.16, 1.2},     {"1.9.1", -86, 1, 1.12, 1.1},
    {"2.0.0", -61, 0.7, 2.10, 16}, {"2.0.1", -60.3, 0.08, 1.08, 1.2}, {"2.0.2", -45, 1, 1.05, 1},
    {"2.1.0", -27, 1, 1.00, 1},    {"2.1.1", -12, 0.8, 0.98, 0.9},    {"2.2.0", -3, 1, 0.95, 0.9},
    {"2.2.1", 11, 0.8, 0.95, 0.9}, {"2.3.0", 25, 1, 0.92, 0.8},
};

/* By local hour: people who write software. */
static const uint32_t hour_weights[24] = {14, 9,  6,  4,  3,  4,  8,  20, 48, 82, 98, 96,
                                          72, 84, 97, 95, 88, 74, 54, 46, 46, 44, 36, 24};
/* From Sunday. */
static const double weekday_factors[7] = {0.29, 1.0, 1.04, 1.05, 1.0, 0.9, 0.31};

static const int64_t minute_us = 60 * AP_US_PER_S;
static const int64_t hour_us = 3600 * AP_US_PER_S;

static int64_t floor_div(int64_t value, int64_t by)
{
    return value >= 0 ? value / by : -((-value + by - 1) / by);
}

double world_weekday_factor(int64_t local_day)
{
    return weekday_factors[((local_day + 4) % 7 + 7) % 7]; /* 1970-01-01 was a Thursday */
}

static void init_demand(struct world *world)
{
    double max = 0, sum = 0;
    for (int hour = 0; hour < WORLD_WEEK_HOURS; hour++) {
        double demand = 0;
        for (uint32_t i = 0; i < COUNTRIES; i++) {
            /* 1970-01-05 was a Monday: hour 0 of the week */
            int64_t local_min = (4 * 24 + hour) * 60 + 30 + world_countries[i].utc_offset_min;
            demand += world_countries[i].weight * world_weekday_factor(floor_div(local_min, 1440)) *
                      hour_weights[local_min / 60 % 24];
        }
        world->week_demand[hour] = demand;
        max = AP_MAX(max, demand);
    }
    for (int hour = 0; hour < WORLD_WEEK_HOURS; hour++) {
        world->week_demand[hour] /= max;
        sum += world->week_demand[hour];
    }
    world->week_demand_mean = sum / WORLD_WEEK_HOURS;
}

void world_init(struct world *world, uint64_t seed, int64_t now_us)
{
    static const struct {
        double days, hours, severity;
    } past[WORLD_INCIDENTS_PAST] = {{-47, 2, 0.5}, {-17, 3.2, 1}, {-3.3, 0.7, 0.35}};

    struct ap_random random;
    ap_random_init(&random, seed ^ 0x776f726c64); /* a stream of its own, beside the fleet's */
    world->now_us = now_us;
    for (int i = 0; i < WORLD_RELEASES; i++)
        world->released_us[i] = now_us + (int64_t)(world_releases[i].days * (double)AP_US_PER_DAY);
    double days = 0;
    for (int i = 0; i < WORLD_INCIDENTS; i++) {
        struct world_incident *incident = &world->incidents[i];
        double hours;
        if (i < WORLD_INCIDENTS_PAST) {
            incident->from_us = now_us + (int64_t)((past[i].days + 0.3 * ap_random_unit(&random)) * AP_US_PER_DAY);
            hours = past[i].hours;
            incident->severity = past[i].severity;
        } else {
            days += 4 + 10 * ap_random_unit(&random);
            incident->from_us = now_us + (int64_t)(days * AP_US_PER_DAY);
            hours = 0.5 + 3 * ap_random_unit(&random);
            incident->severity = 0.2 + 0.8 * ap_random_unit(&random);
        }
        incident->until_us = incident->from_us + (int64_t)(hours * (double)hour_us);
    }
    init_demand(world);
}

uint32_t world_draw_weighted(struct ap_random *random, const uint32_t *weights, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i];
    uint64_t left = ap_random_below(random, sum);
    uint32_t index = 0;
    while (left >= weights[index])
        left -= weights[index++];
    return index;
}

uint32_t world_draw_country(struct ap_random *random)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < COUNTRIES; i++)
        sum += world_countries[i].weight;
    uint64_t left = ap_random_below(random, sum);
    uint32_t index = 0;
    while (left >= world_countries[index].weight)
        left -= world_countries[index++].weight;
    return index;
}

uint32_t world_draw_address(uint32_t country, struct ap_random *random)
{
    uint64_t word = ap_random_u64(random);
    uint32_t which = (uint32_t)(word >> 63);
    uint32_t bits = world_countries[country].networks[which].bits;
    uint32_t address = world_countries[country].networks[which].address | ((uint32_t)word >> bits);
    uint32_t last = address & 255;
    return last == 0 || last == 255 ? address ^ 1 : address; /* no network, no broadcast */
}

uint32_t world_draw_second_of_day(struct ap_random *random)
{
    uint32_t hour = world_draw_weighted(random, hour_weights, 24);
    return hour * 3600 + (uint32_t)ap_random_below(random, 3600);
}

double world_demand(const struct world *world, int64_t wall_us)
{
    int64_t hours = floor_div(wall_us, hour_us) - INT64_C(4) * 24;
    int64_t hour = (hours % WORLD_WEEK_HOURS + WORLD_WEEK_HOURS) % WORLD_WEEK_HOURS;
    double into = (double)(wall_us - (hours + 96) * hour_us) / (double)hour_us;
    return world->week_demand[hour] * (1 - into) + world->week_demand[(hour + 1) % WORLD_WEEK_HOURS] * into;
}

uint32_t world_release_at(const struct world *world, int64_t wall_us, int64_t upgrade_us)
{
    for (uint32_t i = WORLD_RELEASES - 1; i > 0; i--) {
        /* Nobody moves to a bad release any more once there is a better one. */
        bool is_withdrawn =
            i + 1 < WORLD_RELEASES && world_releases[i].failure_factor > 10 && wall_us >= world->released_us[i + 1];
        int64_t upgraded_us = world->released_us[i] + (int64_t)((double)upgrade_us * world_releases[i].upgrade_factor);
        if (upgraded_us <= wall_us && !is_withdrawn)
            return i;
    }
    return 0;
}

double world_incident_severity(const struct world *world, int64_t wall_us)
{
    for (int i = 0; i < WORLD_INCIDENTS; i++) {
        const struct world_incident *incident = &world->incidents[i];
        if (wall_us < incident->from_us)
            return 0;
        if (wall_us < incident->until_us) {
            /* comes up and goes away over ten minutes */
            int64_t edge_us = AP_MIN(wall_us - incident->from_us, incident->until_us - wall_us);
            double ramp = (double)edge_us / (double)(10 * minute_us);
            return incident->severity * AP_MIN(1.0, ramp);
        }
    }
    return 0;
}

double world_draw_duration(struct ap_random *random, double median, double sigma)
{
    return median * exp(sigma * ap_random_normal(random));
}

int64_t world_draw_gap_us(struct ap_random *random, double mean_us)
{
    return 1 + (int64_t)(-log(1.0 - ap_random_unit(random)) * mean_us);
}
