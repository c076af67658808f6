#include "collect/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statfs.h>

#include "base/clock.h"
#include "collect/host_internal.h"

/* ---- Parts ---- */

static const struct part {
    const char *name; /* as node_exporter calls its collector */
    host_part_fn *collect;
} parts[] = {
    {"arp", host_arp},
    {"bonding", host_bonding},
    {"conntrack", host_conntrack},
    {"cpu", host_cpu},
    {"cpufreq", host_cpufreq},
    {"diskstats", host_diskstats},
    {"dmi", host_dmi},
    {"edac", host_edac},
    {"entropy", host_entropy},
    {"filefd", host_filefd},
    {"filesystem", host_filesystem},
    {"hwmon", host_hwmon},
    {"loadavg", host_loadavg},
    {"mdadm", host_mdadm},
    {"meminfo", host_meminfo},
    {"netclass", host_netclass},
    {"netdev", host_netdev},
    {"netstat", host_netstat},
    {"nvme", host_nvme},
    {"os", host_os},
    {"powersupplyclass", host_powersupplyclass},
    {"pressure", host_pressure},
    {"processes", host_processes}, /* off by default there */
    {"rapl", host_rapl},
    {"schedstat", host_schedstat},
    {"selinux", host_selinux},
    {"sockstat", host_sockstat},
    {"softnet", host_softnet},
    {"stat", host_stat},
    {"textfile", host_textfile},
    {"thermal_zone", host_thermal_zone},
    {"time", host_time},
    {"timex", host_timex},
    {"udp_queues", host_udp_queues},
    {"uname", host_uname},
    {"vmstat", host_vmstat},
};
enum { PARTS = AP_ARRAY_COUNT(parts) };

const char *host_part_name(size_t index)
{
    return index < PARTS ? parts[index].name : NULL;
}

/* ---- The host ---- */

/* Without the usual tree, in some sandboxes, what is in it is missing; one that somebody named must be there. */
static enum ap_rc open_tree(const char *path, const char *usual, int *ret_fd, struct ap_err *err)
{
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd >= 0 || strcmp(path, usual) == 0 ? AP_OK : ap_fail_errno(err, errno, "open %s", path);
}

static int system_statfs(const char *path, struct statfs *ret)
{
    return statfs(path, ret);
}

enum ap_rc host_open(const struct host_options *options, struct host **ret_host, struct ap_err *err)
{
    AP_AUTO(host) struct host *host = ap_new0(struct host);
    const char *root_path = options->root_path ? options->root_path : "/";
    host->proc_fd = host->sys_fd = host->root_fd = -1;
    host->sys_path = ap_strdup(options->sys_path ? options->sys_path : "/sys");
    host->root_path = ap_strdup(strcmp(root_path, "/") == 0 ? "" : root_path);
    host->textfile_path = options->textfile_path ? ap_strdup(options->textfile_path) : NULL;
    host->statfs = options->statfs ? options->statfs : system_statfs;
    host->cpus = host_cpus_new();
    host->mounts = host_mounts_new();
    enum ap_rc rc = open_tree(options->proc_path ? options->proc_path : "/proc", "/proc", &host->proc_fd, err);
    if (rc == AP_OK)
        rc = open_tree(host->sys_path, "/sys", &host->sys_fd, err);
    if (rc == AP_OK)
        rc = open_tree(root_path, "/", &host->root_fd, err);
    if (rc == AP_OK)
        *ret_host = AP_MOVE(host);
    return rc;
}

void host_close(struct host *host)
{
    if (!host)
        return;
    ap_auto_fd_(&host->proc_fd);
    ap_auto_fd_(&host->sys_fd);
    ap_auto_fd_(&host->root_fd);
    host_cpus_free(host->cpus);
    host_mounts_unref(host->mounts);
    free(host->sys_path);
    free(host->root_path);
    free(host->textfile_path);
    free(host);
}

/* ---- A collection ---- */

static enum ap_rc choose_parts(const struct collector_request *request, bool is_chosen[PARTS], struct ap_err *err)
{
    bool is_any = false;
    for (size_t i = 0; i < request->param_count; i++) {
        const struct label *param = &request->params[i];
        bool is_known = false;
        if (!ap_slice_equal_cstr(param->name, "collect[]"))
            continue;
        is_any = true;
        for (size_t part = 0; part < PARTS; part++)
            if (ap_slice_equal_cstr(param->value, parts[part].name))
                is_chosen[part] = is_known = true;
        if (!is_known)
            return ap_fail(err, AP_E_PARSE, "collect[]: the host collector has no part \"%.*s\"",
                           AP_SLICE_ARG(param->value));
    }
    for (size_t part = 0; part < PARTS && !is_any; part++)
        is_chosen[part] = true;
    return AP_OK;
}

static void add_comment(struct ap_buf *out, const char *part, struct ap_slice text)
{
    ap_buf_printf(out, "# %s: ", part);
    for (size_t i = 0; i < text.bytes; i++) /* a name from outside could hold a line's end */
        ap_buf_add_char(out, (unsigned char)text.data[i] < ' ' ? ' ' : text.data[i]);
    ap_buf_add_char(out, '\n');
}

static void collect_part(struct host_scrape *scrape, const struct part *part, struct ap_buf *out)
{
    static const struct family duration = {"node_scrape_collector_duration_seconds",
                                           "node_exporter: Duration of a collector scrape.", FAMILY_GAUGE};
    static const struct family success = {"node_scrape_collector_success",
                                          "node_exporter: Whether a collector succeeded.", FAMILY_GAUGE};
    struct ap_err err = {0};
    ap_buf_reset(&scrape->note);
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    enum ap_rc rc = part->collect(scrape, &err);
    double seconds = (double)(ap_clock_monotonic_us(&ap_clock_system) - start_us) / AP_US_PER_S;
    families_add1(scrape->families, &duration, seconds, "collector", ap_slice_cstr(part->name));
    families_add1(scrape->families, &success, rc == AP_OK, "collector", ap_slice_cstr(part->name));
    if (rc != AP_OK)
        add_comment(out, part->name, ap_slice_cstr(err.text));
    else if (scrape->note.bytes)
        add_comment(out, part->name, ap_buf_slice(&scrape->note));
}

enum ap_rc host_collect(void *context, const struct collector_request *request, struct ap_buf *out, struct ap_err *err)
{
    struct host *host = context;
    bool is_chosen[PARTS] = {0};
    enum ap_rc rc = choose_parts(request, is_chosen, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(families) struct families *families = families_new();
    struct host_scrape scrape = {
        .host = host,
        .proc_fd = host->proc_fd,
        .sys_fd = host->sys_fd,
        .root_fd = host->root_fd,
        .families = families,
        .deadline_us = request->deadline_monotonic_us,
    };
    ap_arena_init(&scrape.arena, 0);
    for (size_t part = 0; part < PARTS; part++)
        if (is_chosen[part])
            collect_part(&scrape, &parts[part], out);
    families_write(families, out);
    ap_buf_clear(&scrape.file);
    ap_buf_clear(&scrape.value);
    ap_buf_clear(&scrape.stat);
    ap_buf_clear(&scrape.note);
    ap_arena_clear(&scrape.arena);
    return AP_OK;
}
