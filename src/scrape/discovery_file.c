/*
 * file_sd_configs: target groups in JSON or YAML files that somebody else writes.
 *
 * The directories of all patterns are watched, so that a change is seen at once; the interval is for what inotify does
 * not see (another machine's writes on a network file system, directories that are made later). A file that cannot be
 * read keeps the targets that it had.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <strings.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "scrape/discovery.h"

enum { FILE_BYTES_MAX = 64 << 20, DEFAULT_INTERVAL_MS = 5 * 60 * 1000 };

struct file_config {
    const char **patterns;
    size_t count;
    int64_t interval_ms;
};

struct entry {
    char *path;                   /* owned */
    struct labels_hash text_hash; /* of what `groups` was made of */
    struct target_groups *groups; /* owned; NULL: it could never be read */
    bool is_listed;               /* by the look under way */
};

struct discovery {
    const struct file_config *config;
    int watch_fd;
    struct entry *entries; /* owned */
    size_t count;
    bool has_answered; /* once is owed, also when there is nothing */
};

/* ---- Configuration ---- */

/* "dir/x*.yml": a star in the last part only, and an ending that says what is in it. */
static bool is_good_pattern(const char *path)
{
    static const char *const endings[] = {".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"};
    const char *star = strchr(path, '*');
    const char *dot = strrchr(path, '.');
    bool is_known = false;
    for (size_t i = 0; dot && i < AP_ARRAY_COUNT(endings); i++)
        is_known |= strcmp(dot, endings[i]) == 0;
    return is_known && (!star || (!strchr(star + 1, '*') && !strchr(star + 1, '/')));
}

static enum ap_rc read_file_config(struct scrape_source *source, const struct yaml_node *node, const void **ret_config,
                                   struct ap_err *err)
{
    struct form {
        struct yaml_texts files;
        int64_t interval_ms;
    } form = {.interval_ms = DEFAULT_INTERVAL_MS};
    static const struct field fields[] = {
        {"files", FIELD_TEXTS, offsetof(struct form, files)},
        {"refresh_interval", FIELD_DURATION, offsetof(struct form, interval_ms)},
    };
    enum ap_rc rc = fields_read(source, node, fields, AP_ARRAY_COUNT(fields), &form, NULL, NULL, err);
    if (rc != AP_OK)
        return rc;
    if (form.files.count == 0)
        return yaml_fail(err, node, "file service discovery config must contain at least one path name");
    struct file_config *config = ap_arena_alloc0(&source->arena, sizeof(*config));
    config->patterns = ap_arena_alloc0(&source->arena, form.files.count * sizeof(*config->patterns));
    config->interval_ms = form.interval_ms ? form.interval_ms : DEFAULT_INTERVAL_MS;
    for (size_t i = 0; i < form.files.count; i++) {
        if (!is_good_pattern(form.files.items[i]))
            return yaml_fail(err, form.files.nodes[i], "path name \"%s\" is not valid for file discovery",
                             form.files.items[i]);
        config->patterns[config->count++] = scrape_source_path(source, form.files.items[i]);
    }
    *ret_config = config;
    return AP_OK;
}

/* ---- One file ---- */

static enum ap_rc read_text(const char *path, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return ap_fail_errno(err, errno, "open %s", path);
    if (!S_ISREG(status.st_mode))
        return ap_fail(err, AP_E_IO, "%s is not a file", path);
    ap_buf_init(out, FILE_BYTES_MAX);
    for (;;) {
        enum { PIECE_BYTES = 64 * 1024 };
        char *room = ap_buf_reserve(out, PIECE_BYTES);
        if (!room)
            return ap_fail(err, AP_E_LIMIT, "%s is larger than %d MiB", path, FILE_BYTES_MAX >> 20);
        ssize_t got = read(fd, room, PIECE_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ap_fail_errno(err, errno, "read %s", path);
        if (got == 0)
            return AP_OK;
        out->bytes += (size_t)got;
    }
}

static enum ap_rc read_yaml(struct target_groups *groups, struct ap_slice text, const char *path,
                            const struct label *meta, struct ap_err *err)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    enum ap_rc rc = yaml_parse_sharing(text, path, &document, err);
    if (rc != AP_OK)
        return rc;
    const struct yaml_node *root = yaml_root(document);
    if (yaml_is_null(root) || (root->kind == YAML_KIND_MAP && root->child_count == 0))
        return AP_OK; /* an empty file */
    return target_groups_read_yaml(groups, root, meta, err);
}

static enum ap_rc read_groups(const char *path, struct ap_slice text, struct target_groups **ret_groups,
                              struct ap_err *err)
{
    const struct label meta = {ap_slice_cstr("__meta_filepath"), ap_slice_cstr(path)};
    const char *dot = strrchr(path, '.');
    AP_AUTO(target_groups) struct target_groups *groups = target_groups_new();
    enum ap_rc rc;
    if (dot && strcasecmp(dot, ".json") == 0) {
        rc = target_groups_read_json(groups, text, &meta, err);
        if (rc != AP_OK)
            ap_err_prefix(err, "%s", path);
    } else {
        rc = read_yaml(groups, text, path, &meta, err);
    }
    if (rc == AP_OK)
        *ret_groups = AP_MOVE(groups);
    return rc;
}

/* *ret_is_changed: its groups are others than before. */
static enum ap_rc look_at(struct entry *entry, bool *ret_is_changed, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct target_groups *groups;
    enum ap_rc rc = read_text(entry->path, &text, err);
    if (rc != AP_OK)
        return rc;
    struct labels_hash hash = labels_hash_of(0, ap_buf_slice(&text));
    if (entry->groups && labels_hash_equal(hash, entry->text_hash))
        return AP_OK;
    rc = read_groups(entry->path, ap_buf_slice(&text), &groups, err);
    if (rc != AP_OK)
        return rc;
    target_groups_free(entry->groups);
    entry->groups = groups;
    entry->text_hash = hash;
    *ret_is_changed = true;
    return AP_OK;
}

/* ---- All files ---- */

static struct entry *find_entry(struct discovery *discovery, const char *path)
{
    for (size_t i = 0; i < discovery->count; i++)
        if (strcmp(discovery->entries[i].path, path) == 0)
            return &discovery->entries[i];
    discovery->entries = ap_realloc(discovery->entries, (discovery->count + 1) * sizeof(*discovery->entries));
    struct entry *entry = &discovery->entries[discovery->count++];
    *entry = (struct entry){.path = ap_strdup(path)};
    return entry;
}

static void watch(const struct discovery *discovery, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    AP_AUTO_FREE char *dir = slash ? ap_strndup(pattern, (size_t)(slash - pattern) + 1) : ap_strdup(".");
    if (discovery->watch_fd >= 0) /* one that is not there is looked for again at the next interval */
        (void)inotify_add_watch(discovery->watch_fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
}

/* What happened is not looked at: all files are. */
static void drain(int fd)
{
    char events[4096];
    while (fd >= 0 && read(fd, events, sizeof(events)) > 0) {
    }
}

/* The first failure counts; the others are looked at as well. */
struct outcome {
    enum ap_rc rc;
    struct ap_err err;
    bool is_changed;
};

static void note(struct outcome *outcome, enum ap_rc rc, const struct ap_err *err)
{
    if (outcome->rc != AP_OK || rc == AP_OK)
        return;
    outcome->rc = rc;
    outcome->err = *err;
}

/* False: what it names could not be found out. */
static bool look_for(struct discovery *discovery, const char *pattern, struct outcome *outcome)
{
    struct ap_err err;
    glob_t found;
    int result = glob(pattern, 0, NULL, &found);
    if (result == GLOB_NOMATCH)
        return true;
    if (result != 0) {
        note(outcome, ap_fail(&err, AP_E_IO, "%s cannot be looked up", pattern), &err);
        return false;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct entry *entry = find_entry(discovery, found.gl_pathv[i]);
        if (entry->is_listed)
            continue;
        entry->is_listed = true;
        note(outcome, look_at(entry, &outcome->is_changed, &err), &err);
    }
    globfree(&found);
    return true;
}

static void entry_clear(struct entry *entry)
{
    free(entry->path);
    target_groups_free(entry->groups);
}

static void forget_unlisted(struct discovery *discovery, struct outcome *outcome)
{
    size_t kept = 0;
    for (size_t i = 0; i < discovery->count; i++) {
        struct entry entry = discovery->entries[i];
        if (entry.is_listed) {
            discovery->entries[kept++] = entry;
            continue;
        }
        outcome->is_changed |= entry.groups != NULL;
        entry_clear(&entry);
    }
    discovery->count = kept;
}

static struct target_groups *collect(const struct discovery *discovery, struct outcome *outcome)
{
    AP_AUTO(target_groups) struct target_groups *all = target_groups_new();
    struct ap_err err;
    for (size_t i = 0; i < discovery->count; i++)
        if (discovery->entries[i].groups)
            note(outcome, target_groups_append(all, discovery->entries[i].groups, &err), &err);
    return AP_MOVE(all);
}

static enum ap_rc refresh_file(struct discovery *discovery, struct target_groups **ret_groups, struct ap_err *err)
{
    const struct file_config *config = discovery->config;
    struct outcome outcome = {0};
    bool is_all_known = true;
    drain(discovery->watch_fd);
    for (size_t i = 0; i < config->count; i++)
        watch(discovery, config->patterns[i]); /* before looking, so that nothing gets lost in between */
    for (size_t i = 0; i < discovery->count; i++)
        discovery->entries[i].is_listed = false;
    for (size_t i = 0; i < config->count; i++)
        is_all_known = look_for(discovery, config->patterns[i], &outcome) && is_all_known;
    if (is_all_known)
        forget_unlisted(discovery, &outcome);
    *ret_groups = outcome.is_changed || !discovery->has_answered ? collect(discovery, &outcome) : NULL;
    discovery->has_answered = true;
    if (outcome.rc != AP_OK)
        *err = outcome.err;
    return outcome.rc;
}

/* ---- The kind ---- */

static struct discovery *open_file(const void *config, const bool *is_ending)
{
    (void)is_ending; /* files are quick */
    struct discovery *discovery = ap_new0(struct discovery);
    discovery->config = config;
    discovery->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* without one, there is the interval */
    return discovery;
}

static int64_t interval_of_file(const void *config)
{
    return ((const struct file_config *)config)->interval_ms;
}

static int watch_of_file(const struct discovery *discovery)
{
    return discovery->watch_fd;
}

static void close_file(struct discovery *discovery)
{
    for (size_t i = 0; i < discovery->count; i++)
        entry_clear(&discovery->entries[i]);
    free(discovery->entries);
    if (discovery->watch_fd >= 0)
        close(discovery->watch_fd);
    free(discovery);
}

const struct discovery_kind discovery_file = {
    .key = "file_sd_configs",
    .name = "file",
    .read = read_file_config,
    .open = open_file,
    .refresh = refresh_file,
    .interval_ms = interval_of_file,
    .watch_fd = watch_of_file,
    .close = close_file,
};
