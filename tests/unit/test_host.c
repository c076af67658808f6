/* The host collector on small trees of files. That it says what node_exporter says is tests/clients/host_test. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/families.h"
#include "collect/host.h"

/* ---- A machine of files ---- */

struct machine {
    char directory[64];
    struct host *host;
    struct ap_buf text; /* what it said last */
};

static void make_parents(const char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        AP_AUTO_FREE char *parent = ap_strndup(path, (size_t)(slash - path));
        if (mkdir(parent, 0700) != 0)
            assert_int_equal(errno, EEXIST);
    }
}

static void put(struct machine *machine, const char *path, const char *text)
{
    AP_AUTO_FREE char *whole = ap_asprintf("%s/%s", machine->directory, path);
    make_parents(whole);
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void machine_open(struct machine *machine, int (*statfs)(const char *path, struct statfs *ret))
{
    *machine = (struct machine){.directory = "/tmp/apiary-test-host-XXXXXX"};
    assert_non_null(mkdtemp(machine->directory));
    put(machine, "proc/.keep", "");
    put(machine, "sys/.keep", "");
    put(machine, "root/.keep", "");
    AP_AUTO_FREE char *proc = ap_asprintf("%s/proc", machine->directory);
    AP_AUTO_FREE char *sys = ap_asprintf("%s/sys", machine->directory);
    AP_AUTO_FREE char *root = ap_asprintf("%s/root", machine->directory);
    const struct host_options options = {.proc_path = proc, .sys_path = sys, .root_path = root, .statfs = statfs};
    struct ap_err err = {0};
    assert_int_equal(host_open(&options, &machine->host, &err), AP_OK);
}

static void machine_close(struct machine *machine)
{
    host_close(machine->host);
    ap_buf_clear(&machine->text);
    AP_AUTO_FREE char *command = ap_asprintf("rm -r '%s'", machine->directory);
    assert_int_equal(system(command), 0);
}

static enum ap_rc collect_within(struct machine *machine, const char *part, int64_t wait_ms, struct ap_err *err)
{
    const struct label param = {AP_SLICE_LITERAL("collect[]"), ap_slice_cstr(part)};
    const struct collector_request request = {
        .params = &param,
        .param_count = part ? 1 : 0,
        .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + wait_ms * AP_US_PER_MS,
    };
    ap_buf_reset(&machine->text);
    enum ap_rc rc = host_collect(machine->host, &request, &machine->text, err);
    ap_buf_add_char(&machine->text, '\0');
    return rc;
}

static void collect(struct machine *machine, const char *part)
{
    struct ap_err err = {0};
    assert_int_equal(collect_within(machine, part, 60000, &err), AP_OK);
}

static void says(const struct machine *machine, const char *line)
{
    AP_AUTO_FREE char *whole = ap_asprintf("\n%s\n", line);
    if (!strstr(machine->text.data, whole))
        fail_msg("not said: %s\n%s", line, machine->text.data);
}

static void says_not(const struct machine *machine, const char *text)
{
    if (strstr(machine->text.data, text))
        fail_msg("said: %s\n%s", text, machine->text.data);
}

/* ---- Families ---- */

static void test_families(void **state)
{
    (void)state;
    static const struct family b = {"b_total", "Back\\slash\nand \"line\"", FAMILY_COUNTER};
    static const struct family a = {"a", "First", FAMILY_GAUGE}, c = {"c", "", FAMILY_UNTYPED};
    AP_AUTO(families) struct families *families = families_new();
    AP_AUTO_BUF struct ap_buf out = {0};
    families_write(families, &out);
    assert_int_equal(out.bytes, 0);
    families_add1(families, &b, 1.5, "x", ap_slice_cstr("q\"\\\n\xff|\xc3\xa4"));
    families_add(families, &a, -INFINITY);
    families_add2(families, &b, 1e300, "x", ap_slice_cstr(""), "y", ap_slice_cstr("2"));
    families_add(families, &c, NAN);
    families_add(families, &a, 12345678901.0);
    families_write(families, &out);
    ap_buf_add_char(&out, '\0');
    assert_string_equal(out.data, "# HELP a First\n# TYPE a gauge\na -Inf\na 12345678901\n"
                                  "# HELP b_total Back\\\\slash\\nand \"line\"\n# TYPE b_total counter\n"
                                  "b_total{x=\"q\\\"\\\\\\n\xef\xbf\xbd|\xc3\xa4\"} 1.5\n"
                                  "b_total{x=\"\",y=\"2\"} 1e+300\n"
                                  "# HELP c \n# TYPE c untyped\nc NaN\n");
}

static void test_many_families(void **state)
{
    (void)state;
    AP_AUTO(families) struct families *families = families_new();
    AP_AUTO_BUF struct ap_buf out = {0};
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "m_%04d", i % 1500);
        families_add(families, &(struct family){name, "", FAMILY_GAUGE}, i);
    }
    families_write(families, &out);
    ap_buf_add_char(&out, '\0');
    assert_non_null(strstr(out.data, "# TYPE m_0000 gauge\nm_0000 0\nm_0000 1500\n# HELP m_0001 "));
    assert_non_null(strstr(out.data, "# TYPE m_1499 gauge\nm_1499 1499\nm_1499 2999\n"));
}

/* ---- The collector ---- */

/* A machine with nothing at all: every part says that it has nothing, and why. */
static void test_empty_machine(void **state)
{
    (void)state;
    struct machine machine;
    machine_open(&machine, NULL);
    collect(&machine, NULL);
    says(&machine, "# meminfo: read meminfo: No such file or directory");
    says(&machine, "node_scrape_collector_success{collector=\"meminfo\"} 0");
    says(&machine, "node_scrape_collector_success{collector=\"uname\"} 1"); /* a system call */
    for (size_t i = 0; host_part_name(i); i++) {
        AP_AUTO_FREE char *line = ap_asprintf("node_scrape_collector_success{collector=\"%s\"} ", host_part_name(i));
        assert_non_null(strstr(machine.text.data, line));
    }
    machine_close(&machine);
}

static void test_unknown_part(void **state)
{
    (void)state;
    struct machine machine;
    struct ap_err err = {0};
    machine_open(&machine, NULL);
    assert_int_equal(collect_within(&machine, "cpus", 1000, &err), AP_E_PARSE);
    assert_string_equal(err.text, "collect[]: the host collector has no part \"cpus\"");
    machine_close(&machine);
}

static void test_missing_tree(void **state)
{
    (void)state;
    struct host *host = NULL;
    struct ap_err err = {0};
    assert_int_equal(host_open(&(struct host_options){.proc_path = "/nowhere"}, &host, &err), AP_E_NOT_FOUND);
    assert_string_equal(err.text, "open /nowhere: No such file or directory");
}

/* A counter does not go back, unless the processor is a new one. */
static void test_cpu_backwards(void **state)
{
    (void)state;
    struct machine machine;
    machine_open(&machine, NULL);
    put(&machine, "proc/stat", "cpu0 100 0 0 1000 50\n");
    collect(&machine, "cpu");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 0.5");
    put(&machine, "proc/stat", "cpu0 110 0 0 990 40\n");
    collect(&machine, "cpu");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1.1");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 10");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 0.5");
    put(&machine, "proc/stat", "cpu0 1 0 0 20 3\n");
    collect(&machine, "cpu");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 0.01");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 0.2");
    says(&machine, "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 0.03");
    machine_close(&machine);
}

/* What is wrong in a file costs the lines that it is in. */
static void test_odd_files(void **state)
{
    (void)state;
    struct machine machine;
    machine_open(&machine, NULL);
    put(&machine, "proc/meminfo",
        "MemTotal: 12 kB\nMemFree: many kB\n: 1\nNo colon 3\nOdd name(x) y: 4 kB\nMemLast: 5");
    collect(&machine, "meminfo");
    says(&machine, "node_memory_MemTotal_bytes 12288");
    says(&machine, "node_memory_MemLast 5");
    says(&machine, "node_memory_Odd_name_x_y_bytes 4096");
    says_not(&machine, "MemFree");
    put(&machine, "proc/mdstat", "md0 : active raid1 a[0] b[1]\n");
    collect(&machine, "mdadm");
    says(&machine, "node_scrape_collector_success{collector=\"mdadm\"} 0");
    put(&machine, "proc/net/netstat", "TcpExt: TCPTimeouts ListenDrops\nOther: 1 2\nTcpExt: TCPTimeouts\nTcpExt:\n");
    put(&machine, "proc/net/snmp", "Tcp: InSegs\n");
    collect(&machine, "netstat");
    says_not(&machine, "node_netstat");
    says(&machine, "node_scrape_collector_success{collector=\"netstat\"} 1");
    machine_close(&machine);
}

/* ---- File systems whose server is away ---- */

static struct {
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    bool is_hanging;
    unsigned hanging_count; /* calls that wait now */
    unsigned net_count;     /* calls for the network's mount, ever */
} server = {.mtx = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int fake_statfs(const char *path, struct statfs *ret)
{
    *ret = (struct statfs){.f_bsize = 1024, .f_blocks = 100, .f_bfree = 50, .f_bavail = 40, .f_files = 9, .f_ffree = 7};
    if (!strstr(path, "/net"))
        return 0;
    pthread_mutex_lock(&server.mtx);
    server.net_count++;
    server.hanging_count++;
    pthread_cond_broadcast(&server.changed);
    while (server.is_hanging)
        pthread_cond_wait(&server.changed, &server.mtx);
    server.hanging_count--;
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.mtx);
    return 0;
}

static void set_hanging(bool is_hanging)
{
    pthread_mutex_lock(&server.mtx);
    server.is_hanging = is_hanging;
    pthread_cond_broadcast(&server.changed);
    while (!is_hanging && server.hanging_count)
        pthread_cond_wait(&server.changed, &server.mtx);
    pthread_mutex_unlock(&server.mtx);
}

static unsigned net_count(void)
{
    pthread_mutex_lock(&server.mtx);
    unsigned count = server.net_count;
    pthread_mutex_unlock(&server.mtx);
    return count;
}

/* The thread that asks may be given up before it has had its turn. */
static void wait_until_asked(unsigned count)
{
    pthread_mutex_lock(&server.mtx);
    while (server.net_count < count)
        pthread_cond_wait(&server.changed, &server.mtx);
    pthread_mutex_unlock(&server.mtx);
}

static const char net_error[] = "node_filesystem_device_error{device=\"s:/e\",fstype=\"nfs4\",mountpoint=\"/net\"} ";
static const char disk_size[] = "node_filesystem_size_bytes{device=\"/dev/a\",fstype=\"ext4\",mountpoint=\"/\"} 102400";

static bool is_net_error(const struct machine *machine)
{
    const char *line = strstr(machine->text.data, net_error);
    assert_non_null(line);
    return line[strlen(net_error)] == '1';
}

static void test_hanging_mount(void **state)
{
    (void)state;
    struct machine machine;
    struct ap_err err = {0};
    machine_open(&machine, fake_statfs);
    put(&machine, "proc/mounts", "s:/e /net nfs4 rw 0 0\n/dev/a / ext4 rw 0 0\n");
    collect(&machine, "filesystem");
    assert_false(is_net_error(&machine));

    set_hanging(true);
    for (int i = 0; i < 3; i++) { /* asked once, and not again while it hangs */
        assert_int_equal(collect_within(&machine, "filesystem", 20, &err), AP_OK);
        assert_true(is_net_error(&machine));
        says(&machine, disk_size);
        says(&machine, "node_scrape_collector_success{collector=\"filesystem\"} 1");
        wait_until_asked(2);
    }
    assert_int_equal(net_count(), 2);

    set_hanging(false);
    do
        collect(&machine, "filesystem");
    while (is_net_error(&machine)); /* until the thread has said that it is back */
    assert_int_equal(net_count(), 3);

    set_hanging(true); /* and the collector can end before it is */
    assert_int_equal(collect_within(&machine, "filesystem", 1, &err), AP_OK);
    wait_until_asked(4);
    machine_close(&machine);
    set_hanging(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),     cmocka_unit_test(test_many_families), cmocka_unit_test(test_empty_machine),
        cmocka_unit_test(test_unknown_part), cmocka_unit_test(test_missing_tree),  cmocka_unit_test(test_cpu_backwards),
        cmocka_unit_test(test_odd_files),    cmocka_unit_test(test_hanging_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
