#include "notify/notification_log.h"

#include "base/assert.h"
#include "tsdb/labels.h"
#include "wal/wal.h"
#include "warehouse/row.h"
#include "warehouse/tables.h"

enum { LABELS_JSON_BYTES_MAX = 32 << 10, NAME_BYTES_MAX = 1024 };

struct notification_log {
    /* Constant. */
    struct wal *wal;
    const struct ap_clock *clock;
    /* Any thread, atomic. */
    struct notification_log_stats stats;
};

struct notification_log *notification_log_new(struct wal *wal, const struct ap_clock *clock)
{
    struct notification_log *log = ap_new0(struct notification_log);
    log->wal = wal;
    log->clock = clock;
    return log;
}

void notification_log_free(struct notification_log *log)
{
    free(log);
}

void notification_log_stats_get(const struct notification_log *log, struct notification_log_stats *ret_stats)
{
    ret_stats->logged = __atomic_load_n(&log->stats.logged, __ATOMIC_RELAXED);
    ret_stats->lost = __atomic_load_n(&log->stats.lost, __ATOMIC_RELAXED);
}

/* ---- JSON ---- */

static void add_alert(struct ap_buf *out, const struct notified_alert *alert, struct ap_slice labels)
{
    struct ap_slice name = labels_get(alert->labels, ap_slice_cstr("alertname"));
    name.bytes = ap_utf8_valid_bytes(ap_slice(name.data, AP_MIN(name.bytes, (size_t)NAME_BYTES_MAX)));
    ap_buf_add_cstr(out, "{\"name\":");
    ap_buf_add_json_string(out, name);
    ap_buf_add_cstr(out, ",\"labels\":");
    labels_format_json(labels, out);
    ap_buf_add_cstr(out, alert->is_resolved ? ",\"is_resolved\":true}" : ",\"is_resolved\":false}");
}

/* As many as there is room for, whole; when that is not even one, its name. */
static void add_alerts(struct ap_buf *out, const struct notification *notification)
{
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < notification->alert_count; i++) {
        size_t before_bytes = out->bytes;
        if (i)
            ap_buf_add_char(out, ',');
        add_alert(out, &notification->alerts[i], notification->alerts[i].labels);
        if (out->bytes < NOTIFICATION_LOG_ALERTS_BYTES_MAX)
            continue;
        out->bytes = before_bytes;
        if (i == 0)
            add_alert(out, &notification->alerts[i], (struct ap_slice){0});
        break;
    }
    ap_buf_add_char(out, ']');
}

/* ---- The row ---- */

static void set_text(struct row_batch *batch, const char *name, struct ap_slice text)
{
    int index = table_find_column(batch->table, ap_slice_cstr(name));
    AP_ASSERT(index >= 0);
    uint32_t bytes_max = batch->table->columns[index].bytes_max;
    if (text.bytes > bytes_max)
        text.bytes = ap_utf8_valid_bytes(ap_slice(text.data, bytes_max));
    row_set_text(batch, (size_t)index, text);
}

static void set_number(struct row_batch *batch, const char *name, double number)
{
    int index = table_find_column(batch->table, ap_slice_cstr(name));
    AP_ASSERT(index >= 0);
    row_set_f64(batch, (size_t)index, number);
}

static void set_receiver(struct row_batch *batch, const struct notification *notification)
{
    set_text(batch, "receiver", ap_slice_cstr(notification->receiver->name));
    set_text(batch, "way", ap_slice_cstr(receiver_kind_name(notification->way->kind)));
    set_number(batch, "way_index", (double)receiver_way_index(notification->receiver, notification->way));
}

static void add_reason(struct ap_buf *out, const struct notification *notification)
{
    ap_buf_add_cstr(out, notification_reason_name(notification->reason));
    if (notification->fallback_of)
        ap_buf_printf(out, ", in place of %s", notification->fallback_of->name);
}

static void set_delivery(struct row_batch *batch, const struct delivery *delivery)
{
    set_text(batch, "outcome", ap_slice_cstr(delivery_outcome_name(delivery->outcome)));
    if (delivery->status)
        set_number(batch, "status", delivery->status);
    set_text(batch, "answer", ap_slice_cstr(delivery->text));
    set_number(batch, "duration_ms", (double)delivery->duration_us / 1e3);
}

void notification_log_encode(const struct notification *notification, const struct delivery *delivery, int64_t now_us,
                             struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf group_labels = {0};
    AP_AUTO_BUF struct ap_buf alerts = {0};
    AP_AUTO_BUF struct ap_buf reason = {0};
    struct row_batch batch;
    row_batch_begin(&batch, table_find_by_id(TABLE_NOTIFICATIONS), now_us, out);
    row_set_ts(&batch, 0, now_us);
    set_receiver(&batch, notification);
    set_text(&batch, "kind", ap_slice_cstr(notification_kind_name(notification->kind)));
    add_reason(&reason, notification);
    set_text(&batch, "reason", ap_buf_slice(&reason));
    set_delivery(&batch, delivery);
    set_number(&batch, "attempt", notification->attempt);
    set_text(&batch, "group_key", notification->group_key);
    labels_format_json(notification->group_labels, &group_labels);
    if (group_labels.bytes <= LABELS_JSON_BYTES_MAX)
        set_text(&batch, "group_labels", ap_buf_slice(&group_labels));
    add_alerts(&alerts, notification);
    set_text(&batch, "alerts", ap_buf_slice(&alerts));
    set_number(&batch, "alert_count", (double)notification->alert_count);
    set_number(&batch, "firing_count", (double)notification->firing_count);
    set_text(&batch, "dedup_key", ap_slice_cstr(notification->dedup_key));
    row_batch_commit(&batch);
    row_batch_finish(&batch);
}

/* ---- Into the log ---- */

struct entry {
    struct notification_log *log;
    struct ap_buf record;
    struct wal_ticket ticket;
};

static void entry_end(struct entry *entry, bool is_logged)
{
    uint64_t *counter = is_logged ? &entry->log->stats.logged : &entry->log->stats.lost;
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
    ap_buf_clear(&entry->record);
    free(entry);
}

static void ticket_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    entry_end(ticket->context, rc == AP_OK);
}

void notification_log_add(struct notification_log *log, const struct notification *notification,
                          const struct delivery *delivery)
{
    if (delivery->is_unsent)
        return;
    struct entry *entry = ap_new0(struct entry);
    entry->log = log;
    notification_log_encode(notification, delivery, ap_clock_wall_us(log->clock), &entry->record);
    entry->ticket = (struct wal_ticket){
        .slices = {ap_buf_slice(&entry->record)},
        .slice_count = 1,
        .type = ROW_RECORD_TYPE,
        .done = ticket_done,
        .context = entry,
    };
    struct ap_err err;
    if (wal_submit(log->wal, &entry->ticket, &err) != AP_OK)
        entry_end(entry, false);
}
