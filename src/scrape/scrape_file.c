#include "scrape/scrape_file.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "scrape/alert_relabel.h"
#include "scrape/alertmanager.h"
#include "scrape/external_labels.h"
#include "scrape/fields.h"
#include "scrape/job_internal.h"

enum { JOBS_MAX = 100000 };

struct reading {
    struct scrape_file file;
    size_t capacity;
    struct job_defaults defaults;
    const struct job_collectors *collectors;
    struct ap_err *err;
};

/* ---- Jobs ---- */

static const struct job *find_job(const struct scrape_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->jobs[i]->shown.name, name) == 0)
            return file->jobs[i];
    return NULL;
}

static enum ap_rc add_job(struct reading *reading, struct scrape_source *source, const struct yaml_node *node)
{
    struct scrape_file *file = &reading->file;
    struct job *job;
    enum ap_rc rc = job_read(source, node, &reading->defaults, reading->collectors, &job, reading->err);
    if (rc != AP_OK)
        return rc;
    const struct job *same = find_job(file, job->shown.name);
    if (same || file->count == JOBS_MAX) {
        rc = same ? yaml_fail(reading->err, yaml_get(node, "job_name"),
                              "found multiple scrape configs with job name \"%s\"; the first is in %s:%d",
                              job->shown.name, yaml_file(same->source->document), same->node->line)
                  : ap_fail(reading->err, AP_E_LIMIT, "more than %d jobs", JOBS_MAX);
        scrape_job_unref(&job->shown);
        return rc;
    }
    if (file->count == reading->capacity) {
        reading->capacity = AP_MAX(reading->capacity * 2, (size_t)16);
        file->jobs = ap_realloc(file->jobs, reading->capacity * sizeof(struct job *));
    }
    file->jobs[file->count++] = job;
    return AP_OK;
}

static enum ap_rc add_jobs(struct reading *reading, struct scrape_source *source, const struct yaml_node *list)
{
    if (!list || yaml_is_null(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(reading->err, list, "scrape_configs: expected a list, found a %s", yaml_kind_name(list->kind));
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *node = list->first; node && rc == AP_OK; node = node->next)
        rc = add_job(reading, source, node);
    return rc;
}

/* ---- Files of jobs ---- */

static enum ap_rc add_file(struct reading *reading, const char *path)
{
    struct form {
        const struct yaml_node *jobs;
    } form = {0};
    static const struct field fields[] = {{"scrape_configs", FIELD_NODE, offsetof(struct form, jobs)}};
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    enum ap_rc rc = scrape_source_load(path, &source, reading->err);
    if (rc == AP_OK)
        rc = fields_read(source, yaml_root(source->document), fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL,
                         reading->err);
    return rc == AP_OK ? add_jobs(reading, source, form.jobs) : rc;
}

/* A star may stand in the last part of a path only. */
static bool is_pattern(const char *path)
{
    const char *star = strchr(path, '*');
    return !star || (!strchr(star + 1, '*') && !strchr(star + 1, '/'));
}

static enum ap_rc add_files(struct reading *reading, struct scrape_source *source, const struct yaml_texts *patterns)
{
    for (size_t i = 0; i < patterns->count; i++) {
        const char *pattern = scrape_source_path(source, patterns->items[i]);
        if (!is_pattern(patterns->items[i]))
            return yaml_fail(reading->err, patterns->nodes[i], "invalid scrape config file path \"%s\"",
                             patterns->items[i]);
        glob_t found;
        int result = glob(pattern, 0, NULL, &found);
        if (result == GLOB_NOMATCH)
            continue;
        if (result != 0)
            return yaml_fail(reading->err, patterns->nodes[i], "scrape config files %s cannot be looked up", pattern);
        enum ap_rc rc = AP_OK;
        for (size_t f = 0; f < found.gl_pathc && rc == AP_OK; f++)
            rc = add_file(reading, found.gl_pathv[f]);
        globfree(&found);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

/* ---- alerting ---- */

static enum ap_rc add_alertmanagers(struct reading *reading, struct scrape_source *source, const struct yaml_node *list)
{
    struct scrape_file *file = &reading->file;
    if (!list || yaml_is_null(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(reading->err, list, "alertmanagers: expected a list, found a %s", yaml_kind_name(list->kind));
    file->alertmanagers = ap_new0_array(struct job *, list->child_count + 1);
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct job *job;
        enum ap_rc rc = alertmanager_read(source, node, file->alertmanager_count, &job, reading->err);
        if (rc != AP_OK)
            return rc;
        file->alertmanagers[file->alertmanager_count++] = job;
    }
    return AP_OK;
}

static enum ap_rc read_alerting(struct reading *reading, struct scrape_source *source, const struct yaml_node *section)
{
    enum ap_rc rc = alert_relabel_read(source, section, &reading->file.alert_relabel, reading->err);
    return rc == AP_OK ? add_alertmanagers(reading, source, yaml_get(section, "alertmanagers")) : rc;
}

/* ---- The file ---- */

static void note_ignored(struct reading *reading, const struct yaml_node *map, const char *prefix,
                         const char *const *keys, size_t count)
{
    struct scrape_file *file = &reading->file;
    for (size_t i = 0; map && i < count; i++) {
        if (!fields_has(map, keys[i]))
            continue;
        file->ignored = ap_realloc(file->ignored, (file->ignored_count + 1) * sizeof(*file->ignored));
        file->ignored[file->ignored_count++] = ap_asprintf("%s%s", prefix, keys[i]);
    }
}

struct file_form {
    const struct yaml_node *global, *jobs, *alerting;
    struct yaml_texts files;
    const struct yaml_node *others;
};
#define AT(member) offsetof(struct file_form, member)

static enum ap_rc read_source(struct reading *reading, struct scrape_source *source)
{
    static const struct field fields[] = {
        {"global", FIELD_NODE, AT(global)},
        {"scrape_configs", FIELD_NODE, AT(jobs)},
        {"scrape_config_files", FIELD_TEXTS, AT(files)},
        {"runtime", FIELD_NODE, AT(others)},
        {"alerting", FIELD_NODE, AT(alerting)},
        {"rule_files", FIELD_NODE, AT(others)},
        {"storage", FIELD_NODE, AT(others)},
        {"tracing", FIELD_NODE, AT(others)},
        {"remote_write", FIELD_NODE, AT(others)},
        {"remote_read", FIELD_NODE, AT(others)},
        {"otlp", FIELD_NODE, AT(others)},
    };
    static const char *const others[] = {"runtime",      "rule_files",  "storage", "tracing",
                                         "remote_write", "remote_read", "otlp"};
    static const char *const global_others[] = {"evaluation_interval", "rule_query_offset", "query_log_file"};
    AP_AUTO_BUF struct ap_buf external_labels = {0}; /* who wants them reads them anew; here they are checked */
    struct file_form form = {0};
    const struct yaml_node *root = yaml_root(source->document);
    job_defaults_init(&reading->defaults);
    enum ap_rc rc = fields_read(source, root, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, reading->err);
    if (rc == AP_OK && form.global)
        rc = job_defaults_read(source, form.global, &reading->defaults, reading->err);
    if (rc == AP_OK)
        rc = external_labels_read(source, &external_labels, reading->err);
    if (rc == AP_OK)
        rc = add_jobs(reading, source, form.jobs);
    if (rc == AP_OK)
        rc = add_files(reading, source, &form.files);
    if (form.alerting && yaml_is_null(form.alerting))
        form.alerting = NULL;
    if (rc == AP_OK && form.alerting)
        rc = read_alerting(reading, source, form.alerting);
    if (rc != AP_OK)
        return rc;
    note_ignored(reading, form.global, "global.", global_others, AP_ARRAY_COUNT(global_others));
    note_ignored(reading, root, "", others, AP_ARRAY_COUNT(others));
    return AP_OK;
}

static enum ap_rc take(struct scrape_source *source, const struct job_collectors *collectors,
                       struct scrape_file *ret_file, struct ap_err *err)
{
    struct reading reading = {.collectors = collectors, .err = err};
    enum ap_rc rc = read_source(&reading, source);
    if (rc == AP_OK)
        *ret_file = reading.file;
    else
        scrape_file_clear(&reading.file);
    return rc;
}

enum ap_rc scrape_file_load(const char *path, const struct job_collectors *collectors, struct scrape_file *ret_file,
                            struct ap_err *err)
{
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    enum ap_rc rc = scrape_source_load(path, &source, err);
    return rc == AP_OK ? take(source, collectors, ret_file, err) : rc;
}

enum ap_rc scrape_file_parse(struct ap_slice text, const char *name, const struct job_collectors *collectors,
                             struct scrape_file *ret_file, struct ap_err *err)
{
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    enum ap_rc rc = scrape_source_parse(text, name, &source, err);
    return rc == AP_OK ? take(source, collectors, ret_file, err) : rc;
}

void scrape_file_clear(struct scrape_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        scrape_job_unref(&file->jobs[i]->shown);
    for (size_t i = 0; i < file->alertmanager_count; i++)
        scrape_job_unref(&file->alertmanagers[i]->shown);
    free(file->jobs);
    free(file->alertmanagers);
    alert_relabel_free(file->alert_relabel);
    for (size_t i = 0; i < file->ignored_count; i++)
        free((char *)file->ignored[i]);
    free(file->ignored);
    *file = (struct scrape_file){0};
}
