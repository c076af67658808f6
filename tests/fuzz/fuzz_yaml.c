/* Whatever the bytes are, the reader answers or refuses, and what it hands out is whole: kinds, places, counts. */
#include <stdint.h>

#include "base/assert.h"
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sample {
    const char *text;
    int64_t integer, duration, bytes;
    double number;
    bool boolean;
    int choice;
    struct yaml_texts list, map;
};
static const char *const words[] = {"one", "two", NULL};
static const struct yaml_field fields[] = {
    {.key = "text", .type = YAML_TYPE_TEXT, .offset = offsetof(struct sample, text)},
    {.key = "integer", .type = YAML_TYPE_INTEGER, .offset = offsetof(struct sample, integer), .min = 1, .max = 9},
    {.key = "number", .type = YAML_TYPE_NUMBER, .offset = offsetof(struct sample, number)},
    {.key = "boolean", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct sample, boolean)},
    {.key = "duration", .type = YAML_TYPE_DURATION, .offset = offsetof(struct sample, duration)},
    {.key = "bytes", .type = YAML_TYPE_BYTES, .offset = offsetof(struct sample, bytes)},
    {.key = "choice", .type = YAML_TYPE_CHOICE, .offset = offsetof(struct sample, choice), .choices = words},
    {.key = "list", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct sample, list)},
    {.key = "map", .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct sample, map)},
};

static void walk(const struct yaml_node *node, size_t depth)
{
    AP_ASSERT(depth <= YAML_DEPTH_MAX + 1 && node->line >= 1 && node->column >= 1);
    if (node->kind == YAML_KIND_SCALAR) {
        AP_ASSERT(!node->first && node->text.data[node->text.bytes] == '\0');
        return;
    }
    size_t count = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next, count++) {
        AP_ASSERT((child->key != NULL) == (node->kind == YAML_KIND_MAP));
        walk(child, depth + 1);
    }
    AP_ASSERT(count == node->child_count);
}

/* What is printed reads back, and is printed in the same way again. */
static void print_and_read(const struct yaml_node *root)
{
    AP_AUTO_BUF struct ap_buf once = {0}, twice = {0};
    struct yaml_document *again;
    struct ap_err err;
    yaml_print(root, &once);
    AP_ASSERT(yaml_parse(ap_buf_slice(&once), "printed", &again, &err) == AP_OK);
    yaml_print(yaml_root(again), &twice);
    AP_ASSERT(ap_slice_equal(ap_buf_slice(&once), ap_buf_slice(&twice)));
    yaml_free(again);
}

typedef enum ap_rc (*parse_fn)(struct ap_slice text, const char *file, struct yaml_document **ret_document,
                               struct ap_err *err);

static bool read_by(parse_fn parse, struct ap_slice text, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = parse(text, "fuzz.yaml", &document, err);
    if (rc != AP_OK) {
        AP_ASSERT(err->text[0] != '\0');
        return false;
    }
    walk(yaml_root(document), 1);
    if (parse == yaml_parse)
        print_and_read(yaml_root(document));
    struct sample sample = {0};
    struct ap_err reason = {0};
    rc = yaml_read_struct(yaml_root(document), fields, AP_ARRAY_COUNT(fields), &sample, &reason);
    AP_ASSERT(rc == AP_OK || reason.text[0] != '\0');
    yaml_free(document);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_err err = {0};
    bool is_plain = read_by(yaml_parse, ap_slice(data, size), &err);
    bool is_read = read_by(yaml_parse_sharing, ap_slice(data, size), &err);
    AP_ASSERT(is_read || !is_plain || strstr(err.text, "<<: expected a map"));
    return 0;
}
