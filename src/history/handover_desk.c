#include "history/handover_desk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "history/store.h"
#include "os/fs.h"
#include "os/thread.h"

enum {
    LOOK_MS = 10 * 1000, /* for what an importer left that was killed */
    SILENCE_S_MAX = 60,  /* of an importer in the middle of a message */
    CONNECTIONS_WAITING = 8,
    OPEN_DIRS_MAX = 16,
};

struct handover_desk {
    struct handover_desk_options options;
    char *tsdb_dir;   /* owned */
    char *import_dir; /* owned */
    char *snapshot;   /* owned; paths */
    char *doomed;     /* owned */
    int data_fd;      /* owned */
    int socket_fd;
    int stop_fd; /* readable: end */
    pthread_t thread;
    bool has_thread;
    /* Under mtx: what closing cuts. */
    pthread_mutex_t mtx;
    int client_fd; /* -1: nobody is served */
};

static void tell(const struct handover_desk *desk, const struct ap_err *err)
{
    if (desk->options.trouble)
        desk->options.trouble(err, desk->options.context);
}

/* ---- Snapshots to compare with ---- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, OPEN_DIRS_MAX, FTW_DEPTH | FTW_PHYS);
}

/* First renamed, so that half of it is never read. */
static void remove_snapshot(const struct handover_desk *desk)
{
    remove_tree(desk->doomed);
    if (rename(desk->snapshot, desk->doomed) == 0)
        remove_tree(desk->doomed);
}

/* One that nobody reads any more: its importer was killed. */
static void look_for_left_one(const struct handover_desk *desk)
{
    if (access(desk->snapshot, F_OK) != 0 && access(desk->doomed, F_OK) != 0)
        return;
    AP_AUTO_FREE char *path = ap_asprintf("%s/lock", desk->import_dir);
    AP_AUTO_FD int lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) != 0)
        return;
    (void)rename(desk->snapshot, desk->doomed);
    (void)flock(lock_fd, LOCK_UN);
    remove_tree(desk->doomed);
}

static enum ap_rc make_snapshot(const struct handover_desk *desk, int64_t newest_ms, struct ap_err *err)
{
    char name[64];
    struct tsdb_stats stats;
    remove_snapshot(desk);
    tsdb_stats_get(desk->options.tsdb, &stats);
    enum ap_rc rc = tsdb_snapshot(desk->options.tsdb, newest_ms < stats.head_min_ts_ms, name, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE char *made = ap_asprintf("%s/snapshots/%s", desk->tsdb_dir, name);
    return rename(made, desk->snapshot) == 0 ? AP_OK : ap_fail_errno(err, errno, "rename %s", made);
}

/* ---- Blocks ---- */

struct checking {
    struct ap_err err; /* of the first fault */
    const char *id;
};

static void note_fault(const struct block_fault *fault, void *context)
{
    struct checking *checking = context;
    if (checking->err.rc == AP_OK)
        (void)ap_fail(&checking->err, AP_E_CORRUPT, "staging/%s/%s, offset %" PRIu64 ": %s", checking->id, fault->file,
                      fault->offset, fault->text);
}

static enum ap_rc check_block(const struct handover_desk *desk, const char *id, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/staging", desk->tsdb_dir);
    AP_AUTO_FD int staging_fd = -1;
    struct checking checking = {.id = id};
    uint64_t chunks, samples;
    enum ap_rc rc = os_dir_open(path, &staging_fd, err);
    if (rc != AP_OK)
        return rc;
    if (strlen(id) != BLOCK_ID_BYTES - 1 || strchr(id, '/') || faccessat(staging_fd, id, F_OK, 0) != 0)
        return ap_fail(err, AP_E_NOT_FOUND, "there is no block staging/%s", id);
    if (block_verify(&os_fs_system, staging_fd, id, note_fault, &checking, &chunks, &samples) == 0)
        return AP_OK;
    *err = checking.err;
    return AP_E_CORRUPT;
}

static enum ap_rc adopt(const struct handover_desk *desk, struct ap_slice id_text, struct tsdb_adoption *ret_adoption,
                        struct ap_err *err)
{
    char id[BLOCK_ID_BYTES];
    snprintf(id, sizeof(id), "%.*s", AP_SLICE_ARG(id_text));
    enum ap_rc rc = check_block(desk, id, err);
    if (rc == AP_OK)
        rc = tsdb_adopt(desk->options.tsdb, id, ret_adoption, err);
    if (rc == AP_OK && desk->options.adopted)
        desk->options.adopted(id, ret_adoption, desk->options.context);
    return rc;
}

/* ---- Questions ---- */

static void fill_facts(const struct handover_desk *desk, struct handover_facts *ret_facts)
{
    struct tsdb_stats stats;
    tsdb_stats_get(desk->options.tsdb, &stats);
    *ret_facts = (struct handover_facts){
        .version = HANDOVER_VERSION,
        .user_id = geteuid(),
        .process_id = (uint64_t)getpid(),
        .retention_ms = desk->options.retention_ms,
        .retention_bytes = desk->options.retention_bytes,
        .block_range_ms = desk->options.block_range_ms,
        .newest_ms = tsdb_newest_ms(desk->options.tsdb),
        .block_bytes = stats.block_bytes,
    };
}

static enum ap_rc add_extras(const struct handover_desk *desk, struct ap_slice encoding, uint64_t *ret_exemplars,
                             struct ap_err *err)
{
    const struct history_store store = history_store_local(desk->options.tsdb);
    struct batch batch = {0};
    enum ap_rc rc = handover_decode_batch(encoding, &batch, err);
    if (rc == AP_OK)
        rc = store.add_extras(store.context, &batch, ret_exemplars, err);
    batch_clear(&batch);
    return rc;
}

static enum ap_rc do_as_asked(const struct handover_desk *desk, const struct handover_question *question,
                              struct handover_answer *answer, struct ap_err *err)
{
    switch (question->kind) {
    case HANDOVER_HELLO:
        fill_facts(desk, &answer->facts);
        return AP_OK;
    case HANDOVER_ADOPT:
        return adopt(desk, question->block_id, &answer->adoption, err);
    case HANDOVER_EXTRAS:
        return add_extras(desk, question->batch_encoding, &answer->exemplars, err);
    case HANDOVER_SNAPSHOT:
        return make_snapshot(desk, question->newest_ms, err);
    case HANDOVER_RELEASE:
        remove_snapshot(desk);
        return AP_OK;
    case HANDOVER_KIND_COUNT:
        break;
    }
    return ap_fail(err, AP_E_PARSE, "no such question");
}

static void answer(const struct handover_desk *desk, int fd)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    struct handover_question question;
    struct handover_answer answer = {0};
    struct ap_err err;
    if (!handover_receive(fd, &message))
        return;
    enum ap_rc rc = handover_decode_question(ap_buf_slice(&message), &question, &err);
    enum handover_kind kind = rc == AP_OK ? question.kind : HANDOVER_RELEASE;
    if (rc == AP_OK)
        rc = do_as_asked(desk, &question, &answer, &err);
    if (rc != AP_OK) {
        answer.err = err;
        answer.err.rc = rc;
        if (rc != AP_E_NOT_FOUND) /* which is how an importer learns what was done before it was killed */
            tell(desk, &err);
    }
    AP_AUTO_BUF struct ap_buf reply = {0};
    handover_encode_answer(kind, &answer, &reply);
    (void)handover_send(fd, ap_buf_slice(&reply));
}

/* ---- The thread ---- */

static void serve(struct handover_desk *desk)
{
    int fd = accept4(desk->socket_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    const struct timeval silence = {.tv_sec = SILENCE_S_MAX};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
    pthread_mutex_lock(&desk->mtx);
    desk->client_fd = fd;
    pthread_mutex_unlock(&desk->mtx);
    answer(desk, fd);
    pthread_mutex_lock(&desk->mtx);
    desk->client_fd = -1;
    pthread_mutex_unlock(&desk->mtx);
    close(fd);
}

static void *run(void *context)
{
    struct handover_desk *desk = context;
    struct pollfd fds[] = {{.fd = desk->socket_fd, .events = POLLIN}, {.fd = desk->stop_fd, .events = POLLIN}};
    for (;;) {
        look_for_left_one(desk);
        if (poll(fds, AP_ARRAY_COUNT(fds), LOOK_MS) < 0)
            continue;
        if (fds[1].revents)
            return NULL;
        if (fds[0].revents)
            serve(desk);
    }
}

static enum ap_rc listen_at(struct handover_desk *desk, struct ap_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" HANDOVER_SOCKET_NAME, desk->data_fd);
    desk->socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (desk->socket_fd < 0)
        return ap_fail_errno(err, errno, "make a socket");
    (void)unlinkat(desk->data_fd, HANDOVER_SOCKET_NAME, 0); /* of one that was killed: we hold the directory's lock */
    /* Before it is bound, so that it never is anybody else's. */
    if (fchmod(desk->socket_fd, 0600) != 0 ||
        bind(desk->socket_fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(desk->socket_fd, CONNECTIONS_WAITING) != 0)
        return ap_fail_errno(err, errno, "listen at " HANDOVER_SOCKET_NAME " in the data directory");
    return AP_OK;
}

enum ap_rc handover_desk_open(const struct handover_desk_options *options, struct handover_desk **ret_desk,
                              struct ap_err *err)
{
    AP_AUTO(handover_desk) struct handover_desk *desk = ap_new0(struct handover_desk);
    desk->options = *options;
    desk->tsdb_dir = ap_strdup(options->tsdb_dir);
    desk->import_dir = ap_asprintf("%s/import", options->tsdb_dir);
    desk->snapshot = ap_asprintf("%s/snapshot", desk->import_dir);
    desk->doomed = ap_asprintf("%s.gone", desk->snapshot);
    desk->socket_fd = desk->stop_fd = desk->client_fd = -1;
    pthread_mutex_init(&desk->mtx, NULL);
    desk->data_fd = fcntl(options->data_fd, F_DUPFD_CLOEXEC, 0);
    if (desk->data_fd < 0)
        return ap_fail_errno(err, errno, "open the data directory");
    desk->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (desk->stop_fd < 0)
        return ap_fail_errno(err, errno, "eventfd");
    enum ap_rc rc = listen_at(desk, err);
    if (rc == AP_OK)
        rc = os_thread_start("handover", run, desk, &desk->thread, err);
    if (rc != AP_OK)
        return rc;
    desk->has_thread = true;
    *ret_desk = AP_MOVE(desk);
    return AP_OK;
}

void handover_desk_close(struct handover_desk *desk)
{
    if (!desk)
        return;
    if (desk->has_thread) {
        (void)eventfd_write(desk->stop_fd, 1);
        pthread_mutex_lock(&desk->mtx);
        if (desk->client_fd >= 0)
            (void)shutdown(desk->client_fd, SHUT_RDWR);
        pthread_mutex_unlock(&desk->mtx);
        pthread_join(desk->thread, NULL);
    }
    if (desk->socket_fd >= 0)
        (void)unlinkat(desk->data_fd, HANDOVER_SOCKET_NAME, 0);
    const int fds[] = {desk->socket_fd, desk->stop_fd, desk->data_fd};
    for (size_t i = 0; i < AP_ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&desk->mtx);
    free(desk->tsdb_dir);
    free(desk->import_dir);
    free(desk->snapshot);
    free(desk->doomed);
    free(desk);
}
