#include "ingest/admit.h"

#include <sodium.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"
#include "ingest/cors.h"
#include "meta/keyring.h"

/*
 * What JSON is sent as. sendBeacon() sends text/plain so that browsers do not ask first, curl sends a form unless told
 * otherwise: the body is what counts.
 */
static const struct {
    const char *name;
    bool is_ndjson;
} content_types[] = {
    {"application/json", false},
    {"text/plain", false},
    {"application/x-ndjson", true},
    {"application/ndjson", true},
    {"application/jsonl", true},
    {"application/json-lines", true},
    {"application/x-www-form-urlencoded", false},
    {"application/octet-stream", false},
};

static bool refuse(struct admit_refusal *ret_refusal, unsigned status, const char *format, ...) ap_printf(3, 4);
static bool refuse(struct admit_refusal *ret_refusal, unsigned status, const char *format, ...)
{
    ret_refusal->status = status;
    ret_refusal->retry_after_ms = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(ret_refusal->text, sizeof(ret_refusal->text), format, args);
    va_end(args);
    return false;
}

/* What follows `scheme` and spaces in `authorization`; data NULL: it is of another scheme. */
static struct ap_slice find_credentials(struct ap_slice authorization, const char *scheme)
{
    struct ap_slice rest = authorization;
    struct ap_slice name = ap_slice_split(&rest, ' ');
    return rest.data && ap_slice_equal_nocase(name, scheme) ? ap_slice_trim(rest) : (struct ap_slice){0};
}

/* The password of "user:password" in base64; an empty text when that is not what it is. */
static struct ap_slice decode_basic(struct http_request *request, struct ap_slice credentials)
{
    char *pair = ap_arena_try_alloc(http_arena(request), credentials.bytes + 1);
    size_t bytes = 0;
    if (!pair || sodium_base642bin((unsigned char *)pair, credentials.bytes, credentials.data, credentials.bytes, NULL,
                                   &bytes, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return ap_slice("", 0);
    struct ap_slice password = ap_slice(pair, bytes);
    (void)ap_slice_split(&password, ':');
    return password.data ? password : ap_slice("", 0);
}

struct ap_slice admit_find_token(struct http_request *request)
{
    struct ap_slice authorization = http_header(request, "Authorization");
    struct ap_slice token = find_credentials(authorization, "Bearer");
    if (!token.data)
        token = find_credentials(authorization, "Token");
    if (token.data)
        return token;
    struct ap_slice basic = find_credentials(authorization, "Basic");
    if (basic.data)
        return decode_basic(request, basic);
    struct ap_slice field = http_header(request, "X-Apiary-Key");
    return field.data ? ap_slice_trim(field) : http_query(request, "key");
}

/* "application/json; charset=utf-8": parameters do not matter, JSON is UTF-8. */
static bool find_content_type(struct ap_slice content_type, bool *ret_is_ndjson)
{
    *ret_is_ndjson = false;
    struct ap_slice name = ap_slice_trim(ap_slice_split(&content_type, ';'));
    if (name.bytes == 0)
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(content_types); i++) {
        if (ap_slice_equal_nocase(name, content_types[i].name)) {
            *ret_is_ndjson = content_types[i].is_ndjson;
            return true;
        }
    }
    return false;
}

bool admit_check_key(struct keyring *keyring, const struct admit_header *header, bool is_public_enough,
                     int64_t monotonic_us, struct keyring_entry **ret_key, struct admit_refusal *ret_refusal)
{
    if (header->token.bytes == 0)
        return refuse(ret_refusal, 401,
                      "no key given; send it as \"Authorization: Bearer KEY\", \"X-Apiary-Key: KEY\" or ?key=KEY");
    struct keyring_entry *key;
    struct ap_err err;
    if (keyring_find(keyring, header->token, &key, &err) != AP_OK)
        return refuse(ret_refusal, 401, "%s", err.text);
    if (key->kind != KEY_KIND_PUBLIC && key->kind != KEY_KIND_SECRET)
        return refuse(ret_refusal, 403, "this is a%s %s key, which reads; writing needs a %ssecret one",
                      key->kind == KEY_KIND_OPERATOR ? "n" : "", key_kind_name(key->kind),
                      is_public_enough ? "public or " : "");
    if (key->kind == KEY_KIND_PUBLIC && !is_public_enough)
        return refuse(ret_refusal, 403, "this is a public key; writing metrics needs a secret one");
    if (!cors_origin_is_allowed(header->origin, key->origins))
        return refuse(ret_refusal, 403, "this key may not be used from the origin %.*s",
                      AP_SLICE_ARG(ap_slice(header->origin.data, AP_MIN(header->origin.bytes, (size_t)200))));
    int64_t retry_after_ms = 0;
    if (keyring_entry_admit(key, monotonic_us, &retry_after_ms, &err) != AP_OK) {
        refuse(ret_refusal, 429, "%s", err.text);
        ret_refusal->retry_after_ms = retry_after_ms;
        return false;
    }
    *ret_key = key;
    return true;
}

bool admit_check(struct keyring *keyring, bool is_open, const struct admit_header *header, int64_t monotonic_us,
                 struct keyring_entry **ret_key, bool *ret_is_ndjson, struct admit_refusal *ret_refusal)
{
    *ret_key = NULL;
    if (header->method != HTTP_METHOD_POST)
        return refuse(ret_refusal, 405, "this endpoint takes POST with a JSON body");
    if (!find_content_type(header->content_type, ret_is_ndjson))
        return refuse(
            ret_refusal, 415,
            "the body is said to be %.*s; send JSON as application/json, application/x-ndjson or text/plain",
            AP_SLICE_ARG(ap_slice(header->content_type.data, AP_MIN(header->content_type.bytes, (size_t)100))));
    return is_open || admit_check_key(keyring, header, true, monotonic_us, ret_key, ret_refusal);
}
