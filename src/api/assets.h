/*
 * api/assets.h - the web app inside the binary
 *
 * The build packs web/dist (or, without Node.js, the one page of tools/no-web) into a table by tools/embed.c. Bytes are
 * kept gzip-ed only, because every browser takes them so; for a client that does not, inflate them: raw_bytes is the
 * room. Everything here is constant and may be used from any thread.
 */
#pragma once

#include "base/slice.h"
#include <stddef.h>

struct asset {
    const char *path; /* as in a URL: "/index.html", "/assets/index-BqX3.js" */
    const char *content_type;
    const char *etag; /* with its quotes, as the header wants it; a hash of the bytes before compression */
    const unsigned char *gzip;
    size_t gzip_bytes;
    size_t raw_bytes;
};

/* NULL when there is none of exactly that path. */
const struct asset *asset_find(struct ap_slice path);

/* Ordered by path, bytewise; written by tools/embed.c. */
extern const struct asset asset_table[];
extern const size_t asset_count;
