/*
 * scrape/oauth2.h - tokens of OAuth 2.0's client credentials (RFC 6749, 4.4): asked for, and kept until they end
 *
 * Who may wait calls oauth2_authorize() and is done. Who may not, as the scraper's loop, makes two requests of one:
 *
 *     oauth2_tokens_find() ── there is none ──► oauth2_request(), performed somehow ──► oauth2_tokens_take()
 *          └── there is one ──► the request itself, with it
 *
 * A token belongs to what the configuration says, not to the object that was made of it: after a reload that leaves the
 * settings as they were, and between requests whose settings are read anew each time, it is the same one. Several that
 * find none at the same time ask for one each, which does no harm.
 *
 * Tokens are secrets: they are in memory only, and in no error.
 */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"
#include "scrape/http_setup.h"
#include "scrape/job.h"

/* <oauth2>. Texts are the source's. */
struct oauth2 {
    const char *token_url; /* may hold a password */
    const char *client_id;
    const char *client_secret;      /* secret; NULL: there is none, or it is in the file */
    const char *client_secret_file; /* read anew for each token */
    struct yaml_texts scopes;
    struct yaml_texts params; /* endpoint_params, which may be secret */
    struct scrape_http http;  /* TLS and proxy, for the way to token_url */
    struct ap_slice identity; /* all of it as text: who says the same has the same token */
};

enum { OAUTH2_ANSWER_BYTES_MAX = 64 << 10 };

/* The tokens that are known. Any thread. */
struct oauth2_tokens; /* private to oauth2.c */
struct oauth2_tokens *oauth2_tokens_new(void);
void oauth2_tokens_free(struct oauth2_tokens *tokens); /* NULL is allowed */
AP_DEFINE_AUTO(oauth2_tokens, struct oauth2_tokens, oauth2_tokens_free)

/*
 * Appends "Authorization: Bearer …" and a NUL when there is a token that is good for some seconds more; otherwise
 * false.
 */
bool oauth2_tokens_find(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, struct ap_buf *out);
/* It was shown, and answered 401: the next one is asked for at once. */
void oauth2_tokens_forget(struct oauth2_tokens *tokens, const struct oauth2 *oauth2);

/*
 * Makes a handle that is as new ask for a token; writing the answer, and deadlines, are the caller's to set. Ends with
 * http_setup_finish(). AP_E_IO: the file of the secret cannot be read.
 */
ap_nodiscard enum ap_rc oauth2_request(struct oauth2_tokens *tokens, const struct oauth2 *oauth2,
                                       struct http_setup *setup, CURL *curl, struct ap_err *err);
/*
 * What came back. AP_OK: the token is kept, and appended as oauth2_tokens_find() does. AP_E_CONFLICT: the server may
 * want the client's credentials in the body; make the request once more. Anything else is the end.
 */
ap_nodiscard enum ap_rc oauth2_tokens_take(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, unsigned status,
                                           struct ap_slice answer, struct ap_buf *out, struct ap_err *err);

/*
 * Adds the field to a request that is being set up, where `http` wants one, and waits for a token where there is none:
 * for `timeout_ms`, or until *is_ending (atomic; NULL: never). `tokens` NULL: it is not kept.
 */
ap_nodiscard enum ap_rc oauth2_authorize(struct oauth2_tokens *tokens, const struct scrape_http *http,
                                         struct http_setup *setup, const bool *is_ending, long timeout_ms,
                                         struct ap_err *err);
