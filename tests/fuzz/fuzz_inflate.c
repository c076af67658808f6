/*
 * The first byte chooses the encoding, the others are the body. What comes out stays under the limit and is followed by
 * zeros, and the same bytes give the same result a second time with the same working memory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "codec/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_BYTES_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    static const enum inflate_encoding encodings[] = {INFLATE_GZIP, INFLATE_DEFLATE, INFLATE_ZSTD, INFLATE_SNAPPY};
    enum inflate_encoding encoding = encodings[data[0] % AP_ARRAY_COUNT(encodings)];
    struct ap_slice input = ap_slice(data + 1, size - 1);
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    char *outputs[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    enum ap_rc rcs[2];
    for (size_t i = 0; i < 2; i++) {
        struct ap_err err = {0};
        rcs[i] = inflate_body(inflate, encoding, input, OUTPUT_BYTES_MAX, &outputs[i], &bytes[i], &err);
        if (rcs[i] != AP_OK) {
            AP_ASSERT(rcs[i] == AP_E_PARSE || rcs[i] == AP_E_LIMIT);
            AP_ASSERT(err.text[0] != '\0');
            continue;
        }
        AP_ASSERT(bytes[i] <= OUTPUT_BYTES_MAX);
        for (size_t j = 0; j < INFLATE_PADDING_BYTES; j++)
            AP_ASSERT(outputs[i][bytes[i] + j] == 0);
    }
    AP_ASSERT(rcs[0] == rcs[1] && bytes[0] == bytes[1]);
    AP_ASSERT(bytes[0] == 0 || memcmp(outputs[0], outputs[1], bytes[0]) == 0);
    free(outputs[0]);
    free(outputs[1]);
    return 0;
}
