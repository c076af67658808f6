/*
 * ingest/otlp_names.h - OpenTelemetry's names as Prometheus' names
 *
 * The rules are those of Prometheus 3.14, quirks included: what was written through Prometheus has the same names here.
 * docs/ingest.md tells them with examples.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

enum otlp_strategy {
    OTLP_UNDERSCORES_WITH_SUFFIXES,
    OTLP_UNDERSCORES_WITHOUT_SUFFIXES,
    OTLP_UTF8_WITH_SUFFIXES,
    OTLP_NO_TRANSLATION,
};

struct otlp_naming {
    enum otlp_strategy strategy;
    bool is_prefixing_underscores; /* the label _a becomes key_a */
    bool is_keeping_underscores;   /* a..b becomes a__b and not a_b */
};

/* Which suffixes a metric's name takes besides its unit. */
enum otlp_suffix { OTLP_SUFFIX_NONE, OTLP_SUFFIX_TOTAL, OTLP_SUFFIX_RATIO };

/* Appends to `out`. AP_E_PARSE: nothing is left of the name; `err` tells it. */
ap_nodiscard enum ap_rc otlp_metric_name(const struct otlp_naming *naming, struct ap_slice name, struct ap_slice unit,
                                         enum otlp_suffix suffix, struct ap_buf *out, struct ap_err *err);
ap_nodiscard enum ap_rc otlp_label_name(const struct otlp_naming *naming, struct ap_slice key, struct ap_buf *out,
                                        struct ap_err *err);

/* The unit as metadata has it: "By/s" is bytes_per_second. */
void otlp_unit_name(struct ap_slice unit, struct ap_buf *out);
