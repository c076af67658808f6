#include "scrape/alertmanager.h"

#include <stdio.h>
#include <string.h>

#include "scrape/http_config.h"
#include "scrape/job_internal.h"

enum { TIMEOUT_MS = 10000, NAME_BYTES = 64 };
#define ALERTS_PATH "/api/v2/alerts"

struct alertmanager_form {
    const char *scheme, *path_prefix, *api_version;
    int64_t timeout_ms;
    const struct yaml_node *relabel, *alert_relabel, *sigv4;
    struct http_config_form http;
};
#define AT(member) offsetof(struct alertmanager_form, member)

static const struct field fields[] = {
    {"scheme", FIELD_TEXT, AT(scheme)},
    {"path_prefix", FIELD_TEXT, AT(path_prefix)},
    {"timeout", FIELD_DURATION, AT(timeout_ms)},
    {"api_version", FIELD_TEXT, AT(api_version)},
    {"relabel_configs", FIELD_NODE, AT(relabel)},
    {"alert_relabel_configs", FIELD_NODE, AT(alert_relabel)},
    {"sigv4", FIELD_NODE, AT(sigv4)},
    HTTP_CONFIG_FIELDS(alertmanager_form, http),
};

/* "am/" → "/am/api/v2/alerts" */
static const char *alerts_path(struct scrape_source *source, const char *prefix)
{
    AP_AUTO_BUF struct ap_buf path = {0};
    for (struct ap_slice rest = ap_slice_cstr(prefix); rest.data;) {
        struct ap_slice part = ap_slice_split(&rest, '/');
        if (part.bytes == 0)
            continue;
        ap_buf_add_char(&path, '/');
        ap_buf_add_slice(&path, part);
    }
    ap_buf_add_cstr(&path, ALERTS_PATH);
    return ap_arena_try_strndup(&source->arena, ap_buf_slice(&path));
}

static enum ap_rc check(const struct yaml_node *node, const struct alertmanager_form *form, struct ap_err *err)
{
    if (strcmp(form->api_version, "v2") != 0)
        return yaml_fail(err, yaml_get(node, "api_version"),
                         "expected Alertmanager api version to be one of [v2] but got %s", form->api_version);
    if (strcmp(form->scheme, "http") != 0 && strcmp(form->scheme, "https") != 0)
        return yaml_fail(err, yaml_get(node, "scheme"), "scheme: expected \"http\" or \"https\", found \"%s\"",
                         form->scheme);
    if (form->timeout_ms <= 0)
        return yaml_fail(err, yaml_get(node, "timeout"), "timeout: expected a duration above 0, such as 10s");
    if (form->sigv4 && !yaml_is_null(form->sigv4))
        return yaml_fail(err, form->sigv4->key,
                         "\"sigv4\" is not supported; there are basic_auth, authorization, oauth2 and tls_config");
    return AP_OK;
}

static enum ap_rc read_rules(const struct yaml_node *node, struct relabel_rules **ret_rules, struct ap_err *err)
{
    return node && !yaml_is_null(node) ? relabel_rules_read(node, true, ret_rules, err) : AP_OK;
}

static enum ap_rc read_entry(struct job *job, size_t index, struct ap_err *err)
{
    struct alertmanager_form form = {
        .scheme = "http", .path_prefix = "", .api_version = "v2", .timeout_ms = TIMEOUT_MS};
    char name[NAME_BYTES];
    http_config_form_init(&form.http);
    enum ap_rc rc =
        fields_read(job->source, job->node, fields, AP_ARRAY_COUNT(fields), &form, job_is_discovery, NULL, err);
    if (rc == AP_OK)
        rc = check(job->node, &form, err);
    if (rc == AP_OK)
        rc = http_config_read(job->source, job->node, &form.http, &job->shown.http, err);
    if (rc == AP_OK)
        rc = read_rules(form.relabel, &job->relabel, err);
    if (rc == AP_OK)
        rc = read_rules(form.alert_relabel, &job->metric_relabel, err);
    if (rc == AP_OK)
        rc = job_read_discoveries(job, err);
    if (rc == AP_OK && !job->relabel)
        rc = job_check_static_targets(job, "path_prefix and scheme", err);
    if (rc != AP_OK)
        return rc;
    snprintf(name, sizeof(name), "alerting.alertmanagers[%zu]", index);
    job->shown.name = ap_arena_try_strndup(&job->source->arena, ap_slice_cstr(name));
    job->shown.interval_ms = job->shown.timeout_ms = form.timeout_ms;
    job->shown.metric_relabel = job->metric_relabel;
    job->scheme = form.scheme;
    job->metrics_path = alerts_path(job->source, form.path_prefix);
    return AP_OK;
}

enum ap_rc alertmanager_read(struct scrape_source *source, const struct yaml_node *node, size_t index,
                             struct job **ret_job, struct ap_err *err)
{
    if (yaml_is_null(node))
        return yaml_fail(err, node, "empty or null Alertmanager section");
    struct job *job = ap_new0(struct job);
    job->ref_count = 1;
    job->source = scrape_source_ref(source);
    job->node = node;
    job->is_alertmanager = true;
    fields_print(node, &job->print);
    ap_buf_add_cstr(&job->print, yaml_file(source->document)); /* its paths are relative to it */
    enum ap_rc rc = read_entry(job, index, err);
    if (rc == AP_OK)
        *ret_job = job;
    else
        scrape_job_unref(&job->shown);
    return rc;
}
