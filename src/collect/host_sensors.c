/* What the hardware says of itself: temperatures, power, energy, errors of memory. hwmon is in host_hwmon.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- thermal_zone ---- */

enum ap_rc host_thermal_zone(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family temperature = {"node_thermal_zone_temp", "Zone temperature in Celsius", FAMILY_GAUGE};
    static const struct family current = {"node_cooling_device_cur_state",
                                          "Current throttle state of the cooling device", FAMILY_GAUGE};
    static const struct family maximum = {"node_cooling_device_max_state",
                                          "Maximum throttle state of the cooling device", FAMILY_GAUGE};
    HOST_AUTO_NAMES struct host_names names = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/thermal", &names, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < names.count; i++) {
        struct ap_slice zone = host_digits_behind(ap_slice_cstr(names.items[i]), "thermal_zone"), type;
        struct ap_slice device = host_digits_behind(ap_slice_cstr(names.items[i]), "cooling_device");
        AP_AUTO_FREE char *path = ap_asprintf("class/thermal/%s", names.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        double value;
        if (fd < 0 || !host_read_text(scrape, fd, "type", &type))
            continue;
        type = host_keep(scrape, type);
        if (zone.bytes && host_read_number(scrape, fd, "temp", &value))
            families_add2(scrape->families, &temperature, value / 1000, "type", type, "zone", zone);
        if (device.bytes && host_read_number(scrape, fd, "cur_state", &value))
            families_add2(scrape->families, &current, value, "name", device, "type", type);
        if (device.bytes && host_read_number(scrape, fd, "max_state", &value))
            families_add2(scrape->families, &maximum, value, "name", device, "type", type);
    }
    return AP_OK;
}

/* ---- powersupplyclass ---- */

static const struct {
    const char *path;
    const char *name;
    double divisor; /* files hold millionths of volts and the like, and tenths of a degree */
} power_rows[] = {
    {"authentic", "authentic", 1},
    {"calibrate", "calibrate", 1},
    {"capacity", "capacity", 1},
    {"capacity_alert_max", "capacity_alert_max", 1},
    {"capacity_alert_min", "capacity_alert_min", 1},
    {"cycle_count", "cyclecount", 1},
    {"online", "online", 1},
    {"present", "present", 1},
    {"time_to_empty_now", "time_to_empty_seconds", 1},
    {"time_to_full_now", "time_to_full_seconds", 1},
    {"current_boot", "current_boot", 1e6},
    {"current_max", "current_max", 1e6},
    {"current_now", "current_ampere", 1e6},
    {"energy_empty", "energy_empty", 1e6},
    {"energy_empty_design", "energy_empty_design", 1e6},
    {"energy_full", "energy_full", 1e6},
    {"energy_full_design", "energy_full_design", 1e6},
    {"energy_now", "energy_watthour", 1e6},
    {"voltage_boot", "voltage_boot", 1e6},
    {"voltage_max", "voltage_max", 1e6},
    {"voltage_max_design", "voltage_max_design", 1e6},
    {"voltage_min", "voltage_min", 1e6},
    {"voltage_min_design", "voltage_min_design", 1e6},
    {"voltage_now", "voltage_volt", 1e6},
    {"voltage_ocv", "voltage_ocv", 1e6},
    {"charge_control_limit", "charge_control_limit", 1e6},
    {"charge_control_limit_max", "charge_control_limit_max", 1e6},
    {"charge_counter", "charge_counter", 1e6},
    {"charge_empty", "charge_empty", 1e6},
    {"charge_empty_design", "charge_empty_design", 1e6},
    {"charge_full", "charge_full", 1e6},
    {"charge_full_design", "charge_full_design", 1e6},
    {"charge_now", "charge_ampere", 1e6},
    {"charge_term_current", "charge_term_current", 1e6},
    {"constant_charge_current", "constant_charge_current", 1e6},
    {"constant_charge_current_max", "constant_charge_current_max", 1e6},
    {"constant_charge_voltage", "constant_charge_voltage", 1e6},
    {"constant_charge_voltage_max", "constant_charge_voltage_max", 1e6},
    {"precharge_current", "precharge_current", 1e6},
    {"input_current_limit", "input_current_limit", 1e6},
    {"power_now", "power_watt", 1e6},
    {"temp", "temp_celsius", 10},
    {"temp_alert_max", "temp_alert_max_celsius", 10},
    {"temp_alert_min", "temp_alert_min_celsius", 10},
    {"temp_ambient", "temp_ambient_celsius", 10},
    {"temp_ambient_max", "temp_ambient_max_celsius", 10},
    {"temp_ambient_min", "temp_ambient_min_celsius", 10},
    {"temp_max", "temp_max_celsius", 10},
    {"temp_min", "temp_min_celsius", 10},
};

static void add_power_supply(struct host_scrape *scrape, int fd, struct ap_slice supply)
{
    static const struct family info = {"node_power_supply_info", "info of /sys/class/power_supply/<power_supply>.",
                                       FAMILY_GAUGE};
    static const struct host_attribute attributes[] = {{"capacity_level", "capacity_level"},
                                                       {"charge_type", "charge_type"},
                                                       {"health", "health"},
                                                       {"manufacturer", "manufacturer"},
                                                       {"model_name", "model_name"},
                                                       {"scope", "scope"},
                                                       {"serial_number", "serial_number"},
                                                       {"status", "status"},
                                                       {"technology", "technology"},
                                                       {"type", "type"},
                                                       {"usb_type", "usb_type"}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(power_rows); i++) {
        char name[64], help[96];
        double value;
        if (!host_read_number(scrape, fd, power_rows[i].path, &value))
            continue;
        snprintf(name, sizeof(name), "node_power_supply_%s", power_rows[i].name);
        snprintf(help, sizeof(help), "%s value of /sys/class/power_supply/<power_supply>.", power_rows[i].name);
        families_add1(scrape->families, &(struct family){name, help, FAMILY_GAUGE}, value / power_rows[i].divisor,
                      "power_supply", supply);
    }
    struct label labels[1 + AP_ARRAY_COUNT(attributes)] = {{AP_SLICE_LITERAL("power_supply"), supply}};
    size_t read_count = host_read_labels(scrape, fd, attributes, AP_ARRAY_COUNT(attributes), false, labels + 1);
    size_t count = 1;
    for (size_t i = 1; i <= read_count; i++)
        if (labels[i].value.bytes)
            labels[count++] = labels[i];
    families_add_labels(scrape->families, &info, 1, labels, count);
}

enum ap_rc host_powersupplyclass(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/power_supply", &names, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < names.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("class/power_supply/%s", names.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        if (fd >= 0)
            add_power_supply(scrape, fd, ap_slice_cstr(names.items[i]));
    }
    return AP_OK;
}

/* ---- rapl ---- */

/* "package-0" is package, 0. Others, such as several "core"s, are counted by name. */
static struct ap_slice zone_name(struct ap_slice name, const struct ap_slice *before, size_t before_count,
                                 int64_t *ret_index)
{
    struct ap_slice rest = name, kind = ap_slice_split(&rest, '-');
    if (rest.data && host_integer(rest, 10, ret_index))
        return kind;
    *ret_index = 0;
    for (size_t i = 0; i < before_count; i++)
        *ret_index += ap_slice_equal(before[i], name);
    return name;
}

enum ap_rc host_rapl(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names zones = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/powercap", &zones, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE struct ap_slice *names = ap_new0_array(struct ap_slice, zones.count + 1);
    for (size_t i = 0; i < zones.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("class/powercap/%s", zones.items[i]);
        AP_AUTO_FREE char *whole_path = ap_asprintf("%s/%s", scrape->host->sys_path, path);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        struct ap_slice name;
        double microjoules;
        if (fd < 0 || !host_read_text(scrape, fd, "name", &name))
            continue; /* "intel-rapl", the parent */
        names[i] = host_keep(scrape, name);
        if (!host_read_number(scrape, fd, "energy_uj", &microjoules))
            return ap_fail(err, AP_E_AUTH, "%s/energy_uj: only root may read it", whole_path);
        int64_t index;
        struct ap_slice kind = zone_name(names[i], names, i, &index);
        struct host_metric_name metric = host_metric_name("node_rapl_", kind, "_joules_total");
        AP_AUTO_FREE char *help = ap_asprintf("Current RAPL %.*s value in joules", AP_SLICE_ARG(kind));
        AP_AUTO_FREE char *number = ap_asprintf("%" PRId64, index);
        families_add2(scrape->families, &(struct family){metric.text, help, FAMILY_COUNTER}, microjoules / 1e6, "index",
                      ap_slice_cstr(number), "path", ap_slice_cstr(whole_path));
    }
    return AP_OK;
}

/* ---- edac ---- */

static const struct family edac_correctable = {"node_edac_correctable_errors_total", "Total correctable memory errors.",
                                               FAMILY_COUNTER};
static const struct family edac_uncorrectable = {"node_edac_uncorrectable_errors_total",
                                                 "Total uncorrectable memory errors.", FAMILY_COUNTER};
static const struct family edac_row_correctable = {"node_edac_csrow_correctable_errors_total",
                                                   "Total correctable memory errors for this csrow.", FAMILY_COUNTER};
static const struct family edac_row_uncorrectable = {
    "node_edac_csrow_uncorrectable_errors_total", "Total uncorrectable memory errors for this csrow.", FAMILY_COUNTER};

static void add_edac_row(struct host_scrape *scrape, int fd, const char *path, const struct family *family,
                         struct ap_slice controller, struct ap_slice row)
{
    double count;
    if (host_read_number(scrape, fd, path, &count))
        families_add2(scrape->families, family, count, "controller", controller, "csrow", row);
}

static void add_edac(struct host_scrape *scrape, const char *directory, struct ap_slice controller)
{
    AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, directory);
    HOST_AUTO_NAMES struct host_names names = {0};
    struct ap_err ignored;
    double count;
    if (fd < 0 || host_list(fd, ".", &names, &ignored) != AP_OK)
        return;
    if (host_read_number(scrape, fd, "ce_count", &count))
        families_add1(scrape->families, &edac_correctable, count, "controller", controller);
    if (host_read_number(scrape, fd, "ue_count", &count))
        families_add1(scrape->families, &edac_uncorrectable, count, "controller", controller);
    add_edac_row(scrape, fd, "ce_noinfo_count", &edac_row_correctable, controller, ap_slice_cstr("unknown"));
    add_edac_row(scrape, fd, "ue_noinfo_count", &edac_row_uncorrectable, controller, ap_slice_cstr("unknown"));
    for (size_t i = 0; i < names.count; i++) {
        struct ap_slice row = host_digits_behind(ap_slice_cstr(names.items[i]), "csrow");
        AP_AUTO_FREE char *correctable = ap_asprintf("%s/ce_count", names.items[i]);
        AP_AUTO_FREE char *uncorrectable = ap_asprintf("%s/ue_count", names.items[i]);
        if (row.bytes == 0)
            continue;
        add_edac_row(scrape, fd, correctable, &edac_row_correctable, controller, row);
        add_edac_row(scrape, fd, uncorrectable, &edac_row_uncorrectable, controller, row);
    }
}

enum ap_rc host_edac(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    if (host_list(scrape->sys_fd, "devices/system/edac/mc", &names, err) != AP_OK)
        return AP_OK; /* no memory that corrects errors: nothing to say, and nothing wrong */
    for (size_t i = 0; i < names.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("devices/system/edac/mc/%s", names.items[i]);
        struct ap_slice controller = host_digits_behind(ap_slice_cstr(names.items[i]), "mc");
        if (controller.bytes)
            add_edac(scrape, path, controller);
    }
    return AP_OK;
}
