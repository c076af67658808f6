/*
 * A server of the API, and somebody who asks it: what is below it, the test puts there.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <stdio.h>

#include "api/api.h"
#include "base/mem.h"
#include "net/http_client.h"

#define NOON_MS INT64_C(1795435200000) /* 2026-11-23T12:00:00Z */

/* What the latest MUST() failed with; a test program has one thread that fails. */
static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

struct api_server {
    struct http_server *server;
    struct http_client *client;
    struct http_client_answer answer; /* lent until the next question */
};

/* `handle`: api_handle(), or what stands before it. */
static inline void api_server_open(struct api_server *server, struct api *api, const struct http_limits *limits,
                                   void (*handle)(struct http_request *request, void *context))
{
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {
        .listeners = &listener,
        .listener_count = 1,
        .thread_count = 1,
        .limits = limits ? *limits : (struct http_limits){0},
        .admit = api_admit,
        .handle = handle,
        .context = api,
    };
    MUST(http_server_open(&options, &server->server, &must_err));
    server->client = http_client_new(&(struct http_client_options){.is_direct = true});
}

static inline void api_server_close(struct api_server *server)
{
    http_client_free(server->client);
    http_server_close(server->server);
}

static inline uint16_t api_server_port(const struct api_server *server)
{
    return http_server_port(server->server, 0);
}

/* Of `request` all but the address; returns the status. */
static inline unsigned api_server_ask(struct api_server *server, const char *path,
                                      const struct http_client_request *request)
{
    AP_AUTO_FREE char *url = ap_asprintf("http://127.0.0.1:%u%s", api_server_port(server), path);
    struct http_client_request asked = *request;
    asked.url = url;
    MUST(http_client_ask(server->client, &asked, &server->answer, &must_err));
    return server->answer.status;
}
