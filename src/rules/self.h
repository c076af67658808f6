/*
 * rules/self.h - the rules about Apiary itself that come with it: src/rules/self.yaml, inside the binary
 *
 * They ask for what the job `apiary` scrapes, which is this server's own /metrics (setting scrape.self).
 */
#pragma once

#define RULES_SELF_FILE "apiary (built-in)" /* what stands for its path */

/* A rule file of Prometheus' form. */
extern const char rules_self[];
