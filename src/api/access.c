#include "api/access.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/mem.h"
#include "meta/keyring.h"

#define COOKIE_NAME "apiary_key"

enum { COOKIE_MAX_AGE_S = 30 * 86400 };

static struct ap_slice find_cookie(struct http_request *request)
{
    struct ap_slice rest = http_header(request, "Cookie");
    while (rest.data) {
        struct ap_slice pair = ap_slice_trim(ap_slice_split(&rest, ';'));
        struct ap_slice name = ap_slice_split(&pair, '=');
        if (ap_slice_equal_cstr(name, COOKIE_NAME))
            return pair;
    }
    return (struct ap_slice){0};
}

/* The first of: Authorization: Bearer, X-Apiary-Key, the cookie. Data NULL when there is none. */
static struct ap_slice find_token(struct http_request *request, bool *ret_is_cookie)
{
    static const char bearer[] = "Bearer ";
    *ret_is_cookie = false;
    struct ap_slice authorization = http_header(request, "Authorization");
    if (ap_slice_starts_with(authorization, bearer))
        return ap_slice_trim(
            ap_slice(authorization.data + sizeof(bearer) - 1, authorization.bytes - (sizeof(bearer) - 1)));
    struct ap_slice header = http_header(request, "X-Apiary-Key");
    *ret_is_cookie = !header.data;
    return header.data ? header : find_cookie(request);
}

#define KIND(name) (1u << KEY_KIND_##name)

static const struct {
    unsigned kinds;
    const char *needs;
} rights[] = {
    [ACCESS_READ] = {KIND(VIEWER) | KIND(OPERATOR), "reading needs a viewer key"},
    [ACCESS_OPERATE] = {KIND(OPERATOR) | KIND(SECRET),
                        "changing alerts, silences and heart-beats needs an operator key"},
    [ACCESS_ADMINISTER] = {KIND(SECRET), "administration needs a secret key"},
};

/* The status to refuse with, or 0. */
static unsigned refuse_token(const struct api *api, enum access access, struct ap_slice token, struct ap_err *err)
{
    struct keyring_entry *entry;
    if (keyring_find(api->keyring, token, &entry, err) != AP_OK)
        return 401;
    if (rights[access].kinds >> entry->kind & 1)
        return 0;
    ap_fail(err, AP_E_AUTH, "this key is of the kind %s; %s", key_kind_name(entry->kind), rights[access].needs);
    return 403;
}

/* Whether a page of another origin could have made the browser send this; see access.h. */
static bool may_be_forged(struct http_request *request)
{
    struct ap_slice site = http_header(request, "Sec-Fetch-Site");
    if (site.data && !ap_slice_equal_cstr(site, "same-origin"))
        return true;
    if (http_method(request) == HTTP_METHOD_DELETE || http_method(request) == HTTP_METHOD_PUT)
        return false;
    struct ap_slice type = http_header(request, "Content-Type");
    return !ap_slice_equal_nocase(ap_slice_trim(ap_slice_split(&type, ';')), "application/json");
}

bool access_admit(const struct api *api, enum access access, struct http_request *request)
{
    if (api->is_open)
        return true;
    bool is_cookie;
    struct ap_slice token = find_token(request, &is_cookie);
    struct ap_err err;
    unsigned status = 401;
    if (!token.data)
        ap_fail(&err, AP_E_AUTH, "%s, as 'Authorization: Bearer KEY'; make one with 'apiary key create'",
                rights[access].needs);
    else
        status = refuse_token(api, access, token, &err);
    if (status == 0 && is_cookie && access != ACCESS_READ && may_be_forged(request)) {
        status = 403;
        ap_fail(&err, AP_E_AUTH,
                "a page of another origin may have sent this: a change by cookie is sent as "
                "'Content-Type: application/json'");
    }
    if (status)
        api_reply_error(request, status, "%s", err.text);
    return status == 0;
}

/* ---- Signing in on the page ---- */

static void reply_with_cookie(const struct api *api, struct http_request *request, const char *token, int max_age_s)
{
    AP_AUTO_FREE char *cookie =
        ap_asprintf(COOKIE_NAME "=%s; Path=%.*s/; HttpOnly; SameSite=Strict; Max-Age=%d%s", token,
                    AP_SLICE_ARG(api->path_prefix), max_age_s, http_is_tls(request) ? "; Secure" : "");
    struct http_field field = {"Set-Cookie", cookie};
    http_reply(request, &(struct http_reply){.status = 204, .fields = &field, .field_count = 1});
}

static void reply_with_kind(const struct api *api, struct http_request *request)
{
    bool is_cookie;
    struct ap_slice token = find_token(request, &is_cookie);
    struct keyring_entry *entry;
    struct ap_err err;
    const char *kind = "none";
    if (api->is_open)
        kind = "open";
    else if (token.data && keyring_find(api->keyring, token, &entry, &err) == AP_OK &&
             rights[ACCESS_READ].kinds >> entry->kind & 1)
        kind = key_kind_name(entry->kind);
    struct ap_buf json = {0};
    ap_buf_printf(&json, "{\"kind\":\"%s\"}\n", kind);
    api_reply_json(request, ap_buf_slice(&json));
}

static void sign_in(const struct api *api, struct http_request *request)
{
    struct ap_slice body = http_body(request);
    json_error_t json_error;
    json_t *object = json_loadb(body.data, body.bytes, 0, &json_error);
    const char *token = json_string_value(json_object_get(object, "key"));
    struct ap_err err = {0};
    unsigned status = 0;
    if (!token) {
        ap_fail(&err, AP_E_PARSE, "expected {\"key\":\"apk_view_…\"}");
        status = 400;
    } else if (!api->is_open) {
        status = refuse_token(api, ACCESS_READ, ap_slice_cstr(token), &err);
    }
    /* A key that passed has only the letters of its alphabet, so it cannot break out of the cookie. */
    if (status)
        api_reply_error(request, status, "%s", err.text);
    else
        reply_with_cookie(api, request, api->is_open ? "open" : token, COOKIE_MAX_AGE_S);
    json_decref(object);
}

void access_handle_session(struct api *api, struct http_request *request)
{
    if (http_method(request) == HTTP_METHOD_DELETE)
        reply_with_cookie(api, request, "", 0);
    else if (http_method(request) == HTTP_METHOD_POST)
        sign_in(api, request);
    else
        reply_with_kind(api, request);
}
