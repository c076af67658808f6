#include "codec/dns_message.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include "base/mem.h"

enum { NAME_BYTES_MAX = 255, LABEL_BYTES_MAX = 63, HEADER_BYTES = 12, POINTER = 0xC0 };

/* ---- Names of numbers ---- */

struct number {
    const char *name;
    uint16_t value;
};
static const struct number types[] = {
    {"A", 1},      {"NS", 2},      {"CNAME", 5},   {"SOA", 6},     {"PTR", 12},     {"HINFO", 13},
    {"MX", 15},    {"TXT", 16},    {"RP", 17},     {"AFSDB", 18},  {"SIG", 24},     {"KEY", 25},
    {"AAAA", 28},  {"LOC", 29},    {"SRV", 33},    {"NAPTR", 35},  {"KX", 36},      {"CERT", 37},
    {"DNAME", 39}, {"OPT", 41},    {"APL", 42},    {"DS", 43},     {"SSHFP", 44},   {"IPSECKEY", 45},
    {"RRSIG", 46}, {"NSEC", 47},   {"DNSKEY", 48}, {"DHCID", 49},  {"NSEC3", 50},   {"NSEC3PARAM", 51},
    {"TLSA", 52},  {"SMIMEA", 53}, {"HIP", 55},    {"CDS", 59},    {"CDNSKEY", 60}, {"OPENPGPKEY", 61},
    {"CSYNC", 62}, {"ZONEMD", 63}, {"SVCB", 64},   {"HTTPS", 65},  {"SPF", 99},     {"NID", 104},
    {"L32", 105},  {"L64", 106},   {"LP", 107},    {"EUI48", 108}, {"EUI64", 109},  {"TKEY", 249},
    {"TSIG", 250}, {"IXFR", 251},  {"AXFR", 252},  {"MAILB", 253}, {"MAILA", 254},  {"ANY", 255},
    {"URI", 256},  {"CAA", 257},   {"AVC", 258},   {"TA", 32768},  {"DLV", 32769},
};
static const struct number classes[] = {{"IN", 1}, {"CS", 2}, {"CH", 3}, {"HS", 4}, {"NONE", 254}, {"ANY", 255}};
static const struct number rcodes[] = {{"NOERROR", 0},  {"FORMERR", 1}, {"SERVFAIL", 2},  {"NXDOMAIN", 3},
                                       {"NOTIMP", 4},   {"REFUSED", 5}, {"YXDOMAIN", 6},  {"YXRRSET", 7},
                                       {"NXRRSET", 8},  {"NOTAUTH", 9}, {"NOTZONE", 10},  {"BADSIG", 16},
                                       {"BADVERS", 16}, {"BADKEY", 17}, {"BADTIME", 18},  {"BADMODE", 19},
                                       {"BADNAME", 20}, {"BADALG", 21}, {"BADTRUNC", 22}, {"BADCOOKIE", 23}};

static bool find_number(const struct number *numbers, size_t count, struct ap_slice name, uint16_t *ret_value)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(name, numbers[i].name)) {
            *ret_value = numbers[i].value;
            return true;
        }
    return false;
}

static const char *name_of(const struct number *numbers, size_t count, uint16_t value)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i].value == value)
            return numbers[i].name;
    return NULL;
}

bool dns_type_parse(struct ap_slice name, uint16_t *ret_type)
{
    return find_number(types, AP_ARRAY_COUNT(types), name, ret_type);
}

bool dns_class_parse(struct ap_slice name, uint16_t *ret_class)
{
    return find_number(classes, AP_ARRAY_COUNT(classes), name, ret_class);
}

bool dns_rcode_parse(struct ap_slice name, unsigned *ret_rcode)
{
    uint16_t rcode;
    if (!find_number(rcodes, AP_ARRAY_COUNT(rcodes), name, &rcode))
        return false;
    *ret_rcode = rcode;
    return true;
}

const char *dns_rcode_name(unsigned rcode)
{
    const char *name = name_of(rcodes, AP_ARRAY_COUNT(rcodes), (uint16_t)rcode);
    return name ? name : "?";
}

/* ---- Asking ---- */

static void add_u16(struct ap_buf *out, unsigned value)
{
    ap_buf_add(out, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static enum ap_rc add_name(struct ap_buf *out, struct ap_slice name, struct ap_err *err)
{
    struct ap_slice rest = name;
    size_t begin = out->bytes;
    if (rest.bytes && rest.data[rest.bytes - 1] == '.')
        rest.bytes--;
    while (rest.bytes) {
        struct ap_slice label = ap_slice_split(&rest, '.');
        if (label.bytes == 0 || label.bytes > LABEL_BYTES_MAX)
            return ap_fail(err, AP_E_PARSE, "\"%.*s\" is not a name: a part has no or more than %d bytes",
                           AP_SLICE_ARG(name), LABEL_BYTES_MAX);
        ap_buf_add_char(out, (char)label.bytes);
        ap_buf_add_slice(out, label);
        if (rest.data && rest.bytes == 0)
            return ap_fail(err, AP_E_PARSE, "\"%.*s\" is not a name: it ends in two dots", AP_SLICE_ARG(name));
    }
    ap_buf_add_char(out, '\0');
    if (out->bytes - begin > NAME_BYTES_MAX)
        return ap_fail(err, AP_E_PARSE, "\"%.*s\" is not a name: it is longer than %d bytes", AP_SLICE_ARG(name),
                       NAME_BYTES_MAX);
    return AP_OK;
}

enum ap_rc dns_message_ask(uint16_t id, bool is_recursion_desired, const struct dns_question *question,
                           struct ap_buf *out, struct ap_err *err)
{
    add_u16(out, id);
    add_u16(out, is_recursion_desired ? 0x0100 : 0);
    add_u16(out, 1); /* questions */
    for (int section = 0; section < DNS_SECTION_COUNT; section++)
        add_u16(out, 0);
    enum ap_rc rc = add_name(out, question->name, err);
    add_u16(out, question->type);
    add_u16(out, question->class);
    return rc;
}

/* ---- Reading ---- */

struct reading {
    struct ap_slice whole;
    size_t at;
    bool is_bad; /* it ended too early, or a name is none */
};

static uint8_t byte_at(const struct reading *reading, size_t at)
{
    return (uint8_t)reading->whole.data[at];
}

static bool has(struct reading *reading, size_t bytes)
{
    reading->is_bad |= bytes > reading->whole.bytes - reading->at;
    return !reading->is_bad;
}

static unsigned read_u16(struct reading *reading)
{
    if (!has(reading, 2))
        return 0;
    unsigned value = (unsigned)byte_at(reading, reading->at) << 8 | byte_at(reading, reading->at + 1);
    reading->at += 2;
    return value;
}

static uint32_t read_u32(struct reading *reading)
{
    uint32_t high = read_u16(reading);
    return high << 16 | read_u16(reading);
}

/* A byte of a label: what would end or change the text is escaped. */
static size_t add_label_byte(char *to, uint8_t byte)
{
    if (byte <= ' ' || byte >= 0x7F)
        return (size_t)sprintf(to, "\\%03u", byte);
    if (strchr(".\\\"();@$'", byte)) {
        to[0] = '\\';
        to[1] = (char)byte;
        return 2;
    }
    to[0] = (char)byte;
    return 1;
}

/* A name that may go on elsewhere: only ever at an earlier place, so that it ends. */
static void read_name(struct reading *reading, char text[DNS_NAME_TEXT_BYTES])
{
    size_t at = reading->at, earliest = at, behind = 0, bytes = 0, text_bytes = 0;
    for (;;) {
        if (at >= reading->whole.bytes)
            break;
        uint8_t length = byte_at(reading, at);
        if (length >= POINTER) {
            if (at + 1 >= reading->whole.bytes)
                break;
            size_t target = (size_t)(length & ~POINTER) << 8 | byte_at(reading, at + 1);
            behind = behind ? behind : at + 2;
            if (target >= earliest)
                break;
            at = earliest = target;
            continue;
        }
        bytes += length + 1U;
        if (length > LABEL_BYTES_MAX || bytes > NAME_BYTES_MAX || length >= reading->whole.bytes - at)
            break;
        at++;
        if (length == 0) {
            if (text_bytes == 0)
                text[text_bytes++] = '.';
            text[text_bytes] = '\0';
            reading->at = behind ? behind : at;
            return;
        }
        for (size_t i = 0; i < length; i++)
            text_bytes += add_label_byte(text + text_bytes, byte_at(reading, at + i));
        text[text_bytes++] = '.';
        at += length;
    }
    reading->is_bad = true;
    text[0] = '\0';
}

static const char *keep_name(struct reading *reading, struct ap_arena *arena)
{
    char text[DNS_NAME_TEXT_BYTES];
    read_name(reading, text);
    const char *kept = reading->is_bad ? NULL : ap_arena_try_strndup(arena, ap_slice_cstr(text));
    reading->is_bad |= kept == NULL;
    return kept;
}

static void read_records(struct reading *reading, struct ap_arena *arena, struct dns_message *message, int section)
{
    enum { RECORD_BYTES_MIN = 11 };
    size_t count = AP_MIN(message->record_counts[section], (reading->whole.bytes - reading->at) / RECORD_BYTES_MIN + 1);
    struct dns_record *records = ap_arena_try_alloc(arena, (count + 1) * sizeof(records[0]));
    reading->is_bad |= records == NULL;
    size_t found = 0;
    for (; found < count && !reading->is_bad && reading->at < reading->whole.bytes; found++) {
        struct dns_record *record = &records[found];
        record->name = keep_name(reading, arena);
        record->type = (uint16_t)read_u16(reading);
        record->class = (uint16_t)read_u16(reading);
        record->ttl_s = read_u32(reading);
        size_t bytes = read_u16(reading);
        if (!has(reading, bytes))
            return;
        record->data = ap_slice(reading->whole.data + reading->at, bytes);
        reading->at += bytes;
    }
    message->record_counts[section] = found;
    message->records[section] = records;
}

enum ap_rc dns_message_read(struct ap_slice bytes, struct ap_arena *arena, struct dns_message *ret_message,
                            struct ap_err *err)
{
    struct reading reading = {.whole = bytes};
    struct dns_message message = {.whole = bytes};
    if (bytes.bytes < HEADER_BYTES || bytes.bytes > DNS_MESSAGE_BYTES_MAX)
        return ap_fail(err, AP_E_PARSE, "%zu bytes are not a DNS message", bytes.bytes);
    message.id = (uint16_t)read_u16(&reading);
    unsigned flags = read_u16(&reading);
    message.is_answer = (flags & 0x8000) != 0;
    message.is_truncated = (flags & 0x0200) != 0;
    message.rcode = flags & 0xF;
    message.question_count = read_u16(&reading);
    for (int section = 0; section < DNS_SECTION_COUNT; section++)
        message.record_counts[section] = read_u16(&reading);
    for (size_t i = 0; i < message.question_count && !reading.is_bad; i++) {
        const char *name = keep_name(&reading, arena);
        uint16_t type = (uint16_t)read_u16(&reading);
        read_u16(&reading); /* class */
        if (i == 0) {
            message.question_name = name;
            message.question_type = type;
        }
    }
    for (int section = 0; section < DNS_SECTION_COUNT && !reading.is_bad; section++)
        read_records(&reading, arena, &message, section);
    if (reading.is_bad)
        return ap_fail(err, AP_E_PARSE, "not a DNS message: it goes wrong at byte %zu of %zu", reading.at, bytes.bytes);
    *ret_message = message;
    return AP_OK;
}

/* ---- Records as text ---- */

/* Reads a record's data: names in it may point into the message, but the data itself ends where it ends. */
static struct reading reading_of(const struct dns_message *message, const struct dns_record *record)
{
    size_t at = (size_t)(record->data.data - message->whole.data);
    return (struct reading){.whole = ap_slice(message->whole.data, at + record->data.bytes), .at = at};
}

static void add_name_text(struct reading *reading, struct ap_buf *out)
{
    char text[DNS_NAME_TEXT_BYTES];
    read_name(reading, text);
    ap_buf_add_cstr(out, text);
}

static void add_address(struct reading *reading, int family, size_t bytes, struct ap_buf *out)
{
    char text[INET6_ADDRSTRLEN];
    if (!has(reading, bytes) || !inet_ntop(family, reading->whole.data + reading->at, text, sizeof(text)))
        return;
    reading->at += bytes;
    ap_buf_add_cstr(out, text);
}

/* `bytes` in quotes, what is not printable as \DDD. */
static void add_quoted(struct reading *reading, size_t bytes, struct ap_buf *out)
{
    if (!has(reading, bytes))
        return;
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = byte_at(reading, reading->at + i);
        if (byte == '"' || byte == '\\')
            ap_buf_printf(out, "\\%c", byte);
        else if (byte < ' ' || byte >= 0x7F)
            ap_buf_printf(out, "\\%03u", byte);
        else
            ap_buf_add_char(out, (char)byte);
    }
    ap_buf_add_char(out, '"');
    reading->at += bytes;
}

static void add_texts(struct reading *reading, struct ap_buf *out)
{
    for (bool is_first = true; reading->at < reading->whole.bytes && !reading->is_bad; is_first = false) {
        size_t bytes = byte_at(reading, reading->at++);
        if (!is_first)
            ap_buf_add_char(out, ' ');
        add_quoted(reading, bytes, out);
    }
}

static void add_soa(struct reading *reading, struct ap_buf *out)
{
    enum { NUMBERS = 5 };
    add_name_text(reading, out);
    ap_buf_add_char(out, ' ');
    add_name_text(reading, out);
    for (int i = 0; i < NUMBERS; i++)
        ap_buf_printf(out, " %u", read_u32(reading));
}

static void add_srv(struct reading *reading, struct ap_buf *out)
{
    enum { NUMBERS = 3 };
    for (int i = 0; i < NUMBERS; i++)
        ap_buf_printf(out, "%u ", read_u16(reading));
    add_name_text(reading, out);
}

static void add_caa(struct reading *reading, struct ap_buf *out)
{
    if (!has(reading, 2))
        return;
    unsigned flags = byte_at(reading, reading->at), tag_bytes = byte_at(reading, reading->at + 1);
    reading->at += 2;
    if (!has(reading, tag_bytes))
        return;
    for (size_t i = 0; i < tag_bytes; i++)
        reading->is_bad |= !isalnum(byte_at(reading, reading->at + i));
    ap_buf_printf(out, "%u %.*s ", flags, (int)tag_bytes, reading->whole.data + reading->at);
    reading->at += tag_bytes;
    add_quoted(reading, reading->whole.bytes - reading->at, out);
}

static void add_data(struct reading *reading, uint16_t type, struct ap_buf *out)
{
    switch (type) {
    case DNS_TYPE_A:
        add_address(reading, AF_INET, sizeof(struct in_addr), out);
        return;
    case DNS_TYPE_AAAA:
        add_address(reading, AF_INET6, sizeof(struct in6_addr), out);
        return;
    case DNS_TYPE_NS:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_PTR:
        add_name_text(reading, out);
        return;
    case DNS_TYPE_MX:
        ap_buf_printf(out, "%u ", read_u16(reading));
        add_name_text(reading, out);
        return;
    case DNS_TYPE_TXT:
        add_texts(reading, out);
        return;
    case DNS_TYPE_SOA:
        add_soa(reading, out);
        return;
    case DNS_TYPE_SRV:
        add_srv(reading, out);
        return;
    case DNS_TYPE_CAA:
        add_caa(reading, out);
        return;
    default:
        reading->is_bad = true;
        return;
    }
}

static void add_class_and_type(const struct dns_record *record, struct ap_buf *out)
{
    const char *class_name = name_of(classes, AP_ARRAY_COUNT(classes), record->class);
    const char *type_name = name_of(types, AP_ARRAY_COUNT(types), record->type);
    if (class_name)
        ap_buf_add_cstr(out, class_name);
    else
        ap_buf_printf(out, "CLASS%u", record->class);
    if (type_name)
        ap_buf_printf(out, "\t%s\t", type_name);
    else
        ap_buf_printf(out, "\tTYPE%u\t", record->type);
}

void dns_record_text(const struct dns_message *message, const struct dns_record *record, struct ap_buf *out)
{
    struct reading reading = reading_of(message, record);
    ap_buf_printf(out, "%s\t%u\t", record->name, record->ttl_s);
    add_class_and_type(record, out);
    size_t begin = out->bytes;
    add_data(&reading, record->type, out);
    if (!reading.is_bad && reading.at == reading.whole.bytes)
        return;
    out->bytes = begin;
    ap_buf_printf(out, "\\# %zu ", record->data.bytes);
    for (size_t i = 0; i < record->data.bytes; i++)
        ap_buf_printf(out, "%02x", (uint8_t)record->data.data[i]);
}

bool dns_record_serial(const struct dns_message *message, const struct dns_record *record, uint32_t *ret_serial)
{
    struct reading reading = reading_of(message, record);
    char text[DNS_NAME_TEXT_BYTES];
    if (record->type != DNS_TYPE_SOA)
        return false;
    read_name(&reading, text);
    if (!reading.is_bad)
        read_name(&reading, text);
    uint32_t serial = read_u32(&reading);
    if (!reading.is_bad)
        *ret_serial = serial;
    return !reading.is_bad;
}
