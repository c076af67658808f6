/*
 * net/http_field.h - one header field: for those who send some, and what is inside its value
 */
#pragma once

#include "base/slice.h"

struct http_field {
    const char *name;
    const char *value;
};

/* Of a value such as `type/subtype; name=value; …` a parameter's value, without quotes around; data NULL: there is
 * none. Names are compared without regard to case. Lent. */
struct ap_slice http_field_parameter(struct ap_slice field, const char *name);
