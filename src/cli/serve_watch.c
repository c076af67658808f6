/* Rules that stand in no file of rules: packs' alerts, heart-beats, and what this server says about itself. */
#include <stdlib.h>

#include "alert/heartbeats.h"
#include "alert/watchdog.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/serve_alerting.h"
#include "cli/serve_internal.h"
#include "pack/pack.h"
#include "rules/keep.h"
#include "rules/rule_file.h"
#include "rules/self.h"

enum { LOG_INTERVAL_MS = 1000 };

struct builtin_rules {
    struct rule_file *self; /* owned, as the next; NULL: not wanted */
    struct rule_file *made; /* of settings: heart-beats and the Watchdog */
    const struct rule_group **groups;
    size_t group_count;
};

static void add_file(struct builtin_rules *rules, const struct rule_file *file)
{
    for (size_t i = 0; file && i < file->group_count; i++)
        rules->groups[rules->group_count++] = &file->groups[i];
}

static void collect(struct builtin_rules *rules, const struct apiary *apiary)
{
    size_t count = rules->made->group_count + (rules->self ? rules->self->group_count : 0);
    for (size_t i = 0; i < apiary->pack_count; i++)
        count += apiary->packs[i]->rule_group_count;
    rules->groups = ap_new0_array(const struct rule_group *, count + 1);
    add_file(rules, rules->self);
    add_file(rules, rules->made);
    for (size_t i = 0; i < apiary->pack_count; i++)
        for (size_t g = 0; g < apiary->packs[i]->rule_group_count; g++)
            rules->groups[rules->group_count++] = &apiary->packs[i]->rule_groups[g];
}

static enum ap_rc make_file(struct apiary *apiary, struct rule_file **ret_file, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    const struct watchdog *watchdog = serve_alerting_watchdog(apiary->alerting);
    enum ap_rc rc = heartbeat_list_read(apiary->config->heartbeats, &apiary->heartbeat_list, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_cstr(&text, "groups:\n");
    heartbeat_list_add_rules(&apiary->heartbeat_list, &text);
    if (watchdog_is_on(watchdog))
        watchdog_add_rules(watchdog, &text);
    return rule_file_parse(ap_buf_slice(&text), RULES_SELF_FILE, false, NULL, NULL, ret_file, err);
}

enum ap_rc builtin_rules_open(struct apiary *apiary, struct ap_err *err)
{
    struct builtin_rules *rules = apiary->builtin_rules = ap_new0(struct builtin_rules);
    enum ap_rc rc = make_file(apiary, &rules->made, err);
    if (rc == AP_OK && apiary->config->rules.self && apiary->config->scrape.self) /* of what else would they be? */
        rc = rule_file_parse(ap_slice_cstr(rules_self), RULES_SELF_FILE, false, NULL, NULL, &rules->self, err);
    if (rc == AP_OK)
        collect(rules, apiary);
    return rc;
}

void builtin_rules_close(struct builtin_rules *rules)
{
    if (!rules)
        return;
    rule_file_free(rules->self);
    rule_file_free(rules->made);
    free(rules->groups);
    free(rules);
}

const struct rule_group *const *builtin_rules_groups(const struct builtin_rules *rules, size_t *ret_count)
{
    *ret_count = rules->group_count;
    return rules->groups;
}

/* ---- Heart-beats ---- */

static void heartbeats_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "heartbeats", "%s", err->text);
}

enum ap_rc serve_open_heartbeats(struct apiary *apiary, struct ap_err *err)
{
    AP_AUTO_FREE char *meta_path = ap_asprintf("%s/meta.sqlite", apiary->config->data);
    const struct heartbeats_options options = {
        .list = &apiary->heartbeat_list,
        .meta_path = meta_path,
        .clock = &ap_clock_system,
        .keep = rules_keep,
        .keep_context = apiary->rules_keep,
        .trouble = heartbeats_trouble,
        .context = apiary,
    };
    return heartbeats_open(&options, &apiary->heartbeats, err);
}
