#include "ingest/otlp_resource.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_sink.h"
#include "tsdb/labels.h"

static const char *const identifying[] = {"service.namespace", "service.name", "service.instance.id"};
enum { NAMESPACE, NAME, INSTANCE };

/* The first of this name; data NULL: none. */
static struct ap_slice find(const struct otlp_attributes *attributes, const char *key)
{
    for (size_t i = 0; i < attributes->count; i++)
        if (ap_slice_equal_cstr(attributes->items[i].key, key))
            return attributes->items[i].value.data ? attributes->items[i].value : ap_slice("", 0);
    return (struct ap_slice){0};
}

static bool is_identifying(struct ap_slice key)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(identifying); i++)
        if (ap_slice_equal_cstr(key, identifying[i]))
            return true;
    return false;
}

static bool is_promoted(const struct otlp_settings *settings, struct ap_slice key)
{
    for (size_t i = 0; i < settings->resource_attribute_count; i++)
        if (ap_slice_equal_cstr(key, settings->resource_attributes[i]))
            return !settings->is_promoting_all;
    return settings->is_promoting_all;
}

static enum ap_rc make_job(const struct otlp_attributes *attributes, struct ap_arena *arena, struct ap_slice *ret_job,
                           struct ap_err *err)
{
    struct ap_slice name = find(attributes, identifying[NAME]), space = find(attributes, identifying[NAMESPACE]);
    *ret_job = name.data ? name : ap_slice("", 0);
    if (!name.data || !space.data)
        return AP_OK;
    char *job = ap_arena_try_alloc(arena, space.bytes + 1 + name.bytes);
    if (!job)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
    memcpy(job, space.data, space.bytes);
    job[space.bytes] = '/';
    memcpy(job + space.bytes + 1, name.data, name.bytes);
    *ret_job = ap_slice(job, space.bytes + 1 + name.bytes);
    return AP_OK;
}

enum ap_rc otlp_resource_begin(struct otlp_resource *resource, const struct otlp_attributes *attributes,
                               const struct otlp_settings *settings, struct otlp_labels *labels, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf name = {0};
    struct ap_slice instance = find(attributes, identifying[INSTANCE]);
    resource->attributes = *attributes;
    resource->instance = instance.data ? instance : ap_slice("", 0);
    otlp_labels_begin_resource(labels);
    enum ap_rc rc = make_job(attributes, labels->arena, &resource->job, err);
    for (size_t i = 0; i < attributes->count && rc == AP_OK; i++) {
        if (!is_promoted(settings, attributes->items[i].key))
            continue;
        ap_buf_reset(&name);
        struct ap_err ignored; /* what cannot be a label is in target_info's place: nowhere */
        if (otlp_label_name(&settings->naming, attributes->items[i].key, &name, &ignored) == AP_OK)
            rc = otlp_labels_set_resource(labels, ap_buf_slice(&name), attributes->items[i].value, true, err);
    }
    if (rc == AP_OK && resource->job.bytes)
        rc = otlp_labels_set_resource(labels, ap_slice_cstr("job"), resource->job, false, err);
    if (rc == AP_OK && resource->instance.bytes)
        rc = otlp_labels_set_resource(labels, ap_slice_cstr("instance"), resource->instance, false, err);
    return rc;
}

enum ap_rc otlp_resource_set_scope(const struct otlp_scope *scope, const struct otlp_naming *naming,
                                   struct otlp_labels *labels, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf key = {0};
    AP_AUTO_BUF struct ap_buf name = {0};
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < scope->attributes.count && rc == AP_OK; i++) {
        ap_buf_reset(&key);
        ap_buf_reset(&name);
        ap_buf_add_cstr(&key, "otel_scope_");
        ap_buf_add_slice(&key, scope->attributes.items[i].key);
        rc = otlp_label_name(naming, ap_buf_slice(&key), &name, err); /* cannot fail, with a name that begins so */
        if (rc == AP_OK)
            rc = otlp_labels_set_scope(labels, ap_buf_slice(&name), scope->attributes.items[i].value, err);
    }
    const struct label own[] = {{ap_slice_cstr("otel_scope_name"), scope->name},
                                {ap_slice_cstr("otel_scope_version"), scope->version},
                                {ap_slice_cstr("otel_scope_schema_url"), scope->schema_url}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(own) && rc == AP_OK; i++)
        rc = otlp_labels_set_scope(labels, own[i].name, own[i].value, err);
    return rc;
}

/* ---- target_info ---- */

static bool has_more_than_identity(const struct otlp_attributes *attributes)
{
    for (size_t i = 0; i < attributes->count; i++)
        if (!is_identifying(attributes->items[i].key))
            return true;
    return false;
}

/* Its labels are made as a point's are, with the attributes as a point's. */
static enum ap_rc make_target_info(const struct otlp_resource *resource, const struct otlp_settings *settings,
                                   struct otlp_labels *labels, struct ap_slice *ret_labels, struct ap_err *err)
{
    static const char field[] = "\x0a\x17\x0a\x08" LABEL_METRIC_NAME "\x12\x0b"
                                "target_info";
    struct otlp_attribute kept[OTLP_ATTRIBUTES_MAX];
    struct otlp_attributes attributes = {.items = kept};
    for (size_t i = 0; i < resource->attributes.count; i++)
        if (settings->is_keeping_identifying || !is_identifying(resource->attributes.items[i].key))
            kept[attributes.count++] = resource->attributes.items[i];
    char *name = ap_arena_try_alloc(labels->arena, sizeof(field) + 32);
    if (!name)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
    memcpy(name, field, sizeof(field));
    otlp_labels_begin_resource(labels);
    enum ap_rc rc = AP_OK;
    if (resource->job.bytes)
        rc = otlp_labels_set_resource(labels, ap_slice_cstr("job"), resource->job, false, err);
    if (rc == AP_OK && resource->instance.bytes)
        rc = otlp_labels_set_resource(labels, ap_slice_cstr("instance"), resource->instance, false, err);
    otlp_labels_begin_scope(labels);
    if (rc == AP_OK)
        rc = otlp_labels_of_series(labels, &attributes, ap_slice(name, sizeof(field) - 1), ret_labels, err);
    return rc;
}

enum ap_rc otlp_resource_target_info(const struct otlp_resource *resource, const struct otlp_settings *settings,
                                     struct metrics_body *body, bool *ret_is_wanted, struct ap_slice *ret_labels,
                                     struct ap_err *err)
{
    *ret_is_wanted = false;
    if (!has_more_than_identity(&resource->attributes))
        return AP_OK;
    struct otlp_labels *labels = ap_realloc(NULL, sizeof(*labels));
    otlp_labels_init(labels, &settings->naming, &body->arena, ap_slice("", 0));
    enum ap_rc rc = make_target_info(resource, settings, labels, ret_labels, err);
    free(labels);
    if (rc == AP_E_PARSE) /* an attribute that cannot be a label: the points are as good as without it */
        return AP_OK;
    *ret_is_wanted = rc == AP_OK && (labels_get(*ret_labels, ap_slice_cstr("job")).data ||
                                     labels_get(*ret_labels, ap_slice_cstr("instance")).data);
    return rc;
}
