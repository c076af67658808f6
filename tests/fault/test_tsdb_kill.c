/*
 * kill -9 at random moments, while samples come in, are sealed, cut into blocks, merged, deleted and copied into
 * snapshots: every sample that was answered with 2xx is there, with its value, once.
 *
 * Blocks are a minute long and data time runs a second a request, so that all of this happens many times in a round.
 * Half of the senders speak remote write, half the text format. A request that broke off may have been taken in part:
 * what is there of it must be right. It is sent again after the restart, as real senders do. APIARY_KILL_ROUNDS sets
 * the number of rounds; APIARY_KILL_SEED repeats a run.
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

#include "base/bits.h"
#include "metrics.h"

enum {
    SENDERS = 4,
    SERIES = 12, /* of each sender, in every request */
    WAVES = 40,  /* further ones, one in a request: they go away and come back, others take their places */
    SAMPLES = 4, /* of each series in a request, a quarter of a second apart */
    ROUNDS_DEFAULT = 40,
    BODY_BYTES = 1 << 16,
    LATE_EVERY = 7,      /* requests */
    LATE_MS = 10 * 1000, /* within the window */
    WINDOW_MS = 300 * 1000,
};

enum outcome { OUTCOME_UNKNOWN, OUTCOME_ACKNOWLEDGED };

struct sent {
    int64_t ts_ms; /* of its first samples */
    enum outcome outcome;
};

struct sender {
    int index;
    int port;
    struct sent *requests; /* owned; the request's number is in its values */
    size_t request_count;
    size_t request_capacity;
    size_t again;      /* the request that broke off, to be sent again; SIZE_MAX: none */
    char refusal[256]; /* the first one */
    pthread_t thread;
};

static atomic_llong data_time_ms;
static atomic_uint answered_count; /* requests of all senders, in all rounds of a run */

static double value_of(size_t request, int series, int sample)
{
    return (double)(request * SAMPLES + (size_t)sample) + series / 16.0;
}

/* The series that a request has beside the usual ones. */
static int wave_of(size_t request)
{
    return SERIES + (int)(request * 7 % WAVES);
}

/* The nth series of a request, n from 0 to SERIES. */
static int series_of(size_t request, int nth)
{
    return nth < SERIES ? nth : wave_of(request);
}

/* ---- Bodies ---- */

static size_t write_text(const struct sender *sender, size_t request, char *body)
{
    size_t used = 0;
    for (int nth = 0; nth <= SERIES; nth++)
        for (int i = 0; i < SAMPLES; i++)
            used +=
                (size_t)snprintf(body + used, BODY_BYTES - used, "kill{sender=\"%d\",series=\"%d\"} %.17g %lld\n",
                                 sender->index, series_of(request, nth), value_of(request, series_of(request, nth), i),
                                 (long long)(sender->requests[request].ts_ms + i * 250));
    return used;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t bytes = 0;
    for (; value >= 0x80; value >>= 7)
        to[bytes++] = (uint8_t)(value | 0x80);
    to[bytes++] = (uint8_t)value;
    return bytes;
}

static size_t put_bytes(uint8_t *to, uint8_t tag, const void *data, size_t bytes)
{
    size_t used = 0;
    to[used++] = tag;
    used += put_varint(to + used, bytes);
    memcpy(to + used, data, bytes);
    return used + bytes;
}

static size_t put_label(uint8_t *to, const char *name, const char *value)
{
    uint8_t label[256];
    size_t bytes = put_bytes(label, 0x0a, name, strlen(name));
    bytes += put_bytes(label + bytes, 0x12, value, strlen(value));
    return put_bytes(to, 0x0a, label, bytes);
}

/* WriteRequest of remote write 1.0. */
static size_t write_protobuf(const struct sender *sender, size_t request, uint8_t *body)
{
    size_t used = 0;
    for (int nth = 0; nth <= SERIES; nth++) {
        int series = series_of(request, nth);
        uint8_t one[1024];
        char text[16];
        size_t bytes = put_label(one, "__name__", "kill");
        snprintf(text, sizeof(text), "%d", sender->index);
        bytes += put_label(one + bytes, "sender", text);
        snprintf(text, sizeof(text), "%d", series);
        bytes += put_label(one + bytes, "series", text);
        for (int i = 0; i < SAMPLES; i++) {
            uint8_t sample[32] = {0x09};
            double value = value_of(request, series, i);
            memcpy(sample + 1, &value, 8);
            sample[9] = 0x10;
            size_t sample_bytes = 10 + put_varint(sample + 10, (uint64_t)(sender->requests[request].ts_ms + i * 250));
            bytes += put_bytes(one + bytes, 0x12, sample, sample_bytes);
        }
        used += put_bytes(body + used, 0x0a, one, bytes);
    }
    return used;
}

/* Snappy's block format with literals alone. */
static size_t pack_snappy(const uint8_t *from, size_t bytes, uint8_t *to)
{
    size_t used = put_varint(to, bytes);
    for (size_t at = 0; at < bytes;) {
        size_t part = bytes - at < 65536 ? bytes - at : 65536;
        to[used++] = 61 << 2; /* a literal whose length less one follows in two bytes */
        to[used++] = (uint8_t)(part - 1);
        to[used++] = (uint8_t)((part - 1) >> 8);
        memcpy(to + used, from + at, part);
        used += part;
        at += part;
    }
    return used;
}

static bool is_remote_write(const struct sender *sender)
{
    return sender->index % 2 == 1;
}

/* ---- Senders ---- */

static size_t new_request(struct sender *sender)
{
    if (sender->request_count == sender->request_capacity) {
        sender->request_capacity = sender->request_capacity ? sender->request_capacity * 2 : 1024;
        sender->requests = realloc(sender->requests, sender->request_capacity * sizeof(*sender->requests));
    }
    int64_t ts_ms = atomic_fetch_add(&data_time_ms, 1000);
    if (sender->request_count % LATE_EVERY == 0)
        ts_ms -= LATE_MS - 100; /* no other request has these times */
    sender->requests[sender->request_count] = (struct sent){.ts_ms = ts_ms};
    return sender->request_count++;
}

struct answer {
    char text[256];
    size_t bytes;
};

static size_t keep(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t bytes = size * count, room = sizeof(answer->text) - 1 - answer->bytes;
    size_t kept = bytes < room ? bytes : room;
    memcpy(answer->text + answer->bytes, data, kept);
    answer->bytes += kept;
    answer->text[answer->bytes] = '\0';
    return bytes;
}

/* Posts until the connection breaks, which is how it learns that the server was killed. */
static void *send_until_killed(void *context)
{
    struct sender *sender = context;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    char url[96];
    bool is_remote = is_remote_write(sender);
    if (is_remote) {
        headers = curl_slist_append(headers, "Content-Type: application/x-protobuf");
        headers = curl_slist_append(headers, "Content-Encoding: snappy");
        headers = curl_slist_append(headers, "X-Prometheus-Remote-Write-Version: 0.1.0");
    } else {
        headers = curl_slist_append(headers, "Content-Type: text/plain");
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", sender->port,
             is_remote ? "/api/v1/write" : "/api/v1/import/prometheus");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    uint8_t *body = malloc(BODY_BYTES), *packed = malloc(BODY_BYTES + 64);
    for (bool is_up = true; is_up;) {
        size_t request = sender->again != SIZE_MAX ? sender->again : new_request(sender);
        size_t bytes;
        if (is_remote)
            bytes = pack_snappy(body, write_protobuf(sender, request, body), packed);
        else
            bytes = write_text(sender, request, (char *)packed);
        struct answer answer = {0};
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)bytes);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, packed);
        is_up = curl_easy_perform(curl) == CURLE_OK;
        long status = 0;
        if (is_up)
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        atomic_fetch_add(&answered_count, is_up);
        /* One that comes again, or whose sender the machine forgot for long, may be too late by now. */
        bool is_late = atomic_load(&data_time_ms) - sender->requests[request].ts_ms > WINDOW_MS / 2;
        sender->again = is_up ? SIZE_MAX : request;
        if (status / 100 == 2) {
            sender->requests[request].outcome = OUTCOME_ACKNOWLEDGED;
        } else if (status == 400 && !is_late && !*sender->refusal) {
            snprintf(sender->refusal, sizeof(sender->refusal), "%.255s", answer.text);
        }
    }
    free(body);
    free(packed);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return NULL;
}

/* ---- The operator, who is busy with everything else ---- */

struct operator_hand {
    int port;
    unsigned seed;
    unsigned victim_count;
    bool *is_deleted; /* owned; by victim: the deletion was acknowledged */
    size_t done_count[5];
    pthread_t thread;
};

static long post(CURL *curl, int port, const char *path, const char *type, const char *body)
{
    char url[256];
    struct answer answer = {0};
    struct curl_slist *headers = curl_slist_append(NULL, type);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    long status = 0;
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    return status;
}

static long make_and_delete(struct operator_hand *hand, CURL *curl)
{
    char text[128];
    unsigned victim = hand->victim_count++;
    hand->is_deleted = realloc(hand->is_deleted, hand->victim_count * sizeof(*hand->is_deleted));
    hand->is_deleted[victim] = false;
    snprintf(text, sizeof(text), "victim{n=\"%u\"} 1 %lld\n", victim, (long long)atomic_load(&data_time_ms));
    long status = post(curl, hand->port, "/api/v1/import/prometheus", "Content-Type: text/plain", text);
    if (status / 100 != 2)
        return status;
    snprintf(text, sizeof(text), "match[]=victim{n=\"%u\"}", victim);
    status = post(curl, hand->port, "/api/v1/admin/tsdb/delete_series",
                  "Content-Type: application/x-www-form-urlencoded", text);
    hand->is_deleted[victim] = status == 204;
    return status;
}

static void *operate_until_killed(void *context)
{
    static const char form[] = "Content-Type: application/x-www-form-urlencoded";
    struct operator_hand *hand = context;
    CURL *curl = curl_easy_init();
    for (long status = 200; status != 0;) {
        unsigned what = (unsigned)rand_r(&hand->seed) % 5;
        if (what == 0)
            status = post(curl, hand->port, "/api/apiary/v1/tsdb/settle", form, "seal_all=1");
        else if (what == 1)
            status = post(curl, hand->port, "/api/apiary/v1/tsdb/settle", form, "seal_all=0");
        else if (what == 2)
            status = post(curl, hand->port, "/api/v1/admin/tsdb/snapshot", form, "");
        else if (what == 3)
            status = post(curl, hand->port, "/api/v1/admin/tsdb/clean_tombstones", form, "");
        else
            status = make_and_delete(hand, curl);
        hand->done_count[what] += status / 100 == 2;
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* ---- What is there afterwards ---- */

struct expected {
    int64_t ts_ms;
    size_t request;
    int sample;
};

static int compare_expected(const void *left, const void *right)
{
    const struct expected *a = left, *b = right;
    return (a->ts_ms > b->ts_ms) - (a->ts_ms < b->ts_ms);
}

static void check_series(const struct sender *sender, int index, const struct metrics_series *series,
                         const struct expected *expected, size_t expected_count, int64_t kept_from_ms)
{
    size_t at = 0, missing = 0;
    for (size_t i = 0; i < expected_count; i++) {
        if (index >= SERIES && wave_of(expected[i].request) != index)
            continue;
        bool is_there = at < series->count && series->ts_ms[at] == expected[i].ts_ms;
        if (is_there) {
            double value = value_of(expected[i].request, index, expected[i].sample);
            if (ap_double_to_bits(value) != series->bits[at])
                fail_msg("sender %d series %d at %lld: another value", sender->index, index,
                         (long long)expected[i].ts_ms);
            at++;
        } else if (sender->requests[expected[i].request].outcome == OUTCOME_ACKNOWLEDGED &&
                   expected[i].ts_ms >= kept_from_ms) {
            if (missing++ < 5)
                print_message("sender %d series %d: request %zu sample %d at %lld is missing\n", sender->index, index,
                              expected[i].request, expected[i].sample, (long long)expected[i].ts_ms);
        }
    }
    if (missing)
        fail_msg("%zu acknowledged samples are missing", missing);
    if (at != series->count)
        fail_msg("sender %d series %d has a sample at %lld that was never sent", sender->index, index,
                 (long long)series->ts_ms[at]);
}

static void check_sender(struct server *server, const struct sender *sender, int64_t kept_from_ms)
{
    if (*sender->refusal)
        fail_msg("sender %d was refused: %s", sender->index, sender->refusal);
    size_t count = sender->request_count * SAMPLES;
    struct expected *expected = malloc((count + 1) * sizeof(*expected));
    for (size_t i = 0; i < count; i++)
        expected[i] = (struct expected){sender->requests[i / SAMPLES].ts_ms + (int64_t)(i % SAMPLES) * 250, i / SAMPLES,
                                        (int)(i % SAMPLES)};
    qsort(expected, count, sizeof(*expected), compare_expected);
    for (int index = 0; index < SERIES + WAVES; index++) {
        char selector[96];
        snprintf(selector, sizeof(selector), "kill{sender=\"%d\",series=\"%d\"}", sender->index, index);
        struct metrics_answer answer = metrics_export(server, selector);
        static const struct metrics_series none;
        assert_true(answer.count <= 1);
        check_series(sender, index, answer.count ? &answer.series[0] : &none, expected, count, kept_from_ms);
        metrics_answer_clear(&answer);
    }
    free(expected);
}

static void check_victims(struct server *server, const struct operator_hand *hand)
{
    struct metrics_answer answer = metrics_export(server, "victim");
    for (size_t i = 0; i < answer.count; i++) {
        json_t *labels = json_loads(answer.series[i].labels, 0, NULL);
        unsigned victim = (unsigned)atoi(json_string_value(json_object_get(labels, "n")));
        json_decref(labels);
        assert_true(victim < hand->victim_count);
        if (hand->is_deleted[victim])
            fail_msg("victim %u was deleted and is back", victim);
    }
    metrics_answer_clear(&answer);
}

static void check_all(struct server *server, const struct sender *senders, const struct operator_hand *hand,
                      int64_t kept_ms)
{
    for (int i = 0; i < SENDERS; i++)
        check_sender(server, &senders[i], kept_ms ? atomic_load(&data_time_ms) - kept_ms : INT64_MIN);
    check_victims(server, hand);
}

static void verify_files(const struct server *server)
{
    const char *arguments[] = {"tsdb", "verify", "--data", server->dir, NULL};
    char *output;
    int exit_code = apiary_run(arguments, &output);
    if (exit_code != 0)
        fail_msg("apiary tsdb verify: %s", output);
    free(output);
}

static void remove_snapshots(const struct server *server)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf '%s/tsdb/snapshots'", server->dir);
    assert_int_equal(system(command), 0);
}

static unsigned number_of(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);
    return text ? (unsigned)atoi(text) : otherwise;
}

/* `kept_ms`: 0, or what is older than this behind the newest sample may be gone. */
static void run(unsigned rounds, const char *retention, int64_t kept_ms, unsigned check_every)
{
    unsigned seed = number_of("APIARY_KILL_SEED", (unsigned)time(NULL));
    print_message("seed %u, %u rounds\n", seed, rounds);
    /* Data time begins days ago and never reaches now. */
    atomic_store(&data_time_ms, ((long long)time(NULL) - 12 * 86400) * 1000);
    atomic_store(&answered_count, 0);

    struct server server;
    server_init(&server);
    const char *const arguments[] = {"--open", "--set",  "tsdb.block_range=1m", "--set", "tsdb.out_of_order_window=5m",
                                     "--set",  retention};
    memcpy(server.arguments, arguments, sizeof(arguments));
    static struct sender senders[SENDERS];
    struct operator_hand hand = {.seed = seed};
    for (int i = 0; i < SENDERS; i++)
        senders[i] = (struct sender){.index = i, .again = SIZE_MAX};

    for (unsigned round = 0; round < rounds; round++) {
        server_start(&server);
        if (round % check_every == check_every - 1)
            check_all(&server, senders, &hand, kept_ms);
        for (int i = 0; i < SENDERS; i++) {
            senders[i].port = server.port;
            assert_int_equal(pthread_create(&senders[i].thread, NULL, send_until_killed, &senders[i]), 0);
        }
        hand.port = server.port;
        assert_int_equal(pthread_create(&hand.thread, NULL, operate_until_killed, &hand), 0);
        nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 400 * 1000000L}, NULL);
        /* Where the machine is slow, the last round goes on until there really was a load. */
        for (long deadline_ms = 0; round == rounds - 1 && atomic_load(&answered_count) <= rounds;)
            assert_true(server_wait_more(&deadline_ms));
        server_kill(&server);
        for (int i = 0; i < SENDERS; i++)
            pthread_join(senders[i].thread, NULL);
        pthread_join(hand.thread, NULL);
        verify_files(&server);
        remove_snapshots(&server);
    }

    server_start(&server);
    size_t request_count = 0;
    for (int i = 0; i < SENDERS; i++)
        request_count += senders[i].request_count;
    print_message("%zu requests; done by the operator: %zu and %zu settled, %zu snapshots, %zu cleaned, %zu deleted\n",
                  request_count, hand.done_count[0], hand.done_count[1], hand.done_count[2], hand.done_count[3],
                  hand.done_count[4]);
    assert_true(request_count > rounds);
    check_all(&server, senders, &hand, kept_ms);
    metrics_settle(&server);
    uint64_t sample_count = metrics_figure(&server, "block_samples");
    assert_true(sample_count > 0);
    print_message("%llu blocks of %llu samples, %llu merges since the last start\n",
                  (unsigned long long)metrics_figure(&server, "block_count"), (unsigned long long)sample_count,
                  (unsigned long long)metrics_figure(&server, "merges"));
    if (kept_ms && atomic_load(&data_time_ms) - senders[0].requests[0].ts_ms > 4 * kept_ms)
        assert_true(sample_count < request_count * (SERIES + 1) * SAMPLES * 3 / 4); /* retention was at work */
    check_all(&server, senders, &hand, kept_ms);
    assert_int_equal(server_terminate(&server), 0);
    verify_files(&server);
    server_start(&server);
    check_all(&server, senders, &hand, kept_ms);
    server_clear(&server);
    for (int i = 0; i < SENDERS; i++)
        free(senders[i].requests);
    free(hand.is_deleted);
}

static void test_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    run(number_of("APIARY_KILL_ROUNDS", ROUNDS_DEFAULT), "tsdb.retention=0", 0, 20);
}

/* Blocks go away at one end while they are made at the other. */
static void test_retention_takes_no_more_than_it_may(void **state)
{
    (void)state;
    unsigned rounds = number_of("APIARY_KILL_ROUNDS", ROUNDS_DEFAULT) / 2;
    run(rounds < 2 ? 2 : rounds, "tsdb.retention=30m", 30 * 60 * 1000, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_acknowledged_is_lost),
        cmocka_unit_test(test_retention_takes_no_more_than_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
