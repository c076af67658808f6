/* An importer's questions to a running server, both in this process: what they do, and what happens when one is gone.
 */
#include "test_store_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "history/handover.h"
#include "history/handover_desk.h"
#include "history/handover_link.h"
#include "tsdb/block.h"

#define NOW_MS INT64_C(1764000000000)

static const char block_id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

struct fixture {
    struct store store;
    int data_fd;
    struct handover_desk *desk;
    struct handover_link *link;
    struct history_store remote;
    struct ap_buf told;
    int waited;
};

static void trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    ap_buf_printf(&fx->told, "%s\n", err->text);
}

static void open_desk(struct fixture *fx)
{
    struct ap_err err;
    AP_AUTO_FREE char *tsdb_dir = ap_asprintf("%s/tsdb", fx->store.root);
    const struct handover_desk_options options = {
        .data_fd = fx->data_fd,
        .tsdb_dir = tsdb_dir,
        .tsdb = fx->store.tsdb,
        .retention_ms = 77,
        .block_range_ms = 7200000,
        .trouble = trouble,
        .context = fx,
    };
    if (handover_desk_open(&options, &fx->desk, &err) != AP_OK)
        fail_msg("%s", err.text);
}

/* The server is back as soon as it is missed. */
static void come_back(void *context)
{
    struct fixture *fx = context;
    fx->waited++;
    open_desk(fx);
}

static void fixture_init(struct fixture *fx)
{
    struct ap_err err;
    *fx = (struct fixture){.store.now_ms = NOW_MS};
    store_open(&fx->store);
    fx->data_fd = open(fx->store.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    open_desk(fx);
    if (handover_link_open(fx->store.root, come_back, fx, &fx->link, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->remote = handover_link_store(fx->link);
}

static void fixture_clear(struct fixture *fx)
{
    handover_link_close(fx->link);
    handover_desk_close(fx->desk);
    close(fx->data_fd);
    store_close(&fx->store);
    store_remove(&fx->store);
    ap_buf_clear(&fx->told);
}

static bool exists(const struct fixture *fx, const char *path)
{
    return faccessat(fx->data_fd, path, F_OK, 0) == 0;
}

/* A block of one series, of samples a second apart. */
static void stage(struct fixture *fx)
{
    int64_t ts_ms[100];
    double values[100];
    struct ap_err err;
    AP_AUTO_FD int staging_fd = -1;
    AP_AUTO(block_writer) struct block_writer *writer = NULL;
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_FREE char *path = ap_asprintf("%s/tsdb/staging", fx->store.root);
    for (int i = 0; i < 100; i++) {
        ts_ms[i] = NOW_MS - 1000000 + i * INT64_C(1000);
        values[i] = i;
    }
    const struct block_samples samples = {.ts_ms = ts_ms, .values = values, .count = 100};
    struct label up[] = {{ap_slice_cstr("__name__"), ap_slice_cstr("up")}};
    assert_int_equal(labels_encode(up, 1, &labels, &err), AP_OK);
    assert_int_equal(os_dir_open(path, &staging_fd, &err), AP_OK);
    assert_int_equal(block_writer_new(&os_fs_system, staging_fd, block_id, &writer, &err), AP_OK);
    assert_int_equal(block_writer_add_samples(writer, ap_buf_slice(&labels), &samples, &err), AP_OK);
    assert_int_equal(block_writer_finish(writer, &(struct block_meta){.level = 1}, &err), AP_OK);
}

static enum ap_rc adopt(struct fixture *fx, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err)
{
    return fx->remote.adopt(fx->remote.context, id, ret_adoption, err);
}

static void test_facts(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    const struct handover_facts *facts = handover_link_facts(fx.link);
    assert_int_equal(facts->retention_ms, 77);
    assert_int_equal(facts->block_range_ms, 7200000);
    assert_int_equal(facts->newest_ms, INT64_MIN);
    assert_int_equal(facts->process_id, getpid());
    struct stat info;
    assert_int_equal(fstatat(fx.data_fd, HANDOVER_SOCKET_NAME, &info, 0), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    fixture_clear(&fx);
}

static void test_adopts(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_adoption adoption;
    struct ap_err err;
    fixture_init(&fx);
    stage(&fx);
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_OK);
    assert_int_equal(adoption.samples_added, 100);
    assert_non_null(strstr(store_text(&fx.store, "up", NOW_MS), "up 0@-1000000 1@-999000 "));
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_E_NOT_FOUND);
    stage(&fx);
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_OK);
    assert_int_equal(adoption.samples_added, 0);
    assert_int_equal(adoption.samples_same, 100);
    assert_int_equal(adopt(&fx, "../../../../../etc/passwd0", &adoption, &err), AP_E_NOT_FOUND);
    assert_int_equal(adopt(&fx, "", &adoption, &err), AP_E_NOT_FOUND);
    assert_int_equal(fx.told.bytes, 0);
    fixture_clear(&fx);
}

/* The last byte of a file of chunks is another one. */
static bool damage_chunks(void *context, const char *name)
{
    char byte;
    if (strcmp(name, "index") == 0 || strcmp(name, "meta.json") == 0)
        return true;
    AP_AUTO_FD int fd = openat(*(const int *)context, name, O_RDWR | O_CLOEXEC);
    off_t last = lseek(fd, -1, SEEK_END);
    assert_int_equal(pread(fd, &byte, 1, last), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, last), 1);
    return true;
}

/* Each byte of it is looked at: also those that opening it does not read. */
static void test_damage(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_adoption adoption;
    struct ap_err err;
    fixture_init(&fx);
    stage(&fx);
    AP_AUTO_FREE char *path = ap_asprintf("tsdb/staging/%s", block_id);
    AP_AUTO_FD int block_fd = openat(fx.data_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(os_fs_system.list(os_fs_system.context, block_fd, damage_chunks, &block_fd), 0);
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, block_id));
    assert_non_null(strstr(fx.told.data, block_id));
    assert_true(exists(&fx, path));
    assert_string_equal(store_text(&fx.store, "up", NOW_MS), "");
    fixture_clear(&fx);
}

static bool note_exemplar(struct ap_slice series_labels, const struct batch_exemplar *exemplar, void *context)
{
    struct ap_buf *out = context;
    labels_format(series_labels, out);
    ap_buf_printf(out, " %g ", exemplar->value);
    labels_format(exemplar->labels, out);
    ap_buf_printf(out, "@%" PRId64 "\n", exemplar->ts_ms - NOW_MS);
    return true;
}

static bool note_metadata(const struct batch_metadata *metadata, void *context)
{
    ap_buf_printf(context, "%.*s %s %.*s %.*s\n", AP_SLICE_ARG(metadata->metric), metadata_type_name(metadata->type),
                  AP_SLICE_ARG(metadata->unit), AP_SLICE_ARG(metadata->help));
    return true;
}

/* Texts that the batch lends are in `labels`. */
static void make_extras(struct batch *batch, struct ap_buf labels[2])
{
    struct ap_err err;
    struct label up[] = {{ap_slice_cstr("__name__"), ap_slice_cstr("up")}};
    struct label trace[] = {{ap_slice_cstr("trace_id"), ap_slice_cstr("abc")}};
    assert_int_equal(labels_encode(up, 1, &labels[0], &err), AP_OK);
    assert_int_equal(labels_encode(trace, 1, &labels[1], &err), AP_OK);
    (void)batch_add_series(batch, ap_buf_slice(&labels[0]), (struct labels_hash){0});
    struct batch_exemplar *exemplar = batch_add_exemplar(batch);
    *exemplar = (struct batch_exemplar){.ts_ms = NOW_MS - 5, .value = -0.25, .labels = ap_buf_slice(&labels[1])};
    struct batch_metadata *metadata = batch_add_metadata(batch);
    metadata->metric = ap_slice_cstr("up");
    metadata->type = METADATA_GAUGE;
    metadata->unit = ap_slice_cstr("bits");
    metadata->help = ap_slice_cstr("Is it?");
}

static void test_extras(void **state)
{
    (void)state;
    struct fixture fx;
    struct batch batch = {0};
    struct ap_buf labels[2] = {0}, found = {0};
    struct ap_err err;
    fixture_init(&fx);
    for (int i = 0; i < 2; i++) { /* coming twice is there once */
        uint64_t exemplars = 0;
        make_extras(&batch, labels);
        assert_int_equal(fx.remote.add_extras(fx.remote.context, &batch, &exemplars, &err), AP_OK);
        batch_clear(&batch);
        ap_buf_reset(&labels[0]);
        ap_buf_reset(&labels[1]);
    }
    tsdb_exemplars(fx.store.tsdb, &(struct matchers){0}, INT64_MIN, INT64_MAX, note_exemplar, &found);
    tsdb_metadata(fx.store.tsdb, (struct ap_slice){0}, note_metadata, &found);
    ap_buf_add_char(&found, '\0');
    assert_string_equal(found.data, "up -0.25 {trace_id=\"abc\"}@-5\nup gauge bits Is it?\n");
    ap_buf_clear(&found);
    ap_buf_clear(&labels[0]);
    ap_buf_clear(&labels[1]);
    fixture_clear(&fx);
}

static void test_snapshot(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_adoption adoption;
    struct ap_err err;
    fixture_init(&fx);
    stage(&fx);
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_OK);
    AP_AUTO_FD int import_fd = -1;
    AP_AUTO_FREE char *import_dir = ap_asprintf("%s/tsdb/import", fx.store.root);
    assert_int_equal(os_dir_open(import_dir, &import_fd, &err), AP_OK);
    int lock_fd = openat(import_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    assert_int_equal(flock(lock_fd, LOCK_EX), 0);
    for (int i = 0; i < 2; i++) { /* a second one takes the place of the first */
        assert_int_equal(handover_link_snapshot(fx.link, NOW_MS, &err), AP_OK);
        AP_AUTO_FREE char *path = ap_asprintf("tsdb/import/snapshot/blocks/%s", block_id);
        assert_true(exists(&fx, path));
    }
    handover_link_release(fx.link);
    assert_false(exists(&fx, "tsdb/import/snapshot"));
    /* Its importer is killed: the lock goes with it, and so does what the server made for it. */
    assert_int_equal(handover_link_snapshot(fx.link, NOW_MS, &err), AP_OK);
    close(lock_fd);
    for (int i = 0; i < 6000 && exists(&fx, "tsdb/import/snapshot"); i++)
        usleep(20000);
    assert_false(exists(&fx, "tsdb/import/snapshot"));
    fixture_clear(&fx);
}

/* Before it answered, or before it was asked. */
static void test_server_goes_away(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_adoption adoption;
    struct ap_err err;
    fixture_init(&fx);
    stage(&fx);
    handover_desk_close(fx.desk);
    assert_false(exists(&fx, HANDOVER_SOCKET_NAME));
    assert_int_equal(adopt(&fx, block_id, &adoption, &err), AP_OK);
    assert_int_equal(fx.waited, 1);
    assert_int_equal(adoption.samples_added, 100);
    fixture_clear(&fx);
}

static void test_nobody_is_there(void **state)
{
    (void)state;
    struct fixture fx;
    struct handover_link *link;
    struct ap_err err;
    fixture_init(&fx);
    handover_desk_close(fx.desk);
    fx.desk = NULL;
    assert_int_equal(handover_link_open(fx.store.root, NULL, NULL, &link, &err), AP_E_NOT_FOUND);
    assert_int_equal(handover_link_open("/nonexistent", NULL, NULL, &link, &err), AP_E_NOT_FOUND);
    /* What one leaves that is killed: it may be on its way back. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/" HANDOVER_SOCKET_NAME, fx.store.root);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(handover_link_open(fx.store.root, come_back, &fx, &link, &err), AP_OK);
    assert_int_equal(fx.waited, 1);
    handover_link_close(link);
    fixture_clear(&fx);
}

/* ---- Messages ---- */

/* It is read as it was written, and no beginning of it is taken for a whole. */
static void check_question(const struct handover_question *question)
{
    struct ap_err err;
    struct handover_question got;
    AP_AUTO_BUF struct ap_buf message = {0};
    AP_AUTO_BUF struct ap_buf again = {0};
    handover_encode_question(question, &message);
    for (size_t bytes = 0; bytes < message.bytes; bytes++) {
        struct batch batch = {0};
        enum ap_rc rc = handover_decode_question(ap_slice(message.data, bytes), &got, &err);
        if (rc == AP_OK && question->kind == HANDOVER_EXTRAS)
            rc = handover_decode_batch(got.batch_encoding, &batch, &err);
        assert_int_equal(rc, AP_E_PARSE);
        batch_clear(&batch);
    }
    struct batch batch = {0};
    assert_int_equal(handover_decode_question(ap_buf_slice(&message), &got, &err), AP_OK);
    if (question->kind == HANDOVER_EXTRAS) {
        assert_int_equal(handover_decode_batch(got.batch_encoding, &batch, &err), AP_OK);
        got.batch = &batch;
    }
    handover_encode_question(&got, &again);
    assert_true(ap_slice_equal(ap_buf_slice(&message), ap_buf_slice(&again)));
    batch_clear(&batch);
    ap_buf_add_char(&message, 1);
    enum ap_rc rc = handover_decode_question(ap_buf_slice(&message), &got, &err);
    assert_true(rc == AP_E_PARSE || question->kind == HANDOVER_EXTRAS);
}

static void test_questions(void **state)
{
    (void)state;
    struct batch batch = {0};
    struct ap_buf labels[2] = {0};
    make_extras(&batch, labels);
    check_question(&(struct handover_question){.kind = HANDOVER_HELLO, .version = 300});
    check_question(&(struct handover_question){.kind = HANDOVER_ADOPT, .block_id = ap_slice_cstr(block_id)});
    check_question(&(struct handover_question){.kind = HANDOVER_SNAPSHOT, .newest_ms = -NOW_MS});
    check_question(&(struct handover_question){.kind = HANDOVER_RELEASE});
    check_question(&(struct handover_question){.kind = HANDOVER_EXTRAS, .batch = &batch});
    batch_clear(&batch);
    ap_buf_clear(&labels[0]);
    ap_buf_clear(&labels[1]);
}

static void check_answer(enum handover_kind kind, const struct handover_answer *answer)
{
    struct ap_err err;
    struct handover_answer got;
    AP_AUTO_BUF struct ap_buf message = {0};
    handover_encode_answer(kind, answer, &message);
    for (size_t bytes = 0; bytes < message.bytes; bytes++)
        assert_int_equal(handover_decode_answer(kind, ap_slice(message.data, bytes), &got, &err), AP_E_PARSE);
    assert_int_equal(handover_decode_answer(kind, ap_buf_slice(&message), &got, &err), AP_OK);
    assert_int_equal(got.err.rc, answer->err.rc);
    assert_string_equal(got.err.text, answer->err.text);
    assert_memory_equal(&got.facts, &answer->facts, sizeof(got.facts));
    assert_memory_equal(&got.adoption, &answer->adoption, sizeof(got.adoption));
    assert_int_equal(got.exemplars, answer->exemplars);
}

static void test_answers(void **state)
{
    (void)state;
    check_answer(HANDOVER_HELLO, &(struct handover_answer){.facts = {.version = HANDOVER_VERSION,
                                                                     .user_id = 33,
                                                                     .process_id = 4711,
                                                                     .retention_ms = 86400000,
                                                                     .retention_bytes = 1,
                                                                     .block_range_ms = 7200000,
                                                                     .newest_ms = INT64_MIN,
                                                                     .block_bytes = UINT64_MAX}});
    check_answer(HANDOVER_ADOPT, &(struct handover_answer){.adoption = {1, 200, 30000}});
    check_answer(HANDOVER_EXTRAS, &(struct handover_answer){.exemplars = 5});
    check_answer(HANDOVER_RELEASE, &(struct handover_answer){0});
    check_answer(HANDOVER_ADOPT, &(struct handover_answer){.err = {AP_E_FULL, "no room"}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),           cmocka_unit_test(test_adopts),
        cmocka_unit_test(test_damage),          cmocka_unit_test(test_extras),
        cmocka_unit_test(test_snapshot),        cmocka_unit_test(test_server_goes_away),
        cmocka_unit_test(test_nobody_is_there), cmocka_unit_test(test_questions),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
