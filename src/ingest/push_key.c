#include "ingest/push_key.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { TOLD_BYTES_MAX = 100 };
#define TOLD(text) AP_SLICE_ARG(ap_slice((text).data, AP_MIN((text).bytes, (size_t)TOLD_BYTES_MAX)))

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/*
 * Base64 for URLs (RFC 4648, section 5), with or without padding; appended to `out`, which has room. Returns the offset
 * of the first byte that is not, or -1. Padding alone is the empty text: an address cannot hold one otherwise.
 */
static long decode_base64(struct ap_slice text, struct ap_buf *out)
{
    uint32_t bits = 0;
    size_t i = 0;
    while (text.bytes && text.data[text.bytes - 1] == '=')
        text.bytes--;
    for (; i < text.bytes; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0)
            return (long)i;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            ap_buf_add_char(out, (char)(bits >> (6 - 2 * (i % 4))));
    }
    return i % 4 == 1 ? (long)i : -1;
}

static bool is_name(struct ap_slice name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.bytes > 0 && !ap_slice_starts_with(name, "__");
}

static enum ap_rc set(struct push_key *key, struct ap_slice name, struct ap_slice value, struct ap_err *err)
{
    for (size_t i = 0; i < key->count; i++)
        if (ap_slice_equal(key->labels[i].name, name)) {
            key->labels[i].value = value;
            return AP_OK;
        }
    if (key->count == PUSH_KEY_LABELS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a group may have %d labels", PUSH_KEY_LABELS_MAX);
    key->labels[key->count++] = (struct label){name, value};
    return AP_OK;
}

static enum ap_rc decode_value(struct push_key *key, struct ap_slice name, struct ap_slice *value, struct ap_err *err)
{
    size_t first = key->decoded.bytes;
    long fault = decode_base64(*value, &key->decoded);
    if (fault >= 0 && ap_slice_equal_cstr(name, "job"))
        return ap_fail(err, AP_E_PARSE,
                       "invalid base64 encoding in job name \"%.*s\": illegal base64 data at input byte %ld",
                       TOLD(*value), fault);
    if (fault >= 0)
        return ap_fail(err, AP_E_PARSE,
                       "invalid base64 encoding for label %.*s=\"%.*s\": illegal base64 data at input byte %ld",
                       TOLD(name), TOLD(*value), fault);
    *value = ap_slice(key->decoded.data ? key->decoded.data + first : "", key->decoded.bytes - first);
    return AP_OK;
}

static enum ap_rc read_labels(struct push_key *key, struct ap_slice rest, struct ap_err *err)
{
    static const char suffix[] = "@base64";
    enum { SUFFIX_BYTES = sizeof(suffix) - 1 };
    struct ap_slice whole = rest;
    enum ap_rc rc = AP_OK;
    if (rest.bytes <= 1)
        return AP_OK;
    rest = ap_slice(rest.data + 1, rest.bytes - 1);
    while (rest.data && rc == AP_OK) {
        struct ap_slice name = ap_slice_split(&rest, '/');
        if (!rest.data)
            return ap_fail(err, AP_E_PARSE, "odd number of components in label string \"%.*s\"", TOLD(whole));
        struct ap_slice value = ap_slice_split(&rest, '/');
        bool is_base64 =
            name.bytes >= SUFFIX_BYTES && memcmp(name.data + name.bytes - SUFFIX_BYTES, suffix, SUFFIX_BYTES) == 0;
        if (is_base64)
            name.bytes -= SUFFIX_BYTES;
        if (!is_name(name))
            return ap_fail(err, AP_E_PARSE, "improper label name \"%.*s\"", TOLD(name));
        if (is_base64)
            rc = decode_value(key, name, &value, err);
        if (rc == AP_OK)
            rc = set(key, name, value, err);
    }
    return rc;
}

static enum ap_rc read_key(struct push_key *key, struct ap_slice rest, bool is_job_base64, struct ap_err *err)
{
    struct ap_slice job = ap_slice_cstr("job");
    (void)ap_buf_reserve(&key->decoded, rest.bytes + 1); /* so that nothing moves from here on */
    rest = rest.bytes ? ap_slice(rest.data + 1, rest.bytes - 1) : rest;
    const char *slash = rest.bytes ? memchr(rest.data, '/', rest.bytes) : NULL;
    struct ap_slice value = slash ? ap_slice(rest.data, (size_t)(slash - rest.data)) : rest;
    struct ap_slice labels = slash ? ap_slice(slash, rest.bytes - value.bytes) : ap_slice("", 0);
    enum ap_rc rc = is_job_base64 ? decode_value(key, job, &value, err) : AP_OK;
    if (rc == AP_OK)
        rc = read_labels(key, labels, err);
    if (rc != AP_OK)
        return rc;
    if (value.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "job name is required");
    return set(key, job, value, err);
}

enum ap_rc push_key_read(struct ap_slice rest, bool is_job_base64, struct push_key *ret_key, struct ap_err *err)
{
    ret_key->count = 0;
    ret_key->decoded = (struct ap_buf){0};
    enum ap_rc rc = read_key(ret_key, rest, is_job_base64, err);
    if (rc != AP_OK)
        push_key_clear(ret_key);
    return rc;
}

void push_key_clear(struct push_key *key)
{
    ap_buf_clear(&key->decoded);
}

const struct label *push_key_find(const struct push_key *key, struct ap_slice name)
{
    for (size_t i = 0; i < key->count; i++)
        if (ap_slice_equal(key->labels[i].name, name))
            return &key->labels[i];
    return NULL;
}
