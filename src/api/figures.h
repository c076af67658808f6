/*
 * api/figures.h - what stores and rules count, written down for /metrics and as JSON
 */
#pragma once

#include "alert/alerting.h"
#include "base/buf.h"
#include "ingest/push.h"
#include "ingest/statsd.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "scrape/scraper.h"
#include "tsdb/tsdb.h"

enum figures_table {
    FIGURES_TSDB,     /* of struct tsdb_stats */
    FIGURES_RULES,    /* of struct rule_manager_stats */
    FIGURES_ALERTING, /* of struct alerting_stats */
    FIGURES_TARGETS,  /* of struct scrape_manager_stats */
    FIGURES_SCRAPES,  /* of struct scraper_stats */
    FIGURES_PUSH,     /* of struct push_stats */
    FIGURES_STATSD,   /* of struct statsd_stats */
};

/* An object of all of them, by their names in the struct. */
void figures_add_json(struct ap_buf *out, enum figures_table table, const void *stats);

/* apiary_tsdb_…, apiary_rules_… and so on in the text format 0.0.4. */
void figures_add_metrics(struct ap_buf *out, enum figures_table table, const void *stats);
