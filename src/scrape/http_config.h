/*
 * scrape/http_config.h - Prometheus' <http_config>: read and checked
 */
#pragma once

#include "base/rc.h"
#include "scrape/fields.h"
#include "scrape/job.h"

/* The keys of <http_config>, which stand beside those of a job or a discovery: as many as `form` has. */
struct http_config_form {
    const struct yaml_node *basic_auth;
    const struct yaml_node *authorization;
    const struct yaml_node *oauth2;
    const char *bearer_token;
    const char *bearer_token_file;
    const struct yaml_node *tls_config;
    bool is_following_redirects;
    bool is_http2_allowed;
    const char *proxy_url;
    const char *no_proxy;
    bool is_proxy_from_environment;
    const struct yaml_node *proxy_connect_header;
    const struct yaml_node *http_headers;
};

/* To be named among the fields of a struct that has a `struct http_config_form` as `member`. */
#define HTTP_CONFIG_FIELDS(type_, member)                                                                              \
    {"basic_auth", FIELD_NODE, offsetof(struct type_, member.basic_auth)},                                             \
        {"authorization", FIELD_NODE, offsetof(struct type_, member.authorization)},                                   \
        {"oauth2", FIELD_NODE, offsetof(struct type_, member.oauth2)},                                                 \
        {"bearer_token", FIELD_SECRET, offsetof(struct type_, member.bearer_token)},                                   \
        {"bearer_token_file", FIELD_PATH, offsetof(struct type_, member.bearer_token_file)},                           \
        {"tls_config", FIELD_NODE, offsetof(struct type_, member.tls_config)},                                         \
        {"follow_redirects", FIELD_BOOLEAN, offsetof(struct type_, member.is_following_redirects)},                    \
        {"enable_http2", FIELD_BOOLEAN, offsetof(struct type_, member.is_http2_allowed)},                              \
        {"proxy_url", FIELD_SECRET, offsetof(struct type_, member.proxy_url)},                                         \
        {"no_proxy", FIELD_TEXT, offsetof(struct type_, member.no_proxy)},                                             \
        {"proxy_from_environment", FIELD_BOOLEAN, offsetof(struct type_, member.is_proxy_from_environment)},           \
        {"proxy_connect_header", FIELD_NODE, offsetof(struct type_, member.proxy_connect_header)},                     \
    {                                                                                                                  \
        "http_headers", FIELD_NODE, offsetof(struct type_, member.http_headers)                                        \
    }

/* What holds before the fields are read. */
static inline void http_config_form_init(struct http_config_form *form)
{
    *form = (struct http_config_form){.is_following_redirects = true, .is_http2_allowed = true};
}

/* `node` is the map that the form was read from. Texts live as long as `source`. */
ap_nodiscard enum ap_rc http_config_read(struct scrape_source *source, const struct yaml_node *node,
                                         const struct http_config_form *form, struct scrape_http *ret_http,
                                         struct ap_err *err);
