/* Block devices: /proc/diskstats with what udev knows of them, software RAID, NVMe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- diskstats ---- */

#define SECTOR_BYTES 512.0 /* of /proc/diskstats, whatever the disk's own are */
#define MILLISECONDS (1.0 / 1000.0)

static const struct {
    struct family family;
    double unit;
} disk_fields[] = {
    {{"node_disk_reads_completed_total", "The total number of reads completed successfully.", FAMILY_COUNTER}, 1},
    {{"node_disk_reads_merged_total", "The total number of reads merged.", FAMILY_COUNTER}, 1},
    {{"node_disk_read_bytes_total", "The total number of bytes read successfully.", FAMILY_COUNTER}, SECTOR_BYTES},
    {{"node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", FAMILY_COUNTER},
     MILLISECONDS},
    {{"node_disk_writes_completed_total", "The total number of writes completed successfully.", FAMILY_COUNTER}, 1},
    {{"node_disk_writes_merged_total", "The number of writes merged.", FAMILY_COUNTER}, 1},
    {{"node_disk_written_bytes_total", "The total number of bytes written successfully.", FAMILY_COUNTER},
     SECTOR_BYTES},
    {{"node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes.", FAMILY_COUNTER},
     MILLISECONDS},
    {{"node_disk_io_now", "The number of I/Os currently in progress.", FAMILY_GAUGE}, 1},
    {{"node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", FAMILY_COUNTER}, MILLISECONDS},
    {{"node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", FAMILY_COUNTER},
     MILLISECONDS},
    {{"node_disk_discards_completed_total", "The total number of discards completed successfully.", FAMILY_COUNTER}, 1},
    {{"node_disk_discards_merged_total", "The total number of discards merged.", FAMILY_COUNTER}, 1},
    {{"node_disk_discarded_sectors_total", "The total number of sectors discarded successfully.", FAMILY_COUNTER}, 1},
    {{"node_disk_discard_time_seconds_total", "This is the total number of seconds spent by all discards.",
      FAMILY_COUNTER},
     MILLISECONDS},
    {{"node_disk_flush_requests_total", "The total number of flush requests completed successfully", FAMILY_COUNTER},
     1},
    {{"node_disk_flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests.",
      FAMILY_COUNTER},
     MILLISECONDS},
};

static bool are_digits(struct ap_slice text)
{
    return host_digits_behind(text, "").bytes > 0;
}

/* "sda1", "hdb2", "vda3", "xvda4": a letter and a number behind one of these. */
static bool is_lettered_partition(struct ap_slice name)
{
    static const char *const prefixes[] = {"hd", "sd", "vd", "xvd"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(prefixes); i++) {
        size_t bytes = strlen(prefixes[i]);
        if (ap_slice_starts_with(name, prefixes[i]) && name.bytes > bytes + 1 && name.data[bytes] >= 'a' &&
            name.data[bytes] <= 'z' && are_digits(ap_slice(name.data + bytes + 1, name.bytes - bytes - 1)))
            return true;
    }
    return false;
}

/* Partitions, whose disk says it all, and what is no disk: ^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$ */
static bool is_disk_left_out(struct ap_slice name)
{
    static const char *const prefixes[] = {"ram", "loop", "fd"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(prefixes); i++)
        if (host_digits_behind(name, prefixes[i]).bytes)
            return true;
    if (ap_slice_starts_with(name, "nvme")) {
        struct ap_slice rest = ap_slice(name.data + 4, name.bytes - 4);
        struct ap_slice controller = ap_slice_split(&rest, 'n'), space = ap_slice_split(&rest, 'p');
        return are_digits(controller) && are_digits(space) && are_digits(rest);
    }
    return is_lettered_partition(name);
}

/* What udev wrote down about a device. */
enum udev {
    UDEV_PATH,
    UDEV_WWN,
    UDEV_MODEL,
    UDEV_REVISION,
    UDEV_SERIAL,
    UDEV_FS_TYPE,
    UDEV_FS_USAGE,
    UDEV_FS_UUID,
    UDEV_FS_VERSION,
    UDEV_DM_NAME,
    UDEV_DM_UUID,
    UDEV_DM_VG_NAME,
    UDEV_DM_LV_NAME,
    UDEV_DM_LV_LAYER,
    UDEV_ATA,
    UDEV_ATA_WRITE_CACHE,
    UDEV_ATA_WRITE_CACHE_ENABLED,
    UDEV_ATA_ROTATION_RATE,
    UDEV_COUNT
};
static const char *const udev_keys[UDEV_COUNT] = {
    "ID_PATH",
    "ID_WWN",
    "ID_MODEL",
    "ID_REVISION",
    "ID_SERIAL_SHORT",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "DM_LV_NAME",
    "DM_LV_LAYER",
    "ID_ATA",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_ATA_ROTATION_RATE_RPM",
};

/* Fields are slices of scrape->value. */
static void read_udev(struct host_scrape *scrape, struct ap_slice major, struct ap_slice minor,
                      struct ap_slice fields[UDEV_COUNT])
{
    AP_AUTO_FREE char *path = ap_asprintf("run/udev/data/b%.*s:%.*s", AP_SLICE_ARG(major), AP_SLICE_ARG(minor));
    struct ap_slice rest, line;
    memset(fields, 0, UDEV_COUNT * sizeof(fields[0]));
    if (!host_read_text(scrape, scrape->root_fd, path, &rest))
        return;
    while (host_line(&rest, &line)) {
        if (!ap_slice_starts_with(line, "E:"))
            continue;
        line = ap_slice(line.data + 2, line.bytes - 2);
        struct ap_slice key = ap_slice_split(&line, '=');
        for (int i = 0; i < UDEV_COUNT; i++)
            if (ap_slice_equal_cstr(key, udev_keys[i]))
                fields[i] = line;
    }
}

static void add_udev(struct host_scrape *scrape, struct ap_slice device, struct ap_slice major, struct ap_slice minor)
{
    static const struct family info = {"node_disk_info", "Info of /sys/block/<block_device>.", FAMILY_GAUGE};
    static const struct family filesystem = {"node_disk_filesystem_info", "Info about disk filesystem.", FAMILY_GAUGE};
    static const struct family mapper = {"node_disk_device_mapper_info", "Info about disk device mapper.",
                                         FAMILY_GAUGE};
    static const struct {
        enum udev field;
        struct family family;
    } ata[] = {
        {UDEV_ATA_WRITE_CACHE, {"node_disk_ata_write_cache", "ATA disk has a write cache.", FAMILY_GAUGE}},
        {UDEV_ATA_WRITE_CACHE_ENABLED,
         {"node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled.", FAMILY_GAUGE}},
        {UDEV_ATA_ROTATION_RATE,
         {"node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs).", FAMILY_GAUGE}},
    };
    struct ap_slice udev[UDEV_COUNT];
    read_udev(scrape, major, minor, udev);
    const struct label labels[] = {
        {AP_SLICE_LITERAL("device"), device},
        {AP_SLICE_LITERAL("major"), major},
        {AP_SLICE_LITERAL("minor"), minor},
        {AP_SLICE_LITERAL("model"), udev[UDEV_MODEL]},
        {AP_SLICE_LITERAL("path"), udev[UDEV_PATH]},
        {AP_SLICE_LITERAL("revision"), udev[UDEV_REVISION]},
        {AP_SLICE_LITERAL("serial"), udev[UDEV_SERIAL]},
        {AP_SLICE_LITERAL("wwn"), udev[UDEV_WWN]},
    };
    families_add_labels(scrape->families, &info, 1, labels, AP_ARRAY_COUNT(labels));
    const struct label filesystem_labels[] = {
        {AP_SLICE_LITERAL("device"), device},
        {AP_SLICE_LITERAL("type"), udev[UDEV_FS_TYPE]},
        {AP_SLICE_LITERAL("usage"), udev[UDEV_FS_USAGE]},
        {AP_SLICE_LITERAL("uuid"), udev[UDEV_FS_UUID]},
        {AP_SLICE_LITERAL("version"), udev[UDEV_FS_VERSION]},
    };
    if (udev[UDEV_FS_TYPE].bytes)
        families_add_labels(scrape->families, &filesystem, 1, filesystem_labels, AP_ARRAY_COUNT(filesystem_labels));
    const struct label mapper_labels[] = {
        {AP_SLICE_LITERAL("device"), device},
        {AP_SLICE_LITERAL("lv_layer"), udev[UDEV_DM_LV_LAYER]},
        {AP_SLICE_LITERAL("lv_name"), udev[UDEV_DM_LV_NAME]},
        {AP_SLICE_LITERAL("name"), udev[UDEV_DM_NAME]},
        {AP_SLICE_LITERAL("uuid"), udev[UDEV_DM_UUID]},
        {AP_SLICE_LITERAL("vg_name"), udev[UDEV_DM_VG_NAME]},
    };
    if (udev[UDEV_DM_NAME].bytes)
        families_add_labels(scrape->families, &mapper, 1, mapper_labels, AP_ARRAY_COUNT(mapper_labels));
    double value;
    for (size_t i = 0; i < AP_ARRAY_COUNT(ata); i++)
        if (udev[UDEV_ATA].bytes && host_number(udev[ata[i].field], &value))
            families_add1(scrape->families, &ata[i].family, value, "device", device);
}

enum ap_rc host_diskstats(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "diskstats", &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice major = host_field(&line), minor = host_field(&line), device = host_field(&line);
        double value;
        if (device.bytes == 0 || !are_digits(major) || !are_digits(minor) || is_disk_left_out(device))
            continue;
        add_udev(scrape, device, major, minor);
        for (size_t i = 0; i < AP_ARRAY_COUNT(disk_fields) && host_number(host_field(&line), &value); i++)
            families_add1(scrape->families, &disk_fields[i].family, value * disk_fields[i].unit, "device", device);
    }
    return AP_OK;
}

/* ---- Software RAID ---- */

struct array { /* one device of /proc/mdstat */
    struct ap_slice name;
    const char *state;
    double active, required, failed, spare;
    double blocks, synced;
};

static size_t count_of(struct ap_slice text, const char *part)
{
    size_t count = 0, bytes = strlen(part);
    for (const char *at; text.bytes && (at = memmem(text.data, text.bytes, part, bytes)); count++)
        text = ap_slice(at + bytes, (size_t)(text.data + text.bytes - at) - bytes);
    return count;
}

/* "    blocks… [6/5] [UUUUU_]": how many disks it needs and how many work. */
static bool read_disk_counts(struct ap_slice line, double *ret_required, double *ret_active)
{
    while (line.data) {
        ap_slice_split(&line, '[');
        struct ap_slice inside = line, pair = ap_slice_split(&inside, ']');
        struct ap_slice required = ap_slice_split(&pair, '/');
        if (pair.data && host_number(required, ret_required) && host_number(pair, ret_active))
            return true;
    }
    return false;
}

/* "[=>…]  resync = 12.6% (1234/5678) finish=…" or "resync=DELAYED"; NULL when the line is about something else. */
static const char *sync_state(struct ap_slice line)
{
    return host_has_text(line, "recovery") ? "recovering"
           : host_has_text(line, "check")  ? "checking"
           : host_has_text(line, "resync") ? "resyncing"
                                           : NULL;
}

static double synced_blocks(struct ap_slice line)
{
    double synced;
    ap_slice_split(&line, '(');
    return line.data && host_number(ap_slice_split(&line, '/'), &synced) ? synced : 0;
}

static void add_array(struct host_scrape *scrape, const struct array *array)
{
    static const struct family disks = {"node_md_disks", "Number of active/failed/spare disks of device.",
                                        FAMILY_GAUGE};
    static const struct family required = {"node_md_disks_required", "Total number of disks of device.", FAMILY_GAUGE};
    static const struct family blocks = {"node_md_blocks", "Total number of blocks on device.", FAMILY_GAUGE};
    static const struct family synced = {"node_md_blocks_synced", "Number of blocks synced on device.", FAMILY_GAUGE};
    static const struct family state = {"node_md_state", "Indicates the state of md-device.", FAMILY_GAUGE};
    static const struct {
        const char *label, *word;
    } states[] = {{"active", "active"},
                  {"inactive", "inactive"},
                  {"recovering", "recovering"},
                  {"resync", "resyncing"},
                  {"check", "checking"}};
    struct families *to = scrape->families;
    families_add1(to, &required, array->required, "device", array->name);
    families_add2(to, &disks, array->active, "device", array->name, "state", ap_slice_cstr("active"));
    families_add2(to, &disks, array->failed, "device", array->name, "state", ap_slice_cstr("failed"));
    families_add2(to, &disks, array->spare, "device", array->name, "state", ap_slice_cstr("spare"));
    families_add1(to, &blocks, array->blocks, "device", array->name);
    families_add1(to, &synced, array->synced, "device", array->name);
    for (size_t i = 0; i < AP_ARRAY_COUNT(states); i++)
        families_add2(to, &state, strcmp(array->state, states[i].word) == 0, "device", array->name, "state",
                      ap_slice_cstr(states[i].label));
}

/* The lines of one device: name and disks; blocks; then, indented, perhaps a bitmap and how far it is. */
static enum ap_rc read_array(struct ap_slice first, struct ap_slice *rest, struct array *ret_array, struct ap_err *err)
{
    struct ap_slice fields = first, second = {0}, line;
    struct array array = {.name = host_field(&fields)};
    host_field(&fields); /* ":" */
    bool is_inactive = ap_slice_equal_cstr(host_field(&fields), "inactive");
    array.state = is_inactive ? "inactive" : "active";
    array.failed = (double)count_of(first, "(F)");
    array.spare = (double)count_of(first, "(S)");
    host_line(rest, &second);
    fields = second;
    if (!host_number(host_field(&fields), &array.blocks))
        return ap_fail(err, AP_E_PARSE, "mdstat: no number of blocks for %.*s", AP_SLICE_ARG(array.name));
    array.synced = array.blocks;
    if (host_has_text(first, "raid0") || host_has_text(first, "linear"))
        array.active = array.required = (double)count_of(first, "[");
    else if (!is_inactive && !read_disk_counts(second, &array.required, &array.active))
        return ap_fail(err, AP_E_PARSE, "mdstat: no number of disks for %.*s", AP_SLICE_ARG(array.name));
    while (rest->bytes && (rest->data[0] == ' ' || rest->data[0] == '\t') && host_line(rest, &line)) {
        const char *state = host_has_text(line, "bitmap") ? NULL : sync_state(line);
        if (!state)
            continue;
        array.state = state;
        array.synced = synced_blocks(line);
    }
    *ret_array = array;
    return AP_OK;
}

enum ap_rc host_mdadm(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "mdstat", &rest, err);
    while (rc == AP_OK && host_line(&rest, &line)) {
        struct array array = {0};
        if (ap_slice_trim(line).bytes == 0 || line.data[0] == ' ' || ap_slice_starts_with(line, "Personalities") ||
            ap_slice_starts_with(line, "unused"))
            continue;
        rc = read_array(line, &rest, &array, err);
        if (rc == AP_OK)
            add_array(scrape, &array);
    }
    return rc;
}

/* ---- NVMe ---- */

enum ap_rc host_nvme(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family info = {
        "node_nvme_info", "Non-numeric data from /sys/class/nvme/<device>, value is always 1.", FAMILY_GAUGE};
    static const struct host_attribute attributes[] = {
        {"firmware_revision", "firmware_rev"}, {"model", "model"}, {"serial", "serial"}, {"state", "state"}};
    HOST_AUTO_NAMES struct host_names devices = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/nvme", &devices, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < devices.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("class/nvme/%s", devices.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        struct label labels[1 + AP_ARRAY_COUNT(attributes)] = {
            {AP_SLICE_LITERAL("device"), ap_slice_cstr(devices.items[i])}};
        if (fd < 0)
            continue;
        size_t count = 1 + host_read_labels(scrape, fd, attributes, AP_ARRAY_COUNT(attributes), true, labels + 1);
        families_add_labels(scrape->families, &info, 1, labels, count);
    }
    return AP_OK;
}
