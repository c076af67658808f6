/* The configuration: what is read, what is refused, and what targets come of it. */
#include "scrape/scrape_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "scrape/external_labels.h"
#include "scrape/job_internal.h"
#include "scrape/target_list.h"

static const char *const collector_names[] = {"host", "probe"};
static const struct job_collectors collectors = {collector_names, AP_ARRAY_COUNT(collector_names)};

static struct scrape_file read_or_die(const char *text, int line)
{
    struct scrape_file file;
    struct ap_err err;
    if (scrape_file_parse(ap_slice_cstr(text), "s.yml", &collectors, &file, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    return file;
}
#define READ(text) read_or_die(text, __LINE__)

static void check_bad(const char *text, const char *want, int line)
{
    struct scrape_file file = {0};
    struct ap_err err = {0};
    enum ap_rc rc = scrape_file_parse(ap_slice_cstr(text), "s.yml", &collectors, &file, &err);
    scrape_file_clear(&file);
    if (rc == AP_OK || strncmp(err.text, want, strlen(want)) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define BAD(text, want) check_bad(text, want, __LINE__)
#define BAD_JOB(text, want)                                                                                            \
    check_bad("scrape_configs:\n- job_name: j\n  " text "\n", want, __LINE__) /* what it says begins in line 3 */

/* ---- Values ---- */

static void test_defaults(void **state)
{
    (void)state;
    struct scrape_file file = READ("scrape_configs: [{job_name: j}]");
    assert_int_equal(file.count, 1);
    const struct job *job = file.jobs[0];
    const struct scrape_job *shown = &job->shown;
    assert_string_equal(shown->name, "j");
    assert_null(shown->collector);
    assert_int_equal(shown->interval_ms, 60000);
    assert_int_equal(shown->timeout_ms, 10000);
    assert_int_equal(shown->protocol_count, 4);
    assert_int_equal(shown->protocols[0], SCRAPE_PROTOCOL_OPENMETRICS_1_0_0);
    assert_int_equal(shown->protocols[3], SCRAPE_PROTOCOL_TEXT_0_0_4);
    assert_int_equal(shown->fallback, SCRAPE_PROTOCOL_COUNT);
    assert_false(shown->is_honoring_labels);
    assert_true(shown->is_honoring_timestamps);
    assert_true(shown->is_compression_allowed);
    assert_true(shown->is_utf8_names);
    assert_int_equal(shown->escaping, SCRAPE_ESCAPING_NONE);
    assert_true(shown->http.is_following_redirects);
    assert_true(shown->http.is_http2_allowed);
    assert_null(shown->http.basic_user);
    assert_int_equal(shown->limits.samples_max, 0);
    assert_string_equal(job->metrics_path, "/metrics");
    assert_string_equal(job->scheme, "http");
    scrape_file_clear(&file);
}

static void test_values(void **state)
{
    (void)state;
    struct scrape_file file = READ("global:\n"
                                   "  scrape_interval: 30s\n"
                                   "  sample_limit: 100\n"
                                   "  label_limit: 7\n"
                                   "  scrape_native_histograms: yes\n"
                                   "  external_labels: {a: b}\n"
                                   "rule_files: [x.yml]\n"
                                   "alerting:\n"
                                   "scrape_configs:\n"
                                   "- job_name: a\n"
                                   "  scrape_interval: 1m30s\n"
                                   "  scrape_timeout: 20s\n"
                                   "  sample_limit: 5\n"
                                   "  body_size_limit: 1.5MB\n"
                                   "  honor_labels: true\n"
                                   "  honor_timestamps: off\n"
                                   "  scrape_protocols: [PrometheusText0.0.4]\n"
                                   "  fallback_scrape_protocol: PrometheusText0.0.4\n"
                                   "  basic_auth: {username: u, password: secret}\n"
                                   "  tls_config: {ca_file: ca.pem, insecure_skip_verify: true, min_version: TLS12}\n"
                                   "  http_headers: {X-A: {values: [one, two], secrets: [three]}}\n"
                                   "  metric_name_validation_scheme: legacy\n"
                                   "- job_name: b\n"
                                   "  authorization: {credentials_file: /token}\n"
                                   "  scrape_timeout: 30s\n");
    assert_int_equal(file.count, 2);
    const struct scrape_job *a = &file.jobs[0]->shown, *b = &file.jobs[1]->shown;
    assert_int_equal(a->interval_ms, 90000);
    assert_int_equal(a->timeout_ms, 20000);
    assert_int_equal(b->interval_ms, 30000);
    assert_int_equal(b->timeout_ms, 30000);
    assert_int_equal(a->limits.samples_max, 5);
    assert_int_equal(b->limits.samples_max, 100);
    assert_int_equal(a->limits.labels_max, 7);
    assert_int_equal(a->limits.body_bytes_max, 3 << 19);
    assert_true(a->is_honoring_labels);
    assert_false(a->is_honoring_timestamps);
    assert_int_equal(a->protocol_count, 1);
    assert_int_equal(a->fallback, SCRAPE_PROTOCOL_TEXT_0_0_4);
    assert_true(b->is_native_histograms);
    assert_int_equal(b->protocol_count, 5);
    assert_int_equal(b->protocols[0], SCRAPE_PROTOCOL_PROTOBUF);
    assert_string_equal(a->http.basic_user, "u");
    assert_string_equal(a->http.basic_password, "secret");
    assert_string_equal(a->http.ca_file, "ca.pem");
    assert_true(a->http.is_insecure);
    assert_int_equal(a->http.header_count, 3);
    assert_true(ap_slice_equal_cstr(a->http.headers[2].value, "three"));
    assert_false(a->is_utf8_names);
    assert_int_equal(a->escaping, SCRAPE_ESCAPING_UNDERSCORES);
    assert_string_equal(b->http.authorization_type, "Bearer");
    assert_string_equal(b->http.credentials_file, "/token");
    assert_int_equal(file.ignored_count, 1);
    assert_string_equal(file.ignored[0], "rule_files");
    scrape_file_clear(&file);
}

static void test_checks(void **state)
{
    (void)state;
    BAD("scrape_configs: [~]", "s.yml:1:18: empty or null scrape config section");
    BAD("scrape_configs: [{}]", "s.yml:1:18: job_name is empty");
    BAD("scrape_config: []", "s.yml:1:1: unknown key \"scrape_config\"; did you mean \"scrape_configs\"?");
    BAD("scrape_configs:\n- job_name: a\n- job_name: a\n",
        "s.yml:3:13: found multiple scrape configs with job name \"a\"; the first is in s.yml:2");
    BAD("global: {scrape_interval: 5s, scrape_timeout: 6s}",
        "s.yml:1:47: global scrape timeout greater than scrape interval");
    BAD("global: {scrape_interval: often}", "s.yml:1:27: scrape_interval: expected a duration such as 15s");
    BAD("alerting: {alert_relabel_configs: [{action: kep}]}", "s.yml:1:45: unknown relabel action \"kep\"");
    BAD("alerting: {alert_relabel_config: []}",
        "s.yml:1:12: unknown key \"alert_relabel_config\"; did you mean \"alert_relabel_configs\"?");
    BAD("scrape_config_files: ['a/*/b.yml']", "s.yml:1:23: invalid scrape config file path \"a/*/b.yml\"");
    BAD_JOB("scrape_intervall: 5s", "s.yml:3:3: unknown key \"scrape_intervall\"; did you mean \"scrape_interval\"?");
    BAD_JOB("scrape_timeout: 2m",
            "s.yml:3:19: scrape timeout greater than scrape interval for scrape config with job name \"j\"");
    BAD_JOB("scrape_protocols: []", "s.yml:3:21: scrape_protocols cannot be empty");
    BAD_JOB("scrape_protocols: [PrometheusProto, PrometheusProto]",
            "s.yml:3:39: duplicated protocol in scrape_protocols");
    BAD_JOB("scrape_protocols: [Text]", "s.yml:3:22: scrape_protocols: unknown scrape protocol Text, supported: ");
    BAD_JOB("fallback_scrape_protocol: x", "s.yml:3:29: fallback_scrape_protocol: unknown scrape protocol x");
    BAD_JOB("sample_limit: -1", "s.yml:3:17: sample_limit: expected a number from 0 on, found \"-1\"");
    BAD_JOB("body_size_limit: 10XB", "s.yml:3:20: body_size_limit: expected a size such as 64KB or 10MB, found");
    BAD_JOB("honor_labels: maybe", "s.yml:3:17: honor_labels: expected true or false, found \"maybe\"");
    BAD_JOB("static_configs: [{targets: ['http://a/']}]", "s.yml:3:31: \"http://a/\" is not a valid hostname");
    BAD_JOB("static_configs: {targets: [a]}", "s.yml:3:19: static_configs: expected a list, found a map");
    BAD_JOB("static_configs: [{target: [a]}]", "s.yml:3:21: unknown key \"target\"; did you mean \"targets\"?");
    BAD_JOB("kubernetes_sd_configs: [{role: node}]", "s.yml:3:3: \"kubernetes_sd_configs\" is not supported; there are "
                                                     "static_configs, file_sd_configs, http_sd_configs");
    BAD_JOB("collector: hosts",
            "s.yml:3:14: unknown collector \"hosts\", did you mean \"host\"?; there are: host, probe");
    BAD_JOB("relabel_configs: [{action: kep}]", "s.yml:3:30: unknown relabel action \"kep\"");
    BAD_JOB("metric_relabel_configs: [~]", "s.yml:3:28: empty or null relabeling rule");
    BAD_JOB("metric_name_validation_scheme: utf", "s.yml:3:34: metric_name_validation_scheme: expected \"utf8\" or");
    BAD_JOB("metric_name_escaping_scheme: utf", "s.yml:3:32: unknown name escaping method \"utf\"");
    BAD_JOB("metric_name_validation_scheme: legacy\n  metric_name_escaping_scheme: allow-utf-8",
            "s.yml:2:3: utf8 metric names requested but validation scheme is not set to UTF8");
}

#define BAD_ALERTMANAGER(text, want)                                                                                   \
    check_bad("alerting:\n  alertmanagers:\n  - " text "\n", want, __LINE__) /* what it says is line 3 */
static void test_checks_of_alertmanagers(void **state)
{
    (void)state;
    BAD("alerting: {alertmanagers: {}}", "s.yml:1:27: alertmanagers: expected a list, found a map");
    BAD("alerting: {alertmanagers: [~]}", "s.yml:1:28: empty or null Alertmanager section");
    BAD_ALERTMANAGER("path_prefx: /am", "s.yml:3:5: unknown key \"path_prefx\"; did you mean \"path_prefix\"?");
    BAD_ALERTMANAGER("api_version: v1", "s.yml:3:18: expected Alertmanager api version to be one of [v2] but got v1");
    BAD_ALERTMANAGER("scheme: tcp", "s.yml:3:13: scheme: expected \"http\" or \"https\", found \"tcp\"");
    BAD_ALERTMANAGER("timeout: soon", "s.yml:3:14: timeout: expected a duration such as 15s");
    BAD_ALERTMANAGER("timeout: 0s", "s.yml:3:14: timeout: expected a duration above 0");
    BAD_ALERTMANAGER("sigv4: {region: a}", "s.yml:3:5: \"sigv4\" is not supported; there are basic_auth");
    BAD_ALERTMANAGER("consul_sd_configs: [{}]", "s.yml:3:5: \"consul_sd_configs\" is not supported; there are static");
    BAD_ALERTMANAGER("relabel_configs: [{action: kep}]", "s.yml:3:32: unknown relabel action \"kep\"");
    BAD_ALERTMANAGER("alert_relabel_configs: [{action: kep}]", "s.yml:3:38: unknown relabel action \"kep\"");
    BAD_ALERTMANAGER("static_configs: [{targets: ['http://a:9093']}]",
                     "s.yml:3:33: \"http://a:9093\" is not a valid hostname: a target is host:port; path_prefix and");
    BAD_ALERTMANAGER("basic_auth: {password: hunter2, password_file: b}", "s.yml:3:17: at most one of basic_auth pass");
    BAD("global: {external_labels: [a]}", "s.yml:1:27: external_labels: expected a map, found a list");
    BAD("global: {external_labels: {a: [b]}}", "s.yml:1:31: external_labels: expected a text, found a list");
}

/* As Prometheus has them: variables of the environment, and what is empty is not there. */
static void test_external_labels(void **state)
{
    (void)state;
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_err err;
    assert_int_equal(setenv("APIARY_TEST_SITE", "here", 1), 0);
    const char *file = "global: {external_labels: {b: 'x-${APIARY_TEST_SITE}', a: $APIARY_TEST_SITE/y, c: '$$5 $', "
                       "d: $APIARY_TEST_NONE, e: '${x'}}";
    assert_int_equal(scrape_source_parse(ap_slice_cstr(file), "s.yml", &source, &err), AP_OK);
    assert_int_equal(external_labels_read(source, &labels, &err), AP_OK);
    labels_format_set(ap_buf_slice(&labels), &text);
    ap_buf_add_char(&text, '\0');
    assert_string_equal(text.data, "{a=\"here/y\", b=\"x-here\", c=\"$5 $\", e=\"${x\"}");
}

static void test_checks_of_http(void **state)
{
    (void)state;
    BAD_JOB("basic_auth: {username: a, username_file: b}",
            "s.yml:3:15: at most one of basic_auth username & username_file must be configured");
    BAD_JOB("basic_auth: {password: [hunter2]}", "s.yml:3:26: password: expected text, found a list");
    BAD_JOB("bearer_token: a\n  bearer_token_file: b",
            "s.yml:2:3: at most one of bearer_token & bearer_token_file must be configured");
    BAD_JOB("bearer_token: a\n  authorization: {}", "s.yml:2:3: authorization is not compatible with bearer_token");
    BAD_JOB("basic_auth: {}\n  authorization: {}", "s.yml:2:3: at most one of basic_auth, oauth2 & authorization");
    BAD_JOB("authorization: {type: Basic}", "s.yml:3:25: authorization type cannot be set to \"basic\"");
    BAD_JOB("basic_auth: {}\n  oauth2: {}", "s.yml:2:3: at most one of basic_auth, oauth2 & authorization");
    BAD_JOB("oauth2: {token_url: 'http://a'}", "s.yml:3:11: oauth2 client_id must be configured");
    BAD_JOB("oauth2: {client_id: a}", "s.yml:3:11: oauth2 token_url must be configured");
    BAD_JOB("oauth2: {client_id: a, token_url: ftp://a}",
            "s.yml:3:37: token_url: expected an address that begins with");
    BAD_JOB("oauth2: {client_id: a, token_url: 'http://a', client_secret: b, client_secret_file: c}",
            "s.yml:3:11: at most one of oauth2 client_secret & client_secret_file must be configured");
    BAD_JOB("oauth2: {client_id: a, token_url: 'http://a', tls_config: {key: b}}", "s.yml:3:67: key: expected PEM");
    BAD_JOB("oauth2: {client_id: a, token_url: 'http://a', client_scret: b}",
            "s.yml:3:49: unknown key \"client_scret\"; did you mean \"client_secret\"?");
    BAD_JOB("tls_config: {cert_file: a}", "s.yml:3:15: exactly one of key or key_file must be configured");
    BAD_JOB("tls_config: {min_version: TLS9}", "s.yml:3:29: unknown TLS version: TLS9");
    BAD_JOB("tls_config: {key_file: a}", "s.yml:3:15: exactly one of cert or cert_file must be configured");
    BAD_JOB("tls_config: {ca: PEM}", "s.yml:3:20: ca: expected PEM, which begins with -----BEGIN");
    BAD_JOB("tls_config: {ca: '-----BEGIN X', ca_file: a}", "s.yml:3:15: at most one of ca & ca_file must be");
    BAD_JOB("http_headers: {Host: {values: [a]}}", "s.yml:3:18: setting header \"Host\" is not allowed");
    BAD_JOB("http_headers: {'a b': {values: [a]}}", "s.yml:3:18: \"a b\" is not the name of a header field");
    BAD_JOB("http_headers: {X: {secrets: [\"a\\nb\"]}}",
            "s.yml:3:32: the value of header field \"X\" has a control character in it");
    BAD_JOB("http_headers: {X: {files: [/no/such/file]}}",
            "s.yml:3:30: header field \"X\": /no/such/file: No such file");
    BAD_JOB("proxy_url: proxy:3128", "s.yml:3:14: proxy_url: expected an address that begins with http://");
    BAD_JOB("no_proxy: a", "s.yml:2:3: if no_proxy is configured, proxy_url must also be configured");
}

/* ---- Targets ---- */

struct listing {
    struct scrape_file file;
    struct target_list list;
};

static struct listing list_or_die(const char *text, int line)
{
    struct listing listing = {.file = read_or_die(text, line)};
    const struct job *job = listing.file.jobs[0];
    target_list_init(&listing.list);
    for (size_t i = 0; i < job->discovery_count; i++) {
        const struct discovery_kind *kind = job->discoveries[i].kind;
        struct discovery *discovery = kind->open(job->discoveries[i].config, NULL);
        struct target_groups *groups = NULL;
        struct ap_err err;
        if (kind->refresh(discovery, &groups, &err) != AP_OK)
            fail_msg("line %d: %s", line, err.text);
        target_list_add(&listing.list, job, groups);
        target_groups_free(groups);
        kind->close(discovery);
    }
    target_list_finish(&listing.list, job);
    return listing;
}

static void listing_clear(struct listing *listing)
{
    target_list_clear(&listing->list);
    scrape_file_clear(&listing->file);
}

/* Of one target: labels, URL, interval and timeout in seconds; or why it is none. */
static void check_target(const char *text, const char *want, int line)
{
    struct listing listing = list_or_die(text, line);
    const struct target_list *list = &listing.list;
    AP_AUTO_BUF struct ap_buf got = {0};
    if (list->count) {
        labels_format_set(list->items[0]->labels, &got);
        ap_buf_printf(&got, " %s %g %g", list->items[0]->url, (double)list->items[0]->interval_ms / 1e3,
                      (double)list->items[0]->timeout_ms / 1e3);
    } else {
        ap_buf_add_cstr(&got, list->dropped_count   ? "dropped"
                              : list->failure_count ? list->failures[0].reason
                                                    : "nothing");
    }
    ap_buf_add_char(&got, '\0');
    if (strcmp(got.data, want) != 0)
        fail_msg("line %d: %s", line, got.data);
    listing_clear(&listing);
}
#define TARGET(job, want) check_target("scrape_configs: [{job_name: j, " job "}]", want, __LINE__)
#define RELABELLED(rules, want)                                                                                        \
    TARGET("static_configs: [{targets: ['h:1'], labels: {__meta_m: 5s}}], relabel_configs: [" rules "]", want)

static void test_targets(void **state)
{
    (void)state;
    TARGET("static_configs: [{targets: ['h:1']}]", "{instance=\"h:1\", job=\"j\"} http://h:1/metrics 60 10");
    TARGET("static_configs: [{targets: ['h']}]",
           "{instance=\"h\", job=\"j\"} http://h/metrics 60 10"); /* no port added */
    TARGET("static_configs: [{targets: ['[::1]:9']}]",
           "{instance=\"[::1]:9\", job=\"j\"} http://[::1]:9/metrics 60 10");
    TARGET("scheme: https, metrics_path: 'a b?c', static_configs: [{targets: [h], labels: {x: y, job: other}}]",
           "{instance=\"h\", job=\"other\", x=\"y\"} https://h/a%20b%3Fc 60 10");
    TARGET("params: {m: [a b, c], b: [x&y]}, static_configs: [{targets: [h]}]",
           "{instance=\"h\", job=\"j\"} http://h/metrics?b=x%26y&m=a+b&m=c 60 10");
    TARGET("params: {m: [a]}, static_configs: [{targets: [h], labels: {__param_m: own, __param_n: new}}]",
           "{instance=\"h\", job=\"j\"} http://h/metrics?m=own&n=new 60 10");
    TARGET("static_configs: [{targets: [h], labels: {__scrape_interval__: 5s, __scrape_timeout__: 2s, "
           "__metrics_path__: /m, __scheme__: https}}]",
           "{instance=\"h\", job=\"j\"} https://h/m 5 2");
    TARGET("static_configs: [{targets: [h], labels: {instance: i}}]",
           "{instance=\"i\", job=\"j\"} http://h/metrics 60 10");
    TARGET("static_configs: [{targets: ['']}]", "no address");
    TARGET("static_configs: [{targets: []}]", "nothing");
    TARGET("collector: probe, static_configs: [{targets: ['https://a/b']}]",
           "{instance=\"https://a/b\", job=\"j\"} probe:https://a/b 60 10");
}

static void test_relabelled_targets(void **state)
{
    (void)state;
    RELABELLED("{source_labels: [__meta_m], target_label: m}",
               "{instance=\"h:1\", job=\"j\", m=\"5s\"} http://h:1/metrics 60 10");
    RELABELLED("{source_labels: [__meta_m], target_label: __scrape_interval__}",
               "scrape timeout cannot be greater than scrape interval (\"10s\" > \"5s\")");
    RELABELLED("{source_labels: [__meta_m], target_label: __scrape_timeout__}",
               "{instance=\"h:1\", job=\"j\"} http://h:1/metrics 60 5");
    RELABELLED("{target_label: __scrape_timeout__, replacement: soon}",
               "error parsing scrape timeout: not a valid duration string: \"soon\"");
    RELABELLED("{target_label: __scrape_interval__, replacement: 0s}", "scrape interval cannot be 0");
    RELABELLED("{target_label: __scrape_interval__, replacement: ''}",
               "error parsing scrape interval: empty duration string");
    RELABELLED("{target_label: __address__, replacement: 'a/b'}", "\"a/b\" is not a valid hostname");
    RELABELLED("{target_label: __address__, replacement: ''}", "no address");
    RELABELLED("{source_labels: [__address__], target_label: __param_target}, {target_label: __address__, replacement: "
               "'probe:9115'}, {source_labels: [__param_target], target_label: instance}",
               "{instance=\"h:1\", job=\"j\"} http://probe:9115/metrics?target=h%3A1 60 10");
    RELABELLED("{regex: job, action: labeldrop}", "{instance=\"h:1\"} http://h:1/metrics 60 10");
    RELABELLED("{source_labels: [job], regex: j, action: drop}", "dropped");
    RELABELLED("{source_labels: [__address__], regex: 'h.*', action: keep}",
               "{instance=\"h:1\", job=\"j\"} http://h:1/metrics 60 10");
}

static void test_lists(void **state)
{
    (void)state;
    struct listing listing = list_or_die(
        "scrape_configs: [{job_name: j, keep_dropped_targets: 2, static_configs: [{targets: [a, b, c, d, a]}, "
        "{targets: [a], labels: {x: y}}], relabel_configs: [{source_labels: [__address__], regex: '[bcd]', "
        "action: drop}]}]",
        __LINE__);
    assert_int_equal(listing.list.count, 2); /* a, and a with a label; the second a is the first */
    assert_true(listing.list.items[0]->hash < listing.list.items[1]->hash);
    assert_int_equal(listing.list.dropped_count, 3);
    assert_int_equal(listing.list.dropped_kept, 2);
    assert_true(ap_slice_equal_cstr(labels_get(listing.list.dropped[0], ap_slice_cstr("__address__")), "b"));
    assert_true(ap_slice_equal_cstr(labels_get(listing.list.dropped[0], ap_slice_cstr("__scheme__")), "http"));
    listing_clear(&listing);
}

static void test_target_limit(void **state)
{
    (void)state;
    struct listing over = list_or_die(
        "scrape_configs: [{job_name: j, target_limit: 1, static_configs: [{targets: [a, b, a]}]}]", __LINE__);
    assert_int_equal(over.list.items[0]->too_many, 2);
    assert_int_equal(over.list.items[1]->too_many, 2);
    listing_clear(&over);
    struct listing within =
        list_or_die("scrape_configs: [{job_name: j, target_limit: 1, static_configs: [{targets: [a, a]}]}]", __LINE__);
    assert_int_equal(within.list.items[0]->too_many, 0);
    listing_clear(&within);
}

static void test_collector_params(void **state)
{
    (void)state;
    struct listing listing = list_or_die("scrape_configs: [{job_name: j, collector: probe, params: {module: [tcp]}, "
                                         "static_configs: [{targets: ['a:1']}]}]",
                                         __LINE__);
    const struct scrape_target *target = listing.list.items[0];
    assert_true(ap_slice_equal_cstr(target->address, "a:1"));
    assert_int_equal(target->param_count, 2);
    assert_true(ap_slice_equal_cstr(target->params[0].name, "module"));
    assert_true(ap_slice_equal_cstr(target->params[1].name, "target"));
    assert_true(ap_slice_equal_cstr(target->params[1].value, "a:1"));
    listing_clear(&listing);
}

/* ---- Files ---- */

static void write_file(const char *dir, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(const char *dir, const char *name)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    unlink(path);
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/apiary-scrape-XXXXXX";
    assert_non_null(mkdtemp(dir));
    write_file(dir, "main.yml",
               "global: {scrape_failure_log_file: fail.log}\nscrape_config_files: ['jobs-*.yml', none.yml]\n"
               "scrape_configs: [{job_name: a, tls_config: {ca_file: ca.pem}}]\n");
    write_file(dir, "jobs-1.yml", "scrape_configs: [{job_name: b, bearer_token_file: /abs}]\n");
    AP_AUTO_FREE char *path = ap_asprintf("%s/main.yml", dir), *ca = ap_asprintf("%s/ca.pem", dir);
    AP_AUTO_FREE char *log = ap_asprintf("%s/fail.log", dir);
    struct scrape_file file;
    struct ap_err err;
    assert_int_equal(scrape_file_load(path, &collectors, &file, &err), AP_OK);
    assert_int_equal(file.count, 2);
    assert_string_equal(file.jobs[0]->shown.http.ca_file, ca);
    assert_string_equal(file.jobs[1]->shown.http.credentials_file, "/abs");
    assert_string_equal(file.jobs[1]->shown.failure_log_file, log);
    scrape_file_clear(&file);

    write_file(dir, "jobs-2.yml", "scrape_configs:\n- job_name: a\n");
    AP_AUTO_FREE char *want =
        ap_asprintf("%s/jobs-2.yml:2:13: found multiple scrape configs with job name \"a\"; the first "
                    "is in %s/main.yml:3",
                    dir, dir);
    assert_int_equal(scrape_file_load(path, &collectors, &file, &err), AP_E_PARSE);
    assert_string_equal(err.text, want);
    remove_file(dir, "main.yml");
    remove_file(dir, "jobs-1.yml");
    remove_file(dir, "jobs-2.yml");
    assert_int_equal(scrape_file_load(path, &collectors, &file, &err), AP_E_NOT_FOUND);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks_of_alertmanagers),
        cmocka_unit_test(test_external_labels),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_checks_of_http),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_relabelled_targets),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_collector_params),
        cmocka_unit_test(test_target_limit),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
