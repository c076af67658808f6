/*
 * tsdb/head_verify.h - checks the head's files on disk: checkpoint, series, chunk lists, and every chunk they name
 *
 * Reads what the newest checkpoint stands for; what is behind the lengths that it names does not exist. Reads only, and
 * may be used while a server runs on the directory: when the checkpoint was replaced meanwhile it starts again.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "os/fs.h"
#include "tsdb/block.h"

struct head_verified {
    uint64_t series_count;
    uint64_t chunk_count;
    uint64_t sample_count; /* in chunks; those in tails are in the log */
};

/*
 * Calls `each` for every fault, with the file's name within head/. `store_fd` is the store's directory. Returns the
 * number of faults. A store without a checkpoint has none.
 */
size_t head_verify(const struct os_fs *fs, int store_fd, void (*each)(const struct block_fault *fault, void *context),
                   void *context, struct head_verified *ret_verified);
