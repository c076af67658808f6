/*
 * Rules of one file over series in memory, evaluated when the test says so. After cmocka's own.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "promql/memory_storage.h"
#include "rules/manager.h"

struct rules_in_memory {
    char path[64]; /* of the file */
    const char *patterns[1];
    struct yaml_texts files;
    struct memory_storage *storage;
    struct promql_engine *engine;
    struct rule_manager *manager;
};

static inline enum ap_rc rules_keep_nothing(void *context, const struct rules_sample *samples, size_t count,
                                            struct ap_err *err)
{
    (void)context;
    (void)samples;
    (void)count;
    (void)err;
    return AP_OK;
}

/* Groups that say no interval are due each minute of the clock, which is lent. */
static inline void rules_in_memory_open(struct rules_in_memory *rules, const char *text, const struct ap_clock *clock)
{
    struct ap_err err;
    snprintf(rules->path, sizeof(rules->path), "/tmp/apiary-rules.XXXXXX");
    int fd = mkstemp(rules->path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    rules->patterns[0] = rules->path;
    rules->files = (struct yaml_texts){.items = rules->patterns, .count = 1};
    rules->storage = memory_storage_new();
    struct promql_engine_options engine;
    promql_engine_options_init(&engine);
    assert_int_equal(promql_engine_open(&engine, &rules->engine, &err), AP_OK);
    const struct rule_manager_options options = {
        .world = {.engine = rules->engine,
                  .storage = promql_storage_memory(rules->storage),
                  .keep = rules_keep_nothing,
                  .clock = clock},
        .patterns = &rules->files,
        .interval_ms = 60000,
    };
    if (rule_manager_open(&options, &rules->manager, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static inline void rules_in_memory_close(struct rules_in_memory *rules)
{
    rule_manager_close(rules->manager);
    promql_engine_close(rules->engine);
    memory_storage_free(rules->storage);
    unlink(rules->path);
}
