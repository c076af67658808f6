#include "scrape/target_list.h"

#include <stdlib.h>
#include <string.h>

#include "promql/lexer.h"
#include "promql/parser.h"
#include "scrape/job_internal.h"
#include "scrape/relabel.h"
#include "tsdb/labels.h"

#define PARAM_PREFIX "__param_"

static struct ap_slice literal(const char *text)
{
    return ap_slice_cstr(text);
}

/* ---- Labels before relabelling ---- */

static void set_default(struct relabel_labels *labels, const char *name, struct ap_slice value)
{
    if (relabel_labels_get(labels, literal(name)).bytes == 0)
        relabel_labels_set(labels, literal(name), value);
}

static struct ap_slice keep_text(struct ap_arena *arena, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(arena, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    return ap_slice(copy, text.bytes);
}

static struct ap_slice duration_text(struct ap_arena *arena, int64_t ms)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    promql_print_duration(ms, &text);
    return keep_text(arena, ap_buf_slice(&text));
}

static void set_params(struct relabel_labels *labels, const struct job *job)
{
    for (size_t i = 0; i < job->param_count; i++) {
        const struct job_param *param = &job->params[i];
        AP_AUTO_BUF struct ap_buf name = {0};
        ap_buf_add_cstr(&name, PARAM_PREFIX);
        ap_buf_add_slice(&name, param->name);
        if (param->value_count == 0 || relabel_labels_get(labels, ap_buf_slice(&name)).bytes)
            continue;
        relabel_labels_set(labels, keep_text(labels->arena, ap_buf_slice(&name)), literal(param->values[0]));
    }
}

static const char *path_label(const struct job *job)
{
    return job->is_alertmanager ? "__alerts_path__" : "__metrics_path__";
}

/* The target's own go over the group's, and both over the job's. */
static void discover(const struct job *job, struct ap_slice target, struct ap_slice group,
                     struct relabel_labels *labels)
{
    struct label label;
    for (struct ap_slice rest = target; labels_next(&rest, &label);)
        relabel_labels_set(labels, label.name, label.value);
    for (struct ap_slice rest = group; labels_next(&rest, &label);)
        if (!labels_get(target, label.name).data)
            relabel_labels_set(labels, label.name, label.value);
    set_default(labels, path_label(job), literal(job->metrics_path));
    set_default(labels, "__scheme__", literal(job->scheme));
    if (!job->is_alertmanager) {
        set_default(labels, "job", literal(job->shown.name));
        set_default(labels, "__scrape_interval__", duration_text(labels->arena, job->shown.interval_ms));
        set_default(labels, "__scrape_timeout__", duration_text(labels->arena, job->shown.timeout_ms));
        set_params(labels, job);
    }
    relabel_labels_sort(labels);
}

/* A canonical copy, the labels themselves as they are. */
static enum ap_rc encode(const struct relabel_labels *labels, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FREE struct label *copy = ap_new0_array(struct label, labels->count + 1);
    if (labels->count)
        memcpy(copy, labels->items, labels->count * sizeof(*copy));
    return labels_encode(copy, labels->count, out, err);
}

/* ---- Parameters ---- */

struct params {
    struct label *items;
    size_t count;
};

static void add_param(struct params *params, struct ap_slice name, struct ap_slice value)
{
    params->items[params->count++] = (struct label){name, value};
}

static int compare_names(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* By name; those of one name stay in their order. There are few. */
static void sort_params(struct params *params)
{
    for (size_t i = 1; i < params->count; i++) {
        struct label param = params->items[i];
        size_t at = i;
        for (; at > 0 && compare_names(params->items[at - 1].name, param.name) > 0; at--)
            params->items[at] = params->items[at - 1];
        params->items[at] = param;
    }
}

/* Whether the job has values for it, of which the first may be another one by now. */
static bool has_values(const struct job *job, struct ap_slice name)
{
    for (size_t i = 0; i < job->param_count; i++)
        if (job->params[i].value_count && ap_slice_equal(job->params[i].name, name))
            return true;
    return false;
}

static struct ap_slice param_label(const struct relabel_labels *labels, struct ap_slice name)
{
    AP_AUTO_BUF struct ap_buf whole = {0};
    ap_buf_add_cstr(&whole, PARAM_PREFIX);
    ap_buf_add_slice(&whole, name);
    return relabel_labels_get(labels, ap_buf_slice(&whole));
}

/* The job's, with what the labels __param_… say for the first value of each name, and those of new names. */
static struct params take_params(const struct job *job, const struct relabel_labels *labels, struct ap_slice address,
                                 struct ap_arena *arena)
{
    const size_t prefix_bytes = sizeof(PARAM_PREFIX) - 1;
    size_t count = labels->count + 1;
    for (size_t i = 0; i < job->param_count; i++)
        count += job->params[i].value_count;
    struct params params = {.items = ap_arena_alloc0(arena, count * sizeof(struct label))};
    for (size_t i = 0; i < job->param_count; i++) {
        const struct job_param *param = &job->params[i];
        struct ap_slice first = param_label(labels, param->name);
        for (size_t v = 0; v < param->value_count; v++)
            add_param(&params, keep_text(arena, param->name),
                      keep_text(arena, v == 0 && first.bytes ? first : literal(param->values[v])));
    }
    bool has_target = has_values(job, literal("target"));
    for (size_t i = 0; i < labels->count; i++) {
        struct ap_slice name = labels->items[i].name;
        if (!ap_slice_starts_with(name, PARAM_PREFIX))
            continue;
        name = ap_slice(name.data + prefix_bytes, name.bytes - prefix_bytes);
        has_target |= ap_slice_equal_cstr(name, "target");
        if (!has_values(job, name))
            add_param(&params, keep_text(arena, name), keep_text(arena, labels->items[i].value));
    }
    if (job->shown.collector && !has_target)
        add_param(&params, literal("target"), keep_text(arena, address));
    sort_params(&params);
    return params;
}

/* ---- URL ---- */

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
}

static void add_escaped(struct ap_buf *url, struct ap_slice text, const char *also_plain)
{
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (is_unreserved(c) || (c && strchr(also_plain, c)))
            ap_buf_add_char(url, c);
        else
            ap_buf_printf(url, "%%%02X", (unsigned char)c);
    }
}

static void add_query(struct ap_buf *url, const struct params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        ap_buf_add_char(url, i ? '&' : '?');
        add_escaped(url, params->items[i].name, "");
        ap_buf_add_char(url, '=');
        for (struct ap_slice rest = params->items[i].value; rest.data;) { /* a space is a '+' */
            add_escaped(url, ap_slice_split(&rest, ' '), "");
            if (rest.data)
                ap_buf_add_char(url, '+');
        }
    }
}

static char *make_url(const struct job *job, const struct relabel_labels *labels, struct ap_slice address,
                      const struct params *params, struct ap_arena *arena)
{
    AP_AUTO_BUF struct ap_buf url = {0};
    if (job->shown.collector) { /* nothing that can be opened: who answers, about what */
        ap_buf_printf(&url, "%s:%.*s", job->shown.collector, AP_SLICE_ARG(address));
    } else {
        struct ap_slice path = relabel_labels_get(labels, literal(path_label(job)));
        struct ap_slice scheme = relabel_labels_get(labels, literal("__scheme__"));
        ap_buf_add_slice(&url, scheme);
        ap_buf_add_cstr(&url, scheme.bytes ? "://" : "//");
        ap_buf_add_slice(&url, address);
        if (path.bytes && path.data[0] != '/')
            ap_buf_add_char(&url, '/');
        add_escaped(&url, path, "$&+,/:;=@");
        add_query(&url, params);
    }
    return ap_arena_try_strndup(arena, ap_buf_slice(&url));
}

/* ---- A target ---- */

static enum ap_rc take_duration(const struct relabel_labels *labels, const char *name, const char *what,
                                int64_t *ret_ms, struct ap_err *err)
{
    struct ap_slice text = relabel_labels_get(labels, literal(name));
    *ret_ms = 0;
    if (text.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "error parsing scrape %s: empty duration string", what);
    if (!promql_parse_duration(text, ret_ms) && !ap_slice_equal_cstr(text, "0"))
        return ap_fail(err, AP_E_PARSE, "error parsing scrape %s: not a valid duration string: \"%.*s\"", what,
                       (int)AP_MIN(text.bytes, (size_t)80), text.data);
    if (*ret_ms == 0)
        return ap_fail(err, AP_E_PARSE, "scrape %s cannot be 0", what);
    return AP_OK;
}

static enum ap_rc check_address(const struct job *job, struct ap_slice address, struct ap_err *err)
{
    if (address.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "no address");
    if (!job->shown.collector && memchr(address.data, '/', address.bytes))
        return ap_fail(err, AP_E_PARSE, "\"%.*s\" is not a valid hostname", (int)AP_MIN(address.bytes, (size_t)200),
                       address.data);
    return AP_OK;
}

static enum ap_rc take_times(const struct relabel_labels *labels, struct scrape_target *target, struct ap_err *err)
{
    enum ap_rc rc = take_duration(labels, "__scrape_interval__", "interval", &target->interval_ms, err);
    if (rc == AP_OK)
        rc = take_duration(labels, "__scrape_timeout__", "timeout", &target->timeout_ms, err);
    if (rc == AP_OK && target->timeout_ms > target->interval_ms)
        rc = ap_fail(err, AP_E_PARSE, "scrape timeout cannot be greater than scrape interval (\"%.*s\" > \"%.*s\")",
                     AP_SLICE_ARG(relabel_labels_get(labels, literal("__scrape_timeout__"))),
                     AP_SLICE_ARG(relabel_labels_get(labels, literal("__scrape_interval__"))));
    return rc;
}

/* Canonical, without those whose names begin with `prefix`. */
static enum ap_rc encode_without(const struct relabel_labels *labels, const char *prefix, struct ap_arena *arena,
                                 struct ap_slice *ret_labels, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    AP_AUTO_FREE struct label *kept = ap_new0_array(struct label, labels->count + 1);
    size_t count = 0;
    for (size_t i = 0; i < labels->count; i++)
        if (!ap_slice_starts_with(labels->items[i].name, prefix))
            kept[count++] = labels->items[i];
    enum ap_rc rc = labels_encode(kept, count, &out, err);
    if (rc == AP_OK)
        *ret_labels = keep_text(arena, ap_buf_slice(&out));
    return rc;
}

/* What tells two targets apart: all labels but those of discovery, and where it is asked. */
static enum ap_rc take_hash(const struct relabel_labels *labels, struct scrape_target *target, struct ap_arena *arena,
                            struct ap_err *err)
{
    struct ap_slice all;
    enum ap_rc rc = encode_without(labels, "__meta_", arena, &all, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_BUF struct ap_buf whole = {0};
    ap_buf_add_slice(&whole, all);
    ap_buf_add_cstr(&whole, target->url);
    target->hash = labels_hash_of(0, ap_buf_slice(&whole)).low;
    return AP_OK;
}

static enum ap_rc make_target(const struct job *job, struct relabel_labels *labels, struct ap_arena *arena,
                              struct scrape_target *target, struct ap_err *err)
{
    struct ap_slice address = relabel_labels_get(labels, literal(LABEL_ADDRESS));
    enum ap_rc rc = check_address(job, address, err);
    if (rc == AP_OK && !job->is_alertmanager)
        rc = take_times(labels, target, err);
    if (rc != AP_OK)
        return rc;
    set_default(labels, "instance", address);
    struct params params = take_params(job, labels, address, arena);
    target->job = &job->shown;
    target->address = keep_text(arena, address);
    target->params = params.items;
    target->param_count = params.count;
    target->url = make_url(job, labels, address, &params, arena);
    rc = encode_without(labels, "__", arena, &target->labels, err);
    return rc == AP_OK ? take_hash(labels, target, arena, err) : rc;
}

/* ---- Lists ---- */

void target_list_init(struct target_list *list)
{
    *list = (struct target_list){0};
    ap_arena_init(&list->arena, 0);
}

void target_list_clear(struct target_list *list)
{
    free(list->items);
    free(list->dropped);
    free(list->failures);
    ap_arena_clear(&list->arena);
    *list = (struct target_list){0};
}

static void *grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return items;
    *capacity = AP_MAX(*capacity * 2, (size_t)16);
    return ap_realloc(items, *capacity * item_bytes);
}

static void add_failure(struct target_list *list, struct ap_slice discovered, const struct ap_err *err)
{
    list->failures = grow(list->failures, list->failure_count, &list->failure_capacity, sizeof(*list->failures));
    list->failures[list->failure_count++] =
        (struct target_failure){discovered, ap_arena_try_strndup(&list->arena, ap_slice_cstr(err->text))};
}

static void add_dropped(struct target_list *list, const struct job *job, struct ap_slice discovered)
{
    list->dropped_count++;
    if (job->dropped_kept_max && list->dropped_kept >= job->dropped_kept_max)
        return;
    list->dropped = grow(list->dropped, list->dropped_kept, &list->dropped_capacity, sizeof(*list->dropped));
    list->dropped[list->dropped_kept++] = discovered;
}

static void add_item(struct target_list *list, struct scrape_target *target)
{
    list->items = grow(list->items, list->count, &list->item_capacity, sizeof(struct scrape_target *));
    list->items[list->count++] = target;
}

static void add_one(struct target_list *list, const struct job *job, struct ap_slice target_labels,
                    struct ap_slice group_labels, struct ap_arena *scratch)
{
    struct relabel_labels labels;
    AP_AUTO_BUF struct ap_buf before = {0};
    struct ap_err err;
    relabel_labels_init(&labels, scratch);
    discover(job, target_labels, group_labels, &labels);
    if (encode(&labels, &before, &err) != AP_OK) {
        add_failure(list, (struct ap_slice){0}, &err);
        return;
    }
    struct ap_slice discovered = keep_text(&list->arena, ap_buf_slice(&before));
    enum relabel_result result = relabel_apply(job->relabel, &labels);
    if (result == RELABEL_DROPPED) {
        add_dropped(list, job, discovered);
        return;
    }
    struct scrape_target *target = ap_arena_alloc0(&list->arena, sizeof(*target));
    target->discovered = discovered;
    enum ap_rc rc = result == RELABEL_KEPT ? make_target(job, &labels, &list->arena, target, &err)
                                           : ap_fail(&err, AP_E_LIMIT, "relabelling makes values of more than %d bytes",
                                                     RELABEL_VALUE_BYTES_MAX);
    if (rc == AP_OK)
        add_item(list, target);
    else
        add_failure(list, discovered, &err);
}

void target_list_add(struct target_list *list, const struct job *job, const struct target_groups *groups)
{
    AP_AUTO_ARENA struct ap_arena scratch = {0};
    ap_arena_init(&scratch, 0);
    for (size_t g = 0; groups && g < groups->count; g++) {
        const struct target_group *group = &groups->items[g];
        for (size_t t = 0; t < group->count; t++) {
            add_one(list, job, group->targets[t], group->labels, &scratch);
            ap_arena_recycle(&scratch);
        }
    }
}

static int compare_targets(const void *a, const void *b)
{
    const struct scrape_target *left = *(struct scrape_target *const *)a, *right = *(struct scrape_target *const *)b;
    return (left->hash > right->hash) - (left->hash < right->hash);
}

void target_list_finish(struct target_list *list, const struct job *job)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->items, list->count, sizeof(struct scrape_target *), compare_targets);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || list->items[kept - 1]->hash != list->items[i]->hash)
            list->items[kept++] = list->items[i];
    list->count = kept;
    uint64_t limit = job->shown.limits.targets_max;
    for (size_t i = 0; i < kept; i++)
        list->items[i]->too_many = limit && kept > limit ? kept : 0;
}
