/*
 * base/rc.h - result codes and the sentence that goes with them
 *
 * Functions that can fail return `enum ap_rc` and, when they fail, fill `struct ap_err` with one sentence that an
 * operator can act on. The code says what the caller should do about it; where it went wrong is in the sentence.
 */
#pragma once

#include <stdarg.h>

#define ap_nodiscard                         __attribute__((warn_unused_result))
#define ap_printf(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

enum ap_rc {
    AP_OK = 0,
    AP_E_PARSE,     /* malformed input: the sender's fault, do not retry */
    AP_E_LIMIT,     /* well-formed, but over a stated maximum: do not retry */
    AP_E_AUTH,      /* no right to do this */
    AP_E_NOT_FOUND, /* no such thing */
    AP_E_CONFLICT,  /* already there, or changed in between */
    AP_E_FULL,      /* no room now (disk, log size): retry later */
    AP_E_BUSY,      /* too much at once, or shutting down: retry later */
    AP_E_TIMEOUT,   /* took longer than allowed */
    AP_E_IO,        /* the system refused */
    AP_E_CORRUPT,   /* stored bytes are not what was written */
    AP_E_NOMEM,     /* memory for a size that came from outside */
    AP_E_INTERNAL,  /* a library that we use failed in a way that nothing above fits */
    AP_RC_COUNT
};

/* "parse", "limit" … for logs and JSON; never NULL. */
const char *ap_rc_name(enum ap_rc rc);

enum { AP_ERR_TEXT_BYTES = 512 };

/* Lives on the caller's stack. `text` is empty or one sentence without a final full stop; longer ones are cut. */
struct ap_err {
    enum ap_rc rc;
    char text[AP_ERR_TEXT_BYTES];
};

/* Each fills `err` (NULL is allowed) and returns `rc`, so that callers write `return ap_fail(…)`. */
enum ap_rc ap_fail(struct ap_err *err, enum ap_rc rc, const char *format, ...) ap_printf(3, 4);
enum ap_rc ap_vfail(struct ap_err *err, enum ap_rc rc, const char *format, va_list args) ap_printf(3, 0);

/* "<what>: <strerror>"; ENOSPC and EDQUOT become AP_E_FULL, ENOENT AP_E_NOT_FOUND, ENOMEM AP_E_NOMEM, others AP_E_IO.
 */
enum ap_rc ap_fail_errno(struct ap_err *err, int errno_value, const char *format, ...) ap_printf(3, 4);

/* Puts "<context>: " before the sentence that is already there; returns err->rc. */
enum ap_rc ap_err_prefix(struct ap_err *err, const char *format, ...) ap_printf(2, 3);
