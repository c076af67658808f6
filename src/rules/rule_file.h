/*
 * rules/rule_file.h - Prometheus' rule files: groups of recording and alerting rules
 *
 * A file is read whole and checked whole: names, labels, durations, the PromQL of every rule and the templates in its
 * labels and annotations. What is wrong in one rule is told, and the others are looked at as well.
 *
 * Beyond Prometheus' a rule may ask SQL (`sql` in place of `expr`, with a `threshold`), and say what becomes of its
 * alerts without data (`no_data`) and when it cannot be evaluated (`on_error`). SQL is looked at as text only here:
 * whether the warehouse understands it is for rules/sql_query.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/yaml.h"
#include "rules/threshold.h"

enum rule_language { RULE_LANGUAGE_PROMQL, RULE_LANGUAGE_SQL };

/* What becomes of an alert whose query gives no figure (docs/rules.md): it ends, there is one about that, it stays. */
enum rule_no_data { RULE_NO_DATA_OK, RULE_NO_DATA_ALERT, RULE_NO_DATA_KEEP };
/* The same of an alert whose rule cannot be evaluated. */
enum rule_on_error { RULE_ON_ERROR_KEEP, RULE_ON_ERROR_ALERT, RULE_ON_ERROR_OK };
/* As they are written, by their enumerators; NULL behind the last one. */
extern const char *const rule_no_data_names[];
extern const char *const rule_on_error_names[];

/* Texts are lent by the file that they stand in. */
struct rule {
    const char *name; /* of the series that is recorded, or of the alert */
    bool is_alert;
    enum rule_language language;
    struct ap_slice expr;            /* PromQL or SQL */
    struct ap_slice figure;          /* alert by PromQL: what gives nothing when there is no data; empty: not looked */
    struct rule_threshold threshold; /* alert by SQL: which figures make one */
    enum rule_no_data no_data;
    enum rule_on_error on_error;
    int64_t for_ms;             /* alert: pending for so long before it fires */
    int64_t keep_firing_for_ms; /* alert: goes on firing for so long after its expression gives nothing */
    struct yaml_texts labels;   /* an alert's are templates; those of the group are among them */
    struct yaml_texts annotations;
    int line;      /* in the file, from 1 */
    int expr_line; /* where the first line of the query is */
};

struct rule_group {
    const char *name;
    const char *file;
    int64_t interval_ms; /* 0: whoever evaluates decides */
    int64_t limit;       /* series or alerts that a rule may give; 0: any number */
    int64_t query_offset_ms;
    bool has_query_offset;
    struct rule *rules;
    size_t rule_count;
};

struct rule_file {
    struct yaml_document *document; /* owned; everything else lives in its memory */
    struct rule_group *groups;
    size_t group_count;
    size_t rule_count; /* of all groups */
};

/* Called for each thing that is wrong: "file:line:column: sentence". */
typedef void (*rule_file_report_fn)(const char *sentence, void *context);

/*
 * AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT. `err` has the first thing that is wrong; `report` (may be NULL) is
 * told all of them. `is_experimental`: as in promql_parse().
 */
ap_nodiscard enum ap_rc rule_file_load(const char *path, bool is_experimental, rule_file_report_fn report,
                                       void *context, struct rule_file **ret_file, struct ap_err *err);
/* The same from a text, which is copied; `name` stands for the path. */
ap_nodiscard enum ap_rc rule_file_parse(struct ap_slice text, const char *name, bool is_experimental,
                                        rule_file_report_fn report, void *context, struct rule_file **ret_file,
                                        struct ap_err *err);
void rule_file_free(struct rule_file *file); /* NULL is allowed */
AP_DEFINE_AUTO(rule_file, struct rule_file, rule_file_free)

/* Rules that record or alert the same under the same labels as one before them: mostly a mistake. Each such rule is
 * told, with its group; returns how many. */
size_t rule_file_duplicates(const struct rule_file *file,
                            void (*each)(const struct rule_group *group, const struct rule *rule, void *context),
                            void *context);
