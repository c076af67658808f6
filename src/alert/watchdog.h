/*
 * alert/watchdog.h - the dead-man's switch: an alert that always fires, told to an address outside that notices when it
 * is told no more
 *
 *     rule "Watchdog" ──rules──► alerting ──a route of its own──► notifier ──POST──► the heart-beat service
 *
 * Each part of the chain is the one that every other alert goes through; only the rule and the route are added, beside
 * what the files say. So a beat says that rules are evaluated, alerts are routed and notifications leave. What stops
 * the rules is noticed when their last word has lost its force, four minutes later (ALERT_RESEND_MS), or four
 * intervals.
 *
 * The alert has the label watchdog="built-in": a Watchdog that others send, or that a rule file has, is an alert like
 * any other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/config.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

#define WATCHDOG_RECEIVER "apiary-watchdog (built-in)"

struct watchdog {
    const char *url; /* secret */
    const char *url_file;
    const char *key_file; /* of a key to send along, or NULL */
    int64_t interval_ms;  /* between beats */
};

/* Whether there is an address to tell. */
bool watchdog_is_on(const struct watchdog *watchdog);
/* A group for rules/rule_file.h, without the "groups:" before it. */
void watchdog_add_rules(const struct watchdog *watchdog, struct ap_buf *out);
/* Adds route and receiver. AP_E_CONFLICT: a receiver has its name. AP_E_PARSE: the address is none. */
ap_nodiscard enum ap_rc watchdog_add_route(const struct watchdog *watchdog, struct alert_config *config,
                                           struct ap_err *err);
/* Whether it is this server's own Watchdog. `labels` is canonical. */
bool watchdog_is_alert(struct ap_slice labels);
