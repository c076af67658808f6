/*
 * collect/probe_module_internal.h - what the readers of a module's sections share
 */
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "codec/yaml.h"
#include "collect/probe_module.h"

#define READ(node, fields, target, err) yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), target, err)

/* Keeps the first thing that a module asks for and that is not here. */
void probe_module_set_unsupported(struct probe_module *module, const char *what);
bool probe_is_set(const struct yaml_node *node);

ap_nodiscard enum ap_rc probe_read_regexes(const struct yaml_texts *texts, struct probe_regexes *ret_regexes,
                                           struct ap_err *err);
ap_nodiscard enum ap_rc probe_read_tls(struct probe_module *module, const struct yaml_node *node,
                                       struct probe_tls *ret_tls, struct ap_err *err);
ap_nodiscard enum ap_rc probe_read_http(const struct yaml_node *node, struct probe_module *module, struct ap_err *err);
void probe_header_matches_clear(struct probe_header_matches *matches);

/* ---- preferred_ip_protocol and the like, in each section ---- */

extern const char *const probe_ip_protocols[];

struct probe_network_form {
    int protocol;
    bool is_fallback;
    const char *source_address;
};
/* As the first fields of a prober's form. */
#define NETWORK_FIELDS(form)                                                                                           \
    {.key = "preferred_ip_protocol",                                                                                   \
     .type = YAML_TYPE_CHOICE,                                                                                         \
     .offset = offsetof(struct form, network.protocol),                                                                \
     .default_text = "ip6",                                                                                            \
     .choices = probe_ip_protocols},                                                                                   \
        {.key = "ip_protocol_fallback",                                                                                \
         .type = YAML_TYPE_BOOLEAN,                                                                                    \
         .offset = offsetof(struct form, network.is_fallback),                                                         \
         .default_text = "true"},                                                                                      \
    {                                                                                                                  \
        .key = "source_ip_address", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, network.source_address)    \
    }

struct probe_network probe_network_of(const struct probe_network_form *form);
