/*
 * Installations: born by a download, used on some days in some sessions, upgraded late or early, forgotten one day.
 *
 *     day planned ──► session: startup, commands and features, session_end ──► next session ──► … ──► gone
 */
#include "cli/fleet_internal.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fleet_line.h"

static const struct {
    const char *name;
    double startup_factor;
} platforms[] = {
    {"linux-x86_64", 0.95}, {"macos-arm64", 0.88},  {"windows-x86_64", 1.24},
    {"linux-arm64", 1.05},  {"macos-x86_64", 1.18},
};
static const uint32_t platform_weights[] = {37, 33, 18, 7, 5};

static const struct {
    const char *name;
    double median_ms;
    double sigma;
    double failure_chance;
    bool is_remote; /* talks to model providers: suffers when the network does */
} commands[] = {
    {"consensus", 2350, 0.55, 0.0026, true}, {"ask", 980, 0.50, 0.0011, true},     {"plan", 1650, 0.50, 0.0014, true},
    {"analyze", 3100, 0.65, 0.0018, true},   {"index", 5400, 0.80, 0.0007, false}, {"memory", 46, 0.60, 0.00008, false},
    {"config", 14, 0.40, 0.00006, false},    {"theme", 9, 0.35, 0.00004, false},
};
static const uint32_t command_weights[] = {30, 23, 13, 10, 6, 8, 7, 3};
enum { COMMAND_CONSENSUS = 0 };

/* A feature spreads in two ways: the release that brings it has to arrive, and its owner has to want it. */
static const struct {
    const char *name;
    const char *detail;
    double wanted;   /* by this share of people */
    uint32_t weight; /* how often it is used by those who do */
    uint32_t detail_max;
    uint8_t release; /* in world_releases, that brought it */
} features[] = {
    {"tui", "panes", 0.72, 34, 4, 0},
    {"planning_mode", "tasks", 0.48, 22, 14, 1},
    {"repository_analysis", "files", 0.41, 17, 900, 4},
    {"memory_search", "hits", 0.33, 12, 20, 0},
    {"model_profiles", "models", 0.28, 8, 6, 2},
    {"themes", "themes", 0.37, 7, 9, 6},
    {"git_hooks", "hooks", 0.22, 9, 5, 8},
};
enum { FEATURES = AP_ARRAY_COUNT(features) };

static double failure_scale(const struct installation *installation)
{
    return world_releases[installation->release].failure_factor;
}

static int64_t utc_offset_us(const struct installation *installation)
{
    return (int64_t)world_countries[installation->country].utc_offset_min * 60 * AP_US_PER_S;
}

/* Begins of sessions on one day, latest first, so that the next one is taken from the end. */
static void plan_day(struct installation *installation, int32_t local_day)
{
    struct ap_random *random = &installation->random;
    installation->local_day = local_day;
    installation->starts_count = 0;
    if (ap_random_unit(random) >= installation->daily_chance * world_weekday_factor(local_day))
        return;
    uint8_t count = 1;
    while (count < AP_ARRAY_COUNT(installation->starts_s) && ap_random_unit(random) < 0.27)
        count++;
    for (uint8_t i = 0; i < count; i++) {
        uint32_t second = world_draw_second_of_day(random);
        uint8_t at = i;
        for (; at > 0 && installation->starts_s[at - 1] < second; at--)
            installation->starts_s[at] = installation->starts_s[at - 1];
        installation->starts_s[at] = second;
    }
    installation->starts_count = count;
}

/* When the next session begins that is after `after_us`. */
static int64_t plan_session(struct installation *installation, int64_t after_us)
{
    for (;;) {
        while (installation->starts_count > 0) {
            uint32_t second = installation->starts_s[--installation->starts_count];
            int64_t begin_us = installation->local_day * AP_US_PER_DAY + second * AP_US_PER_S +
                               (int64_t)ap_random_below(&installation->random, AP_US_PER_S) -
                               utc_offset_us(installation);
            if (begin_us > after_us)
                return begin_us < installation->gone_us ? begin_us : FLEET_NEVER;
        }
        plan_day(installation, installation->local_day + 1);
        if (installation->local_day * AP_US_PER_DAY - AP_US_PER_DAY > installation->gone_us)
            return FLEET_NEVER;
    }
}

int64_t installation_init(struct installation *installation, const struct world *world, uint64_t seed, int64_t from_us,
                          bool is_new)
{
    *installation = (struct installation){0};
    struct ap_random *random = &installation->random;
    ap_random_init(random, seed);
    installation->id[0] = ap_random_u64(random);
    installation->id[1] = ap_random_u64(random);
    uint64_t user_id = ap_random_u64(random) | 1;
    installation->user_id = ap_random_unit(random) < 0.91 ? user_id : 0;
    installation->country = (uint8_t)world_draw_country(random);
    installation->address = world_draw_address(installation->country, random);
    installation->platform = (uint8_t)world_draw_weighted(random, platform_weights, AP_ARRAY_COUNT(platform_weights));
    installation->upgrade_us = (int64_t)(world_draw_duration(random, 3.2, 1.1) * (double)AP_US_PER_DAY);
    installation->slowness = (float)world_draw_duration(random, 1, 0.14);
    for (uint32_t i = 0; i < FEATURES; i++)
        if (ap_random_unit(random) < features[i].wanted)
            installation->features |= 1u << i;

    /* Every day, most days, or now and then. */
    double eager = ap_random_unit(random);
    installation->daily_chance = (float)(eager < 0.22 ? 0.93 : eager < 0.74 ? 0.60 : 0.33);

    /* One new one in six is tried for a few days and then forgotten; whoever stays, stays for most of a year. */
    bool is_trial = is_new && ap_random_unit(random) < 0.17;
    installation->gone_us = from_us + world_draw_gap_us(random, (is_trial ? 5.0 : 330.0) * (double)AP_US_PER_DAY);

    if (is_new) {
        installation->release = (uint8_t)world_release_at(world, from_us, 0);
        installation->local_day = (int32_t)((from_us + utc_offset_us(installation)) / AP_US_PER_DAY);
        /* It is started right after it was installed, and is in use for the rest of that day at least. */
        int64_t first_us = from_us + world_draw_gap_us(random, 240.0 * (double)AP_US_PER_S);
        installation->gone_us = AP_MAX(installation->gone_us, first_us + AP_US_PER_DAY / 2);
        return first_us;
    }
    installation->release = (uint8_t)world_release_at(world, from_us, installation->upgrade_us);
    installation->local_day = (int32_t)((from_us + utc_offset_us(installation)) / AP_US_PER_DAY) - 1;
    return plan_session(installation, from_us);
}

static struct fleet_line begin_event(const struct installation *installation, int64_t shown_us, const char *event_type,
                                     struct fleet_row *row)
{
    struct fleet_line line = fleet_line_begin(row, FLEET_TABLE_EVENTS, shown_us);
    fleet_line_text(&line, "{\"event_type\":\"");
    fleet_line_text(&line, event_type);
    fleet_line_text(&line, "\",\"session_id\":\"");
    fleet_line_uuid(&line, installation->session_id);
    if (installation->user_id) {
        fleet_line_text(&line, "\",\"user_id\":\"user-");
        fleet_line_hex(&line, installation->user_id, 16);
    }
    fleet_line_text(&line, "\",\"installation_id\":\"");
    fleet_line_uuid(&line, installation->id);
    fleet_line_text(&line, "\"");
    return line;
}

static void end_event(const struct installation *installation, struct fleet_line *line)
{
    fleet_line_timestamp(line);
    fleet_line_text(line, ",\"version\":\"");
    fleet_line_text(line, world_releases[installation->release].version);
    fleet_line_text(line, "\",\"platform\":\"");
    fleet_line_text(line, platforms[installation->platform].name);
    fleet_line_text(line, "\",\"client_ip\":\"");
    fleet_line_address(line, installation->address);
    fleet_line_text(line, "\"");
    fleet_line_end(line);
}

static void add_outcome(struct fleet_line *line, double duration_ms, bool success)
{
    fleet_line_text(line, ",\"duration_ms\":");
    fleet_line_tenths(line, duration_ms);
    fleet_line_text(line, success ? ",\"success\":true" : ",\"success\":false");
}

static int64_t begin_session(struct installation *installation, const struct world *world, int64_t due_us,
                             int64_t shown_us, struct fleet_row *row)
{
    struct ap_random *random = &installation->random;
    installation->is_in_session = true;
    installation->session_from_us = shown_us;
    installation->session_id[0] = ap_random_u64(random);
    installation->session_id[1] = ap_random_u64(random);
    uint8_t release = (uint8_t)world_release_at(world, due_us, installation->upgrade_us);
    installation->release = AP_MAX(installation->release, release); /* nobody goes back */
    installation->steps_left = (uint16_t)(1 + AP_MIN(40.0, world_draw_duration(random, 3.6, 0.75)));

    double duration_ms = world_draw_duration(random, 26.3, 0.26) * platforms[installation->platform].startup_factor *
                         world_releases[installation->release].startup_factor * installation->slowness;
    if (ap_random_unit(random) < 0.02) /* nothing of it was in the page cache */
        duration_ms *= 1.9;
    bool success = ap_random_unit(random) >= 0.0002 * failure_scale(installation);
    struct fleet_line line = begin_event(installation, shown_us, "startup", row);
    add_outcome(&line, duration_ms, success);
    end_event(installation, &line);
    return due_us + (int64_t)(duration_ms * 1000) + world_draw_gap_us(random, 20.0 * (double)AP_US_PER_S);
}

static void end_session(struct installation *installation, int64_t shown_us, struct fleet_row *row)
{
    installation->is_in_session = false;
    struct fleet_line line = begin_event(installation, shown_us, "session_end", row);
    fleet_line_text(&line, ",\"duration_ms\":");
    fleet_line_integer(&line, (uint64_t)((shown_us - installation->session_from_us) / AP_US_PER_MS));
    end_event(installation, &line);
}

/* Bit set of what its owner uses and its release has. */
static uint32_t usable_features(const struct installation *installation)
{
    uint32_t usable = 0;
    for (uint32_t i = 0; i < FEATURES; i++)
        if (installation->features >> i & 1 && installation->release >= features[i].release)
            usable |= 1u << i;
    return usable;
}

static void use_feature(struct installation *installation, uint32_t usable, int64_t shown_us, struct fleet_row *row)
{
    uint32_t weights[FEATURES];
    for (uint32_t i = 0; i < FEATURES; i++)
        weights[i] = usable >> i & 1 ? features[i].weight : 0;
    uint32_t feature = world_draw_weighted(&installation->random, weights, FEATURES);
    struct fleet_line line = begin_event(installation, shown_us, "feature_usage", row);
    fleet_line_text(&line, ",\"feature\":\"");
    fleet_line_text(&line, features[feature].name);
    fleet_line_text(&line, "\",\"context\":{\"");
    fleet_line_text(&line, features[feature].detail);
    fleet_line_text(&line, "\":");
    fleet_line_integer(&line, 1 + ap_random_below(&installation->random, features[feature].detail_max));
    fleet_line_text(&line, "}");
    end_event(installation, &line);
}

/* Returns how long it took, in microseconds of simulated time. */
static int64_t run_command(struct installation *installation, const struct world *world, int64_t due_us,
                           int64_t shown_us, struct fleet_row *row)
{
    struct ap_random *random = &installation->random;
    uint32_t command = world_draw_weighted(random, command_weights, AP_ARRAY_COUNT(command_weights));
    double duration_ms = world_draw_duration(random, commands[command].median_ms, commands[command].sigma);
    double failure_chance = commands[command].failure_chance * failure_scale(installation);
    double severity = commands[command].is_remote ? world_incident_severity(world, due_us) : 0;
    if (severity > 0) {
        duration_ms *= 1 + 2.5 * severity * ap_random_unit(random);
        failure_chance += 0.22 * severity;
    }
    bool success = ap_random_unit(random) >= failure_chance;
    struct fleet_line line = begin_event(installation, shown_us, "command_execution", row);
    fleet_line_text(&line, ",\"command\":\"");
    fleet_line_text(&line, commands[command].name);
    fleet_line_text(&line, "\"");
    add_outcome(&line, duration_ms, success);
    if (command == COMMAND_CONSENSUS) {
        fleet_line_text(&line, ",\"context\":{\"models\":");
        fleet_line_integer(&line, 3 + ap_random_below(random, 3));
        fleet_line_text(&line, ",\"rounds\":");
        fleet_line_integer(&line, 1 + ap_random_below(random, 4));
        fleet_line_text(&line, ",\"tokens\":");
        fleet_line_integer(&line, 400 + ap_random_below(random, 7000));
        fleet_line_text(&line, "}");
    }
    end_event(installation, &line);
    return (int64_t)(duration_ms * 1000);
}

int64_t installation_step(struct installation *installation, const struct world *world, int64_t due_us,
                          int64_t shown_us, struct fleet_row *row)
{
    struct ap_random *random = &installation->random;
    if (!installation->is_in_session)
        return begin_session(installation, world, due_us, shown_us, row);
    if (installation->steps_left == 0) {
        end_session(installation, shown_us, row);
        return plan_session(installation, due_us);
    }
    installation->steps_left--;
    uint32_t usable = usable_features(installation);
    int64_t took_us = 0;
    if (usable && ap_random_unit(random) < 0.32)
        use_feature(installation, usable, shown_us, row);
    else
        took_us = run_command(installation, world, due_us, shown_us, row);
    return due_us + took_us + world_draw_gap_us(random, 95.0 * (double)AP_US_PER_S);
}
