/* Running trees. */
#include "template/template.h"

#include <string.h>

#include "base/assert.h"
#include "template/template_internal.h"

enum { ARGUMENTS_MAX = 64, VALUES_BYTES_MAX = 16 << 20 };

static struct template *template_new(struct ap_slice text)
{
    struct template *template = ap_new0(struct template);
    ap_arena_init(&template->arena, 0);
    char *copy = ap_arena_alloc0(&template->arena, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    template->text = ap_slice(copy, text.bytes);
    return template;
}

static enum ap_rc check_size(struct ap_slice text, struct ap_err *err)
{
    if (text.bytes > TEMPLATE_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "a template has at most %d bytes, this one has %zu", TEMPLATE_BYTES_MAX,
                       text.bytes);
    return AP_OK;
}

enum ap_rc template_parse(struct ap_slice text, const char *const *variables, size_t variable_count,
                          struct template **ret_template, struct ap_err *err)
{
    enum ap_rc rc = check_size(text, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(template) struct template *template = template_new(text);
    template->variables = ap_arena_alloc0(&template->arena, (variable_count + 1) * sizeof(*template->variables));
    template->variable_count = variable_count;
    for (size_t i = 0; i < variable_count; i++)
        template->variables[i] = ap_slice_cstr(ap_arena_try_strndup(&template->arena, ap_slice_cstr(variables[i])));
    rc = template_parse_tree(template, err);
    if (rc == AP_OK)
        *ret_template = AP_MOVE(template);
    return rc;
}

enum ap_rc template_parse_message(struct ap_slice text, const struct template *library, struct template **ret_template,
                                  struct ap_err *err)
{
    enum ap_rc rc = check_size(text, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(template) struct template *template = template_new(text);
    template->is_message = true;
    template->library = library;
    rc = template_parse_tree(template, err);
    if (rc == AP_OK)
        *ret_template = AP_MOVE(template);
    return rc;
}

void template_free(struct template *template)
{
    if (!template)
        return;
    ap_arena_clear(&template->arena);
    free(template);
}

/* ---- Values ---- */

bool template_is_true(const struct template_value *value)
{
    switch (value->kind) {
    case TEMPLATE_NIL:
        return false;
    case TEMPLATE_BOOL:
        return value->boolean;
    case TEMPLATE_INT:
        return value->integer != 0;
    case TEMPLATE_FLOAT:
        return value->number != 0;
    case TEMPLATE_TEXT:
        return value->text.bytes > 0;
    case TEMPLATE_LIST:
        return value->list.count > 0;
    case TEMPLATE_MAP:
        return value->map.count > 0;
    case TEMPLATE_STRUCT:
        return true;
    }
    return false;
}

const struct template_value *template_member(const struct template_value *map, struct ap_slice name)
{
    for (size_t i = 0; i < map->map.count; i++)
        if (ap_slice_equal(map->map.items[i].name, name))
            return &map->map.items[i].value;
    return NULL;
}

/* A member, or what a method gives. */
static enum ap_rc take_field(struct template_run *run, uint32_t offset, struct ap_slice name,
                             const struct template_value *arguments, size_t count, struct template_value *value,
                             struct ap_err *err)
{
    static const struct template_value empty = {.kind = TEMPLATE_TEXT};
    if (value->type && value->type->call) {
        bool is_there = false;
        struct ap_err reason;
        struct template_value of = *value;
        enum ap_rc rc = value->type->call(&of, name, arguments, count, &run->arena, &is_there, value, &reason);
        if (rc != AP_OK)
            return template_fail(run->template, offset, rc, err, "error calling %.*s: %s", AP_SLICE_ARG(name),
                                 reason.text);
        if (is_there)
            return AP_OK;
    }
    if (count)
        return template_fail(run->template, offset, AP_E_CONFLICT, err, "%.*s is not a method but has arguments",
                             AP_SLICE_ARG(name));
    bool is_map = value->kind == TEMPLATE_MAP;
    if (!is_map && value->kind != TEMPLATE_STRUCT)
        return template_fail(run->template, offset, AP_E_CONFLICT, err, "can't evaluate field %.*s in type %s",
                             AP_SLICE_ARG(name), template_type_name(value));
    const struct template_value *member = template_member(value, name);
    if (!member && !is_map)
        return template_fail(run->template, offset, AP_E_CONFLICT, err, "there is no field %.*s here",
                             AP_SLICE_ARG(name));
    *value = member ? *member : empty;
    return AP_OK;
}

/* ---- Variables ---- */

static void push(struct template_run *run, struct ap_slice name, struct template_value value)
{
    if (run->variable_count == run->variable_capacity) {
        run->variable_capacity = AP_MAX(run->variable_capacity * 2, (size_t)16);
        run->variables = ap_realloc(run->variables, run->variable_capacity * sizeof(*run->variables));
    }
    run->variables[run->variable_count++] = (struct run_variable){name, value};
}

static struct template_value *variable(struct template_run *run, struct ap_slice name)
{
    for (size_t i = run->variable_count; i-- > 0;)
        if (ap_slice_equal(run->variables[i].name, name))
            return &run->variables[i].value;
    return NULL; /* the parser has seen to it that there is one */
}

/* ---- Pipelines ---- */

static enum ap_rc run_pipe(struct template_run *run, const struct pipe *pipe, const struct template_value *dot,
                           struct template_value *ret, struct ap_err *err);

/* `arguments` are those of a method that the last field is. */
static enum ap_rc run_operand_with(struct template_run *run, const struct operand *operand,
                                   const struct template_value *dot, const struct template_value *arguments,
                                   size_t count, struct template_value *ret, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    switch (operand->kind) {
    case OPERAND_DOT:
        *ret = *dot;
        break;
    case OPERAND_CONSTANT:
        *ret = operand->constant;
        break;
    case OPERAND_VARIABLE:
        *ret = *variable(run, operand->variable);
        break;
    case OPERAND_PIPE:
        rc = run_pipe(run, operand->pipe, dot, ret, err);
        break;
    case OPERAND_FUNCTION:
        if (operand->function->arguments_min > 0)
            return template_fail(run->template, operand->offset, AP_E_CONFLICT, err,
                                 "wrong number of args for %s: want %d got 0", operand->function->name,
                                 operand->function->arguments_min);
        rc = operand->function->call(run, NULL, 0, ret, err);
        break;
    }
    for (const struct field *field = operand->fields; field && rc == AP_OK; field = field->next) {
        bool is_last = field->next == NULL;
        rc = take_field(run, operand->offset, field->name, is_last ? arguments : NULL, is_last ? count : 0, ret, err);
    }
    return rc;
}

static enum ap_rc run_operand(struct template_run *run, const struct operand *operand, const struct template_value *dot,
                              struct template_value *ret, struct ap_err *err)
{
    return run_operand_with(run, operand, dot, NULL, 0, ret, err);
}

/* and, or: the value that decides; what is behind it is not evaluated. */
static enum ap_rc run_logic(struct template_run *run, const struct operand *operand, bool ends_with,
                            const struct template_value *dot, const struct template_value *piped,
                            struct template_value *ret, struct ap_err *err)
{
    for (; operand; operand = operand->next) {
        enum ap_rc rc = run_operand(run, operand, dot, ret, err);
        if (rc != AP_OK || template_is_true(ret) == ends_with)
            return rc;
    }
    if (piped)
        *ret = *piped;
    return AP_OK;
}

/* What stands behind a function or method, and what the pipe brings last. */
static enum ap_rc take_arguments(struct template_run *run, const struct operand *first,
                                 const struct template_value *dot, const struct template_value *piped,
                                 struct template_value *arguments, int *ret_count, struct ap_err *err)
{
    int count = 0;
    for (const struct operand *operand = first->next; operand || piped; count++) {
        if (count == ARGUMENTS_MAX)
            return template_fail(run->template, first->offset, AP_E_CONFLICT, err, "more than %d arguments",
                                 ARGUMENTS_MAX);
        if (!operand) {
            arguments[count] = *piped;
            piped = NULL;
            continue;
        }
        enum ap_rc rc = run_operand(run, operand, dot, &arguments[count], err);
        if (rc != AP_OK)
            return rc;
        operand = operand->next;
    }
    *ret_count = count;
    return AP_OK;
}

static enum ap_rc run_call(struct template_run *run, const struct operand *first, const struct template_value *dot,
                           const struct template_value *piped, struct template_value *ret, struct ap_err *err)
{
    const struct template_function *function = first->function;
    struct template_value arguments[ARGUMENTS_MAX];
    int count = 0;
    enum ap_rc taken = take_arguments(run, first, dot, piped, arguments, &count, err);
    if (taken != AP_OK)
        return taken;
    if (count < function->arguments_min || (function->arguments_max >= 0 && count > function->arguments_max))
        return template_fail(
            run->template, first->offset, AP_E_CONFLICT, err, "wrong number of args for %s: want %s%d got %d",
            function->name, count < function->arguments_min && function->arguments_max < 0 ? "at least " : "",
            count < function->arguments_min ? function->arguments_min : function->arguments_max, count);
    struct ap_err reason;
    enum ap_rc rc = function->call(run, arguments, (size_t)count, ret, &reason);
    if (rc != AP_OK)
        return template_fail(run->template, first->offset, rc, err, "error calling %s: %s", function->name,
                             reason.text);
    return AP_OK;
}

static enum ap_rc run_command(struct template_run *run, const struct command *command, const struct template_value *dot,
                              const struct template_value *piped, struct template_value *ret, struct ap_err *err)
{
    const struct operand *first = command->operands;
    if (first->kind == OPERAND_FUNCTION) {
        bool is_and = strcmp(first->function->name, "and") == 0, is_or = strcmp(first->function->name, "or") == 0;
        if ((is_and || is_or) && (first->next || piped))
            return run_logic(run, first->next, is_or, dot, piped, ret, err);
        return run_call(run, first, dot, piped, ret, err);
    }
    if (!first->fields && piped)
        return template_fail(run->template, first->offset, AP_E_CONFLICT, err, "can't give argument to non-function");
    struct template_value arguments[ARGUMENTS_MAX];
    int count = 0;
    enum ap_rc rc = take_arguments(run, first, dot, piped, arguments, &count, err);
    return rc == AP_OK ? run_operand_with(run, first, dot, arguments, (size_t)count, ret, err) : rc;
}

static enum ap_rc run_pipe(struct template_run *run, const struct pipe *pipe, const struct template_value *dot,
                           struct template_value *ret, struct ap_err *err)
{
    if (++run->steps > TEMPLATE_STEPS_MAX)
        return template_fail(run->template, pipe->offset, AP_E_LIMIT, err, "the template runs for too long");
    struct template_value value = {0};
    for (const struct command *command = pipe->commands; command; command = command->next) {
        struct template_value piped = value;
        enum ap_rc rc = run_command(run, command, dot, command == pipe->commands ? NULL : &piped, &value, err);
        if (rc != AP_OK)
            return rc;
    }
    *ret = value;
    return AP_OK;
}

static void set_variable(struct template_run *run, const struct pipe *pipe, size_t index, struct template_value value)
{
    if (pipe->is_assignment)
        *variable(run, pipe->variables[index]) = value;
    else
        push(run, pipe->variables[index], value);
}

/* ---- Nodes ---- */

static enum ap_rc run_nodes(struct template_run *run, const struct node *node, const struct template_value *dot,
                            struct ap_err *err);

static enum ap_rc run_element(struct template_run *run, const struct node *node, struct template_value key,
                              const struct template_value *element, struct ap_err *err)
{
    size_t mark = run->variable_count;
    bool has_two = node->pipe->variables[1].data != NULL;
    if (has_two)
        set_variable(run, node->pipe, 0, key);
    if (node->pipe->variables[0].data)
        set_variable(run, node->pipe, has_two ? 1 : 0, *element);
    enum ap_rc rc = run_nodes(run, node->body, element, err);
    run->variable_count = mark;
    return rc;
}

static enum ap_rc run_range(struct template_run *run, const struct node *node, const struct template_value *over,
                            const struct template_value *dot, struct ap_err *err)
{
    size_t count = 0;
    if (over->kind == TEMPLATE_LIST)
        count = over->list.count;
    else if (over->kind == TEMPLATE_MAP)
        count = over->map.count;
    else if (over->kind == TEMPLATE_INT)
        count = over->integer > 0 ? (size_t)over->integer : 0;
    else if (over->kind != TEMPLATE_NIL)
        return template_fail(run->template, node->offset, AP_E_CONFLICT, err, "range can't iterate over a %s",
                             template_type_name(over));
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < count && rc == AP_OK && run->flow != FLOW_BREAK; i++) {
        struct template_value key = {.kind = TEMPLATE_INT, .integer = (int64_t)i}, element = key;
        if (over->kind == TEMPLATE_LIST)
            element = over->list.items[i];
        if (over->kind == TEMPLATE_MAP) {
            key = template_text(over->map.items[i].name);
            element = over->map.items[i].value;
        }
        run->flow = FLOW_ON;
        if (++run->steps > TEMPLATE_STEPS_MAX)
            return template_fail(run->template, node->offset, AP_E_LIMIT, err, "the template runs for too long");
        rc = run_element(run, node, key, &element, err);
    }
    run->flow = FLOW_ON;
    return count || rc != AP_OK ? rc : run_nodes(run, node->otherwise, dot, err);
}

static enum ap_rc run_block(struct template_run *run, const struct node *node, const struct template_value *dot,
                            struct ap_err *err)
{
    size_t mark = run->variable_count;
    struct template_value value;
    enum ap_rc rc = run_pipe(run, node->pipe, dot, &value, err);
    if (rc != AP_OK)
        return rc;
    if (node->kind == NODE_RANGE) {
        rc = run_range(run, node, &value, dot, err);
    } else {
        if (node->pipe->variables[0].data)
            set_variable(run, node->pipe, 0, value);
        bool is_true = template_is_true(&value);
        rc = run_nodes(run, is_true ? node->body : node->otherwise, node->kind == NODE_WITH && is_true ? &value : dot,
                       err);
    }
    run->variable_count = mark;
    return rc;
}

static const struct definition *find_definition(const struct template *root, struct ap_slice name)
{
    for (const struct template *home = root; home; home = home->library)
        for (const struct definition *definition = home->definitions; definition; definition = definition->next)
            if (ap_slice_equal(definition->name, name))
                return definition;
    return NULL;
}

enum ap_rc template_run_named(struct template_run *run, struct ap_slice name, struct template_value dot,
                              struct ap_buf *out, struct ap_err *err)
{
    const struct definition *definition = find_definition(run->root, name);
    if (!definition)
        return ap_fail(err, AP_E_CONFLICT, "template \"%.*s\" not defined", AP_SLICE_ARG(name));
    if (run->depth > TEMPLATE_DEPTH_MAX)
        return ap_fail(err, AP_E_LIMIT, "more than %d templates run each other", TEMPLATE_DEPTH_MAX);
    struct ap_buf *outer = run->out;
    const struct template *outer_template = run->template;
    size_t mark = run->variable_count;
    run->out = out;
    run->template = definition->home;
    run->depth++;
    push(run, ap_slice_cstr("$"), dot);
    enum ap_rc rc = run_nodes(run, definition->body, &dot, err);
    run->depth--;
    run->variable_count = mark;
    run->out = outer;
    run->template = outer_template;
    return rc;
}

static enum ap_rc run_node(struct template_run *run, const struct node *node, const struct template_value *dot,
                           struct ap_err *err)
{
    struct template_value value = {0};
    enum ap_rc rc = AP_OK;
    switch (node->kind) {
    case NODE_TEXT:
        ap_buf_add_slice(run->out, node->text);
        return AP_OK;
    case NODE_ACTION:
        rc = run_pipe(run, node->pipe, dot, &value, err);
        if (rc == AP_OK && node->pipe->variables[0].data)
            set_variable(run, node->pipe, 0, value);
        else if (rc == AP_OK && value.kind == TEMPLATE_NIL)
            ap_buf_add_cstr(run->out, "<no value>");
        else if (rc == AP_OK && run->environment->is_html)
            template_print_html(&value, run->out_start, run->out);
        else if (rc == AP_OK)
            template_print(&value, run->out);
        return rc;
    case NODE_IF:
    case NODE_WITH:
    case NODE_RANGE:
        return run_block(run, node, dot, err);
    case NODE_TEMPLATE:
        if (node->pipe)
            rc = run_pipe(run, node->pipe, dot, &value, err);
        return rc == AP_OK ? template_run_named(run, node->text, value, run->out, err) : rc;
    case NODE_BREAK:
        run->flow = FLOW_BREAK;
        return AP_OK;
    case NODE_CONTINUE:
        run->flow = FLOW_CONTINUE;
        return AP_OK;
    }
    return AP_OK;
}

static enum ap_rc run_nodes(struct template_run *run, const struct node *node, const struct template_value *dot,
                            struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (; node && rc == AP_OK && run->flow == FLOW_ON; node = node->next) {
        if (++run->steps > TEMPLATE_STEPS_MAX)
            return template_fail(run->template, node->offset, AP_E_LIMIT, err, "the template runs for too long");
        rc = run_node(run, node, dot, err);
        if (run->out->bytes > run->out_start + TEMPLATE_OUTPUT_MAX)
            return template_fail(run->template, node->offset, AP_E_LIMIT, err, "the template's text becomes too long");
    }
    return rc;
}

enum ap_rc template_run(const struct template *template, const struct template_environment *environment,
                        struct ap_buf *out, struct ap_err *err)
{
    struct template_run run = {
        .root = template, .template = template, .environment = environment, .out = out, .out_start = out->bytes};
    ap_arena_init(&run.arena, VALUES_BYTES_MAX);
    push(&run, ap_slice_cstr("$"), environment->dot);
    for (size_t i = 0; i < template->variable_count; i++)
        push(&run, template->variables[i], environment->variables[i]);
    enum ap_rc rc = run_nodes(&run, template->body, &environment->dot, err);
    free(run.variables);
    ap_arena_clear(&run.arena);
    return rc;
}
