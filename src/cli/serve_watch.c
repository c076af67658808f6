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
#include "rules/manager.h"
#include "rules/rule_file.h"
#include "rules/self.h"

enum { LOG_INTERVAL_MS = 1000 };

struct builtin_rules {
    struct rule_file *self; /* owned, as the next; NULL: not wanted */
    struct rule_file *made; /* of settings: heart-beats and the Watchdog */
    const struct rule_group **groups;
    size_t group_count;
};

void builtin_rules_close(struct builtin_rules *rules)
{
    if (!rules)
        return;
    rule_file_free(rules->self);
    rule_file_free(rules->made);
    free(rules->groups);
    free(rules);
}
AP_DEFINE_AUTO(builtin_rules, struct builtin_rules, builtin_rules_close)

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

static enum ap_rc make_file(const struct apiary *apiary, const struct heartbeat_list *list, struct rule_file **ret_file,
                            struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    const struct watchdog *watchdog = serve_alerting_watchdog(apiary->alerting);
    ap_buf_add_cstr(&text, "groups:\n");
    heartbeat_list_add_rules(list, &text);
    if (watchdog_is_on(watchdog))
        watchdog_add_rules(watchdog, &text);
    return rule_file_parse(ap_buf_slice(&text), RULES_SELF_FILE, false, NULL, NULL, ret_file, err);
}

static enum ap_rc make_rules(const struct apiary *apiary, const struct heartbeat_list *list,
                             struct builtin_rules **ret_rules, struct ap_err *err)
{
    AP_AUTO(builtin_rules) struct builtin_rules *rules = ap_new0(struct builtin_rules);
    enum ap_rc rc = make_file(apiary, list, &rules->made, err);
    if (rc == AP_OK && apiary->config->rules.self && apiary->config->scrape.self) /* of what else would they be? */
        rc = rule_file_parse(ap_slice_cstr(rules_self), RULES_SELF_FILE, false, NULL, NULL, &rules->self, err);
    if (rc != AP_OK)
        return rc;
    collect(rules, apiary);
    *ret_rules = AP_MOVE(rules);
    return AP_OK;
}

enum ap_rc builtin_rules_open(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = heartbeat_list_read(apiary->config->heartbeats, &apiary->heartbeat_list, err);
    return rc == AP_OK ? make_rules(apiary, &apiary->heartbeat_list, &apiary->builtin_rules, err) : rc;
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

/* ---- Others than before ---- */

static bool is_same(const struct yaml_node *a, const struct yaml_node *b)
{
    AP_AUTO_BUF struct ap_buf text_a = {0};
    AP_AUTO_BUF struct ap_buf text_b = {0};
    if (!a || !b)
        return a == b;
    yaml_print(a, &text_a);
    yaml_print(b, &text_b);
    return ap_slice_equal(ap_buf_slice(&text_a), ap_buf_slice(&text_b));
}

/*
 * New ones have their series before their rules look for them, and those that are gone lose theirs when their rules are
 * gone: neither is taken for a beat that is missing.
 */
static void exchange(struct apiary *apiary, struct heartbeat_list *list, struct builtin_rules **rules)
{
    struct heartbeat_list list_before = apiary->heartbeat_list;
    struct builtin_rules *rules_before = apiary->builtin_rules;
    apiary->heartbeat_list = *list;
    apiary->builtin_rules = *rules;
    *list = list_before;
    *rules = rules_before;
    size_t group_count;
    const struct rule_group *const *groups = builtin_rules_groups(apiary->builtin_rules, &group_count);
    rule_manager_regroup(apiary->rules, groups, group_count);
    heartbeats_end_gone(apiary->heartbeats);
}

enum ap_rc serve_reload_heartbeats(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    const struct config *before = apiary->config_of_heartbeats ? apiary->config_of_heartbeats : apiary->config;
    AP_CLEANUP(heartbeat_list_clear) struct heartbeat_list list = {0};
    AP_AUTO(builtin_rules) struct builtin_rules *rules = NULL;
    if (is_same(before->heartbeats, config->heartbeats))
        return AP_OK;
    enum ap_rc rc = heartbeat_list_read(config->heartbeats, &list, err);
    if (rc == AP_OK)
        rc = make_rules(apiary, &list, &rules, err);
    if (rc == AP_OK)
        rc = heartbeats_reconfigure(apiary->heartbeats, &list, err);
    if (rc != AP_OK)
        return rc;
    exchange(apiary, &list, &rules);
    config_free(apiary->config_of_heartbeats);
    apiary->config_of_heartbeats = config_ref(config);
    ap_log(AP_LOG_INFO, "serve", "heart-beats reloaded: %zu are waited for", apiary->heartbeat_list.count);
    return AP_OK;
}
