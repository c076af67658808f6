#include "promql/annotations.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "promql/float_text.h"
#include "promql/parser.h"

void annotations_init(struct annotations *annotations, struct ap_slice query)
{
    *annotations = (struct annotations){.query = query};
    pthread_mutex_init(&annotations->mtx, NULL);
}

void annotations_clear(struct annotations *annotations)
{
    for (size_t kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < annotations->counts[kind]; i++)
            free(annotations->texts[kind][i]);
        free(annotations->texts[kind]);
    }
    free(annotations->forced);
    pthread_mutex_destroy(&annotations->mtx);
}

/* Returns where it is; SIZE_MAX: there are too many. */
static size_t add(struct annotations *annotations, enum promql_annotation_kind kind, const char *text)
{
    size_t count = annotations->counts[kind];
    for (size_t i = 0; i < count; i++)
        if (strcmp(annotations->texts[kind][i], text) == 0)
            return i;
    if (count == ANNOTATIONS_MAX)
        return SIZE_MAX;
    if ((count & (count - 1)) == 0)
        annotations->texts[kind] = ap_realloc(annotations->texts[kind], (count ? count * 2 : 1) * sizeof(char *));
    annotations->texts[kind][annotations->counts[kind]++] = ap_strdup(text);
    return count;
}

/* ---- Places ---- */

/* The expressions right below, in order; NULL behind the last. */
static const struct promql_expr *child_of(const struct promql_expr *expr, size_t index)
{
    const struct promql_expr *children[2] = {NULL, NULL};
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_TEXT:
    case EXPR_SELECTOR:
        break;
    case EXPR_RANGE:
        children[0] = expr->range.selector;
        break;
    case EXPR_SUBQUERY:
        children[0] = expr->subquery.of;
        break;
    case EXPR_CALL:
        return index < expr->call.count ? expr->call.arguments[index] : NULL;
    case EXPR_AGGREGATE:
        children[0] = expr->aggregate.of;
        children[1] = expr->aggregate.parameter;
        break;
    case EXPR_BINARY:
        children[0] = expr->binary.left;
        children[1] = expr->binary.right;
        break;
    case EXPR_UNARY:
        children[0] = expr->unary.of;
        break;
    case EXPR_PAREN:
        children[0] = expr->paren;
        break;
    }
    return index < AP_ARRAY_COUNT(children) ? children[index] : NULL;
}

/* What stands in `same` where `where` stands in `computed`, which has the same form; NULL: it is not in there. */
static const struct promql_expr *find_twin(const struct promql_expr *computed, const struct promql_expr *same,
                                           const struct promql_expr *where)
{
    if (computed == where)
        return same;
    if (where->start < computed->start || where->end > computed->end)
        return NULL;
    const struct promql_expr *child, *same_child, *found = NULL;
    for (size_t i = 0; !found && (child = child_of(computed, i)) && (same_child = child_of(same, i)); i++)
        found = find_twin(child, same_child, where);
    return found;
}

void annotations_add_twin(struct annotations *annotations, struct annotation_twin *twin)
{
    struct annotation_twin **end = &annotations->twins;
    while (*end)
        end = &(*end)->next;
    *end = twin;
}

/* Where Prometheus says it is: not at parentheses around it, and at the beginning for what it puts in place of a
 * sub-query. */
static uint32_t place_of(const struct promql_expr *where)
{
    while (where->kind == EXPR_PAREN)
        where = where->paren;
    return where->kind == EXPR_SUBQUERY ? 0 : where->start;
}

static void print_place(const struct annotations *annotations, uint32_t place, char *out, size_t bytes)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < place && i < annotations->query.bytes; i++) {
        column++;
        if (annotations->query.data[i] == '\n') {
            line++;
            column = 1;
        }
    }
    snprintf(out, bytes, "(%zu:%zu)", line, column);
}

/* Says it of `where`, and of what is the same: twins are behind what they are the same as, so this ends. */
static void say(struct annotations *annotations, enum promql_annotation_kind kind, const struct promql_expr *where,
                const char *said)
{
    char place[64];
    char text[1200];
    print_place(annotations, place_of(where), place, sizeof(place));
    snprintf(text, sizeof(text), "PromQL %s: %s %s", kind == PROMQL_WARNING ? "warning" : "info", said, place);
    pthread_mutex_lock(&annotations->mtx);
    (void)add(annotations, kind, text);
    pthread_mutex_unlock(&annotations->mtx);
    for (const struct annotation_twin *twin = annotations->twins; twin; twin = twin->next) {
        const struct promql_expr *same = find_twin(twin->computed, twin->same, where);
        if (same)
            say(annotations, kind, same, said);
    }
}

void annotate(struct annotations *annotations, enum promql_annotation_kind kind, const struct promql_expr *where,
              const char *format, ...)
{
    char said[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
    say(annotations, kind, where, said);
}

/* ---- Forced buckets ---- */

struct forced {
    uint32_t place;
    size_t at; /* of the infos */
    struct forced_buckets buckets;
    size_t samples;
    int64_t first_ms;
    int64_t last_ms;
};

static void print_time(int64_t ts_ms, char *out, size_t bytes)
{
    struct ap_civil at = ap_civil_of_s(ts_ms / 1000 - (ts_ms % 1000 < 0));
    snprintf(out, bytes, "%" PRId64 "-%02d-%02dT%02d:%02d:%02dZ", at.year, at.month, at.day, at.hour, at.minute,
             at.second);
}

static void print_forced(const struct annotations *annotations, const struct forced *forced, char *out, size_t bytes)
{
    char place[64];
    char first[64];
    char last[64];
    print_place(annotations, forced->place, place, sizeof(place));
    print_time(forced->first_ms, first, sizeof(first));
    print_time(forced->last_ms, last, sizeof(last));
    snprintf(out, bytes,
             "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
             "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets %s to "
             "%s, with a max diff of %.2g, over %zu samples from %s to %s %s",
             go_float(forced->buckets.lowest).text, go_float(forced->buckets.highest).text, forced->buckets.difference,
             forced->samples, first, last, place);
}

static struct forced *find_forced(struct annotations *annotations, uint32_t place)
{
    for (size_t i = 0; i < annotations->forced_count; i++)
        if (annotations->forced[i].place == place)
            return &annotations->forced[i];
    annotations->forced = ap_realloc(annotations->forced, (annotations->forced_count + 1) * sizeof(struct forced));
    struct forced *forced = &annotations->forced[annotations->forced_count++];
    *forced = (struct forced){.place = place, .at = SIZE_MAX, .first_ms = INT64_MAX, .last_ms = INT64_MIN};
    forced->buckets = (struct forced_buckets){.lowest = INFINITY, .highest = -INFINITY};
    return forced;
}

void annotate_forced(struct annotations *annotations, const struct promql_expr *where,
                     const struct forced_buckets *buckets, int64_t ts_ms)
{
    char text[2048];
    pthread_mutex_lock(&annotations->mtx);
    struct forced *forced = find_forced(annotations, place_of(where));
    forced->samples++;
    forced->buckets.lowest = AP_MIN(forced->buckets.lowest, buckets->lowest);
    forced->buckets.highest = AP_MAX(forced->buckets.highest, buckets->highest);
    forced->buckets.difference = AP_MAX(forced->buckets.difference, buckets->difference);
    forced->first_ms = AP_MIN(forced->first_ms, ts_ms);
    forced->last_ms = AP_MAX(forced->last_ms, ts_ms);
    print_forced(annotations, forced, text, sizeof(text));
    if (forced->at == SIZE_MAX) {
        forced->at = add(annotations, PROMQL_INFO, text);
    } else {
        free(annotations->texts[PROMQL_INFO][forced->at]);
        annotations->texts[PROMQL_INFO][forced->at] = ap_strdup(text);
    }
    pthread_mutex_unlock(&annotations->mtx);
    for (const struct annotation_twin *twin = annotations->twins; twin; twin = twin->next) {
        const struct promql_expr *same = find_twin(twin->computed, twin->same, where);
        if (same)
            annotate_forced(annotations, same, buckets, ts_ms);
    }
}

struct quoted_name quoted(struct ap_slice name)
{
    struct quoted_name quoted;
    AP_AUTO_BUF struct ap_buf out = {0};
    promql_print_quoted(name, &out);
    snprintf(quoted.text, sizeof(quoted.text), "%.*s", (int)out.bytes, out.data);
    return quoted;
}
