#include "scrape/http_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SECRET_BYTES_MAX = 1 << 16, REDIRECTS_MAX = 10 };

static void append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    AP_ASSERT(longer != NULL);
    *list = longer;
}

void http_setup_add(struct http_setup *setup, const char *line)
{
    append(&setup->fields, line);
}

static void append_all(struct curl_slist **list, const struct label *fields, size_t count)
{
    AP_AUTO_BUF struct ap_buf line = {0};
    for (size_t i = 0; i < count; i++) {
        ap_buf_reset(&line);
        ap_buf_printf(&line, "%.*s: %.*s", AP_SLICE_ARG(fields[i].name), AP_SLICE_ARG(fields[i].value));
        ap_buf_add_char(&line, '\0');
        append(list, line.data);
    }
}

/* ---- Credentials ---- */

/* Appends a secret out of a file that is read anew each time; spaces around it are not part of it. */
static enum ap_rc read_secret(const char *what, const char *path, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room = ap_buf_reserve(out, SECRET_BYTES_MAX);
    ssize_t got = fd < 0 ? -1 : read(fd, room, SECRET_BYTES_MAX);
    if (got < 0)
        return ap_fail(err, AP_E_IO, "unable to read %s: open %s: %s", what, path, strerror(errno));
    struct ap_slice text = ap_slice_trim(ap_slice(room, (size_t)got));
    memmove(room, text.data, text.bytes);
    out->bytes += text.bytes;
    return AP_OK;
}

enum ap_rc http_setup_secret(const char *what, const char *given, const char *path, struct ap_buf *out,
                             struct ap_err *err)
{
    enum ap_rc rc = path ? read_secret(what, path, out, err) : AP_OK;
    if (!path && given)
        ap_buf_add_cstr(out, given);
    ap_buf_add_char(out, '\0');
    return rc;
}

static enum ap_rc set_basic(CURL *curl, const struct scrape_http *http, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf user = {0}, password = {0};
    enum ap_rc rc = http_setup_secret("basic auth username", http->basic_user, http->basic_user_file, &user, err);
    if (rc == AP_OK)
        rc = http_setup_secret("basic auth password", http->basic_password, http->basic_password_file, &password, err);
    if (rc != AP_OK)
        return rc;
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(curl, CURLOPT_USERNAME, user.data);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, password.data);
    return AP_OK;
}

static enum ap_rc set_credentials(struct http_setup *setup, CURL *curl, const struct scrape_http *http,
                                  struct ap_err *err)
{
    if (http->basic_user || http->basic_user_file || http->basic_password || http->basic_password_file)
        return set_basic(curl, http, err);
    if (!http->credentials && !http->credentials_file)
        return AP_OK;
    AP_AUTO_BUF struct ap_buf line = {0};
    ap_buf_printf(&line, "Authorization: %s ", http->authorization_type ? http->authorization_type : "Bearer");
    enum ap_rc rc =
        http_setup_secret("authorization credentials file", http->credentials, http->credentials_file, &line, err);
    if (rc == AP_OK)
        http_setup_add(setup, line.data);
    return rc;
}

/* ---- TLS ---- */

/* The certificate is for another name than the URL's: ask for that name, and connect to where the URL says. */
static void set_server_name(struct http_setup *setup, CURL *curl, const char *name, const char *text)
{
    CURLU *url = curl_url();
    char *host = NULL;
    char *port = NULL;
    char *changed = NULL;
    if (url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_HOST, name, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_URL, &changed, 0) == CURLUE_OK) {
        AP_AUTO_FREE char *to = ap_asprintf("%s:%s:%s:%s", name, port, host, port);
        AP_AUTO_FREE char *field = ap_asprintf("Host: %s:%s", host, port);
        append(&setup->connect_to, to);
        http_setup_add(setup, field);
        curl_easy_setopt(curl, CURLOPT_CONNECT_TO, setup->connect_to);
        curl_easy_setopt(curl, CURLOPT_URL, changed);
    }
    curl_free(host);
    curl_free(port);
    curl_free(changed);
    curl_url_cleanup(url);
}

static void set_versions(CURL *curl, const struct scrape_http *http)
{
    static const struct {
        const char *name;
        long min, max;
    } versions[] = {
        {"TLS10", CURL_SSLVERSION_TLSv1_0, CURL_SSLVERSION_MAX_TLSv1_0},
        {"TLS11", CURL_SSLVERSION_TLSv1_1, CURL_SSLVERSION_MAX_TLSv1_1},
        {"TLS12", CURL_SSLVERSION_TLSv1_2, CURL_SSLVERSION_MAX_TLSv1_2},
        {"TLS13", CURL_SSLVERSION_TLSv1_3, CURL_SSLVERSION_MAX_TLSv1_3},
    };
    long min = CURL_SSLVERSION_TLSv1_2, max = CURL_SSLVERSION_MAX_DEFAULT;
    for (size_t i = 0; i < AP_ARRAY_COUNT(versions); i++) {
        if (http->tls_min && strcmp(http->tls_min, versions[i].name) == 0)
            min = versions[i].min;
        if (http->tls_max && strcmp(http->tls_max, versions[i].name) == 0)
            max = versions[i].max;
    }
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, min | max);
}

static void set_tls(struct http_setup *setup, CURL *curl, const struct scrape_http *http, const char *url)
{
    if (http->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
    if (http->cert_file)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, http->cert_file);
    if (http->key_file)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, http->key_file);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, http->is_insecure ? 0L : 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, http->is_insecure ? 0L : 2L);
    if (http->tls_min || http->tls_max)
        set_versions(curl, http);
    if (http->server_name && strncasecmp(url, "https://", 8) == 0)
        set_server_name(setup, curl, http->server_name, url);
}

/* ---- Proxy ---- */

static void set_proxy(struct http_setup *setup, CURL *curl, const struct scrape_http *http)
{
    if (http->proxy_url)
        curl_easy_setopt(curl, CURLOPT_PROXY, http->proxy_url);
    else if (!http->is_proxy_from_environment)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (http->no_proxy)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, http->no_proxy);
    else if (!http->is_proxy_from_environment)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
    curl_easy_setopt(curl, CURLOPT_HEADEROPT,
                     (long)CURLHEADER_SEPARATE); /* what is for the target is not the proxy's */
    append_all(&setup->proxy_fields, http->proxy_headers, http->proxy_header_count);
}

/* ---- All of it ---- */

enum ap_rc http_setup_apply(struct http_setup *setup, CURL *curl, const struct scrape_http *http, const char *url,
                            struct ap_err *err)
{
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "Apiary/" APIARY_VERSION);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                     (long)(http->is_http2_allowed ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, http->is_following_redirects ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    append_all(&setup->fields, http->headers, http->header_count);
    set_tls(setup, curl, http, url);
    set_proxy(setup, curl, http);
    return set_credentials(setup, curl, http, err);
}

void http_setup_finish(struct http_setup *setup, CURL *curl)
{
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, setup->fields);
    curl_easy_setopt(curl, CURLOPT_PROXYHEADER, setup->proxy_fields);
}

static size_t on_body(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct ap_buf *body = context;
    ap_buf_add(body, data, bytes);
    return ap_buf_ok(body) ? bytes : 0; /* 0 makes curl give up */
}

void http_setup_receive(CURL *curl, struct ap_buf *body)
{
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
}

static size_t on_start(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct ap_buf *start = context;
    ap_buf_add(start, data, AP_MIN(bytes, start->bytes_max - start->bytes));
    return bytes;
}

void http_setup_receive_start(CURL *curl, struct ap_buf *start, size_t bytes_max)
{
    start->bytes_max = bytes_max;
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_start);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, start);
}

/* Called once a second at least. */
static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const bool *is_ending = context;
    return __atomic_load_n(is_ending, __ATOMIC_RELAXED);
}

void http_setup_wait(CURL *curl, int64_t timeout_ms, const bool *is_ending)
{
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (!is_ending)
        return;
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)is_ending);
}

void http_setup_clear(struct http_setup *setup, CURL *curl)
{
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(curl, CURLOPT_PROXYHEADER, NULL);
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, NULL);
    curl_slist_free_all(setup->fields);
    curl_slist_free_all(setup->proxy_fields);
    curl_slist_free_all(setup->connect_to);
    *setup = (struct http_setup){0};
}
