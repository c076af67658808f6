#include "net/peer_count.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&address;
    if (inet_pton(AF_INET, text, &ipv4->sin_addr) == 1) {
        address.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &ipv6->sin6_addr), 1);
        address.ss_family = AF_INET6;
    }
    return address;
}

static bool add(struct peer_count *counts, const char *text, uint32_t count_max)
{
    struct sockaddr_storage address = address_of(text);
    return peer_count_add(counts, (struct sockaddr *)&address, count_max);
}

static void take_away(struct peer_count *counts, const char *text)
{
    struct sockaddr_storage address = address_of(text);
    peer_count_remove(counts, (struct sockaddr *)&address);
}

static bool is_loopback(const char *text)
{
    struct sockaddr_storage address = address_of(text);
    return peer_is_loopback((struct sockaddr *)&address);
}

static void test_counts(void **state)
{
    (void)state;
    struct peer_count *counts = peer_count_new(1);
    assert_true(add(counts, "192.0.2.1", 2));
    assert_true(add(counts, "::ffff:192.0.2.1", 2)); /* the same one */
    assert_false(add(counts, "192.0.2.1", 2));
    assert_true(add(counts, "192.0.2.2", 2));
    assert_true(add(counts, "2001:db8::1", 1));
    assert_false(add(counts, "2001:db8::ffff:1", 1)); /* the same /64 */
    assert_true(add(counts, "2001:db8:0:1::1", 1));
    take_away(counts, "192.0.2.1");
    assert_true(add(counts, "192.0.2.1", 2));
    take_away(counts, "2001:db8::2");
    assert_true(add(counts, "2001:db8::1", 1));
    peer_count_free(counts);
}

static void test_many(void **state)
{
    (void)state;
    struct peer_count *counts = peer_count_new(2);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000u + i)};
            if (round == 0)
                assert_true(peer_count_add(counts, (struct sockaddr *)&peer, 1));
            else
                peer_count_remove(counts, (struct sockaddr *)&peer);
        }
    }
    peer_count_free(counts); /* the leak check sees what is left over */
}

static void test_loopback(void **state)
{
    (void)state;
    assert_true(is_loopback("127.0.0.1"));
    assert_true(is_loopback("127.255.0.9"));
    assert_true(is_loopback("::1"));
    assert_true(is_loopback("::ffff:127.0.0.1"));
    assert_false(is_loopback("128.0.0.1"));
    assert_false(is_loopback("::2"));
    assert_false(is_loopback("::ffff:10.0.0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
