/*
 * Files that others write: cron jobs, scripts, agents. Each NAME.prom of the directory is Prometheus' text format and
 * is said as it is; one that is not, or that has times in it, is left out whole and counted as an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/exposition.h"
#include "collect/host_internal.h"

enum { DECLARED_MAX = 10000 };

/* What a file says of a family before its samples. */
struct declared {
    char *name; /* owned */
    char *help; /* owned; NULL: nothing */
    enum family_type type;
};
struct declarations {
    struct declared *items; /* owned */
    size_t count;
};

static void declarations_clear(struct declarations *declarations)
{
    for (size_t i = 0; i < declarations->count; i++) {
        free(declarations->items[i].name);
        free(declarations->items[i].help);
    }
    free(declarations->items);
}

static struct declared *find(const struct declarations *declarations, struct ap_slice name)
{
    for (size_t i = 0; i < declarations->count; i++)
        if (ap_slice_equal_cstr(name, declarations->items[i].name))
            return &declarations->items[i];
    return NULL;
}

static struct declared *find_or_add(struct declarations *declarations, struct ap_slice name)
{
    struct declared *found = find(declarations, name);
    if (found || declarations->count == DECLARED_MAX)
        return found;
    declarations->items = ap_realloc(declarations->items, (declarations->count + 1) * sizeof(declarations->items[0]));
    found = &declarations->items[declarations->count++];
    *found = (struct declared){.name = ap_slice_dup(name), .type = FAMILY_UNTYPED};
    return found;
}

static enum family_type family_type_of(enum exposition_type type)
{
    switch (type) {
    case EXPOSITION_COUNTER:
        return FAMILY_COUNTER;
    case EXPOSITION_GAUGE:
        return FAMILY_GAUGE;
    case EXPOSITION_HISTOGRAM:
        return FAMILY_HISTOGRAM;
    case EXPOSITION_SUMMARY:
        return FAMILY_SUMMARY;
    default:
        return FAMILY_UNTYPED;
    }
}

static bool is_metric_name(struct ap_slice name)
{
    char text[HOST_NAME_BYTES_MAX];
    if (name.bytes == 0 || name.bytes >= sizeof(text) || (name.data[0] >= '0' && name.data[0] <= '9'))
        return false;
    struct host_metric_name clean = host_metric_name("", name, "");
    return ap_slice_equal_cstr(name, clean.text);
}

/* Names of labels in quotes, which may be anything, are newer than this format. */
static bool are_label_names(const struct exposition_entry *entry)
{
    for (size_t i = 0; i < entry->label_count; i++) {
        struct ap_slice name = entry->labels[i].name;
        if (!is_metric_name(name) || memchr(name.data, ':', name.bytes))
            return false;
    }
    return true;
}

static bool is_plain(const struct exposition_entry *entry, enum exposition_kind kind)
{
    if (kind == EXPOSITION_BAD || !is_metric_name(entry->name))
        return false;
    return kind != EXPOSITION_SAMPLE || (!entry->has_ts && are_label_names(entry));
}

/* ---- A file ---- */

struct file {
    char *path; /* owned */
    char *text; /* owned */
    size_t text_bytes;
    double modified_s;
    struct declarations families;
};
struct files {
    struct file *items; /* owned */
    size_t count;
};

static void file_clear(struct file *file)
{
    free(file->path);
    free(file->text);
    declarations_clear(&file->families);
}

static void files_clear(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        file_clear(&files->items[i]);
    free(files->items);
}

/* The family that a sample belongs to, and what the sample's name has behind that. NULL: none was declared. */
static const struct declared *family_of(const struct declarations *families, struct ap_slice name,
                                        const char **ret_suffix)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    const struct declared *found = find(families, name);
    *ret_suffix = "";
    for (size_t i = 0; i < AP_ARRAY_COUNT(suffixes) && !found; i++) {
        size_t bytes = strlen(suffixes[i]);
        if (name.bytes <= bytes || memcmp(name.data + name.bytes - bytes, suffixes[i], bytes) != 0)
            continue;
        const struct declared *whole = find(families, ap_slice(name.data, name.bytes - bytes));
        if (!whole || (whole->type != FAMILY_HISTOGRAM && whole->type != FAMILY_SUMMARY))
            continue;
        found = whole;
        *ret_suffix = suffixes[i];
    }
    return found;
}

static bool declare(struct declarations *families, const struct exposition_entry *entry, enum exposition_kind kind)
{
    const char *suffix;
    if (kind == EXPOSITION_SAMPLE)
        return family_of(families, entry->name, &suffix) || find_or_add(families, entry->name);
    struct declared *declared = find_or_add(families, entry->name);
    if (!declared)
        return false;
    if (kind == EXPOSITION_TYPE) {
        declared->type = family_type_of(entry->type);
    } else if (kind == EXPOSITION_HELP) {
        free(declared->help);
        declared->help = ap_slice_dup(entry->text);
    }
    return true;
}

/* The first reading: whether all of it is good, and which families there are. */
static bool read_families(struct exposition *parser, struct file *file)
{
    struct exposition_entry entry;
    exposition_begin(parser, EXPOSITION_TEXT, ap_slice(file->text, file->text_bytes));
    for (enum exposition_kind kind; (kind = exposition_next(parser, &entry)) != EXPOSITION_END;) {
        if (!is_plain(&entry, kind) || !declare(&file->families, &entry, kind))
            return false;
    }
    return true;
}

static bool read_file(struct host_scrape *scrape, struct exposition *parser, int dir_fd, const char *name,
                      struct files *files)
{
    struct ap_slice text;
    struct ap_err ignored;
    struct stat stat;
    if (fstatat(dir_fd, name, &stat, 0) != 0 || host_read(scrape, dir_fd, name, &text, &ignored) != AP_OK)
        return false;
    struct file file = {
        .path = ap_asprintf("%s/%s", scrape->host->textfile_path, name),
        .text = ap_slice_dup(text),
        .text_bytes = text.bytes,
        .modified_s = (double)stat.st_mtim.tv_sec,
    };
    if (!read_families(parser, &file)) {
        file_clear(&file);
        return false;
    }
    files->items = ap_realloc(files->items, (files->count + 1) * sizeof(files->items[0]));
    files->items[files->count++] = file;
    return true;
}

/* ---- All of them ---- */

/* A family without a help text says where it comes from. */
static char *help_of(const struct files *files, const struct declared *declared)
{
    struct ap_buf help = {0};
    if (declared->help)
        return ap_strdup(declared->help);
    ap_buf_add_cstr(&help, "Metric read from ");
    bool is_first = true;
    for (size_t i = 0; i < files->count; i++) {
        if (!find(&files->items[i].families, ap_slice_cstr(declared->name)))
            continue;
        ap_buf_printf(&help, "%s%s", is_first ? "" : ", ", files->items[i].path);
        is_first = false;
    }
    return ap_buf_detach(&help);
}

/* The second reading. */
static void add_file(struct host_scrape *scrape, struct exposition *parser, const struct files *files,
                     const struct file *file)
{
    static const struct family modified = {"node_textfile_mtime_seconds",
                                           "Unixtime mtime of textfiles successfully read.", FAMILY_GAUGE};
    struct exposition_entry entry;
    exposition_begin(parser, EXPOSITION_TEXT, ap_slice(file->text, file->text_bytes));
    for (enum exposition_kind kind; (kind = exposition_next(parser, &entry)) != EXPOSITION_END;) {
        struct label labels[EXPOSITION_LABELS_MAX];
        const char *suffix;
        const struct declared *declared =
            kind == EXPOSITION_SAMPLE ? family_of(&file->families, entry.name, &suffix) : NULL;
        if (!declared)
            continue;
        for (size_t i = 0; i < entry.label_count; i++)
            labels[i] = (struct label){entry.labels[i].name, entry.labels[i].value};
        AP_AUTO_FREE char *help = help_of(files, declared);
        families_add_part(scrape->families, &(struct family){declared->name, help, declared->type}, suffix, entry.value,
                          labels, entry.label_count);
    }
    families_add1(scrape->families, &modified, file->modified_s, "file", ap_slice_cstr(file->path));
}

static bool is_prom(const char *name)
{
    size_t bytes = strlen(name);
    return bytes > 5 && strcmp(name + bytes - 5, ".prom") == 0;
}

enum ap_rc host_textfile(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family error = {"node_textfile_scrape_error",
                                        "1 if there was an error opening or reading a file, 0 otherwise", FAMILY_GAUGE};
    const char *directory = scrape->host->textfile_path;
    HOST_AUTO_NAMES struct host_names names = {0};
    AP_CLEANUP(files_clear) struct files files = {0};
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    AP_AUTO_FD int fd = -1;
    AP_AUTO_BUF struct ap_buf bad = {0};
    if (directory && ((fd = host_open_dir(AT_FDCWD, directory)) < 0 || host_list(fd, ".", &names, err) != AP_OK)) {
        families_add(scrape->families, &error, 1);
        return ap_fail_errno(err, errno, "open %s", directory);
    }
    for (size_t i = 0; i < names.count; i++)
        if (is_prom(names.items[i]) && !read_file(scrape, parser, fd, names.items[i], &files))
            ap_buf_printf(&bad, "%s%s", bad.bytes ? ", " : "", names.items[i]);
    for (size_t i = 0; i < files.count; i++)
        add_file(scrape, parser, &files, &files.items[i]);
    families_add(scrape->families, &error, bad.bytes > 0);
    if (bad.bytes) /* an answer all the same: the other files are there */
        ap_buf_printf(&scrape->note, "not in Prometheus' text format, or with times: %.*s",
                      AP_SLICE_ARG(ap_buf_slice(&bad)));
    return AP_OK;
}
