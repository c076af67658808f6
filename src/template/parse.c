/* Text to tree: Go's text/template, package documentation. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "template/template_internal.h"

enum { VARIABLES_MAX = 256 };

struct parser {
    struct template *template;
    struct ap_slice text;
    uint32_t at;
    uint32_t depth;
    uint32_t range_depth; /* inside of so many {{ range }} */
    struct ap_slice variables[VARIABLES_MAX];
    size_t variable_count;
    struct ap_err *err;
};

enum ap_rc template_fail(const struct template *template, uint32_t offset, enum ap_rc rc, struct ap_err *err,
                         const char *format, ...)
{
    char sentence[AP_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    uint32_t line = 1, column = 1;
    for (uint32_t i = 0; i < offset && i < template->text.bytes; i++) {
        bool is_end = template->text.data[i] == '\n';
        line += is_end;
        column = is_end ? 1 : column + 1;
    }
    return ap_fail(err, rc, "template, line %u, column %u: %s", line, column, sentence);
}

#define FAIL(...) template_fail(parser->template, parser->at, AP_E_PARSE, parser->err, __VA_ARGS__)

static void *make(struct parser *parser, size_t bytes)
{
    return ap_arena_alloc0(&parser->template->arena, bytes);
}

/* ---- Characters ---- */

static char peek_at(const struct parser *parser, uint32_t ahead)
{
    size_t at = (size_t)parser->at + ahead;
    return at < parser->text.bytes ? parser->text.data[at] : '\0';
}

static char peek(const struct parser *parser)
{
    return peek_at(parser, 0);
}

static bool looking_at(const struct parser *parser, const char *word)
{
    size_t bytes = strlen(word);
    return parser->text.bytes - parser->at >= bytes && memcmp(parser->text.data + parser->at, word, bytes) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* Behind blanks at }} or -}}. */
static bool at_end_of_action(struct parser *parser)
{
    while (is_space(peek(parser)))
        parser->at++;
    return looking_at(parser, "}}") ||
           (looking_at(parser, "-}}") && parser->at > 0 && is_space(parser->text.data[parser->at - 1]));
}

static struct ap_slice take_name(struct parser *parser)
{
    uint32_t start = parser->at;
    while (is_name_char(peek(parser)))
        parser->at++;
    return ap_slice(parser->text.data + start, parser->at - start);
}

/* ---- Constants ---- */

static int digit_of(char c, int base)
{
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return digit < base ? digit : -1;
}

static bool take_digits(struct parser *parser, int count, int base, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (int i = 0; i < count; i++, parser->at++) {
        int digit = digit_of(peek(parser), base);
        if (digit < 0)
            return false;
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    *ret_value = value;
    return true;
}

/* Behind the backslash; escapes as in Go's string literals. */
static bool take_escape(struct parser *parser, struct ap_buf *out)
{
    static const char letters[] = "abfnrtv\\'\"", meanings[] = "\a\b\f\n\r\t\v\\'\"";
    char c = peek(parser);
    const char *letter = c ? strchr(letters, c) : NULL;
    uint32_t value;
    if (letter) {
        ap_buf_add_char(out, meanings[letter - letters]);
        parser->at++;
        return true;
    }
    if (c >= '0' && c <= '7') {
        if (!take_digits(parser, 3, 8, &value) || value > 255)
            return false;
        ap_buf_add_char(out, (char)value);
        return true;
    }
    int count = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    parser->at++;
    if (!count || !take_digits(parser, count, 16, &value) || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000 && c != 'x'))
        return false;
    if (c == 'x')
        ap_buf_add_char(out, (char)value);
    else
        ap_buf_add_utf8(out, value);
    return true;
}

static enum ap_rc take_text(struct parser *parser, struct template_value *ret)
{
    char quote = peek(parser);
    uint32_t start = ++parser->at;
    AP_AUTO_BUF struct ap_buf text = {0};
    while (parser->at < parser->text.bytes && peek(parser) != quote) {
        char c = peek(parser);
        if (c == '\n' && quote != '`')
            break;
        parser->at++;
        if (c != '\\' || quote == '`') {
            ap_buf_add_char(&text, c);
        } else if (!take_escape(parser, &text)) {
            return FAIL("unknown escape in a quoted text");
        }
    }
    if (peek(parser) != quote || parser->at >= parser->text.bytes) {
        parser->at = start - 1;
        return FAIL("unterminated quoted text");
    }
    parser->at++;
    if (quote == '\'') { /* a character is its number, as in Go */
        uint32_t rune = text.bytes == 1 ? (uint8_t)text.data[0] : 0;
        if (text.bytes != 1)
            return FAIL("a character constant has one ASCII character; text is in double quotes");
        *ret = (struct template_value){.kind = TEMPLATE_INT, .integer = rune};
        return AP_OK;
    }
    char *copy = make(parser, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    *ret = template_text(ap_slice(copy, text.bytes));
    return AP_OK;
}

static enum ap_rc take_number(struct parser *parser, struct template_value *ret)
{
    char copy[64] = "";
    size_t bytes = 0;
    uint32_t start = parser->at;
    while (bytes + 1 < sizeof(copy)) {
        char c = peek(parser);
        bool is_sign = (c == '+' || c == '-') && (bytes == 0 || strchr("eEpP", copy[bytes - 1]));
        if (!is_sign && !isalnum((unsigned char)c) && c != '.' && c != '_')
            break;
        parser->at++;
        if (c != '_')
            copy[bytes++] = c;
    }
    copy[bytes] = '\0';
    char *end;
    errno = 0;
    const char *digits = copy + (copy[0] == '+' || copy[0] == '-');
    bool is_other_base = digits[0] == '0' && (digits[1] == 'b' || digits[1] == 'o');
    long long integer = is_other_base ? strtoll(digits + 2, &end, digits[1] == 'b' ? 2 : 8) : strtoll(copy, &end, 0);
    if (is_other_base && copy[0] == '-')
        integer = -integer;
    if (*end == '\0' && errno == 0 && bytes) {
        *ret = (struct template_value){.kind = TEMPLATE_INT, .integer = integer};
        return AP_OK;
    }
    double number = strtod(copy, &end);
    if (*end != '\0' || bytes == 0 || !isdigit((unsigned char)digits[digits[0] == '.'])) {
        parser->at = start;
        return FAIL("bad number syntax: \"%s\"", copy);
    }
    *ret = template_float(number);
    return AP_OK;
}

/* ---- Pipelines ---- */

static bool has_variable(const struct parser *parser, struct ap_slice name)
{
    for (size_t i = parser->variable_count; i-- > 0;)
        if (ap_slice_equal(parser->variables[i], name))
            return true;
    return false;
}

static enum ap_rc declare(struct parser *parser, struct ap_slice name)
{
    if (parser->variable_count == VARIABLES_MAX)
        return FAIL("more than %d variables", VARIABLES_MAX);
    parser->variables[parser->variable_count++] = name;
    return AP_OK;
}

static enum ap_rc take_fields(struct parser *parser, struct operand *operand)
{
    struct field **tail = &operand->fields;
    while (*tail)
        tail = &(*tail)->next;
    while (peek(parser) == '.' && is_name_char(peek_at(parser, 1))) {
        parser->at++;
        *tail = make(parser, sizeof(**tail));
        (*tail)->name = take_name(parser);
        tail = &(*tail)->next;
    }
    return AP_OK;
}

static enum ap_rc take_pipe(struct parser *parser, bool is_range, struct pipe **ret_pipe);

static enum ap_rc take_word(struct parser *parser, struct operand *operand)
{
    static const struct {
        const char *word;
        struct template_value value;
    } words[] = {
        {"true", {.kind = TEMPLATE_BOOL, .boolean = true}},
        {"false", {.kind = TEMPLATE_BOOL, .boolean = false}},
        {"nil", {.kind = TEMPLATE_NIL}},
    };
    struct ap_slice name = take_name(parser);
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        if (ap_slice_equal_cstr(name, words[i].word)) {
            operand->kind = OPERAND_CONSTANT;
            operand->constant = words[i].value;
            return AP_OK;
        }
    }
    operand->kind = OPERAND_FUNCTION;
    operand->function = template_function_find(name, parser->template->is_message);
    if (operand->function)
        return AP_OK;
    parser->at = operand->offset;
    return FAIL("function \"%.*s\" not defined", AP_SLICE_ARG(name));
}

static enum ap_rc take_operand(struct parser *parser, struct operand **ret_operand)
{
    struct operand *operand = make(parser, sizeof(*operand));
    operand->offset = parser->at;
    enum ap_rc rc = AP_OK;
    char c = peek(parser);
    if (c == '(') {
        parser->at++;
        operand->kind = OPERAND_PIPE;
        rc = take_pipe(parser, false, &operand->pipe);
        if (rc == AP_OK && peek(parser) != ')')
            return FAIL("unclosed left paren");
        parser->at++;
    } else if (c == '$') {
        parser->at++;
        struct ap_slice name = take_name(parser);
        operand->kind = OPERAND_VARIABLE;
        operand->variable = ap_slice(name.data - 1, name.bytes + 1);
        if (!has_variable(parser, operand->variable)) {
            parser->at = operand->offset;
            return FAIL("undefined variable \"%.*s\"", AP_SLICE_ARG(operand->variable));
        }
    } else if (c == '.' && !isdigit((unsigned char)peek_at(parser, 1))) {
        operand->kind = OPERAND_DOT;
        if (!is_name_char(peek_at(parser, 1)))
            parser->at++;
    } else if (c == '"' || c == '`' || c == '\'') {
        operand->kind = OPERAND_CONSTANT;
        rc = take_text(parser, &operand->constant);
    } else if (isdigit((unsigned char)c) || c == '+' || c == '-' || c == '.') {
        operand->kind = OPERAND_CONSTANT;
        rc = take_number(parser, &operand->constant);
    } else if (is_name_char(c)) {
        rc = take_word(parser, operand);
    } else {
        return c ? FAIL("unexpected character '%c' in an action", c) : FAIL("unclosed action");
    }
    if (rc == AP_OK && operand->kind != OPERAND_FUNCTION)
        rc = take_fields(parser, operand);
    if (rc == AP_OK && !is_space(peek(parser)) && peek(parser) && !strchr("|)},:=-", peek(parser)))
        return FAIL("unexpected '%c' behind an operand", peek(parser));
    *ret_operand = operand;
    return rc;
}

static bool ends_command(struct parser *parser)
{
    return at_end_of_action(parser) || peek(parser) == '|' || peek(parser) == ')' || peek(parser) == '\0';
}

static enum ap_rc take_command(struct parser *parser, struct command **ret_command)
{
    struct command *command = make(parser, sizeof(*command));
    struct operand **tail = &command->operands;
    while (!ends_command(parser)) {
        enum ap_rc rc = take_operand(parser, tail);
        if (rc != AP_OK)
            return rc;
        tail = &(*tail)->next;
    }
    if (!command->operands)
        return FAIL("missing value for command");
    const struct operand *first = command->operands;
    if (first->next && first->kind != OPERAND_FUNCTION && !first->fields) { /* a field may be a method */
        parser->at = first->next->offset;
        return FAIL("can't give argument to non-function");
    }
    *ret_command = command;
    return AP_OK;
}

/* "$x :=", "$i, $x :=", "$x =": leaves the position where it was when there is none. */
static enum ap_rc take_declaration(struct parser *parser, bool is_range, struct pipe *pipe)
{
    uint32_t start = parser->at;
    struct ap_slice names[2] = {0};
    size_t count = 0;
    while (count < 2 && peek(parser) == '$') {
        parser->at++;
        struct ap_slice name = take_name(parser);
        names[count++] = ap_slice(name.data - 1, name.bytes + 1);
        while (is_space(peek(parser)))
            parser->at++;
        if (count == 1 && is_range && peek(parser) == ',') {
            parser->at++;
            while (is_space(peek(parser)))
                parser->at++;
            continue;
        }
        break;
    }
    bool is_declaration = looking_at(parser, ":="), is_assignment = peek(parser) == '=';
    if (!count || (!is_declaration && !is_assignment)) {
        parser->at = start;
        return AP_OK;
    }
    parser->at += is_declaration ? 2 : 1;
    pipe->is_assignment = is_assignment;
    for (size_t i = 0; i < count; i++) {
        pipe->variables[i] = names[i];
        if (is_assignment && !has_variable(parser, names[i]))
            return FAIL("undefined variable \"%.*s\"", AP_SLICE_ARG(names[i]));
    }
    return AP_OK;
}

static enum ap_rc take_pipe(struct parser *parser, bool is_range, struct pipe **ret_pipe)
{
    if (++parser->depth > TEMPLATE_DEPTH_MAX)
        return FAIL("more than %d blocks and parentheses in each other", TEMPLATE_DEPTH_MAX);
    struct pipe *pipe = make(parser, sizeof(*pipe));
    while (is_space(peek(parser)))
        parser->at++;
    pipe->offset = parser->at;
    enum ap_rc rc = take_declaration(parser, is_range, pipe);
    struct command **tail = &pipe->commands;
    for (bool is_first = true; rc == AP_OK; is_first = false) {
        rc = take_command(parser, tail);
        if (rc == AP_OK && !is_first && (*tail)->operands->kind == OPERAND_CONSTANT) {
            parser->at = (*tail)->operands->offset;
            return FAIL("non executable command in pipeline");
        }
        if (rc != AP_OK || peek(parser) != '|')
            break;
        parser->at++;
        tail = &(*tail)->next;
    }
    for (size_t i = 0; i < 2 && rc == AP_OK && !pipe->is_assignment; i++)
        if (pipe->variables[i].data)
            rc = declare(parser, pipe->variables[i]);
    parser->depth--;
    *ret_pipe = pipe;
    return rc;
}

/* ---- Actions ---- */

enum terminator { END_OF_TEXT, END_OF_BLOCK, END_ELSE };

/* Goes behind }}, and past blanks that -}} trims. */
static enum ap_rc close_action(struct parser *parser)
{
    if (!at_end_of_action(parser))
        return peek(parser) ? FAIL("unexpected '%c' in an action", peek(parser)) : FAIL("unclosed action");
    bool is_trimming = peek(parser) == '-';
    parser->at += is_trimming ? 3 : 2;
    while (is_trimming && is_space(peek(parser)))
        parser->at++;
    return AP_OK;
}

static struct node **add_node(struct parser *parser, struct node **tail, enum node_kind kind, uint32_t offset)
{
    *tail = make(parser, sizeof(**tail));
    (*tail)->kind = kind;
    (*tail)->offset = offset;
    return &(*tail)->next;
}

static bool take_keyword(struct parser *parser, const char *word)
{
    size_t bytes = strlen(word);
    if (!looking_at(parser, word) || is_name_char(peek_at(parser, (uint32_t)bytes)))
        return false;
    parser->at += (uint32_t)bytes;
    return true;
}

static enum ap_rc take_list(struct parser *parser, struct node **ret_nodes, enum terminator *ret_terminator);

/* Behind if, with or range; its {{ else }} and {{ end }} too. */
static enum ap_rc take_block(struct parser *parser, struct node *node)
{
    size_t variable_count = parser->variable_count;
    bool is_range = node->kind == NODE_RANGE;
    enum terminator terminator = END_OF_TEXT;
    enum ap_rc rc = take_pipe(parser, is_range, &node->pipe);
    if (rc == AP_OK)
        rc = close_action(parser);
    parser->range_depth += is_range;
    if (rc == AP_OK)
        rc = take_list(parser, &node->body, &terminator);
    parser->range_depth -= is_range;
    if (rc == AP_OK && terminator == END_ELSE) {
        while (is_space(peek(parser)))
            parser->at++;
        uint32_t offset = parser->at;
        bool is_if = node->kind == NODE_IF && take_keyword(parser, "if");
        bool is_with = node->kind == NODE_WITH && take_keyword(parser, "with");
        if (is_if || is_with) { /* the {{ end }} that comes is of both */
            if (++parser->depth > TEMPLATE_DEPTH_MAX)
                return FAIL("more than %d blocks and parentheses in each other", TEMPLATE_DEPTH_MAX);
            add_node(parser, &node->otherwise, node->kind, offset);
            rc = take_block(parser, node->otherwise);
            parser->depth--;
            parser->variable_count = variable_count;
            return rc;
        }
        rc = close_action(parser);
        if (rc == AP_OK)
            rc = take_list(parser, &node->otherwise, &terminator);
        if (rc == AP_OK && terminator == END_ELSE)
            return FAIL("expected end; found {{else}}");
    }
    if (rc == AP_OK && terminator == END_OF_TEXT) {
        parser->at = node->offset;
        return FAIL("this block has no {{end}}");
    }
    parser->variable_count = variable_count;
    return rc == AP_OK ? close_action(parser) : rc;
}

static enum ap_rc take_template_name(struct parser *parser, struct ap_slice *ret_name)
{
    while (is_space(peek(parser)))
        parser->at++;
    if (peek(parser) != '"' && peek(parser) != '`')
        return FAIL("expected the name of a template in quotes");
    struct template_value name;
    enum ap_rc rc = take_text(parser, &name);
    *ret_name = name.text;
    return rc;
}

/* {{ define "x" }} … {{ end }}; `is_block`: {{ block "x" . }}, which runs it too. */
static enum ap_rc take_definition(struct parser *parser, bool is_block, struct node *node)
{
    struct definition *definition = make(parser, sizeof(*definition));
    enum ap_rc rc = take_template_name(parser, &definition->name);
    if (rc == AP_OK && is_block) {
        node->text = definition->name;
        rc = take_pipe(parser, false, &node->pipe);
    }
    if (rc == AP_OK)
        rc = close_action(parser);
    /* Of the variables outside only "$" is seen inside. */
    struct ap_slice outer[VARIABLES_MAX];
    size_t outer_count = parser->variable_count;
    memcpy(outer, parser->variables, outer_count * sizeof(*outer));
    parser->variable_count = 1;
    uint32_t range_depth = parser->range_depth;
    parser->range_depth = 0;
    enum terminator terminator = END_OF_TEXT;
    if (rc == AP_OK)
        rc = take_list(parser, &definition->body, &terminator);
    if (rc == AP_OK && terminator != END_OF_BLOCK)
        return FAIL("{{define}} and {{block}} need an {{end}} and have no {{else}}");
    memcpy(parser->variables, outer, outer_count * sizeof(*outer));
    parser->variable_count = outer_count;
    parser->range_depth = range_depth;
    definition->home = parser->template;
    definition->next = parser->template->definitions;
    parser->template->definitions = definition;
    return rc == AP_OK ? close_action(parser) : rc;
}

static enum ap_rc take_comment(struct parser *parser)
{
    const char *rest = parser->text.data + parser->at;
    const char *end = memmem(rest, parser->text.bytes - parser->at, "*/", 2);
    if (!end)
        return FAIL("unclosed comment");
    parser->at += (uint32_t)(end - rest) + 2;
    bool is_closed = looking_at(parser, "}}") || (is_space(peek(parser)) && looking_at(parser, " -}}"));
    return is_closed ? close_action(parser) : FAIL("comment ends before closing delimiter");
}

static enum ap_rc take_jump(struct parser *parser, struct node *node, const char *word)
{
    if (!parser->range_depth)
        return FAIL("{{%s}} outside {{range}}", word);
    (void)node;
    return close_action(parser);
}

/* Behind {{; *ret_tail moves behind what was added. */
static enum ap_rc take_action(struct parser *parser, struct node ***tail, enum terminator *ret_terminator,
                              bool *ret_ends)
{
    static const struct {
        const char *word;
        enum node_kind kind;
    } blocks[] = {{"if", NODE_IF}, {"with", NODE_WITH}, {"range", NODE_RANGE}};
    *ret_ends = false;
    if (looking_at(parser, "/*"))
        return take_comment(parser);
    while (is_space(peek(parser)))
        parser->at++;
    uint32_t offset = parser->at;
    struct node *node = NULL;
    for (size_t i = 0; i < AP_ARRAY_COUNT(blocks); i++) {
        if (take_keyword(parser, blocks[i].word)) {
            node = **tail = make(parser, sizeof(*node));
            *node = (struct node){.kind = blocks[i].kind, .offset = offset};
            *tail = &node->next;
            return take_block(parser, node);
        }
    }
    if (take_keyword(parser, "end") || take_keyword(parser, "else")) {
        *ret_ends = true;
        *ret_terminator = parser->text.data[parser->at - 1] == 'd' ? END_OF_BLOCK : END_ELSE;
        return AP_OK; /* the block's own code closes it */
    }
    if (take_keyword(parser, "define"))
        return take_definition(parser, false, NULL);
    node = make(parser, sizeof(*node));
    node->offset = offset;
    **tail = node;
    *tail = &node->next;
    if (take_keyword(parser, "block")) {
        node->kind = NODE_TEMPLATE;
        return take_definition(parser, true, node);
    }
    if (take_keyword(parser, "break")) {
        node->kind = NODE_BREAK;
        return take_jump(parser, node, "break");
    }
    if (take_keyword(parser, "continue")) {
        node->kind = NODE_CONTINUE;
        return take_jump(parser, node, "continue");
    }
    enum ap_rc rc = AP_OK;
    node->kind = NODE_ACTION;
    if (take_keyword(parser, "template")) {
        node->kind = NODE_TEMPLATE;
        rc = take_template_name(parser, &node->text);
        if (rc == AP_OK && at_end_of_action(parser))
            return close_action(parser);
    }
    if (rc == AP_OK)
        rc = take_pipe(parser, false, &node->pipe);
    return rc == AP_OK ? close_action(parser) : rc;
}

static enum ap_rc take_list(struct parser *parser, struct node **ret_nodes, enum terminator *ret_terminator)
{
    if (++parser->depth > TEMPLATE_DEPTH_MAX)
        return FAIL("more than %d blocks and parentheses in each other", TEMPLATE_DEPTH_MAX);
    struct node **tail = ret_nodes;
    *ret_terminator = END_OF_TEXT;
    bool is_end = false;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && !is_end && parser->at < parser->text.bytes) {
        const char *start = parser->text.data + parser->at;
        size_t left = parser->text.bytes - parser->at;
        const char *action = memmem(start, left, "{{", 2);
        struct ap_slice text = ap_slice(start, action ? (size_t)(action - start) : left);
        uint32_t offset = parser->at;
        parser->at += (uint32_t)text.bytes + (action ? 2 : 0);
        bool is_trimming = action && peek(parser) == '-' && is_space(peek_at(parser, 1));
        if (is_trimming) {
            parser->at += 2;
            while (is_space(peek(parser)))
                parser->at++;
            while (text.bytes && is_space(text.data[text.bytes - 1]))
                text.bytes--;
        }
        if (text.bytes) {
            struct node **node = tail;
            tail = add_node(parser, tail, NODE_TEXT, offset);
            (*node)->text = text;
        }
        if (action)
            rc = take_action(parser, &tail, ret_terminator, &is_end);
    }
    parser->depth--;
    return rc;
}

enum ap_rc template_parse_tree(struct template *template, struct ap_err *err)
{
    struct parser *parser = ap_new0(struct parser);
    parser->template = template;
    parser->text = template->text;
    parser->err = err;
    parser->variables[parser->variable_count++] = ap_slice_cstr("$");
    AP_ASSERT(template->variable_count < VARIABLES_MAX / 2);
    for (size_t i = 0; i < template->variable_count; i++)
        parser->variables[parser->variable_count++] = template->variables[i];
    enum terminator terminator;
    enum ap_rc rc = take_list(parser, &template->body, &terminator);
    if (rc == AP_OK && terminator != END_OF_TEXT)
        rc = FAIL("unexpected {{%s}}", terminator == END_ELSE ? "else" : "end");
    free(parser);
    return rc;
}
