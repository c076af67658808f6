/*
 * collect/postgres_statement.h - the text of an SQL statement as a label: short, on one line, without what was quoted
 *
 * PostgreSQL puts $1 in place of the constants of queries; of other statements it keeps the text as it came, passwords
 * in ALTER ROLE and all. So what is between quotes is left out here, whoever wrote it: 'x', E'x' and $tag$x$tag$ become
 * '?'. Where a backslash makes the end of a literal a matter of the session's settings, the text ends. Comments go,
 * white space and control characters become one blank, bytes that are not UTF-8 become U+FFFD.
 */
#pragma once

#include "base/buf.h"
#include "base/slice.h"

enum { POSTGRES_STATEMENT_BYTES_MAX = 256 };

/* Appends at most POSTGRES_STATEMENT_BYTES_MAX bytes; what was cut ends in "…". `sql` may be cut itself, anywhere. */
void postgres_statement_label(struct ap_slice sql, struct ap_buf *out);
