/* static_configs: the targets stand in the configuration itself. */
#include "scrape/discovery.h"

struct static_config {
    const struct yaml_node *node;
};

struct discovery {
    const struct static_config *config;
};

/* Reads it all, for what may be wrong with it, and again when it is wanted: it is there for as long as the document. */
static enum ap_rc read_static(struct scrape_source *source, const struct yaml_node *node, const void **ret_config,
                              struct ap_err *err)
{
    AP_AUTO(target_groups) struct target_groups *groups = target_groups_new();
    struct static_config *config = ap_arena_alloc0(&source->arena, sizeof(*config));
    config->node = node;
    enum ap_rc rc = target_groups_read_yaml_one(groups, node, NULL, err);
    *ret_config = config;
    return rc;
}

static struct discovery *open_static(const void *config, const bool *is_ending)
{
    (void)is_ending;
    struct discovery *discovery = ap_new0(struct discovery);
    discovery->config = config;
    return discovery;
}

static enum ap_rc refresh_static(struct discovery *discovery, struct target_groups **ret_groups, struct ap_err *err)
{
    AP_AUTO(target_groups) struct target_groups *groups = target_groups_new();
    enum ap_rc rc = target_groups_read_yaml_one(groups, discovery->config->node, NULL, err);
    *ret_groups = rc == AP_OK ? AP_MOVE(groups) : NULL;
    return rc;
}

static int64_t interval_of_static(const void *config)
{
    (void)config;
    return 0;
}

static int watch_static(const struct discovery *discovery)
{
    (void)discovery;
    return -1;
}

static void close_static(struct discovery *discovery)
{
    free(discovery);
}

const struct discovery_kind discovery_static = {
    .key = "static_configs",
    .name = "static",
    .read = read_static,
    .open = open_static,
    .refresh = refresh_static,
    .interval_ms = interval_of_static,
    .watch_fd = watch_static,
    .close = close_static,
};
