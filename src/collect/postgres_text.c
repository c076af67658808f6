#include "collect/postgres_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "collect/postgres_statement.h"

enum { NAME_BYTES = 128 };

/* ---- Pieces ---- */

static void add_escaped(struct ap_slice text, bool is_label, struct ap_buf *out)
{
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '\n')
            ap_buf_add_cstr(out, "\\n");
        else if (c == '\\' || (is_label && c == '"'))
            ap_buf_printf(out, "\\%c", c);
        else
            ap_buf_add_char(out, c);
    }
}

/* Where a text may be cut at or before `bytes`: not between the bytes of a character. */
static size_t character_start(struct ap_slice text, size_t bytes)
{
    while (bytes > 0 && ((unsigned char)text.data[bytes] & 0xC0) == 0x80)
        bytes--;
    return bytes;
}

/* A database in SQL_ASCII keeps whatever bytes it got. */
static void add_utf8(struct ap_slice text, bool is_label, struct ap_buf *out)
{
    while (text.bytes > 0) {
        size_t valid = ap_utf8_valid_bytes(text);
        add_escaped(ap_slice(text.data, valid), is_label, out);
        if (valid == text.bytes)
            return;
        ap_buf_add_utf8(out, 0xFFFD);
        text = ap_slice(text.data + valid + 1, text.bytes - valid - 1);
    }
}

void postgres_text_label(struct ap_slice value, struct ap_buf *out)
{
    if (value.bytes > POSTGRES_LABEL_BYTES_MAX)
        value.bytes = character_start(value, POSTGRES_LABEL_BYTES_MAX);
    ap_buf_add_char(out, '"');
    add_utf8(value, true, out);
    ap_buf_add_char(out, '"');
}

void postgres_text_family(const char *name, const char *type, struct ap_slice help, struct ap_buf *out)
{
    ap_buf_printf(out, "# HELP %s ", name);
    add_utf8(help, false, out);
    ap_buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

static size_t digits(struct ap_slice text, size_t at)
{
    size_t start = at;
    while (at < text.bytes && isdigit((unsigned char)text.data[at]))
        at++;
    return at - start;
}

/* -12, 0.5, 1e-05, 1.5e+300 */
static bool is_number(struct ap_slice text)
{
    size_t at = text.bytes > 0 && text.data[0] == '-';
    size_t whole = digits(text, at), part = 0;
    at += whole;
    if (at < text.bytes && text.data[at] == '.') {
        part = digits(text, at + 1);
        at += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (at < text.bytes && text.data[at] == 'e') {
        at++;
        at += at < text.bytes && (text.data[at] == '-' || text.data[at] == '+');
        size_t exponent = digits(text, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return at == text.bytes;
}

bool postgres_text_value(struct ap_slice cell, struct ap_buf *out)
{
    static const struct {
        const char *sql, *text;
    } words[] = {{"t", "1"}, {"f", "0"}, {"NaN", "NaN"}, {"Infinity", "+Inf"}, {"-Infinity", "-Inf"}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        if (cell.data && ap_slice_equal_cstr(cell, words[i].sql)) {
            ap_buf_add_cstr(out, words[i].text);
            return true;
        }
    }
    if (!cell.data || !is_number(cell))
        return false;
    ap_buf_add_slice(out, cell);
    return true;
}

/* ---- Answers ---- */

static size_t column_count(const struct postgres_query *query)
{
    size_t count = 0;
    while (count < POSTGRES_COLUMNS_MAX && query->columns[count].kind != POSTGRES_END)
        count++;
    return count;
}

enum ap_rc postgres_text_check(const struct postgres_query *query, const struct postgres_rows *rows, struct ap_err *err)
{
    size_t count = column_count(query), wanted = count + (query->limit != POSTGRES_LIMIT_NONE);
    if (rows->column_count != wanted)
        return ap_fail(err, AP_E_INTERNAL, "the answer has %zu columns instead of %zu", rows->column_count, wanted);
    for (size_t i = 0; i < wanted; i++) {
        const char *name = i < count ? query->columns[i].name : "cut";
        if (!ap_slice_equal_cstr(rows->names[i], name))
            return ap_fail(err, AP_E_INTERNAL, "column %zu of the answer is not %s", i + 1, name);
    }
    return AP_OK;
}

struct writing {
    const struct postgres_query *query;
    const struct postgres_rows *answers;
    size_t answer_count;
    struct ap_slice server;
    struct ap_buf *out;
};

static void add_server(const struct writing *w)
{
    ap_buf_add_cstr(w->out, "{server=");
    postgres_text_label(w->server, w->out);
}

/* A label without a value is none. */
static void add_labels(const struct writing *w, const struct postgres_rows *rows, size_t row)
{
    add_server(w);
    for (size_t i = 0; w->query->columns[i].kind != POSTGRES_END; i++) {
        struct ap_slice value = postgres_rows_cell(rows, row, i);
        if (w->query->columns[i].kind != POSTGRES_LABEL || value.bytes == 0)
            continue;
        ap_buf_printf(w->out, ",%s=", w->query->columns[i].name);
        postgres_text_label(value, w->out);
    }
    ap_buf_add_cstr(w->out, "} ");
}

static const char *type_name(enum postgres_column_kind kind)
{
    switch (kind) {
    case POSTGRES_COUNTER:
    case POSTGRES_STATEMENT: /* as postgres_exporter has it */
        return "counter";
    case POSTGRES_GAUGE:
        return "gauge";
    case POSTGRES_UNTYPED:
    case POSTGRES_END:
    case POSTGRES_LABEL:
    case POSTGRES_NAME:
    case POSTGRES_HELP:
        break;
    }
    return "untyped";
}

static void write_sample(const struct writing *w, const char *name, const struct postgres_rows *rows, size_t row,
                         size_t column)
{
    size_t line_start = w->out->bytes;
    ap_buf_add_cstr(w->out, name);
    add_labels(w, rows, row);
    if (postgres_text_value(postgres_rows_cell(rows, row, column), w->out))
        ap_buf_add_char(w->out, '\n');
    else
        w->out->bytes = line_start;
}

static struct ap_slice find_cell(const struct writing *w, const struct postgres_rows *rows, size_t row,
                                 const char *name)
{
    for (size_t i = 0; w->query->columns[i].kind != POSTGRES_END; i++) {
        if (strcmp(w->query->columns[i].name, name) == 0)
            return postgres_rows_cell(rows, row, i);
    }
    return (struct ap_slice){0};
}

static void write_statement(const struct writing *w, const char *name, const struct postgres_rows *rows, size_t row,
                            size_t column)
{
    struct ap_slice text = postgres_rows_cell(rows, row, column);
    if (!text.data)
        return; /* told in another row of the same statement */
    AP_AUTO_BUF struct ap_buf label = {0};
    postgres_statement_label(text, &label);
    ap_buf_add_cstr(w->out, name);
    add_server(w);
    ap_buf_add_cstr(w->out, ",queryid=");
    postgres_text_label(find_cell(w, rows, row, "queryid"), w->out);
    ap_buf_add_cstr(w->out, ",query=");
    postgres_text_label(ap_buf_slice(&label), w->out);
    ap_buf_add_cstr(w->out, "} 1\n");
}

static void write_column(const struct writing *w, size_t column)
{
    const struct postgres_column *as = &w->query->columns[column];
    bool is_statement = as->kind == POSTGRES_STATEMENT;
    char name[NAME_BYTES];
    snprintf(name, sizeof(name), "%s_%s", w->query->prefix, is_statement ? "query_id" : as->name);
    if (as->metric)
        snprintf(name, sizeof(name), "%s", as->metric);
    size_t family_start = w->out->bytes;
    postgres_text_family(name, type_name(as->kind), ap_slice_cstr(as->help), w->out);
    size_t samples_start = w->out->bytes;
    for (size_t i = 0; i < w->answer_count; i++) {
        for (size_t row = 0; row < w->answers[i].row_count; row++)
            (is_statement ? write_statement : write_sample)(w, name, &w->answers[i], row, column);
    }
    if (w->out->bytes == samples_start)
        w->out->bytes = family_start;
}

static bool is_metric_name(struct ap_slice name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_')
            return false;
    }
    return name.bytes > 0 && name.bytes < NAME_BYTES / 2;
}

/* Each row a family: name, help, value. */
static void write_named_rows(const struct writing *w)
{
    for (size_t i = 0; i < w->answer_count; i++) {
        const struct postgres_rows *rows = &w->answers[i];
        for (size_t row = 0; row < rows->row_count; row++) {
            if (!is_metric_name(postgres_rows_cell(rows, row, 0)))
                continue;
            char name[NAME_BYTES];
            snprintf(name, sizeof(name), "%s_%.*s", w->query->prefix, AP_SLICE_ARG(postgres_rows_cell(rows, row, 0)));
            size_t family_start = w->out->bytes;
            postgres_text_family(name, type_name(w->query->columns[2].kind), postgres_rows_cell(rows, row, 1), w->out);
            size_t sample_start = w->out->bytes;
            write_sample(w, name, rows, row, 2);
            if (w->out->bytes == sample_start)
                w->out->bytes = family_start;
        }
    }
}

void postgres_text_write(const struct postgres_query *query, const struct postgres_rows *answers, size_t answer_count,
                         struct ap_slice server, struct ap_buf *out)
{
    const struct writing w = {query, answers, answer_count, server, out};
    if (query->columns[0].kind == POSTGRES_NAME) {
        write_named_rows(&w);
        return;
    }
    for (size_t i = 0; query->columns[i].kind != POSTGRES_END; i++) {
        if (query->columns[i].kind != POSTGRES_LABEL)
            write_column(&w, i);
    }
}
