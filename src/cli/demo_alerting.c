#include "cli/demo_alerting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alert/config.h"
#include "base/buf.h"
#include "base/mem.h"

static const char file_name[] = "alerting/alertmanager.yml";

/* How a way of a kind is made to lead to the inbox. */
struct detour {
    const char *list;           /* its key then */
    const char *address;        /* the key of the address, */
    const char *more;           /* and what must stand beside it */
    const char *const *dropped; /* keys of who is really told; NULL: all keys but send_resolved */
};

static const char *const webhook_dropped[] = {"url",         "url_file", "signing_secret", "signing_secret_file",
                                              "http_config", NULL};
static const char *const pagerduty_dropped[] = {"routing_key", "routing_key_file", "service_key", "service_key_file",
                                                "url",         "http_config",      NULL};
static const char *const slack_dropped[] = {"api_url", "api_url_file",   "app_token",   "app_token_file",
                                            "app_url", "update_message", "http_config", NULL};

static const struct detour detours[RECEIVER_KIND_COUNT] = {
    [RECEIVER_WEBHOOK] = {"webhook_configs", "url", "", webhook_dropped},
    [RECEIVER_PAGERDUTY] = {"pagerduty_configs", "url", ", routing_key: demo", pagerduty_dropped},
    [RECEIVER_SLACK] = {"slack_configs", "api_url", "", slack_dropped},
    [RECEIVER_EMAIL] = {"webhook_configs", "url", "", NULL},
};

static bool is_dropped(const struct detour *detour, struct ap_slice key)
{
    if (!detour->dropped)
        return !ap_slice_equal_cstr(key, "send_resolved");
    for (size_t i = 0; detour->dropped[i]; i++)
        if (ap_slice_equal_cstr(key, detour->dropped[i]))
            return true;
    return false;
}

static void add_path_part(struct ap_buf *out, const char *text)
{
    for (; *text; text++) {
        bool is_plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *text) != NULL;
        ap_buf_printf(out, is_plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
}

static void add_way(struct ap_buf *out, const char *inbox_url, const struct receiver *receiver,
                    const struct receiver_way *way)
{
    const struct detour *detour = &detours[way->kind];
    ap_buf_printf(out, "    - {%s: \"%s/", detour->address, inbox_url);
    add_path_part(out, receiver->name);
    ap_buf_printf(out, "/%s\"%s", receiver_kind_name(way->kind), detour->more);
    for (const struct yaml_node *setting = way->node->first; setting; setting = setting->next) {
        if (is_dropped(detour, setting->key->text))
            continue;
        ap_buf_printf(out, ", %s: ", setting->key->text.data);
        yaml_print(setting, out);
    }
    ap_buf_add_cstr(out, "}\n");
}

static void add_receiver(struct ap_buf *out, const char *inbox_url, const struct receiver *receiver)
{
    ap_buf_add_cstr(out, "- name: ");
    ap_buf_add_json_string(out, ap_slice_cstr(receiver->name));
    ap_buf_add_char(out, '\n');
    /* E-mail becomes one more webhook: a key may be there once, so ways are gathered by the key that they get. */
    static const enum receiver_kind keyed[] = {RECEIVER_WEBHOOK, RECEIVER_PAGERDUTY, RECEIVER_SLACK};
    for (size_t i = 0; i < AP_ARRAY_COUNT(keyed); i++) {
        const char *list = detours[keyed[i]].list;
        size_t count = 0;
        for (size_t n = 0; n < receiver->way_count; n++) {
            if (strcmp(detours[receiver->ways[n].kind].list, list) != 0)
                continue;
            if (count++ == 0)
                ap_buf_printf(out, "  %s:\n", list);
            add_way(out, inbox_url, receiver, &receiver->ways[n]);
        }
    }
}

/* `dir` is the pack's. */
static void make(const struct alert_config *config, const char *dir, const char *inbox_url, struct ap_buf *out)
{
    static const char *const ours[] = {"global", "receivers", "templates"};
    for (const struct yaml_node *part = yaml_root(config->document)->first; part; part = part->next) {
        bool is_ours = false;
        for (size_t i = 0; i < AP_ARRAY_COUNT(ours); i++)
            is_ours |= ap_slice_equal_cstr(part->key->text, ours[i]);
        if (is_ours)
            continue;
        ap_buf_printf(out, "%s: ", part->key->text.data);
        yaml_print(part, out);
        ap_buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < config->templates.count; i++) {
        const char *pattern = config->templates.items[i]; /* relative ones are so to the pack's file */
        AP_AUTO_FREE char *whole =
            ap_asprintf("%s%s%s", pattern[0] == '/' ? "" : dir, pattern[0] == '/' ? "" : "/", pattern);
        ap_buf_add_cstr(out, i == 0 ? "templates:\n- " : "- ");
        ap_buf_add_json_string(out, ap_slice_cstr(whole));
        ap_buf_add_char(out, '\n');
    }
    ap_buf_add_cstr(out, "receivers:\n");
    for (size_t i = 0; i < config->receiver_count; i++)
        add_receiver(out, inbox_url, &config->receivers[i]);
}

static enum ap_rc write_file(const char *path, struct ap_slice text, struct ap_err *err)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return ap_fail_errno(err, errno, "write %s", path);
    size_t written = fwrite(text.data, 1, text.bytes, file);
    int closed = fclose(file);
    return written == text.bytes && closed == 0 ? AP_OK : ap_fail_errno(err, errno, "write %s", path);
}

enum ap_rc demo_alerting_write(const struct cli_list *packs, const char *inbox_url, const char *dir, char **ret_path,
                               struct ap_err *err)
{
    *ret_path = NULL;
    for (size_t i = 0; i < packs->count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", packs->items[i], file_name);
        if (access(path, F_OK) != 0)
            continue;
        AP_AUTO(alert_config) struct alert_config *config = NULL;
        enum ap_rc rc = alert_config_load(path, &config, err);
        if (rc != AP_OK)
            return rc;
        AP_AUTO_BUF struct ap_buf text = {0};
        AP_AUTO_FREE char *folder = ap_asprintf("%s/alerting", packs->items[i]);
        AP_AUTO_FREE char *absolute = realpath(folder, NULL);
        make(config, absolute ? absolute : folder, inbox_url, &text);
        AP_AUTO_FREE char *to = ap_asprintf("%s/alertmanager.yml", dir);
        rc = write_file(to, ap_buf_slice(&text), err);
        if (rc == AP_OK)
            *ret_path = AP_MOVE(to);
        return rc;
    }
    return AP_OK;
}
