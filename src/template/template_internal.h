/* What the files of this folder share. */
#pragma once

#include "template/template.h"

/* ---- Trees ---- */

enum operand_kind {
    OPERAND_DOT,
    OPERAND_CONSTANT,
    OPERAND_VARIABLE,
    OPERAND_FUNCTION,
    OPERAND_PIPE,
};

struct field {
    struct ap_slice name;
    struct field *next;
};

/* One word of a command, with the fields behind it: $x.Labels.job, (first .).Value, .Value, humanize. */
struct operand {
    enum operand_kind kind;
    uint32_t offset; /* in the text */
    struct template_value constant;
    struct ap_slice variable;
    const struct template_function *function;
    struct pipe *pipe;
    struct field *fields;
    struct operand *next;
};

struct command {
    struct operand *operands;
    struct command *next;
};

struct pipe {
    struct ap_slice variables[2]; /* data NULL: none */
    bool is_assignment;           /* "=": of a variable that is there already */
    struct command *commands;
    uint32_t offset;
};

enum node_kind { NODE_TEXT, NODE_ACTION, NODE_IF, NODE_WITH, NODE_RANGE, NODE_TEMPLATE, NODE_BREAK, NODE_CONTINUE };

struct node {
    enum node_kind kind;
    uint32_t offset;
    struct ap_slice text; /* of NODE_TEXT; the name of NODE_TEMPLATE */
    struct pipe *pipe;    /* NULL: {{ template "x" }} without data */
    struct node *body;
    struct node *otherwise;
    struct node *next;
};

struct definition {
    struct ap_slice name;
    struct node *body;
    const struct template *home; /* whose text it is in */
    struct definition *next;
};

struct template
{
    struct ap_arena arena;
    struct ap_slice text;
    struct node *body;
    struct definition *definitions; /* the newest first */
    const struct template *library; /* lent; more definitions */
    bool is_message;
    struct ap_slice *variables;
    size_t variable_count;
};

enum ap_rc template_parse_tree(struct template *template, struct ap_err *err);
/* "line 1, column 7: …" */
enum ap_rc template_fail(const struct template *template, uint32_t offset, enum ap_rc rc, struct ap_err *err,
                         const char *format, ...) ap_printf(5, 6);

/* ---- Runs ---- */

struct run_variable {
    struct ap_slice name;
    struct template_value value;
};

struct template_run {
    const struct template *root;     /* where names are looked up */
    const struct template *template; /* whose text runs */
    const struct template_environment *environment;
    struct ap_arena arena; /* of values that functions make */
    struct ap_buf *out;
    size_t out_start;
    struct run_variable *variables; /* a stack */
    size_t variable_count;
    size_t variable_capacity;
    uint32_t steps;
    uint32_t depth;
    enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
};

/* Runs a named template: {{ template }}, tmpl. */
enum ap_rc template_run_named(struct template_run *run, struct ap_slice name, struct template_value dot,
                              struct ap_buf *out, struct ap_err *err);
bool template_is_true(const struct template_value *value);
/* Member of a map or struct; NULL when there is none. */
const struct template_value *template_member(const struct template_value *map, struct ap_slice name);

/* ---- Functions ---- */

struct template_function {
    const char *name;
    int arguments_min;
    int arguments_max; /* -1: any number */
    enum ap_rc (*call)(struct template_run *run, const struct template_value *arguments, size_t count,
                       struct template_value *ret, struct ap_err *err);
};
/* `is_message`: those of Alertmanager too. NULL: there is none. `and` and `or` are in the table with a call that is
 * never used: the run evaluates them itself.
 */
const struct template_function *template_function_find(struct ap_slice name, bool is_message);
extern const struct template_function template_functions_of_go[];
extern const struct template_function template_functions_of_prometheus[];
extern const struct template_function template_functions_of_alertmanager[];

const char *template_type_name(const struct template_value *value);          /* as Go names it: "float64" */
void template_print(const struct template_value *value, struct ap_buf *out); /* as %v */
/* The same, escaped for the place in HTML that `out` ends with. */
void template_print_html(const struct template_value *value, size_t start, struct ap_buf *out);
extern const struct template_type template_type_html; /* what safeHtml gives: is not escaped */
enum ap_rc template_printf(struct ap_slice format, const struct template_value *arguments, size_t count,
                           struct ap_buf *out);
/* A copy in the run's memory; empties the buf. AP_E_LIMIT. */
enum ap_rc template_keep_text(struct template_run *run, struct ap_buf *text, struct template_value *ret,
                              struct ap_err *err);
