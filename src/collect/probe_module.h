/*
 * collect/probe_module.h - how to probe: blackbox_exporter's module file, read as it stands
 *
 * What a module asks for and Apiary cannot do (gRPC, OAuth 2, CEL, brotli) does not stop the others: such a module is
 * kept with the reason, which is the answer to who uses it. Anything else that is wrong is wrong for the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/inflate.h"
#include "codec/yaml.h"
#include "collect/probe_regex.h"

enum probe_prober { PROBE_HTTP, PROBE_TCP, PROBE_DNS, PROBE_ICMP, PROBE_GRPC };

struct probe_regexes {
    struct probe_regex **items; /* owned */
    size_t count;
};

struct probe_tls {    /* texts lent from the file; NULL: not set */
    bool is_insecure; /* insecure_skip_verify */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    const char *server_name;
    int version_min; /* 0: the library's; else 10 to 13 for TLS 1.0 to 1.3 */
    int version_max;
};

struct probe_network { /* in each prober */
    bool is_ip4_preferred;
    bool is_fallback; /* to the other protocol */
    const char *source_address;
};

struct probe_header_match {
    const char *header;
    struct probe_regex *regex; /* owned */
    bool is_missing_allowed;
};
struct probe_header_matches {
    struct probe_header_match *items; /* owned */
    size_t count;
};

struct probe_http {
    struct probe_network network;
    const char *method; /* "GET" */
    struct yaml_texts headers;
    const char *body;
    const char *body_file; /* read for each probe, as all files */
    unsigned *statuses;    /* owned; those that are valid; none: 2xx */
    size_t status_count;
    struct yaml_texts versions; /* "HTTP/1.1", "HTTP/2.0"; none: any */
    bool is_following;
    bool is_http2;
    bool is_failing_if_tls;
    bool is_failing_if_not_tls;
    struct probe_regexes body_matches;     /* fail_if_body_matches_regexp */
    struct probe_regexes body_not_matches; /* fail_if_body_not_matches_regexp */
    struct probe_header_matches header_matches;
    struct probe_header_matches header_not_matches;
    enum inflate_encoding compression;
    int64_t body_bytes_max; /* 0: not set */
    struct probe_tls tls;
    const char *basic_user;
    const char *basic_password; /* secret, as credentials */
    const char *basic_password_file;
    const char *authorization_type;
    const char *credentials;
    const char *credentials_file;
    const char *proxy_url;
    const char *no_proxy;
    bool is_proxy_from_environment;
    bool is_resolved_by_proxy; /* skip_resolve_phase_with_proxy */
};

struct probe_step {             /* of query_response */
    struct probe_regex *expect; /* owned; NULL: none */
    const char *send;           /* NULL: nothing */
    bool is_starttls;
    struct yaml_texts labels; /* of probe_expect_info, by name; may quote what was expected */
};

struct probe_tcp {
    struct probe_network network;
    struct probe_step *steps; /* owned */
    size_t step_count;
    bool is_tls;
    struct probe_tls tls;
};

struct probe_icmp {
    struct probe_network network;
    int64_t payload_bytes; /* 0: the usual */
    bool is_unfragmented;  /* dont_fragment */
    int64_t ttl;
    int64_t packets;     /* ours: how many are sent */
    int64_t interval_ms; /* ours: between two of them */
};

struct probe_records { /* validate_answer_rrs and the like */
    struct probe_regexes matches;
    struct probe_regexes all_match;
    struct probe_regexes not_matches;
    struct probe_regexes none_matches;
};

struct probe_dns {
    struct probe_network network;
    bool is_tcp;
    bool is_tls;
    struct probe_tls tls;
    const char *name;
    uint16_t type;
    uint16_t class;
    bool is_recursion_desired;
    unsigned *rcodes; /* owned; none: NOERROR */
    size_t rcode_count;
    struct probe_records records[3]; /* answer, authority, additional */
};

struct probe_module {
    const char *name;
    enum probe_prober prober;
    const char *prober_name;
    char *unsupported;  /* owned; why it cannot be used; NULL: it can */
    int64_t timeout_ms; /* 0: none */
    union {
        struct probe_http http;
        struct probe_tcp tcp;
        struct probe_dns dns;
        struct probe_icmp icmp;
    };
};

struct probe_modules; /* immutable; private to probe_module.c */

/* `path` NULL: the built-in ones, http_2xx, http_post_2xx, tcp_connect, icmp and dns. */
ap_nodiscard enum ap_rc probe_modules_load(const char *path, struct probe_modules **ret_modules, struct ap_err *err);
ap_nodiscard enum ap_rc probe_modules_parse(struct ap_slice text, const char *file, struct probe_modules **ret_modules,
                                            struct ap_err *err);
void probe_modules_free(struct probe_modules *modules); /* NULL is allowed */
AP_DEFINE_AUTO(probe_modules, struct probe_modules, probe_modules_free)

size_t probe_modules_count(const struct probe_modules *modules);
/* NULL when there is none of this name. */
const struct probe_module *probe_modules_find(const struct probe_modules *modules, struct ap_slice name);
