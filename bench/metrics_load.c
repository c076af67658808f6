/*
 * bench/metrics_load.c - sends the requests of a file as fast as they are answered, and measures
 *
 *     bench-metrics-load FILE PORT PATH [FIRST_STEP END_STEP [KILL_AFTER PID]]
 *
 * FILE is of bench-metrics-make. As many keep-alive connections as it was made for, each with one request under way.
 * Only the steps FIRST_STEP <= step < END_STEP are sent (END_STEP 0: to the end). A 429 or 503 is sent again after a
 * moment. With KILL_AFTER the process PID gets a SIGKILL as soon as so many requests were acknowledged, and the load
 * ends there.
 *
 * Prints one line of JSON. "complete_steps": that many steps, from the first sent, were acknowledged on every
 * connection.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "metrics_file.h"

enum { ANSWER_BYTES = 8192, RETRY_US = 100000 };

struct request {
    const char *body; /* lent from the file */
    uint32_t body_bytes;
    uint32_t sample_count;
    uint32_t step;
    float latency_ms;
};

struct connection {
    struct request *requests; /* owned */
    size_t request_count, acknowledged_count;
    uint64_t acknowledged_samples, refusals, retries;
    char trouble[256]; /* the first answer that was not a success */
    bool is_broken;
    pthread_t thread;
};

static const char *path;
static unsigned port;
static size_t kill_after;
static pid_t kill_pid;
static atomic_size_t acknowledged;
static atomic_bool is_killed;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("bench-metrics-load: connect");
        exit(1);
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static bool send_all(int fd, struct iovec *parts, int count)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t bytes = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (bytes < 0)
            return false;
        for (; count > 0 && (size_t)bytes >= parts->iov_len; parts++, count--)
            bytes -= (ssize_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + bytes;
            parts->iov_len -= (size_t)bytes;
        }
    }
    return true;
}

/* Reads a whole answer; its status, or 0 when the connection broke. Answers here are short or have a length. */
static int read_answer(int fd, char *text)
{
    size_t have = 0;
    for (;;) {
        ssize_t bytes = read(fd, text + have, ANSWER_BYTES - 1 - have);
        if (bytes <= 0)
            return 0;
        have += (size_t)bytes;
        text[have] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        if (!end)
            continue;
        const char *length = strcasestr(text, "\r\ncontent-length:");
        size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (have >= (size_t)(end + 4 - text) + body || have == ANSWER_BYTES - 1)
            return (int)strtol(text + 9, NULL, 10);
    }
}

static void *run(void *context)
{
    struct connection *connection = context;
    char head[512], answer[ANSWER_BYTES];
    int fd = connect_to_server();
    while (connection->acknowledged_count < connection->request_count) {
        struct request *request = &connection->requests[connection->acknowledged_count];
        int head_bytes = snprintf(head, sizeof(head),
                                  "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/x-protobuf\r\n"
                                  "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
                                  "User-Agent: bench-metrics-load\r\nContent-Length: %u\r\n\r\n",
                                  path, port, request->body_bytes);
        struct iovec parts[] = {{head, (size_t)head_bytes}, {(void *)(uintptr_t)request->body, request->body_bytes}};
        double began_s = now_s();
        int status = send_all(fd, parts, 2) ? read_answer(fd, answer) : 0;
        request->latency_ms = (float)((now_s() - began_s) * 1000);
        if (status == 0) {
            connection->is_broken = true;
            break;
        }
        if (status / 100 != 2 && !connection->trouble[0])
            snprintf(connection->trouble, sizeof(connection->trouble), "%.255s", answer);
        if (status == 429 || status == 503) {
            connection->retries++;
            usleep(RETRY_US);
            continue;
        }
        if (status / 100 == 2)
            connection->acknowledged_samples += request->sample_count;
        else
            connection->refusals++;
        connection->acknowledged_count++; /* a request that was refused for good has had its answer, too */
        if (atomic_fetch_add(&acknowledged, 1) + 1 == kill_after) {
            atomic_store(&is_killed, true);
            kill(kill_pid, SIGKILL);
        }
    }
    close(fd);
    return NULL;
}

static void read_requests(struct metrics_file *file, uint32_t first_step, uint32_t end_step,
                          struct connection *connections)
{
    struct metrics_record record;
    const char *body;
    size_t *capacities = calloc(file->header.connection_count, sizeof(*capacities));
    while ((body = metrics_file_next(file, &record))) {
        if (record.step < first_step || record.step >= end_step || record.connection >= file->header.connection_count)
            continue;
        struct connection *connection = &connections[record.connection];
        size_t *capacity = &capacities[record.connection];
        if (connection->request_count == *capacity) {
            *capacity = *capacity ? *capacity * 2 : 1024;
            connection->requests = realloc(connection->requests, *capacity * sizeof(struct request));
            if (!connection->requests)
                abort();
        }
        connection->requests[connection->request_count++] =
            (struct request){body, record.body_bytes, record.sample_count, record.step, 0};
    }
    free(capacities);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_result(const struct connection *connections, uint32_t count, double wall_s, uint32_t first_step,
                         uint32_t end_step)
{
    uint64_t samples = 0, requests = 0, refusals = 0, retries = 0, bytes = 0;
    uint32_t complete = end_step;
    for (uint32_t i = 0; i < count; i++) {
        const struct connection *connection = &connections[i];
        samples += connection->acknowledged_samples;
        requests += connection->acknowledged_count;
        refusals += connection->refusals;
        retries += connection->retries;
        if (connection->acknowledged_count < connection->request_count &&
            connection->requests[connection->acknowledged_count].step < complete)
            complete = connection->requests[connection->acknowledged_count].step;
        if (connection->trouble[0])
            fprintf(stderr, "bench-metrics-load: %s\n", connection->trouble);
    }
    float *latencies = calloc(requests + 1, sizeof(float));
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        for (size_t j = 0; j < connections[i].acknowledged_count; j++) {
            latencies[at++] = connections[i].requests[j].latency_ms;
            bytes += connections[i].requests[j].body_bytes;
        }
    qsort(latencies, requests, sizeof(float), compare_floats);
    printf("{\"wall_s\": %.4f, \"samples\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"refusals\": %" PRIu64 ", \"retries\": %" PRIu64 ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"complete_steps\": %u}\n",
           wall_s, samples, requests, bytes, refusals, retries, (double)latencies[requests / 2],
           (double)latencies[requests * 99 / 100], complete - first_step);
    free(latencies);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench-metrics-load FILE PORT PATH [FIRST_STEP END_STEP [KILL_AFTER PID]]\n");
        return 2;
    }
    struct metrics_file file;
    metrics_file_open(argv[1], &file);
    port = (unsigned)strtoul(argv[2], NULL, 10);
    path = argv[3];
    uint32_t first_step = argc > 5 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    uint32_t end_step = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0;
    if (end_step == 0 || end_step > file.header.step_count)
        end_step = file.header.step_count;
    kill_after = argc > 7 ? strtoul(argv[6], NULL, 10) : 0;
    kill_pid = argc > 7 ? (pid_t)strtol(argv[7], NULL, 10) : 0;
    uint32_t count = file.header.connection_count;
    struct connection *connections = calloc(count, sizeof(*connections));
    if (!connections || (kill_after && kill_pid <= 0))
        return 2;
    read_requests(&file, first_step, end_step, connections);

    double began_s = now_s();
    for (uint32_t i = 0; i < count; i++)
        if (pthread_create(&connections[i].thread, NULL, run, &connections[i]) != 0)
            abort();
    for (uint32_t i = 0; i < count; i++)
        pthread_join(connections[i].thread, NULL);
    print_result(connections, count, now_s() - began_s, first_step, end_step);

    bool is_broken = false;
    for (uint32_t i = 0; i < count; i++) {
        is_broken |= connections[i].is_broken;
        free(connections[i].requests);
    }
    free(connections);
    if (is_broken && !atomic_load(&is_killed))
        fprintf(stderr, "bench-metrics-load: the server closed a connection\n");
    return is_broken && !atomic_load(&is_killed) ? 1 : 0;
}
