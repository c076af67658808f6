/*
 * cli/answer.h - what a server answered in place of what was asked for
 */
#pragma once

#include "base/slice.h"

/* "apiary sql: <the error it gave>", or its status, on standard error; returns CLI_FAILED. */
int answer_failed(const char *command, struct ap_slice body, unsigned status);
