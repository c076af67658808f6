/* What is read can be written as text, lies within the message, and is not more than there is room for. */
#include <stdint.h>

#include "base/assert.h"
#include "codec/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES_MAX = 16 << 20, RECORD_BYTES_MIN = 11 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_AUTO_ARENA struct ap_arena arena;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct dns_message message;
    struct ap_err err;
    size_t count = 0;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    if (dns_message_read(ap_slice(data, size), &arena, &message, &err) != AP_OK)
        return 0;
    AP_ASSERT(dns_rcode_name(message.rcode)[0]);
    AP_ASSERT(message.question_count == 0 || message.question_name[0]);
    for (int section = 0; section < DNS_SECTION_COUNT; section++)
        for (size_t i = 0; i < message.record_counts[section]; i++) {
            const struct dns_record *record = &message.records[section][i];
            const uint8_t *begin = (const uint8_t *)record->data.data;
            uint32_t serial;
            AP_ASSERT(begin >= data && begin + record->data.bytes <= data + size);
            ap_buf_reset(&text);
            dns_record_text(&message, record, &text);
            AP_ASSERT(text.bytes > 0 && memchr(text.data, '\n', text.bytes) == NULL);
            (void)dns_record_serial(&message, record, &serial);
            count++;
        }
    AP_ASSERT(count * RECORD_BYTES_MIN <= size);
    return 0;
}
