/*
 * scrape/content_type.h - in which format a target answers
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"
#include "scrape/job.h"

enum page_format { PAGE_FORMAT_TEXT, PAGE_FORMAT_OPENMETRICS, PAGE_FORMAT_PROTOBUF };

/*
 * By the Content-Type field, else by the job's fallback_scrape_protocol. AP_E_PARSE: neither says it; the scrape fails,
 * as in Prometheus 3.
 */
ap_nodiscard enum ap_rc content_type_format(struct ap_slice content_type, enum scrape_protocol fallback,
                                            enum page_format *ret_format, struct ap_err *err);
