/* What this machine is: uname(2), os-release, the firmware's tables. Constant figures with everything in labels. */
#include <errno.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "collect/host_internal.h"

enum ap_rc host_uname(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family info = {
        "node_uname_info", "Labeled system information as provided by the uname system call.", FAMILY_GAUGE};
    struct utsname name;
    if (uname(&name) != 0)
        return ap_fail_errno(err, errno, "uname");
    const struct label labels[] = {
        {AP_SLICE_LITERAL("domainname"), ap_slice_cstr(name.domainname)},
        {AP_SLICE_LITERAL("machine"), ap_slice_cstr(name.machine)},
        {AP_SLICE_LITERAL("nodename"), ap_slice_cstr(name.nodename)},
        {AP_SLICE_LITERAL("release"), ap_slice_cstr(name.release)},
        {AP_SLICE_LITERAL("sysname"), ap_slice_cstr(name.sysname)},
        {AP_SLICE_LITERAL("version"), ap_slice_cstr(name.version)},
    };
    families_add_labels(scrape->families, &info, 1, labels, AP_ARRAY_COUNT(labels));
    return AP_OK;
}

/* ---- os-release ---- */

/* In order of label; its key in the file is the same in capitals. */
static const char *const os_labels[] = {"build_id",      "id",      "id_like",          "image_id",
                                        "image_version", "name",    "pretty_name",      "variant",
                                        "variant_id",    "version", "version_codename", "version_id"};
enum { OS_LABELS = AP_ARRAY_COUNT(os_labels), OS_ID = 1, OS_ID_LIKE = 2, OS_NAME = 5, OS_VERSION_ID = 11 };

/* A value as the shell would read it: quotes off, and a backslash before what it protects. */
static struct ap_slice os_value(struct host_scrape *scrape, struct ap_slice text)
{
    text = ap_slice_trim(text);
    if (text.bytes < 2 || (text.data[0] != '"' && text.data[0] != '\'') || text.data[text.bytes - 1] != text.data[0])
        return text;
    bool is_double = text.data[0] == '"';
    struct ap_slice kept = host_keep(scrape, ap_slice(text.data + 1, text.bytes - 2));
    char *to = (char *)(uintptr_t)kept.data;
    size_t bytes = 0;
    for (size_t i = 0; i < kept.bytes; i++) {
        if (is_double && kept.data[i] == '\\' && i + 1 < kept.bytes && strchr("\"\\$`", kept.data[i + 1]))
            i++;
        to[bytes++] = kept.data[i];
    }
    return ap_slice(to, bytes);
}

/* "12.04.1" is 12.04. */
static bool major_minor(struct ap_slice version, double *ret_value)
{
    size_t bytes = 0;
    bool has_point = false;
    for (; bytes < version.bytes; bytes++) {
        bool is_point = version.data[bytes] == '.' && !has_point && bytes > 0;
        has_point |= is_point;
        if (!is_point && (version.data[bytes] < '0' || version.data[bytes] > '9'))
            break;
    }
    return host_number(ap_slice(version.data, bytes), ret_value) && *ret_value > 0;
}

enum ap_rc host_os(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family info = {
        "node_os_info",
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, "
        "pretty_name, variant, variant_id, version, version_codename, version_id.",
        FAMILY_GAUGE};
    static const struct family version = {"node_os_version",
                                          "Metric containing the major.minor part of the OS version.", FAMILY_GAUGE};
    struct ap_slice rest, line;
    struct label labels[OS_LABELS];
    double value;
    if (host_read(scrape, scrape->root_fd, "etc/os-release", &rest, err) != AP_OK) {
        enum ap_rc rc = host_read(scrape, scrape->root_fd, "usr/lib/os-release", &rest, err);
        if (rc != AP_OK)
            return rc;
    }
    for (int i = 0; i < OS_LABELS; i++)
        labels[i] = (struct label){ap_slice_cstr(os_labels[i]), {0}};
    while (host_line(&rest, &line)) {
        struct ap_slice key = ap_slice_trim(ap_slice_split(&line, '='));
        for (int i = 0; i < OS_LABELS; i++)
            if (line.data && ap_slice_equal_nocase(key, os_labels[i]))
                labels[i].value = os_value(scrape, line);
    }
    families_add_labels(scrape->families, &info, 1, labels, OS_LABELS);
    const struct label version_labels[] = {labels[OS_ID], labels[OS_ID_LIKE], labels[OS_NAME]};
    if (major_minor(labels[OS_VERSION_ID].value, &value))
        families_add_labels(scrape->families, &version, value, version_labels, AP_ARRAY_COUNT(version_labels));
    return AP_OK;
}

/* ---- dmi ---- */

enum ap_rc host_dmi(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family info = {
        "node_dmi_info",
        "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, "
        "board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, "
        "chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, "
        "product_version, system_vendor if provided by DMI.",
        FAMILY_GAUGE};
    static const struct host_attribute attributes[] = {
        {"bios_date", "bios_date"},
        {"bios_release", "bios_release"},
        {"bios_vendor", "bios_vendor"},
        {"bios_version", "bios_version"},
        {"board_asset_tag", "board_asset_tag"},
        {"board_name", "board_name"},
        {"board_serial", "board_serial"},
        {"board_vendor", "board_vendor"},
        {"board_version", "board_version"},
        {"chassis_asset_tag", "chassis_asset_tag"},
        {"chassis_serial", "chassis_serial"},
        {"chassis_vendor", "chassis_vendor"},
        {"chassis_version", "chassis_version"},
        {"product_family", "product_family"},
        {"product_name", "product_name"},
        {"product_serial", "product_serial"},
        {"product_sku", "product_sku"},
        {"product_uuid", "product_uuid"},
        {"product_version", "product_version"},
        {"system_vendor", "sys_vendor"},
    };
    AP_AUTO_FD int fd = host_open_dir(scrape->sys_fd, "class/dmi/id");
    if (fd < 0)
        return ap_fail_errno(err, errno, "open class/dmi/id");
    struct label labels[AP_ARRAY_COUNT(attributes)];
    size_t count = host_read_labels(scrape, fd, attributes, AP_ARRAY_COUNT(attributes), false, labels);
    if (count)
        families_add_labels(scrape->families, &info, 1, labels, count);
    return AP_OK;
}
