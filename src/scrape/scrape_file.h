/*
 * scrape/scrape_file.h - Prometheus' configuration, as far as it is about scraping
 *
 * `global:`, `scrape_configs:`, the files of `scrape_config_files:`, and `alerting:`. What else Prometheus' file may
 * hold (rules, remote write …) is left alone and told by name.
 */
#pragma once

#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

struct alert_relabel;
struct job;
struct job_collectors;

struct scrape_file {
    struct job **jobs; /* owned: one reference each; in the order of the file */
    size_t count;
    struct job **alertmanagers; /* owned in the same way (scrape/alertmanager.h) */
    size_t alertmanager_count;
    struct alert_relabel *alert_relabel; /* owned; NULL: none */
    const char **ignored;                /* owned, with its texts: "rule_files", "global.external_labels" */
    size_t ignored_count;
};

/* AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT: `err` says "file:line:column: …" of the first thing that is wrong.
 */
ap_nodiscard enum ap_rc scrape_file_load(const char *path, const struct job_collectors *collectors,
                                         struct scrape_file *ret_file, struct ap_err *err);
/* The same of a text, without other files. `name` stands for the file in errors. */
ap_nodiscard enum ap_rc scrape_file_parse(struct ap_slice text, const char *name,
                                          const struct job_collectors *collectors, struct scrape_file *ret_file,
                                          struct ap_err *err);
void scrape_file_clear(struct scrape_file *file);
