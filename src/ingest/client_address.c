#include "ingest/client_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { V4_PREFIX_BITS = 24, V6_PREFIX_BITS = 48, ADDRESS_TEXT_BYTES_MAX = 64 };

static bool is_known(const struct client_address *address)
{
    return address->socket.any.sa_family != AF_UNSPEC;
}

static bool is_v6(const struct client_address *address)
{
    return address->socket.any.sa_family == AF_INET6;
}

static const uint8_t *address_bytes(const struct client_address *address)
{
    return is_v6(address) ? address->socket.v6.sin6_addr.s6_addr : (const uint8_t *)&address->socket.v4.sin_addr;
}

static void set_v4(struct client_address *address, const void *bytes)
{
    *address = (struct client_address){0};
    address->socket.v4.sin_family = AF_INET;
    memcpy(&address->socket.v4.sin_addr, bytes, 4);
}

static void set_v6(struct client_address *address, const struct in6_addr *v6)
{
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        set_v4(address, v6->s6_addr + 12);
        return;
    }
    *address = (struct client_address){0};
    address->socket.v6.sin6_family = AF_INET6;
    address->socket.v6.sin6_addr = *v6;
}

/* ---- Networks ---- */

static bool network_contains(const struct client_network *network, const struct client_address *address)
{
    if (!is_known(address) || network->is_v6 != is_v6(address))
        return false;
    const uint8_t *bytes = address_bytes(address);
    size_t whole_bytes = network->bits / 8;
    if (memcmp(network->bytes, bytes, whole_bytes) != 0)
        return false;
    unsigned rest_bits = network->bits % 8;
    return rest_bits == 0 || (network->bytes[whole_bytes] ^ bytes[whole_bytes]) >> (8 - rest_bits) == 0;
}

bool client_networks_contain(const struct client_networks *networks, const struct client_address *address)
{
    for (size_t i = 0; i < networks->count; i++)
        if (network_contains(&networks->items[i], address))
            return true;
    return false;
}

/* A decimal number without signs and spaces, up to `max`. */
static bool parse_bits(struct ap_slice text, unsigned max, uint8_t *ret_bits)
{
    unsigned bits = 0;
    if (text.bytes == 0 || text.bytes > 3)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(text.data[i] - '0');
    }
    *ret_bits = (uint8_t)bits;
    return bits <= max;
}

enum ap_rc client_networks_add(struct client_networks *networks, const char *text, struct ap_err *err)
{
    if (networks->count == CLIENT_NETWORKS_MAX)
        return ap_fail(err, AP_E_LIMIT, "at most %d networks are allowed", CLIENT_NETWORKS_MAX);
    struct ap_slice bits_text = ap_slice_cstr(text);
    struct ap_slice address_text = ap_slice_split(&bits_text, '/');
    struct client_address address;
    struct client_network network = {0};
    bool is_good = client_address_parse(address_text, &address);
    if (is_good) {
        network.is_v6 = is_v6(&address);
        network.bits = network.is_v6 ? 128 : 32;
        memcpy(network.bytes, address_bytes(&address), network.bits / 8);
        is_good = !bits_text.data || parse_bits(bits_text, network.bits, &network.bits);
    }
    if (!is_good)
        return ap_fail(err, AP_E_PARSE, "\"%s\" is not a network; write it like 10.0.0.0/8 or 2001:db8::/32", text);
    networks->items[networks->count++] = network;
    return AP_OK;
}

void client_networks_init_loopback(struct client_networks *networks)
{
    networks->count = 0;
    enum ap_rc rc = client_networks_add(networks, "127.0.0.0/8", NULL);
    if (rc == AP_OK)
        rc = client_networks_add(networks, "::1", NULL);
    AP_ASSERT(rc == AP_OK);
}

/* ---- Addresses ---- */

/* Without the brackets and the port that proxies may write: "[::1]:443" and "192.0.2.7:443". */
static struct ap_slice without_port(struct ap_slice text)
{
    const char *end;
    if (text.bytes > 0 && text.data[0] == '[' && (end = memchr(text.data, ']', text.bytes)))
        return ap_slice(text.data + 1, (size_t)(end - text.data) - 1);
    const char *colon = text.bytes ? memchr(text.data, ':', text.bytes) : NULL;
    if (colon && !memchr(colon + 1, ':', text.bytes - (size_t)(colon + 1 - text.data)))
        return ap_slice(text.data, (size_t)(colon - text.data));
    return text;
}

bool client_address_parse(struct ap_slice text, struct client_address *ret_address)
{
    text = without_port(ap_slice_trim(text));
    char copy[ADDRESS_TEXT_BYTES_MAX];
    if (text.bytes == 0 || text.bytes >= sizeof(copy) || memchr(text.data, '\0', text.bytes))
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        set_v4(ret_address, &v4);
        return true;
    }
    if (inet_pton(AF_INET6, copy, &v6) != 1)
        return false;
    set_v6(ret_address, &v6);
    return true;
}

void client_address_find(const struct sockaddr *peer, struct ap_slice forwarded_for,
                         const struct client_networks *trusted_proxies, struct client_address *ret_address)
{
    *ret_address = (struct client_address){0};
    if (peer && peer->sa_family == AF_INET)
        set_v4(ret_address, &((const struct sockaddr_in *)(const void *)peer)->sin_addr);
    else if (peer && peer->sa_family == AF_INET6)
        set_v6(ret_address, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr);

    /* From the right: each trusted hop vouches for the entry to its left. An entry that is no address ends the walk. */
    while (forwarded_for.bytes > 0 && client_networks_contain(trusted_proxies, ret_address)) {
        const char *comma = memrchr(forwarded_for.data, ',', forwarded_for.bytes);
        const char *begin = comma ? comma + 1 : forwarded_for.data;
        size_t entry_bytes = (size_t)(forwarded_for.data + forwarded_for.bytes - begin);
        struct client_address hop;
        if (!client_address_parse(ap_slice(begin, entry_bytes), &hop))
            return;
        *ret_address = hop;
        forwarded_for.bytes = comma ? (size_t)(comma - forwarded_for.data) : 0;
    }
}

void client_address_prefix(const struct client_address *address, char ret_prefix[CLIENT_PREFIX_BYTES])
{
    ret_prefix[0] = '\0';
    if (!is_known(address))
        return;
    int bits = is_v6(address) ? V6_PREFIX_BITS : V4_PREFIX_BITS;
    uint8_t bytes[16] = {0};
    memcpy(bytes, address_bytes(address), (size_t)bits / 8);
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(address->socket.any.sa_family, bytes, text, sizeof(text)))
        snprintf(ret_prefix, CLIENT_PREFIX_BYTES, "%s/%d", text, bits);
}
