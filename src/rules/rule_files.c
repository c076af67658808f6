#include "rules/rule_files.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

struct loading {
    bool is_experimental;
    rule_file_report_fn report;
    void *context;
    struct rule_files files;
    enum ap_rc rc;
    struct ap_err *err;
};

static void note(struct loading *loading, enum ap_rc rc, const struct ap_err *err)
{
    if (loading->rc == AP_OK && rc != AP_OK) {
        loading->rc = rc;
        *loading->err = *err;
    }
}

/* One that several patterns name counts once. */
static bool is_loaded(const struct rule_files *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(yaml_file(files->items[i]->document), path) == 0)
            return true;
    return false;
}

static void load_pattern(struct loading *loading, const char *pattern)
{
    glob_t found;
    struct ap_err err;
    int result = glob(pattern, strpbrk(pattern, "*?[") ? 0 : GLOB_NOCHECK, NULL, &found);
    if (result == GLOB_NOMATCH)
        return;
    if (result != 0) {
        enum ap_rc rc = ap_fail(&err, AP_E_IO, "rule files %s cannot be looked up", pattern);
        note(loading, rc, &err);
        if (loading->report)
            loading->report(err.text, loading->context);
        return;
    }
    struct rule_files *files = &loading->files;
    files->items = ap_realloc(files->items, (files->count + found.gl_pathc) * sizeof(struct rule_file *));
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (is_loaded(files, found.gl_pathv[i]))
            continue;
        enum ap_rc rc = rule_file_load(found.gl_pathv[i], loading->is_experimental, loading->report, loading->context,
                                       &files->items[files->count], &err);
        files->count += rc == AP_OK;
        note(loading, rc, &err);
    }
    globfree(&found);
}

enum ap_rc rule_files_load(const struct yaml_texts *patterns, const char *beside, bool is_experimental,
                           rule_file_report_fn report, void *context, struct rule_files *ret_files, struct ap_err *err)
{
    struct loading loading = {.is_experimental = is_experimental, .report = report, .context = context, .err = err};
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    for (size_t i = 0; i < patterns->count; i++) {
        int directory_bytes = slash && patterns->items[i][0] != '/' ? (int)(slash - beside + 1) : 0;
        AP_AUTO_FREE char *pattern = ap_asprintf("%.*s%s", directory_bytes, beside ? beside : "", patterns->items[i]);
        load_pattern(&loading, pattern);
    }
    if (loading.rc == AP_OK)
        *ret_files = loading.files;
    else
        rule_files_clear(&loading.files);
    return loading.rc;
}

void rule_files_clear(struct rule_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        rule_file_free(files->items[i]);
    free(files->items);
    *files = (struct rule_files){0};
}
