/* Network devices: /proc/net/dev, /sys/class/net, /proc/net/arp, bonded ones. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- netdev ---- */

static const char *const receive_fields[] = {"bytes", "packets", "errs",       "drop",
                                             "fifo",  "frame",   "compressed", "multicast"};
static const char *const transmit_fields[] = {"bytes", "packets", "errs",    "drop",
                                              "fifo",  "colls",   "carrier", "compressed"};
enum { NETDEV_FIELDS = 16 };

static void add_netdev(struct host_scrape *scrape, struct ap_slice device, const char *direction, const char *field,
                       double value)
{
    char name[64], help[64];
    snprintf(name, sizeof(name), "node_network_%s_%s_total", direction, field);
    snprintf(help, sizeof(help), "Network device statistic %s_%s.", direction, field);
    families_add1(scrape->families, &(struct family){name, help, FAMILY_COUNTER}, value, "device", device);
}

enum ap_rc host_netdev(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/dev", &rest, err);
    if (rc != AP_OK)
        return rc;
    while (host_line(&rest, &line)) {
        struct ap_slice device = ap_slice_trim(ap_slice_split(&line, ':'));
        double values[NETDEV_FIELDS], value;
        int count = 0;
        while (line.data && count < NETDEV_FIELDS && host_number(host_field(&line), &values[count]))
            count++;
        if (count < NETDEV_FIELDS) /* the two lines above the table, too */
            continue;
        for (size_t i = 0; i < AP_ARRAY_COUNT(receive_fields); i++)
            add_netdev(scrape, device, "receive", receive_fields[i], values[i]);
        for (size_t i = 0; i < AP_ARRAY_COUNT(transmit_fields); i++)
            add_netdev(scrape, device, "transmit", transmit_fields[i], values[AP_ARRAY_COUNT(receive_fields) + i]);
        AP_AUTO_FREE char *path = ap_asprintf("class/net/%.*s/statistics/rx_nohandler", AP_SLICE_ARG(device));
        if (host_read_number(scrape, scrape->sys_fd, path, &value))
            add_netdev(scrape, device, "receive", "nohandler", value);
    }
    return AP_OK;
}

/* ---- netclass ---- */

static const struct {
    const char *path;
    struct family family;
} netclass_rows[] = {
    {"addr_assign_type",
     {"node_network_address_assign_type", "Network device property: address_assign_type", FAMILY_GAUGE}},
    {"carrier", {"node_network_carrier", "Network device property: carrier", FAMILY_GAUGE}},
    {"carrier_changes",
     {"node_network_carrier_changes_total", "Network device property: carrier_changes_total", FAMILY_COUNTER}},
    {"carrier_up_count",
     {"node_network_carrier_up_changes_total", "Network device property: carrier_up_changes_total", FAMILY_COUNTER}},
    {"carrier_down_count",
     {"node_network_carrier_down_changes_total", "Network device property: carrier_down_changes_total",
      FAMILY_COUNTER}},
    {"dev_id", {"node_network_device_id", "Network device property: device_id", FAMILY_GAUGE}},
    {"dormant", {"node_network_dormant", "Network device property: dormant", FAMILY_GAUGE}},
    {"flags", {"node_network_flags", "Network device property: flags", FAMILY_GAUGE}},
    {"ifindex", {"node_network_iface_id", "Network device property: iface_id", FAMILY_GAUGE}},
    {"iflink", {"node_network_iface_link", "Network device property: iface_link", FAMILY_GAUGE}},
    {"link_mode", {"node_network_iface_link_mode", "Network device property: iface_link_mode", FAMILY_GAUGE}},
    {"mtu", {"node_network_mtu_bytes", "Network device property: mtu_bytes", FAMILY_GAUGE}},
    {"name_assign_type", {"node_network_name_assign_type", "Network device property: name_assign_type", FAMILY_GAUGE}},
    {"netdev_group", {"node_network_net_dev_group", "Network device property: net_dev_group", FAMILY_GAUGE}},
    {"speed", {"node_network_speed_bytes", "Network device property: speed_bytes", FAMILY_GAUGE}}, /* of megabits */
    {"tx_queue_len",
     {"node_network_transmit_queue_length", "Network device property: transmit_queue_length", FAMILY_GAUGE}},
    {"type", {"node_network_protocol_type", "Network device property: protocol_type", FAMILY_GAUGE}},
};

static void add_netclass(struct host_scrape *scrape, int fd, struct ap_slice device)
{
    static const struct family up = {"node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", FAMILY_GAUGE};
    static const struct family info = {
        "node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.", FAMILY_GAUGE};
    static const struct host_attribute attributes[] = {{"address", "address"},
                                                       {"broadcast", "broadcast"},
                                                       {"duplex", "duplex"},
                                                       {"ifalias", "ifalias"},
                                                       {"operstate", "operstate"}};
    enum { ATTRIBUTES = AP_ARRAY_COUNT(attributes) };
    struct label labels[1 + ATTRIBUTES] = {{AP_SLICE_LITERAL("device"), device}};
    host_read_labels(scrape, fd, attributes, ATTRIBUTES, true, labels + 1);
    families_add1(scrape->families, &up, ap_slice_equal_cstr(labels[ATTRIBUTES].value, "up"), "device", device);
    families_add_labels(scrape->families, &info, 1, labels, AP_ARRAY_COUNT(labels));
    for (size_t i = 0; i < AP_ARRAY_COUNT(netclass_rows); i++) {
        struct ap_slice text;
        int64_t value;
        if (!host_read_text(scrape, fd, netclass_rows[i].path, &text) || !host_integer(text, 0, &value))
            continue;
        bool is_speed = strcmp(netclass_rows[i].path, "speed") == 0;
        families_add1(scrape->families, &netclass_rows[i].family, (double)value * (is_speed ? 125000 : 1), "device",
                      device);
    }
}

enum ap_rc host_netclass(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names devices = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/net", &devices, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < devices.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("class/net/%s", devices.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        if (fd >= 0) /* "bonding_masters" is a file */
            add_netclass(scrape, fd, ap_slice_cstr(devices.items[i]));
    }
    return AP_OK;
}

/* ---- arp ---- */

static int by_slice(const void *a, const void *b)
{
    const struct ap_slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

enum ap_rc host_arp(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family entries = {"node_arp_entries", "ARP entries by device", FAMILY_GAUGE};
    enum { FIELDS_BEFORE = 5, ENTRIES_MAX = 1000000 };
    struct ap_slice rest, line, device;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/arp", &rest, err);
    if (rc != AP_OK)
        return rc;
    host_line(&rest, &line); /* names of the columns */
    AP_AUTO_FREE struct ap_slice *devices = NULL;
    size_t count = 0, capacity = 0;
    while (host_line(&rest, &line) && count < ENTRIES_MAX) {
        for (int i = 0; i < FIELDS_BEFORE; i++)
            host_field(&line);
        device = host_field(&line);
        if (device.bytes == 0)
            continue;
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            devices = ap_realloc(devices, capacity * sizeof(devices[0]));
        }
        devices[count++] = device;
    }
    if (count)
        qsort(devices, count, sizeof(devices[0]), by_slice);
    for (size_t i = 0, begin = 0; i < count; i++)
        if (i + 1 == count || !ap_slice_equal(devices[i], devices[i + 1])) {
            families_add1(scrape->families, &entries, (double)(i + 1 - begin), "device", devices[i]);
            begin = i + 1;
        }
    return AP_OK;
}

/* ---- bonding ---- */

static bool is_slave_up(struct host_scrape *scrape, const char *master, struct ap_slice slave, bool *ret_is_up)
{
    static const char *const prefixes[] = {"lower", "slave"}; /* newer kernels, older ones */
    for (size_t i = 0; i < AP_ARRAY_COUNT(prefixes); i++) {
        AP_AUTO_FREE char *path =
            ap_asprintf("class/net/%s/%s_%.*s/bonding_slave/mii_status", master, prefixes[i], AP_SLICE_ARG(slave));
        struct ap_slice status;
        if (host_read_text(scrape, scrape->sys_fd, path, &status)) {
            *ret_is_up = ap_slice_equal_cstr(status, "up");
            return true;
        }
    }
    return false;
}

enum ap_rc host_bonding(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family all = {"node_bonding_slaves", "Number of configured slaves per bonding interface.",
                                      FAMILY_GAUGE};
    static const struct family active = {"node_bonding_active", "Number of active slaves per bonding interface.",
                                         FAMILY_GAUGE};
    struct ap_slice masters, slaves, field;
    enum ap_rc rc = host_read(scrape, scrape->sys_fd, "class/net/bonding_masters", &masters, err);
    if (rc != AP_OK)
        return rc;
    masters = host_keep(scrape, masters);
    while ((field = host_field(&masters)).bytes) {
        AP_AUTO_FREE char *master = ap_slice_dup(field);
        AP_AUTO_FREE char *path = ap_asprintf("class/net/%s/bonding/slaves", master);
        size_t all_count = 0, active_count = 0;
        rc = host_read(scrape, scrape->sys_fd, path, &slaves, err);
        if (rc != AP_OK)
            return rc;
        for (struct ap_slice slave; (slave = host_field(&slaves)).bytes; all_count++) {
            bool is_up;
            if (!is_slave_up(scrape, master, slave, &is_up))
                return ap_fail(err, AP_E_IO, "no state of %.*s in %s", AP_SLICE_ARG(slave), path);
            active_count += is_up;
        }
        families_add1(scrape->families, &all, (double)all_count, "master", field);
        families_add1(scrape->families, &active, (double)active_count, "master", field);
    }
    return AP_OK;
}
