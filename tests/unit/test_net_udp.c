/* UDP: packets arrive whole and in order, and a waiting thread can be woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/udp.h"

static int send_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void test_packets(void **state)
{
    (void)state;
    struct udp_socket *udp;
    struct ap_err err;
    struct ap_slice packets[UDP_PACKETS_MAX];
    assert_int_equal(udp_open("127.0.0.1", 0, &udp, &err), AP_OK);
    int fd = send_to(udp_port(udp));
    for (int i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof(text), "packet %d", i);
        assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
    }
    for (int i = 0; i < 100;) {
        size_t count = udp_receive(udp, 10000, packets);
        assert_true(count > 0);
        for (size_t j = 0; j < count; j++, i++) {
            char want[32];
            snprintf(want, sizeof(want), "packet %d", i);
            assert_true(ap_slice_equal_cstr(packets[j], want));
        }
    }
    assert_int_equal(udp_receive(udp, 0, packets), 0);
    udp_wake(udp);
    assert_int_equal(udp_receive(udp, 600000, packets), 0);
    assert_int_equal(udp_dropped(udp), 0);
    close(fd);
    udp_close(udp);
}

static void test_errors(void **state)
{
    (void)state;
    struct udp_socket *udp;
    struct udp_socket *other;
    struct ap_err err;
    assert_int_equal(udp_open("localhost", 0, &udp, &err), AP_E_PARSE);
    assert_int_equal(udp_open("127.0.0.1", 0, &udp, &err), AP_OK);
    assert_int_not_equal(udp_open("127.0.0.1", udp_port(udp), &other, &err), AP_OK);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    udp_close(udp);
    if (udp_open("::1", 0, &udp, &err) == AP_OK) /* not every machine has IPv6 */
        udp_close(udp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packets), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
