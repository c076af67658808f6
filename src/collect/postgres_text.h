/*
 * collect/postgres_text.h - rows of PostgreSQL's answers as Prometheus text 0.0.4
 *
 * A family is written in one piece, over all answers (one for each database), and not at all when nothing has a value:
 * a NULL is no sample. Numbers are copied as PostgreSQL writes them, to the last digit; true and false are 1 and 0.
 */
#pragma once

#include "base/buf.h"
#include "collect/postgres_queries.h"
#include "collect/postgres_rows.h"

enum { POSTGRES_LABEL_BYTES_MAX = 1024 };

/* That the answer has the columns that the query says, "cut" behind them when it is limited. */
ap_nodiscard enum ap_rc postgres_text_check(const struct postgres_query *query, const struct postgres_rows *rows,
                                            struct ap_err *err);

/* Appends the samples of checked answers, each with the label `server`. */
void postgres_text_write(const struct postgres_query *query, const struct postgres_rows *answers, size_t answer_count,
                         struct ap_slice server, struct ap_buf *out);

/* "# HELP" and "# TYPE" of a family. */
void postgres_text_family(const char *name, const char *type, struct ap_slice help, struct ap_buf *out);

/* A label's value in quotes: escaped, cut at POSTGRES_LABEL_BYTES_MAX between characters, always UTF-8. */
void postgres_text_label(struct ap_slice value, struct ap_buf *out);

/* A cell as a sample's value; false, and nothing written: it is none. */
bool postgres_text_value(struct ap_slice cell, struct ap_buf *out);
