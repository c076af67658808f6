/* Readers of the web site: page by page, and with each page the five web vitals that a browser measures. */
#include "cli/fleet_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fleet_line.h"

static const char *const pages[] = {
    "https://docs.example.com/",          "https://docs.example.com/install",  "https://docs.example.com/consensus",
    "https://docs.example.com/planning",  "https://docs.example.com/tui",      "https://docs.example.com/themes",
    "https://docs.example.com/changelog", "https://docs.example.com/analysis",
};
static const uint32_t page_weights[] = {30, 24, 14, 9, 8, 4, 6, 5};

static const struct {
    const char *text;
    double slowness;
} agents[] = {
    {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", 1.0},
    {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
     "Safari/605.1.15",
     0.9},
    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
     1.1},
    {"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", 1.0},
    {"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
     1.9},
    {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
     "Mobile/15E148 Safari/604.1",
     1.5},
};
static const uint32_t agent_weights[] = {26, 22, 21, 9, 13, 9};

/* In the order in which a page reports them; bounds of "good" and "poor" as web.dev gives them. */
static const struct {
    const char *name;
    double median, sigma, good, poor;
    int64_t delay_us; /* mean, after the one before */
    bool is_ratio;
} vitals[] = {
    {"TTFB", 265, 0.55, 800, 1800, 400000, false},   {"FCP", 760, 0.45, 1800, 3000, 600000, false},
    {"LCP", 1320, 0.45, 2500, 4000, 1500000, false}, {"INP", 84, 0.65, 200, 500, 12000000, false},
    {"CLS", 0.021, 1.05, 0.1, 0.25, 25000000, true},
};
enum { VITALS = AP_ARRAY_COUNT(vitals) };

static int64_t next_visit(struct visit *visit, const struct world *world, int64_t after_us, double mean_gap_us)
{
    struct ap_random *random = &visit->random;
    int64_t at_us = after_us;
    do
        at_us += world_draw_gap_us(random, mean_gap_us * world->week_demand_mean);
    while (ap_random_unit(random) > world_demand(world, at_us)); /* thinning, Lewis and Shedler (1979) */
    visit->vital = 0;
    visit->id[0] = ap_random_u64(random);
    visit->id[1] = ap_random_u64(random);
    visit->address = world_draw_address(world_draw_country(random), random);
    visit->page = (uint8_t)world_draw_weighted(random, page_weights, AP_ARRAY_COUNT(page_weights));
    visit->agent = (uint8_t)world_draw_weighted(random, agent_weights, AP_ARRAY_COUNT(agent_weights));
    visit->slowness = (float)(world_draw_duration(random, 1, 0.35) * agents[visit->agent].slowness);
    return at_us;
}

int64_t visit_init(struct visit *visit, const struct world *world, uint64_t seed, int64_t from_us, double mean_gap_us)
{
    *visit = (struct visit){0};
    ap_random_init(&visit->random, seed);
    return next_visit(visit, world, from_us, mean_gap_us);
}

int64_t visit_step(struct visit *visit, const struct world *world, int64_t due_us, int64_t shown_us, double mean_gap_us,
                   struct fleet_row *row)
{
    struct ap_random *random = &visit->random;
    uint8_t vital = visit->vital;
    if (vital == 0)
        visit->begun_us = shown_us;
    double value = world_draw_duration(random, vitals[vital].median, vitals[vital].sigma);
    value *= vitals[vital].is_ratio ? 1 : visit->slowness * (1 + 1.5 * world_incident_severity(world, due_us));
    if (vitals[vital].is_ratio)
        value = AP_MIN(value, 2.0);

    struct fleet_line line = fleet_line_begin(row, FLEET_TABLE_VITALS, shown_us);
    fleet_line_text(&line, "{\"name\":\"");
    fleet_line_text(&line, vitals[vital].name);
    fleet_line_text(&line, "\",\"value\":");
    if (vitals[vital].is_ratio)
        fleet_line_ratio(&line, value);
    else
        fleet_line_tenths(&line, value);
    fleet_line_text(&line, ",\"id\":\"v5-");
    fleet_line_integer(&line, (uint64_t)(visit->begun_us / AP_US_PER_MS));
    fleet_line_text(&line, "-");
    fleet_line_integer(&line, 1000000000000 + (visit->id[0] + vital) % 8999999999999);
    fleet_line_text(&line, "\",\"rating\":\"");
    fleet_line_text(&line, value <= vitals[vital].good   ? "good"
                           : value <= vitals[vital].poor ? "needs-improvement"
                                                         : "poor");
    fleet_line_text(&line, "\",\"navigationType\":\"navigate\",\"session_id\":\"");
    fleet_line_uuid(&line, visit->id);
    fleet_line_text(&line, "\",\"url\":\"");
    fleet_line_text(&line, pages[visit->page]);
    fleet_line_text(&line, "\",\"user_agent\":\"");
    fleet_line_text(&line, agents[visit->agent].text);
    fleet_line_text(&line, "\",\"client_ip\":\"");
    fleet_line_address(&line, visit->address);
    fleet_line_text(&line, "\"");
    fleet_line_timestamp(&line);
    fleet_line_end(&line);

    int64_t next_us = due_us + world_draw_gap_us(random, (double)vitals[vital].delay_us);
    visit->vital++;
    return visit->vital < VITALS ? next_us : next_visit(visit, world, due_us, mean_gap_us);
}
