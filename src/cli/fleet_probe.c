/* Synthetic tests: three of them, run from three places, every five minutes, around the clock. */
#include "cli/fleet_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fleet_line.h"

static const struct {
    const char *name;
    double median_ms, sigma;
    const char *error;
} tests[] = {
    {"download_flow", 3900, 0.18, "the archive did not arrive within 15 s"},
    {"install_and_ask", 7200, 0.16, "no answer from any model within 30 s"},
    {"docs_search", 640, 0.25, "the search page answered 502 Bad Gateway"},
};
static const struct {
    const char *name;
    double slowness;
} locations[] = {
    {"eu-central", 1.00},
    {"us-east", 1.06},
    {"ap-south", 1.31},
};
_Static_assert(AP_ARRAY_COUNT(tests) * AP_ARRAY_COUNT(locations) == PROBE_COUNT, "one probe for each test and place");

static const int64_t period_us = 300 * AP_US_PER_S;

int64_t probe_init(struct probe *probe, uint8_t index, uint64_t seed, int64_t from_us)
{
    probe->index = index;
    ap_random_init(&probe->random, seed);
    return from_us + period_us * index / PROBE_COUNT; /* spread, so that they do not disturb each other */
}

int64_t probe_step(struct probe *probe, const struct world *world, int64_t due_us, int64_t shown_us,
                   struct fleet_row *row)
{
    struct ap_random *random = &probe->random;
    size_t test = probe->index / AP_ARRAY_COUNT(locations);
    size_t location = probe->index % AP_ARRAY_COUNT(locations);
    double severity = world_incident_severity(world, due_us);
    double duration_ms = world_draw_duration(random, tests[test].median_ms, tests[test].sigma) *
                         locations[location].slowness * (1 + 1.8 * severity);
    bool success = ap_random_unit(random) >= 0.0012 + 0.65 * severity;
    char time_text[AP_TIME_TEXT_BYTES];
    ap_time_format(shown_us, time_text);

    struct fleet_line line = fleet_line_begin(row, FLEET_TABLE_SYNTHETIC, shown_us);
    fleet_line_text(&line, "{\"test\":\"");
    fleet_line_text(&line, tests[test].name);
    fleet_line_text(&line, "\",\"duration\":");
    fleet_line_integer(&line, (uint64_t)duration_ms);
    fleet_line_text(&line, success ? ",\"success\":true" : ",\"success\":false,\"error\":\"");
    if (!success) {
        fleet_line_text(&line, tests[test].error);
        fleet_line_text(&line, "\"");
    }
    fleet_line_text(&line, ",\"location\":\"");
    fleet_line_text(&line, locations[location].name);
    fleet_line_text(&line, "\",\"version\":\"");
    fleet_line_text(&line, world_releases[world_release_at(world, due_us, 0)].version);
    fleet_line_text(&line, "\",\"timestamp\":\"");
    fleet_line_text(&line, time_text);
    fleet_line_text(&line, "\"");
    fleet_line_end(&line);
    return due_us + period_us;
}
