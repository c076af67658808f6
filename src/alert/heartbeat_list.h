/*
 * alert/heartbeat_list.h - the heart-beats that are waited for, as the settings have them, and the rules about them
 *
 *     heartbeats:
 *     - {name: backup, every: 1d, grace: 2h, severity: critical, labels: {team: storage}}
 *
 * Each becomes two alerting rules over the series that heartbeats.h writes. The grace is the rule's `for`, so a beat
 * that is late is a pending alert and one that is missing a firing one, and both go on over a restart as those of all
 * rules: the time in which this server was away does not count.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"

enum { HEARTBEATS_MAX = 1000, HEARTBEAT_NAME_BYTES_MAX = 64 };

#define HEARTBEAT_TIMESTAMP "apiary_heartbeat_timestamp_seconds"     /* of the last beat; from the first one on */
#define HEARTBEAT_DUE       "apiary_heartbeat_due_timestamp_seconds" /* when the next one is to be there */
#define HEARTBEAT_FAILED    "apiary_heartbeat_failed"                /* 1: the last one said that something failed */

/* Texts are the document's. */
struct heartbeat {
    const char *name; /* letters, digits, and ._- */
    int64_t every_ms;
    int64_t grace_ms;
    const char *every_text; /* as somebody wrote it: "1d"; as the next */
    const char *grace_text;
    const char *severity;
    struct yaml_texts labels;
};

struct heartbeat_list {
    struct heartbeat *items; /* owned; in order of the settings */
    size_t count;
};

/* `node` NULL: there are none. AP_E_PARSE, AP_E_LIMIT: "file:line:column: …". */
ap_nodiscard enum ap_rc heartbeat_list_read(const struct yaml_node *node, struct heartbeat_list *ret_list,
                                            struct ap_err *err);
void heartbeat_list_clear(struct heartbeat_list *list);

/* A group for rules/rule_file.h, without the "groups:" before it; nothing where there are none. */
void heartbeat_list_add_rules(const struct heartbeat_list *list, struct ap_buf *out);
