/* Any text as a template: refused with a reason, or it runs within its limits. */
#include <stdint.h>

#include "base/assert.h"
#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (template_run(template, &environment, &out, &err) != AP_OK)
        AP_ASSERT(err.text[0] != '\0');
    return 0;
}
