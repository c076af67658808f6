/*
 * HTTP by libcurl: one request and the redirects it leads to, each as a request of its own, so that how long each phase
 * took can be added up.
 *
 * The name is looked up here and given to curl, by the module's preference of protocol. Where curl's TLS is GnuTLS (as
 * Debian builds it), certificates are checked here, too: before the request is sent, with the system's authorities read
 * once and not for each probe. With another library curl checks, and the families about TLS are missing.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "collect/probe_internal.h"

enum { REDIRECTS_MAX = 10, BODY_BYTES_MAX = 64 << 20, FILE_BYTES_MAX = 16 << 20, URL_BYTES_MAX = 64 * 1024 };

enum phase { PHASE_RESOLVE, PHASE_CONNECT, PHASE_TLS, PHASE_PROCESSING, PHASE_TRANSFER, PHASES };
static const char *const phase_names[PHASES] = {"resolve", "connect", "tls", "processing", "transfer"};

struct exchange {
    struct probe *probe;
    const struct probe_http *http;
    CURL *curl; /* owned */
    char curl_error[CURL_ERROR_SIZE];
    char *url;                         /* owned; of this request */
    char *host;                        /* owned; of the first one */
    char *port;                        /* owned; the same */
    bool is_home;                      /* this request goes to the same host and port as the first one */
    bool is_own_tls;                   /* certificates are checked here */
    struct curl_slist *fields;         /* owned; of the request */
    struct curl_slist *foreign_fields; /* owned; those that others than the first host may see */
    struct curl_slist *addresses;      /* owned */
    char *basic_password;              /* owned; NULL: none is sent */
    struct ap_buf request_body;
    struct ap_buf body;  /* received, when it is looked at */
    uint64_t body_bytes; /* received */
    bool is_body_wanted; /* a regular expression or a decompression wants it */
    bool is_body_too_large;
    double seconds[PHASES];
    bool has_connected;
    /* Of the last answer. */
    bool is_answered;
    bool is_complete; /* the body, too */
    long status;
    long version;
    double content_length; /* -1: not told */
    unsigned redirects;
};

/* ---- URLs ---- */

/* A part of a URL, a host without brackets; free() it. NULL: it has none, or is no URL. */
static char *url_part(const char *url, CURLUPart part)
{
    CURLU *parts = curl_url();
    char *text = NULL, *copy = NULL;
    if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK)
        (void)curl_url_get(parts, part, &text, CURLU_DEFAULT_PORT);
    if (text) {
        size_t bytes = strlen(text);
        bool is_bracketed = bytes > 2 && text[0] == '[';
        copy = ap_strndup(text + is_bracketed, bytes - (is_bracketed ? 2 : 0));
    }
    curl_free(text);
    curl_url_cleanup(parts);
    return copy;
}

static bool is_https(const char *url)
{
    return strncmp(url, "https:", 6) == 0;
}

/* ---- Secrets and bodies in files ---- */

static bool read_file(struct probe *probe, const char *path, struct ap_buf *ret_text)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return probe_fail(probe, "%s: %s", path, strerror(errno));
    ap_buf_init(ret_text, FILE_BYTES_MAX);
    for (;;) {
        enum { PART_BYTES = 16384 };
        char *to = ap_buf_reserve(ret_text, PART_BYTES);
        if (!to)
            return probe_fail(probe, "%s: larger than %d bytes", path, FILE_BYTES_MAX);
        ssize_t bytes = read(fd, to, PART_BYTES);
        if (bytes < 0)
            return probe_fail(probe, "%s: %s", path, strerror(errno));
        if (bytes == 0)
            return true;
        ret_text->bytes += (size_t)bytes;
    }
}

static bool read_secret(struct probe *probe, const char *text, const char *path, char **ret_secret)
{
    AP_AUTO_BUF struct ap_buf file = {0};
    if (!path) {
        *ret_secret = ap_strdup(text ? text : "");
        return true;
    }
    if (!read_file(probe, path, &file))
        return false;
    *ret_secret = ap_slice_dup(ap_slice_trim(ap_buf_slice(&file)));
    return true;
}

/* ---- The request ---- */

static void add_line(struct curl_slist **lines, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*lines, line);
    AP_ASSERT(longer != NULL);
    *lines = longer;
}

/* What is meant for the host that was named, and not for where it sends us. */
static bool is_for_home(const char *name)
{
    static const char *const names[] = {"Host", "Authorization", "Proxy-Authorization", "Cookie"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal_nocase(ap_slice_cstr(name), names[i]))
            return true;
    return false;
}

static void add_field(struct exchange *exchange, const char *name, const char *value)
{
    AP_AUTO_FREE char *line = value[0] ? ap_asprintf("%s: %s", name, value) : ap_asprintf("%s;", name);
    add_line(&exchange->fields, line);
    if (!is_for_home(name))
        add_line(&exchange->foreign_fields, line);
}

/* What curl would add by itself. */
static void suppress_field(struct exchange *exchange, const char *name)
{
    AP_AUTO_FREE char *line = ap_asprintf("%s:", name);
    add_line(&exchange->fields, line);
    add_line(&exchange->foreign_fields, line);
}

static bool set_fields(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    struct probe *probe = exchange->probe;
    bool has_agent = false;
    suppress_field(exchange, "Accept");
    suppress_field(exchange, "Expect");
    if (http->body || http->body_file)
        suppress_field(exchange, "Content-Type");
    for (size_t i = 0; i < http->headers.count; i++) {
        struct ap_slice name = ap_slice_cstr(http->headers.keys[i]);
        bool is_host = ap_slice_equal_nocase(name, "Host");
        has_agent |= ap_slice_equal_nocase(name, "User-Agent");
        if (is_host && probe->hostname && strcmp(probe->hostname, http->headers.items[i]) != 0)
            return probe_fail(probe, "the module's Host is \"%s\", the parameter hostname \"%s\"",
                              http->headers.items[i], probe->hostname);
        if (!is_host || !probe->hostname)
            add_field(exchange, http->headers.keys[i], http->headers.items[i]);
    }
    if (probe->hostname)
        add_field(exchange, "Host", probe->hostname);
    if (!has_agent)
        add_field(exchange, "User-Agent", probe->user_agent);
    if (!http->credentials && !http->credentials_file)
        return true;
    AP_AUTO_FREE char *secret = NULL;
    if (!read_secret(probe, http->credentials, http->credentials_file, &secret))
        return false;
    AP_AUTO_FREE char *value = ap_asprintf("%s %s", http->authorization_type, secret);
    add_field(exchange, "Authorization", value);
    return true;
}

static bool set_basic(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    return !http->basic_user ||
           read_secret(exchange->probe, http->basic_password, http->basic_password_file, &exchange->basic_password);
}

/* Credentials are for the host that was named. */
static void set_home(struct exchange *exchange)
{
    AP_AUTO_FREE char *host = url_part(exchange->url, CURLUPART_HOST);
    AP_AUTO_FREE char *port = url_part(exchange->url, CURLUPART_PORT);
    CURL *curl = exchange->curl;
    exchange->is_home = host && port && strcmp(host, exchange->host) == 0 && strcmp(port, exchange->port) == 0;
    bool is_basic = exchange->is_home && exchange->basic_password;
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, exchange->is_home ? exchange->fields : exchange->foreign_fields);
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, is_basic ? (long)CURLAUTH_BASIC : (long)CURLAUTH_NONE);
    curl_easy_setopt(curl, CURLOPT_USERNAME, is_basic ? exchange->http->basic_user : NULL);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, is_basic ? exchange->basic_password : NULL);
}

static size_t on_body(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct exchange *exchange = context;
    uint64_t bytes_max =
        exchange->http->body_bytes_max ? (uint64_t)exchange->http->body_bytes_max : (uint64_t)BODY_BYTES_MAX;
    exchange->body_bytes += bytes;
    if (exchange->is_body_wanted)
        ap_buf_add(&exchange->body, data, bytes);
    bool is_limited = exchange->is_body_wanted || exchange->http->body_bytes_max;
    if (!is_limited || exchange->body_bytes <= bytes_max)
        return bytes;
    exchange->is_body_too_large = true;
    exchange->body_bytes = bytes_max;
    return 0; /* makes curl give up */
}

/* Between the handshake and the request: nobody who is not trusted hears it. */
static int on_connected(void *context, char *to, char *from, int to_port, int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct exchange *exchange = context;
    struct probe *probe = exchange->probe;
    const struct curl_tlssessioninfo *info = NULL;
    exchange->has_connected = true;
    if (!is_https(exchange->url) || !exchange->is_own_tls)
        return CURL_PREREQFUNC_OK;
    if (curl_easy_getinfo(exchange->curl, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info || !info->internals ||
        info->backend != CURLSSLBACKEND_GNUTLS) {
        probe_fail(probe, "TLS: the session cannot be seen");
        return CURL_PREREQFUNC_ABORT;
    }
    AP_AUTO_FREE char *host = url_part(exchange->url, CURLUPART_HOST);
    /* A name that the module gives is the first host's. */
    const char *server_name =
        exchange->http->tls.server_name && strcmp(host, exchange->host) == 0 ? exchange->http->tls.server_name : host;
    return probe_check_tls(probe, info->internals, &exchange->http->tls, server_name) ? CURL_PREREQFUNC_OK
                                                                                      : CURL_PREREQFUNC_ABORT;
}

static long curl_version_of(int version)
{
    static const long versions[] = {CURL_SSLVERSION_TLSv1_0, CURL_SSLVERSION_TLSv1_1, CURL_SSLVERSION_TLSv1_2,
                                    CURL_SSLVERSION_TLSv1_3};
    enum { OLDEST = 10, NOT_SET = 12 };
    return versions[(version ? version : NOT_SET) - OLDEST];
}

static void set_tls(struct exchange *exchange)
{
    static const long versions_max[] = {CURL_SSLVERSION_MAX_TLSv1_0, CURL_SSLVERSION_MAX_TLSv1_1,
                                        CURL_SSLVERSION_MAX_TLSv1_2, CURL_SSLVERSION_MAX_TLSv1_3};
    const struct probe_tls *tls = &exchange->http->tls;
    CURL *curl = exchange->curl;
    const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
    exchange->is_own_tls = version->ssl_version && strncmp(version->ssl_version, "GnuTLS", 6) == 0;
    bool is_checked_by_curl = !tls->is_insecure && !exchange->is_own_tls;
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, (long)is_checked_by_curl);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, is_checked_by_curl ? 2L : 0L);
    if (exchange->is_own_tls) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    } else if (tls->ca_file) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, tls->ca_file);
    }
    if (tls->cert_file) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, tls->cert_file);
        curl_easy_setopt(curl, CURLOPT_SSLKEY, tls->key_file);
    }
    long most = tls->version_max ? versions_max[tls->version_max - 10] : 0;
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, curl_version_of(tls->version_min) | most);
}

static bool set_body(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    if (http->body_file)
        return read_file(exchange->probe, http->body_file, &exchange->request_body);
    if (http->body)
        ap_buf_add_cstr(&exchange->request_body, http->body);
    return true;
}

/* The method, with the body that goes with it; behind 301, 302 and 303 it is GET without one. */
static void set_method(struct exchange *exchange, const char *method, bool has_body)
{
    CURL *curl = exchange->curl;
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    if (has_body && exchange->request_body.bytes) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->request_body.bytes);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->request_body.data);
    } else if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static bool set_up(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    CURL *curl = exchange->curl = curl_easy_init();
    AP_ASSERT(curl != NULL);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->curl_error);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                     (long)(http->is_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(curl, CURLOPT_PREREQDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_COOKIEFILE, ""); /* cookies of one answer go with the next request */
    if (!http->is_proxy_from_environment)
        curl_easy_setopt(curl, CURLOPT_PROXY, http->proxy_url ? http->proxy_url : "");
    if (http->no_proxy)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, http->no_proxy);
    if (http->network.source_address)
        curl_easy_setopt(curl, CURLOPT_INTERFACE, http->network.source_address);
    set_tls(exchange);
    exchange->is_body_wanted =
        http->body_matches.count || http->body_not_matches.count || http->compression != INFLATE_IDENTITY;
    return set_body(exchange) && set_basic(exchange) && set_fields(exchange);
}

/* ---- The first address ---- */

static bool resolve(struct exchange *exchange)
{
    struct probe *probe = exchange->probe;
    struct probe_address address;
    exchange->host = url_part(exchange->url, CURLUPART_HOST);
    exchange->port = url_part(exchange->url, CURLUPART_PORT);
    if (!exchange->host || !exchange->port)
        return probe_fail(probe, "\"%s\" is not a URL", exchange->url);
    if (exchange->http->proxy_url && exchange->http->is_resolved_by_proxy)
        return true;
    if (!probe_resolve(probe, &exchange->http->network, exchange->host, &address))
        return false;
    exchange->seconds[PHASE_RESOLVE] = address.lookup_seconds;
    if (strcmp(exchange->host, address.text) == 0)
        return true;
    bool is_ip6 = address.any.sa_family == AF_INET6;
    AP_AUTO_FREE char *line =
        ap_asprintf(is_ip6 ? "%s:%s:[%s]" : "%s:%s:%s", exchange->host, exchange->port, address.text);
    exchange->addresses = curl_slist_append(NULL, line);
    AP_ASSERT(exchange->addresses != NULL);
    curl_easy_setopt(exchange->curl, CURLOPT_RESOLVE, exchange->addresses);
    return true;
}

/* ---- Asking ---- */

static double info_seconds(CURL *curl, CURLINFO info)
{
    curl_off_t us = 0;
    return curl_easy_getinfo(curl, info, &us) == CURLE_OK ? (double)us / AP_US_PER_S : 0;
}

static void add_phases(struct exchange *exchange, bool is_first)
{
    CURL *curl = exchange->curl;
    double looked_up = info_seconds(curl, CURLINFO_NAMELOOKUP_TIME_T),
           connected = info_seconds(curl, CURLINFO_CONNECT_TIME_T);
    double secure = info_seconds(curl, CURLINFO_APPCONNECT_TIME_T),
           ready = info_seconds(curl, CURLINFO_PRETRANSFER_TIME_T);
    double begun = info_seconds(curl, CURLINFO_STARTTRANSFER_TIME_T), total = info_seconds(curl, CURLINFO_TOTAL_TIME_T);
    if (!is_first)
        exchange->seconds[PHASE_RESOLVE] += looked_up;
    if (exchange->has_connected)
        exchange->seconds[PHASE_CONNECT] += fmax(connected - looked_up, 0);
    if (exchange->has_connected && secure > 0)
        exchange->seconds[PHASE_TLS] += fmax(secure - connected, 0);
    if (!exchange->is_answered)
        return;
    exchange->seconds[PHASE_PROCESSING] += fmax(begun - ready, 0);
    if (exchange->is_complete)
        exchange->seconds[PHASE_TRANSFER] += fmax(total - begun, 0);
}

static bool ask(struct exchange *exchange, bool is_first)
{
    struct probe *probe = exchange->probe;
    CURL *curl = exchange->curl;
    int left_ms = probe_left_ms(probe, probe->deadline_us, INT32_MAX);
    probe_session_clear(&probe->session);
    ap_buf_clear(&exchange->body);
    ap_buf_init(&exchange->body, BODY_BYTES_MAX);
    exchange->body_bytes = 0;
    exchange->has_connected = false;
    exchange->curl_error[0] = '\0';
    probe->reason[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, exchange->url);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)AP_MAX(left_ms, 1));
    probe_note(probe, "asking %s", exchange->url);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &exchange->version);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    /* curl reports a status as soon as its line has come; it is an answer when it has all its fields. */
    exchange->is_answered = status != 0 && (code == CURLE_OK || info_seconds(curl, CURLINFO_STARTTRANSFER_TIME_T) > 0);
    exchange->is_complete = code == CURLE_OK;
    exchange->status = exchange->is_answered ? status : 0;
    exchange->content_length = exchange->is_answered ? (double)length : 0;
    add_phases(exchange, is_first);
    if (code == CURLE_OK)
        return true;
    if (exchange->is_body_too_large)
        return probe_fail(probe, "the body is larger than allowed");
    if (code == CURLE_ABORTED_BY_CALLBACK && probe->reason[0])
        return false; /* by on_connected(), which said why */
    return probe_fail(probe, "%s", exchange->curl_error[0] ? exchange->curl_error : curl_easy_strerror(code));
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The request and what it leads to. False: the last one was not answered in full. */
static bool ask_all(struct exchange *exchange)
{
    enum { SEE_OTHER_LAST = 303 };
    const struct probe_http *http = exchange->http;
    struct probe *probe = exchange->probe;
    const char *method = http->method;
    bool has_body = true;
    for (bool is_first = true;; is_first = false) {
        const char *location = NULL;
        set_home(exchange);
        set_method(exchange, method, has_body);
        if (!ask(exchange, is_first))
            return false;
        curl_easy_getinfo(exchange->curl, CURLINFO_REDIRECT_URL, &location);
        if (!is_redirect(exchange->status) || !location)
            return true;
        exchange->redirects++;
        probe_note(probe, "status %ld leads to %s", exchange->status, location);
        if (!http->is_following) {
            exchange->body_bytes = 0; /* does not count */
            return true;
        }
        if (exchange->redirects > REDIRECTS_MAX)
            return probe_fail(probe, "more than %d redirects", REDIRECTS_MAX);
        if (exchange->status <= SEE_OTHER_LAST && strcmp(method, "HEAD") != 0) {
            method = "GET";
            has_body = false;
        }
        char *next = ap_strdup(location); /* is curl's until the next request */
        free(exchange->url);
        exchange->url = next;
    }
}

/* ---- Judging ---- */

static bool is_status_valid(const struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    for (size_t i = 0; i < http->status_count; i++)
        if ((long)http->statuses[i] == exchange->status)
            return true;
    if (http->status_count == 0 && exchange->status >= 200 && exchange->status < 300)
        return true;
    return probe_fail(exchange->probe, "status %ld is not a valid one", exchange->status);
}

/* With `is_failing_match` a value that matches fails, else none that does. */
static bool is_header_fine(struct exchange *exchange, const struct probe_header_match *match, bool is_failing_match)
{
    struct probe *probe = exchange->probe;
    struct curl_header *header;
    bool is_matching = false;
    size_t count = 0;
    for (; curl_easy_header(exchange->curl, match->header, count, CURLH_HEADER, -1, &header) == CURLHE_OK; count++)
        is_matching |= probe_regex_finds(match->regex, ap_slice_cstr(header->value));
    if (count == 0)
        return match->is_missing_allowed || probe_fail(probe, "the answer has no header %s", match->header);
    return is_matching != is_failing_match ||
           probe_fail(probe, "header %s %s \"%s\"", match->header, is_failing_match ? "matches" : "does not match",
                      probe_regex_text(match->regex));
}

static bool are_headers_fine(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    for (size_t i = 0; i < http->header_matches.count; i++)
        if (!is_header_fine(exchange, &http->header_matches.items[i], true))
            return false;
    for (size_t i = 0; i < http->header_not_matches.count; i++)
        if (!is_header_fine(exchange, &http->header_not_matches.items[i], false))
            return false;
    return true;
}

static bool is_body_fine(struct exchange *exchange)
{
    const struct probe_http *http = exchange->http;
    struct ap_slice body = ap_buf_slice(&exchange->body);
    for (size_t i = 0; i < http->body_matches.count; i++)
        if (probe_regex_finds(http->body_matches.items[i], body))
            return probe_fail(exchange->probe, "the body matches \"%s\"",
                              probe_regex_text(http->body_matches.items[i]));
    for (size_t i = 0; i < http->body_not_matches.count; i++)
        if (!probe_regex_finds(http->body_not_matches.items[i], body))
            return probe_fail(exchange->probe, "the body does not match \"%s\"",
                              probe_regex_text(http->body_not_matches.items[i]));
    return true;
}

static bool decompress(struct exchange *exchange)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    enum inflate_encoding encoding = exchange->http->compression;
    char *output;
    size_t bytes;
    struct ap_err err;
    exchange->body_bytes = 0;
    if (inflate_body(inflate, encoding, ap_buf_slice(&exchange->body), BODY_BYTES_MAX, &output, &bytes, &err) != AP_OK)
        return probe_fail(exchange->probe, "the body is not %s: %s", inflate_encoding_name(encoding), err.text);
    ap_buf_reset(&exchange->body);
    ap_buf_add(&exchange->body, output, bytes);
    free(output);
    exchange->body_bytes = bytes;
    return true;
}

static const char *version_text(long version)
{
    return version == CURL_HTTP_VERSION_1_0   ? "HTTP/1.0"
           : version == CURL_HTTP_VERSION_1_1 ? "HTTP/1.1"
           : version == CURL_HTTP_VERSION_2_0 ? "HTTP/2.0"
           : version == CURL_HTTP_VERSION_3   ? "HTTP/3.0"
                                              : "";
}

static bool is_version_valid(const struct exchange *exchange)
{
    const struct yaml_texts *versions = &exchange->http->versions;
    bool is_valid = versions->count == 0;
    for (size_t i = 0; i < versions->count; i++)
        is_valid |= strcmp(versions->items[i], version_text(exchange->version)) == 0;
    return is_valid || probe_fail(exchange->probe, "%s is not a valid version", version_text(exchange->version));
}

static bool judge(struct exchange *exchange, bool is_complete)
{
    const struct probe_http *http = exchange->http;
    struct probe *probe = exchange->probe;
    bool is_fine = is_status_valid(exchange);
    if (is_fine && !are_headers_fine(exchange)) {
        probe->is_failed_by_regex = true;
        is_fine = false;
    }
    if (is_complete && http->compression != INFLATE_IDENTITY && !decompress(exchange))
        is_fine = false;
    else if (is_fine && is_complete && !is_body_fine(exchange)) {
        probe->is_failed_by_regex = true;
        is_fine = false;
    }
    is_fine &= is_complete && is_version_valid(exchange);
    bool is_tls = is_https(exchange->url);
    if (is_tls && http->is_failing_if_tls)
        return probe_fail(probe, "the last request was over TLS");
    if (!is_tls && http->is_failing_if_not_tls)
        return probe_fail(probe, "the last request was not over TLS");
    return is_fine;
}

/* ---- Saying ---- */

static void add_families(struct exchange *exchange, bool is_resolved)
{
    static const struct family duration = {
        "probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects", FAMILY_GAUGE};
    static const struct family modified = {"probe_http_last_modified_timestamp_seconds",
                                           "Returns the Last-Modified HTTP response header in unixtime", FAMILY_GAUGE};
    struct families *to = exchange->probe->families;
    bool is_tls = exchange->is_answered && is_https(exchange->url);
    const char *version = exchange->is_answered ? version_text(exchange->version) : "";
    const struct {
        struct family family;
        double value;
    } rows[] = {
        {{"probe_http_content_length", "Length of http content response", FAMILY_GAUGE}, exchange->content_length},
        {{"probe_http_uncompressed_body_length", "Length of uncompressed response body", FAMILY_GAUGE},
         exchange->is_answered ? (double)exchange->body_bytes : 0},
        {{"probe_http_redirects", "The number of redirects", FAMILY_GAUGE}, exchange->redirects},
        {{"probe_http_ssl", "Indicates if SSL was used for the final redirect", FAMILY_GAUGE}, is_tls},
        {{"probe_http_status_code", "Response HTTP status code", FAMILY_GAUGE}, (double)exchange->status},
        {{"probe_http_version", "Returns the version of HTTP of the probe response", FAMILY_GAUGE},
         version[0] ? strtod(version + 5, NULL) : 0},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++)
        families_add(to, &rows[i].family, rows[i].value);
    for (int phase = 0; phase < (is_resolved ? (int)PHASES : 1); phase++)
        families_add1(to, &duration, exchange->seconds[phase], "phase", ap_slice_cstr(phase_names[phase]));
    struct curl_header *header;
    if (!exchange->is_answered)
        return;
    probe_add_session(exchange->probe);
    if (curl_easy_header(exchange->curl, "Last-Modified", 0, CURLH_HEADER, -1, &header) == CURLHE_OK) {
        time_t time = curl_getdate(header->value, NULL);
        if (time != -1)
            families_add(to, &modified, (double)time);
    }
}

static void exchange_clear(struct exchange *exchange)
{
    curl_easy_cleanup(exchange->curl);
    curl_slist_free_all(exchange->fields);
    curl_slist_free_all(exchange->foreign_fields);
    curl_slist_free_all(exchange->addresses);
    ap_buf_clear(&exchange->request_body);
    ap_buf_clear(&exchange->body);
    free(exchange->url);
    free(exchange->host);
    free(exchange->port);
    free(exchange->basic_password);
}

static bool has_scheme(const char *target)
{
    return strncmp(target, "http://", 7) == 0 || strncmp(target, "https://", 8) == 0;
}

bool probe_http(struct probe *probe)
{
    AP_CLEANUP(exchange_clear) struct exchange exchange = {.probe = probe, .http = &probe->module->http};
    if (strlen(probe->target) > URL_BYTES_MAX)
        return probe_fail(probe, "the target is longer than %d bytes", URL_BYTES_MAX);
    exchange.url = ap_asprintf("%s%s", has_scheme(probe->target) ? "" : "http://", probe->target);
    bool is_ready = set_up(&exchange) && resolve(&exchange);
    bool is_complete = is_ready && ask_all(&exchange);
    bool is_fine = exchange.is_answered && judge(&exchange, is_complete);
    if (!exchange.is_answered && exchange.http->is_failing_if_not_tls && is_ready)
        probe_note(probe, "not over TLS, as there was no answer");
    add_families(&exchange, is_ready);
    return is_fine;
}
