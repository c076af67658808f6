/*
 * info(): adds the labels of info series (target_info, unless the second argument says otherwise) to the series of the
 * same instance and job.
 *
 * Where two info series of one name fit at a step, the one with the newer sample is taken: the other one is about to go
 * stale.
 */
#include <math.h>
#include <string.h>

#include "promql/gathered.h"
#include "tsdb/labels.h"

#define DEFAULT_METRIC "target_info"

enum { NONE = UINT32_MAX };
enum { IDENTIFYING_COUNT = 2 };
static const char *const identifying[IDENTIFYING_COUNT] = {"instance", "job"}; /* sorted */

struct info {
    struct operator op;            /* inputs: the series to enrich; the info series, as times of their samples */
    const struct matchers *data;   /* the second argument's; NULL: there is none */
    const struct matchers *wanted; /* of the info series: those, and a name's where they say none */
    struct matcher *default_name;  /* owned; NULL: the second argument says which names */
    struct gathered results;
};

/* While opening. */
struct joining {
    struct info *info;
    struct held base;
    struct held infos;
    struct label_table names;      /* of the info metrics, each as a label set of its name alone */
    struct label_table signatures; /* name, instance, job of info series */
    uint32_t *info_signature;      /* of each info series; NONE: it is of no interest */
    uint32_t *base_signature;      /* [series * names + name]; NONE: there is no such info series */
    bool *is_ignored;              /* each base series: is an info series itself */
    uint32_t *at_step;             /* of each signature: the info series at this step, or NONE */
};

static bool is_name_matcher(const struct matcher *matcher)
{
    return ap_slice_equal_cstr(matcher_name(matcher), LABEL_METRIC_NAME);
}

/* ---- Which series belong together ---- */

static void add_signature(struct ap_slice name, struct ap_slice labels, struct ap_buf *out)
{
    labels_add(out, &(struct label){ap_slice_cstr(LABEL_METRIC_NAME), name});
    for (size_t i = 0; i < IDENTIFYING_COUNT; i++) {
        struct label label = {ap_slice_cstr(identifying[i]), labels_get(labels, ap_slice_cstr(identifying[i]))};
        if (label.value.bytes)
            labels_add(out, &label);
    }
}

static struct ap_slice name_of(struct ap_slice labels)
{
    return labels_get(labels, ap_slice_cstr(LABEL_METRIC_NAME));
}

/* Whether a base series is of an info metric itself; then it stays as it is. */
static bool is_info_metric(const struct info *info, struct ap_slice labels)
{
    struct ap_slice name = name_of(labels);
    for (size_t i = 0; i < info->wanted->count; i++)
        if (is_name_matcher(info->wanted->items[i]) && !matcher_matches(info->wanted->items[i], name))
            return false;
    return true;
}

/* The values of instance and of job that the base series have. */
static void find_values(struct joining *joining, struct label_table *values)
{
    const struct operator* base = joining->info->op.inputs[0];
    bool is_new;
    for (size_t i = 0; i < base->count; i++) {
        for (size_t j = 0; j < IDENTIFYING_COUNT && !joining->is_ignored[i]; j++) {
            struct ap_slice value = labels_get(base->labels[i], ap_slice_cstr(identifying[j]));
            if (value.bytes)
                (void)label_table_add(&values[j], NULL, value, &is_new);
        }
    }
}

static bool has_values(const struct label_table *values, struct ap_slice labels)
{
    bool has_any = false;
    for (size_t i = 0; i < IDENTIFYING_COUNT; i++) {
        has_any |= values[i].count > 0;
        struct ap_slice value = labels_get(labels, ap_slice_cstr(identifying[i]));
        if (values[i].count > 0 && label_table_find(&values[i], value) == SIZE_MAX)
            return false;
    }
    return has_any;
}

static void sign_series(struct joining *joining)
{
    struct info *info = joining->info;
    const struct operator* base = info->op.inputs[0], *infos = info->op.inputs[1];
    struct run *run = info->op.run;
    struct label_table values[IDENTIFYING_COUNT] = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    bool is_new;
    for (size_t i = 0; i < base->count; i++)
        joining->is_ignored[i] = is_info_metric(info, base->labels[i]);
    find_values(joining, values);
    for (size_t i = 0; i < infos->count; i++) {
        joining->info_signature[i] = NONE;
        if (!has_values(values, infos->labels[i]))
            continue;
        (void)label_table_add(&joining->names, NULL, name_of(infos->labels[i]), &is_new);
        ap_buf_reset(&labels);
        add_signature(name_of(infos->labels[i]), infos->labels[i], &labels);
        joining->info_signature[i] =
            (uint32_t)label_table_add(&joining->signatures, run, ap_buf_slice(&labels), &is_new);
    }
    joining->base_signature = ap_new0_array(uint32_t, base->count * joining->names.count + 1);
    for (size_t i = 0; i < base->count * joining->names.count; i++) {
        ap_buf_reset(&labels);
        add_signature(joining->names.entries[i % joining->names.count].labels, base->labels[i / joining->names.count],
                      &labels);
        size_t found = label_table_find(&joining->signatures, ap_buf_slice(&labels));
        joining->base_signature[i] = found == SIZE_MAX ? NONE : (uint32_t)found;
    }
    for (size_t i = 0; i < IDENTIFYING_COUNT; i++)
        label_table_clear(&values[i]);
}

/* ---- At a step ---- */

static enum ap_rc fail_duplicate(const struct joining *joining, uint32_t a, uint32_t b, size_t step, struct ap_err *err)
{
    const struct operator* infos = joining->info->op.inputs[1];
    AP_AUTO_BUF struct ap_buf text = {0};
    long long ts_ms = llround(held_values(&joining->infos, a)[step] * 1000);
    ap_buf_add_cstr(&text, "found duplicate series for info metric: existing ");
    labels_format_set(infos->labels[a], &text);
    ap_buf_printf(&text, " @ %lld, new ", ts_ms);
    labels_format_set(infos->labels[b], &text);
    ap_buf_printf(&text, " @ %lld", ts_ms);
    return ap_fail(err, AP_E_CONFLICT, "%.*s", AP_SLICE_ARG(ap_buf_slice(&text)));
}

static enum ap_rc find_infos(struct joining *joining, size_t step, struct ap_err *err)
{
    for (size_t i = 0; i < joining->signatures.count; i++)
        joining->at_step[i] = NONE;
    for (uint32_t i = 0; i < joining->infos.count; i++) {
        double time = held_values(&joining->infos, i)[step];
        uint32_t signature = joining->info_signature[i];
        if (signature == NONE || is_absent(time))
            continue;
        uint32_t *at = &joining->at_step[signature];
        double other = *at == NONE ? -INFINITY : held_values(&joining->infos, *at)[step];
        if (time == other)
            return fail_duplicate(joining, *at, i, step, err);
        if (time > other)
            *at = i;
    }
    return AP_OK;
}

static bool is_data_label(const struct info *info, struct ap_slice name)
{
    bool has_matchers = false;
    for (size_t i = 0; info->data && i < info->data->count; i++) {
        has_matchers |= !is_name_matcher(info->data->items[i]);
        if (ap_slice_equal(matcher_name(info->data->items[i]), name))
            return true;
    }
    return !has_matchers;
}

/* Adds what an info series says and nothing else said. */
static enum ap_rc add_labels(const struct info *info, struct ap_slice from, struct ap_slice base, struct ap_buf *labels,
                             struct ap_err *err)
{
    struct label label;
    while (labels_next(&from, &label)) {
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME) || !is_data_label(info, label.name) ||
            labels_get(base, label.name).bytes)
            continue;
        struct ap_slice there = labels_get(ap_buf_slice(labels), label.name);
        if (there.bytes && !ap_slice_equal(there, label.value))
            return ap_fail(err, AP_E_CONFLICT, "conflicting label: %.*s", AP_SLICE_ARG(label.name));
        AP_AUTO_BUF struct ap_buf next = {0};
        labels_set(ap_buf_slice(labels), label.name, label.value, &next);
        ap_buf_reset(labels);
        ap_buf_add_slice(labels, ap_buf_slice(&next));
    }
    return AP_OK;
}

/* A series without info series stays only where the matchers would have an info series without those labels. */
static bool do_matchers_want_labels(const struct info *info)
{
    for (size_t i = 0; info->data && i < info->data->count; i++)
        if (!is_name_matcher(info->data->items[i]) && !matcher_matches_empty(info->data->items[i]))
            return true;
    return false;
}

static enum ap_rc join_series(struct joining *joining, uint32_t series, size_t step, struct ap_err *err)
{
    struct info *info = joining->info;
    struct ap_slice base = info->op.inputs[0]->labels[series];
    double value = held_values(&joining->base, series)[step];
    const struct float_histogram *histogram = held_histogram(&joining->base, series, step);
    if (is_absent(value) && !histogram)
        return AP_OK;
    AP_AUTO_BUF struct ap_buf labels = {0};
    ap_buf_add_slice(&labels, base);
    bool has_info = joining->is_ignored[series];
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < joining->names.count && !joining->is_ignored[series] && rc == AP_OK; i++) {
        uint32_t signature = joining->base_signature[series * joining->names.count + i];
        uint32_t found = signature == NONE ? NONE : joining->at_step[signature];
        if (found == NONE)
            continue;
        has_info = true;
        rc = add_labels(info, info->op.inputs[1]->labels[found], base, &labels, err);
    }
    if (rc != AP_OK || (!has_info && do_matchers_want_labels(info)))
        return rc;
    size_t at;
    rc = gathered_find(&info->results, ap_buf_slice(&labels), &at, err);
    if (rc != AP_OK)
        return rc;
    if (gathered_has(&info->results, at, step))
        return fail_same_labels(err);
    gathered_set(&info->results, at, step, value, histogram);
    return AP_OK;
}

static enum ap_rc join_step(struct joining *joining, size_t step, struct ap_err *err)
{
    enum ap_rc rc = run_check(joining->info->op.run, err);
    if (rc == AP_OK)
        rc = find_infos(joining, step, err);
    for (uint32_t i = 0; i < joining->base.count && rc == AP_OK; i++)
        rc = join_series(joining, i, step, err);
    return rc;
}

/* ---- The operator ---- */

static enum ap_rc info_open(struct operator* op, struct ap_err *err)
{
    struct info *info = (struct info *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    struct joining joining = {
        .info = info,
        .info_signature = ap_new0_array(uint32_t, op->inputs[1]->count + 1),
        .is_ignored = ap_new0_array(bool, op->inputs[0]->count + 1),
    };
    sign_series(&joining);
    joining.at_step = ap_new0_array(uint32_t, joining.signatures.count + 1);
    gathered_init(&info->results, op->run, op->steps.count);
    rc = held_read(&joining.base, op->inputs[0], err);
    if (rc == AP_OK)
        rc = held_read(&joining.infos, op->inputs[1], err);
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++)
        rc = join_step(&joining, i, err);
    gathered_take_labels(&info->results, op);
    held_clear(&joining.base, op->run);
    held_clear(&joining.infos, op->run);
    label_table_clear(&joining.names);
    label_table_clear(&joining.signatures);
    free(joining.info_signature);
    free(joining.base_signature);
    free(joining.is_ignored);
    free(joining.at_step);
    return rc;
}

static enum ap_rc info_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                            struct ap_err *err)
{
    (void)err;
    gathered_column(&((struct info *)op)->results, index, worker, ret_column);
    return AP_OK;
}

static void info_close(struct operator* op)
{
    struct info *info = (struct info *)op;
    gathered_clear(&info->results);
    matcher_free(info->default_name);
}

struct operator*
    plan_info(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class info_class = {info_open, info_read, NULL, info_close};
    struct info *info = operator_new(run, sizeof(*info), &info_class, expr, steps);
    struct promql_expr *selector = ap_arena_alloc0(&run->arena, sizeof(*selector));
    struct matchers *wanted = ap_arena_alloc0(&run->arena, sizeof(*wanted)); /* the matchers are lent */
    bool has_name = false, has_positive = false;
    if (expr->call.count > 1) {
        info->data = without_parens(expr->call.arguments[1])->selector.matchers;
        *wanted = *info->data;
        for (size_t i = 0; i < wanted->count; i++) {
            enum matcher_kind kind = matcher_kind_of(wanted->items[i]);
            has_name |= is_name_matcher(wanted->items[i]);
            has_positive |= is_name_matcher(wanted->items[i]) && (kind == MATCHER_EQUAL || kind == MATCHER_REGEX);
        }
    }
    info->wanted = wanted;
    if (!has_positive) { /* names that are not wanted leave all others of info metrics */
        if (wanted->count == MATCHERS_MAX) {
            (void)ap_fail(err, AP_E_LIMIT, "info() has more than %d matchers", MATCHERS_MAX - 1);
            return NULL;
        }
        if (matcher_new(has_name ? MATCHER_REGEX : MATCHER_EQUAL, ap_slice_cstr(LABEL_METRIC_NAME),
                        ap_slice_cstr(has_name ? ".+_info" : DEFAULT_METRIC), &info->default_name, err) != AP_OK)
            return NULL;
        wanted->items[wanted->count++] = info->default_name;
    }
    *selector =
        (struct promql_expr){.kind = EXPR_SELECTOR, .type = TYPE_VECTOR, .start = expr->start, .end = expr->end};
    selector->selector.matchers = wanted;
    struct operator* inputs[] = {plan(run, expr->call.arguments[0], steps, err), NULL};
    if (!inputs[0] || !(inputs[1] = plan_selector(run, selector, steps, true, err)))
        return NULL;
    operator_set_inputs(&info->op, inputs, 2);
    return &info->op;
}
