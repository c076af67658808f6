/*
 * cli/import_text.h - what `apiary import` shows: what it found, how far it is, what came of it
 *
 * Progress and trouble go to standard error, results to standard output. Any thread may tell trouble.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "history/import.h"

struct import_text {
    bool is_json;
    bool is_terminal;
    pthread_mutex_t mtx; /* of standard error */
    int64_t began_us;    /* of the phase; monotonic */
    int64_t told_us;
    enum history_phase phase;
    bool has_bar; /* on the terminal's last line */
    uint64_t troubles_told;
    struct ap_buf differences; /* JSON */
    uint64_t differences_told;
};

void import_text_init(struct import_text *text, bool is_json);
void import_text_clear(struct import_text *text);

/* For history_import_options. */
void import_text_progress(const struct history_progress *progress, void *context);
void import_text_trouble(const struct ap_err *err, void *context);
void import_text_difference(const struct history_difference *difference, void *context);

/* A line of its own on standard error. */
void import_text_say(struct import_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void import_text_facts(struct import_text *text, const char *dir, const struct history_facts *facts);

/* How it ended. */
struct import_outcome {
    struct history_facts facts;
    bool has_imported;
    struct history_report report;
    bool has_verified;
    struct history_verification verification;
    uint64_t damages;
    double seconds;
};
bool import_outcome_is_clean(const struct import_outcome *outcome);
void import_text_outcome(struct import_text *text, const char *dir, const struct import_outcome *outcome);
