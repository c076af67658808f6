#include "net/http_client.h"

#include <curl/curl.h>

#include "base/assert.h"
#include "base/buf.h"

#define DEADLINE_MS      30000
#define ANSWER_BYTES_MAX ((size_t)64 << 20)

struct http_client {
    CURL *curl;         /* owned; keeps the connections */
    struct ap_buf body; /* of the last answer */
    char curl_error[CURL_ERROR_SIZE];
};

/* ---- Making ---- */

static size_t on_body(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct ap_buf *body = context;
    ap_buf_add(body, data, bytes);
    return ap_buf_ok(body) ? bytes : 0; /* 0 makes curl give up */
}

struct http_client *http_client_new(const struct http_client_options *options)
{
    struct http_client *client = ap_new0(struct http_client);
    client->curl = curl_easy_init();
    AP_ASSERT(client->curl != NULL);
    CURL *curl = client->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &client->body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, options->user_agent ? options->user_agent : "apiary");
    if (options->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    if (options->is_direct)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    ap_buf_clear(&client->body);
    free(client);
}

/* ---- Asking ---- */

static void fields_free(struct curl_slist **fields)
{
    curl_slist_free_all(*fields);
}

static void field_add(struct curl_slist **fields, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*fields, line);
    AP_ASSERT(longer != NULL);
    *fields = longer;
}

static struct curl_slist *fields_of(const struct http_client_request *request)
{
    struct curl_slist *fields = NULL;
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        AP_AUTO_FREE char *line = ap_asprintf("%s: %s", field->name, field->value);
        field_add(&fields, line);
    }
    /* curl would wait up to a second for a "100 Continue" before it sends a larger body. */
    field_add(&fields, "Expect:");
    return fields;
}

static void method_set(CURL *curl, const struct http_client_request *request)
{
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    if (request->body.data) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.bytes);
    }
    if (!request->method)
        return;
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static enum ap_rc rc_of_curl(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return AP_E_TIMEOUT;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return AP_E_PARSE;
    default:
        return AP_E_IO;
    }
}

enum ap_rc http_client_ask(struct http_client *client, const struct http_client_request *request,
                           struct http_client_answer *ret_answer, struct ap_err *err)
{
    CURL *curl = client->curl;
    AP_CLEANUP(fields_free) struct curl_slist *fields = fields_of(request);
    ap_buf_clear(&client->body);
    ap_buf_init(&client->body, request->answer_bytes_max ? request->answer_bytes_max : ANSWER_BYTES_MAX);
    client->curl_error[0] = '\0';
    method_set(curl, request);
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(request->deadline_ms ? request->deadline_ms : DEADLINE_MS));
    CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL); /* these were lent for the call */
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, NULL);
    if (code == CURLE_WRITE_ERROR && !ap_buf_ok(&client->body))
        return ap_fail(err, AP_E_LIMIT, "the answer of %s is larger than %zu bytes", request->url,
                       client->body.bytes_max);
    if (code != CURLE_OK)
        return ap_fail(err, rc_of_curl(code), "%s: %s", request->url,
                       client->curl_error[0] ? client->curl_error : curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_answer = (struct http_client_answer){.status = (unsigned)status, .body = ap_buf_slice(&client->body)};
    return AP_OK;
}

const char *http_client_header(struct http_client *client, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(client->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : NULL;
}
