/* Names and values of labels, exemplars, metadata: the questions that are not about samples. */
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

/* Texts from head and blocks, each once in the end. */
struct texts {
    struct ap_slice *items; /* owned */
    size_t count;
    size_t capacity;
    struct ap_arena arena;
    struct ap_slice name; /* whose values are wanted; data NULL: names are */
};

static bool add_text(struct ap_slice text, uint64_t series_count, void *context)
{
    (void)series_count;
    struct texts *texts = context;
    char *copy = ap_arena_try_alloc(&texts->arena, text.bytes + 1);
    if (!copy)
        return false;
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 256;
        texts->items = ap_realloc(texts->items, texts->capacity * sizeof(*texts->items));
    }
    texts->items[texts->count++] = ap_slice(copy, text.bytes);
    return true;
}

static int compare_texts(const void *a, const void *b)
{
    const struct ap_slice *x = a;
    const struct ap_slice *y = b;
    int order = memcmp(x->data, y->data, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void emit(struct texts *texts, tsdb_text_fn each, void *context)
{
    if (texts->count)
        qsort(texts->items, texts->count, sizeof(*texts->items), compare_texts);
    for (size_t i = 0; i < texts->count; i++)
        if ((i == 0 || !ap_slice_equal(texts->items[i], texts->items[i - 1])) && !each(texts->items[i], context))
            break;
    free(texts->items);
    ap_arena_clear(&texts->arena);
}

static void collect_all(struct tsdb *tsdb, int64_t min_ts_ms, int64_t max_ts_ms, struct texts *texts)
{
    registry_read_lock(tsdb->registry);
    if (texts->name.data)
        registry_each_value(tsdb->registry, texts->name, add_text, texts);
    else
        registry_each_name(tsdb->registry, add_text, texts);
    registry_unlock(tsdb->registry);
    pthread_mutex_lock(&tsdb->view_mtx);
    for (size_t i = 0; i < tsdb->block_count; i++) {
        const struct block_meta *meta = block_meta_of(tsdb->blocks[i]);
        if (meta->min_ts_ms > max_ts_ms || meta->max_ts_ms < min_ts_ms)
            continue;
        if (texts->name.data)
            block_each_value(tsdb->blocks[i], texts->name, add_text, texts);
        else
            block_each_name(tsdb->blocks[i], add_text, texts);
    }
    pthread_mutex_unlock(&tsdb->view_mtx);
}

static enum ap_rc collect_matching(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms,
                                   int64_t max_ts_ms, struct texts *texts, struct ap_err *err)
{
    AP_AUTO(tsdb_set) struct tsdb_set *set = NULL;
    struct tsdb_select_options options = {.matchers = matchers, .min_ts_ms = min_ts_ms, .max_ts_ms = max_ts_ms};
    enum ap_rc rc = tsdb_select(tsdb, &options, &set, err);
    for (size_t i = 0; rc == AP_OK && i < tsdb_set_count(set); i++) {
        struct ap_slice rest = tsdb_set_labels(set, i);
        struct label label;
        while (labels_next(&rest, &label)) {
            bool is_wanted = !texts->name.data || ap_slice_equal(label.name, texts->name);
            if (is_wanted && !add_text(texts->name.data ? label.value : label.name, 0, texts))
                return ap_fail(err, AP_E_NOMEM, "no memory for the labels");
        }
    }
    return rc;
}

static enum ap_rc collect(struct tsdb *tsdb, struct ap_slice name, const struct matchers *matchers, int64_t min_ts_ms,
                          int64_t max_ts_ms, tsdb_text_fn each, void *context, struct ap_err *err)
{
    struct texts texts = {.name = name};
    ap_arena_init(&texts.arena, 0);
    enum ap_rc rc = AP_OK;
    if (matchers)
        rc = collect_matching(tsdb, matchers, min_ts_ms, max_ts_ms, &texts, err);
    else
        collect_all(tsdb, min_ts_ms, max_ts_ms, &texts);
    if (rc != AP_OK)
        texts.count = 0;
    emit(&texts, each, context);
    return rc;
}

enum ap_rc tsdb_label_names(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                            tsdb_text_fn each, void *context, struct ap_err *err)
{
    return collect(tsdb, (struct ap_slice){0}, matchers, min_ts_ms, max_ts_ms, each, context, err);
}

enum ap_rc tsdb_label_values(struct tsdb *tsdb, struct ap_slice name, const struct matchers *matchers,
                             int64_t min_ts_ms, int64_t max_ts_ms, tsdb_text_fn each, void *context, struct ap_err *err)
{
    return collect(tsdb, name, matchers, min_ts_ms, max_ts_ms, each, context, err);
}

/* ---- Exemplars and metadata ---- */

struct exemplar_walk {
    struct ap_slice series_labels;
    tsdb_exemplar_fn each;
    void *context;
    bool goes_on;
};

static bool give_exemplar(const struct exemplar *exemplar, void *context)
{
    struct exemplar_walk *walk = context;
    struct batch_exemplar given = {
        .ts_ms = exemplar->ts_ms,
        .value = exemplar->value,
        .labels = ap_slice(exemplar->labels, exemplar->labels_bytes),
    };
    walk->goes_on = walk->each(walk->series_labels, &given, walk->context);
    return walk->goes_on;
}

void tsdb_exemplars(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                    tsdb_exemplar_fn each, void *context)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct exemplar_walk walk = {.each = each, .context = context, .goes_on = true};
    registry_read_lock(tsdb->registry);
    roaring_bitmap_t *refs = registry_select(tsdb->registry, matchers);
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(refs, &iterator);
    pthread_mutex_lock(&tsdb->extras_mtx);
    for (; iterator.has_value && walk.goes_on; roaring_advance_uint32_iterator(&iterator)) {
        ap_buf_reset(&labels);
        registry_labels(tsdb->registry, iterator.current_value, &labels);
        walk.series_labels = ap_buf_slice(&labels);
        extras_each_exemplar(&tsdb->extras, iterator.current_value, min_ts_ms, max_ts_ms, give_exemplar, &walk);
    }
    pthread_mutex_unlock(&tsdb->extras_mtx);
    registry_unlock(tsdb->registry);
    roaring_bitmap_free(refs);
}

void tsdb_metadata(struct tsdb *tsdb, struct ap_slice metric, tsdb_metadata_fn each, void *context)
{
    pthread_mutex_lock(&tsdb->extras_mtx);
    extras_each_metadata(&tsdb->extras, metric, each, context);
    pthread_mutex_unlock(&tsdb->extras_mtx);
}
