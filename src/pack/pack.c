#include "pack/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pack/pack_internal.h"
#include "warehouse/sql_words.h"

enum { ARENA_BYTES_MAX = 16 << 20, NAME_BYTES_MAX = 63 };

struct pack_keys {
    const char *name, *version, *title, *description;
    struct yaml_texts services;
};
struct rollup_keys {
    const char *description;
    struct yaml_texts tables;
    const struct yaml_node *create, *merge;
};

#define PACK(member) .offset = offsetof(struct pack_keys, member)
static const struct yaml_field pack_fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, PACK(name), .is_required = true, .doc = "Short name: a-z, 0-9 and _."},
    {.key = "version", .type = YAML_TYPE_TEXT, PACK(version), .is_required = true, .doc = "Version of the pack."},
    {.key = "title", .type = YAML_TYPE_TEXT, PACK(title), .is_required = true, .doc = "Name of the product."},
    {.key = "description", .type = YAML_TYPE_TEXT, PACK(description), .doc = "What is in it."},
    {.key = "services",
     .type = YAML_TYPE_TEXT_LIST,
     PACK(services),
     .doc = "`service.name` of the product's parts (`namespace/name` where they have one): the `job` of its metrics."},
};
#define ROLLUP(member) .offset = offsetof(struct rollup_keys, member)
static const struct yaml_field rollup_fields[] = {
    {.key = "description", .type = YAML_TYPE_TEXT, ROLLUP(description), .doc = "What a row is."},
    {.key = "tables",
     .type = YAML_TYPE_TEXT_LIST,
     ROLLUP(tables),
     .is_required = true,
     .doc = "The tables that `create` makes."},
    {.key = "create", .type = YAML_TYPE_NODE, ROLLUP(create), .is_required = true, .doc = "CREATE TABLE statements."},
    {.key = "merge",
     .type = YAML_TYPE_NODE,
     ROLLUP(merge),
     .is_required = true,
     .doc = "List of SQL that brings the tables up to date from `new_events`, `new_vitals` and so on."},
};

/* ---- What the files share ---- */

const char *pack_printf(struct pack_memory *memory, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = ap_arena_alloc0(&memory->arena, (size_t)bytes + 1);
    vsnprintf(text, (size_t)bytes + 1, format, again);
    va_end(again);
    return text;
}

bool pack_is_name(const char *text)
{
    size_t bytes = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return text[0] >= 'a' && text[0] <= 'z' && text[bytes] == '\0' && bytes <= NAME_BYTES_MAX;
}

enum ap_rc pack_load_yaml(struct pack_memory *memory, const char *path, const struct yaml_node **ret_root,
                          struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    if (rc != AP_OK)
        return rc;
    memory->documents = ap_realloc(memory->documents, (memory->document_count + 1) * sizeof(struct yaml_document *));
    memory->documents[memory->document_count++] = document;
    *ret_root = yaml_root(document);
    return AP_OK;
}

/* Whether the SQL has a parameter in it; *ret_unknown is one that panels do not have, data NULL when there is none. */
static bool find_parameters(const char *sql, struct ap_slice *ret_unknown)
{
    static const char *const known[] = {"from", "to", "step"};
    bool is_found = false;
    struct ap_slice rest = ap_slice_cstr(sql), word;
    *ret_unknown = (struct ap_slice){0};
    while (sql_next_word(&rest, &word)) {
        if (word.data[0] != '$')
            continue;
        bool is_known = false;
        for (size_t i = 0; i < AP_ARRAY_COUNT(known); i++)
            is_known = is_known || ap_slice_equal_cstr(ap_slice(word.data + 1, word.bytes - 1), known[i]);
        if (is_known)
            is_found = true;
        else
            *ret_unknown = word;
    }
    return is_found;
}

enum ap_rc pack_sql_of_node(const struct yaml_node *node, const char *key, struct pack_sql *ret_sql, struct ap_err *err)
{
    *ret_sql = (struct pack_sql){0};
    if (!node)
        return AP_OK;
    if (node->kind != YAML_KIND_SCALAR || ap_slice_trim(node->text).bytes == 0)
        return yaml_fail(err, node, "%s: expected SQL", key);
    if (node->text.bytes > PACK_SQL_BYTES_MAX)
        return yaml_fail(err, node, "%s: longer than %d KiB", key, PACK_SQL_BYTES_MAX >> 10);
    struct ap_slice unknown;
    bool uses_range = find_parameters(node->text.data, &unknown);
    if (unknown.data)
        return yaml_fail(err, node, "%s: unknown parameter %.*s; there are $from, $to and $step", key,
                         AP_SLICE_ARG(unknown));
    *ret_sql = (struct pack_sql){
        .text = node->text.data, .file = yaml_file(node->document), .line = node->line, .uses_range = uses_range};
    return AP_OK;
}

/* ---- Folders ---- */

struct file_list {
    const char *names[PACK_FILES_MAX]; /* without the extension, sorted */
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files of dir/folder with this extension; a folder that is not there has none. Others are not looked at. */
static enum ap_rc list_files(struct pack_memory *memory, const char *dir, const char *folder, const char *extension,
                             struct file_list *list, struct ap_err *err)
{
    list->count = 0;
    const char *path = pack_printf(memory, "%s/%s", dir, folder);
    DIR *opened = opendir(path);
    if (!opened)
        return errno == ENOENT ? AP_OK : ap_fail_errno(err, errno, "open %s", path);
    enum ap_rc rc = AP_OK;
    for (struct dirent *entry; rc == AP_OK && (entry = readdir(opened)) != NULL;) {
        size_t bytes = strlen(entry->d_name), extension_bytes = strlen(extension);
        if (entry->d_name[0] == '.' || bytes <= extension_bytes ||
            strcmp(entry->d_name + bytes - extension_bytes, extension) != 0)
            continue;
        const char *name = pack_printf(memory, "%.*s", (int)(bytes - extension_bytes), entry->d_name);
        if (!pack_is_name(name))
            rc = ap_fail(err, AP_E_PARSE, "%s/%s: its name may have a-z, 0-9 and _ only, and begins with a letter",
                         path, entry->d_name);
        else if (list->count == PACK_FILES_MAX)
            rc = ap_fail(err, AP_E_LIMIT, "%s: more than %d files", path, PACK_FILES_MAX);
        else
            list->names[list->count++] = name;
    }
    closedir(opened);
    qsort(list->names, list->count, sizeof(list->names[0]), compare_names);
    return rc;
}

static enum ap_rc read_sql_file(struct pack_memory *memory, const char *path, const char **ret_text, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    AP_AUTO_FREE char *bytes = ap_new0_array(char, PACK_SQL_BYTES_MAX + 1);
    size_t used = 0;
    while (used <= PACK_SQL_BYTES_MAX) {
        ssize_t got = read(fd, bytes + used, PACK_SQL_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ap_fail_errno(err, errno, "read %s", path);
        if (got == 0)
            break;
        used += (size_t)got;
    }
    if (used > PACK_SQL_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "%s: longer than %d KiB", path, PACK_SQL_BYTES_MAX >> 10);
    struct ap_slice slice = ap_slice(bytes, used);
    if (memchr(bytes, '\0', used) || ap_utf8_valid_bytes(slice) != used)
        return ap_fail(err, AP_E_PARSE, "%s: not UTF-8 text", path);
    if (ap_slice_trim(slice).bytes == 0)
        return ap_fail(err, AP_E_PARSE, "%s:1:1: expected a SELECT, found nothing", path);
    *ret_text = pack_printf(memory, "%.*s", AP_SLICE_ARG(slice));
    return AP_OK;
}

static enum ap_rc load_views(struct pack *pack, struct file_list *files, struct ap_err *err)
{
    struct pack_memory *memory = pack->memory;
    enum ap_rc rc = list_files(memory, pack->dir, "views", ".sql", files, err);
    struct pack_view *views = ap_arena_alloc0(&memory->arena, (files->count + 1) * sizeof(*views));
    for (size_t i = 0; i < files->count && rc == AP_OK; i++) {
        views[i].name = files->names[i];
        views[i].sql.file = pack_printf(memory, "%s/views/%s.sql", pack->dir, files->names[i]);
        views[i].sql.line = 1;
        rc = read_sql_file(memory, views[i].sql.file, &views[i].sql.text, err);
    }
    pack->views = views;
    pack->view_count = files->count;
    return rc;
}

/* `tables` and `merge` of one roll-up. */
static enum ap_rc read_rollup(struct pack_memory *memory, const struct yaml_node *root, struct pack_rollup *rollup,
                              struct ap_err *err)
{
    struct rollup_keys keys = {0};
    enum ap_rc rc = yaml_read_struct(root, rollup_fields, AP_ARRAY_COUNT(rollup_fields), &keys, err);
    if (rc == AP_OK)
        rc = pack_sql_of_node(keys.create, "create", &rollup->create, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < keys.tables.count; i++) {
        if (!pack_is_name(keys.tables.items[i]))
            return yaml_fail(err, keys.tables.nodes[i], "tables: expected a-z, then a-z, 0-9 and _, found \"%.80s\"",
                             keys.tables.items[i]);
    }
    if (keys.merge->kind != YAML_KIND_LIST || keys.merge->child_count == 0)
        return yaml_fail(err, keys.merge, "merge: expected a list of SQL");
    struct pack_sql *merges = ap_arena_alloc0(&memory->arena, keys.merge->child_count * sizeof(*merges));
    size_t count = 0;
    for (const struct yaml_node *item = keys.merge->first; item && rc == AP_OK; item = item->next) {
        rc = pack_sql_of_node(item, "merge", &merges[count], err);
        if (rc == AP_OK && !strstr(merges[count].text, "new_"))
            rc = yaml_fail(err, item,
                           "merge: names no table's new rows (new_events, new_vitals …: new_ before the table's name), "
                           "so that it would never run");
        count++;
    }
    rollup->description = keys.description;
    rollup->tables = keys.tables.items;
    rollup->table_count = keys.tables.count;
    rollup->merges = merges;
    rollup->merge_count = count;
    return rc;
}

static enum ap_rc load_rollups(struct pack *pack, struct file_list *files, struct ap_err *err)
{
    struct pack_memory *memory = pack->memory;
    enum ap_rc rc = list_files(memory, pack->dir, "rollups", ".yaml", files, err);
    struct pack_rollup *rollups = ap_arena_alloc0(&memory->arena, (files->count + 1) * sizeof(*rollups));
    for (size_t i = 0; i < files->count && rc == AP_OK; i++) {
        const struct yaml_node *root;
        rollups[i].name = files->names[i];
        rc = pack_load_yaml(memory, pack_printf(memory, "%s/rollups/%s.yaml", pack->dir, files->names[i]), &root, err);
        if (rc == AP_OK)
            rc = read_rollup(memory, root, &rollups[i], err);
    }
    pack->rollups = rollups;
    pack->rollup_count = files->count;
    return rc;
}

static enum ap_rc load_dashboards(struct pack *pack, struct file_list *files, struct ap_err *err)
{
    struct pack_memory *memory = pack->memory;
    enum ap_rc rc = list_files(memory, pack->dir, "dashboards", ".yaml", files, err);
    struct pack_dashboard *dashboards = ap_arena_alloc0(&memory->arena, (files->count + 1) * sizeof(*dashboards));
    for (size_t i = 0; i < files->count && rc == AP_OK; i++) {
        const struct yaml_node *root;
        rc = pack_load_yaml(memory, pack_printf(memory, "%s/dashboards/%s.yaml", pack->dir, files->names[i]), &root,
                            err);
        struct pack_dashboard dashboard;
        if (rc == AP_OK)
            rc = pack_read_dashboard(memory, pack, root, files->names[i], &dashboard, err);
        if (rc != AP_OK)
            return rc;
        if (dashboard.is_home && i > 0 && dashboards[0].is_home)
            return ap_fail(err, AP_E_PARSE, "%s: a second dashboard with \"home: true\"; the first is %s",
                           dashboard.where, dashboards[0].where);
        size_t place = dashboard.is_home ? 0 : i;
        memmove(dashboards + place + 1, dashboards + place, (i - place) * sizeof(*dashboards));
        dashboards[place] = dashboard;
    }
    pack->dashboards = dashboards;
    pack->dashboard_count = files->count;
    return rc;
}

static enum ap_rc load_areas(struct pack *pack, struct file_list *files, struct ap_err *err)
{
    struct pack_memory *memory = pack->memory;
    enum ap_rc rc = list_files(memory, pack->dir, "metrics", ".yaml", files, err);
    struct catalogue_area *areas = ap_arena_alloc0(&memory->arena, (files->count + 1) * sizeof(*areas));
    for (size_t i = 0; i < files->count && rc == AP_OK; i++) {
        const struct yaml_node *root;
        rc = pack_load_yaml(memory, pack_printf(memory, "%s/metrics/%s.yaml", pack->dir, files->names[i]), &root, err);
        if (rc == AP_OK)
            rc = pack_read_area(memory, root, files->names[i], &areas[i], err);
    }
    if (rc != AP_OK)
        return rc;
    pack->areas = areas;
    pack->area_count = files->count;
    return pack_check_catalogue(pack, err);
}

static enum ap_rc load_alerts(struct pack *pack, struct file_list *files, struct ap_err *err)
{
    struct pack_memory *memory = pack->memory;
    struct pack_alert_list alerts = {0};
    enum ap_rc rc = list_files(memory, pack->dir, "alerts", ".yaml", files, err);
    for (size_t i = 0; i < files->count && rc == AP_OK; i++) {
        const struct yaml_node *root;
        rc = pack_load_yaml(memory, pack_printf(memory, "%s/alerts/%s.yaml", pack->dir, files->names[i]), &root, err);
        if (rc == AP_OK)
            rc = pack_read_alerts(memory, pack, root, &alerts, err);
    }
    if (rc == AP_OK)
        pack_take_alerts(pack, &alerts);
    free(alerts.items);
    return rc;
}

static enum ap_rc load_all(struct pack *pack, struct ap_err *err)
{
    const char *path = pack_printf(pack->memory, "%s/pack.yaml", pack->dir);
    const struct yaml_node *root;
    enum ap_rc rc = pack_load_yaml(pack->memory, path, &root, err);
    struct pack_keys keys = {0};
    if (rc == AP_OK)
        rc = yaml_read_struct(root, pack_fields, AP_ARRAY_COUNT(pack_fields), &keys, err);
    if (rc != AP_OK)
        return rc;
    if (!pack_is_name(keys.name))
        return yaml_fail(err, yaml_get(root, "name"), "name: expected a-z, then a-z, 0-9 and _, found \"%.80s\"",
                         keys.name);
    pack->name = keys.name;
    pack->version = keys.version;
    pack->title = keys.title;
    pack->description = keys.description;
    pack->services = keys.services.items;
    pack->service_count = keys.services.count;

    AP_AUTO_FREE struct file_list *files = ap_new0(struct file_list);
    rc = load_views(pack, files, err);
    if (rc == AP_OK)
        rc = load_rollups(pack, files, err);
    if (rc == AP_OK)
        rc = load_areas(pack, files, err);
    if (rc == AP_OK)
        rc = load_alerts(pack, files, err);
    if (rc == AP_OK)
        rc = load_dashboards(pack, files, err);
    return rc;
}

enum ap_rc pack_load(const char *dir, struct pack **ret_pack, struct ap_err *err)
{
    AP_AUTO(pack) struct pack *pack = ap_new0(struct pack);
    pack->memory = ap_new0(struct pack_memory);
    ap_arena_init(&pack->memory->arena, 0);
    size_t bytes = strlen(dir);
    while (bytes > 1 && dir[bytes - 1] == '/')
        bytes--;
    pack->dir = pack_printf(pack->memory, "%.*s", (int)bytes, dir);
    enum ap_rc rc = load_all(pack, err);
    if (rc == AP_OK)
        *ret_pack = AP_MOVE(pack);
    return rc;
}

void pack_free(struct pack *pack)
{
    if (!pack)
        return;
    struct pack_memory *memory = pack->memory;
    for (size_t i = 0; i < memory->document_count; i++)
        yaml_free(memory->documents[i]);
    free(memory->documents);
    ap_arena_clear(&memory->arena);
    free(memory);
    free(pack);
}

/* ---- Finding ---- */

const struct pack_dashboard *pack_find_dashboard(const struct pack *const *packs, size_t pack_count, const char *id)
{
    for (size_t i = 0; i < pack_count; i++) {
        for (size_t d = 0; d < packs[i]->dashboard_count; d++) {
            if (strcmp(packs[i]->dashboards[d].id, id) == 0)
                return &packs[i]->dashboards[d];
        }
    }
    return NULL;
}

const struct pack_panel *pack_find_panel(const struct pack_dashboard *dashboard, const char *id)
{
    for (size_t s = 0; s < dashboard->section_count; s++) {
        const struct pack_section *section = &dashboard->sections[s];
        for (size_t p = 0; p < section->panel_count; p++) {
            if (strcmp(section->panels[p].id, id) == 0)
                return &section->panels[p];
        }
    }
    return NULL;
}

bool pack_parse_range(const char *text, int64_t *ret_ms)
{
    enum { MINUTE_MS = 60 * 1000 };
    static const int64_t ten_years_ms = 3653 * INT64_C(86400000);
    int64_t ms;
    if (!yaml_parse_duration(ap_slice_cstr(text), &ms) || ms < MINUTE_MS || ms > ten_years_ms)
        return false;
    *ret_ms = ms;
    return true;
}

/* A dashboard, view or table of `pack` with this name; its kind, or NULL. */
static const char *find_name(const struct pack *pack, const char *name, bool is_dashboard)
{
    if (is_dashboard)
        return pack_find_dashboard(&pack, 1, name) ? "dashboard" : NULL;
    for (size_t i = 0; i < pack->view_count; i++) {
        if (strcmp(pack->views[i].name, name) == 0)
            return "view";
    }
    for (size_t i = 0; i < pack->rollup_count; i++) {
        for (size_t t = 0; t < pack->rollups[i].table_count; t++) {
            if (strcmp(pack->rollups[i].tables[t], name) == 0)
                return "table";
        }
    }
    return NULL;
}

static enum ap_rc check_name(const struct pack *const *packs, size_t own, const char *name, bool is_dashboard,
                             struct ap_err *err)
{
    for (size_t i = 0; i < own; i++) {
        const char *kind = find_name(packs[i], name, is_dashboard);
        if (kind)
            return ap_fail(err, AP_E_CONFLICT, "%s: \"%s\" is also the name of a %s of the pack in %s", packs[own]->dir,
                           name, kind, packs[i]->dir);
    }
    return AP_OK;
}

static enum ap_rc check_alert(const struct pack *const *packs, size_t own, const struct pack_alert *alert,
                              struct ap_err *err)
{
    for (size_t i = 0; i < own; i++) {
        for (size_t a = 0; a < packs[i]->alert_count; a++) {
            const struct pack_alert *other = &packs[i]->alerts[a];
            if (strcmp(other->name, alert->name) == 0 && strcmp(other->severity, alert->severity) == 0)
                return ap_fail(err, AP_E_CONFLICT, "%s: another pack has an alert \"%s\" of severity %s, at %s",
                               alert->where, alert->name, alert->severity, other->where);
        }
    }
    return AP_OK;
}

enum ap_rc pack_check_together(const struct pack *const *packs, size_t pack_count, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 1; i < pack_count; i++) {
        const struct pack *pack = packs[i];
        for (size_t n = 0; n < pack->dashboard_count && rc == AP_OK; n++)
            rc = check_name(packs, i, pack->dashboards[n].id, true, err);
        for (size_t n = 0; n < pack->view_count && rc == AP_OK; n++)
            rc = check_name(packs, i, pack->views[n].name, false, err);
        for (size_t n = 0; n < pack->rollup_count && rc == AP_OK; n++) {
            for (size_t t = 0; t < pack->rollups[n].table_count && rc == AP_OK; t++)
                rc = check_name(packs, i, pack->rollups[n].tables[t], false, err);
        }
        for (size_t n = 0; n < pack->alert_count && rc == AP_OK; n++)
            rc = check_alert(packs, i, &pack->alerts[n], err);
    }
    return rc;
}

void pack_describe(struct ap_buf *out)
{
    ap_buf_add_cstr(out, "### pack.yaml\n\n");
    yaml_describe_struct(pack_fields, AP_ARRAY_COUNT(pack_fields), out);
    ap_buf_add_cstr(out, "\n### A roll-up\n\n");
    yaml_describe_struct(rollup_fields, AP_ARRAY_COUNT(rollup_fields), out);
    ap_buf_add_char(out, '\n');
    catalogue_describe(out);
    ap_buf_add_char(out, '\n');
    pack_alerts_describe(out);
    ap_buf_add_char(out, '\n');
    pack_describe_dashboard(out);
}
