#include "scrape/discovery.h"

static const struct discovery_kind *const kinds[] = {
    &discovery_static,
    &discovery_file,
    &discovery_http,
    &discovery_dns,
};

const struct discovery_kind *discovery_kind_of(struct ap_slice key)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++)
        if (ap_slice_equal_cstr(key, kinds[i]->key))
            return kinds[i];
    return NULL;
}

const char *discovery_kinds_text(void)
{
    return "static_configs, file_sd_configs, http_sd_configs and dns_sd_configs";
}
