/*
 * notify/message.h - the texts of a message: templates and what they are given, as Alertmanager has both
 *
 * "Notification template reference" of its documentation: .Receiver, .Status, .Alerts (.Firing, .Resolved),
 * .GroupLabels, .CommonLabels, .CommonAnnotations, .ExternalURL, .NotificationReason, and its default templates by the
 * same names. Apiary's own is .FallbackFor: the receiver in whose place this one is told, or nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/config.h"
#include "alert/notification.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "template/template.h"

/* The defaults and those of the configuration's `templates:`. Immutable, counted, any thread. */
struct message_templates;
/* `config` NULL: the defaults alone. AP_E_PARSE names the file; AP_E_IO. */
ap_nodiscard enum ap_rc message_templates_load(const struct alert_config *config, struct message_templates **ret,
                                               struct ap_err *err);
struct message_templates *message_templates_ref(struct message_templates *templates);
void message_templates_unref(struct message_templates *templates); /* NULL is allowed */
AP_DEFINE_AUTO(message_templates, struct message_templates, message_templates_unref)
/* For template_parse_message(). */
const struct template *message_library(const struct message_templates *templates);

struct message; /* private to message.c: what the templates of one notification are given */

/* Lends all of it. */
struct message *message_new(const struct notification *notification, const struct message_templates *templates,
                            struct ap_slice external_url, int64_t now_ms);
void message_free(struct message *message); /* NULL is allowed */
AP_DEFINE_AUTO(message, struct message, message_free)

/* Only the first so many alerts are told; 0: all. Says how many are not. */
uint64_t message_truncate(struct message *message, uint64_t alerts_max);

/* The same, but .Status stays that of all of them. False: there were not more. */
bool message_shorten(struct message *message, uint64_t alerts_max);

/* Appends what the template gives. AP_E_PARSE, AP_E_CONFLICT, AP_E_LIMIT: `what` names the setting. */
ap_nodiscard enum ap_rc message_text(const struct message *message, const char *what, const char *text,
                                     struct ap_buf *out, struct ap_err *err);
ap_nodiscard enum ap_rc message_html(const struct message *message, const char *what, const char *text,
                                     struct ap_buf *out, struct ap_err *err);
/* At most so many characters, the last being … when some were cut; 0: all. */
void message_cut(struct ap_buf *text, size_t runes_max);
/* That it can be parsed. */
ap_nodiscard enum ap_rc message_check(const struct template *library, const char *what, const char *text,
                                      struct ap_err *err);

bool message_is_firing(const struct message *message);
/* Alertmanager's JSON of the data: `"receiver":…,` to `"externalURL":…`, without braces. */
void message_json(const struct message *message, struct ap_buf *out);
