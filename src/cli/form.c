#include "cli/form.h"

void form_add(struct ap_buf *form, const char *name, const char *value)
{
    ap_buf_printf(form, "%s%s=", form->bytes ? "&" : "", name);
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
            ap_buf_add_char(form, (char)c);
        else
            ap_buf_printf(form, "%%%02X", c);
    }
}
