/*
 * cli/tsdb_store.h - what the commands of `apiary tsdb` share: the directory of a store, its blocks, progress
 *
 * They read and never write, so that they may be used beside a running server. A block that goes away meanwhile,
 * because the server merged it or it is past retention, is not an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "tsdb/block.h"

struct tsdb_store {
    char *dir;                   /* owned */
    int dir_fd;                  /* owned */
    int blocks_fd;               /* owned */
    char (*ids)[BLOCK_ID_BYTES]; /* owned; of its blocks, oldest first */
    size_t id_count;
    bool is_json;
    bool is_terminal; /* show progress on standard error */
};

ap_nodiscard enum ap_rc tsdb_store_open(const char *dir, struct tsdb_store *ret_store, struct ap_err *err);
void tsdb_store_clear(struct tsdb_store *store);

/* Is there still such a block? Otherwise the server took it away. */
bool tsdb_store_has_block(const struct tsdb_store *store, const char *id);

/* Shows "<what> 3 of 17" in place of what stood there, on a terminal; NULL wipes it away. */
void tsdb_store_progress(const struct tsdb_store *store, const char *what, size_t at, size_t of);

/* "2026-11-23 12:00:00", "1.5 MiB". */
void tsdb_store_format_time(int64_t ts_ms, char text[32]);
void tsdb_store_format_bytes(uint64_t bytes, char text[32]);

/* The verbs; each returns an exit code. */
int tsdb_stats(struct tsdb_store *store);
int tsdb_inspect(struct tsdb_store *store, const char *id);
int tsdb_verify(struct tsdb_store *store);
