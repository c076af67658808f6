/*
 * net/udp.h - a UDP port that is listened to: packets in, many at a time
 *
 * One thread receives; udp_wake() from any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum { UDP_PACKETS_MAX = 64, UDP_PACKET_BYTES_MAX = 65535 };

struct udp_socket; /* private to udp.c */

/* Binds the numeric address ("127.0.0.1", "::"); port 0: any free one. Errors name both. */
ap_nodiscard enum ap_rc udp_open(const char *address, uint16_t port, struct udp_socket **ret_socket,
                                 struct ap_err *err);
void udp_close(struct udp_socket *socket); /* NULL is allowed */
AP_DEFINE_AUTO(udp_socket, struct udp_socket, udp_close)

uint16_t udp_port(const struct udp_socket *socket);

/*
 * What has come in, up to UDP_PACKETS_MAX, waiting for the first one. 0: `timeout_ms` has passed, or udp_wake() was
 * called. Packets are lent until the next call.
 */
size_t udp_receive(struct udp_socket *socket, int64_t timeout_ms, struct ap_slice ret_packets[UDP_PACKETS_MAX]);
void udp_wake(struct udp_socket *socket);

/* Packets that the kernel threw away since the port was opened, because nobody took them in time. */
uint64_t udp_dropped(const struct udp_socket *socket);
