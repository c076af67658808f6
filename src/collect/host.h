/*
 * collect/host.h - the collector `host`: this machine's CPUs, memory, disks, network, in node_exporter's names
 *
 * Names, labels, help and types are those of node_exporter 1.5.0, so that its dashboards and rules go on working;
 * which of its collectors are here is the table in host.c. Everything is read from /proc and /sys at the moment it is
 * asked for, and each part is read on its own: what the machine does not have, or what cannot be read, costs the others
 * nothing and is told by `node_scrape_collector_success`, with the reason in a comment of the text.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "collect/collector.h"

struct host; /* private to host.c */
struct statfs;

struct host_options { /* all lent for the call; NULL: the machine's own */
    const char *proc_path;
    const char *sys_path;
    const char *root_path;     /* /etc/os-release, and the mount points, are below it */
    const char *textfile_path; /* a directory of files that others write, NAME.prom; NULL: none */
    int (*statfs)(const char *path, struct statfs *ret); /* statfs(2), for tests */
};

ap_nodiscard enum ap_rc host_open(const struct host_options *options, struct host **ret_host, struct ap_err *err);
void host_close(struct host *host); /* NULL is allowed */
AP_DEFINE_AUTO(host, struct host, host_close)

/*
 * As struct collector's collect(), with the host as context; from several threads at a time. The parameter `collect[]`,
 * which may be there several times, chooses parts by name; AP_E_PARSE when there is none of that name.
 */
ap_nodiscard enum ap_rc host_collect(void *context, const struct collector_request *request, struct ap_buf *out,
                                     struct ap_err *err);

/* The names of the parts, in order; NULL past the last. */
const char *host_part_name(size_t index);
