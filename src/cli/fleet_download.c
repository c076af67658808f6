/* Downloads: by hand, by package managers, by build machines. Some of them become installations: fleet.c sees to it. */
#include "cli/fleet_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fleet_line.h"

enum { METHODS_MAX = 5 };
static const struct {
    const char *name;
    const char *methods[METHODS_MAX];
    uint32_t weights[METHODS_MAX];
} platforms[] = {
    {"linux", {"curl", "apt", "cargo", "npm", "docker"}, {34, 18, 17, 16, 15}},
    {"macos", {"homebrew", "curl", "cargo", "npm", "github"}, {55, 16, 10, 12, 7}},
    {"windows", {"winget", "scoop", "npm", "cargo", "github"}, {44, 16, 20, 8, 12}},
};
static const uint32_t platform_weights[] = {47, 34, 19};

static const char *const referrers[] = {
    "",
    "https://docs.example.com/install",
    "https://github.com/",
    "https://www.google.com/",
    "https://news.ycombinator.com/",
    "https://www.reddit.com/",
};
static const uint32_t referrer_weights[] = {38, 27, 15, 11, 5, 4};

/* More people every week: the present is busier than the beginning; and a release brings a wave. */
static double wave(const struct downloads *downloads, const struct world *world, int64_t wall_us)
{
    double age_days = (double)(world->now_us - wall_us) / (double)AP_US_PER_DAY;
    double growth = 1 - 0.0045 * AP_MAX(0.0, AP_MIN(age_days, 120.0));
    double release_wave = 0;
    for (int i = 0; i < WORLD_RELEASES; i++) {
        double days = (double)(wall_us - world->released_us[i]) / (double)AP_US_PER_DAY;
        if (days >= 0 && days < 3)
            release_wave += 0.35 * (1 - days / 3);
    }
    (void)downloads;
    return growth * (1 + AP_MIN(release_wave, 0.5)) / 1.5; /* at most 1 */
}

int64_t downloads_next(struct downloads *downloads, const struct world *world, int64_t after_us)
{
    double mean_gap_us = (double)AP_US_PER_DAY / (downloads->per_day * 1.5);
    int64_t at_us = after_us;
    do
        at_us += world_draw_gap_us(&downloads->random, mean_gap_us);
    while (ap_random_unit(&downloads->random) > world_demand(world, at_us) * wave(downloads, world, at_us));
    return at_us;
}

void downloads_write(struct downloads *downloads, const struct world *world, int64_t due_us, int64_t shown_us,
                     struct fleet_row *row)
{
    struct ap_random *random = &downloads->random;
    uint32_t platform = world_draw_weighted(random, platform_weights, AP_ARRAY_COUNT(platform_weights));
    uint32_t method = world_draw_weighted(random, platforms[platform].weights, METHODS_MAX);
    uint32_t referrer = world_draw_weighted(random, referrer_weights, AP_ARRAY_COUNT(referrer_weights));
    /* One in seven asks for a pinned, older version. */
    uint32_t release = world_release_at(world, due_us, 0);
    if (release > 0 && ap_random_unit(random) < 0.14)
        release--;
    struct fleet_line line = fleet_line_begin(row, FLEET_TABLE_DOWNLOADS, shown_us);
    fleet_line_text(&line, "{\"platform\":\"");
    fleet_line_text(&line, platforms[platform].name);
    fleet_line_text(&line, "\",\"method\":\"");
    fleet_line_text(&line, platforms[platform].methods[method]);
    fleet_line_text(&line, "\",\"version\":\"");
    fleet_line_text(&line, world_releases[release].version);
    fleet_line_text(&line, "\"");
    fleet_line_timestamp(&line);
    if (referrer > 0) {
        fleet_line_text(&line, ",\"referrer\":\"");
        fleet_line_text(&line, referrers[referrer]);
        fleet_line_text(&line, "\"");
    }
    fleet_line_text(&line, ",\"user_agent\":\"");
    fleet_line_text(&line, platforms[platform].methods[method]);
    fleet_line_text(&line, "/1\",\"client_ip\":\"");
    fleet_line_address(&line, world_draw_address(world_draw_country(random), random));
    fleet_line_text(&line, "\"");
    fleet_line_end(&line);
}
