#include "cli/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* A file of its own for each test; its name stands in errors. */
struct file {
    char path[64];
};

static void file_write(struct file *file, const char *text)
{
    strcpy(file->path, "/tmp/test_config_XXXXXX");
    int fd = mkstemp(file->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static struct config *load_or_die(const struct config_flag *flags, size_t flag_count, const char *text,
                                  const char *const *environment)
{
    struct file file;
    if (text)
        file_write(&file, text);
    struct config *config;
    struct ap_err err;
    enum ap_rc rc = config_load(flags, flag_count, text ? file.path : NULL, environment, &config, &err);
    if (text)
        unlink(file.path);
    if (rc != AP_OK)
        fail_msg("%s", err.text);
    return config;
}

static void test_defaults(void **state)
{
    (void)state;
    AP_AUTO(config) struct config *config = load_or_die(NULL, 0, NULL, NULL);
    assert_string_equal(config->data, "data");
    assert_int_equal(config->listen.count, 1);
    assert_string_equal(config->listen.items[0], "127.0.0.1:8484");
    assert_false(config->open);
    assert_int_equal(config->packs.count, 0);
    assert_int_equal(config->log.level, AP_LOG_INFO);
    assert_int_equal(config->wal.segment_size, 64 << 20);
    assert_int_equal(config->warehouse.query_timeout, 10000);
    assert_int_equal(config->tsdb.out_of_order_window, 2 * 3600 * 1000);
    assert_int_equal(config->tsdb.retention, INT64_C(15) * 86400 * 1000);
    assert_int_equal(config->tsdb.retention_size, 0);
    assert_int_equal(config->ingest.trusted_proxies.count, 2);
    assert_null(config->tls.certificate);
    struct ap_err err;
    assert_int_equal(config_check(config, &err), AP_OK);
}

static void test_file(void **state)
{
    (void)state;
    AP_AUTO(config)
    struct config *config = load_or_die(NULL, 0,
                                        "listen: ['[::1]:9000', 127.0.0.1:9000]\n"
                                        "pack: packs/hive\n"
                                        "hosts:\n  analytics.example.com: /\n  siem.example.com: /siem\n"
                                        "log:\n  level: debug\n"
                                        "wal:\n  max_size: 1GiB\n"
                                        "warehouse: # nothing\n",
                                        NULL);
    assert_int_equal(config->listen.count, 2);
    assert_string_equal(config->packs.items[0], "packs/hive");
    assert_string_equal(config->hosts.keys[1], "siem.example.com");
    assert_string_equal(config->hosts.items[1], "/siem");
    assert_int_equal(config->log.level, AP_LOG_DEBUG);
    assert_int_equal(config->wal.max_size, 1 << 30);
    struct ap_err err;
    assert_int_equal(config_check(config, &err), AP_OK);
}

/* Flag over environment over file over default. */
static void test_priority(void **state)
{
    (void)state;
    static const char file[] = "data: file\nwal:\n  max_size: 1GiB\nlog:\n  level: warn\n";
    static const char *const environment[] = {"PATH=/bin",
                                              "APIARY_WAL_MAX_SIZE=2GiB",
                                              "APIARY_LOG_LEVEL=error",
                                              "APIARY_LISTEN=127.0.0.1:1, 127.0.0.1:2",
                                              "APIARY_UNRELATED=1",
                                              NULL};
    static const struct config_flag flags[] = {{"wal.max_size", "3GiB"}, {"open", "true"}};
    AP_AUTO(config) struct config *config = load_or_die(flags, 2, file, environment);
    assert_string_equal(config->data, "file");
    assert_int_equal(config->log.level, AP_LOG_ERROR);
    assert_int_equal(config->wal.max_size, INT64_C(3) << 30);
    assert_int_equal(config->listen.count, 2);
    assert_true(config->open);
}

/* All sources again; the file is another by then. */
static void test_loaded_again(void **state)
{
    (void)state;
    static const char *const environment[] = {"APIARY_WAL_MAX_SIZE=8GiB", NULL};
    static const char *const expected[] = {"heartbeats"};
    struct file file;
    struct ap_err err;
    AP_AUTO(config) struct config *config = NULL;
    AP_AUTO(config) struct config *again = NULL;
    file_write(&file, "heartbeats: [{name: a, every: 1d}]\nlimits: {connections: 9}\n"
                      "postgres: {connections: {main: 'password=one'}}\n");
    AP_AUTO_FREE char *value = ap_strdup("debug"); /* of the command line, which nobody keeps */
    struct config_flag flag = {"log.level", value};
    assert_int_equal(config_load(&flag, 1, file.path, environment, &config, &err), AP_OK);
    memset(value, 'x', strlen(value));
    FILE *changed = fopen(file.path, "w");
    assert_non_null(changed);
    fputs("heartbeats: []\nlimits: {connections: 10}\npostgres: {connections: {main: 'password=two'}}\nopen: false\n",
          changed);
    fclose(changed);
    assert_int_equal(config_load_again(config, &again, &err), AP_OK);
    assert_int_equal(again->limits.connections, 10);
    assert_int_equal(again->log.level, AP_LOG_DEBUG);
    assert_int_equal(again->wal.max_size, INT64_C(8) << 30);
    AP_AUTO_FREE char *differences = config_differences(config, again, expected, 1);
    assert_string_equal(differences, "postgres.connections, limits.connections");
    config_free(config_ref(again)); /* who holds it keeps it */
    assert_int_equal(again->limits.connections, 10);
    unlink(file.path);
    AP_AUTO(config) struct config *none = NULL;
    assert_int_equal(config_load_again(config, &none, &err), AP_E_NOT_FOUND);
}

/* `want` is what stands behind the name of the file. */
static void check_file_error(const char *text, const char *want, int line)
{
    struct file file;
    file_write(&file, text);
    struct config *config = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = config_load(NULL, 0, file.path, NULL, &config, &err);
    if (rc == AP_OK)
        rc = config_check(config, &err);
    config_free(config);
    unlink(file.path);
    size_t path_bytes = strncmp(err.text, file.path, strlen(file.path)) == 0 ? strlen(file.path) : 0;
    if (rc != AP_E_PARSE || strcmp(err.text + path_bytes, want) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define FILE_ERROR(text, want) check_file_error(text, want, __LINE__)
static void test_file_errors(void **state)
{
    (void)state;
    FILE_ERROR("lisetn: 127.0.0.1:1\n", ":1:1: unknown key \"lisetn\"; did you mean \"listen\"?");
    FILE_ERROR("wal:\n  max-size: 1GiB\n", ":2:3: unknown key \"max-size\"; did you mean \"max_size\"?");
    FILE_ERROR("wal:\n  something: 1\n", ":2:3: unknown key \"something\"; known here: segment_size, max_size");
    FILE_ERROR("wal.max_size: 1GiB\n", ":1:1: unknown key \"wal.max_size\"; known here: data, listen, open, pack, "
                                       "hosts, external_labels, external_url, tls, log, wal, warehouse, tsdb, promql, "
                                       "rules, alerting, heartbeats, scrape, otlp, probes, host, postgres, limits, "
                                       "ingest, push, statsd, privacy, geo");
    FILE_ERROR("wal:\n  max_size: 1GB\n",
               ":2:13: wal.max_size: expected a size such as 64KiB, 8MiB or 1GiB, found \"1GB\"");
    FILE_ERROR("wal: 1\n", ":1:6: wal: expected a map of settings, found a text");
    FILE_ERROR("- a\n", ":1:1: expected settings such as \"listen: 127.0.0.1:8484\", found a list");
    FILE_ERROR("log:\n  level: wran\n", ":2:10: log.level: unknown word \"wran\"; did you mean \"warn\"?; expected one "
                                        "of: debug, info, warn, error");
    FILE_ERROR("warehouse:\n  threads: 0\n", ":2:12: warehouse.threads: expected 1 to 256, found \"0\"");
    FILE_ERROR("hosts:\n  a.example: siem\n", ":2:14: hosts: expected a path such as / or /siem");
    FILE_ERROR("hosts:\n  a.example:80: /\n", ":2:17: hosts: expected a host name without port or path as the key");
    FILE_ERROR("listen: localhost\n",
               ":1:9: listen: expected an address with a port such as 127.0.0.1:8484, found \"localhost\"");
    FILE_ERROR("listen: []\n", "listen: at least one address is needed, such as 127.0.0.1:8484");
    FILE_ERROR("tls:\n  key: a.pem\n",
               "tls: certificate and key are needed both, or neither; tls.certificate is missing");
    FILE_ERROR("tsdb:\n  block_range: 7h\n", "tsdb.block_range must divide a day, as 2h, 1h and 30m do");
    FILE_ERROR("tsdb:\n  retention: 15\n",
               ":2:14: tsdb.retention: expected a duration such as 250ms, 30s, 12h or 7d, found \"15\"");
    FILE_ERROR("tsdb:\n  max_serie: 15\n", ":2:3: unknown key \"max_serie\"; did you mean \"max_series\"?");
    FILE_ERROR("otlp:\n  listen: '0.0.0.0:4318'\nopen: true\n",
               "open: everybody who reaches 0.0.0.0:4318 could read and write without a key; listen on 127.0.0.1 or "
               "[::1] only, or leave \"open\" away and make keys with `apiary key create`");
    FILE_ERROR("otlp:\n  translation_strategy: NoTranslatoin\n",
               ":2:25: otlp.translation_strategy: unknown word \"NoTranslatoin\"; did you mean \"NoTranslation\"?; "
               "expected one of: UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, "
               "NoUTF8EscapingWithSuffixes, NoTranslation");
    FILE_ERROR("otlp:\n  cors_origins: [https://a.example, 'https://b.example/']\n",
               ":2:37: otlp.cors_origins: expected an origin, which is scheme, host and port without a path, such as "
               "https://app.example.com, or *");
    FILE_ERROR("otlp:\n  ignore_resource_attributes: [host.name]\n",
               ":2:32: otlp.ignore_resource_attributes needs otlp.promote_all_resource_attributes");
    FILE_ERROR("otlp:\n  promote_all_resource_attributes: true\n  promote_resource_attributes: [host.name]\n",
               ":3:33: otlp.promote_resource_attributes names what otlp.promote_all_resource_attributes promotes "
               "already; keep one of them");
    FILE_ERROR("alerting:\n  config: a.yml\n  alertmanagers: [http://a]\n",
               "alerting.config and alerting.alertmanagers are both set: people are told from here or from there");
    FILE_ERROR("alerting:\n  watchdog_url: http://a\n  watchdog_url_file: b\n",
               "alerting.watchdog_url and alerting.watchdog_url_file are both set; one is enough");
    FILE_ERROR("alerting:\n  watchdog_url: hunter2\n",
               "alerting.watchdog_url: expected an address that begins with http:// or https://");
    FILE_ERROR("alerting:\n  config: a.yml\n  path_test: 10ms\n",
               "alerting.path_test: expected at least 1s, or 0 for none");
    FILE_ERROR("alerting:\n  path_test: 24h\n", "alerting.path_test needs alerting.config, whose receivers are tested");
    FILE_ERROR("wal:\n  max_size: 64MiB\n", "wal.max_size must be at least twice wal.segment_size");
}

static void test_other_errors(void **state)
{
    (void)state;
    struct config *config;
    struct ap_err err;
    static const char *const environment[] = {"APIARY_WAL_MAX_SIZE=lots", NULL};
    assert_int_equal(config_load(NULL, 0, NULL, environment, &config, &err), AP_E_PARSE);
    assert_string_equal(err.text, "environment variable APIARY_WAL_MAX_SIZE: wal.max_size: expected a size such as "
                                  "64KiB, 8MiB or 1GiB, found \"lots\"");
    static const struct config_flag wrong_value = {"open", "maybe"};
    assert_int_equal(config_load(&wrong_value, 1, NULL, NULL, &config, &err), AP_E_PARSE);
    assert_string_equal(err.text, "flag: open: expected true or false, found \"maybe\"");
    static const struct config_flag not_as_text = {"heartbeats", "a"};
    assert_int_equal(config_load(&not_as_text, 1, NULL, NULL, &config, &err), AP_E_PARSE);
    assert_string_equal(err.text, "flag: heartbeats: can be given in a file only");
    static const struct config_flag wrong_key = {"lissten", "x"};
    assert_int_equal(config_load(&wrong_key, 1, NULL, NULL, &config, &err), AP_E_PARSE);
    assert_string_equal(err.text, "unknown setting \"lissten\"; did you mean \"listen\"?");
    assert_int_equal(config_load(NULL, 0, "/nonexistent.yaml", NULL, &config, &err), AP_E_NOT_FOUND);
}

static enum ap_rc check_open(const char *listen)
{
    const struct config_flag flags[] = {{"open", "true"}, {"listen", listen}};
    AP_AUTO(config) struct config *config = load_or_die(flags, 2, NULL, NULL);
    struct ap_err err;
    return config_check(config, &err);
}

static void test_open_is_for_loopback_only(void **state)
{
    (void)state;
    assert_int_equal(check_open("127.0.0.1:8484"), AP_OK);
    assert_int_equal(check_open("127.9.9.9:0, [::1]:8484, localhost:1"), AP_OK);
    assert_int_equal(check_open("0.0.0.0:8484"), AP_E_PARSE);
    assert_int_equal(check_open(":8484"), AP_E_PARSE);
    assert_int_equal(check_open("127.0.0.1:8484, 192.0.2.1:8484"), AP_E_PARSE);
    assert_int_equal(check_open("[::]:8484"), AP_E_PARSE);
    assert_int_equal(check_open("[::ffff:127.0.0.1]:8484"), AP_E_PARSE); /* not worth the doubt */
}

static void test_addresses(void **state)
{
    (void)state;
    char address[64];
    uint16_t port;
    struct ap_err err;
    assert_int_equal(config_split_address("[2001:db8::1]:443", address, &port, &err), AP_OK);
    assert_string_equal(address, "2001:db8::1");
    assert_int_equal(port, 443);
    assert_int_equal(config_split_address("127.0.0.1:0", address, &port, &err), AP_OK);
    assert_int_equal(port, 0);
    static const char *const bad[] = {"",         "127.0.0.1",   "127.0.0.1:",     "127.0.0.1:65536", "127.0.0.1:-1",
                                      "::1:8484", "[::1]",       "example.com:80", "[127.0.0.1]:80",  "127.1:80",
                                      "[]:80",    "127.0.0.1:8x"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++) {
        if (config_split_address(bad[i], address, &port, &err) == AP_OK)
            fail_msg("%s was taken", bad[i]);
    }
}

/* What is printed can be used as a file, and then says the same. */
static void test_print_round_trip(void **state)
{
    (void)state;
    static const struct config_flag flags[] = {{"hosts", "a.example=/, b.example=/siem"},
                                               {"tls.certificate", "a \"b\".pem"},
                                               {"warehouse.query_timeout", "1500ms"},
                                               {"limits.body", "1000000"}};
    AP_AUTO(config)
    struct config *first = load_or_die(flags, AP_ARRAY_COUNT(flags),
                                       "data: here\n"
                                       "heartbeats: [{name: a, every: 1d, labels: {team: 'x \"y\"'}}, {name: b}]\n",
                                       NULL);
    AP_AUTO_BUF struct ap_buf printed = {0};
    config_print(first, &printed);
    AP_AUTO_FREE char *text = ap_buf_detach(&printed);
    assert_non_null(strstr(text, "query_timeout: 1500ms"));
    assert_non_null(strstr(text, "# flag\n"));
    assert_non_null(strstr(text, "# default\n"));
    const char *data = strstr(text, "data: \"here\"");
    assert_non_null(data);
    assert_non_null(strstr(data, ":1\n")); /* file and line */

    AP_AUTO(config) struct config *second = load_or_die(NULL, 0, text, NULL);
    assert_string_equal(second->data, "here");
    assert_string_equal(second->tls.certificate, "a \"b\".pem");
    assert_int_equal(second->hosts.count, 2);
    assert_string_equal(second->hosts.items[1], "/siem");
    assert_int_equal(second->warehouse.query_timeout, 1500);
    assert_int_equal(second->limits.body, 1000000);
    assert_non_null(strstr(text, "heartbeats: [{\"name\": a, \"every\": 1d, \"labels\": {\"team\": "));
    assert_int_equal(second->heartbeats->child_count, 2);
    const struct yaml_node *labels = yaml_get(second->heartbeats->first, "labels");
    assert_string_equal(yaml_get(labels, "team")->text.data, "x \"y\"");
}

/* What is printed is shown by the API, too. */
static void test_print_hides_passwords(void **state)
{
    (void)state;
    static const struct config_flag flags[] = {
        {"postgres.connections", "main=postgresql://u:hunter2@h/db?a=b, other=host=h password=hunter2"},
        {"alerting.watchdog_url", "https://heart-beats.example/hunter2"}};
    AP_AUTO(config) struct config *config = load_or_die(flags, AP_ARRAY_COUNT(flags), NULL, NULL);
    assert_int_equal(config->postgres.connections.count, 2);
    assert_string_equal(config->postgres.connections.items[0], "postgresql://u:hunter2@h/db?a=b");
    assert_string_equal(config->postgres.connections.items[1], "host=h password=hunter2");
    AP_AUTO_BUF struct ap_buf printed = {0};
    config_print(config, &printed);
    AP_AUTO_FREE char *text = ap_buf_detach(&printed);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "  watchdog_url: \"<secret>\" "));
    assert_non_null(strstr(text, "  connections: {\"main\": \"<secret>\", \"other\": \"<secret>\"} # flag\n"));
}

/* docs/configuration.md holds the table as it is printed. */
static void test_reference_is_current(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_BUF struct ap_buf described = {0};
    config_describe(&described);
    AP_AUTO_FREE char *want = ap_buf_detach(&described);
    AP_AUTO_FREE char *path = ap_asprintf("%s/docs/configuration.md", root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static char have[65536];
    size_t bytes = fread(have, 1, sizeof(have) - 1, file);
    fclose(file);
    have[bytes] = '\0';
    if (!strstr(have, want))
        fail_msg("docs/configuration.md must hold this table:\n%s", want);
}

static void test_path_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *prefix; /* NULL: refused */
    } cases[] = {
        {"https://ops.example", ""},
        {"https://ops.example/", ""},
        {"http://ops.example:8080/apiary", "/apiary"},
        {"https://ops.example/apiary/", "/apiary"},
        {"https://ops.example/a-b/c.d_e~/", "/a-b/c.d_e~"},
        {"https://ops.example/a//b", NULL},
        {"https://ops.example/a?b", NULL},
        {"https://ops.example/a#b", NULL},
        {"https://ops.example/a%2Fb", NULL},
        {"https://ops.example/a\"b", NULL},
        {"https://ops.example/a;b", NULL},
        {"ops.example/apiary", NULL},
        {"ftp://ops.example", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct config_flag flag = {"external_url", cases[i].url};
        AP_AUTO(config) struct config *config = load_or_die(&flag, 1, NULL, NULL);
        struct ap_err err;
        if (config_check(config, &err) != (cases[i].prefix ? AP_OK : AP_E_PARSE))
            fail_msg("%s: %s", cases[i].url, err.text);
        if (!cases[i].prefix) {
            assert_non_null(strstr(err.text, "external_url: "));
            continue;
        }
        struct ap_slice prefix = config_path_prefix(config);
        if (!ap_slice_equal_cstr(prefix, cases[i].prefix))
            fail_msg("%s: \"%.*s\"", cases[i].url, AP_SLICE_ARG(prefix));
    }
}

/* What links in messages begin with. */
static void test_link_base(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *base;
    } cases[] = {
        {NULL, "http://127.0.0.1:8484"},
        {"external_url: https://apiary.example/\n", "https://apiary.example"},
        {"listen: '[::1]:9000'\n", "http://[::1]:9000"},
        {"listen: 127.0.0.1:0\n", ""},
        {"listen: 192.0.2.7:443\ntls: {certificate: c.pem, key: k.pem}\n", "https://192.0.2.7:443"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        AP_AUTO(config) struct config *config = load_or_die(NULL, 0, cases[i].text, NULL);
        AP_AUTO_FREE char *base = config_link_base(config);
        assert_string_equal(base, cases[i].base);
    }
    char name[256], want[300];
    assert_int_equal(gethostname(name, sizeof(name)), 0);
    snprintf(want, sizeof(want), "http://%s:8484", name);
    AP_AUTO(config) struct config *config = load_or_die(NULL, 0, "listen: ':8484'\n", NULL);
    AP_AUTO_FREE char *base = config_link_base(config);
    assert_string_equal(base, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_link_base),
        cmocka_unit_test(test_path_prefix),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_file_errors),
        cmocka_unit_test(test_other_errors),
        cmocka_unit_test(test_open_is_for_loopback_only),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_print_round_trip),
        cmocka_unit_test(test_print_hides_passwords),
        cmocka_unit_test(test_loaded_again),
        cmocka_unit_test(test_reference_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
