#include "net/http_field.h"

struct ap_slice http_field_parameter(struct ap_slice field, const char *name)
{
    struct ap_slice rest = field;
    (void)ap_slice_split(&rest, ';');
    while (rest.data) {
        struct ap_slice value = ap_slice_split(&rest, ';');
        struct ap_slice key = ap_slice_trim(ap_slice_split(&value, '='));
        if (!value.data || !ap_slice_equal_nocase(key, name))
            continue;
        value = ap_slice_trim(value);
        if (value.bytes >= 2 && value.data[0] == '"' && value.data[value.bytes - 1] == '"')
            value = ap_slice(value.data + 1, value.bytes - 2);
        return value;
    }
    return (struct ap_slice){0};
}
