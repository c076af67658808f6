/*
 * rules/rule_test.h - unit tests of rules, in Prometheus' format
 *
 * A test has series in memory and a clock of its own: every evaluation_interval all groups of the rule files are
 * evaluated, then the alerts that fire, and what queries give, are compared with what the file expects (Prometheus'
 * documentation, "Unit testing for rules").
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"

struct rule_test_options {
    const char *name_regex; /* only tests whose name has a match; NULL: all */
    bool is_experimental;
    /* Called for each thing that is wrong, with the test's name; NULL: it is the file itself. */
    void (*report)(const char *test, const char *sentence, void *context);
    void *context;
};

struct rule_test_counts {
    size_t tests; /* that were run */
    size_t failed;
    size_t compared; /* expectations */
};

/* AP_OK: all was as expected. AP_E_CONFLICT: some was not; others: the file, or one that it names, cannot be read. In
 * any case report() was told. */
ap_nodiscard enum ap_rc rule_test_run(const char *path, const struct rule_test_options *options,
                                      struct rule_test_counts *ret_counts);
