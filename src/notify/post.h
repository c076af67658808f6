/*
 * notify/post.h - one HTTP request of a sender, as <http_config> says, and what its answer means
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "notify/sender.h"

enum { POST_ANSWER_BYTES_MAX = 64 << 10, POST_TIMEOUT_MS = 30000 };

struct post {
    const char *url;                     /* secret */
    const char *timeout;                 /* the setting; NULL: POST_TIMEOUT_MS */
    const struct yaml_node *http_config; /* of the way; NULL: that of `global` */
    const char *headers[4];              /* "Name: value"; NULL behind the last */
    struct ap_slice body;                /* JSON */
};

struct post_answer {
    unsigned status;
    bool is_json;
    int64_t retry_after_ms;
    struct ap_buf body; /* the caller's to clear */
};

/*
 * Sends it, or shows it (struct sending). True: there is an answer, whose meaning is the caller's to say. False: *ret
 * says what came of it.
 */
bool post_json(struct sending *sending, const struct post *post, struct post_answer *ret_answer, struct delivery *ret);
/* 2xx done; 429 and 5xx again, when Retry-After says; all others refused. `what` (may be empty) is the answer's text.
 */
void post_judge(const struct post_answer *answer, const char *service, const char *what, struct delivery *ret);
/* That a <http_config> (NULL: none) can be used. */
ap_nodiscard enum ap_rc post_check(const struct yaml_node *http_config, struct ap_err *err);

/* ---- Also for what is no HTTP ---- */

struct scrape_http;
struct scrape_source;
/*
 * Reads a <http_config>, or with `key` what stands under that key of one (a <tls_config>). Texts live as long as
 * *ret_source.
 */
ap_nodiscard enum ap_rc post_settings(const struct yaml_node *node, const char *key, struct scrape_source **ret_source,
                                      struct scrape_http *ret_http, struct ap_err *err);
