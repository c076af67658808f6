/*
 * net/http_field.h - one header field, for those who send some
 */
#pragma once

struct http_field {
    const char *name;
    const char *value;
};
