/*
 * cli/config_internal.h - what the files of config.h share: the table of settings, and where values came from
 */
#pragma once

#include "cli/config.h"

/* Their values may hold passwords, or are as good as one. */
#define POSTGRES_CONNECTIONS "postgres.connections"
#define ALERTMANAGERS        "alerting.alertmanagers"
#define WATCHDOG_URL         "alerting.watchdog_url"

#define SECONDS(n)  ((n)*INT64_C(1000))
#define DAYS(n)     SECONDS((n)*INT64_C(86400))
#define MIB(n)      ((n)*INT64_C(1048576))
#define SIZE_MAX_OK (INT64_C(1) << 50)

enum { CONFIG_SETTINGS_MAX = 256 }; /* room for them, so that arrays have a size */

/* Every setting, in the order of the reference. A key has at most one dot: section and name. */
extern const struct yaml_field config_settings[];
extern const size_t config_setting_count;

struct config_memory {
    uint32_t ref_count;
    struct yaml_document *file;  /* owned; NULL: none was given */
    struct yaml_document *texts; /* owned; where values from flags, environment and defaults live */
    const char *origins[CONFIG_SETTINGS_MAX];
    struct config_sources {
        struct config_flag *flags; /* owned, with their texts */
        size_t flag_count;
        char *path;                     /* owned; NULL: no file */
        const char *const *environment; /* lent */
    } sources;
};
