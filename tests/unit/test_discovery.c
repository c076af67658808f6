/* Each way of finding targets, against files, a server for HTTP and one for DNS that the test is itself. */
#include "scrape/discovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_server.h"
#include "scrape/discovery_dns.h"

/* ---- A discovery from text ---- */

struct under_test {
    const struct discovery_kind *kind;
    struct scrape_source *source;
    const void *config;
    struct discovery *discovery;
    bool is_ending;
};

static struct under_test open_or_die(const struct discovery_kind *kind, const char *text, int line)
{
    struct under_test it = {.kind = kind};
    struct ap_err err;
    if (scrape_source_parse(ap_slice_cstr(text), "d.yml", &it.source, &err) != AP_OK ||
        kind->read(it.source, yaml_root(it.source->document), &it.config, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    return it;
}

static void begin(struct under_test *it)
{
    it->discovery = it->kind->open(it->config, &it->is_ending);
}

static void end(struct under_test *it)
{
    it->kind->close(it->discovery);
    scrape_source_unref(it->source);
}

static void print_groups(const struct target_groups *groups, struct ap_buf *out)
{
    for (size_t g = 0; g < groups->count; g++) {
        ap_buf_add_cstr(out, g ? " | " : "");
        for (size_t t = 0; t < groups->items[g].count; t++) {
            ap_buf_add_cstr(out, t ? " " : "");
            labels_format_set(groups->items[g].targets[t], out);
        }
        if (groups->items[g].labels.bytes) {
            ap_buf_add_cstr(out, " of ");
            labels_format_set(groups->items[g].labels, out);
        }
    }
}

/* What one look gives: groups, then "; " and what is wrong. "-": as before. */
static void check_look(struct under_test *it, const char *want, int line)
{
    struct target_groups *groups = NULL;
    struct ap_err err = {0};
    AP_AUTO_BUF struct ap_buf got = {0};
    enum ap_rc rc = it->kind->refresh(it->discovery, &groups, &err);
    if (groups)
        print_groups(groups, &got);
    else
        ap_buf_add_char(&got, '-');
    if (rc != AP_OK)
        ap_buf_printf(&got, "; %s", err.text);
    ap_buf_add_char(&got, '\0');
    target_groups_free(groups);
    if (strcmp(got.data, want) != 0)
        fail_msg("line %d: %s", line, got.data);
}
#define LOOK(it, want) check_look(it, want, __LINE__)

static void check_bad(const struct discovery_kind *kind, const char *text, const char *want, int line)
{
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    const void *config;
    struct ap_err err = {0};
    if (scrape_source_parse(ap_slice_cstr(text), "d.yml", &source, &err) == AP_OK &&
        kind->read(source, yaml_root(source->document), &config, &err) == AP_OK)
        fail_msg("line %d: it is read", line);
    if (strncmp(err.text, want, strlen(want)) != 0)
        fail_msg("line %d: %s", line, err.text);
}
#define BAD(kind, text, want) check_bad(&discovery_##kind, text, want, __LINE__)

/* ---- Configurations ---- */

static void test_checks(void **state)
{
    (void)state;
    BAD(file, "{}", "d.yml:1:1: file service discovery config must contain at least one path name");
    BAD(file, "files: [a.txt]", "d.yml:1:9: path name \"a.txt\" is not valid for file discovery");
    BAD(file, "files: ['*/a.yml']", "d.yml:1:9: path name \"*/a.yml\" is not valid for file discovery");
    BAD(file, "files: [a.yml]\nrefresh_interval: often", "d.yml:2:19: refresh_interval: expected a duration");
    BAD(http, "{}", "d.yml:1:1: URL is missing");
    BAD(http, "url: ftp://a/", "d.yml:1:6: URL scheme must be 'http' or 'https'");
    BAD(http, "url: http:///a", "d.yml:1:6: host is missing in URL");
    BAD(http, "url: http://a\nbasic_auth: {user: b}", "d.yml:2:14: unknown key \"user\"; known here: username, ");
    BAD(dns, "{}", "d.yml:1:1: DNS-SD config must contain at least one SRV record name");
    BAD(dns, "names: [a]\ntype: A", "d.yml:1:1: a port is required in DNS-SD configs for all record types except SRV");
    BAD(dns, "names: [a]\ntype: TXT", "d.yml:2:7: invalid DNS-SD records type TXT; there are SRV, A, AAAA, MX and NS");
    BAD(dns, "names: [a]\ntype: A\nport: 70000", "d.yml:3:7: port: expected 1 to 65535");
    BAD(static, "targets: [a]\nlabels: {'': b}", "d.yml:2:10: \"\" is not a valid label name");
}

/* ---- Files ---- */

static void write_file(const char *dir, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name), *fresh = ap_asprintf("%s/new", dir);
    FILE *file = fopen(fresh, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0);
}

static void remove_file(const char *dir, const char *name)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    assert_int_equal(unlink(path), 0);
}

static bool is_watch_readable(const struct under_test *it)
{
    struct pollfd fd = {.fd = it->kind->watch_fd(it->discovery), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void test_files(void **state)
{
    (void)state;
    assert_int_equal(chdir("/tmp"), 0); /* so that paths, which are in labels, are short */
    char dir[] = "apiary-files-XXXXXX";
    assert_non_null(mkdtemp(dir));
    AP_AUTO_FREE char *text = ap_asprintf("files: ['%s/*.json', %s/y.yml]", dir, dir);
    struct under_test it = open_or_die(&discovery_file, text, __LINE__);
    begin(&it);
    LOOK(&it, ""); /* nothing is an answer too */
    LOOK(&it, "-");
    assert_false(is_watch_readable(&it));

    write_file(dir, "a.json", "[{\"targets\":[\"a:1\",\"b:1\"],\"labels\":{\"x\":\"y\"}},{\"targets\":null}]");
    write_file(dir, "y.yml", "- targets: &t [c:1]\n- {targets: *t, labels: {n: 5}}\n");
    assert_true(is_watch_readable(&it));
#define OF_A                                                                                                           \
    "{__address__=\"a:1\"} {__address__=\"b:1\"} of {__meta_filepath=\"%s/a.json\", x=\"y\"} | "                       \
    " of {__meta_filepath=\"%s/a.json\"}"
#define OF_Y                                                                                                           \
    "{__address__=\"c:1\"} of {__meta_filepath=\"%s/y.yml\"} | "                                                       \
    "{__address__=\"c:1\"} of {__meta_filepath=\"%s/y.yml\", n=\"5\"}"
    AP_AUTO_FREE char *both = ap_asprintf(OF_A " | " OF_Y, dir, dir, dir, dir);
    LOOK(&it, both);
    assert_false(is_watch_readable(&it));

    /* What is broken keeps what it had, and the other is looked at; the same text again is nothing new. */
    write_file(dir, "a.json", "[{\"targets\":[\"a:1\",\"z:1\"]");
    write_file(dir, "y.yml", "[]");
    AP_AUTO_FREE char *broken = ap_asprintf(OF_A "; %s/a.json: line 1, column 26: ", dir, dir, dir);
    struct target_groups *groups = NULL;
    struct ap_err err = {0};
    AP_AUTO_BUF struct ap_buf got = {0};
    assert_int_equal(it.kind->refresh(it.discovery, &groups, &err), AP_E_PARSE);
    print_groups(groups, &got);
    ap_buf_printf(&got, "; %s", err.text);
    target_groups_free(groups);
    ap_buf_add_char(&got, '\0');
    if (strncmp(got.data, broken, strlen(broken)) != 0)
        fail_msg("%s", got.data);

    write_file(dir, "a.json", "[{\"targets\":[\"a:1\"],\"label\":{}}]");
    AP_AUTO_FREE char *field = ap_asprintf(
        "-; %s/a.json: line 1, column 29: unknown field \"label\"; a group has \"targets\" and \"labels\"", dir);
    LOOK(&it, field);

    remove_file(dir, "a.json");
    assert_true(is_watch_readable(&it));
    LOOK(&it, "");
    remove_file(dir, "y.yml");
    LOOK(&it, "");
    LOOK(&it, "-");
    rmdir(dir);
    end(&it);
}

/* ---- HTTP ---- */

struct page {
    unsigned status;
    const char *type;
    const char *body;
    char authorization[64];
    char interval[64];
};

static void admit(struct http_request *request, void *context)
{
    (void)request;
    (void)context;
}

static void copy_header(struct http_request *request, const char *name, char *to, size_t bytes)
{
    struct ap_slice value = http_header(request, name);
    snprintf(to, bytes, "%.*s", AP_SLICE_ARG(value));
}

static void serve_page(struct http_request *request, void *context)
{
    struct page *page = context;
    copy_header(request, "Authorization", page->authorization, sizeof(page->authorization));
    copy_header(request, "X-Prometheus-Refresh-Interval-Seconds", page->interval, sizeof(page->interval));
    http_reply(request, &(struct http_reply){
                            .status = page->status,
                            .content_type = page->type,
                            .body = ap_slice_cstr(page->body),
                            .body_owner = HTTP_BODY_STATIC,
                        });
}

static void test_http(void **state)
{
    (void)state;
    struct page page = {200, "application/json; charset=utf-8",
                        "[{\"targets\":[\"a:1\"],\"labels\":{\"x\":\"\\u00e9\"}}]", "", ""};
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {.listeners = &listener,
                                          .listener_count = 1,
                                          .thread_count = 1,
                                          .admit = admit,
                                          .handle = serve_page,
                                          .context = &page};
    struct http_server *server;
    struct ap_err err;
    assert_int_equal(http_server_open(&options, &server, &err), AP_OK);
    AP_AUTO_FREE char *url = ap_asprintf("http://127.0.0.1:%u/t", http_server_port(server, 0));
    AP_AUTO_FREE char *text =
        ap_asprintf("{url: '%s', refresh_interval: 1m30s, basic_auth: {username: u, password: p}}", url);
    struct under_test it = open_or_die(&discovery_http, text, __LINE__);
    assert_int_equal(it.kind->interval_ms(it.config), 90000);
    begin(&it);
    AP_AUTO_FREE char *want = ap_asprintf("{__address__=\"a:1\"} of {__meta_url=\"%s\", x=\"é\"}", url);
    LOOK(&it, want);
    assert_string_equal(page.authorization, "Basic dTpw");
    assert_string_equal(page.interval, "90");
    LOOK(&it, "-");

    page.status = 500;
    AP_AUTO_FREE char *failed = ap_asprintf("-; %s: server returned HTTP status 500", url);
    LOOK(&it, failed);
    page.status = 200;
    page.type = "text/html";
    AP_AUTO_FREE char *html = ap_asprintf("-; %s: unsupported content type \"text/html\"", url);
    LOOK(&it, html);
    page.type = "application/json";
    page.body = "[null]";
    AP_AUTO_FREE char *null = ap_asprintf("-; %s: line 1, column 6: nil target group item found", url);
    LOOK(&it, null);
    page.body = "[]";
    LOOK(&it, "");
    end(&it);
    http_server_close(server);
}

/* ---- DNS ---- */

struct dns_server {
    int fd;
    int end_fds[2];
    pthread_t thread;
    bool is_failing; /* atomic: answers SERVFAIL */
};

/* Behind the question: records of this name's. 0xc00c is the name that was asked for. */
static size_t records_of(const char *first_label, const unsigned char **ret_bytes, unsigned *ret_count)
{
#define HEAD(type, bytes) 0xc0, 0x0c, 0, (type), 0, 1, 0, 0, 0, 60, 0, (bytes)
    static const unsigned char a[] = {HEAD(5, 4), 3,  'c', 'n', 0, /* CNAME, which is passed over */
                                      HEAD(1, 4), 10, 0,   0,   1, HEAD(1, 4), 10, 0, 0, 2};
    static const unsigned char aaaa[] = {HEAD(28, 16), 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    static const unsigned char srv[] = {HEAD(33, 14), 0, 1, 0, 2, 0x23, 0x8c, 4, 'h', 'o', 's', 't', 1, 'x', 0};
    static const unsigned char mx[] = {HEAD(15, 9), 0, 10, 4, 'm', 'a', 'i', 'l', 0xc0, 0x0c};
    static const unsigned char bad[] = {HEAD(1, 4), 10};
    static const struct {
        const char *name;
        const unsigned char *bytes;
        size_t size;
        unsigned count;
    } all[] = {{"a", a, sizeof(a), 3},
               {"aaaa", aaaa, sizeof(aaaa), 1},
               {"srv", srv, sizeof(srv), 1},
               {"mx", mx, sizeof(mx), 1},
               {"bad", bad, sizeof(bad), 1}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(all); i++) {
        if (strcmp(first_label, all[i].name) != 0)
            continue;
        *ret_bytes = all[i].bytes;
        *ret_count = all[i].count;
        return all[i].size;
    }
    *ret_count = 0;
    return 0;
}

static void answer_one(struct dns_server *server)
{
    unsigned char message[1024];
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof(from);
    ssize_t bytes = recvfrom(server->fd, message, 512, 0, (struct sockaddr *)&from, &from_bytes);
    if (bytes < 17)
        return;
    char label[64] = "";
    snprintf(label, sizeof(label), "%.*s", message[12] & 63, (const char *)message + 13);
    size_t at = 12;
    while (message[at])
        at += message[at] + 1u;
    at += 5; /* the end of the name, type and class */
    const unsigned char *records = NULL;
    unsigned count;
    size_t record_bytes = records_of(label, &records, &count);
    bool is_failing = __atomic_load_n(&server->is_failing, __ATOMIC_RELAXED);
    message[2] = 0x81;
    message[3] = is_failing ? 0x82 : strcmp(label, "none") == 0 ? 0x83 : 0x80; /* SERVFAIL, NXDOMAIN; it recurses */
    memset(message + 6, 0, 6);
    message[7] = is_failing ? 0 : (unsigned char)count;
    if (record_bytes)
        memcpy(message + at, records, record_bytes);
    (void)!sendto(server->fd, message, at + (is_failing ? 0 : record_bytes), 0, (struct sockaddr *)&from, from_bytes);
}

static void *serve_dns(void *context)
{
    struct dns_server *server = context;
    struct pollfd fds[] = {{.fd = server->end_fds[0], .events = POLLIN}, {.fd = server->fd, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && !fds[0].revents)
        answer_one(server);
    return NULL;
}

static struct sockaddr_in dns_start(struct dns_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &bytes), 0);
    assert_int_equal(pipe(server->end_fds), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve_dns, server), 0);
    return address;
}

static void dns_stop(struct dns_server *server)
{
    close(server->end_fds[1]);
    pthread_join(server->thread, NULL);
    close(server->end_fds[0]);
    close(server->fd);
}

static void check_dns(const struct sockaddr_in *address, const char *config, const char *want, int line)
{
    struct under_test it = open_or_die(&discovery_dns, config, line);
    begin(&it);
    discovery_dns_ask(it.discovery, address);
    check_look(&it, want, line);
    end(&it);
}
#define DNS(config, want) check_dns(&address, config, want, __LINE__)

static void test_dns(void **state)
{
    (void)state;
    struct dns_server server = {0};
    struct sockaddr_in address = dns_start(&server);
    DNS("{names: [a.test.], type: A, port: 9100}",
        "{__address__=\"10.0.0.1:9100\", __meta_dns_name=\"a.test.\"} {__address__=\"10.0.0.2:9100\", "
        "__meta_dns_name=\"a.test.\"}");
    DNS("{names: [aaaa.test.], type: aaaa, port: 1}",
        "{__address__=\"[2001:db8::7]:1\", __meta_dns_name=\"aaaa.test.\"}");
    DNS("{names: [srv.test.]}", "{__address__=\"host.x:9100\", __meta_dns_name=\"srv.test.\", "
                                "__meta_dns_srv_record_port=\"9100\", __meta_dns_srv_record_target=\"host.x.\"}");
    DNS("{names: [mx.test.], type: MX, port: 25}",
        "{__address__=\"mail.mx.test:25\", __meta_dns_mx_record_target=\"mail.mx.test.\", "
        "__meta_dns_name=\"mx.test.\"}");
    DNS("{names: [none.test., empty.test.], type: A, port: 1}", ""); /* no such name, no such record: no targets */
    DNS("{names: [bad.test.], type: A, port: 1}", "; bad.test.: an answer that is not DNS");
    dns_stop(&server);
}

/* A server that cannot say leaves what it said before. */
static void test_dns_that_fails(void **state)
{
    (void)state;
    struct dns_server server = {0};
    struct sockaddr_in address = dns_start(&server);
    struct under_test it = open_or_die(&discovery_dns, "{names: [srv.test.]}", __LINE__);
    begin(&it);
    discovery_dns_ask(it.discovery, &address);
#define SRV                                                                                                            \
    "{__address__=\"host.x:9100\", __meta_dns_name=\"srv.test.\", __meta_dns_srv_record_port=\"9100\", "               \
    "__meta_dns_srv_record_target=\"host.x.\"}"
    LOOK(&it, SRV);
    __atomic_store_n(&server.is_failing, true, __ATOMIC_RELAXED);
    LOOK(&it, SRV "; could not resolve \"srv.test.\": Host name lookup failure");
    end(&it);
    dns_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks), cmocka_unit_test(test_files),          cmocka_unit_test(test_http),
        cmocka_unit_test(test_dns),    cmocka_unit_test(test_dns_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
