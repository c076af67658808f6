#include "warehouse/result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"

struct result_column {
    char *name;                  /* in the arena */
    char *type;                  /* in the arena */
    duckdb_logical_type logical; /* owned */
    enum warehouse_kind kind;
};

struct warehouse_result {
    struct ap_arena arena; /* texts and names */
    struct result_column *columns;
    size_t column_count;
    struct warehouse_cell *cells; /* row by row */
    size_t row_count;
    size_t row_capacity;
    int64_t took_us;
    bool is_truncated;
    bool is_cached;     /* atomic */
    unsigned ref_count; /* atomic */
};

enum warehouse_kind result_kind_of(duckdb_type type)
{
    switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
        return WAREHOUSE_KIND_BOOLEAN;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL:
        return WAREHOUSE_KIND_NUMBER;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return WAREHOUSE_KIND_TIMESTAMP;
    default:
        return WAREHOUSE_KIND_TEXT;
    }
}

static const char *type_name(duckdb_type type)
{
    static const char *const names[] = {
        [DUCKDB_TYPE_BOOLEAN] = "BOOLEAN",
        [DUCKDB_TYPE_TINYINT] = "TINYINT",
        [DUCKDB_TYPE_SMALLINT] = "SMALLINT",
        [DUCKDB_TYPE_INTEGER] = "INTEGER",
        [DUCKDB_TYPE_BIGINT] = "BIGINT",
        [DUCKDB_TYPE_UTINYINT] = "UTINYINT",
        [DUCKDB_TYPE_USMALLINT] = "USMALLINT",
        [DUCKDB_TYPE_UINTEGER] = "UINTEGER",
        [DUCKDB_TYPE_UBIGINT] = "UBIGINT",
        [DUCKDB_TYPE_FLOAT] = "FLOAT",
        [DUCKDB_TYPE_DOUBLE] = "DOUBLE",
        [DUCKDB_TYPE_TIMESTAMP] = "TIMESTAMP",
        [DUCKDB_TYPE_DATE] = "DATE",
        [DUCKDB_TYPE_TIME] = "TIME",
        [DUCKDB_TYPE_INTERVAL] = "INTERVAL",
        [DUCKDB_TYPE_HUGEINT] = "HUGEINT",
        [DUCKDB_TYPE_UHUGEINT] = "UHUGEINT",
        [DUCKDB_TYPE_VARCHAR] = "VARCHAR",
        [DUCKDB_TYPE_BLOB] = "BLOB",
        [DUCKDB_TYPE_DECIMAL] = "DECIMAL",
        [DUCKDB_TYPE_TIMESTAMP_S] = "TIMESTAMP_S",
        [DUCKDB_TYPE_TIMESTAMP_MS] = "TIMESTAMP_MS",
        [DUCKDB_TYPE_TIMESTAMP_NS] = "TIMESTAMP_NS",
        [DUCKDB_TYPE_ENUM] = "ENUM",
        [DUCKDB_TYPE_LIST] = "LIST",
        [DUCKDB_TYPE_STRUCT] = "STRUCT",
        [DUCKDB_TYPE_MAP] = "MAP",
        [DUCKDB_TYPE_ARRAY] = "ARRAY",
        [DUCKDB_TYPE_UUID] = "UUID",
        [DUCKDB_TYPE_TIMESTAMP_TZ] = "TIMESTAMP WITH TIME ZONE",
    };
    return (size_t)type < AP_ARRAY_COUNT(names) && names[type] ? names[type] : "OTHER";
}

struct warehouse_result *result_new(duckdb_result *from)
{
    struct warehouse_result *result = ap_new0(struct warehouse_result);
    result->ref_count = 1;
    ap_arena_init(&result->arena, 0);
    result->column_count = duckdb_column_count(from);
    result->columns = ap_new0_array(struct result_column, result->column_count);
    for (size_t i = 0; i < result->column_count; i++) {
        struct result_column *column = &result->columns[i];
        duckdb_type type = duckdb_column_type(from, i);
        column->logical = duckdb_column_logical_type(from, i);
        column->kind = result_kind_of(type);
        column->name = ap_arena_try_strndup(&result->arena, ap_slice_cstr(duckdb_column_name(from, i)));
        char *alias = duckdb_logical_type_get_alias(column->logical);
        column->type = ap_arena_try_strndup(&result->arena, ap_slice_cstr(alias ? alias : type_name(type)));
        AP_ASSERT(column->name && column->type);
        duckdb_free(alias);
    }
    return result;
}

/* ---- Values of any type as text; nested ones as JSON ---- */

static void add_json_value(struct ap_buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row);

static __int128 hugeint(duckdb_hugeint value)
{
    return (__int128)((unsigned __int128)(uint64_t)value.upper << 64 | value.lower);
}

static void add_i128(struct ap_buf *out, __int128 value)
{
    char digits[48];
    char *at = digits + sizeof(digits);
    bool is_negative = value < 0;
    unsigned __int128 left = is_negative ? -(unsigned __int128)value : (unsigned __int128)value;
    do
        *--at = (char)('0' + (int)(left % 10));
    while (left /= 10);
    if (is_negative)
        *--at = '-';
    ap_buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static __int128 decimal_digits(duckdb_logical_type type, const void *data, idx_t row)
{
    switch (duckdb_decimal_internal_type(type)) {
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)data)[row];
    case DUCKDB_TYPE_BIGINT:
        return ((const int64_t *)data)[row];
    default:
        return hugeint(((const duckdb_hugeint *)data)[row]);
    }
}

static double decimal_number(duckdb_logical_type type, const void *data, idx_t row)
{
    char text[64];
    AP_AUTO_BUF struct ap_buf digits = {0};
    add_i128(&digits, decimal_digits(type, data, row));
    snprintf(text, sizeof(text), "%.*se-%u", AP_SLICE_ARG(ap_buf_slice(&digits)), duckdb_decimal_scale(type));
    return strtod(text, NULL); /* reads the decimal exactly rounded, which a division would not */
}

/* DuckDB's infinity, and seconds too far away for microseconds: the farthest time there is. */
static int64_t scale_time(int64_t value, int64_t us)
{
    int64_t scaled;
    if (__builtin_mul_overflow(value, us, &scaled))
        return value < 0 ? INT64_MIN : INT64_MAX;
    return scaled;
}

static int64_t timestamp_us(duckdb_type type, const void *data, idx_t row)
{
    int64_t value = ((const int64_t *)data)[row];
    switch (type) {
    case DUCKDB_TYPE_TIMESTAMP_S:
        return scale_time(value, AP_US_PER_S);
    case DUCKDB_TYPE_TIMESTAMP_MS:
        return scale_time(value, AP_US_PER_MS);
    case DUCKDB_TYPE_TIMESTAMP_NS:
        return value / 1000;
    default:
        return value;
    }
}

/* Not by way of microseconds, in which a date of DuckDB may be too far away. */
static void add_date(struct ap_buf *out, int32_t days)
{
    if (days == INT32_MAX || days == -INT32_MAX) {
        ap_buf_add_cstr(out, days > 0 ? "infinity" : "-infinity");
        return;
    }
    struct ap_civil date = ap_civil_of_days(days);
    ap_buf_printf(out, "%04" PRId64 "-%02d-%02d", date.year, date.month, date.day);
}

static void add_interval(struct ap_buf *out, duckdb_interval interval)
{
    const char *separator = "";
    if (interval.months) {
        ap_buf_printf(out, "%d months", interval.months);
        separator = " ";
    }
    if (interval.days) {
        ap_buf_printf(out, "%s%d days", separator, interval.days);
        separator = " ";
    }
    if (interval.micros || !*separator)
        ap_buf_printf(out, "%s%.6g s", separator, (double)interval.micros / AP_US_PER_S);
}

static void add_uuid(struct ap_buf *out, duckdb_hugeint value)
{
    /* DuckDB keeps the first bit inverted, so that UUIDs sort as signed numbers. */
    uint64_t upper = (uint64_t)value.upper ^ (UINT64_C(1) << 63);
    ap_buf_printf(out, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, upper >> 32,
                  upper >> 16 & 0xffff, upper & 0xffff, value.lower >> 48, value.lower & UINT64_C(0xffffffffffff));
}

static void add_enum(struct ap_buf *out, duckdb_logical_type type, const void *data, idx_t row)
{
    duckdb_type internal = duckdb_enum_internal_type(type);
    idx_t index = internal == DUCKDB_TYPE_UTINYINT    ? ((const uint8_t *)data)[row]
                  : internal == DUCKDB_TYPE_USMALLINT ? ((const uint16_t *)data)[row]
                                                      : ((const uint32_t *)data)[row];
    char *text = duckdb_enum_dictionary_value(type, index);
    ap_buf_add_cstr(out, text);
    duckdb_free(text);
}

static struct ap_slice string_at(const void *data, idx_t row)
{
    const duckdb_string_t *string = &((const duckdb_string_t *)data)[row];
    return ap_slice(duckdb_string_t_data((duckdb_string_t *)(uintptr_t)string), duckdb_string_t_length(*string));
}

static void add_list(struct ap_buf *out, duckdb_vector child, duckdb_logical_type child_type, idx_t first, idx_t count)
{
    ap_buf_add_char(out, '[');
    for (idx_t i = 0; i < count; i++) {
        if (i)
            ap_buf_add_char(out, ',');
        add_json_value(out, child, child_type, first + i);
    }
    ap_buf_add_char(out, ']');
}

static void add_struct(struct ap_buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    ap_buf_add_char(out, '{');
    for (idx_t i = 0; i < duckdb_struct_type_child_count(type); i++) {
        char *name = duckdb_struct_type_child_name(type, i);
        duckdb_logical_type child_type = duckdb_struct_type_child_type(type, i);
        if (i)
            ap_buf_add_char(out, ',');
        ap_buf_add_json_string(out, ap_slice_cstr(name));
        ap_buf_add_char(out, ':');
        add_json_value(out, duckdb_struct_vector_get_child(vector, i), child_type, row);
        duckdb_destroy_logical_type(&child_type);
        duckdb_free(name);
    }
    ap_buf_add_char(out, '}');
}

/* What has no cell kind of its own. */
static void add_text(struct ap_buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    void *data = duckdb_vector_get_data(vector);
    char text[AP_TIME_TEXT_BYTES];
    switch (duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_VARCHAR:
        ap_buf_add_slice(out, string_at(data, row));
        break;
    case DUCKDB_TYPE_BLOB: {
        struct ap_slice bytes = string_at(data, row);
        for (size_t i = 0; i < bytes.bytes; i++)
            ap_buf_printf(out, "%02x", (uint8_t)bytes.data[i]);
        break;
    }
    case DUCKDB_TYPE_DATE:
        add_date(out, ((const int32_t *)data)[row]);
        break;
    case DUCKDB_TYPE_TIME:
        ap_time_format(((const int64_t *)data)[row], text);
        ap_buf_add(out, text + 11, 12);
        break;
    case DUCKDB_TYPE_INTERVAL:
        add_interval(out, ((const duckdb_interval *)data)[row]);
        break;
    case DUCKDB_TYPE_UUID:
        add_uuid(out, ((const duckdb_hugeint *)data)[row]);
        break;
    case DUCKDB_TYPE_ENUM:
        add_enum(out, type, data, row);
        break;
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_MAP: {
        const duckdb_list_entry *entry = &((const duckdb_list_entry *)data)[row];
        duckdb_vector child = duckdb_list_vector_get_child(vector);
        duckdb_logical_type child_type = duckdb_vector_get_column_type(child);
        add_list(out, child, child_type, entry->offset, entry->length);
        duckdb_destroy_logical_type(&child_type);
        break;
    }
    case DUCKDB_TYPE_ARRAY: {
        idx_t size = duckdb_array_type_array_size(type);
        duckdb_vector child = duckdb_array_vector_get_child(vector);
        duckdb_logical_type child_type = duckdb_array_type_child_type(type);
        add_list(out, child, child_type, row * size, size);
        duckdb_destroy_logical_type(&child_type);
        break;
    }
    case DUCKDB_TYPE_STRUCT:
        add_struct(out, vector, type, row);
        break;
    default:
        ap_buf_printf(out, "(a %s; CAST it to VARCHAR to see it)", type_name(duckdb_get_type_id(type)));
    }
}

static bool integer_at(duckdb_type type, const void *data, idx_t row, int64_t *ret_integer)
{
    switch (type) {
    case DUCKDB_TYPE_TINYINT:
        *ret_integer = ((const int8_t *)data)[row];
        return true;
    case DUCKDB_TYPE_SMALLINT:
        *ret_integer = ((const int16_t *)data)[row];
        return true;
    case DUCKDB_TYPE_INTEGER:
        *ret_integer = ((const int32_t *)data)[row];
        return true;
    case DUCKDB_TYPE_BIGINT:
        *ret_integer = ((const int64_t *)data)[row];
        return true;
    case DUCKDB_TYPE_UTINYINT:
        *ret_integer = ((const uint8_t *)data)[row];
        return true;
    case DUCKDB_TYPE_USMALLINT:
        *ret_integer = ((const uint16_t *)data)[row];
        return true;
    case DUCKDB_TYPE_UINTEGER:
        *ret_integer = ((const uint32_t *)data)[row];
        return true;
    case DUCKDB_TYPE_UBIGINT:
        *ret_integer = (int64_t)((const uint64_t *)data)[row];
        return *ret_integer >= 0;
    case DUCKDB_TYPE_HUGEINT: {
        __int128 value = hugeint(((const duckdb_hugeint *)data)[row]);
        *ret_integer = (int64_t)value;
        return value >= INT64_MIN && value <= INT64_MAX;
    }
    default:
        return false;
    }
}

static double double_at(duckdb_logical_type type, const void *data, idx_t row)
{
    switch (duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_FLOAT:
        return (double)((const float *)data)[row];
    case DUCKDB_TYPE_DOUBLE:
        return ((const double *)data)[row];
    case DUCKDB_TYPE_DECIMAL:
        return decimal_number(type, data, row);
    case DUCKDB_TYPE_UBIGINT:
        return (double)((const uint64_t *)data)[row];
    case DUCKDB_TYPE_UHUGEINT:
        return duckdb_uhugeint_to_double(((const duckdb_uhugeint *)data)[row]);
    default:
        return duckdb_hugeint_to_double(((const duckdb_hugeint *)data)[row]);
    }
}

static bool is_null(duckdb_vector vector, idx_t row)
{
    uint64_t *validity = duckdb_vector_get_validity(vector);
    return validity && !duckdb_validity_row_is_valid(validity, row);
}

static void add_json_value(struct ap_buf *out, duckdb_vector vector, duckdb_logical_type type, idx_t row)
{
    if (is_null(vector, row)) {
        ap_buf_add_cstr(out, "null");
        return;
    }
    void *data = duckdb_vector_get_data(vector);
    duckdb_type id = duckdb_get_type_id(type);
    int64_t integer;
    if (id == DUCKDB_TYPE_BOOLEAN) {
        ap_buf_add_cstr(out, ((const bool *)data)[row] ? "true" : "false");
    } else if (integer_at(id, data, row, &integer)) {
        ap_buf_printf(out, "%" PRId64, integer);
    } else if (result_kind_of(id) == WAREHOUSE_KIND_NUMBER) {
        ap_buf_add_json_double(out, double_at(type, data, row));
    } else if (result_kind_of(id) == WAREHOUSE_KIND_TIMESTAMP) {
        char text[AP_TIME_TEXT_BYTES];
        ap_time_format(timestamp_us(id, data, row), text);
        ap_buf_add_json_string(out, ap_slice_cstr(text));
    } else if (id == DUCKDB_TYPE_LIST || id == DUCKDB_TYPE_STRUCT || id == DUCKDB_TYPE_MAP || id == DUCKDB_TYPE_ARRAY) {
        add_text(out, vector, type, row);
    } else {
        AP_AUTO_BUF struct ap_buf text = {0};
        add_text(&text, vector, type, row);
        ap_buf_add_json_string(out, ap_buf_slice(&text));
    }
}

static bool read_cell(struct warehouse_result *result, struct warehouse_cell *cell, duckdb_vector vector,
                      duckdb_logical_type type, idx_t row)
{
    *cell = (struct warehouse_cell){.kind = WAREHOUSE_CELL_NULL};
    if (is_null(vector, row))
        return true;
    void *data = duckdb_vector_get_data(vector);
    duckdb_type id = duckdb_get_type_id(type);
    switch (result_kind_of(id)) {
    case WAREHOUSE_KIND_BOOLEAN:
        cell->kind = WAREHOUSE_CELL_BOOLEAN;
        cell->boolean = ((const bool *)data)[row];
        return true;
    case WAREHOUSE_KIND_TIMESTAMP:
        cell->kind = WAREHOUSE_CELL_TIMESTAMP;
        cell->ts_us = timestamp_us(id, data, row);
        return true;
    case WAREHOUSE_KIND_NUMBER:
        cell->kind = WAREHOUSE_CELL_INTEGER;
        if (!integer_at(id, data, row, &cell->integer)) {
            cell->kind = WAREHOUSE_CELL_DOUBLE;
            cell->number = double_at(type, data, row);
        }
        return true;
    case WAREHOUSE_KIND_TEXT:
        break;
    }
    AP_AUTO_BUF struct ap_buf made = {0};
    struct ap_slice text;
    if (id == DUCKDB_TYPE_VARCHAR) {
        text = string_at(data, row);
    } else {
        add_text(&made, vector, type, row);
        text = ap_buf_slice(&made);
    }
    char *copy = ap_arena_try_strndup(&result->arena, text);
    if (!copy)
        return false;
    cell->kind = WAREHOUSE_CELL_TEXT;
    cell->text = ap_slice(copy, text.bytes);
    return true;
}

uint64_t result_bytes(const struct warehouse_result *result)
{
    return sizeof(*result) + result->arena.used_bytes +
           result->row_capacity * result->column_count * sizeof(struct warehouse_cell);
}

bool result_add_chunk(struct warehouse_result *result, duckdb_data_chunk chunk, uint32_t row_max, uint64_t bytes_max,
                      bool *ret_is_full)
{
    size_t rows = duckdb_data_chunk_get_size(chunk);
    size_t taken = AP_MIN(rows, row_max - result->row_count);
    *ret_is_full = taken < rows;
    size_t needed = result->row_count + taken;
    if (needed > result->row_capacity) {
        result->row_capacity = AP_MAX(needed, 2 * result->row_capacity);
        result->cells = ap_realloc(result->cells, result->row_capacity * result->column_count * sizeof(*result->cells));
    }
    for (size_t i = 0; i < result->column_count; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, i);
        for (size_t row = 0; row < taken; row++) {
            struct warehouse_cell *cell = &result->cells[(result->row_count + row) * result->column_count + i];
            if (!read_cell(result, cell, vector, result->columns[i].logical, row) ||
                result->arena.used_bytes > bytes_max)
                return false;
        }
    }
    result->row_count += taken;
    return result_bytes(result) <= bytes_max;
}

void result_set_took_us(struct warehouse_result *result, int64_t took_us)
{
    result->took_us = took_us;
}

void result_set_truncated(struct warehouse_result *result)
{
    result->is_truncated = true;
}

void result_set_cached(struct warehouse_result *result)
{
    __atomic_store_n(&result->is_cached, true, __ATOMIC_RELAXED);
}

struct warehouse_result *warehouse_result_ref(struct warehouse_result *result)
{
    __atomic_fetch_add(&result->ref_count, 1, __ATOMIC_RELAXED);
    return result;
}

void warehouse_result_unref(struct warehouse_result *result)
{
    if (!result || __atomic_sub_fetch(&result->ref_count, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (size_t i = 0; i < result->column_count; i++)
        duckdb_destroy_logical_type(&result->columns[i].logical);
    free(result->columns);
    free(result->cells);
    ap_arena_clear(&result->arena);
    free(result);
}

size_t warehouse_result_columns(const struct warehouse_result *result)
{
    return result->column_count;
}

size_t warehouse_result_rows(const struct warehouse_result *result)
{
    return result->row_count;
}

const char *warehouse_result_name(const struct warehouse_result *result, size_t column)
{
    AP_ASSERT(column < result->column_count);
    return result->columns[column].name;
}

const char *warehouse_result_type(const struct warehouse_result *result, size_t column)
{
    AP_ASSERT(column < result->column_count);
    return result->columns[column].type;
}

enum warehouse_kind warehouse_result_kind(const struct warehouse_result *result, size_t column)
{
    AP_ASSERT(column < result->column_count);
    return result->columns[column].kind;
}

const struct warehouse_cell *warehouse_result_cell(const struct warehouse_result *result, size_t row, size_t column)
{
    AP_ASSERT(row < result->row_count && column < result->column_count);
    return &result->cells[row * result->column_count + column];
}

bool warehouse_result_is_truncated(const struct warehouse_result *result)
{
    return result->is_truncated;
}

bool warehouse_result_is_cached(const struct warehouse_result *result)
{
    return __atomic_load_n(&result->is_cached, __ATOMIC_RELAXED);
}

int64_t warehouse_result_took_us(const struct warehouse_result *result)
{
    return result->took_us;
}

const char *warehouse_kind_name(enum warehouse_kind kind)
{
    static const char *const names[] = {
        [WAREHOUSE_KIND_NUMBER] = "number",
        [WAREHOUSE_KIND_TEXT] = "text",
        [WAREHOUSE_KIND_BOOLEAN] = "boolean",
        [WAREHOUSE_KIND_TIMESTAMP] = "timestamp",
    };
    return names[kind];
}

bool warehouse_cell_number(const struct warehouse_cell *cell, double *ret_number)
{
    switch (cell->kind) {
    case WAREHOUSE_CELL_INTEGER:
        *ret_number = (double)cell->integer;
        return true;
    case WAREHOUSE_CELL_DOUBLE:
        *ret_number = cell->number;
        return true;
    case WAREHOUSE_CELL_BOOLEAN:
        *ret_number = cell->boolean;
        return true;
    default:
        return false;
    }
}
