#include "ingest/otlp_value.h"

#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

/* ---- The tree ---- */

static enum ap_rc fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too many attributes; send it in smaller parts");
}

enum ap_rc otlp_value_add_child(struct otlp_value_tree *tree, struct otlp_value *parent, struct ap_slice key,
                                struct ap_slice raw, struct ap_err *err)
{
    if (parent->depth == OTLP_VALUE_DEPTH_MAX)
        return ap_fail(err, AP_E_LIMIT, "an attribute's value has more than %d levels", OTLP_VALUE_DEPTH_MAX);
    struct otlp_value *child = ap_arena_try_alloc(tree->arena, sizeof(*child));
    if (!child)
        return fail_full(err);
    *child = (struct otlp_value){.text = raw, .key = key, .depth = parent->depth + 1, .next_to_read = tree->to_read};
    tree->to_read = child;
    if (parent->last_child)
        parent->last_child->next = child;
    else
        parent->first_child = child;
    parent->last_child = child;
    parent->child_count++;
    return AP_OK;
}

/* ---- Text ---- */

/* As JavaScript writes numbers, and Go's JSON. */
static void add_double(struct ap_buf *out, double value)
{
    if (value == 0) {
        ap_buf_add_cstr(out, signbit(value) ? "-0" : "0");
        return;
    }
    struct ap_shortest shortest;
    ap_shortest(value, &shortest);
    if (value < 0)
        ap_buf_add_char(out, '-');
    int exponent = shortest.point - 1;
    if (exponent >= -6 && exponent < 21) {
        ap_buf_add_positional(out, &shortest);
        return;
    }
    ap_buf_add_scientific(out, &shortest, 1);
}

static void add_base64(struct ap_buf *out, struct ap_slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.bytes; i += 3) {
        size_t count = AP_MIN(bytes.bytes - i, (size_t)3);
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < count ? (uint8_t)bytes.data[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            ap_buf_add_char(out, j <= count ? digits[bits >> (18 - 6 * j) & 63] : '=');
    }
}

static void add_scalar(struct ap_buf *out, const struct otlp_value *value)
{
    switch (value->kind) {
    case OTLP_VALUE_BOOLEAN:
        ap_buf_add_cstr(out, value->integer ? "true" : "false");
        break;
    case OTLP_VALUE_INTEGER:
        ap_buf_add_integer(out, value->integer);
        break;
    case OTLP_VALUE_DOUBLE:
        add_double(out, value->number);
        break;
    case OTLP_VALUE_BYTES:
        add_base64(out, value->text);
        break;
    default:
        break;
    }
}

/* ---- JSON of arrays and maps ---- */

/* A container that is being written. */
struct level {
    struct otlp_value **children; /* in the order they are written in */
    size_t count;
    size_t next;
    bool is_map;
};

static int compare_keys(const void *a, const void *b)
{
    const struct otlp_value *left = *(struct otlp_value *const *)a, *right = *(struct otlp_value *const *)b;
    size_t bytes = AP_MIN(left->key.bytes, right->key.bytes);
    int order = bytes ? memcmp(left->key.data, right->key.data, bytes) : 0;
    if (order == 0)
        order = left->key.bytes < right->key.bytes ? -1 : left->key.bytes > right->key.bytes;
    return order ? order : left->integer < right->integer ? -1 : left->integer > right->integer;
}

/* Of keys that come twice the last one counts. While sorting, `integer` of a container is its place. */
static size_t sort_map(struct otlp_value **children, size_t count, int64_t *places)
{
    for (size_t i = 0; i < count; i++) {
        places[i] = children[i]->integer;
        children[i]->integer = (int64_t)i;
    }
    qsort(children, count, sizeof(struct otlp_value *), compare_keys);
    for (size_t i = 0; i < count; i++)
        children[i]->integer = places[children[i]->integer];
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || !ap_slice_equal(children[i]->key, children[i + 1]->key))
            children[kept++] = children[i];
    return kept;
}

static enum ap_rc open_level(struct ap_arena *arena, const struct otlp_value *value, struct level *level,
                             struct ap_err *err)
{
    size_t bytes = value->child_count * (sizeof(struct otlp_value *) + sizeof(int64_t));
    *level = (struct level){.is_map = value->kind == OTLP_VALUE_MAP};
    level->children = ap_arena_try_alloc(arena, bytes);
    if (!level->children)
        return fail_full(err);
    for (struct otlp_value *child = value->first_child; child; child = child->next)
        level->children[level->count++] = child;
    if (level->is_map)
        level->count = sort_map(level->children, level->count, (int64_t *)(void *)(level->children + level->count));
    return AP_OK;
}

static bool is_container(const struct otlp_value *value)
{
    return value->kind == OTLP_VALUE_ARRAY || value->kind == OTLP_VALUE_MAP;
}

/* *ret_is_json: false when a number is in it that JSON cannot say. */
static enum ap_rc add_json(struct ap_arena *arena, const struct otlp_value *root, struct ap_buf *out, bool *ret_is_json,
                           struct ap_err *err)
{
    struct level levels[OTLP_VALUE_DEPTH_MAX + 1];
    size_t depth = 1;
    enum ap_rc rc = open_level(arena, root, &levels[0], err);
    *ret_is_json = true;
    while (rc == AP_OK && depth > 0) {
        struct level *level = &levels[depth - 1];
        if (level->next == 0)
            ap_buf_add_char(out, level->is_map ? '{' : '[');
        if (level->next == level->count) {
            ap_buf_add_char(out, level->is_map ? '}' : ']');
            depth--;
            continue;
        }
        const struct otlp_value *value = level->children[level->next++];
        if (level->next > 1)
            ap_buf_add_char(out, ',');
        if (level->is_map) {
            ap_buf_add_json_string(out, value->key);
            ap_buf_add_char(out, ':');
        }
        if (is_container(value)) {
            rc = open_level(arena, value, &levels[depth++], err);
        } else if (value->kind == OTLP_VALUE_STRING) {
            ap_buf_add_json_string(out, value->text);
        } else if (value->kind == OTLP_VALUE_BYTES) {
            ap_buf_add_char(out, '"');
            add_base64(out, value->text);
            ap_buf_add_char(out, '"');
        } else if (value->kind == OTLP_VALUE_EMPTY) {
            ap_buf_add_cstr(out, "null");
        } else if (value->kind == OTLP_VALUE_DOUBLE && !isfinite(value->number)) {
            *ret_is_json = false;
            break;
        } else {
            add_scalar(out, value);
        }
    }
    return rc;
}

/* What Prometheus says of a number that JSON cannot. */
static void add_non_finite(struct ap_buf *out, double value)
{
    ap_buf_printf(out, "json: unsupported value: %s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
}

static enum ap_rc make_text(struct ap_arena *arena, const struct otlp_value *root, struct ap_slice *ret_text,
                            struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    enum ap_rc rc = AP_OK;
    if (is_container(root)) {
        bool is_json;
        rc = add_json(arena, root, &out, &is_json, err);
        if (rc == AP_OK && !is_json)
            ap_buf_reset(&out);
    } else if (root->kind == OTLP_VALUE_DOUBLE && !isfinite(root->number)) {
        add_non_finite(&out, root->number);
    } else {
        add_scalar(&out, root);
    }
    char *kept = rc == AP_OK ? ap_arena_try_alloc(arena, out.bytes) : NULL;
    if (rc != AP_OK)
        return rc;
    if (!kept)
        return fail_full(err);
    if (out.bytes)
        memcpy(kept, out.data, out.bytes);
    *ret_text = ap_slice(kept, out.bytes);
    return AP_OK;
}

enum ap_rc otlp_value_text(struct ap_arena *arena, struct ap_slice raw, otlp_value_read_fn read, void *context,
                           struct ap_slice *ret_text, struct ap_err *err)
{
    struct otlp_value_tree tree = {.arena = arena, .root = {.text = raw}};
    tree.to_read = &tree.root;
    while (tree.to_read) {
        struct otlp_value *value = tree.to_read;
        tree.to_read = value->next_to_read;
        enum ap_rc rc = read(context, &tree, value, err);
        if (rc != AP_OK)
            return rc;
    }
    if (tree.root.kind == OTLP_VALUE_STRING) {
        *ret_text = tree.root.text;
        return AP_OK;
    }
    return make_text(arena, &tree.root, ret_text, err);
}
