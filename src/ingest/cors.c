#include "ingest/cors.h"

#include <string.h>

#define METHODS "POST, OPTIONS"

bool cors_origin_is_allowed(struct ap_slice origin, const char *allowed)
{
    struct ap_slice rest = ap_slice_cstr(allowed);
    if (!origin.data || rest.bytes == 0)
        return true;
    while (rest.data)
        if (ap_slice_equal(ap_slice_split(&rest, ' '), origin))
            return true;
    return false;
}

bool cors_origin_is_listed(struct ap_slice origin, const char *const *origins, size_t count)
{
    for (size_t i = 0; origin.data && i < count; i++)
        if (ap_slice_equal_cstr(origin, origins[i]) || strcmp(origins[i], "*") == 0)
            return true;
    return false;
}

/* `*` also for keys tied to origins: what is refused is the request, and the page may well read why. */
size_t cors_answer_fields(bool is_from_page, struct http_field ret_fields[CORS_FIELDS_MAX])
{
    if (!is_from_page)
        return 0;
    ret_fields[0] = (struct http_field){"Access-Control-Allow-Origin", "*"};
    ret_fields[1] = (struct http_field){"Access-Control-Expose-Headers", "Retry-After"};
    return 2;
}

void cors_reply_preflight(struct http_request *request)
{
    static const struct http_field fields[] = {
        {"Allow", METHODS},
        {"Access-Control-Allow-Origin", "*"},
        {"Access-Control-Allow-Methods", METHODS},
        {"Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, DNT, X-Apiary-Key"},
        {"Access-Control-Max-Age", "86400"},
    };
    http_reply(request, &(struct http_reply){
                            .status = 204, .fields = fields, .field_count = sizeof(fields) / sizeof(fields[0])});
}
