/*
 * bench/empty204.c - the fastest answer that the HTTP library can give: reads the request, says 204
 *
 * What the server's rate is compared with. The library's own event loops, as many as the machine has cores, which is
 * what the server uses too; no log, no disk, no JSON. Prints "listening on PORT" and runs until it gets a signal.
 */
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct MHD_Response *empty;

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *body, size_t *body_bytes, void **request)
{
    (void)context;
    (void)url;
    (void)method;
    (void)version;
    (void)body;
    static int seen;
    if (!*request) { /* the header: the body is still to come */
        *request = &seen;
        return MHD_YES;
    }
    if (*body_bytes) {
        *body_bytes = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, empty);
}

int main(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    empty = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    unsigned cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    /* Not MHD_USE_TURBO: with it the library now and then forgets a connection that has a request for it. */
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD;
    /* A pool of one is not a pool to the library. */
    struct MHD_Daemon *daemon =
        cores > 1
            ? MHD_start_daemon(flags, 0, NULL, NULL, answer, NULL, MHD_OPTION_THREAD_POOL_SIZE, cores,
                               MHD_OPTION_CONNECTION_LIMIT, 4096U, MHD_OPTION_END)
            : MHD_start_daemon(flags, 0, NULL, NULL, answer, NULL, MHD_OPTION_CONNECTION_LIMIT, 4096U, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "empty204: the library did not start\n");
        return 1;
    }
    printf("listening on %u\n", (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    int got;
    sigwait(&ending, &got);
    MHD_stop_daemon(daemon);
    MHD_destroy_response(empty);
    return 0;
}
