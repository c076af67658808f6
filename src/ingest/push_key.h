/*
 * ingest/push_key.h - the grouping key of a push: the labels that its address names
 *
 *     /metrics/job/backup/instance/db1                 job="backup", instance="db1"
 *     /metrics/job@base64/YmFja3Vw/path@base64/L3Zhcg  job="backup", path="/var"
 *
 * What comes behind /metrics/job or /metrics/job@base64 is read here, with percent escapes undone already.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum { PUSH_KEY_LABELS_MAX = 64 };

struct push_key {
    struct label labels[PUSH_KEY_LABELS_MAX]; /* each name once; values may be empty */
    size_t count;
    struct ap_buf decoded; /* what was in base64 */
};

/* `rest` is lent for as long as the key is used. AP_E_PARSE in the Pushgateway's words. */
ap_nodiscard enum ap_rc push_key_read(struct ap_slice rest, bool is_job_base64, struct push_key *ret_key,
                                      struct ap_err *err);
void push_key_clear(struct push_key *key);

/* The label of this name, or NULL. */
const struct label *push_key_find(const struct push_key *key, struct ap_slice name);
