/*
 * alert/forwarder.h - alerts of rules to Alertmanagers elsewhere, in place of telling people ourselves
 *
 *     alert_forwarder_put() ──► for each address: a queue ──its thread──► POST /api/v2/alerts, up to 64 at a time
 *
 * Addresses are those of the settings (options.urls), which stay, and those of lists that others keep up to date
 * (alert_forwarder_sync()): what a discovery finds. One that several name is one.
 *
 * Each address has a queue and a thread of its own, so that one that is down holds up no other. What cannot be sent is
 * tried again with growing pauses; when the queue is full the oldest go, counted: rules say again every minute what
 * fires. Memory only: after a restart they say it again, too.
 *
 * Threads: all functions from any, _open() and _close() from one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alerting.h"
#include "base/mem.h"
#include "base/rc.h"

struct alert_forwarder; /* private to forwarder.c */
struct scrape_target;

enum { FORWARDER_BATCH_MAX = 64, FORWARDER_QUEUE_MAX = 10000, FORWARDER_ADDRESSES_MAX = 128 };

struct alert_forwarder_options {
    const char *const *urls; /* "http://alertmanager:9093", with or without a path; lent for the call */
    size_t url_count;
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};
/* Starts its threads. AP_E_PARSE: an address is none; AP_E_LIMIT: too many. */
ap_nodiscard enum ap_rc alert_forwarder_open(const struct alert_forwarder_options *options,
                                             struct alert_forwarder **ret_forwarder, struct ap_err *err);
/* Sends what can be sent at once, and no more. NULL is allowed. */
void alert_forwarder_close(struct alert_forwarder *forwarder);
AP_DEFINE_AUTO(alert_forwarder, struct alert_forwarder, alert_forwarder_close)

/*
 * `list` names these addresses now, in place of those that it named before: url, and of the job how it is reached, for
 * how long, and alert_relabel_configs (metric_relabel). An address that stays goes on with its queue; what waits for
 * one that nobody names any more is dropped. `targets` NULL: there is no such list any more.
 */
void alert_forwarder_sync(struct alert_forwarder *forwarder, const char *list,
                          const struct scrape_target *const *targets, size_t count);

/* False: there are lists, and none has an address yet. Nobody was told, and the alerts are worth coming again soon. */
bool alert_forwarder_put(struct alert_forwarder *forwarder, const struct alert_in *alerts, size_t count);

struct alert_forwarder_stats {
    const char *url; /* where it posts to, without user and password */
    uint64_t sent;   /* alerts */
    uint64_t errors; /* alerts of requests that failed, each time */
    uint64_t dropped;
    uint64_t queued; /* now */
};
/* Of each address; what `each` gets is lent for the call, and it must not call back. */
typedef void (*alert_forwarder_fn)(const struct alert_forwarder_stats *stats, void *context);
void alert_forwarder_each(struct alert_forwarder *forwarder, alert_forwarder_fn each, void *context);

/* As POST /api/v2/alerts takes them: a JSON array. */
void alert_in_add_json(struct ap_buf *out, const struct alert_in *alert);
