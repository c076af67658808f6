/*
 * ingest/otlp_value.h - an attribute's value as a label's text
 *
 * A string is itself. Other values become the text that Prometheus gives them: 3, 0.25, true, bytes in base64, arrays
 * and maps as JSON with sorted keys. An encoding reads one value at a time, without recursion: for what is inside it
 * makes children, which it is asked to read later.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"

enum { OTLP_VALUE_DEPTH_MAX = 16 };

enum otlp_value_kind {
    OTLP_VALUE_EMPTY,
    OTLP_VALUE_STRING,
    OTLP_VALUE_BOOLEAN,
    OTLP_VALUE_INTEGER,
    OTLP_VALUE_DOUBLE,
    OTLP_VALUE_BYTES,
    OTLP_VALUE_ARRAY,
    OTLP_VALUE_MAP,
};

/* In the arena. What a kind does not have is 0. */
struct otlp_value {
    enum otlp_value_kind kind;
    struct ap_slice text; /* of strings and bytes; before the value is read: what is to be read */
    int64_t integer;      /* of booleans too */
    double number;
    struct ap_slice key; /* in a map */
    struct otlp_value *first_child;
    struct otlp_value *last_child;
    struct otlp_value *next;         /* of the same parent */
    struct otlp_value *next_to_read; /* the tree's own */
    uint32_t child_count;
    uint32_t depth;
};

struct otlp_value_tree {
    struct ap_arena *arena; /* lent */
    struct otlp_value root;
    struct otlp_value *to_read;
};

/* Reads value->text as one value of the encoding, into the same struct. */
typedef enum ap_rc (*otlp_value_read_fn)(void *context, struct otlp_value_tree *tree, struct otlp_value *value,
                                         struct ap_err *err);

/* For otlp_value_read_fn. AP_E_LIMIT: too deep, or the arena is full. */
ap_nodiscard enum ap_rc otlp_value_add_child(struct otlp_value_tree *tree, struct otlp_value *parent,
                                             struct ap_slice key, struct ap_slice raw, struct ap_err *err);

/* The text of the value that is written as `raw`; lent from it, or in the arena. */
ap_nodiscard enum ap_rc otlp_value_text(struct ap_arena *arena, struct ap_slice raw, otlp_value_read_fn read,
                                        void *context, struct ap_slice *ret_text, struct ap_err *err);
