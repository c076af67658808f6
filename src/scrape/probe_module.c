#include "scrape/probe_module.h"

#include "base/arena.h"
#include "codec/dns_message.h"

struct probe_modules {
    struct yaml_document *document; /* owned; texts are its */
    struct probe_module *items;     /* owned */
    size_t count;
    struct ap_arena arena; /* what lists of labels became */
};

static const char builtin[] = "modules:\n"
                              "  http_2xx:\n"
                              "    prober: http\n"
                              "  http_post_2xx:\n"
                              "    prober: http\n"
                              "    http:\n"
                              "      method: POST\n"
                              "  tcp_connect:\n"
                              "    prober: tcp\n"
                              "  icmp:\n"
                              "    prober: icmp\n"
                              "  dns:\n"
                              "    prober: dns\n"
                              "    dns:\n"
                              "      query_name: .\n"
                              "      query_type: NS\n";

/* The first thing that a module asks for and that is not here. */
static void set_unsupported(struct probe_module *module, const char *what)
{
    if (!module->unsupported)
        module->unsupported = ap_asprintf("module \"%s\" cannot be used: %s is not supported", module->name, what);
}

static bool is_set(const struct yaml_node *node)
{
    return node && !yaml_is_null(node);
}

#define READ(node, fields, target, err) yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), target, err)

/* ---- What several probers have ---- */

static enum ap_rc read_regexes(const struct yaml_texts *texts, struct probe_regexes *ret_regexes, struct ap_err *err)
{
    if (texts->count == 0)
        return AP_OK;
    ret_regexes->items = ap_new0_array(struct probe_regex *, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        struct ap_err reason;
        if (probe_regex_new(ap_slice_cstr(texts->items[i]), &ret_regexes->items[i], &reason) != AP_OK)
            return yaml_fail(err, texts->nodes[i], "%s", reason.text);
        ret_regexes->count++;
    }
    return AP_OK;
}

static void regexes_clear(struct probe_regexes *regexes)
{
    for (size_t i = 0; i < regexes->count; i++)
        probe_regex_free(regexes->items[i]);
    free(regexes->items);
}

static const char *const ip_protocols[] = {"ip6", "ip4", NULL};
enum { IP4 = 1 };

struct network_form {
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
     .choices = ip_protocols},                                                                                         \
        {.key = "ip_protocol_fallback",                                                                                \
         .type = YAML_TYPE_BOOLEAN,                                                                                    \
         .offset = offsetof(struct form, network.is_fallback),                                                         \
         .default_text = "true"},                                                                                      \
    {                                                                                                                  \
        .key = "source_ip_address", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, network.source_address)    \
    }

static struct probe_network network_of(const struct network_form *form)
{
    bool has_source = form->source_address && form->source_address[0];
    return (struct probe_network){.is_ip4_preferred = form->protocol == IP4,
                                  .is_fallback = form->is_fallback,
                                  .source_address = has_source ? form->source_address : NULL};
}

static const char *const tls_versions[] = {"", "TLS10", "TLS11", "TLS12", "TLS13", NULL};

static enum ap_rc read_tls(struct probe_module *module, const struct yaml_node *node, struct probe_tls *ret_tls,
                           struct ap_err *err)
{
    struct form {
        struct probe_tls tls;
        int version_min, version_max;
        const char *ca, *cert, *key;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "ca_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.ca_file)},
        {.key = "ca", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, ca)},
        {.key = "cert", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, cert)},
        {.key = "key", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, key)},
        {.key = "cert_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.cert_file)},
        {.key = "key_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.key_file)},
        {.key = "server_name", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.server_name)},
        {.key = "insecure_skip_verify", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, tls.is_insecure)},
        {.key = "min_version",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, version_min),
         .choices = tls_versions},
        {.key = "max_version",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, version_max),
         .choices = tls_versions},
    };
    if (!is_set(node))
        return AP_OK;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    if (form.ca || form.cert || form.key)
        set_unsupported(module, "a certificate in the text of tls_config");
    if ((form.tls.cert_file == NULL) != (form.tls.key_file == NULL))
        return yaml_fail(err, node, "tls_config: cert_file and key_file go together");
    form.tls.version_min = form.version_min ? form.version_min + 9 : 0;
    form.tls.version_max = form.version_max ? form.version_max + 9 : 0;
    *ret_tls = form.tls;
    return AP_OK;
}

/* ---- http ---- */

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
    if (!is_set(list))
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

static void header_matches_clear(struct probe_header_matches *matches)
{
    for (size_t i = 0; i < matches->count; i++)
        probe_regex_free(matches->items[i].regex);
    free(matches->items);
}

struct http_form {
    struct network_form network;
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
    int kinds = is_set(form->basic_auth) + is_set(form->authorization) + (form->bearer_token != NULL) +
                (form->bearer_token_file != NULL);
    if (kinds > 1)
        return yaml_fail(err, node, "at most one of basic_auth, authorization, bearer_token, bearer_token_file");
    if (is_set(form->basic_auth))
        return READ(form->basic_auth, basic_fields, http, err);
    if (is_set(form->authorization))
        return READ(form->authorization, authorization_fields, http, err);
    http->authorization_type = "Bearer";
    http->credentials = form->bearer_token;
    http->credentials_file = form->bearer_token_file;
    return AP_OK;
}

static void find_unsupported_http(const struct http_form *form, struct probe_module *module)
{
    bool is_http3 = is_set(form->http3) && !ap_slice_equal_cstr(form->http3->text, "false");
    if (is_set(form->oauth2))
        set_unsupported(module, "oauth2");
    if (is_set(form->http_headers))
        set_unsupported(module, "http_headers");
    if (is_set(form->proxy_headers))
        set_unsupported(module, "proxy_connect_header");
    if (is_set(form->cel_matches) || is_set(form->cel_not_matches))
        set_unsupported(module, "an expression in CEL");
    if (is_http3)
        set_unsupported(module, "HTTP/3");
    if (form->compression && strcmp(form->compression, "br") == 0)
        set_unsupported(module, "compression br");
}

static enum ap_rc read_limits(const struct http_form *form, const struct yaml_node *node, struct probe_http *http,
                              struct ap_err *err)
{
    const struct yaml_node *limit = form->body_limit, *compression = yaml_get(node, "compression");
    if (is_set(limit) && !yaml_parse_bytes(limit->text, &http->body_bytes_max)) {
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

static enum ap_rc read_http(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    struct http_form form = {0};
    struct probe_http *http = &module->http;
    enum ap_rc rc = READ(node, http_fields, &form, err);
    if (rc != AP_OK)
        return rc;
    *http = form.http;
    http->network = network_of(&form.network);
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
        (rc = read_tls(module, form.tls, &http->tls, err)) != AP_OK ||
        (rc = read_regexes(&form.body_matches, &http->body_matches, err)) != AP_OK ||
        (rc = read_regexes(&form.body_not_matches, &http->body_not_matches, err)) != AP_OK ||
        (rc = read_header_matches(form.header_matches, &http->header_matches, err)) != AP_OK)
        return rc;
    return read_header_matches(form.header_not_matches, &http->header_not_matches, err);
}

/* ---- tcp ---- */

enum { LABELS_MAX = 32 };

static bool is_label_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return name[0] && strspn(name, letters) == strlen(name) && (name[0] < '0' || name[0] > '9');
}

/* A list of name and value. */
static enum ap_rc read_labels(struct probe_modules *modules, const struct yaml_node *list,
                              struct yaml_texts *ret_labels, struct ap_err *err)
{
    struct form {
        const char *name, *value;
    };
    static const struct yaml_field fields[] = {
        {.key = "name",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct form, name),
         .is_required = true,
         .doc = "the name of the label"},
        {.key = "value", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, value), .default_text = ""},
    };
    if (!is_set(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST || list->child_count > LABELS_MAX)
        return yaml_fail(err, list, "labels: expected a list of at most %d names and values", LABELS_MAX);
    ret_labels->keys = ap_arena_alloc0(&modules->arena, (list->child_count + 1) * sizeof(char *));
    ret_labels->items = ap_arena_alloc0(&modules->arena, (list->child_count + 1) * sizeof(char *));
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct form form = {0};
        enum ap_rc rc = READ(node, fields, &form, err);
        if (rc != AP_OK)
            return rc;
        if (!is_label_name(form.name))
            return yaml_fail(err, yaml_get(node, "name"), "labels: \"%s\" is not a name of a label", form.name);
        ret_labels->keys[ret_labels->count] = form.name;
        ret_labels->items[ret_labels->count++] = form.value;
    }
    return AP_OK;
}

static enum ap_rc read_steps(struct probe_modules *modules, const struct yaml_node *list, struct probe_tcp *tcp,
                             struct ap_err *err)
{
    struct form {
        const char *expect, *send;
        bool is_starttls;
        const struct yaml_node *labels;
    };
    static const struct yaml_field fields[] = {
        {.key = "expect", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, expect)},
        {.key = "send", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, send)},
        {.key = "starttls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, is_starttls)},
        {.key = "labels", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, labels)},
    };
    if (!is_set(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "query_response: expected a list of expect, send, starttls");
    tcp->steps = ap_new0_array(struct probe_step, list->child_count + 1);
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct form form = {0};
        struct ap_err reason;
        enum ap_rc rc = READ(node, fields, &form, err);
        if (rc != AP_OK)
            return rc;
        struct probe_step *step = &tcp->steps[tcp->step_count];
        *step =
            (struct probe_step){.send = form.send && form.send[0] ? form.send : NULL, .is_starttls = form.is_starttls};
        if (form.expect && form.expect[0] &&
            probe_regex_new(ap_slice_cstr(form.expect), &step->expect, &reason) != AP_OK)
            return yaml_fail(err, yaml_get(node, "expect"), "%s", reason.text);
        tcp->step_count++;
        rc = read_labels(modules, form.labels, &step->labels, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static enum ap_rc read_tcp(struct probe_modules *modules, const struct yaml_node *node, struct probe_module *module,
                           struct ap_err *err)
{
    struct tcp_form {
        struct network_form network;
        const struct yaml_node *steps, *tls;
        bool is_tls;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(tcp_form),
        {.key = "query_response", .type = YAML_TYPE_NODE, .offset = offsetof(struct tcp_form, steps)},
        {.key = "tls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct tcp_form, is_tls)},
        {.key = "tls_config", .type = YAML_TYPE_NODE, .offset = offsetof(struct tcp_form, tls)},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    module->tcp.network = network_of(&form.network);
    module->tcp.is_tls = form.is_tls;
    rc = read_tls(module, form.tls, &module->tcp.tls, err);
    return rc == AP_OK ? read_steps(modules, form.steps, &module->tcp, err) : rc;
}

/* ---- icmp ---- */

static enum ap_rc read_icmp(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    enum { PAYLOAD_BYTES_MAX = 65500, TTL_MAX = 255, PACKETS_MAX = 1000 };
    struct icmp_form {
        struct network_form network;
        struct probe_icmp icmp;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(icmp_form),
        {.key = "payload_size",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.payload_bytes),
         .min = 0,
         .max = PAYLOAD_BYTES_MAX},
        {.key = "dont_fragment", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct icmp_form, icmp.is_unfragmented)},
        {.key = "ttl",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.ttl),
         .default_text = "64",
         .min = 0,
         .max = TTL_MAX},
        {.key = "packets",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.packets),
         .default_text = "1",
         .min = 1,
         .max = PACKETS_MAX},
        {.key = "interval",
         .type = YAML_TYPE_DURATION,
         .offset = offsetof(struct icmp_form, icmp.interval_ms),
         .default_text = "200ms",
         .min = 1,
         .max = 60000},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    module->icmp = form.icmp;
    module->icmp.network = network_of(&form.network);
    return AP_OK;
}

/* ---- dns ---- */

static enum ap_rc read_records(const struct yaml_node *node, struct probe_records *ret_records, struct ap_err *err)
{
    struct form {
        struct yaml_texts matches, all_match, not_matches, none_matches;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "fail_if_matches_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, matches)},
        {.key = "fail_if_all_match_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, all_match)},
        {.key = "fail_if_not_matches_regexp",
         .type = YAML_TYPE_TEXT_LIST,
         .offset = offsetof(struct form, not_matches)},
        {.key = "fail_if_none_matches_regexp",
         .type = YAML_TYPE_TEXT_LIST,
         .offset = offsetof(struct form, none_matches)},
    };
    if (!is_set(node))
        return AP_OK;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK || (rc = read_regexes(&form.matches, &ret_records->matches, err)) != AP_OK ||
        (rc = read_regexes(&form.all_match, &ret_records->all_match, err)) != AP_OK ||
        (rc = read_regexes(&form.not_matches, &ret_records->not_matches, err)) != AP_OK)
        return rc;
    return read_regexes(&form.none_matches, &ret_records->none_matches, err);
}

static enum ap_rc read_rcodes(const struct yaml_texts *texts, struct probe_dns *dns, struct ap_err *err)
{
    if (texts->count)
        dns->rcodes = ap_new0_array(unsigned, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        if (!dns_rcode_parse(ap_slice_cstr(texts->items[i]), &dns->rcodes[i]))
            return yaml_fail(err, texts->nodes[i], "valid_rcodes: expected a code such as NOERROR, found \"%s\"",
                             texts->items[i]);
        dns->rcode_count++;
    }
    return AP_OK;
}

static const char *const transports[] = {"udp", "tcp", NULL};
enum { SECTIONS = 3 }; /* answer, authority, additional */

static enum ap_rc read_dns(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    struct dns_form {
        struct network_form network;
        const struct yaml_node *tls, *sections[SECTIONS];
        const char *name, *type, *class;
        struct yaml_texts rcodes;
        int transport;
        bool is_tls, is_recursion_desired;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(dns_form),
        {.key = "transport_protocol",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct dns_form, transport),
         .choices = transports},
        {.key = "dns_over_tls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct dns_form, is_tls)},
        {.key = "tls_config", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, tls)},
        {.key = "query_name",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct dns_form, name),
         .is_required = true,
         .doc = "the name that is asked for"},
        {.key = "query_type", .type = YAML_TYPE_TEXT, .offset = offsetof(struct dns_form, type), .default_text = "ANY"},
        {.key = "query_class",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct dns_form, class),
         .default_text = "IN"},
        {.key = "recursion_desired",
         .type = YAML_TYPE_BOOLEAN,
         .offset = offsetof(struct dns_form, is_recursion_desired),
         .default_text = "true"},
        {.key = "valid_rcodes", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct dns_form, rcodes)},
        {.key = "validate_answer_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[0])},
        {.key = "validate_authority_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[1])},
        {.key = "validate_additional_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[2])},
    };
    struct probe_dns *dns = &module->dns;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    *dns = (struct probe_dns){
        .network = network_of(&form.network),
        .is_tcp = form.transport == 1,
        .is_tls = form.is_tls,
        .name = form.name,
        .is_recursion_desired = form.is_recursion_desired,
    };
    if (!dns_type_parse(ap_slice_cstr(form.type), &dns->type))
        return yaml_fail(err, yaml_get(node, "query_type"), "query_type: \"%s\" is none", form.type);
    if (!dns_class_parse(ap_slice_cstr(form.class), &dns->class))
        return yaml_fail(err, yaml_get(node, "query_class"), "query_class: \"%s\" is none", form.class);
    if (dns->is_tls && !dns->is_tcp)
        return yaml_fail(err, node, "dns_over_tls goes with transport_protocol: tcp");
    if ((rc = read_tls(module, form.tls, &dns->tls, err)) != AP_OK ||
        (rc = read_rcodes(&form.rcodes, dns, err)) != AP_OK)
        return rc;
    for (size_t i = 0; i < SECTIONS && rc == AP_OK; i++)
        rc = read_records(form.sections[i], &dns->records[i], err);
    return rc;
}

/* ---- Modules ---- */

static const char *const prober_names[] = {"http", "tcp", "dns", "icmp", "grpc", NULL};

static enum ap_rc read_module(struct probe_modules *modules, const struct yaml_node *node, struct probe_module *module,
                              struct ap_err *err)
{
    struct form {
        int prober;
        int64_t timeout_ms;
        const struct yaml_node *probers[AP_ARRAY_COUNT(prober_names)];
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "prober",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, prober),
         .choices = prober_names,
         .is_required = true,
         .doc = "http, tcp, dns or icmp"},
        {.key = "timeout", .type = YAML_TYPE_DURATION, .offset = offsetof(struct form, timeout_ms)},
        {.key = "http", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_HTTP])},
        {.key = "tcp", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_TCP])},
        {.key = "dns", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_DNS])},
        {.key = "icmp", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_ICMP])},
        {.key = "grpc", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_GRPC])},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    /* A section that is missing is an empty one at the module's place. */
    struct yaml_node empty = {
        .kind = YAML_KIND_MAP, .document = node->document, .line = node->line, .column = node->column};
    const struct yaml_node *section = is_set(form.probers[form.prober]) ? form.probers[form.prober] : &empty;
    module->prober = (enum probe_prober)form.prober;
    module->prober_name = prober_names[form.prober];
    module->timeout_ms = form.timeout_ms;
    switch (module->prober) {
    case PROBE_HTTP:
        return read_http(section, module, err);
    case PROBE_TCP:
        return read_tcp(modules, section, module, err);
    case PROBE_DNS:
        return read_dns(section, module, err);
    case PROBE_ICMP:
        return read_icmp(section, module, err);
    case PROBE_GRPC:
        set_unsupported(module, "prober grpc");
        return AP_OK;
    }
    return AP_OK;
}

static void module_clear(struct probe_module *module)
{
    free((char *)(uintptr_t)module->unsupported);
    switch (module->prober) {
    case PROBE_HTTP:
        free(module->http.statuses);
        regexes_clear(&module->http.body_matches);
        regexes_clear(&module->http.body_not_matches);
        header_matches_clear(&module->http.header_matches);
        header_matches_clear(&module->http.header_not_matches);
        return;
    case PROBE_TCP:
        for (size_t i = 0; i < module->tcp.step_count; i++)
            probe_regex_free(module->tcp.steps[i].expect);
        free(module->tcp.steps);
        return;
    case PROBE_DNS:
        free(module->dns.rcodes);
        for (size_t i = 0; i < AP_ARRAY_COUNT(module->dns.records); i++) {
            regexes_clear(&module->dns.records[i].matches);
            regexes_clear(&module->dns.records[i].all_match);
            regexes_clear(&module->dns.records[i].not_matches);
            regexes_clear(&module->dns.records[i].none_matches);
        }
        return;
    case PROBE_ICMP:
    case PROBE_GRPC:
        return;
    }
}

static enum ap_rc read_modules(struct probe_modules *modules, struct ap_err *err)
{
    const struct yaml_node *map = NULL;
    static const struct yaml_field fields[] = {{.key = "modules", .type = YAML_TYPE_NODE, .offset = 0}};
    enum ap_rc rc = READ(yaml_root(modules->document), fields, &map, err);
    if (rc != AP_OK || !is_set(map))
        return rc;
    if (map->kind != YAML_KIND_MAP)
        return yaml_fail(err, map, "modules: expected a map of names");
    modules->items = ap_new0_array(struct probe_module, map->child_count + 1);
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        struct probe_module *module = &modules->items[modules->count++];
        module->name = node->key->text.data;
        rc = read_module(modules, node, module, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static enum ap_rc modules_of(struct yaml_document *take_document, struct probe_modules **ret_modules,
                             struct ap_err *err)
{
    AP_AUTO(probe_modules) struct probe_modules *modules = ap_new0(struct probe_modules);
    modules->document = take_document;
    ap_arena_init(&modules->arena, 0);
    enum ap_rc rc = read_modules(modules, err);
    if (rc == AP_OK)
        *ret_modules = AP_MOVE(modules);
    return rc;
}

enum ap_rc probe_modules_parse(struct ap_slice text, const char *file, struct probe_modules **ret_modules,
                               struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_parse(text, file, &document, err);
    return rc == AP_OK ? modules_of(document, ret_modules, err) : rc;
}

enum ap_rc probe_modules_load(const char *path, struct probe_modules **ret_modules, struct ap_err *err)
{
    if (!path)
        return probe_modules_parse(ap_slice_cstr(builtin), "built-in modules", ret_modules, err);
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    return rc == AP_OK ? modules_of(document, ret_modules, err) : rc;
}

void probe_modules_free(struct probe_modules *modules)
{
    if (!modules)
        return;
    for (size_t i = 0; i < modules->count; i++)
        module_clear(&modules->items[i]);
    free(modules->items);
    ap_arena_clear(&modules->arena);
    yaml_free(modules->document);
    free(modules);
}

size_t probe_modules_count(const struct probe_modules *modules)
{
    return modules->count;
}

const struct probe_module *probe_modules_find(const struct probe_modules *modules, struct ap_slice name)
{
    for (size_t i = 0; i < modules->count; i++)
        if (ap_slice_equal_cstr(name, modules->items[i].name))
            return &modules->items[i];
    return NULL;
}
