/*
 * cli/collectors.h - the collectors of this program: what `collector:` in a job may name
 */
#pragma once

#include <stddef.h>

#include "api/api.h"
#include "scrape/collector.h"
#include "scrape/postgres.h"

enum { COLLECTORS_MAX = 16 };

struct collectors {
    struct collector items[COLLECTORS_MAX];
    size_t count;
};

/*
 * `api` is what `self` tells about, `postgres` what collects from servers of PostgreSQL; both are lent. NULL: only the
 * names are wanted, and nothing may be collected.
 */
void collectors_init(struct collectors *collectors, const struct api *api, struct postgres *postgres);
