/*
 * api/live.h - tells open pages that there is something new, by server-sent events
 *
 * After each commit of the warehouse every page gets `event: commit` with the tables it touched, and asks again for
 * what it shows; answers come from the result cache, so a hundred pages cost about as much as one.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"

struct http_request;
struct live;

struct live *live_new(const struct ap_clock *clock); /* lent */

/* All streams must be gone: close the server first. NULL is allowed. */
void live_free(struct live *live);
AP_DEFINE_AUTO(live, struct live, live_free)

/* Replies with the stream. On an HTTP thread. */
void live_handle(struct live *live, struct http_request *request);

/* Bit i of `tables_mask` is the table with id i of warehouse/tables.h. Any thread; never waits for a client. */
void live_publish(struct live *live, uint64_t lsn, uint64_t tables_mask);
