/*
 * cli/collect.h - what the subcommands of `apiary collect` share
 */
#pragma once

#include <stdbool.h>

#include "collect/collector.h"

/* Asks and prints: the text as it is, or JSON. Returns how the program is to end; what went wrong has been said. */
int collect_run(const struct collector *collector, const struct collector_request *request, bool is_json);
