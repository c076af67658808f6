/* http_sd_configs: target groups in JSON, fetched from an address again and again. What fails leaves the last list. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "scrape/discovery.h"
#include "scrape/http_config.h"
#include "scrape/http_setup.h"
#include "scrape/oauth2.h"

enum { DEFAULT_INTERVAL_MS = 60 * 1000, ANSWER_BYTES_MAX = 256 << 20 };

struct http_discovery_config {
    const char *url;
    int64_t interval_ms;
    struct scrape_http http;
};

struct discovery {
    const struct http_discovery_config *config;
    const bool *is_ending;        /* atomic; lent */
    CURL *curl;                   /* owned */
    struct oauth2_tokens *tokens; /* owned */
    struct labels_hash text_hash;
    bool has_answered;
};

/* ---- Configuration ---- */

static enum ap_rc check_url(const struct yaml_node *node, const char *url, struct ap_err *err)
{
    static const char *const schemes[] = {"http://", "https://"};
    const struct yaml_node *place = url ? yaml_get(node, "url") : node;
    if (!url || url[0] == '\0')
        return yaml_fail(err, place, "URL is missing");
    for (size_t i = 0; i < AP_ARRAY_COUNT(schemes); i++) {
        size_t bytes = strlen(schemes[i]);
        if (strncmp(url, schemes[i], bytes) != 0)
            continue;
        return strcspn(url + bytes, "/?#") ? AP_OK : yaml_fail(err, place, "host is missing in URL");
    }
    return yaml_fail(err, place, "URL scheme must be 'http' or 'https'");
}

static enum ap_rc read_http_config(struct scrape_source *source, const struct yaml_node *node, const void **ret_config,
                                   struct ap_err *err)
{
    struct form {
        const char *url;
        int64_t interval_ms;
        struct http_config_form http;
    } form = {.interval_ms = DEFAULT_INTERVAL_MS};
    static const struct field fields[] = {
        {"url", FIELD_TEXT, offsetof(struct form, url)},
        {"refresh_interval", FIELD_DURATION, offsetof(struct form, interval_ms)},
        HTTP_CONFIG_FIELDS(form, http),
    };
    http_config_form_init(&form.http);
    struct http_discovery_config *config = ap_arena_alloc0(&source->arena, sizeof(*config));
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc == AP_OK)
        rc = check_url(node, form.url, err);
    if (rc == AP_OK)
        rc = http_config_read(source, node, &form.http, &config->http, err);
    config->url = form.url;
    config->interval_ms = form.interval_ms ? form.interval_ms : DEFAULT_INTERVAL_MS;
    *ret_config = config;
    return rc;
}

/* ---- Asking ---- */

static void add_fields(const struct discovery *discovery, struct http_setup *setup)
{
    AP_AUTO_BUF struct ap_buf line = {0};
    ap_buf_add_cstr(&line, "X-Prometheus-Refresh-Interval-Seconds: ");
    ap_buf_add_json_double(&line, (double)discovery->config->interval_ms / 1e3);
    ap_buf_add_char(&line, '\0');
    http_setup_add(setup, line.data);
    http_setup_add(setup, "Accept: application/json");
}

/* "application/json", with or without the one charset that it can have. */
static bool is_json(const char *type)
{
    struct ap_slice rest = ap_slice_cstr(type ? type : "");
    struct ap_slice media = ap_slice_trim(ap_slice_split(&rest, ';'));
    struct ap_slice charset = ap_slice_trim(rest);
    return ap_slice_equal_nocase(media, "application/json") &&
           (charset.bytes == 0 || ap_slice_equal_nocase(charset, "charset=utf-8") ||
            ap_slice_equal_nocase(charset, "charset=\"utf-8\""));
}

static enum ap_rc check_answer(CURL *curl, CURLcode code, const struct ap_buf *body, const char *said,
                               struct ap_err *err)
{
    long status = 0;
    const char *type = NULL;
    if (!ap_buf_ok(body))
        return ap_fail(err, AP_E_LIMIT, "an answer of more than %d MiB", ANSWER_BYTES_MAX >> 20);
    if (code != CURLE_OK)
        return ap_fail(err, AP_E_IO, "%s", said[0] ? said : curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    if (status != 200)
        return ap_fail(err, status == 401 ? AP_E_AUTH : AP_E_IO, "server returned HTTP status %ld", status);
    if (!is_json(type))
        return ap_fail(err, AP_E_PARSE, "unsupported content type \"%.100s\"", type ? type : "");
    return AP_OK;
}

static enum ap_rc ask(const struct discovery *discovery, struct ap_buf *body, struct ap_err *err)
{
    CURL *curl = discovery->curl;
    struct http_setup setup = {0};
    char said[CURL_ERROR_SIZE] = "";
    ap_buf_init(body, ANSWER_BYTES_MAX);
    curl_easy_reset(curl); /* its connections stay open */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, said);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    http_setup_receive(curl, body);
    http_setup_wait(curl, discovery->config->interval_ms, discovery->is_ending);
    const struct scrape_http *http = &discovery->config->http;
    enum ap_rc rc = http_setup_apply(&setup, curl, http, discovery->config->url, err);
    if (rc == AP_OK)
        rc = oauth2_authorize(discovery->tokens, http, &setup, discovery->is_ending,
                              (long)discovery->config->interval_ms, err);
    if (rc == AP_OK) {
        add_fields(discovery, &setup);
        http_setup_finish(&setup, curl);
        rc = check_answer(curl, curl_easy_perform(curl), body, said, err);
        if (rc == AP_E_AUTH && http->oauth2)
            oauth2_tokens_forget(discovery->tokens, http->oauth2);
    }
    http_setup_clear(&setup, curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    return rc;
}

static enum ap_rc read_answer(struct discovery *discovery, struct ap_slice text, struct target_groups **ret_groups,
                              struct ap_err *err)
{
    const struct label meta = {ap_slice_cstr("__meta_url"), ap_slice_cstr(discovery->config->url)};
    AP_AUTO(target_groups) struct target_groups *groups = target_groups_new();
    struct labels_hash hash = labels_hash_of(0, text);
    if (discovery->has_answered && labels_hash_equal(hash, discovery->text_hash))
        return AP_OK;
    enum ap_rc rc = target_groups_read_json(groups, text, &meta, err);
    if (rc != AP_OK)
        return rc;
    discovery->has_answered = true;
    discovery->text_hash = hash;
    *ret_groups = AP_MOVE(groups);
    return AP_OK;
}

static enum ap_rc refresh_http(struct discovery *discovery, struct target_groups **ret_groups, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf body = {0};
    enum ap_rc rc = ask(discovery, &body, err);
    if (rc == AP_OK)
        rc = read_answer(discovery, ap_buf_slice(&body), ret_groups, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "%.200s", discovery->config->url);
}

/* ---- The kind ---- */

static struct discovery *open_http(const void *config, const bool *is_ending)
{
    struct discovery *discovery = ap_new0(struct discovery);
    discovery->config = config;
    discovery->is_ending = is_ending;
    discovery->tokens = oauth2_tokens_new();
    discovery->curl = curl_easy_init();
    AP_ASSERT(discovery->curl != NULL);
    return discovery;
}

static int64_t interval_of_http(const void *config)
{
    return ((const struct http_discovery_config *)config)->interval_ms;
}

static int watch_of_http(const struct discovery *discovery)
{
    (void)discovery;
    return -1;
}

static void close_http(struct discovery *discovery)
{
    oauth2_tokens_free(discovery->tokens);
    curl_easy_cleanup(discovery->curl);
    free(discovery);
}

const struct discovery_kind discovery_http = {
    .key = "http_sd_configs",
    .name = "http",
    .read = read_http_config,
    .open = open_http,
    .refresh = refresh_http,
    .interval_ms = interval_of_http,
    .watch_fd = watch_of_http,
    .close = close_http,
};
