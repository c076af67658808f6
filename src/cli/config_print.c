#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "cli/config_internal.h"

static void print_bytes(int64_t bytes, struct ap_buf *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes != 0 && bytes % 1024 == 0 && unit + 1 < AP_ARRAY_COUNT(units); unit++)
        bytes /= 1024;
    ap_buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

static void print_duration(int64_t ms, struct ap_buf *out)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{DAYS(1), "d"}, {SECONDS(3600), "h"}, {SECONDS(60), "m"}, {SECONDS(1), "s"}, {1, "ms"}};
    for (size_t i = 0; ms != 0 && i < AP_ARRAY_COUNT(units); i++) {
        if (ms % units[i].ms == 0) {
            ap_buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
            return;
        }
    }
    ap_buf_add_cstr(out, "0");
}

static void print_text(const char *text, struct ap_buf *out)
{
    if (text)
        ap_buf_add_json_string(out, ap_slice_cstr(text)); /* also a text in double quotes in YAML */
}

/* As Prometheus shows what is secret; as a file it is then refused and does not connect to somewhere else. */
#define SECRET "<secret>"

static bool is_secret(const struct yaml_field *setting)
{
    static const char *const keys[] = {WATCHDOG_URL, ALERTMANAGERS, POSTGRES_CONNECTIONS};
    for (size_t i = 0; i < AP_ARRAY_COUNT(keys); i++)
        if (strcmp(setting->key, keys[i]) == 0)
            return true;
    return false;
}

static void print_texts(const struct yaml_texts *texts, bool is_map, bool is_hidden, struct ap_buf *out)
{
    ap_buf_add_char(out, is_map ? '{' : '[');
    for (size_t i = 0; i < texts->count; i++) {
        ap_buf_add_cstr(out, i > 0 ? ", " : "");
        if (is_map) {
            print_text(texts->keys[i], out);
            ap_buf_add_cstr(out, ": ");
        }
        print_text(is_hidden ? SECRET : texts->items[i], out);
    }
    ap_buf_add_char(out, is_map ? '}' : ']');
}

static void print_value(const struct config *config, const struct yaml_field *setting, bool is_hidden,
                        struct ap_buf *out)
{
    const void *value = (const char *)config + setting->offset;
    switch (setting->type) {
    case YAML_TYPE_TEXT:
        print_text(*(const char *const *)value && is_hidden ? SECRET : *(const char *const *)value, out);
        break;
    case YAML_TYPE_INTEGER:
        ap_buf_printf(out, "%" PRId64, *(const int64_t *)value);
        break;
    case YAML_TYPE_BOOLEAN:
        ap_buf_add_cstr(out, *(const bool *)value ? "true" : "false");
        break;
    case YAML_TYPE_DURATION:
        print_duration(*(const int64_t *)value, out);
        break;
    case YAML_TYPE_BYTES:
        print_bytes(*(const int64_t *)value, out);
        break;
    case YAML_TYPE_CHOICE:
        ap_buf_add_cstr(out, setting->choices[*(const int *)value]);
        break;
    case YAML_TYPE_TEXT_LIST:
        print_texts(value, false, is_hidden, out);
        break;
    case YAML_TYPE_TEXT_MAP:
        print_texts(value, true, is_hidden, out);
        break;
    case YAML_TYPE_NODE:
        if (*(const struct yaml_node *const *)value)
            yaml_print(*(const struct yaml_node *const *)value, out);
        else
            ap_buf_add_cstr(out, "null");
        break;
    case YAML_TYPE_NUMBER:
        AP_ASSERT(!"a setting of this type");
    }
}

void config_print(const struct config *config, struct ap_buf *out)
{
    struct ap_slice section = {0};
    for (size_t i = 0; i < config_setting_count; i++) {
        struct ap_slice name = ap_slice_cstr(config_settings[i].key);
        struct ap_slice head = ap_slice_split(&name, '.');
        if (name.data && !ap_slice_equal(head, section)) {
            ap_buf_printf(out, "%.*s:\n", AP_SLICE_ARG(head));
            section = head;
        }
        size_t line_start = out->bytes;
        ap_buf_printf(out, "%s%s: ", name.data ? "  " : "", name.data ? name.data : config_settings[i].key);
        print_value(config, &config_settings[i], is_secret(&config_settings[i]), out);
        while (out->bytes < line_start + 48)
            ap_buf_add_char(out, ' ');
        ap_buf_printf(out, " # %s\n", config->memory->origins[i]);
    }
}

static bool is_one_of(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

char *config_differences(const struct config *a, const struct config *b, const char *const *expected, size_t count)
{
    AP_AUTO_BUF struct ap_buf keys = {0};
    for (size_t i = 0; i < config_setting_count; i++) {
        AP_AUTO_BUF struct ap_buf text_a = {0};
        AP_AUTO_BUF struct ap_buf text_b = {0};
        print_value(a, &config_settings[i], false, &text_a);
        print_value(b, &config_settings[i], false, &text_b);
        if (!ap_slice_equal(ap_buf_slice(&text_a), ap_buf_slice(&text_b)) &&
            !is_one_of(config_settings[i].key, expected, count))
            ap_buf_printf(&keys, "%s%s", keys.bytes ? ", " : "", config_settings[i].key);
    }
    return ap_buf_detach(&keys);
}

void config_describe(struct ap_buf *out)
{
    yaml_describe_struct(config_settings, config_setting_count, out);
}
