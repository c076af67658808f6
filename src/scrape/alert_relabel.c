#include "scrape/alert_relabel.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "scrape/fields.h"
#include "scrape/relabel.h"

struct alert_relabel {
    struct scrape_source *source; /* held: has the texts of the rules */
    struct relabel_rules *rules;  /* owned */
};

enum ap_rc alert_relabel_read(struct scrape_source *source, const struct yaml_node *section,
                              struct alert_relabel **ret_relabel, struct ap_err *err)
{
    struct form {
        const struct yaml_node *rules, *others;
    } form = {0};
    static const struct field fields[] = {
        {"alert_relabel_configs", FIELD_NODE, offsetof(struct form, rules)},
        {"alertmanagers", FIELD_NODE, offsetof(struct form, others)},
    };
    struct relabel_rules *rules = NULL;
    enum ap_rc rc = fields_read(source, section, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc == AP_OK && form.rules && !yaml_is_null(form.rules))
        rc = relabel_rules_read(form.rules, true, &rules, err);
    if (rc != AP_OK)
        return rc;
    *ret_relabel = NULL;
    if (rules) {
        struct alert_relabel *relabel = ap_new0(struct alert_relabel);
        *relabel = (struct alert_relabel){scrape_source_ref(source), rules};
        *ret_relabel = relabel;
    }
    return AP_OK;
}

void alert_relabel_free(struct alert_relabel *relabel)
{
    if (!relabel)
        return;
    relabel_rules_free(relabel->rules);
    scrape_source_unref(relabel->source);
    free(relabel);
}

struct ap_slice alert_relabel_apply(const struct alert_relabel *relabel, struct ap_slice labels, struct ap_arena *arena)
{
    AP_AUTO_BUF struct ap_buf encoded = {0};
    struct relabel_labels set;
    struct ap_err err;
    relabel_labels_init(&set, arena);
    relabel_labels_add(&set, labels);
    enum relabel_result result = relabel_apply(relabel->rules, &set);
    if (result == RELABEL_DROPPED || (result == RELABEL_KEPT && set.count == 0))
        return (struct ap_slice){0};
    if (result != RELABEL_KEPT || labels_encode(set.items, set.count, &encoded, &err) != AP_OK)
        return labels;
    char *kept = ap_arena_alloc0(arena, encoded.bytes);
    memcpy(kept, encoded.data, encoded.bytes);
    return ap_slice(kept, encoded.bytes);
}
