#include "scrape_page.h"

#include <inttypes.h>

#include "base/mem.h"

/* The same for the same series and tick. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 29;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 32;
}

/* A third stays as it is, a third are counters, a third are gauges with decimals, as Go prints them. */
static void add_value(struct ap_buf *out, uint64_t series, uint64_t tick)
{
    uint64_t seed = mix(series, 1);
    switch (series % 3) {
    case 0:
        ap_buf_printf(out, "%" PRIu64 "\n", seed % 1000);
        break;
    case 1:
        ap_buf_printf(out, "%" PRIu64 "\n", seed % 1000000 + tick * (seed % 97));
        break;
    default:
        ap_buf_printf(out, "%.17g\n", (double)(seed % 100000 + mix(series, tick) % 1000) / 1000.0 + (double)tick);
        break;
    }
}

static void make_node(size_t count, uint64_t tick, struct ap_buf *out)
{
    static const char *const areas[] = {"cpu",     "memory",  "disk",   "filesystem",
                                        "network", "netstat", "vmstat", "sockstat"};
    size_t series = 0;
    for (size_t family = 0; series < count; family++) {
        const char *area = areas[family % AP_ARRAY_COUNT(areas)];
        ap_buf_printf(out, "# HELP node_%s_figure_%zu_total Figure %zu of %s as the kernel tells it in /proc.\n", area,
                      family, family, area);
        ap_buf_printf(out, "# TYPE node_%s_figure_%zu_total counter\n", area, family);
        size_t devices = family % 4 == 0 ? 12 : family % 4 == 1 ? 4 : 1;
        for (size_t device = 0; device < devices && series < count; device++, series++) {
            ap_buf_printf(out, "node_%s_figure_%zu_total", area, family);
            if (devices > 1)
                ap_buf_printf(out, "{device=\"dev%zu\",mode=\"m%zu\"}", device, device % 3);
            ap_buf_add_char(out, ' ');
            add_value(out, series, tick);
        }
    }
}

static void make_app(size_t count, uint64_t tick, struct ap_buf *out)
{
    static const char *const paths[] = {"/api/v1/orders", "/api/v1/orders/:id", "/api/v1/customers", "/login",
                                        "/healthz"};
    static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
                                         "0.5",   "1",    "2.5",   "5",    "10",  "+Inf"};
    size_t series = 0;
    for (size_t family = 0; series < count; family++) {
        ap_buf_printf(out, "# HELP http_server_%zu_duration_seconds Time to answer.\n", family);
        ap_buf_printf(out, "# TYPE http_server_%zu_duration_seconds histogram\n", family);
        for (size_t path = 0; path < AP_ARRAY_COUNT(paths) && series < count; path++) {
            uint64_t sum = 0;
            AP_AUTO_BUF struct ap_buf labels = {0};
            ap_buf_printf(&labels, "method=\"%s\",path=\"%s\",status=\"%d\",pod=\"orders-7d9f6bfc4c-%04zu\"",
                          path % 2 ? "GET" : "POST", paths[path], path % 3 ? 200 : 404, family);
            for (size_t bound = 0; bound < AP_ARRAY_COUNT(bounds) && series < count; bound++, series++) {
                sum += mix(series, 2) % 100 + tick * (mix(series, 3) % 7);
                ap_buf_printf(out, "http_server_%zu_duration_seconds_bucket{%.*s,le=\"%s\"} %" PRIu64 "\n", family,
                              (int)labels.bytes, labels.data, bounds[bound], sum);
            }
            if (series < count) {
                series++;
                ap_buf_printf(out, "http_server_%zu_duration_seconds_sum{%.*s} %.17g\n", family, (int)labels.bytes,
                              labels.data, (double)sum * 0.0371);
            }
            if (series < count) {
                series++;
                ap_buf_printf(out, "http_server_%zu_duration_seconds_count{%.*s} %" PRIu64 "\n", family,
                              (int)labels.bytes, labels.data, sum);
            }
        }
    }
}

void scrape_page_make(enum scrape_page_kind kind, size_t series, uint64_t tick, struct ap_buf *out)
{
    if (kind == SCRAPE_PAGE_NODE)
        make_node(series, tick, out);
    else
        make_app(series, tick, out);
}
