/*
 * bench/scrape_exporter.c - many targets in one cheap process: bench-scrape-exporter TARGETS SERIES PORT
 *
 * Target i listens on 127.0.(1 + i / 250).(1 + i % 250) and answers any GET with a page of an application's kind, of
 * the tick that its count of requests says, so that counters grow. Pages are made beforehand; one thread, epoll. Prints
 * "ready" when it listens, and at SIGTERM ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "codec/compress.h"
#include "scrape_page.h"

enum { TICKS = 48, FDS_MAX = 1 << 16, EVENTS = 64, PER_NET = 250 };

struct place {
    bool is_listening;
    size_t target;
    /* Of a connection: */
    char request[4096];
    size_t request_bytes;
    struct ap_slice rest; /* of the answer */
};

static struct ap_buf answers[2][TICKS]; /* plain; compressed */
static bool has_compressed;
static uint64_t page_count;
static struct ap_buf count_answer;
static struct place *places[FDS_MAX];
static size_t *request_counts;
static int epoll_fd;

static void make_answer(struct ap_slice page, const char *encoding, struct ap_buf *out)
{
    ap_buf_printf(out,
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n%s"
                  "Content-Length: %zu\r\n\r\n",
                  encoding, page.bytes);
    ap_buf_add_slice(out, page);
}

static void make_answers(size_t series)
{
    AP_AUTO(compressor) struct compressor *compressor = compressor_new();
    for (uint64_t tick = 0; tick < TICKS; tick++) {
        AP_AUTO_BUF struct ap_buf page = {0};
        AP_AUTO_BUF struct ap_buf packed = {0};
        scrape_page_make(SCRAPE_PAGE_APP, series, tick, &page);
        make_answer(ap_buf_slice(&page), "", &answers[0][tick]);
        AP_ASSERT(compressor_whole(compressor, COMPRESS_GZIP, ap_buf_slice(&page), page.bytes, &packed));
        make_answer(ap_buf_slice(&packed), "Content-Encoding: gzip\r\n", &answers[1][tick]);
    }
}

static void add_place(int fd, bool is_listening, size_t target)
{
    AP_ASSERT(fd >= 0 && fd < FDS_MAX);
    free(places[fd]);
    places[fd] = ap_new0(struct place);
    places[fd]->is_listening = is_listening;
    places[fd]->target = target;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    AP_ASSERT(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void listen_for(size_t target, uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl((uint32_t)(INADDR_LOOPBACK & 0xff000000u) |
                                    (uint32_t)((1 + target / PER_NET) << 8 | (1 + target % PER_NET)));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0) {
        perror("bench-scrape-exporter: listen");
        exit(1);
    }
    add_place(fd, true, target);
}

static void drop(int fd)
{
    close(fd);
    free(places[fd]);
    places[fd] = NULL;
}

static void watch(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static void send_rest(int fd)
{
    struct place *place = places[fd];
    bool was_waiting = place->rest.bytes > 0;
    while (place->rest.bytes) {
        ssize_t sent = send(fd, place->rest.data, place->rest.bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(fd, EPOLLOUT);
            return;
        }
        if (sent < 0) {
            drop(fd);
            return;
        }
        place->rest = ap_slice(place->rest.data + sent, place->rest.bytes - (size_t)sent);
    }
    if (was_waiting)
        watch(fd, EPOLLIN);
}

static void receive(int fd)
{
    struct place *place = places[fd];
    ssize_t got = recv(fd, place->request + place->request_bytes, sizeof(place->request) - 1 - place->request_bytes, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    place->request_bytes += (size_t)got;
    place->request[place->request_bytes] = '\0';
    if (!strstr(place->request, "\r\n\r\n"))
        return;
    place->request_bytes = 0;
    if (strncmp(place->request, "GET /count ", 11) == 0) {
        char text[32];
        int bytes = snprintf(text, sizeof(text), "%" PRIu64 "\n", page_count);
        ap_buf_reset(&count_answer);
        make_answer(ap_slice(text, (size_t)bytes), "", &count_answer);
        place->rest = ap_buf_slice(&count_answer);
    } else {
        bool is_compressed = has_compressed && strcasestr(place->request, "\r\nAccept-Encoding: gzip") != NULL;
        place->rest = ap_buf_slice(&answers[is_compressed][request_counts[place->target]++ % TICKS]);
        page_count++;
    }
    send_rest(fd);
}

static void accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    add_place(fd, false, places[listener]->target);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: bench-scrape-exporter TARGETS SERIES PORT [gzip]\n");
        return 2;
    }
    size_t targets = strtoul(argv[1], NULL, 10);
    has_compressed = argc == 5;
    struct rlimit files = {FDS_MAX, FDS_MAX};
    (void)setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    request_counts = ap_new0_array(size_t, targets);
    make_answers(strtoul(argv[2], NULL, 10));
    for (size_t i = 0; i < targets; i++)
        listen_for(i, (uint16_t)strtoul(argv[3], NULL, 10));
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (!places[fd])
                continue;
            if (places[fd]->is_listening)
                accept_one(fd);
            else if (events[i].events & EPOLLOUT)
                send_rest(fd);
            else
                receive(fd);
        }
    }
}
