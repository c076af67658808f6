/*
 * kill -9 under load, again and again: every event that was answered with 2xx is there exactly once.
 *
 * Each sender numbers its rows. A request that broke off may or may not have been taken: its rows are written down as
 * unknown, must be there all or none, and are left out of the count. APIARY_KILL_ROUNDS sets the number of rounds.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "server.h"

enum { SENDER_COUNT = 6, BATCH_ROWS = 50, ROUNDS_DEFAULT = 100, UNKNOWN_MAX = 4096, BODY_BYTES = 160 };

struct sender {
    int index;
    int port;
    unsigned rows_per_request; /* senders differ: one row, or a batch */
    unsigned next;             /* number of the next row */
    unsigned acknowledged_rows;
    unsigned unknown[UNKNOWN_MAX]; /* first row of each request that broke off */
    size_t unknown_count;
    pthread_t thread;
};

static atomic_uint answered_count; /* requests of all senders, in all rounds */

static size_t write_rows(const struct sender *sender, char *body, size_t body_bytes)
{
    size_t used = 0;
    for (unsigned i = 0; i < sender->rows_per_request; i++)
        used += (size_t)snprintf(body + used, body_bytes - used,
                                 "{\"event_type\":\"command_execution\",\"session_id\":\"s%d\",\"duration_ms\":%u}\n",
                                 sender->index, sender->next + i);
    return used;
}

static size_t ignore(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

/* Posts until the connection breaks, which is how it learns that the server was killed. */
static void *send_until_killed(void *context)
{
    struct sender *sender = context;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/events", sender->port);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    static const size_t body_bytes = (size_t)BATCH_ROWS * BODY_BYTES;
    char *body = malloc(body_bytes);
    for (bool is_up = true; is_up;) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)write_rows(sender, body, body_bytes));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        is_up = curl_easy_perform(curl) == CURLE_OK;
        long status = 0;
        if (is_up)
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        atomic_fetch_add(&answered_count, is_up);
        if (status == 204)
            sender->acknowledged_rows += sender->rows_per_request;
        else if (sender->unknown_count < UNKNOWN_MAX)
            sender->unknown[sender->unknown_count++] = sender->next;
        sender->next += sender->rows_per_request;
    }
    free(body);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return NULL;
}

static void check_sender(struct server *server, const struct sender *sender)
{
    char query[256];
    snprintf(query, sizeof(query), "SELECT COUNT(*) - COUNT(DISTINCT duration_ms) FROM events WHERE session_id = 's%d'",
             sender->index);
    assert_int_equal((int)sql_number(server, query), 0); /* nothing twice */

    unsigned kept_unknown_rows = 0;
    for (size_t i = 0; i < sender->unknown_count; i++) {
        unsigned first = sender->unknown[i];
        snprintf(query, sizeof(query),
                 "SELECT COUNT(*) FROM events WHERE session_id = 's%d' AND duration_ms BETWEEN %u AND %u",
                 sender->index, first, first + sender->rows_per_request - 1);
        unsigned rows = (unsigned)sql_number(server, query);
        assert_true(rows == 0 || rows == sender->rows_per_request); /* a request is taken whole or not at all */
        kept_unknown_rows += rows;
    }
    snprintf(query, sizeof(query), "SELECT COUNT(*) FROM events WHERE session_id = 's%d'", sender->index);
    assert_int_equal((unsigned)sql_number(server, query), sender->acknowledged_rows + kept_unknown_rows);
}

static void test_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    const char *rounds_text = getenv("APIARY_KILL_ROUNDS");
    int rounds = rounds_text ? atoi(rounds_text) : ROUNDS_DEFAULT;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u, %d rounds\n", seed, rounds);

    struct server server;
    server_init(&server);
    server.arguments[0] = "--open";
    static struct sender senders[SENDER_COUNT];
    for (int i = 0; i < SENDER_COUNT; i++)
        senders[i] = (struct sender){.index = i, .rows_per_request = i % 3 == 2 ? BATCH_ROWS : 1};

    for (int round = 0; round < rounds; round++) {
        server_start(&server);
        for (int i = 0; i < SENDER_COUNT; i++) {
            senders[i].port = server.port;
            assert_int_equal(pthread_create(&senders[i].thread, NULL, send_until_killed, &senders[i]), 0);
        }
        nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 300 * 1000000L}, NULL);
        /* Where the machine is slow, the last round goes on until there really was a load. */
        for (long deadline_ms = 0; round == rounds - 1 && atomic_load(&answered_count) <= (unsigned)rounds;)
            assert_true(server_wait_more(&deadline_ms));
        server_kill(&server);
        for (int i = 0; i < SENDER_COUNT; i++)
            pthread_join(senders[i].thread, NULL);
    }

    server_start(&server);
    unsigned acknowledged_rows = 0, next_rows = 0;
    for (int i = 0; i < SENDER_COUNT; i++) {
        acknowledged_rows += senders[i].acknowledged_rows;
        next_rows += senders[i].next;
    }
    print_message("%u rows acknowledged of %u sent\n", acknowledged_rows, next_rows);
    assert_true(acknowledged_rows > (unsigned)rounds);
    server_wait_for_replay(&server);
    for (int i = 0; i < SENDER_COUNT; i++)
        check_sender(&server, &senders[i]);
    assert_int_equal(server_terminate(&server), 0);
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_acknowledged_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
