/*
 * codec/json_reader.h - reads JSON in place, one value at a time
 *
 * A pull reader: the caller asks for what it expects, and nothing is built that it does not ask for. Strings without
 * escapes are slices of the text itself; only those with escapes are unescaped into the arena. Whole values can be
 * passed over and handed out as they were written (json_reader_skip), still checked to the last byte.
 *
 *     json_reader_init(&reader, body, &arena, &json_reader_limits_default);
 *     rc = json_reader_begin_object(&reader, err);
 *     while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there)
 *         rc = json_reader_skip(&reader, &raw_value, err);
 *     if (rc == AP_OK)
 *         rc = json_reader_finish(&reader, err);
 *
 * Strict RFC 8259: UTF-8 only, no comments, no trailing commas, no lone surrogates, no byte order mark. Names that
 * occur twice in an object are handed out twice, in order: a caller that stores the later over the earlier gets "the
 * last one wins". Nesting is counted, never recursed.
 *
 * Failures are AP_E_PARSE (not JSON) and AP_E_LIMIT (JSON, but over a limit). After one the reader is stuck: it fails
 * again with the same code, and json_reader_position() tells where.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    JSON_READER_DEPTH_MAX = 32,             /* arrays and objects inside each other */
    JSON_READER_KEYS_MAX = 2000,            /* in one object */
    JSON_READER_STRING_BYTES_MAX = 1 << 20, /* as written, between the quotes */
    JSON_READER_NUMBER_BYTES_MAX = 256,
};

struct json_reader_limits {
    uint32_t depth_max; /* at most JSON_READER_DEPTH_MAX */
    uint32_t keys_max;
    uint32_t string_bytes_max;
};
extern const struct json_reader_limits json_reader_limits_default; /* the maxima above */

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOLEAN,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

/* "null", "boolean", "number", "string", "array", "object". */
const char *json_kind_name(enum json_kind kind);

/* In the caller's memory; fields are the reader's own. */
struct json_reader {
    const char *begin, *at;
    const char *end;        /* of the text, or of its valid UTF-8 */
    const char *key_begin;  /* opening quote of the last key handed out */
    struct ap_arena *arena; /* lent, for strings with escapes */
    struct json_reader_limits limits;
    uint32_t depth;
    uint32_t object_bits;                   /* bit d: the container at depth d + 1 is an object */
    uint32_t counts[JSON_READER_DEPTH_MAX]; /* keys or items so far, per depth */
    bool is_cut;                            /* `end` is before the end of the text: there it is not UTF-8 */
    enum ap_rc failed_rc;                   /* AP_OK while all is well */
};

/* Lends `text` and `arena` to the reader and to every slice that it hands out. */
void json_reader_init(struct json_reader *reader, struct ap_slice text, struct ap_arena *arena,
                      const struct json_reader_limits *limits);

/* What the next value is, by its first byte; does not move. */
ap_nodiscard enum ap_rc json_reader_peek(struct json_reader *reader, enum json_kind *ret_kind, struct ap_err *err);

/* Each takes the next value, which must be of that kind (AP_E_PARSE otherwise). */
ap_nodiscard enum ap_rc json_reader_null(struct json_reader *reader, struct ap_err *err);
ap_nodiscard enum ap_rc json_reader_boolean(struct json_reader *reader, bool *ret_value, struct ap_err *err);
/* Correctly rounded; a number beyond the range of double is ±infinity, for the caller to accept or refuse. */
ap_nodiscard enum ap_rc json_reader_number(struct json_reader *reader, double *ret_value, struct ap_err *err);
ap_nodiscard enum ap_rc json_reader_string(struct json_reader *reader, struct ap_slice *ret_text, struct ap_err *err);

/* Passes over the next value, whatever it is; `ret_raw` (may be NULL) is the value as it was written. */
ap_nodiscard enum ap_rc json_reader_skip(struct json_reader *reader, struct ap_slice *ret_raw, struct ap_err *err);

/* Steps into an object; then next_key, the key's value, next_key … until *ret_is_there is false: we are out again. */
ap_nodiscard enum ap_rc json_reader_begin_object(struct json_reader *reader, struct ap_err *err);
ap_nodiscard enum ap_rc json_reader_next_key(struct json_reader *reader, struct ap_slice *ret_key, bool *ret_is_there,
                                             struct ap_err *err);

/* The member whose value was taken last in this object: its name and value as they were written. */
struct ap_slice json_reader_member_raw(const struct json_reader *reader);

/* The same for arrays. */
ap_nodiscard enum ap_rc json_reader_begin_array(struct json_reader *reader, struct ap_err *err);
ap_nodiscard enum ap_rc json_reader_next_item(struct json_reader *reader, bool *ret_is_there, struct ap_err *err);

/* Only white space may be left. */
ap_nodiscard enum ap_rc json_reader_finish(struct json_reader *reader, struct ap_err *err);

struct json_position {
    size_t offset; /* bytes from the start of the text, from 0 */
    size_t line;   /* from 1 */
    size_t column; /* in bytes, from 1 */
};

/* Where the reader stands: after a failure, the byte at fault. */
struct json_position json_reader_position(const struct json_reader *reader);
