#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "meta/keyring.h"
#include "meta/keys.h"
#include "meta/meta.h"
#include "test_dir.h"

struct fixture {
    char dir[64];
    char path[96];
    int64_t now_us;
    struct ap_clock clock;
    struct meta *meta;
};

static int64_t fixture_now_us(void *context)
{
    return ((struct fixture *)context)->now_us;
}

/* What the latest MUST() failed with; a test program has one thread that fails. */
static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_keys.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->path, sizeof(fx->path), "%s/meta.sqlite", fx->dir);
    fx->now_us = INT64_C(1764000000000000);
    fx->clock = (struct ap_clock){fixture_now_us, fixture_now_us, fx};
    MUST(meta_open(fx->path, &fx->meta, &must_err));
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    meta_close(fx->meta);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

static int64_t create(struct fixture *fx, enum key_kind kind, uint32_t rows_per_second, uint32_t rows_burst,
                      char token[KEY_TOKEN_BYTES_MAX])
{
    struct key_options options = {
        .kind = kind, .name = "test", .rows_per_second = rows_per_second, .rows_burst = rows_burst};
    int64_t id = 0;
    MUST(key_create(fx->meta, &fx->clock, &options, &id, token, &must_err));
    return id;
}

static void test_token_is_shown_once_and_kept_as_hash(void **state)
{
    struct fixture *fx = *state;
    static const char *const prefixes[] = {"apk_pub_", "apk_sec_", "apk_view_", "apk_op_"};
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        char token[KEY_TOKEN_BYTES_MAX];
        create(fx, (enum key_kind)kind, 0, 0, token);
        assert_int_equal(strncmp(token, prefixes[kind], strlen(prefixes[kind])), 0);
        assert_int_equal(strlen(token), strlen(prefixes[kind]) + 32 + 4);
        assert_true(key_token_is_well_formed(ap_slice_cstr(token)));
    }
    struct key_list list;
    MUST(key_list(fx->meta, &list, &must_err));
    assert_int_equal(list.count, KEY_KIND_COUNT);
    assert_int_equal(list.items[1].kind, KEY_KIND_SECRET);
    assert_int_equal(list.items[1].created_ms, INT64_C(1764000000000));
    assert_int_equal(list.items[1].revoked_ms, 0);
    assert_string_equal(list.items[1].name, "test");
    assert_int_equal(strncmp(list.items[1].hint, "apk_sec_", 8), 0);
    assert_int_equal(strlen(list.items[1].hint), 8 + 4 + strlen("…"));
    key_list_clear(&list);
}

static void test_any_wrong_character_breaks_the_checksum(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    create(fx, KEY_KIND_PUBLIC, 0, 0, token);
    for (size_t i = 0; token[i]; i++) {
        char was = token[i];
        token[i] = was == 'x' ? 'y' : 'x';
        assert_false(key_token_is_well_formed(ap_slice_cstr(token)));
        token[i] = was;
    }
    assert_false(key_token_is_well_formed(ap_slice(token, strlen(token) - 1)));
    assert_false(key_token_is_well_formed(ap_slice_cstr("")));
}

static void test_options_are_checked(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        struct key_options options;
        enum ap_rc want;
    } cases[] = {
        {{.name = ""}, AP_E_PARSE},
        {{.name = "  "}, AP_E_PARSE},
        {{.name = "\xff"}, AP_E_PARSE},
        {{.name = "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                  "01234567890"},
         AP_E_LIMIT},
        {{.name = "a", .rows_per_second = 10000001}, AP_E_LIMIT},
        {{.name = "a", .origins = "www.example.com"}, AP_E_PARSE},
        {{.name = "a", .origins = "https://"}, AP_E_PARSE},
        {{.name = "a", .origins = "https://example.com/path"}, AP_E_PARSE},
        {{.name = "a", .origins = "https://example.com http://localhost:3000"}, AP_OK},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        char token[KEY_TOKEN_BYTES_MAX];
        int64_t id;
        struct ap_err err;
        if (key_create(fx->meta, &fx->clock, &cases[i].options, &id, token, &err) != cases[i].want)
            fail_msg("case %zu: %s", i, err.text);
    }
}

static void test_revoke(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    int64_t id = create(fx, KEY_KIND_SECRET, 0, 0, token);
    struct ap_err err;
    fx->now_us += AP_US_PER_S;
    assert_int_equal(key_revoke(fx->meta, &fx->clock, id + 1, &err), AP_E_NOT_FOUND);
    MUST(key_revoke(fx->meta, &fx->clock, id, &must_err));
    assert_int_equal(key_revoke(fx->meta, &fx->clock, id, &err), AP_E_CONFLICT);
    struct key_list list;
    MUST(key_list(fx->meta, &list, &must_err));
    assert_int_equal(list.items[0].revoked_ms, INT64_C(1764000001000));
    key_list_clear(&list);
}

static void test_keyring_finds_and_refuses(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    int64_t id = create(fx, KEY_KIND_PUBLIC, 5, 0, token);
    struct keyring *keyring;
    MUST(keyring_open(fx->path, &fx->clock, &keyring, &must_err));
    struct keyring_entry *entry = NULL;
    MUST(keyring_find(keyring, ap_slice_cstr(token), &entry, &must_err));
    assert_int_equal(entry->id, id);
    assert_int_equal(entry->kind, KEY_KIND_PUBLIC);
    assert_int_equal(entry->rows_burst, 50);
    assert_int_equal(entry->last_used_ms, INT64_C(1764000000000));

    struct ap_err err;
    char other[KEY_TOKEN_BYTES_MAX];
    create(fx, KEY_KIND_PUBLIC, 0, 0, other);
    MUST(key_revoke(fx->meta, &fx->clock, id, &must_err));
    /* Not told yet: the other key is unknown. (The keyring's own poll may come in between and is right, too.) */
    MUST(keyring_refresh(keyring, &must_err));
    MUST(keyring_find(keyring, ap_slice_cstr(other), &entry, &must_err));
    assert_int_equal(keyring_find(keyring, ap_slice_cstr(token), &entry, &err), AP_E_AUTH);
    assert_non_null(strstr(err.text, "was revoked"));

    assert_int_equal(keyring_find(keyring, ap_slice_cstr("hello"), &entry, &err), AP_E_AUTH);
    assert_non_null(strstr(err.text, "mistyped"));
    assert_int_equal(keyring_find(keyring, ap_slice_cstr(""), &entry, &err), AP_E_AUTH);
    /* Well-formed, made for another installation. */
    char path[128];
    snprintf(path, sizeof(path), "%s/other", fx->dir);
    struct meta *elsewhere;
    MUST(meta_open(path, &elsewhere, &must_err));
    struct key_options options = {.kind = KEY_KIND_SECRET, .name = "elsewhere"};
    MUST(key_create(elsewhere, &fx->clock, &options, &id, token, &must_err));
    meta_close(elsewhere);
    unlink(path);
    assert_int_equal(keyring_find(keyring, ap_slice_cstr(token), &entry, &err), AP_E_AUTH);
    assert_non_null(strstr(err.text, "not known"));
    keyring_close(keyring);
}

/* As `apiary key revoke` does it while the server runs: nobody tells the keyring. */
static void test_keyring_notices_another_process(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    int64_t id = create(fx, KEY_KIND_SECRET, 0, 0, token);
    struct keyring *keyring;
    MUST(keyring_open(fx->path, &fx->clock, &keyring, &must_err));
    struct keyring_entry *entry;
    MUST(keyring_find(keyring, ap_slice_cstr(token), &entry, &must_err));
    MUST(key_revoke(fx->meta, &fx->clock, id, &must_err));
    struct ap_err err;
    while (keyring_find(keyring, ap_slice_cstr(token), &entry, &err) == AP_OK)
        usleep(1000);
    assert_non_null(strstr(err.text, "was revoked"));
    keyring_close(keyring);
}

static void test_keyring_with_many_keys(void **state)
{
    struct fixture *fx = *state;
    enum { COUNT = 300 }; /* several times the first table */
    static char tokens[COUNT][KEY_TOKEN_BYTES_MAX];
    int64_t ids[COUNT];
    struct keyring *keyring;
    MUST(keyring_open(fx->path, &fx->clock, &keyring, &must_err));
    for (int i = 0; i < COUNT; i++) {
        ids[i] = create(fx, KEY_KIND_PUBLIC, 0, 0, tokens[i]);
        if (i % 50 == 0)
            MUST(keyring_refresh(keyring, &must_err));
    }
    MUST(keyring_refresh(keyring, &must_err));
    for (int i = 0; i < COUNT; i++) {
        struct keyring_entry *entry = NULL;
        MUST(keyring_find(keyring, ap_slice_cstr(tokens[i]), &entry, &must_err));
        assert_int_equal(entry->id, ids[i]);
    }
    keyring_close(keyring);
}

static void *look_up_until_revoked(void *context)
{
    void **arguments = context;
    struct keyring_entry *entry;
    struct ap_err err;
    while (keyring_find(arguments[0], ap_slice_cstr(arguments[1]), &entry, &err) == AP_OK)
        keyring_entry_charge(entry, 0, 1);
    return NULL;
}

/* For the thread sanitizer: readers without a lock while keys come, tables grow and a key goes. */
static void test_keyring_is_read_while_it_changes(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX], other[KEY_TOKEN_BYTES_MAX];
    int64_t id = create(fx, KEY_KIND_PUBLIC, 1000, 0, token);
    struct keyring *keyring;
    MUST(keyring_open(fx->path, &fx->clock, &keyring, &must_err));
    void *arguments[] = {keyring, token};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_until_revoked, arguments), 0);
    for (int i = 0; i < 100; i++) {
        create(fx, KEY_KIND_PUBLIC, 0, 0, other);
        MUST(keyring_refresh(keyring, &must_err));
    }
    MUST(key_revoke(fx->meta, &fx->clock, id, &must_err));
    MUST(keyring_refresh(keyring, &must_err));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    keyring_close(keyring);
}

static void test_last_use_is_written_back(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    create(fx, KEY_KIND_VIEWER, 0, 0, token);
    struct keyring *keyring;
    MUST(keyring_open(fx->path, &fx->clock, &keyring, &must_err));
    fx->now_us += 5 * AP_US_PER_S;
    struct keyring_entry *entry;
    MUST(keyring_find(keyring, ap_slice_cstr(token), &entry, &must_err));
    keyring_close(keyring);
    struct key_list list;
    MUST(key_list(fx->meta, &list, &must_err));
    assert_int_equal(list.items[0].last_used_ms, INT64_C(1764000005000));
    key_list_clear(&list);
}

static void test_rate_limit_is_a_bucket(void **state)
{
    (void)state;
    struct keyring_entry entry = {.rows_per_second = 10, .rows_burst = 20};
    struct ap_err err;
    int64_t now_us = 1000000000, wait_ms = 0;
    for (int i = 0; i < 20; i++) { /* the burst */
        assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_OK);
        keyring_entry_charge(&entry, now_us, 1);
    }
    assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_E_BUSY);
    assert_in_range(wait_ms, 100, 101);
    now_us += wait_ms * 1000;
    assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_OK);
    keyring_entry_charge(&entry, now_us, 1000); /* a large batch goes into debt: 100 s */
    assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_E_BUSY);
    assert_in_range(wait_ms, 99900, 100100);
    now_us += (wait_ms + 1000000) * 1000; /* long idle: full again, and not fuller */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_OK);
        keyring_entry_charge(&entry, now_us, 1);
    }
    assert_int_equal(keyring_entry_admit(&entry, now_us, &wait_ms, &err), AP_E_BUSY);
    assert_int_equal(entry.refused_count, 3);

    struct keyring_entry unlimited = {0};
    keyring_entry_charge(&unlimited, now_us, 1000000);
    assert_int_equal(keyring_entry_admit(&unlimited, now_us, &wait_ms, &err), AP_OK);
}

static void test_secret_stays_the_same(void **state)
{
    struct fixture *fx = *state;
    uint8_t first[32], again[32], other[32];
    MUST(meta_secret(fx->meta, "user_id_hash", first, sizeof(first), &must_err));
    struct meta *second;
    MUST(meta_open(fx->path, &second, &must_err));
    MUST(meta_secret(second, "user_id_hash", again, sizeof(again), &must_err));
    MUST(meta_secret(second, "something_else", other, sizeof(other), &must_err));
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
    meta_close(second);
}

static void test_file_is_private_and_checked(void **state)
{
    struct fixture *fx = *state;
    struct stat info;
    assert_int_equal(stat(fx->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    char path[128];
    snprintf(path, sizeof(path), "%s/garbage", fx->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    struct meta *meta;
    struct ap_err err;
    assert_int_equal(meta_open(path, &meta, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    assert_int_equal(meta_open("/nonexistent/meta.sqlite", &meta, &err), AP_E_NOT_FOUND);
}

static void test_file_of_a_newer_program_is_refused(void **state)
{
    struct fixture *fx = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct meta *meta;
    struct ap_err err;
    assert_int_equal(meta_open(fx->path, &meta, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "newer version"));
}

/* The tables as they were before there were keys for operators. */
static const char tables_2[] =
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('public', 'secret', 'viewer')),"
    "  name TEXT NOT NULL, hint TEXT NOT NULL, hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
    "  origins TEXT NOT NULL DEFAULT '', rows_per_second INTEGER NOT NULL DEFAULT 0, rows_burst INTEGER NOT NULL"
    "  DEFAULT 0, created_ms INTEGER NOT NULL, last_used_ms INTEGER NOT NULL DEFAULT 0, revoked_ms INTEGER NOT NULL"
    "  DEFAULT 0) STRICT;"
    "INSERT INTO keys VALUES (7, 'viewer', 'wall', 'apk_view_7k2m…', randomblob(32), 'https://a.example', 5, 50, 1000,"
    "  2000, 0), (9, 'secret', 'old', 'apk_sec_abcd…', randomblob(32), '', 0, 0, 1001, 0, 3000);"
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "PRAGMA user_version = 2";

static void test_keys_of_an_older_program_stay(void **state)
{
    struct fixture *fx = *state;
    meta_close(fx->meta);
    assert_int_equal(unlink(fx->path), 0);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, tables_2, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    MUST(meta_open(fx->path, &fx->meta, &must_err));
    char token[KEY_TOKEN_BYTES_MAX];
    assert_int_equal(create(fx, KEY_KIND_OPERATOR, 0, 0, token), 10);
    struct key_list list;
    MUST(key_list(fx->meta, &list, &must_err));
    assert_int_equal(list.count, 3);
    const struct key_info *wall = &list.items[0];
    assert_int_equal(wall->id, 7);
    assert_int_equal(wall->kind, KEY_KIND_VIEWER);
    assert_string_equal(wall->origins, "https://a.example");
    assert_int_equal(wall->rows_per_second, 5);
    assert_int_equal(wall->last_used_ms, 2000);
    assert_int_equal(list.items[1].revoked_ms, 3000);
    assert_int_equal(list.items[2].kind, KEY_KIND_OPERATOR);
    key_list_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_token_is_shown_once_and_kept_as_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_wrong_character_breaks_the_checksum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revoke, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keyring_finds_and_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keyring_notices_another_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keyring_with_many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keyring_is_read_while_it_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_use_is_written_back, setup, teardown),
        cmocka_unit_test(test_rate_limit_is_a_bucket),
        cmocka_unit_test_setup_teardown(test_secret_stays_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_is_private_and_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_of_a_newer_program_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_of_an_older_program_stay, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
