#include "base/rc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const rc_names[AP_RC_COUNT] = {
    [AP_OK] = "ok",
    [AP_E_PARSE] = "parse",
    [AP_E_LIMIT] = "limit",
    [AP_E_AUTH] = "auth",
    [AP_E_NOT_FOUND] = "not_found",
    [AP_E_CONFLICT] = "conflict",
    [AP_E_FULL] = "full",
    [AP_E_BUSY] = "busy",
    [AP_E_TIMEOUT] = "timeout",
    [AP_E_IO] = "io",
    [AP_E_CORRUPT] = "corrupt",
    [AP_E_NOMEM] = "nomem",
    [AP_E_INTERNAL] = "internal",
};

const char *ap_rc_name(enum ap_rc rc)
{
    return (unsigned)rc < AP_RC_COUNT ? rc_names[rc] : "unknown";
}

enum ap_rc ap_vfail(struct ap_err *err, enum ap_rc rc, const char *format, va_list args)
{
    if (err) {
        err->rc = rc;
        vsnprintf(err->text, sizeof(err->text), format, args);
    }
    return rc;
}

enum ap_rc ap_fail(struct ap_err *err, enum ap_rc rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ap_vfail(err, rc, format, args);
    va_end(args);
    return rc;
}

static enum ap_rc rc_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return AP_E_FULL;
    case ENOENT:
        return AP_E_NOT_FOUND;
    case ENOMEM:
        return AP_E_NOMEM;
    default:
        return AP_E_IO;
    }
}

enum ap_rc ap_fail_errno(struct ap_err *err, int errno_value, const char *format, ...)
{
    enum ap_rc rc = rc_of_errno(errno_value);
    if (!err)
        return rc;
    va_list args;
    va_start(args, format);
    ap_vfail(err, rc, format, args);
    va_end(args);
    size_t used = strlen(err->text);
    char text[128];
    snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror_r(errno_value, text, sizeof(text)));
    return rc;
}

enum ap_rc ap_err_prefix(struct ap_err *err, const char *format, ...)
{
    if (!err)
        return AP_E_INTERNAL;
    char was[AP_ERR_TEXT_BYTES];
    memcpy(was, err->text, sizeof(was));
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, ": %s", was);
    return err->rc;
}
