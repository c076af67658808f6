/*
 * scrape/failure_log.h - scrape_failure_log_file: failed scrapes, one line of JSON each, as Prometheus writes them
 */
#pragma once

#include "base/rc.h"
#include "scrape/scraper.h"

/*
 * Appends to the file that the target's job names. It is opened each time, so that whoever rotates it need not tell us.
 * AP_E_IO, AP_E_FULL, AP_E_NOT_FOUND: `err` names the file.
 */
ap_nodiscard enum ap_rc failure_log_add(const struct scrape_target *target, const char *reason, struct ap_err *err);
