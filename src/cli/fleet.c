#include "cli/fleet.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "cli/fleet_internal.h"

/* Actors by number: the downloads, the probes, the lanes of the web site, and behind them the installations. */
enum { ACTOR_DOWNLOADS = 0, ACTOR_PROBES = 1, ACTOR_VISITS = ACTOR_PROBES + PROBE_COUNT };

/* At scale 1. With these the pack's targets are just met, or just missed, which is what makes a page worth looking at.
 */
static const double installations_at_first = 3560;
static const double downloads_per_day = 1250;
static const double installations_per_download = 0.0425;
static const double visits_per_day = 700;
static const double visits_per_lane = 45; /* a day: readers that overlap are on different lanes */

struct fleet_due {
    int64_t due_us;
    uint32_t actor;
};

struct fleet {
    struct world world;
    struct ap_random random; /* seeds of new installations */
    double pace;
    struct downloads downloads;
    struct probe probes[PROBE_COUNT];
    struct visit *visits; /* owned */
    uint32_t visit_count;
    double visit_gap_us;
    struct installation *installations; /* owned */
    uint32_t installation_count;        /* slots in use, those on the free list included */
    uint32_t installation_capacity;
    uint32_t *free_slots; /* owned; of installations that are gone */
    uint32_t free_count;
    size_t installations_ever;
    struct fleet_due *heap; /* owned; a binary heap, the earliest first */
    uint32_t heap_count;
    uint32_t heap_capacity;
};

const char *fleet_table_path(enum fleet_table table)
{
    static const char *const paths[] = {"/events", "/vitals", "/downloads", "/synthetic"};
    return paths[table];
}

/* ---- The heap ---- */

/* Of two that are due at once the lower number goes first: nothing depends on where they stand. */
static bool is_before(const struct fleet_due *a, const struct fleet_due *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->actor < b->actor);
}

static void heap_push(struct fleet *fleet, int64_t due_us, uint32_t actor)
{
    if (fleet->heap_count == fleet->heap_capacity) {
        fleet->heap_capacity = fleet->heap_capacity ? 2 * fleet->heap_capacity : 1024;
        fleet->heap = ap_realloc(fleet->heap, fleet->heap_capacity * sizeof(*fleet->heap));
    }
    struct fleet_due due = {due_us, actor};
    uint32_t at = fleet->heap_count++;
    for (; at > 0 && is_before(&due, &fleet->heap[(at - 1) / 2]); at = (at - 1) / 2)
        fleet->heap[at] = fleet->heap[(at - 1) / 2];
    fleet->heap[at] = due;
}

/* Puts `due` in place of the first. */
static void heap_replace_first(struct fleet *fleet, struct fleet_due due)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= fleet->heap_count)
            break;
        if (child + 1 < fleet->heap_count && is_before(&fleet->heap[child + 1], &fleet->heap[child]))
            child++;
        if (!is_before(&fleet->heap[child], &due))
            break;
        fleet->heap[at] = fleet->heap[child];
        at = child;
    }
    fleet->heap[at] = due;
}

static void heap_set_first(struct fleet *fleet, int64_t due_us)
{
    if (due_us == FLEET_NEVER)
        heap_replace_first(fleet, fleet->heap[--fleet->heap_count]);
    else
        heap_replace_first(fleet, (struct fleet_due){due_us, fleet->heap[0].actor});
}

/* ---- Installations come and go ---- */

static void add_installation(struct fleet *fleet, int64_t from_us, bool is_new)
{
    uint32_t slot;
    if (fleet->free_count > 0) {
        slot = fleet->free_slots[--fleet->free_count];
    } else {
        if (fleet->installation_count == fleet->installation_capacity) {
            fleet->installation_capacity = fleet->installation_capacity ? 2 * fleet->installation_capacity : 1024;
            fleet->installations =
                ap_realloc(fleet->installations, fleet->installation_capacity * sizeof(*fleet->installations));
            fleet->free_slots =
                ap_realloc(fleet->free_slots, fleet->installation_capacity * sizeof(*fleet->free_slots));
        }
        slot = fleet->installation_count++;
    }
    int64_t due_us =
        installation_init(&fleet->installations[slot], &fleet->world, ap_random_u64(&fleet->random), from_us, is_new);
    if (due_us == FLEET_NEVER) {
        fleet->free_slots[fleet->free_count++] = slot;
        return;
    }
    fleet->installations_ever++;
    heap_push(fleet, due_us, ACTOR_VISITS + fleet->visit_count + slot);
}

size_t fleet_installations_alive(const struct fleet *fleet)
{
    return fleet->installation_count - fleet->free_count;
}

size_t fleet_installations_ever(const struct fleet *fleet)
{
    return fleet->installations_ever;
}

/* ---- The fleet ---- */

struct fleet *fleet_new(const struct fleet_options *options)
{
    AP_ASSERT(options->days > 0 && options->scale > 0);
    struct fleet *fleet = ap_new0(struct fleet);
    int64_t from_us = options->now_us - options->days * AP_US_PER_DAY;
    ap_random_init(&fleet->random, options->seed);
    world_init(&fleet->world, options->seed, options->now_us);
    fleet->pace = 1;

    ap_random_init(&fleet->downloads.random, ap_random_u64(&fleet->random));
    fleet->downloads.per_day = downloads_per_day * options->scale / fleet->world.week_demand_mean;
    heap_push(fleet, downloads_next(&fleet->downloads, &fleet->world, from_us), ACTOR_DOWNLOADS);

    for (uint32_t i = 0; i < PROBE_COUNT; i++)
        heap_push(fleet, probe_init(&fleet->probes[i], (uint8_t)i, ap_random_u64(&fleet->random), from_us),
                  ACTOR_PROBES + i);

    double visits = visits_per_day * options->scale;
    fleet->visit_count = (uint32_t)(visits / visits_per_lane) + 1;
    fleet->visit_gap_us = (double)AP_US_PER_DAY * fleet->visit_count / visits;
    fleet->visits = ap_new0_array(struct visit, fleet->visit_count);
    for (uint32_t i = 0; i < fleet->visit_count; i++)
        heap_push(
            fleet,
            visit_init(&fleet->visits[i], &fleet->world, ap_random_u64(&fleet->random), from_us, fleet->visit_gap_us),
            ACTOR_VISITS + i);

    uint32_t count = (uint32_t)(installations_at_first * options->scale) + 1;
    for (uint32_t i = 0; i < count; i++)
        add_installation(fleet, from_us, false);
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    free(fleet->visits);
    free(fleet->installations);
    free(fleet->free_slots);
    free(fleet->heap);
    free(fleet);
}

void fleet_set_pace(struct fleet *fleet, double factor)
{
    AP_ASSERT(factor > 0);
    fleet->pace = factor;
}

/* The timestamp that is written for a moment of the simulation. */
static int64_t shown_us(const struct fleet *fleet, int64_t due_us)
{
    int64_t now_us = fleet->world.now_us;
    return due_us <= now_us ? due_us : now_us + (int64_t)((double)(due_us - now_us) / fleet->pace);
}

int64_t fleet_peek_us(const struct fleet *fleet)
{
    return shown_us(fleet, fleet->heap[0].due_us);
}

static void step_downloads(struct fleet *fleet, int64_t due_us, struct fleet_row *row)
{
    downloads_write(&fleet->downloads, &fleet->world, due_us, shown_us(fleet, due_us), row);
    heap_set_first(fleet, downloads_next(&fleet->downloads, &fleet->world, due_us));
    if (ap_random_unit(&fleet->random) < installations_per_download)
        add_installation(fleet, due_us, true);
}

static void step_installation(struct fleet *fleet, uint32_t slot, int64_t due_us, struct fleet_row *row)
{
    int64_t next_us =
        installation_step(&fleet->installations[slot], &fleet->world, due_us, shown_us(fleet, due_us), row);
    heap_set_first(fleet, next_us);
    if (next_us == FLEET_NEVER)
        fleet->free_slots[fleet->free_count++] = slot;
}

void fleet_next(struct fleet *fleet, struct fleet_row *ret_row)
{
    int64_t due_us = fleet->heap[0].due_us;
    uint32_t actor = fleet->heap[0].actor;
    int64_t shown = shown_us(fleet, due_us);
    if (actor == ACTOR_DOWNLOADS)
        step_downloads(fleet, due_us, ret_row);
    else if (actor < ACTOR_VISITS)
        heap_set_first(fleet, probe_step(&fleet->probes[actor - ACTOR_PROBES], &fleet->world, due_us, shown, ret_row));
    else if (actor < ACTOR_VISITS + fleet->visit_count)
        heap_set_first(fleet, visit_step(&fleet->visits[actor - ACTOR_VISITS], &fleet->world, due_us, shown,
                                         fleet->visit_gap_us, ret_row));
    else
        step_installation(fleet, actor - ACTOR_VISITS - fleet->visit_count, due_us, ret_row);
}
