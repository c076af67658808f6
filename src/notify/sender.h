/*
 * notify/sender.h - what the ways of notifying have in common: one file each, one row in a table
 *
 * A sender makes a message of a notification and sends it. It waits, up to the deadline, and always says what came of
 * it. What it says never has a secret: no address of a webhook, no key, no password.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/notification.h"
#include "base/buf.h"
#include "notify/message.h"

struct oauth2_tokens; /* scrape/oauth2.h */

/* One attempt. In the caller's memory. */
struct sending {
    const struct notification *notification;
    struct message *message;
    const bool *is_ending;        /* atomic: becomes true when it is to give up */
    struct oauth2_tokens *tokens; /* lent; of the ways that need one; NULL: they are not kept */
    struct ap_buf *shown;         /* NULL: it is sent. Otherwise nothing is, and the message goes here, for people */
    bool is_over_limit;           /* the sender's to say: the message becomes too large */
};

struct sender {
    /* What the configuration says of the way is usable, so far as is seen before there is an alert: texts, http_config.
     */
    enum ap_rc (*check)(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err);
    /* Fills all of *ret. */
    void (*send)(struct sending *sending, struct delivery *ret);
};

extern const struct sender sender_webhook;
extern const struct sender sender_pagerduty;
extern const struct sender sender_slack;
extern const struct sender sender_email;
const struct sender *sender_of(enum receiver_kind kind);

/*
 * Sends by the notification's way. Where a template's text becomes too large because of too many alerts, the message is
 * of the first ones alone: better that than nothing.
 */
void sending_run(struct sending *sending, struct delivery *ret);

/* ---- For senders ---- */

/* The outcome with a text; NULL is none. */
void delivery_say(struct delivery *ret, enum delivery_outcome outcome, const char *format, ...) ap_printf(3, 4);
/* Something failed before it was sent: a template, a file. */
void sending_refuse(struct sending *sending, struct delivery *ret, const struct ap_err *err);

/* What is given, or what the file says now, without blanks around; with a final NUL. AP_E_IO names the file. */
ap_nodiscard enum ap_rc secret_read(const char *given, const char *path, const struct yaml_node *node,
                                    struct ap_buf *out, struct ap_err *err);
