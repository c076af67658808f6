/* cli/serve_arguments.h - the command line of `apiary serve` */
#pragma once

#include <stdbool.h>

#include "cli/config.h"

/* True: go on with *ret_config, which is the caller's. False: end with *ret_exit_code; what was wrong has been said. */
bool serve_arguments_read(int argc, char **argv, struct config **ret_config, int *ret_exit_code);
