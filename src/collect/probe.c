#include "collect/probe.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "collect/probe_internal.h"

/* ---- What probers say ---- */

enum { LOG_BYTES_MAX = 256 * 1024 };

static void note(struct probe *probe, const char *level, const char *format, va_list args)
{
    char text[1024], time[AP_TIME_TEXT_BYTES];
    vsnprintf(text, sizeof(text), format, args);
    for (char *c = text; *c; c++) /* what the other side says could hold anything */
        *c = (unsigned char)*c < ' ' ? ' ' : *c;
    ap_time_format(ap_clock_wall_us(&ap_clock_system), time);
    ap_buf_printf(&probe->log, "%s %s %s\n", time, level, text);
}

void probe_note(struct probe *probe, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(probe, "info", format, args);
    va_end(args);
}

bool probe_fail(struct probe *probe, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(probe->reason, sizeof(probe->reason), format, args);
    va_end(args);
    va_start(args, format);
    note(probe, "error", format, args);
    va_end(args);
    return false;
}

double probe_seconds_since(int64_t start_us)
{
    return (double)(ap_clock_monotonic_us(&ap_clock_system) - start_us) / AP_US_PER_S;
}

int probe_left_ms(const struct probe *probe, int64_t deadline_us, int most_ms)
{
    int64_t left_us = AP_MIN(deadline_us, probe->deadline_us) - ap_clock_monotonic_us(&ap_clock_system);
    if (left_us <= 0)
        return 0;
    int64_t left_ms = (left_us + AP_US_PER_MS - 1) / AP_US_PER_MS;
    return (int)AP_MIN(left_ms, most_ms);
}

/* ---- The modules in force ---- */

struct modules_in_force { /* counted: by the probes and by each that runs */
    struct probe_modules *modules;
    unsigned ref_count; /* under the probes' mutex */
};

struct probes {
    char *path;       /* owned; NULL: the built-in modules */
    char *user_agent; /* owned */
    struct probe_trust *trust;
    pthread_mutex_t mtx; /* a leaf */
    struct modules_in_force *in_force;
};

static enum ap_rc load(const char *path, struct modules_in_force **ret_in_force, struct ap_err *err)
{
    struct probe_modules *modules;
    enum ap_rc rc = probe_modules_load(path, &modules, err);
    if (rc != AP_OK)
        return rc;
    *ret_in_force = ap_new0(struct modules_in_force);
    (*ret_in_force)->modules = modules;
    (*ret_in_force)->ref_count = 1;
    return AP_OK;
}

static struct modules_in_force *in_force_ref(struct probes *probes)
{
    pthread_mutex_lock(&probes->mtx);
    struct modules_in_force *in_force = probes->in_force;
    in_force->ref_count++;
    pthread_mutex_unlock(&probes->mtx);
    return in_force;
}

static void in_force_unref(struct probes *probes, struct modules_in_force *in_force)
{
    pthread_mutex_lock(&probes->mtx);
    bool is_last = --in_force->ref_count == 0;
    pthread_mutex_unlock(&probes->mtx);
    if (!is_last)
        return;
    probe_modules_free(in_force->modules);
    free(in_force);
}

enum ap_rc probes_open(const char *path, const char *user_agent, struct probes **ret_probes, struct ap_err *err)
{
    struct modules_in_force *in_force;
    enum ap_rc rc = load(path, &in_force, err);
    if (rc != AP_OK)
        return rc;
    struct probes *probes = ap_new0(struct probes);
    probes->path = path ? ap_strdup(path) : NULL;
    probes->user_agent = ap_strdup(user_agent);
    probes->trust = probe_trust_new();
    pthread_mutex_init(&probes->mtx, NULL);
    probes->in_force = in_force;
    *ret_probes = probes;
    return AP_OK;
}

void probes_close(struct probes *probes)
{
    if (!probes)
        return;
    in_force_unref(probes, probes->in_force);
    probe_trust_free(probes->trust);
    pthread_mutex_destroy(&probes->mtx);
    free(probes->path);
    free(probes->user_agent);
    free(probes);
}

enum ap_rc probes_reload(struct probes *probes, struct ap_err *err)
{
    struct modules_in_force *in_force;
    enum ap_rc rc = load(probes->path, &in_force, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&probes->mtx);
    struct modules_in_force *before = probes->in_force;
    probes->in_force = in_force;
    pthread_mutex_unlock(&probes->mtx);
    in_force_unref(probes, before);
    return AP_OK;
}

/* ---- A probe ---- */

/* So long before the scrape's own deadline a probe gives up: then it has failed, and the scrape has not. */
enum { SPARE_MS = 500 };

static int64_t deadline_of(const struct probe_module *module, const struct probe_request *request, int64_t now_us)
{
    int64_t spare_us = SPARE_MS * AP_US_PER_MS, deadline_us = request->deadline_monotonic_us;
    if (deadline_us - now_us > 2 * spare_us)
        deadline_us -= spare_us;
    return module->timeout_ms ? AP_MIN(deadline_us, now_us + module->timeout_ms * AP_US_PER_MS) : deadline_us;
}

static bool run_prober(struct probe *probe)
{
    switch (probe->module->prober) {
    case PROBE_HTTP:
        return probe_http(probe);
    case PROBE_TCP:
        return probe_tcp(probe);
    case PROBE_DNS:
        return probe_dns(probe);
    case PROBE_ICMP:
        return probe_icmp(probe);
    case PROBE_GRPC:
        break; /* unsupported: not run */
    }
    AP_ASSERT(false);
    return false;
}

static void run(struct probe *probe)
{
    static const struct family succeeded = {"probe_success", "Displays whether or not the probe was a success",
                                            FAMILY_GAUGE};
    static const struct family duration = {"probe_duration_seconds",
                                           "Returns how long the probe took to complete in seconds", FAMILY_GAUGE};
    static const struct family by_regex = {"probe_failed_due_to_regex", "Indicates if probe failed due to regex",
                                           FAMILY_GAUGE};
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    probe_note(probe, "probing %s with module %s, for %.3f s at most", probe->target, probe->module->name,
               (double)(probe->deadline_us - start_us) / AP_US_PER_S);
    bool is_success = run_prober(probe);
    double seconds = probe_seconds_since(start_us);
    families_add(probe->families, &succeeded, is_success);
    families_add(probe->families, &duration, seconds);
    if (probe->module->prober == PROBE_HTTP || probe->module->prober == PROBE_TCP)
        families_add(probe->families, &by_regex, probe->is_failed_by_regex);
    probe_note(probe, "%s after %.6f s", is_success ? "succeeded" : "failed", seconds);
}

static void write_answer(const struct probe *probe, bool is_debug, struct ap_buf *out)
{
    if (is_debug) {
        ap_buf_add_cstr(out, "Logs for the probe:\n");
        ap_buf_add_slice(out, ap_buf_slice(&probe->log));
        ap_buf_add_cstr(out, "\n\n\nMetrics that would have been returned:\n");
    } else if (probe->reason[0]) {
        ap_buf_add_cstr(out, "# failed: ");
        for (const char *c = probe->reason; *c; c++)
            ap_buf_add_char(out, (unsigned char)*c < ' ' ? ' ' : *c);
        ap_buf_add_char(out, '\n');
    }
    families_write(probe->families, out);
    if (is_debug)
        ap_buf_printf(out, "\n\n\nModule configuration:\n%s (prober %s)\n", probe->module->name,
                      probe->module->prober_name);
}

static enum ap_rc run_module(struct probes *probes, const struct probe_module *module,
                             const struct probe_request *request, struct ap_buf *out, struct ap_err *err)
{
    if (module->unsupported)
        return ap_fail(err, AP_E_PARSE, "%s", module->unsupported);
    AP_AUTO_FREE char *target = ap_slice_dup(request->target);
    AP_AUTO_FREE char *hostname = request->hostname.bytes ? ap_slice_dup(request->hostname) : NULL;
    AP_AUTO(families) struct families *families = families_new();
    struct probe probe = {
        .module = module,
        .trust = probes->trust,
        .user_agent = probes->user_agent,
        .target = target,
        .hostname = hostname,
        .deadline_us = deadline_of(module, request, ap_clock_monotonic_us(&ap_clock_system)),
        .families = families,
    };
    ap_buf_init(&probe.log, LOG_BYTES_MAX);
    run(&probe);
    write_answer(&probe, request->is_debug, out);
    probe_session_clear(&probe.session);
    ap_buf_clear(&probe.log);
    return AP_OK;
}

enum ap_rc probes_run(struct probes *probes, const struct probe_request *request, struct ap_buf *out,
                      struct ap_err *err)
{
    struct ap_slice name = request->module.bytes ? request->module : ap_slice_cstr("http_2xx");
    if (request->target.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "Target parameter is missing");
    if (memchr(request->target.data, '\0', request->target.bytes))
        return ap_fail(err, AP_E_PARSE, "the target holds a NUL");
    struct modules_in_force *in_force = in_force_ref(probes);
    const struct probe_module *module = probe_modules_find(in_force->modules, name);
    enum ap_rc rc = module ? run_module(probes, module, request, out, err)
                           : ap_fail(err, AP_E_PARSE, "Unknown module \"%.*s\"", AP_SLICE_ARG(name));
    in_force_unref(probes, in_force);
    return rc;
}

static struct ap_slice find_param(const struct collector_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++)
        if (ap_slice_equal_cstr(request->params[i].name, name))
            return request->params[i].value;
    return (struct ap_slice){0};
}

enum ap_rc probes_collect(void *context, const struct collector_request *request, struct ap_buf *out,
                          struct ap_err *err)
{
    struct ap_slice target = find_param(request, "target");
    const struct probe_request probe_request = {
        .target = target.bytes ? target : request->target,
        .module = find_param(request, "module"),
        .hostname = find_param(request, "hostname"),
        .deadline_monotonic_us = request->deadline_monotonic_us,
    };
    return probes_run(context, &probe_request, out, err);
}
