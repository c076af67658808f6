/*
 * codec/yaml.h - reads YAML files that people write: settings, packs
 *
 * A thin layer over libfyaml that keeps where everything stands, so that whatever is wrong later, in a type, a key or
 * the SQL inside of a value, is told as "file:line:column: what was expected".
 *
 * Only the plain part of YAML is taken: maps, lists and scalars. Anchors, aliases, tags, merge keys and several
 * documents in a file are refused, and a key that occurs twice is an error. An empty file is an empty map. Files that
 * were written for another program may use anchors, aliases and merge keys: the functions that end in _sharing.
 *
 * Structs are filled from maps by a table of fields (yaml_read_struct). Such a table names each key once, with its
 * type, default and one line of documentation; reading, errors, defaults and the reference pages all come from it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    YAML_BYTES_MAX = 4 << 20,
    YAML_DEPTH_MAX = 32,     /* maps and lists inside each other */
    YAML_NODES_MAX = 100000, /* in a document */
    YAML_KEYS_MAX = 2000,    /* in a map */
};

enum yaml_kind { YAML_KIND_SCALAR, YAML_KIND_LIST, YAML_KIND_MAP };

struct yaml_document; /* private to yaml.c; owns its nodes and their text */

struct yaml_node {
    enum yaml_kind kind;
    bool is_quoted;          /* scalar in quotes or a block: never null, never a number by accident */
    int line;                /* from 1; of a scalar: where its text begins, so that line n of SQL is line + n - 1 */
    int column;              /* from 1 */
    struct ap_slice text;    /* scalar: ends with a NUL that is not counted; may hold others */
    struct yaml_node *key;   /* member of a map: its key, a scalar */
    struct yaml_node *first; /* list: first item; map: first value */
    struct yaml_node *next;  /* the next one in the same list or map */
    size_t child_count;
    const struct yaml_document *document;
};

/* Reads all of `text`, which is copied; `file` names it in errors. AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc yaml_parse(struct ap_slice text, const char *file, struct yaml_document **ret_document,
                                   struct ap_err *err);

/* The same from a file. AP_E_NOT_FOUND when there is none. */
ap_nodiscard enum ap_rc yaml_load(const char *path, struct yaml_document **ret_document, struct ap_err *err);

/*
 * The same, with `*name` for what `&name` stands before, and `<<` for the members of other maps, where the map has none
 * of that name itself. What they stand for counts as if it was written out, and errors in it have the place where it
 * was written.
 */
ap_nodiscard enum ap_rc yaml_parse_sharing(struct ap_slice text, const char *file, struct yaml_document **ret_document,
                                           struct ap_err *err);
ap_nodiscard enum ap_rc yaml_load_sharing(const char *path, struct yaml_document **ret_document, struct ap_err *err);

void yaml_free(struct yaml_document *document); /* NULL is allowed */
AP_DEFINE_AUTO(yaml, struct yaml_document, yaml_free)

const struct yaml_node *yaml_root(const struct yaml_document *document);
const char *yaml_file(const struct yaml_document *document);

/* The value of `key` in a map, or NULL. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* An unquoted empty scalar, "~" or "null": as if the key was not there. */
bool yaml_is_null(const struct yaml_node *node);

/* "map", "list", "text" … for errors. */
const char *yaml_kind_name(enum yaml_kind kind);

/* Appends the node as YAML in one line, which reads back as the same. */
void yaml_print(const struct yaml_node *node, struct ap_buf *out);

/* "<file>:<line>:<column>: <sentence>", AP_E_PARSE. */
enum ap_rc yaml_fail(struct ap_err *err, const struct yaml_node *node, const char *format, ...) ap_printf(3, 4);

/* ---- Values of a type ---- */

enum yaml_type {
    YAML_TYPE_TEXT,      /* const char *: lent from the document; may be NULL */
    YAML_TYPE_INTEGER,   /* int64_t */
    YAML_TYPE_NUMBER,    /* double */
    YAML_TYPE_BOOLEAN,   /* bool: true, false */
    YAML_TYPE_DURATION,  /* int64_t milliseconds: 250ms, 30s, 5m, 12h, 7d, 2w, 1h30m */
    YAML_TYPE_BYTES,     /* int64_t bytes: 512, 64KiB, 8MiB, 2GiB, 1TiB */
    YAML_TYPE_CHOICE,    /* int: index into `choices` */
    YAML_TYPE_TEXT_LIST, /* struct yaml_texts: a list, or one text */
    YAML_TYPE_TEXT_MAP,  /* struct yaml_texts with keys */
    YAML_TYPE_NODE,      /* const struct yaml_node *: whatever it is, for the caller to read; from files only */
};

/* "a duration such as 250ms, 30s or 7d": what errors and the reference call it. */
const char *yaml_type_expects(enum yaml_type type);

struct yaml_texts {
    const char **keys; /* NULL for lists */
    const char **items;
    const struct yaml_node **nodes; /* where each stands; NULL when they did not come from a file */
    size_t count;
};

struct yaml_field {
    const char *key;
    enum yaml_type type;
    size_t offset; /* of the member in the struct */
    bool is_required;
    const char *default_text;   /* as one would write it; NULL: none, the member stays as it is */
    int64_t min, max;           /* INTEGER, DURATION, BYTES; both 0: no limits but those of the type */
    const char *const *choices; /* CHOICE: ends with NULL */
    const char *doc;            /* one or more sentences for the reference */
};

/*
 * Reads one value in text form, as it stands in a flag, a variable of the environment or a default. TEXT_LIST parts are
 * separated by commas, TEXT_MAP parts are key=value. What it allocates belongs to `document`'s arena.
 */
ap_nodiscard enum ap_rc yaml_read_text(struct yaml_document *document, const struct yaml_field *field,
                                       struct ap_slice text, void *target, struct ap_err *err);

/* Reads one node; errors name its place and `field->key`. */
ap_nodiscard enum ap_rc yaml_read_node(const struct yaml_node *node, const struct yaml_field *field, void *target,
                                       struct ap_err *err);

/*
 * Fills the struct at `target`: defaults first, then what the map says. Unknown keys, wrong types and missing required
 * keys are errors; an unknown key is told with the nearest known one.
 */
ap_nodiscard enum ap_rc yaml_read_struct(const struct yaml_node *map, const struct yaml_field *fields,
                                         size_t field_count, void *target, struct ap_err *err);

/* AP_E_PARSE for a key that is none of `known`: names the nearest one, or all when none is near. */
enum ap_rc yaml_fail_unknown_key(struct ap_err *err, const struct yaml_node *key, const char *const *known,
                                 size_t known_count);

/* The nearest of `known` by edit distance, or NULL when all are far from it. */
const char *yaml_nearest(struct ap_slice text, const char *const *known, size_t known_count);

/* A Markdown table of the fields: key, type, default, documentation. */
void yaml_describe_struct(const struct yaml_field *fields, size_t field_count, struct ap_buf *out);

/* ---- Notations of their own, for use elsewhere: all of the text must be one ---- */

bool yaml_parse_duration(struct ap_slice text, int64_t *ret_ms);
bool yaml_parse_bytes(struct ap_slice text, int64_t *ret_bytes);
bool yaml_parse_integer(struct ap_slice text, int64_t *ret_value);
bool yaml_parse_number(struct ap_slice text, double *ret_value); /* finite, decimal */
