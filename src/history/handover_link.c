#include "history/handover_link.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/thread.h"

enum { GONE_MS_MAX = 60 * 1000, RETRY_US = 100 * 1000 };

struct handover_link {
    char *data_dir; /* owned */
    int data_fd;
    void (*waiting)(void *context);
    void *context;
    struct handover_facts facts;
};

/* By way of the directory's descriptor: a socket's path has room for 107 bytes only. */
static enum ap_rc reach(const struct handover_link *link, int *ret_fd, struct ap_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" HANDOVER_SOCKET_NAME, link->data_fd);
    AP_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ap_fail_errno(err, errno, "make a socket");
    int result;
    do
        result = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    while (result < 0 && errno == EINTR);
    if (result == 0) {
        *ret_fd = AP_MOVE_FD(fd);
        return AP_OK;
    }
    if (errno == ENOENT)
        return ap_fail(err, AP_E_NOT_FOUND, "no server listens at %s/" HANDOVER_SOCKET_NAME, link->data_dir);
    if (errno == ECONNREFUSED)
        return ap_fail(err, AP_E_BUSY, "the server at %s/" HANDOVER_SOCKET_NAME " was killed", link->data_dir);
    if (errno == EACCES || errno == EPERM)
        return ap_fail(err, AP_E_AUTH,
                       "a server runs on %s, and its %s is for the user that it runs as: run this as that user",
                       link->data_dir, HANDOVER_SOCKET_NAME);
    return ap_fail_errno(err, errno, "reach the server at %s/" HANDOVER_SOCKET_NAME, link->data_dir);
}

/* AP_E_NOT_FOUND and AP_E_BUSY: nobody answered. What the server refuses is in the answer. */
static enum ap_rc ask_once(const struct handover_link *link, enum handover_kind kind, struct ap_slice question,
                           struct handover_answer *ret_answer, struct ap_err *err)
{
    AP_AUTO_FD int fd = -1;
    AP_AUTO_BUF struct ap_buf message = {0};
    enum ap_rc rc = reach(link, &fd, err);
    if (rc != AP_OK)
        return rc;
    if (!handover_send(fd, question) || !handover_receive(fd, &message))
        return ap_fail(err, AP_E_BUSY, "the server on %s went away before it answered", link->data_dir);
    return handover_decode_answer(kind, ap_buf_slice(&message), ret_answer, err);
}

/*
 * Until there is an answer, and a minute at the longest. One that ended in order is waited for only by those who
 * know that there was one.
 */
static enum ap_rc ask_until(const struct handover_link *link, const struct handover_question *question, bool was_there,
                            struct handover_answer *ret_answer, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    handover_encode_question(question, &message);
    const int64_t deadline_us = os_deadline_us(GONE_MS_MAX);
    for (bool is_told = false;; is_told = true) {
        enum ap_rc rc = ask_once(link, question->kind, ap_buf_slice(&message), ret_answer, err);
        was_there |= rc == AP_E_BUSY;
        if ((rc != AP_E_BUSY && rc != AP_E_NOT_FOUND) || !was_there || os_deadline_us(0) > deadline_us)
            return rc;
        if (!is_told && link->waiting)
            link->waiting(link->context);
        usleep(RETRY_US);
    }
}

/* The answer may be a refusal. */
static enum ap_rc ask(const struct handover_link *link, const struct handover_question *question,
                      struct handover_answer *ret_answer, struct ap_err *err)
{
    enum ap_rc rc = ask_until(link, question, true, ret_answer, err);
    if (rc == AP_E_NOT_FOUND || rc == AP_E_BUSY)
        return ap_fail(err, AP_E_BUSY,
                       "the server on %s is gone; what was imported stays. Start it, or leave it stopped, and run this "
                       "again",
                       link->data_dir);
    if (rc == AP_OK && ret_answer->err.rc != AP_OK) {
        *err = ret_answer->err;
        return err->rc;
    }
    return rc;
}

/* ---- Opening ---- */

static enum ap_rc greet(struct handover_link *link, struct ap_err *err)
{
    struct handover_answer answer;
    const struct handover_question hello = {.kind = HANDOVER_HELLO, .version = HANDOVER_VERSION};
    enum ap_rc rc = ask_until(link, &hello, false, &answer, err);
    if (rc == AP_E_BUSY)
        rc = err->rc = AP_E_NOT_FOUND; /* it did not come back */
    if (rc != AP_OK)
        return rc;
    if (answer.err.rc != AP_OK) {
        *err = answer.err;
        return err->rc;
    }
    link->facts = answer.facts;
    if (answer.facts.version != HANDOVER_VERSION)
        return ap_fail(err, AP_E_CONFLICT,
                       "the server on %s is another version of Apiary, which takes an import of version %" PRIu64
                       ", not %d: use its own program",
                       link->data_dir, answer.facts.version, HANDOVER_VERSION);
    if (answer.facts.user_id != geteuid())
        return ap_fail(err, AP_E_AUTH,
                       "the server on %s runs as user %" PRIu64
                       ", and could not take over what another user makes: run this as that user, such as by "
                       "'sudo -u #%" PRIu64 "'",
                       link->data_dir, answer.facts.user_id, answer.facts.user_id);
    return AP_OK;
}

enum ap_rc handover_link_open(const char *data_dir, void (*waiting)(void *context), void *context,
                              struct handover_link **ret_link, struct ap_err *err)
{
    AP_AUTO(handover_link) struct handover_link *link = ap_new0(struct handover_link);
    link->data_dir = ap_strdup(data_dir);
    link->waiting = waiting;
    link->context = context;
    link->data_fd = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (link->data_fd < 0)
        return ap_fail_errno(err, errno, "open %s", data_dir);
    enum ap_rc rc = greet(link, err);
    if (rc == AP_OK)
        *ret_link = AP_MOVE(link);
    return rc;
}

void handover_link_close(struct handover_link *link)
{
    if (!link)
        return;
    if (link->data_fd >= 0)
        close(link->data_fd);
    free(link->data_dir);
    free(link);
}

const struct handover_facts *handover_link_facts(const struct handover_link *link)
{
    return &link->facts;
}

/* ---- Questions ---- */

static enum ap_rc adopt(void *context, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err)
{
    struct handover_answer answer;
    const struct handover_question question = {.kind = HANDOVER_ADOPT, .block_id = ap_slice_cstr(id)};
    enum ap_rc rc = ask(context, &question, &answer, err);
    if (rc == AP_OK)
        *ret_adoption = answer.adoption;
    return rc;
}

static enum ap_rc add_extras(void *context, struct batch *batch, uint64_t *ret_exemplars, struct ap_err *err)
{
    struct handover_answer answer;
    const struct handover_question question = {.kind = HANDOVER_EXTRAS, .batch = batch};
    enum ap_rc rc = ask(context, &question, &answer, err);
    if (rc == AP_OK)
        *ret_exemplars = answer.exemplars;
    return rc;
}

struct history_store handover_link_store(struct handover_link *link)
{
    return (struct history_store){.adopt = adopt, .add_extras = add_extras, .context = link};
}

enum ap_rc handover_link_snapshot(struct handover_link *link, int64_t newest_ms, struct ap_err *err)
{
    struct handover_answer answer;
    const struct handover_question question = {.kind = HANDOVER_SNAPSHOT, .newest_ms = newest_ms};
    return ask(link, &question, &answer, err);
}

void handover_link_release(struct handover_link *link)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    struct handover_answer answer;
    struct ap_err ignored;
    handover_encode_question(&(struct handover_question){.kind = HANDOVER_RELEASE}, &message);
    (void)!ask_once(link, HANDOVER_RELEASE, ap_buf_slice(&message), &answer, &ignored);
}
