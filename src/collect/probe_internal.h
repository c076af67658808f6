/*
 * collect/probe_internal.h - one probe at work, and what the probers share: addresses, connections, TLS
 */
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "collect/families.h"
#include "collect/probe_module.h"

struct probe_trust; /* the system's authorities, read once; private to probe_tls.c */

/* What the last handshake gave. */
struct probe_session {
    bool is_there;
    double earliest_end;  /* of the certificates that were sent, in seconds since 1970 */
    double trusted_until; /* of the chain up to an authority */
    const char *version;
    const char *cipher;
    struct ap_buf fingerprint, issuer, subject, names; /* of the other side's own certificate */
};

struct probe { /* one thread */
    const struct probe_module *module;
    struct probe_trust *trust;
    const char *user_agent;
    const char *target;
    const char *hostname; /* NULL: none */
    int64_t deadline_us;  /* monotonic */
    struct families *families;
    bool is_failed_by_regex;
    struct probe_session session;
    struct ap_buf log;              /* what was done, a line each */
    char reason[AP_ERR_TEXT_BYTES]; /* why it failed; "" when it did not */
};

/* Each adds its families and says whether the probe succeeded. */
bool probe_http(struct probe *probe);
bool probe_tcp(struct probe *probe);
bool probe_dns(struct probe *probe);
bool probe_icmp(struct probe *probe);

void probe_note(struct probe *probe, const char *format, ...) ap_printf(2, 3);
/* Notes it, keeps it as the reason, and is false, so that callers write `return probe_fail(…)`. */
bool probe_fail(struct probe *probe, const char *format, ...) ap_printf(2, 3);

double probe_seconds_since(int64_t start_us);
/* Milliseconds until the deadline, at most `most_ms`; 0 when it has passed. */
int probe_left_ms(const struct probe *probe, int64_t deadline_us, int most_ms);

/* ---- Addresses (probe_address.c) ---- */

struct probe_address {
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    };
    socklen_t bytes;
    char text[INET6_ADDRSTRLEN];
    double lookup_seconds;
};

/* "host:port", "[::1]:port". False: it is something else. Both are the caller's to free(). */
bool probe_split_host_port(const char *text, char **ret_host, char **ret_port);
/* Looks a name up by the network's preference and adds the families about that. */
bool probe_resolve(struct probe *probe, const struct probe_network *network, const char *host,
                   struct probe_address *ret_address);
bool probe_set_port(struct probe *probe, struct probe_address *address, const char *port);

/* ---- Connections (probe_connection.c) ---- */

struct probe_connection {
    struct probe *probe;
    int fd;                                /* -1: none */
    gnutls_session_t tls;                  /* NULL: plain */
    gnutls_certificate_credentials_t keys; /* of `tls` */
};
/* `type`: SOCK_STREAM or SOCK_DGRAM. */
bool probe_connect(struct probe *probe, const struct probe_network *network, const struct probe_address *address,
                   int type, struct probe_connection *ret_connection);
void probe_connection_close(struct probe_connection *connection);
#define PROBE_AUTO_CONNECTION __attribute__((cleanup(probe_connection_close)))
/* Waits for some bytes. 0: the other side has ended it. -1: failed, and noted. */
ssize_t probe_receive(struct probe_connection *connection, void *to, size_t bytes);
bool probe_send(struct probe_connection *connection, struct ap_slice bytes);

/* ---- TLS (probe_tls.c) ---- */

struct probe_trust *probe_trust_new(void);
void probe_trust_free(struct probe_trust *trust);

/* Makes the connection one over TLS: handshake, and check of the certificate; probe->session is about them. */
bool probe_start_tls(struct probe_connection *connection, const struct probe_tls *tls, const char *server_name);
/* The last two of that, for a session that somebody else has made. */
bool probe_check_tls(struct probe *probe, gnutls_session_t session, const struct probe_tls *tls,
                     const char *server_name);
/* The families about probe->session, when there is one. */
void probe_add_session(struct probe *probe);
void probe_session_clear(struct probe_session *session);
/* As GnuTLS wants the module's versions; free() it. */
char *probe_tls_priority(const struct probe_tls *tls);
