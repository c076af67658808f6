/*
 * Builds the nodes from libfyaml's events. Its own document builder is not used: it recurses, keeps no place for maps
 * and lists, and does more (anchors, merge keys) than these files may.
 */
#include "codec/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/yaml_internal.h"

enum { ARENA_BYTES_MAX = 64 << 20 };

/* What `&name` stands before. */
struct anchor {
    struct ap_slice name;
    struct yaml_node *node;
    struct anchor *next; /* the one before it */
};

struct builder {
    struct yaml_document *document;
    bool is_sharing;        /* aliases are allowed */
    struct anchor *anchors; /* newest first */
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct yaml_node *open[YAML_DEPTH_MAX]; /* maps and lists that have not ended */
    struct yaml_node *last[YAML_DEPTH_MAX]; /* newest child of each */
    struct yaml_node *key[YAML_DEPTH_MAX];  /* of a map: the key that waits for its value */
    size_t depth;
    bool has_ended;
};

void *yaml_alloc(const struct yaml_document *document, size_t bytes)
{
    return ap_arena_alloc0(&((struct yaml_document *)document)->arena, bytes);
}

const char *yaml_copy(const struct yaml_document *document, struct ap_slice text)
{
    char *copy = yaml_alloc(document, text.bytes + 1);
    if (text.bytes > 0)
        memcpy(copy, text.data, text.bytes);
    return copy;
}

static enum ap_rc fail_at(const struct yaml_document *document, int line, int column, enum ap_rc rc, struct ap_err *err,
                          const char *format, va_list args)
{
    char sentence[AP_ERR_TEXT_BYTES];
    vsnprintf(sentence, sizeof(sentence), format, args);
    return ap_fail(err, rc, "%s:%d:%d: %s", document->file, line, column, sentence);
}

enum ap_rc yaml_fail(struct ap_err *err, const struct yaml_node *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum ap_rc rc = fail_at(node->document, node->line, node->column, AP_E_PARSE, err, format, args);
    va_end(args);
    return rc;
}

/* ---- From events to nodes ---- */

static struct ap_slice token_text(struct fy_token *token)
{
    size_t bytes = 0;
    const char *text = token ? fy_token_get_text(token, &bytes) : NULL;
    return ap_slice(text, text ? bytes : 0);
}

static enum ap_rc fail_node(const struct yaml_node *node, enum ap_rc rc, struct ap_err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_at(node->document, node->line, node->column, rc, err, format, args);
    va_end(args);
    return rc;
}

static enum ap_rc count_node(const struct yaml_node *node, struct yaml_document *document, struct ap_err *err)
{
    if (++document->node_count > YAML_NODES_MAX)
        return fail_node(node, AP_E_LIMIT, err, "more than %d values in a file", YAML_NODES_MAX);
    return AP_OK;
}

static enum ap_rc copy_text(struct yaml_node *node, struct ap_slice text, struct yaml_document *document,
                            struct ap_err *err)
{
    char *copy = ap_arena_try_strndup(&document->arena, text);
    if (!copy)
        return fail_node(node, AP_E_LIMIT, err, "more than %d MiB of values in a file", ARENA_BYTES_MAX >> 20);
    node->text = ap_slice(copy, text.bytes);
    return AP_OK;
}

/* What may stand before a value and is no part of it. */
static enum ap_rc take_marks(struct builder *builder, struct yaml_node *node, struct fy_token *anchor,
                             struct fy_token *tag, struct ap_err *err)
{
    if (!builder->is_sharing && (anchor || tag))
        return fail_node(node, AP_E_PARSE, err, "anchors (&name) and tags (!name) are not used in these files");
    if (tag)
        return fail_node(node, AP_E_PARSE, err, "tags (!name) are not used in these files");
    if (!anchor)
        return AP_OK;
    struct anchor *known = yaml_alloc(builder->document, sizeof(*known));
    struct ap_slice name = token_text(anchor);
    *known = (struct anchor){ap_slice(yaml_copy(builder->document, name), name.bytes), node, builder->anchors};
    builder->anchors = known;
    return AP_OK;
}

static enum ap_rc node_new(struct builder *builder, struct fy_event *event, struct yaml_node **ret_node,
                           struct ap_err *err)
{
    struct yaml_document *document = builder->document;
    struct yaml_node *node = yaml_alloc(document, sizeof(*node));
    node->document = document;
    node->line = node->column = 1;

    struct fy_token *token, *anchor, *tag;
    if (event->type == FYET_SCALAR) {
        node->kind = YAML_KIND_SCALAR;
        node->text = ap_slice("", 0);
        token = event->scalar.value;
        anchor = event->scalar.anchor;
        tag = event->scalar.tag;
    } else if (event->type == FYET_SEQUENCE_START) {
        node->kind = YAML_KIND_LIST;
        token = event->sequence_start.sequence_start;
        anchor = event->sequence_start.anchor;
        tag = event->sequence_start.tag;
    } else {
        node->kind = YAML_KIND_MAP;
        token = event->mapping_start.mapping_start;
        anchor = event->mapping_start.anchor;
        tag = event->mapping_start.tag;
    }
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (mark) {
        node->line = mark->line + 1;
        node->column = mark->column + 1;
    }
    enum ap_rc rc = take_marks(builder, node, anchor, tag, err);
    if (rc == AP_OK)
        rc = count_node(node, document, err);
    if (rc == AP_OK && node->kind == YAML_KIND_SCALAR && token)
        rc = copy_text(node, token_text(token), document, err);
    if (rc != AP_OK)
        return rc;
    if (node->kind == YAML_KIND_SCALAR && token) {
        enum fy_scalar_style style = fy_token_scalar_style(token);
        node->is_quoted = style != FYSS_PLAIN && style != FYSS_ANY;
        /* The mark is behind the quote; people look for the quote. */
        if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && node->column > 1)
            node->column--;
    }
    *ret_node = node;
    return AP_OK;
}

static enum ap_rc add_node(struct builder *builder, struct yaml_node *node, struct ap_err *err)
{
    if (builder->depth == 0) {
        if (builder->document->root)
            return fail_node(node, AP_E_PARSE, err, "a second document in one file");
        builder->document->root = node;
        return AP_OK;
    }
    size_t top = builder->depth - 1;
    struct yaml_node *parent = builder->open[top];
    if (parent->kind == YAML_KIND_MAP && !builder->key[top]) {
        if (node->kind != YAML_KIND_SCALAR)
            return fail_node(node, AP_E_PARSE, err, "a %s as a key; expected text", yaml_kind_name(node->kind));
        if (parent->child_count == YAML_KEYS_MAX)
            return fail_node(node, AP_E_LIMIT, err, "more than %d keys in a map", YAML_KEYS_MAX);
        for (const struct yaml_node *other = parent->first; other; other = other->next) {
            if (ap_slice_equal(other->key->text, node->text))
                return fail_node(node, AP_E_PARSE, err, "\"%.*s\" is here a second time; the first is in line %d",
                                 AP_SLICE_ARG(node->text), other->key->line);
        }
        builder->key[top] = node;
        return AP_OK;
    }
    node->key = builder->key[top];
    builder->key[top] = NULL;
    if (builder->last[top])
        builder->last[top]->next = node;
    else
        parent->first = node;
    builder->last[top] = node;
    parent->child_count++;
    return AP_OK;
}

/* ---- Aliases and merge keys ---- */

static struct yaml_node *find_anchor(const struct builder *builder, struct ap_slice name)
{
    for (const struct anchor *anchor = builder->anchors; anchor; anchor = anchor->next)
        if (ap_slice_equal(anchor->name, name))
            return anchor->node;
    return NULL;
}

static enum ap_rc copy_one(struct builder *builder, const struct yaml_node *original, struct yaml_node **ret_copy,
                           struct ap_err *err)
{
    struct yaml_node *copy = yaml_alloc(builder->document, sizeof(*copy));
    *copy = *original; /* the text too: nodes do not change theirs */
    copy->key = copy->first = copy->next = NULL;
    *ret_copy = copy;
    return count_node(copy, builder->document, err);
}

/* All of it, which counts as if it was written out: that bounds what a few aliases of aliases can become. */
static enum ap_rc copy_tree(struct builder *builder, const struct yaml_node *original, struct yaml_node **ret_copy,
                            struct ap_err *err)
{
    struct {
        const struct yaml_node *child; /* the next one to copy */
        struct yaml_node *parent, **end;
    } levels[YAML_DEPTH_MAX];
    size_t depth = 0, depth_max = YAML_DEPTH_MAX - builder->depth;
    enum ap_rc rc = copy_one(builder, original, ret_copy, err);
    struct yaml_node *copy = *ret_copy;
    const struct yaml_node *source = original;
    while (rc == AP_OK) {
        if (source->kind != YAML_KIND_SCALAR) {
            if (depth == depth_max)
                return fail_node(source, AP_E_LIMIT, err, "nested deeper than %d", YAML_DEPTH_MAX);
            levels[depth].child = source->first;
            levels[depth].parent = copy;
            levels[depth++].end = &copy->first;
        }
        while (depth > 0 && !levels[depth - 1].child)
            depth--;
        if (depth == 0)
            return AP_OK;
        source = levels[depth - 1].child;
        levels[depth - 1].child = source->next;
        rc = copy_one(builder, source, &copy, err);
        if (rc == AP_OK && source->key)
            rc = copy_one(builder, source->key, &copy->key, err);
        *levels[depth - 1].end = copy;
        levels[depth - 1].end = &copy->next;
    }
    return rc;
}

static enum ap_rc add_alias(struct builder *builder, struct fy_token *token, struct ap_err *err)
{
    const struct fy_mark *mark = fy_token_start_mark(token);
    const struct yaml_node here = {
        .document = builder->document,
        .line = mark ? mark->line + 1 : 1,
        .column = mark ? AP_MAX(mark->column, 1) : 1, /* the mark is behind the star */
    };
    if (!builder->is_sharing)
        return fail_node(&here, AP_E_PARSE, err, "aliases (*name) are not used in these files");
    struct ap_slice name = token_text(token);
    const struct yaml_node *original = find_anchor(builder, name);
    if (!original)
        return fail_node(&here, AP_E_PARSE, err, "there is no &%.*s before this", AP_SLICE_ARG(name));
    for (size_t i = 0; i < builder->depth; i++)
        if (builder->open[i] == original)
            return fail_node(&here, AP_E_PARSE, err, "*%.*s is inside of itself", AP_SLICE_ARG(name));
    struct yaml_node *copy;
    enum ap_rc rc = copy_tree(builder, original, &copy, err);
    return rc == AP_OK ? add_node(builder, copy, err) : rc;
}

static enum ap_rc merge_map(struct yaml_node *map, const struct yaml_node *source, struct ap_err *err)
{
    struct yaml_node **end = &map->first;
    while (*end)
        end = &(*end)->next;
    if (source->kind != YAML_KIND_MAP)
        return fail_node(source, AP_E_PARSE, err, "<<: expected a map or a list of maps, found a %s",
                         yaml_kind_name(source->kind));
    for (struct yaml_node *member = source->first, *next; member; member = next) {
        next = member->next;
        if (yaml_get(map, member->key->text.data))
            continue; /* its own, or one of a map before */
        if (++map->child_count > YAML_KEYS_MAX)
            return fail_node(source, AP_E_LIMIT, err, "more than %d keys in a map", YAML_KEYS_MAX);
        member->next = NULL;
        *end = member;
        end = &member->next;
    }
    return AP_OK;
}

/* Of a map that has ended: the members of what `<<` names become its own. */
static enum ap_rc merge(struct yaml_node *map, struct ap_err *err)
{
    struct yaml_node **at = &map->first;
    while (*at && ((*at)->key->is_quoted || !ap_slice_equal_cstr((*at)->key->text, "<<")))
        at = &(*at)->next;
    struct yaml_node *merged = *at;
    if (!merged)
        return AP_OK;
    *at = merged->next;
    map->child_count--;
    if (merged->kind != YAML_KIND_LIST)
        return merge_map(map, merged, err);
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *source = merged->first; source && rc == AP_OK; source = source->next)
        rc = merge_map(map, source, err);
    return rc;
}

/* ---- Events ---- */

static enum ap_rc handle_event(struct builder *builder, struct fy_event *event, struct ap_err *err)
{
    struct yaml_node *node;
    enum ap_rc rc;
    switch (event->type) {
    case FYET_ALIAS:
        return add_alias(builder, event->alias.anchor, err);
    case FYET_SCALAR:
        rc = node_new(builder, event, &node, err);
        return rc == AP_OK ? add_node(builder, node, err) : rc;
    case FYET_MAPPING_START:
    case FYET_SEQUENCE_START:
        rc = node_new(builder, event, &node, err);
        if (rc == AP_OK)
            rc = add_node(builder, node, err);
        if (rc != AP_OK)
            return rc;
        if (builder->depth == YAML_DEPTH_MAX)
            return fail_node(node, AP_E_LIMIT, err, "nested deeper than %d", YAML_DEPTH_MAX);
        builder->open[builder->depth] = node;
        builder->last[builder->depth] = NULL;
        builder->key[builder->depth] = NULL;
        builder->depth++;
        return AP_OK;
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        builder->depth--;
        return builder->is_sharing && event->type == FYET_MAPPING_END ? merge(builder->open[builder->depth], err)
                                                                      : AP_OK;
    case FYET_STREAM_END:
        builder->has_ended = true;
        return AP_OK;
    default:
        return AP_OK;
    }
}

/* What libfyaml found wrong: its first message and place. */
static enum ap_rc fail_syntax(struct builder *builder, struct ap_err *err)
{
    void *position = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(builder->diag, &position);
    if (!error)
        return ap_fail(err, AP_E_PARSE, "%s:1:1: not YAML", builder->document->file);
    return ap_fail(err, AP_E_PARSE, "%s:%d:%d: not YAML: %s", builder->document->file,
                   error->line > 0 ? error->line : 1, error->column > 0 ? error->column : 1, error->msg);
}

static enum ap_rc build(struct builder *builder, struct ap_err *err)
{
    while (!builder->has_ended) {
        struct fy_event *event = fy_parser_parse(builder->parser);
        if (!event)
            return fail_syntax(builder, err);
        enum ap_rc rc = handle_event(builder, event, err);
        fy_parser_event_free(builder->parser, event);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

/*
 * Bytes that the text may not hold. libfyaml takes NUL for the end and stops silently at what is not UTF-8; with tabs
 * and other control characters 0.7.12 can be made to write through a null pointer, and YAML itself allows them in few
 * places.
 */
static const char *forbidden_byte(const char *at, bool is_utf8)
{
    if (!is_utf8)
        return "not UTF-8 text";
    if (*at == '\t')
        return "a tab; use spaces";
    return (unsigned char)*at < 0x20 && *at != '\n' && *at != '\r' ? "a control character" : NULL;
}

static enum ap_rc check_bytes(struct ap_slice text, const char *file, struct ap_err *err)
{
    size_t valid_bytes = ap_utf8_valid_bytes(text);
    int line = 1, column = 1;
    for (size_t i = 0; i < text.bytes; i++) {
        const char *fault = forbidden_byte(text.data + i, i < valid_bytes);
        if (fault)
            return ap_fail(err, AP_E_PARSE, "%s:%d:%d: %s", file, line, column, fault);
        column = text.data[i] == '\n' ? 1 : column + 1;
        line += text.data[i] == '\n';
    }
    return AP_OK;
}

static enum ap_rc parse(struct ap_slice text, const char *file, bool is_sharing, struct yaml_document **ret_document,
                        struct ap_err *err)
{
    if (text.bytes > YAML_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "%s: larger than %d MiB", file, YAML_BYTES_MAX >> 20);
    enum ap_rc rc = check_bytes(text, file, err);
    if (rc != AP_OK)
        return rc;

    AP_AUTO(yaml) struct yaml_document *document = ap_new0(struct yaml_document);
    document->file = ap_strdup(file);
    ap_arena_init(&document->arena, ARENA_BYTES_MAX);

    struct builder builder = {.document = document, .is_sharing = is_sharing};
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.colorize = false;
    builder.diag = fy_diag_create(&diag_cfg);
    if (!builder.diag)
        return ap_fail(err, AP_E_NOMEM, "%s: no memory for reading YAML", file);
    fy_diag_set_collect_errors(builder.diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
                               .diag = builder.diag};
    builder.parser = fy_parser_create(&cfg);
    if (builder.parser && fy_parser_set_string(builder.parser, text.data ? text.data : "", text.bytes) == 0)
        rc = build(&builder, err);
    else
        rc = ap_fail(err, AP_E_NOMEM, "%s: no memory for reading YAML", file);
    if (builder.parser)
        fy_parser_destroy(builder.parser);
    fy_diag_destroy(builder.diag);
    if (rc != AP_OK)
        return rc;

    if (!document->root) {
        document->root = yaml_alloc(document, sizeof(*document->root));
        *document->root = (struct yaml_node){.kind = YAML_KIND_MAP, .line = 1, .column = 1, .document = document};
    }
    *ret_document = AP_MOVE(document);
    return AP_OK;
}

enum ap_rc yaml_parse(struct ap_slice text, const char *file, struct yaml_document **ret_document, struct ap_err *err)
{
    return parse(text, file, false, ret_document, err);
}

enum ap_rc yaml_parse_sharing(struct ap_slice text, const char *file, struct yaml_document **ret_document,
                              struct ap_err *err)
{
    return parse(text, file, true, ret_document, err);
}

static enum ap_rc read_file(const char *path, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return ap_fail_errno(err, errno, "open %s", path);
    if (!S_ISREG(status.st_mode))
        return ap_fail(err, AP_E_IO, "%s is not a file", path);
    ap_buf_init(out, YAML_BYTES_MAX + 1);
    for (;;) {
        char piece[8192];
        ssize_t got = read(fd, piece, sizeof(piece));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ap_fail_errno(err, errno, "read %s", path);
        if (got == 0)
            return AP_OK;
        ap_buf_add(out, piece, (size_t)got);
        if (!ap_buf_ok(out))
            return ap_fail(err, AP_E_LIMIT, "%s: larger than %d MiB", path, YAML_BYTES_MAX >> 20);
    }
}

enum ap_rc yaml_load(const char *path, struct yaml_document **ret_document, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = read_file(path, &text, err);
    return rc == AP_OK ? yaml_parse(ap_buf_slice(&text), path, ret_document, err) : rc;
}

enum ap_rc yaml_load_sharing(const char *path, struct yaml_document **ret_document, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = read_file(path, &text, err);
    return rc == AP_OK ? yaml_parse_sharing(ap_buf_slice(&text), path, ret_document, err) : rc;
}

void yaml_free(struct yaml_document *document)
{
    if (!document)
        return;
    ap_arena_clear(&document->arena);
    free(document->file);
    free(document);
}

/* ---- Nodes ---- */

const struct yaml_node *yaml_root(const struct yaml_document *document)
{
    return document->root;
}

const char *yaml_file(const struct yaml_document *document)
{
    return document->file;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_KIND_MAP)
        return NULL;
    for (const struct yaml_node *value = map->first; value; value = value->next) {
        if (ap_slice_equal_cstr(value->key->text, key))
            return value;
    }
    return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR && !node->is_quoted &&
           (node->text.bytes == 0 || ap_slice_equal_cstr(node->text, "~") || ap_slice_equal_cstr(node->text, "null"));
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    switch (kind) {
    case YAML_KIND_SCALAR:
        return "text";
    case YAML_KIND_LIST:
        return "list";
    case YAML_KIND_MAP:
        return "map";
    }
    return "?";
}
