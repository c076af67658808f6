/*
 * template/template.h - Go's text/template, as alerts and notifications use it
 *
 *     {{ $labels.instance }} is at {{ $value | humanizePercentage }}{{ if gt $value 0.9 }}, act now{{ end }}
 *
 * The language is that of Go's package text/template: actions, pipelines, variables, if, else, with, range, break,
 * continue, define, template, block, comments, trim markers; its built-in functions, and those that Prometheus adds
 * (humanize, query, first, reReplaceAll …, its documentation "Template reference"); in messages also Alertmanager's
 * (join, date, since …). Methods are those that the caller gives its values (struct template_type). Left out are
 * channels and `call`, which need Go's types.
 *
 * A template comes from outside: what it may do is bounded (steps, depth, bytes of output), and it reaches nothing but
 * what it is given. A parsed template is immutable and used from any thread, a run by one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    TEMPLATE_BYTES_MAX = 1 << 20,
    TEMPLATE_DEPTH_MAX = 100,      /* of blocks, parentheses and templates that run each other */
    TEMPLATE_STEPS_MAX = 1000000,  /* nodes that one run visits */
    TEMPLATE_OUTPUT_MAX = 4 << 20, /* bytes */
};

/* ---- Values ---- */

enum template_kind {
    TEMPLATE_NIL,
    TEMPLATE_BOOL,
    TEMPLATE_INT,
    TEMPLATE_FLOAT,
    TEMPLATE_TEXT,
    TEMPLATE_LIST,
    TEMPLATE_MAP,    /* a missing key reads as "" */
    TEMPLATE_STRUCT, /* a missing field is an error */
};

struct template_value;

/* What values of one type can beyond their kind. */
struct template_type {
    /*
     * {{ .Value.Name arguments }}, asked before members; *ret_is_there false: there is no such method. What it makes is
     * of the arena.
     */
    enum ap_rc (*call)(const struct template_value *value, struct ap_slice name, const struct template_value *arguments,
                       size_t count, struct ap_arena *arena, bool *ret_is_there, struct template_value *ret,
                       struct ap_err *err);
    void (*print)(const struct template_value *value, struct ap_buf *out); /* NULL: as its kind */
};

/* All that it points to is lent, and outlives the run. */
struct template_value {
    enum template_kind kind;
    const struct template_type *type; /* NULL: none */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct ap_slice text;
        struct {
            const struct template_value *items;
            size_t count;
        } list;
        struct {
            const struct template_member *items; /* of a map: in order of their names */
            size_t count;
        } map;
    };
};
struct template_member {
    struct ap_slice name;
    struct template_value value;
};

static inline struct template_value template_text(struct ap_slice text)
{
    return (struct template_value){.kind = TEMPLATE_TEXT, .text = text};
}
static inline struct template_value template_float(double number)
{
    return (struct template_value){.kind = TEMPLATE_FLOAT, .number = number};
}

/*
 * A moment: Go's time.Time, with Format, Unix, UTC and IsZero. `offset_s` seconds east of UTC. AP_E_LIMIT.
 */
extern const struct template_type template_type_moment;
#define TEMPLATE_MOMENT_ZERO_MS INT64_C(-62135596800000) /* the first of January of the year 1: "never" */
ap_nodiscard enum ap_rc template_moment(struct ap_arena *arena, int64_t unix_ms, int64_t offset_s,
                                        struct template_value *ret, struct ap_err *err);

/* ---- Templates ---- */

struct template; /* private to template.c */

/*
 * `variables`: names with their '$' that are there from the start. AP_E_PARSE says line and column; AP_E_LIMIT. The
 * text is copied.
 */
ap_nodiscard enum ap_rc template_parse(struct ap_slice text, const char *const *variables, size_t variable_count,
                                       struct template **ret_template, struct ap_err *err);
/*
 * A message of a notification: Alertmanager's functions as well, and the definitions of `library` (NULL: none), which
 * has its own from the one before. The newest definition of a name counts, also for those that run it. The library is
 * lent until the template is freed.
 */
ap_nodiscard enum ap_rc template_parse_message(struct ap_slice text, const struct template *library,
                                               struct template **ret_template, struct ap_err *err);
void template_free(struct template *template); /* NULL is allowed */
AP_DEFINE_AUTO(template, struct template, template_free)

/* What a run is given. */
struct template_environment {
    struct template_value dot;              /* "." and "$" */
    const struct template_value *variables; /* in the order of template_parse()'s names */
    struct ap_slice external_url;
    int64_t now_ms;
    bool is_html; /* values are escaped for where they stand: text, an attribute, an address in one */
    /* query "…": a list of structs with Labels (a map) and Value, from `arena`. NULL: there is nobody to ask. */
    enum ap_rc (*query)(void *context, struct ap_slice text, struct ap_arena *arena, struct template_value *ret_list,
                        struct ap_err *err);
    void *context;
};

/* Appends the text. AP_E_CONFLICT: an action failed, `err` says where and why; AP_E_LIMIT. */
ap_nodiscard enum ap_rc template_run(const struct template *template, const struct template_environment *environment,
                                     struct ap_buf *out, struct ap_err *err);

/* The names of the functions that Prometheus adds to Go's, counted from 0; NULL behind the last, and no further. */
const char *template_function_at(size_t index);
