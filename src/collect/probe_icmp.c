/*
 * ICMP: echo requests, the time until they are answered, and how many are.
 *
 * Linux has sockets for this that need no rights, for groups within net.ipv4.ping_group_range; the kernel then chooses
 * the identifier and hands over only what answers it. Without, a raw socket, which needs CAP_NET_RAW and sees every
 * reply to anybody.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "collect/probe_internal.h"

enum { HEADER_BYTES = 8, PAYLOAD_BYTES = 28, PACKET_BYTES_MAX = 65536 };

struct echo {
    struct probe *probe;
    struct probe_address address;
    int fd;
    bool is_ip6;
    bool is_raw;
    uint16_t id; /* of raw sockets */
    uint16_t first_sequence;
    size_t payload_bytes;
    int64_t *sent_us; /* owned; by number, monotonic; 0: not sent, or answered */
    size_t sent, received;
    double rtt_sum, rtt_least, rtt_most; /* seconds */
    int hop_limit;                       /* of the last reply; -1: not told */
};

/* ---- The socket ---- */

static bool open_socket(struct echo *echo)
{
    int family = echo->address.any.sa_family, protocol = echo->is_ip6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
    echo->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (echo->fd >= 0)
        return true;
    echo->is_raw = true;
    echo->fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (echo->fd >= 0)
        return true;
    return probe_fail(echo->probe,
                      "this process may not ping: allow its group in net.ipv4.ping_group_range (sysctl -w "
                      "net.ipv4.ping_group_range=\"%u %u\"), or give it CAP_NET_RAW (%s)",
                      getgid(), getgid(), strerror(errno));
}

static bool set_option(struct echo *echo, int level, int name, int value, const char *what)
{
    if (setsockopt(echo->fd, level, name, &value, sizeof(value)) == 0)
        return true;
    return probe_fail(echo->probe, "%s: %s", what, strerror(errno));
}

static bool set_options(struct echo *echo)
{
    const struct probe_icmp *icmp = &echo->probe->module->icmp;
    int level = echo->is_ip6 ? (int)IPPROTO_IPV6 : (int)IPPROTO_IP;
    if (!set_option(echo, level, echo->is_ip6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, 1, "hop limit"))
        return false;
    if (icmp->ttl && !set_option(echo, level, echo->is_ip6 ? IPV6_UNICAST_HOPS : IP_TTL, (int)icmp->ttl, "ttl"))
        return false;
    return !icmp->is_unfragmented || set_option(echo, level, echo->is_ip6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
                                                echo->is_ip6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO, "dont_fragment");
}

static bool set_source(struct echo *echo)
{
    const char *source = echo->probe->module->icmp.network.source_address;
    struct probe_address address = {.bytes = echo->address.bytes};
    if (!source)
        return true;
    address.any.sa_family = echo->address.any.sa_family;
    void *number = echo->is_ip6 ? (void *)&address.ip6.sin6_addr : (void *)&address.ip4.sin_addr;
    if (inet_pton(address.any.sa_family, source, number) != 1)
        return probe_fail(echo->probe, "source_ip_address: \"%s\" is not an address of the target's protocol", source);
    if (bind(echo->fd, &address.any, address.bytes) != 0)
        return probe_fail(echo->probe, "source_ip_address %s: %s", source, strerror(errno));
    return true;
}

/* ---- Packets ---- */

static uint16_t checksum(const uint8_t *bytes, size_t count)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < count; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    if (count % 2)
        sum += (uint32_t)bytes[count - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put_u16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Type, code, checksum, identifier, sequence, payload. */
static void make_packet(const struct echo *echo, unsigned number, struct ap_buf *packet)
{
    static const char text[] = "Apiary asks whether you hear";
    size_t bytes = HEADER_BYTES + echo->payload_bytes;
    uint8_t *to = (uint8_t *)ap_buf_reserve(packet, bytes);
    memset(to, 0, bytes);
    to[0] = echo->is_ip6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    put_u16(to + 4, echo->id);
    put_u16(to + 6, (uint16_t)(echo->first_sequence + number));
    memcpy(to + HEADER_BYTES, text, AP_MIN(echo->payload_bytes, sizeof(text) - 1));
    if (!echo->is_ip6) /* for IPv6 the kernel does it, which knows the addresses that are in it */
        put_u16(to + 2, checksum(to, bytes));
    packet->bytes = bytes;
}

static bool send_packet(struct echo *echo)
{
    AP_AUTO_BUF struct ap_buf packet = {0};
    make_packet(echo, (unsigned)echo->sent, &packet);
    echo->sent_us[echo->sent] = ap_clock_monotonic_us(&ap_clock_system);
    ssize_t sent = sendto(echo->fd, packet.data, packet.bytes, MSG_NOSIGNAL, &echo->address.any, echo->address.bytes);
    if (sent != (ssize_t)packet.bytes)
        return probe_fail(echo->probe, "sending to %s: %s", echo->address.text, strerror(errno));
    echo->sent++;
    return true;
}

static int hop_limit_of(struct msghdr *message)
{
    int hop_limit = -1;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if ((part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL) ||
            (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_HOPLIMIT))
            memcpy(&hop_limit, CMSG_DATA(part), sizeof(hop_limit));
    return hop_limit;
}

static bool is_from_target(const struct echo *echo, const struct probe_address *from)
{
    if (from->any.sa_family != echo->address.any.sa_family)
        return false;
    return echo->is_ip6 ? memcmp(&from->ip6.sin6_addr, &echo->address.ip6.sin6_addr, sizeof(from->ip6.sin6_addr)) == 0
                        : from->ip4.sin_addr.s_addr == echo->address.ip4.sin_addr.s_addr;
}

/* Whether it answers one of ours that was not answered yet. */
static void take_packet(struct echo *echo, struct ap_slice packet, const struct probe_address *from, int hop_limit)
{
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    const uint8_t *bytes = (const uint8_t *)packet.data;
    if (echo->is_raw && !echo->is_ip6) { /* raw IPv4 comes with its header */
        size_t header_bytes = packet.bytes ? (size_t)(bytes[0] & 0xF) * 4 : 0;
        if (packet.bytes < header_bytes)
            return;
        bytes += header_bytes;
        packet.bytes -= header_bytes;
    }
    if (!is_from_target(echo, from) || packet.bytes != HEADER_BYTES + echo->payload_bytes)
        return;
    unsigned id = (unsigned)bytes[4] << 8 | bytes[5], sequence = (unsigned)bytes[6] << 8 | bytes[7];
    size_t number = (uint16_t)(sequence - echo->first_sequence);
    bool is_reply = bytes[0] == (echo->is_ip6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY);
    if (!is_reply || (echo->is_raw && id != echo->id) || number >= echo->sent || echo->sent_us[number] == 0)
        return;
    double rtt = (double)(now_us - echo->sent_us[number]) / AP_US_PER_S;
    echo->rtt_least = echo->received ? AP_MIN(echo->rtt_least, rtt) : rtt;
    echo->rtt_most = AP_MAX(echo->rtt_most, rtt);
    echo->rtt_sum += rtt;
    echo->sent_us[number] = 0;
    echo->received++;
    echo->hop_limit = hop_limit;
    probe_note(echo->probe, "reply %zu after %.6f s", number, rtt);
}

static bool receive_packets(struct echo *echo, uint8_t *buffer)
{
    for (;;) {
        struct probe_address from = {.bytes = 0};
        union {
            struct cmsghdr header;
            char bytes[256];
        } control;
        struct iovec part = {buffer, PACKET_BYTES_MAX};
        struct msghdr message = {.msg_name = &from.ip6,
                                 .msg_namelen = sizeof(from.ip6),
                                 .msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t bytes = recvmsg(echo->fd, &message, 0);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (bytes < 0)
            return probe_fail(echo->probe, "receiving: %s", strerror(errno));
        take_packet(echo, ap_slice(buffer, (size_t)bytes), &from, hop_limit_of(&message));
    }
}

/* Sends them one after the other, and takes replies until all are there or time is over. */
static bool exchange(struct echo *echo)
{
    const struct probe_icmp *icmp = &echo->probe->module->icmp;
    AP_AUTO_FREE uint8_t *buffer = ap_new0_array(uint8_t, PACKET_BYTES_MAX);
    int64_t next_us = ap_clock_monotonic_us(&ap_clock_system);
    size_t packets = (size_t)icmp->packets;
    while (echo->received < packets) {
        int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
        if (now_us >= echo->probe->deadline_us)
            return true;
        if (echo->sent < packets && now_us >= next_us) {
            if (!send_packet(echo))
                return false;
            next_us += icmp->interval_ms * AP_US_PER_MS;
        }
        struct pollfd pollfd = {.fd = echo->fd, .events = POLLIN};
        int64_t until_us = echo->sent < packets ? AP_MIN(next_us, echo->probe->deadline_us) : echo->probe->deadline_us;
        int left_ms = probe_left_ms(echo->probe, until_us, 60000);
        if (poll(&pollfd, 1, left_ms) > 0 && !receive_packets(echo, buffer))
            return false;
    }
    return true;
}

/* ---- The probe ---- */

static const struct family duration = {"probe_icmp_duration_seconds", "Duration of icmp request by phase",
                                       FAMILY_GAUGE};

static void add_replies(struct probe *probe, const struct echo *echo)
{
    static const struct family hop_limit = {"probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)",
                                            FAMILY_GAUGE};
    static const struct family sent = {"probe_icmp_packets_sent", "Echo requests that were sent", FAMILY_GAUGE};
    static const struct family received = {"probe_icmp_packets_received", "Echo requests that were answered in time",
                                           FAMILY_GAUGE};
    static const struct family least = {"probe_icmp_rtt_min_seconds", "Shortest time until an answer", FAMILY_GAUGE};
    static const struct family most = {"probe_icmp_rtt_max_seconds", "Longest time until an answer", FAMILY_GAUGE};
    double mean = echo->received ? echo->rtt_sum / (double)echo->received : 0;
    families_add1(probe->families, &duration, mean, "phase", ap_slice_cstr("rtt"));
    families_add(probe->families, &sent, (double)echo->sent);
    families_add(probe->families, &received, (double)echo->received);
    if (echo->received && echo->hop_limit >= 0)
        families_add(probe->families, &hop_limit, echo->hop_limit);
    if (echo->received) {
        families_add(probe->families, &least, echo->rtt_least);
        families_add(probe->families, &most, echo->rtt_most);
    }
}

static void echo_clear(struct echo *echo)
{
    ap_auto_fd_(&echo->fd);
    free(echo->sent_us);
}

bool probe_icmp(struct probe *probe)
{
    const struct probe_icmp *icmp = &probe->module->icmp;
    AP_CLEANUP(echo_clear) struct echo echo = {.probe = probe, .fd = -1, .hop_limit = -1};
    bool is_resolved = probe_resolve(probe, &icmp->network, probe->target, &echo.address);
    families_add1(probe->families, &duration, is_resolved ? echo.address.lookup_seconds : 0, "phase",
                  ap_slice_cstr("resolve"));
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    struct ap_random random;
    ap_random_init(&random, ap_random_system_seed());
    echo.is_ip6 = echo.address.any.sa_family == AF_INET6;
    echo.id = (uint16_t)ap_random_u64(&random);
    echo.first_sequence = (uint16_t)ap_random_u64(&random);
    echo.payload_bytes = icmp->payload_bytes ? (size_t)icmp->payload_bytes : PAYLOAD_BYTES;
    echo.sent_us = ap_new0_array(int64_t, (size_t)icmp->packets);
    bool is_open = is_resolved && open_socket(&echo) && set_options(&echo) && set_source(&echo);
    families_add1(probe->families, &duration, is_open ? probe_seconds_since(start_us) : 0, "phase",
                  ap_slice_cstr("setup"));
    bool is_fine = is_open && exchange(&echo);
    add_replies(probe, &echo);
    if (!is_fine)
        return false;
    if (echo.received == 0)
        return probe_fail(probe, "no answer from %s to %zu echo requests", echo.address.text, echo.sent);
    return true;
}
