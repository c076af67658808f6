#include "net/http_client.h"

#include "net/http_server.h"
#include "test_net_socket.h"

static void handle(struct http_request *request, void *context)
{
    struct ap_slice path = http_path(request), body = http_body(request), seen = http_header(request, "X-Seen");
    if (ap_slice_equal_cstr(path, "/never")) {
        http_suspend(request);
        __atomic_store_n((struct http_request **)context, request, __ATOMIC_RELEASE);
        return;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_slice method = http_method_text(request);
    ap_buf_printf(&text, "%.*s %.*s %.*s", AP_SLICE_ARG(method), AP_SLICE_ARG(seen), AP_SLICE_ARG(body));
    for (int i = 0; i < 1000; i++)
        ap_buf_add_char(&text, '.');
    static const struct http_field field = {"Retry-After", "7"};
    http_reply(request, &(struct http_reply){.status = ap_slice_equal_cstr(path, "/429") ? 429 : 200,
                                             .content_type = "text/plain",
                                             .body = ap_buf_slice(&text),
                                             .fields = &field,
                                             .field_count = 1});
}

static void test_client(void **state)
{
    (void)state;
    struct http_request *held = NULL;
    struct http_server *server;
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {
        .listeners = &listener, .listener_count = 1, .handle = handle, .context = &held};
    struct ap_err err = {0};
    assert_int_equal(http_server_open(&options, &server, &err), AP_OK);
    AP_AUTO_FREE char *base = ap_asprintf("http://127.0.0.1:%u", http_server_port(server, 0));
    AP_AUTO_FREE char *url = ap_asprintf("%s/x", base);
    AP_AUTO_FREE char *busy_url = ap_asprintf("%s/429", base);
    AP_AUTO_FREE char *never_url = ap_asprintf("%s/never", base);

    AP_AUTO(http_client)
    struct http_client *client = http_client_new(&(struct http_client_options){.is_direct = true});
    struct http_client_answer answer = {0};
    static const struct http_field field = {"X-Seen", "here"};
    struct http_client_request request = {.url = url, .fields = &field, .field_count = 1};
#define ASK_OK(want_status, want_text)                                                                                 \
    assert_int_equal(http_client_ask(client, &request, &answer, &err), AP_OK);                                         \
    assert_int_equal(answer.status, want_status);                                                                      \
    assert_true(ap_slice_starts_with(answer.body, want_text))
#define ASK_BAD(want_rc) assert_int_equal(http_client_ask(client, &request, &answer, &err), want_rc)
    ASK_OK(200, "GET here .");
    request.body = ap_slice_cstr("text");
    ASK_OK(200, "POST here text.");
    request.method = "PUT";
    ASK_OK(200, "PUT here text.");
    request.method = NULL;
    request.body = (struct ap_slice){0};
    request.url = busy_url;
    ASK_OK(429, "GET here .");
    assert_string_equal(http_client_header(client, "retry-after"), "7");
    assert_null(http_client_header(client, "X-None"));
    request.method = "HEAD";
    ASK_OK(429, "");
    assert_int_equal(answer.body.bytes, 0);
    request.method = NULL;
    struct http_stats stats;
    http_server_stats(server, &stats);
    assert_int_equal(stats.connections_accepted_count, 1); /* one connection for all */

    request.answer_bytes_max = 500;
    ASK_BAD(AP_E_LIMIT);
    request.answer_bytes_max = 0;
    request.url = never_url;
    request.deadline_ms = 100;
    ASK_BAD(AP_E_TIMEOUT);
    request.deadline_ms = 0;
    request.url = "ftp://127.0.0.1/";
    ASK_BAD(AP_E_PARSE);
    request.url = "http://127.0.0.1:1/";
    ASK_BAD(AP_E_IO);
    request.url = url;
    ASK_OK(200, "GET here .");
    struct http_request *waiting;
    do /* the server may see the request later than the client gives up */
        waiting = __atomic_load_n(&held, __ATOMIC_ACQUIRE);
    while (!waiting);
    http_reply_empty(waiting, 204);
    http_server_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_client)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
