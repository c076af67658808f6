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

void annotate(struct annotations *annotations, enum promql_annotation_kind kind, const struct promql_expr *where,
              const char *format, ...)
{
    char said[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
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
}
