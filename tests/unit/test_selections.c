/* tsdb/selections.h: what is kept is what would be selected now, in order, whatever came and went meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/random.h"
#include "tsdb/selections.h"

enum { SEED = 5, REFS_MAX = 1 << 20 };

static struct matchers parse(const char *text)
{
    struct matchers matchers;
    struct ap_err err;
    if (matchers_parse(ap_slice_cstr(text), &matchers, &err) != AP_OK)
        fail_msg("%s: %s", text, err.text);
    return matchers;
}

/* {__name__="mM",job="jJ",pod="pP"} */
static uint32_t add(struct registry *registry, unsigned metric, unsigned job, unsigned pod)
{
    char texts[3][16];
    snprintf(texts[0], sizeof(texts[0]), "m%u", metric);
    snprintf(texts[1], sizeof(texts[1]), "j%u", job);
    snprintf(texts[2], sizeof(texts[2]), "p%u", pod);
    struct label labels[] = {{ap_slice_cstr("__name__"), ap_slice_cstr(texts[0])},
                             {ap_slice_cstr("job"), ap_slice_cstr(texts[1])},
                             {ap_slice_cstr("pod"), ap_slice_cstr(texts[2])}};
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, 3, &bytes, &err), AP_OK);
    struct labels_hash hash = labels_hash_of(SEED, ap_buf_slice(&bytes));
    registry_write_lock(registry);
    uint32_t ref = registry_find(registry, hash);
    if (ref == REGISTRY_NONE)
        ref = registry_add_locked(registry, ap_buf_slice(&bytes), hash, REGISTRY_NONE);
    registry_unlock(registry);
    return ref;
}

static void take(struct registry *registry, uint32_t from, uint32_t to)
{
    roaring_bitmap_t *refs = roaring_bitmap_create();
    roaring_bitmap_add_range(refs, from, to);
    registry_write_lock(registry);
    registry_remove_locked(registry, refs);
    registry_reuse_removed_locked(registry);
    registry_unlock(registry);
    roaring_bitmap_free(refs);
}

static struct selection *get(struct selections *selections, struct registry *registry, const char *text)
{
    struct matchers matchers = parse(text);
    registry_read_lock(registry);
    struct selection *selection = selections_get(selections, registry, &matchers);
    registry_unlock(registry);
    matchers_clear(&matchers);
    return selection;
}

/* The same series as the registry says, in order of their labels. */
static void assert_right(struct selections *selections, struct registry *registry, const char *text)
{
    AP_AUTO(selection) struct selection *selection = get(selections, registry, text);
    struct matchers matchers = parse(text);
    roaring_bitmap_t *wanted = registry_select(registry, &matchers);
    matchers_clear(&matchers);
    if (selection->count != roaring_bitmap_get_cardinality(wanted))
        fail_msg("%s: %u series, not %u", text, selection->count, (unsigned)roaring_bitmap_get_cardinality(wanted));
    AP_AUTO_BUF struct ap_buf before = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    for (uint32_t i = 0; i < selection->count; i++) {
        assert_true(roaring_bitmap_contains(wanted, selection->refs[i]));
        ap_buf_reset(&labels);
        registry_labels(registry, selection->refs[i], &labels);
        assert_true(i == 0 || labels_compare(ap_buf_slice(&before), ap_buf_slice(&labels)) < 0);
        ap_buf_reset(&before);
        ap_buf_add_slice(&before, ap_buf_slice(&labels));
    }
    roaring_bitmap_free(wanted);
}

static const char *const texts[] = {
    "m1",
    "m1{job=\"j1\"}",
    "m2{job=\"j1\"}",
    "m2{job=~\"j1|j3\"}",
    "m2{job!=\"j1\"}",
    "{job=\"j2\"}",
    "{job=\"j2\",pod=~\"p[0-4]\"}",
    "m3{pod=\"\"}",
    "{job=~\"j.*\"}",
    "m9",
    "m1{job=\"j1\",job=\"j2\"}",
    "{__name__=\"m1\",__name__!~\"m2\"}",
};

static void test_always_what_is_there_now(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct ap_random random;
        ap_random_init(&random, seed);
        print_message("seed %u\n", (unsigned)seed);
        AP_AUTO(registry) struct registry *registry = registry_new(SEED);
        AP_AUTO(selections) struct selections *selections = selections_new(REFS_MAX);
        for (int round = 0; round < 400; round++) {
            if (ap_random_below(&random, 3))
                add(registry, (unsigned)ap_random_below(&random, 5), (unsigned)ap_random_below(&random, 5),
                    (unsigned)ap_random_below(&random, 9));
            if (ap_random_below(&random, 8) == 0) {
                uint32_t from = (uint32_t)ap_random_below(&random, 200);
                take(registry, from, from + 1 + (uint32_t)ap_random_below(&random, 20));
            }
            for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
                assert_right(selections, registry, texts[i]);
        }
    }
}

/* The very same selection, as long as nothing comes that has all pairs of the matchers. */
static void test_kept_until_it_may_have_changed(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    AP_AUTO(selections) struct selections *selections = selections_new(REFS_MAX);
    for (unsigned pod = 0; pod < 10; pod++)
        for (unsigned job = 0; job < 3; job++)
            add(registry, 1, job, pod);
    const char *text = "m1{job=\"j1\",pod!~\"p3\"}";
    AP_AUTO(selection) struct selection *first = get(selections, registry, text);
    add(registry, 1, 2, 70);
    add(registry, 2, 2, 71);
    AP_AUTO(selection) struct selection *again = get(selections, registry, text);
    assert_ptr_equal(first, again);
    add(registry, 1, 1, 72);
    AP_AUTO(selection) struct selection *other = get(selections, registry, text);
    assert_ptr_not_equal(first, other);
    assert_int_equal(first->count, 9); /* whoever holds it may go on */
    assert_int_equal(other->count, 10);
    assert_int_equal(selections_refs(selections), 10);
    /* A matcher of several values names no pair. */
    AP_AUTO(selection) struct selection *several = get(selections, registry, "{job=~\"j1|j2\"}");
    AP_AUTO(selection) struct selection *anew = get(selections, registry, "{job=~\"j1|j2\"}");
    assert_ptr_not_equal(several, anew);
}

static void test_no_more_than_is_allowed(void **state)
{
    (void)state;
    enum { ALLOWED = 2000, JOBS = 100 };
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    AP_AUTO(selections) struct selections *selections = selections_new(ALLOWED);
    for (unsigned job = 0; job < JOBS; job++)
        for (unsigned pod = 0; pod < 30; pod++)
            add(registry, 1, job, pod);
    for (int round = 0; round < 3; round++)
        for (unsigned job = 0; job < JOBS; job++) {
            char text[32];
            snprintf(text, sizeof(text), "m1{job=\"j%u\"}", job);
            assert_right(selections, registry, text);
            assert_true(selections_refs(selections) <= ALLOWED);
        }
    assert_true(selections_refs(selections) >= ALLOWED / 4);
    assert_right(selections, registry, "m1"); /* too large to be kept, and takes nothing away */
    assert_true(selections_refs(selections) >= ALLOWED / 4);
    /* What is asked all the time stays while others come and go. */
    AP_AUTO(selection) struct selection *asked = get(selections, registry, "m1{job=\"j5\"}");
    for (unsigned i = 0; i < 1000; i++) {
        char text[32];
        snprintf(text, sizeof(text), "m1{job=\"j%u\"}", 10 + i % 80);
        assert_right(selections, registry, text);
        AP_AUTO(selection) struct selection *again = get(selections, registry, "m1{job=\"j5\"}");
        assert_ptr_equal(asked, again);
    }
}

struct asking {
    struct selections *selections;
    struct registry *registry;
};

static void *ask(void *context)
{
    struct asking *asking = context;
    for (int i = 0; i < 3000; i++)
        selection_unref(get(asking->selections, asking->registry, texts[i % (int)AP_ARRAY_COUNT(texts)]));
    return NULL;
}

static void test_many_ask(void **state)
{
    (void)state;
    AP_AUTO(registry) struct registry *registry = registry_new(SEED);
    AP_AUTO(selections) struct selections *selections = selections_new(300); /* so that all the time some have to go */
    struct asking asking = {selections, registry};
    pthread_t threads[2];
    for (size_t i = 0; i < AP_ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &asking), 0);
    for (unsigned i = 0; i < 200; i++) {
        add(registry, i % 4, i % 5, i);
        if (i % 50 == 49)
            take(registry, i / 2, i / 2 + 10);
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
        assert_right(selections, registry, texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always_what_is_there_now),
        cmocka_unit_test(test_kept_until_it_may_have_changed),
        cmocka_unit_test(test_no_more_than_is_allowed),
        cmocka_unit_test(test_many_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
