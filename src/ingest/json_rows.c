#include "ingest/json_rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/geo.h"
#include "ingest/user_id.h"

enum {
    SCRATCH_BYTES = 2048,         /* strings with escapes of most rows fit */
    SCRATCH_BYTES_MAX = 16 << 20, /* of one row: as much as a body may have */
    PROPS_BYTES_MAX = 16 << 20,   /* while it is put together; the column's own limit comes afterwards */
    ROW_OVERHEAD_BYTES = 64,      /* timestamp, country, prefix, bitmap: what a row has and its JSON has not */
    REMEMBERED_MEMBERS_MAX = 32,
    DIGITS_OF_MS = 13, /* milliseconds since 1970 have thirteen digits from 2001 to 2286 */
};

/* Numbers below are dates before 1973 when they are milliseconds, and dates until 5138 when they are seconds. */
static const double ms_min = 1e11;
static const double ms_max = 253402300799999; /* the last one of year 9999 */

static const struct ap_slice client_ip_key = AP_SLICE_LITERAL("client_ip");

/* What country and address prefix a row gets. */
struct origin {
    char country[GEO_COUNTRY_BYTES];
    char prefix[CLIENT_PREFIX_BYTES];
};

/* The state of decoding one body. */
struct decoder {
    const struct json_rows_context *context;
    struct row_batch batch;
    struct row_report *report;
    struct ap_arena scratch; /* of the row at hand */
    struct ap_buf props;     /* of the row at hand, while it is put together */
    uint32_t required_bits;  /* bit i: column i must be there */
    int timestamp_column, country_column, prefix_column, props_column; /* -1: the table has none */
    int8_t order[REMEMBERED_MEMBERS_MAX]; /* the column of the n-th member of the row before, -1 for none */
    size_t member_index;
    uint64_t row_number; /* from 1 */
    bool is_rejected;    /* the row at hand was; the rest of it is only passed over */
    struct origin request_origin;
    struct origin row_origin; /* by client_ip */
    char user_id[USER_ID_HASH_TEXT_BYTES];
    _Alignas(16) char scratch_memory[SCRATCH_BYTES];
};

static void find_origin(const struct geo *geo, const struct client_address *address, struct origin *ret_origin)
{
    geo_country(geo, &address->socket.any, ret_origin->country);
    client_address_prefix(address, ret_origin->prefix);
}

static void decoder_init(struct decoder *decoder, const struct json_rows_context *context, struct row_report *report)
{
    const struct table *table = context->table;
    decoder->context = context;
    decoder->report = report;
    ap_arena_init_with(&decoder->scratch, decoder->scratch_memory, SCRATCH_BYTES, SCRATCH_BYTES_MAX);
    ap_buf_init(&decoder->props, PROPS_BYTES_MAX);
    decoder->required_bits = 0;
    for (size_t i = 0; i < table->column_count; i++)
        decoder->required_bits |= (uint32_t)table->columns[i].is_required << i;
    decoder->timestamp_column = table_column_of_role(table, COLUMN_ROLE_TIMESTAMP);
    decoder->country_column = table_column_of_role(table, COLUMN_ROLE_COUNTRY);
    decoder->prefix_column = table_column_of_role(table, COLUMN_ROLE_ADDRESS_PREFIX);
    decoder->props_column = table_column_of_role(table, COLUMN_ROLE_PROPS);
    memset(decoder->order, -1, sizeof(decoder->order));
    decoder->row_number = 0;
    find_origin(context->geo, context->client, &decoder->request_origin);
}

static void decoder_clear(struct decoder *decoder)
{
    ap_arena_clear(&decoder->scratch);
    ap_buf_clear(&decoder->props);
}

/* ---- Rejecting one row ---- */

#define reject(decoder, field, ...)                                                                                    \
    do {                                                                                                               \
        (decoder)->is_rejected = true;                                                                                 \
        row_report_reject((decoder)->report, (decoder)->row_number, (field), __VA_ARGS__);                             \
    } while (0)

/* Names are those of the table, short and without NUL. */
static const char *column_name(const struct column *column)
{
    return column->name.data;
}

static void reject_kind(struct decoder *decoder, const struct column *column, const char *wanted, enum json_kind got)
{
    reject(decoder, column_name(column), "expected %s, got %s", wanted, json_kind_name(got));
}

/* ---- One value into its column. A wrong one rejects the row; AP_OK all the same, as the JSON is fine. ---- */

/* The longest front of `text` that has at most `bytes_max` bytes and cuts no character in two. */
static struct ap_slice cut_text(struct ap_slice text, size_t bytes_max)
{
    size_t bytes = bytes_max;
    while (bytes > 0 && ((unsigned char)text.data[bytes] & 0xc0) == 0x80)
        bytes--;
    return ap_slice(text.data, bytes);
}

static void set_text(struct decoder *decoder, size_t index, struct ap_slice text)
{
    const struct column *column = &decoder->context->table->columns[index];
    if (text.bytes && memchr(text.data, '\0', text.bytes)) {
        reject(decoder, column_name(column), "a text must not hold the character U+0000");
        return;
    }
    if (text.bytes == 0 && column->is_required) {
        reject(decoder, column_name(column), "must not be empty");
        return;
    }
    if (column->role == COLUMN_ROLE_USER_ID) {
        if (text.bytes == 0)
            return; /* nobody signed in; one user without a name would be wrong */
        if (decoder->context->user_id_hash_key) {
            user_id_hash(text, decoder->context->user_id_hash_key, decoder->user_id);
            text = ap_slice_cstr(decoder->user_id);
        }
    }
    if (text.bytes > column->bytes_max) {
        if (!column->is_cut) {
            reject(decoder, column_name(column), "has %zu bytes; at most %u are allowed", text.bytes,
                   column->bytes_max);
            return;
        }
        text = cut_text(text, column->bytes_max);
    }
    row_set_text(&decoder->batch, index, text);
}

static void set_timestamp(struct decoder *decoder, size_t index, int64_t ts_us)
{
    const struct json_rows_context *context = decoder->context;
    const char *name = column_name(&context->table->columns[index]);
    int64_t ahead_us = ts_us - context->received_us;
    if (ahead_us > JSON_ROWS_AHEAD_MAX_S * AP_US_PER_S) {
        reject(decoder, name, "is more than a day in the future");
        return;
    }
    if (!context->may_date_back && ahead_us < -JSON_ROWS_BACK_MAX_DAYS * AP_US_PER_DAY) {
        reject(decoder, name, "is more than %d days in the past, which needs a secret key", JSON_ROWS_BACK_MAX_DAYS);
        return;
    }
    row_set_ts(&decoder->batch, index, ts_us);
}

static void set_timestamp_ms(struct decoder *decoder, size_t index, double ms)
{
    const char *name = column_name(&decoder->context->table->columns[index]);
    if (ms >= 0 && ms < ms_min)
        reject(decoder, name, "is before 1973; if these are seconds, send milliseconds since 1970");
    else if (!(ms >= ms_min && ms <= ms_max))
        reject(decoder, name, "is not a time in milliseconds since 1970");
    else
        set_timestamp(decoder, index, llround(ms * 1000));
}

/* "1764000000000": some clients keep such numbers as text. Only that many digits can mean nothing else. */
static bool parse_ms_digits(struct ap_slice text, double *ret_ms)
{
    if (text.bytes != DIGITS_OF_MS)
        return false;
    double ms = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        ms = ms * 10 + (text.data[i] - '0');
    }
    *ret_ms = ms;
    return true;
}

static enum ap_rc read_timestamp(struct decoder *decoder, struct json_reader *reader, size_t index, enum json_kind kind,
                                 struct ap_err *err)
{
    const struct column *column = &decoder->context->table->columns[index];
    enum ap_rc rc;
    if (kind == JSON_KIND_NUMBER) {
        double ms = 0;
        rc = json_reader_number(reader, &ms, err);
        if (rc == AP_OK)
            set_timestamp_ms(decoder, index, ms);
        return rc;
    }
    struct ap_slice text;
    rc = json_reader_string(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    int64_t ts_us;
    double ms;
    if (ap_time_parse(text, &ts_us))
        set_timestamp(decoder, index, ts_us);
    else if (parse_ms_digits(text, &ms))
        set_timestamp_ms(decoder, index, ms);
    else
        reject(decoder, column_name(column), "expected a time like 2026-11-23T12:00:00Z or milliseconds since 1970");
    return AP_OK;
}

/* Any JSON, as it was written. */
static enum ap_rc read_json(struct decoder *decoder, struct json_reader *reader, size_t index, struct ap_err *err)
{
    const struct column *column = &decoder->context->table->columns[index];
    struct ap_slice raw;
    enum ap_rc rc = json_reader_skip(reader, &raw, err);
    if (rc != AP_OK)
        return rc;
    if (raw.bytes > column->bytes_max)
        reject(decoder, column_name(column), "has %zu bytes; at most %u are allowed", raw.bytes, column->bytes_max);
    else
        row_set_text(&decoder->batch, index, raw);
    return AP_OK;
}

/* Wants `wanted`, called `name`, or rejects the row and passes over the value. */
static bool is_kind(struct decoder *decoder, struct json_reader *reader, size_t index, enum json_kind kind,
                    enum json_kind wanted, const char *name, enum ap_rc *ret_rc, struct ap_err *err)
{
    if (kind == wanted)
        return true;
    reject_kind(decoder, &decoder->context->table->columns[index], name, kind);
    *ret_rc = json_reader_skip(reader, NULL, err);
    return false;
}

static enum ap_rc read_column(struct decoder *decoder, struct json_reader *reader, size_t index, enum json_kind kind,
                              struct ap_err *err)
{
    struct ap_slice text;
    double number = 0;
    bool flag = false;
    enum ap_rc rc = AP_OK;
    switch (decoder->context->table->columns[index].type) {
    case COLUMN_TEXT:
        if (!is_kind(decoder, reader, index, kind, JSON_KIND_STRING, "a string", &rc, err))
            return rc;
        rc = json_reader_string(reader, &text, err);
        if (rc == AP_OK)
            set_text(decoder, index, text);
        return rc;
    case COLUMN_F64:
        if (!is_kind(decoder, reader, index, kind, JSON_KIND_NUMBER, "a number", &rc, err))
            return rc;
        rc = json_reader_number(reader, &number, err);
        if (rc == AP_OK && isfinite(number))
            row_set_f64(&decoder->batch, index, number);
        else if (rc == AP_OK)
            reject(decoder, column_name(&decoder->context->table->columns[index]), "is too large a number");
        return rc;
    case COLUMN_BOOL:
        if (!is_kind(decoder, reader, index, kind, JSON_KIND_BOOLEAN, "true or false", &rc, err))
            return rc;
        rc = json_reader_boolean(reader, &flag, err);
        if (rc == AP_OK)
            row_set_bool(&decoder->batch, index, flag);
        return rc;
    case COLUMN_TIMESTAMP:
        if (kind != JSON_KIND_STRING && !is_kind(decoder, reader, index, kind, JSON_KIND_NUMBER, "a time", &rc, err))
            return rc;
        return read_timestamp(decoder, reader, index, kind, err);
    case COLUMN_JSON:
        return read_json(decoder, reader, index, err);
    }
    return AP_OK;
}

/* ---- props: what has no column ---- */

/* Puts members, written as in JSON and without braces, behind those that are there. */
static void add_props(struct decoder *decoder, struct ap_slice members)
{
    if (members.bytes == 0)
        return;
    ap_buf_add_char(&decoder->props, decoder->props.bytes ? ',' : '{');
    ap_buf_add_slice(&decoder->props, members);
}

/* `props` itself: its members join the others. */
static enum ap_rc read_props(struct decoder *decoder, struct json_reader *reader, enum json_kind kind,
                             struct ap_err *err)
{
    enum ap_rc rc;
    if (!is_kind(decoder, reader, (size_t)decoder->props_column, kind, JSON_KIND_OBJECT, "an object", &rc, err))
        return rc;
    struct ap_slice raw;
    rc = json_reader_skip(reader, &raw, err);
    if (rc == AP_OK)
        add_props(decoder, ap_slice_trim(ap_slice(raw.data + 1, raw.bytes - 2)));
    return rc;
}

static void finish_props(struct decoder *decoder)
{
    if (decoder->props.bytes == 0 && !decoder->props.is_overflown)
        return;
    const struct column *column = &decoder->context->table->columns[decoder->props_column];
    ap_buf_add_char(&decoder->props, '}');
    if (!ap_buf_ok(&decoder->props) || decoder->props.bytes > column->bytes_max)
        reject(decoder, column_name(column), "fields without a column of their own have more than %u bytes together",
               column->bytes_max);
    else
        row_set_text(&decoder->batch, (size_t)decoder->props_column, ap_buf_slice(&decoder->props));
}

/* ---- One row ---- */

/* A server tells where its own client was; nobody else can, and it is never kept as it is. */
static enum ap_rc read_client_ip(struct decoder *decoder, struct json_reader *reader, enum json_kind kind,
                                 const struct origin **ret_origin, struct ap_err *err)
{
    struct ap_slice text;
    if (!decoder->context->may_give_client_ip || kind != JSON_KIND_STRING)
        return json_reader_skip(reader, NULL, err);
    enum ap_rc rc = json_reader_string(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    struct client_address address;
    if (!client_address_parse(text, &address)) {
        reject(decoder, client_ip_key.data, "expected an IP address");
        return AP_OK;
    }
    find_origin(decoder->context->geo, &address, &decoder->row_origin);
    *ret_origin = &decoder->row_origin;
    return AP_OK;
}

/* Clients write their rows alike: the n-th member is mostly the one that it was in the row before. */
static int find_column(struct decoder *decoder, struct ap_slice key)
{
    const struct table *table = decoder->context->table;
    size_t n = decoder->member_index++;
    if (n >= REMEMBERED_MEMBERS_MAX)
        return table_find_column(table, key);
    if (decoder->order[n] < 0 || !ap_slice_equal(table->columns[decoder->order[n]].name, key))
        decoder->order[n] = (int8_t)table_find_column(table, key);
    return decoder->order[n];
}

static enum ap_rc read_member(struct decoder *decoder, struct json_reader *reader, struct ap_slice key,
                              const struct origin **origin, struct ap_err *err)
{
    enum json_kind kind = JSON_KIND_NULL;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK)
        return rc;
    if (decoder->is_rejected)
        return json_reader_skip(reader, NULL, err);
    int index = find_column(decoder, key);
    if (index < 0 && ap_slice_equal(key, client_ip_key))
        return read_client_ip(decoder, reader, kind, origin, err);
    if (index < 0) {
        rc = json_reader_skip(reader, NULL, err);
        if (rc == AP_OK)
            add_props(decoder, json_reader_member_raw(reader));
        return rc;
    }
    if (kind == JSON_KIND_NULL) { /* as if it were not there; also takes back an earlier one of the same name */
        decoder->batch.row.present &= ~(UINT32_C(1) << index);
        return json_reader_null(reader, err);
    }
    if (index == decoder->props_column)
        return read_props(decoder, reader, kind, err);
    return read_column(decoder, reader, (size_t)index, kind, err);
}

/* Everything was read: what is missing is filled in, and the row joins the batch. */
static void finish_row(struct decoder *decoder, const struct origin *origin)
{
    const struct table *table = decoder->context->table;
    struct row_batch *batch = &decoder->batch;
    uint32_t missing_bits = decoder->required_bits & ~batch->row.present;
    if (missing_bits)
        reject(decoder, column_name(&table->columns[__builtin_ctz(missing_bits)]), "is missing");
    else
        finish_props(decoder);
    if (decoder->is_rejected)
        return;
    if (decoder->timestamp_column >= 0 && !row_has(&batch->row, (size_t)decoder->timestamp_column))
        row_set_ts(batch, (size_t)decoder->timestamp_column, decoder->context->received_us);
    if (decoder->country_column >= 0 && origin->country[0] != '\0')
        row_set_text(batch, (size_t)decoder->country_column, ap_slice_cstr(origin->country));
    if (decoder->prefix_column >= 0 && origin->prefix[0] != '\0')
        row_set_text(batch, (size_t)decoder->prefix_column, ap_slice_cstr(origin->prefix));
    row_batch_commit(batch);
    decoder->report->accepted_count++;
}

static enum ap_rc read_members(struct decoder *decoder, struct json_reader *reader, const struct origin **origin,
                               struct ap_err *err)
{
    decoder->member_index = 0;
    ap_buf_reset(&decoder->props);
    enum ap_rc rc = json_reader_begin_object(reader, err);
    struct ap_slice key;
    bool is_there = true;
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_member(decoder, reader, key, origin, err);
    return rc;
}

/*
 * Takes the next value as one row. Fails where the text is no JSON; then nothing of the row is kept. With `is_last` the
 * text must end behind it.
 */
static enum ap_rc read_row(struct decoder *decoder, struct json_reader *reader, bool is_last, struct ap_err *err)
{
    decoder->row_number++;
    decoder->is_rejected = false;
    const struct origin *origin = &decoder->request_origin;
    enum json_kind kind = JSON_KIND_NULL;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc == AP_OK)
        rc = kind == JSON_KIND_OBJECT ? read_members(decoder, reader, &origin, err)
                                      : json_reader_skip(reader, NULL, err);
    if (rc == AP_OK && is_last)
        rc = json_reader_finish(reader, err);
    if (rc == AP_OK && kind != JSON_KIND_OBJECT)
        reject(decoder, NULL, "expected an object, got %s", json_kind_name(kind));
    if (rc == AP_OK && !decoder->is_rejected)
        finish_row(decoder, origin);
    if (rc != AP_OK || decoder->is_rejected)
        row_batch_discard(&decoder->batch);
    if (decoder->scratch.used_bytes)
        ap_arena_reset(&decoder->scratch);
    return rc;
}

/* ---- The three shapes of a body ---- */

static enum ap_rc fail_too_many_rows(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "more than %d rows in one body; send them in smaller batches", JSON_ROWS_MAX);
}

static enum ap_rc read_lines(struct decoder *decoder, struct ap_slice body, struct ap_err *err)
{
    while (body.data) {
        struct ap_slice line = ap_slice_trim(ap_slice_split(&body, '\n'));
        if (line.bytes == 0)
            continue;
        if (decoder->row_number == JSON_ROWS_MAX)
            return fail_too_many_rows(err);
        struct json_reader reader;
        struct ap_err line_err;
        json_reader_init(&reader, line, &decoder->scratch, &json_reader_limits_default);
        enum ap_rc rc = read_row(decoder, &reader, true, &line_err);
        if (rc == AP_OK || decoder->is_rejected)
            continue; /* whatever there was to say about the row has been said */
        size_t column = json_reader_position(&reader).column;
        reject(decoder, NULL, "%s (byte %zu of the line)", line_err.text, column);
    }
    return AP_OK;
}

static enum ap_rc read_array(struct decoder *decoder, struct json_reader *reader, struct ap_err *err)
{
    enum ap_rc rc = json_reader_begin_array(reader, err);
    bool is_there = true;
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (decoder->row_number == JSON_ROWS_MAX)
            return fail_too_many_rows(err);
        rc = read_row(decoder, reader, false, err);
    }
    return rc;
}

static enum ap_rc read_document(struct decoder *decoder, struct ap_slice body, struct json_position *ret_position,
                                struct ap_err *err)
{
    struct json_reader reader;
    json_reader_init(&reader, body, &decoder->scratch, &json_reader_limits_default);
    enum json_kind kind = JSON_KIND_NULL;
    enum ap_rc rc = json_reader_peek(&reader, &kind, err);
    if (rc == AP_OK && kind != JSON_KIND_ARRAY && kind != JSON_KIND_OBJECT)
        rc = ap_fail(err, AP_E_PARSE, "expected an object or an array of objects, got %s", json_kind_name(kind));
    else if (rc == AP_OK)
        rc = kind == JSON_KIND_ARRAY ? read_array(decoder, &reader, err) : read_row(decoder, &reader, true, err);
    if (rc == AP_OK && kind == JSON_KIND_ARRAY)
        rc = json_reader_finish(&reader, err);
    *ret_position = json_reader_position(&reader);
    /* The reader's limits, too deep and too wide, are told like text that is no JSON: at the byte that broke them. */
    return reader.failed_rc != AP_OK ? AP_E_PARSE : rc;
}

/*
 * NDJSON by its looks, where the client did not say: the first line is `{…}` and a second one begins with `{`. No JSON
 * document looks like that: between two objects there is a comma.
 */
static bool looks_like_lines(struct ap_slice body)
{
    struct ap_slice rest = ap_slice_trim(body);
    struct ap_slice first = ap_slice_trim(ap_slice_split(&rest, '\n'));
    rest = ap_slice_trim(rest);
    return first.bytes >= 2 && first.data[0] == '{' && first.data[first.bytes - 1] == '}' && rest.bytes > 0 &&
           rest.data[0] == '{';
}

enum ap_rc json_rows_decode(const struct json_rows_context *context, struct ap_slice body, struct ap_buf *out,
                            struct row_report *report, struct json_position *ret_position, struct ap_err *err)
{
    *ret_position = (struct json_position){.line = 1, .column = 1};
    if (ap_slice_trim(body).bytes == 0)
        return ap_fail(err, AP_E_PARSE, "the body is empty; send a JSON object, an array of them, or one a line");
    struct decoder decoder;
    decoder_init(&decoder, context, report);
    ap_buf_reserve(out, body.bytes + ROW_OVERHEAD_BYTES); /* mostly enough; it grows if not */
    row_batch_begin(&decoder.batch, context->table, context->received_us, out);
    enum ap_rc rc = context->is_ndjson || looks_like_lines(body) ? read_lines(&decoder, body, err)
                                                                 : read_document(&decoder, body, ret_position, err);
    row_batch_finish(&decoder.batch);
    decoder_clear(&decoder);
    if (rc == AP_OK && !ap_buf_ok(out))
        rc = ap_fail(err, AP_E_LIMIT, "the rows of this body take too much room; send them in smaller batches");
    return rc;
}
