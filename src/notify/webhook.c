/* Alertmanager's webhook: its JSON, version 4, and if there is a secret a signature. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "notify/post.h"
#include "notify/sender.h"

static enum ap_rc check(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err)
{
    (void)global;
    enum ap_rc rc = way->webhook.url ? message_check(library, "url", way->webhook.url, err) : AP_OK;
    return rc == AP_OK ? post_check(way->webhook.http_config, err) : rc;
}

/*
 * "X-Apiary-Signature: t=1767225600,v1=<hex>": HMAC-SHA256 of "1767225600." and the body. The time is signed as well,
 * so that nobody can send again what he has overheard a while ago.
 */
static char *sign(const char *secret, struct ap_slice body)
{
    crypto_auth_hmacsha256_state state;
    unsigned char code[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof(code) + 1], time[32];
    snprintf(time, sizeof(time), "%" PRId64 ".", ap_clock_wall_us(&ap_clock_system) / 1000000);
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)time, strlen(time));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)body.data, body.bytes);
    crypto_auth_hmacsha256_final(&state, code);
    sodium_bin2hex(hex, sizeof(hex), code, sizeof(code));
    return ap_asprintf("X-Apiary-Signature: t=%.*s,v1=%s", (int)strlen(time) - 1, time, hex);
}

static void make_body(struct sending *sending, struct ap_buf *out)
{
    uint64_t left_out = message_truncate(sending->message, (uint64_t)sending->notification->way->webhook.alerts_max);
    ap_buf_add_char(out, '{');
    message_json(sending->message, out);
    ap_buf_add_cstr(out, ",\"version\":\"4\",\"groupKey\":");
    ap_buf_add_json_string(out, sending->notification->group_key);
    ap_buf_printf(out, ",\"truncatedAlerts\":%" PRIu64 "}\n", left_out);
}

static void send_webhook(struct sending *sending, struct delivery *ret)
{
    const struct receiver_way *way = sending->notification->way;
    const struct webhook_way *webhook = &way->webhook;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf given = {0};
    AP_AUTO_BUF struct ap_buf url = {0};
    AP_AUTO_BUF struct ap_buf secret = {0};
    AP_AUTO_BUF struct ap_buf body = {0};
    enum ap_rc rc = secret_read(webhook->url, webhook->url_file, way->node, &given, &err);
    if (rc == AP_OK)
        rc = message_text(sending->message, "url", given.data, &url, &err);
    if (rc == AP_OK && (webhook->signing_secret || webhook->signing_secret_file))
        rc = secret_read(webhook->signing_secret, webhook->signing_secret_file, way->node, &secret, &err);
    if (rc != AP_OK) {
        sending_refuse(sending, ret, &err);
        return;
    }
    ap_buf_add_char(&url, '\0');
    make_body(sending, &body);
    AP_AUTO_FREE char *signature = secret.bytes ? sign(secret.data, ap_buf_slice(&body)) : NULL;
    struct post post = {
        .url = url.data,
        .timeout = webhook->timeout,
        .http_config = webhook->http_config,
        .headers = {signature},
        .body = ap_buf_slice(&body),
    };
    struct post_answer answer;
    if (post_json(sending, &post, &answer, ret))
        post_judge(&answer, "the webhook", "", ret);
    ap_buf_clear(&answer.body);
}

const struct sender sender_webhook = {check, send_webhook};
