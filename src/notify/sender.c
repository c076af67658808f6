#include "notify/sender.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "notify/file_text.h"

enum { SECRET_BYTES_MAX = 64 << 10, ALERTS_OF_MANY = 100 };

const struct sender *sender_of(enum receiver_kind kind)
{
    static const struct sender *const senders[RECEIVER_KIND_COUNT] = {
        [RECEIVER_WEBHOOK] = &sender_webhook,
        [RECEIVER_PAGERDUTY] = &sender_pagerduty,
        [RECEIVER_SLACK] = &sender_slack,
        [RECEIVER_EMAIL] = &sender_email,
    };
    return senders[kind];
}

void delivery_say(struct delivery *ret, enum delivery_outcome outcome, const char *format, ...)
{
    *ret = (struct delivery){.outcome = outcome};
    va_list args;
    va_start(args, format);
    vsnprintf(ret->text, sizeof(ret->text), format, args);
    va_end(args);
    /* It goes into logs and JSON. */
    for (char *c = ret->text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    ret->text[ap_utf8_valid_bytes(ap_slice_cstr(ret->text))] = '\0';
}

void sending_run(struct sending *sending, struct delivery *ret)
{
    const struct sender *sender = sender_of(sending->notification->way->kind);
    sender->send(sending, ret);
    if (!sending->is_over_limit || !message_shorten(sending->message, ALERTS_OF_MANY))
        return;
    if (sending->shown)
        ap_buf_reset(sending->shown);
    sender->send(sending, ret);
}

void sending_refuse(struct sending *sending, struct delivery *ret, const struct ap_err *err)
{
    sending->is_over_limit |= err->rc == AP_E_LIMIT;
    delivery_say(ret, DELIVERY_REFUSED, "%s", err->text);
}

enum ap_rc secret_read(const char *given, const char *path, const struct yaml_node *node, struct ap_buf *out,
                       struct ap_err *err)
{
    if (given) {
        ap_buf_add_cstr(out, given);
        ap_buf_add_char(out, '\0');
        return AP_OK;
    }
    /* Relative to the configuration file. */
    const char *file = node ? yaml_file(node->document) : "";
    const char *slash = strrchr(file, '/');
    AP_AUTO_FREE char *whole =
        path[0] == '/' || !slash ? ap_strdup(path) : ap_asprintf("%.*s/%s", (int)(slash - file), file, path);
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = file_text_read(whole, SECRET_BYTES_MAX, &text, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_slice(out, ap_slice_trim(ap_buf_slice(&text)));
    ap_buf_add_char(out, '\0');
    return AP_OK;
}
