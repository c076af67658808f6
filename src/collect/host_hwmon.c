/*
 * /sys/class/hwmon: sensors of temperature, voltage, fans and the like, as drivers tell them.
 *
 * A chip's directory, or its device's, has files such as `temp1_input`, `temp1_crit_alarm`, `pwm1`, `update_interval`:
 * kind of sensor, number, element. What an element measures, and so its unit, goes by the kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- Names of files ---- */

static const char *const kinds[] = {"vrm",  "beep_enable", "update_interval", "in",     "cpu",      "fan",      "pwm",
                                    "temp", "curr",        "power",           "energy", "humidity", "intrusion"};

struct sensor_file {
    const char *kind;
    struct ap_slice sensor;  /* "temp1" */
    struct ap_slice element; /* "input"; empty: the sensor itself */
    struct ap_slice text;    /* what the file holds */
};

/* kind: everything before the first digit; then the number; then, behind '_', the element. */
static bool read_file_name(struct host_scrape *scrape, const char *name, struct sensor_file *ret_file)
{
    size_t kind_bytes = strcspn(name, "0123456789");
    size_t number_bytes = strspn(name + kind_bytes, "0123456789");
    const char *rest = name + kind_bytes + number_bytes;
    struct sensor_file file = {0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++)
        if (strlen(kinds[i]) == kind_bytes && memcmp(kinds[i], name, kind_bytes) == 0)
            file.kind = kinds[i];
    if (!file.kind || (*rest && (*rest != '_' || rest[1] == '\0')))
        return false;
    file.sensor = host_keep(scrape, ap_slice(name, kind_bytes + number_bytes));
    if (number_bytes == 0) { /* there is one only: number 0 */
        AP_AUTO_FREE char *sensor = ap_asprintf("%s0", file.kind);
        file.sensor = host_keep(scrape, ap_slice_cstr(sensor));
    }
    if (*rest)
        file.element = host_keep(scrape, ap_slice_cstr(rest + 1));
    *ret_file = file;
    return true;
}

/* In small letters, with '_' for what may not be in a metric name, none at either end. */
static struct ap_slice clean(struct host_scrape *scrape, struct ap_slice text)
{
    struct ap_slice kept = host_keep(scrape, text);
    char *to = (char *)(uintptr_t)kept.data;
    for (size_t i = 0; i < kept.bytes; i++) {
        char c = to[i] >= 'A' && to[i] <= 'Z' ? (char)(to[i] - 'A' + 'a') : to[i];
        to[i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' ? c : '_';
    }
    while (kept.bytes && kept.data[0] == '_')
        kept = ap_slice(kept.data + 1, kept.bytes - 1);
    while (kept.bytes && kept.data[kept.bytes - 1] == '_')
        kept.bytes--;
    return kept;
}

/* ---- Samples ---- */

struct chip {
    struct ap_slice name;
    struct sensor_file *files; /* owned; in order of sensor */
    size_t count;
};

static const struct sensor_file *find_element(const struct chip *chip, struct ap_slice sensor, const char *element)
{
    for (size_t i = 0; i < chip->count; i++)
        if (ap_slice_equal(chip->files[i].sensor, sensor) && ap_slice_equal_cstr(chip->files[i].element, element))
            return &chip->files[i];
    return NULL;
}

/* How one element of one kind of sensor is said; the first row that fits. */
static const struct unit {
    const char *kind;    /* NULL: any */
    const char *element; /* NULL: any */
    const char *suffix;  /* of the metric */
    const char *help;    /* %1$s is the element, %2$s the kind */
    double factor;
    enum family_type type;
} units[] = {
    {NULL, "fault", "", "Hardware sensor %1$s status (%2$s)", 1, FAMILY_GAUGE},
    {NULL, "alarm", "", "Hardware sensor %1$s status (%2$s)", 1, FAMILY_GAUGE},
    {NULL, "beep", "_enabled", "Hardware monitor sensor has beeping enabled", 1, FAMILY_GAUGE},
    {"in", NULL, "_volts", "Hardware monitor for voltage (%1$s)", 0.001, FAMILY_GAUGE},
    {"cpu", NULL, "_volts", "Hardware monitor for voltage (%1$s)", 0.001, FAMILY_GAUGE},
    {"temp", "type", "", "Hardware monitor %2$s element %1$s", 1, FAMILY_GAUGE},
    {"temp", NULL, "_celsius", "Hardware monitor for temperature (%1$s)", 0.001, FAMILY_GAUGE},
    {"curr", NULL, "_amps", "Hardware monitor for current (%1$s)", 0.001, FAMILY_GAUGE},
    {"energy", NULL, "_joule_total", "Hardware monitor for joules used so far (%1$s)", 1e-6, FAMILY_COUNTER},
    {"power", "accuracy", "", "Hardware monitor power meter accuracy, as a ratio", 1e-6, FAMILY_GAUGE},
    {"power", "average_interval", "_seconds", "Hardware monitor power usage update interval (%1$s)", 0.001,
     FAMILY_GAUGE},
    {"power", "average_interval_min", "_seconds", "Hardware monitor power usage update interval (%1$s)", 0.001,
     FAMILY_GAUGE},
    {"power", "average_interval_max", "_seconds", "Hardware monitor power usage update interval (%1$s)", 0.001,
     FAMILY_GAUGE},
    {"power", NULL, "_watt", "Hardware monitor for power usage in watts (%1$s)", 1e-6, FAMILY_GAUGE},
    {"humidity", NULL, "",
     "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) (%1$s)", 1e-6,
     FAMILY_GAUGE},
    {"fan", "input", "_rpm", "Hardware monitor for fan revolutions per minute (%1$s)", 1, FAMILY_GAUGE},
    {"fan", "min", "_rpm", "Hardware monitor for fan revolutions per minute (%1$s)", 1, FAMILY_GAUGE},
    {"fan", "max", "_rpm", "Hardware monitor for fan revolutions per minute (%1$s)", 1, FAMILY_GAUGE},
    {"fan", "target", "_rpm", "Hardware monitor for fan revolutions per minute (%1$s)", 1, FAMILY_GAUGE},
    {NULL, NULL, "", "Hardware monitor %2$s element %1$s", 1, FAMILY_GAUGE},
};

static const struct unit *unit_of(const char *kind, const char *element)
{
    const struct unit *unit = units;
    while ((unit->kind && strcmp(unit->kind, kind) != 0) || (unit->element && strcmp(unit->element, element) != 0))
        unit++;
    return unit;
}

/* %1$s and %2$s of a unit's help, which is ours. */
static void write_help(char *to, size_t bytes, const struct unit *unit, const char *element, const char *kind)
{
    size_t at = 0;
    for (const char *from = unit->help; *from && at + 1 < bytes; from++) {
        const char *part = strncmp(from, "%1$s", 4) == 0 ? element : strncmp(from, "%2$s", 4) == 0 ? kind : NULL;
        if (!part) {
            to[at++] = *from;
            continue;
        }
        size_t part_bytes = AP_MIN(strlen(part), bytes - 1 - at);
        memcpy(to + at, part, part_bytes);
        at += part_bytes;
        from += 3;
    }
    to[at] = '\0';
}

static void add_element(struct host_scrape *scrape, const struct chip *chip, const struct sensor_file *file)
{
    double value;
    if (!host_number(file->text, &value) || ap_slice_equal_cstr(file->element, "label"))
        return;
    AP_AUTO_FREE char *element = ap_slice_dup(file->element);
    bool is_input = strcmp(element, "input") == 0;
    const struct unit *unit = unit_of(file->kind, element);
    /* `temp1_input` is the temperature itself, but where there is a `temp1` too. */
    struct ap_slice behind = clean(scrape, file->element);
    AP_AUTO_FREE char *name = file->element.bytes == 0 || (is_input && !find_element(chip, file->sensor, ""))
                                  ? ap_asprintf("node_hwmon_%s%s", file->kind, unit->suffix)
                                  : ap_asprintf("node_hwmon_%s_%.*s%s", file->kind, AP_SLICE_ARG(behind), unit->suffix);
    /* A temperature without an element is called input. */
    char help[HOST_NAME_BYTES_MAX + 128];
    bool is_plain_temperature = file->element.bytes == 0 && strcmp(file->kind, "temp") == 0;
    write_help(help, sizeof(help), unit, is_plain_temperature ? "input" : element, file->kind);
    families_add2(scrape->families, &(struct family){name, help, unit->type}, value * unit->factor, "chip", chip->name,
                  "sensor", file->sensor);
}

/* The three that are no sensors, but say how the chip works. */
static bool add_setting(struct host_scrape *scrape, const struct chip *chip, const struct sensor_file *file)
{
    static const struct {
        const char *kind;
        struct family family;
        double factor;
    } rows[] = {
        {"beep_enable", {"node_hwmon_beep_enabled", "Hardware beep enabled", FAMILY_GAUGE}, 1},
        {"vrm", {"node_hwmon_voltage_regulator_version", "Hardware voltage regulator", FAMILY_GAUGE}, 1},
        {"update_interval",
         {"node_hwmon_update_interval_seconds", "Hardware monitor update interval", FAMILY_GAUGE},
         0.001},
    };
    double value;
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        if (strcmp(file->kind, rows[i].kind) != 0)
            continue;
        if (file->element.bytes == 0 && host_number(file->text, &value))
            families_add2(scrape->families, &rows[i].family, value * rows[i].factor, "chip", chip->name, "sensor",
                          file->sensor);
        return true;
    }
    return false;
}

static void add_label(struct host_scrape *scrape, const struct chip *chip, const struct sensor_file *file)
{
    static const struct family family = {"node_hwmon_sensor_label", "Label for given chip and sensor", FAMILY_GAUGE};
    const struct label labels[] = {{AP_SLICE_LITERAL("chip"), chip->name},
                                   {AP_SLICE_LITERAL("label"), file->text},
                                   {AP_SLICE_LITERAL("sensor"), file->sensor}};
    if (ap_slice_equal_cstr(file->element, "label") && clean(scrape, file->text).bytes)
        families_add_labels(scrape->families, &family, 1, labels, AP_ARRAY_COUNT(labels));
}

/* ---- Chips ---- */

/* The last part of what `path` is in truth, and the part before it. */
static bool real_names(int dir_fd, const char *path, char last[NAME_MAX + 1], char before[NAME_MAX + 1])
{
    AP_AUTO_FD int fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
    char link[64], real[PATH_MAX];
    if (fd < 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, real, sizeof(real) - 1);
    if (bytes <= 0)
        return false;
    real[bytes] = '\0';
    char *slash = strrchr(real, '/');
    if (!slash)
        return false;
    snprintf(last, NAME_MAX + 1, "%s", slash + 1);
    *slash = '\0';
    slash = strrchr(real, '/');
    snprintf(before, NAME_MAX + 1, "%s", slash ? slash + 1 : "");
    return true;
}

/* By the device it belongs to, as hwmonN depends on what was loaded first; else by its own name; else hwmonN. */
static struct ap_slice chip_name(struct host_scrape *scrape, int fd)
{
    char last[NAME_MAX + 1], before[NAME_MAX + 1];
    if (real_names(fd, "device", last, before)) {
        struct ap_slice device = clean(scrape, ap_slice_cstr(last)), type = clean(scrape, ap_slice_cstr(before));
        AP_AUTO_FREE char *both = ap_asprintf("%.*s_%.*s", AP_SLICE_ARG(type), AP_SLICE_ARG(device));
        if (device.bytes)
            return type.bytes ? host_keep(scrape, ap_slice_cstr(both)) : device;
    }
    struct ap_slice name;
    if (host_read_text(scrape, fd, "name", &name) && clean(scrape, name).bytes)
        return clean(scrape, name);
    return real_names(fd, ".", last, before) ? clean(scrape, ap_slice_cstr(last)) : (struct ap_slice){0};
}

static void read_directory(struct host_scrape *scrape, int fd, struct chip *chip)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    struct ap_err ignored;
    struct ap_slice text;
    if (host_list(fd, ".", &names, &ignored) != AP_OK || names.count == 0)
        return;
    chip->files = ap_realloc(chip->files, (chip->count + names.count) * sizeof(chip->files[0]));
    for (size_t i = 0; i < names.count; i++) {
        struct sensor_file *file = &chip->files[chip->count];
        if (!read_file_name(scrape, names.items[i], file) ||
            host_read(scrape, fd, names.items[i], &text, &ignored) != AP_OK)
            continue;
        while (text.bytes && text.data[text.bytes - 1] == '\n') /* a label may end in spaces, and is left so */
            text.bytes--;
        file->text = host_keep(scrape, text);
        chip->count++;
    }
}

static void add_chip(struct host_scrape *scrape, int fd)
{
    static const struct family family = {"node_hwmon_chip_names", "Annotation metric for human-readable chip names",
                                         FAMILY_GAUGE};
    struct chip chip = {.name = chip_name(scrape, fd)};
    struct ap_slice name;
    if (chip.name.bytes == 0)
        return;
    read_directory(scrape, fd, &chip);
    AP_AUTO_FD int device_fd = host_open_dir(fd, "device");
    if (device_fd >= 0)
        read_directory(scrape, device_fd, &chip);
    if (host_read_text(scrape, fd, "name", &name) && clean(scrape, name).bytes)
        families_add2(scrape->families, &family, 1, "chip", chip.name, "chip_name", clean(scrape, name));
    for (size_t i = 0; i < chip.count; i++) {
        add_label(scrape, &chip, &chip.files[i]);
        if (!add_setting(scrape, &chip, &chip.files[i]))
            add_element(scrape, &chip, &chip.files[i]);
    }
    free(chip.files);
}

enum ap_rc host_hwmon(struct host_scrape *scrape, struct ap_err *err)
{
    HOST_AUTO_NAMES struct host_names names = {0};
    enum ap_rc rc = host_list(scrape->sys_fd, "class/hwmon", &names, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < names.count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("class/hwmon/%s", names.items[i]);
        AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, path);
        if (fd >= 0)
            add_chip(scrape, fd);
    }
    return AP_OK;
}
