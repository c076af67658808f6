/*
 * cli/serve_alerting.h - alerting in the server: what rules and the API say, on its way to receivers
 *
 *     rules ──► struct alerts_from_rules ──► alert/alerting.h ──a thread that steps──► notify/notifier.h
 *                                        └─► alert/forwarder.h, without alerting.config
 */
#pragma once

#include <stdbool.h>

#include "alert/from_rules.h"
#include "base/rc.h"
#include "base/slice.h"
#include "cli/config.h"

struct alerting;
struct alert_forwarder;
struct notification_log;
struct notifier;
struct path_test;
struct serve_alerting; /* private to serve_alerting.c */
struct watchdog;
struct wal;
struct warehouse;

/*
 * Before the stores open: its cursor of the log is one of those that must be there before any is released (wal.h). What
 * is passed is lent. Close it also after a failure.
 */
ap_nodiscard enum ap_rc serve_alerting_open(const struct config *config, struct wal *wal,
                                            struct serve_alerting **ret_serving, struct ap_err *err);
/* From now on people are told. `warehouse`, lent, says how earlier tests of the path went. */
ap_nodiscard enum ap_rc serve_alerting_start(struct serve_alerting *serving, struct warehouse *warehouse,
                                             struct ap_err *err);
/*
 * Reads the file that alerting.config was at the start again, and takes from `config` who is tested when
 * (alerting.path_test…); on failure what was before stays.
 */
ap_nodiscard enum ap_rc serve_alerting_reload(struct serve_alerting *serving, const struct config *config,
                                              struct ap_err *err);
/* Nobody is told any more. Before the log stops, so that it has what was told. */
void serve_alerting_stop(struct serve_alerting *serving);
void serve_alerting_close(struct serve_alerting *serving); /* NULL is allowed */

struct alerting *serve_alerting_get(const struct serve_alerting *serving);
struct notifier *serve_alerting_notifier(const struct serve_alerting *serving);
struct notification_log *serve_alerting_log(const struct serve_alerting *serving);
struct path_test *serve_alerting_path_test(const struct serve_alerting *serving);
struct alert_forwarder *
serve_alerting_forwarder(const struct serve_alerting *serving); /* NULL: people are told from here (alerting.config) */
const struct watchdog *serve_alerting_watchdog(const struct serve_alerting *serving);
/* alert_relabel_configs, from now on; NULL: none. */
void serve_alerting_relabel(struct serve_alerting *serving, struct alert_relabel *take_relabel);
/* For struct rules_world. `external_labels` are lent. */
struct alerts_from_rules *serve_alerting_from_rules(struct serve_alerting *serving, struct ap_slice external_labels);
