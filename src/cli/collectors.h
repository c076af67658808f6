/*
 * cli/collectors.h - the collectors of this program: what `collector:` in a job may name
 */
#pragma once

#include <stddef.h>

#include "api/api.h"
#include "base/rc.h"
#include "cli/config.h"
#include "collect/collector.h"

struct host;
struct postgres;
struct probes;

enum { COLLECTORS_MAX = 16 };

struct collectors {
    struct collector items[COLLECTORS_MAX];
    size_t count;
    struct host *host;         /* owned */
    struct probes *probes;     /* owned */
    struct postgres *postgres; /* owned */
};

/* What they are called, for looking at a file: nothing may be collected. */
void collectors_init_names(struct collectors *collectors);

/* `api` is what `self` tells about; lent, and looked at when it is collected. Close it also after a failure. */
ap_nodiscard enum ap_rc collectors_open(const struct config *config, const struct api *api,
                                        struct collectors *ret_collectors, struct ap_err *err);
/* Reads their files again; what was before stays if that fails. */
ap_nodiscard enum ap_rc collectors_reload(struct collectors *collectors, struct ap_err *err);
void collectors_close(struct collectors *collectors);
