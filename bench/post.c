/*
 * bench/post.c - posts bodies over many keep-alive connections from one thread, and measures
 *
 *     bench-post PORT PATH CONNECTIONS LINES SECONDS FILE
 *
 * FILE is NDJSON; a body is LINES lines of it. SECONDS 0: every body once, and a 429 or 503 is sent again after a
 * moment; otherwise round and round for that long. Prints one JSON object: rows and requests that were acknowledged,
 * other answers, seconds, rates, and the median and 99th percentile of the time to an answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 256, ANSWER_BYTES = 4096, CONNECTIONS_MAX = 1024, RETRY_US = 100000, SILENCE_US_MAX = 30000000 };

struct body {
    const char *data;
    size_t bytes;
    size_t rows;
};

struct connection {
    size_t body; /* index of the one under way */
    size_t head_bytes;
    size_t sent_bytes;
    size_t answer_bytes;
    int64_t sent_at_us;
    int64_t retry_at_us; /* 0: none is waiting */
    int fd;
    char head[HEAD_BYTES];
    char answer[ANSWER_BYTES];
};

static struct body *bodies;
static size_t body_count, next_body, under_way;
static struct connection connections[CONNECTIONS_MAX];
static int epoll_fd, connection_count;
static const char *path;
static int64_t deadline_us; /* 0: every body once */
static int64_t last_us;     /* of the newest answer */
static uint64_t rows, requests, others;
static int other_status;
static uint32_t *latencies_us;
static size_t latency_count, latency_capacity;

static int64_t time_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void split(const char *data, size_t bytes, size_t lines)
{
    size_t capacity = 0;
    const char *end = data + bytes;
    while (data < end) {
        struct body body = {.data = data};
        while (data < end && body.rows < lines) {
            const char *newline = memchr(data, '\n', (size_t)(end - data));
            data = newline ? newline + 1 : end;
            body.rows++;
        }
        body.bytes = (size_t)(data - body.data);
        if (body_count == capacity &&
            !(bodies = realloc(bodies, (capacity = capacity ? 2 * capacity : 1024) * sizeof(*bodies))))
            die("memory");
        bodies[body_count++] = body;
    }
}

static void send_more(struct connection *connection)
{
    const struct body *body = &bodies[connection->body];
    size_t all = connection->head_bytes + body->bytes;
    while (connection->sent_bytes < all) {
        struct iovec parts[2];
        int count = 0;
        size_t in_body = 0;
        if (connection->sent_bytes < connection->head_bytes)
            parts[count++] = (struct iovec){connection->head + connection->sent_bytes,
                                            connection->head_bytes - connection->sent_bytes};
        else
            in_body = connection->sent_bytes - connection->head_bytes;
        parts[count++] = (struct iovec){(char *)(uintptr_t)body->data + in_body, body->bytes - in_body};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            die("send");
        connection->sent_bytes += (size_t)sent;
    }
    struct epoll_event event = {.events = EPOLLIN | (connection->sent_bytes < all ? EPOLLOUT : 0u),
                                .data.ptr = connection};
    static uint32_t asked[CONNECTIONS_MAX];
    uint32_t *before = &asked[connection - connections];
    if (*before != event.events && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        die("epoll_ctl");
    *before = event.events;
}

static void post(struct connection *connection, size_t body)
{
    connection->body = body;
    connection->sent_bytes = connection->answer_bytes = 0;
    connection->head_bytes =
        (size_t)snprintf(connection->head, HEAD_BYTES,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         path, bodies[body].bytes);
    connection->sent_at_us = time_us();
    send_more(connection);
}

/* The next body, or none when all are out or the time is over. */
static void post_next(struct connection *connection, int64_t now_us)
{
    if (deadline_us ? now_us < deadline_us : next_body < body_count) {
        under_way++;
        post(connection, next_body++ % body_count);
    }
}

static void count_answer(struct connection *connection, int status)
{
    int64_t now_us = time_us();
    if (status == 204) {
        requests++;
        under_way--;
        rows += bodies[connection->body].rows;
        last_us = now_us;
        if (latency_count == latency_capacity &&
            !(latencies_us =
                  realloc(latencies_us, (latency_capacity = latency_capacity ? 2 * latency_capacity : 65536) *
                                            sizeof(*latencies_us))))
            die("memory");
        latencies_us[latency_count++] = (uint32_t)(now_us - connection->sent_at_us);
        post_next(connection, now_us);
        return;
    }
    others++;
    other_status = status;
    if (status != 429 && status != 503) {
        fprintf(stderr, "bench-post: %s answered %d: %.*s\n", path, status, (int)connection->answer_bytes,
                connection->answer);
        exit(1);
    }
    connection->retry_at_us = now_us + RETRY_US;
}

static void receive(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->answer + connection->answer_bytes,
                       ANSWER_BYTES - 1 - connection->answer_bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        fprintf(stderr, "bench-post: the server closed a connection\n");
        exit(1);
    }
    connection->answer_bytes += (size_t)got;
    connection->answer[connection->answer_bytes] = '\0';
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return;
    size_t body_bytes = 0;
    const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (length && length < end)
        body_bytes = strtoul(length + 17, NULL, 10);
    if (connection->answer_bytes < (size_t)(end + 4 - connection->answer) + body_bytes)
        return;
    count_answer(connection, (int)strtol(connection->answer + 9, NULL, 10)); /* behind "HTTP/1.1 " */
}

static void connect_all(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            die("connect");
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
            die("epoll_ctl");
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    long connections_asked = argc == 7 ? strtol(argv[3], NULL, 10) : 0;
    long lines = argc == 7 ? strtol(argv[4], NULL, 10) : 0;
    if (connections_asked < 1 || connections_asked > CONNECTIONS_MAX || lines < 1) {
        fprintf(stderr, "Usage: bench-post PORT PATH CONNECTIONS LINES SECONDS FILE\n");
        return 2;
    }
    path = argv[2];
    connection_count = (int)connections_asked;
    double seconds = strtod(argv[5], NULL);
    int fd = open(argv[6], O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0)
        die(argv[6]);
    const char *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (data == MAP_FAILED)
        die(argv[6]);
    split(data, (size_t)status.st_size, (size_t)lines);
    connect_all((int)strtol(argv[1], NULL, 10));

    int64_t start_us = time_us();
    deadline_us = seconds > 0 ? start_us + (int64_t)(seconds * 1e6) : 0;
    for (int i = 0; i < connection_count; i++)
        post_next(&connections[i], start_us);
    int64_t heard_us = start_us;
    struct epoll_event events[CONNECTIONS_MAX];
    while (under_way > 0) { /* so that what is counted is what the server has acknowledged */
        int count = epoll_wait(epoll_fd, events, CONNECTIONS_MAX, 20);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_more(connection);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(connection);
        }
        int64_t now_us = time_us();
        if (count > 0)
            heard_us = now_us;
        else if (now_us - heard_us > SILENCE_US_MAX) {
            fprintf(stderr, "bench-post: %d requests have had no answer for %d s\n", (int)under_way,
                    (int)(SILENCE_US_MAX / 1000000));
            return 1;
        }
        if (others == 0)
            continue;
        for (int i = 0; i < connection_count; i++)
            if (connections[i].retry_at_us && now_us >= connections[i].retry_at_us) {
                connections[i].retry_at_us = 0;
                post(&connections[i], connections[i].body);
            }
    }
    double took = (double)(last_us - start_us) / 1e6;
    double p50_ms = 0, p99_ms = 0;
    if (latency_count > 0) {
        qsort(latencies_us, latency_count, sizeof(*latencies_us), compare);
        size_t middle = latency_count / 2, high = latency_count * 99 / 100;
        p50_ms = (double)latencies_us[middle] / 1e3;
        p99_ms = (double)latencies_us[high] / 1e3;
    }
    printf("{\"requests\":%llu,\"rows\":%llu,\"others\":%llu,\"other_status\":%d,\"seconds\":%.3f,"
           "\"requests_per_second\":%.1f,\"rows_per_second\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           (unsigned long long)requests, (unsigned long long)rows, (unsigned long long)others, other_status, took,
           (double)requests / took, (double)rows / took, p50_ms, p99_ms);
    return 0;
}
