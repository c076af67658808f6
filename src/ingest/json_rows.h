/*
 * ingest/json_rows.h - a JSON body in, rows of one table out, by the table's declaration
 *
 * The body is one object, an array of objects, or NDJSON (an object a line). Members that the table has a column for
 * become that column; all others are kept in `props`, as they were written. What is accepted: docs/ingest.md.
 *
 * A row that cannot be right (wrong type, missing field, time out of range) is rejected alone and reported. Text that
 * is no JSON makes an object or array fail as a whole; in NDJSON it costs its line.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "codec/json_reader.h"
#include "ingest/client_address.h"
#include "ingest/row_report.h"
#include "warehouse/row.h"
#include "warehouse/tables.h"

struct geo;

enum {
    JSON_ROWS_MAX = 100 * 1000,        /* in one body */
    JSON_ROWS_AHEAD_MAX_S = 24 * 3600, /* how far in the future a timestamp may be: clocks are set wrong */
    /*
     * How far in the past without `may_date_back`. A year and a month: a laptop that was away for long still delivers,
     * and nobody rewrites older history with a key taken from a web page.
     */
    JSON_ROWS_BACK_MAX_DAYS = 400,
};

/* What holds for all rows of one body. */
struct json_rows_context {
    const struct table *table;
    int64_t received_us;
    const struct geo *geo;               /* lent; may be NULL */
    const struct client_address *client; /* lent; where the request came from */
    const uint8_t *user_id_hash_key;     /* lent; USER_ID_HASH_KEY_BYTES; NULL: user ids are kept as they are */
    bool is_ndjson;                      /* the client said so; otherwise the body is looked at */
    bool may_date_back;                  /* secret keys */
    bool may_give_client_ip;             /* secret keys: `client_ip` of a row stands in for the request's address */
};

/*
 * Appends one batch to `out`; it is complete when AP_OK comes back, and of no use otherwise. `report` was initialised
 * by the caller and tells what became of each row; with accepted_count 0 the batch is empty and not worth keeping.
 * AP_E_PARSE: the body as a whole is refused; *ret_position tells where. AP_E_LIMIT: too many rows or bytes for `out`.
 */
ap_nodiscard enum ap_rc json_rows_decode(const struct json_rows_context *context, struct ap_slice body,
                                         struct ap_buf *out, struct row_report *report,
                                         struct json_position *ret_position, struct ap_err *err);
