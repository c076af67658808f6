#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "collect/probe_internal.h"

/* ---- Waiting ---- */

/* False, and noted, when the deadline passes first. */
static bool wait_for(struct probe_connection *connection, short events)
{
    struct probe *probe = connection->probe;
    struct pollfd pollfd = {.fd = connection->fd, .events = events};
    for (;;) {
        int left_ms = probe_left_ms(probe, probe->deadline_us, 60000);
        if (left_ms == 0)
            return probe_fail(probe, "the other side took too long");
        int ready = poll(&pollfd, 1, left_ms);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return probe_fail(probe, "poll: %s", strerror(errno));
    }
}

/* ---- Opening ---- */

static bool bind_source(struct probe *probe, int fd, int family, const char *source)
{
    struct probe_address address = {.bytes = 0};
    void *number = family == AF_INET6 ? (void *)&address.ip6.sin6_addr : (void *)&address.ip4.sin_addr;
    address.any.sa_family = (sa_family_t)family;
    address.bytes = family == AF_INET6 ? sizeof(address.ip6) : sizeof(address.ip4);
    if (inet_pton(family, source, number) != 1)
        return probe_fail(probe, "source_ip_address: \"%s\" is not an address of the target's protocol", source);
    if (bind(fd, &address.any, address.bytes) != 0)
        return probe_fail(probe, "source_ip_address %s: %s", source, strerror(errno));
    return true;
}

bool probe_connect(struct probe *probe, const struct probe_network *network, const struct probe_address *address,
                   int type, struct probe_connection *ret_connection)
{
    int family = address->any.sa_family;
    PROBE_AUTO_CONNECTION struct probe_connection connection = {
        .probe = probe, .fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (connection.fd < 0)
        return probe_fail(probe, "socket: %s", strerror(errno));
    if (network->source_address && !bind_source(probe, connection.fd, family, network->source_address))
        return false;
    int error = connect(connection.fd, &address->any, address->bytes) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t bytes = sizeof(error);
        if (!wait_for(&connection, POLLOUT))
            return false;
        if (getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0)
            error = errno;
    }
    if (error)
        return probe_fail(probe, "connecting to %s: %s", address->text, strerror(error));
    probe_note(probe, "connected to %s", address->text);
    *ret_connection = connection;
    connection.fd = -1;
    return true;
}

void probe_connection_close(struct probe_connection *connection)
{
    if (connection->tls) {
        gnutls_bye(connection->tls, GNUTLS_SHUT_WR); /* as far as that goes without waiting */
        gnutls_deinit(connection->tls);
    }
    if (connection->keys)
        gnutls_certificate_free_credentials(connection->keys);
    if (connection->fd >= 0)
        close(connection->fd);
    *connection = (struct probe_connection){.fd = -1};
}

/* ---- Bytes ---- */

static bool is_tls_to_be_repeated(ssize_t result)
{
    return result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED;
}

static short tls_direction(gnutls_session_t session)
{
    return gnutls_record_get_direction(session) ? POLLOUT : POLLIN;
}

static ssize_t receive_tls(struct probe_connection *connection, void *to, size_t bytes)
{
    for (;;) {
        ssize_t received = gnutls_record_recv(connection->tls, to, bytes);
        if (received >= 0)
            return received;
        if (received == GNUTLS_E_PREMATURE_TERMINATION)
            return 0;
        if (!is_tls_to_be_repeated(received) && gnutls_error_is_fatal((int)received)) {
            probe_fail(connection->probe, "receiving: %s", gnutls_strerror((int)received));
            return -1;
        }
        if (!wait_for(connection, tls_direction(connection->tls)))
            return -1;
    }
}

ssize_t probe_receive(struct probe_connection *connection, void *to, size_t bytes)
{
    if (connection->tls)
        return receive_tls(connection, to, bytes);
    for (;;) {
        ssize_t received = recv(connection->fd, to, bytes, 0);
        if (received >= 0)
            return received;
        if (errno != EAGAIN && errno != EINTR) {
            probe_fail(connection->probe, "receiving: %s", strerror(errno));
            return -1;
        }
        if (!wait_for(connection, POLLIN))
            return -1;
    }
}

static ssize_t send_some(struct probe_connection *connection, struct ap_slice bytes, bool *ret_is_to_be_repeated)
{
    if (connection->tls) {
        ssize_t sent = gnutls_record_send(connection->tls, bytes.data, bytes.bytes);
        *ret_is_to_be_repeated = is_tls_to_be_repeated(sent);
        return sent;
    }
    ssize_t sent = send(connection->fd, bytes.data, bytes.bytes, MSG_NOSIGNAL);
    *ret_is_to_be_repeated = sent < 0 && (errno == EAGAIN || errno == EINTR);
    return sent;
}

bool probe_send(struct probe_connection *connection, struct ap_slice bytes)
{
    while (bytes.bytes) {
        bool is_to_be_repeated;
        ssize_t sent = send_some(connection, bytes, &is_to_be_repeated);
        if (sent > 0)
            bytes = ap_slice(bytes.data + sent, bytes.bytes - (size_t)sent);
        else if (!is_to_be_repeated)
            return probe_fail(connection->probe, "sending: %s",
                              connection->tls ? gnutls_strerror((int)sent) : strerror(errno));
        else if (!wait_for(connection, POLLOUT))
            return false;
    }
    return true;
}

/* ---- TLS ---- */

static bool set_keys(struct probe_connection *connection, const struct probe_tls *tls)
{
    int result = gnutls_certificate_allocate_credentials(&connection->keys);
    if (result == 0 && tls->cert_file)
        result =
            gnutls_certificate_set_x509_key_file(connection->keys, tls->cert_file, tls->key_file, GNUTLS_X509_FMT_PEM);
    if (result < 0)
        return probe_fail(connection->probe, "tls_config: cert_file, key_file: %s", gnutls_strerror(result));
    return true;
}

static bool is_address(const char *host)
{
    struct in6_addr number;
    return inet_pton(AF_INET, host, &number) == 1 || inet_pton(AF_INET6, host, &number) == 1;
}

static bool set_session(struct probe_connection *connection, const struct probe_tls *tls, const char *server_name)
{
    AP_AUTO_FREE char *priority = probe_tls_priority(tls);
    int result = gnutls_init(&connection->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (result == 0)
        result = gnutls_priority_set_direct(connection->tls, priority, NULL);
    if (result == 0)
        result = gnutls_credentials_set(connection->tls, GNUTLS_CRD_CERTIFICATE, connection->keys);
    if (result == 0 && !is_address(server_name))
        result = gnutls_server_name_set(connection->tls, GNUTLS_NAME_DNS, server_name, strlen(server_name));
    if (result < 0)
        return probe_fail(connection->probe, "TLS: %s", gnutls_strerror(result));
    gnutls_transport_set_int(connection->tls, connection->fd);
    return true;
}

bool probe_start_tls(struct probe_connection *connection, const struct probe_tls *tls, const char *server_name)
{
    if (!set_keys(connection, tls) || !set_session(connection, tls, server_name))
        return false;
    for (int result; (result = gnutls_handshake(connection->tls)) < 0;) {
        if (gnutls_error_is_fatal(result))
            return probe_fail(connection->probe, "TLS handshake: %s", gnutls_strerror(result));
        if (is_tls_to_be_repeated(result) && !wait_for(connection, tls_direction(connection->tls)))
            return false;
    }
    return probe_check_tls(connection->probe, connection->tls, tls, server_name);
}
