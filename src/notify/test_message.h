/*
 * notify/test_message.h - what a test of the notification path says
 *
 * One alert of a name that says it all, so that it is the title wherever titles are made of names. It says the same by
 * each way, whether the server sends it (path_test.h) or somebody at the command line.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/notification.h"
#include "base/buf.h"
#include "base/mem.h"

#define TEST_MESSAGE_NAME "Test of the notification path, nothing to do"

struct test_message {
    struct notified_alert alert;
    struct ap_buf labels; /* owned, as the next ones; canonical */
    struct ap_buf annotations;
    struct ap_buf group_labels;
    struct ap_buf group_key;
};

/* `receiver` is named in it. Clear it afterwards. */
void test_message_init(struct test_message *message, const char *receiver, int64_t now_ms);
void test_message_clear(struct test_message *message);

/* Whether this way opens something that a second message has to close again: an incident of PagerDuty's. */
bool test_message_needs_end(const struct receiver_way *way);

/* The notification's alerts, group, kind and times; all lent by `message`. `is_end`: the test is over. */
void test_message_fill(struct test_message *message, bool is_end, struct notification *notification);
