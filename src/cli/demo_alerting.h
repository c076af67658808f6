/*
 * cli/demo_alerting.h - a pack's own alerting, but for who is told: in the demo that is an inbox
 *
 * Alertmanager's configuration file of the pack (`alerting/alertmanager.yml`) is taken as it is: routes, inhibition,
 * what messages say. Of its receivers only the addresses and keys are changed: each way leads to
 * <inbox>/<receiver>/<kind>, e-mail as a webhook.
 */
#pragma once

#include "base/rc.h"
#include "cli/options.h"

/*
 * Writes such a file into `dir` for the first of the packs that has one. *ret_path is the caller's (free()); NULL: none
 * has. Errors are those of the pack's file.
 */
ap_nodiscard enum ap_rc demo_alerting_write(const struct cli_list *packs, const char *inbox_url, const char *dir,
                                            char **ret_path, struct ap_err *err);
