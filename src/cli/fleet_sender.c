#include "cli/fleet_sender.h"

#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "os/thread.h"

enum { POLL_MS = 100, CONNECT_TRIES_MAX = 100, RETRY_AFTER_S_MAX = 30, ANSWER_BYTES_MAX = 1 << 20 };

struct fleet_batch {
    struct fleet_batch *next;
    enum fleet_table table;
    uint32_t rows;
    struct ap_buf lines;
};

struct fleet_sender {
    /* Set before the threads start, then constant. */
    char *urls[FLEET_TABLE_COUNT]; /* owned */
    char *authorization;           /* owned; NULL: none */
    uint32_t batch_rows;
    bool (*is_stopped)(void *context);
    void *context;
    pthread_t *threads; /* owned */
    uint32_t thread_count;
    /* The adding thread only. */
    struct fleet_batch *open[FLEET_TABLE_COUNT]; /* owned; being filled */
    /* Any thread, under mtx. */
    pthread_mutex_t mtx;
    pthread_cond_t changed; /* whatever is below */
    struct fleet_batch *full_first;
    struct fleet_batch **full_tail;
    struct fleet_batch *empty;
    uint32_t batches_under_way; /* full or being sent */
    uint64_t rows;
    uint64_t waits;
    bool is_closing;
    struct ap_err failure; /* rc AP_OK: none */
};

static bool is_stopped(const struct fleet_sender *sender)
{
    return sender->is_stopped && sender->is_stopped(sender->context);
}

/* Until something changed, or POLL_MS later: signals and the end of the server do not come through `changed`. */
static void wait_locked(struct fleet_sender *sender)
{
    (void)os_cond_wait_until(&sender->changed, &sender->mtx, os_deadline_us(POLL_MS));
}

static bool is_over_locked(const struct fleet_sender *sender)
{
    return sender->is_closing || sender->failure.rc != AP_OK || is_stopped(sender);
}

/* False when sending is over. */
static bool pause_ms(struct fleet_sender *sender, int64_t ms)
{
    int64_t until_us = ap_clock_monotonic_us(&ap_clock_system) + ms * AP_US_PER_MS;
    pthread_mutex_lock(&sender->mtx);
    bool is_over;
    while (!(is_over = is_over_locked(sender)) && ap_clock_monotonic_us(&ap_clock_system) < until_us)
        wait_locked(sender);
    pthread_mutex_unlock(&sender->mtx);
    return !is_over;
}

static void fail(struct fleet_sender *sender, const struct ap_err *err)
{
    pthread_mutex_lock(&sender->mtx);
    if (sender->failure.rc == AP_OK)
        sender->failure = *err;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->mtx);
}

static int64_t retry_after_ms(struct http_client *client)
{
    const char *text = http_client_header(client, "Retry-After");
    char *end = NULL;
    long seconds = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || seconds < 0)
        return AP_MS_PER_S;
    return AP_MIN(seconds, RETRY_AFTER_S_MAX) * AP_MS_PER_S;
}

/* True when it was acknowledged. */
static bool send_batch(struct fleet_sender *sender, struct http_client *client, const struct fleet_batch *batch)
{
    const struct http_field fields[] = {
        {"Content-Type", "application/x-ndjson"},
        {"Authorization", sender->authorization},
    };
    const struct http_client_request request = {
        .url = sender->urls[batch->table],
        .fields = fields,
        .field_count = sender->authorization ? 2 : 1,
        .body = ap_buf_slice(&batch->lines),
        .answer_bytes_max = ANSWER_BYTES_MAX,
    };
    struct http_client_answer answer;
    struct ap_err err = {0};
    unsigned failed_tries = 0;
    for (;;) {
        enum ap_rc rc = http_client_ask(client, &request, &answer, &err);
        if (rc != AP_OK) {
            if (++failed_tries > CONNECT_TRIES_MAX) {
                ap_err_prefix(&err, "send rows to %s", request.url);
                fail(sender, &err);
                return false;
            }
            if (!pause_ms(sender, 200))
                return false;
        } else if (answer.status == 204) {
            return true;
        } else if (answer.status == 429 || answer.status == 503) {
            failed_tries = 0;
            pthread_mutex_lock(&sender->mtx);
            sender->waits++;
            pthread_mutex_unlock(&sender->mtx);
            if (!pause_ms(sender, retry_after_ms(client)))
                return false;
        } else {
            ap_fail(&err, AP_E_PARSE, "%s answered %u to a batch of %u rows: %.*s", request.url, answer.status,
                    batch->rows, (int)AP_MIN(answer.body.bytes, 300), answer.body.data ? answer.body.data : "");
            fail(sender, &err);
            return false;
        }
    }
}

static void *run_connection(void *context)
{
    struct fleet_sender *sender = context;
    const struct http_client_options options = {.user_agent = "apiary-fleet", .is_direct = true};
    AP_AUTO(http_client) struct http_client *client = http_client_new(&options);
    pthread_mutex_lock(&sender->mtx);
    for (;;) {
        while (!sender->full_first && !sender->is_closing)
            pthread_cond_wait(&sender->changed, &sender->mtx);
        if (sender->is_closing)
            break;
        struct fleet_batch *batch = sender->full_first;
        sender->full_first = batch->next;
        if (!sender->full_first)
            sender->full_tail = &sender->full_first;
        pthread_mutex_unlock(&sender->mtx);

        bool is_acknowledged = send_batch(sender, client, batch);

        pthread_mutex_lock(&sender->mtx);
        sender->rows += is_acknowledged ? batch->rows : 0;
        sender->batches_under_way--;
        batch->rows = 0;
        ap_buf_reset(&batch->lines);
        batch->next = sender->empty;
        sender->empty = batch;
        pthread_cond_broadcast(&sender->changed);
    }
    pthread_mutex_unlock(&sender->mtx);
    return NULL;
}

static char *join_url(const char *base, const char *path)
{
    size_t bytes = strlen(base);
    while (bytes > 0 && base[bytes - 1] == '/')
        bytes--;
    return ap_asprintf("%.*s%s", (int)bytes, base, path);
}

struct fleet_sender *fleet_sender_new(const struct fleet_sender_options *options)
{
    AP_ASSERT(options->connection_count >= 1 && options->connection_count <= 64 && options->batch_rows >= 1);
    struct fleet_sender *sender = ap_new0(struct fleet_sender);
    for (int i = 0; i < FLEET_TABLE_COUNT; i++)
        sender->urls[i] = join_url(options->url, fleet_table_path((enum fleet_table)i));
    if (options->key)
        sender->authorization = ap_asprintf("Bearer %s", options->key);
    sender->batch_rows = options->batch_rows;
    sender->is_stopped = options->is_stopped;
    sender->context = options->context;
    sender->full_tail = &sender->full_first;
    pthread_mutex_init(&sender->mtx, NULL);
    os_cond_init(&sender->changed);
    for (uint32_t i = 0; i < 2 * options->connection_count + FLEET_TABLE_COUNT; i++) {
        struct fleet_batch *batch = ap_new0(struct fleet_batch);
        batch->next = sender->empty;
        sender->empty = batch;
    }
    sender->threads = ap_new0_array(pthread_t, options->connection_count);
    for (uint32_t i = 0; i < options->connection_count; i++) {
        struct ap_err err;
        if (os_thread_start("fleet-sender", run_connection, sender, &sender->threads[i], &err) != AP_OK) {
            if (i == 0)
                fail(sender, &err); /* fewer connections are only slower; none is a failure */
            break;
        }
        sender->thread_count++;
    }
    return sender;
}

static void free_batches(struct fleet_batch *batch)
{
    while (batch) {
        struct fleet_batch *next = batch->next;
        ap_buf_clear(&batch->lines);
        free(batch);
        batch = next;
    }
}

void fleet_sender_free(struct fleet_sender *sender)
{
    if (!sender)
        return;
    pthread_mutex_lock(&sender->mtx);
    sender->is_closing = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->mtx);
    for (uint32_t i = 0; i < sender->thread_count; i++)
        pthread_join(sender->threads[i], NULL);
    for (int i = 0; i < FLEET_TABLE_COUNT; i++) {
        free_batches(sender->open[i]);
        free(sender->urls[i]);
    }
    free_batches(sender->full_first);
    free_batches(sender->empty);
    free(sender->authorization);
    free(sender->threads);
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->mtx);
    free(sender);
}

static enum ap_rc check_locked(const struct fleet_sender *sender, struct ap_err *err)
{
    if (sender->failure.rc != AP_OK)
        return ap_fail(err, sender->failure.rc, "%s", sender->failure.text);
    if (is_stopped(sender))
        return ap_fail(err, AP_E_BUSY, "sending was stopped");
    return AP_OK;
}

static void hand_over(struct fleet_sender *sender, enum fleet_table table)
{
    struct fleet_batch *batch = AP_MOVE(sender->open[table]);
    batch->next = NULL;
    pthread_mutex_lock(&sender->mtx);
    *sender->full_tail = batch;
    sender->full_tail = &batch->next;
    sender->batches_under_way++;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->mtx);
}

static enum ap_rc open_batch(struct fleet_sender *sender, enum fleet_table table, struct ap_err *err)
{
    enum ap_rc rc;
    pthread_mutex_lock(&sender->mtx);
    while ((rc = check_locked(sender, err)) == AP_OK && !sender->empty)
        wait_locked(sender);
    if (rc == AP_OK) {
        struct fleet_batch *batch = sender->empty;
        sender->empty = batch->next;
        batch->next = NULL;
        batch->table = table;
        sender->open[table] = batch;
    }
    pthread_mutex_unlock(&sender->mtx);
    return rc;
}

enum ap_rc fleet_sender_add(struct fleet_sender *sender, const struct fleet_row *row, struct ap_err *err)
{
    if (!sender->open[row->table]) {
        enum ap_rc rc = open_batch(sender, row->table, err);
        if (rc != AP_OK)
            return rc;
    }
    struct fleet_batch *batch = sender->open[row->table];
    ap_buf_add(&batch->lines, row->line, row->bytes);
    if (++batch->rows == sender->batch_rows)
        hand_over(sender, row->table);
    return AP_OK;
}

enum ap_rc fleet_sender_flush(struct fleet_sender *sender, struct ap_err *err)
{
    for (int i = 0; i < FLEET_TABLE_COUNT; i++)
        if (sender->open[i])
            hand_over(sender, (enum fleet_table)i);
    enum ap_rc rc;
    pthread_mutex_lock(&sender->mtx);
    while ((rc = check_locked(sender, err)) == AP_OK && sender->batches_under_way > 0)
        wait_locked(sender);
    pthread_mutex_unlock(&sender->mtx);
    return rc;
}

uint64_t fleet_sender_rows(struct fleet_sender *sender)
{
    pthread_mutex_lock(&sender->mtx);
    uint64_t rows = sender->rows;
    pthread_mutex_unlock(&sender->mtx);
    return rows;
}

uint64_t fleet_sender_waits(struct fleet_sender *sender)
{
    pthread_mutex_lock(&sender->mtx);
    uint64_t waits = sender->waits;
    pthread_mutex_unlock(&sender->mtx);
    return waits;
}
