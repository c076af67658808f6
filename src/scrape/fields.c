#include "scrape/fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "promql/lexer.h"

enum { PATH_BYTES = 32 };

/* ---- Sources ---- */

static struct scrape_source *source_new(struct yaml_document *take_document)
{
    struct scrape_source *source = ap_new0(struct scrape_source);
    source->document = take_document;
    source->ref_count = 1;
    ap_arena_init(&source->arena, 0);
    return source;
}

enum ap_rc scrape_source_load(const char *path, struct scrape_source **ret_source, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_load_sharing(path, &document, err);
    if (rc == AP_OK)
        *ret_source = source_new(document);
    return rc;
}

enum ap_rc scrape_source_parse(struct ap_slice text, const char *name, struct scrape_source **ret_source,
                               struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_parse_sharing(text, name, &document, err);
    if (rc == AP_OK)
        *ret_source = source_new(document);
    return rc;
}

struct scrape_source *scrape_source_ref(struct scrape_source *source)
{
    __atomic_add_fetch(&source->ref_count, 1, __ATOMIC_RELAXED);
    return source;
}

void scrape_source_unref(struct scrape_source *source)
{
    if (!source || __atomic_sub_fetch(&source->ref_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < source->fd_count; i++)
        close(source->fds[i]);
    free(source->fds);
    yaml_free(source->document);
    ap_arena_clear(&source->arena);
    free(source);
}

const char *scrape_source_path(struct scrape_source *source, const char *path)
{
    const char *file = yaml_file(source->document);
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || path[0] == '\0' || !slash)
        return path;
    size_t dir_bytes = (size_t)(slash - file) + 1, path_bytes = strlen(path);
    char *joined = ap_arena_alloc0(&source->arena, dir_bytes + path_bytes + 1);
    memcpy(joined, file, dir_bytes);
    memcpy(joined + dir_bytes, path, path_bytes);
    return joined;
}

static bool write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t written = write(fd, text, left);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        left -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

enum ap_rc scrape_source_file_of(struct scrape_source *source, const char *text, const char **ret_path,
                                 struct ap_err *err)
{
    AP_AUTO_FD int fd = memfd_create("apiary", MFD_CLOEXEC);
    if (fd < 0 || !write_all(fd, text))
        return ap_fail_errno(err, errno, "keep a text of the configuration as a file in memory");
    char *path = ap_arena_alloc0(&source->arena, PATH_BYTES);
    snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
    source->fds = ap_realloc(source->fds, (source->fd_count + 1) * sizeof(*source->fds));
    source->fds[source->fd_count++] = AP_MOVE_FD(fd);
    *ret_path = path;
    return AP_OK;
}

/* ---- Notations ---- */

static bool parse_duration(struct ap_slice text, int64_t *ret_ms)
{
    if (promql_parse_duration(text, ret_ms))
        return true;
    *ret_ms = 0;
    return ap_slice_equal_cstr(text, "0");
}

/* YAML 1.1's, in which Prometheus' files are written. */
static bool parse_boolean(struct ap_slice text, bool *ret_value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "n", "y"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        *ret_value = i % 2;
        if (ap_slice_equal_nocase(text, words[i]))
            return true;
    }
    return false;
}

static uint64_t unit_of(struct ap_slice text, size_t *ret_bytes)
{
    static const char letters[] = "KMGTPE";
    const char *letter = text.bytes ? strchr(letters, text.data[0]) : NULL;
    size_t at = letter && *letter ? 1 : 0;
    if (at && at < text.bytes && text.data[at] == 'i')
        at++;
    if (at < text.bytes && text.data[at] == 'B')
        at++;
    *ret_bytes = at;
    return letter && *letter ? UINT64_C(1) << 10 * (letter - letters + 1) : 1;
}

/* "1.5MB", "1GiB512KB", "1024". */
static bool parse_size(struct ap_slice text, uint64_t *ret_size)
{
    double sum = 0;
    for (size_t at = 0; at < text.bytes;) {
        size_t end = at, unit_bytes;
        double number;
        while (end < text.bytes && (text.data[end] == '.' || (text.data[end] >= '0' && text.data[end] <= '9')))
            end++;
        if (!yaml_parse_number(ap_slice(text.data + at, end - at), &number))
            return false;
        uint64_t unit = unit_of(ap_slice(text.data + end, text.bytes - end), &unit_bytes);
        at = end + unit_bytes;
        sum += number * (double)unit;
    }
    if (text.bytes == 0 || sum >= 0x1p62)
        return false;
    *ret_size = (uint64_t)sum;
    return true;
}

static bool parse_count(struct ap_slice text, uint64_t *ret_count)
{
    int64_t value;
    if (!yaml_parse_integer(text, &value) || value < 0)
        return false;
    *ret_count = (uint64_t)value;
    return true;
}

/* ---- Fields ---- */

static const char *expected(enum field_type type)
{
    switch (type) {
    case FIELD_DURATION:
        return "a duration such as 15s, 1m or 1h30m";
    case FIELD_BOOLEAN:
        return "true or false";
    case FIELD_SIZE:
        return "a size such as 64KB or 10MB";
    case FIELD_COUNT:
        return "a number from 0 on";
    case FIELD_NUMBER:
        return "a number";
    case FIELD_TEXTS:
        return "a list of texts";
    case FIELD_TEXT_MAP:
        return "a map of texts";
    case FIELD_NODE:
        return "a value";
    case FIELD_TEXT:
    case FIELD_SECRET:
    case FIELD_PATH:
        break;
    }
    return "text";
}

static enum ap_rc read_lists(const struct yaml_node *node, const struct field *field, void *target, struct ap_err *err)
{
    const struct yaml_field as_list = {.key = field->key,
                                       .type = field->type == FIELD_TEXTS ? YAML_TYPE_TEXT_LIST : YAML_TYPE_TEXT_MAP};
    return yaml_read_node(node, &as_list, target, err);
}

static bool parse_scalar(struct scrape_source *source, struct ap_slice text, enum field_type type, void *target)
{
    switch (type) {
    case FIELD_TEXT:
    case FIELD_SECRET:
        *(const char **)target = text.data;
        return !memchr(text.data, '\0', text.bytes);
    case FIELD_PATH:
        *(const char **)target = scrape_source_path(source, text.data);
        return !memchr(text.data, '\0', text.bytes);
    case FIELD_DURATION:
        return parse_duration(text, target);
    case FIELD_BOOLEAN:
        return parse_boolean(text, target);
    case FIELD_SIZE:
        return parse_size(text, target);
    case FIELD_COUNT:
        return parse_count(text, target);
    case FIELD_NUMBER:
        return yaml_parse_number(text, target);
    case FIELD_TEXTS:
    case FIELD_TEXT_MAP:
    case FIELD_NODE:
        break;
    }
    return false;
}

static enum ap_rc read_field(struct scrape_source *source, const struct yaml_node *node, const struct field *field,
                             void *target, struct ap_err *err)
{
    if (field->type == FIELD_NODE) {
        *(const struct yaml_node **)target = node;
        return AP_OK;
    }
    if (field->type == FIELD_TEXTS || field->type == FIELD_TEXT_MAP)
        return read_lists(node, field, target, err);
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_fail(err, node, "%s: expected %s, found a %s", field->key, expected(field->type),
                         yaml_kind_name(node->kind));
    if (parse_scalar(source, node->text, field->type, target))
        return AP_OK;
    if (field->type == FIELD_SECRET)
        return yaml_fail(err, node, "%s: expected text", field->key);
    return yaml_fail(err, node, "%s: expected %s, found \"%.*s\"", field->key, expected(field->type),
                     (int)AP_MIN(node->text.bytes, (size_t)80), node->text.data);
}

static const struct field *find_field(const struct field *fields, size_t count, struct ap_slice key)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(key, fields[i].key))
            return &fields[i];
    return NULL;
}

static enum ap_rc fail_unknown(struct scrape_source *source, const struct yaml_node *value, const struct field *fields,
                               size_t count, struct ap_err *err)
{
    const char **known = ap_arena_alloc0(&source->arena, count * sizeof(*known));
    for (size_t i = 0; i < count; i++)
        known[i] = fields[i].key;
    return yaml_fail_unknown_key(err, value->key, known, count);
}

enum ap_rc fields_read(struct scrape_source *source, const struct yaml_node *map, const struct field *fields,
                       size_t count, void *target, field_foreign_fn foreign, void *context, struct ap_err *err)
{
    if (map->kind != YAML_KIND_MAP)
        return yaml_fail(err, map, "expected a map with \"%s\" and so on, found a %s", fields[0].key,
                         yaml_kind_name(map->kind));
    for (const struct yaml_node *value = map->first; value; value = value->next) {
        const struct field *field = find_field(fields, count, value->key->text);
        if (!field && foreign && foreign(value, context))
            continue;
        if (!field)
            return fail_unknown(source, value, fields, count, err);
        if (yaml_is_null(value))
            continue;
        enum ap_rc rc = read_field(source, value, field, (char *)target + field->offset, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

bool fields_has(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *value = yaml_get(map, key);
    return value && !yaml_is_null(value);
}

/* ---- Comparing ---- */

static void print_text(const struct yaml_node *node, struct ap_buf *out)
{
    ap_buf_add_varint(out, node->text.bytes);
    ap_buf_add_slice(out, node->text);
}

/* Not deeper than YAML_DEPTH_MAX, since no document is. */
void fields_print(const struct yaml_node *node, struct ap_buf *out)
{
    static const char kinds[] = {[YAML_KIND_SCALAR] = 's', [YAML_KIND_LIST] = 'l', [YAML_KIND_MAP] = 'm'};
    ap_buf_add_char(out, kinds[node->kind]);
    ap_buf_add_char(out, node->is_quoted ? 'q' : '-');
    if (node->kind == YAML_KIND_SCALAR) {
        print_text(node, out);
        return;
    }
    ap_buf_add_varint(out, node->child_count);
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        if (child->key)
            print_text(child->key, out);
        fields_print(child, out);
    }
}
