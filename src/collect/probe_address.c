#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "collect/probe_internal.h"
#include "os/thread.h"

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

/* ---- Looking up, not for longer than there is time ---- */

/*
 * getaddrinfo() waits for as long as the resolver's own limits allow, and nothing ends it. So it runs on a thread of
 * its own, which is left behind when it takes too long. Counted: by who waits and by the thread.
 */
struct lookup {
    char *host; /* owned */
    pthread_mutex_t mtx;
    pthread_cond_t done;
    /* Under mtx. */
    unsigned ref_count;
    bool is_done;
    int error;              /* EAI_… */
    struct addrinfo *found; /* owned */
};

static void lookup_unref_locked(struct lookup *lookup)
{
    bool is_last = --lookup->ref_count == 0;
    pthread_mutex_unlock(&lookup->mtx);
    if (!is_last)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    pthread_cond_destroy(&lookup->done);
    pthread_mutex_destroy(&lookup->mtx);
    free(lookup->host);
    free(lookup);
}

static void *lookup_run(void *context)
{
    struct lookup *lookup = context;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(lookup->host, NULL, &hints, &found);
    pthread_mutex_lock(&lookup->mtx);
    lookup->is_done = true;
    lookup->error = error;
    lookup->found = error ? NULL : found;
    pthread_cond_broadcast(&lookup->done);
    lookup_unref_locked(lookup);
    return NULL;
}

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

/* An address that is written out needs nobody to be asked. */
static struct addrinfo *parse_address(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    return getaddrinfo(host, NULL, &hints, &found) == 0 ? found : NULL;
}

static bool look_up(struct probe *probe, const char *host, int family, bool is_fallback,
                    struct probe_address *ret_address)
{
    struct addrinfo *written = parse_address(host);
    if (written) {
        bool is_chosen = choose(written, family, is_fallback, ret_address);
        freeaddrinfo(written);
        return is_chosen || probe_fail(probe, "%s is not an address of the protocol that is wanted", host);
    }
    struct lookup *lookup = ap_new0(struct lookup);
    lookup->host = ap_strdup(host);
    lookup->ref_count = 2;
    pthread_mutex_init(&lookup->mtx, NULL);
    os_cond_init(&lookup->done);
    pthread_t thread;
    struct ap_err err;
    if (os_thread_start("lookup", lookup_run, lookup, &thread, &err) != AP_OK) {
        pthread_mutex_lock(&lookup->mtx);
        lookup->ref_count--;
        lookup_unref_locked(lookup);
        return probe_fail(probe, "%s", err.text);
    }
    pthread_detach(thread);
    pthread_mutex_lock(&lookup->mtx);
    while (!lookup->is_done && os_cond_wait_until(&lookup->done, &lookup->mtx, probe->deadline_us))
        ;
    bool is_done = lookup->is_done;
    int error = lookup->error;
    bool is_chosen = is_done && choose(lookup->found, family, is_fallback, ret_address);
    lookup_unref_locked(lookup);
    if (!is_done)
        return probe_fail(probe, "looking up %s took too long", host);
    if (error)
        return probe_fail(probe, "looking up %s: %s", host, gai_strerror(error));
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
