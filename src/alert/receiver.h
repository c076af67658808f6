/*
 * alert/receiver.h - receivers as Alertmanager's configuration file has them: who is told, by which way
 *
 * A receiver has any number of ways. Each kind of way is one row of a table in receiver.c: its key in the file, its
 * settings, and what must be there. How a message is made and sent is not known here.
 *
 * Texts are lent by the document. Settings that are not there are NULL: what is sent then is the sender's to know.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "codec/yaml.h"

enum receiver_kind { RECEIVER_WEBHOOK, RECEIVER_PAGERDUTY, RECEIVER_SLACK, RECEIVER_EMAIL, RECEIVER_KIND_COUNT };
const char *receiver_kind_name(enum receiver_kind kind); /* "webhook", as in figures and in Alertmanager */

/* `global:`, what ways fall back to. */
struct receiver_global {
    int64_t resolve_timeout_ms; /* an alert without an end ends so long after it was last told; 5 minutes */
    const struct yaml_node *http_config;
    const char *pagerduty_url;
    const char *slack_api_url; /* secret */
    const char *slack_api_url_file;
    const char *slack_app_token; /* secret */
    const char *slack_app_token_file;
    const char *slack_app_url;
    const char *smtp_from;
    const char *smtp_hello;
    const char *smtp_smarthost; /* "host:port" */
    const char *smtp_auth_username;
    const char *smtp_auth_password; /* secret */
    const char *smtp_auth_password_file;
    const char *smtp_auth_secret; /* secret */
    const char *smtp_auth_secret_file;
    const char *smtp_auth_identity;
    bool is_smtp_tls_required;
    const struct yaml_node *smtp_tls_config;
};

struct webhook_way {
    const char *url; /* secret */
    const char *url_file;
    const char *signing_secret; /* secret; Apiary's own, as the next: Alertmanager has no signatures */
    const char *signing_secret_file;
    int64_t alerts_max; /* 0: all */
    const char *timeout;
    const struct yaml_node *http_config;
};

struct pagerduty_way {
    const char *routing_key; /* secret: Events API v2 */
    const char *routing_key_file;
    const char *service_key; /* secret: the API before that */
    const char *service_key_file;
    const char *url;
    const char *client;
    const char *client_url;
    const char *description;
    const char *severity;
    const char *source;
    const char *component;
    const char *class;
    const char *group;
    struct yaml_texts details;
    const struct yaml_node *images;
    const struct yaml_node *links;
    bool is_change; /* change_events, Apiary's own: what is told are changes, and no incident begins */
    const char *timeout;
    const struct yaml_node *http_config;
};

struct slack_way {
    const char *api_url; /* secret */
    const char *api_url_file;
    const char *app_token; /* secret */
    const char *app_token_file;
    const char *app_url;
    const char *channel;
    const char *username;
    const char *color;
    const char *title;
    const char *title_link;
    const char *pretext;
    const char *text;
    const char *message_text;
    const char *footer;
    const char *fallback;
    const char *callback_id;
    const char *icon_emoji;
    const char *icon_url;
    const char *image_url;
    const char *thumb_url;
    bool is_short;         /* short_fields */
    bool is_linking_names; /* link_names */
    bool is_updating;      /* update_message: the message of before changes when it resolves */
    struct yaml_texts mrkdwn_in;
    const struct yaml_node *fields;
    const struct yaml_node *actions;
    const char *timeout;
    const struct yaml_node *http_config;
};

struct email_way {
    const char *to;
    const char *from;
    const char *hello;
    const char *smarthost;
    const char *auth_username;
    const char *auth_password; /* secret */
    const char *auth_password_file;
    const char *auth_secret; /* secret */
    const char *auth_secret_file;
    const char *auth_identity;
    struct yaml_texts headers;
    const char *html;
    const char *text;
    const struct yaml_node *require_tls; /* NULL: as `global` has it */
    const struct yaml_node *tls_config;
    const struct yaml_node *threading;
};

struct receiver_way {
    enum receiver_kind kind;
    bool is_sending_resolved; /* send_resolved */
    const struct yaml_node *node;
    union {
        struct webhook_way webhook;
        struct pagerduty_way pagerduty;
        struct slack_way slack;
        struct email_way email;
    };
};

struct receiver {
    const char *name;
    struct receiver_way *ways; /* the arena's */
    size_t way_count;
    size_t first_way_index; /* among the ways of all receivers; config.c's */
    const struct yaml_node *node;
};

/* Its place among those of its kind, as in `slack_configs` of the file. `way` is one of the receiver's. */
size_t receiver_way_index(const struct receiver *receiver, const struct receiver_way *way);

/* AP_E_PARSE: "file:line:column: …". `node` NULL: the defaults. */
ap_nodiscard enum ap_rc receiver_global_read(const struct yaml_node *node, struct receiver_global *ret_global,
                                             struct ap_err *err);
ap_nodiscard enum ap_rc receiver_read(const struct yaml_node *node, const struct receiver_global *global,
                                      struct ap_arena *arena, struct receiver *ret_receiver, struct ap_err *err);
