#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingest/client_address.h"
#include "ingest/geo.h"

static void expect_prefix(const char *text, const char *want, int line)
{
    struct client_address address;
    char prefix[CLIENT_PREFIX_BYTES] = "not an address";
    if (client_address_parse(ap_slice_cstr(text), &address))
        client_address_prefix(&address, prefix);
    if (strcmp(prefix, want) != 0)
        fail_msg("line %d: %s gives %s", line, text, prefix);
}

#define PREFIX(text, want) expect_prefix(text, want, __LINE__)
#define BAD(text)          expect_prefix(text, "not an address", __LINE__)
static void test_prefix(void **state)
{
    (void)state;
    PREFIX("203.0.113.77", "203.0.113.0/24");
    PREFIX(" 203.0.113.77 ", "203.0.113.0/24");
    PREFIX("203.0.113.77:8080", "203.0.113.0/24");
    PREFIX("2001:db8:1234:5678:9abc:def0:1:2", "2001:db8:1234::/48");
    PREFIX("[2001:db8:1234::1]:443", "2001:db8:1234::/48");
    PREFIX("[2001:db8:1234::1]", "2001:db8:1234::/48");
    PREFIX("::1", "::/48");
    PREFIX("::ffff:203.0.113.77", "203.0.113.0/24"); /* the same client over a dual-stack listener */
    BAD("");
    BAD("unknown");
    BAD("203.0.113");
    BAD("203.0.113.256");
    BAD("203.0.113.77 203.0.113.78");
    BAD("[::1");
    BAD("2001:db8::g");
    BAD("fe80::1%eth0");
    BAD("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void test_networks(void **state)
{
    (void)state;
    struct client_networks networks = {0};
    struct ap_err err;
    static const char *const good[] = {"10.0.0.0/8", "192.0.2.7", "172.16.0.0/12", "2001:db8::/33", "::1"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(good); i++)
        assert_int_equal(client_networks_add(&networks, good[i], &err), AP_OK);
    static const char *const bad[] = {"",       "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/a",  "10.0.0.0/-1",
                                      "::/129", "localhost",   "/8",        "10.0.0.0/8/8"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++)
        if (client_networks_add(&networks, bad[i], &err) != AP_E_PARSE)
            fail_msg("%s is a network", bad[i]);
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"10.255.0.1", true}, {"11.0.0.1", false},   {"192.0.2.7", true},        {"192.0.2.8", false},
        {"172.31.0.1", true}, {"172.32.0.1", false}, {"2001:db8:7fff::1", true}, {"2001:db8:8000::1", false},
        {"::1", true},        {"::2", false},        {"::ffff:10.0.0.1", true},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct client_address address;
        assert_true(client_address_parse(ap_slice_cstr(cases[i].text), &address));
        if (client_networks_contain(&networks, &address) != cases[i].want)
            fail_msg("%s", cases[i].text);
    }
}

static void test_networks_have_a_maximum(void **state)
{
    (void)state;
    struct client_networks networks = {0};
    struct ap_err err;
    for (size_t i = 0; i < CLIENT_NETWORKS_MAX; i++)
        assert_int_equal(client_networks_add(&networks, "10.0.0.0/8", &err), AP_OK);
    assert_int_equal(client_networks_add(&networks, "10.0.0.0/8", &err), AP_E_LIMIT);
}

static void expect_client(const char *peer, const char *forwarded_for, const char *want, int line)
{
    struct client_networks trusted;
    client_networks_init_loopback(&trusted);
    assert_int_equal(client_networks_add(&trusted, "10.0.0.0/8", NULL), AP_OK);
    struct client_address peer_address, client;
    assert_true(client_address_parse(ap_slice_cstr(peer), &peer_address));
    client_address_find(&peer_address.socket.any, ap_slice_cstr(forwarded_for), &trusted, &client);
    char text[INET6_ADDRSTRLEN] = "";
    bool is_v6 = client.socket.any.sa_family == AF_INET6;
    inet_ntop(client.socket.any.sa_family,
              is_v6 ? (const void *)&client.socket.v6.sin6_addr : (const void *)&client.socket.v4.sin_addr, text,
              sizeof(text));
    if (strcmp(text, want) != 0)
        fail_msg("line %d: got %s", line, text);
}

#define CLIENT(peer, forwarded_for, want) expect_client(peer, forwarded_for, want, __LINE__)
static void test_only_trusted_proxies_are_believed(void **state)
{
    (void)state;
    CLIENT("203.0.113.7", NULL, "203.0.113.7");
    CLIENT("203.0.113.7", "192.0.2.1", "203.0.113.7"); /* a client that makes things up */
    CLIENT("127.0.0.1", NULL, "127.0.0.1");
    CLIENT("127.0.0.1", "192.0.2.1", "192.0.2.1");
    CLIENT("127.0.0.1", "1.1.1.1, 192.0.2.1", "192.0.2.1"); /* 1.1.1.1 was sent by 192.0.2.1 itself */
    CLIENT("127.0.0.1", "1.1.1.1, 192.0.2.1, 10.0.0.2 ,10.0.0.1", "192.0.2.1");
    CLIENT("::1", "2001:db8::5", "2001:db8::5");
    CLIENT("127.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"); /* all trusted: the farthest */
    CLIENT("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1");
    CLIENT("127.0.0.1", "", "127.0.0.1");
    CLIENT("127.0.0.1", ",,", "127.0.0.1");
}

static void test_unknown_address_has_no_prefix(void **state)
{
    (void)state;
    struct client_address address;
    struct client_networks none = {0};
    struct sockaddr local = {.sa_family = AF_UNIX};
    client_address_find(&local, (struct ap_slice){0}, &none, &address);
    char prefix[CLIENT_PREFIX_BYTES];
    client_address_prefix(&address, prefix);
    assert_string_equal(prefix, "");
    client_address_find(NULL, ap_slice_cstr("192.0.2.1"), &none, &address);
    client_address_prefix(&address, prefix);
    assert_string_equal(prefix, "");
}

static void test_no_country_file(void **state)
{
    (void)state;
    struct client_address address;
    char country[GEO_COUNTRY_BYTES] = "XX";
    assert_true(client_address_parse(ap_slice_cstr("8.8.8.8"), &address));
    assert_false(geo_country(NULL, &address.socket.any, country));
    assert_string_equal(country, "");

    struct geo *geo;
    struct ap_err err;
    assert_int_equal(geo_open("/nonexistent.mmdb", &geo, &err), AP_E_NOT_FOUND);
    char path[] = "/tmp/test_geo.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "no such file", 12) == 12);
    close(fd);
    assert_int_equal(geo_open(path, &geo, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, path));
    unlink(path);
}

/* The file that the program is shipped with, where setting up has fetched it. */
static void test_shipped_country_file(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    AP_AUTO_FREE char *path = ap_asprintf("%s/build/deps/share/country.mmdb", root ? root : ".");
    AP_AUTO(geo) struct geo *geo = NULL;
    struct ap_err err;
    if (geo_open(path, &geo, &err) == AP_E_NOT_FOUND)
        skip();
    assert_non_null(geo);
    static const struct {
        const char *address, *want;
    } cases[] = {{"8.8.8.8", "US"},     {"2001:4860:4860::8888", "US"},
                 {"193.0.6.139", "NL"}, {"127.0.0.1", ""},
                 {"10.0.0.1", ""},      {"::1", ""}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct client_address address;
        char country[GEO_COUNTRY_BYTES];
        assert_true(client_address_parse(ap_slice_cstr(cases[i].address), &address));
        geo_country(geo, &address.socket.any, country);
        if (strcmp(country, cases[i].want) != 0)
            fail_msg("%s is in %s", cases[i].address, country);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_networks_have_a_maximum),
        cmocka_unit_test(test_only_trusted_proxies_are_believed),
        cmocka_unit_test(test_unknown_address_has_no_prefix),
        cmocka_unit_test(test_no_country_file),
        cmocka_unit_test(test_shipped_country_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
