#include "rules/alert_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "rules/query.h"
#include "rules/template_variables.h"
#include "template/template.h"
#include "tsdb/labels.h"

#define SUMMARY "summary"

struct text {
    const char *name;
    struct template *template; /* owned */
    bool is_about_sample;      /* speaks of its labels or its value */
};

struct alert_texts {
    struct text *labels; /* in the rule's order */
    size_t label_count;
    struct text *annotations; /* sorted by name */
    size_t annotation_count;
};

struct alert_expansion {
    struct ap_arena arena;
    struct ap_slice *labels;
    struct ap_buf annotations;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(((const struct text *)a)->name, ((const struct text *)b)->name);
}

static bool is_about_sample(const char *source)
{
    static const char *const words[] = {"$labels", "$value", ".Labels", ".Value"};
    bool is_found = false;
    for (size_t i = 0; i < AP_ARRAY_COUNT(words) && strstr(source, "{{"); i++)
        is_found = is_found || strstr(source, words[i]);
    return is_found;
}

static struct text *parse_all(const struct yaml_texts *sources)
{
    struct text *texts = ap_new0_array(struct text, sources->count + 1);
    for (size_t i = 0; i < sources->count; i++) {
        struct ap_err err;
        texts[i].name = sources->keys[i];
        texts[i].is_about_sample = is_about_sample(sources->items[i]);
        enum ap_rc rc = template_parse(ap_slice_cstr(sources->items[i]), template_variables,
                                       AP_ARRAY_COUNT(template_variables), &texts[i].template, &err);
        AP_ASSERT(rc == AP_OK);
    }
    return texts;
}

static void free_all(struct text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        template_free(texts[i].template);
    free(texts);
}

struct alert_texts *alert_texts_new(const struct rule *rule)
{
    struct alert_texts *texts = ap_new0(struct alert_texts);
    *texts = (struct alert_texts){parse_all(&rule->labels), rule->labels.count, parse_all(&rule->annotations),
                                  rule->annotations.count};
    qsort(texts->annotations, texts->annotation_count, sizeof(*texts->annotations), compare_texts);
    return texts;
}

void alert_texts_free(struct alert_texts *texts)
{
    if (!texts)
        return;
    free_all(texts->labels, texts->label_count);
    free_all(texts->annotations, texts->annotation_count);
    free(texts);
}

/* ---- What templates see ---- */

static struct template_value map_of(struct ap_slice labels, struct ap_arena *arena)
{
    size_t count = 0;
    struct label label;
    struct template_member *members = ap_arena_alloc0(arena, (labels_count(labels) + 1) * sizeof(*members));
    while (labels_next(&labels, &label))
        members[count++] = (struct template_member){label.name, template_text(label.value)};
    return (struct template_value){.kind = TEMPLATE_MAP, .map = {members, count}};
}

static struct template_value value_of(const struct rules_sample *sample, struct ap_arena *arena)
{
    if (!sample->histogram)
        return template_float(sample->value);
    AP_AUTO_BUF struct ap_buf text = {0};
    float_histogram_print(sample->histogram, &text);
    char *copy = ap_arena_alloc0(arena, text.bytes + 1);
    memcpy(copy, text.data, text.bytes);
    return template_text(ap_slice(copy, text.bytes));
}

struct asker {
    const struct rules_world *world;
    int64_t ts_ms;
};

/* A template's own query: a list of structs with Labels and Value. */
static enum ap_rc ask(void *context, struct ap_slice text, struct ap_arena *arena, struct template_value *ret_list,
                      struct ap_err *err)
{
    const struct asker *asker = context;
    struct rules_vector vector;
    enum ap_rc rc = rules_query(asker->world, text, NULL, asker->ts_ms, arena, &vector, err);
    if (rc != AP_OK)
        return rc;
    struct template_value *items = ap_arena_try_alloc(arena, (vector.count + 1) * sizeof(*items));
    if (!items)
        return ap_fail(err, AP_E_NOMEM, "no memory for an answer of %zu series", vector.count);
    for (size_t i = 0; i < vector.count; i++) {
        struct template_member *members = ap_arena_alloc0(arena, 2 * sizeof(*members));
        members[0] = (struct template_member){ap_slice_cstr("Labels"), map_of(vector.samples[i].labels, arena)};
        members[1] = (struct template_member){ap_slice_cstr("Value"), value_of(&vector.samples[i], arena)};
        items[i] = (struct template_value){.kind = TEMPLATE_STRUCT, .map = {members, 2}};
    }
    *ret_list = (struct template_value){.kind = TEMPLATE_LIST, .list = {items, vector.count}};
    return AP_OK;
}

static void run_text(const struct text *text, const struct template_environment *environment, struct ap_buf *out)
{
    struct ap_err err;
    size_t bytes = out->bytes;
    if (template_run(text->template, environment, out, &err) == AP_OK)
        return;
    out->bytes = bytes; /* half a sentence says less than why it is one */
    ap_buf_printf(out, "<error expanding template: %s>", err.text);
}

static void add_annotation(const char *name, struct ap_slice text, struct ap_buf *out)
{
    const struct label label = {ap_slice_cstr(name), text};
    labels_add(out, &label);
}

static void expand_annotations(const struct alert_texts *texts, const struct template_environment *environment,
                               const char *summary, struct ap_buf *annotations)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    bool is_said = summary == NULL;
    for (size_t i = 0; i < texts->annotation_count; i++) {
        const struct text *text = &texts->annotations[i];
        int order = strcmp(text->name, SUMMARY);
        if (!is_said && order >= 0) { /* its place, in the order of names */
            add_annotation(SUMMARY, ap_slice_cstr(summary), annotations);
            is_said = true;
        }
        if (summary && (order == 0 || text->is_about_sample))
            continue;
        ap_buf_reset(&out);
        run_text(text, environment, &out);
        add_annotation(text->name, ap_buf_slice(&out), annotations);
    }
    if (!is_said)
        add_annotation(SUMMARY, ap_slice_cstr(summary), annotations);
}

struct alert_expansion *alert_expand(const struct alert_texts *texts, const struct rules_world *world,
                                     const struct rules_sample *sample, const char *summary, int64_t ts_ms)
{
    struct alert_expansion *expansion = ap_new0(struct alert_expansion);
    struct ap_arena *arena = &expansion->arena;
    ap_arena_init(arena, 0);
    struct asker asker = {world, ts_ms};
    const struct template_value variables[TEMPLATE_VARIABLE_COUNT] = {
        map_of(sample->labels, arena), map_of(world->external_labels, arena), template_text(world->external_url),
        value_of(sample, arena)};
    static const char *const fields[TEMPLATE_VARIABLE_COUNT] = {"Labels", "ExternalLabels", "ExternalURL", "Value"};
    struct template_member members[TEMPLATE_VARIABLE_COUNT];
    for (size_t i = 0; i < TEMPLATE_VARIABLE_COUNT; i++)
        members[i] = (struct template_member){ap_slice_cstr(fields[i]), variables[i]};
    const struct template_environment environment = {
        .dot = {.kind = TEMPLATE_STRUCT, .map = {members, TEMPLATE_VARIABLE_COUNT}},
        .variables = variables,
        .external_url = world->external_url,
        .now_ms = ts_ms,
        .query = ask,
        .context = &asker,
    };
    AP_AUTO_BUF struct ap_buf out = {0};
    expansion->labels = ap_arena_alloc0(arena, (texts->label_count + 1) * sizeof(*expansion->labels));
    for (size_t i = 0; i < texts->label_count; i++) {
        ap_buf_reset(&out);
        run_text(&texts->labels[i], &environment, &out);
        char *copy = ap_arena_alloc0(arena, out.bytes + 1);
        if (out.bytes)
            memcpy(copy, out.data, out.bytes);
        expansion->labels[i] = ap_slice(copy, out.bytes);
    }
    expand_annotations(texts, &environment, summary, &expansion->annotations);
    return expansion;
}

void alert_expansion_free(struct alert_expansion *expansion)
{
    if (!expansion)
        return;
    ap_arena_clear(&expansion->arena);
    ap_buf_clear(&expansion->annotations);
    free(expansion);
}

struct ap_slice alert_expansion_label(const struct alert_expansion *expansion, size_t index)
{
    return expansion->labels[index];
}

struct ap_slice alert_expansion_annotations(const struct alert_expansion *expansion)
{
    return ap_buf_slice(&expansion->annotations);
}
