/* What the files of pack/ share. */
#pragma once

#include "base/arena.h"
#include "codec/yaml.h"
#include "pack/alerts.h"
#include "pack/catalogue.h"
#include "pack/pack.h"

struct pack_memory {
    struct ap_arena arena;            /* arrays and made-up texts */
    struct yaml_document **documents; /* owned; texts of the pack are lent from them */
    size_t document_count;
};

/* Loads a YAML file that lives as long as the pack. */
ap_nodiscard enum ap_rc pack_load_yaml(struct pack_memory *memory, const char *path, const struct yaml_node **ret_root,
                                       struct ap_err *err);

/* printf into the arena. */
const char *pack_printf(struct pack_memory *memory, const char *format, ...) ap_printf(2, 3);

/* A name that can stand in SQL and in addresses as it is: a-z, then a-z, 0-9 and _, at most 63 bytes. */
bool pack_is_name(const char *text);

/* Checks size and parameters of SQL in a node, which may be NULL, and says where it stands. */
ap_nodiscard enum ap_rc pack_sql_of_node(const struct yaml_node *node, const char *key, struct pack_sql *ret_sql,
                                         struct ap_err *err);

/* Reads one dashboards/<id>.yaml; the catalogue of `pack` is there already. */
ap_nodiscard enum ap_rc pack_read_dashboard(struct pack_memory *memory, const struct pack *pack,
                                            const struct yaml_node *root, const char *id,
                                            struct pack_dashboard *ret_dashboard, struct ap_err *err);

/* That the node is PromQL which gives figures; errors have its place, and begin with `key`. */
ap_nodiscard enum ap_rc pack_check_promql(const struct yaml_node *node, const char *key, struct ap_err *err);

/* Reads ">= 1000", "< 50ms", "< 0.1%" for a figure in `unit`. An error begins with `key`, and is without place. */
ap_nodiscard enum ap_rc pack_target_parse(struct pack_memory *memory, const char *key, const char *text,
                                          enum pack_unit unit, struct pack_target *ret_target, struct ap_err *err);

/* Words of pack files that stand for enum pack_unit, and for higher or lower; "auto" is as a target says. */
extern const char *const pack_units[];
extern const char *const pack_betters[];
enum pack_better pack_which_is_better(int word, const struct pack_target *target);

/* Puts the place of the key before the sentence that is there. */
enum ap_rc pack_fail_at_key(const struct yaml_node *map, const char *key, struct ap_err *err);

/* Reads one metrics/<id>.yaml. */
ap_nodiscard enum ap_rc pack_read_area(struct pack_memory *memory, const struct yaml_node *root, const char *id,
                                       struct catalogue_area *ret_area, struct ap_err *err);
/* When all areas are read: that no name is there twice, and that queries select what is in the catalogue. */
ap_nodiscard enum ap_rc pack_check_catalogue(const struct pack *pack, struct ap_err *err);

/* Reads one alerts/<id>.yaml behind what is in `alerts`; the catalogue of `pack` is there already. */
struct pack_alert_list {
    struct pack_alert *items; /* owned by whoever loads: realloc() */
    size_t count;
};
ap_nodiscard enum ap_rc pack_read_alerts(struct pack_memory *memory, const struct pack *pack,
                                         const struct yaml_node *root, struct pack_alert_list *alerts,
                                         struct ap_err *err);
/* One item of sql_rules, behind those of the same file that are asked as often. */
ap_nodiscard enum ap_rc pack_read_sql_rule(struct pack_memory *memory, const struct yaml_node *node,
                                           struct pack_alert_list *alerts, struct ap_err *err);
void pack_describe_sql_rule(struct ap_buf *out);
/* What all kinds of alerts have: a name of letters, digits, _ and -; a severity; who is told; one of a kind only. */
bool pack_is_alert_name(const char *text);
extern const char *const pack_severities[];
#define PACK_NOTIFICATION_DOC                                                                                          \
    "Who is told: words for the routes, which find them in the label `notify`, with commas between them."
ap_nodiscard enum ap_rc pack_read_notification(struct pack_memory *memory, const struct yaml_texts *words,
                                               const char **ret_notify, struct ap_err *err);
void pack_set_alert_place(struct pack_memory *memory, const struct yaml_node *node, struct pack_alert *alert);
ap_nodiscard enum ap_rc pack_add_alert(struct pack_alert_list *alerts, const struct pack_alert *alert,
                                       struct ap_err *err);
/* Makes the rules of all that was read. */
void pack_take_alerts(struct pack *pack, const struct pack_alert_list *alerts);

void pack_describe_dashboard(struct ap_buf *out);
