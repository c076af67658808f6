/*
 * The first byte chooses a file of /proc or of /, the others are what it holds. The text that comes out is one that our
 * own reader takes, line by line, with every family declared once.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "codec/exposition.h"
#include "collect/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *part;
    const char *path;
} files[] = {
    {"arp", "net/arp"},
    {"conntrack", "net/stat/nf_conntrack"},
    {"cpu", "stat"},
    {"diskstats", "diskstats"},
    {"filefd", "sys/fs/file-nr"},
    {"filesystem", "mounts"},
    {"loadavg", "loadavg"},
    {"mdadm", "mdstat"},
    {"meminfo", "meminfo"},
    {"netdev", "net/dev"},
    {"netstat", "net/netstat"},
    {"netstat", "net/snmp6"},
    {"os", "etc/os-release"},
    {"pressure", "pressure/cpu"},
    {"processes", "1/stat"},
    {"schedstat", "schedstat"},
    {"sockstat", "net/sockstat"},
    {"softnet", "net/softnet_stat"},
    {"stat", "stat"},
    {"udp_queues", "net/udp"},
    {"vmstat", "vmstat"},
    {"diskstats", "run/udev/data/b8:0"},
    {"textfile", "text/a.prom"},
};

/* /proc, /sys and / are all one directory, which is gone when the process is. */
static char directory[] = "/tmp/apiary-fuzz-host-XXXXXX";

static void remove_directory(void)
{
    AP_AUTO_FREE char *command = ap_asprintf("rm -r '%s'", directory);
    AP_ASSERT(system(command) == 0);
}

static void put(const char *path, const void *data, size_t size)
{
    AP_AUTO_FREE char *whole = ap_asprintf("%s/%s", directory, path);
    for (char *slash = strchr(whole + sizeof(directory), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(whole, 0700);
        *slash = '/';
    }
    AP_AUTO_FD int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AP_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

static struct host *machine(void)
{
    static struct host *host;
    if (host)
        return host;
    AP_ASSERT(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    AP_AUTO_FREE char *text = ap_asprintf("%s/text", directory);
    const struct host_options options = {
        .proc_path = directory, .sys_path = directory, .root_path = directory, .textfile_path = text};
    AP_ASSERT(host_open(&options, &host, NULL) == AP_OK);
    put("diskstats", "8 0 sda 1 2 3\n", strlen("8 0 sda 1 2 3\n"));
    put("net/netstat", "", 0);
    put("net/snmp", "", 0);
    put("sys/net/netfilter/nf_conntrack_count", "1", 1);
    put("sys/net/netfilter/nf_conntrack_max", "2", 1);
    return host;
}

static void check(struct ap_slice text)
{
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    char before[512] = "";
    exposition_begin(parser, EXPOSITION_TEXT, text);
    for (enum exposition_kind kind; (kind = exposition_next(parser, &entry)) != EXPOSITION_END;) {
        AP_ASSERT(kind != EXPOSITION_BAD);
        if (kind != EXPOSITION_TYPE)
            continue;
        AP_AUTO_FREE char *name = ap_slice_dup(entry.name);
        AP_ASSERT(strlen(name) < sizeof(before) && strcmp(before, name) < 0);
        memcpy(before, name, strlen(name) + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct host *host = machine();
    size_t at = data[0] % AP_ARRAY_COUNT(files);
    put(files[at].path, data + 1, size - 1);
    const struct label param = {AP_SLICE_LITERAL("collect[]"), ap_slice_cstr(files[at].part)};
    const struct collector_request request = {
        .params = &param,
        .param_count = 1,
        .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + AP_US_PER_S,
    };
    AP_AUTO_BUF struct ap_buf out = {0};
    AP_ASSERT(host_collect(host, &request, &out, NULL) == AP_OK);
    check(ap_buf_slice(&out));
    return 0;
}
