/*
 * Body in, rows out: the cases are in tests/cases/ingest/, whose README.md tells how to write one. Each *.case file
 * there is run; what a text file cannot say well is tested below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ingest/json_rows.h"

#define RECEIVED "2026-11-23T12:00:00.000Z"

/* One case of a file, as text. */
struct test_case {
    char name[200];
    char table[32];
    char options[200];
    struct ap_buf body;
    struct ap_buf rows;
    struct ap_buf errors;
    char fails[200];
};

static void case_clear(struct test_case *test)
{
    ap_buf_clear(&test->body);
    ap_buf_clear(&test->rows);
    ap_buf_clear(&test->errors);
    *test = (struct test_case){0};
}

static int64_t received_us(void)
{
    int64_t us = 0;
    assert_true(ap_time_parse(ap_slice_cstr(RECEIVED), &us));
    return us;
}

/* ---- Rows as JSON, to be compared with what the case wants ---- */

static json_t *value_json(const struct column *column, union row_value value)
{
    char text[AP_TIME_TEXT_BYTES];
    switch (column->type) {
    case COLUMN_TEXT:
        return json_stringn(value.text.data, value.text.bytes);
    case COLUMN_F64:
        return json_real(value.f64);
    case COLUMN_BOOL:
        return json_boolean(value.boolean);
    case COLUMN_TIMESTAMP:
        ap_time_format(value.ts_us, text);
        return json_string(text);
    case COLUMN_JSON:
        return json_loadb(value.text.data, value.text.bytes, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    }
    return NULL;
}

/* Null columns are left out, and so is the timestamp when it is the time of receipt. */
static json_t *row_json(const struct table *table, const struct row *row, const struct row_reader *reader)
{
    json_t *object = json_object();
    for (size_t i = 0; i < table->column_count; i++) {
        if (!row_has(row, i) ||
            (table->columns[i].type == COLUMN_TIMESTAMP && row->values[i].ts_us == reader->received_at_us))
            continue;
        json_t *value = value_json(&table->columns[i], row->values[i]);
        if (!value)
            fail_msg("column %s holds no valid value", table->columns[i].name.data);
        json_object_set_new(object, table->columns[i].name.data, value);
    }
    return object;
}

static json_t *batch_json(const struct table *table, struct ap_slice record)
{
    json_t *rows = json_array();
    struct row_reader reader;
    struct ap_err err;
    struct row row;
    bool has_row = true;
    assert_int_equal(row_reader_open(&reader, record, &err), AP_OK);
    while (row_reader_next(&reader, &row, &has_row, &err) == AP_OK && has_row)
        json_array_append_new(rows, row_json(table, &row, &reader));
    assert_false(has_row);
    return rows;
}

/* Numbers are compared as doubles, written with a fraction or without. */
static json_t *wanted_json(struct test_case *test)
{
    json_t *rows = json_array();
    struct ap_slice rest = ap_buf_slice(&test->rows);
    while (rest.bytes) {
        struct ap_slice line = ap_slice_split(&rest, '\n');
        json_error_t error;
        json_t *row = json_loadb(line.data, line.bytes, JSON_DECODE_INT_AS_REAL, &error);
        if (!row)
            fail_msg("%s: expected row is no JSON: %s", test->name, error.text);
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- One case ---- */

static void run_case(const char *file, struct test_case *test)
{
    static const uint8_t hash_key[32] = {1, 2, 3};
    struct client_address client = {0};
    struct json_rows_context context = {
        .table = table_find(test->table),
        .received_us = received_us(),
        .client = &client,
        .user_id_hash_key = strstr(test->options, "hash_user_ids") ? hash_key : NULL,
        .is_ndjson = strstr(test->options, "ndjson") != NULL,
        .may_date_back = strstr(test->options, "secret") != NULL,
        .may_give_client_ip = strstr(test->options, "secret") != NULL,
    };
    const char *client_text = strstr(test->options, "client=");
    if (client_text)
        assert_true(client_address_parse(ap_slice_cstr(client_text + strlen("client=")), &client));
    if (!context.table)
        fail_msg("%s: %s: no table %s", file, test->name, test->table);

    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    AP_AUTO_BUF struct ap_buf record = {0};
    struct row_report report;
    row_report_init(&report, &arena);
    struct json_position position;
    struct ap_err err;
    enum ap_rc rc = json_rows_decode(&context, ap_buf_slice(&test->body), &record, &report, &position, &err);

    char fails[AP_ERR_TEXT_BYTES + 64] = "";
    if (rc != AP_OK)
        snprintf(fails, sizeof(fails), "%s %zu %s", ap_rc_name(rc), position.offset, err.text);
    if (strcmp(fails, test->fails) != 0)
        fail_msg("%s: %s:\n  got    %s\n  wanted %s", file, test->name, fails, test->fails);
    if (rc != AP_OK)
        return;

    AP_AUTO_BUF struct ap_buf errors = {0};
    for (size_t i = 0; i < report.error_count; i++)
        ap_buf_printf(&errors, "%d %s %s\n", (int)report.errors[i].row,
                      report.errors[i].field[0] ? report.errors[i].field : "-", report.errors[i].text);
    if (!ap_slice_equal(ap_buf_slice(&errors), ap_buf_slice(&test->errors)))
        fail_msg("%s: %s: errors:\n  got    %.*s\n  wanted %.*s", file, test->name, AP_SLICE_ARG(ap_buf_slice(&errors)),
                 AP_SLICE_ARG(ap_buf_slice(&test->errors)));

    json_t *got = batch_json(context.table, ap_buf_slice(&record));
    json_t *wanted = wanted_json(test);
    assert_int_equal(json_array_size(got), report.accepted_count);
    if (!json_equal(got, wanted)) {
        char *got_text = json_dumps(got, JSON_SORT_KEYS), *wanted_text = json_dumps(wanted, JSON_SORT_KEYS);
        fail_msg("%s: %s: rows:\n  got    %s\n  wanted %s", file, test->name, got_text, wanted_text);
    }
    json_decref(got);
    json_decref(wanted);
}

/* "\x41" and "\\"; everything else stands for itself. */
static void add_escaped(struct ap_buf *to, struct ap_slice line)
{
    for (size_t i = 0; i < line.bytes; i++) {
        unsigned byte;
        if (line.data[i] == '\\' && i + 1 < line.bytes && line.data[i + 1] == '\\') {
            ap_buf_add_char(to, '\\');
            i++;
        } else if (line.data[i] == '\\' && sscanf(line.data + i, "\\x%2x", &byte) == 1) {
            ap_buf_add_char(to, (char)byte);
            i += 3;
        } else {
            ap_buf_add_char(to, line.data[i]);
        }
    }
}

static bool take_prefix(struct ap_slice line, const char *prefix, char *to, size_t to_bytes)
{
    if (!ap_slice_starts_with(line, prefix))
        return false;
    size_t bytes = strlen(prefix);
    snprintf(to, to_bytes, "%.*s", (int)(line.bytes - bytes), line.data + bytes);
    return true;
}

static size_t run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    struct test_case test = {0};
    enum { NOWHERE, BODY, ESCAPED, ROWS, ERRORS } part = NOWHERE;
    size_t count = 0;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    while ((bytes = getline(&line, &capacity, file)) >= 0) {
        struct ap_slice text = ap_slice(line, (size_t)bytes - (bytes > 0 && line[bytes - 1] == '\n'));
        char name[200];
        if (take_prefix(text, "== ", name, sizeof(name))) {
            if (test.name[0])
                run_case(path, &test);
            case_clear(&test);
            strcpy(test.name, name);
            part = NOWHERE;
            count++;
        } else if (take_prefix(text, "table: ", test.table, sizeof(test.table)) ||
                   take_prefix(text, "options: ", test.options, sizeof(test.options)) ||
                   take_prefix(text, "fails: ", test.fails, sizeof(test.fails))) {
            part = NOWHERE;
        } else if (ap_slice_equal_cstr(text, "body:")) {
            part = BODY;
        } else if (ap_slice_equal_cstr(text, "escaped body:")) {
            part = ESCAPED;
        } else if (ap_slice_equal_cstr(text, "rows:")) {
            part = ROWS;
        } else if (ap_slice_equal_cstr(text, "errors:")) {
            part = ERRORS;
        } else if (part == BODY || part == ESCAPED) {
            if (test.body.bytes)
                ap_buf_add_char(&test.body, '\n');
            if (part == BODY)
                ap_buf_add_slice(&test.body, text);
            else
                add_escaped(&test.body, text);
        } else if (text.bytes && part != NOWHERE) {
            ap_buf_add_slice(part == ROWS ? &test.rows : &test.errors, text);
            ap_buf_add_char(part == ROWS ? &test.rows : &test.errors, '\n');
        } else if (text.bytes && text.data[0] != '#') {
            fail_msg("%s: what is \"%.*s\"?", path, AP_SLICE_ARG(text));
        }
    }
    if (test.name[0])
        run_case(path, &test);
    case_clear(&test);
    free(line);
    fclose(file);
    return count;
}

static void test_case_files(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    AP_AUTO_FREE char *pattern = ap_asprintf("%s/tests/cases/ingest/*.case", root ? root : ".");
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    size_t count = 0;
    for (size_t i = 0; i < files.gl_pathc; i++)
        count += run_file(files.gl_pathv[i]);
    print_message("%zu cases in %zu files\n", count, files.gl_pathc);
    globfree(&files);
}

/* ---- What is made rather than written ---- */

struct outcome {
    struct ap_arena arena;
    struct ap_buf record;
    struct row_report report;
    struct json_position position;
    struct ap_err err;
    enum ap_rc rc;
};

static void decode(const char *table, bool is_ndjson, struct ap_slice body, struct outcome *ret_outcome)
{
    struct client_address client = {0};
    struct json_rows_context context = {
        .table = table_find(table), .received_us = received_us(), .client = &client, .is_ndjson = is_ndjson};
    ap_arena_init(&ret_outcome->arena, 0);
    ap_buf_init(&ret_outcome->record, 0);
    row_report_init(&ret_outcome->report, &ret_outcome->arena);
    ret_outcome->err.text[0] = '\0';
    ret_outcome->rc = json_rows_decode(&context, body, &ret_outcome->record, &ret_outcome->report,
                                       &ret_outcome->position, &ret_outcome->err);
}

static void outcome_clear(struct outcome *outcome)
{
    ap_arena_clear(&outcome->arena);
    ap_buf_clear(&outcome->record);
}

/* The row that is wrong in a thousand: the other 999 stay, and the answer names it. As an array and as NDJSON. */
static void test_one_wrong_row_in_a_thousand(void **state)
{
    (void)state;
    for (int is_ndjson = 0; is_ndjson < 2; is_ndjson++) {
        AP_AUTO_BUF struct ap_buf body = {0};
        for (int i = 1; i <= 1000; i++) {
            ap_buf_add_cstr(&body, is_ndjson ? "" : i == 1 ? "[" : ",");
            ap_buf_printf(&body, "{\"event_type\":\"startup\",\"duration_ms\":%s}\n", i == 500 ? "\"fast\"" : "41.5");
        }
        if (!is_ndjson)
            ap_buf_add_char(&body, ']');
        struct outcome outcome;
        decode("events", is_ndjson, ap_buf_slice(&body), &outcome);
        assert_int_equal(outcome.rc, AP_OK);
        assert_int_equal(outcome.report.accepted_count, 999);
        struct ap_slice json = row_report_json(&outcome.report);
        static const char want[] =
            "{\"accepted\":999,\"rejected\":1,\"errors\":[{\"row\":500,\"field\":\"duration_ms\","
            "\"error\":\"expected a number, got string\"}]}";
        if (!ap_slice_equal_cstr(json, want))
            fail_msg("%.*s", AP_SLICE_ARG(json));
        json_t *rows = batch_json(table_find("events"), ap_buf_slice(&outcome.record));
        assert_int_equal(json_array_size(rows), 999);
        json_decref(rows);
        outcome_clear(&outcome);
    }
}

static void test_errors_are_listed_up_to_twenty(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf body = {0};
    for (int i = 0; i < 50; i++)
        ap_buf_add_cstr(&body, "{}\n");
    struct outcome outcome;
    decode("events", true, ap_buf_slice(&body), &outcome);
    assert_int_equal(outcome.rc, AP_OK);
    assert_int_equal(outcome.report.accepted_count, 0);
    assert_int_equal(outcome.report.rejected_count, 50);
    assert_int_equal(outcome.report.error_count, 20);
    outcome_clear(&outcome);
}

static void test_wide_and_deep(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf wide = {0};
    ap_buf_add_cstr(&wide, "{\"event_type\":\"x\"");
    for (int i = 0; i < 10000; i++)
        ap_buf_printf(&wide, ",\"k%d\":%d", i, i);
    ap_buf_add_char(&wide, '}');
    struct outcome outcome;
    decode("events", false, ap_buf_slice(&wide), &outcome);
    assert_int_equal(outcome.rc, AP_E_PARSE);
    assert_string_equal(outcome.err.text, "an object has too many keys; at most 2000 are allowed");
    outcome_clear(&outcome);

    AP_AUTO_BUF struct ap_buf deep = {0};
    ap_buf_add_cstr(&deep, "{\"event_type\":\"x\",\"context\":");
    for (int i = 0; i < 10000; i++)
        ap_buf_add_char(&deep, '[');
    decode("events", false, ap_buf_slice(&deep), &outcome);
    assert_int_equal(outcome.rc, AP_E_PARSE);
    assert_string_equal(outcome.err.text, "arrays and objects are nested too deep; at most 32 are allowed");
    outcome_clear(&outcome);

    /* In NDJSON either costs its line alone. */
    ap_buf_add_cstr(&wide, "\n{\"event_type\":\"y\"}\n");
    ap_buf_add_slice(&wide, ap_buf_slice(&deep));
    decode("events", true, ap_buf_slice(&wide), &outcome);
    assert_int_equal(outcome.rc, AP_OK);
    assert_int_equal(outcome.report.accepted_count, 1);
    assert_int_equal(outcome.report.rejected_count, 2);
    outcome_clear(&outcome);
}

/* An address of a page that is too long is cut, and never inside a character. */
static void test_long_url_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        AP_AUTO_BUF struct ap_buf body = {0};
        ap_buf_add_cstr(&body, "{\"name\":\"LCP\",\"value\":1,\"url\":\"");
        for (size_t i = 0; i < shift; i++)
            ap_buf_add_char(&body, 'a');
        for (size_t i = 0; i < 1000; i++)
            ap_buf_add_cstr(&body, "\xe2\x82\xac");
        ap_buf_add_cstr(&body, "\"}");
        struct outcome outcome;
        decode("vitals", false, ap_buf_slice(&body), &outcome);
        assert_int_equal(outcome.rc, AP_OK);
        json_t *rows = batch_json(table_find("vitals"), ap_buf_slice(&outcome.record));
        size_t bytes = json_string_length(json_object_get(json_array_get(rows, 0), "url"));
        assert_int_equal(bytes, shift + (2048 - shift) / 3 * 3);
        json_decref(rows);
        outcome_clear(&outcome);
    }
}

static void test_too_many_rows(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf lines = {0}, array = {0};
    ap_buf_add_cstr(&array, "[{}");
    for (int i = 0; i <= JSON_ROWS_MAX; i++) {
        ap_buf_add_cstr(&lines, "{}\n");
        ap_buf_add_cstr(&array, ",{}");
    }
    ap_buf_add_char(&array, ']');
    struct outcome outcome;
    decode("events", true, ap_buf_slice(&lines), &outcome);
    assert_int_equal(outcome.rc, AP_E_LIMIT);
    outcome_clear(&outcome);
    decode("events", false, ap_buf_slice(&array), &outcome);
    assert_int_equal(outcome.rc, AP_E_LIMIT);
    outcome_clear(&outcome);
}

static void test_batch_that_outgrows_its_buffer(void **state)
{
    (void)state;
    struct client_address client = {0};
    struct json_rows_context context = {
        .table = table_find("downloads"), .received_us = received_us(), .client = &client};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    AP_AUTO_BUF struct ap_buf record = {.bytes_max = 100};
    struct row_report report;
    row_report_init(&report, &arena);
    struct json_position position;
    struct ap_err err;
    static const char body[] = "[{\"platform\":\"a\"},{\"platform\":\"b\"},{\"platform\":\"c\"},{\"platform\":\"d\"},"
                               "{\"platform\":\"e\"},{\"platform\":\"f\"},{\"platform\":\"g\"}]";
    assert_int_equal(json_rows_decode(&context, ap_slice_cstr(body), &record, &report, &position, &err), AP_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_files),
        cmocka_unit_test(test_one_wrong_row_in_a_thousand),
        cmocka_unit_test(test_errors_are_listed_up_to_twenty),
        cmocka_unit_test(test_wide_and_deep),
        cmocka_unit_test(test_long_url_is_cut_between_characters),
        cmocka_unit_test(test_too_many_rows),
        cmocka_unit_test(test_batch_that_outgrows_its_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
