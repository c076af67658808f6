#include "collect/families.h"

#include <math.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/random.h"

enum { SLOTS_FIRST = 1024 }; /* a host has some 350 families */

struct sample {
    uint32_t family_index;
    uint32_t offset; /* of its labels and value in `text` */
    uint32_t bytes;
};

struct kept_family {
    char *name; /* owned */
    char *help; /* owned */
    enum family_type type;
    uint32_t sample_count;
};

struct families {
    struct kept_family *items;
    size_t count, capacity;
    struct sample *samples; /* as they came */
    size_t sample_count, sample_capacity;
    struct ap_buf text; /* `suffix{labels} value` of every sample */
    uint32_t *slots;    /* hash table of names: index of the family plus one, 0 is free */
    size_t slot_count;  /* a power of two, more than twice `count` */
    uint64_t seed;
};

struct families *families_new(void)
{
    struct families *families = ap_new0(struct families);
    families->seed = ap_random_system_seed();
    families->slot_count = SLOTS_FIRST;
    families->slots = ap_new0_array(uint32_t, SLOTS_FIRST);
    return families;
}

void families_free(struct families *families)
{
    if (!families)
        return;
    for (size_t i = 0; i < families->count; i++) {
        free(families->items[i].name);
        free(families->items[i].help);
    }
    free(families->items);
    free(families->samples);
    free(families->slots);
    ap_buf_clear(&families->text);
    free(families);
}

/* ---- Adding ---- */

static uint32_t *slot_of(struct families *families, const char *name)
{
    size_t mask = families->slot_count - 1;
    size_t at = XXH3_64bits_withSeed(name, strlen(name), families->seed) & mask;
    while (families->slots[at] && strcmp(families->items[families->slots[at] - 1].name, name) != 0)
        at = (at + 1) & mask;
    return &families->slots[at];
}

static void slots_double(struct families *families)
{
    free(families->slots);
    families->slot_count *= 2;
    families->slots = ap_new0_array(uint32_t, families->slot_count);
    for (size_t i = 0; i < families->count; i++)
        *slot_of(families, families->items[i].name) = (uint32_t)i + 1;
}

static uint32_t index_of(struct families *families, const struct family *family)
{
    uint32_t *slot = slot_of(families, family->name);
    if (*slot)
        return *slot - 1;
    if (families->count == families->capacity) {
        families->capacity = families->capacity ? families->capacity * 2 : SLOTS_FIRST / 2;
        families->items = ap_realloc(families->items, families->capacity * sizeof(families->items[0]));
    }
    families->items[families->count] =
        (struct kept_family){.name = ap_strdup(family->name), .help = ap_strdup(family->help), .type = family->type};
    *slot = (uint32_t)++families->count;
    uint32_t index = *slot - 1;
    if (families->count * 2 >= families->slot_count)
        slots_double(families);
    return index;
}

static void add_escaped(struct ap_buf *out, struct ap_slice text, bool is_quoted)
{
    while (text.bytes) {
        size_t valid = ap_utf8_valid_bytes(text);
        for (size_t i = 0; i < valid; i++) {
            char c = text.data[i];
            if (c == '\n')
                ap_buf_add(out, "\\n", 2);
            else if (c == '\\' || (c == '"' && is_quoted))
                ap_buf_add(out, (char[]){'\\', c}, 2);
            else
                ap_buf_add_char(out, c);
        }
        size_t passed = AP_MIN(valid + 1, text.bytes);
        if (valid < text.bytes)
            ap_buf_add_utf8(out, 0xFFFD);
        text = ap_slice(text.data + passed, text.bytes - passed);
    }
}

static void add_value(struct ap_buf *out, double value)
{
    if (isnan(value))
        ap_buf_add_cstr(out, "NaN");
    else if (isinf(value))
        ap_buf_add_cstr(out, value > 0 ? "+Inf" : "-Inf");
    else
        ap_buf_add_json_double(out, value);
}

void families_add_part(struct families *families, const struct family *family, const char *suffix, double value,
                       const struct label *labels, size_t label_count)
{
    if (families->sample_count == families->sample_capacity) {
        families->sample_capacity = families->sample_capacity ? families->sample_capacity * 2 : 1024;
        families->samples = ap_realloc(families->samples, families->sample_capacity * sizeof(families->samples[0]));
    }
    struct ap_buf *text = &families->text;
    struct sample *sample = &families->samples[families->sample_count++];
    *sample = (struct sample){.family_index = index_of(families, family), .offset = (uint32_t)text->bytes};
    families->items[sample->family_index].sample_count++;
    ap_buf_add_cstr(text, suffix);
    for (size_t i = 0; i < label_count; i++) {
        ap_buf_add_char(text, i ? ',' : '{');
        ap_buf_add_slice(text, labels[i].name);
        ap_buf_add(text, "=\"", 2);
        add_escaped(text, labels[i].value, true);
        ap_buf_add_char(text, '"');
    }
    if (label_count)
        ap_buf_add_char(text, '}');
    ap_buf_add_char(text, ' ');
    add_value(text, value);
    ap_buf_add_char(text, '\n');
    sample->bytes = (uint32_t)text->bytes - sample->offset;
}

void families_add_labels(struct families *families, const struct family *family, double value,
                         const struct label *labels, size_t label_count)
{
    families_add_part(families, family, "", value, labels, label_count);
}

void families_add(struct families *families, const struct family *family, double value)
{
    families_add_labels(families, family, value, NULL, 0);
}

void families_add1(struct families *families, const struct family *family, double value, const char *name,
                   struct ap_slice text)
{
    const struct label label = {ap_slice_cstr(name), text};
    families_add_labels(families, family, value, &label, 1);
}

void families_add2(struct families *families, const struct family *family, double value, const char *name1,
                   struct ap_slice text1, const char *name2, struct ap_slice text2)
{
    const struct label labels[] = {{ap_slice_cstr(name1), text1}, {ap_slice_cstr(name2), text2}};
    families_add_labels(families, family, value, labels, 2);
}

/* ---- Writing ---- */

static int by_name(const void *a, const void *b)
{
    const struct kept_family *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void write_family(const struct families *families, const struct kept_family *family,
                         const struct sample *const *samples, struct ap_buf *out)
{
    static const char *const types[] = {"gauge", "counter", "untyped", "histogram", "summary"};
    size_t name_bytes = strlen(family->name);
    ap_buf_add_cstr(out, "# HELP ");
    ap_buf_add(out, family->name, name_bytes);
    ap_buf_add_char(out, ' ');
    add_escaped(out, ap_slice_cstr(family->help), false);
    ap_buf_add_cstr(out, "\n# TYPE ");
    ap_buf_add(out, family->name, name_bytes);
    ap_buf_add_char(out, ' ');
    ap_buf_add_cstr(out, types[family->type]);
    ap_buf_add_char(out, '\n');
    for (uint32_t i = 0; i < family->sample_count; i++) {
        ap_buf_add(out, family->name, name_bytes);
        ap_buf_add(out, families->text.data + samples[i]->offset, samples[i]->bytes);
    }
}

void families_write(const struct families *families, struct ap_buf *out)
{
    if (families->count == 0)
        return;
    AP_AUTO_FREE const struct kept_family **sorted = ap_new0_array(const struct kept_family *, families->count);
    AP_AUTO_FREE const struct sample **samples = ap_new0_array(const struct sample *, families->sample_count);
    AP_AUTO_FREE uint32_t *ends = ap_new0_array(uint32_t, families->count);
    uint32_t begin = 0;
    for (size_t i = 0; i < families->count; i++) {
        sorted[i] = &families->items[i];
        ends[i] = begin;
        begin += families->items[i].sample_count;
    }
    for (size_t i = 0; i < families->sample_count; i++)
        samples[ends[families->samples[i].family_index]++] = &families->samples[i];
    qsort(sorted, families->count, sizeof(sorted[0]), by_name);
    ap_buf_reserve(out, families->text.bytes * 2);
    for (size_t i = 0; i < families->count; i++) {
        size_t index = (size_t)(sorted[i] - families->items);
        write_family(families, sorted[i], samples + ends[index] - sorted[i]->sample_count, out);
    }
}
