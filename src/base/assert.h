/*
 * base/assert.h - promises inside the program
 *
 * AP_ASSERT is on in every build. It states what the program promises itself; no byte from outside may be able to break
 * one. A broken promise prints "BUG:" with file and line and aborts: going on would risk acknowledged data.
 */
#pragma once

#define AP_ASSERT(condition) ((condition) ? (void)0 : ap_assert_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void ap_assert_failed(const char *condition, const char *file, int line, const char *function);
