/* warehouse/row.h: batches of rows as bytes. What comes back is what went in; no damage is ever worse than an error. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "warehouse/row.h"

#define RECEIVED_AT_US INT64_C(1795435200123456)

enum { TEXT_POOL_BYTES = 4096, ROWS_MAX = 40 };

static char text_pool[TEXT_POOL_BYTES]; /* every byte value, so that texts are not merely ASCII */

static void make_row(struct ap_random *random, const struct table *table, struct row *ret_row)
{
    *ret_row = (struct row){0};
    for (size_t i = 0; i < table->column_count; i++) {
        if (ap_random_below(random, 3) == 0)
            continue; /* null */
        ret_row->present |= 1u << i;
        union row_value *value = &ret_row->values[i];
        switch (table->columns[i].type) {
        case COLUMN_TEXT:
        case COLUMN_JSON: {
            /* Lengths around the steps of a varint come up often enough: 0, 127, 128, 300. */
            static const size_t bytes[] = {0, 1, 7, 127, 128, 300};
            size_t count = bytes[ap_random_below(random, AP_ARRAY_COUNT(bytes))];
            value->text = ap_slice(text_pool + ap_random_below(random, TEXT_POOL_BYTES - 300), count);
            break;
        }
        case COLUMN_F64:
            value->f64 = (double)(int64_t)ap_random_u64(random) / 1e6;
            break;
        case COLUMN_TIMESTAMP:
            value->ts_us = (int64_t)ap_random_u64(random);
            break;
        case COLUMN_BOOL:
            value->boolean = ap_random_below(random, 2);
            break;
        }
    }
}

static void set_row(struct row_batch *batch, const struct row *row)
{
    for (size_t i = 0; i < batch->table->column_count; i++) {
        if (!row_has(row, i))
            continue;
        switch (batch->table->columns[i].type) {
        case COLUMN_TEXT:
        case COLUMN_JSON:
            row_set_text(batch, i, row->values[i].text);
            break;
        case COLUMN_F64:
            row_set_f64(batch, i, row->values[i].f64);
            break;
        case COLUMN_TIMESTAMP:
            row_set_ts(batch, i, row->values[i].ts_us);
            break;
        case COLUMN_BOOL:
            row_set_bool(batch, i, row->values[i].boolean);
            break;
        }
    }
}

static void assert_row(const struct table *table, const struct row *row, const struct row *want)
{
    assert_int_equal(row->present, want->present);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!row_has(want, i))
            continue;
        switch (table->columns[i].type) {
        case COLUMN_TEXT:
        case COLUMN_JSON:
            assert_true(ap_slice_equal(row->values[i].text, want->values[i].text));
            break;
        case COLUMN_F64:
            assert_memory_equal(&row->values[i].f64, &want->values[i].f64, 8);
            break;
        case COLUMN_TIMESTAMP:
            assert_int_equal(row->values[i].ts_us, want->values[i].ts_us);
            break;
        case COLUMN_BOOL:
            assert_int_equal(row->values[i].boolean, want->values[i].boolean);
            break;
        }
    }
}

/* A copy with no byte to spare on the heap, so that the address sanitizer sees every read outside. */
static struct ap_slice exact_copy(struct ap_slice bytes)
{
    char *copy = malloc(bytes.bytes ? bytes.bytes : 1);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

/* Reads the batch to its end or to the first error. Touches every byte of every text. */
static enum ap_rc read_all(struct ap_slice record, unsigned *ret_row_count, struct ap_err *err)
{
    struct row_reader reader;
    *ret_row_count = 0;
    enum ap_rc rc = row_reader_open(&reader, record, err);
    bool has_row = rc == AP_OK;
    unsigned sum = 0;
    while (rc == AP_OK && has_row) {
        struct row row;
        rc = row_reader_next(&reader, &row, &has_row, err);
        if (rc != AP_OK || !has_row)
            break;
        ++*ret_row_count;
        for (size_t i = 0; i < reader.table->column_count; i++)
            if (row_has(&row, i) &&
                (reader.table->columns[i].type == COLUMN_TEXT || reader.table->columns[i].type == COLUMN_JSON))
                for (size_t k = 0; k < row.values[i].text.bytes; k++)
                    sum += (unsigned char)row.values[i].text.data[k];
    }
    return sum == 0x7fffffff ? AP_E_INTERNAL : rc; /* so that the reads are not optimised away */
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 7);
    for (unsigned round = 0; round < 400; round++) {
        const struct table *table = &tables[round % tables_count];
        unsigned row_count = (unsigned)ap_random_below(&random, ROWS_MAX);
        AP_AUTO_BUF struct ap_buf out = {0};
        ap_buf_add_cstr(&out, "what stood there before");
        size_t before_bytes = out.bytes;
        struct row rows[ROWS_MAX];
        struct row_batch batch;
        row_batch_begin(&batch, table, RECEIVED_AT_US, &out);
        for (unsigned i = 0; i < row_count; i++) {
            make_row(&random, table, &rows[i]);
            set_row(&batch, &rows[i]);
            row_batch_discard(&batch); /* leaves no trace */
            set_row(&batch, &rows[i]);
            row_batch_commit(&batch);
        }
        row_batch_finish(&batch);
        assert_int_equal(batch.start_bytes, before_bytes);

        struct ap_slice record = exact_copy(ap_slice(out.data + before_bytes, out.bytes - before_bytes));
        struct row_reader reader;
        struct ap_err err;
        assert_int_equal(row_reader_open(&reader, record, &err), AP_OK);
        assert_ptr_equal(reader.table, table);
        assert_int_equal(reader.received_at_us, RECEIVED_AT_US);
        assert_int_equal(reader.row_count, row_count);
        struct row row;
        bool has_row;
        for (unsigned i = 0; i < row_count; i++) {
            assert_int_equal(row_reader_next(&reader, &row, &has_row, &err), AP_OK);
            assert_true(has_row);
            assert_row(table, &row, &rows[i]);
        }
        assert_int_equal(row_reader_next(&reader, &row, &has_row, &err), AP_OK);
        assert_false(has_row);
        free((char *)(uintptr_t)record.data);
    }
}

/* Over the maximum of the buffer: nothing is written past it, and the caller can tell. */
static void test_full_buffer(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {.bytes_max = 64};
    struct row_batch batch;
    row_batch_begin(&batch, &tables[0], RECEIVED_AT_US, &out);
    for (int i = 0; i < 10; i++) {
        row_set_text(&batch, 1, ap_slice(text_pool, 20));
        row_batch_commit(&batch);
    }
    row_batch_finish(&batch);
    assert_false(ap_buf_ok(&out));
    assert_true(out.bytes <= 64);
}

/* Written by a program that knew only the first three columns. */
static void test_fewer_columns(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct row_batch batch;
    row_batch_begin(&batch, table_find("events"), RECEIVED_AT_US, &out);
    row_set_text(&batch, 1, ap_slice_cstr("startup"));
    row_set_text(&batch, 2, ap_slice_cstr("s1"));
    row_batch_commit(&batch);
    row_batch_finish(&batch);
    out.data[2] = 3; /* the column count of the header */
    struct row_reader reader;
    struct row row;
    struct ap_err err;
    bool has_row;
    assert_int_equal(row_reader_open(&reader, ap_buf_slice(&out), &err), AP_OK);
    assert_int_equal(row_reader_next(&reader, &row, &has_row, &err), AP_OK);
    assert_true(has_row && row.present == 6);
    assert_true(ap_slice_equal_cstr(row.values[2].text, "s1"));

    out.data[2] = 2; /* then column 2 does not exist, and a row that has it is damaged */
    assert_int_equal(row_reader_open(&reader, ap_buf_slice(&out), &err), AP_OK);
    assert_int_equal(row_reader_next(&reader, &row, &has_row, &err), AP_E_CORRUPT);
}

static void make_sample(const struct table *table, struct ap_buf *out)
{
    struct ap_random random;
    ap_random_init(&random, 11);
    struct row_batch batch;
    row_batch_begin(&batch, table, RECEIVED_AT_US, out);
    for (int i = 0; i < 6; i++) {
        struct row row;
        make_row(&random, table, &row);
        set_row(&batch, &row);
        row_batch_commit(&batch);
    }
    row_batch_finish(&batch);
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t t = 0; t < tables_count; t++) {
        AP_AUTO_BUF struct ap_buf out = {0};
        make_sample(&tables[t], &out);
        struct ap_err err;
        unsigned row_count;
        assert_int_equal(read_all(ap_buf_slice(&out), &row_count, &err), AP_OK);
        assert_int_equal(row_count, 6);
        for (size_t bytes = 0; bytes < out.bytes; bytes++) {
            struct ap_slice record = exact_copy(ap_slice(out.data, bytes));
            assert_int_equal(read_all(record, &row_count, &err), AP_E_CORRUPT);
            free((char *)(uintptr_t)record.data);
        }
        ap_buf_add_char(&out, 0); /* a byte too many is damage as well */
        assert_int_equal(read_all(ap_buf_slice(&out), &row_count, &err), AP_E_CORRUPT);
    }
}

/* The log has checksums; here it is enough that a wrong byte is an error or another value, and nothing worse. */
static void test_every_flipped_byte(void **state)
{
    (void)state;
    static const unsigned char masks[] = {0x01, 0x80, 0xff, 0x10};
    unsigned corrupt_count = 0;
    for (size_t t = 0; t < tables_count; t++) {
        AP_AUTO_BUF struct ap_buf out = {0};
        make_sample(&tables[t], &out);
        struct ap_slice record = exact_copy(ap_buf_slice(&out));
        char *bytes = (char *)(uintptr_t)record.data;
        for (size_t at = 0; at < record.bytes; at++)
            for (size_t m = 0; m < AP_ARRAY_COUNT(masks); m++) {
                bytes[at] ^= (char)masks[m];
                struct ap_err err = {0};
                unsigned row_count;
                enum ap_rc rc = read_all(record, &row_count, &err);
                assert_true(rc == AP_OK || rc == AP_E_CORRUPT);
                assert_true(rc == AP_OK || err.text[0] != '\0');
                assert_true(rc == AP_E_CORRUPT || (at != 0 && (at < 4 || at > 7))); /* version, row count */
                corrupt_count += rc == AP_E_CORRUPT;
                bytes[at] ^= (char)masks[m];
            }
        free(bytes);
    }
    assert_true(corrupt_count > 100);
}

static void test_claims(void **state)
{
    (void)state;
    /* version 1, table 1, 15 columns, 1 row, and a text whose length is a varint of more than 35 bits */
    static const char overlong[] = "\1\1\17\0\1\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\xff\xff\xff\xff\xff\xff\x01x";
    static const char huge[] = "\1\1\17\0\1\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\xff\xff\xff\xff\x0fx";
    static const char many[] = "\1\1\17\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char unknown_table[] = "\1\77\17\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char more_columns[] = "\1\1\40\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const struct ap_slice records[] = {
        ap_slice(overlong, sizeof(overlong) - 1),
        ap_slice(huge, sizeof(huge) - 1),
        ap_slice(many, sizeof(many) - 1),
        ap_slice(unknown_table, sizeof(unknown_table) - 1),
        ap_slice(more_columns, sizeof(more_columns) - 1),
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(records); i++) {
        struct ap_slice record = exact_copy(records[i]);
        struct ap_err err;
        unsigned row_count;
        assert_int_equal(read_all(record, &row_count, &err), AP_E_CORRUPT);
        free((char *)(uintptr_t)record.data);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof(text_pool); i++)
        text_pool[i] = (char)(i * 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_fewer_columns),      cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_flipped_byte), cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
