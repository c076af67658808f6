/*
 * collect/host_internal.h - what the parts of the host collector share: reading small files, cutting them into fields
 *
 * A part reads what it needs and adds samples. AP_E_NOT_FOUND: this machine has none of it. What was added before a
 * failure is kept.
 */
#pragma once

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "collect/families.h"

enum {
    HOST_FILE_BYTES_MAX = 16 << 20, /* /proc/stat of a large machine has 200 KiB, /proc/net/udp one line a socket */
    HOST_NAME_BYTES_MAX = 256,      /* of an entry of a directory */
};

struct statfs;
struct host_cpus;   /* host_cpu.c */
struct host_mounts; /* host_filesystem.c */

/* Constant while a collection runs, but for what locks itself. */
struct host {
    int proc_fd, sys_fd, root_fd;
    char *sys_path;      /* owned */
    char *root_path;     /* owned; "" is / */
    char *textfile_path; /* owned; NULL: none */
    int (*statfs)(const char *path, struct statfs *ret);
    struct host_cpus *cpus;     /* owned */
    struct host_mounts *mounts; /* a reference */
};

/* One collection: one thread. */
struct host_scrape {
    struct host *host;
    int proc_fd, sys_fd, root_fd; /* the host's */
    struct families *families;
    struct ap_buf file;    /* what host_read() read last */
    struct ap_buf value;   /* what host_read_text() read last */
    struct ap_buf stat;    /* /proc/stat, which two parts want */
    struct ap_buf note;    /* what a part wants to be known though it succeeded: a comment in the text */
    struct ap_arena arena; /* what host_keep() keeps */
    int64_t deadline_us;   /* monotonic */
};

/* ---- Files (host_files.c) ---- */

/* All of a file, with a final NUL; lent until the next call. */
ap_nodiscard enum ap_rc host_read(struct host_scrape *scrape, int dir_fd, const char *path, struct ap_slice *ret_text,
                                  struct ap_err *err);

/*
 * A file of one value, trimmed; lent until the next call of these two. False when it is missing or cannot be read,
 * which in sysfs is often how an attribute says that it does not apply.
 */
bool host_read_text(struct host_scrape *scrape, int dir_fd, const char *path, struct ap_slice *ret_text);
bool host_read_number(struct host_scrape *scrape, int dir_fd, const char *path, double *ret_value);

/* A copy of `text` (of its first 4 KiB) for as long as the collection. */
struct ap_slice host_keep(struct host_scrape *scrape, struct ap_slice text);

/* Files of one value as labels: those that can be read, or, with `is_all`, the others with an empty value too. */
struct host_attribute {
    const char *label;
    const char *path;
};
size_t host_read_labels(struct host_scrape *scrape, int dir_fd, const struct host_attribute *attributes, size_t count,
                        bool is_all, struct label *ret_labels);

/* Names of a directory's entries in order of name, without those that begin with a dot. */
struct host_names {
    char **items; /* owned */
    size_t count;
};
ap_nodiscard enum ap_rc host_list(int dir_fd, const char *path, struct host_names *ret_names, struct ap_err *err);
void host_names_clear(struct host_names *names);
#define HOST_AUTO_NAMES __attribute__((cleanup(host_names_clear)))

/* A directory below another one, -1 when there is none; the caller's. */
int host_open_dir(int dir_fd, const char *path);

/* ---- Text (host_files.c) ---- */

/* Cuts the first line, or the first run without blanks, off *rest. False, or an empty field, when there is none. */
bool host_line(struct ap_slice *rest, struct ap_slice *ret_line);
struct ap_slice host_field(struct ap_slice *rest);

/* All of `text` as a number: decimal, or, for the second, in any base that C knows. */
bool host_number(struct ap_slice text, double *ret_value);
bool host_integer(struct ap_slice text, int base, int64_t *ret_value);
bool host_has_text(struct ap_slice text, const char *part);

/* The digits of "cpu12" behind "cpu"; empty when it is something else. */
struct ap_slice host_digits_behind(struct ap_slice text, const char *prefix);

/* `text` as part of a metric name: what may not be in one becomes '_'. Cut when it is too long. */
struct host_metric_name {
    char text[HOST_NAME_BYTES_MAX];
};
struct host_metric_name host_metric_name(const char *prefix, struct ap_slice text, const char *suffix);

/* ---- Parts, by file ---- */

typedef enum ap_rc host_part_fn(struct host_scrape *scrape, struct ap_err *err);
host_part_fn host_cpu, host_stat, host_cpufreq, host_schedstat, host_softnet;       /* host_cpu.c */
host_part_fn host_meminfo, host_vmstat, host_pressure;                              /* host_memory.c */
host_part_fn host_diskstats, host_mdadm, host_nvme;                                 /* host_disk.c */
host_part_fn host_filesystem;                                                       /* host_filesystem.c */
host_part_fn host_netdev, host_netclass, host_arp, host_bonding;                    /* host_netdev.c */
host_part_fn host_netstat, host_sockstat, host_udp_queues, host_conntrack;          /* host_netstat.c */
host_part_fn host_loadavg, host_filefd, host_entropy, host_processes, host_selinux; /* host_kernel.c */
host_part_fn host_uname, host_os, host_dmi;                                         /* host_identity.c */
host_part_fn host_time, host_timex;                                                 /* host_time.c */
host_part_fn host_hwmon;                                                            /* host_hwmon.c */
host_part_fn host_textfile;                                                         /* host_textfile.c */
host_part_fn host_thermal_zone, host_powersupplyclass, host_rapl, host_edac;        /* host_sensors.c */

struct host_cpus *host_cpus_new(void);
void host_cpus_free(struct host_cpus *cpus);
struct host_mounts *host_mounts_new(void);
void host_mounts_unref(struct host_mounts *mounts);
