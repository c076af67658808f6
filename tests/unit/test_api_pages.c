/* The web app, at `/` and below the path that a proxy shows the server at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/pages.h"
#include "base/mem.h"
#include "net/http_client.h"

struct fixture {
    struct api api;
    struct pages *pages;
    struct http_server *server;
    struct http_client *client;
    struct http_client_answer answer;
};

static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

static void start(struct fixture *fx, const char *prefix)
{
    fx->pages = pages_new(ap_slice_cstr(prefix));
    fx->api = (struct api){
        .is_open = true, .clock = &ap_clock_system, .pages = fx->pages, .path_prefix = ap_slice_cstr(prefix)};
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {.listeners = &listener,
                                          .listener_count = 1,
                                          .thread_count = 1,
                                          .admit = api_admit,
                                          .handle = api_handle,
                                          .context = &fx->api};
    MUST(http_server_open(&options, &fx->server, &must_err));
    fx->client = http_client_new(&(struct http_client_options){.is_direct = true});
}

static void stop(struct fixture *fx)
{
    http_client_free(fx->client);
    http_server_close(fx->server);
    pages_free(fx->pages);
}

static unsigned ask(struct fixture *fx, const char *path, const struct http_field *field)
{
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_server_port(fx->server, 0), path);
    const struct http_client_request request = {.url = url, .fields = field, .field_count = field != NULL};
    MUST(http_client_ask(fx->client, &request, &fx->answer, &must_err));
    return fx->answer.status;
}

static bool body_has(const struct fixture *fx, const char *text)
{
    return memmem(fx->answer.body.data, fx->answer.body.bytes, text, strlen(text)) != NULL;
}

/* What is at an address: the app's page, healthy, nothing. */
static char what_is_at(struct fixture *fx, const char *path)
{
    if (ask(fx, path, NULL) == 404)
        return '-';
    assert_int_equal(fx->answer.status, 200);
    if (body_has(fx, "<!doctype html>"))
        return 'p';
    assert_true(body_has(fx, "healthy"));
    return 'h';
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        const char *path;
        char want;
    } cases[] = {
        {"", "/", 'p'},
        {"", "/index.html", 'p'},
        {"", "/d/executive", 'p'},
        {"", "/-/healthy", 'h'},
        {"", "/apiary/-/healthy", 'p'}, /* an address of the app, as far as the server knows */
        {"", "/assets/none.js", '-'},
        {"", "/api/apiary/v1/none", '-'},
        {"/apiary", "/", 'p'},
        {"/apiary", "/apiary", 'p'},
        {"/apiary", "/apiary/", 'p'},
        {"/apiary", "/apiary/alerts", 'p'},
        {"/apiary", "/-/healthy", 'h'},
        {"/apiary", "/apiary/-/healthy", 'h'},
        {"/apiary", "/apiary/apiary/-/healthy", 'p'},
        {"/apiary", "/apiaryx/-/healthy", 'p'},
        {"/apiary", "/apiary/assets/none.js", '-'},
        {"/apiary", "/apiary/api/apiary/v1/none", '-'},
        {"/ops/apiary", "/ops/apiary/-/healthy", 'h'},
        {"/ops/apiary", "/ops/-/healthy", 'p'},
        /* A path that is called as something of ours takes nothing away. */
        {"/-", "/-/healthy", 'h'},
        {"/-", "/-/-/healthy", 'h'},
        {"/-", "/-", 'p'},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct fixture fx = {0};
        start(&fx, cases[i].prefix);
        char found = what_is_at(&fx, cases[i].path);
        stop(&fx);
        if (found != cases[i].want)
            fail_msg("%s below \"%s\": %c, not %c", cases[i].path, cases[i].prefix, found, cases[i].want);
    }
}

/* An error looks as it does at the same address without the path before it. */
static void test_errors_below_the_prefix(void **state)
{
    (void)state;
    struct fixture fx = {0};
    start(&fx, "/apiary");
    assert_int_equal(ask(&fx, "/apiary/api/v1/none", NULL), 404);
    assert_true(body_has(&fx, "\"status\":\"error\""));
    stop(&fx);
}

static void check_page(const char *prefix, const char *want)
{
    struct fixture fx = {0};
    start(&fx, prefix);
    assert_int_equal(ask(&fx, "/", NULL), 200);
    assert_true(body_has(&fx, want));
    assert_false(body_has(&fx, "\"./"));
    assert_true(body_has(&fx, "</html>"));

    AP_AUTO_FREE char *etag = ap_strdup(http_client_header(fx.client, "ETag"));
    const struct http_field known = {"If-None-Match", etag}, other = {"If-None-Match", "\"0\""};
    assert_int_equal(ask(&fx, "/alerts", &known), 304);
    assert_int_equal(fx.answer.body.bytes, 0);
    assert_int_equal(ask(&fx, "/alerts", &other), 200);
    stop(&fx);
}

static void test_page_has_the_prefix(void **state)
{
    (void)state;
    check_page("", "=\"/");
    check_page("/apiary", "=\"/apiary/");
    check_page("/ops/a-b.c", "=\"/ops/a-b.c/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_errors_below_the_prefix),
        cmocka_unit_test(test_page_has_the_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
