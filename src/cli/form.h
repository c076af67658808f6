/*
 * cli/form.h - the body of a request as application/x-www-form-urlencoded
 */
#pragma once

#include "base/buf.h"

/* Appends "&name=value" with what must be escaped in the value. */
void form_add(struct ap_buf *form, const char *name, const char *value);
