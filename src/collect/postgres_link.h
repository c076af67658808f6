/*
 * collect/postgres_link.h - one connection to a PostgreSQL server, over libpq, in which every call has a deadline
 *
 * A session of a link can only read (`default_transaction_read_only`), is called "apiary" in pg_stat_activity unless
 * the connection string says otherwise, looks up names in pg_catalog alone, and waits no longer than a moment for
 * locks. A statement may take half of the time that is left: the server is told so, and ends it.
 *
 * Errors have the server's sentence on one line, without the hints and details behind it. libpq puts no password into
 * them once a connection string is understood; what it says about one that is not may quote a piece of it, which
 * postgres_link_check() leaves out.
 *
 * One thread at a time. Looking up a host's name is the system's and not under the deadline: libpq has no other way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "collect/postgres_rows.h"

struct postgres_link; /* private to postgres_link.c */

/* That libpq understands `conninfo`, a URI or key=value pairs. The error shows none of it. */
ap_nodiscard enum ap_rc postgres_link_check(const char *conninfo, struct ap_err *err);

/* `database` NULL: the one that `conninfo` names. AP_E_TIMEOUT, AP_E_IO (nobody there, refused, wrong password). */
ap_nodiscard enum ap_rc postgres_link_open(const char *conninfo, const char *database, int64_t deadline_us,
                                           struct postgres_link **ret_link, struct ap_err *err);
void postgres_link_close(struct postgres_link *link); /* NULL is allowed */
AP_DEFINE_AUTO(postgres_link, struct postgres_link, postgres_link_close)

/*
 * One statement with its parameters as text; `rows` is initialised and empty. The connection stays usable after an
 * error unless postgres_link_is_broken(), which it is after AP_E_TIMEOUT and AP_E_LIMIT.
 */
ap_nodiscard enum ap_rc postgres_link_query(struct postgres_link *link, const char *sql, const char *const *params,
                                            size_t param_count, int64_t deadline_us, struct postgres_rows *rows,
                                            struct ap_err *err);
bool postgres_link_is_broken(const struct postgres_link *link);

int postgres_link_version(const struct postgres_link *link);          /* 150020 is 15.20 */
const char *postgres_link_server(const struct postgres_link *link);   /* "db1:5432" */
const char *postgres_link_database(const struct postgres_link *link); /* as the server knows it */
const char *postgres_link_user(const struct postgres_link *link);
