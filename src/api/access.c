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
static struct ap_slice find_token(struct http_request *request)
{
    static const char bearer[] = "Bearer ";
    struct ap_slice authorization = http_header(request, "Authorization");
    if (ap_slice_starts_with(authorization, bearer))
        return ap_slice_trim(
            ap_slice(authorization.data + sizeof(bearer) - 1, authorization.bytes - (sizeof(bearer) - 1)));
    struct ap_slice header = http_header(request, "X-Apiary-Key");
    return header.data ? header : find_cookie(request);
}

/* The status to refuse with, or 0. */
static unsigned refuse_token(const struct api *api, enum key_kind want, struct ap_slice token, struct ap_err *err)
{
    struct keyring_entry *entry;
    if (keyring_find(api->keyring, token, &entry, err) != AP_OK)
        return 401;
    if (entry->kind == want)
        return 0;
    if (want == KEY_KIND_VIEWER)
        ap_fail(err, AP_E_AUTH, "this is a %s key, which only writes; reading needs a viewer key",
                key_kind_name(entry->kind));
    else
        ap_fail(err, AP_E_AUTH, "this is a %s key; administration needs a %s key", key_kind_name(entry->kind),
                key_kind_name(want));
    return 403;
}

static bool admit(const struct api *api, enum key_kind want, struct http_request *request)
{
    if (api->is_open)
        return true;
    struct ap_slice token = find_token(request);
    struct ap_err err;
    unsigned status = 401;
    if (!token.data)
        ap_fail(&err, AP_E_AUTH,
                "this needs a %s key, as 'Authorization: Bearer KEY'; make one with 'apiary key create'",
                key_kind_name(want));
    else
        status = refuse_token(api, want, token, &err);
    if (status)
        api_reply_error(request, status, "%s", err.text);
    return status == 0;
}

bool access_admit_viewer(const struct api *api, struct http_request *request)
{
    return admit(api, KEY_KIND_VIEWER, request);
}

bool access_admit_secret(const struct api *api, struct http_request *request)
{
    return admit(api, KEY_KIND_SECRET, request);
}

static void reply_with_cookie(struct http_request *request, const char *token, int max_age_s)
{
    AP_AUTO_FREE char *cookie = ap_asprintf(COOKIE_NAME "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", token,
                                            max_age_s, http_is_tls(request) ? "; Secure" : "");
    struct http_field field = {"Set-Cookie", cookie};
    http_reply(request, &(struct http_reply){.status = 204, .fields = &field, .field_count = 1});
}

void access_handle_session(struct api *api, struct http_request *request)
{
    if (http_method(request) == HTTP_METHOD_DELETE) {
        reply_with_cookie(request, "", 0);
        return;
    }
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
        status = refuse_token(api, KEY_KIND_VIEWER, ap_slice_cstr(token), &err);
    }
    /* A key that passed has only the letters of its alphabet, so it cannot break out of the cookie. */
    if (status)
        api_reply_error(request, status, "%s", err.text);
    else
        reply_with_cookie(request, api->is_open ? "open" : token, COOKIE_MAX_AGE_S);
    json_decref(object);
}
