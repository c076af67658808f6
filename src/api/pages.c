#include "api/pages.h"

#include <libdeflate.h>

#include "api/assets.h"
#include "base/assert.h"
#include "base/mem.h"

static bool accepts_gzip(struct http_request *request)
{
    struct ap_slice rest = http_header(request, "Accept-Encoding");
    while (rest.data) {
        struct ap_slice part = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_trim(ap_slice_split(&part, ';'));
        if (ap_slice_equal_nocase(name, "gzip"))
            return !part.data || !ap_slice_equal_cstr(ap_slice_trim(part), "q=0");
    }
    return false;
}

/* For the rare client that does not take gzip. */
static void reply_inflated(struct http_request *request, const struct asset *asset, struct http_reply *reply)
{
    char *raw = ap_try_alloc(asset->raw_bytes, SIZE_MAX);
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    if (!raw || !decompressor ||
        libdeflate_gzip_decompress(decompressor, asset->gzip, asset->gzip_bytes, raw, asset->raw_bytes, NULL) !=
            LIBDEFLATE_SUCCESS) {
        free(raw);
        api_reply_error(request, 503, "no memory to send this page uncompressed");
    } else {
        reply->body = ap_slice(raw, asset->raw_bytes);
        reply->body_owner = HTTP_BODY_TAKEN;
        http_reply(request, reply);
    }
    libdeflate_free_decompressor(decompressor);
}

void pages_handle(struct api *api, struct http_request *request, struct ap_slice path)
{
    (void)api;
    const struct asset *asset = asset_find(path);
    if (!asset && ap_slice_starts_with(path, "/assets/")) {
        api_reply_error(request, 404, "there is no such file");
        return;
    }
    bool is_named_by_content = asset && ap_slice_starts_with(path, "/assets/");
    if (!asset)
        asset = asset_find(ap_slice_cstr("/index.html"));
    AP_ASSERT(asset != NULL);

    /* Files under /assets/ have a hash in their name and never change; the page that names them is asked for each time.
     */
    struct http_field fields[] = {
        {"ETag", asset->etag},
        {"Cache-Control", is_named_by_content ? "public, max-age=31536000, immutable" : "no-cache"},
        {"Vary", "Accept-Encoding"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "same-origin"},
        {"Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
                                    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"},
        {"Content-Encoding", "gzip"},
    };
    size_t field_count = AP_ARRAY_COUNT(fields);
    if (ap_slice_equal_cstr(http_header(request, "If-None-Match"), asset->etag)) {
        http_reply(request, &(struct http_reply){.status = 304, .fields = fields, .field_count = field_count - 1});
        return;
    }
    struct http_reply reply = {
        .status = 200,
        .content_type = asset->content_type,
        .body = ap_slice(asset->gzip, asset->gzip_bytes),
        .body_owner = HTTP_BODY_STATIC,
        .fields = fields,
        .field_count = field_count,
        .is_uncompressed = true,
    };
    if (accepts_gzip(request)) {
        http_reply(request, &reply);
        return;
    }
    reply.field_count--; /* the last one is the encoding */
    reply_inflated(request, asset, &reply);
}
