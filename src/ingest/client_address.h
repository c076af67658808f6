/*
 * ingest/client_address.h - where a request came from, and what of that may be kept
 *
 * The peer, or, when the peer is a proxy that the operator trusts, the last address in X-Forwarded-For that is not such
 * a proxy: entries before it were written by the client and may be anything.
 * The whole address is used for the geographic look-up and then forgotten; rows keep the prefix alone (/24 of IPv4,
 * /48 of IPv6), which stands for some hundred households or one organisation.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"

/* IPv4 or IPv6; an IPv4 address mapped into IPv6 is turned into IPv4 on arrival. */
struct client_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket; /* family AF_UNSPEC: not known */
};

enum { CLIENT_PREFIX_BYTES = 64, CLIENT_NETWORKS_MAX = 64 };

/* A network, like 10.0.0.0/8 or ::1. */
struct client_network {
    uint8_t bytes[16];
    uint8_t bits; /* of the prefix */
    bool is_v6;
};

/* The proxies whose X-Forwarded-For is believed. */
struct client_networks {
    struct client_network items[CLIENT_NETWORKS_MAX];
    size_t count;
};

/* 127.0.0.0/8 and ::1. */
void client_networks_init_loopback(struct client_networks *networks);

/* Adds "10.0.0.0/8", "192.0.2.7", "2001:db8::/32". AP_E_PARSE, or AP_E_LIMIT over CLIENT_NETWORKS_MAX. */
ap_nodiscard enum ap_rc client_networks_add(struct client_networks *networks, const char *text, struct ap_err *err);

bool client_networks_contain(const struct client_networks *networks, const struct client_address *address);

/* "192.0.2.7", "2001:db8::1", also with a port ("192.0.2.7:443", "[::1]:443"); false when it is none of these. */
bool client_address_parse(struct ap_slice text, struct client_address *ret_address);

/* `forwarded_for` is the header field's value, or has data NULL. */
void client_address_find(const struct sockaddr *peer, struct ap_slice forwarded_for,
                         const struct client_networks *trusted_proxies, struct client_address *ret_address);

/* "192.0.2.0/24", "2001:db8:1::/48"; empty when the address is not known. */
void client_address_prefix(const struct client_address *address, char ret_prefix[CLIENT_PREFIX_BYTES]);
