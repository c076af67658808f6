/*
 * scrape/fields.h - values of Prometheus' configuration, in its notation
 *
 * What codec/yaml.h reads is our own notation; Prometheus' has other sizes ("10MB" is 10 MiB), YAML 1.1's words for
 * true and false, secrets that no error may show, and file names that are relative to the file they stand in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"

/* A file that was read, and what was made of it. Counted: jobs and discoveries lend their texts from it. */
struct scrape_source {
    struct yaml_document *document; /* owned */
    struct ap_arena arena;
    int *fds; /* owned; of texts that had to become files */
    size_t fd_count;
    uint32_t ref_count; /* atomic */
};
/* AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc scrape_source_load(const char *path, struct scrape_source **ret_source, struct ap_err *err);
/* The same of a text; `name` stands for the file in errors. */
ap_nodiscard enum ap_rc scrape_source_parse(struct ap_slice text, const char *name, struct scrape_source **ret_source,
                                            struct ap_err *err);
struct scrape_source *scrape_source_ref(struct scrape_source *source);
void scrape_source_unref(struct scrape_source *source); /* NULL is allowed */
AP_DEFINE_AUTO(scrape_source, struct scrape_source, scrape_source_unref)

/* In the source's arena: "dir/of/the/file/" put before a relative path. Empty paths stay so. */
const char *scrape_source_path(struct scrape_source *source, const char *path);

/*
 * A text as a file that is in memory only, for what wants a file: a path that holds as long as the source. AP_E_IO.
 */
ap_nodiscard enum ap_rc scrape_source_file_of(struct scrape_source *source, const char *text, const char **ret_path,
                                              struct ap_err *err);

enum field_type {
    FIELD_TEXT,     /* const char * */
    FIELD_SECRET,   /* the same, never in an error */
    FIELD_PATH,     /* the same, relative to the file */
    FIELD_DURATION, /* int64_t milliseconds */
    FIELD_BOOLEAN,  /* bool */
    FIELD_SIZE,     /* uint64_t bytes: 512, 64KB, 1.5MiB, 1GB: all by 1024 */
    FIELD_COUNT,    /* uint64_t */
    FIELD_NUMBER,   /* double */
    FIELD_TEXTS,    /* struct yaml_texts: a list */
    FIELD_TEXT_MAP, /* struct yaml_texts with keys */
    FIELD_NODE,     /* const struct yaml_node * */
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset; /* of the member in the struct */
};

/*
 * What the map says goes into the struct at `target`; where it says nothing, the member stays as it is. `foreign` (may
 * be NULL) is asked about keys that are no fields: true lets them be.
 */
typedef bool (*field_foreign_fn)(const struct yaml_node *value, void *context);
ap_nodiscard enum ap_rc fields_read(struct scrape_source *source, const struct yaml_node *map,
                                    const struct field *fields, size_t count, void *target, field_foreign_fn foreign,
                                    void *context, struct ap_err *err);

/* Whether the key is there and not null. */
bool fields_has(const struct yaml_node *map, const char *key);

/* Appends all of a node in a form in which only equal ones are equal; places do not count. */
void fields_print(const struct yaml_node *node, struct ap_buf *out);
