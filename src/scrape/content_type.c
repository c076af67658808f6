#include "scrape/content_type.h"

#include "net/http_field.h"

static bool find_format(struct ap_slice content_type, enum page_format *ret_format)
{
    struct ap_slice rest = content_type;
    struct ap_slice name = ap_slice_trim(ap_slice_split(&rest, ';'));
    if (ap_slice_equal_nocase(name, "text/plain")) {
        *ret_format = PAGE_FORMAT_TEXT;
    } else if (ap_slice_equal_nocase(name, "application/openmetrics-text")) {
        *ret_format = PAGE_FORMAT_OPENMETRICS;
    } else if (ap_slice_equal_nocase(name, "application/vnd.google.protobuf")) {
        struct ap_slice proto = http_field_parameter(content_type, "proto");
        struct ap_slice encoding = http_field_parameter(content_type, "encoding");
        if ((proto.data && !ap_slice_equal_cstr(proto, "io.prometheus.client.MetricFamily")) ||
            (encoding.data && !ap_slice_equal_cstr(encoding, "delimited")))
            return false;
        *ret_format = PAGE_FORMAT_PROTOBUF;
    } else {
        return false;
    }
    return true;
}

enum ap_rc content_type_format(struct ap_slice content_type, enum scrape_protocol fallback,
                               enum page_format *ret_format, struct ap_err *err)
{
    if (find_format(content_type, ret_format))
        return AP_OK;
    switch (fallback) {
    case SCRAPE_PROTOCOL_PROTOBUF:
        *ret_format = PAGE_FORMAT_PROTOBUF;
        return AP_OK;
    case SCRAPE_PROTOCOL_TEXT_0_0_4:
    case SCRAPE_PROTOCOL_TEXT_1_0_0:
        *ret_format = PAGE_FORMAT_TEXT;
        return AP_OK;
    case SCRAPE_PROTOCOL_OPENMETRICS_0_0_1:
    case SCRAPE_PROTOCOL_OPENMETRICS_1_0_0:
        *ret_format = PAGE_FORMAT_OPENMETRICS;
        return AP_OK;
    case SCRAPE_PROTOCOL_COUNT:
        break;
    }
    if (ap_slice_trim(content_type).bytes == 0)
        return ap_fail(
            err, AP_E_PARSE,
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified "
            "for target");
    return ap_fail(err, AP_E_PARSE,
                   "received unsupported Content-Type \"%.*s\" and no fallback_scrape_protocol specified for target",
                   AP_SLICE_ARG(content_type));
}
