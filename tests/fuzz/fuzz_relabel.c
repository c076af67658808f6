/*
 * Any text as relabeling rules: what is accepted can be applied, and leaves labels that are UTF-8, none of them empty,
 * no name twice. The same rules give the same again, all at once or one by one.
 */
#include <stdint.h>

#include "base/assert.h"
#include "codec/yaml.h"
#include "scrape/relabel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give(struct relabel_labels *labels)
{
    static const char *const given[][2] = {
        {"__address__", "host.example:9100"}, {"__meta_zone", "eu-1"}, {"a", "Foo"}, {"b", "é;x"}, {"job", "node"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(given); i++)
        relabel_labels_set(labels, ap_slice_cstr(given[i][0]), ap_slice_cstr(given[i][1]));
    labels->given_count = labels->count;
}

static void check_labels(const struct relabel_labels *labels)
{
    AP_ASSERT(labels->given_count <= labels->count);
    for (size_t i = 0; i < labels->count; i++) {
        const struct label *label = &labels->items[i];
        AP_ASSERT(label->name.bytes && label->value.bytes);
        AP_ASSERT(ap_utf8_valid_bytes(label->name) == label->name.bytes);
        AP_ASSERT(ap_utf8_valid_bytes(label->value) == label->value.bytes);
        for (size_t j = 0; j < i; j++)
            AP_ASSERT(!ap_slice_equal(labels->items[j].name, label->name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    AP_AUTO(relabel_rules) struct relabel_rules *rules = NULL;
    struct ap_err err = {0};
    if (yaml_parse(ap_slice(data, size), "fuzz.yaml", &document, &err) != AP_OK)
        return 0;
    if (relabel_rules_read(yaml_root(document), size % 2 == 0, &rules, &err) != AP_OK) {
        AP_ASSERT(err.text[0] != '\0');
        return 0;
    }
    AP_AUTO_ARENA struct ap_arena arena = {0};
    AP_AUTO_BUF struct ap_buf json = {0};
    struct relabel_labels labels, again;
    relabel_labels_init(&labels, &arena);
    relabel_labels_init(&again, &arena);
    give(&labels);
    give(&again);
    enum relabel_result result = relabel_apply(rules, &labels), step = RELABEL_KEPT;
    for (size_t i = 0; i < relabel_rules_count(rules) && step == RELABEL_KEPT; i++) {
        relabel_rule_json(rules, i, &json);
        step = relabel_apply_one(rules, i, &again);
    }
    AP_ASSERT(result == step && labels.count == again.count);
    for (size_t i = 0; i < labels.count; i++)
        AP_ASSERT(ap_slice_equal(labels.items[i].name, again.items[i].name) &&
                  ap_slice_equal(labels.items[i].value, again.items[i].value));
    check_labels(&labels);
    return 0;
}
