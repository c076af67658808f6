/*
 * ingest/geo.h - from an address to a country
 *
 * Reads a MaxMind DB file (any that has `country_code` or `country.iso_code`) through libmaxminddb, mapped into memory.
 * Without a file there are no countries and everything else works. Look-ups are callable from any thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/rc.h"

struct geo;

enum { GEO_COUNTRY_BYTES = 3 }; /* ISO 3166-1 alpha-2 and a NUL */

/* A missing or damaged file is an error; whether to go on without is the caller's decision (NULL is "without"). */
ap_nodiscard enum ap_rc geo_open(const char *path, struct geo **ret_geo, struct ap_err *err);
void geo_close(struct geo *geo); /* NULL is allowed */
AP_DEFINE_AUTO(geo, struct geo, geo_close)

/* False, and an empty string, when it is not known: a private address, or `geo` is NULL. */
bool geo_country(const struct geo *geo, const struct sockaddr *address, char ret_country[GEO_COUNTRY_BYTES]);
