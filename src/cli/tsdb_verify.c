/* apiary tsdb verify: reads all there is and tells what is damaged. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/tsdb_store.h"
#include "tsdb/head_verify.h"

struct verification {
    const struct tsdb_store *store;
    const char *where; /* "blocks/<id>" or "head" */
    size_t fault_count;
    struct ap_buf json;
};

static void add_fault(const struct block_fault *fault, void *context)
{
    struct verification *verification = context;
    verification->fault_count++;
    if (!verification->store->is_json) {
        tsdb_store_progress(verification->store, NULL, 0, 0);
        printf("%s/%s, offset %" PRIu64 ": %s\n", verification->where, fault->file, fault->offset, fault->text);
        return;
    }
    struct ap_buf *json = &verification->json;
    AP_AUTO_FREE char *file = ap_asprintf("%s/%s", verification->where, fault->file);
    ap_buf_add_cstr(json, json->bytes ? ",{\"file\":" : "{\"file\":");
    ap_buf_add_json_string(json, ap_slice_cstr(file));
    ap_buf_printf(json, ",\"offset\":%" PRIu64 ",\"fault\":", fault->offset);
    ap_buf_add_json_string(json, ap_slice_cstr(fault->text));
    ap_buf_add_char(json, '}');
}

/* A merge may remove a block while it is read: then what it did not find is no fault. */
static bool verify_block(struct verification *verification, const char *id, uint64_t *chunks, uint64_t *samples)
{
    AP_AUTO_FREE char *where = ap_asprintf("blocks/%s", id);
    verification->where = where;
    size_t faults_before = verification->fault_count, json_before = verification->json.bytes;
    uint64_t chunk_count = 0, sample_count = 0;
    (void)block_verify(&os_fs_system, verification->store->blocks_fd, id, add_fault, verification, &chunk_count,
                       &sample_count);
    if (verification->fault_count > faults_before && !tsdb_store_has_block(verification->store, id)) {
        verification->fault_count = faults_before;
        verification->json.bytes = json_before;
        return false;
    }
    *chunks += chunk_count;
    *samples += sample_count;
    return true;
}

int tsdb_verify(struct tsdb_store *store)
{
    struct verification verification = {.store = store};
    uint64_t chunks = 0, samples = 0;
    size_t block_count = 0;
    for (size_t i = 0; i < store->id_count; i++) {
        tsdb_store_progress(store, "verifying block", i + 1, store->id_count);
        block_count += verify_block(&verification, store->ids[i], &chunks, &samples);
    }
    tsdb_store_progress(store, "verifying the head, step", 1, 1);
    verification.where = "head";
    struct head_verified head;
    head_verify(&os_fs_system, store->dir_fd, add_fault, &verification, &head);
    tsdb_store_progress(store, NULL, 0, 0);
    if (store->is_json) {
        printf("{\"blocks\":%zu,\"chunks\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"head\":{\"series\":%" PRIu64
               ",\"chunks\":%" PRIu64 ",\"samples\":%" PRIu64 "},\"faults\":[%.*s]}\n",
               block_count, chunks, samples, head.series_count, head.chunk_count, head.sample_count,
               AP_SLICE_ARG(ap_buf_slice(&verification.json)));
    } else {
        printf("%zu blocks: %" PRIu64 " chunks, %" PRIu64 " samples; head: %" PRIu64 " series, %" PRIu64
               " chunks, %" PRIu64 " samples; ",
               block_count, chunks, samples, head.series_count, head.chunk_count, head.sample_count);
        if (verification.fault_count)
            printf("%zu faults\n", verification.fault_count);
        else
            printf("no faults\n");
    }
    ap_buf_clear(&verification.json);
    return verification.fault_count ? CLI_FAILED : CLI_DONE;
}
