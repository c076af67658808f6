#include "alert/inhibitor.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* One active source of a rule. */
struct source {
    struct labels_hash equal; /* of the values that must be equal */
    const struct known_alert *alert;
    bool is_target; /* it matches that side as well */
};

struct sources {
    struct source *items; /* owned; by `equal` */
    size_t count;
    size_t capacity;
};

struct inhibitor {
    const struct alert_config *config;
    struct sources *rules; /* owned; one a rule */
};

struct inhibitor *inhibitor_new(const struct alert_config *config)
{
    struct inhibitor *inhibitor = ap_new0(struct inhibitor);
    inhibitor->config = config;
    inhibitor->rules = ap_new0_array(struct sources, config->inhibit_rule_count + 1);
    return inhibitor;
}

void inhibitor_free(struct inhibitor *inhibitor)
{
    if (!inhibitor)
        return;
    for (size_t i = 0; i < inhibitor->config->inhibit_rule_count; i++)
        free(inhibitor->rules[i].items);
    free(inhibitor->rules);
    free(inhibitor);
}

static struct labels_hash equal_hash(const struct inhibit_rule *rule, struct ap_slice labels)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    for (size_t i = 0; i < rule->equal.count; i++) {
        struct ap_slice value = labels_get(labels, ap_slice_cstr(rule->equal.items[i]));
        ap_buf_add_varint(&bytes, value.bytes);
        ap_buf_add_slice(&bytes, value);
    }
    return labels_hash_of(0, ap_buf_slice(&bytes));
}

static int compare_hashes(struct labels_hash a, struct labels_hash b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static int compare_sources(const void *a, const void *b)
{
    const struct source *left = a, *right = b;
    int order = compare_hashes(left->equal, right->equal);
    return order ? order : labels_compare(left->alert->alert.labels, right->alert->alert.labels);
}

static void add_source(struct sources *sources, const struct source *source)
{
    if (sources->count == sources->capacity) {
        sources->capacity = AP_MAX(sources->capacity * 2, (size_t)16);
        sources->items = ap_realloc(sources->items, sources->capacity * sizeof(*sources->items));
    }
    sources->items[sources->count++] = *source;
}

void inhibitor_update(struct inhibitor *inhibitor, const struct alert_set *alerts, int64_t now_ms)
{
    for (size_t r = 0; r < inhibitor->config->inhibit_rule_count; r++) {
        const struct inhibit_rule *rule = &inhibitor->config->inhibit_rules[r];
        struct sources *sources = &inhibitor->rules[r];
        sources->count = 0;
        for (size_t i = 0; i < alerts->slot_count; i++) {
            const struct known_alert *alert = alerts->slots[i];
            if (!alert || known_alert_is_resolved(alert, now_ms) || !matchers_match(&rule->source, alert->alert.labels))
                continue;
            add_source(sources, &(struct source){.equal = equal_hash(rule, alert->alert.labels),
                                                 .alert = alert,
                                                 .is_target = matchers_match(&rule->target, alert->alert.labels)});
        }
        if (sources->count)
            qsort(sources->items, sources->count, sizeof(*sources->items), compare_sources);
    }
}

bool inhibitor_is_source(const struct inhibitor *inhibitor, struct ap_slice labels)
{
    for (size_t r = 0; r < inhibitor->config->inhibit_rule_count; r++)
        if (matchers_match(&inhibitor->config->inhibit_rules[r].source, labels))
            return true;
    return false;
}

static const struct known_alert *find_source(const struct sources *sources, struct labels_hash equal,
                                             bool is_excluding_two_sided, int64_t now_ms)
{
    size_t low = 0, high = sources->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_hashes(sources->items[middle].equal, equal) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < sources->count && compare_hashes(sources->items[low].equal, equal) == 0; low++) {
        const struct source *source = &sources->items[low];
        if (!(is_excluding_two_sided && source->is_target) && !known_alert_is_resolved(source->alert, now_ms))
            return source->alert;
    }
    return NULL;
}

const struct known_alert *inhibitor_find(const struct inhibitor *inhibitor, struct ap_slice labels, int64_t now_ms)
{
    for (size_t r = 0; r < inhibitor->config->inhibit_rule_count; r++) {
        const struct inhibit_rule *rule = &inhibitor->config->inhibit_rules[r];
        if (inhibitor->rules[r].count == 0 || !matchers_match(&rule->target, labels))
            continue;
        bool is_source = matchers_match(&rule->source, labels);
        const struct known_alert *found =
            find_source(&inhibitor->rules[r], equal_hash(rule, labels), is_source, now_ms);
        if (found)
            return found;
    }
    return NULL;
}
