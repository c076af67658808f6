#include "scrape/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/slice.h"
#include "scrape/http_setup.h"
#include "scrape/oauth2.h"

enum {
    EVENTS_MAX = 64,
    IDLE_HANDLES_MAX = 64,
    CONNECTIONS_MAX = 20000, /* kept open between requests */
    REASON_BYTES = 64,
    BELIEVED_BYTES_MAX = 4 << 20,
};

/* One request under way. */
struct fetch {
    struct fetcher *fetcher;
    CURL *curl;              /* owned */
    struct http_setup setup; /* owned */
    struct fetch_request request;
    void (*answered)(void *context, struct fetch_answer *answer);
    void *context;
    struct fetch_answer answer;
    int64_t began_us;
    size_t body_bytes_max;
    bool is_in_body;           /* the last header has come */
    bool is_out_of_room;       /* all together hold too much */
    bool is_for_token;         /* under way is the request for the token; that for the page follows */
    char reason[REASON_BYTES]; /* "Not Found" */
    char curl_error[CURL_ERROR_SIZE];
    struct fetch *next; /* of all, or of the idle ones */
    struct fetch **previous;
};

struct fetcher {
    CURLM *multi;
    struct oauth2_tokens *tokens; /* owned */
    int epoll_fd;
    int wake_fd;
    int *watched; /* owned; for each of curl's sockets: a descriptor of ours for the same, in the epoll; -1: none */
    size_t watched_count;
    int64_t timer_us; /* monotonic: when curl wants to be called; INT64_MAX: not */
    struct fetch *first;
    struct fetch *idle;
    size_t idle_count;
    _Atomic size_t held_bytes; /* of bodies */
};

/*
 * ---- curl and epoll ----
 *
 * A socket that never got its connection is closed by curl (7.88) without a word; only then follows that it need not be
 * watched any more, when its number may be a descriptor of another thread. So what is in the epoll is a duplicate of
 * ours.
 */

static int *watched_at(struct fetcher *fetcher, curl_socket_t fd)
{
    size_t needed = (size_t)fd + 1;
    if (needed > fetcher->watched_count) {
        size_t count = AP_MAX(needed, fetcher->watched_count * 2);
        fetcher->watched = ap_realloc(fetcher->watched, count * sizeof(*fetcher->watched));
        for (size_t i = fetcher->watched_count; i < count; i++)
            fetcher->watched[i] = -1;
        fetcher->watched_count = count;
    }
    return &fetcher->watched[fd];
}

static void watch(struct fetcher *fetcher, curl_socket_t fd, uint32_t events)
{
    int *watched = watched_at(fetcher, fd);
    struct epoll_event event = {.events = events, .data.fd = fd};
    int operation = *watched < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (*watched < 0)
        *watched = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (*watched >= 0) /* else there are no descriptors left, and the request will be late */
        (void)epoll_ctl(fetcher->epoll_fd, operation, *watched, &event);
}

static void unwatch(struct fetcher *fetcher, curl_socket_t fd)
{
    int *watched = watched_at(fetcher, fd);
    if (*watched < 0)
        return;
    (void)epoll_ctl(fetcher->epoll_fd, EPOLL_CTL_DEL, *watched, NULL);
    close(*watched);
    *watched = -1;
}

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *context, void *known)
{
    (void)curl;
    (void)known;
    if (what == CURL_POLL_REMOVE)
        unwatch(context, fd);
    else
        watch(context, fd, (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u));
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct fetcher *fetcher = context;
    fetcher->timer_us =
        timeout_ms < 0 ? INT64_MAX : ap_clock_monotonic_us(&ap_clock_system) + timeout_ms * AP_US_PER_MS;
    return 0;
}

enum ap_rc fetcher_open(struct fetcher **ret_fetcher, struct ap_err *err)
{
    AP_AUTO(fetcher) struct fetcher *fetcher = ap_new0(struct fetcher);
    fetcher->timer_us = INT64_MAX;
    fetcher->wake_fd = -1;
    fetcher->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (fetcher->epoll_fd < 0)
        return ap_fail_errno(err, errno, "make an epoll");
    fetcher->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fetcher->wake_fd < 0)
        return ap_fail_errno(err, errno, "make an eventfd");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fetcher->wake_fd};
    if (epoll_ctl(fetcher->epoll_fd, EPOLL_CTL_ADD, fetcher->wake_fd, &event) < 0)
        return ap_fail_errno(err, errno, "add to an epoll");
    fetcher->multi = curl_multi_init();
    AP_ASSERT(fetcher->multi != NULL);
    fetcher->tokens = oauth2_tokens_new();
    curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
    curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
    curl_multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    *ret_fetcher = AP_MOVE(fetcher);
    return AP_OK;
}

static void fetch_free(struct fetch *fetch)
{
    http_setup_clear(&fetch->setup, fetch->curl);
    ap_buf_clear(&fetch->answer.body);
    if (fetch->curl)
        curl_easy_cleanup(fetch->curl);
    free(fetch);
}

void fetcher_close(struct fetcher *fetcher)
{
    if (!fetcher)
        return;
    while (fetcher->first) {
        struct fetch *fetch = fetcher->first;
        fetcher->first = fetch->next;
        curl_multi_remove_handle(fetcher->multi, fetch->curl);
        struct fetch_answer answer = {.is_given_up = true};
        fetch->answered(fetch->context, &answer);
        fetch_free(fetch);
    }
    while (fetcher->idle) {
        struct fetch *fetch = fetcher->idle;
        fetcher->idle = fetch->next;
        fetch_free(fetch);
    }
    if (fetcher->multi)
        curl_multi_cleanup(fetcher->multi);
    oauth2_tokens_free(fetcher->tokens);
    free(fetcher->watched);
    if (fetcher->epoll_fd >= 0)
        close(fetcher->epoll_fd);
    if (fetcher->wake_fd >= 0)
        close(fetcher->wake_fd);
    free(fetcher);
}

void fetcher_wake(struct fetcher *fetcher)
{
    (void)eventfd_write(fetcher->wake_fd, 1);
}

void fetcher_release(struct fetcher *fetcher, size_t bytes)
{
    atomic_fetch_sub_explicit(&fetcher->held_bytes, bytes, memory_order_relaxed);
}

/* ---- The answer ---- */

/* As much as the header says, if that is not too much to believe. */
static void reserve_body(struct fetch *fetch, size_t bytes)
{
    curl_off_t told = -1;
    curl_easy_getinfo(fetch->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
    if (told >= (curl_off_t)bytes && told <= BELIEVED_BYTES_MAX)
        (void)ap_buf_reserve(&fetch->answer.body, (size_t)told);
}

static size_t on_body(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct fetch *fetch = context;
    struct ap_buf *body = &fetch->answer.body;
    fetch->is_in_body = true;
    long status = 0;
    curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return bytes; /* read away, so that the connection can be used again */
    if (body->bytes == 0)
        reserve_body(fetch, bytes);
    size_t held = atomic_fetch_add_explicit(&fetch->fetcher->held_bytes, bytes, memory_order_relaxed) + bytes;
    fetch->answer.is_over_limit = body->bytes + bytes > fetch->body_bytes_max;
    fetch->is_out_of_room = held > FETCH_ALL_BYTES_MAX;
    if (fetch->answer.is_over_limit || fetch->is_out_of_room) {
        fetcher_release(fetch->fetcher, bytes);
        return 0; /* curl gives up */
    }
    ap_buf_add(body, data, bytes);
    return bytes;
}

/* Of a token; whatever the status. */
static size_t on_token(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct fetch *fetch = context;
    struct ap_buf *body = &fetch->answer.body;
    if (body->bytes + bytes > OAUTH2_ANSWER_BYTES_MAX)
        return 0; /* curl gives up */
    ap_buf_add(body, data, bytes);
    return bytes;
}

/* "HTTP/1.1 404 Not Found": curl tells the number only. */
static size_t on_header(char *data, size_t one, size_t bytes, void *context)
{
    (void)one;
    struct fetch *fetch = context;
    struct ap_slice line = ap_slice_trim(ap_slice(data, bytes));
    if (!ap_slice_starts_with(line, "HTTP/"))
        return bytes;
    (void)ap_slice_split(&line, ' ');
    (void)ap_slice_split(&line, ' ');
    snprintf(fetch->reason, sizeof(fetch->reason), "%.*s", AP_SLICE_ARG(line));
    return bytes;
}

static const char *header_of(struct fetch *fetch, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(fetch->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : "";
}

void fetch_add_url(struct ap_buf *out, const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    const char *host_end = host + strcspn(host, "/?#");
    const char *at = memrchr(host, '@', (size_t)(host_end - host));
    const char *colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
    if (colon)
        ap_buf_printf(out, "%.*s:xxxxx%s", (int)(colon - url), url, at);
    else
        ap_buf_add_cstr(out, url);
}

static enum ap_rc fail_get(struct fetch *fetch, enum ap_rc rc, const char *why)
{
    AP_AUTO_BUF struct ap_buf url = {0};
    fetch_add_url(&url, fetch->request.url);
    return ap_fail(&fetch->answer.err, rc, "Get \"%.*s\": %s", (int)AP_MIN(url.bytes, (size_t)256), url.data, why);
}

static void fail_connect(struct fetch *fetch)
{
    long errno_value = 0;
    curl_easy_getinfo(fetch->curl, CURLINFO_OS_ERRNO, &errno_value);
    AP_AUTO_FREE char *why = errno_value ? ap_asprintf("dial tcp: connect: %s", strerror((int)errno_value))
                                         : ap_asprintf("dial tcp: %s", fetch->curl_error);
    for (char *c = why + strlen("dial tcp: connect: "); errno_value && *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 'a' - 'A' : *c);
    (void)fail_get(fetch, AP_E_IO, why);
}

static void fail_of_curl(struct fetch *fetch, CURLcode code)
{
    const char *said = fetch->curl_error[0] ? fetch->curl_error : curl_easy_strerror(code);
    if (fetch->answer.is_over_limit) {
        (void)ap_fail(&fetch->answer.err, AP_E_LIMIT, "body size limit exceeded");
        return;
    }
    if (fetch->is_out_of_room) {
        (void)ap_fail(&fetch->answer.err, AP_E_LIMIT,
                      "the bodies of all scrapes under way are larger than %d MiB; set body_size_limit",
                      FETCH_ALL_BYTES_MAX >> 20);
        return;
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        if (fetch->is_in_body)
            (void)ap_fail(&fetch->answer.err, AP_E_TIMEOUT, "context deadline exceeded");
        else
            (void)fail_get(fetch, AP_E_TIMEOUT, "context deadline exceeded");
        break;
    case CURLE_TOO_MANY_REDIRECTS:
        (void)fail_get(fetch, AP_E_IO, "stopped after 10 redirects");
        break;
    case CURLE_COULDNT_CONNECT:
        fail_connect(fetch);
        break;
    case CURLE_GOT_NOTHING:
        (void)fail_get(fetch, AP_E_IO, "EOF");
        break;
    case CURLE_PARTIAL_FILE:
        (void)ap_fail(&fetch->answer.err, AP_E_IO, "unexpected EOF");
        break;
    default:
        (void)fail_get(fetch, AP_E_IO, said);
        break;
    }
}

static void read_answer(struct fetch *fetch, CURLcode code)
{
    struct fetch_answer *answer = &fetch->answer;
    long status = 0;
    curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        fail_of_curl(fetch, code);
        return;
    }
    if (status == 401 && fetch->request.job->http.oauth2)
        oauth2_tokens_forget(fetch->fetcher->tokens, fetch->request.job->http.oauth2);
    if (status != 200) {
        (void)ap_fail(&answer->err, AP_E_IO, "server returned HTTP status %ld%s%s", status, fetch->reason[0] ? " " : "",
                      fetch->reason);
        return;
    }
    snprintf(answer->content_type, sizeof(answer->content_type), "%s", header_of(fetch, "Content-Type"));
    answer->is_gzip = strcasecmp(header_of(fetch, "Content-Encoding"), "gzip") == 0;
}

/* ---- The request ---- */

void fetch_accept(const struct scrape_job *job, struct ap_buf *out)
{
    static const char *const types[SCRAPE_PROTOCOL_COUNT] = {
        [SCRAPE_PROTOCOL_PROTOBUF] =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        [SCRAPE_PROTOCOL_TEXT_0_0_4] = "text/plain;version=0.0.4",
        [SCRAPE_PROTOCOL_TEXT_1_0_0] = "text/plain;version=1.0.0",
        [SCRAPE_PROTOCOL_OPENMETRICS_0_0_1] = "application/openmetrics-text;version=0.0.1",
        [SCRAPE_PROTOCOL_OPENMETRICS_1_0_0] = "application/openmetrics-text;version=1.0.0",
    };
    static const char *const schemes[] = {
        [SCRAPE_ESCAPING_NONE] = "allow-utf-8",
        [SCRAPE_ESCAPING_UNDERSCORES] = "underscores",
        [SCRAPE_ESCAPING_DOTS] = "dots",
        [SCRAPE_ESCAPING_VALUES] = "values",
    };
    int weight = SCRAPE_PROTOCOL_COUNT + 1;
    for (size_t i = 0; i < job->protocol_count; i++) {
        enum scrape_protocol protocol = job->protocols[i];
        ap_buf_add_cstr(out, types[protocol]);
        if (protocol == SCRAPE_PROTOCOL_TEXT_1_0_0 || protocol == SCRAPE_PROTOCOL_OPENMETRICS_1_0_0)
            ap_buf_printf(out, ";escaping=%s", schemes[job->escaping]);
        ap_buf_printf(out, ";q=0.%d,", weight--);
    }
    ap_buf_printf(out, "*/*;q=0.%d", weight);
}

static void set_fields(struct fetch *fetch)
{
    const struct scrape_job *job = fetch->request.job;
    AP_AUTO_BUF struct ap_buf line = {0};
    ap_buf_add_cstr(&line, "Accept: ");
    fetch_accept(job, &line);
    ap_buf_add_char(&line, '\0');
    http_setup_add(&fetch->setup, line.data);
    /* Not curl's to undo: that would be the loop's thread. */
    http_setup_add(&fetch->setup, job->is_compression_allowed ? "Accept-Encoding: gzip" : "Accept-Encoding: identity");
    ap_buf_reset(&line);
    ap_buf_add_cstr(&line, "X-Prometheus-Scrape-Timeout-Seconds: ");
    ap_buf_add_json_double(&line, (double)fetch->request.timeout_ms / 1e3);
    ap_buf_add_char(&line, '\0');
    http_setup_add(&fetch->setup, line.data);
}

static void set_options(struct fetch *fetch)
{
    CURL *curl = fetch->curl;
    int64_t spent_ms = (ap_clock_monotonic_us(&ap_clock_system) - fetch->began_us) / AP_US_PER_MS;
    int64_t left_ms = AP_MAX(fetch->request.timeout_ms - spent_ms, INT64_C(1));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fetch->curl_error);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 32L << 10); /* of each that is under way, and all may hang at once */
    /* At the end of each request curl would look through all names that it remembers. Go remembers none either. */
    curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fetch->is_for_token ? on_token : on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, fetch);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
}

/* ---- Beginning and end ---- */

static struct fetch *take_idle(struct fetcher *fetcher)
{
    struct fetch *fetch = fetcher->idle;
    if (fetch) {
        fetcher->idle = fetch->next;
        fetcher->idle_count--;
        curl_easy_reset(fetch->curl);
        return fetch;
    }
    fetch = ap_new0(struct fetch);
    fetch->fetcher = fetcher;
    fetch->curl = curl_easy_init();
    AP_ASSERT(fetch->curl != NULL);
    return fetch;
}

static void link_first(struct fetcher *fetcher, struct fetch *fetch)
{
    fetch->next = fetcher->first;
    fetch->previous = &fetcher->first;
    if (fetch->next)
        fetch->next->previous = &fetch->next;
    fetcher->first = fetch;
}

/* It will not even be sent, and is answered as the others are: from fetcher_wait(). */
static void fail_before_asking(struct fetch *fetch, const struct ap_err *err)
{
    (void)fail_get(fetch, err->rc, err->text);
    curl_easy_setopt(fetch->curl, CURLOPT_URL, "");
}

/* `authorization`: a header field, or NULL. */
static void ask_for_page(struct fetch *fetch, const char *authorization)
{
    struct ap_err err;
    fetch->is_for_token = false;
    set_options(fetch);
    set_fields(fetch);
    if (authorization)
        http_setup_add(&fetch->setup, authorization);
    if (http_setup_apply(&fetch->setup, fetch->curl, &fetch->request.job->http, fetch->request.url, &err) != AP_OK)
        fail_before_asking(fetch, &err);
    http_setup_finish(&fetch->setup, fetch->curl);
    curl_multi_add_handle(fetch->fetcher->multi, fetch->curl);
}

static void ask_for_token(struct fetch *fetch)
{
    struct ap_err err;
    fetch->is_for_token = true;
    set_options(fetch);
    if (oauth2_request(fetch->fetcher->tokens, fetch->request.job->http.oauth2, &fetch->setup, fetch->curl, &err) !=
        AP_OK)
        fail_before_asking(fetch, &err);
    curl_multi_add_handle(fetch->fetcher->multi, fetch->curl);
}

void fetcher_start(struct fetcher *fetcher, const struct fetch_request *request,
                   void (*answered)(void *context, struct fetch_answer *answer), void *context)
{
    struct fetch *fetch = take_idle(fetcher);
    fetch->request = *request;
    fetch->answered = answered;
    fetch->context = context;
    fetch->answer = (struct fetch_answer){.is_gzip = false};
    fetch->began_us = ap_clock_monotonic_us(&ap_clock_system);
    uint64_t max = request->job->limits.body_bytes_max;
    fetch->body_bytes_max = max && max < FETCH_BODY_BYTES_MAX ? (size_t)max : (size_t)FETCH_BODY_BYTES_MAX;
    fetch->is_in_body = fetch->is_out_of_room = false;
    fetch->reason[0] = fetch->curl_error[0] = '\0';
    link_first(fetcher, fetch);
    AP_AUTO_BUF struct ap_buf authorization = {0};
    const struct oauth2 *oauth2 = request->job->http.oauth2;
    if (!oauth2 || oauth2_tokens_find(fetcher->tokens, oauth2, &authorization))
        ask_for_page(fetch, authorization.data);
    else
        ask_for_token(fetch);
}

/* A token has come, or not. True: the next request of this fetch is under way. */
static bool go_on_from_token(struct fetch *fetch, CURLcode code)
{
    AP_AUTO_BUF struct ap_buf authorization = {0};
    struct ap_buf body = fetch->answer.body;
    fetch->answer.body = (struct ap_buf){0};
    long status = 0;
    struct ap_err err;
    curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    enum ap_rc rc = AP_E_IO;
    if (code == CURLE_OK)
        rc = oauth2_tokens_take(fetch->fetcher->tokens, fetch->request.job->http.oauth2, (unsigned)status,
                                ap_buf_slice(&body), &authorization, &err);
    else
        rc = ap_fail(&err, code == CURLE_OPERATION_TIMEDOUT ? AP_E_TIMEOUT : AP_E_IO, "oauth2: no token: %s",
                     code == CURLE_OPERATION_TIMEDOUT ? "context deadline exceeded" : curl_easy_strerror(code));
    ap_buf_clear(&body);
    if (rc != AP_OK && rc != AP_E_CONFLICT) {
        (void)fail_get(fetch, rc, err.text);
        return false;
    }
    curl_multi_remove_handle(fetch->fetcher->multi, fetch->curl);
    http_setup_clear(&fetch->setup, fetch->curl);
    curl_easy_reset(fetch->curl);
    fetch->reason[0] = fetch->curl_error[0] = '\0';
    if (rc == AP_OK)
        ask_for_page(fetch, authorization.data);
    else
        ask_for_token(fetch);
    return true;
}

static void finish(struct fetcher *fetcher, CURL *curl, CURLcode code)
{
    struct fetch *fetch = NULL;
    curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&fetch);
    if (fetch->answer.err.rc == AP_OK && fetch->is_for_token) {
        if (go_on_from_token(fetch, code))
            return;
    } else if (fetch->answer.err.rc == AP_OK) {
        read_answer(fetch, code);
    }
    if (fetch->answer.err.rc != AP_OK) {
        fetcher_release(fetcher, fetch->answer.body.bytes);
        ap_buf_clear(&fetch->answer.body);
    }
    fetch->answer.duration_us = ap_clock_monotonic_us(&ap_clock_system) - fetch->began_us;
    curl_multi_remove_handle(fetcher->multi, curl);
    http_setup_clear(&fetch->setup, curl);
    *fetch->previous = fetch->next;
    if (fetch->next)
        fetch->next->previous = fetch->previous;
    struct fetch_answer answer = fetch->answer;
    fetch->answer = (struct fetch_answer){.is_gzip = false};
    void (*answered)(void *context, struct fetch_answer *answer) = fetch->answered;
    void *context = fetch->context;
    if (fetcher->idle_count < IDLE_HANDLES_MAX) {
        fetch->next = fetcher->idle;
        fetcher->idle = fetch;
        fetcher->idle_count++;
    } else {
        fetch_free(fetch);
    }
    answered(context, &answer);
}

static void finish_all(struct fetcher *fetcher)
{
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(fetcher->multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE)
            finish(fetcher, message->easy_handle, message->data.result);
}

static int wait_ms(const struct fetcher *fetcher, int timeout_ms)
{
    if (fetcher->timer_us == INT64_MAX)
        return timeout_ms;
    int64_t left_us = fetcher->timer_us - ap_clock_monotonic_us(&ap_clock_system);
    int64_t left_ms = left_us <= 0 ? 0 : (left_us + AP_US_PER_MS - 1) / AP_US_PER_MS;
    return timeout_ms < 0 || left_ms < timeout_ms ? (int)AP_MIN(left_ms, (int64_t)1000000) : timeout_ms;
}

void fetcher_wait(struct fetcher *fetcher, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int running;
    int count = epoll_wait(fetcher->epoll_fd, events, EVENTS_MAX, wait_ms(fetcher, timeout_ms));
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == fetcher->wake_fd) {
            eventfd_t ignored;
            (void)eventfd_read(fetcher->wake_fd, &ignored);
            continue;
        }
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(fetcher->multi, events[i].data.fd, what, &running);
    }
    if (fetcher->timer_us <= ap_clock_monotonic_us(&ap_clock_system)) {
        fetcher->timer_us = INT64_MAX;
        curl_multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    finish_all(fetcher);
}
