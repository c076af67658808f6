#include "ingest/otlp_labels.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "codec/protobuf.h"
#include "tsdb/labels.h"

enum {
    OVERRUN_BYTES = 32,
    FRAME_BYTES = 16, /* of one label: two tags and three lengths are at most 2 + 1 + 3 * 4 */
};

void otlp_labels_init(struct otlp_labels *labels, const struct otlp_naming *naming, struct ap_arena *arena,
                      struct ap_slice source)
{
    labels->naming = naming;
    labels->arena = arena;
    labels->source = source;
    labels->resource_count = 0;
    labels->fixed_count = 0;
    labels->fixed_bytes = 0;
    labels->has_plan = false;
}

static enum ap_rc fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
}

static int compare(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/* ---- Writing ---- */

static inline size_t varint_bytes(size_t value)
{
    return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4;
}

static inline char *put_varint(char *to, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

/* Up to 32 bytes are copied as 32, which is one or two instructions, where so many may be read. There is room. */
static inline char *put_text(char *to, struct ap_slice text, struct ap_slice source)
{
    size_t at = (size_t)((uintptr_t)text.data - (uintptr_t)source.data);
    if (text.bytes <= OVERRUN_BYTES && source.bytes >= OVERRUN_BYTES && at <= source.bytes - OVERRUN_BYTES)
        memcpy(to, text.data, OVERRUN_BYTES);
    else if (text.bytes)
        memcpy(to, text.data, text.bytes);
    return to + text.bytes;
}

/* Bytes that this file has made, behind which OVERRUN_BYTES are readable. */
static inline char *put_made(char *to, struct ap_slice bytes)
{
    if (bytes.bytes <= OVERRUN_BYTES)
        memcpy(to, bytes.data, OVERRUN_BYTES);
    else
        memcpy(to, bytes.data, bytes.bytes);
    return to + bytes.bytes;
}

static char *allocate(struct otlp_labels *labels, size_t bytes)
{
    return ap_arena_try_alloc(labels->arena, bytes + OVERRUN_BYTES);
}

static char *put_name_field(char *to, struct ap_slice name)
{
    *to++ = PROTOBUF_TAG(1, PROTOBUF_BYTES);
    to = put_varint(to, name.bytes);
    if (name.bytes)
        memcpy(to, name.data, name.bytes);
    return to + name.bytes;
}

/* ---- Labels of resource and scope ---- */

void otlp_labels_begin_resource(struct otlp_labels *labels)
{
    labels->resource_count = 0;
}

static enum ap_rc make_label(struct otlp_labels *labels, struct ap_slice name, struct ap_slice value,
                             struct ap_slice *ret_label, struct ap_err *err)
{
    *ret_label = ap_slice("", 0);
    if (value.bytes == 0)
        return AP_OK;
    char *label = allocate(labels, name.bytes + value.bytes + FRAME_BYTES);
    if (!label)
        return fail_full(err);
    size_t bytes = 2 + varint_bytes(name.bytes) + name.bytes + varint_bytes(value.bytes) + value.bytes;
    char *to = label;
    *to++ = PROTOBUF_TAG(1, PROTOBUF_BYTES);
    to = put_varint(to, bytes);
    to = put_name_field(to, name);
    *to++ = PROTOBUF_TAG(2, PROTOBUF_BYTES);
    to = put_varint(to, value.bytes);
    memcpy(to, value.data, value.bytes);
    *ret_label = ap_slice(label, (size_t)(to + value.bytes - label));
    return AP_OK;
}

/* Keeps the array sorted; a name that is there is replaced. */
static enum ap_rc set_fixed(struct otlp_labels *labels, struct otlp_fixed *fixed, size_t *count,
                            const struct otlp_fixed *set, struct ap_err *err)
{
    size_t at = *count;
    while (at > 0 && compare(fixed[at - 1].name, set->name) > 0)
        at--;
    if (at > 0 && ap_slice_equal(fixed[at - 1].name, set->name)) {
        fixed[at - 1].label = set->label;
        fixed[at - 1].is_weak = set->is_weak;
        return AP_OK;
    }
    if (*count == OTLP_FIXED_MAX)
        return ap_fail(err, AP_E_LIMIT, "a resource and its scope may have %d attributes", OTLP_FIXED_MAX);
    struct ap_slice name = set->name;
    char *kept = allocate(labels, name.bytes);
    if (!kept)
        return fail_full(err);
    memcpy(kept, name.data, name.bytes);
    memmove(&fixed[at + 1], &fixed[at], (*count - at) * sizeof(*fixed));
    fixed[at] = *set;
    fixed[at].name = ap_slice(kept, name.bytes);
    (*count)++;
    return AP_OK;
}

enum ap_rc otlp_labels_set_resource(struct otlp_labels *labels, struct ap_slice name, struct ap_slice value,
                                    bool is_weak, struct ap_err *err)
{
    struct otlp_fixed set = {.name = name, .is_weak = is_weak};
    enum ap_rc rc = make_label(labels, name, value, &set.label, err);
    return rc == AP_OK ? set_fixed(labels, labels->resource, &labels->resource_count, &set, err) : rc;
}

static void count_fixed_bytes(struct otlp_labels *labels)
{
    labels->fixed_bytes = 0;
    for (size_t i = 0; i < labels->fixed_count; i++)
        labels->fixed_bytes += labels->fixed[i].label.bytes;
}

/* A plan is as good for another resource that gives the same names. */
void otlp_labels_begin_scope(struct otlp_labels *labels)
{
    bool is_same = labels->fixed_count == labels->resource_count;
    for (size_t i = 0; i < labels->resource_count && is_same; i++)
        is_same = labels->fixed[i].is_weak == labels->resource[i].is_weak &&
                  ap_slice_equal(labels->fixed[i].name, labels->resource[i].name);
    labels->has_plan = labels->has_plan && is_same;
    memcpy(labels->fixed, labels->resource, labels->resource_count * sizeof(labels->fixed[0]));
    labels->fixed_count = labels->resource_count;
    count_fixed_bytes(labels);
}

enum ap_rc otlp_labels_set_scope(struct otlp_labels *labels, struct ap_slice name, struct ap_slice value,
                                 struct ap_err *err)
{
    struct otlp_fixed set = {.name = name};
    enum ap_rc rc = make_label(labels, name, value, &set.label, err);
    if (rc == AP_OK)
        rc = set_fixed(labels, labels->fixed, &labels->fixed_count, &set, err);
    labels->has_plan = false;
    count_fixed_bytes(labels);
    return rc;
}

/* ---- The plan ---- */

static struct ap_slice extra_name(enum otlp_extra extra)
{
    return ap_slice_cstr(extra == OTLP_EXTRA_LE ? "le" : extra == OTLP_EXTRA_QUANTILE ? "quantile" : "");
}

/* An attribute while the plan is made. */
struct planned {
    struct ap_slice name;
    struct ap_slice key;
    uint16_t index;
};

static int compare_planned(const void *a, const void *b)
{
    const struct planned *left = a, *right = b;
    int order = compare(left->name, right->name);
    if (order == 0)
        order = compare(left->key, right->key);
    return order ? order : (int)left->index - (int)right->index;
}

/* The attributes that become labels, by name. */
static enum ap_rc plan_attributes(struct otlp_labels *labels, const struct otlp_attributes *attributes,
                                  struct planned *planned, size_t *ret_count, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf name = {0};
    size_t count = 0;
    for (size_t i = 0; i < attributes->count; i++) {
        struct ap_slice key = attributes->items[i].key;
        ap_buf_reset(&name);
        enum ap_rc rc = otlp_label_name(labels->naming, key, &name, err);
        if (rc != AP_OK)
            return rc;
        struct ap_slice made = ap_buf_slice(&name);
        if (ap_slice_equal_cstr(made, LABEL_METRIC_NAME) ||
            (labels->extra != OTLP_EXTRA_NONE && ap_slice_equal(made, extra_name(labels->extra))))
            continue;
        char *kept = allocate(labels, made.bytes);
        if (!kept)
            return fail_full(err);
        memcpy(kept, made.data, made.bytes);
        planned[count++] = (struct planned){ap_slice(kept, made.bytes), key, (uint16_t)i};
    }
    qsort(planned, count, sizeof(*planned), compare_planned); /* cppcheck-suppress uninitvar ; as far as count */
    *ret_count = count;
    return AP_OK;
}

static void add_special_step(struct otlp_labels *labels, enum otlp_step_kind kind)
{
    labels->steps[labels->step_count++] = (struct otlp_step){.kind = kind, .fixed = -1};
}

static enum ap_rc add_attribute_step(struct otlp_labels *labels, const struct planned *planned, size_t count,
                                     size_t first, int32_t fixed, struct ap_err *err)
{
    char *field = allocate(labels, planned->name.bytes + FRAME_BYTES);
    if (!field)
        return fail_full(err);
    size_t bytes = (size_t)(put_name_field(field, planned->name) - field);
    labels->name_bytes += bytes;
    labels->steps[labels->step_count++] = (struct otlp_step){
        .kind = OTLP_STEP_LABEL,
        .attribute_first = (uint16_t)first,
        .attribute_count = (uint16_t)count,
        .fixed = fixed,
        .name_field = ap_slice(field, bytes),
    };
    for (size_t i = 0; i < count; i++)
        labels->order[first + i] = planned[i].index;
    return AP_OK;
}

/* Steps in order of names: attributes and fixed labels merged, the metric's name and the extra label in between. */
static enum ap_rc plan_steps(struct otlp_labels *labels, const struct planned *planned, size_t planned_count,
                             struct ap_err *err)
{
    struct ap_slice metric_name = ap_slice_cstr(LABEL_METRIC_NAME), extra = extra_name(labels->extra);
    bool has_metric_name = false, has_extra = labels->extra == OTLP_EXTRA_NONE;
    size_t at = 0, fixed = 0;
    while (at < planned_count || fixed < labels->fixed_count) {
        struct ap_slice name = at < planned_count ? planned[at].name : labels->fixed[fixed].name;
        if (fixed < labels->fixed_count && compare(labels->fixed[fixed].name, name) < 0)
            name = labels->fixed[fixed].name;
        if (!has_metric_name && compare(metric_name, name) < 0) {
            add_special_step(labels, OTLP_STEP_METRIC_NAME);
            has_metric_name = true;
        }
        if (!has_extra && compare(extra, name) < 0) {
            add_special_step(labels, OTLP_STEP_EXTRA);
            has_extra = true;
        }
        size_t count = 0;
        while (at + count < planned_count && ap_slice_equal(planned[at + count].name, name))
            count++;
        bool has_fixed = fixed < labels->fixed_count && ap_slice_equal(labels->fixed[fixed].name, name);
        enum ap_rc rc = AP_OK;
        if (count && !(has_fixed && !labels->fixed[fixed].is_weak))
            rc = add_attribute_step(labels, planned + at, count, at, has_fixed ? (int32_t)fixed : -1, err);
        else if (!ap_slice_equal(name, metric_name) && !(labels->extra && ap_slice_equal(name, extra)))
            labels->steps[labels->step_count++] = (struct otlp_step){.kind = OTLP_STEP_LABEL, .fixed = (int32_t)fixed};
        if (rc != AP_OK)
            return rc;
        at += count;
        fixed += has_fixed;
    }
    if (!has_metric_name)
        add_special_step(labels, OTLP_STEP_METRIC_NAME);
    if (!has_extra)
        add_special_step(labels, OTLP_STEP_EXTRA);
    return AP_OK;
}

static enum ap_rc make_plan(struct otlp_labels *labels, const struct otlp_attributes *attributes, enum otlp_extra extra,
                            struct ap_err *err)
{
    AP_ASSERT(attributes->count <= OTLP_ATTRIBUTES_MAX);
    struct planned planned[OTLP_ATTRIBUTES_MAX];
    size_t planned_count = 0;
    labels->has_plan = false;
    labels->extra = extra;
    labels->step_count = 0;
    labels->name_bytes = 0;
    enum ap_rc rc = plan_attributes(labels, attributes, planned, &planned_count, err);
    if (rc == AP_OK)
        rc = plan_steps(labels, planned, planned_count, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < attributes->count; i++)
        labels->keys[i] = attributes->items[i].key;
    labels->key_count = attributes->count;
    labels->has_plan = true;
    return AP_OK;
}

/* memcmp() of what is mostly between 4 and 32 bytes long. */
static inline bool is_same(struct ap_slice a, struct ap_slice b)
{
    if (a.bytes != b.bytes)
        return false;
    if (a.bytes < 8 || a.bytes > 32)
        return a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0;
    uint64_t left, right, difference = 0;
    for (size_t at = 0; at + 8 < a.bytes; at += 8) {
        memcpy(&left, a.data + at, 8);
        memcpy(&right, b.data + at, 8);
        difference |= left ^ right;
    }
    memcpy(&left, a.data + a.bytes - 8, 8);
    memcpy(&right, b.data + b.bytes - 8, 8);
    return (difference | (left ^ right)) == 0;
}

static bool fits_plan(const struct otlp_labels *labels, const struct otlp_attributes *attributes, enum otlp_extra extra)
{
    if (!labels->has_plan || labels->key_count != attributes->count || labels->extra != extra)
        return false;
    for (size_t i = 0; i < attributes->count; i++)
        if (!is_same(labels->keys[i], attributes->items[i].key))
            return false;
    return true;
}

/* ---- One point ---- */

/* Values that share a name: joined by ';', as far as there is something to join to. */
static size_t joined_bytes(const struct otlp_labels *labels, const struct otlp_step *step,
                           const struct otlp_attribute *attributes)
{
    size_t bytes = 0;
    for (size_t i = 0; i < step->attribute_count; i++)
        bytes += attributes[labels->order[step->attribute_first + i]].value.bytes + (bytes > 0);
    return bytes;
}

static inline char *put_begin(char *to, struct ap_slice name_field, size_t value_bytes)
{
    *to++ = PROTOBUF_TAG(1, PROTOBUF_BYTES);
    to = put_varint(to, name_field.bytes + 1 + varint_bytes(value_bytes) + value_bytes);
    to = put_made(to, name_field);
    *to++ = PROTOBUF_TAG(2, PROTOBUF_BYTES);
    return put_varint(to, value_bytes);
}

/* Several that share a name. */
static char *put_joined(const struct otlp_labels *labels, const struct otlp_step *step,
                        const struct otlp_attribute *attributes, size_t value_bytes, char *to)
{
    to = put_begin(to, step->name_field, value_bytes);
    const char *begin = to;
    for (size_t i = 0; i < step->attribute_count; i++) {
        if (to > begin)
            *to++ = ';';
        to = put_text(to, attributes[labels->order[step->attribute_first + i]].value, labels->source);
    }
    return to;
}

static inline char *put_attribute(const struct otlp_labels *labels, const struct otlp_step *step,
                                  const struct otlp_attribute *attributes, char *to)
{
    struct ap_slice value = attributes[labels->order[step->attribute_first]].value;
    bool is_joined = step->attribute_count > 1;
    size_t value_bytes = is_joined ? joined_bytes(labels, step, attributes) : value.bytes;
    if (value_bytes == 0) {
        bool has_fixed = step->fixed >= 0 && labels->fixed[step->fixed].label.bytes;
        return has_fixed ? put_made(to, labels->fixed[step->fixed].label) : to;
    }
    if (is_joined)
        return put_joined(labels, step, attributes, value_bytes, to);
    return put_text(put_begin(to, step->name_field, value_bytes), value, labels->source);
}

/* Writes all labels; the metric's name where it belongs unless that is empty, and then says where. */
static enum ap_rc build(struct otlp_labels *labels, const struct otlp_attributes *attributes, enum otlp_extra extra,
                        struct ap_slice metric_name, struct otlp_base *ret_base, struct ap_err *err)
{
    if (!fits_plan(labels, attributes, extra)) {
        enum ap_rc rc = make_plan(labels, attributes, extra, err);
        if (rc != AP_OK)
            return rc;
    }
    size_t bytes = labels->fixed_bytes + labels->name_bytes + metric_name.bytes;
    for (size_t i = 0; i < attributes->count; i++)
        bytes += attributes->items[i].value.bytes + FRAME_BYTES;
    char *begin = allocate(labels, bytes);
    if (!begin)
        return fail_full(err);
    char *to = begin;
    for (size_t i = 0; i < labels->step_count; i++) {
        const struct otlp_step *step = &labels->steps[i];
        if (step->attribute_count)
            to = put_attribute(labels, step, attributes->items, to);
        else if (step->kind == OTLP_STEP_METRIC_NAME) {
            ret_base->name_offset = (size_t)(to - begin);
            if (metric_name.bytes)
                to = put_made(to, metric_name);
        } else if (step->kind == OTLP_STEP_EXTRA)
            ret_base->extra_offset = (size_t)(to - begin);
        else if (labels->fixed[step->fixed].label.bytes)
            to = put_made(to, labels->fixed[step->fixed].label);
    }
    ret_base->labels = ap_slice(begin, (size_t)(to - begin));
    return AP_OK;
}

enum ap_rc otlp_labels_of_point(struct otlp_labels *labels, const struct otlp_attributes *attributes,
                                enum otlp_extra extra, struct otlp_base *ret_base, struct ap_err *err)
{
    return build(labels, attributes, extra, ap_slice("", 0), ret_base, err);
}

enum ap_rc otlp_labels_of_series(struct otlp_labels *labels, const struct otlp_attributes *attributes,
                                 struct ap_slice metric_name, struct ap_slice *ret_labels, struct ap_err *err)
{
    struct otlp_base base;
    enum ap_rc rc = build(labels, attributes, OTLP_EXTRA_NONE, metric_name, &base, err);
    if (rc == AP_OK)
        *ret_labels = base.labels;
    return rc;
}

enum ap_rc otlp_labels_complete(struct otlp_labels *labels, const struct otlp_base *base, struct ap_slice metric_name,
                                struct ap_slice extra, struct ap_slice *ret_labels, struct ap_err *err)
{
    /* '_' comes before every letter that an extra label begins with. */
    AP_ASSERT(extra.bytes == 0 || base->name_offset <= base->extra_offset);
    size_t extra_offset = extra.bytes ? base->extra_offset : base->labels.bytes;
    size_t bytes = base->labels.bytes + metric_name.bytes + extra.bytes;
    char *to = allocate(labels, bytes);
    if (!to)
        return fail_full(err);
    *ret_labels = ap_slice(to, bytes);
    const char *from = base->labels.data;
    memcpy(to, from, base->name_offset);
    to += base->name_offset;
    to = put_made(to, metric_name);
    memcpy(to, from + base->name_offset, extra_offset - base->name_offset);
    to += extra_offset - base->name_offset;
    if (extra.bytes)
        to = put_made(to, extra);
    memcpy(to, from + extra_offset, base->labels.bytes - extra_offset);
    return AP_OK;
}
