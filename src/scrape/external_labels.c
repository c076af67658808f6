#include "scrape/external_labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "scrape/fields.h"
#include "tsdb/labels.h"

/* How much of the text behind a '$' is the name of a variable, brackets included; 0: it is none. */
static size_t variable_bytes(struct ap_slice text, struct ap_slice *ret_name)
{
    size_t bytes = 0;
    if (text.bytes && text.data[0] == '{') {
        const char *end = memchr(text.data, '}', text.bytes);
        if (!end)
            return 0;
        *ret_name = ap_slice(text.data + 1, (size_t)(end - text.data) - 1);
        return ret_name->bytes + 2;
    }
    while (bytes < text.bytes && (isalnum((unsigned char)text.data[bytes]) || text.data[bytes] == '_'))
        bytes++;
    *ret_name = ap_slice(text.data, bytes);
    return bytes;
}

static struct ap_slice expand(struct ap_slice text, struct ap_arena *arena)
{
    AP_AUTO_BUF struct ap_buf value = {0};
    while (text.bytes) {
        struct ap_slice name;
        bool is_escape = text.bytes >= 2 && text.data[0] == '$' && text.data[1] == '$';
        size_t bytes = text.data[0] == '$' ? variable_bytes(ap_slice(text.data + 1, text.bytes - 1), &name) : 0;
        if (bytes && !is_escape) {
            AP_AUTO_FREE char *variable = ap_slice_dup(name);
            const char *said = getenv(variable);
            ap_buf_add_cstr(&value, said ? said : "");
        } else {
            ap_buf_add_char(&value, text.data[0]);
            bytes = is_escape;
        }
        text = ap_slice(text.data + 1 + bytes, text.bytes - 1 - bytes);
    }
    char *kept = ap_arena_alloc0(arena, value.bytes + 1);
    if (value.bytes)
        memcpy(kept, value.data, value.bytes);
    return ap_slice(kept, value.bytes);
}

static enum ap_rc add_labels(struct scrape_source *source, const struct yaml_node *map, struct ap_buf *out,
                             struct ap_err *err)
{
    if (map->kind != YAML_KIND_MAP)
        return yaml_fail(err, map, "external_labels: expected a map, found a %s", yaml_kind_name(map->kind));
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, map->child_count + 1);
    size_t count = 0;
    for (const struct yaml_node *value = map->first; value; value = value->next) {
        if (value->kind != YAML_KIND_SCALAR)
            return yaml_fail(err, value, "external_labels: expected a text, found a %s", yaml_kind_name(value->kind));
        labels[count] = (struct label){value->key->text, expand(value->text, &source->arena)};
        count += labels[count].value.bytes > 0;
    }
    enum ap_rc rc = labels_encode(labels, count, out, err);
    if (rc == AP_OK)
        return rc;
    struct ap_err reason = *err;
    return yaml_fail(err, map, "external_labels: %s", reason.text);
}

enum ap_rc external_labels_read(struct scrape_source *source, struct ap_buf *out, struct ap_err *err)
{
    const struct yaml_node *root = yaml_root(source->document);
    const struct yaml_node *global = root->kind == YAML_KIND_MAP ? yaml_get(root, "global") : NULL;
    const struct yaml_node *map = global && global->kind == YAML_KIND_MAP ? yaml_get(global, "external_labels") : NULL;
    return map && !yaml_is_null(map) ? add_labels(source, map, out, err) : AP_OK;
}

enum ap_rc external_labels_load(const char *path, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    enum ap_rc rc = scrape_source_load(path, &source, err);
    return rc == AP_OK ? external_labels_read(source, out, err) : rc;
}
