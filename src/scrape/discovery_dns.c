/*
 * dns_sd_configs: the records of names are targets.
 *
 * Names are looked up as the system's resolver does (/etc/resolv.conf, its search list). A name that nobody knows has
 * no targets; one that could not be looked up keeps those that it had.
 */
#include "scrape/discovery_dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

enum {
    DEFAULT_INTERVAL_MS = 30 * 1000,
    ANSWER_BYTES = 65535,
    TRY_SECONDS = 2, /* a server that does not answer is asked twice, and holds up the names behind it so long */
    TRIES = 2,
    LABELS_MAX = 6,
};

struct record_type {
    const char *name;
    ns_type type;
    bool needs_port;
};
static const struct record_type record_types[] = {
    {"SRV", ns_t_srv, false}, {"A", ns_t_a, true},   {"AAAA", ns_t_aaaa, true},
    {"MX", ns_t_mx, true},    {"NS", ns_t_ns, true},
};

struct dns_config {
    const char **names;
    size_t count;
    int64_t interval_ms;
    const struct record_type *type;
    uint16_t port;
};

struct discovery {
    const struct dns_config *config;
    const bool *is_ending;         /* atomic; lent; NULL: it never does */
    struct target_groups **groups; /* owned: of each name; NULL: it could never be looked up */
    struct sockaddr_in server;     /* asked in place of the system's; sin_family 0: none was given */
};

/* ---- Configuration ---- */

static const struct record_type *find_type(const char *name)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(record_types); i++)
        if (strcasecmp(name, record_types[i].name) == 0)
            return &record_types[i];
    return NULL;
}

static enum ap_rc read_dns_config(struct scrape_source *source, const struct yaml_node *node, const void **ret_config,
                                  struct ap_err *err)
{
    struct form {
        struct yaml_texts names;
        int64_t interval_ms;
        const char *type;
        uint64_t port;
    } form = {.interval_ms = DEFAULT_INTERVAL_MS, .type = "SRV"};
    static const struct field fields[] = {
        {"names", FIELD_TEXTS, offsetof(struct form, names)},
        {"refresh_interval", FIELD_DURATION, offsetof(struct form, interval_ms)},
        {"type", FIELD_TEXT, offsetof(struct form, type)},
        {"port", FIELD_COUNT, offsetof(struct form, port)},
    };
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc != AP_OK)
        return rc;
    const struct record_type *type = find_type(form.type);
    if (form.names.count == 0)
        return yaml_fail(err, node, "DNS-SD config must contain at least one SRV record name");
    if (!type)
        return yaml_fail(err, yaml_get(node, "type"),
                         "invalid DNS-SD records type %s; there are SRV, A, AAAA, MX and NS", form.type);
    if (type->needs_port && form.port == 0)
        return yaml_fail(err, node, "a port is required in DNS-SD configs for all record types except SRV");
    if (form.port > UINT16_MAX)
        return yaml_fail(err, yaml_get(node, "port"), "port: expected 1 to 65535");
    struct dns_config *config = ap_arena_alloc0(&source->arena, sizeof(*config));
    config->names = form.names.items;
    config->count = form.names.count;
    config->interval_ms = form.interval_ms ? form.interval_ms : DEFAULT_INTERVAL_MS;
    config->type = type;
    config->port = (uint16_t)form.port;
    *ret_config = config;
    return AP_OK;
}

/* ---- Records ---- */

/* One target on its way: its texts, and the labels that lend them. */
struct found {
    char host[NS_MAXDNAME + 2]; /* with [] around what has colons */
    char record[NS_MAXDNAME];   /* the name that the record gives, with its dot */
    char port[8];
    char address[NS_MAXDNAME + 16];
    struct label labels[LABELS_MAX];
    size_t count;
};

static void add_label(struct found *found, const char *name, const char *value)
{
    found->labels[found->count++] = (struct label){ap_slice_cstr(name), ap_slice_cstr(value)};
}

/* A name in a record at `at`. Bytes that are no text are escaped by the resolver: it is ASCII. */
static bool take_name(const ns_msg *message, const unsigned char *at, struct found *found)
{
    char name[NS_MAXDNAME];
    if (ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), at, name, sizeof(name)) < 0)
        return false;
    size_t bytes = strlen(name);
    while (bytes > 0 && name[bytes - 1] == '.')
        name[--bytes] = '\0';
    snprintf(found->host, sizeof(found->host), "%.*s", NS_MAXDNAME - 1, name);
    snprintf(found->record, sizeof(found->record), "%.*s.", NS_MAXDNAME - 2, name);
    return true;
}

static bool take_address(int family, const unsigned char *bytes, struct found *found)
{
    char text[INET6_ADDRSTRLEN];
    if (!inet_ntop(family, bytes, text, sizeof(text)))
        return false;
    snprintf(found->host, sizeof(found->host), family == AF_INET6 ? "[%s]" : "%s", text);
    return true;
}

/* False: a record of another type, as the CNAME before an A, or one that is broken. */
static bool take_record(const ns_msg *message, const ns_rr *record, struct found *found)
{
    const unsigned char *data = ns_rr_rdata(*record);
    size_t bytes = ns_rr_rdlen(*record);
    switch (ns_rr_type(*record)) {
    case ns_t_a:
        return bytes == 4 && take_address(AF_INET, data, found);
    case ns_t_aaaa:
        return bytes == 16 && take_address(AF_INET6, data, found);
    case ns_t_srv:
        if (bytes < 7 || !take_name(message, data + 6, found))
            return false;
        snprintf(found->port, sizeof(found->port), "%u", (unsigned)ns_get16(data + 4));
        add_label(found, "__meta_dns_srv_record_target", found->record);
        add_label(found, "__meta_dns_srv_record_port", found->port);
        return true;
    case ns_t_mx:
        if (bytes < 3 || !take_name(message, data + 2, found))
            return false;
        add_label(found, "__meta_dns_mx_record_target", found->record);
        return true;
    case ns_t_ns:
        if (!take_name(message, data, found))
            return false;
        add_label(found, "__meta_dns_ns_record_target", found->record);
        return true;
    default:
        return false;
    }
}

static enum ap_rc add_records(const struct dns_config *config, const char *name, const unsigned char *answer,
                              int answer_bytes, struct target_groups *groups, struct ap_err *err)
{
    ns_msg message;
    struct target_group *group;
    if (ns_initparse(answer, answer_bytes, &message) < 0)
        return ap_fail(err, AP_E_PARSE, "%s: an answer that is not DNS", name);
    int count = ns_msg_count(message, ns_s_an);
    enum ap_rc rc = target_groups_add(groups, (size_t)count, &group, err);
    for (int i = 0; i < count && rc == AP_OK; i++) {
        ns_rr record;
        struct found found = {.count = 0};
        snprintf(found.port, sizeof(found.port), "%u", (unsigned)config->port);
        if (ns_parserr(&message, ns_s_an, i, &record) < 0)
            return ap_fail(err, AP_E_PARSE, "%s: record %d of the answer is broken", name, i + 1);
        if (ns_rr_type(record) != config->type->type || !take_record(&message, &record, &found))
            continue;
        snprintf(found.address, sizeof(found.address), "%s:%s", found.host, found.port);
        add_label(&found, LABEL_ADDRESS, found.address);
        add_label(&found, "__meta_dns_name", name);
        rc = target_group_add(groups, group, found.labels, found.count, err);
    }
    return rc;
}

/* ---- Looking up ---- */

void discovery_dns_ask(struct discovery *discovery, const struct sockaddr_in *server)
{
    discovery->server = *server;
}

static enum ap_rc look_up(const struct discovery *discovery, const char *name, struct target_groups **ret_groups,
                          struct ap_err *err)
{
    const struct dns_config *config = discovery->config;
    struct __res_state resolver = {0};
    AP_AUTO_FREE unsigned char *answer = malloc(ANSWER_BYTES);
    if (!answer || res_ninit(&resolver) != 0)
        return ap_fail(err, AP_E_IO, "the resolver cannot be set up");
    resolver.retrans = TRY_SECONDS;
    resolver.retry = TRIES;
    if (discovery->server.sin_family) {
        resolver.nscount = 1;
        resolver.nsaddr_list[0] = discovery->server;
    }
    int bytes = res_nsearch(&resolver, name, ns_c_in, (int)config->type->type, answer, ANSWER_BYTES);
    int reason = resolver.res_h_errno;
    res_nclose(&resolver);
    AP_AUTO(target_groups) struct target_groups *groups = target_groups_new();
    enum ap_rc rc = AP_OK;
    if (bytes >= 0)
        rc = add_records(config, name, answer, AP_MIN(bytes, (int)ANSWER_BYTES), groups, err);
    else if (reason != HOST_NOT_FOUND && reason != NO_DATA)
        rc = ap_fail(err, AP_E_IO, "could not resolve \"%s\": %s", name, hstrerror(reason));
    if (rc == AP_OK)
        *ret_groups = AP_MOVE(groups);
    return rc;
}

static bool is_ending(const struct discovery *discovery)
{
    return discovery->is_ending && __atomic_load_n(discovery->is_ending, __ATOMIC_RELAXED);
}

static enum ap_rc refresh_dns(struct discovery *discovery, struct target_groups **ret_groups, struct ap_err *err)
{
    const struct dns_config *config = discovery->config;
    AP_AUTO(target_groups) struct target_groups *all = target_groups_new();
    enum ap_rc first_rc = AP_OK;
    struct ap_err reason;
    for (size_t i = 0; i < config->count && !is_ending(discovery); i++) {
        struct target_groups *groups = NULL;
        enum ap_rc rc = look_up(discovery, config->names[i], &groups, &reason);
        if (groups) {
            target_groups_free(discovery->groups[i]);
            discovery->groups[i] = groups;
        }
        if (rc == AP_OK && discovery->groups[i])
            rc = target_groups_append(all, discovery->groups[i], &reason);
        else if (discovery->groups[i])
            (void)!target_groups_append(all, discovery->groups[i], NULL);
        if (rc != AP_OK && first_rc == AP_OK) {
            first_rc = rc;
            *err = reason;
        }
    }
    *ret_groups = AP_MOVE(all);
    return first_rc;
}

/* ---- The kind ---- */

static struct discovery *open_dns(const void *config, const bool *is_ending)
{
    struct discovery *discovery = ap_new0(struct discovery);
    discovery->config = config;
    discovery->is_ending = is_ending;
    discovery->groups = ap_new0_array(struct target_groups *, discovery->config->count);
    return discovery;
}

static int64_t interval_of_dns(const void *config)
{
    return ((const struct dns_config *)config)->interval_ms;
}

static int watch_of_dns(const struct discovery *discovery)
{
    (void)discovery;
    return -1;
}

static void close_dns(struct discovery *discovery)
{
    for (size_t i = 0; i < discovery->config->count; i++)
        target_groups_free(discovery->groups[i]);
    free(discovery->groups);
    free(discovery);
}

const struct discovery_kind discovery_dns = {
    .key = "dns_sd_configs",
    .name = "dns",
    .read = read_dns_config,
    .open = open_dns,
    .refresh = refresh_dns,
    .interval_ms = interval_of_dns,
    .watch_fd = watch_of_dns,
    .close = close_dns,
};
