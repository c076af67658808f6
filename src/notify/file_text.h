/* notify/file_text.h - small files that a configuration names: secrets, templates */
#pragma once

#include "base/buf.h"
#include "base/rc.h"

/* Appends all of it. AP_E_IO, AP_E_NOT_FOUND: the sentence names the file; AP_E_LIMIT: more than `bytes_max`. */
ap_nodiscard enum ap_rc file_text_read(const char *path, size_t bytes_max, struct ap_buf *out, struct ap_err *err);
