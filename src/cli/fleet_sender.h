/*
 * cli/fleet_sender.h - sends the fleet's rows to a server, in batches over several connections
 *
 * Like any client: NDJSON by POST, and where the server says 429 or 503 it waits for as long as Retry-After asks and
 * sends the batch again. One thread adds rows; each connection has a thread of its own. Memory is bounded by two
 * batches for each connection: fleet_sender_add() waits when the server is slower than the fleet.
 *
 * A connection that breaks is tried again too. Whether the server had kept the batch before it broke cannot be known,
 * so its rows may then be there twice: for a simulation that is good enough.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "cli/fleet.h"

struct fleet_sender;

struct fleet_sender_options {
    const char *url;           /* "http://127.0.0.1:8484", with or without a final slash; copied */
    const char *key;           /* NULL: none; copied */
    uint32_t connection_count; /* 1 … 64 */
    uint32_t batch_rows;       /* rows of one table that are sent at once */
    /* Called at least every 100 ms while something waits, on any thread, under a lock of the sender's: it must not call
       back. True ends all sending. May be NULL. */
    bool (*is_stopped)(void *context);
    void *context;
};

struct fleet_sender *fleet_sender_new(const struct fleet_sender_options *options);
void fleet_sender_free(struct fleet_sender *sender); /* drops what was not sent; NULL is allowed */
AP_DEFINE_AUTO(fleet_sender, struct fleet_sender, fleet_sender_free)

/* Copies the row. After a failure every call fails with the same sentence; AP_E_BUSY when is_stopped() said so. */
ap_nodiscard enum ap_rc fleet_sender_add(struct fleet_sender *sender, const struct fleet_row *row, struct ap_err *err);

/* Sends what is there and waits until all of it has been acknowledged. */
ap_nodiscard enum ap_rc fleet_sender_flush(struct fleet_sender *sender, struct ap_err *err);

/* Rows that the server has acknowledged, and how often it asked to wait. */
uint64_t fleet_sender_rows(struct fleet_sender *sender);
uint64_t fleet_sender_waits(struct fleet_sender *sender);
