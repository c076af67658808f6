#include "tsdb/labels.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { TAG_LABEL = 0x0A, TAG_NAME = 0x0A, TAG_VALUE = 0x12 };

struct labels_hash labels_hash_of(uint64_t seed, struct ap_slice labels)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(labels.data, labels.bytes, seed);
    return (struct labels_hash){hash.low64, hash.high64};
}

/* ---- Reading ---- */

/* A varint of at most 5 bytes; canonical ones have no more than they need. */
static inline bool cut_varint(struct ap_slice *rest, uint32_t *ret_value, bool *ret_is_shortest)
{
    uint32_t value = 0;
    if (rest->bytes && (uint8_t)rest->data[0] < 0x80) { /* most are one byte */
        *ret_value = (uint8_t)rest->data[0];
        *rest = ap_slice(rest->data + 1, rest->bytes - 1);
        return true;
    }
    for (unsigned i = 0; i < 5 && i < rest->bytes; i++) {
        uint8_t byte = (uint8_t)rest->data[i];
        value |= (uint32_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret_is_shortest &= i == 0 || byte != 0;
            *ret_value = value;
            rest->data += i + 1;
            rest->bytes -= i + 1;
            return true;
        }
    }
    return false;
}

static inline bool cut_field(struct ap_slice *rest, uint8_t tag, struct ap_slice *ret_field, bool *ret_is_shortest)
{
    uint32_t bytes;
    if (rest->bytes == 0 || (uint8_t)rest->data[0] != tag)
        return false;
    struct ap_slice after = ap_slice(rest->data + 1, rest->bytes - 1);
    if (!cut_varint(&after, &bytes, ret_is_shortest) || bytes > after.bytes)
        return false;
    *ret_field = ap_slice(after.data, bytes);
    *rest = ap_slice(after.data + bytes, after.bytes - bytes);
    return true;
}

/*
 * One label as any sender may write it: name and value in this order, either may be missing. Canonical labels have
 * both.
 */
static bool cut_label(struct ap_slice *rest, struct label *ret_label, bool *ret_is_canonical)
{
    struct ap_slice label;
    if (!cut_field(rest, TAG_LABEL, &label, ret_is_canonical))
        return false;
    ret_label->name = ret_label->value = ap_slice("", 0);
    if (!cut_field(&label, TAG_NAME, &ret_label->name, ret_is_canonical))
        *ret_is_canonical = false;
    if (!cut_field(&label, TAG_VALUE, &ret_label->value, ret_is_canonical))
        *ret_is_canonical = false;
    return label.bytes == 0;
}

bool labels_next(struct ap_slice *rest, struct label *ret_label)
{
    bool is_canonical = true;
    return cut_label(rest, ret_label, &is_canonical);
}

size_t labels_count(struct ap_slice labels)
{
    struct label label;
    size_t count = 0;
    while (labels_next(&labels, &label))
        count++;
    return count;
}

struct ap_slice labels_get(struct ap_slice labels, struct ap_slice name)
{
    struct label label;
    while (labels_next(&labels, &label))
        if (ap_slice_equal(label.name, name))
            return label.value;
    return (struct ap_slice){0};
}

static int compare_bytes(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* Cuts off the first label of both where it is the same in both, as long as it is short, as most are. */
static inline bool cut_equal(struct ap_slice *a, struct ap_slice *b)
{
    if (a->bytes < 2 || b->bytes < 2 || a->data[1] != b->data[1] || (uint8_t)a->data[1] >= 0x80)
        return false;
    size_t bytes = 2 + (size_t)a->data[1];
    if (a->bytes < bytes || b->bytes < bytes || memcmp(a->data, b->data, bytes) != 0)
        return false;
    *a = ap_slice(a->data + bytes, a->bytes - bytes);
    *b = ap_slice(b->data + bytes, b->bytes - bytes);
    return true;
}

int labels_compare(struct ap_slice a, struct ap_slice b)
{
    struct label x;
    struct label y;
    for (;;) {
        while (cut_equal(&a, &b))
            continue;
        bool has_x = labels_next(&a, &x);
        bool has_y = labels_next(&b, &y);
        if (!has_x || !has_y)
            return (int)has_x - (int)has_y;
        int order = compare_bytes(x.name, y.name);
        if (order == 0)
            order = compare_bytes(x.value, y.value);
        if (order)
            return order;
    }
}

/* ---- Checking ---- */

enum { SHOWN_BYTES_MAX = 100 };

static enum ap_rc check_label(const struct label *label, struct ap_err *err)
{
    int shown = (int)(label->name.bytes < SHOWN_BYTES_MAX ? label->name.bytes : SHOWN_BYTES_MAX);
    if (label->name.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "a label has an empty name");
    if (label->name.bytes > LABEL_NAME_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the name of a label has %zu bytes; %d are allowed", label->name.bytes,
                       LABEL_NAME_BYTES_MAX);
    if (ap_utf8_valid_bytes(label->name) != label->name.bytes)
        return ap_fail(err, AP_E_PARSE, "the name of a label is not UTF-8");
    if (label->value.bytes > LABEL_VALUE_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the value of label %.*s has %zu bytes; %d are allowed", shown,
                       label->name.data, label->value.bytes, LABEL_VALUE_BYTES_MAX);
    if (ap_utf8_valid_bytes(label->value) != label->value.bytes)
        return ap_fail(err, AP_E_PARSE, "the value of label %.*s is not UTF-8", shown, label->name.data);
    return AP_OK;
}

static enum ap_rc check_order(struct ap_slice before, struct ap_slice name, struct ap_err *err)
{
    int shown = (int)(name.bytes < SHOWN_BYTES_MAX ? name.bytes : SHOWN_BYTES_MAX);
    int order = compare_bytes(before, name);
    if (order == 0)
        return ap_fail(err, AP_E_PARSE, "label %.*s is there twice", shown, name.data);
    return order < 0 ? AP_OK : ap_fail(err, AP_E_PARSE, "label %.*s is not in order", shown, name.data);
}

enum ap_rc labels_check(struct ap_slice labels, struct ap_err *err)
{
    if (labels.bytes > LABELS_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the labels have %zu bytes; %d are allowed", labels.bytes, LABELS_BYTES_MAX);
    struct ap_slice rest = labels;
    struct ap_slice before = {0};
    size_t count = 0;
    while (rest.bytes) {
        struct label label;
        bool is_canonical = true;
        if (!cut_label(&rest, &label, &is_canonical))
            return ap_fail(err, AP_E_PARSE, "the labels are malformed");
        enum ap_rc rc = check_label(&label, err);
        if (rc == AP_OK && count)
            rc = check_order(before, label.name, err);
        if (rc != AP_OK)
            return rc;
        if (!is_canonical || label.value.bytes == 0)
            return ap_fail(err, AP_E_PARSE, "the labels are not in canonical form");
        before = label.name;
        if (++count > LABELS_COUNT_MAX)
            return ap_fail(err, AP_E_LIMIT, "there are more than %d labels", LABELS_COUNT_MAX);
    }
    return count ? AP_OK : ap_fail(err, AP_E_PARSE, "there are no labels");
}

/* ---- Making ---- */

static size_t varint_bytes(size_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static inline char *put_varint(char *to, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

static inline char *put_text(char *to, uint8_t tag, struct ap_slice text)
{
    *to++ = (char)tag;
    to = put_varint(to, text.bytes);
    if (text.bytes)
        memcpy(to, text.data, text.bytes);
    return to + text.bytes;
}

void labels_add(struct ap_buf *out, const struct label *label)
{
    size_t inner_bytes =
        2 + varint_bytes(label->name.bytes) + label->name.bytes + varint_bytes(label->value.bytes) + label->value.bytes;
    size_t bytes = 1 + varint_bytes(inner_bytes) + inner_bytes;
    char *to = ap_buf_reserve(out, bytes);
    if (!to)
        return;
    *to++ = TAG_LABEL;
    to = put_varint(to, inner_bytes);
    to = put_text(to, TAG_NAME, label->name);
    (void)put_text(to, TAG_VALUE, label->value);
    out->bytes += bytes;
}

/* There are few, and mostly they are in order already. */
static void sort(struct label *labels, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct label label = labels[i];
        size_t at = i;
        for (; at > 0 && compare_bytes(labels[at - 1].name, label.name) > 0; at--)
            labels[at] = labels[at - 1];
        labels[at] = label;
    }
}

static enum ap_rc encode(struct label *labels, size_t count, struct ap_buf *out, struct ap_err *err)
{
    size_t start = out->bytes;
    struct ap_slice before = {0};
    size_t kept = 0;
    sort(labels, count);
    for (size_t i = 0; i < count; i++) {
        enum ap_rc rc = check_label(&labels[i], err);
        if (rc == AP_OK && i)
            rc = check_order(before, labels[i].name, err);
        if (rc != AP_OK)
            return rc;
        before = labels[i].name;
        if (labels[i].value.bytes == 0)
            continue;
        labels_add(out, &labels[i]);
        kept++;
    }
    if (out->bytes - start > LABELS_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the labels have more than %d bytes", LABELS_BYTES_MAX);
    return kept ? AP_OK : ap_fail(err, AP_E_PARSE, "there are no labels");
}

enum ap_rc labels_encode(struct label *labels, size_t count, struct ap_buf *out, struct ap_err *err)
{
    if (count > LABELS_COUNT_MAX)
        return ap_fail(err, AP_E_LIMIT, "there are %zu labels; %d are allowed", count, LABELS_COUNT_MAX);
    size_t start = out->bytes;
    enum ap_rc rc = encode(labels, count, out, err);
    if (rc == AP_OK && !ap_buf_ok(out))
        rc = ap_fail(err, AP_E_LIMIT, "no room for the labels");
    if (rc != AP_OK)
        out->bytes = start;
    return rc;
}

/* ---- Showing ---- */

static bool is_plain_name(struct ap_slice name, bool is_metric)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (is_metric && c == ':');
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.bytes > 0;
}

static void add_quoted(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '\n')
            ap_buf_add_cstr(out, "\\n");
        else {
            if (c == '"' || c == '\\')
                ap_buf_add_char(out, '\\');
            ap_buf_add_char(out, c);
        }
    }
    ap_buf_add_char(out, '"');
}

static void add_pair(struct ap_buf *out, const struct label *label)
{
    if (is_plain_name(label->name, false))
        ap_buf_add_slice(out, label->name);
    else
        add_quoted(out, label->name);
    ap_buf_add_char(out, '=');
    add_quoted(out, label->value);
}

void labels_format(struct ap_slice labels, struct ap_buf *out)
{
    struct ap_slice metric = labels_get(labels, ap_slice_cstr(LABEL_METRIC_NAME));
    bool is_bare = is_plain_name(metric, true);
    if (is_bare)
        ap_buf_add_slice(out, metric);
    if (is_bare && labels_count(labels) == 1)
        return;
    ap_buf_add_char(out, '{');
    bool is_first = true;
    if (metric.bytes && !is_bare) {
        add_quoted(out, metric);
        is_first = false;
    }
    struct label label;
    while (labels_next(&labels, &label)) {
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            continue;
        if (!is_first)
            ap_buf_add_cstr(out, ", ");
        is_first = false;
        add_pair(out, &label);
    }
    ap_buf_add_char(out, '}');
}

void labels_format_json(struct ap_slice labels, struct ap_buf *out)
{
    struct label label;
    const char *separator = "{";
    while (labels_next(&labels, &label)) {
        ap_buf_add_cstr(out, separator);
        ap_buf_add_json_string(out, label.name);
        ap_buf_add_char(out, ':');
        ap_buf_add_json_string(out, label.value);
        separator = ",";
    }
    ap_buf_add_cstr(out, *separator == '{' ? "{}" : "}");
}

void labels_format_set(struct ap_slice labels, struct ap_buf *out)
{
    struct label label;
    const char *separator = "";
    ap_buf_add_char(out, '{');
    while (labels_next(&labels, &label)) {
        ap_buf_add_cstr(out, separator);
        add_pair(out, &label);
        separator = ", ";
    }
    ap_buf_add_char(out, '}');
}
