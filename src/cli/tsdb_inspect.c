/* apiary tsdb inspect: what one block is made of. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/tsdb_store.h"
#include "tsdb/chunk.h"

enum { CODECS_MAX = 16, NAMES_SHOWN = 20, PROGRESS_EVERY = 4096 };

struct codec_use {
    const char *name;
    uint64_t chunks;
    uint64_t samples;
    uint64_t bytes;
};

struct name_use {
    char *name; /* owned */
    uint64_t series_count;
    uint64_t value_count;
};

struct inspection {
    struct tsdb_store *store;
    struct block *block;
    struct codec_use codecs[CODECS_MAX];
    size_t codec_count;
    uint64_t damaged_chunks;
    struct name_use *names; /* owned */
    size_t name_count;
    size_t name_capacity;
};

/* ---- Codecs ---- */

static void count_chunk(struct inspection *inspection, const struct chunk_entry *entry)
{
    struct ap_slice chunk;
    struct ap_err err;
    enum chunk_kind kind;
    if (block_chunk(inspection->block, entry, &chunk, &err) != AP_OK ||
        chunk_check(chunk, entry->min_ts_ms, &kind, &err) != AP_OK) {
        inspection->damaged_chunks++;
        return;
    }
    const char *name = kind == CHUNK_HISTOGRAMS ? "histogram" : chunk_codec_name(chunk);
    size_t at = 0;
    while (at < inspection->codec_count && strcmp(inspection->codecs[at].name, name) != 0)
        at++;
    if (at == CODECS_MAX)
        return;
    if (at == inspection->codec_count)
        inspection->codecs[inspection->codec_count++].name = name;
    inspection->codecs[at].chunks++;
    inspection->codecs[at].samples += entry->sample_count;
    inspection->codecs[at].bytes += entry->bytes;
}

static enum ap_rc count_codecs(struct inspection *inspection, struct ap_err *err)
{
    struct chunk_entry *entries = NULL;
    size_t capacity = 0;
    size_t series_count = block_series_count(inspection->block);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < series_count && rc == AP_OK; i++) {
        size_t count = 0;
        rc =
            block_series_chunks(inspection->block, (uint32_t)i, INT64_MIN, INT64_MAX, &entries, &count, &capacity, err);
        for (size_t j = 0; rc == AP_OK && j < count; j++)
            count_chunk(inspection, &entries[j]);
        if (i % PROGRESS_EVERY == 0)
            tsdb_store_progress(inspection->store, "reading series", i, series_count);
    }
    tsdb_store_progress(inspection->store, NULL, 0, 0);
    free(entries);
    return rc;
}

static int compare_codecs(const void *left, const void *right)
{
    const struct codec_use *a = left, *b = right;
    return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

/* ---- Names ---- */

static bool count_value(struct ap_slice text, uint64_t series_count, void *context)
{
    (void)text;
    (void)series_count;
    ++*(uint64_t *)context;
    return true;
}

static bool take_name(struct ap_slice text, uint64_t series_count, void *context)
{
    struct inspection *inspection = context;
    if (inspection->name_count == inspection->name_capacity) {
        inspection->name_capacity = inspection->name_capacity ? inspection->name_capacity * 2 : 64;
        inspection->names = ap_realloc(inspection->names, inspection->name_capacity * sizeof(*inspection->names));
    }
    struct name_use *use = &inspection->names[inspection->name_count++];
    *use = (struct name_use){.name = ap_slice_dup(text), .series_count = series_count};
    block_each_value(inspection->block, text, count_value, &use->value_count);
    return true;
}

static int compare_names(const void *left, const void *right)
{
    const struct name_use *a = left, *b = right;
    if (a->value_count != b->value_count)
        return a->value_count < b->value_count ? 1 : -1;
    return strcmp(a->name, b->name);
}

/* ---- Printing ---- */

static double per_sample(uint64_t bytes, uint64_t samples)
{
    return samples ? (double)bytes / (double)samples : 0;
}

static void add_files_json(const struct inspection *inspection, struct ap_buf *out)
{
    int fd =
        openat(inspection->store->blocks_fd, block_meta_of(inspection->block)->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const char *separator = "";
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat info;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &info, 0) != 0)
            continue;
        ap_buf_add_cstr(out, separator);
        ap_buf_add_json_string(out, ap_slice_cstr(entry->d_name));
        ap_buf_printf(out, ":%lld", (long long)info.st_size);
        separator = ",";
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

static void print_json(const struct inspection *inspection)
{
    const struct block_meta *meta = block_meta_of(inspection->block);
    AP_AUTO_BUF struct ap_buf out = {0};
    ap_buf_printf(&out,
                  "{\"id\":\"%s\",\"min_ts_ms\":%" PRId64 ",\"max_ts_ms\":%" PRId64 ",\"level\":%" PRIu32
                  ",\"series\":%" PRIu64 ",\"chunks\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"damaged_chunks\":%" PRIu64 ",\"has_tombstones\":%s,\"sources\":[",
                  meta->id, meta->min_ts_ms, meta->max_ts_ms, meta->level, meta->series_count, meta->chunk_count,
                  meta->sample_count, block_disk_bytes(inspection->block), inspection->damaged_chunks,
                  block_has_tombstones(inspection->block) ? "true" : "false");
    for (size_t i = 0; i < meta->source_count; i++)
        ap_buf_printf(&out, "%s\"%s\"", i ? "," : "", meta->sources[i]);
    ap_buf_add_cstr(&out, "],\"files\":{");
    add_files_json(inspection, &out);
    ap_buf_add_cstr(&out, "},\"index\":{");
    struct block_section sections[BLOCK_SECTIONS_MAX];
    size_t section_count = block_sections(inspection->block, sections);
    for (size_t i = 0; i < section_count; i++)
        ap_buf_printf(&out, "%s\"%s\":%" PRIu64, i ? "," : "", sections[i].name, sections[i].bytes);
    ap_buf_add_cstr(&out, "},\"codecs\":{");
    for (size_t i = 0; i < inspection->codec_count; i++) {
        const struct codec_use *use = &inspection->codecs[i];
        ap_buf_printf(&out, "%s\"%s\":{\"chunks\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
                      i ? "," : "", use->name, use->chunks, use->samples, use->bytes);
    }
    ap_buf_add_cstr(&out, "},\"labels\":{");
    for (size_t i = 0; i < inspection->name_count; i++) {
        const struct name_use *use = &inspection->names[i];
        ap_buf_add_cstr(&out, i ? "," : "");
        ap_buf_add_json_string(&out, ap_slice_cstr(use->name));
        ap_buf_printf(&out, ":{\"series\":%" PRIu64 ",\"values\":%" PRIu64 "}", use->series_count, use->value_count);
    }
    ap_buf_add_cstr(&out, "}}");
    printf("%.*s\n", AP_SLICE_ARG(ap_buf_slice(&out)));
}

static void print_text(const struct inspection *inspection)
{
    const struct block_meta *meta = block_meta_of(inspection->block);
    char from[32], to[32], size[32];
    tsdb_store_format_time(meta->min_ts_ms, from);
    tsdb_store_format_time(meta->max_ts_ms, to);
    tsdb_store_format_bytes(block_disk_bytes(inspection->block), size);
    printf("block     %s, level %" PRIu32 "\n", meta->id, meta->level);
    printf("time      %s to %s UTC\n", from, to);
    printf("series    %" PRIu64 "\n", meta->series_count);
    printf("samples   %" PRIu64 " in %" PRIu64 " chunks\n", meta->sample_count, meta->chunk_count);
    printf("size      %s, %.2f bytes a sample\n", size,
           per_sample(block_disk_bytes(inspection->block), meta->sample_count));
    for (size_t i = 0; i < meta->source_count; i++)
        printf("%s%s\n", i ? "          " : "made of   ", meta->sources[i]);
    if (block_has_tombstones(inspection->block))
        printf("deletions there are some; clean_tombstones gives their space back\n");
    if (inspection->damaged_chunks)
        printf("damaged   %" PRIu64 " chunks: see 'apiary tsdb verify'\n", inspection->damaged_chunks);

    AP_AUTO_BUF struct ap_buf files = {0};
    add_files_json(inspection, &files);
    printf("files     %.*s\n", AP_SLICE_ARG(ap_buf_slice(&files)));

    struct block_section sections[BLOCK_SECTIONS_MAX];
    size_t section_count = block_sections(inspection->block, sections);
    printf("\n%-12s  %12s\n", "index", "bytes");
    for (size_t i = 0; i < section_count; i++)
        printf("%-12s  %12" PRIu64 "\n", sections[i].name, sections[i].bytes);

    printf("\n%-12s  %10s  %12s  %12s  %12s\n", "codec", "chunks", "samples", "bytes", "bytes/sample");
    for (size_t i = 0; i < inspection->codec_count; i++) {
        const struct codec_use *use = &inspection->codecs[i];
        printf("%-12s  %10" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %12.2f\n", use->name, use->chunks, use->samples,
               use->bytes, per_sample(use->bytes, use->samples));
    }
    printf("\n%-40s  %10s  %10s\n", "label", "values", "series");
    for (size_t i = 0; i < inspection->name_count && i < NAMES_SHOWN; i++)
        printf("%-40s  %10" PRIu64 "  %10" PRIu64 "\n", inspection->names[i].name, inspection->names[i].value_count,
               inspection->names[i].series_count);
    if (inspection->name_count > NAMES_SHOWN)
        printf("and %zu more labels\n", inspection->name_count - NAMES_SHOWN);
}

int tsdb_inspect(struct tsdb_store *store, const char *id)
{
    struct inspection inspection = {.store = store};
    AP_AUTO(block) struct block *block = NULL;
    struct ap_err err;
    enum ap_rc rc = block_open(&os_fs_system, store->blocks_fd, id, &block, &err);
    if (rc == AP_OK) {
        inspection.block = block;
        rc = count_codecs(&inspection, &err);
    }
    if (rc != AP_OK) {
        fprintf(stderr, "apiary tsdb: %s\n", err.text);
        return CLI_FAILED;
    }
    block_each_name(block, take_name, &inspection);
    if (inspection.name_count)
        qsort(inspection.names, inspection.name_count, sizeof(*inspection.names), compare_names);
    qsort(inspection.codecs, inspection.codec_count, sizeof(*inspection.codecs), compare_codecs);
    if (store->is_json)
        print_json(&inspection);
    else
        print_text(&inspection);
    for (size_t i = 0; i < inspection.name_count; i++)
        free(inspection.names[i].name);
    free(inspection.names);
    return inspection.damaged_chunks ? CLI_FAILED : CLI_DONE;
}
