/*
 * Points that an earlier request told, on their way into a real store: whatever the bytes look like, the series are
 * those that would have been made anew, also when the store has let them go.
 */
#include "ingest/otlp_known.h"

#include "codec/protobuf.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_sink.h"
#include "test_store_fixture.h"

enum { HOUR_MS = 3600 * 1000 };
#define BASE_MS INT64_C(1700006400000) /* a day begins */

struct fixture {
    struct store store;
    struct metrics_body *body;
    struct otlp_settings settings;
    struct tsdb_outcome outcome; /* of the last request */
    bool is_done;                /* atomic */
};

static void fixture_init(struct fixture *fx)
{
    *fx = (struct fixture){.store = {.now_ms = BASE_MS + HOUR_MS}};
    store_open(&fx->store);
    fx->body = metrics_body_new(tsdb_hash_seed(fx->store.tsdb), false);
    otlp_settings_init(&fx->settings);
}

static void fixture_clear(struct fixture *fx)
{
    metrics_body_free(fx->body);
    store_close(&fx->store);
    store_remove(&fx->store);
}

/* ---- Requests: each function writes one piece; it lends memory that is used again a hundred pieces later ---- */

static struct ap_buf *next_buf(void)
{
    static struct ap_buf bufs[100];
    static unsigned next;
    struct ap_buf *buf = &bufs[next++ % 100];
    ap_buf_reset(buf);
    return buf;
}

static struct ap_slice join(struct ap_slice a, struct ap_slice b)
{
    struct ap_buf *out = next_buf();
    ap_buf_add_slice(out, a);
    ap_buf_add_slice(out, b);
    return ap_buf_slice(out);
}
#define JOIN3(a, b, c)    join(a, join(b, c))
#define JOIN4(a, b, c, d) join(a, JOIN3(b, c, d))

static struct ap_slice field(uint32_t number, struct ap_slice bytes)
{
    struct ap_buf *out = next_buf();
    protobuf_add_bytes(out, number, bytes);
    return ap_buf_slice(out);
}

static struct ap_slice fixed(uint32_t number, uint64_t value)
{
    struct ap_buf *out = next_buf();
    ap_buf_add_varint(out, PROTOBUF_TAG(number, PROTOBUF_FIXED64));
    ap_buf_add_u64(out, value);
    return ap_buf_slice(out);
}

static struct ap_slice attribute(uint32_t number, const char *key, const char *value)
{
    return field(number, join(field(1, ap_slice_cstr(key)), field(2, field(1, ap_slice_cstr(value)))));
}

/* What points consist of. */
static struct ap_slice at(int64_t ts_ms)
{
    return fixed(3, (uint64_t)(BASE_MS + ts_ms) * 1000000);
}
static struct ap_slice is(int64_t value)
{
    return fixed(6, (uint64_t)value);
}
static struct ap_slice with(const char *key, const char *value)
{
    return attribute(7, key, value);
}
#define NOTHING ap_slice("", 0)

static struct ap_slice point(struct ap_slice parts)
{
    return field(1, parts);
}

static struct ap_slice name(const char *text)
{
    return field(1, ap_slice_cstr(text));
}

/* One of the scope's metrics. */
static struct ap_slice gauge(const char *text, struct ap_slice points)
{
    return field(2, join(name(text), field(5, points)));
}

static struct ap_slice request(const char *service, struct ap_slice metrics)
{
    struct ap_slice resource = field(1, attribute(1, "service.name", service));
    return field(1, join(resource, field(2, metrics)));
}

/* ---- Sending ---- */

static void decode(struct fixture *fx, struct ap_slice bytes)
{
    AP_AUTO(otlp_sink)
    struct otlp_sink *sink = otlp_sink_new(
        &(struct otlp_sink_options){.body = fx->body, .settings = &fx->settings, .source = bytes, .now_ms = 1});
    struct ap_err err;
    if (otlp_protobuf_decode(sink, bytes, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct fixture *fx = append->context;
    assert_int_equal(rc, AP_OK);
    __atomic_store_n(&fx->is_done, true, __ATOMIC_RELEASE);
}

/* Returns how many of its series were known. */
static unsigned send(struct fixture *fx, struct ap_slice bytes)
{
    unsigned known = 0;
    decode(fx, bytes);
    const struct batch *batch = &fx->body->batch;
    for (size_t i = 0; i < batch->series_count; i++)
        known += !batch->series[i].labels.data;
    struct tsdb_append append = {.done = done, .context = fx, .batch = batch};
    struct ap_err err;
    __atomic_store_n(&fx->is_done, false, __ATOMIC_RELEASE);
    assert_int_equal(tsdb_append(fx->store.tsdb, &append, &err), AP_OK);
    while (!__atomic_load_n(&fx->is_done, __ATOMIC_ACQUIRE))
        usleep(100);
    fx->outcome = append.outcome;
    metrics_body_reset(fx->body);
    return known;
}

#define SENDS(bytes, want_known)    assert_int_equal(send(&fx, bytes), want_known)
#define HOLDS(selector, want_lines) assert_string_equal(store_text(&fx.store, selector, BASE_MS), want_lines)

/* ---- The bytes of points ---- */

#define POINTS_OF_ALL_THREE(ts_ms)                                                                                     \
    JOIN3(point(JOIN3(at(ts_ms), is(1), with("a", "1"))),                                                              \
          point(JOIN4(at(ts_ms), is(2), with("a", "1"), with("b", "2"))), point(join(at(ts_ms), is(3))))

static void test_points(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(1))), 0);
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(2))), 3);
    /* In another order, and with the attributes first. */
    SENDS(request("s", gauge("m", JOIN3(point(join(at(3), is(4))), point(JOIN3(with("a", "1"), at(3), is(5))),
                                        point(JOIN4(with("a", "1"), with("b", "2"), at(3), is(6)))))),
          3);
    /* One begins as the one that is expected. */
    SENDS(request("s", gauge("m", join(point(join(at(4), is(0))), point(JOIN3(at(4), is(0), with("a", "1")))))), 2);
    SENDS(request("s", gauge("m", point(join(at(5), is(0))))), 1);
    SENDS(request("s", gauge("m", point(JOIN4(at(4), is(7), with("a", "1"), with("b", "2"))))), 1);
    /* More attributes behind other fields. */
    SENDS(request("s", gauge("m", point(join(at(6), is(0))))), 1);
    SENDS(request("s", gauge("m", point(JOIN4(at(5), with("a", "1"), is(8), with("b", "2"))))), 0);
    SENDS(request("s", gauge("m", point(JOIN4(with("b", "2"), at(6), is(9), with("a", "1"))))), 0);
    SENDS(request("s", gauge("m", point(JOIN4(at(7), with("a", "1"), is(8), with("b", "2"))))), 0);
    HOLDS("m", "m{a=\"1\", b=\"2\", job=\"s\"} 2@1 2@2 6@3 7@4 8@5 9@6 8@7\n"
               "m{a=\"1\", job=\"s\"} 1@1 1@2 5@3 0@4\n"
               "m{job=\"s\"} 3@1 3@2 4@3 0@4 0@5 0@6\n");
    /* The same of a point of which no part was told before: its part is none of it. */
    SENDS(request("s", gauge("m", point(JOIN4(at(1), with("c", "1"), is(1), with("d", "2"))))), 0);
    SENDS(request("s", gauge("m", point(JOIN3(at(2), with("c", "1"), is(2))))), 0);
    HOLDS("m{c=\"1\"}", "m{c=\"1\", d=\"2\", job=\"s\"} 1@1\nm{c=\"1\", job=\"s\"} 2@2\n");
    /* Attributes in another order are another text, and the same series. */
    SENDS(request("s", gauge("m", point(JOIN4(at(8), is(10), with("b", "2"), with("a", "1"))))), 0);
    SENDS(request("s", gauge("m", point(JOIN4(at(9), is(11), with("b", "2"), with("a", "1"))))), 1);
    HOLDS("m{b=\"2\"}", "m{a=\"1\", b=\"2\", job=\"s\"} 2@1 2@2 6@3 7@4 8@5 9@6 8@7 10@8 11@9\n");
    fixture_clear(&fx);
}

static void test_bad_points(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    SENDS(request("s", gauge("m", point(JOIN3(at(1), is(1), with("a", "1"))))), 0);
    SENDS(
        request("s", gauge("m", join(point(join(at(2), with("a", "1"))), point(JOIN3(at(2), is(2), with("a", "1")))))),
        1); /* without a value */
    SENDS(request("s", gauge("m", join(point(JOIN3(fixed(3, 0), is(3), with("a", "1"))),
                                       point(JOIN3(at(3), is(3), with("a", "1")))))),
          1); /* without a time */
    /* Labels that are not UTF-8 are the store's to refuse, each time. */
    for (int i = 0; i < 2; i++) {
        SENDS(request("s", gauge("m", point(JOIN3(at(4 + i), is(4), with("a", "\xff"))))), 0);
        assert_int_equal(fx.outcome.refused_labels, 1);
    }
    HOLDS("m", "m{a=\"1\", job=\"s\"} 1@1 2@2 3@3\n");
    fixture_clear(&fx);
}

/* ---- The bytes of metrics ---- */

static void test_metrics(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    SENDS(request("s", gauge("m", point(join(at(1), is(1))))), 0);
    /* Its name behind its data; another one behind it; told twice. */
    SENDS(request("s", field(2, join(field(5, point(join(at(2), is(2)))), name("m")))), 1);
    SENDS(request("s", field(2, JOIN3(name("m"), field(5, point(join(at(2), is(2)))), name("n")))), 0);
    SENDS(request("s", field(2, JOIN3(name("wrong"), name("m"), field(5, point(join(at(3), is(3))))))), 0);
    SENDS(request("s", field(2, JOIN3(name("wrong"), name("m"), field(5, point(join(at(4), is(4))))))), 1);
    /* Data of two kinds: the last. */
    SENDS(request("s",
                  field(2, JOIN3(name("m"), field(5, point(join(at(5), is(5)))), field(5, point(join(at(6), is(6))))))),
          0);
    /* Another kind, which has another name. */
    struct ap_slice cumulative = join(ap_slice("\x10\x02", 2), ap_slice("\x18\x01", 2));
    SENDS(request("s", field(2, join(name("m"), field(7, join(point(join(at(7), is(7))), cumulative))))), 0);
    SENDS(request("s", field(2, join(name("m"), field(7, join(point(join(at(8), is(8))), cumulative))))), 1);
    /* Names of which one begins as the other, in turns. */
    for (int i = 0; i < 2; i++)
        SENDS(request("s", join(gauge("m", point(join(at(9 + i), is(9)))), gauge("mm", point(join(at(9 + i), is(9)))))),
              1 + i);
    HOLDS("{__name__=~\"m.*|n|wrong\"}", "m{job=\"s\"} 1@1 2@2 3@3 4@4 6@6 9@9 9@10\n"
                                         "m_total{job=\"s\"} 7@7 8@8\n"
                                         "mm{job=\"s\"} 9@9 9@10\n"
                                         "n{job=\"s\"} 2@2\n");
    fixture_clear(&fx);
}

/* ---- Resources and scopes ---- */

static void test_resources(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    struct ap_slice nobody = field(1, field(2, gauge("m", point(join(at(1), is(1))))));
    SENDS(join(request("a", gauge("m", point(join(at(1), is(1))))), nobody), 0);
    SENDS(
        join(request("a", gauge("m", point(join(at(2), is(2))))), request("b", gauge("m", point(join(at(2), is(2)))))),
        1);
    SENDS(
        join(request("b", gauge("m", point(join(at(3), is(3))))), request("a", gauge("m", point(join(at(3), is(3)))))),
        2);
    nobody = field(1, join(field(1, NOTHING), field(2, gauge("m", point(join(at(4), is(4)))))));
    SENDS(nobody, 1); /* an empty resource is as good as none */
    HOLDS("m", "m 1@1 4@4\nm{job=\"a\"} 1@1 2@2 3@3\nm{job=\"b\"} 2@2 3@3\n");
    fixture_clear(&fx);
}

static struct ap_slice scoped(struct ap_slice scopes, int64_t ts_ms)
{
    return field(1, field(2, join(scopes, gauge("m", point(join(at(ts_ms), is(ts_ms)))))));
}

#define LIB     field(1, name("lib"))
#define VERSION field(1, field(2, ap_slice_cstr("2")))
#define URL     field(3, ap_slice_cstr("url"))

static void test_scopes(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fx.settings.is_promoting_scope = true;
    SENDS(scoped(LIB, 1), 0);
    SENDS(scoped(LIB, 2), 1);
    SENDS(scoped(field(1, name("other")), 3), 0);
    SENDS(scoped(join(LIB, URL), 4), 0); /* the schema's address is a label, too */
    SENDS(scoped(join(LIB, URL), 5), 1);
    SENDS(scoped(NOTHING, 6), 0);
    SENDS(scoped(NOTHING, 7), 1);
    /* Told in two parts: never known. */
    SENDS(scoped(join(LIB, VERSION), 8), 0);
    SENDS(scoped(VERSION, 9), 0);
    SENDS(scoped(join(LIB, VERSION), 10), 0);
    HOLDS("m", "m 6@6 7@7 9@9\n"
               "m{otel_scope_name=\"lib\"} 1@1 2@2\n"
               "m{otel_scope_name=\"lib\", otel_scope_schema_url=\"url\"} 4@4 5@5\n"
               "m{otel_scope_name=\"lib\", otel_scope_version=\"2\"} 8@8 10@10\n"
               "m{otel_scope_name=\"other\"} 3@3\n");
    fixture_clear(&fx);
}

/* ---- What the store does not know any more ---- */

static void test_store_never_got_it(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    decode(&fx, request("s", gauge("m", POINTS_OF_ALL_THREE(1)))); /* and the log was full */
    metrics_body_reset(fx.body);
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(2))), 3);
    HOLDS("m", "m{a=\"1\", b=\"2\", job=\"s\"} 2@2\nm{a=\"1\", job=\"s\"} 1@2\nm{job=\"s\"} 3@2\n");
    fixture_clear(&fx);
}

/* Nothing came for so long that the head has let the series go; and what they had was deleted. */
static void test_store_let_it_go(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_stats stats = {.series_removed = 0};
    struct matchers matchers;
    struct ap_err err;
    fixture_init(&fx);
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(1))), 0);
    for (int hours = 2; hours <= 48 && stats.series_removed < 3; hours += 2) {
        fx.store.now_ms = BASE_MS + hours * HOUR_MS;
        (void)send(&fx, request("s", gauge("other", point(join(at(hours * HOUR_MS), is(1))))));
        assert_int_equal(tsdb_settle(fx.store.tsdb, true, &err), AP_OK);
        tsdb_stats_get(fx.store.tsdb, &stats);
    }
    assert_int_equal(stats.series_removed, 3);
    assert_int_equal(matchers_parse(ap_slice_cstr("m"), &matchers, &err), AP_OK);
    assert_int_equal(tsdb_delete(fx.store.tsdb, &matchers, INT64_MIN, INT64_MAX, &err), AP_OK);
    matchers_clear(&matchers);
    int64_t now_ms = fx.store.now_ms - BASE_MS;
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(now_ms))), 3);
    char want[256];
    snprintf(want, sizeof(want),
             "m{a=\"1\", b=\"2\", job=\"s\"} 2@%" PRId64 "\nm{a=\"1\", job=\"s\"} 1@%" PRId64
             "\nm{job=\"s\"} 3@%" PRId64 "\n",
             now_ms, now_ms, now_ms);
    HOLDS("m", want);
    fixture_clear(&fx);
}

/* A sample that is refused is told with its series. */
static void test_refusal_names_series(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    SENDS(request("s", gauge("m", POINTS_OF_ALL_THREE(1))), 0);
    SENDS(request("s", gauge("m", point(JOIN3(at(1), is(9), with("a", "1"))))), 1);
    assert_int_equal(fx.outcome.refused_duplicate, 1);
    assert_non_null(strstr(fx.outcome.reason, "m{a=\"1\", job=\"s\"}"));
    fixture_clear(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),          cmocka_unit_test(test_bad_points),
        cmocka_unit_test(test_metrics),         cmocka_unit_test(test_resources),
        cmocka_unit_test(test_scopes),          cmocka_unit_test(test_store_never_got_it),
        cmocka_unit_test(test_store_let_it_go), cmocka_unit_test(test_refusal_names_series),
    };
    return cmocka_run_group_tests_name("otlp_known", tests, NULL, NULL);
}
