#include "ingest/row_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { ERROR_TEXT_BYTES = 256 };

void row_report_init(struct row_report *report, struct ap_arena *arena)
{
    *report = (struct row_report){.arena = arena};
}

void row_report_reject(struct row_report *report, uint64_t row, const char *field, const char *format, ...)
{
    report->rejected_count++;
    if (report->error_count == ROW_REPORT_ERRORS_MAX)
        return;
    if (!report->errors)
        report->errors = ap_arena_try_alloc(report->arena, ROW_REPORT_ERRORS_MAX * sizeof(*report->errors));
    char *text = ap_arena_try_alloc(report->arena, ERROR_TEXT_BYTES);
    if (!report->errors || !text)
        return; /* the request has used up its memory: the count must do */
    va_list args;
    va_start(args, format);
    vsnprintf(text, ERROR_TEXT_BYTES, format, args);
    va_end(args);
    struct row_error *error = &report->errors[report->error_count++];
    *error = (struct row_error){.row = row, .text = text};
    snprintf(error->field, sizeof(error->field), "%s", field ? field : "");
}

struct ap_slice row_report_json(const struct row_report *report)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    ap_buf_printf(&out, "{\"accepted\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"errors\":[", report->accepted_count,
                  report->rejected_count);
    for (size_t i = 0; i < report->error_count; i++) {
        const struct row_error *error = &report->errors[i];
        ap_buf_printf(&out, "%s{\"row\":%" PRIu64, i ? "," : "", error->row);
        if (error->field[0] != '\0') {
            ap_buf_add_cstr(&out, ",\"field\":");
            ap_buf_add_json_string(&out, ap_slice_cstr(error->field));
        }
        ap_buf_add_cstr(&out, ",\"error\":");
        ap_buf_add_json_string(&out, ap_slice_cstr(error->text));
        ap_buf_add_char(&out, '}');
    }
    ap_buf_add_cstr(&out, "]}");
    char *json = ap_arena_try_alloc(report->arena, out.bytes);
    if (!json)
        return (struct ap_slice){0};
    memcpy(json, out.data, out.bytes);
    return ap_slice(json, out.bytes);
}
