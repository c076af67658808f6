/* Values of a type from YAML nodes and plain text, and structs from maps by a table of fields. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "codec/yaml_internal.h"

enum { NUMBER_BYTES_MAX = 64, NEAREST_BYTES_MAX = 48 };

/* ---- Notations ---- */

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1},
    {"s", 1000},
    {"m", 60 * 1000},
    {"h", 3600 * 1000},
    {"d", 86400 * 1000},
    {"w", 7 * 86400 * INT64_C(1000)},
    {"y", 365 * 86400 * INT64_C(1000)},
};
static const struct unit byte_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
};

/* Reads the digits at the start of *rest; false when there are none or too many. */
static bool take_digits(struct ap_slice *rest, int64_t *ret_value)
{
    size_t used = 0;
    int64_t value = 0;
    for (; used < rest->bytes && rest->data[used] >= '0' && rest->data[used] <= '9'; used++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, rest->data[used] - '0', &value))
            return false;
    }
    if (used == 0)
        return false;
    *rest = ap_slice(rest->data + used, rest->bytes - used);
    *ret_value = value;
    return true;
}

/* Takes the letters at the start of *rest, which must be one of `units`. */
static bool take_unit(struct ap_slice *rest, const struct unit *units, size_t unit_count, int64_t *ret_factor)
{
    size_t used = 0;
    while (used < rest->bytes && (rest->data[used] < '0' || rest->data[used] > '9'))
        used++;
    struct ap_slice name = ap_slice_trim(ap_slice(rest->data, used));
    for (size_t i = 0; i < unit_count; i++) {
        if (ap_slice_equal_cstr(name, units[i].name)) {
            *rest = ap_slice(rest->data + used, rest->bytes - used);
            *ret_factor = units[i].factor;
            return true;
        }
    }
    return false;
}

bool yaml_parse_duration(struct ap_slice text, int64_t *ret_ms)
{
    if (ap_slice_equal_cstr(text, "0")) {
        *ret_ms = 0;
        return true;
    }
    int64_t total_ms = 0;
    int64_t previous_factor = INT64_MAX;
    do {
        int64_t count, factor, part_ms;
        if (!take_digits(&text, &count) || !take_unit(&text, duration_units, AP_ARRAY_COUNT(duration_units), &factor) ||
            factor >= previous_factor || __builtin_mul_overflow(count, factor, &part_ms) ||
            __builtin_add_overflow(total_ms, part_ms, &total_ms))
            return false;
        previous_factor = factor; /* larger units first, each once: 1h30m */
    } while (text.bytes > 0);
    *ret_ms = total_ms;
    return true;
}

bool yaml_parse_bytes(struct ap_slice text, int64_t *ret_bytes)
{
    int64_t count, factor;
    return take_digits(&text, &count) && take_unit(&text, byte_units, AP_ARRAY_COUNT(byte_units), &factor) &&
           text.bytes == 0 && !__builtin_mul_overflow(count, factor, ret_bytes);
}

bool yaml_parse_integer(struct ap_slice text, int64_t *ret_value)
{
    bool is_negative = text.bytes > 0 && text.data[0] == '-';
    if (is_negative)
        text = ap_slice(text.data + 1, text.bytes - 1);
    int64_t value;
    if (!take_digits(&text, &value) || text.bytes > 0)
        return false;
    *ret_value = is_negative ? -value : value;
    return true;
}

bool yaml_parse_number(struct ap_slice text, double *ret_value)
{
    char copy[NUMBER_BYTES_MAX];
    if (text.bytes == 0 || text.bytes >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (!strchr("0123456789+-.eE", text.data[i]) || text.data[i] == '\0')
            return false; /* strtod() also takes hexadecimal, infinities and spaces */
    }
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    char *end;
    double value = strtod(copy, &end);
    if (*end != '\0' || end == copy || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

const char *yaml_type_expects(enum yaml_type type)
{
    switch (type) {
    case YAML_TYPE_TEXT:
        return "text";
    case YAML_TYPE_INTEGER:
        return "a whole number";
    case YAML_TYPE_NUMBER:
        return "a number";
    case YAML_TYPE_BOOLEAN:
        return "true or false";
    case YAML_TYPE_DURATION:
        return "a duration such as 250ms, 30s, 12h or 7d";
    case YAML_TYPE_BYTES:
        return "a size such as 64KiB, 8MiB or 1GiB";
    case YAML_TYPE_CHOICE:
        return "one of a few words";
    case YAML_TYPE_TEXT_LIST:
        return "a list of texts";
    case YAML_TYPE_TEXT_MAP:
        return "a map of texts";
    case YAML_TYPE_NODE:
        return "a value";
    }
    return "?";
}

/* ---- Values ---- */

/* A value being read: where its errors point to. */
struct source {
    const struct yaml_document *document;
    const struct yaml_node *node; /* NULL: the value is no node; errors are without place */
    const struct yaml_field *field;
    struct ap_err *err;
};

static enum ap_rc fail_value(const struct source *source, const char *format, ...) ap_printf(2, 3);
static enum ap_rc fail_value(const struct source *source, const char *format, ...)
{
    char sentence[AP_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (source->node)
        return yaml_fail(source->err, source->node, "%s: %s", source->field->key, sentence);
    return ap_fail(source->err, AP_E_PARSE, "%s: %s", source->field->key, sentence);
}

static enum ap_rc fail_expected(const struct source *source, struct ap_slice text)
{
    return fail_value(source, "expected %s, found \"%.*s\"", yaml_type_expects(source->field->type),
                      (int)AP_MIN(text.bytes, 80), text.data ? text.data : "");
}

static enum ap_rc fail_choice(const struct source *source, struct ap_slice text)
{
    const char *const *choices = source->field->choices;
    size_t count = 0;
    AP_AUTO_BUF struct ap_buf all = {0};
    for (; choices[count]; count++)
        ap_buf_printf(&all, "%s%s", count > 0 ? ", " : "", choices[count]);
    const char *nearest = yaml_nearest(text, choices, count);
    return fail_value(source, "unknown word \"%.*s\"%s%s%s; expected one of: %.*s", (int)AP_MIN(text.bytes, 80),
                      text.data ? text.data : "", nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                      nearest ? "\"?" : "", AP_SLICE_ARG(ap_buf_slice(&all)));
}

static enum ap_rc check_limits(const struct source *source, int64_t value, struct ap_slice text)
{
    const struct yaml_field *field = source->field;
    if (field->min == 0 && field->max == 0)
        return AP_OK;
    if (value >= field->min && value <= field->max)
        return AP_OK;
    const char *unit = field->type == YAML_TYPE_DURATION ? " ms" : field->type == YAML_TYPE_BYTES ? " bytes" : "";
    return fail_value(source, "expected %" PRId64 " to %" PRId64 "%s, found \"%.*s\"", field->min, field->max, unit,
                      AP_SLICE_ARG(text));
}

static enum ap_rc read_integral(const struct source *source, struct ap_slice text, void *target)
{
    int64_t value;
    bool is_read = source->field->type == YAML_TYPE_DURATION ? yaml_parse_duration(text, &value)
                   : source->field->type == YAML_TYPE_BYTES  ? yaml_parse_bytes(text, &value)
                                                             : yaml_parse_integer(text, &value);
    if (!is_read)
        return fail_expected(source, text);
    enum ap_rc rc = check_limits(source, value, text);
    if (rc == AP_OK)
        *(int64_t *)target = value;
    return rc;
}

static enum ap_rc read_boolean(const struct source *source, struct ap_slice text, bool *target)
{
    if (!ap_slice_equal_cstr(text, "true") && !ap_slice_equal_cstr(text, "false"))
        return fail_expected(source, text);
    *target = text.bytes == 4;
    return AP_OK;
}

static enum ap_rc read_choice(const struct source *source, struct ap_slice text, int *target)
{
    for (int i = 0; source->field->choices[i]; i++) {
        if (ap_slice_equal_cstr(text, source->field->choices[i])) {
            *target = i;
            return AP_OK;
        }
    }
    return fail_choice(source, text);
}

static enum ap_rc read_scalar(const struct source *source, struct ap_slice text, void *target)
{
    switch (source->field->type) {
    case YAML_TYPE_TEXT:
        if (memchr(text.data, '\0', text.bytes))
            return fail_value(source, "a NUL byte in the text");
        *(const char **)target = source->node ? text.data : yaml_copy(source->document, text);
        return AP_OK;
    case YAML_TYPE_INTEGER:
    case YAML_TYPE_DURATION:
    case YAML_TYPE_BYTES:
        return read_integral(source, text, target);
    case YAML_TYPE_NUMBER:
        return yaml_parse_number(text, target) ? AP_OK : fail_expected(source, text);
    case YAML_TYPE_BOOLEAN:
        return read_boolean(source, text, target);
    case YAML_TYPE_CHOICE:
        return read_choice(source, text, target);
    default:
        return fail_expected(source, text);
    }
}

static struct yaml_texts texts_new(const struct yaml_document *document, size_t count, bool has_keys)
{
    struct yaml_texts texts = {.count = count};
    if (count == 0)
        return texts;
    texts.items = yaml_alloc(document, count * sizeof(*texts.items));
    texts.nodes = yaml_alloc(document, count * sizeof(*texts.nodes));
    if (has_keys)
        texts.keys = yaml_alloc(document, count * sizeof(*texts.keys));
    return texts;
}

/* "a, b" or "a=1, b=2". */
static enum ap_rc read_texts(const struct source *source, struct ap_slice text, struct yaml_texts *target)
{
    bool is_map = source->field->type == YAML_TYPE_TEXT_MAP;
    size_t count = 0;
    for (struct ap_slice rest = text; rest.data;)
        count += ap_slice_trim(ap_slice_split(&rest, ',')).bytes > 0;
    struct yaml_texts texts = texts_new(source->document, count, is_map);
    size_t index = 0;
    for (struct ap_slice rest = text; rest.data;) {
        struct ap_slice part = ap_slice_trim(ap_slice_split(&rest, ','));
        if (part.bytes == 0)
            continue;
        if (is_map) {
            struct ap_slice value = part;
            struct ap_slice key = ap_slice_split(&value, '=');
            if (!value.data)
                return fail_value(source, "expected key=value, found \"%.*s\"", AP_SLICE_ARG(part));
            texts.keys[index] = yaml_copy(source->document, ap_slice_trim(key));
            part = ap_slice_trim(value);
        }
        texts.items[index++] = yaml_copy(source->document, part);
    }
    *target = texts;
    return AP_OK;
}

enum ap_rc yaml_read_text(struct yaml_document *document, const struct yaml_field *field, struct ap_slice text,
                          void *target, struct ap_err *err)
{
    if (field->type == YAML_TYPE_NODE)
        return ap_fail(err, AP_E_PARSE, "%s: can be given in a file only", field->key);
    struct source source = {.document = document, .field = field, .err = err};
    if (field->type == YAML_TYPE_TEXT_LIST || field->type == YAML_TYPE_TEXT_MAP)
        return read_texts(&source, text, target);
    return read_scalar(&source, text, target);
}

static enum ap_rc read_text_nodes(const struct source *source, struct yaml_texts *target)
{
    const struct yaml_node *node = source->node;
    bool is_map = source->field->type == YAML_TYPE_TEXT_MAP;
    bool is_single = !is_map && node->kind == YAML_KIND_SCALAR;
    if (!is_single && node->kind != (is_map ? YAML_KIND_MAP : YAML_KIND_LIST))
        return fail_value(source, "expected %s, found a %s", yaml_type_expects(source->field->type),
                          yaml_kind_name(node->kind));
    struct yaml_texts texts = texts_new(node->document, is_single ? 1 : node->child_count, is_map);
    const struct yaml_node *item = is_single ? node : node->first;
    for (size_t i = 0; i < texts.count; i++, item = item->next) {
        if (item->kind != YAML_KIND_SCALAR || yaml_is_null(item))
            return yaml_fail(source->err, item, "%s: expected text, found %s%s", source->field->key,
                             item->kind == YAML_KIND_SCALAR ? "nothing" : "a ",
                             item->kind == YAML_KIND_SCALAR ? "" : yaml_kind_name(item->kind));
        texts.items[i] = item->text.data;
        texts.nodes[i] = item;
        if (is_map)
            texts.keys[i] = item->key->text.data;
    }
    *target = texts;
    return AP_OK;
}

enum ap_rc yaml_read_node(const struct yaml_node *node, const struct yaml_field *field, void *target,
                          struct ap_err *err)
{
    struct source source = {.document = node->document, .node = node, .field = field, .err = err};
    if (field->type == YAML_TYPE_NODE) {
        *(const struct yaml_node **)target = node;
        return AP_OK;
    }
    if (field->type == YAML_TYPE_TEXT_LIST || field->type == YAML_TYPE_TEXT_MAP)
        return read_text_nodes(&source, target);
    if (node->kind != YAML_KIND_SCALAR)
        return fail_value(&source, "expected %s, found a %s", yaml_type_expects(field->type),
                          yaml_kind_name(node->kind));
    return read_scalar(&source, node->text, target);
}

/* ---- Structs ---- */

/* Letters to insert, remove, replace or swap with the next one, to make `a` out of `b` (optimal string alignment). */
static size_t edit_distance(struct ap_slice a, struct ap_slice b)
{
    size_t rows[3][NEAREST_BYTES_MAX + 1];
    size_t *before = rows[0], *previous = rows[1], *current = rows[2];
    for (size_t j = 0; j <= b.bytes; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a.bytes; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b.bytes; j++) {
            size_t replaced = previous[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            current[j] = AP_MIN(replaced, AP_MIN(previous[j], current[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                current[j] = AP_MIN(current[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = previous;
        previous = current;
        current = free_row;
    }
    return previous[b.bytes];
}

const char *yaml_nearest(struct ap_slice text, const char *const *known, size_t known_count)
{
    const char *nearest = NULL;
    size_t nearest_distance = AP_MAX(text.bytes / 3, 1) + 1; /* further away is another word */
    for (size_t i = 0; i < known_count && text.bytes <= NEAREST_BYTES_MAX; i++) {
        struct ap_slice candidate = ap_slice_cstr(known[i]);
        if (candidate.bytes > NEAREST_BYTES_MAX)
            continue;
        size_t distance = edit_distance(text, candidate);
        if (distance < nearest_distance) {
            nearest = known[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

enum ap_rc yaml_fail_unknown_key(struct ap_err *err, const struct yaml_node *key, const char *const *known,
                                 size_t known_count)
{
    const char *nearest = yaml_nearest(key->text, known, known_count);
    int shown_bytes = (int)AP_MIN(key->text.bytes, 80);
    if (nearest)
        return yaml_fail(err, key, "unknown key \"%.*s\"; did you mean \"%s\"?", shown_bytes, key->text.data, nearest);
    AP_AUTO_BUF struct ap_buf all = {0};
    for (size_t i = 0; i < known_count; i++)
        ap_buf_printf(&all, "%s%s", i > 0 ? ", " : "", known[i]);
    return yaml_fail(err, key, "unknown key \"%.*s\"; known here: %.*s", shown_bytes, key->text.data,
                     AP_SLICE_ARG(ap_buf_slice(&all)));
}

static const struct yaml_field *find_field(const struct yaml_field *fields, size_t field_count, struct ap_slice key)
{
    for (size_t i = 0; i < field_count; i++) {
        if (ap_slice_equal_cstr(key, fields[i].key))
            return &fields[i];
    }
    return NULL;
}

enum ap_rc yaml_read_struct(const struct yaml_node *map, const struct yaml_field *fields, size_t field_count,
                            void *target, struct ap_err *err)
{
    if (map->kind != YAML_KIND_MAP)
        return yaml_fail(err, map, "expected a map with \"%s\" and so on, found a %s", fields[0].key,
                         yaml_kind_name(map->kind));
    for (size_t i = 0; i < field_count; i++) {
        if (!fields[i].default_text)
            continue;
        enum ap_rc rc = yaml_read_text((struct yaml_document *)map->document, &fields[i],
                                       ap_slice_cstr(fields[i].default_text), (char *)target + fields[i].offset, err);
        AP_ASSERT(rc == AP_OK); /* a default of our own */
    }
    for (const struct yaml_node *value = map->first; value; value = value->next) {
        const struct yaml_field *field = find_field(fields, field_count, value->key->text);
        if (!field) {
            const char **known = yaml_alloc(map->document, field_count * sizeof(*known));
            for (size_t i = 0; i < field_count; i++)
                known[i] = fields[i].key;
            return yaml_fail_unknown_key(err, value->key, known, field_count);
        }
        if (yaml_is_null(value))
            continue;
        enum ap_rc rc = yaml_read_node(value, field, (char *)target + field->offset, err);
        if (rc != AP_OK)
            return rc;
    }
    for (size_t i = 0; i < field_count; i++) {
        const struct yaml_node *value = yaml_get(map, fields[i].key);
        if (fields[i].is_required && (!value || yaml_is_null(value)))
            return yaml_fail(err, map, "\"%s\" is missing: %s", fields[i].key, fields[i].doc);
    }
    return AP_OK;
}

static void describe_type(const struct yaml_field *field, struct ap_buf *out)
{
    if (field->type != YAML_TYPE_CHOICE) {
        ap_buf_add_cstr(out, yaml_type_expects(field->type));
        return;
    }
    for (size_t i = 0; field->choices[i]; i++)
        ap_buf_printf(out, "%s`%s`", i > 0 ? ", " : "", field->choices[i]);
}

void yaml_describe_struct(const struct yaml_field *fields, size_t field_count, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "| key | value | default | |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < field_count; i++) {
        ap_buf_printf(out, "| `%s` | ", fields[i].key);
        describe_type(&fields[i], out);
        const char *shown = fields[i].default_text;
        if (fields[i].is_required)
            ap_buf_add_cstr(out, " | *required*");
        else if (shown && shown[0] != '\0')
            ap_buf_printf(out, " | `%s`", shown);
        else
            ap_buf_add_cstr(out, " | ");
        ap_buf_printf(out, " | %s |\n", fields[i].doc);
    }
}
