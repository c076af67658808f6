#include "scrape/relabel.h"

#include <gnutls/crypto.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

#include "base/assert.h"
#include "codec/yaml.h"
#include "tsdb/matcher.h"

enum { LABELS_MAX = 4 * LABELS_COUNT_MAX }; /* so many may a rule leave to the ones behind it */

/* As they are told in errors; the order is that of the names below. */
enum action {
    ACTION_REPLACE,
    ACTION_KEEP,
    ACTION_DROP,
    ACTION_KEEPEQUAL,
    ACTION_DROPEQUAL,
    ACTION_HASHMOD,
    ACTION_LABELMAP,
    ACTION_LABELDROP,
    ACTION_LABELKEEP,
    ACTION_LOWERCASE,
    ACTION_UPPERCASE,
};
static const char *const action_names[] = {
    "replace",  "keep",      "drop",      "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
};

struct rule {
    enum action action;
    struct ap_slice *sources;
    size_t source_count;
    struct ap_slice separator;
    struct ap_slice regex_text;
    struct matcher *regex; /* owned; NULL: "(.*)", which takes anything and is the default */
    uint64_t modulus;
    struct ap_slice target;
    struct ap_slice replacement;
    bool is_target_template; /* has a '$' */
    bool is_copying;         /* the replacement is $1 of "(.*)": the value as it is */
};

struct relabel_rules {
    struct ap_arena arena; /* texts and arrays */
    bool is_utf8;
    size_t count;
    struct rule items[];
};

/* ---- The labels ---- */

void relabel_labels_init(struct relabel_labels *labels, struct ap_arena *arena)
{
    *labels = (struct relabel_labels){.arena = arena};
}

static struct label *find(const struct relabel_labels *labels, struct ap_slice name)
{
    for (size_t i = 0; i < labels->count; i++)
        if (ap_slice_equal(labels->items[i].name, name))
            return &labels->items[i];
    return NULL;
}

struct ap_slice relabel_labels_get(const struct relabel_labels *labels, struct ap_slice name)
{
    const struct label *label = find(labels, name);
    return label ? label->value : (struct ap_slice){0};
}

static void append(struct relabel_labels *labels, struct label label)
{
    enum { FIRST_CAPACITY = 32 };
    if (labels->count == labels->capacity) {
        size_t capacity = AP_MAX(labels->capacity * 2, (size_t)FIRST_CAPACITY);
        struct label *items = ap_arena_alloc0(labels->arena, capacity * sizeof(*items));
        if (labels->count)
            memcpy(items, labels->items, labels->count * sizeof(*items));
        labels->items = items;
        labels->capacity = capacity;
    }
    labels->items[labels->count++] = label;
}

static void remove_label(struct relabel_labels *labels, struct label *label)
{
    size_t index = (size_t)(label - labels->items);
    memmove(label, label + 1, (labels->count - index - 1) * sizeof(*label));
    labels->count--;
    labels->given_count -= index < labels->given_count;
}

void relabel_labels_add(struct relabel_labels *labels, struct ap_slice canonical)
{
    struct label label;
    while (labels_next(&canonical, &label))
        append(labels, label);
    labels->given_count = labels->count;
}

/*
 * A label that was given and is set goes behind the others, and one that was set stays where it is: the order in which
 * `labelmap` goes over the labels is Prometheus', and decides which value wins when two names become one.
 */
void relabel_labels_set(struct relabel_labels *labels, struct ap_slice name, struct ap_slice value)
{
    struct label *label = find(labels, name);
    if (label && value.bytes && (size_t)(label - labels->items) >= labels->given_count) {
        label->value = value;
        return;
    }
    if (label)
        remove_label(labels, label);
    if (value.bytes)
        append(labels, (struct label){name, value});
}

static int compare_labels(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    size_t bytes = AP_MIN(left->name.bytes, right->name.bytes);
    int order = bytes ? memcmp(left->name.data, right->name.data, bytes) : 0;
    return order ? order : (left->name.bytes > right->name.bytes) - (left->name.bytes < right->name.bytes);
}

void relabel_labels_sort(struct relabel_labels *labels)
{
    if (labels->count)
        qsort(labels->items, labels->count, sizeof(*labels->items), compare_labels);
}

/* ---- Names ---- */

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(struct ap_slice text, bool is_utf8)
{
    if (text.bytes == 0 || is_utf8)
        return text.bytes && ap_utf8_valid_bytes(text) == text.bytes;
    for (size_t i = 0; i < text.bytes; i++)
        if (!is_word(text.data[i]))
            return false;
    return text.data[0] < '0' || text.data[0] > '9';
}

/* A name in which $1, ${1} and ${name} may stand for parts. */
static bool is_name_template(struct ap_slice text, bool is_utf8)
{
    if (is_utf8)
        return is_name(text, true);
    for (size_t i = 0; i < text.bytes;) {
        bool is_group = text.data[i] == '$';
        bool is_braced = is_group && i + 1 < text.bytes && text.data[i + 1] == '{';
        size_t start = i + is_group + is_braced, end = start;
        while (end < text.bytes && is_word(text.data[end]))
            end++;
        if (end == start || (is_braced && (end == text.bytes || text.data[end] != '}')))
            return false;
        if (i == 0 && !is_group && text.data[0] >= '0' && text.data[0] <= '9')
            return false;
        i = end + is_braced;
    }
    return text.bytes > 0;
}

/* ---- Reading ---- */

struct rule_form {
    struct yaml_texts source_labels;
    const char *separator;
    const struct yaml_node *regex;
    int64_t modulus;
    const char *target_label;
    const char *replacement;
    const char *action;
};

#define AT(member) .offset = offsetof(struct rule_form, member)
static const struct yaml_field rule_fields[] = {
    {.key = "source_labels", .type = YAML_TYPE_TEXT_LIST, AT(source_labels)},
    {.key = "separator", .type = YAML_TYPE_TEXT, AT(separator)},
    {.key = "regex", .type = YAML_TYPE_NODE, AT(regex)},
    {.key = "modulus", .type = YAML_TYPE_INTEGER, AT(modulus), .min = 0, .max = INT64_MAX},
    {.key = "target_label", .type = YAML_TYPE_TEXT, AT(target_label)},
    {.key = "replacement", .type = YAML_TYPE_TEXT, AT(replacement)},
    {.key = "action", .type = YAML_TYPE_TEXT, AT(action)},
};

static struct ap_slice keep_text(struct relabel_rules *rules, const char *text)
{
    struct ap_slice whole = ap_slice_cstr(text);
    char *copy = ap_arena_alloc0(&rules->arena, whole.bytes + 1);
    memcpy(copy, text, whole.bytes);
    return ap_slice(copy, whole.bytes);
}

static enum ap_rc read_action(const struct yaml_node *node, const struct rule_form *form, enum action *ret_action,
                              struct ap_err *err)
{
    *ret_action = ACTION_REPLACE;
    for (size_t i = 0; form->action && i < AP_ARRAY_COUNT(action_names); i++) {
        if (strcasecmp(form->action, action_names[i]) == 0) {
            *ret_action = (enum action)i;
            return AP_OK;
        }
    }
    if (!form->action)
        return AP_OK;
    return yaml_fail(err, yaml_get(node, "action"),
                     "unknown relabel action \"%s\"; there are replace, keep, drop, "
                     "keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase and uppercase",
                     form->action);
}

static enum ap_rc read_regex(const struct yaml_node *node, struct rule *rule, struct ap_err *err)
{
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_fail(err, node, "regex: expected text, found a %s", yaml_kind_name(node->kind));
    if (ap_slice_equal_cstr(node->text, "(.*)"))
        return AP_OK; /* as if none was given */
    struct ap_err reason;
    enum ap_rc rc = matcher_new(MATCHER_REGEX, ap_slice("regex", 5), node->text, &rule->regex, &reason);
    return rc == AP_OK ? rc : yaml_fail(err, node, "%s", reason.text);
}

static bool is_setting_target(enum action action)
{
    return action == ACTION_REPLACE || action == ACTION_HASHMOD || action == ACTION_LOWERCASE ||
           action == ACTION_UPPERCASE || action == ACTION_KEEPEQUAL || action == ACTION_DROPEQUAL;
}

/* What the action needs, and what it has no use for. */
static enum ap_rc check_rule(const struct yaml_node *node, const struct rule_form *form, const struct rule *rule,
                             bool is_utf8, struct ap_err *err)
{
    enum action action = rule->action;
    const char *name = action_names[action];
    const struct yaml_node *target = form->target_label ? yaml_get(node, "target_label") : node;
    const struct yaml_node *replacement = form->replacement ? yaml_get(node, "replacement") : node;
    bool is_replacing = !ap_slice_equal_cstr(rule->replacement, "$1");
    bool is_separating = !ap_slice_equal_cstr(rule->separator, ";");
    bool is_comparing = action == ACTION_KEEPEQUAL || action == ACTION_DROPEQUAL;
    if (action == ACTION_HASHMOD && rule->modulus == 0)
        return yaml_fail(err, node, "relabel configuration for hashmod requires non-zero modulus");
    if (is_setting_target(action) && rule->target.bytes == 0)
        return yaml_fail(err, target, "relabel configuration for %s action requires 'target_label' value", name);
    if (is_setting_target(action) &&
        !(action == ACTION_REPLACE && rule->is_target_template ? is_name_template(rule->target, is_utf8)
                                                               : is_name(rule->target, is_utf8)))
        return yaml_fail(err, target, "\"%s\" is invalid 'target_label' for %s action", rule->target.data, name);
    if ((action == ACTION_LOWERCASE || action == ACTION_UPPERCASE || is_comparing) && is_replacing)
        return yaml_fail(err, replacement, "'replacement' can not be set for %s action", name);
    if (action == ACTION_LABELMAP && !is_name_template(rule->replacement, is_utf8))
        return yaml_fail(err, replacement, "\"%s\" is invalid 'replacement' for %s action", rule->replacement.data,
                         name);
    if (is_comparing && (form->regex || rule->modulus || is_separating))
        return yaml_fail(err, node, "%s action requires only 'source_labels' and `target_label`, and no other fields",
                         name);
    if ((action == ACTION_LABELDROP || action == ACTION_LABELKEEP) &&
        (rule->source_count || rule->target.bytes || rule->modulus || is_separating || is_replacing))
        return yaml_fail(err, node, "%s action requires only 'regex', and no other fields", name);
    return AP_OK;
}

static enum ap_rc read_sources(struct relabel_rules *rules, const struct yaml_texts *texts, struct rule *rule,
                               struct ap_err *err)
{
    rule->sources = ap_arena_alloc0(&rules->arena, (texts->count + 1) * sizeof(*rule->sources));
    for (size_t i = 0; i < texts->count; i++) {
        struct ap_slice name = keep_text(rules, texts->items[i]);
        if (!is_name(name, rules->is_utf8))
            return yaml_fail(err, texts->nodes[i], "\"%s\" is not a valid label name", texts->items[i]);
        rule->sources[rule->source_count++] = name;
    }
    return AP_OK;
}

static enum ap_rc read_rule(const struct yaml_node *node, struct relabel_rules *rules, struct rule *rule,
                            struct ap_err *err)
{
    struct rule_form form = {0};
    if (yaml_is_null(node))
        return yaml_fail(err, node, "empty or null relabeling rule");
    enum ap_rc rc = yaml_read_struct(node, rule_fields, AP_ARRAY_COUNT(rule_fields), &form, err);
    if (rc == AP_OK)
        rc = read_action(node, &form, &rule->action, err);
    if (rc == AP_OK)
        rc = read_sources(rules, &form.source_labels, rule, err);
    if (rc == AP_OK && form.regex)
        rc = read_regex(form.regex, rule, err);
    if (rc != AP_OK)
        return rc;
    rule->separator = keep_text(rules, form.separator ? form.separator : ";");
    rule->regex_text = rule->regex ? matcher_value(rule->regex) : ap_slice("(.*)", 4);
    rule->modulus = (uint64_t)form.modulus;
    rule->target = keep_text(rules, form.target_label ? form.target_label : "");
    rule->replacement = keep_text(rules, form.replacement ? form.replacement : "$1");
    rule->is_target_template = memchr(rule->target.data, '$', rule->target.bytes) != NULL;
    rule->is_copying = !rule->regex &&
                       (ap_slice_equal_cstr(rule->replacement, "$1") || ap_slice_equal_cstr(rule->replacement, "${1}"));
    rc = check_rule(node, &form, rule, rules->is_utf8, err);
    /* "(.*)" is known without trying, but its groups are not. */
    bool needs_groups = rule->is_target_template || (!rule->is_copying && strchr(rule->replacement.data, '$'));
    if (rc == AP_OK && !rule->regex && (needs_groups || rule->action == ACTION_LABELMAP))
        rc = matcher_new(MATCHER_REGEX, ap_slice("regex", 5), ap_slice("(.*)", 4), &rule->regex, err);
    return rc;
}

enum ap_rc relabel_rules_read(const struct yaml_node *list, bool is_utf8, struct relabel_rules **ret_rules,
                              struct ap_err *err)
{
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "expected a list of relabeling rules, found a %s", yaml_kind_name(list->kind));
    if (list->child_count > RELABEL_RULES_MAX) {
        yaml_fail(err, list, "more than %d relabeling rules", RELABEL_RULES_MAX);
        return err->rc = AP_E_LIMIT;
    }
    AP_AUTO(relabel_rules)
    struct relabel_rules *rules = ap_alloc0(1, sizeof(*rules) + list->child_count * sizeof(struct rule));
    ap_arena_init(&rules->arena, 0);
    rules->is_utf8 = is_utf8;
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        enum ap_rc rc = read_rule(node, rules, &rules->items[rules->count++], err);
        if (rc != AP_OK)
            return rc;
    }
    *ret_rules = rules->count ? AP_MOVE(rules) : NULL;
    return AP_OK;
}

void relabel_rules_free(struct relabel_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++)
        matcher_free(rules->items[i].regex);
    ap_arena_clear(&rules->arena);
    free(rules);
}

/* ---- Applying ---- */

/* What is in a buffer, in the memory of the labels. False: too large. */
static bool keep_made(const struct relabel_labels *labels, const struct ap_buf *made, struct ap_slice *ret_text)
{
    char *copy = ap_buf_ok(made) ? ap_arena_try_strndup(labels->arena, ap_buf_slice(made)) : NULL;
    *ret_text = ap_slice(copy, copy ? made->bytes : 0);
    return copy != NULL;
}

/* The values of the source labels with the separator between them. False: too large. */
static bool join_sources(const struct rule *rule, const struct relabel_labels *labels, struct ap_slice *ret_value)
{
    *ret_value = ap_slice("", 0);
    if (rule->source_count == 1)
        *ret_value = relabel_labels_get(labels, rule->sources[0]);
    if (rule->source_count < 2)
        return true;
    AP_AUTO_BUF struct ap_buf joined = {.bytes_max = RELABEL_VALUE_BYTES_MAX};
    for (size_t i = 0; i < rule->source_count; i++) {
        if (i > 0)
            ap_buf_add_slice(&joined, rule->separator);
        ap_buf_add_slice(&joined, relabel_labels_get(labels, rule->sources[i]));
    }
    return keep_made(labels, &joined, ret_value);
}

static bool matches(const struct rule *rule, struct ap_slice value)
{
    return !rule->regex || matcher_matches(rule->regex, value);
}

/* The template with its groups filled in. False: too large. */
static bool expand(const struct rule *rule, struct ap_slice value, struct ap_slice template,
                   const struct relabel_labels *labels, struct ap_slice *ret_text)
{
    AP_AUTO_BUF struct ap_buf made = {.bytes_max = RELABEL_VALUE_BYTES_MAX};
    (void)matcher_expand(rule->regex, value, template, &made);
    return keep_made(labels, &made, ret_text);
}

static enum relabel_result replace(const struct relabel_rules *rules, const struct rule *rule, struct ap_slice value,
                                   struct relabel_labels *labels)
{
    if (!matches(rule, value))
        return RELABEL_KEPT;
    struct ap_slice target = rule->target, made = rule->replacement;
    if (rule->is_target_template && !expand(rule, value, rule->target, labels, &target))
        return RELABEL_TOO_LARGE;
    if (!is_name(target, rules->is_utf8))
        return RELABEL_KEPT;
    if (rule->is_copying)
        made = value;
    else if (memchr(made.data, '$', made.bytes) && !expand(rule, value, rule->replacement, labels, &made))
        return RELABEL_TOO_LARGE;
    relabel_labels_set(labels, target, made);
    return RELABEL_KEPT;
}

static bool is_ascii(struct ap_slice text)
{
    for (size_t i = 0; i < text.bytes; i++)
        if ((unsigned char)text.data[i] >= 0x80)
            return false;
    return true;
}

/* Letters beyond ASCII as the C library knows them, where the system has C.UTF-8. */
static void change_wide(struct ap_slice value, bool is_upper, struct ap_buf *out)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    for (size_t at = 0; at < value.bytes;) {
        mbstate_t reading = {0}, writing = {0};
        char changed[MB_LEN_MAX];
        wchar_t c;
        size_t bytes = utf8 ? mbrtowc(&c, value.data + at, value.bytes - at, &reading) : 0;
        size_t changed_bytes = (size_t)-1;
        if (bytes > 0 && bytes <= MB_LEN_MAX)
            changed_bytes = wcrtomb(changed, (wchar_t)(is_upper ? towupper((wint_t)c) : towlower((wint_t)c)), &writing);
        if (changed_bytes == (size_t)-1) {
            ap_buf_add_char(out, value.data[at++]);
            continue;
        }
        ap_buf_add(out, changed, changed_bytes);
        at += bytes;
    }
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
}

static enum relabel_result change_letters(const struct rule *rule, struct ap_slice value, struct relabel_labels *labels)
{
    AP_AUTO_BUF struct ap_buf made = {.bytes_max = RELABEL_VALUE_BYTES_MAX};
    bool is_upper = rule->action == ACTION_UPPERCASE;
    if (!is_ascii(value))
        change_wide(value, is_upper, &made);
    for (size_t i = 0; is_ascii(value) && i < value.bytes; i++) {
        char c = value.data[i];
        bool is_changed = is_upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
        ap_buf_add_char(&made, is_changed ? (char)(c ^ 0x20) : c);
    }
    struct ap_slice text;
    if (!keep_made(labels, &made, &text))
        return RELABEL_TOO_LARGE;
    relabel_labels_set(labels, rule->target, text);
    return RELABEL_KEPT;
}

/* The last eight bytes of the MD5 sum, as a number with the high byte first. */
static enum relabel_result hash_into(const struct rule *rule, struct ap_slice value, struct relabel_labels *labels)
{
    enum { MD5_BYTES = 16 };
    unsigned char sum[MD5_BYTES];
    uint64_t number = 0;
    int failed = gnutls_hash_fast(GNUTLS_DIG_MD5, value.bytes ? value.data : "", value.bytes, sum);
    AP_ASSERT(failed == 0);
    for (size_t i = MD5_BYTES / 2; i < MD5_BYTES; i++)
        number = number << 8 | sum[i];
    AP_AUTO_BUF struct ap_buf made = {0};
    ap_buf_printf(&made, "%" PRIu64, number % rule->modulus);
    struct ap_slice text;
    if (!keep_made(labels, &made, &text))
        return RELABEL_TOO_LARGE;
    relabel_labels_set(labels, rule->target, text);
    return RELABEL_KEPT;
}

static enum relabel_result map_names(const struct rule *rule, struct relabel_labels *labels)
{
    size_t count = labels->count;
    struct label *before = ap_arena_alloc0(labels->arena, (count + 1) * sizeof(*before)); /* they move meanwhile */
    if (count)
        memcpy(before, labels->items, count * sizeof(*before));
    for (size_t i = 0; i < count; i++) {
        struct ap_slice name;
        if (!matches(rule, before[i].name))
            continue;
        if (!expand(rule, before[i].name, rule->replacement, labels, &name))
            return RELABEL_TOO_LARGE;
        if (name.bytes)
            relabel_labels_set(labels, name, before[i].value);
        if (labels->count > LABELS_MAX)
            return RELABEL_TOO_LARGE;
    }
    return RELABEL_KEPT;
}

static void drop_names(const struct rule *rule, struct relabel_labels *labels)
{
    bool is_dropping_matches = rule->action == ACTION_LABELDROP;
    for (size_t i = 0; i < labels->count;) {
        if (matches(rule, labels->items[i].name) == is_dropping_matches)
            remove_label(labels, &labels->items[i]);
        else
            i++;
    }
}

enum relabel_result relabel_apply_one(const struct relabel_rules *rules, size_t index, struct relabel_labels *labels)
{
    const struct rule *rule = &rules->items[index];
    struct ap_slice value;
    if (!join_sources(rule, labels, &value))
        return RELABEL_TOO_LARGE;
    switch (rule->action) {
    case ACTION_KEEP:
        return matches(rule, value) ? RELABEL_KEPT : RELABEL_DROPPED;
    case ACTION_DROP:
        return matches(rule, value) ? RELABEL_DROPPED : RELABEL_KEPT;
    case ACTION_KEEPEQUAL:
        return ap_slice_equal(relabel_labels_get(labels, rule->target), value) ? RELABEL_KEPT : RELABEL_DROPPED;
    case ACTION_DROPEQUAL:
        return ap_slice_equal(relabel_labels_get(labels, rule->target), value) ? RELABEL_DROPPED : RELABEL_KEPT;
    case ACTION_REPLACE:
        return replace(rules, rule, value, labels);
    case ACTION_LOWERCASE:
    case ACTION_UPPERCASE:
        return change_letters(rule, value, labels);
    case ACTION_HASHMOD:
        return hash_into(rule, value, labels);
    case ACTION_LABELMAP:
        return map_names(rule, labels);
    case ACTION_LABELDROP:
    case ACTION_LABELKEEP:
        drop_names(rule, labels);
        return RELABEL_KEPT;
    }
    return RELABEL_KEPT;
}

enum relabel_result relabel_apply(const struct relabel_rules *rules, struct relabel_labels *labels)
{
    enum relabel_result result = RELABEL_KEPT;
    for (size_t i = 0; rules && i < rules->count && result == RELABEL_KEPT; i++)
        result = relabel_apply_one(rules, i, labels);
    return result;
}

/* ---- To be seen ---- */

size_t relabel_rules_count(const struct relabel_rules *rules)
{
    return rules ? rules->count : 0;
}

static void add_member(struct ap_buf *out, const char *key, struct ap_slice text)
{
    if (text.bytes == 0)
        return;
    ap_buf_printf(out, "\"%s\":", key);
    ap_buf_add_json_string(out, text);
    ap_buf_add_char(out, ',');
}

void relabel_rule_json(const struct relabel_rules *rules, size_t index, struct ap_buf *out)
{
    const struct rule *rule = &rules->items[index];
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < rule->source_count; i++) {
        ap_buf_add_cstr(out, i ? "," : "\"sourceLabels\":[");
        ap_buf_add_json_string(out, rule->sources[i]);
    }
    if (rule->source_count)
        ap_buf_add_cstr(out, "],");
    add_member(out, "separator", rule->separator);
    ap_buf_add_cstr(out, "\"regex\":");
    ap_buf_add_json_string(out, rule->regex_text);
    ap_buf_add_char(out, ',');
    if (rule->modulus)
        ap_buf_printf(out, "\"modulus\":%" PRIu64 ",", rule->modulus);
    add_member(out, "targetLabel", rule->target);
    add_member(out, "replacement", rule->replacement);
    ap_buf_printf(out, "\"action\":\"%s\"}", action_names[rule->action]);
}
