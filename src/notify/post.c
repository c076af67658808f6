#include "notify/post.h"

#include <curl/curl.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "promql/lexer.h"
#include "scrape/http_config.h"
#include "scrape/http_setup.h"
#include "scrape/oauth2.h"

/* ---- Settings ---- */

enum ap_rc post_settings(const struct yaml_node *node, const char *key, struct scrape_source **ret_source,
                         struct scrape_http *ret_http, struct ap_err *err)
{
    /* Printed and read again: a document belongs to one thread, and notifications of several may need these settings.
     */
    AP_AUTO_BUF struct ap_buf text = {0};
    if (key)
        ap_buf_printf(&text, "{%s: ", key);
    if (node)
        yaml_print(node, &text);
    else
        ap_buf_add_cstr(&text, "{}");
    if (key)
        ap_buf_add_char(&text, '}');
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    const char *name = node ? yaml_file(node->document) : "http_config";
    enum ap_rc rc = scrape_source_parse(ap_buf_slice(&text), name, &source, err);
    if (rc != AP_OK)
        return rc;
    struct settings {
        struct http_config_form form;
    } settings;
    static const struct field fields[] = {HTTP_CONFIG_FIELDS(settings, form)};
    http_config_form_init(&settings.form);
    const struct yaml_node *root = yaml_root(source->document);
    rc = fields_read(source, root, fields, AP_ARRAY_COUNT(fields), &settings, NULL, NULL, err);
    if (rc == AP_OK)
        rc = http_config_read(source, root, &settings.form, ret_http, err);
    if (rc == AP_OK)
        *ret_source = AP_MOVE(source);
    return rc;
}

enum ap_rc post_check(const struct yaml_node *http_config, struct ap_err *err)
{
    if (!http_config || yaml_is_null(http_config))
        return AP_OK;
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    struct scrape_http http;
    enum ap_rc rc = post_settings(http_config, NULL, &source, &http, err);
    if (rc == AP_OK)
        return rc;
    struct ap_err reason = *err; /* its line is that of the printed text */
    const char *sentence = strstr(reason.text, ": ");
    return yaml_fail(err, http_config, "http_config: %s", sentence ? sentence + 2 : reason.text);
}

static long timeout_of(const char *setting)
{
    int64_t ms;
    return setting && promql_parse_duration(ap_slice_cstr(setting), &ms) && ms > 0 ? (long)ms : POST_TIMEOUT_MS;
}

/* ---- Requests ---- */

static void curl_free_handle(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void perform(struct sending *sending, CURL *curl, const struct post *post, struct post_answer *answer,
                    struct delivery *ret)
{
    char error[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->body.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.bytes);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    http_setup_receive_start(curl, &answer->body, POST_ANSWER_BYTES_MAX);
    http_setup_wait(curl, timeout_of(post->timeout), sending->is_ending);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        delivery_say(ret, DELIVERY_RETRY, "given up: the server ends");
        return;
    }
    if (code != CURLE_OK) {
        bool is_url = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
        /* curl names hosts and ports, not what is behind them; of a broken address it might show more. */
        delivery_say(ret, is_url ? DELIVERY_REFUSED : DELIVERY_RETRY, "%s",
                     is_url || !error[0] ? curl_easy_strerror(code) : error);
        return;
    }
    long status = 0;
    char *type = NULL;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer->status = (unsigned)status;
    answer->is_json = type && strncmp(type, "application/json", 16) == 0;
    answer->retry_after_ms = (int64_t)AP_MIN(retry_after_s, (curl_off_t)86400) * 1000;
}

/* False: nothing was sent, and *ret says why. */
static bool ask(struct sending *sending, const struct post *post, const struct scrape_http *http,
                struct post_answer *answer, struct delivery *ret)
{
    struct ap_err err;
    AP_CLEANUP(curl_free_handle) CURL *curl = curl_easy_init();
    AP_ASSERT(curl != NULL);
    struct http_setup setup = {0};
    if (http_setup_apply(&setup, curl, http, post->url, &err) != AP_OK) {
        http_setup_clear(&setup, curl);
        sending_refuse(sending, ret, &err);
        return false;
    }
    if (oauth2_authorize(sending->tokens, http, &setup, sending->is_ending, timeout_of(post->timeout), &err) != AP_OK) {
        http_setup_clear(&setup, curl);
        /* Whatever it is, it passes or somebody mends it; the alert waits for that. */
        delivery_say(ret, DELIVERY_RETRY, "%s", err.text);
        return false;
    }
    http_setup_add(&setup, "Content-Type: application/json");
    http_setup_add(&setup, "Expect:");
    for (size_t i = 0; i < AP_ARRAY_COUNT(post->headers) && post->headers[i]; i++)
        http_setup_add(&setup, post->headers[i]);
    http_setup_finish(&setup, curl);
    perform(sending, curl, post, answer, ret);
    http_setup_clear(&setup, curl);
    return true;
}

bool post_json(struct sending *sending, const struct post *post, struct post_answer *ret_answer, struct delivery *ret)
{
    *ret_answer = (struct post_answer){0};
    struct ap_err err;
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    struct scrape_http http;
    const struct yaml_node *settings =
        post->http_config ? post->http_config : sending->notification->global->http_config;
    enum ap_rc rc = post_settings(settings, NULL, &source, &http, &err);
    if (rc != AP_OK) {
        sending_refuse(sending, ret, &err);
        return false;
    }
    if (sending->shown) {
        ap_buf_add_slice(sending->shown, post->body);
        delivery_say(ret, DELIVERY_DONE, "not sent");
        return false;
    }
    bool is_worth_it = true;
    for (int attempt = 0; is_worth_it && attempt < 2; attempt++) {
        ap_buf_clear(&ret_answer->body);
        *ret_answer = (struct post_answer){0};
        if (!ask(sending, post, &http, ret_answer, ret))
            return false;
        is_worth_it = ret_answer->status == 401 && http.oauth2 && sending->tokens;
        if (is_worth_it) /* the token that was kept may have been withdrawn: once more, with a new one */
            oauth2_tokens_forget(sending->tokens, http.oauth2);
    }
    return ret_answer->status > 0;
}

void post_judge(const struct post_answer *answer, const char *service, const char *what, struct delivery *ret)
{
    enum delivery_outcome outcome = DELIVERY_REFUSED;
    if (answer->status >= 200 && answer->status < 300)
        outcome = DELIVERY_DONE;
    else if (answer->status == 429 || answer->status >= 500)
        outcome = DELIVERY_RETRY;
    delivery_say(ret, outcome, "%s answered with status %u%s%s", service, answer->status, what[0] ? ": " : "", what);
    ret->status = answer->status;
    if (outcome == DELIVERY_RETRY)
        ret->retry_after_ms = answer->retry_after_ms;
}
