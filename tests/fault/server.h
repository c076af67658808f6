/*
 * tests/fault/server.h - the real binary as a fixture: started, asked over HTTP, killed, started again
 *
 * The binary is named by APIARY_BIN. Everything fails the running cmocka test when it goes wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

enum { SERVER_ARGUMENTS_MAX = 24 };

struct server {
    pid_t pid;                                   /* 0: not running */
    int port;                                    /* of the main listener */
    char dir[128];                               /* data directory */
    char log[160];                               /* what it writes to standard error, all runs one behind the other */
    const char *arguments[SERVER_ARGUMENTS_MAX]; /* further ones for `serve`, NULL-terminated; lent */
};

/* A new temporary directory; nothing runs yet. */
void server_init(struct server *server);

/* The directory that is there instead, e.g. on a file system of its own. */
void server_init_at(struct server *server, const char *dir);
void server_clear(struct server *server); /* kills it and removes the directory */

/* Starts `apiary serve --data DIR --listen 127.0.0.1:0 ARGUMENTS…` and waits until it says that it listens. */
void server_start(struct server *server);
/*
 * For loops that wait for something of the server: naps and is true, until it has taken so long that the server must
 * hang. That is no promise of how quick it is, and a slow machine must not come near it. *deadline_ms is 0 before the
 * first call.
 */
bool server_wait_more(long *deadline_ms);

/* Waits until /-/ready says that all of the log has reached the warehouse. */
void server_wait_for_replay(struct server *server);
void server_kill(struct server *server);     /* SIGKILL, and waits */
int server_terminate(struct server *server); /* SIGTERM, and waits; returns the exit code */

/* Runs `apiary ARGUMENTS…` to its end; standard output goes to `*ret_output` (malloc). Returns the exit code. */
int apiary_run(const char *const *arguments, char **ret_output);

struct reply {
    long status; /* 0: the connection broke */
    char *body;  /* owned; NUL-terminated */
    size_t body_bytes;
    char *headers; /* owned; as received */
};
void reply_clear(struct reply *reply);

/* `header` may be NULL, or several separated by \n. A `body` of NULL makes a GET. */
struct reply http_ask(struct server *server, const char *path, const char *header, const char *body, size_t body_bytes);

/* Posts text and returns the status alone. */
long http_post(struct server *server, const char *path, const char *body);

/* One SQL query with one row and one column of a number, or fails the test. */
double sql_number(struct server *server, const char *query);

/* Asks until the number is `want`; fails the test when it never is. */
void sql_wait_for(struct server *server, const char *query, double want);
