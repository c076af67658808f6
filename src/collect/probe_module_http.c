/* The `http:` section of a module. */
#include "collect/probe_module_internal.h"

static enum ap_rc read_header_matches(const struct yaml_node *list, struct probe_header_matches *ret_matches,
                                      struct ap_err *err)
{
    struct form {
        const char *header, *regexp;
        bool is_missing_allowed;
    };
    static const struct yaml_field fields[] = {
        {.key = "header",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct form, header),
         .is_required = true,
         .doc = "the name of the header field"},
        {.key = "regexp",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct form, regexp),
         .is_required = true,
         .doc = "what its value is matched with"},
        {.key = "allow_missing", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, is_missing_allowed)},
    };
    if (!probe_is_set(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "expected a list of header, regexp, allow_missing");
    ret_matches->items = ap_new0_array(struct probe_header_match, list->child_count + 1);
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct form form = {0};
        struct ap_err reason;
        enum ap_rc rc = READ(node, fields, &form, err);
        if (rc != AP_OK)
            return rc;
        struct probe_header_match *match = &ret_matches->items[ret_matches->count];
        *match = (struct probe_header_match){.header = form.header, .is_missing_allowed = form.is_missing_allowed};
        if (probe_regex_new(ap_slice_cstr(form.regexp), &match->regex, &reason) != AP_OK)
            return yaml_fail(err, yaml_get(node, "regexp"), "%s", reason.text);
        ret_matches->count++;
    }
    return AP_OK;
}

void probe_header_matches_clear(struct probe_header_matches *matches)
{
    for (size_t i = 0; i < matches->count; i++)
        probe_regex_free(matches->items[i].regex);
    free(matches->items);
}

struct http_form {
    struct probe_network_form network;
    struct probe_http http; /* what is read as it is */
    struct yaml_texts statuses, body_matches, body_not_matches;
    const struct yaml_node *header_matches, *header_not_matches, *tls, *basic_auth, *authorization;
    const struct yaml_node *body_limit, *http_headers, *oauth2, *proxy_headers, *http3, *cel_matches, *cel_not_matches;
    const char *bearer_token, *bearer_token_file, *compression;
    bool is_not_following;
};
#define HTTP(member) offsetof(struct http_form, member)
static const struct yaml_field http_fields[] = {
    NETWORK_FIELDS(http_form),
    {.key = "valid_status_codes", .type = YAML_TYPE_TEXT_LIST, .offset = HTTP(statuses)},
    {.key = "valid_http_versions", .type = YAML_TYPE_TEXT_LIST, .offset = HTTP(http.versions)},
    {.key = "method", .type = YAML_TYPE_TEXT, .offset = HTTP(http.method), .default_text = "GET"},
    {.key = "headers", .type = YAML_TYPE_TEXT_MAP, .offset = HTTP(http.headers)},
    {.key = "body_size_limit", .type = YAML_TYPE_NODE, .offset = HTTP(body_limit)},
    {.key = "compression", .type = YAML_TYPE_TEXT, .offset = HTTP(compression)},
    {.key = "follow_redirects", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_following), .default_text = "true"},
    {.key = "no_follow_redirects", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(is_not_following)},
    {.key = "fail_if_ssl", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_failing_if_tls)},
    {.key = "fail_if_not_ssl", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_failing_if_not_tls)},
    {.key = "fail_if_body_matches_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = HTTP(body_matches)},
    {.key = "fail_if_body_not_matches_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = HTTP(body_not_matches)},
    {.key = "fail_if_header_matches", .type = YAML_TYPE_NODE, .offset = HTTP(header_matches)},
    {.key = "fail_if_header_not_matches", .type = YAML_TYPE_NODE, .offset = HTTP(header_not_matches)},
    {.key = "fail_if_body_json_matches_cel", .type = YAML_TYPE_NODE, .offset = HTTP(cel_matches)},
    {.key = "fail_if_body_json_not_matches_cel", .type = YAML_TYPE_NODE, .offset = HTTP(cel_not_matches)},
    {.key = "body", .type = YAML_TYPE_TEXT, .offset = HTTP(http.body)},
    {.key = "body_file", .type = YAML_TYPE_TEXT, .offset = HTTP(http.body_file)},
    {.key = "skip_resolve_phase_with_proxy", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_resolved_by_proxy)},
    {.key = "tls_config", .type = YAML_TYPE_NODE, .offset = HTTP(tls)},
    {.key = "basic_auth", .type = YAML_TYPE_NODE, .offset = HTTP(basic_auth)},
    {.key = "authorization", .type = YAML_TYPE_NODE, .offset = HTTP(authorization)},
    {.key = "oauth2", .type = YAML_TYPE_NODE, .offset = HTTP(oauth2)},
    {.key = "bearer_token", .type = YAML_TYPE_TEXT, .offset = HTTP(bearer_token)},
    {.key = "bearer_token_file", .type = YAML_TYPE_TEXT, .offset = HTTP(bearer_token_file)},
    {.key = "proxy_url", .type = YAML_TYPE_TEXT, .offset = HTTP(http.proxy_url)},
    {.key = "no_proxy", .type = YAML_TYPE_TEXT, .offset = HTTP(http.no_proxy)},
    {.key = "proxy_from_environment", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_proxy_from_environment)},
    {.key = "http_headers", .type = YAML_TYPE_NODE, .offset = HTTP(http_headers)},
    {.key = "proxy_connect_header", .type = YAML_TYPE_NODE, .offset = HTTP(proxy_headers)},
    {.key = "enable_http2", .type = YAML_TYPE_BOOLEAN, .offset = HTTP(http.is_http2), .default_text = "true"},
    {.key = "enable_http3", .type = YAML_TYPE_NODE, .offset = HTTP(http3)},
};

static enum ap_rc read_statuses(const struct yaml_texts *texts, struct probe_http *http, struct ap_err *err)
{
    if (texts->count)
        http->statuses = ap_new0_array(unsigned, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        int64_t status;
        if (!yaml_parse_integer(ap_slice_cstr(texts->items[i]), &status) || status < 0 || status > 999)
            return yaml_fail(err, texts->nodes[i], "valid_status_codes: expected a status such as 200, found \"%s\"",
                             texts->items[i]);
        http->statuses[http->status_count++] = (unsigned)status;
    }
    return AP_OK;
}

static enum ap_rc read_credentials(const struct http_form *form, const struct yaml_node *node, struct probe_http *http,
                                   struct ap_err *err)
{
    static const struct yaml_field basic_fields[] = {
        {.key = "username", .type = YAML_TYPE_TEXT, .offset = offsetof(struct probe_http, basic_user)},
        {.key = "password", .type = YAML_TYPE_TEXT, .offset = offsetof(struct probe_http, basic_password)},
        {.key = "password_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct probe_http, basic_password_file)},
    };
    static const struct yaml_field authorization_fields[] = {
        {.key = "type",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct probe_http, authorization_type),
         .default_text = "Bearer"},
        {.key = "credentials", .type = YAML_TYPE_TEXT, .offset = offsetof(struct probe_http, credentials)},
        {.key = "credentials_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct probe_http, credentials_file)},
    };
    int kinds = probe_is_set(form->basic_auth) + probe_is_set(form->authorization) + (form->bearer_token != NULL) +
                (form->bearer_token_file != NULL);
    if (kinds > 1)
        return yaml_fail(err, node, "at most one of basic_auth, authorization, bearer_token, bearer_token_file");
    if (probe_is_set(form->basic_auth))
        return READ(form->basic_auth, basic_fields, http, err);
    if (probe_is_set(form->authorization))
        return READ(form->authorization, authorization_fields, http, err);
    http->authorization_type = "Bearer";
    http->credentials = form->bearer_token;
    http->credentials_file = form->bearer_token_file;
    return AP_OK;
}

static void find_unsupported_http(const struct http_form *form, struct probe_module *module)
{
    bool is_http3 = probe_is_set(form->http3) && !ap_slice_equal_cstr(form->http3->text, "false");
    if (probe_is_set(form->oauth2))
        probe_module_set_unsupported(module, "oauth2");
    if (probe_is_set(form->http_headers))
        probe_module_set_unsupported(module, "http_headers");
    if (probe_is_set(form->proxy_headers))
        probe_module_set_unsupported(module, "proxy_connect_header");
    if (probe_is_set(form->cel_matches) || probe_is_set(form->cel_not_matches))
        probe_module_set_unsupported(module, "an expression in CEL");
    if (is_http3)
        probe_module_set_unsupported(module, "HTTP/3");
    if (form->compression && strcmp(form->compression, "br") == 0)
        probe_module_set_unsupported(module, "compression br");
}

static enum ap_rc read_limits(const struct http_form *form, const struct yaml_node *node, struct probe_http *http,
                              struct ap_err *err)
{
    const struct yaml_node *limit = form->body_limit, *compression = yaml_get(node, "compression");
    if (probe_is_set(limit) && !yaml_parse_bytes(limit->text, &http->body_bytes_max)) {
        /* 10MB is ten times 1024 times 1024 there, and 10MiB is the same. */
        AP_AUTO_FREE char *text = ap_slice_dup(limit->text);
        size_t bytes = strlen(text);
        if (bytes > 2 && text[bytes - 1] == 'B' && strchr("KMGT", text[bytes - 2])) {
            AP_AUTO_FREE char *binary = ap_asprintf("%.*siB", (int)bytes - 1, text);
            if (yaml_parse_bytes(ap_slice_cstr(binary), &http->body_bytes_max))
                limit = NULL;
        }
        if (limit)
            return yaml_fail(err, limit, "body_size_limit: expected a size such as 10MB, found \"%s\"", text);
    }
    if (!form->compression || strcmp(form->compression, "br") == 0)
        return AP_OK;
    if (!inflate_encoding_parse(ap_slice_cstr(form->compression), &http->compression))
        return yaml_fail(err, compression, "compression: expected gzip, deflate, br or identity, found \"%s\"",
                         form->compression);
    return AP_OK;
}

enum ap_rc probe_read_http(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    struct http_form form = {0};
    struct probe_http *http = &module->http;
    enum ap_rc rc = READ(node, http_fields, &form, err);
    if (rc != AP_OK)
        return rc;
    *http = form.http;
    http->network = probe_network_of(&form.network);
    http->is_following = form.http.is_following && !form.is_not_following;
    http->compression = INFLATE_IDENTITY;
    if (http->body && http->body_file)
        return yaml_fail(err, node, "at most one of body and body_file");
    if (http->proxy_url && http->is_proxy_from_environment)
        return yaml_fail(err, node, "at most one of proxy_url and proxy_from_environment");
    find_unsupported_http(&form, module);
    if ((rc = read_limits(&form, node, http, err)) != AP_OK ||
        (rc = read_statuses(&form.statuses, http, err)) != AP_OK ||
        (rc = read_credentials(&form, node, http, err)) != AP_OK ||
        (rc = probe_read_tls(module, form.tls, &http->tls, err)) != AP_OK ||
        (rc = probe_read_regexes(&form.body_matches, &http->body_matches, err)) != AP_OK ||
        (rc = probe_read_regexes(&form.body_not_matches, &http->body_not_matches, err)) != AP_OK ||
        (rc = read_header_matches(form.header_matches, &http->header_matches, err)) != AP_OK)
        return rc;
    return read_header_matches(form.header_not_matches, &http->header_not_matches, err);
}
