/*
 * tools/analyzer.h - what clang-tidy must know and cannot see; included by tools/lint, never by the program
 *
 * The analyzer looks at one file at a time. It would follow paths on which ap_fail() returns AP_OK, and complain of
 * outputs that are unset there.
 */
#pragma once

#include "base/rc.h"

#define ap_fail(err, rc, ...)   (ap_fail(err, rc, __VA_ARGS__), (rc))
#define ap_vfail(err, rc, ...)  (ap_vfail(err, rc, __VA_ARGS__), (rc))
#define ap_fail_errno(err, ...) (ap_fail_errno(err, __VA_ARGS__), AP_E_IO)
#define ap_err_prefix(err, ...) (ap_err_prefix(err, __VA_ARGS__), AP_E_IO)
