/*
 * Whatever the bytes are, the reader stays inside them, and what it accepts jansson accepts too, and the other way
 * round: two parsers that were written apart agree on what JSON is.
 */
#include <jansson.h>
#include <stdint.h>

#include "base/assert.h"
#include "codec/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Walks the text the way ingest does: known keys are read by kind, others passed over. */
static enum ap_rc walk(struct json_reader *reader, struct ap_err *err)
{
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind != JSON_KIND_OBJECT)
        return rc != AP_OK ? rc : json_reader_skip(reader, NULL, err);
    rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK) {
        struct ap_slice key, value;
        bool is_there, flag;
        double number;
        rc = json_reader_next_key(reader, &key, &is_there, err);
        if (rc != AP_OK || !is_there)
            return rc;
        rc = json_reader_peek(reader, &kind, err);
        if (rc != AP_OK)
            return rc;
        switch (kind) {
        case JSON_KIND_STRING:
            rc = json_reader_string(reader, &value, err);
            AP_ASSERT(rc != AP_OK || ap_utf8_valid_bytes(value) == value.bytes);
            break;
        case JSON_KIND_NUMBER:
            rc = json_reader_number(reader, &number, err);
            break;
        case JSON_KIND_BOOLEAN:
            rc = json_reader_boolean(reader, &flag, err);
            break;
        case JSON_KIND_NULL:
            rc = json_reader_null(reader, err);
            break;
        default:
            rc = json_reader_skip(reader, &value, err);
        }
    }
    return rc;
}

static enum ap_rc read_with(enum ap_rc (*read)(struct json_reader *, struct ap_err *), struct ap_slice text)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 20);
    struct json_reader reader;
    json_reader_init(&reader, text, &arena, &json_reader_limits_default);
    struct ap_err err;
    enum ap_rc rc = read(&reader, &err);
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, &err);
    AP_ASSERT(json_reader_position(&reader).offset <= text.bytes);
    return rc;
}

static enum ap_rc skip(struct json_reader *reader, struct ap_err *err)
{
    return json_reader_skip(reader, NULL, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_slice text = ap_slice(data, size);
    enum ap_rc skip_rc = read_with(skip, text);
    AP_ASSERT(read_with(walk, text) == skip_rc);

    json_error_t error;
    size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;
    json_t *tree = json_loadb((const char *)data, size, flags, &error);
    /*
     * jansson refuses numbers that are too large for a double and names that hold a NUL, has no such limits on nesting
     * (2048) and width, and takes a NUL outside of strings for the end of the text.
     */
    bool is_excused = tree ? skip_rc == AP_E_LIMIT || (size > 0 && memchr(data, '\0', size) != NULL)
                           : json_error_code(&error) == json_error_numeric_overflow ||
                                 json_error_code(&error) == json_error_null_byte_in_key;
    AP_ASSERT((tree != NULL) == (skip_rc == AP_OK) || is_excused);
    json_decref(tree);
    return 0;
}
