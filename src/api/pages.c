#include "api/pages.h"

#include <inttypes.h>
#include <libdeflate.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "api/assets.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

struct pages {
    struct ap_buf index; /* index.html with the prefix in it */
    char etag[24];
};

/* For free(); NULL: no memory. */
static char *inflate(const struct asset *asset)
{
    char *raw = ap_try_alloc(asset->raw_bytes, SIZE_MAX);
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    bool is_done = raw && decompressor &&
                   libdeflate_gzip_decompress(decompressor, asset->gzip, asset->gzip_bytes, raw, asset->raw_bytes,
                                              NULL) == LIBDEFLATE_SUCCESS;
    libdeflate_free_decompressor(decompressor);
    if (is_done)
        return raw;
    free(raw);
    return NULL;
}

/* ---- The app's page ---- */

/* Each address from "./" on is in quotes, as the build writes attributes. */
static void add_with_prefix(struct ap_buf *out, struct ap_slice html, struct ap_slice prefix)
{
    static const char relative[] = "\"./";
    while (html.bytes) {
        const char *found = memmem(html.data, html.bytes, relative, sizeof(relative) - 1);
        size_t before = found ? (size_t)(found - html.data) : html.bytes;
        ap_buf_add(out, html.data, before);
        html = ap_slice(html.data + before, html.bytes - before);
        if (!found)
            return;
        ap_buf_add_char(out, '"');
        ap_buf_add_slice(out, prefix);
        ap_buf_add_char(out, '/');
        html = ap_slice(html.data + sizeof(relative) - 1, html.bytes - (sizeof(relative) - 1));
    }
}

struct pages *pages_new(struct ap_slice prefix)
{
    struct pages *pages = ap_new0(struct pages);
    const struct asset *asset = asset_find(ap_slice_cstr("/index.html"));
    AP_ASSERT(asset != NULL);
    AP_AUTO_FREE char *html = inflate(asset);
    AP_ASSERT(html != NULL);
    add_with_prefix(&pages->index, ap_slice(html, asset->raw_bytes), prefix);
    snprintf(pages->etag, sizeof(pages->etag), "\"%016" PRIx64 "\"",
             (uint64_t)XXH3_64bits(pages->index.data, pages->index.bytes));
    return pages;
}

void pages_free(struct pages *pages)
{
    if (!pages)
        return;
    ap_buf_clear(&pages->index);
    free(pages);
}

/* ---- Answers ---- */

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

static void reply_asset(struct http_request *request, const struct asset *asset, struct http_reply *reply)
{
    reply->content_type = asset->content_type;
    reply->is_uncompressed = true;
    if (accepts_gzip(request)) {
        reply->body = ap_slice(asset->gzip, asset->gzip_bytes);
        reply->field_count++; /* the last one is the encoding */
        http_reply(request, reply);
        return;
    }
    char *raw = inflate(asset);
    if (!raw) {
        api_reply_error(request, 503, "no memory to send this page uncompressed");
        return;
    }
    reply->body = ap_slice(raw, asset->raw_bytes);
    reply->body_owner = HTTP_BODY_TAKEN;
    http_reply(request, reply);
}

void pages_handle(struct api *api, struct http_request *request, struct ap_slice path)
{
    const struct asset *asset = asset_find(path);
    bool is_named_by_content = ap_slice_starts_with(path, "/assets/");
    if (!asset && is_named_by_content) {
        api_reply_error(request, 404, "there is no such file");
        return;
    }
    if (ap_slice_equal_cstr(path, "/index.html"))
        asset = NULL;
    const char *etag = asset ? asset->etag : api->pages->etag;

    /* Files under /assets/ have a hash in their name and never change; the page that names them is asked for each time.
     */
    struct http_field fields[] = {
        {"ETag", etag},
        {"Cache-Control", is_named_by_content ? "public, max-age=31536000, immutable" : "no-cache"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "same-origin"},
        {"Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
                                    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"},
        {"Vary", "Accept-Encoding"},
        {"Content-Encoding", "gzip"},
    };
    struct http_reply reply = {
        .status = 200, .body_owner = HTTP_BODY_STATIC, .fields = fields, .field_count = AP_ARRAY_COUNT(fields) - 1};
    if (api_is_tag_among(http_header(request, "If-None-Match"), etag)) {
        reply.status = 304;
        http_reply(request, &reply);
    } else if (asset) {
        reply_asset(request, asset, &reply);
    } else {
        reply.content_type = "text/html; charset=utf-8";
        reply.body = ap_buf_slice(&api->pages->index);
        http_reply(request, &reply);
    }
}
