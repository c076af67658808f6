/* Memory, paging, and how long tasks waited for what they need: /proc/meminfo, /proc/vmstat, /proc/pressure. */
#include <inttypes.h>
#include <stdio.h>

#include "collect/host_internal.h"

/* "Active(anon)" is Active_anon; the unit, where there is one, is part of the name. */
static struct host_metric_name meminfo_name(struct ap_slice key, bool is_bytes)
{
    char flat[HOST_NAME_BYTES_MAX];
    size_t bytes = 0;
    for (size_t i = 0; i < key.bytes && bytes < sizeof(flat); i++)
        if (key.data[i] != ')')
            flat[bytes++] = key.data[i] == '(' ? '_' : key.data[i];
    return host_metric_name("node_memory_", ap_slice(flat, bytes), is_bytes ? "_bytes" : "");
}

enum ap_rc host_meminfo(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "meminfo", &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice key = ap_slice_split(&line, ':');
        double value;
        if (!host_number(host_field(&line), &value))
            continue;
        bool is_bytes = ap_slice_equal_cstr(host_field(&line), "kB");
        struct host_metric_name name = meminfo_name(key, is_bytes);
        char help[HOST_NAME_BYTES_MAX + 32];
        snprintf(help, sizeof(help), "Memory information field %s.", name.text + strlen("node_memory_"));
        families_add(scrape->families, &(struct family){name.text, help, FAMILY_GAUGE},
                     is_bytes ? value * 1024 : value);
    }
    return AP_OK;
}

/* Of the hundreds of fields, those that say how the machine pages: those that begin with one of these. */
static const char *const vmstat_prefixes[] = {"oom_kill", "pgpg", "pswp"};

static bool is_vmstat_wanted(struct ap_slice key)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(vmstat_prefixes); i++)
        if (ap_slice_starts_with(key, vmstat_prefixes[i]))
            return true;
    return ap_slice_starts_with(key, "pg") && host_has_text(key, "fault");
}

enum ap_rc host_vmstat(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "vmstat", &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice key = host_field(&line);
        double value;
        if (!is_vmstat_wanted(key) || !host_number(host_field(&line), &value))
            continue;
        struct host_metric_name name = host_metric_name("node_vmstat_", key, "");
        char help[HOST_NAME_BYTES_MAX + 32];
        snprintf(help, sizeof(help), "/proc/vmstat information field %s.", name.text + strlen("node_vmstat_"));
        families_add(scrape->families, &(struct family){name.text, help, FAMILY_UNTYPED}, value);
    }
    return AP_OK;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123": microseconds. */
static bool pressure_total(struct ap_slice line, double *ret_seconds)
{
    for (struct ap_slice field; (field = host_field(&line)).bytes;)
        if (ap_slice_starts_with(field, "total=") &&
            host_number(ap_slice(field.data + strlen("total="), field.bytes - strlen("total=")), ret_seconds)) {
            *ret_seconds = *ret_seconds / 1000 / 1000;
            return true;
        }
    return false;
}

enum ap_rc host_pressure(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct {
        const char *path;
        const char *kind; /* first word of the line */
        struct family family;
    } rows[] = {
        {"pressure/cpu",
         "some",
         {"node_pressure_cpu_waiting_seconds_total", "Total time in seconds that processes have waited for CPU time",
          FAMILY_COUNTER}},
        {"pressure/io",
         "some",
         {"node_pressure_io_waiting_seconds_total",
          "Total time in seconds that processes have waited due to IO congestion", FAMILY_COUNTER}},
        {"pressure/io",
         "full",
         {"node_pressure_io_stalled_seconds_total",
          "Total time in seconds no process could make progress due to IO congestion", FAMILY_COUNTER}},
        {"pressure/memory",
         "some",
         {"node_pressure_memory_waiting_seconds_total", "Total time in seconds that processes have waited for memory",
          FAMILY_COUNTER}},
        {"pressure/memory",
         "full",
         {"node_pressure_memory_stalled_seconds_total",
          "Total time in seconds no process could make progress due to memory congestion", FAMILY_COUNTER}},
    };
    struct ap_slice text = {0}, line;
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        if (i == 0 || strcmp(rows[i].path, rows[i - 1].path) != 0) {
            enum ap_rc rc = host_read(scrape, scrape->proc_fd, rows[i].path, &text, err);
            if (rc != AP_OK)
                return rc;
        }
        double seconds;
        for (struct ap_slice rest = text; host_line(&rest, &line);)
            if (ap_slice_equal_cstr(host_field(&line), rows[i].kind) && pressure_total(line, &seconds))
                families_add(scrape->families, &rows[i].family, seconds);
    }
    return AP_OK;
}
