/*
 * scrape/http_setup.h - a request of curl's, made as <http_config> says: credentials, TLS, proxy, header fields
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/rc.h"
#include "scrape/job.h"

/* What curl is lent until the request is over. In the caller's memory, zeroed before the first use. */
struct http_setup {
    struct curl_slist *fields; /* owned, as the next */
    struct curl_slist *proxy_fields;
    struct curl_slist *connect_to;
};

/*
 * Sets everything that `http` says on a handle that is as new, and the URL; the texts of `http` are copied. Secrets
 * that are in files are read now. AP_E_IO: one could not be; the handle is set but for that. Where `http` has oauth2,
 * the caller adds its field (scrape/oauth2.h).
 */
ap_nodiscard enum ap_rc http_setup_apply(struct http_setup *setup, CURL *curl, const struct scrape_http *http,
                                         const char *url, struct ap_err *err);
/* What is given, or what the file at `path` says now, without blanks around; with a final NUL. AP_E_IO names `what`. */
ap_nodiscard enum ap_rc http_setup_secret(const char *what, const char *given, const char *path, struct ap_buf *out,
                                          struct ap_err *err);

/* A further header field, "Accept: text/plain". */
void http_setup_add(struct http_setup *setup, const char *line);
/* Gives all fields to curl: the last step before the request. */
void http_setup_finish(struct http_setup *setup, CURL *curl);
/* The answer is appended to `body`, which is lent until then: one that is longer than its maximum ends the request. */
void http_setup_receive(CURL *curl, struct ap_buf *body);
/* As that, but of one that is longer than `bytes_max`, which becomes the maximum of `start`, nobody needs the rest. */
void http_setup_receive_start(CURL *curl, struct ap_buf *start, size_t bytes_max);
/* For who waits in curl_easy_perform(): how long at the most, and that it ends within a second once *is_ending, which
 * is atomic and lent, is true. NULL: it is not asked. */
void http_setup_wait(CURL *curl, int64_t timeout_ms, const bool *is_ending);
/* Behind the request; takes them away from curl again. */
void http_setup_clear(struct http_setup *setup, CURL *curl);
