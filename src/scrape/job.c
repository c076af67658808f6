#include "scrape/job.h"

#include "scrape/job_internal.h"

static const char *const protocol_names[] = {
    [SCRAPE_PROTOCOL_PROTOBUF] = "PrometheusProto",
    [SCRAPE_PROTOCOL_TEXT_0_0_4] = "PrometheusText0.0.4",
    [SCRAPE_PROTOCOL_TEXT_1_0_0] = "PrometheusText1.0.0",
    [SCRAPE_PROTOCOL_OPENMETRICS_0_0_1] = "OpenMetricsText0.0.1",
    [SCRAPE_PROTOCOL_OPENMETRICS_1_0_0] = "OpenMetricsText1.0.0",
};

const char *scrape_protocol_name(enum scrape_protocol protocol)
{
    return protocol_names[protocol];
}

const struct scrape_job *scrape_job_ref(const struct scrape_job *job)
{
    __atomic_add_fetch(&job_of(job)->ref_count, 1, __ATOMIC_RELAXED);
    return job;
}

void scrape_job_unref(const struct scrape_job *shown)
{
    struct job *job = shown ? job_of(shown) : NULL;
    if (!job || __atomic_sub_fetch(&job->ref_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    relabel_rules_free(job->relabel);
    relabel_rules_free(job->metric_relabel);
    ap_buf_clear(&job->print);
    scrape_source_unref(job->source);
    free(job);
}
