/*
 * cli/demo_inbox.h - who is told in the demo: a receiver of webhooks, PagerDuty's events and Slack's messages
 *
 * An HTTP server of its own on a free port of 127.0.0.1. POST /<receiver>/<way> takes a message, as
 * cli/demo_alerting.h makes addresses; GET / shows the newest ones to a person, and GET /messages as JSON, as they
 * came.
 */
#pragma once

#include <stddef.h>

#include "base/rc.h"

struct demo_inbox;

ap_nodiscard enum ap_rc demo_inbox_open(struct demo_inbox **ret_inbox, struct ap_err *err);
void demo_inbox_close(struct demo_inbox *inbox); /* NULL is allowed */

const char *demo_inbox_url(const struct demo_inbox *inbox); /* "http://127.0.0.1:40123" */

/*
 * Gives a line for each message since the last call to `say`: "told pagerduty: hive_error_rate is firing". One thread.
 */
void demo_inbox_tend(struct demo_inbox *inbox, void (*say)(const char *line, void *context), void *context);
