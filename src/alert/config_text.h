/*
 * alert/config_text.h - the configuration in effect as YAML, without its secrets: what the API shows
 *
 * What is secret is "<secret>", as Alertmanager shows it. Addresses that may have secrets in their paths are shown up
 * to the host, so that the text can still be read as a configuration.
 */
#pragma once

#include "alert/config.h"
#include "base/buf.h"

void alert_config_format(const struct alert_config *config, struct ap_buf *out);
