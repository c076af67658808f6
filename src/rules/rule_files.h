/*
 * rules/rule_files.h - the rule files that a list of paths and patterns names
 */
#pragma once

#include "base/mem.h"
#include "codec/yaml.h"
#include "rules/rule_file.h"

struct rule_files {
    struct rule_file **items; /* owned, in the order of the patterns, each pattern's sorted */
    size_t count;
};

/*
 * Relative ones are relative to the directory of the file `beside`, with NULL to the working directory. A path without
 * wildcards must be there; a pattern may match nothing. All files are read, and `report` (may be NULL) told all that is
 * wrong with them; the code and `err` are those of the first.
 */
ap_nodiscard enum ap_rc rule_files_load(const struct yaml_texts *patterns, const char *beside, bool is_experimental,
                                        rule_file_report_fn report, void *context, struct rule_files *ret_files,
                                        struct ap_err *err);
void rule_files_clear(struct rule_files *files);
