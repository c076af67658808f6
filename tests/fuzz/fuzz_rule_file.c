/*
 * Any text as a rule file: it is refused with a place, or read; then its rules are whole: a query in one of the two
 * languages, a threshold where there has to be one, and what tells that there is no data is a query again.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "promql/parser.h"
#include "rules/rule_file.h"
#include "rules/sql_text.h"
#include "warehouse/sql_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_promql(struct ap_slice text)
{
    struct promql_query query;
    struct ap_err err;
    AP_ASSERT(promql_parse(text, true, &query, &err) == AP_OK);
    promql_query_clear(&query);
}

static void check_rule(const struct rule *rule)
{
    struct ap_err err;
    AP_ASSERT(rule->name[0] && rule->expr.bytes && rule->line > 0 && rule->expr_line > 0);
    AP_ASSERT(rule->for_ms >= 0 && rule->keep_firing_for_ms >= 0);
    if (rule->language == RULE_LANGUAGE_SQL) {
        AP_ASSERT(sql_text_check(rule->expr, &err) == AP_OK && rule->figure.bytes == 0);
        AP_ASSERT(rule->is_alert == (rule->threshold.op != THRESHOLD_NONE));
        AP_ASSERT(rule->threshold.value == rule->threshold.value);
        return;
    }
    check_promql(rule->expr);
    AP_ASSERT((rule->figure.bytes > 0) == (rule->is_alert && rule->no_data != RULE_NO_DATA_OK));
    if (rule->figure.bytes)
        check_promql(rule->figure);
}

static void check_words(struct ap_slice text)
{
    struct ap_slice rest = text, word;
    const char *behind = text.data;
    while (sql_next_word(&rest, &word)) {
        AP_ASSERT(word.bytes > 0 && word.data >= behind);
        behind = word.data + word.bytes;
        AP_ASSERT(behind == rest.data && behind <= text.data + text.bytes);
    }
    AP_ASSERT(rest.bytes == 0);
}

static void count_sentence(const char *sentence, void *context)
{
    AP_ASSERT(strncmp(sentence, "fuzz.yml", strlen("fuzz.yml")) == 0);
    ++*(size_t *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_slice text = ap_slice((const char *)data, size);
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err = {0};
    struct rule_threshold threshold;
    size_t sentences = 0;
    check_words(text);
    if (rule_threshold_parse(text, &threshold))
        AP_ASSERT(threshold.op != THRESHOLD_NONE);
    if (rule_file_parse(text, "fuzz.yml", false, count_sentence, &sentences, &file, &err) != AP_OK) {
        AP_ASSERT(sentences > 0 && err.text[0] != '\0');
        return 0;
    }
    for (size_t g = 0; g < file->group_count; g++)
        for (size_t r = 0; r < file->groups[g].rule_count; r++)
            check_rule(&file->groups[g].rules[r]);
    return 0;
}
