/*
 * net/peer_count.h - how many connections each address has
 *
 * An IPv4 address counts alone, IPv6 by /64, which is what one subscriber gets. An IPv4 address mapped into IPv6 is the
 * IPv4 one. Callable from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/mem.h"

struct peer_count; /* private to peer_count.c */

struct peer_count *peer_count_new(uint64_t seed);
void peer_count_free(struct peer_count *counts); /* NULL is allowed */

/* Counts one more and returns true, unless that would make it more than `count_max`. */
bool peer_count_add(struct peer_count *counts, const struct sockaddr *peer, uint32_t count_max);

/* For each successful peer_count_add(). */
void peer_count_remove(struct peer_count *counts, const struct sockaddr *peer);

/* 127.0.0.0/8, ::1, and the former mapped into IPv6. */
bool peer_is_loopback(const struct sockaddr *peer);
