/*
 * tests/unit/test_scrape_fixture.h - a store to scrape into, and jobs to do it by
 */
#pragma once

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/yaml.h"
#include "scrape/job_internal.h"
#include "scrape/scraper.h"
#include "test_store_fixture.h"

/* As Prometheus' defaults are. */
static inline struct job job_default(const char *name)
{
    struct scrape_job shown = {
        .name = name,
        .interval_ms = 10000,
        .timeout_ms = 5000,
        .protocols = {SCRAPE_PROTOCOL_OPENMETRICS_1_0_0, SCRAPE_PROTOCOL_OPENMETRICS_0_0_1, SCRAPE_PROTOCOL_TEXT_1_0_0,
                      SCRAPE_PROTOCOL_TEXT_0_0_4},
        .protocol_count = 4,
        .fallback = SCRAPE_PROTOCOL_COUNT,
        .is_honoring_timestamps = true,
        .is_compression_allowed = true,
        .is_utf8_names = true,
        .http = {.is_following_redirects = true},
    };
    return (struct job){.shown = shown, .ref_count = 1}; /* the test's own, which it never lets go of */
}
