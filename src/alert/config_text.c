#include "alert/config_text.h"

#include <string.h>

#include "base/mem.h"

#define SECRET "<secret>"

static bool is_one_of(struct ap_slice key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(key, keys[i]))
            return true;
    return false;
}

/* Whatever the receiver: better one text too many than one too few. */
static bool is_secret(struct ap_slice key)
{
    static const char *const keys[] = {"routing_key", "service_key",  "smtp_auth_password", "smtp_auth_secret",
                                       "auth_secret", "bearer_token", "credentials",        "key",
                                       "secret",      "token"};
    static const char *const endings[] = {"password", "_token", "_secret", "api_key", "credentials"};
    if (is_one_of(key, keys, AP_ARRAY_COUNT(keys)))
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(endings); i++) {
        size_t bytes = strlen(endings[i]);
        if (key.bytes >= bytes && memcmp(key.data + key.bytes - bytes, endings[i], bytes) == 0)
            return true;
    }
    return false;
}

/* `url` of webhooks has often a token in it; those that are there for people to follow have not. */
static bool is_secret_url(struct ap_slice key)
{
    static const char *const keys[] = {"url", "api_url", "slack_api_url", "webhook_url", "proxy_url", "token_url"};
    return is_one_of(key, keys, AP_ARRAY_COUNT(keys));
}

static void add_host_only(struct ap_buf *out, struct ap_slice url)
{
    const char *scheme_end = memmem(url.data, url.bytes, "://", 3);
    AP_AUTO_BUF struct ap_buf shown = {0};
    if (scheme_end) {
        struct ap_slice rest = ap_slice(scheme_end + 3, (size_t)(url.data + url.bytes - (scheme_end + 3)));
        size_t host_bytes = 0;
        while (host_bytes < rest.bytes && !strchr("/?#", rest.data[host_bytes]))
            host_bytes++;
        const char *at = host_bytes ? memrchr(rest.data, '@', host_bytes) : NULL;
        const char *host = at ? at + 1 : rest.data;
        ap_buf_add_slice(&shown, ap_slice(url.data, (size_t)(rest.data - url.data)));
        ap_buf_add_slice(&shown, ap_slice(host, (size_t)(rest.data + host_bytes - host)));
        ap_buf_add_char(&shown, '/');
    }
    ap_buf_add_cstr(&shown, SECRET);
    ap_buf_add_json_string(out, ap_buf_slice(&shown));
}

/* What YAML takes for a text as it stands; all else goes into double quotes. */
static bool is_plain(struct ap_slice text)
{
    bool has_letter = false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool is_letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
        has_letter |= is_letter;
        if (!is_letter && !((c >= '0' && c <= '9') || (i && strchr("-./", c))))
            return false;
    }
    return has_letter;
}

static void add_scalar(struct ap_buf *out, const struct yaml_node *node)
{
    struct ap_slice key = node->key ? node->key->text : ap_slice("", 0);
    if (yaml_is_null(node))
        ap_buf_add_cstr(out, "null");
    else if (node->text.bytes && is_secret(key))
        ap_buf_add_json_string(out, ap_slice_cstr(SECRET));
    else if (node->text.bytes && is_secret_url(key))
        add_host_only(out, node->text);
    else if (!node->is_quoted || is_plain(node->text)) /* as it was written; texts without quotes are on one line */
        ap_buf_add_slice(out, node->text);
    else
        ap_buf_add_json_string(out, node->text);
}

static void add_indent(struct ap_buf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        ap_buf_add_cstr(out, "  ");
}

/* The members of a map or a list, each on lines of its own. `is_inline`: the first goes on behind "- ". */
static void add_members(struct ap_buf *out, const struct yaml_node *node, unsigned depth, bool is_inline)
{
    for (const struct yaml_node *member = node->first; member; member = member->next) {
        if (!is_inline)
            add_indent(out, depth);
        is_inline = false;
        if (node->kind == YAML_KIND_LIST) {
            ap_buf_add_cstr(out, "- ");
        } else {
            if (is_plain(member->key->text))
                ap_buf_add_slice(out, member->key->text);
            else
                ap_buf_add_json_string(out, member->key->text);
            ap_buf_add_char(out, ':');
        }
        bool is_in_list = node->kind == YAML_KIND_LIST;
        if (member->kind == YAML_KIND_SCALAR || !member->first) {
            ap_buf_add_cstr(out, is_in_list ? "" : " ");
            if (member->kind == YAML_KIND_SCALAR)
                add_scalar(out, member);
            else
                ap_buf_add_cstr(out, member->kind == YAML_KIND_LIST ? "[]" : "{}");
            ap_buf_add_char(out, '\n');
        } else if (is_in_list) {
            add_members(out, member, depth + 1, true);
        } else {
            ap_buf_add_char(out, '\n');
            add_members(out, member, depth + (member->kind == YAML_KIND_MAP), false);
        }
    }
}

void alert_config_format(const struct alert_config *config, struct ap_buf *out)
{
    add_members(out, yaml_root(config->document), 0, false);
}
