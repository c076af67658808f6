/*
 * tests/unit/test_net_socket.h - a client that can misbehave: bytes out, answers in
 *
 * Every wait ends after a generous time so that a broken server fails a test in place of hanging it; no test depends on
 * how long something takes.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

#define GUARD_MS 30000

struct answer {
    unsigned status; /* 0: the connection ended without one */
    char header[8192];
    struct ap_buf body;
};

static inline void answer_clear(struct answer *answer)
{
    ap_buf_clear(&answer->body);
}
#define AUTO_ANSWER AP_CLEANUP(answer_clear)

static inline int client_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval guard = {.tv_sec = GUARD_MS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &guard, sizeof(guard));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof(guard));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* False when the server has closed. */
static inline bool client_send(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t sent = TEMP_FAILURE_RETRY(send(fd, at, bytes, MSG_NOSIGNAL));
        if (sent <= 0)
            return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static inline void client_text(int fd, const char *text)
{
    assert_true(client_send(fd, text, strlen(text)));
}

static inline bool client_read(int fd, void *room, size_t bytes)
{
    char *at = room;
    while (bytes > 0) {
        ssize_t got = TEMP_FAILURE_RETRY(recv(fd, at, bytes, 0));
        if (got <= 0)
            return false;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

/* One line with its line feed; false at the end of the connection. */
static inline bool client_line(int fd, char *line, size_t line_bytes)
{
    size_t bytes = 0;
    while (bytes + 1 < line_bytes) {
        if (!client_read(fd, line + bytes, 1))
            return false;
        if (line[bytes++] == '\n') {
            line[bytes] = '\0';
            return true;
        }
    }
    return false;
}

/* The value of a field of the answer, or NULL. Lent until the next call. */
static inline const char *answer_field(const struct answer *answer, const char *name)
{
    static char value[1024];
    size_t name_bytes = strlen(name);
    for (const char *line = answer->header; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, name_bytes) == 0 && line[name_bytes] == ':') {
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + name_bytes + 2, "\r\n"), line + name_bytes + 2);
            return value;
        }
    }
    return NULL;
}

static inline void answer_read_chunked(int fd, struct answer *answer)
{
    char line[64];
    for (;;) {
        assert_true(client_line(fd, line, sizeof(line)));
        size_t bytes = strtoul(line, NULL, 16);
        char *room = ap_buf_reserve(&answer->body, bytes + 2);
        assert_true(client_read(fd, room, bytes + 2));
        answer->body.bytes += bytes;
        if (bytes == 0)
            return;
    }
}

/* Reads one answer with its body. */
static inline void client_answer(int fd, struct answer *answer, bool is_head)
{
    ap_buf_clear(&answer->body);
    memset(answer, 0, sizeof(*answer));
    char line[2048];
    size_t used = 0;
    if (!client_line(fd, line, sizeof(line)))
        return;
    answer->status = (unsigned)atoi(line + strlen("HTTP/1.1 "));
    while (client_line(fd, line, sizeof(line)) && strcmp(line, "\r\n") != 0)
        used += (size_t)snprintf(answer->header + used, sizeof(answer->header) - used, "%s", line);
    const char *length = answer_field(answer, "Content-Length");
    if (is_head || answer->status == 204 || answer->status == 100)
        return;
    if (!length && answer_field(answer, "Transfer-Encoding")) {
        answer_read_chunked(fd, answer);
        return;
    }
    size_t bytes = length ? strtoul(length, NULL, 10) : 0;
    char *room = ap_buf_reserve(&answer->body, bytes + 1);
    assert_true(client_read(fd, room, bytes));
    answer->body.bytes = bytes;
    room[bytes] = '\0';
}

/* Whether the server closes; reads away what comes before that. */
static inline bool client_is_closed(int fd)
{
    char bytes[4096];
    for (;;) {
        ssize_t got = TEMP_FAILURE_RETRY(recv(fd, bytes, sizeof(bytes), 0));
        if (got <= 0)
            return got == 0 || errno == ECONNRESET;
    }
}
