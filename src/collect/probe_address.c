#include <arpa/inet.h>
#include <stdio.h>

#include "base/clock.h"
#include "collect/lookup.h"
#include "collect/probe_internal.h"

bool probe_split_host_port(const char *text, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon[1] == '\0')
        return false;
    size_t host_bytes = (size_t)(colon - text);
    bool is_bracketed = text[0] == '[';
    if (is_bracketed ? host_bytes < 2 || text[host_bytes - 1] != ']' : memchr(text, ':', host_bytes) != NULL)
        return false;
    *ret_host = ap_strndup(text + is_bracketed, host_bytes - (is_bracketed ? 2 : 0));
    *ret_port = ap_strdup(colon + 1);
    return true;
}

/* ---- Looking up ---- */

/* Addresses in order of `found`: those of the family first, then, with `is_fallback`, any. */
static bool choose(const struct addrinfo *found, int family, bool is_fallback, struct probe_address *ret_address)
{
    const struct addrinfo *chosen = NULL;
    for (const struct addrinfo *one = found; one && !chosen; one = one->ai_next)
        if (one->ai_family == family)
            chosen = one;
    for (const struct addrinfo *one = found; one && !chosen && is_fallback; one = one->ai_next)
        if (one->ai_family == AF_INET || one->ai_family == AF_INET6)
            chosen = one;
    if (!chosen || chosen->ai_addrlen > sizeof(ret_address->ip6))
        return false;
    memcpy(&ret_address->any, chosen->ai_addr, chosen->ai_addrlen);
    ret_address->bytes = chosen->ai_addrlen;
    return true;
}

static bool look_up(struct probe *probe, const char *host, int family, bool is_fallback,
                    struct probe_address *ret_address)
{
    struct addrinfo *found;
    struct ap_err err;
    if (lookup_host(host, probe->deadline_us, &found, &err) != AP_OK)
        return probe_fail(probe, "%s", err.text);
    bool is_chosen = choose(found, family, is_fallback, ret_address);
    freeaddrinfo(found);
    return is_chosen || probe_fail(probe, "%s has no address of the protocol that is wanted", host);
}

/* ---- Saying ---- */

/* FNV-1a of the address's bytes. */
static uint32_t address_hash(const struct probe_address *address)
{
    bool is_ip6 = address->any.sa_family == AF_INET6;
    const uint8_t *bytes = is_ip6 ? (const uint8_t *)&address->ip6.sin6_addr : (const uint8_t *)&address->ip4.sin_addr;
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < (is_ip6 ? sizeof(struct in6_addr) : sizeof(struct in_addr)); i++)
        hash = (hash ^ bytes[i]) * 16777619U;
    return hash;
}

static void add_families(struct probe *probe, double seconds, double protocol, double hash)
{
    static const struct family lookup_time = {"probe_dns_lookup_time_seconds",
                                              "Returns the time taken for probe dns lookup in seconds", FAMILY_GAUGE};
    static const struct family ip_protocol = {"probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6",
                                              FAMILY_GAUGE};
    static const struct family addr_hash = {
        "probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
        FAMILY_GAUGE};
    families_add(probe->families, &lookup_time, seconds);
    families_add(probe->families, &ip_protocol, protocol);
    families_add(probe->families, &addr_hash, hash);
}

bool probe_resolve(struct probe *probe, const struct probe_network *network, const char *host,
                   struct probe_address *ret_address)
{
    struct probe_address address = {.bytes = 0};
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    probe_note(probe, "looking up %s, %s first", host, network->is_ip4_preferred ? "IPv4" : "IPv6");
    bool is_found =
        look_up(probe, host, network->is_ip4_preferred ? AF_INET : AF_INET6, network->is_fallback, &address);
    address.lookup_seconds = probe_seconds_since(start_us);
    if (!is_found) {
        add_families(probe, address.lookup_seconds, 0, 0);
        return false;
    }
    bool is_ip6 = address.any.sa_family == AF_INET6;
    const void *number = is_ip6 ? (const void *)&address.ip6.sin6_addr : (const void *)&address.ip4.sin_addr;
    inet_ntop(address.any.sa_family, number, address.text, sizeof(address.text));
    add_families(probe, address.lookup_seconds, is_ip6 ? 6 : 4, address_hash(&address));
    probe_note(probe, "%s is %s", host, address.text);
    *ret_address = address;
    return true;
}

bool probe_set_port(struct probe *probe, struct probe_address *address, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE, .ai_family = AF_INET};
    struct addrinfo *found = NULL; /* knows "https", too, as /etc/services does */
    if (getaddrinfo(NULL, port, &hints, &found) != 0)
        return probe_fail(probe, "\"%s\" is not a port", port);
    in_port_t number = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_port;
    freeaddrinfo(found);
    if (address->any.sa_family == AF_INET6)
        address->ip6.sin6_port = number;
    else
        address->ip4.sin_port = number;
    return true;
}
