#include "ingest/otlp_names.h"

#include <string.h>

#include "base/mem.h"

/* ---- Characters ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

/* How many bytes the character at the beginning of `text`, which is not empty, has; a byte that is no UTF-8 is one. */
static size_t character_bytes(struct ap_slice text)
{
    static const struct {
        uint8_t mask, lead;
    } forms[] = {{0xe0, 0xc0}, {0xf0, 0xe0}, {0xf8, 0xf0}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(forms); i++)
        if (((uint8_t)text.data[0] & forms[i].mask) == forms[i].lead && text.bytes >= i + 2 &&
            ap_utf8_valid_bytes(ap_slice(text.data, i + 2)) == i + 2)
            return i + 2;
    return 1;
}

/* Each character but letters, digits and ':' as one '_'. */
static void add_escaped(struct ap_buf *out, struct ap_slice text)
{
    while (text.bytes) {
        size_t bytes = character_bytes(text);
        ap_buf_add_char(out, is_letter_or_digit(text.data[0]) || text.data[0] == ':' ? text.data[0] : '_');
        text = ap_slice(text.data + bytes, text.bytes - bytes);
    }
}

static struct ap_slice cut_suffix(struct ap_slice text, char c)
{
    return text.bytes && text.data[text.bytes - 1] == c ? ap_slice(text.data, text.bytes - 1) : text;
}

static bool has_other_than_underscores(struct ap_slice name)
{
    for (size_t i = 0; i < name.bytes; i++)
        if (name.data[i] != '_')
            return true;
    return false;
}

/* ---- Units ---- */

struct unit_word {
    const char *unit;
    const char *word;
};

/* UCUM's; tibibytes and KBy are as Prometheus has them. */
static const struct unit_word unit_words[] = {
    {"d", "days"},          {"h", "hours"},        {"min", "minutes"},   {"s", "seconds"},      {"ms", "milliseconds"},
    {"us", "microseconds"}, {"ns", "nanoseconds"}, {"By", "bytes"},      {"KiBy", "kibibytes"}, {"MiBy", "mebibytes"},
    {"GiBy", "gibibytes"},  {"TiBy", "tibibytes"}, {"KBy", "kilobytes"}, {"MBy", "megabytes"},  {"GBy", "gigabytes"},
    {"TBy", "terabytes"},   {"m", "meters"},       {"V", "volts"},       {"A", "amperes"},      {"J", "joules"},
    {"W", "watts"},         {"g", "grams"},        {"Cel", "celsius"},   {"Hz", "hertz"},       {"1", ""},
    {"%", "percent"},
};
static const struct unit_word per_words[] = {
    {"s", "second"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"}, {"w", "week"}, {"mo", "month"}, {"y", "year"},
};

static struct ap_slice find_word(const struct unit_word *words, size_t count, struct ap_slice unit)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(unit, words[i].unit))
            return ap_slice_cstr(words[i].word);
    return unit;
}

/* "{packets}" and the like say what is counted, not in which unit. */
static bool is_annotation(struct ap_slice unit)
{
    return unit.bytes == 0 || memchr(unit.data, '{', unit.bytes) || memchr(unit.data, '}', unit.bytes);
}

/* The words of a unit such as "By/s", before anything is escaped; empty: none. `per` is without "per_". */
static void split_unit(struct ap_slice unit, struct ap_slice *ret_main, struct ap_slice *ret_per)
{
    struct ap_slice per = unit;
    struct ap_slice main = ap_slice_trim(ap_slice_split(&per, '/'));
    per = ap_slice_trim(per);
    *ret_main = is_annotation(main) ? ap_slice("", 0) : find_word(unit_words, AP_ARRAY_COUNT(unit_words), main);
    *ret_per = is_annotation(per) ? ap_slice("", 0) : find_word(per_words, AP_ARRAY_COUNT(per_words), per);
}

/* A unit's word as part of a name: runs of '_' become one, a leading one goes. */
static void clean_unit(struct ap_slice word, struct ap_buf *out)
{
    size_t begin = out->bytes;
    add_escaped(out, word);
    if (!ap_buf_ok(out))
        return;
    size_t end = begin;
    for (size_t i = begin; i < out->bytes; i++)
        if (out->data[i] != '_' || (end > begin && out->data[end - 1] != '_'))
            out->data[end++] = out->data[i];
    out->bytes = end;
}

void otlp_unit_name(struct ap_slice unit, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf main_text = {0};
    AP_AUTO_BUF struct ap_buf per_text = {0};
    struct ap_slice main, per;
    split_unit(unit, &main, &per);
    clean_unit(main, &main_text);
    if (per.bytes)
        ap_buf_add_cstr(&per_text, "per_");
    clean_unit(per, &per_text);
    if (main_text.bytes && per_text.bytes)
        ap_buf_add_char(&main_text, '_');
    ap_buf_add_slice(&main_text, ap_buf_slice(&per_text));
    ap_buf_add_slice(out, cut_suffix(ap_buf_slice(&main_text), '_'));
}

/* ---- Metric names with '_' for what Prometheus' old names do not allow ---- */

/* Cuts the next part of letters, digits and ':' off *rest; empty: there is none. */
static struct ap_slice next_part(struct ap_slice *rest)
{
    const char *at = rest->data, *end = rest->data + rest->bytes;
    while (at < end && !is_letter_or_digit(*at) && *at != ':')
        at++;
    const char *begin = at;
    while (at < end && (is_letter_or_digit(*at) || *at == ':'))
        at++;
    *rest = ap_slice(at, (size_t)(end - at));
    return ap_slice(begin, (size_t)(at - begin));
}

static bool has_part(struct ap_slice name, struct ap_slice wanted)
{
    struct ap_slice part;
    while ((part = next_part(&name)).bytes)
        if (ap_slice_equal(part, wanted))
            return true;
    return false;
}

static void add_part(struct ap_buf *out, size_t begin, struct ap_slice part)
{
    if (out->bytes > begin)
        ap_buf_add_char(out, '_');
    ap_buf_add_slice(out, part);
}

static const char *suffix_text(enum otlp_suffix suffix)
{
    return suffix == OTLP_SUFFIX_TOTAL ? "total" : suffix == OTLP_SUFFIX_RATIO ? "ratio" : "";
}

/* Parts joined by '_': the name's, its unit's unless it is there, and the suffix, moved to the end. */
static void add_with_suffixes(struct ap_slice name, struct ap_slice unit, enum otlp_suffix suffix, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf main_text = {0};
    AP_AUTO_BUF struct ap_buf per_text = {0};
    struct ap_slice main, per, part, rest = name;
    struct ap_slice last = ap_slice_cstr(suffix_text(suffix));
    size_t begin = out->bytes;
    split_unit(unit, &main, &per);
    clean_unit(main, &main_text);
    clean_unit(per, &per_text);
    main = ap_buf_slice(&main_text);
    per = cut_suffix(ap_buf_slice(&per_text), '_');
    if (per.bytes)
        main = cut_suffix(main, '_');
    while ((part = next_part(&rest)).bytes)
        if (last.bytes == 0 || !ap_slice_equal(part, last))
            add_part(out, begin, part);
    if (main.bytes && !has_part(name, main) && (last.bytes == 0 || !ap_slice_equal(main, last)))
        add_part(out, begin, main);
    if (per.bytes) {
        add_part(out, begin, ap_slice_cstr("per"));
        add_part(out, begin, per);
    }
    if (last.bytes)
        add_part(out, begin, last);
}

/* Runs of other characters become one '_'; at both ends they go. */
static void add_without_suffixes(struct ap_slice name, struct ap_buf *out)
{
    bool is_pending = false;
    size_t begin = out->bytes;
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool is_kept = is_letter_or_digit(c) || c == ':' || c == '_';
        if (is_kept && is_pending && out->bytes > begin)
            ap_buf_add_char(out, '_');
        if (is_kept)
            ap_buf_add_char(out, c);
        is_pending = !is_kept;
    }
}

/* ---- Metric names as they are, with suffixes ---- */

static bool ends_with(struct ap_slice text, struct ap_slice suffix)
{
    return text.bytes >= suffix.bytes && memcmp(text.data + text.bytes - suffix.bytes, suffix.data, suffix.bytes) == 0;
}

/* Without the suffix and the character before it, whatever that is. */
static struct ap_slice cut_word(struct ap_slice name, struct ap_slice word)
{
    bool is_there = word.bytes && ends_with(name, word) && name.bytes > word.bytes + 1;
    return is_there ? ap_slice(name.data, name.bytes - word.bytes - 1) : name;
}

static void add_utf8_with_suffixes(struct ap_slice name, struct ap_slice unit, enum otlp_suffix suffix,
                                   struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf per_text = {0};
    struct ap_slice main, per;
    struct ap_slice last = ap_slice_cstr(suffix_text(suffix));
    split_unit(unit, &main, &per);
    if (per.bytes) {
        ap_buf_add_cstr(&per_text, "per_");
        ap_buf_add_slice(&per_text, per);
    }
    name = cut_word(cut_word(name, last), ap_buf_slice(&per_text));
    ap_buf_add_slice(out, name);
    struct ap_slice words[] = {ends_with(name, main) ? ap_slice("", 0) : main, ap_buf_slice(&per_text), last};
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        if (words[i].bytes == 0)
            continue;
        ap_buf_add_char(out, '_');
        ap_buf_add_slice(out, words[i]);
    }
}

enum ap_rc otlp_metric_name(const struct otlp_naming *naming, struct ap_slice name, struct ap_slice unit,
                            enum otlp_suffix suffix, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf made = {0};
    switch (naming->strategy) {
    case OTLP_UNDERSCORES_WITH_SUFFIXES:
        add_with_suffixes(name, unit, suffix, &made);
        break;
    case OTLP_UNDERSCORES_WITHOUT_SUFFIXES:
        add_without_suffixes(name, &made);
        break;
    case OTLP_UTF8_WITH_SUFFIXES:
        if (name.bytes)
            add_utf8_with_suffixes(name, unit, suffix, &made);
        break;
    case OTLP_NO_TRANSLATION:
        ap_buf_add_slice(&made, name);
        break;
    }
    struct ap_slice text = ap_buf_slice(&made);
    if (text.bytes == 0 || (!ap_slice_equal(text, name) && !has_other_than_underscores(text)))
        return ap_fail(err, AP_E_PARSE, "nothing is left of the metric name \"%.*s\"",
                       (int)AP_MIN(name.bytes, (size_t)100), name.data ? name.data : "");
    bool is_escaping = naming->strategy <= OTLP_UNDERSCORES_WITHOUT_SUFFIXES;
    if (is_escaping && is_digit(text.data[0]))
        ap_buf_add_char(out, '_');
    ap_buf_add_slice(out, text);
    return AP_OK;
}

/* ---- Labels ---- */

static bool is_reserved(struct ap_slice key)
{
    return key.bytes >= 4 && memcmp(key.data, "__", 2) == 0 && memcmp(key.data + key.bytes - 2, "__", 2) == 0;
}

static void add_label_characters(struct ap_slice key, bool is_keeping_runs, struct ap_buf *out)
{
    bool was_underscore = false;
    while (key.bytes) {
        size_t bytes = character_bytes(key);
        bool is_kept = is_letter_or_digit(key.data[0]);
        if (is_kept)
            ap_buf_add_char(out, key.data[0]);
        else if (is_keeping_runs || !was_underscore)
            ap_buf_add_char(out, '_');
        was_underscore = !is_kept;
        key = ap_slice(key.data + bytes, key.bytes - bytes);
    }
}

static void add_escaped_label(const struct otlp_naming *naming, struct ap_slice key, struct ap_buf *out)
{
    if (naming->is_keeping_underscores || !is_reserved(key)) {
        add_label_characters(key, naming->is_keeping_underscores, out);
        return;
    }
    ap_buf_add_cstr(out, "__");
    add_label_characters(ap_slice(key.data + 2, key.bytes - 4), false, out);
    ap_buf_add_cstr(out, "__");
}

enum ap_rc otlp_label_name(const struct otlp_naming *naming, struct ap_slice key, struct ap_buf *out,
                           struct ap_err *err)
{
    bool is_escaping = naming->strategy <= OTLP_UNDERSCORES_WITHOUT_SUFFIXES;
    AP_AUTO_BUF struct ap_buf made = {0};
    if (is_escaping)
        add_escaped_label(naming, key, &made);
    struct ap_slice name = is_escaping ? ap_buf_slice(&made) : key;
    bool is_prefixed = is_escaping && naming->is_prefixing_underscores && ap_slice_starts_with(name, "_") &&
                       !ap_slice_starts_with(name, "__");
    if (!is_prefixed && !has_other_than_underscores(name))
        return ap_fail(err, AP_E_PARSE, "nothing is left of the attribute name \"%.*s\"",
                       (int)AP_MIN(key.bytes, (size_t)100), key.data ? key.data : "");
    if (is_prefixed)
        ap_buf_add_cstr(out, "key");
    else if (is_escaping && is_digit(name.data[0]))
        ap_buf_add_cstr(out, "key_");
    ap_buf_add_slice(out, name);
    return AP_OK;
}
