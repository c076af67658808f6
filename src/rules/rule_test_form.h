/*
 * rules/rule_test_form.h - a file of rule tests as it is written
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/yaml.h"
#include "promql/float_histogram.h"

/* All texts and arrays live in the form. */
struct series_form {
    struct ap_slice labels; /* canonical */
    struct ap_slice values; /* notation of promql/series_text.h */
    const struct yaml_node *node;
};

/* What an alert must say. */
struct expected_alert {
    struct ap_slice labels;      /* canonical, with alertname */
    struct ap_slice annotations; /* as struct alert's */
};
struct alert_test_form {
    int64_t eval_ms;
    const char *alertname;
    struct expected_alert *alerts; /* sorted */
    size_t alert_count;
    const struct yaml_node *node;
};

struct expected_sample {
    struct ap_slice labels; /* canonical */
    double value;
    const struct float_histogram *histogram; /* NULL: a float */
};
struct query_test_form {
    int64_t eval_ms;
    struct ap_slice expr;
    struct expected_sample *samples; /* sorted */
    size_t sample_count;
    const struct yaml_node *node;
};

struct test_form {
    const char *name;
    int64_t interval_ms;
    int64_t start_ms;
    struct series_form *series;
    size_t series_count;
    struct alert_test_form *alert_tests;
    size_t alert_test_count;
    struct query_test_form *query_tests;
    size_t query_test_count;
    struct ap_slice external_labels; /* canonical, or empty */
    struct ap_slice external_url;
};

struct rule_test_form {
    struct yaml_document *document;
    struct ap_arena arena;
    struct yaml_texts rule_files; /* patterns, as written */
    struct yaml_texts group_order;
    int64_t interval_ms;
    bool is_fuzzy; /* floats may differ in the last place */
    struct test_form *tests;
    size_t test_count;
};

/* AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT: the first thing that is wrong, with its place. */
ap_nodiscard enum ap_rc rule_test_form_read(const char *path, struct rule_test_form *ret_form, struct ap_err *err);
void rule_test_form_clear(struct rule_test_form *form);
