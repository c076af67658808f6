/* A node as text again: in one line, in YAML's flow notation. */
#include <ctype.h>

#include "codec/yaml.h"

/* Numbers, durations, true and false keep what they are only without quotes; all else is safe only with them. */
static bool is_plain(const struct yaml_node *scalar)
{
    bool has_letter = false;
    for (size_t i = 0; i < scalar->text.bytes; i++) {
        unsigned char c = (unsigned char)scalar->text.data[i];
        has_letter |= isalnum(c) != 0;
        if (!isalnum(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    bool is_dashed = scalar->text.bytes && scalar->text.data[0] == '-' && !isdigit((unsigned char)scalar->text.data[1]);
    return has_letter && !is_dashed && !scalar->is_quoted;
}

static void print_scalar(const struct yaml_node *scalar, struct ap_buf *out)
{
    if (yaml_is_null(scalar))
        ap_buf_add_cstr(out, "null");
    else if (is_plain(scalar))
        ap_buf_add_slice(out, scalar->text);
    else
        ap_buf_add_json_string(out, scalar->text);
}

void yaml_print(const struct yaml_node *node, struct ap_buf *out)
{
    if (node->kind == YAML_KIND_SCALAR) {
        print_scalar(node, out);
        return;
    }
    bool is_map = node->kind == YAML_KIND_MAP;
    ap_buf_add_char(out, is_map ? '{' : '[');
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        if (is_map) {
            ap_buf_add_json_string(out, child->key->text);
            ap_buf_add_cstr(out, ": ");
        }
        yaml_print(child, out); /* no deeper than YAML_DEPTH_MAX */
        ap_buf_add_cstr(out, child->next ? ", " : "");
    }
    ap_buf_add_char(out, is_map ? '}' : ']');
}
