/*
 * net/http_client.h - HTTP requests to others, with a deadline and a limit on what comes back
 *
 * Over libcurl. A client keeps its connections open between requests, so use one for many requests to the same server.
 * One thread at a time; each thread makes its own. Every call waits: not for the server's loops.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "net/http_field.h"

struct http_client; /* private to http_client.c */

struct http_client_options {
    const char *user_agent; /* lent for the call; NULL: "apiary" */
    const char *ca_file;    /* lent for the call; PEM of the authorities to trust; NULL: the system's */
    bool is_direct;         /* no proxy, whatever the environment says */
};

struct http_client *http_client_new(const struct http_client_options *options);
void http_client_free(struct http_client *client); /* NULL is allowed */
AP_DEFINE_AUTO(http_client, struct http_client, http_client_free)

struct http_client_request {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *url;    /* http:// or https:// */
    const struct http_field *fields;
    size_t field_count;
    struct ap_slice body;    /* data NULL: none */
    uint32_t deadline_ms;    /* for everything, name look-up included; 0: 30 s */
    size_t answer_bytes_max; /* after decompression; 0: 64 MiB */
};

struct http_client_answer {
    unsigned status;
    struct ap_slice body; /* lent until the client's next request */
};

/*
 * Asks, and waits for the answer. Any status is an answer; redirects are not followed. AP_E_TIMEOUT: the deadline
 * passed. AP_E_LIMIT: the answer is larger than allowed. AP_E_PARSE: the URL is none. AP_E_IO: no connection, or it
 * broke.
 */
ap_nodiscard enum ap_rc http_client_ask(struct http_client *client, const struct http_client_request *request,
                                        struct http_client_answer *ret_answer, struct ap_err *err);

/* A header field of the last answer, lent until the next request; NULL when it had none. */
const char *http_client_header(struct http_client *client, const char *name);
