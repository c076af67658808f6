#include "api/feature_list.h"

#include "api/question.h"
#include "base/mem.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/functions.h"
#include "template/template.h"

enum when { NEVER, ALWAYS, IF_EXPERIMENTAL };

struct feature {
    const char *name;
    enum when when;
};

static const struct feature api_features[] = {
    {"admin", ALWAYS},
    {"exclude_alerts", ALWAYS},
    {"label_values_match", ALWAYS},
    {"lifecycle", NEVER}, /* SIGHUP and SIGTERM, no address for them */
    {"openapi_3.1", NEVER},
    {"openapi_3.2", NEVER},
    {"otlp_write_receiver", ALWAYS},
    {"query_stats", ALWAYS},
    {"query_warnings", ALWAYS},
    {"remote_write_receiver", ALWAYS},
    {"time_range_labels", ALWAYS},
    {"time_range_series", ALWAYS},
};
static const struct feature prometheus_features[] = {{"agent_mode", NEVER}, {"auto_reload_config", NEVER}};
static const struct feature promql_features[] = {
    {"anchored", IF_EXPERIMENTAL},
    {"at_modifier", ALWAYS},
    {"bool", ALWAYS},
    {"by", ALWAYS},
    {"delayed_name_removal", NEVER},
    {"duration_expr", IF_EXPERIMENTAL},
    {"fill", IF_EXPERIMENTAL},
    {"fill_left", IF_EXPERIMENTAL},
    {"fill_right", IF_EXPERIMENTAL},
    {"group_left", ALWAYS},
    {"group_right", ALWAYS},
    {"ignoring", ALWAYS},
    {"negative_offset", ALWAYS},
    {"offset", ALWAYS},
    {"on", ALWAYS},
    {"per_query_lookback_delta", ALWAYS},
    {"per_step_stats", NEVER},
    {"smoothed", IF_EXPERIMENTAL},
    {"subqueries", ALWAYS},
    {"type_and_unit_labels", NEVER},
    {"without", ALWAYS},
};
static const struct feature rules_features[] = {
    {"concurrent_rule_eval", NEVER}, {"keep_firing_for", ALWAYS}, {"query_offset", ALWAYS}};
static const struct feature tsdb_features[] = {
    {"delayed_compaction", NEVER}, {"exemplar_storage", ALWAYS}, {"native_histograms", ALWAYS}};

static const struct category {
    const char *name;
    const struct feature *features;
    size_t count;
} categories[] = {
    {"api", api_features, AP_ARRAY_COUNT(api_features)},
    {"prometheus", prometheus_features, AP_ARRAY_COUNT(prometheus_features)},
    {"promql", promql_features, AP_ARRAY_COUNT(promql_features)},
    {"rules", rules_features, AP_ARRAY_COUNT(rules_features)},
    {"tsdb", tsdb_features, AP_ARRAY_COUNT(tsdb_features)},
};

struct writing {
    struct ap_buf *out;
    bool is_experimental;
};

static void begin(struct writing *writing, const char *category)
{
    struct ap_buf *out = writing->out;
    ap_buf_printf(out, "%s\"%s\":{", out->data[out->bytes - 1] == '{' ? "" : ",", category);
}

static void add(struct writing *writing, const char *name, enum when when)
{
    struct ap_buf *out = writing->out;
    bool is_on = when == ALWAYS || (when == IF_EXPERIMENTAL && writing->is_experimental);
    ap_buf_add_cstr(out, out->data[out->bytes - 1] == '{' ? "" : ",");
    ap_buf_add_json_string(out, ap_slice_cstr(name));
    ap_buf_add_cstr(out, is_on ? ":true" : ":false");
}

static void end(struct writing *writing)
{
    ap_buf_add_char(writing->out, '}');
}

/* Whatever the language says about itself is asked there. */
static void add_language(struct writing *writing)
{
    static const char *const others[] = {"!~", "=~", "@"};
    const struct promql_function *function;
    begin(writing, "promql_functions");
    for (size_t i = 0; (function = promql_function_at(i)); i++)
        add(writing, function->name, function->is_experimental ? IF_EXPERIMENTAL : ALWAYS);
    end(writing);
    begin(writing, "promql_operators");
    for (int operator= 0; operator<= OPERATOR_OR; operator++)
        add(writing, promql_operator_name((enum promql_operator) operator), ALWAYS);
    for (int aggregation = 0; aggregation <= AGGREGATE_LIMIT_RATIO; aggregation++)
        add(writing, promql_aggregation_name((enum promql_aggregation)aggregation),
            aggregation >= AGGREGATE_LIMITK ? IF_EXPERIMENTAL : ALWAYS);
    for (size_t i = 0; i < AP_ARRAY_COUNT(others); i++)
        add(writing, others[i], ALWAYS);
    end(writing);
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct writing writing = {out, promql_engine_options_of(question->api->engine)->is_experimental};
    const char *function;
    (void)err;
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < AP_ARRAY_COUNT(categories); i++) {
        begin(&writing, categories[i].name);
        for (size_t j = 0; j < categories[i].count; j++)
            add(&writing, categories[i].features[j].name, categories[i].features[j].when);
        end(&writing);
    }
    add_language(&writing);
    begin(&writing, "templating_functions");
    for (size_t i = 0; (function = template_function_at(i)); i++)
        add(&writing, function, ALWAYS);
    end(&writing);
    end(&writing);
    return AP_OK;
}

void feature_list_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
