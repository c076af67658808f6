/* The newest samples of a series: a tail beside a sorted array, through insertions, packing, deletion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/random.h"
#include "tsdb/tail.h"

enum { MODEL_MAX = 1000, ROUNDS = 300 };

struct model {
    size_t count;
    int64_t ts_ms[MODEL_MAX];
    double values[MODEL_MAX];
};

static bool model_insert(struct model *model, int64_t ts_ms, double value, double *ret_value)
{
    size_t at = model->count;
    while (at > 0 && model->ts_ms[at - 1] >= ts_ms)
        at--;
    if (at < model->count && model->ts_ms[at] == ts_ms) {
        *ret_value = model->values[at];
        return false;
    }
    memmove(&model->ts_ms[at + 1], &model->ts_ms[at], (model->count - at) * sizeof(int64_t));
    memmove(&model->values[at + 1], &model->values[at], (model->count - at) * sizeof(double));
    model->ts_ms[at] = ts_ms;
    model->values[at] = value;
    model->count++;
    return true;
}

static void model_delete(struct model *model, int64_t min_ts_ms, int64_t max_ts_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->ts_ms[i] >= min_ts_ms && model->ts_ms[i] <= max_ts_ms)
            continue;
        model->ts_ms[kept] = model->ts_ms[i];
        model->values[kept++] = model->values[i];
    }
    model->count = kept;
}

static void compare(const struct model *model, const struct tail *tail)
{
    static int64_t ts_ms[MODEL_MAX];
    static double values[MODEL_MAX];
    assert_int_equal(tail_samples(tail), model->count);
    tail_read(tail, ts_ms, values);
    for (size_t i = 0; i < model->count; i++) {
        assert_int_equal(ts_ms[i], model->ts_ms[i]);
        assert_true(ap_double_same(values[i], model->values[i]));
    }
    if (model->count == 0)
        return;
    int64_t first = model->ts_ms[0], last = model->ts_ms[model->count - 1];
    assert_true(tail_touches(tail, first, first) && tail_touches(tail, last, last));
    assert_false(tail_touches(tail, first - 10, first - 1) || tail_touches(tail, last + 1, last + 10));
}

/* Spans that begin and end at samples, between them and outside. */
static void compare_spans(const struct model *model, const struct tail *tail, struct ap_random *random)
{
    static int64_t ts_ms[MODEL_MAX];
    static double values[MODEL_MAX];
    for (int i = 0; i < 20; i++) {
        int64_t span[2];
        for (int j = 0; j < 2; j++)
            span[j] = model->ts_ms[ap_random_below(random, model->count)] + (int64_t)ap_random_below(random, 3) - 1;
        if (ap_random_below(random, 8) == 0)
            span[0] = INT64_MIN;
        if (ap_random_below(random, 8) == 0)
            span[1] = INT64_MAX;
        size_t count = tail_read_span(tail, span[0], span[1], ts_ms, values), at = 0;
        for (size_t s = 0; s < model->count; s++) {
            if (model->ts_ms[s] < span[0] || model->ts_ms[s] > span[1])
                continue;
            assert_true(at < count && ts_ms[at] == model->ts_ms[s] && ap_double_same(values[at], model->values[s]));
            at++;
        }
        assert_int_equal(at, count);
    }
    int64_t far_ms = (int64_t)UINT32_MAX + 1;
    assert_int_equal(tail_read_span(tail, model->ts_ms[model->count - 1] + 1, INT64_MAX, ts_ms, values), 0);
    assert_int_equal(tail_read_span(tail, tail->base_ts_ms + far_ms, INT64_MAX, ts_ms, values), 0);
    assert_int_equal(tail_read_span(tail, INT64_MIN, model->ts_ms[0] - 1, ts_ms, values), 0);
}

static void test_agrees_with_model(void **state)
{
    (void)state;
    static struct model model;
    struct ap_buf scratch = {0};
    struct ap_random random;
    ap_random_init(&random, 7);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int64_t start_ms = 1700000000000 + (int64_t)ap_random_below(&random, 1000000);
        bool is_orderly = round % 3 == 0;
        bool is_entropic = round % 4 == 0;
        int64_t ts_ms = start_ms;
        size_t wanted = 1 + ap_random_below(&random, MODEL_MAX - 1);
        struct tail *tail = tail_new(1, start_ms);
        model.count = 0;
        for (size_t i = 0; i < wanted; i++) {
            uint64_t dice = ap_random_below(&random, 1000);
            ts_ms += 10000;
            int64_t at_ms = is_orderly || dice < 950 ? ts_ms : start_ms + (int64_t)ap_random_below(&random, 3000000);
            double value = is_entropic ? ap_double_of_bits(ap_random_u64(&random)) : (double)(dice % 100) / 10;
            double there = 0, expected = 0;
            bool is_added = tail_insert(&tail, at_ms, value, &there);
            assert_int_equal(is_added, model_insert(&model, at_ms, value, &expected));
            assert_true(is_added || ap_double_same(there, expected));
            if (dice % 7 == 0)
                tail_pack(&tail, &scratch);
            if (dice == 5 || dice == 6) {
                int64_t min_ts_ms = start_ms + (int64_t)ap_random_below(&random, 3000000);
                tail_unpack(&tail);
                tail_delete(tail, min_ts_ms, min_ts_ms + 100000);
                model_delete(&model, min_ts_ms, min_ts_ms + 100000);
            }
            if (dice % 50 == 0)
                compare(&model, tail);
            if (dice % 50 == 1 && model.count)
                compare_spans(&model, tail, &random);
        }
        compare(&model, tail);
        tail_unpack(&tail);
        compare(&model, tail);
        uint32_t dropped = (uint32_t)model.count / 3;
        tail_drop(tail, dropped);
        if (dropped < model.count)
            model_delete(&model, INT64_MIN, dropped ? model.ts_ms[dropped - 1] : INT64_MIN);
        compare(&model, tail);
        tail_free(tail);
    }
    ap_buf_clear(&scratch);
}

/* What packing is for. */
static void test_packed_is_small(void **state)
{
    (void)state;
    struct ap_buf scratch = {0};
    struct tail *tail = tail_new(1, 1000);
    double there;
    for (unsigned i = 0; i < 8 * TAIL_RAW_SAMPLES; i++) {
        assert_true(tail_insert(&tail, 1000 + i * 15000, i % 10 / 10.0, &there));
        tail_pack(&tail, &scratch);
    }
    assert_int_equal(tail->packed_count, 8 * TAIL_RAW_SAMPLES);
    assert_int_equal(tail->capacity, TAIL_RAW_SAMPLES);
    assert_true(tail->packed_bytes < 2 * tail->packed_count);
    tail_free(tail);
    ap_buf_clear(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_model),
        cmocka_unit_test(test_packed_is_small),
    };
    return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
