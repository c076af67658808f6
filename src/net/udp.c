#include "net/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVE_BUFFER_BYTES = 8 << 20, /* as much of it as the kernel gives (net.core.rmem_max) */
    CONTROL_BYTES = 64,
};

struct udp_socket {
    int fd;
    int wake_fd;
    uint16_t port;
    uint64_t dropped; /* atomic */
    struct mmsghdr headers[UDP_PACKETS_MAX];
    struct iovec parts[UDP_PACKETS_MAX];
    char control[UDP_PACKETS_MAX][CONTROL_BYTES];
    char *memory; /* owned: of all packets */
};

static bool read_address(const char *text, uint16_t port, struct sockaddr_storage *address, socklen_t *ret_bytes)
{
    memset(address, 0, sizeof(*address));
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_bytes = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_bytes = sizeof(*v6);
        return true;
    }
    return false;
}

static enum ap_rc bind_socket(struct udp_socket *udp, const char *text, uint16_t port, struct ap_err *err)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    int one = 1;
    int buffer_bytes = RECEIVE_BUFFER_BYTES;
    if (!read_address(text, port, &address, &bytes))
        return ap_fail(err, AP_E_PARSE, "\"%s\" is no numeric address", text);
    udp->fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    udp->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (udp->fd < 0 || udp->wake_fd < 0)
        return ap_fail_errno(err, errno, "make a UDP socket");
    if (address.ss_family == AF_INET6)
        (void)setsockopt(udp->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    (void)setsockopt(udp->fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    (void)setsockopt(udp->fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
    if (bind(udp->fd, (struct sockaddr *)&address, bytes) != 0 ||
        getsockname(udp->fd, (struct sockaddr *)&address, &bytes) != 0)
        return ap_fail_errno(err, errno, "listen on UDP port %u of %s", port, text);
    udp->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                    : ((struct sockaddr_in *)&address)->sin_port);
    return AP_OK;
}

enum ap_rc udp_open(const char *address, uint16_t port, struct udp_socket **ret_socket, struct ap_err *err)
{
    AP_AUTO(udp_socket) struct udp_socket *udp = ap_new0(struct udp_socket);
    udp->fd = -1;
    udp->wake_fd = -1;
    udp->memory = ap_realloc(NULL, (size_t)UDP_PACKETS_MAX * UDP_PACKET_BYTES_MAX);
    enum ap_rc rc = bind_socket(udp, address, port, err);
    if (rc == AP_OK)
        *ret_socket = AP_MOVE(udp);
    return rc;
}

void udp_close(struct udp_socket *udp)
{
    if (!udp)
        return;
    if (udp->fd >= 0)
        close(udp->fd);
    if (udp->wake_fd >= 0)
        close(udp->wake_fd);
    free(udp->memory);
    free(udp);
}

uint16_t udp_port(const struct udp_socket *udp)
{
    return udp->port;
}

/* The kernel tells its count of all losses with each packet that follows one. */
static void note_dropped(struct udp_socket *udp, struct msghdr *header)
{
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at; at = CMSG_NXTHDR(header, at)) {
        uint32_t dropped;
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SO_RXQ_OVFL)
            continue;
        memcpy(&dropped, CMSG_DATA(at), sizeof(dropped));
        __atomic_store_n(&udp->dropped, dropped, __ATOMIC_RELAXED);
    }
}

static size_t take_packets(struct udp_socket *udp, struct ap_slice *ret_packets)
{
    for (size_t i = 0; i < UDP_PACKETS_MAX; i++) {
        udp->parts[i] = (struct iovec){udp->memory + i * UDP_PACKET_BYTES_MAX, UDP_PACKET_BYTES_MAX};
        udp->headers[i].msg_hdr = (struct msghdr){
            .msg_iov = &udp->parts[i],
            .msg_iovlen = 1,
            .msg_control = udp->control[i],
            .msg_controllen = CONTROL_BYTES,
        };
    }
    int count = recvmmsg(udp->fd, udp->headers, UDP_PACKETS_MAX, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        note_dropped(udp, &udp->headers[i].msg_hdr);
        ret_packets[i] = ap_slice(udp->parts[i].iov_base, udp->headers[i].msg_len);
    }
    return count > 0 ? (size_t)count : 0;
}

size_t udp_receive(struct udp_socket *udp, int64_t timeout_ms, struct ap_slice ret_packets[UDP_PACKETS_MAX])
{
    struct pollfd fds[2] = {{.fd = udp->fd, .events = POLLIN}, {.fd = udp->wake_fd, .events = POLLIN}};
    if (poll(fds, 2, (int)AP_MAX(AP_MIN(timeout_ms, (int64_t)60000), (int64_t)0)) <= 0)
        return 0;
    eventfd_t ignored;
    if (fds[1].revents)
        (void)eventfd_read(udp->wake_fd, &ignored);
    return fds[0].revents ? take_packets(udp, ret_packets) : 0;
}

void udp_wake(struct udp_socket *udp)
{
    (void)eventfd_write(udp->wake_fd, 1);
}

uint64_t udp_dropped(const struct udp_socket *udp)
{
    return __atomic_load_n(&udp->dropped, __ATOMIC_RELAXED);
}
