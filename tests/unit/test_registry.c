/* tsdb/registry.h: what is found by hash and by matchers is what was put in, whatever comes, goes and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "tsdb/registry.h"
#include "wal/crc32c.h"

enum { SEED = 3, LIVE_MAX = 500, SERIES_MAX = 900 };

static enum ap_rc keep_batch(struct ap_slice batch, void *context, struct ap_err *err)
{
    (void)err;
    ap_buf_add_slice(context, batch);
    return AP_OK;
}

static void save(struct registry *registry, bool is_all, struct ap_buf *file)
{
    struct ap_err err;
    if (registry_encode(registry, is_all, keep_batch, file, &err) != AP_OK)
        abort();
}

static struct ap_slice encode(struct ap_buf *out, struct label *labels, size_t count)
{
    struct ap_err err;
    ap_buf_reset(out);
    assert_int_equal(labels_encode(labels, count, out, &err), AP_OK);
    return ap_buf_slice(out);
}

static uint32_t add(struct registry *registry, struct ap_slice labels, uint32_t ref)
{
    registry_write_lock(registry);
    ref = registry_add_locked(registry, labels, labels_hash_of(SEED, labels), ref);
    registry_unlock(registry);
    return ref;
}

/* "a=1,b=2" */
static uint32_t add_text(struct registry *registry, const char *text, uint32_t ref)
{
    struct label labels[16];
    struct ap_slice rest = ap_slice_cstr(text);
    size_t count = 0;
    while (rest.data && rest.bytes) {
        struct ap_slice label = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_split(&label, '=');
        labels[count++] = (struct label){name, label};
    }
    AP_AUTO_BUF struct ap_buf out = {0};
    return add(registry, encode(&out, labels, count), ref);
}

static void remove_refs(struct registry *registry, uint32_t from, uint32_t to)
{
    roaring_bitmap_t *refs = roaring_bitmap_create();
    roaring_bitmap_add_range(refs, from, to);
    registry_write_lock(registry);
    registry_remove_locked(registry, refs);
    registry_unlock(registry);
    roaring_bitmap_free(refs);
}

static void reuse(struct registry *registry)
{
    registry_write_lock(registry);
    registry_reuse_removed_locked(registry);
    registry_unlock(registry);
}

/* ---- A model: all series as they are, asked one by one ---- */

struct model {
    struct ap_buf labels[SERIES_MAX];
    bool is_live[SERIES_MAX];
};

static void model_clear(struct model *model)
{
    for (size_t i = 0; i < SERIES_MAX; i++)
        ap_buf_clear(&model->labels[i]);
}

static size_t random_labels(struct ap_random *random, struct label *labels)
{
    static const char *const names[] = {"__name__", "job", "instance", "pod", "x"};
    static const char *const values[] = {"up", "a",   "b",      "ab", "abc", "a.b",
                                         "",   "foo", "foobar", "1",  "12",  "\xc3\xa4"};
    static char uniques[5][24];
    size_t count = 0;
    for (size_t i = 0; i < 5; i++) {
        if (ap_random_below(random, 4) == 0)
            continue;
        struct ap_slice value = ap_slice_cstr(values[ap_random_below(random, AP_ARRAY_COUNT(values))]);
        if (i == 3 && ap_random_below(random, 2)) {
            snprintf(uniques[i], sizeof(uniques[i]), "pod-%u", (unsigned)ap_random_below(random, 5000));
            value = ap_slice_cstr(uniques[i]);
        }
        labels[count++] = (struct label){ap_slice_cstr(names[i]), value};
    }
    labels[count++] = (struct label){ap_slice_cstr("z"), ap_slice_cstr("always")};
    return count;
}

/* Adds some, in the model as well; false: these labels are there already. */
static bool add_random(struct registry *registry, struct model *model, struct ap_random *random, uint32_t ref)
{
    struct label labels[8];
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_slice canonical = encode(&out, labels, random_labels(random, labels));
    uint32_t there = registry_find(registry, labels_hash_of(SEED, canonical));
    bool is_there = false;
    for (uint32_t i = 0; i < SERIES_MAX; i++) {
        if (!model->is_live[i] || !ap_slice_equal(ap_buf_slice(&model->labels[i]), canonical))
            continue;
        assert_int_equal(there, i);
        is_there = true;
    }
    assert_int_equal(is_there, there != REGISTRY_NONE);
    if (is_there)
        return false;
    ref = add(registry, canonical, ref);
    assert_true(ref < SERIES_MAX && !model->is_live[ref]);
    model->is_live[ref] = true;
    ap_buf_reset(&model->labels[ref]);
    ap_buf_add_slice(&model->labels[ref], canonical);
    return true;
}

static void assert_same(struct registry *registry, const struct model *model)
{
    size_t live_count = 0;
    AP_AUTO_BUF struct ap_buf labels = {0};
    for (uint32_t ref = 0; ref < SERIES_MAX; ref++) {
        assert_int_equal(registry_has(registry, ref), model->is_live[ref]);
        if (!model->is_live[ref])
            continue;
        live_count++;
        ap_buf_reset(&labels);
        registry_labels(registry, ref, &labels);
        assert_true(ap_slice_equal(ap_buf_slice(&labels), ap_buf_slice(&model->labels[ref])));
        assert_int_equal(registry_find(registry, labels_hash_of(SEED, ap_buf_slice(&labels))), ref);
    }
    assert_int_equal(registry_count(registry), live_count);
}

static struct matcher *random_matcher(struct ap_random *random)
{
    static const char *const names[] = {"__name__", "job", "instance", "pod", "x", "z", "missing"};
    static const char *const texts[] = {"up",    "a",     "",      "always", "pod-17",    "nothing", "a|b",
                                        "a|",    "a.*",   ".*",    ".+",     "foo(bar)?", "pod-1.*", "pod-(1|2)[0-9]",
                                        "a\\.b", "[^a]*", "ab?c?", "up|foo", "pod-.+",    "\xc3.?"};
    for (;;) {
        struct matcher *matcher;
        struct ap_err err;
        if (matcher_new((enum matcher_kind)ap_random_below(random, 4),
                        ap_slice_cstr(names[ap_random_below(random, AP_ARRAY_COUNT(names))]),
                        ap_slice_cstr(texts[ap_random_below(random, AP_ARRAY_COUNT(texts))]), &matcher, &err) == AP_OK)
            return matcher; /* a lone \xc3 is no expression */
    }
}

static void assert_selects(const struct registry *registry, const struct model *model, struct ap_random *random)
{
    struct matchers matchers = {.count = (size_t)ap_random_below(random, 4)};
    for (size_t i = 0; i < matchers.count; i++)
        matchers.items[i] = random_matcher(random);
    roaring_bitmap_t *refs = registry_select(registry, &matchers);
    for (uint32_t ref = 0; ref < SERIES_MAX; ref++) {
        bool want = model->is_live[ref] && matchers_match(&matchers, ap_buf_slice(&model->labels[ref]));
        if (roaring_bitmap_contains(refs, ref) != want) {
            for (size_t i = 0; i < matchers.count; i++)
                print_error("matcher: %.*s kind %d \"%.*s\"\n", AP_SLICE_ARG(matcher_name(matchers.items[i])),
                            (int)matcher_kind_of(matchers.items[i]), AP_SLICE_ARG(matcher_value(matchers.items[i])));
            fail_msg("series %u: %s", ref, want ? "not selected" : "selected");
        }
    }
    roaring_bitmap_free(refs);
    matchers_clear(&matchers);
}

/* Everything that has a name and a value, counted with the registry's own walks and by the model. */
struct walk {
    const struct model *model;
    const roaring_bitmap_t *refs; /* NULL: all */
    struct ap_slice name;         /* data NULL: names are walked */
    struct ap_buf before;
    size_t count;
};

static uint64_t model_count(const struct walk *walk, struct ap_slice text)
{
    uint64_t count = 0;
    for (uint32_t ref = 0; ref < SERIES_MAX; ref++) {
        if (!walk->model->is_live[ref] || (walk->refs && !roaring_bitmap_contains(walk->refs, ref)))
            continue;
        struct ap_slice value =
            labels_get(ap_buf_slice(&walk->model->labels[ref]), walk->name.data ? walk->name : text);
        count += value.data && (!walk->name.data || ap_slice_equal(value, text));
    }
    return count;
}

static bool walk_one(struct ap_slice text, uint64_t series_count, void *context)
{
    struct walk *walk = context;
    assert_int_equal(series_count, model_count(walk, text));
    assert_true(series_count > 0);
    struct ap_slice before = ap_buf_slice(&walk->before);
    int order = memcmp(before.data ? before.data : "", text.data, AP_MIN(before.bytes, text.bytes));
    assert_true(walk->count == 0 || order < 0 || (order == 0 && before.bytes < text.bytes));
    ap_buf_reset(&walk->before);
    ap_buf_add_slice(&walk->before, text);
    walk->count++;
    return true;
}

static int compare_slices(const void *a, const void *b)
{
    const struct ap_slice *x = a;
    const struct ap_slice *y = b;
    int order = memcmp(x->data, y->data, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* How many distinct values the model has. */
static size_t model_distinct(const struct walk *walk)
{
    struct ap_slice values[SERIES_MAX];
    size_t count = 0;
    size_t distinct = 0;
    for (uint32_t ref = 0; ref < SERIES_MAX; ref++) {
        if (!walk->model->is_live[ref] || (walk->refs && !roaring_bitmap_contains(walk->refs, ref)))
            continue;
        struct ap_slice value = labels_get(ap_buf_slice(&walk->model->labels[ref]), walk->name);
        if (value.data)
            values[count++] = value;
    }
    qsort(values, count, sizeof(*values), compare_slices);
    for (size_t i = 0; i < count; i++)
        distinct += i == 0 || !ap_slice_equal(values[i - 1], values[i]);
    return distinct;
}

static void assert_walks(const struct registry *registry, const struct model *model, const roaring_bitmap_t *refs)
{
    static const char *const names[] = {"__name__", "job", "instance", "pod", "x", "z", "missing"};
    struct walk walk = {.model = model, .refs = refs};
    size_t name_count = 0;
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        name_count += model_count(&walk, ap_slice_cstr(names[i])) > 0;
    if (refs)
        registry_each_name_of(registry, refs, walk_one, &walk);
    else
        registry_each_name(registry, walk_one, &walk);
    assert_int_equal(walk.count, name_count);
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        walk.name = ap_slice_cstr(names[i]);
        walk.count = 0;
        ap_buf_reset(&walk.before);
        if (refs)
            registry_each_value_of(registry, walk.name, refs, walk_one, &walk);
        else
            registry_each_value(registry, walk.name, walk_one, &walk);
        assert_int_equal(walk.count, model_distinct(&walk));
    }
    ap_buf_clear(&walk.before);
}

/* Reads the file into a new registry and looks whether it is the same. */
static void assert_reads_back(const struct ap_buf *file, const struct model *model)
{
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    struct ap_slice rest = ap_buf_slice(file);
    struct ap_err err;
    registry_write_lock(registry);
    while (rest.bytes)
        if (registry_decode_locked(registry, &rest, &err) != AP_OK)
            fail_msg("%s", err.text);
    registry_encoded_locked(registry);
    registry_unlock(registry);
    assert_same(registry, model);
    assert_int_equal(registry_unsaved_count(registry), 0);
    AP_AUTO_BUF struct ap_buf nothing = {0};
    save(registry, false, &nothing);
    assert_int_equal(nothing.bytes, 0);
    reuse(registry); /* pairs of removed series alone are swept */
    assert_same(registry, model);
    /* Refs between the live ones are given out, each once, and never one that is taken. */
    for (int i = 0; i < 30; i++) {
        char text[32];
        snprintf(text, sizeof(text), "new=%d", i);
        uint32_t ref = add_text(registry, text, REGISTRY_NONE);
        assert_true(ref >= SERIES_MAX || !model->is_live[ref]);
    }
}

static void test_against_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct ap_random random;
        ap_random_init(&random, seed);
        print_message("seed %u\n", (unsigned)seed);
        struct model *model = ap_new0(struct model);
        AP_AUTO(registry) struct registry *registry = registry_new(SEED);
        AP_AUTO_BUF struct ap_buf file = {0};
        for (int round = 0; round < 12; round++) {
            for (int i = 0; i < 120 && registry_count(registry) < LIVE_MAX; i++)
                (void)add_random(registry, model, &random, REGISTRY_NONE);
            if (round % 2 == 1) { /* a stretch, sometimes all */
                bool is_all_going = round == 5 && seed % 2;
                uint32_t from = (uint32_t)ap_random_below(&random, LIVE_MAX);
                uint32_t to = is_all_going ? SERIES_MAX : from + (uint32_t)ap_random_below(&random, 200);
                from = is_all_going ? 0 : from;
                remove_refs(registry, from, to);
                for (uint32_t ref = from; ref < AP_MIN(to, (uint32_t)SERIES_MAX); ref++)
                    model->is_live[ref] = false;
                if (round != 7)
                    reuse(registry);
            }
            if (ap_random_below(&random, 3) == 0 || round == 11) {
                bool is_all = ap_random_below(&random, 4) == 0;
                if (is_all)
                    ap_buf_reset(&file);
                save(registry, is_all, &file);
                registry_write_lock(registry);
                registry_encoded_locked(registry);
                registry_unlock(registry);
                assert_reads_back(&file, model);
            }
            assert_same(registry, model);
            for (int i = 0; i < 60; i++)
                assert_selects(registry, model, &random);
            assert_walks(registry, model, NULL);
            roaring_bitmap_t *some = roaring_bitmap_create();
            for (uint32_t ref = 0; ref < SERIES_MAX; ref++)
                if (model->is_live[ref] && ap_random_below(&random, round % 2 ? 2 : 20) == 0)
                    roaring_bitmap_add(some, ref);
            assert_walks(registry, model, some);
            roaring_bitmap_free(some);
        }
        model_clear(model);
        free(model);
    }
}

/* ---- Refs ---- */

static void test_refs(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    assert_int_equal(registry_ref_end(registry), 0);
    assert_int_equal(add_text(registry, "a=0", REGISTRY_NONE), 0);
    assert_int_equal(add_text(registry, "a=5", 5), 5); /* as the log says */
    assert_int_equal(registry_ref_end(registry), 6);
    assert_int_equal(add_text(registry, "a=2", 2), 2);
    assert_int_equal(add_text(registry, "a=1", REGISTRY_NONE), 1); /* the lowest that is free */
    assert_int_equal(add_text(registry, "a=3", REGISTRY_NONE), 3);
    assert_int_equal(add_text(registry, "a=4", REGISTRY_NONE), 4);
    assert_int_equal(add_text(registry, "a=6", REGISTRY_NONE), 6);

    remove_refs(registry, 1, 3);
    assert_false(registry_has(registry, 1));
    assert_int_equal(registry_count(registry), 5);
    AP_AUTO_BUF struct ap_buf labels = {0};
    registry_labels(registry, 1, &labels);
    assert_true(ap_slice_equal_cstr(labels_get(ap_buf_slice(&labels), ap_slice_cstr("a")), "1"));
    assert_int_equal(add_text(registry, "a=7", REGISTRY_NONE), 7); /* not yet */
    assert_int_equal(add_text(registry, "a=1", REGISTRY_NONE), 8); /* the same labels may come back meanwhile */
    reuse(registry);
    assert_int_equal(add_text(registry, "a=9", REGISTRY_NONE), 1);
    assert_int_equal(add_text(registry, "a=2", REGISTRY_NONE), 2);
    assert_int_equal(add_text(registry, "a=11", REGISTRY_NONE), 9);
    ap_buf_reset(&labels);
    registry_labels(registry, 8, &labels);
    assert_true(ap_slice_equal_cstr(labels_get(ap_buf_slice(&labels), ap_slice_cstr("a")), "1"));
}

/* A checkpoint with a gap, then the log gives the gap away: it is not given out a second time. */
static void test_gap_taken_by_the_log(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    for (int i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof(text), "a=%d", i);
        (void)add_text(registry, text, REGISTRY_NONE);
    }
    remove_refs(registry, 1, 3);
    AP_AUTO_BUF struct ap_buf file = {0};
    save(registry, true, &file);
    AP_AUTO(registry) struct registry *again = registry_new(SEED);
    struct ap_slice rest = ap_buf_slice(&file);
    struct ap_err err;
    registry_write_lock(again);
    assert_int_equal(registry_decode_locked(again, &rest, &err), AP_OK);
    registry_encoded_locked(again);
    registry_unlock(again);
    assert_int_equal(add_text(again, "b=1", 1), 1);
    assert_int_equal(add_text(again, "b=2", REGISTRY_NONE), 2);
    assert_int_equal(add_text(again, "b=3", REGISTRY_NONE), 4);
}

/* Given out, taken back and given out again between two batches: the file has it once. */
static void test_ref_twice_in_one_batch(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    struct model *model = ap_new0(struct model);
    struct ap_random random;
    ap_random_init(&random, 5);
    while (!add_random(registry, model, &random, REGISTRY_NONE)) {
    }
    remove_refs(registry, 0, 1);
    reuse(registry);
    model->is_live[0] = false;
    while (!add_random(registry, model, &random, REGISTRY_NONE)) {
    }
    assert_true(model->is_live[0]);
    AP_AUTO_BUF struct ap_buf file = {0};
    save(registry, false, &file);
    assert_reads_back(&file, model);
    model_clear(model);
    free(model);
}

/* More series than a batch has room for. */
static void test_many_batches(void **state)
{
    (void)state;
    enum { COUNT = 70000 };
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    for (int i = 0; i < COUNT; i++) {
        char text[64];
        snprintf(text, sizeof(text), "__name__=up,i=%d,j=%d", i, i % 300);
        (void)add_text(registry, text, REGISTRY_NONE);
    }
    AP_AUTO_BUF struct ap_buf file = {0};
    save(registry, true, &file);
    AP_AUTO(registry) struct registry *again = registry_new(SEED);
    struct ap_slice rest = ap_buf_slice(&file);
    struct ap_err err;
    unsigned batches = 0;
    registry_write_lock(again);
    for (; rest.bytes; batches++)
        if (registry_decode_locked(again, &rest, &err) != AP_OK)
            fail_msg("%s", err.text);
    registry_encoded_locked(again);
    registry_unlock(again);
    assert_true(batches > 1);
    assert_int_equal(registry_count(again), COUNT);
    for (uint32_t ref = 0; ref < COUNT; ref++)
        assert_true(labels_hash_equal(registry_hash(again, ref), registry_hash(registry, ref)));
}

/* Values that nobody has any more take no room: a store whose pods come and go for years does not grow. */
static void test_churn_does_not_grow(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    struct registry_stats early;
    struct registry_stats late;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 500; i++) {
            char text[64];
            snprintf(text, sizeof(text), "__name__=up,job=j,pod=pod-%d-%d", round, i);
            (void)add_text(registry, text, REGISTRY_NONE);
        }
        if (round == 4)
            registry_stats_get(registry, &early);
        AP_AUTO_BUF struct ap_buf file = {0};
        save(registry, true, &file);
        registry_write_lock(registry);
        registry_encoded_locked(registry);
        registry_unlock(registry);
        remove_refs(registry, 0, 500);
        reuse(registry);
    }
    registry_stats_get(registry, &late);
    assert_int_equal(late.created_count, 20000);
    assert_int_equal(late.removed_count, 20000);
    assert_int_equal(late.pair_count, 0);
    assert_true(late.memory_bytes <= early.memory_bytes + early.memory_bytes / 10);
    assert_int_equal(registry_ref_end(registry), 500);
}

/* ---- Figures ---- */

static void test_stats_and_tops(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    (void)add_text(registry, "__name__=up,job=a", REGISTRY_NONE);
    (void)add_text(registry, "__name__=up,job=b", REGISTRY_NONE);
    (void)add_text(registry, "__name__=down,job=a,instance=long-value", REGISTRY_NONE);
    (void)add_text(registry, "__name__=gone,other=x", REGISTRY_NONE);
    remove_refs(registry, 3, 4);
    struct registry_stats stats;
    registry_stats_get(registry, &stats);
    assert_int_equal(stats.series_count, 3);
    assert_int_equal(stats.name_count, 3);
    assert_int_equal(stats.pair_count, 5);
    assert_int_equal(stats.created_count, 4);
    assert_int_equal(stats.removed_count, 1);
    assert_true(stats.memory_bytes > 1000);
    struct registry_top top[8];
    assert_int_equal(registry_top(registry, REGISTRY_TOP_METRICS, top, 8), 2);
    assert_true(ap_slice_equal_cstr(top[0].name, "up"));
    assert_int_equal(top[0].count, 2);
    assert_int_equal(registry_top(registry, REGISTRY_TOP_METRICS, top, 1), 1);
    assert_true(ap_slice_equal_cstr(top[0].name, "up"));
    assert_int_equal(registry_top(registry, REGISTRY_TOP_LABEL_NAMES, top, 8), 3);
    assert_int_equal(top[0].count, 2);
    assert_int_equal(top[2].count, 1);
    assert_int_equal(registry_top(registry, REGISTRY_TOP_LABEL_BYTES, top, 8), 3);
    assert_true(ap_slice_equal_cstr(top[0].name, "instance"));
    assert_int_equal(top[0].count, 10);
    assert_int_equal(registry_top(registry, REGISTRY_TOP_PAIRS, top, 8), 5);
    assert_int_equal(top[0].count, 2);
    assert_int_equal(registry_top(registry, REGISTRY_TOP_PAIRS, top, 0), 0);
}

/* ---- Threads: for the thread sanitizer ---- */

struct reader {
    struct registry *registry;
    _Atomic bool *is_over;
    size_t rounds;
    bool is_sorted;
};

struct order {
    struct ap_buf before;
    bool is_sorted;
};

static bool check_order(struct ap_slice text, uint64_t series_count, void *context)
{
    struct order *order = context;
    struct ap_slice before = ap_buf_slice(&order->before);
    int difference = before.bytes ? memcmp(before.data, text.data, AP_MIN(before.bytes, text.bytes)) : -1;
    order->is_sorted &= series_count == 1 && (difference < 0 || (difference == 0 && before.bytes < text.bytes));
    ap_buf_reset(&order->before);
    ap_buf_add_slice(&order->before, text);
    return true;
}

static void *read_values(void *context)
{
    struct reader *reader = context;
    reader->is_sorted = true;
    do {
        struct order order = {.is_sorted = true};
        registry_read_lock(reader->registry);
        registry_each_value(reader->registry, ap_slice_cstr("pod"), check_order, &order);
        registry_unlock(reader->registry);
        ap_buf_clear(&order.before);
        reader->is_sorted &= order.is_sorted;
        reader->rounds++;
    } while (!atomic_load(reader->is_over));
    return NULL;
}

static void test_readers_beside_a_writer(void **state)
{
    (void)state;
    enum { READERS = 3, SERIES = 600 };
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    _Atomic bool is_over = false;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.registry = registry, .is_over = &is_over};
        assert_int_equal(pthread_create(&threads[i], NULL, read_values, &readers[i]), 0);
    }
    for (unsigned i = 0; i < SERIES; i++) {
        char text[32];
        snprintf(text, sizeof(text), "pod=%u", i * 7919 % 10007);
        (void)add_text(registry, text, REGISTRY_NONE);
        if (i % 100 == 50) {
            remove_refs(registry, i - 20, i);
            reuse(registry);
        }
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(readers[i].is_sorted && readers[i].rounds > 0);
    }
}

/* ---- The file ---- */

static void make_file(struct ap_buf *file, size_t *ends)
{
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    for (int batch = 0; batch < 3; batch++) {
        for (int i = 0; i < 3; i++) {
            char text[64];
            snprintf(text, sizeof(text), "__name__=up,batch=%d,i=%d", batch, i);
            (void)add_text(registry, text, REGISTRY_NONE);
        }
        if (batch == 1)
            remove_refs(registry, 1, 2);
        save(registry, false, file);
        registry_write_lock(registry);
        registry_encoded_locked(registry);
        registry_unlock(registry);
        ends[batch] = file->bytes;
    }
}

/* Returns how many series there are after the sound batches; *ret_read: how far it read. */
static size_t read_file(struct ap_slice file, enum ap_rc *ret_rc, size_t *ret_read)
{
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    AP_AUTO_FREE char *copy = malloc(file.bytes + 1); /* its own, so that ASan sees a read behind the end */
    memcpy(copy, file.data, file.bytes);
    copy = realloc(copy, file.bytes ? file.bytes : 1);
    struct ap_slice rest = ap_slice(copy, file.bytes);
    struct ap_err err;
    *ret_rc = AP_OK;
    registry_write_lock(registry);
    while (rest.bytes && *ret_rc == AP_OK)
        *ret_rc = registry_decode_locked(registry, &rest, &err);
    registry_unlock(registry);
    *ret_read = file.bytes - rest.bytes;
    AP_AUTO_BUF struct ap_buf labels = {0};
    for (uint32_t ref = 0; ref < 100; ref++) /* a senseless file may have very high ones */
        if (registry_has(registry, ref))
            registry_labels(registry, ref, &labels);
    return registry_count(registry);
}

static void test_file_cut_and_flipped_everywhere(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 3, 5, 8};
    AP_AUTO_BUF struct ap_buf file = {0};
    size_t ends[3];
    make_file(&file, ends);
    enum ap_rc rc;
    size_t read;
    assert_int_equal(read_file(ap_buf_slice(&file), &rc, &read), 8);
    assert_int_equal(rc, AP_OK);
    for (size_t bytes = 0; bytes < file.bytes; bytes++) {
        size_t whole = (bytes >= ends[0]) + (size_t)(bytes >= ends[1]);
        size_t count = read_file(ap_slice(file.data, bytes), &rc, &read);
        assert_int_equal(count, counts[whole]);
        assert_int_equal(read, whole ? ends[whole - 1] : 0);
        assert_int_equal(rc, read == bytes ? AP_OK : AP_E_CORRUPT);
    }
    for (size_t at = 0; at < file.bytes; at++) {
        size_t whole = (at >= ends[0]) + (size_t)(at >= ends[1]);
        for (unsigned bit = 0; bit < 8; bit++) {
            file.data[at] = (char)(file.data[at] ^ 1 << bit);
            size_t count = read_file(ap_buf_slice(&file), &rc, &read);
            assert_int_equal(rc, AP_E_CORRUPT);
            assert_int_equal(count, counts[whole]);
            file.data[at] = (char)(file.data[at] ^ 1 << bit);
        }
    }
}

/* The same with a checksum that is right: nothing crashes, and what is read is a sound registry. */
static void test_senseless_file(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf file = {0};
    size_t ends[3];
    make_file(&file, ends);
    enum ap_rc rc;
    size_t read;
    size_t refused = 0;
    for (size_t at = 8; at < file.bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            AP_AUTO_BUF struct ap_buf copy = {0};
            ap_buf_add_slice(&copy, ap_buf_slice(&file));
            copy.data[at] = (char)(copy.data[at] ^ 1 << bit);
            size_t start = 0;
            for (size_t i = 0; i < 3; i++) {
                uint32_t crc = wal_crc32c(0, copy.data + start + 8, ends[i] - start - 8);
                memcpy(copy.data + start + 4, &crc, 4);
                start = ends[i];
            }
            (void)read_file(ap_buf_slice(&copy), &rc, &read);
            refused += rc != AP_OK;
        }
    }
    assert_true(refused > file.bytes); /* most of it is noticed even so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_refs),
        cmocka_unit_test(test_gap_taken_by_the_log),
        cmocka_unit_test(test_ref_twice_in_one_batch),
        cmocka_unit_test(test_many_batches),
        cmocka_unit_test(test_churn_does_not_grow),
        cmocka_unit_test(test_stats_and_tops),
        cmocka_unit_test(test_readers_beside_a_writer),
        cmocka_unit_test(test_file_cut_and_flipped_everywhere),
        cmocka_unit_test(test_senseless_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
