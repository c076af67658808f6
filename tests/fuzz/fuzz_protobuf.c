/*
 * Any bytes: the reader moves forward at each step, lends only from the message, and goes as deep as the test lets it.
 */
#include <stdint.h>

#include "base/assert.h"
#include "codec/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 6 };

static void walk(struct ap_slice message, unsigned depth)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    const uint8_t *before = reader.next;
    while (protobuf_next(&reader, &field)) {
        AP_ASSERT(reader.next > before && reader.next <= reader.end);
        AP_ASSERT(field.tag >= 8);
        before = reader.next;
        if ((field.tag & 7) != PROTOBUF_BYTES)
            continue;
        AP_ASSERT(field.bytes.data >= message.data);
        AP_ASSERT(field.bytes.data + field.bytes.bytes <= message.data + message.bytes);
        if (depth < DEPTH_MAX)
            walk(field.bytes, depth + 1);
    }
    AP_ASSERT(reader.is_malformed ? reader.next == before : reader.next == reader.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(ap_slice(data, size), 0);
    return 0;
}
