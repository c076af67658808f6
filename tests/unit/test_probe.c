/* Modules, regular expressions, small probes. That all of it is as blackbox_exporter has it is
 * tests/clients/probe_test. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/probe.h"
#include "collect/probe_internal.h"
#include "collect/probe_module.h"
#include "collect/probe_regex.h"

/* ---- Modules ---- */

static void check_error(const char *text, const char *want, int line)
{
    struct probe_modules *modules = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = probe_modules_parse(ap_slice_cstr(text), "m", &modules, &err);
    if (rc != AP_E_PARSE || strcmp(err.text, want) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
    assert_null(modules);
}
#define ERROR(text, want) check_error(text, want, __LINE__)
#define HTTP(text)        "modules:\n a:\n  prober: http\n  http:\n   " text "\n"

static void test_module_errors(void **state)
{
    (void)state;
    ERROR("module: {}\n", "m:1:1: unknown key \"module\"; did you mean \"modules\"?");
    ERROR("modules: []\n", "m:1:10: modules: expected a map of names");
    ERROR("modules:\n a: {}\n", "m:2:5: \"prober\" is missing: http, tcp, dns or icmp");
    ERROR("modules:\n a: {prober: htpp}\n",
          "m:2:14: prober: unknown word \"htpp\"; did you mean \"http\"?; expected one "
          "of: http, tcp, dns, icmp, grpc");
    ERROR("modules:\n a: {prober: dns}\n", "m:2:5: \"query_name\" is missing: the name that is asked for");
    ERROR("modules:\n a:\n  prober: dns\n  dns: {query_name: a, query_type: NONE}\n",
          "m:4:36: query_type: \"NONE\" is none");
    ERROR("modules:\n a:\n  prober: dns\n  dns: {query_name: a, dns_over_tls: true}\n",
          "m:4:8: dns_over_tls goes with transport_protocol: tcp");
    ERROR("modules:\n a:\n  prober: dns\n  dns: {query_name: a, valid_rcodes: [NOERROR, NO]}\n",
          "m:4:48: valid_rcodes: expected a code such as NOERROR, found \"NO\"");
    ERROR("modules:\n a:\n  prober: icmp\n  icmp: {packets: 0}\n", "m:4:19: packets: expected 1 to 1000, found \"0\"");
    ERROR(HTTP("follow_redirect: false"), "m:5:4: unknown key \"follow_redirect\"; did you mean \"follow_redirects\"?");
    ERROR(HTTP("valid_status_codes: [200, ok]"),
          "m:5:30: valid_status_codes: expected a status such as 200, found \"ok\"");
    ERROR(HTTP("body: a\n   body_file: b"), "m:5:4: at most one of body and body_file");
    ERROR(HTTP("bearer_token: a\n   basic_auth: {username: b}"),
          "m:5:4: at most one of basic_auth, authorization, bearer_token, bearer_token_file");
    ERROR(HTTP("compression: zip"), "m:5:17: compression: expected gzip, deflate, br or identity, found \"zip\"");
    ERROR(HTTP("body_size_limit: much"), "m:5:21: body_size_limit: expected a size such as 10MB, found \"much\"");
    ERROR(HTTP("tls_config: {cert_file: a}"), "m:5:16: tls_config: cert_file and key_file go together");
    ERROR(HTTP("fail_if_header_matches: [{header: a}]"),
          "m:5:29: \"regexp\" is missing: what its value is matched with");
    ERROR(HTTP("fail_if_header_matches: a"), "m:5:28: expected a list of header, regexp, allow_missing");
}

/* What is newer than the exporter that the tests run beside. */
static void test_newer_keys(void **state)
{
    (void)state;
    AP_AUTO(probe_modules) struct probe_modules *modules = NULL;
    struct ap_err err = {0};
    static const char text[] =
        "modules:\n"
        "  a: {prober: tcp, tcp: {query_response: [{expect: '^SSH-([^-]+)-(.*)$', labels: [{name: v, value: "
        "'${1}'}]}]}}\n"
        "  b: {prober: http, http: {http_headers: {X: {values: [a]}}, no_proxy: a, proxy_from_environment: true}}\n"
        "  c: {prober: tcp, tcp: {tls_config: {ca: PEM}}}\n";
    assert_int_equal(probe_modules_parse(ap_slice_cstr(text), "m", &modules, &err), AP_OK);
    const struct probe_module *a = probe_modules_find(modules, ap_slice_cstr("a"));
    assert_null(a->unsupported);
    assert_int_equal(a->tcp.steps[0].labels.count, 1);
    assert_string_equal(a->tcp.steps[0].labels.items[0], "${1}");
    assert_string_equal(probe_modules_find(modules, ap_slice_cstr("b"))->unsupported,
                        "module \"b\" cannot be used: http_headers is not supported");
    assert_string_equal(probe_modules_find(modules, ap_slice_cstr("c"))->unsupported,
                        "module \"c\" cannot be used: a certificate in the text of tls_config is not supported");
    ERROR("modules:\n a:\n  prober: tcp\n  tcp: {query_response: [{expect: a, labels: [{name: 1a}]}]}\n",
          "m:4:54: labels: \"1a\" is not a name of a label");
    ERROR(HTTP("proxy_url: a\n   proxy_from_environment: true"),
          "m:5:4: at most one of proxy_url and proxy_from_environment");
}

/* A bad expression is told with its place; what the matter is, is the matcher's sentence. */
static void test_module_expressions(void **state)
{
    (void)state;
    static const char *const texts[] = {HTTP("fail_if_body_matches_regexp: [a, '(b']"),
                                        HTTP("fail_if_body_matches_regexp: [a, 'b(?=c)']")};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        struct probe_modules *modules = NULL;
        struct ap_err err = {0};
        assert_int_equal(probe_modules_parse(ap_slice_cstr(texts[i]), "m", &modules, &err), AP_E_PARSE);
        assert_true(strncmp(err.text, "m:5:37: ", 8) == 0);
    }
}

static void test_modules(void **state)
{
    (void)state;
    AP_AUTO(probe_modules) struct probe_modules *modules = NULL;
    struct ap_err err = {0};
    static const char text[] =
        "modules:\n"
        "  a: {prober: http, timeout: 5s, http: {body_size_limit: 2MB, no_follow_redirects: true}}\n"
        "  b: {prober: grpc, grpc: {tls: true}}\n"
        "  c: {prober: http, http: {compression: br}}\n"
        "  d: {prober: icmp}\n";
    assert_int_equal(probe_modules_parse(ap_slice_cstr(text), "m", &modules, &err), AP_OK);
    const struct probe_module *a = probe_modules_find(modules, ap_slice_cstr("a"));
    assert_int_equal(a->timeout_ms, 5000);
    assert_int_equal(a->http.body_bytes_max, 2 << 20);
    assert_false(a->http.is_following);
    assert_true(a->http.network.is_fallback);
    assert_string_equal(a->http.method, "GET");
    assert_string_equal(probe_modules_find(modules, ap_slice_cstr("b"))->unsupported,
                        "module \"b\" cannot be used: prober grpc is not supported");
    assert_string_equal(probe_modules_find(modules, ap_slice_cstr("c"))->unsupported,
                        "module \"c\" cannot be used: compression br is not supported");
    assert_int_equal(probe_modules_find(modules, ap_slice_cstr("d"))->icmp.ttl, 64);
    assert_null(probe_modules_find(modules, ap_slice_cstr("e")));
}

static void test_builtin_modules(void **state)
{
    (void)state;
    AP_AUTO(probe_modules) struct probe_modules *modules = NULL;
    struct ap_err err = {0};
    assert_int_equal(probe_modules_load(NULL, &modules, &err), AP_OK);
    assert_int_equal(probe_modules_count(modules), 5);
    static const char *const names[] = {"http_2xx", "http_post_2xx", "tcp_connect", "icmp", "dns"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        assert_null(probe_modules_find(modules, ap_slice_cstr(names[i]))->unsupported);
}

/* ---- Regular expressions ---- */

static void expand(const char *expression, const char *text, const char *replacement, const char *want, int line)
{
    AP_AUTO(probe_regex) struct probe_regex *regex = NULL;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err = {0};
    assert_int_equal(probe_regex_new(ap_slice_cstr(expression), &regex, &err), AP_OK);
    bool is_found = probe_regex_expand(regex, ap_slice_cstr(text), ap_slice_cstr(replacement), &out);
    ap_buf_add_char(&out, '\0');
    assert_int_equal(is_found, probe_regex_finds(regex, ap_slice_cstr(text)));
    if (is_found != (want != NULL) || (want && strcmp(out.data, want) != 0))
        fail_msg("line %d: %d \"%s\"", line, is_found, out.data);
}
#define EXPAND(expression, text, replacement, want) expand(expression, text, replacement, want, __LINE__)

static void test_regex(void **state)
{
    (void)state;
    EXPAND("b(.)d", "abcde", "$1", "c");
    EXPAND("b(.)d", "abcde", "${1}x $1x $0 $9 $$ $ ${ $-", "cx  bcd  $ $ ${ $-");
    EXPAND("(?P<n>b+)(c)?", "abb", "${n}${2}.", "bb.");
    EXPAND("^b", "ab", "", NULL);
    EXPAND("a$", "a\n", "", NULL); /* the end is the text's, not the line's */
    EXPAND("a.b", "a\nb", "", NULL);
    EXPAND("(?s)a.b", "a\nb", "yes", "yes");
    EXPAND("b",
           "\xff"
           "b",
           "found", "found"); /* what is no UTF-8 is passed over */
}

/* ---- Addresses ---- */

static void split(const char *text, const char *host, const char *port, int line)
{
    AP_AUTO_FREE char *found_host = NULL, *found_port = NULL;
    bool is_split = probe_split_host_port(text, &found_host, &found_port);
    if (is_split != (host != NULL) || (host && (strcmp(found_host, host) != 0 || strcmp(found_port, port) != 0)))
        fail_msg("line %d: %d %s %s", line, is_split, found_host ? found_host : "-", found_port ? found_port : "-");
}

static void test_split(void **state)
{
    (void)state;
    split("a:1", "a", "1", __LINE__);
    split("[::1]:22", "::1", "22", __LINE__);
    split(":1", "", "1", __LINE__);
    split("a", NULL, NULL, __LINE__);
    split("a:", NULL, NULL, __LINE__);
    split("::1", NULL, NULL, __LINE__);
    split("[::1:22", NULL, NULL, __LINE__);
    split("[:22", NULL, NULL, __LINE__);
}

/* ---- Probes ---- */

static enum ap_rc run(const char *module, const char *target, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO(probes) struct probes *probes = NULL;
    assert_int_equal(probes_open(NULL, "test", &probes, err), AP_OK);
    const struct label params[] = {{AP_SLICE_LITERAL("module"), ap_slice_cstr(module)}};
    const struct collector_request request = {
        .target = ap_slice_cstr(target),
        .params = params,
        .param_count = 1,
        .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + 20 * AP_US_PER_S,
    };
    enum ap_rc rc = probes_collect(probes, &request, out, err);
    ap_buf_add_char(out, '\0');
    return rc;
}

static void test_probe(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    AP_AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    AP_AUTO_FREE char *target = ap_asprintf("127.0.0.1:%u", ntohs(address.sin_port));

    assert_int_equal(run("tcp_connect", target, &out, &err), AP_OK); /* nobody listens yet */
    assert_non_null(strstr(out.data, "# failed: connecting to 127.0.0.1: Connection refused\n"));
    assert_non_null(strstr(out.data, "\nprobe_success 0\n"));

    assert_int_equal(listen(fd, 1), 0);
    ap_buf_reset(&out);
    assert_int_equal(run("tcp_connect", target, &out, &err), AP_OK);
    assert_null(strstr(out.data, "# failed"));
    assert_non_null(strstr(out.data, "\nprobe_success 1\n"));
    assert_non_null(strstr(out.data, "\nprobe_ip_addr_hash 3668918509\n"));
}

/* ---- Several at a time, and the modules read again meanwhile ---- */

enum { THREADS = 4, ROUNDS = 20 };

static void *probe_often(void *context)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct ap_err err = {0};
        const struct probe_request request = {
            .target = ap_slice_cstr(i % 2 ? "127.0.0.1:1" : "localhost:1"),
            .module = ap_slice_cstr("tcp_connect"),
            .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + 20 * AP_US_PER_S,
        };
        ap_buf_reset(&out);
        if (probes_run(context, &request, &out, &err) != AP_OK || !strstr(out.data, "\nprobe_success 0\n"))
            return "a probe was not answered";
    }
    return NULL;
}

static void test_reload(void **state)
{
    (void)state;
    AP_AUTO(probes) struct probes *probes = NULL;
    struct ap_err err = {0};
    pthread_t threads[THREADS];
    assert_int_equal(probes_open(NULL, "test", &probes, &err), AP_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, probe_often, probes), 0);
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(probes_reload(probes, &err), AP_OK);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

static void test_probe_errors(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err = {0};
    assert_int_equal(run("nothing", "a", &out, &err), AP_E_PARSE);
    assert_string_equal(err.text, "Unknown module \"nothing\"");
    assert_int_equal(run("icmp", "", &out, &err), AP_E_PARSE);
    assert_string_equal(err.text, "Target parameter is missing");
    ap_buf_reset(&out);
    assert_int_equal(run("http_2xx", "http://[", &out, &err), AP_OK);
    assert_non_null(strstr(out.data, "# failed: \"http://[\" is not a URL\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_errors),
        cmocka_unit_test(test_newer_keys),
        cmocka_unit_test(test_module_expressions),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_builtin_modules),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_probe_errors),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
