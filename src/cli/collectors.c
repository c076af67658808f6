#include "cli/collectors.h"

#include "api/status.h"
#include "base/assert.h"
#include "cli/serve_postgres.h"
#include "collect/host.h"
#include "collect/probe.h"

static enum ap_rc collect_self(void *context, const struct collector_request *request, struct ap_buf *out,
                               struct ap_err *err)
{
    (void)request;
    (void)err;
    status_add_metrics(context, out);
    return AP_OK;
}

static void add(struct collectors *collectors, struct collector collector)
{
    AP_ASSERT(collectors->count < COLLECTORS_MAX);
    collectors->items[collectors->count++] = collector;
}

static void add_all(struct collectors *collectors, const struct api *api)
{
    add(collectors, (struct collector){.name = "self", .collect = collect_self, .context = (void *)api});
    add(collectors, (struct collector){.name = "host", .collect = host_collect, .context = collectors->host});
    add(collectors, (struct collector){.name = "probe", .collect = probes_collect, .context = collectors->probes});
    add(collectors, postgres_collector(collectors->postgres));
}

void collectors_init_names(struct collectors *collectors)
{
    *collectors = (struct collectors){0};
    add_all(collectors, NULL);
}

enum ap_rc collectors_open(const struct config *config, const struct api *api, struct collectors *ret_collectors,
                           struct ap_err *err)
{
    const struct host_options host_options = {.proc_path = config->host.proc,
                                              .sys_path = config->host.sys,
                                              .root_path = config->host.root,
                                              .textfile_path = config->host.textfile};
    *ret_collectors = (struct collectors){0};
    enum ap_rc rc = host_open(&host_options, &ret_collectors->host, err);
    if (rc == AP_OK)
        rc = probes_open(config->probes.modules, "Apiary/" APIARY_VERSION, &ret_collectors->probes, err);
    if (rc == AP_OK)
        rc = serve_postgres_open(config, &ret_collectors->postgres, err);
    if (rc == AP_OK)
        add_all(ret_collectors, api);
    return rc;
}

enum ap_rc collectors_reload(struct collectors *collectors, struct ap_err *err)
{
    return probes_reload(collectors->probes, err);
}

void collectors_close(struct collectors *collectors)
{
    postgres_close(collectors->postgres);
    probes_close(collectors->probes);
    host_close(collectors->host);
    *collectors = (struct collectors){0};
}
