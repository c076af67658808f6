/*
 * Deletion of samples: told to the log first, then done in blocks and head.
 *
 * A deletion has a sequence number among the records of samples, so that a replay can do it again to what came before
 * it, and to that alone: samples may come back into a deleted span, and be in chunks and blocks by then. Chunks of a
 * series that has sealed a newer record have seen it already; so have blocks, once there was a checkpoint.
 */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

enum { DELETION_VERSION = 2, DELETION_VERSION_UNNUMBERED = 1 };

/* ---- The log's record: docs/format/tsdb.md, "Log records" ---- */

static void encode_deletion(uint64_t seq, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                            struct ap_buf *out)
{
    ap_buf_add_char(out, DELETION_VERSION);
    ap_buf_add_u64(out, seq);
    ap_buf_add_u64(out, (uint64_t)min_ts_ms);
    ap_buf_add_u64(out, (uint64_t)max_ts_ms);
    ap_buf_add_char(out, (char)matchers->count);
    for (size_t i = 0; i < matchers->count; i++) {
        struct ap_slice name = matcher_name(matchers->items[i]);
        struct ap_slice value = matcher_value(matchers->items[i]);
        ap_buf_add_char(out, (char)matcher_kind_of(matchers->items[i]));
        ap_buf_add_u32(out, (uint32_t)name.bytes);
        ap_buf_add_slice(out, name);
        ap_buf_add_u32(out, (uint32_t)value.bytes);
        ap_buf_add_slice(out, value);
    }
}

static bool take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static bool take_text(struct ap_slice *rest, struct ap_slice *ret_text)
{
    uint32_t bytes;
    if (!take(rest, &bytes, sizeof(bytes)) || rest->bytes < bytes)
        return false;
    *ret_text = ap_slice(rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static enum ap_rc decode_matchers(struct ap_slice *rest, struct matchers *ret_matchers, struct ap_err *err)
{
    uint8_t count;
    if (!take(rest, &count, 1) || count > MATCHERS_MAX)
        return ap_fail(err, AP_E_CORRUPT, "log record of a deletion is malformed");
    for (uint8_t i = 0; i < count; i++) {
        uint8_t kind;
        struct ap_slice name;
        struct ap_slice value;
        if (!take(rest, &kind, 1) || kind > MATCHER_NOT_REGEX || !take_text(rest, &name) || !take_text(rest, &value))
            return ap_fail(err, AP_E_CORRUPT, "log record of a deletion is malformed");
        enum ap_rc rc =
            matcher_new((enum matcher_kind)kind, name, value, &ret_matchers->items[ret_matchers->count], err);
        if (rc != AP_OK)
            return rc;
        ret_matchers->count++;
    }
    return AP_OK;
}

/* ---- Doing it ---- */

static void delete_in_head(struct tsdb *tsdb, uint64_t seq, const struct matchers *matchers, int64_t min_ts_ms,
                           int64_t max_ts_ms)
{
    struct head *head = tsdb->head;
    roaring_bitmap_t *refs = registry_select(tsdb->registry, matchers);
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(refs, &iterator);
    for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
        uint32_t ref = iterator.current_value;
        struct head_shard *shard = head_shard_of(head, ref);
        pthread_mutex_lock(&shard->mtx);
        struct head_series *series = head_series_locked(shard, head_local(head, ref));
        if (series->sealed_seq < seq)
            head_delete_locked(series, min_ts_ms, max_ts_ms);
        pthread_mutex_unlock(&shard->mtx);
    }
    roaring_bitmap_free(refs);
}

static enum ap_rc delete_in_blocks(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms,
                                   int64_t max_ts_ms, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < tsdb->block_count && rc == AP_OK; i++) {
        const struct block_meta *meta = block_meta_of(tsdb->blocks[i]);
        size_t count;
        if (meta->min_ts_ms <= max_ts_ms && meta->max_ts_ms >= min_ts_ms)
            rc = block_delete(tsdb->blocks[i], matchers, min_ts_ms, max_ts_ms, &count, err);
    }
    return rc;
}

enum ap_rc tsdb_delete(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                       struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    pthread_mutex_lock(&tsdb->maintain_mtx); /* no checkpoint between the log and the deed */
    encode_deletion(atomic_fetch_add(&tsdb->head->seq, 1) + 1, matchers, min_ts_ms, max_ts_ms, &record);
    tsdb_deletion_begin(tsdb, min_ts_ms);
    tsdb->has_deletions_in_log = true;
    enum ap_rc rc = wal_append_sync(tsdb->options.wal, TSDB_RECORD_DELETION, ap_buf_slice(&record), NULL, err);
    if (rc == AP_OK)
        rc = delete_in_blocks(tsdb, matchers, min_ts_ms, max_ts_ms, err);
    if (rc == AP_OK) {
        registry_read_lock(tsdb->registry);
        delete_in_head(tsdb, UINT64_MAX, matchers, min_ts_ms, max_ts_ms);
        registry_unlock(tsdb->registry);
    }
    tsdb_deletion_end(tsdb);
    pthread_mutex_unlock(&tsdb->maintain_mtx);
    return rc;
}

/* The registry is locked. */
enum ap_rc tsdb_replay_deletion(struct tsdb *tsdb, struct ap_slice record, uint64_t checkpoint_seq, uint64_t *seq_max,
                                struct ap_err *err)
{
    uint8_t version;
    uint64_t seq = UINT64_MAX;
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    struct ap_slice rest = record;
    if (!take(&rest, &version, 1) || version < DELETION_VERSION_UNNUMBERED || version > DELETION_VERSION ||
        (version == DELETION_VERSION && !take(&rest, &seq, sizeof(seq))) ||
        !take(&rest, &min_ts_ms, sizeof(min_ts_ms)) || !take(&rest, &max_ts_ms, sizeof(max_ts_ms)))
        return ap_fail(err, AP_E_CORRUPT, "log record of a deletion is malformed or of a newer version");
    struct matchers matchers = {0};
    enum ap_rc rc = decode_matchers(&rest, &matchers, err);
    if (rc == AP_OK && version == DELETION_VERSION)
        *seq_max = AP_MAX(*seq_max, seq);
    tsdb->has_deletions_in_log |= seq > checkpoint_seq;
    if (rc == AP_OK && seq > checkpoint_seq)
        rc = delete_in_blocks(tsdb, &matchers, min_ts_ms, max_ts_ms, err);
    if (rc == AP_OK)
        delete_in_head(tsdb, seq, &matchers, min_ts_ms, max_ts_ms);
    matchers_clear(&matchers);
    return rc;
}
