/*
 * Arithmetic and comparisons between vectors: series are matched by their labels.
 *
 * Which series match is mostly known from their labels alone, before a sample was read: when no two series of the "one"
 * side have the same signature. Then a result is a pair of series, computed when it is asked for. Otherwise (a series
 * ended and another one of the same signature began, or the query is wrong) both sides are held and matched anew at
 * every step, with the errors that Prometheus gives.
 */
#include <string.h>

#include "promql/binary.h"
#include "promql/gathered.h"
#include "tsdb/labels.h"

struct pair {
    uint32_t many; /* series of either side; NONE: filled in */
    uint32_t one;
};
enum { NONE = UINT32_MAX };

struct match {
    struct operator op; /* inputs: left, right */
    struct signatures signatures;
    unsigned many_side; /* 0: left; the other one is the "one" side, also when both are */
    struct pair *pairs; /* of each series of the answer; NULL: they are in `results` */
    struct held one;    /* the one side, where a series of it is in several pairs */
    struct held sides[2];
    struct gathered results;
};

/* ---- Signatures ---- */

static struct promql_labels sorted_names(struct run *run, const struct promql_labels *written, bool is_adding_name)
{
    struct promql_labels names = {ap_arena_alloc0(&run->arena, (written->count + 1) * sizeof(*names.items)), 0};
    for (; names.count < written->count; names.count++)
        names.items[names.count] = written->items[names.count];
    if (is_adding_name)
        names.items[names.count++] = ap_slice_cstr(LABEL_METRIC_NAME);
    labels_sort_names(&names);
    return names;
}

void signature_labels(const struct signatures *signatures, struct ap_slice labels, struct ap_buf *out)
{
    if (signatures->is_on)
        labels_keep(labels, &signatures->matched, out);
    else
        labels_drop(labels, &signatures->matched, false, out);
}

void signatures_make(struct signatures *signatures, struct run *run, const struct promql_expr *expr,
                     const struct operator* left, const struct operator* right)
{
    const struct operator* sides[] = {left, right};
    struct label_table table = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    signatures->is_on = expr->binary.matching.is_on;
    signatures->names = sorted_names(run, &expr->binary.matching.labels, false);
    signatures->matched = sorted_names(run, &expr->binary.matching.labels, !signatures->is_on);
    for (size_t side = 0; side < 2; side++) {
        signatures->of[side] = ap_arena_alloc0(&run->arena, (sides[side]->count + 1) * sizeof(uint32_t));
        for (size_t i = 0; i < sides[side]->count; i++) {
            ap_buf_reset(&labels);
            signature_labels(signatures, sides[side]->labels[i], &labels);
            bool is_new;
            signatures->of[side][i] = (uint32_t)label_table_add(&table, run, ap_buf_slice(&labels), &is_new);
        }
    }
    signatures->count = table.count;
    label_table_clear(&table);
}

/* ---- Labels of results ---- */

static void replace(struct ap_buf *labels, struct ap_buf *with)
{
    struct ap_buf was = *labels;
    *labels = *with;
    *with = was;
    ap_buf_reset(with);
}

/* A side that was filled in has the labels that are matched. */
static void result_labels(const struct match *match, struct pair pair, struct ap_buf *out)
{
    const struct operator* op = & match->op;
    const struct signatures *signatures = &match->signatures;
    const struct promql_matching *matching = &op->expr->binary.matching;
    const struct operator* many = op->inputs[match->many_side], *one = op->inputs[!match->many_side];
    AP_AUTO_BUF struct ap_buf next = {0};
    if (pair.many == NONE)
        signature_labels(signatures, one->labels[pair.one], out);
    else
        ap_buf_add_slice(out, many->labels[pair.many]);
    static const struct promql_labels none;
    if (op->expr->binary.operator<= OPERATOR_SUB) {
        labels_drop(ap_buf_slice(out), &none, true, &next);
        replace(out, &next);
    }
    if (matching->cardinality == ONE_TO_ONE) {
        if (signatures->is_on)
            labels_keep(ap_buf_slice(out), &signatures->names, &next);
        else
            labels_drop(ap_buf_slice(out), &signatures->names, false, &next);
        replace(out, &next);
    }
    AP_AUTO_BUF struct ap_buf filled = {0};
    if (pair.one == NONE)
        signature_labels(signatures, many->labels[pair.many], &filled);
    struct ap_slice one_labels = pair.one == NONE ? ap_buf_slice(&filled) : one->labels[pair.one];
    for (size_t i = 0; i < matching->include.count; i++) {
        labels_set(ap_buf_slice(out), matching->include.items[i], labels_get(one_labels, matching->include.items[i]),
                   &next);
        replace(out, &next);
    }
    if (op->expr->binary.returns_bool) {
        labels_drop(ap_buf_slice(out), &none, true, &next);
        replace(out, &next);
    }
}

/* ---- Known from the labels ---- */

/* The one series of each signature on a side; false: some signature has two. */
static bool find_ones(const struct match *match, unsigned side, uint32_t *ones)
{
    const uint32_t *signatures = match->signatures.of[side];
    for (size_t i = 0; i < match->signatures.count; i++)
        ones[i] = NONE;
    for (uint32_t i = 0; i < match->op.inputs[side]->count; i++) {
        if (ones[signatures[i]] != NONE)
            return false;
        ones[signatures[i]] = i;
    }
    return true;
}

/* False: it has to be found out step by step. */
static bool make_pairs(struct match *match)
{
    struct operator* op = & match->op;
    const struct promql_matching *matching = &op->expr->binary.matching;
    const struct operator* many = op->inputs[match->many_side];
    AP_AUTO_FREE uint32_t *ones = ap_new0_array(uint32_t, match->signatures.count + 1);
    if (matching->has_fill[0] || matching->has_fill[1])
        return false;
    if (matching->cardinality == ONE_TO_ONE && !find_ones(match, match->many_side, ones))
        return false;
    if (!find_ones(match, !match->many_side, ones))
        return false;
    match->pairs = ap_arena_alloc0(&op->run->arena, (many->count + 1) * sizeof(*match->pairs));
    op->labels = ap_arena_alloc0(&op->run->arena, (many->count + 1) * sizeof(*op->labels));
    struct label_table table = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    bool is_new = true;
    for (uint32_t i = 0; i < many->count && is_new; i++) {
        uint32_t one = ones[match->signatures.of[match->many_side][i]];
        if (one == NONE)
            continue;
        ap_buf_reset(&labels);
        match->pairs[op->count] = (struct pair){i, one};
        result_labels(match, match->pairs[op->count], &labels);
        size_t at = label_table_add(&table, op->run, ap_buf_slice(&labels), &is_new);
        op->labels[op->count++] = table.entries[at].labels;
    }
    label_table_clear(&table);
    if (is_new)
        return true;
    match->pairs = NULL;
    op->count = 0;
    return false;
}

static enum ap_rc pair_read(struct match *match, struct worker *worker, struct pair pair, struct column *ret_column,
                            struct ap_err *err)
{
    struct operator* op = & match->op;
    unsigned one_side = !match->many_side;
    enum ap_rc rc = operator_read(op->inputs[match->many_side], worker, pair.many, ret_column, err);
    if (rc != AP_OK)
        return rc;
    struct column columns[2];
    columns[match->many_side] = *ret_column;
    columns[one_side] = (struct column){.values = worker_take(worker, op->steps.count)};
    if (match->one.values)
        held_column(&match->one, pair.one, worker, &columns[one_side]);
    else
        rc = operator_read(op->inputs[one_side], worker, pair.one, &columns[one_side], err);
    if (rc == AP_OK)
        combine_columns(op->run, worker, op->expr, KEPT_LEFT, &columns[0], &columns[1], ret_column, op->steps.count);
    worker_give(worker);
    return rc;
}

/* ---- Step by step ---- */

struct matching {
    struct match *match;
    struct worker *worker;
    size_t capacity;        /* of states */
    struct pair *known;     /* of each many series: the one it was last paired with, and the result's number */
    uint32_t *known_filled; /* of each one series whose many side is filled in: the result's number, or NONE */
    uint32_t *ones;         /* of each signature, at this step: the one side's series */
    size_t *matched;        /* of each signature: the last step (+ 1) at which it gave a result */
    struct result_state {
        size_t step; /* + 1: the last at which it was made */
        uint32_t signature;
    } * states; /* of each result */
};

static struct sample sample_of(const struct match *match, unsigned side, uint32_t series, size_t step)
{
    if (series == NONE) /* what is filled in is called by its side among those matched, not of the query */
        return (struct sample){match->op.expr->binary.matching.fill[side != match->many_side], NULL};
    return (struct sample){held_values(&match->sides[side], series)[step],
                           held_histogram(&match->sides[side], series, step)};
}

static enum ap_rc result_of(struct matching *matching, struct pair pair, uint32_t *ret_result, struct ap_err *err)
{
    struct match *match = matching->match;
    struct pair *known = pair.many == NONE ? NULL : &matching->known[pair.many];
    uint32_t *filled = known ? NULL : &matching->known_filled[pair.one];
    if (known && known->one == pair.one && known->many != NONE) {
        *ret_result = known->many;
        return AP_OK;
    }
    if (filled && *filled != NONE) {
        *ret_result = *filled;
        return AP_OK;
    }
    AP_AUTO_BUF struct ap_buf labels = {0};
    result_labels(match, pair, &labels);
    size_t result;
    enum ap_rc rc = gathered_find(&match->results, ap_buf_slice(&labels), &result, err);
    if (rc != AP_OK)
        return rc;
    if (result >= matching->capacity) {
        size_t capacity = matching->capacity ? matching->capacity * 2 : 64;
        matching->states = ap_realloc(matching->states, capacity * sizeof(*matching->states));
        memset(matching->states + matching->capacity, 0, (capacity - matching->capacity) * sizeof(*matching->states));
        matching->capacity = capacity;
    }
    if (known)
        *known = (struct pair){.many = (uint32_t)result, .one = pair.one};
    else
        *filled = (uint32_t)result;
    *ret_result = (uint32_t)result;
    return AP_OK;
}

static enum ap_rc check_unique(struct matching *matching, uint32_t result, uint32_t signature, size_t step,
                               struct ap_err *err)
{
    struct result_state *state = &matching->states[result];
    bool is_one_to_one = matching->match->op.expr->binary.matching.cardinality == ONE_TO_ONE;
    if (is_one_to_one && matching->matched[signature] == step + 1)
        return ap_fail(err, AP_E_CONFLICT,
                       "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
    if (!is_one_to_one && state->step == step + 1 && state->signature == signature)
        return ap_fail(err, AP_E_CONFLICT, "multiple matches for labels: grouping labels must ensure unique matches");
    if (state->step == step + 1)
        return fail_same_labels(err);
    return AP_OK;
}

static enum ap_rc match_pair(struct matching *matching, struct pair pair, uint32_t signature, size_t step,
                             struct ap_err *err)
{
    struct match *match = matching->match;
    const struct promql_expr *expr = match->op.expr;
    struct sample samples[2], made;
    samples[match->many_side] = sample_of(match, match->many_side, pair.many, step);
    samples[!match->many_side] = sample_of(match, !match->many_side, pair.one, step);
    enum combination combination =
        combine_samples(match->op.run, matching->worker, expr, samples[0], samples[1], &made);
    if (combination == COMBINED_IMPOSSIBLE)
        return AP_OK;
    uint32_t result;
    enum ap_rc rc = result_of(matching, pair, &result, err);
    if (rc == AP_OK)
        rc = check_unique(matching, result, signature, step, err);
    if (rc != AP_OK)
        return rc;
    matching->matched[signature] = step + 1;
    bool is_kept = combination == COMBINED;
    matching->states[result] = (struct result_state){step + 1, signature};
    if (expr->binary.returns_bool)
        made = (struct sample){is_kept, NULL};
    else if (!is_kept)
        return AP_OK;
    gathered_set(&match->results, result, step, made.value, made.histogram);
    return AP_OK;
}

static enum ap_rc fail_many_to_many(const struct match *match, uint32_t first, uint32_t second, struct ap_err *err)
{
    const struct operator* one = match->op.inputs[!match->many_side];
    AP_AUTO_BUF struct ap_buf matched = {0};
    AP_AUTO_BUF struct ap_buf text = {0};
    signature_labels(&match->signatures, one->labels[second], &matched);
    ap_buf_add_cstr(&text, "found duplicate series for the match group ");
    labels_format_set(ap_buf_slice(&matched), &text);
    ap_buf_printf(&text, " on the %s hand-side of the operation: [", match->many_side == 0 ? "right" : "left");
    labels_format_set(one->labels[second], &text);
    ap_buf_add_cstr(&text, ", ");
    labels_format_set(one->labels[first], &text);
    ap_buf_add_cstr(&text, "];many-to-many matching not allowed: matching labels must be unique on one side");
    return ap_fail(err, AP_E_CONFLICT, "%.*s", AP_SLICE_ARG(ap_buf_slice(&text)));
}

static bool has_sample(const struct match *match, unsigned side, uint32_t series, size_t step)
{
    return sample_exists(sample_of(match, side, series, step));
}

static bool is_side_empty(const struct match *match, unsigned side, size_t step)
{
    for (uint32_t i = 0; i < match->sides[side].count; i++)
        if (has_sample(match, side, i, step))
            return false;
    return true;
}

static enum ap_rc match_step(struct matching *matching, size_t step, struct ap_err *err)
{
    struct match *match = matching->match;
    const struct promql_matching *wanted = &match->op.expr->binary.matching;
    unsigned many_side = match->many_side, one_side = !many_side;
    const uint32_t *many_signatures = match->signatures.of[many_side], *one_signatures = match->signatures.of[one_side];
    bool has_fill = wanted->has_fill[0] || wanted->has_fill[1];
    if (!has_fill && (is_side_empty(match, 0, step) || is_side_empty(match, 1, step)))
        return AP_OK;
    for (size_t i = 0; i < match->signatures.count; i++)
        matching->ones[i] = NONE;
    for (uint32_t i = 0; i < match->sides[one_side].count; i++) {
        if (!has_sample(match, one_side, i, step))
            continue;
        if (matching->ones[one_signatures[i]] != NONE)
            return fail_many_to_many(match, matching->ones[one_signatures[i]], i, err);
        matching->ones[one_signatures[i]] = i;
    }
    enum ap_rc rc = AP_OK;
    for (uint32_t i = 0; i < match->sides[many_side].count && rc == AP_OK; i++) {
        uint32_t one = matching->ones[many_signatures[i]];
        if (has_sample(match, many_side, i, step) && (one != NONE || wanted->has_fill[1]))
            rc = match_pair(matching, (struct pair){i, one}, many_signatures[i], step, err);
    }
    for (uint32_t i = 0; i < match->sides[one_side].count && rc == AP_OK && wanted->has_fill[0]; i++)
        if (matching->ones[one_signatures[i]] == i && matching->matched[one_signatures[i]] != step + 1)
            rc = match_pair(matching, (struct pair){NONE, i}, one_signatures[i], step, err);
    return rc;
}

static enum ap_rc match_steps(struct match *match, struct ap_err *err)
{
    struct operator* op = & match->op;
    enum ap_rc rc = held_read(&match->sides[0], op->inputs[0], err);
    if (rc == AP_OK)
        rc = held_read(&match->sides[1], op->inputs[1], err);
    if (rc != AP_OK)
        return rc;
    size_t many_count = match->sides[match->many_side].count, one_count = match->sides[!match->many_side].count;
    size_t signatures = match->signatures.count + 1;
    struct matching matching = {
        .match = match,
        .worker = run_worker(op->run, 0),
        .known = ap_new0_array(struct pair, many_count + 1),
        .known_filled = ap_new0_array(uint32_t, one_count + 1),
        .ones = ap_new0_array(uint32_t, signatures),
        .matched = ap_new0_array(size_t, signatures),
    };
    gathered_init(&match->results, op->run, op->steps.count);
    for (size_t i = 0; i < many_count; i++)
        matching.known[i] = (struct pair){NONE, NONE};
    for (size_t i = 0; i < one_count; i++)
        matching.known_filled[i] = NONE;
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++) {
        rc = run_check(op->run, err);
        if (rc == AP_OK)
            rc = match_step(&matching, i, err);
        ap_arena_recycle(&matching.worker->arena);
    }
    gathered_take_labels(&match->results, op);
    free(matching.known);
    free(matching.known_filled);
    free(matching.ones);
    free(matching.matched);
    free(matching.states);
    return rc;
}

/* ---- The operator ---- */

static enum ap_rc match_open(struct operator* op, struct ap_err *err)
{
    struct match *match = (struct match *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    struct operator* one = op->inputs[!match->many_side];
    signatures_make(&match->signatures, op->run, op->expr, op->inputs[0], op->inputs[1]);
    op->is_unique_without_name = op->expr->binary.operator<= OPERATOR_SUB || op->expr->binary.returns_bool;
    if (!make_pairs(match))
        return match_steps(match, err);
    op->cost = op->inputs[0]->cost + op->inputs[1]->cost;
    bool is_one_shared = op->expr->binary.matching.cardinality != ONE_TO_ONE && op->count > one->count;
    return is_one_shared ? held_read(&match->one, one, err) : AP_OK;
}

static enum ap_rc match_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                             struct ap_err *err)
{
    struct match *match = (struct match *)op;
    if (match->pairs)
        return pair_read(match, worker, match->pairs[index], ret_column, err);
    gathered_column(&match->results, index, worker, ret_column);
    return AP_OK;
}

static void match_close(struct operator* op)
{
    struct match *match = (struct match *)op;
    held_clear(&match->one, op->run);
    held_clear(&match->sides[0], op->run);
    held_clear(&match->sides[1], op->run);
    gathered_clear(&match->results);
}

struct operator* plan_match(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                            struct operator* left, struct operator* right)
{
    static const struct operator_class match_class = {match_open, match_read, NULL, match_close};
    struct match *match = operator_new(run, sizeof(*match), &match_class, expr, steps);
    match->many_side = expr->binary.matching.cardinality == ONE_TO_MANY;
    struct operator* inputs[] = {left, right};
    operator_set_inputs(&match->op, inputs, 2);
    return &match->op;
}
