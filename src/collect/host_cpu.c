/* What the processors did: /proc/stat, /proc/schedstat, /proc/net/softnet_stat, and their frequencies. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* The kernel counts in hundredths of a second towards user space, whatever its own tick is. */
#define TICKS_PER_SECOND 100.0

/* ---- /proc/stat ---- */

static enum ap_rc stat_text(struct host_scrape *scrape, struct ap_slice *ret_text, struct ap_err *err)
{
    if (scrape->stat.bytes == 0) {
        struct ap_slice text;
        enum ap_rc rc = host_read(scrape, scrape->proc_fd, "stat", &text, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_add_slice(&scrape->stat, text);
    }
    *ret_text = ap_buf_slice(&scrape->stat);
    return AP_OK;
}

enum { MODES = 10, GUEST_MODES_FROM = 8, CPUS_MAX = 65536 };

static const char *const modes[MODES] = {"user", "nice",    "system", "idle", "iowait",
                                         "irq",  "softirq", "steal",  "user", "nice"};

/*
 * The kernel's idle and iowait sometimes go back by a little, which rate() would take for a restart and answer with a
 * peak of years. So the largest value is said until it is passed. When idle goes back by more than this, the processor
 * was taken out and put in again, and all its counters begin anew.
 */
#define JUMP_BACK_SECONDS 3.0
enum { MODE_IDLE = 3 };

struct host_cpus {
    pthread_mutex_t mtx; /* a leaf */
    double (*said)[MODES];
    size_t count;
};

struct host_cpus *host_cpus_new(void)
{
    struct host_cpus *cpus = ap_new0(struct host_cpus);
    pthread_mutex_init(&cpus->mtx, NULL);
    return cpus;
}

void host_cpus_free(struct host_cpus *cpus)
{
    pthread_mutex_destroy(&cpus->mtx);
    free(cpus->said);
    free(cpus);
}

static void never_backwards(struct host_cpus *cpus, size_t cpu, double values[MODES])
{
    pthread_mutex_lock(&cpus->mtx);
    if (cpu >= cpus->count) {
        cpus->said = ap_realloc(cpus->said, (cpu + 1) * sizeof(cpus->said[0]));
        memset(cpus->said + cpus->count, 0, (cpu + 1 - cpus->count) * sizeof(cpus->said[0]));
        cpus->count = cpu + 1;
    }
    double *said = cpus->said[cpu];
    bool is_new = said[MODE_IDLE] - values[MODE_IDLE] >= JUMP_BACK_SECONDS;
    for (int mode = 0; mode < MODES; mode++) {
        said[mode] = is_new ? values[mode] : fmax(said[mode], values[mode]);
        values[mode] = said[mode];
    }
    pthread_mutex_unlock(&cpus->mtx);
}

static void add_cpu(struct host_scrape *scrape, struct ap_slice number, struct ap_slice fields)
{
    static const struct family busy = {"node_cpu_seconds_total", "Seconds the CPUs spent in each mode.",
                                       FAMILY_COUNTER};
    static const struct family guest = {"node_cpu_guest_seconds_total",
                                        "Seconds the CPUs spent in guests (VMs) for each mode.", FAMILY_COUNTER};
    double values[MODES] = {0}, cpu;
    for (int mode = 0; mode < MODES; mode++) /* older kernels have fewer */
        if (host_number(host_field(&fields), &values[mode]))
            values[mode] /= TICKS_PER_SECOND;
    if (!host_number(number, &cpu) || cpu >= CPUS_MAX)
        return;
    never_backwards(scrape->host->cpus, (size_t)cpu, values);
    for (int mode = 0; mode < MODES; mode++)
        families_add2(scrape->families, mode < GUEST_MODES_FROM ? &busy : &guest, values[mode], "cpu", number, "mode",
                      ap_slice_cstr(modes[mode]));
}

static void add_isolated(struct host_scrape *scrape)
{
    static const struct family isolated = {
        "node_cpu_isolated", "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
        FAMILY_GAUGE};
    struct ap_slice list; /* "1,3-5" */
    if (!host_read_text(scrape, scrape->sys_fd, "devices/system/cpu/isolated", &list))
        return;
    while (list.data && list.bytes) {
        struct ap_slice last = ap_slice_split(&list, ','), first = ap_slice_split(&last, '-');
        int64_t from, to;
        if (!host_integer(first, 10, &from) || !host_integer(last.data ? last : first, 10, &to) || from < 0 ||
            to >= CPUS_MAX)
            return;
        for (int64_t cpu = from; cpu <= to; cpu++) {
            char number[24];
            snprintf(number, sizeof(number), "%" PRId64, cpu);
            families_add1(scrape->families, &isolated, 1, "cpu", ap_slice_cstr(number));
        }
    }
}

/* How often processors were slowed down because they were hot: once a core, once a package, not once a thread. */
struct throttled {
    int64_t package, core;
};

static bool is_seen(struct throttled *seen, size_t *count, struct throttled one)
{
    for (size_t i = 0; i < *count; i++)
        if (seen[i].package == one.package && seen[i].core == one.core)
            return true;
    seen[(*count)++] = one;
    return false;
}

static void add_throttles(struct host_scrape *scrape, int cpu_fd, struct throttled *seen, size_t *seen_count)
{
    static const struct family cores = {"node_cpu_core_throttles_total",
                                        "Number of times this CPU core has been throttled.", FAMILY_COUNTER};
    static const struct family packages = {"node_cpu_package_throttles_total",
                                           "Number of times this CPU package has been throttled.", FAMILY_COUNTER};
    struct ap_slice text;
    struct throttled one;
    char package[24], core[24];
    double count;
    if (!host_read_text(scrape, cpu_fd, "topology/physical_package_id", &text) ||
        !host_integer(text, 10, &one.package) || !host_read_text(scrape, cpu_fd, "topology/core_id", &text) ||
        !host_integer(text, 10, &one.core) || one.package < 0 || one.core < 0)
        return;
    snprintf(package, sizeof(package), "%" PRId64, one.package);
    snprintf(core, sizeof(core), "%" PRId64, one.core);
    if (!is_seen(seen, seen_count, one) &&
        host_read_number(scrape, cpu_fd, "thermal_throttle/core_throttle_count", &count))
        families_add2(scrape->families, &cores, count, "core", ap_slice_cstr(core), "package", ap_slice_cstr(package));
    if (!is_seen(seen, seen_count, (struct throttled){one.package, -1}) &&
        host_read_number(scrape, cpu_fd, "thermal_throttle/package_throttle_count", &count))
        families_add1(scrape->families, &packages, count, "package", ap_slice_cstr(package));
}

static void add_all_throttles(struct host_scrape *scrape)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    struct ap_err ignored;
    if (host_list(scrape->sys_fd, "devices/system/cpu", &names, &ignored) != AP_OK)
        return;
    AP_AUTO_FREE struct throttled *seen = ap_new0_array(struct throttled, names.count * 2 + 1);
    size_t seen_count = 0;
    for (size_t i = 0; i < names.count; i++) {
        if (host_digits_behind(ap_slice_cstr(names.items[i]), "cpu").bytes == 0)
            continue;
        AP_AUTO_FREE char *path = ap_asprintf("devices/system/cpu/%s", names.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        if (fd >= 0)
            add_throttles(scrape, fd, seen, &seen_count);
    }
}

enum ap_rc host_cpu(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = stat_text(scrape, &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice number = host_digits_behind(host_field(&line), "cpu");
        if (number.bytes)
            add_cpu(scrape, number, line);
    }
    add_isolated(scrape);
    add_all_throttles(scrape);
    return AP_OK;
}

enum ap_rc host_stat(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct {
        const char *key;
        struct family family;
    } rows[] = {
        {"intr", {"node_intr_total", "Total number of interrupts serviced.", FAMILY_COUNTER}},
        {"ctxt", {"node_context_switches_total", "Total number of context switches.", FAMILY_COUNTER}},
        {"processes", {"node_forks_total", "Total number of forks.", FAMILY_COUNTER}},
        {"btime", {"node_boot_time_seconds", "Node boot time, in unixtime.", FAMILY_GAUGE}},
        {"procs_running", {"node_procs_running", "Number of processes in runnable state.", FAMILY_GAUGE}},
        {"procs_blocked",
         {"node_procs_blocked", "Number of processes blocked waiting for I/O to complete.", FAMILY_GAUGE}},
    };
    struct ap_slice rest, line;
    enum ap_rc rc = stat_text(scrape, &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice key = host_field(&line);
        double value;
        for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++)
            if (ap_slice_equal_cstr(key, rows[i].key) && host_number(host_field(&line), &value))
                families_add(scrape->families, &rows[i].family, value);
    }
    return AP_OK;
}

/* ---- Frequencies ---- */

static void add_frequencies(struct host_scrape *scrape, int cpu_fd, struct ap_slice number)
{
    static const struct {
        const char *path;
        struct family family;
    } rows[] = {
        {"cpuinfo_cur_freq", {"node_cpu_frequency_hertz", "Current cpu thread frequency in hertz.", FAMILY_GAUGE}},
        {"cpuinfo_min_freq", {"node_cpu_frequency_min_hertz", "Minimum cpu thread frequency in hertz.", FAMILY_GAUGE}},
        {"cpuinfo_max_freq", {"node_cpu_frequency_max_hertz", "Maximum cpu thread frequency in hertz.", FAMILY_GAUGE}},
        {"scaling_cur_freq",
         {"node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz.", FAMILY_GAUGE}},
        {"scaling_min_freq",
         {"node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz.", FAMILY_GAUGE}},
        {"scaling_max_freq",
         {"node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz.", FAMILY_GAUGE}},
    };
    double kilohertz;
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++)
        if (host_read_number(scrape, cpu_fd, rows[i].path, &kilohertz))
            families_add1(scrape->families, &rows[i].family, kilohertz * 1000, "cpu", number);
}

enum ap_rc host_cpufreq(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "devices/system/cpu", &names, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < names.count; i++) {
        struct ap_slice number = host_digits_behind(ap_slice_cstr(names.items[i]), "cpu");
        if (number.bytes == 0)
            continue;
        AP_AUTO_FREE char *path = ap_asprintf("devices/system/cpu/%s/cpufreq", names.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        if (fd >= 0)
            add_frequencies(scrape, fd, number);
    }
    return AP_OK;
}

/* ---- The scheduler, and packets by processor ---- */

enum ap_rc host_schedstat(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family running = {"node_schedstat_running_seconds_total",
                                          "Number of seconds CPU spent running a process.", FAMILY_COUNTER};
    static const struct family waiting = {"node_schedstat_waiting_seconds_total",
                                          "Number of seconds spent by processing waiting for this CPU.",
                                          FAMILY_COUNTER};
    static const struct family slices = {"node_schedstat_timeslices_total", "Number of timeslices executed by CPU.",
                                         FAMILY_COUNTER};
    enum { RUNNING = 6, FIELDS = 9 }; /* fields behind "cpuN": the last three */
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "schedstat", &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice number = host_digits_behind(host_field(&line), "cpu");
        double values[FIELDS];
        int count = 0;
        while (number.bytes && count < FIELDS && host_number(host_field(&line), &values[count]))
            count++;
        if (count < FIELDS)
            continue;
        families_add1(scrape->families, &running, values[RUNNING] / 1e9, "cpu", number);
        families_add1(scrape->families, &waiting, values[RUNNING + 1] / 1e9, "cpu", number);
        families_add1(scrape->families, &slices, values[RUNNING + 2], "cpu", number);
    }
    return AP_OK;
}

enum ap_rc host_softnet(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family rows[] = {
        {"node_softnet_processed_total", "Number of processed packets", FAMILY_COUNTER},
        {"node_softnet_dropped_total", "Number of dropped packets", FAMILY_COUNTER},
        {"node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota", FAMILY_COUNTER},
    };
    enum { CPU_FIELD = 12 }; /* from Linux 5.14; before it the line's number is the processor's */
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/softnet_stat", &rest, err);
    if (rc != AP_OK)
        return rc;
    for (int64_t cpu = 0; host_line(&rest, &line); cpu++) {
        int64_t values[CPU_FIELD + 1];
        int count = 0;
        while (count <= CPU_FIELD && host_integer(host_field(&line), 16, &values[count]))
            count++;
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, count > CPU_FIELD ? values[CPU_FIELD] : cpu);
        for (int i = 0; i < (int)AP_ARRAY_COUNT(rows) && i < count; i++)
            families_add1(scrape->families, &rows[i], (double)values[i], "cpu", ap_slice_cstr(number));
    }
    return AP_OK;
}
