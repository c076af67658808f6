/*
 * E-mail by SMTP. One message to all recipients, text and HTML as alternatives.
 *
 * All that is said of one group refers to the same message that was never sent, made of the group's key: so readers
 * show it as one thread, whichever of the messages arrive (RFC 5322, 3.6.4).
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "notify/post.h"
#include "notify/sender.h"
#include "scrape/fields.h"
#include "scrape/http_setup.h"

enum { SMTP_TIMEOUT_MS = 30000, LINE_BYTES_MAX = 76, RECIPIENTS_MAX = 100, WORD_BYTES_MAX = 42 };

#define SUBJECT "{{ template \"email.default.subject\" . }}"
#define HTML    "{{ template \"email.default.html\" . }}"

static const char *pick(const char *own, const char *global)
{
    return own ? own : global;
}

static bool is_tls_required(const struct notification *notification)
{
    const struct yaml_node *own = notification->way->email.require_tls;
    return own && !yaml_is_null(own) ? ap_slice_equal_cstr(own->text, "true")
                                     : notification->global->is_smtp_tls_required;
}

static enum ap_rc check(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err)
{
    const struct email_way *email = &way->email;
    enum ap_rc rc = message_check(library, "to", email->to, err);
    if (rc == AP_OK)
        rc = message_check(library, "from", pick(email->from, global->smtp_from), err);
    if (rc == AP_OK && email->html)
        rc = message_check(library, "html", email->html, err);
    if (rc == AP_OK && email->text)
        rc = message_check(library, "text", email->text, err);
    for (size_t i = 0; i < email->headers.count && rc == AP_OK; i++)
        rc = message_check(library, email->headers.keys[i], email->headers.items[i], err);
    return rc;
}

/* ---- Encodings ---- */

static bool is_plain(struct ap_slice text)
{
    for (size_t i = 0; i < text.bytes; i++)
        if ((unsigned char)text.data[i] < ' ' || (unsigned char)text.data[i] > '~')
            return false;
    return true;
}

/*
 * What is not ASCII becomes encoded words (RFC 2047), none of which ends within a character. Line ends become blanks: a
 * value cannot begin another field.
 */
static void add_words(struct ap_buf *out, struct ap_slice value)
{
    if (is_plain(value)) {
        ap_buf_add_slice(out, value);
        return;
    }
    for (size_t at = 0; at < value.bytes;) {
        ap_buf_add_cstr(out, at ? "\r\n =?utf-8?q?" : "=?utf-8?q?");
        size_t bytes = 0;
        do {
            unsigned char c = (unsigned char)value.data[at++];
            if (c == '\r' || c == '\n')
                c = ' ';
            bool is_letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            if (c == ' ')
                ap_buf_add_char(out, '_');
            else if (is_letter)
                ap_buf_add_char(out, (char)c);
            else
                ap_buf_printf(out, "=%02X", c);
            bytes += is_letter || c == ' ' ? 1 : 3;
        } while (at < value.bytes && (bytes < WORD_BYTES_MAX || (value.data[at] & 0xC0) == 0x80));
        ap_buf_add_cstr(out, "?=");
    }
}

static void add_header(struct ap_buf *out, const char *name, struct ap_slice value)
{
    ap_buf_printf(out, "%s: ", name);
    add_words(out, value);
    ap_buf_add_cstr(out, "\r\n");
}

/* Quoted-printable (RFC 2045, 6.7). */
static void add_quoted(struct ap_buf *out, struct ap_slice text)
{
    size_t column = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool is_end = c == '\n' || (c == '\r' && i + 1 < text.bytes && text.data[i + 1] == '\n');
        if (is_end) {
            i += c == '\r';
            ap_buf_add_cstr(out, "\r\n");
            column = 0;
            continue;
        }
        bool is_last = i + 1 == text.bytes || text.data[i + 1] == '\n' || text.data[i + 1] == '\r';
        bool is_whole = (c > ' ' && c <= '~' && c != '=') || ((c == ' ' || c == '\t') && !is_last);
        size_t bytes = is_whole ? 1 : 3;
        if (column + bytes > LINE_BYTES_MAX - 1) {
            ap_buf_add_cstr(out, "=\r\n");
            column = 0;
        }
        if (is_whole)
            ap_buf_add_char(out, (char)c);
        else
            ap_buf_printf(out, "=%02X", c);
        column += bytes;
    }
    ap_buf_add_cstr(out, "\r\n");
}

/* ---- Addresses: "Ops <ops@example.com>, db@example.com" ---- */

struct addresses {
    char *items[RECIPIENTS_MAX]; /* owned; "<ops@example.com>" */
    size_t count;
};

static void addresses_clear(struct addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        free(addresses->items[i]);
}

/* Commas in quotes and angles separate nothing. */
static struct ap_slice next_address(struct ap_slice *rest)
{
    bool is_quoted = false, is_angle = false;
    size_t end = 0;
    for (; end < rest->bytes; end++) {
        char c = rest->data[end];
        is_quoted ^= c == '"';
        if (!is_quoted && (c == '<' || c == '>'))
            is_angle = c == '<';
        if (c == ',' && !is_quoted && !is_angle)
            break;
    }
    struct ap_slice one = ap_slice(rest->data, end);
    size_t taken = AP_MIN(end + 1, rest->bytes);
    *rest = ap_slice(rest->data + taken, rest->bytes - taken);
    return ap_slice_trim(one);
}

/* From and To: of an address only the name may be encoded. */
static void add_address_header(struct ap_buf *out, const char *name, struct ap_slice text)
{
    ap_buf_printf(out, "%s: ", name);
    for (bool is_first = true; text.bytes; is_first = false) {
        struct ap_slice one = next_address(&text);
        const char *open = one.bytes ? memrchr(one.data, '<', one.bytes) : NULL;
        struct ap_slice person = ap_slice_trim(ap_slice(one.data, open ? (size_t)(open - one.data) : 0));
        ap_buf_add_cstr(out, is_first ? "" : ",\r\n ");
        if (is_plain(one) || !person.bytes) {
            add_words(out, one);
            continue;
        }
        if (person.bytes >= 2 && person.data[0] == '"' && person.data[person.bytes - 1] == '"')
            person = ap_slice(person.data + 1, person.bytes - 2);
        add_words(out, person);
        ap_buf_add_char(out, ' ');
        add_words(out, ap_slice(open, (size_t)(one.data + one.bytes - open)));
    }
    ap_buf_add_cstr(out, "\r\n");
}

static enum ap_rc take_addresses(const char *what, struct ap_slice text, struct addresses *ret, struct ap_err *err)
{
    while (text.bytes) {
        struct ap_slice one = next_address(&text);
        const char *open = one.bytes ? memrchr(one.data, '<', one.bytes) : NULL;
        if (open) {
            const char *close = memchr(open, '>', one.bytes - (size_t)(open - one.data));
            one = close ? ap_slice(open + 1, (size_t)(close - open) - 1) : ap_slice(NULL, 0);
        }
        if (!one.bytes || !memchr(one.data, '@', one.bytes) || memchr(one.data, ' ', one.bytes) ||
            memchr(one.data, '\n', one.bytes) || memchr(one.data, '\r', one.bytes))
            return ap_fail(err, AP_E_PARSE, "%s: \"%.*s\" is not an address", what, AP_SLICE_ARG(one));
        if (ret->count == RECIPIENTS_MAX)
            return ap_fail(err, AP_E_LIMIT, "%s: more than %d addresses", what, RECIPIENTS_MAX);
        ret->items[ret->count++] = ap_asprintf("<%.*s>", AP_SLICE_ARG(one));
    }
    return ret->count ? AP_OK : ap_fail(err, AP_E_PARSE, "%s: no address", what);
}

/* ---- The message ---- */

static enum ap_rc add_template_header(struct ap_buf *out, const struct message *message, const char *name,
                                      const char *template, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf value = {0};
    enum ap_rc rc = message_text(message, name, template, &value, err);
    if (rc == AP_OK)
        add_header(out, name, ap_buf_slice(&value));
    return rc;
}

static bool has_header(const struct yaml_texts *headers, const char *name)
{
    for (size_t i = 0; i < headers->count; i++)
        if (strcasecmp(headers->keys[i], name) == 0)
            return true;
    return false;
}

/*
 * The message that was never sent, to which all of the group's refer. `threading: {enabled: false}`: none; with
 * `thread_by_date: daily` there is one for each day.
 */
static void add_thread(struct ap_buf *out, const struct notification *notification, const char *domain,
                       const struct ap_civil *now)
{
    const struct yaml_node *setting = notification->way->email.threading;
    bool is_map = setting && setting->kind == YAML_KIND_MAP;
    const struct yaml_node *enabled = is_map ? yaml_get(setting, "enabled") : NULL;
    const struct yaml_node *by_date = is_map ? yaml_get(setting, "thread_by_date") : NULL;
    char day[16] = "";
    if (enabled && ap_slice_equal_cstr(enabled->text, "false"))
        return;
    if (by_date && ap_slice_equal_cstr(by_date->text, "daily"))
        snprintf(day, sizeof(day), ".%04" PRId64 "-%02d-%02d", now->year, now->month, now->day);
    ap_buf_printf(out, "In-Reply-To: <%.32s%s@%s>\r\nReferences: <%.32s%s@%s>\r\n", notification->dedup_key, day,
                  domain, notification->dedup_key, day, domain);
}

static void add_identity(struct ap_buf *out, const struct notification *notification, const char *domain)
{
    const struct yaml_texts *headers = &notification->way->email.headers;
    static const char weekdays[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct ap_civil now = ap_civil_of_s(ap_clock_wall_us(&ap_clock_system) / AP_US_PER_S);
    ap_buf_printf(out, "Date: %.3s, %02d %.3s %04" PRId64 " %02d:%02d:%02d +0000\r\n",
                  weekdays + (ptrdiff_t)3 * now.weekday, now.day, months + (ptrdiff_t)3 * (now.month - 1), now.year,
                  now.hour, now.minute, now.second);
    if (!has_header(headers, "Message-Id"))
        ap_buf_printf(out, "Message-ID: <%" PRIx64 ".%" PRIx64 ".%.16s@%s>\r\n", (uint64_t)notification->decided_ms,
                      notification->id, notification->dedup_key, domain);
    if (!has_header(headers, "References") && !has_header(headers, "In-Reply-To"))
        add_thread(out, notification, domain, &now);
    ap_buf_add_cstr(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
}

static enum ap_rc add_part(struct ap_buf *out, const struct message *message, const char *type, const char *template,
                           const char *boundary, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    bool is_html = strcmp(type, "html") == 0;
    if (!template || !template[0])
        return AP_OK;
    enum ap_rc rc =
        is_html ? message_html(message, type, template, &text, err) : message_text(message, type, template, &text, err);
    ap_buf_printf(out,
                  "--%s\r\nContent-Type: text/%s; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
                  boundary, is_html ? "html" : "plain");
    add_quoted(out, ap_buf_slice(&text));
    return rc;
}

static enum ap_rc make(struct sending *sending, const char *from, const char *to, const char *domain,
                       struct ap_buf *out, struct ap_err *err)
{
    const struct notification *notification = sending->notification;
    const struct email_way *email = &notification->way->email;
    char boundary[64];
    snprintf(boundary, sizeof(boundary), "=_apiary_%.32s", notification->dedup_key);
    enum ap_rc rc = AP_OK;
    if (!has_header(&email->headers, "Subject"))
        rc = add_template_header(out, sending->message, "Subject", SUBJECT, err);
    if (!has_header(&email->headers, "To"))
        add_address_header(out, "To", ap_slice_cstr(to));
    if (!has_header(&email->headers, "From"))
        add_address_header(out, "From", ap_slice_cstr(from));
    for (size_t i = 0; i < email->headers.count && rc == AP_OK; i++)
        rc = add_template_header(out, sending->message, email->headers.keys[i], email->headers.items[i], err);
    add_identity(out, notification, domain);
    ap_buf_printf(out, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n", boundary);
    if (rc == AP_OK)
        rc = add_part(out, sending->message, "text", email->text, boundary, err);
    if (rc == AP_OK)
        rc = add_part(out, sending->message, "html", email->html ? email->html : HTML, boundary, err);
    ap_buf_printf(out, "--%s--\r\n", boundary);
    return rc;
}

/* ---- SMTP ---- */

struct mail {
    struct ap_buf from, to; /* with final NULs */
    struct ap_buf text;
    struct addresses senders, recipients;
    size_t sent_bytes;
};

static void mail_clear(struct mail *mail)
{
    ap_buf_clear(&mail->from);
    ap_buf_clear(&mail->to);
    ap_buf_clear(&mail->text);
    addresses_clear(&mail->senders);
    addresses_clear(&mail->recipients);
}

static size_t on_read(char *data, size_t one, size_t bytes, void *context)
{
    struct mail *mail = context;
    size_t count = AP_MIN(one * bytes, mail->text.bytes - mail->sent_bytes);
    memcpy(data, mail->text.data + mail->sent_bytes, count);
    mail->sent_bytes += count;
    return count;
}

/* PLAIN and LOGIN with auth_password, CRAM-MD5 with auth_secret. */
static enum ap_rc set_credentials(CURL *curl, const struct notification *notification, struct ap_err *err)
{
    const struct email_way *email = &notification->way->email;
    const struct receiver_global *global = notification->global;
    const struct yaml_node *node = notification->way->node;
    const char *user = pick(email->auth_username, global->smtp_auth_username);
    const char *identity = pick(email->auth_identity, global->smtp_auth_identity);
    bool is_own = email->auth_password || email->auth_password_file;
    bool is_own_secret = email->auth_secret || email->auth_secret_file;
    const char *password = is_own ? email->auth_password : global->smtp_auth_password;
    const char *password_file = is_own ? email->auth_password_file : global->smtp_auth_password_file;
    const char *secret = is_own_secret ? email->auth_secret : global->smtp_auth_secret;
    const char *secret_file = is_own_secret ? email->auth_secret_file : global->smtp_auth_secret_file;
    bool has_password = password || password_file, has_secret = secret || secret_file;
    if (!user || !user[0] || (!has_password && !has_secret))
        return AP_OK;
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = has_secret ? secret_read(secret, secret_file, node, &text, err)
                               : secret_read(password, password_file, node, &text, err);
    if (rc != AP_OK)
        return rc;
    curl_easy_setopt(curl, CURLOPT_USERNAME, user);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, text.data);
    curl_easy_setopt(curl, CURLOPT_LOGIN_OPTIONS, has_secret ? "AUTH=CRAM-MD5" : "AUTH=PLAIN;AUTH=LOGIN");
    if (identity)
        curl_easy_setopt(curl, CURLOPT_SASL_AUTHZID, identity);
    return AP_OK;
}

static enum ap_rc set_up(CURL *curl, struct http_setup *setup, const struct notification *notification,
                         struct ap_err *err)
{
    const struct email_way *email = &notification->way->email;
    const char *smarthost = pick(email->smarthost, notification->global->smtp_smarthost);
    const char *hello = pick(email->hello, notification->global->smtp_hello);
    const char *port = strrchr(smarthost, ':');
    bool is_tls_first = port && strcmp(port, ":465") == 0;
    const struct yaml_node *tls = email->tls_config ? email->tls_config : notification->global->smtp_tls_config;
    AP_AUTO(scrape_source) struct scrape_source *source = NULL;
    struct scrape_http http;
    bool has_tls = tls && !yaml_is_null(tls);
    enum ap_rc rc = has_tls ? post_settings(tls, "tls_config", &source, &http, err)
                            : post_settings(NULL, NULL, &source, &http, err);
    if (rc != AP_OK)
        return rc;
    char host[256] = "localhost";
    if (!hello || !hello[0])
        (void)!gethostname(host, sizeof(host) - 1);
    AP_AUTO_FREE char *url =
        ap_asprintf("%s://%s/%s", is_tls_first ? "smtps" : "smtp", smarthost, hello && hello[0] ? hello : host);
    rc = http_setup_apply(setup, curl, &http, url, err);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    if (!is_tls_first && !is_tls_required(notification) && !has_tls) {
        /* Encrypted, if it can be, to whomever: without this it would be in clear, which is no better. */
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(curl, CURLOPT_USE_SSL,
                     (long)(is_tls_first || is_tls_required(notification) ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    return rc == AP_OK ? set_credentials(curl, notification, err) : rc;
}

static void judge(CURL *curl, CURLcode code, const char *error, struct delivery *ret)
{
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        delivery_say(ret, DELIVERY_DONE, "the mail server took it");
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        delivery_say(ret, DELIVERY_RETRY, "given up: the server ends");
    else if (code == CURLE_LOGIN_DENIED)
        delivery_say(ret, DELIVERY_REFUSED, "the mail server denies the login");
    else if (code == CURLE_USE_SSL_FAILED)
        delivery_say(ret, DELIVERY_REFUSED, "the mail server offers no TLS, which require_tls (the default) wants");
    else
        delivery_say(ret, status >= 500 ? DELIVERY_REFUSED : DELIVERY_RETRY, "%s",
                     error[0] ? error : curl_easy_strerror(code));
    ret->status = status > 0 ? (unsigned)status : 0;
}

static void curl_free_handle(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void transfer(struct sending *sending, struct mail *mail, struct delivery *ret)
{
    AP_CLEANUP(curl_free_handle) CURL *curl = curl_easy_init();
    AP_ASSERT(curl != NULL);
    struct http_setup setup = {0};
    struct curl_slist *recipients = NULL;
    struct ap_err err;
    char error[CURL_ERROR_SIZE] = "";
    if (set_up(curl, &setup, sending->notification, &err) != AP_OK) {
        http_setup_clear(&setup, curl);
        sending_refuse(sending, ret, &err);
        return;
    }
    for (size_t i = 0; i < mail->recipients.count; i++)
        recipients = curl_slist_append(recipients, mail->recipients.items[i]);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->senders.items[0]);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, mail);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->text.bytes);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    http_setup_wait(curl, SMTP_TIMEOUT_MS, sending->is_ending);
    judge(curl, curl_easy_perform(curl), error, ret);
    curl_slist_free_all(recipients);
    http_setup_clear(&setup, curl);
}

static enum ap_rc write_mail(struct sending *sending, struct mail *mail, struct ap_err *err)
{
    const struct email_way *email = &sending->notification->way->email;
    const char *from = pick(email->from, sending->notification->global->smtp_from);
    enum ap_rc rc = message_text(sending->message, "from", from, &mail->from, err);
    if (rc == AP_OK)
        rc = message_text(sending->message, "to", email->to, &mail->to, err);
    if (rc == AP_OK)
        rc = take_addresses("from", ap_buf_slice(&mail->from), &mail->senders, err);
    if (rc == AP_OK && mail->senders.count != 1)
        rc = ap_fail(err, AP_E_PARSE, "from: must be exactly one address");
    if (rc == AP_OK)
        rc = take_addresses("to", ap_buf_slice(&mail->to), &mail->recipients, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_char(&mail->from, '\0');
    ap_buf_add_char(&mail->to, '\0');
    AP_AUTO_FREE char *domain = ap_strdup(strrchr(mail->senders.items[0], '@') + 1);
    domain[strlen(domain) - 1] = '\0'; /* the angle */
    return make(sending, mail->from.data, mail->to.data, domain, &mail->text, err);
}

static void send_email(struct sending *sending, struct delivery *ret)
{
    AP_CLEANUP(mail_clear) struct mail mail = {0};
    struct ap_err err;
    if (write_mail(sending, &mail, &err) != AP_OK) {
        sending_refuse(sending, ret, &err);
    } else if (sending->shown) {
        ap_buf_add_slice(sending->shown, ap_buf_slice(&mail.text));
        delivery_say(ret, DELIVERY_DONE, "not sent");
    } else {
        transfer(sending, &mail, ret);
    }
}

const struct sender sender_email = {check, send_email};
