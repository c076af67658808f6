#include "promql/annotations.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

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
    pthread_mutex_destroy(&annotations->mtx);
}

static void add(struct annotations *annotations, enum promql_annotation_kind kind, const char *text)
{
    size_t count = annotations->counts[kind];
    for (size_t i = 0; i < count; i++)
        if (strcmp(annotations->texts[kind][i], text) == 0)
            return;
    if (count == ANNOTATIONS_MAX)
        return;
    if ((count & (count - 1)) == 0)
        annotations->texts[kind] = ap_realloc(annotations->texts[kind], (count ? count * 2 : 1) * sizeof(char *));
    annotations->texts[kind][annotations->counts[kind]++] = ap_strdup(text);
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

static void say(struct annotations *annotations, enum promql_annotation_kind kind, const struct promql_expr *where,
                const char *said)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < where->start && i < annotations->query.bytes; i++) {
        column++;
        if (annotations->query.data[i] == '\n') {
            line++;
            column = 1;
        }
    }
    char text[1200];
    snprintf(text, sizeof(text), "PromQL %s: %s (%zu:%zu)", kind == PROMQL_WARNING ? "warning" : "info", said, line,
             column);
    pthread_mutex_lock(&annotations->mtx);
    add(annotations, kind, text);
    pthread_mutex_unlock(&annotations->mtx);
    /* Twins are behind what they are the same as, so this ends. */
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
