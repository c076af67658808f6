/*
 * collect/probe.h - the collector `probe`: asks somebody else over HTTP, TCP, DNS or ICMP, and says how it went
 *
 * Metrics, labels and the file of modules are blackbox_exporter's (0.23.0, and what came later and fits beside it). A
 * probe that fails is an answer, `probe_success` 0, with the reason in a comment of the text; a module or a target that
 * cannot be used is an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "collect/collector.h"

struct probes; /* private to probe.c */

/* `path`: the file of modules; NULL: the built-in ones. `user_agent` is lent for the call. */
ap_nodiscard enum ap_rc probes_open(const char *path, const char *user_agent, struct probes **ret_probes,
                                    struct ap_err *err);
void probes_close(struct probes *probes); /* NULL is allowed; no probe is running */
AP_DEFINE_AUTO(probes, struct probes, probes_close)

/* Reads the file again; any thread. On failure the modules stay as they are. */
ap_nodiscard enum ap_rc probes_reload(struct probes *probes, struct ap_err *err);

struct probe_request {
    struct ap_slice target;
    struct ap_slice module;   /* empty: http_2xx */
    struct ap_slice hostname; /* Host of HTTP, server name of TCP's TLS; may be empty */
    int64_t deadline_monotonic_us;
    bool is_debug; /* the text is for people: what was done, then the metrics */
};
/* Waits for the other side. AP_E_PARSE: no target, no such module, or one that cannot be used. Any thread. */
ap_nodiscard enum ap_rc probes_run(struct probes *probes, const struct probe_request *request, struct ap_buf *out,
                                   struct ap_err *err);

/*
 * As struct collector's collect(). The target is the parameter `target` or the address; parameters `module`,
 * `hostname`.
 */
ap_nodiscard enum ap_rc probes_collect(void *context, const struct collector_request *request, struct ap_buf *out,
                                       struct ap_err *err);
