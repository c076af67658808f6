#include "collect/lookup.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "os/thread.h"

/* Counted: by who waits and by the thread. */
struct lookup {
    char *host; /* owned */
    pthread_mutex_t mtx;
    pthread_cond_t done;
    /* Under mtx. */
    unsigned ref_count;
    bool is_done;
    int error;              /* EAI_… */
    struct addrinfo *found; /* owned */
};

static void unref_locked(struct lookup *lookup)
{
    bool is_last = --lookup->ref_count == 0;
    pthread_mutex_unlock(&lookup->mtx);
    if (!is_last)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    pthread_cond_destroy(&lookup->done);
    pthread_mutex_destroy(&lookup->mtx);
    free(lookup->host);
    free(lookup);
}

static void *run(void *context)
{
    struct lookup *lookup = context;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(lookup->host, NULL, &hints, &found);
    pthread_mutex_lock(&lookup->mtx);
    lookup->is_done = true;
    lookup->error = error;
    lookup->found = error ? NULL : found;
    pthread_cond_broadcast(&lookup->done);
    unref_locked(lookup);
    return NULL;
}

static struct addrinfo *parse_address(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    return getaddrinfo(host, NULL, &hints, &found) == 0 ? found : NULL;
}

enum ap_rc lookup_host(const char *host, int64_t deadline_us, struct addrinfo **ret_found, struct ap_err *err)
{
    struct addrinfo *written = parse_address(host);
    if (written) {
        *ret_found = written;
        return AP_OK;
    }
    struct lookup *lookup = ap_new0(struct lookup);
    lookup->host = ap_strdup(host);
    lookup->ref_count = 2;
    pthread_mutex_init(&lookup->mtx, NULL);
    os_cond_init(&lookup->done);
    pthread_t thread;
    enum ap_rc rc = os_thread_start("lookup", run, lookup, &thread, err);
    pthread_mutex_lock(&lookup->mtx);
    if (rc != AP_OK) {
        lookup->ref_count--;
        unref_locked(lookup);
        return rc;
    }
    pthread_detach(thread);
    while (!lookup->is_done && os_cond_wait_until(&lookup->done, &lookup->mtx, deadline_us))
        ;
    if (!lookup->is_done)
        rc = ap_fail(err, AP_E_TIMEOUT, "looking up %s took too long", host);
    else if (lookup->error)
        rc = ap_fail(err, AP_E_NOT_FOUND, "looking up %s: %s", host, gai_strerror(lookup->error));
    if (rc == AP_OK) {
        *ret_found = lookup->found;
        lookup->found = NULL;
    }
    unref_locked(lookup);
    return rc;
}
