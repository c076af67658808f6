/* Any text as a template: refused with a reason, or it runs within its limits. */
#include <stdint.h>

#include "base/assert.h"
#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same as a message in HTML, whose values have methods. */
static void run_message(struct ap_slice text)
{
    AP_AUTO_ARENA struct ap_arena arena;
    AP_AUTO_BUF struct ap_buf out = {0};
    AP_AUTO(template) struct template *template = NULL;
    struct ap_err err = {0};
    struct template_member data[] = {{ap_slice_cstr("At"), {.kind = TEMPLATE_NIL}},
                                     {ap_slice_cstr("job"), template_text(ap_slice_cstr("<api>"))}};
    ap_arena_init(&arena, 0);
    AP_ASSERT(template_moment(&arena, 1767225600123, 3600, &data[0].value, &err) == AP_OK);
    struct template_environment environment = {.dot = {.kind = TEMPLATE_STRUCT, .map = {data, 2}}, .is_html = true};
    if (template_parse_message(text, NULL, &template, &err) != AP_OK ||
        template_run(template, &environment, &out, &err) != AP_OK)
        AP_ASSERT(err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"$labels", "$value"};
    struct template_member job = {ap_slice_cstr("job"), template_text(ap_slice_cstr("api"))};
    struct template_value values[] = {{.kind = TEMPLATE_MAP, .map = {&job, 1}}, template_float(1.5)};
    struct template_environment environment = {.dot = values[0], .variables = values};
    AP_AUTO(template) struct template *template = NULL;
    struct ap_err err = {0};
    if (template_parse(ap_slice((const char *)data, size), names, AP_ARRAY_COUNT(names), &template, &err) != AP_OK) {
        AP_ASSERT(err.text[0] != '\0');
        return 0;
    }
    AP_AUTO_BUF struct ap_buf out = {0};
    run_message(ap_slice((const char *)data, size));
    if (template_run(template, &environment, &out, &err) != AP_OK)
        AP_ASSERT(err.text[0] != '\0');
    return 0;
}
