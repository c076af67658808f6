/* What the finding of targets knows of a job, beside what everybody may. */
#pragma once

#include "base/buf.h"
#include "base/mem.h"
#include "codec/yaml.h"
#include "scrape/discovery.h"
#include "scrape/fields.h"
#include "scrape/job.h"
#include "scrape/relabel.h"

/* `params:`, one name. */
struct job_param {
    struct ap_slice name;
    const char *const *values;
    size_t value_count;
};

struct job {
    struct scrape_job shown;      /* the first member: what others have */
    uint32_t ref_count;           /* atomic */
    struct scrape_source *source; /* held; all texts are its document's or its arena's */
    const struct yaml_node *node; /* the entry */
    struct ap_buf print;          /* of the entry and the defaults that it was read with: equal ones are the same job */
    const char *scheme;
    const char *metrics_path;
    const struct job_param *params;
    size_t param_count;
    struct relabel_rules *relabel;        /* owned; NULL: none */
    struct relabel_rules *metric_relabel; /* owned; shown */
    uint64_t dropped_kept_max;            /* keep_dropped_targets; 0: no limit */
    const struct discovery_config *discoveries;
    size_t discovery_count;
    /*
     * An entry of `alerting.alertmanagers:` (scrape/alertmanager.h): found in the same way, not scraped but told. Its
     * path is __alerts_path__, and metric_relabel is its alert_relabel_configs.
     */
    bool is_alertmanager;
};

static inline struct job *job_of(const struct scrape_job *shown)
{
    return AP_CONTAINER_OF((struct scrape_job *)shown, struct job, shown);
}

/* `global:`, and what it leaves out. */
struct job_defaults {
    struct scrape_job job; /* interval, timeout, protocols (none: by whether there are native histograms), limits … */
    uint64_t dropped_kept_max;
    const char *failure_log_file;
    const struct yaml_node *node; /* NULL: there was none */
};

/* Defaults as they are without a `global:`. */
void job_defaults_init(struct job_defaults *defaults);
ap_nodiscard enum ap_rc job_defaults_read(struct scrape_source *source, const struct yaml_node *node,
                                          struct job_defaults *defaults, struct ap_err *err);

/* What all that is found has: static_configs and the …_sd_configs of job->node. */
bool job_is_discovery(const struct yaml_node *value, void *context); /* a field_foreign_fn */
ap_nodiscard enum ap_rc job_read_discoveries(struct job *job, struct ap_err *err);
/* Behind them: addresses that were written as URLs. `path_keys` are those that say the rest of one. */
ap_nodiscard enum ap_rc job_check_static_targets(const struct job *job, const char *path_keys, struct ap_err *err);

/* Which collectors a job may name. */
struct job_collectors {
    const char *const *names;
    size_t count;
};

/* One entry of `scrape_configs:`. AP_E_PARSE, AP_E_LIMIT; AP_E_IO and AP_E_NOT_FOUND for files that it names. */
ap_nodiscard enum ap_rc job_read(struct scrape_source *source, const struct yaml_node *node,
                                 const struct job_defaults *defaults, const struct job_collectors *collectors,
                                 struct job **ret_job, struct ap_err *err);
