/*
 * Any text as a configuration of scraping: it is refused with a place, or read; then its static targets are made, and
 * what is made is whole: labels canonical, none that begins with "__" left, a URL, a timeout within the interval.
 */
#include <stdint.h>

#include "base/assert.h"
#include "scrape/job_internal.h"
#include "scrape/scrape_file.h"
#include "scrape/target_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const struct scrape_target *target)
{
    struct ap_err err;
    struct label label;
    AP_ASSERT(labels_check(target->labels, &err) == AP_OK && labels_check(target->discovered, &err) == AP_OK);
    for (struct ap_slice rest = target->labels; labels_next(&rest, &label);)
        AP_ASSERT(!ap_slice_starts_with(label.name, "__"));
    AP_ASSERT(labels_get(target->labels, ap_slice_cstr("instance")).bytes > 0);
    AP_ASSERT(target->url[0] && target->timeout_ms > 0 && target->timeout_ms <= target->interval_ms);
}

static void make_targets(const struct job *job)
{
    struct target_list list;
    target_list_init(&list);
    for (size_t i = 0; i < job->discovery_count; i++) {
        const struct discovery_config *config = &job->discoveries[i];
        if (config->kind->interval_ms(config->config) > 0)
            continue; /* it would look at files or ask somebody */
        struct discovery *discovery = config->kind->open(config->config, NULL);
        struct target_groups *groups = NULL;
        struct ap_err err;
        AP_ASSERT(config->kind->refresh(discovery, &groups, &err) == AP_OK);
        target_list_add(&list, job, groups);
        target_groups_free(groups);
        config->kind->close(discovery);
    }
    target_list_finish(&list, job);
    for (size_t i = 0; i < list.count; i++)
        check_target(list.items[i]);
    target_list_clear(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"host", "probe"};
    const struct job_collectors collectors = {names, AP_ARRAY_COUNT(names)};
    struct scrape_file file = {0};
    struct ap_err err = {0};
    if (memmem(data, size, "files", 5))
        return 0; /* they would be read */
    if (scrape_file_parse(ap_slice(data, size), "fuzz.yml", &collectors, &file, &err) != AP_OK) {
        AP_ASSERT(strncmp(err.text, "fuzz.yml", 8) == 0);
        return 0;
    }
    for (size_t i = 0; i < file.count; i++)
        make_targets(file.jobs[i]);
    scrape_file_clear(&file);
    return 0;
}
