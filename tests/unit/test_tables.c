/* warehouse/tables.h: the declaration keeps its promises, and docs/tables.md is made from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "warehouse/tables.h"

static const char page_head[] =
    "# Tables\n"
    "\n"
    "What can be sent in and asked for. Sending: [ingest.md](ingest.md); asking: [sql.md](sql.md); what packs add:\n"
    "[packs.md](packs.md). This page is made from the declaration in `src/warehouse/tables.c`.\n"
    "\n"
    "Every table begins with:\n"
    "\n"
    "| column | type | |\n"
    "| --- | --- | --- |\n"
    "| `lsn` | UBIGINT | position in the write-ahead log of the batch that the row came with |\n"
    "| `received_at` | TIMESTAMP | when it came in, UTC |\n"
    "| `timestamp` | TIMESTAMP | when it happened, UTC; the time of receipt where the client does not say |\n"
    "| `date` | DATE | the UTC day of `timestamp` |\n"
    "\n"
    "A column marked *required* must be sent; *personal* ones tell persons apart, or could. Sizes are bytes of UTF-8;\n"
    "a longer text is refused with its row, or cut where the column says so.\n";

static const char page_foot[] =
    "\n"
    "## Retention\n"
    "\n"
    "Where days to keep are set, a day of a table is dropped as a whole once it is older, one day a minute. Roll-ups "
    "of\n"
    "packs are not trimmed with it: they keep what they summed up. A roll-up that is defined otherwise later is built\n"
    "anew from the rows that are still there, and then begins with the oldest of those.\n";

static void add_column(struct ap_buf *page, const struct column *column)
{
    ap_buf_printf(page, "| `%.*s` | %s | %s", AP_SLICE_ARG(column->name), column_type_sql(column->type), column->doc);
    if (column->alias.bytes)
        ap_buf_printf(page, "; also sent as `%.*s`", AP_SLICE_ARG(column->alias));
    if (column->bytes_max)
        ap_buf_printf(page, "; at most %u bytes%s", column->bytes_max, column->is_cut ? ", then cut" : "");
    if (column->is_required)
        ap_buf_add_cstr(page, "; *required*");
    if (column->privacy == PRIVACY_PERSONAL)
        ap_buf_add_cstr(page, "; *personal*");
    ap_buf_add_cstr(page, " |\n");
}

static void make_page(struct ap_buf *page)
{
    ap_buf_add_cstr(page, page_head);
    for (size_t t = 0; t < tables_count; t++) {
        ap_buf_printf(page, "\n## %s\n\nWhat it holds: %s.%s\n\n| column | type | |\n| --- | --- | --- |\n",
                      tables[t].name, tables[t].doc,
                      tables[t].is_server_own ? " The server writes it; it cannot be sent in." : "");
        for (size_t i = 1; i < tables[t].column_count; i++)
            add_column(page, &tables[t].columns[i]);
    }
    ap_buf_add_cstr(page, page_foot);
}

/* With APIARY_WRITE_DOCS=1 the page is written instead. */
static void test_page_is_up_to_date(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    char path[4096];
    snprintf(path, sizeof(path), "%s/docs/tables.md", root ? root : ".");
    AP_AUTO_BUF struct ap_buf page = {0};
    make_page(&page);
    if (getenv("APIARY_WRITE_DOCS")) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(page.data, 1, page.bytes, file), page.bytes);
        assert_int_equal(fclose(file), 0);
        return;
    }
    static char there[256 * 1024];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t bytes = fread(there, 1, sizeof(there), file);
    fclose(file);
    if (bytes != page.bytes || memcmp(there, page.data, bytes) != 0)
        fail_msg("docs/tables.md is not that of the declaration; run test_tables with APIARY_WRITE_DOCS=1");
}

/* The log names tables by id and columns by position, for ever: changing any of these loses what is in a log. */
static void test_ids_and_first_columns(void **state)
{
    (void)state;
    static const struct {
        unsigned id;
        const char *name;
        size_t column_count_min;
    } fixed[] = {
        {1, "events", 15}, {2, "vitals", 15}, {3, "downloads", 10}, {4, "synthetic_runs", 8}, {5, "notifications", 17}};
    assert_true(tables_count >= AP_ARRAY_COUNT(fixed));
    for (size_t i = 0; i < AP_ARRAY_COUNT(fixed); i++) {
        const struct table *table = table_find_by_id((uint8_t)fixed[i].id);
        assert_non_null(table);
        assert_string_equal(table->name, fixed[i].name);
        assert_ptr_equal(table_find(fixed[i].name), table);
        assert_true(table->column_count >= fixed[i].column_count_min && table->column_count <= TABLE_COLUMNS_MAX);
        assert_int_equal(table->columns[0].role, COLUMN_ROLE_TIMESTAMP);
        /* Columns that are looked up are not taken from clients. */
        assert_int_equal(table_find_column(table, ap_slice_cstr("address_prefix")), -1);
        for (size_t a = 0; a < table->column_count; a++)
            for (size_t b = a + 1; b < table->column_count; b++)
                assert_false(ap_slice_equal(table->columns[a].name, table->columns[b].name));
    }
    assert_null(table_find_by_id(0));
    assert_null(table_find("nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_is_up_to_date),
        cmocka_unit_test(test_ids_and_first_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
