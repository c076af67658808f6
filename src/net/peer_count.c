#include "net/peer_count.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"

/* Connections are limited to some thousands, so chains in a table of this fixed size stay short. */
#define BUCKET_COUNT 1024

struct peer {
    struct peer *next;
    uint64_t key;
    uint32_t count;
};

struct peer_count {
    pthread_mutex_t mtx; /* a leaf lock */
    uint64_t seed;
    struct peer *buckets[BUCKET_COUNT]; /* owned chains */
};

struct peer_count *peer_count_new(uint64_t seed)
{
    struct peer_count *counts = ap_new0(struct peer_count);
    pthread_mutex_init(&counts->mtx, NULL);
    counts->seed = seed;
    return counts;
}

void peer_count_free(struct peer_count *counts)
{
    if (!counts)
        return;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        while (counts->buckets[i]) {
            struct peer *peer = counts->buckets[i];
            counts->buckets[i] = peer->next;
            free(peer);
        }
    }
    pthread_mutex_destroy(&counts->mtx);
    free(counts);
}

/* The IPv4 address that `peer` is or contains. */
static bool peer_ipv4(const struct sockaddr *peer, uint32_t *ret_address)
{
    if (peer->sa_family == AF_INET) {
        *ret_address = ((const struct sockaddr_in *)(const void *)peer)->sin_addr.s_addr;
        return true;
    }
    if (peer->sa_family != AF_INET6)
        return false;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(address))
        return false;
    memcpy(ret_address, &address->s6_addr[12], sizeof(*ret_address));
    return true;
}

/* No /64 in use begins with 32 zero bits, so the two kinds do not meet. */
static uint64_t peer_key(const struct sockaddr *peer)
{
    uint32_t ipv4;
    if (peer_ipv4(peer, &ipv4))
        return ipv4;
    uint64_t prefix = 0;
    if (peer->sa_family == AF_INET6)
        memcpy(&prefix, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, sizeof(prefix));
    return prefix;
}

/* The finaliser of splitmix64, so that nobody can choose addresses that share a bucket without knowing the seed. */
static size_t bucket_index(const struct peer_count *counts, uint64_t key)
{
    uint64_t hash = key ^ counts->seed;
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((hash ^ (hash >> 31)) % BUCKET_COUNT);
}

/* The link that points to the entry of `key`, or the NULL at the end of its chain. */
static struct peer **peer_find_locked(struct peer_count *counts, uint64_t key)
{
    struct peer **link = &counts->buckets[bucket_index(counts, key)];
    while (*link && (*link)->key != key)
        link = &(*link)->next;
    return link;
}

bool peer_count_add(struct peer_count *counts, const struct sockaddr *peer, uint32_t count_max)
{
    uint64_t key = peer_key(peer);
    pthread_mutex_lock(&counts->mtx);
    struct peer **link = peer_find_locked(counts, key);
    if (!*link) {
        *link = ap_new0(struct peer);
        (*link)->key = key;
    }
    bool is_below = (*link)->count < count_max;
    if (is_below)
        (*link)->count++;
    pthread_mutex_unlock(&counts->mtx);
    return is_below;
}

void peer_count_remove(struct peer_count *counts, const struct sockaddr *peer)
{
    pthread_mutex_lock(&counts->mtx);
    struct peer **link = peer_find_locked(counts, peer_key(peer));
    struct peer *entry = *link;
    AP_ASSERT(entry != NULL && entry->count > 0);
    if (--entry->count == 0) {
        *link = entry->next;
        free(entry);
    }
    pthread_mutex_unlock(&counts->mtx);
}

bool peer_is_loopback(const struct sockaddr *peer)
{
    uint32_t ipv4;
    if (peer_ipv4(peer, &ipv4))
        return ntohl(ipv4) >> 24 == 127;
    return peer->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr);
}
