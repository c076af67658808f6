/* Any bytes as the tombstones of one of Prometheus' blocks: as they are, and with a head and a checksum that fit. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "history/prometheus_tombstones.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_all(struct ap_slice file)
{
    struct prometheus_tombstones tombstones = {0};
    struct ap_err err;
    char *exact = malloc(file.bytes + 1); /* of just this size, so that reading beyond it shows */
    if (file.bytes)
        memcpy(exact, file.data, file.bytes);
    enum ap_rc rc = prometheus_tombstones_read(ap_slice(exact, file.bytes), &tombstones, &err);
    AP_ASSERT(rc == AP_OK || tombstones.count == 0);
    prometheus_tombstones_sort(&tombstones);
    for (size_t i = 0; i < tombstones.count; i++) {
        size_t count;
        const struct prometheus_stone *stones =
            prometheus_tombstones_of(&tombstones, tombstones.stones[i].series_ref, &count);
        AP_ASSERT(count >= 1 && stones[0].series_ref == tombstones.stones[i].series_ref);
    }
    prometheus_tombstones_clear(&tombstones);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char head[] = {0x01, 0x30, (char)0xBA, 0x30, 1};
    AP_AUTO_BUF struct ap_buf file = {0};
    read_all(ap_slice(data, bytes));
    ap_buf_add(&file, head, sizeof(head));
    ap_buf_add(&file, data, bytes);
    ap_buf_add_u32(&file, __builtin_bswap32(wal_crc32c(0, data, bytes)));
    read_all(ap_buf_slice(&file));
    return 0;
}
