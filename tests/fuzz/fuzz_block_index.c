/*
 * Any bytes as the index of a block, with its checksums put right, so that the fuzzer gets behind them: the block is
 * opened or refused, and whatever is asked of it is answered or refused.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "tsdb/block_internal.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHUNK_FILES_MAX = 2, CHUNK_FILE_SIZE_MAX = 1 << 16 };

static char dir[] = "/tmp/apiary-fuzz-XXXXXX";
static int blocks_fd = -1;

static void remove_dir(void)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    if (system(command) != 0)
        abort();
}

static void put_u32(char *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}
static void put_u64(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* Sections one behind the other, as long as the table says while that goes. Lends the first, which says what it is. */
static struct ap_slice repair(char *index, size_t bytes)
{
    struct ap_slice meta = {0};
    size_t at = INDEX_HEADER_BYTES + SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES;
    memcpy(index, "APIARYIX", 8);
    put_u32(index + 8, INDEX_VERSION);
    put_u32(index + 12, SECTION_COUNT);
    put_u64(index + 16, bytes);
    for (uint32_t i = 0; i < SECTION_COUNT; i++) {
        char *entry = index + INDEX_HEADER_BYTES + (size_t)i * INDEX_TABLE_ENTRY_BYTES;
        uint64_t wanted;
        memcpy(&wanted, entry + 16, sizeof(wanted));
        size_t length = i + 1 < SECTION_COUNT && wanted < bytes - at ? (size_t)wanted : bytes - at;
        put_u32(entry, i);
        put_u32(entry + 4, wal_crc32c(0, index + at, length));
        put_u64(entry + 8, at);
        put_u64(entry + 16, length);
        if (i == SECTION_META)
            meta = ap_slice(index + at, length);
        at += length;
    }
    uint32_t crc = wal_crc32c(0, index, INDEX_HEADER_BYTES - 4);
    put_u32(index + INDEX_HEADER_BYTES - 4,
            wal_crc32c(crc, index + INDEX_HEADER_BYTES, SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES));
    return meta;
}

static void write_file(int dir_fd, const char *name, const char *data, size_t bytes, size_t size)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AP_ASSERT(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && ftruncate(fd, (off_t)size) == 0);
    close(fd);
}

/* Everything around the index that opening looks at. */
static bool write_block(const struct block_meta *meta, const char *index, size_t bytes)
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if (strspn(meta->id, letters) != BLOCK_ID_BYTES - 1 || meta->chunk_file_count > CHUNK_FILES_MAX)
        return false;
    AP_ASSERT(mkdirat(blocks_fd, meta->id, 0700) == 0);
    int fd = openat(blocks_fd, meta->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AP_ASSERT(fd >= 0);
    write_file(fd, "index", index, bytes, bytes);
    AP_AUTO_BUF struct ap_buf json = {0};
    block_meta_json(meta, &json);
    write_file(fd, "meta.json", json.data, json.bytes, json.bytes);
    AP_AUTO_BUF struct ap_buf header = {0};
    ap_buf_add_cstr(&header, "APIARYCK");
    ap_buf_add_u32(&header, 1);
    ap_buf_add_u32(&header, wal_crc32c(0, header.data, header.bytes));
    for (uint32_t i = 0; i < meta->chunk_file_count; i++) {
        char name[16];
        block_chunk_file_name(i, name);
        write_file(fd, name, header.data, header.bytes, CHUNK_FILE_SIZE_MAX);
    }
    close(fd);
    return true;
}

static bool ask_values(struct ap_slice name, uint64_t series_count, void *context)
{
    size_t *sum = context;
    *sum += name.bytes + series_count;
    return *sum < (size_t)1 << 40;
}

struct names {
    const struct block *block;
    size_t sum;
};

static bool ask_name(struct ap_slice name, uint64_t series_count, void *context)
{
    struct names *names = context;
    names->sum += series_count;
    block_each_value(names->block, name, ask_values, &names->sum);
    return true;
}

static void ask_selector(const struct block *block, const char *selector)
{
    struct matchers matchers;
    struct ap_err err;
    AP_AUTO_FREE uint32_t *series = NULL;
    size_t count = 0;
    if (matchers_parse(ap_slice_cstr(selector), &matchers, &err) != AP_OK)
        abort();
    if (block_select(block, &matchers, &series, &count, &err) == AP_OK)
        for (size_t i = 1; i < count; i++)
            AP_ASSERT(series[i - 1] < series[i]);
    matchers_clear(&matchers);
}

static void ignore_fault(const struct block_fault *fault, void *context)
{
    size_t *sum = context;
    *sum += strlen(fault->text);
}

static void ask(const struct block_meta *meta)
{
    struct ap_err err;
    AP_AUTO(block) struct block *block = NULL;
    if (block_open(&os_fs_system, blocks_fd, meta->id, &block, &err) == AP_OK) {
        struct names names = {.block = block};
        block_each_name(block, ask_name, &names);
        ask_selector(block, "up");
        ask_selector(block, "{job=~\"a|n.*\",instance!=\"\"}");
        ask_selector(block, "{__name__!=\"\",job!~\"x.+\"}");
    }
    size_t sum = 0;
    uint64_t chunk_count;
    uint64_t sample_count;
    (void)block_verify(&os_fs_system, blocks_fd, meta->id, ignore_fault, &sum, &chunk_count, &sample_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_err err;
    if (blocks_fd < 0) {
        AP_ASSERT(mkdtemp(dir) != NULL && os_dir_open(dir, &blocks_fd, &err) == AP_OK);
        atexit(remove_dir);
    }
    if (size < INDEX_HEADER_BYTES + SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES)
        return 0;
    AP_AUTO_FREE char *index = malloc(size);
    memcpy(index, data, size);
    struct block_meta meta = {0};
    if (block_meta_decode(repair(index, size), &meta) && write_block(&meta, index, size)) {
        ask(&meta);
        char path[64];
        static const char *const names[] = {"index", "meta.json", "chunks-0000", "chunks-0001"};
        for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
            snprintf(path, sizeof(path), "%s/%s", meta.id, names[i]);
            (void)unlinkat(blocks_fd, path, 0);
        }
        AP_ASSERT(unlinkat(blocks_fd, meta.id, AT_REMOVEDIR) == 0);
    }
    block_meta_clear(&meta);
    return 0;
}
