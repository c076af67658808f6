/* The web app, at `/` and below the path that a proxy shows the server at. */
#include "test_api_server.h"

#include <string.h>

#include "api/pages.h"

struct fixture {
    struct api api;
    struct pages *pages;
    struct api_server server;
};

static void start(struct fixture *fx, const char *prefix)
{
    fx->pages = pages_new(ap_slice_cstr(prefix));
    fx->api = (struct api){
        .is_open = true, .clock = &ap_clock_system, .pages = fx->pages, .path_prefix = ap_slice_cstr(prefix)};
    api_server_open(&fx->server, &fx->api, NULL, api_handle);
}

static void stop(struct fixture *fx)
{
    api_server_close(&fx->server);
    pages_free(fx->pages);
}

static unsigned ask(struct fixture *fx, const char *path, const struct http_field *field)
{
    return api_server_ask(&fx->server, path,
                          &(struct http_client_request){.fields = field, .field_count = field != NULL});
}

static bool body_has(const struct fixture *fx, const char *text)
{
    return memmem(fx->server.answer.body.data, fx->server.answer.body.bytes, text, strlen(text)) != NULL;
}

/* What is at an address: the app's page, healthy, nothing. */
static char what_is_at(struct fixture *fx, const char *path)
{
    if (ask(fx, path, NULL) == 404)
        return '-';
    assert_int_equal(fx->server.answer.status, 200);
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

    AP_AUTO_FREE char *etag = ap_strdup(http_client_header(fx.server.client, "ETag"));
    static const struct {
        const char *format;
        unsigned want;
    } known[] = {{"%s", 304}, {"W/%s", 304}, {"\"0\", %s", 304}, {"*", 304}, {"\"0\"", 200}, {"%s0", 200}, {"", 200}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(known); i++) {
        char value[64];
        const char *at = strstr(known[i].format, "%s");
        snprintf(value, sizeof(value), "%.*s%s%s", at ? (int)(at - known[i].format) : 64, known[i].format,
                 at ? etag : "", at ? at + 2 : "");
        const struct http_field field = {"If-None-Match", value};
        if (ask(&fx, "/alerts", &field) != known[i].want)
            fail_msg("If-None-Match: %s: %u, not %u", value, fx.server.answer.status, known[i].want);
        assert_int_equal(fx.server.answer.body.bytes == 0, known[i].want == 304);
    }
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
