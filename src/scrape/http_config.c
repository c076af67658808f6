#include "scrape/http_config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "scrape/oauth2.h"

enum { HEADERS_MAX = 256, HEADER_FILE_BYTES_MAX = 64 * 1024 };

#define AT(type_, member) offsetof(struct type_, member)

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* A key that is there but says nothing is as if it was not there. */
static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

/* ---- Who we are ---- */

static enum ap_rc read_basic_auth(struct scrape_source *source, const struct yaml_node *node, struct scrape_http *http,
                                  struct ap_err *err)
{
    struct form {
        const char *user, *user_file, *password, *password_file;
    } form = {0};
    static const struct field fields[] = {
        {"username", FIELD_TEXT, AT(form, user)},
        {"username_file", FIELD_PATH, AT(form, user_file)},
        {"password", FIELD_SECRET, AT(form, password)},
        {"password_file", FIELD_PATH, AT(form, password_file)},
    };
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc != AP_OK)
        return rc;
    if (or_null(form.user) && or_null(form.user_file))
        return yaml_fail(err, node, "at most one of basic_auth username & username_file must be configured");
    if (or_null(form.password) && or_null(form.password_file))
        return yaml_fail(err, node, "at most one of basic_auth password & password_file must be configured");
    http->basic_user = or_empty(form.user);
    http->basic_user_file = or_null(form.user_file);
    http->basic_password = or_null(form.password);
    http->basic_password_file = or_null(form.password_file);
    return AP_OK;
}

static enum ap_rc read_authorization(struct scrape_source *source, const struct yaml_node *node,
                                     struct scrape_http *http, struct ap_err *err)
{
    struct form {
        const char *type, *credentials, *credentials_file;
    } form = {0};
    static const struct field fields[] = {
        {"type", FIELD_TEXT, AT(form, type)},
        {"credentials", FIELD_SECRET, AT(form, credentials)},
        {"credentials_file", FIELD_PATH, AT(form, credentials_file)},
    };
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc != AP_OK)
        return rc;
    if (or_null(form.credentials) && or_null(form.credentials_file))
        return yaml_fail(err, node, "at most one of authorization credentials & credentials_file must be configured");
    struct ap_slice type = ap_slice_trim(ap_slice_cstr(or_empty(form.type)));
    if (ap_slice_equal_nocase(type, "basic"))
        return yaml_fail(err, yaml_get(node, "type"),
                         "authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
    http->authorization_type = type.bytes ? ap_arena_try_strndup(&source->arena, type) : "Bearer";
    http->credentials = or_null(form.credentials);
    http->credentials_file = or_null(form.credentials_file);
    return AP_OK;
}

static enum ap_rc check_one_way(const struct yaml_node *node, const struct http_config_form *form, struct ap_err *err)
{
    bool has_token = or_null(form->bearer_token), has_token_file = or_null(form->bearer_token_file);
    if (has_token && has_token_file)
        return yaml_fail(err, node, "at most one of bearer_token & bearer_token_file must be configured");
    if ((form->basic_auth || form->oauth2) && (has_token || has_token_file))
        return yaml_fail(err, node,
                         "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
    if (form->authorization && (has_token || has_token_file))
        return yaml_fail(err, node, "authorization is not compatible with bearer_token & bearer_token_file");
    if ((form->basic_auth != NULL) + (form->oauth2 != NULL) + (form->authorization != NULL) > 1)
        return yaml_fail(err, node, "at most one of basic_auth, oauth2 & authorization must be configured");
    return AP_OK;
}

/* ---- TLS ---- */

static enum ap_rc check_version(const struct yaml_node *node, const char *key, const char *text, struct ap_err *err)
{
    static const char *const versions[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
    for (size_t i = 0; text && i < AP_ARRAY_COUNT(versions); i++)
        if (strcmp(text, versions[i]) == 0)
            return AP_OK;
    return text ? yaml_fail(err, yaml_get(node, key), "unknown TLS version: %s", text) : AP_OK;
}

/* A certificate or key may stand in the configuration itself. *path is that of its file then; empty texts are none. */
static enum ap_rc settle_pem(struct scrape_source *source, const struct yaml_node *node, const char *key,
                             const char *text, const char **path, struct ap_err *err)
{
    *path = or_null(*path);
    if (!or_null(text))
        return AP_OK;
    if (*path)
        return yaml_fail(err, node, "at most one of %s & %s_file must be configured", key, key);
    if (!strstr(text, "-----BEGIN "))
        return yaml_fail(err, yaml_get(node, key), "%s: expected PEM, which begins with -----BEGIN", key);
    struct ap_err reason;
    enum ap_rc rc = scrape_source_file_of(source, text, path, &reason);
    return rc == AP_OK ? rc : yaml_fail(err, yaml_get(node, key), "%s: %s", key, reason.text);
}

static enum ap_rc read_tls(struct scrape_source *source, const struct yaml_node *node, struct scrape_http *http,
                           struct ap_err *err)
{
    struct form {
        const char *ca, *cert, *key;
        struct scrape_http http;
    } form = {.http = *http};
    static const struct field fields[] = {
        {"ca", FIELD_TEXT, AT(form, ca)},
        {"ca_file", FIELD_PATH, AT(form, http.ca_file)},
        {"cert", FIELD_TEXT, AT(form, cert)},
        {"cert_file", FIELD_PATH, AT(form, http.cert_file)},
        {"key", FIELD_SECRET, AT(form, key)},
        {"key_file", FIELD_PATH, AT(form, http.key_file)},
        {"server_name", FIELD_TEXT, AT(form, http.server_name)},
        {"insecure_skip_verify", FIELD_BOOLEAN, AT(form, http.is_insecure)},
        {"min_version", FIELD_TEXT, AT(form, http.tls_min)},
        {"max_version", FIELD_TEXT, AT(form, http.tls_max)},
    };
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc == AP_OK)
        rc = check_version(node, "min_version", form.http.tls_min, err);
    if (rc == AP_OK)
        rc = check_version(node, "max_version", form.http.tls_max, err);
    if (rc == AP_OK)
        rc = settle_pem(source, node, "ca", form.ca, &form.http.ca_file, err);
    if (rc == AP_OK)
        rc = settle_pem(source, node, "cert", form.cert, &form.http.cert_file, err);
    if (rc == AP_OK)
        rc = settle_pem(source, node, "key", form.key, &form.http.key_file, err);
    if (rc != AP_OK)
        return rc;
    *http = form.http;
    http->server_name = or_null(http->server_name);
    if (http->cert_file && !http->key_file)
        return yaml_fail(err, node,
                         "exactly one of key or key_file must be configured when a client certificate is configured");
    if (http->key_file && !http->cert_file)
        return yaml_fail(err, node,
                         "exactly one of cert or cert_file must be configured when a client key is configured");
    if (http->tls_min && http->tls_max && strcmp(http->tls_min, http->tls_max) > 0)
        return yaml_fail(err, node,
                         "tls_config.max_version must be greater than or equal to tls_config.min_version if both are "
                         "specified");
    return AP_OK;
}

/* ---- Header fields ---- */

struct header_list {
    struct scrape_source *source;
    struct label *items;
    size_t count;
};

static enum ap_rc add_header(struct header_list *list, const struct yaml_node *node, const char *name,
                             struct ap_slice value, struct ap_err *err)
{
    if (list->count == HEADERS_MAX)
        return yaml_fail(err, node, "more than %d header fields", HEADERS_MAX);
    for (size_t i = 0; i < value.bytes; i++)
        if ((unsigned char)value.data[i] < ' ' && value.data[i] != '\t')
            return yaml_fail(err, node, "the value of header field \"%s\" has a control character in it", name);
    char *copy = ap_arena_try_strndup(&list->source->arena, value);
    list->items[list->count++] = (struct label){ap_slice_cstr(name), ap_slice(copy, value.bytes)};
    return AP_OK;
}

static enum ap_rc add_header_file(struct header_list *list, const struct yaml_node *node, const char *name,
                                  const char *file, struct ap_err *err)
{
    const char *path = scrape_source_path(list->source, file);
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = ap_arena_alloc0(&list->source->arena, HEADER_FILE_BYTES_MAX + 1);
    ssize_t bytes = fd < 0 ? -1 : read(fd, text, HEADER_FILE_BYTES_MAX + 1);
    if (bytes < 0)
        return yaml_fail(err, node, "header field \"%s\": %s: %s", name, path, strerror(errno));
    if (bytes > HEADER_FILE_BYTES_MAX)
        return yaml_fail(err, node, "header field \"%s\": %s is larger than %d KiB", name, path,
                         HEADER_FILE_BYTES_MAX >> 10);
    return add_header(list, node, name, ap_slice_trim(ap_slice(text, (size_t)bytes)), err);
}

static enum ap_rc check_header_name(const struct yaml_node *key, struct ap_err *err)
{
    static const char *const reserved[] = {
        "Authorization",
        "Host",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "User-Agent",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Www-Authenticate",
        "Accept-Encoding",
        "X-Prometheus-Remote-Write-Version",
        "X-Prometheus-Remote-Read-Version",
        "X-Prometheus-Scrape-Timeout-Seconds",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(reserved); i++)
        if (ap_slice_equal_nocase(key->text, reserved[i]))
            return yaml_fail(err, key, "setting header \"%s\" is not allowed", reserved[i]);
    for (size_t i = 0; i < key->text.bytes; i++)
        if ((unsigned char)key->text.data[i] <= ' ' || strchr(":()<>@,;\\\"/[]?={}", key->text.data[i]))
            return yaml_fail(err, key, "\"%s\" is not the name of a header field", key->text.data);
    return key->text.bytes ? AP_OK : yaml_fail(err, key, "a header field without a name");
}

static enum ap_rc read_header(struct header_list *list, const struct yaml_node *node, struct ap_err *err)
{
    struct form {
        struct yaml_texts values, secrets, files;
    } form = {0};
    static const struct field fields[] = {
        {"values", FIELD_TEXTS, AT(form, values)},
        {"secrets", FIELD_TEXTS, AT(form, secrets)},
        {"files", FIELD_TEXTS, AT(form, files)},
    };
    const char *name = node->key->text.data;
    enum ap_rc rc = check_header_name(node->key, err);
    if (rc == AP_OK)
        rc = fields_read(list->source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    for (size_t i = 0; i < form.values.count && rc == AP_OK; i++)
        rc = add_header(list, form.values.nodes[i], name, form.values.nodes[i]->text, err);
    for (size_t i = 0; i < form.secrets.count && rc == AP_OK; i++)
        rc = add_header(list, form.secrets.nodes[i], name, form.secrets.nodes[i]->text, err);
    for (size_t i = 0; i < form.files.count && rc == AP_OK; i++)
        rc = add_header_file(list, form.files.nodes[i], name, form.files.items[i], err);
    return rc;
}

static enum ap_rc read_headers(struct scrape_source *source, const struct yaml_node *node, struct scrape_http *http,
                               struct ap_err *err)
{
    if (node->kind != YAML_KIND_MAP)
        return yaml_fail(err, node, "http_headers: expected a map, found a %s", yaml_kind_name(node->kind));
    struct header_list list = {.source = source};
    list.items = ap_arena_alloc0(&source->arena, HEADERS_MAX * sizeof(*list.items));
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *header = node->first; header && rc == AP_OK; header = header->next)
        rc = read_header(&list, header, err);
    http->headers = list.items;
    http->header_count = list.count;
    return rc;
}

/* ---- Proxies ---- */

static enum ap_rc read_proxy_headers(struct scrape_source *source, const struct yaml_node *node,
                                     struct scrape_http *http, struct ap_err *err)
{
    if (node->kind != YAML_KIND_MAP)
        return yaml_fail(err, node, "proxy_connect_header: expected a map, found a %s", yaml_kind_name(node->kind));
    struct header_list list = {.source = source};
    list.items = ap_arena_alloc0(&source->arena, HEADERS_MAX * sizeof(*list.items));
    for (const struct yaml_node *header = node->first; header; header = header->next) {
        struct yaml_texts values = {0};
        const struct yaml_field as_list = {.key = header->key->text.data, .type = YAML_TYPE_TEXT_LIST};
        enum ap_rc rc = yaml_read_node(header, &as_list, &values, err);
        for (size_t i = 0; i < values.count && rc == AP_OK; i++)
            rc = add_header(&list, values.nodes[i], header->key->text.data, values.nodes[i]->text, err);
        if (rc != AP_OK)
            return rc;
    }
    http->proxy_headers = list.items;
    http->proxy_header_count = list.count;
    return AP_OK;
}

static enum ap_rc check_proxy(const struct yaml_node *node, const struct http_config_form *form, struct ap_err *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    bool has_url = or_null(form->proxy_url), is_known = false;
    if (form->proxy_connect_header && !form->is_proxy_from_environment && !has_url)
        return yaml_fail(err, node,
                         "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be "
                         "configured");
    if (form->is_proxy_from_environment && has_url)
        return yaml_fail(err, node, "if proxy_from_environment is configured, proxy_url must not be configured");
    if (form->is_proxy_from_environment && or_null(form->no_proxy))
        return yaml_fail(err, node, "if proxy_from_environment is configured, no_proxy must not be configured");
    if (!has_url && or_null(form->no_proxy))
        return yaml_fail(err, node, "if no_proxy is configured, proxy_url must also be configured");
    for (size_t i = 0; has_url && i < AP_ARRAY_COUNT(schemes); i++)
        is_known |= ap_slice_starts_with(ap_slice_cstr(form->proxy_url), schemes[i]);
    if (has_url && !is_known)
        return yaml_fail(err, yaml_get(node, "proxy_url"),
                         "proxy_url: expected an address that begins with http://, https:// or socks5://");
    return AP_OK;
}

/* ---- Tokens ---- */

static enum ap_rc check_oauth2(const struct yaml_node *node, const struct oauth2 *oauth2, struct ap_err *err)
{
    static const char *const schemes[] = {"http://", "https://"};
    if (!or_null(oauth2->client_id))
        return yaml_fail(err, node, "oauth2 client_id must be configured");
    if (!or_null(oauth2->token_url))
        return yaml_fail(err, node, "oauth2 token_url must be configured");
    if (oauth2->client_secret && oauth2->client_secret_file)
        return yaml_fail(err, node, "at most one of oauth2 client_secret & client_secret_file must be configured");
    for (size_t i = 0; i < AP_ARRAY_COUNT(schemes); i++)
        if (ap_slice_starts_with(ap_slice_cstr(oauth2->token_url), schemes[i]))
            return AP_OK;
    return yaml_fail(err, yaml_get(node, "token_url"),
                     "token_url: expected an address that begins with http:// or https://");
}

static enum ap_rc read_oauth2(struct scrape_source *source, const struct yaml_node *node, struct scrape_http *http,
                              struct ap_err *err)
{
    struct form {
        struct oauth2 oauth2;
        struct http_config_form http;
    } form = {.oauth2 = {.http = {0}}};
    static const struct field fields[] = {
        {"client_id", FIELD_TEXT, AT(form, oauth2.client_id)},
        {"client_secret", FIELD_SECRET, AT(form, oauth2.client_secret)},
        {"client_secret_file", FIELD_PATH, AT(form, oauth2.client_secret_file)},
        {"scopes", FIELD_TEXTS, AT(form, oauth2.scopes)},
        {"token_url", FIELD_SECRET, AT(form, oauth2.token_url)},
        {"endpoint_params", FIELD_TEXT_MAP, AT(form, oauth2.params)},
        {"tls_config", FIELD_NODE, AT(form, http.tls_config)},
        {"proxy_url", FIELD_SECRET, AT(form, http.proxy_url)},
        {"no_proxy", FIELD_TEXT, AT(form, http.no_proxy)},
        {"proxy_from_environment", FIELD_BOOLEAN, AT(form, http.is_proxy_from_environment)},
        {"proxy_connect_header", FIELD_NODE, AT(form, http.proxy_connect_header)},
    };
    http_config_form_init(&form.http);
    form.http.is_following_redirects = false; /* what is sent is for this server alone */
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc != AP_OK)
        return rc;
    struct oauth2 *oauth2 = ap_arena_alloc0(&source->arena, sizeof(*oauth2));
    *oauth2 = form.oauth2;
    oauth2->client_secret = or_null(oauth2->client_secret);
    oauth2->client_secret_file = or_null(oauth2->client_secret_file);
    rc = check_oauth2(node, oauth2, err);
    if (rc == AP_OK)
        rc = http_config_read(source, node, &form.http, &oauth2->http, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_BUF struct ap_buf identity = {0};
    fields_print(node, &identity);
    if (oauth2->client_secret_file) /* the same words in another folder are another file */
        ap_buf_add_cstr(&identity, oauth2->client_secret_file);
    oauth2->identity = ap_slice(ap_arena_try_strndup(&source->arena, ap_buf_slice(&identity)), identity.bytes);
    http->oauth2 = oauth2;
    return AP_OK;
}

/* ---- All of it ---- */

enum ap_rc http_config_read(struct scrape_source *source, const struct yaml_node *node,
                            const struct http_config_form *form, struct scrape_http *ret_http, struct ap_err *err)
{
    struct scrape_http http = {
        .is_following_redirects = form->is_following_redirects,
        .is_http2_allowed = form->is_http2_allowed,
        .proxy_url = or_null(form->proxy_url),
        .no_proxy = or_null(form->no_proxy),
        .is_proxy_from_environment = form->is_proxy_from_environment,
    };
    enum ap_rc rc = check_one_way(node, form, err);
    if (rc == AP_OK)
        rc = check_proxy(node, form, err);
    if (rc == AP_OK && form->basic_auth)
        rc = read_basic_auth(source, form->basic_auth, &http, err);
    if (rc == AP_OK && form->authorization)
        rc = read_authorization(source, form->authorization, &http, err);
    if (or_null(form->bearer_token) || or_null(form->bearer_token_file)) {
        http.authorization_type = "Bearer";
        http.credentials = or_null(form->bearer_token);
        http.credentials_file = or_null(form->bearer_token_file);
    }
    if (rc == AP_OK && form->tls_config)
        rc = read_tls(source, form->tls_config, &http, err);
    if (rc == AP_OK && form->oauth2)
        rc = read_oauth2(source, form->oauth2, &http, err);
    if (rc == AP_OK && form->proxy_connect_header)
        rc = read_proxy_headers(source, form->proxy_connect_header, &http, err);
    if (rc == AP_OK && form->http_headers)
        rc = read_headers(source, form->http_headers, &http, err);
    if (rc == AP_OK)
        *ret_http = http;
    return rc;
}
