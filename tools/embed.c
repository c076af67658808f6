/*
 * tools/embed.c - turns a folder of web files into C: a table of assets and one file of their gzip-ed bytes
 *
 *   embed FOLDER TABLE.c BYTES.bin
 *
 * Runs during the build. TABLE.c defines what src/api/assets.h declares and pulls BYTES.bin in by `.incbin`, which the
 * assembler copies without parsing: megabytes of numbers in C would take the compiler seconds. The table carries
 * a hash of every file's bytes (its ETag), so TABLE.c differs whenever BYTES.bin does and is compiled again.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* A file that goes into the binary. */
struct entry {
    char *path;
    char *url;
    size_t bytes;
};

struct entries {
    struct entry *items;
    size_t count;
};

struct table {
    FILE *c;
    FILE *bin;
    size_t offset; /* bytes in `bin` so far */
    size_t count;
};

static const struct {
    const char *suffix;
    const char *type;
} content_types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".webp", "image/webp"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
    {".wasm", "application/wasm"},
    {".webmanifest", "application/manifest+json"},
};

static void die(const char *format, ...)
{
    va_list args;

    fputs("embed: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static const char *content_type_of(const char *path)
{
    for (size_t i = 0; i < sizeof(content_types) / sizeof(content_types[0]); i++) {
        const char *at = strrchr(path, '.');

        if (at && strcmp(at, content_types[i].suffix) == 0)
            return content_types[i].type;
    }
    die("%s: no content type is known for its ending; add it to tools/embed.c", path);
    return NULL;
}

static uint8_t *read_all(const char *path, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(bytes + 1);

    if (!file || !data || fread(data, 1, bytes, file) != bytes)
        die("%s: %s", path, strerror(errno));
    fclose(file);
    return data;
}

static void embed_file(struct table *table, const char *path, const char *url, size_t raw_bytes)
{
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(12);
    uint8_t *raw = read_all(path, raw_bytes);
    size_t room = libdeflate_gzip_compress_bound(compressor, raw_bytes);
    uint8_t *gzip = malloc(room);
    size_t gzip_bytes = gzip ? libdeflate_gzip_compress(compressor, raw, raw_bytes, gzip, room) : 0;

    if (gzip_bytes == 0)
        die("%s: cannot be compressed", path);
    for (const char *at = url; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20)
            die("%s: this name cannot be written into a C string", path);
    XXH128_hash_t hash = XXH3_128bits(raw, raw_bytes);
    fprintf(table->c, "    {\"%s\", \"%s\", \"\\\"%016" PRIx64 "\\\"\", asset_bytes + %zu, %zu, %zu},\n", url,
            content_type_of(path), (uint64_t)hash.low64, table->offset, gzip_bytes, raw_bytes);
    if (fwrite(gzip, 1, gzip_bytes, table->bin) != gzip_bytes)
        die("cannot write the bytes of %s: %s", path, strerror(errno));
    table->offset += gzip_bytes;
    table->count++;
    free(gzip);
    free(raw);
    libdeflate_free_compressor(compressor);
}

/* Adds every file below `folder` to `out`. */
static void collect(struct entries *out, const char *folder, const char *url)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, NULL);

    if (count < 0)
        die("%s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        struct stat st;
        struct entry entry;

        if (names[i]->d_name[0] == '.') {
            free(names[i]);
            continue;
        }
        if (asprintf(&entry.path, "%s/%s", folder, names[i]->d_name) < 0 ||
            asprintf(&entry.url, "%s/%s", url, names[i]->d_name) < 0)
            die("out of memory");
        free(names[i]);
        if (stat(entry.path, &st) != 0)
            die("%s: %s", entry.path, strerror(errno));
        if (S_ISDIR(st.st_mode)) {
            collect(out, entry.path, entry.url);
            free(entry.path);
            free(entry.url);
            continue;
        }
        entry.bytes = (size_t)st.st_size;
        out->items = realloc(out->items, (out->count + 1) * sizeof(*out->items));
        if (!out->items)
            die("out of memory");
        out->items[out->count++] = entry;
    }
    free(names);
}

/* In byte order, whatever the locale: asset_find() searches the table by halves. */
static int by_url(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->url, ((const struct entry *)b)->url);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: embed FOLDER TABLE.c BYTES.bin\n");
        return 2;
    }
    struct entries entries = {0};
    struct table table = {.c = fopen(argv[2], "w"), .bin = fopen(argv[3], "wb")};

    if (!table.c || !table.bin)
        die("cannot write %s and %s: %s", argv[2], argv[3], strerror(errno));
    collect(&entries, argv[1], "");
    if (entries.count == 0)
        die("%s: no files in it", argv[1]);
    qsort(entries.items, entries.count, sizeof(*entries.items), by_url);

    char *bin = realpath(argv[3], NULL);
    if (!bin)
        die("%s: %s", argv[3], strerror(errno));
    fprintf(table.c,
            "/* Written by tools/embed.c during the build. */\n"
            "#include \"api/assets.h\"\n\n"
            "__asm__(\".section .rodata\\n\"\n"
            "        \".globl asset_bytes\\n\"\n"
            "        \".hidden asset_bytes\\n\"\n"
            "        \"asset_bytes:\\n\"\n"
            "        \".incbin \\\"%s\\\"\\n\"\n"
            "        \".previous\\n\");\n"
            "extern const unsigned char asset_bytes[] __attribute__((visibility(\"hidden\")));\n\n"
            "const struct asset asset_table[] = {\n",
            bin);
    free(bin);
    for (size_t i = 0; i < entries.count; i++) {
        embed_file(&table, entries.items[i].path, entries.items[i].url, entries.items[i].bytes);
        free(entries.items[i].path);
        free(entries.items[i].url);
    }
    free(entries.items);
    fprintf(table.c, "};\nconst size_t asset_count = %zu;\n", table.count);
    if (fclose(table.c) != 0 || fclose(table.bin) != 0)
        die("cannot finish %s or %s: %s", argv[2], argv[3], strerror(errno));
    return 0;
}
