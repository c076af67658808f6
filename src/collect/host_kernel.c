/* The kernel's own figures: load, open files, entropy, processes, SELinux. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

enum ap_rc host_loadavg(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family rows[] = {
        {"node_load1", "1m load average.", FAMILY_GAUGE},
        {"node_load5", "5m load average.", FAMILY_GAUGE},
        {"node_load15", "15m load average.", FAMILY_GAUGE},
    };
    struct ap_slice text;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "loadavg", &text, err);
    double value;
    for (size_t i = 0; rc == AP_OK && i < AP_ARRAY_COUNT(rows); i++)
        if (host_number(host_field(&text), &value))
            families_add(scrape->families, &rows[i], value);
    return rc;
}

enum ap_rc host_filefd(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family allocated = {"node_filefd_allocated", "File descriptor statistics: allocated.",
                                            FAMILY_GAUGE};
    static const struct family maximum = {"node_filefd_maximum", "File descriptor statistics: maximum.", FAMILY_GAUGE};
    struct ap_slice text;
    double value;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "sys/fs/file-nr", &text, err);
    if (rc != AP_OK)
        return rc;
    if (host_number(host_field(&text), &value))
        families_add(scrape->families, &allocated, value);
    host_field(&text); /* free ones, always 0 */
    if (host_number(host_field(&text), &value))
        families_add(scrape->families, &maximum, value);
    return AP_OK;
}

enum ap_rc host_entropy(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family available = {"node_entropy_available_bits", "Bits of available entropy.", FAMILY_GAUGE};
    static const struct family size = {"node_entropy_pool_size_bits", "Bits of entropy pool.", FAMILY_GAUGE};
    double value;
    if (!host_read_number(scrape, scrape->proc_fd, "sys/kernel/random/entropy_avail", &value))
        return ap_fail(err, AP_E_NOT_FOUND, "no sys/kernel/random/entropy_avail");
    families_add(scrape->families, &available, value);
    if (host_read_number(scrape, scrape->proc_fd, "sys/kernel/random/poolsize", &value))
        families_add(scrape->families, &size, value);
    return AP_OK;
}

/* ---- processes ---- */

enum { STATES = 256 };

/*
 * "12 (name) S 1 …": the name may hold anything, a bracket too, so what counts is the last one. The state is the first
 * field behind it, the number of threads the 18th.
 */
static bool read_process(struct ap_slice text, unsigned char *ret_state, double *ret_threads)
{
    enum { THREADS_BEHIND_STATE = 17 };
    const char *bracket = text.bytes ? memrchr(text.data, ')', text.bytes) : NULL;
    if (!bracket)
        return false;
    struct ap_slice rest = ap_slice(bracket + 1, (size_t)(text.data + text.bytes - bracket) - 1);
    struct ap_slice state = host_field(&rest), field = {0};
    for (int i = 0; i < THREADS_BEHIND_STATE; i++)
        field = host_field(&rest);
    if (state.bytes != 1 || !host_number(field, ret_threads))
        return false;
    *ret_state = (unsigned char)state.data[0];
    return true;
}

static void add_limit(struct host_scrape *scrape, const char *path, const struct family *family)
{
    double value;
    if (host_read_number(scrape, scrape->proc_fd, path, &value))
        families_add(scrape->families, family, value);
}

enum ap_rc host_processes(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family threads = {"node_processes_threads", "Allocated threads in system", FAMILY_GAUGE};
    static const struct family threads_max = {"node_processes_max_threads", "Limit of threads in the system",
                                              FAMILY_GAUGE};
    static const struct family by_state = {"node_processes_state", "Number of processes in each state.", FAMILY_GAUGE};
    static const struct family pids = {"node_processes_pids", "Number of PIDs", FAMILY_GAUGE};
    static const struct family pids_max = {"node_processes_max_processes", "Number of max PIDs limit", FAMILY_GAUGE};
    HOST_AUTO_NAMES struct host_names names = {0};
    enum ap_rc rc = host_list(scrape->proc_fd, ".", &names, err);
    if (rc != AP_OK)
        return rc;
    double count = 0, thread_count = 0, states[STATES] = {0};
    for (size_t i = 0; i < names.count; i++) {
        char path[HOST_NAME_BYTES_MAX + 8];
        unsigned char state;
        double value;
        struct ap_slice text;
        if (host_digits_behind(ap_slice_cstr(names.items[i]), "").bytes == 0)
            continue;
        snprintf(path, sizeof(path), "%s/stat", names.items[i]);
        if (!host_read_text(scrape, scrape->proc_fd, path, &text) || !read_process(text, &state, &value))
            continue; /* it has ended */
        count++;
        states[state]++;
        thread_count += value;
    }
    families_add(scrape->families, &threads, thread_count);
    families_add(scrape->families, &pids, count);
    for (int state = 0; state < STATES; state++) {
        char text = (char)state;
        if (states[state] > 0)
            families_add1(scrape->families, &by_state, states[state], "state", ap_slice(&text, 1));
    }
    add_limit(scrape, "sys/kernel/threads-max", &threads_max);
    add_limit(scrape, "sys/kernel/pid_max", &pids_max);
    return AP_OK;
}

/* ---- selinux ---- */

/* -1 disabled, 0 permissive, 1 enforcing */
static double configured_mode(struct host_scrape *scrape)
{
    struct ap_slice rest, line;
    double mode = -1;
    if (!host_read_text(scrape, scrape->root_fd, "etc/selinux/config", &rest))
        return mode;
    while (host_line(&rest, &line)) {
        struct ap_slice key = ap_slice_trim(ap_slice_split(&line, '='));
        if (ap_slice_equal_cstr(key, "SELINUX"))
            mode = ap_slice_equal_nocase(ap_slice_trim(line), "enforcing")    ? 1
                   : ap_slice_equal_nocase(ap_slice_trim(line), "permissive") ? 0
                                                                              : -1;
    }
    return mode;
}

enum ap_rc host_selinux(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family enabled = {"node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false",
                                          FAMILY_GAUGE};
    static const struct family configured = {"node_selinux_config_mode", "Configured SELinux enforcement mode",
                                             FAMILY_GAUGE};
    static const struct family current = {"node_selinux_current_mode", "Current SELinux enforcement mode",
                                          FAMILY_GAUGE};
    (void)err;
    double enforcing;
    bool is_enabled = host_read_number(scrape, scrape->sys_fd, "fs/selinux/enforce", &enforcing);
    families_add(scrape->families, &enabled, is_enabled);
    if (!is_enabled)
        return AP_OK;
    families_add(scrape->families, &configured, configured_mode(scrape));
    families_add(scrape->families, &current, enforcing);
    return AP_OK;
}
