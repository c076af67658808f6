/*
 * cli/serve_postgres.h - the collector of the servers in the setting postgres.connections
 */
#pragma once

#include "base/rc.h"
#include "cli/config.h"
#include "collect/postgres.h"

/*
 * Connects to nobody yet, so that it is the check of the setting, too. AP_E_PARSE: `err` names the connection and where
 * it stands, and shows nothing of its string. What changes while collecting goes to the log.
 */
ap_nodiscard enum ap_rc serve_postgres_open(const struct config *config, struct postgres **ret_postgres,
                                            struct ap_err *err);
