/*
 * cli/remote.h - a running server that commands ask
 */
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "net/http_client.h"

struct remote {
    const char *address; /* with or without '/' at the end */
    const char *key;     /* viewer key; NULL: none */
};

struct remote_question {
    const char *path;         /* with parameters: "/api/apiary/v1/coverage?since=1h" */
    const char *content_type; /* of the body; NULL: there is none */
    const char *accept;       /* NULL: whatever it gives */
    struct ap_slice body;
    uint32_t deadline_ms;
};

/* As http_client_ask(). */
ap_nodiscard enum ap_rc remote_ask(struct http_client *client, const struct remote *remote,
                                   const struct remote_question *question, struct http_client_answer *ret_answer,
                                   struct ap_err *err);
/*
 * For a command that asks once: CLI_DONE, or CLI_FAILED after saying on standard error that no server answers or what
 * it gave in place of 200. The body is lent until the client's next request.
 */
int remote_ask_or_say(const char *command, struct http_client *client, const struct remote *remote,
                      const struct remote_question *question, struct ap_slice *ret_body);
