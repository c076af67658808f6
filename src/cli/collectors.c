#include "cli/collectors.h"

#include "api/status.h"
#include "base/assert.h"

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

void collectors_init(struct collectors *collectors, const struct api *api, struct postgres *postgres)
{
    *collectors = (struct collectors){0};
    add(collectors, (struct collector){.name = "self", .collect = collect_self, .context = (void *)api});
    add(collectors, postgres_collector(postgres));
}
