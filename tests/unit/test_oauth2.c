/* Tokens: what a server may answer, how long one is kept, who shares it. Over the wire: tests/clients/oauth2_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scrape/oauth2.h"

static const struct oauth2 shop = {.client_id = "a", .client_secret = "hunter2", .identity = AP_SLICE_LITERAL("shop")};
static const struct oauth2 bank = {.client_id = "a", .client_secret = "hunter3", .identity = AP_SLICE_LITERAL("bank")};

static enum ap_rc take(struct oauth2_tokens *tokens, unsigned status, const char *answer, struct ap_buf *line,
                       struct ap_err *err)
{
    ap_buf_reset(line);
    return oauth2_tokens_take(tokens, &shop, status, ap_slice_cstr(answer), line, err);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        const char *line; /* NULL: it is refused */
        bool is_kept;
    } cases[] = {
        {"{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"expires_in\":3600}", "Authorization: Bearer t", true},
        {"{\"access_token\":\"t\",\"token_type\":\"bearer\",\"expires_in\":\"3600\"}", "Authorization: Bearer t", true},
        {"{\"expires_in\":null,\"more\":[{}],\"access_token\":\"t\"}", "Authorization: Bearer t", true},
        {"{\"access_token\":\"t\",\"token_type\":\"DPoP\"}", "Authorization: DPoP t", true},
        {"{\"access_token\":\"t\",\"expires_in\":-1}", "Authorization: Bearer t", true},
        {"{\"access_token\":\"t\",\"expires_in\":1e300}", "Authorization: Bearer t", true},
        /* Good for this request, and for no other. */
        {"{\"access_token\":\"t\",\"expires_in\":10}", "Authorization: Bearer t", false},
        {"{\"access_token\":\"a b\"}", NULL, false},
        {"{\"access_token\":\"t\\r\\nX: y\"}", NULL, false},
        {"{\"access_token\":\"t\",\"token_type\":\"a b\"}", NULL, false},
        {"{\"access_token\":\"\"}", NULL, false},
        {"{\"access_token\":[\"t\"]}", NULL, false},
        {"{\"access_token\":\"t\"} and more", NULL, false},
        {"access_token=t&token_type=bearer", NULL, false},
        {"[]", NULL, false},
        {"", NULL, false},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        AP_AUTO(oauth2_tokens) struct oauth2_tokens *tokens = oauth2_tokens_new();
        AP_AUTO_BUF struct ap_buf line = {0}, found = {0};
        struct ap_err err;
        enum ap_rc rc = take(tokens, 200, cases[i].answer, &line, &err);
        assert_int_equal(rc, cases[i].line ? AP_OK : AP_E_PARSE);
        if (cases[i].line)
            assert_string_equal(line.data, cases[i].line);
        else
            assert_int_equal(line.bytes, 0);
        assert_int_equal(oauth2_tokens_find(tokens, &shop, &found), cases[i].is_kept);
        if (cases[i].is_kept)
            assert_string_equal(found.data, cases[i].line);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    AP_AUTO(oauth2_tokens) struct oauth2_tokens *tokens = oauth2_tokens_new();
    AP_AUTO_BUF struct ap_buf line = {0};
    struct ap_err err;
    assert_int_equal(take(tokens, 503, "hunter2 is busy", &line, &err), AP_E_BUSY);
    assert_string_equal(err.text, "oauth2: no token: its server answered with status 503");
    assert_int_equal(take(tokens, 302, "", &line, &err), AP_E_AUTH);
    /* Once the other way, and then the first again. */
    assert_int_equal(take(tokens, 401, "{\"error\":\"invalid_client\"}", &line, &err), AP_E_CONFLICT);
    assert_int_equal(take(tokens, 401, "{\"error\":\"invalid_client\"}", &line, &err), AP_E_AUTH);
    assert_string_equal(err.text, "oauth2: no token: its server answered with status 401: invalid_client");
    assert_int_equal(take(tokens, 400, "{\"error\":\"hunter2 is wrong\"}", &line, &err), AP_E_CONFLICT);
    assert_int_equal(take(tokens, 400, "{\"error\":\"hunter2 is wrong\"}", &line, &err), AP_E_AUTH);
    assert_string_equal(err.text, "oauth2: no token: its server answered with status 400");
    /* What has worked is not doubted. */
    assert_int_equal(take(tokens, 200, "{\"access_token\":\"t\"}", &line, &err), AP_OK);
    assert_int_equal(take(tokens, 401, "{\"error\":\"invalid_client\"}", &line, &err), AP_E_AUTH);
}

static void test_who_shares_a_token(void **state)
{
    (void)state;
    AP_AUTO(oauth2_tokens) struct oauth2_tokens *tokens = oauth2_tokens_new();
    AP_AUTO_BUF struct ap_buf line = {0};
    struct ap_err err;
    assert_int_equal(take(tokens, 200, "{\"access_token\":\"t\"}", &line, &err), AP_OK);
    struct oauth2 same = shop; /* read anew */
    assert_true(oauth2_tokens_find(tokens, &same, &line));
    assert_false(oauth2_tokens_find(tokens, &bank, &line));
    oauth2_tokens_forget(tokens, &bank);
    assert_true(oauth2_tokens_find(tokens, &shop, &line));
    oauth2_tokens_forget(tokens, &same);
    assert_false(oauth2_tokens_find(tokens, &shop, &line));
}

/* However many configurations there have been. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    AP_AUTO(oauth2_tokens) struct oauth2_tokens *tokens = oauth2_tokens_new();
    AP_AUTO_BUF struct ap_buf line = {0};
    struct ap_err err;
    assert_int_equal(take(tokens, 200, "{\"access_token\":\"t\"}", &line, &err), AP_OK);
    for (uint32_t i = 0; i < 256; i++) {
        assert_true(oauth2_tokens_find(tokens, &shop, &line));
        const struct oauth2 other = {.identity = ap_slice(&i, sizeof(i))};
        assert_false(oauth2_tokens_find(tokens, &other, &line));
    }
    assert_false(oauth2_tokens_find(tokens, &shop, &line)); /* the oldest went */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_who_shares_a_token),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
