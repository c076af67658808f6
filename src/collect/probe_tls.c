/* What a TLS session is: version, cipher, the other side's certificates, and whether they are to be trusted. */
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "collect/probe_internal.h"

enum { CERTIFICATES_MAX = 32, TEXT_BYTES_MAX = 4096 };

/* ---- Authorities ---- */

struct probe_trust {
    pthread_mutex_t mtx;             /* a leaf */
    gnutls_x509_trust_list_t system; /* NULL: not read yet; constant from then on */
};

struct probe_trust *probe_trust_new(void)
{
    struct probe_trust *trust = ap_new0(struct probe_trust);
    pthread_mutex_init(&trust->mtx, NULL);
    return trust;
}

void probe_trust_free(struct probe_trust *trust)
{
    if (trust->system)
        gnutls_x509_trust_list_deinit(trust->system, 1);
    pthread_mutex_destroy(&trust->mtx);
    free(trust);
}

static gnutls_x509_trust_list_t new_list(void)
{
    gnutls_x509_trust_list_t list;
    AP_ASSERT(gnutls_x509_trust_list_init(&list, 0) == 0);
    return list;
}

/* Some 140 certificates, 20 ms: not for each probe. */
static gnutls_x509_trust_list_t system_list(struct probe_trust *trust)
{
    pthread_mutex_lock(&trust->mtx);
    if (!trust->system) {
        trust->system = new_list();
        (void)gnutls_x509_trust_list_add_system_trust(trust->system, 0, 0); /* none: then nothing is trusted */
    }
    gnutls_x509_trust_list_t system = trust->system;
    pthread_mutex_unlock(&trust->mtx);
    return system;
}

/* ---- Certificates ---- */

struct chain {
    gnutls_x509_crt_t items[CERTIFICATES_MAX]; /* owned; the other side's own first */
    unsigned count;
};

static void chain_clear(struct chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++)
        gnutls_x509_crt_deinit(chain->items[i]);
}

static bool read_chain(struct probe *probe, gnutls_session_t session, struct chain *ret_chain)
{
    unsigned count = 0;
    const gnutls_datum_t *sent = gnutls_certificate_get_peers(session, &count);
    if (!sent || count == 0)
        return probe_fail(probe, "TLS: the other side sent no certificate");
    for (unsigned i = 0; i < count && i < CERTIFICATES_MAX; i++) {
        AP_ASSERT(gnutls_x509_crt_init(&ret_chain->items[i]) == 0);
        ret_chain->count++;
        int result = gnutls_x509_crt_import(ret_chain->items[i], &sent[i], GNUTLS_X509_FMT_DER);
        if (result < 0)
            return probe_fail(probe, "TLS: certificate %u: %s", i, gnutls_strerror(result));
    }
    return true;
}

static time_t earliest_end(const struct chain *chain)
{
    time_t earliest = 0;
    for (unsigned i = 0; i < chain->count; i++) {
        time_t end = gnutls_x509_crt_get_expiration_time(chain->items[i]);
        if (i == 0 || end < earliest)
            earliest = end;
    }
    return earliest;
}

/* The end of the chain that is trusted: what was sent, and the authority above it, which need not be sent. */
static time_t trusted_end(const struct chain *chain, gnutls_x509_trust_list_t list)
{
    time_t end = earliest_end(chain);
    gnutls_x509_crt_t issuer = NULL;
    if (gnutls_x509_trust_list_get_issuer(list, chain->items[chain->count - 1], &issuer, GNUTLS_TL_GET_COPY) == 0) {
        end = AP_MIN(end, gnutls_x509_crt_get_expiration_time(issuer));
        gnutls_x509_crt_deinit(issuer);
    }
    return end;
}

static bool is_trusted(struct probe *probe, struct chain *chain, gnutls_x509_trust_list_t list, const char *server_name)
{
    gnutls_typed_vdata_st name = {.type = GNUTLS_DT_DNS_HOSTNAME,
                                  .data = (unsigned char *)(uintptr_t)server_name,
                                  .size = (unsigned)strlen(server_name)};
    unsigned status = 0;
    int result = gnutls_x509_trust_list_verify_crt2(list, chain->items, chain->count, &name, 1, 0, &status, NULL);
    if (result == 0 && status == 0)
        return true;
    gnutls_datum_t text = {0};
    if (result == 0 && gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0) {
        probe_fail(probe, "TLS: %.*s", (int)text.size, text.data);
        gnutls_free(text.data);
        return false;
    }
    return probe_fail(probe, "TLS: the certificate cannot be checked: %s", gnutls_strerror(result));
}

/* ---- Names in certificates ---- */

/* What a distinguished name is written with, in the order that Go writes it; all else follows as number and bytes. */
static const struct {
    const char *oid, *name;
} name_parts[] = {
    {"2.5.4.5", "SERIALNUMBER"}, {"2.5.4.3", "CN"}, {"2.5.4.11", "OU"}, {"2.5.4.10", "O"}, {"2.5.4.17", "POSTALCODE"},
    {"2.5.4.9", "STREET"},       {"2.5.4.7", "L"},  {"2.5.4.8", "ST"},  {"2.5.4.6", "C"}};

static bool is_oid(const gnutls_x509_ava_st *part, const char *oid)
{
    return ap_slice_equal_cstr(ap_slice(part->oid.data, strnlen((const char *)part->oid.data, part->oid.size)), oid);
}

/* RFC 2253 */
static void add_name_value(struct ap_buf *out, struct ap_slice value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        char c = value.data[i];
        bool is_edge_space = c == ' ' && (i == 0 || i + 1 == value.bytes);
        if ((c && strchr(",+\"\\<>;", c)) || is_edge_space || (c == '#' && i == 0))
            ap_buf_add_char(out, '\\');
        ap_buf_add_char(out, c);
    }
}

static void add_known_parts(struct ap_buf *out, gnutls_x509_dn_t dn, size_t kind)
{
    gnutls_x509_ava_st part;
    bool is_first = true;
    for (int set = 0; gnutls_x509_dn_get_rdn_ava(dn, set, 0, &part) == 0; set++)
        for (int i = 0; gnutls_x509_dn_get_rdn_ava(dn, set, i, &part) == 0; i++) {
            if (!is_oid(&part, name_parts[kind].oid))
                continue;
            if (out->bytes)
                ap_buf_add_char(out, is_first ? ',' : '+');
            ap_buf_printf(out, "%s=", name_parts[kind].name);
            add_name_value(out, ap_slice(part.value.data, AP_MIN(part.value.size, TEXT_BYTES_MAX)));
            is_first = false;
        }
}

static bool is_known_part(const gnutls_x509_ava_st *part)
{
    for (size_t kind = 0; kind < AP_ARRAY_COUNT(name_parts); kind++)
        if (is_oid(part, name_parts[kind].oid))
            return true;
    return false;
}

/* Text of certificates is a PrintableString where that can hold it, else a UTF8String; so Go writes it, whatever it
 * was. */
static unsigned string_tag(struct ap_slice text)
{
    enum { UTF8_STRING = 0x0C, PRINTABLE_STRING = 0x13 };
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && !(c && strchr(" '()+,-./:=?", c)))
            return UTF8_STRING;
    }
    return PRINTABLE_STRING;
}

static void add_distinguished_name(struct ap_buf *out, gnutls_x509_dn_t dn)
{
    enum { SHORT_FORM_MAX = 127 };
    gnutls_x509_ava_st part;
    int count = 0;
    for (size_t kind = 0; kind < AP_ARRAY_COUNT(name_parts); kind++)
        add_known_parts(out, dn, kind);
    while (gnutls_x509_dn_get_rdn_ava(dn, count, 0, &part) == 0)
        count++;
    for (int set = count - 1; set >= 0; set--)
        for (int i = 0; gnutls_x509_dn_get_rdn_ava(dn, set, i, &part) == 0; i++) {
            if (is_known_part(&part) || part.value.size > SHORT_FORM_MAX)
                continue;
            /* Tag, length, bytes. */
            ap_buf_printf(out, "%s%.*s=#%02x%02x", out->bytes ? "," : "", (int)part.oid.size, part.oid.data,
                          string_tag(ap_slice(part.value.data, part.value.size)), part.value.size);
            for (unsigned at = 0; at < part.value.size; at++)
                ap_buf_printf(out, "%02x", part.value.data[at]);
        }
}

static void add_dns_names(struct ap_buf *out, gnutls_x509_crt_t certificate)
{
    char name[TEXT_BYTES_MAX];
    for (unsigned i = 0;; i++) {
        size_t bytes = sizeof(name);
        int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &bytes, NULL);
        if (type < 0)
            return;
        if (type != GNUTLS_SAN_DNSNAME)
            continue;
        if (out->bytes)
            ap_buf_add_char(out, ',');
        ap_buf_add(out, name, bytes);
    }
}

static void add_fingerprint(struct ap_buf *out, gnutls_x509_crt_t certificate)
{
    unsigned char hash[32];
    size_t bytes = sizeof(hash);
    if (gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, hash, &bytes) != 0)
        return;
    for (size_t i = 0; i < bytes; i++)
        ap_buf_printf(out, "%02x", hash[i]);
}

/* ---- The session ---- */

static const char *version_name(gnutls_protocol_t version)
{
    switch ((int)version) {
    case GNUTLS_TLS1_0:
        return "TLS 1.0";
    case GNUTLS_TLS1_1:
        return "TLS 1.1";
    case GNUTLS_TLS1_2:
        return "TLS 1.2";
    case GNUTLS_TLS1_3:
        return "TLS 1.3";
    default:
        return "unknown";
    }
}

/* What is said when there is no chain that is trusted, as nobody was asked for one: the time of Go that is none. */
#define NO_TIME (-62135596800.0)

static void keep_session(struct probe *probe, gnutls_session_t session, const struct chain *chain, double trusted_until)
{
    struct probe_session *kept = &probe->session;
    gnutls_x509_crt_t leaf = chain->items[0];
    gnutls_x509_dn_t dn;
    const char *suite = gnutls_ciphersuite_get(session);
    probe_session_clear(kept);
    kept->is_there = true;
    kept->earliest_end = (double)earliest_end(chain);
    kept->trusted_until = trusted_until;
    kept->version = version_name(gnutls_protocol_get_version(session));
    kept->cipher = suite ? suite : "unknown";
    add_fingerprint(&kept->fingerprint, leaf);
    if (gnutls_x509_crt_get_issuer(leaf, &dn) == 0)
        add_distinguished_name(&kept->issuer, dn);
    if (gnutls_x509_crt_get_subject(leaf, &dn) == 0)
        add_distinguished_name(&kept->subject, dn);
    add_dns_names(&kept->names, leaf);
    probe_note(probe, "%s with %s, certificate of %.*s", kept->version, kept->cipher,
               AP_SLICE_ARG(ap_buf_slice(&kept->subject)));
}

void probe_session_clear(struct probe_session *session)
{
    ap_buf_clear(&session->fingerprint);
    ap_buf_clear(&session->issuer);
    ap_buf_clear(&session->subject);
    ap_buf_clear(&session->names);
    *session = (struct probe_session){0};
}

void probe_add_session(struct probe *probe)
{
    static const struct family earliest = {"probe_ssl_earliest_cert_expiry",
                                           "Returns last SSL chain expiry in unixtime", FAMILY_GAUGE};
    static const struct family last = {"probe_ssl_last_chain_expiry_timestamp_seconds",
                                       "Returns last SSL chain expiry in timestamp", FAMILY_GAUGE};
    static const struct family info = {"probe_ssl_last_chain_info", "Contains SSL leaf certificate information",
                                       FAMILY_GAUGE};
    static const struct family version = {"probe_tls_version_info", "Returns the TLS version used or NaN when unknown",
                                          FAMILY_GAUGE};
    static const struct family cipher = {"probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake",
                                         FAMILY_GAUGE};
    const struct probe_session *session = &probe->session;
    if (!session->is_there)
        return;
    const struct label labels[] = {
        {AP_SLICE_LITERAL("fingerprint_sha256"), ap_buf_slice(&session->fingerprint)},
        {AP_SLICE_LITERAL("issuer"), ap_buf_slice(&session->issuer)},
        {AP_SLICE_LITERAL("subject"), ap_buf_slice(&session->subject)},
        {AP_SLICE_LITERAL("subjectalternative"), ap_buf_slice(&session->names)},
    };
    families_add(probe->families, &earliest, session->earliest_end);
    families_add(probe->families, &last, session->trusted_until);
    families_add_labels(probe->families, &info, 1, labels, AP_ARRAY_COUNT(labels));
    families_add1(probe->families, &version, 1, "version", ap_slice_cstr(session->version));
    families_add1(probe->families, &cipher, 1, "cipher", ap_slice_cstr(session->cipher));
}

static bool check_chain(struct probe *probe, gnutls_session_t session, struct chain *chain, const struct probe_tls *tls,
                        const char *server_name)
{
    double trusted_until = NO_TIME;
    if (!read_chain(probe, session, chain))
        return false;
    if (!tls->is_insecure) {
        gnutls_x509_trust_list_t list = tls->ca_file ? new_list() : system_list(probe->trust);
        int result = tls->ca_file
                         ? gnutls_x509_trust_list_add_trust_file(list, tls->ca_file, NULL, GNUTLS_X509_FMT_PEM, 0, 0)
                         : 1;
        bool is_fine = result > 0 ? is_trusted(probe, chain, list, server_name)
                                  : probe_fail(probe, "tls_config: ca_file %s: %s", tls->ca_file,
                                               result < 0 ? gnutls_strerror(result) : "no certificate in it");
        if (is_fine)
            trusted_until = (double)trusted_end(chain, list);
        if (tls->ca_file)
            gnutls_x509_trust_list_deinit(list, 1);
        if (!is_fine)
            return false;
    }
    keep_session(probe, session, chain, trusted_until);
    return true;
}

bool probe_check_tls(struct probe *probe, gnutls_session_t session, const struct probe_tls *tls,
                     const char *server_name)
{
    struct chain chain = {.count = 0};
    bool is_fine = check_chain(probe, session, &chain, tls, server_name);
    chain_clear(&chain);
    return is_fine;
}

char *probe_tls_priority(const struct probe_tls *tls)
{
    static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3"};
    enum { OLDEST = 10, DEFAULT_MIN = 12 };
    struct ap_buf priority = {0};
    ap_buf_add_cstr(&priority, "NORMAL:-VERS-ALL");
    int version_min = tls->version_min ? tls->version_min : DEFAULT_MIN;
    for (int i = 0; i < (int)AP_ARRAY_COUNT(versions); i++)
        if (OLDEST + i >= version_min && (!tls->version_max || OLDEST + i <= tls->version_max))
            ap_buf_printf(&priority, ":+VERS-TLS%s", versions[i]);
    return ap_buf_detach(&priority);
}
