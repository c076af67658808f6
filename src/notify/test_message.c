#include "notify/test_message.h"

#include "base/assert.h"
#include "tsdb/labels.h"

static void encode(struct label *labels, size_t count, struct ap_buf *out)
{
    struct ap_err err;
    enum ap_rc rc = labels_encode(labels, count, out, &err);
    AP_ASSERT(rc == AP_OK);
}

void test_message_init(struct test_message *message, const char *receiver, int64_t now_ms)
{
    *message = (struct test_message){0};
    /* A name can be anything that YAML can say; a label's value cannot. */
    struct ap_slice name = ap_slice_cstr(receiver);
    name.bytes = ap_utf8_valid_bytes(ap_slice(name.data, AP_MIN(name.bytes, (size_t)LABEL_VALUE_BYTES_MAX)));
    struct label labels[] = {{ap_slice_cstr("alertname"), ap_slice_cstr(TEST_MESSAGE_NAME)},
                             {ap_slice_cstr("receiver"), name},
                             {ap_slice_cstr("severity"), ap_slice_cstr("info")}};
    struct label annotations[] = {
        {ap_slice_cstr("summary"), ap_slice_cstr("This is a test of the notification path: nothing is wrong")},
        {ap_slice_cstr("description"), ap_slice_cstr("Apiary sends this to see whether it can reach you. When such "
                                                     "messages do not come any more, alerts would not either.")},
    };
    struct label group[] = {labels[0]};
    encode(group, AP_ARRAY_COUNT(group), &message->group_labels);
    encode(labels, AP_ARRAY_COUNT(labels), &message->labels);
    encode(annotations, AP_ARRAY_COUNT(annotations), &message->annotations);
    /* Of the receiver, so that tests of several are several threads and incidents. */
    ap_buf_add_cstr(&message->group_key, "{}:");
    labels_format_set(ap_buf_slice(&message->labels), &message->group_key);
    message->alert = (struct notified_alert){
        .labels = ap_buf_slice(&message->labels),
        .annotations = ap_buf_slice(&message->annotations),
        .generator_url = ap_slice_cstr(""),
        .starts_ms = now_ms,
    };
}

void test_message_clear(struct test_message *message)
{
    ap_buf_clear(&message->labels);
    ap_buf_clear(&message->annotations);
    ap_buf_clear(&message->group_labels);
    ap_buf_clear(&message->group_key);
}

bool test_message_needs_end(const struct receiver_way *way)
{
    return way->kind == RECEIVER_PAGERDUTY && !way->pagerduty.is_change;
}

void test_message_fill(struct test_message *message, bool is_end, struct notification *notification)
{
    message->alert.is_resolved = is_end;
    message->alert.ends_ms = is_end ? message->alert.starts_ms : 0;
    notification->group_key = ap_buf_slice(&message->group_key);
    notification->group_labels = ap_buf_slice(&message->group_labels);
    notification->alerts = &message->alert;
    notification->alert_count = 1;
    notification->firing_count = !is_end;
    notification->kind = NOTIFICATION_TEST;
    notification->reason = is_end ? NOTIFICATION_ALL_RESOLVED : NOTIFICATION_FIRST;
    notification->decided_ms = message->alert.starts_ms;
}
