/*
 * ingest/admit.h - may this request write here? Decided from its header alone, before its body is read
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "net/http_server.h"

struct ingest;
struct keyring_entry;

/* How a refused request is answered. */
struct admit_refusal {
    unsigned status;
    int64_t retry_after_ms; /* 0: none */
    char text[AP_ERR_TEXT_BYTES];
};

/* The header fields that decide; data NULL where there is none. */
struct admit_header {
    enum http_method method;
    struct ap_slice content_type;
    struct ap_slice token;
    struct ap_slice origin;
};

struct keyring;

/*
 * False: answer `ret_refusal`. True: *ret_key is whose rate the rows count against, NULL with `is_open`; *ret_is_ndjson
 * tells what the content type said.
 */
bool admit_check(struct keyring *keyring, bool is_open, const struct admit_header *header, int64_t monotonic_us,
                 struct keyring_entry **ret_key, bool *ret_is_ndjson, struct admit_refusal *ret_refusal);

/* The key alone, the rest being the caller's to judge. Without `is_public_enough` it must be a secret one. */
bool admit_check_key(struct keyring *keyring, const struct admit_header *header, bool is_public_enough,
                     int64_t monotonic_us, struct keyring_entry **ret_key, struct admit_refusal *ret_refusal);

/*
 * The key as it was sent, the first that is there: `Authorization: Bearer KEY`, `Token KEY` or `Basic`, whose password
 * it is (the user does not matter); X-Apiary-Key; ?key=. Data NULL when there is none.
 */
struct ap_slice admit_find_token(struct http_request *request);
