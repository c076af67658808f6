/*
 * scrape/discovery.h - ways of finding targets: one kind, one file
 *
 *     <kind>_sd_configs: ──read()──► config ──open()──► discovery ──refresh(), on a thread of its own──► target_groups
 *
 * A kind is a struct of functions, named in discovery.c. To add one, write discovery_NAME.c and name it there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "scrape/fields.h"
#include "scrape/target_groups.h"

struct discovery; /* private to each kind */

struct discovery_kind {
    const char *key;  /* "file_sd_configs" */
    const char *name; /* "file" */
    /*
     * Reads one entry of the list at that key; what it makes lives in the source's arena. AP_E_PARSE, AP_E_LIMIT.
     */
    enum ap_rc (*read)(struct scrape_source *source, const struct yaml_node *node, const void **ret_config,
                       struct ap_err *err);
    /* `is_ending` (atomic) becomes true while refresh() should give up waiting. Both are lent until close(). */
    struct discovery *(*open)(const void *config, const bool *is_ending);
    /*
     * Looks, and may wait. What it finds, all of it, is *ret_groups; NULL: as before. On failure `err` says why, and
     * *ret_groups may still be what is known: parts that could not be looked at are as they were.
     */
    enum ap_rc (*refresh)(struct discovery *discovery, struct target_groups **ret_groups, struct ap_err *err);
    /* Until the next refresh(); 0: nothing ever changes, one is enough. */
    int64_t (*interval_ms)(const void *config);
    /* Readable when there is something new before the interval is over; -1: never. refresh() empties it. */
    int (*watch_fd)(const struct discovery *discovery);
    void (*close)(struct discovery *discovery);
};

/* The kind with that key in a scrape config, or NULL. */
const struct discovery_kind *discovery_kind_of(struct ap_slice key);
/* "static_configs, file_sd_configs …": all there are. */
const char *discovery_kinds_text(void);

extern const struct discovery_kind discovery_static;
extern const struct discovery_kind discovery_file;
extern const struct discovery_kind discovery_http;
extern const struct discovery_kind discovery_dns;

/* One entry of a list of a job. */
struct discovery_config {
    const struct discovery_kind *kind;
    const struct yaml_node *node;
    const void *config;
};
