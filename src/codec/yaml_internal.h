/* What the two files of the YAML reader share. */
#pragma once

#include "base/arena.h"
#include "codec/yaml.h"

struct yaml_document {
    char *file;            /* owned */
    struct ap_arena arena; /* nodes, their text, and what values of them need */
    struct yaml_node *root;
    size_t node_count;
};

/* Arena memory for `document`; the const is for callers that only read its nodes. Aborts when memory is gone. */
void *yaml_alloc(const struct yaml_document *document, size_t bytes);
const char *yaml_copy(const struct yaml_document *document, struct ap_slice text);
