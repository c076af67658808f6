/* `global:` and the entries of `scrape_configs:`, with Prometheus' defaults and checks. */
#include <stdio.h>
#include <string.h>

#include "scrape/http_config.h"
#include "scrape/job_internal.h"

enum { DEFAULT_INTERVAL_MS = 60000, DEFAULT_TIMEOUT_MS = 10000 };

#define AT(type_, member) offsetof(struct type_, member)

/* Of what a job and `global:` both may say; what is 0 or NULL was not said. */
struct common_form {
    int64_t interval_ms, timeout_ms;
    const struct yaml_node *protocols;
    const char *failure_log_file;
    struct scrape_limits limits;
    uint64_t dropped_kept_max;
    const char *validation, *escaping;
    bool is_native_histograms, is_classic_to_custom, is_always_classic, is_extra_metrics;
};

/* clang-format off: a table */
#define COMMON_FIELDS(type_, common)                                                                                   \
    {"scrape_interval", FIELD_DURATION, AT(type_, common.interval_ms)},                                                \
        {"scrape_timeout", FIELD_DURATION, AT(type_, common.timeout_ms)},                                              \
        {"scrape_protocols", FIELD_NODE, AT(type_, common.protocols)},                                                 \
        {"scrape_failure_log_file", FIELD_PATH, AT(type_, common.failure_log_file)},                                   \
        {"body_size_limit", FIELD_SIZE, AT(type_, common.limits.body_bytes_max)},                                      \
        {"sample_limit", FIELD_COUNT, AT(type_, common.limits.samples_max)},                                           \
        {"target_limit", FIELD_COUNT, AT(type_, common.limits.targets_max)},                                           \
        {"label_limit", FIELD_COUNT, AT(type_, common.limits.labels_max)},                                             \
        {"label_name_length_limit", FIELD_COUNT, AT(type_, common.limits.label_name_bytes_max)},                       \
        {"label_value_length_limit", FIELD_COUNT, AT(type_, common.limits.label_value_bytes_max)},                     \
        {"keep_dropped_targets", FIELD_COUNT, AT(type_, common.dropped_kept_max)},                                     \
        {"metric_name_validation_scheme", FIELD_TEXT, AT(type_, common.validation)},                                   \
        {"metric_name_escaping_scheme", FIELD_TEXT, AT(type_, common.escaping)},                                       \
        {"scrape_native_histograms", FIELD_BOOLEAN, AT(type_, common.is_native_histograms)},                           \
        {"convert_classic_histograms_to_nhcb", FIELD_BOOLEAN, AT(type_, common.is_classic_to_custom)},                 \
        {"always_scrape_classic_histograms", FIELD_BOOLEAN, AT(type_, common.is_always_classic)},                      \
    {                                                                                                                  \
        "extra_scrape_metrics", FIELD_BOOLEAN, AT(type_, common.is_extra_metrics)                                      \
    }
/* clang-format on */

/* ---- What both may say ---- */

static enum ap_rc read_protocol(const struct yaml_node *node, const char *where, enum scrape_protocol *ret_protocol,
                                struct ap_err *err)
{
    for (int i = 0; i < SCRAPE_PROTOCOL_COUNT; i++) {
        *ret_protocol = (enum scrape_protocol)i;
        if (node->kind == YAML_KIND_SCALAR && ap_slice_equal_cstr(node->text, scrape_protocol_name(*ret_protocol)))
            return AP_OK;
    }
    return yaml_fail(err, node,
                     "%s: unknown scrape protocol %s, supported: OpenMetricsText0.0.1, OpenMetricsText1.0.0, "
                     "PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0",
                     where, node->kind == YAML_KIND_SCALAR ? node->text.data : yaml_kind_name(node->kind));
}

static enum ap_rc read_protocols(const struct yaml_node *node, struct scrape_job *job, struct ap_err *err)
{
    if (node->kind != YAML_KIND_LIST)
        return yaml_fail(err, node, "scrape_protocols: expected a list, found a %s", yaml_kind_name(node->kind));
    if (node->child_count == 0)
        return yaml_fail(err, node, "scrape_protocols cannot be empty");
    job->protocol_count = 0;
    for (const struct yaml_node *item = node->first; item; item = item->next) {
        enum scrape_protocol protocol;
        enum ap_rc rc = read_protocol(item, "scrape_protocols", &protocol, err);
        if (rc != AP_OK)
            return rc;
        for (size_t i = 0; i < job->protocol_count; i++)
            if (job->protocols[i] == protocol)
                return yaml_fail(err, item, "duplicated protocol in scrape_protocols: %s",
                                 scrape_protocol_name(protocol));
        job->protocols[job->protocol_count++] = protocol;
    }
    return AP_OK;
}

static void choose_protocols(struct scrape_job *job)
{
    static const enum scrape_protocol usual[] = {
        SCRAPE_PROTOCOL_PROTOBUF,   SCRAPE_PROTOCOL_OPENMETRICS_1_0_0, SCRAPE_PROTOCOL_OPENMETRICS_0_0_1,
        SCRAPE_PROTOCOL_TEXT_1_0_0, SCRAPE_PROTOCOL_TEXT_0_0_4,
    };
    size_t skipped = job->is_native_histograms ? 0 : 1;
    job->protocol_count = AP_ARRAY_COUNT(usual) - skipped;
    memcpy(job->protocols, usual + skipped, job->protocol_count * sizeof(usual[0]));
}

static enum ap_rc read_validation(const struct yaml_node *node, const struct common_form *form, bool *ret_is_utf8,
                                  struct ap_err *err)
{
    if (!form->validation || form->validation[0] == '\0')
        return AP_OK;
    *ret_is_utf8 = strcmp(form->validation, "utf8") == 0;
    if (*ret_is_utf8 || strcmp(form->validation, "legacy") == 0)
        return AP_OK;
    return yaml_fail(err, yaml_get(node, "metric_name_validation_scheme"),
                     "metric_name_validation_scheme: expected \"utf8\" or \"legacy\", found \"%s\"", form->validation);
}

/* Without a word the scheme follows from what names may be, where that was said. */
static enum ap_rc read_escaping(const struct yaml_node *node, const struct common_form *form, struct scrape_job *job,
                                struct ap_err *err)
{
    static const char *const names[] = {"allow-utf-8", "underscores", "dots", "values"};
    bool is_said = form->escaping && form->escaping[0], is_known = !is_said;
    if (!is_said && form->validation && form->validation[0])
        job->escaping = job->is_utf8_names ? SCRAPE_ESCAPING_NONE : SCRAPE_ESCAPING_UNDERSCORES;
    for (size_t i = 0; is_said && i < AP_ARRAY_COUNT(names); i++) {
        if (strcmp(form->escaping, names[i]) != 0)
            continue;
        job->escaping = (enum scrape_escaping)i;
        is_known = true;
    }
    if (!is_known)
        return yaml_fail(err, yaml_get(node, "metric_name_escaping_scheme"),
                         "unknown name escaping method \"%s\", must be one of allow-utf-8, underscores, dots, values",
                         form->escaping);
    if (job->escaping == SCRAPE_ESCAPING_NONE && !job->is_utf8_names)
        return yaml_fail(err, node, "utf8 metric names requested but validation scheme is not set to UTF8");
    return AP_OK;
}

static uint64_t or_default(uint64_t said, uint64_t otherwise)
{
    return said ? said : otherwise;
}

static void take_limits(const struct scrape_limits *said, struct scrape_limits *limits)
{
    limits->body_bytes_max = or_default(said->body_bytes_max, limits->body_bytes_max);
    limits->samples_max = or_default(said->samples_max, limits->samples_max);
    limits->targets_max = or_default(said->targets_max, limits->targets_max);
    limits->labels_max = or_default(said->labels_max, limits->labels_max);
    limits->label_name_bytes_max = or_default(said->label_name_bytes_max, limits->label_name_bytes_max);
    limits->label_value_bytes_max = or_default(said->label_value_bytes_max, limits->label_value_bytes_max);
    limits->histogram_buckets_max = said->histogram_buckets_max;
    limits->histogram_bucket_factor_min = said->histogram_bucket_factor_min;
}

static void say_defaults(const struct scrape_job *job, struct common_form *form)
{
    *form = (struct common_form){
        .is_native_histograms = job->is_native_histograms,
        .is_classic_to_custom = job->is_classic_to_custom,
        .is_always_classic = job->is_always_classic,
        .is_extra_metrics = job->is_extra_metrics,
    };
}

/* `job` holds the defaults, and then what is in force. Times are the caller's. */
static enum ap_rc take_common(const struct yaml_node *node, const struct common_form *form, struct scrape_job *job,
                              struct ap_err *err)
{
    job->is_native_histograms = form->is_native_histograms;
    job->is_classic_to_custom = form->is_classic_to_custom;
    job->is_always_classic = form->is_always_classic;
    job->is_extra_metrics = form->is_extra_metrics;
    take_limits(&form->limits, &job->limits);
    enum ap_rc rc = form->protocols ? read_protocols(form->protocols, job, err) : AP_OK;
    if (rc == AP_OK)
        rc = read_validation(node, form, &job->is_utf8_names, err);
    return rc == AP_OK ? read_escaping(node, form, job, err) : rc;
}

/* ---- global ---- */

void job_defaults_init(struct job_defaults *defaults)
{
    *defaults = (struct job_defaults){
        .job =
            {
                .interval_ms = DEFAULT_INTERVAL_MS,
                .timeout_ms = DEFAULT_TIMEOUT_MS,
                .is_utf8_names = true,
            },
    };
}

struct global_form {
    struct common_form common;
    const struct yaml_node *others;
};

enum ap_rc job_defaults_read(struct scrape_source *source, const struct yaml_node *node, struct job_defaults *defaults,
                             struct ap_err *err)
{
    struct global_form form;
    static const struct field fields[] = {
        COMMON_FIELDS(global_form, common),
        /* Of rules and queries: not for us, but no mistake either. */
        {"evaluation_interval", FIELD_NODE, AT(global_form, others)},
        {"rule_query_offset", FIELD_NODE, AT(global_form, others)},
        {"query_log_file", FIELD_NODE, AT(global_form, others)},
        {"external_labels", FIELD_NODE, AT(global_form, others)},
    };
    struct scrape_job *job = &defaults->job;
    form.others = NULL;
    say_defaults(job, &form.common);
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc == AP_OK)
        rc = take_common(node, &form.common, job, err);
    if (rc != AP_OK)
        return rc;
    if (form.common.interval_ms)
        job->interval_ms = form.common.interval_ms;
    if (form.common.timeout_ms > job->interval_ms)
        return yaml_fail(err, yaml_get(node, "scrape_timeout"), "global scrape timeout greater than scrape interval");
    job->timeout_ms = form.common.timeout_ms ? form.common.timeout_ms : AP_MIN(job->timeout_ms, job->interval_ms);
    defaults->dropped_kept_max = form.common.dropped_kept_max;
    defaults->failure_log_file = form.common.failure_log_file;
    defaults->node = node;
    return AP_OK;
}

/* ---- A job ---- */

struct job_form {
    struct common_form common;
    const char *name, *collector, *fallback, *metrics_path, *scheme;
    bool is_honoring_labels, is_honoring_timestamps, is_tracking_timestamps_staleness, is_compression_allowed;
    const struct yaml_node *params, *relabel, *metric_relabel;
    struct http_config_form http;
};

static const struct field job_fields[] = {
    {"job_name", FIELD_TEXT, AT(job_form, name)},
    COMMON_FIELDS(job_form, common),
    {"native_histogram_bucket_limit", FIELD_COUNT, AT(job_form, common.limits.histogram_buckets_max)},
    {"native_histogram_min_bucket_factor", FIELD_NUMBER, AT(job_form, common.limits.histogram_bucket_factor_min)},
    {"collector", FIELD_TEXT, AT(job_form, collector)},
    {"fallback_scrape_protocol", FIELD_TEXT, AT(job_form, fallback)},
    {"metrics_path", FIELD_TEXT, AT(job_form, metrics_path)},
    {"scheme", FIELD_TEXT, AT(job_form, scheme)},
    {"params", FIELD_NODE, AT(job_form, params)},
    {"honor_labels", FIELD_BOOLEAN, AT(job_form, is_honoring_labels)},
    {"honor_timestamps", FIELD_BOOLEAN, AT(job_form, is_honoring_timestamps)},
    {"track_timestamps_staleness", FIELD_BOOLEAN, AT(job_form, is_tracking_timestamps_staleness)},
    {"enable_compression", FIELD_BOOLEAN, AT(job_form, is_compression_allowed)},
    {"relabel_configs", FIELD_NODE, AT(job_form, relabel)},
    {"metric_relabel_configs", FIELD_NODE, AT(job_form, metric_relabel)},
    HTTP_CONFIG_FIELDS(job_form, http),
};

bool job_is_discovery(const struct yaml_node *value, void *context)
{
    static const char end[] = "_sd_configs";
    struct ap_slice key = value->key->text;
    (void)context;
    return ap_slice_equal_cstr(key, "static_configs") ||
           (key.bytes >= sizeof(end) && memcmp(key.data + key.bytes - (sizeof(end) - 1), end, sizeof(end) - 1) == 0);
}

static enum ap_rc read_discovery(struct job *job, const struct yaml_node *list, struct discovery_config *all,
                                 struct ap_err *err)
{
    const struct discovery_kind *kind = discovery_kind_of(list->key->text);
    if (!kind)
        return yaml_fail(err, list->key, "\"%s\" is not supported; there are %s", list->key->text.data,
                         discovery_kinds_text());
    if (yaml_is_null(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "%s: expected a list, found a %s", kind->key, yaml_kind_name(list->kind));
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct discovery_config *discovery = &all[job->discovery_count];
        if (yaml_is_null(node))
            return yaml_fail(err, node, "empty or null section in %s", kind->key);
        enum ap_rc rc = kind->read(job->source, node, &discovery->config, err);
        if (rc != AP_OK)
            return rc;
        discovery->kind = kind;
        discovery->node = node;
        job->discovery_count++;
    }
    return AP_OK;
}

enum ap_rc job_read_discoveries(struct job *job, struct ap_err *err)
{
    size_t count = 0;
    for (const struct yaml_node *value = job->node->first; value; value = value->next)
        count += job_is_discovery(value, NULL) ? value->child_count : 0;
    struct discovery_config *all = ap_arena_alloc0(&job->source->arena, (count + 1) * sizeof(*all));
    job->discoveries = all;
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *value = job->node->first; value && rc == AP_OK; value = value->next)
        if (job_is_discovery(value, NULL))
            rc = read_discovery(job, value, all, err);
    return rc;
}

static enum ap_rc read_params(struct job *job, const struct yaml_node *node, struct ap_err *err)
{
    if (node->kind != YAML_KIND_MAP)
        return yaml_fail(err, node, "params: expected a map of lists, found a %s", yaml_kind_name(node->kind));
    struct job_param *params = ap_arena_alloc0(&job->source->arena, (node->child_count + 1) * sizeof(*params));
    job->params = params;
    for (const struct yaml_node *value = node->first; value; value = value->next) {
        struct yaml_texts texts = {0};
        const struct yaml_field as_list = {.key = "params", .type = YAML_TYPE_TEXT_LIST};
        enum ap_rc rc = yaml_is_null(value) ? AP_OK : yaml_read_node(value, &as_list, &texts, err);
        if (rc != AP_OK)
            return rc;
        params[job->param_count++] = (struct job_param){value->key->text, texts.items, texts.count};
    }
    return AP_OK;
}

static enum ap_rc read_times(const struct yaml_node *node, const struct common_form *form, struct scrape_job *job,
                             struct ap_err *err)
{
    if (form->interval_ms)
        job->interval_ms = form->interval_ms;
    if (form->timeout_ms > job->interval_ms)
        return yaml_fail(err, yaml_get(node, "scrape_timeout"),
                         "scrape timeout greater than scrape interval for scrape config with job name \"%s\"",
                         job->name);
    job->timeout_ms = form->timeout_ms ? form->timeout_ms : AP_MIN(job->timeout_ms, job->interval_ms);
    return AP_OK;
}

static enum ap_rc check_collector(const struct yaml_node *node, const char *name,
                                  const struct job_collectors *collectors, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf known = {0};
    for (size_t i = 0; i < collectors->count; i++) {
        if (strcmp(collectors->names[i], name) == 0)
            return AP_OK;
        ap_buf_printf(&known, "%s%s", i ? ", " : "", collectors->names[i]);
    }
    const char *nearest = yaml_nearest(ap_slice_cstr(name), collectors->names, collectors->count);
    return yaml_fail(err, yaml_get(node, "collector"), "unknown collector \"%s\"%s%s%s; there are: %.*s", name,
                     nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "",
                     AP_SLICE_ARG(ap_buf_slice(&known)));
}

static enum ap_rc read_rules(const struct yaml_node *node, bool is_utf8, struct relabel_rules **ret_rules,
                             struct ap_err *err)
{
    return node ? relabel_rules_read(node, is_utf8, ret_rules, err) : AP_OK;
}

/* Mostly somebody wrote an address with scheme and path where host and port belong. */
enum ap_rc job_check_static_targets(const struct job *job, const char *path_keys, struct ap_err *err)
{
    for (size_t i = 0; i < job->discovery_count; i++) {
        const struct yaml_node *targets =
            job->discoveries[i].kind == &discovery_static ? yaml_get(job->discoveries[i].node, "targets") : NULL;
        if (!targets)
            continue;
        const struct yaml_node *target = targets->kind == YAML_KIND_LIST ? targets->first : targets;
        for (; target; target = target->next) {
            if (memchr(target->text.data, '/', target->text.bytes))
                return yaml_fail(err, target,
                                 "\"%s\" is not a valid hostname: a target is host:port; %s have keys of their own",
                                 target->text.data, path_keys);
            if (targets->kind != YAML_KIND_LIST)
                break;
        }
    }
    return AP_OK;
}

/* What has no table: protocols, collector, rules, discoveries. */
static enum ap_rc read_parts(struct job *job, const struct job_form *form, const struct job_collectors *collectors,
                             struct ap_err *err)
{
    struct scrape_job *shown = &job->shown;
    enum ap_rc rc = AP_OK;
    if (form->fallback && form->fallback[0])
        rc = read_protocol(yaml_get(job->node, "fallback_scrape_protocol"), "fallback_scrape_protocol",
                           &shown->fallback, err);
    if (rc == AP_OK && form->collector)
        rc = check_collector(job->node, form->collector, collectors, err);
    if (rc == AP_OK && form->params)
        rc = read_params(job, form->params, err);
    if (rc == AP_OK)
        rc = http_config_read(job->source, job->node, &form->http, &shown->http, err);
    if (rc == AP_OK)
        rc = read_rules(form->relabel, shown->is_utf8_names, &job->relabel, err);
    if (rc == AP_OK)
        rc = read_rules(form->metric_relabel, shown->is_utf8_names, &job->metric_relabel, err);
    if (rc == AP_OK)
        rc = job_read_discoveries(job, err);
    shown->metric_relabel = job->metric_relabel;
    if (rc == AP_OK && !job->relabel && !shown->collector)
        rc = job_check_static_targets(job, "metrics_path and scheme", err);
    return rc;
}

static enum ap_rc read_entry(struct job *job, const struct job_defaults *defaults,
                             const struct job_collectors *collectors, struct ap_err *err)
{
    struct scrape_job *shown = &job->shown;
    struct job_form form = {
        .metrics_path = "/metrics", .scheme = "http", .is_honoring_timestamps = true, .is_compression_allowed = true};
    say_defaults(&defaults->job, &form.common);
    http_config_form_init(&form.http);
    enum ap_rc rc =
        fields_read(job->source, job->node, job_fields, AP_ARRAY_COUNT(job_fields), &form, job_is_discovery, NULL, err);
    if (rc != AP_OK)
        return rc;
    if (!form.name || form.name[0] == '\0')
        return yaml_fail(err, job->node, "job_name is empty");
    *shown = defaults->job;
    shown->name = form.name;
    shown->collector = form.collector;
    shown->fallback = SCRAPE_PROTOCOL_COUNT;
    shown->is_honoring_labels = form.is_honoring_labels;
    shown->is_honoring_timestamps = form.is_honoring_timestamps;
    shown->is_tracking_timestamps_staleness = form.is_tracking_timestamps_staleness;
    shown->is_compression_allowed = form.is_compression_allowed;
    shown->failure_log_file = form.common.failure_log_file ? form.common.failure_log_file : defaults->failure_log_file;
    job->metrics_path = form.metrics_path;
    job->scheme = form.scheme;
    job->dropped_kept_max = or_default(form.common.dropped_kept_max, defaults->dropped_kept_max);
    rc = take_common(job->node, &form.common, shown, err);
    if (rc == AP_OK)
        rc = read_times(job->node, &form.common, shown, err);
    if (rc != AP_OK)
        return rc;
    if (shown->protocol_count == 0)
        choose_protocols(shown);
    return read_parts(job, &form, collectors, err);
}

/* What the defaults lend is in another source, when the entry is in a file of `scrape_config_files:`. */
static const char *keep_default_text(struct scrape_source *source, const char *text)
{
    return text ? ap_arena_try_strndup(&source->arena, ap_slice_cstr(text)) : NULL;
}

enum ap_rc job_read(struct scrape_source *source, const struct yaml_node *node, const struct job_defaults *defaults,
                    const struct job_collectors *collectors, struct job **ret_job, struct ap_err *err)
{
    if (yaml_is_null(node))
        return yaml_fail(err, node, "empty or null scrape config section");
    struct job *job = ap_new0(struct job);
    struct job_defaults kept = *defaults;
    kept.failure_log_file = keep_default_text(source, defaults->failure_log_file);
    job->ref_count = 1;
    job->source = scrape_source_ref(source);
    job->node = node;
    if (defaults->node)
        fields_print(defaults->node, &job->print);
    fields_print(node, &job->print);
    ap_buf_add_cstr(&job->print, yaml_file(source->document)); /* its paths are relative to it */
    enum ap_rc rc = read_entry(job, &kept, collectors, err);
    if (rc == AP_OK)
        *ret_job = job;
    else
        scrape_job_unref(&job->shown);
    return rc;
}
