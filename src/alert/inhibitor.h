/*
 * alert/inhibitor.h - alerts that are not told because another one says it already
 *
 * For each rule the active alerts that match its source, found by the values of the labels that must be equal; a
 * missing label and an empty one are alike. An alert that matches both sides of a rule is not inhibited by another such
 * one, and never by itself.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alert_set.h"
#include "alert/config.h"

struct inhibitor; /* private to inhibitor.c */

struct inhibitor *inhibitor_new(const struct alert_config *config); /* lent */
void inhibitor_free(struct inhibitor *inhibitor);                   /* NULL is allowed */
AP_DEFINE_AUTO(inhibitor, struct inhibitor, inhibitor_free)

/* Looks at all alerts anew; they must not be removed before the next time. */
void inhibitor_update(struct inhibitor *inhibitor, const struct alert_set *alerts, int64_t now_ms);

/* Whether it would be a source of any rule. */
bool inhibitor_is_source(const struct inhibitor *inhibitor, struct ap_slice labels);

/* The alert that inhibits it, or NULL. */
const struct known_alert *inhibitor_find(const struct inhibitor *inhibitor, struct ap_slice labels, int64_t now_ms);
