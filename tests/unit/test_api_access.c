/* Who may do what: a real server that admits as Apiary does and answers 204 to what was admitted. */
#include "test_api_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "meta/keyring.h"
#include "meta/keys.h"
#include "test_dir.h"

enum { WITHOUT_KEY = KEY_KIND_COUNT, ASKERS };

struct fixture {
    char dir[64];
    char path[96];
    char tokens[KEY_KIND_COUNT][KEY_TOKEN_BYTES_MAX];
    struct keyring *keyring;
    struct api api;
    struct api_server server;
};

static void handle(struct http_request *request, void *context)
{
    if (ap_slice_equal_cstr(http_path(request), "/api/apiary/v1/session"))
        api_handle(request, context);
    else
        http_reply_empty(request, 204);
}

static void create_keys(struct fixture *fx)
{
    struct meta *meta;
    MUST(meta_open(fx->path, &meta, &must_err));
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        int64_t id;
        const struct key_options options = {.kind = (enum key_kind)kind, .name = "test"};
        MUST(key_create(meta, &ap_clock_system, &options, &id, fx->tokens[kind], &must_err));
    }
    meta_close(meta);
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_api_access.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->path, sizeof(fx->path), "%s/meta.sqlite", fx->dir);
    create_keys(fx);
    MUST(keyring_open(fx->path, &ap_clock_system, &fx->keyring, &must_err));
    fx->api = (struct api){.keyring = fx->keyring, .clock = &ap_clock_system};
    api_server_open(&fx->server, &fx->api, NULL, handle);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    api_server_close(&fx->server);
    keyring_close(fx->keyring);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

static unsigned ask(struct fixture *fx, const char *method, const char *path, const struct http_field *fields,
                    size_t field_count, const char *body)
{
    const struct http_client_request request = {.method = method,
                                                .fields = fields,
                                                .field_count = field_count,
                                                .body = body ? ap_slice_cstr(body) : (struct ap_slice){0}};
    return api_server_ask(&fx->server, path, &request);
}

static const char *sent_body(const char *method)
{
    return strcmp(method, "POST") == 0 ? "{}" : NULL;
}

static unsigned ask_as(struct fixture *fx, unsigned asker, const char *method, const char *path)
{
    char value[KEY_TOKEN_BYTES_MAX + 8];
    snprintf(value, sizeof(value), "Bearer %s", asker == WITHOUT_KEY ? "" : fx->tokens[asker]);
    struct http_field field = {"Authorization", value};
    return ask(fx, method, path, &field, asker != WITHOUT_KEY, sent_body(method));
}

static void test_each_kind_of_key_may_do_its_own(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *method;
        const char *path;
        unsigned want[ASKERS]; /* public, secret, viewer, operator, none */
    } cases[] = {
        {"GET", "/api/v1/alerts", {403, 403, 204, 204, 401}},
        {"POST", "/api/v1/query", {403, 403, 204, 204, 401}},
        {"POST", "/api/sql", {403, 403, 204, 204, 401}},
        {"GET", "/api/v2/silences", {403, 403, 204, 204, 401}},
        {"POST", "/api/v2/silences", {403, 204, 403, 204, 401}},
        {"POST", "/api/v2/alerts", {403, 204, 403, 204, 401}},
        {"DELETE", "/api/v2/silence/1", {403, 204, 403, 204, 401}},
        {"GET", "/api/v1/status/config", {403, 204, 403, 403, 401}},
        {"POST", "/api/v1/admin/tsdb/delete_series", {403, 204, 403, 403, 401}},
        {"POST", "/-/reload", {403, 204, 403, 403, 401}},
        {"GET", "/-/healthy", {204, 204, 204, 204, 204}},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++)
        for (unsigned asker = 0; asker < ASKERS; asker++)
            if (ask_as(fx, asker, cases[i].method, cases[i].path) != cases[i].want[asker])
                fail_msg("%s %s with key %u: %u, not %u", cases[i].method, cases[i].path, asker,
                         fx->server.answer.status, cases[i].want[asker]);
}

static void check_kind(struct fixture *fx, unsigned asker, const char *want)
{
    assert_int_equal(ask_as(fx, asker, "GET", "/api/apiary/v1/session"), 200);
    AP_AUTO_FREE char *text = ap_asprintf("{\"kind\":\"%s\"}\n", want);
    AP_AUTO_FREE char *body = ap_slice_dup(fx->server.answer.body);
    assert_string_equal(body, text);
}

static void test_session_says_what_a_key_may(void **state)
{
    struct fixture *fx = *state;
    check_kind(fx, KEY_KIND_VIEWER, "viewer");
    check_kind(fx, KEY_KIND_OPERATOR, "operator");
    check_kind(fx, KEY_KIND_SECRET, "none");
    check_kind(fx, WITHOUT_KEY, "none");
    fx->api.is_open = true;
    check_kind(fx, WITHOUT_KEY, "open");
}

/* The cookie that signing in with this kind of key sets; empty when it was refused. */
static void sign_in(struct fixture *fx, enum key_kind kind, char cookie[256])
{
    AP_AUTO_FREE char *body = ap_asprintf("{\"key\":\"%s\"}", fx->tokens[kind]);
    cookie[0] = '\0';
    if (ask(fx, "POST", "/api/apiary/v1/session", NULL, 0, body) != 204)
        return;
    const char *field = http_client_header(fx->server.client, "Set-Cookie");
    assert_non_null(strstr(field, "; HttpOnly; SameSite=Strict;"));
    snprintf(cookie, 256, "%.*s", (int)strcspn(field, ";"), field);
}

static void test_signing_in_is_for_keys_that_read(void **state)
{
    struct fixture *fx = *state;
    char cookie[256];
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        sign_in(fx, (enum key_kind)kind, cookie);
        assert_int_equal(cookie[0] != '\0', kind == KEY_KIND_VIEWER || kind == KEY_KIND_OPERATOR);
    }
}

static void test_cookie_is_for_the_path_of_this_server(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *prefix;
        const char *want;
    } cases[] = {{"", "; Path=/; "}, {"/apiary", "; Path=/apiary/; "}};
    char cookie[256];
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        fx->api.path_prefix = ap_slice_cstr(cases[i].prefix);
        sign_in(fx, KEY_KIND_VIEWER, cookie);
        assert_non_null(strstr(http_client_header(fx->server.client, "Set-Cookie"), cases[i].want));
    }
}

static void test_change_by_cookie_must_not_be_another_pages(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *method;
        const char *path;
        const char *type; /* NULL: curl's own for a body, none without */
        const char *site; /* NULL: a browser that does not say */
        unsigned want;
    } cases[] = {
        {"POST", "/api/v2/silences", "application/json", NULL, 204},
        {"POST", "/api/v2/silences", "Application/JSON; charset=utf-8", "same-origin", 204},
        {"POST", "/api/v2/silences", "application/json", "same-site", 403},
        {"POST", "/api/v2/silences", "application/json", "cross-site", 403},
        {"POST", "/api/v2/silences", "text/plain", NULL, 403},
        {"POST", "/api/v2/silences", "text/plain; application/json", NULL, 403},
        {"POST", "/api/v2/silences", "application/x-www-form-urlencoded", "same-origin", 403},
        {"POST", "/api/v2/silences", "", NULL, 403},
        {"DELETE", "/api/v2/silence/1", NULL, NULL, 204},
        {"DELETE", "/api/v2/silence/1", NULL, "same-site", 403},
        {"POST", "/api/sql", "text/plain", "same-site", 204}, /* reads: no page of another origin sees the answer */
        {"GET", "/api/v2/silences", NULL, "cross-site", 204},
    };
    char cookie[256];
    sign_in(fx, KEY_KIND_OPERATOR, cookie);
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct http_field fields[3] = {{"Cookie", cookie}};
        size_t count = 1;
        if (cases[i].type)
            fields[count++] = (struct http_field){"Content-Type", cases[i].type};
        if (cases[i].site)
            fields[count++] = (struct http_field){"Sec-Fetch-Site", cases[i].site};
        if (ask(fx, cases[i].method, cases[i].path, fields, count, sent_body(cases[i].method)) != cases[i].want)
            fail_msg("case %zu: %u, not %u", i, fx->server.answer.status, cases[i].want);
    }
    sign_in(fx, KEY_KIND_VIEWER, cookie);
    struct http_field fields[] = {{"Cookie", cookie}, {"Content-Type", "application/json"}};
    assert_int_equal(ask(fx, "POST", "/api/v2/silences", fields, 2, "{}"), 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_kind_of_key_may_do_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_says_what_a_key_may, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signing_in_is_for_keys_that_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cookie_is_for_the_path_of_this_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_change_by_cookie_must_not_be_another_pages, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
