#include "cli/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/config_internal.h"

enum { ENVIRONMENT_NAME_BYTES = 64, KEY_BYTES = 64 };

static void *target_of(struct config *config, const struct yaml_field *setting)
{
    return (char *)config + setting->offset;
}

static const struct yaml_field *find_setting(struct ap_slice key)
{
    for (size_t i = 0; i < config_setting_count; i++) {
        if (ap_slice_equal_cstr(key, config_settings[i].key))
            return &config_settings[i];
    }
    return NULL;
}

static void remember_origin(struct config *config, const struct yaml_field *setting, const char *origin)
{
    config->memory->origins[setting - config_settings] = origin;
}

bool config_is_default(const struct config *config, const char *key)
{
    const struct yaml_field *setting = find_setting(ap_slice_cstr(key));
    AP_ASSERT(setting != NULL);
    return strcmp(config->memory->origins[setting - config_settings], "default") == 0;
}

static enum ap_rc read_defaults(struct config *config, struct ap_err *err)
{
    for (size_t i = 0; i < config_setting_count; i++) {
        remember_origin(config, &config_settings[i], "default");
        if (!config_settings[i].default_text)
            continue;
        enum ap_rc rc =
            yaml_read_text(config->memory->texts, &config_settings[i], ap_slice_cstr(config_settings[i].default_text),
                           target_of(config, &config_settings[i]), err);
        AP_ASSERT(rc == AP_OK);
    }
    return AP_OK;
}

/* ---- The file ---- */

/* The keys that may stand here: top level (section data NULL), or in one section. */
static size_t known_keys(struct ap_slice section, const char *known[CONFIG_SETTINGS_MAX], char sections[][KEY_BYTES])
{
    size_t count = 0;
    for (size_t i = 0; i < config_setting_count; i++) {
        struct ap_slice rest = ap_slice_cstr(config_settings[i].key);
        struct ap_slice head = ap_slice_split(&rest, '.');
        if (section.data) {
            if (rest.data && ap_slice_equal(head, section))
                known[count++] = rest.data;
            continue;
        }
        snprintf(sections[count], KEY_BYTES, "%.*s", AP_SLICE_ARG(head));
        if (count == 0 || strcmp(sections[count], known[count - 1]) != 0) {
            known[count] = sections[count];
            count++;
        }
    }
    return count;
}

static enum ap_rc fail_key(const struct yaml_node *value, struct ap_slice section, struct ap_err *err)
{
    const char *known[CONFIG_SETTINGS_MAX];
    char sections[CONFIG_SETTINGS_MAX + 1][KEY_BYTES];
    size_t known_count = known_keys(section, known, sections);
    return yaml_fail_unknown_key(err, value->key, known, known_count);
}

static bool is_section(struct ap_slice key)
{
    for (size_t i = 0; i < config_setting_count; i++) {
        struct ap_slice rest = ap_slice_cstr(config_settings[i].key);
        struct ap_slice head = ap_slice_split(&rest, '.');
        if (rest.data && ap_slice_equal(head, key))
            return true;
    }
    return false;
}

static enum ap_rc read_setting(struct config *config, struct ap_slice section, const struct yaml_node *value,
                               struct ap_err *err)
{
    char key[2 * KEY_BYTES];
    struct ap_slice name = value->key->text;
    if (section.data)
        snprintf(key, sizeof(key), "%.*s.%.*s", AP_SLICE_ARG(section), (int)AP_MIN(name.bytes, KEY_BYTES), name.data);
    else
        snprintf(key, sizeof(key), "%.*s", (int)AP_MIN(name.bytes, KEY_BYTES), name.data);
    /* A dotted key is not another way to write a section: then "wal.max_size" could be given twice. */
    const struct yaml_field *setting = memchr(name.data, '.', name.bytes) ? NULL : find_setting(ap_slice_cstr(key));
    if (!setting)
        return fail_key(value, section, err);
    if (yaml_is_null(value))
        return AP_OK;
    enum ap_rc rc = yaml_read_node(value, setting, target_of(config, setting), err);
    if (rc == AP_OK) {
        char *origin = ap_asprintf("%s:%d", yaml_file(value->document), value->line);
        const char *kept = origin;
        struct yaml_field text = {.key = "origin", .type = YAML_TYPE_TEXT};
        rc = yaml_read_text(config->memory->texts, &text, ap_slice_cstr(origin), &kept, err);
        free(origin);
        remember_origin(config, setting, kept);
    }
    return rc;
}

static enum ap_rc read_file(struct config *config, struct ap_err *err)
{
    const struct yaml_node *root = yaml_root(config->memory->file);
    if (root->kind != YAML_KIND_MAP)
        return yaml_fail(err, root, "expected settings such as \"listen: 127.0.0.1:8484\", found a %s",
                         yaml_kind_name(root->kind));
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *value = root->first; value && rc == AP_OK; value = value->next) {
        struct ap_slice key = value->key->text;
        if (!is_section(key)) {
            rc = read_setting(config, (struct ap_slice){0}, value, err);
            continue;
        }
        if (yaml_is_null(value))
            continue;
        if (value->kind != YAML_KIND_MAP)
            return yaml_fail(err, value, "%.*s: expected a map of settings, found a %s", AP_SLICE_ARG(key),
                             yaml_kind_name(value->kind));
        for (const struct yaml_node *member = value->first; member && rc == AP_OK; member = member->next)
            rc = read_setting(config, key, member, err);
    }
    return rc;
}

/* ---- Environment and flags ---- */

/* "wal.max_size" → "APIARY_WAL_MAX_SIZE". */
static void environment_name(const char *key, char name[ENVIRONMENT_NAME_BYTES])
{
    snprintf(name, ENVIRONMENT_NAME_BYTES, "APIARY_%s", key);
    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

static enum ap_rc read_variable(struct config *config, const char *variable, struct ap_err *err)
{
    struct ap_slice value = ap_slice_cstr(variable);
    struct ap_slice name = ap_slice_split(&value, '=');
    for (size_t i = 0; i < config_setting_count && value.data; i++) {
        char expected[ENVIRONMENT_NAME_BYTES];
        environment_name(config_settings[i].key, expected);
        if (!ap_slice_equal_cstr(name, expected))
            continue;
        enum ap_rc rc = yaml_read_text(config->memory->texts, &config_settings[i], value,
                                       target_of(config, &config_settings[i]), err);
        if (rc != AP_OK)
            return ap_err_prefix(err, "environment variable %s", expected);
        remember_origin(config, &config_settings[i], "environment");
        return AP_OK;
    }
    return AP_OK; /* other programs have variables too, and so may what starts this one */
}

static enum ap_rc read_flag(struct config *config, const struct config_flag *flag, struct ap_err *err)
{
    const struct yaml_field *setting = find_setting(ap_slice_cstr(flag->key));
    if (!setting) {
        const char *known[CONFIG_SETTINGS_MAX];
        for (size_t i = 0; i < config_setting_count; i++)
            known[i] = config_settings[i].key;
        const char *nearest = yaml_nearest(ap_slice_cstr(flag->key), known, config_setting_count);
        return ap_fail(err, AP_E_PARSE, "unknown setting \"%s\"%s%s%s", flag->key, nearest ? "; did you mean \"" : "",
                       nearest ? nearest : "", nearest ? "\"?" : "");
    }
    enum ap_rc rc =
        yaml_read_text(config->memory->texts, setting, ap_slice_cstr(flag->value), target_of(config, setting), err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "flag");
    remember_origin(config, setting, "flag");
    return AP_OK;
}

static enum ap_rc read_sources(struct config *config, struct ap_err *err)
{
    const struct config_sources *sources = &config->memory->sources;
    enum ap_rc rc = yaml_parse(ap_slice("", 0), "settings", &config->memory->texts, err);
    if (rc == AP_OK)
        rc = read_defaults(config, err);
    if (rc == AP_OK && sources->path) {
        rc = yaml_load(sources->path, &config->memory->file, err);
        if (rc == AP_OK)
            rc = read_file(config, err);
    }
    for (const char *const *variable = sources->environment; rc == AP_OK && variable && *variable; variable++)
        rc = read_variable(config, *variable, err);
    for (size_t i = 0; rc == AP_OK && i < sources->flag_count; i++)
        rc = read_flag(config, &sources->flags[i], err);
    return rc;
}

enum ap_rc config_load(const struct config_flag *flags, size_t flag_count, const char *file,
                       const char *const *environment, struct config **ret_config, struct ap_err *err)
{
    AP_AUTO(config) struct config *config = ap_new0(struct config);
    config->memory = ap_new0(struct config_memory);
    config->memory->ref_count = 1;
    config->memory->sources = (struct config_sources){.flags = ap_new0_array(struct config_flag, flag_count + 1),
                                                      .flag_count = flag_count,
                                                      .path = file ? ap_strdup(file) : NULL,
                                                      .environment = environment};
    for (size_t i = 0; i < flag_count; i++)
        config->memory->sources.flags[i] = (struct config_flag){ap_strdup(flags[i].key), ap_strdup(flags[i].value)};
    enum ap_rc rc = read_sources(config, err);
    if (rc == AP_OK)
        *ret_config = AP_MOVE(config);
    return rc;
}

enum ap_rc config_load_again(const struct config *config, struct config **ret_config, struct ap_err *err)
{
    const struct config_sources *sources = &config->memory->sources;
    return config_load(sources->flags, sources->flag_count, sources->path, sources->environment, ret_config, err);
}

static void sources_clear(struct config_sources *sources)
{
    for (size_t i = 0; i < sources->flag_count; i++) {
        free((char *)sources->flags[i].key);
        free((char *)sources->flags[i].value);
    }
    free(sources->flags);
    free(sources->path);
}

struct config *config_ref(struct config *config)
{
    config->memory->ref_count++;
    return config;
}

void config_free(struct config *config)
{
    if (!config || --config->memory->ref_count > 0)
        return;
    yaml_free(config->memory->file);
    yaml_free(config->memory->texts);
    sources_clear(&config->memory->sources);
    free(config->memory);
    free(config);
}

/* ---- Checks ---- */

enum ap_rc config_split_address(const char *text, char ret_address[64], uint16_t *ret_port, struct ap_err *err)
{
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!colon || !yaml_parse_integer(ap_slice_cstr(colon + 1), &port) || port < 0 || port > UINT16_MAX)
        return ap_fail(err, AP_E_PARSE, "listen: expected an address with a port such as 127.0.0.1:8484, found \"%s\"",
                       text);
    struct ap_slice host = ap_slice(text, (size_t)(colon - text));
    bool is_bracketed = host.bytes >= 2 && host.data[0] == '[' && host.data[host.bytes - 1] == ']';
    if (is_bracketed)
        host = ap_slice(host.data + 1, host.bytes - 2);
    char address[64];
    snprintf(address, sizeof(address), "%.*s", AP_SLICE_ARG(host));
    if (host.bytes == 0)
        strcpy(address, "0.0.0.0");
    else if (strcmp(address, "localhost") == 0)
        strcpy(address, "127.0.0.1");
    unsigned char bytes[16];
    if (host.bytes >= sizeof(address) || inet_pton(is_bracketed ? AF_INET6 : AF_INET, address, bytes) != 1)
        return ap_fail(err, AP_E_PARSE,
                       "listen: \"%s\" is not a numeric address; write 0.0.0.0:8484, 127.0.0.1:8484 or [::1]:8484",
                       text);
    memcpy(ret_address, address, sizeof(address));
    *ret_port = (uint16_t)port;
    return AP_OK;
}

bool config_is_loopback(const char *address)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;
    if (inet_pton(AF_INET, address, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &ipv6) == 1 && IN6_IS_ADDR_LOOPBACK(&ipv6);
}

static struct ap_slice without_last_slashes(const char *text)
{
    struct ap_slice url = ap_slice_cstr(text);
    while (url.bytes && url.data[url.bytes - 1] == '/')
        url.bytes--;
    return url;
}

struct ap_slice config_path_prefix(const struct config *config)
{
    const char *host = config->external_url ? strstr(config->external_url, "://") : NULL;
    if (!host)
        return ap_slice_cstr("");
    struct ap_slice rest = without_last_slashes(host + 3);
    ap_slice_split(&rest, '/');
    return rest.data ? ap_slice(rest.data - 1, rest.bytes + 1) : ap_slice_cstr("");
}

char *config_link_base(const struct config *config)
{
    char address[64], name[256] = "";
    uint16_t port;
    struct ap_err ignored; /* it was checked */
    if (config->external_url)
        return ap_slice_dup(without_last_slashes(config->external_url));
    if (!config->listen.count || config_split_address(config->listen.items[0], address, &port, &ignored) != AP_OK ||
        port == 0)
        return ap_strdup("");
    bool is_any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    if (is_any && gethostname(name, sizeof(name) - 1) == 0)
        return ap_asprintf("%s://%s:%u", config->tls.certificate ? "https" : "http", name, port);
    bool is_ipv6 = strchr(address, ':') != NULL;
    return ap_asprintf("%s://%s%s%s:%u", config->tls.certificate ? "https" : "http", is_ipv6 ? "[" : "", address,
                       is_ipv6 ? "]" : "", port);
}

static enum ap_rc fail_text(const struct yaml_texts *texts, size_t index, struct ap_err *err, const char *sentence)
{
    if (texts->nodes && texts->nodes[index])
        return yaml_fail(err, texts->nodes[index], "%s", sentence);
    return ap_fail(err, AP_E_PARSE, "%s", sentence);
}

static enum ap_rc check_addresses(const struct config *config, const struct yaml_texts *listen, struct ap_err *err)
{
    for (size_t i = 0; i < listen->count; i++) {
        char address[64];
        uint16_t port;
        struct ap_err reason;
        if (config_split_address(listen->items[i], address, &port, &reason) != AP_OK)
            return fail_text(listen, i, err, reason.text);
        if (config->open && !config_is_loopback(address))
            return ap_fail(err, AP_E_PARSE,
                           "open: everybody who reaches %s could read and write without a key; listen on 127.0.0.1 "
                           "or [::1] only, or leave \"open\" away and make keys with `apiary key create`",
                           listen->items[i]);
    }
    return AP_OK;
}

static enum ap_rc check_listen(const struct config *config, struct ap_err *err)
{
    if (config->listen.count == 0)
        return ap_fail(err, AP_E_PARSE, "listen: at least one address is needed, such as 127.0.0.1:8484");
    enum ap_rc rc = check_addresses(config, &config->listen, err);
    return rc == AP_OK ? check_addresses(config, &config->otlp.listen, err) : rc;
}

/* As a browser says it: what else is there would never be met. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return strcmp(text, "*") == 0 || (host && host != text && host[3] && !strpbrk(host + 3, "/?#*@ "));
}

static enum ap_rc check_otlp(const struct config *config, struct ap_err *err)
{
    for (size_t i = 0; i < config->otlp.cors_origins.count; i++)
        if (!is_origin(config->otlp.cors_origins.items[i]))
            return fail_text(&config->otlp.cors_origins, i, err,
                             "otlp.cors_origins: expected an origin, which is scheme, host and port without a path, "
                             "such as https://app.example.com, or *");
    if (config->otlp.promote_all_resource_attributes && config->otlp.promote_resource_attributes.count)
        return fail_text(&config->otlp.promote_resource_attributes, 0, err,
                         "otlp.promote_resource_attributes names what otlp.promote_all_resource_attributes promotes "
                         "already; keep one of them");
    if (!config->otlp.promote_all_resource_attributes && config->otlp.ignore_resource_attributes.count)
        return fail_text(&config->otlp.ignore_resource_attributes, 0, err,
                         "otlp.ignore_resource_attributes needs otlp.promote_all_resource_attributes");
    return AP_OK;
}

static enum ap_rc check_hosts(const struct config *config, struct ap_err *err)
{
    for (size_t i = 0; i < config->hosts.count; i++) {
        if (config->hosts.items[i][0] != '/')
            return fail_text(&config->hosts, i, err, "hosts: expected a path such as / or /siem");
        if (strpbrk(config->hosts.keys[i], "/:") || config->hosts.keys[i][0] == '\0')
            return fail_text(&config->hosts, i, err, "hosts: expected a host name without port or path as the key");
    }
    return AP_OK;
}

static enum ap_rc check_alerting(const struct config *config, struct ap_err *err)
{
    if (config->alerting.config && config->alerting.alertmanagers.count)
        return ap_fail(err, AP_E_PARSE,
                       "alerting.config and " ALERTMANAGERS " are both set: people are told from here or from there");
    const char *beat = config->alerting.watchdog_url;
    if (beat && config->alerting.watchdog_url_file)
        return ap_fail(err, AP_E_PARSE, WATCHDOG_URL " and alerting.watchdog_url_file are both set; one is enough");
    if (beat && strncmp(beat, "http://", 7) != 0 && strncmp(beat, "https://", 8) != 0)
        return ap_fail(err, AP_E_PARSE, WATCHDOG_URL ": expected an address that begins with http:// or https://");
    if (config->alerting.path_test && config->alerting.path_test < 1000)
        return ap_fail(err, AP_E_PARSE, "alerting.path_test: expected at least 1s, or 0 for none");
    if (config->alerting.path_test && !config->alerting.config)
        return ap_fail(err, AP_E_PARSE, "alerting.path_test needs alerting.config, whose receivers are tested");
    if (config->alerting.path_test_receivers.count && !config->alerting.path_test)
        return fail_text(&config->alerting.path_test_receivers, 0, err,
                         "alerting.path_test_receivers needs alerting.path_test, which says how often they are tested");
    return AP_OK;
}

/* It becomes part of pages and of a cookie. */
static bool is_plain_path(struct ap_slice path)
{
    for (size_t i = 0; i < path.bytes; i++) {
        bool is_after_slash = i && path.data[i - 1] == '/';
        if (path.data[i] == '/' ? is_after_slash
                                : !isalnum((unsigned char)path.data[i]) && !strchr("-._~", path.data[i]))
            return false;
    }
    return true;
}

static enum ap_rc check_external_url(const struct config *config, struct ap_err *err)
{
    const char *url = config->external_url;
    if (!url)
        return AP_OK;
    bool is_web = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    if (!is_web || !is_plain_path(config_path_prefix(config)))
        return ap_fail(err, AP_E_PARSE,
                       "external_url: \"%s\" is not an address of this server; write https://ops.example.com, or "
                       "https://ops.example.com/apiary with a path of letters, digits, '-', '.', '_' and '~'",
                       url);
    return AP_OK;
}

enum ap_rc config_check(const struct config *config, struct ap_err *err)
{
    enum ap_rc rc = check_listen(config, err);
    if (rc == AP_OK)
        rc = check_external_url(config, err);
    if (rc == AP_OK)
        rc = check_hosts(config, err);
    if (rc == AP_OK)
        rc = check_otlp(config, err);
    if (rc == AP_OK)
        rc = check_alerting(config, err);
    if (rc != AP_OK)
        return rc;
    if (config->data[0] == '\0')
        return ap_fail(err, AP_E_PARSE, "data: expected a directory");
    if (!config->tls.certificate != !config->tls.key)
        return ap_fail(err, AP_E_PARSE, "tls: certificate and key are needed both, or neither; %s is missing",
                       config->tls.key ? "tls.certificate" : "tls.key");
    if (config->wal.max_size < 2 * config->wal.segment_size)
        return ap_fail(err, AP_E_PARSE, "wal.max_size must be at least twice wal.segment_size");
    if (DAYS(1) % config->tsdb.block_range != 0)
        return ap_fail(err, AP_E_PARSE, "tsdb.block_range must divide a day, as 2h, 1h and 30m do");
    if (config->limits.body_memory < config->limits.decompressed_body)
        return ap_fail(err, AP_E_PARSE, "limits.body_memory must be at least limits.decompressed_body");
    return AP_OK;
}
