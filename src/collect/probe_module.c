#include "collect/probe_module.h"

#include "base/arena.h"
#include "codec/dns_message.h"
#include "collect/probe_module_internal.h"

struct probe_modules {
    struct yaml_document *document; /* owned; texts are its */
    struct probe_module *items;     /* owned */
    size_t count;
    struct ap_arena arena; /* what lists of labels became */
};

static const char builtin[] = "modules:\n"
                              "  http_2xx:\n"
                              "    prober: http\n"
                              "  http_post_2xx:\n"
                              "    prober: http\n"
                              "    http:\n"
                              "      method: POST\n"
                              "  tcp_connect:\n"
                              "    prober: tcp\n"
                              "  icmp:\n"
                              "    prober: icmp\n"
                              "  dns:\n"
                              "    prober: dns\n"
                              "    dns:\n"
                              "      query_name: .\n"
                              "      query_type: NS\n";

void probe_module_set_unsupported(struct probe_module *module, const char *what)
{
    if (!module->unsupported)
        module->unsupported = ap_asprintf("module \"%s\" cannot be used: %s is not supported", module->name, what);
}

bool probe_is_set(const struct yaml_node *node)
{
    return node && !yaml_is_null(node);
}

/* ---- What several probers have ---- */

enum ap_rc probe_read_regexes(const struct yaml_texts *texts, struct probe_regexes *ret_regexes, struct ap_err *err)
{
    if (texts->count == 0)
        return AP_OK;
    ret_regexes->items = ap_new0_array(struct probe_regex *, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        struct ap_err reason;
        if (probe_regex_new(ap_slice_cstr(texts->items[i]), &ret_regexes->items[i], &reason) != AP_OK)
            return yaml_fail(err, texts->nodes[i], "%s", reason.text);
        ret_regexes->count++;
    }
    return AP_OK;
}

static void regexes_clear(struct probe_regexes *regexes)
{
    for (size_t i = 0; i < regexes->count; i++)
        probe_regex_free(regexes->items[i]);
    free(regexes->items);
}

const char *const probe_ip_protocols[] = {"ip6", "ip4", NULL};
enum { IP4 = 1 };

struct probe_network probe_network_of(const struct probe_network_form *form)
{
    bool has_source = form->source_address && form->source_address[0];
    return (struct probe_network){.is_ip4_preferred = form->protocol == IP4,
                                  .is_fallback = form->is_fallback,
                                  .source_address = has_source ? form->source_address : NULL};
}

static const char *const tls_versions[] = {"", "TLS10", "TLS11", "TLS12", "TLS13", NULL};

enum ap_rc probe_read_tls(struct probe_module *module, const struct yaml_node *node, struct probe_tls *ret_tls,
                          struct ap_err *err)
{
    struct form {
        struct probe_tls tls;
        int version_min, version_max;
        const char *ca, *cert, *key;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "ca_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.ca_file)},
        {.key = "ca", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, ca)},
        {.key = "cert", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, cert)},
        {.key = "key", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, key)},
        {.key = "cert_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.cert_file)},
        {.key = "key_file", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.key_file)},
        {.key = "server_name", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, tls.server_name)},
        {.key = "insecure_skip_verify", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, tls.is_insecure)},
        {.key = "min_version",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, version_min),
         .choices = tls_versions},
        {.key = "max_version",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, version_max),
         .choices = tls_versions},
    };
    if (!probe_is_set(node))
        return AP_OK;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    if (form.ca || form.cert || form.key)
        probe_module_set_unsupported(module, "a certificate in the text of tls_config");
    if ((form.tls.cert_file == NULL) != (form.tls.key_file == NULL))
        return yaml_fail(err, node, "tls_config: cert_file and key_file go together");
    form.tls.version_min = form.version_min ? form.version_min + 9 : 0;
    form.tls.version_max = form.version_max ? form.version_max + 9 : 0;
    *ret_tls = form.tls;
    return AP_OK;
}

/* ---- tcp ---- */

enum { LABELS_MAX = 32 };

static bool is_label_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return name[0] && strspn(name, letters) == strlen(name) && (name[0] < '0' || name[0] > '9');
}

/* A list of name and value. */
static enum ap_rc read_labels(struct probe_modules *modules, const struct yaml_node *list,
                              struct yaml_texts *ret_labels, struct ap_err *err)
{
    struct form {
        const char *name, *value;
    };
    static const struct yaml_field fields[] = {
        {.key = "name",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct form, name),
         .is_required = true,
         .doc = "the name of the label"},
        {.key = "value", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, value), .default_text = ""},
    };
    if (!probe_is_set(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST || list->child_count > LABELS_MAX)
        return yaml_fail(err, list, "labels: expected a list of at most %d names and values", LABELS_MAX);
    ret_labels->keys = ap_arena_alloc0(&modules->arena, (list->child_count + 1) * sizeof(char *));
    ret_labels->items = ap_arena_alloc0(&modules->arena, (list->child_count + 1) * sizeof(char *));
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct form form = {0};
        enum ap_rc rc = READ(node, fields, &form, err);
        if (rc != AP_OK)
            return rc;
        if (!is_label_name(form.name))
            return yaml_fail(err, yaml_get(node, "name"), "labels: \"%s\" is not a name of a label", form.name);
        ret_labels->keys[ret_labels->count] = form.name;
        ret_labels->items[ret_labels->count++] = form.value;
    }
    return AP_OK;
}

static enum ap_rc read_steps(struct probe_modules *modules, const struct yaml_node *list, struct probe_tcp *tcp,
                             struct ap_err *err)
{
    struct form {
        const char *expect, *send;
        bool is_starttls;
        const struct yaml_node *labels;
    };
    static const struct yaml_field fields[] = {
        {.key = "expect", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, expect)},
        {.key = "send", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, send)},
        {.key = "starttls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, is_starttls)},
        {.key = "labels", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, labels)},
    };
    if (!probe_is_set(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "query_response: expected a list of expect, send, starttls");
    tcp->steps = ap_new0_array(struct probe_step, list->child_count + 1);
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct form form = {0};
        struct ap_err reason;
        enum ap_rc rc = READ(node, fields, &form, err);
        if (rc != AP_OK)
            return rc;
        struct probe_step *step = &tcp->steps[tcp->step_count];
        *step =
            (struct probe_step){.send = form.send && form.send[0] ? form.send : NULL, .is_starttls = form.is_starttls};
        if (form.expect && form.expect[0] &&
            probe_regex_new(ap_slice_cstr(form.expect), &step->expect, &reason) != AP_OK)
            return yaml_fail(err, yaml_get(node, "expect"), "%s", reason.text);
        tcp->step_count++;
        rc = read_labels(modules, form.labels, &step->labels, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static enum ap_rc read_tcp(struct probe_modules *modules, const struct yaml_node *node, struct probe_module *module,
                           struct ap_err *err)
{
    struct tcp_form {
        struct probe_network_form network;
        const struct yaml_node *steps, *tls;
        bool is_tls;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(tcp_form),
        {.key = "query_response", .type = YAML_TYPE_NODE, .offset = offsetof(struct tcp_form, steps)},
        {.key = "tls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct tcp_form, is_tls)},
        {.key = "tls_config", .type = YAML_TYPE_NODE, .offset = offsetof(struct tcp_form, tls)},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    module->tcp.network = probe_network_of(&form.network);
    module->tcp.is_tls = form.is_tls;
    rc = probe_read_tls(module, form.tls, &module->tcp.tls, err);
    return rc == AP_OK ? read_steps(modules, form.steps, &module->tcp, err) : rc;
}

/* ---- icmp ---- */

static enum ap_rc read_icmp(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    enum { PAYLOAD_BYTES_MAX = 65500, TTL_MAX = 255, PACKETS_MAX = 1000 };
    struct icmp_form {
        struct probe_network_form network;
        struct probe_icmp icmp;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(icmp_form),
        {.key = "payload_size",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.payload_bytes),
         .min = 0,
         .max = PAYLOAD_BYTES_MAX},
        {.key = "dont_fragment", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct icmp_form, icmp.is_unfragmented)},
        {.key = "ttl",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.ttl),
         .default_text = "64",
         .min = 0,
         .max = TTL_MAX},
        {.key = "packets",
         .type = YAML_TYPE_INTEGER,
         .offset = offsetof(struct icmp_form, icmp.packets),
         .default_text = "1",
         .min = 1,
         .max = PACKETS_MAX},
        {.key = "interval",
         .type = YAML_TYPE_DURATION,
         .offset = offsetof(struct icmp_form, icmp.interval_ms),
         .default_text = "200ms",
         .min = 1,
         .max = 60000},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    module->icmp = form.icmp;
    module->icmp.network = probe_network_of(&form.network);
    return AP_OK;
}

/* ---- dns ---- */

static enum ap_rc read_records(const struct yaml_node *node, struct probe_records *ret_records, struct ap_err *err)
{
    struct form {
        struct yaml_texts matches, all_match, not_matches, none_matches;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "fail_if_matches_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, matches)},
        {.key = "fail_if_all_match_regexp", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, all_match)},
        {.key = "fail_if_not_matches_regexp",
         .type = YAML_TYPE_TEXT_LIST,
         .offset = offsetof(struct form, not_matches)},
        {.key = "fail_if_none_matches_regexp",
         .type = YAML_TYPE_TEXT_LIST,
         .offset = offsetof(struct form, none_matches)},
    };
    if (!probe_is_set(node))
        return AP_OK;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK || (rc = probe_read_regexes(&form.matches, &ret_records->matches, err)) != AP_OK ||
        (rc = probe_read_regexes(&form.all_match, &ret_records->all_match, err)) != AP_OK ||
        (rc = probe_read_regexes(&form.not_matches, &ret_records->not_matches, err)) != AP_OK)
        return rc;
    return probe_read_regexes(&form.none_matches, &ret_records->none_matches, err);
}

static enum ap_rc read_rcodes(const struct yaml_texts *texts, struct probe_dns *dns, struct ap_err *err)
{
    if (texts->count)
        dns->rcodes = ap_new0_array(unsigned, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        if (!dns_rcode_parse(ap_slice_cstr(texts->items[i]), &dns->rcodes[i]))
            return yaml_fail(err, texts->nodes[i], "valid_rcodes: expected a code such as NOERROR, found \"%s\"",
                             texts->items[i]);
        dns->rcode_count++;
    }
    return AP_OK;
}

static const char *const transports[] = {"udp", "tcp", NULL};
enum { SECTIONS = 3 }; /* answer, authority, additional */

static enum ap_rc read_dns(const struct yaml_node *node, struct probe_module *module, struct ap_err *err)
{
    struct dns_form {
        struct probe_network_form network;
        const struct yaml_node *tls, *sections[SECTIONS];
        const char *name, *type, *class;
        struct yaml_texts rcodes;
        int transport;
        bool is_tls, is_recursion_desired;
    } form = {0};
    static const struct yaml_field fields[] = {
        NETWORK_FIELDS(dns_form),
        {.key = "transport_protocol",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct dns_form, transport),
         .choices = transports},
        {.key = "dns_over_tls", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct dns_form, is_tls)},
        {.key = "tls_config", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, tls)},
        {.key = "query_name",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct dns_form, name),
         .is_required = true,
         .doc = "the name that is asked for"},
        {.key = "query_type", .type = YAML_TYPE_TEXT, .offset = offsetof(struct dns_form, type), .default_text = "ANY"},
        {.key = "query_class",
         .type = YAML_TYPE_TEXT,
         .offset = offsetof(struct dns_form, class),
         .default_text = "IN"},
        {.key = "recursion_desired",
         .type = YAML_TYPE_BOOLEAN,
         .offset = offsetof(struct dns_form, is_recursion_desired),
         .default_text = "true"},
        {.key = "valid_rcodes", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct dns_form, rcodes)},
        {.key = "validate_answer_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[0])},
        {.key = "validate_authority_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[1])},
        {.key = "validate_additional_rrs", .type = YAML_TYPE_NODE, .offset = offsetof(struct dns_form, sections[2])},
    };
    struct probe_dns *dns = &module->dns;
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    *dns = (struct probe_dns){
        .network = probe_network_of(&form.network),
        .is_tcp = form.transport == 1,
        .is_tls = form.is_tls,
        .name = form.name,
        .is_recursion_desired = form.is_recursion_desired,
    };
    if (!dns_type_parse(ap_slice_cstr(form.type), &dns->type))
        return yaml_fail(err, yaml_get(node, "query_type"), "query_type: \"%s\" is none", form.type);
    if (!dns_class_parse(ap_slice_cstr(form.class), &dns->class))
        return yaml_fail(err, yaml_get(node, "query_class"), "query_class: \"%s\" is none", form.class);
    if (dns->is_tls && !dns->is_tcp)
        return yaml_fail(err, node, "dns_over_tls goes with transport_protocol: tcp");
    if ((rc = probe_read_tls(module, form.tls, &dns->tls, err)) != AP_OK ||
        (rc = read_rcodes(&form.rcodes, dns, err)) != AP_OK)
        return rc;
    for (size_t i = 0; i < SECTIONS && rc == AP_OK; i++)
        rc = read_records(form.sections[i], &dns->records[i], err);
    return rc;
}

/* ---- Modules ---- */

static const char *const prober_names[] = {"http", "tcp", "dns", "icmp", "grpc", NULL};

static enum ap_rc read_module(struct probe_modules *modules, const struct yaml_node *node, struct probe_module *module,
                              struct ap_err *err)
{
    struct form {
        int prober;
        int64_t timeout_ms;
        const struct yaml_node *probers[AP_ARRAY_COUNT(prober_names)];
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "prober",
         .type = YAML_TYPE_CHOICE,
         .offset = offsetof(struct form, prober),
         .choices = prober_names,
         .is_required = true,
         .doc = "http, tcp, dns or icmp"},
        {.key = "timeout", .type = YAML_TYPE_DURATION, .offset = offsetof(struct form, timeout_ms)},
        {.key = "http", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_HTTP])},
        {.key = "tcp", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_TCP])},
        {.key = "dns", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_DNS])},
        {.key = "icmp", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_ICMP])},
        {.key = "grpc", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, probers[PROBE_GRPC])},
    };
    enum ap_rc rc = READ(node, fields, &form, err);
    if (rc != AP_OK)
        return rc;
    /* A section that is missing is an empty one at the module's place. */
    struct yaml_node empty = {
        .kind = YAML_KIND_MAP, .document = node->document, .line = node->line, .column = node->column};
    const struct yaml_node *section = probe_is_set(form.probers[form.prober]) ? form.probers[form.prober] : &empty;
    module->prober = (enum probe_prober)form.prober;
    module->prober_name = prober_names[form.prober];
    module->timeout_ms = form.timeout_ms;
    switch (module->prober) {
    case PROBE_HTTP:
        return probe_read_http(section, module, err);
    case PROBE_TCP:
        return read_tcp(modules, section, module, err);
    case PROBE_DNS:
        return read_dns(section, module, err);
    case PROBE_ICMP:
        return read_icmp(section, module, err);
    case PROBE_GRPC:
        probe_module_set_unsupported(module, "prober grpc");
        return AP_OK;
    }
    return AP_OK;
}

static void module_clear(struct probe_module *module)
{
    free(module->unsupported);
    switch (module->prober) {
    case PROBE_HTTP:
        free(module->http.statuses);
        regexes_clear(&module->http.body_matches);
        regexes_clear(&module->http.body_not_matches);
        probe_header_matches_clear(&module->http.header_matches);
        probe_header_matches_clear(&module->http.header_not_matches);
        return;
    case PROBE_TCP:
        for (size_t i = 0; i < module->tcp.step_count; i++)
            probe_regex_free(module->tcp.steps[i].expect);
        free(module->tcp.steps);
        return;
    case PROBE_DNS:
        free(module->dns.rcodes);
        for (size_t i = 0; i < AP_ARRAY_COUNT(module->dns.records); i++) {
            regexes_clear(&module->dns.records[i].matches);
            regexes_clear(&module->dns.records[i].all_match);
            regexes_clear(&module->dns.records[i].not_matches);
            regexes_clear(&module->dns.records[i].none_matches);
        }
        return;
    case PROBE_ICMP:
    case PROBE_GRPC:
        return;
    }
}

static enum ap_rc read_modules(struct probe_modules *modules, struct ap_err *err)
{
    const struct yaml_node *map = NULL;
    static const struct yaml_field fields[] = {{.key = "modules", .type = YAML_TYPE_NODE, .offset = 0}};
    enum ap_rc rc = READ(yaml_root(modules->document), fields, &map, err);
    if (rc != AP_OK || !probe_is_set(map))
        return rc;
    if (map->kind != YAML_KIND_MAP)
        return yaml_fail(err, map, "modules: expected a map of names");
    modules->items = ap_new0_array(struct probe_module, map->child_count + 1);
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        struct probe_module *module = &modules->items[modules->count++];
        module->name = node->key->text.data;
        rc = read_module(modules, node, module, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static enum ap_rc modules_of(struct yaml_document *take_document, struct probe_modules **ret_modules,
                             struct ap_err *err)
{
    AP_AUTO(probe_modules) struct probe_modules *modules = ap_new0(struct probe_modules);
    modules->document = take_document;
    ap_arena_init(&modules->arena, 0);
    enum ap_rc rc = read_modules(modules, err);
    if (rc == AP_OK)
        *ret_modules = AP_MOVE(modules);
    return rc;
}

enum ap_rc probe_modules_parse(struct ap_slice text, const char *file, struct probe_modules **ret_modules,
                               struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_parse(text, file, &document, err);
    return rc == AP_OK ? modules_of(document, ret_modules, err) : rc;
}

enum ap_rc probe_modules_load(const char *path, struct probe_modules **ret_modules, struct ap_err *err)
{
    if (!path)
        return probe_modules_parse(ap_slice_cstr(builtin), "built-in modules", ret_modules, err);
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    return rc == AP_OK ? modules_of(document, ret_modules, err) : rc;
}

void probe_modules_free(struct probe_modules *modules)
{
    if (!modules)
        return;
    for (size_t i = 0; i < modules->count; i++)
        module_clear(&modules->items[i]);
    free(modules->items);
    ap_arena_clear(&modules->arena);
    yaml_free(modules->document);
    free(modules);
}

size_t probe_modules_count(const struct probe_modules *modules)
{
    return modules->count;
}

const struct probe_module *probe_modules_find(const struct probe_modules *modules, struct ap_slice name)
{
    for (size_t i = 0; i < modules->count; i++)
        if (ap_slice_equal_cstr(name, modules->items[i].name))
            return &modules->items[i];
    return NULL;
}
