/* DNS: one question to a name server over UDP, TCP or TLS, and what its answer must and must not hold. */
#include "base/clock.h"
#include "base/random.h"
#include "codec/dns_message.h"
#include "collect/probe_internal.h"

enum { ANSWER_BYTES_MAX = 16 << 20 }; /* of the arena that an answer is read into */

/* ---- Asking ---- */

static bool receive_all(struct probe_connection *connection, void *to, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        ssize_t received = probe_receive(connection, (char *)to + at, bytes - at);
        if (received < 0)
            return false;
        if (received == 0)
            return probe_fail(connection->probe, "the server ended the connection before its answer");
        at += (size_t)received;
    }
    return true;
}

/* Over a stream each message has its length in front of it. */
static bool exchange_stream(struct probe_connection *connection, struct ap_slice question, struct ap_buf *answer)
{
    AP_AUTO_BUF struct ap_buf framed = {0};
    uint8_t length[2] = {(uint8_t)(question.bytes >> 8), (uint8_t)question.bytes};
    ap_buf_add(&framed, length, sizeof(length));
    ap_buf_add_slice(&framed, question);
    if (!probe_send(connection, ap_buf_slice(&framed)) || !receive_all(connection, length, sizeof(length)))
        return false;
    size_t bytes = (size_t)length[0] << 8 | length[1];
    if (bytes == 0 || !receive_all(connection, ap_buf_reserve(answer, bytes), bytes))
        return bytes ? false : probe_fail(connection->probe, "an answer without a byte");
    answer->bytes = bytes;
    return true;
}

static bool read_answer(struct probe *probe, const struct ap_buf *answer, struct ap_arena *arena,
                        struct dns_message *ret_message)
{
    struct ap_err err;
    if (dns_message_read(ap_buf_slice(answer), arena, ret_message, &err) == AP_OK)
        return true;
    return probe_fail(probe, "%s", err.text);
}

/* Over UDP anything may come: what is not the answer to this question is passed over. */
static bool exchange_datagrams(struct probe_connection *connection, struct ap_slice question, uint16_t id,
                               struct ap_buf *answer)
{
    if (!probe_send(connection, question))
        return false;
    for (;;) {
        ssize_t received =
            probe_receive(connection, ap_buf_reserve(answer, DNS_MESSAGE_BYTES_MAX), DNS_MESSAGE_BYTES_MAX);
        if (received < 0)
            return false;
        const uint8_t *bytes = (const uint8_t *)answer->data;
        if (received >= 2 && (bytes[0] << 8 | bytes[1]) == id) {
            answer->bytes = (size_t)received;
            return true;
        }
        probe_note(connection->probe, "passed over %zd bytes that are not the answer", received);
    }
}

static bool ask(struct probe *probe, struct probe_address *address, const char *server_name, struct ap_buf *answer,
                uint16_t *ret_id)
{
    static const struct family duration = {"probe_dns_duration_seconds", "Duration of DNS request by phase",
                                           FAMILY_GAUGE};
    const struct probe_dns *dns = &probe->module->dns;
    struct ap_random random;
    struct ap_err err;
    ap_random_init(&random, ap_random_system_seed());
    uint16_t id = (uint16_t)ap_random_u64(&random);
    const struct dns_question question = {ap_slice_cstr(dns->name), dns->type, dns->class};
    AP_AUTO_BUF struct ap_buf message = {0};
    if (dns_message_ask(id, dns->is_recursion_desired, &question, &message, &err) != AP_OK)
        return probe_fail(probe, "%s", err.text);
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    PROBE_AUTO_CONNECTION struct probe_connection connection = {.fd = -1};
    bool is_connected =
        probe_connect(probe, &dns->network, address, dns->is_tcp ? SOCK_STREAM : SOCK_DGRAM, &connection) &&
        (!dns->is_tls || probe_start_tls(&connection, &dns->tls, server_name));
    double connect_seconds = probe_seconds_since(start_us);
    start_us = ap_clock_monotonic_us(&ap_clock_system);
    bool is_answered =
        is_connected && (dns->is_tcp ? exchange_stream(&connection, ap_buf_slice(&message), answer)
                                     : exchange_datagrams(&connection, ap_buf_slice(&message), id, answer));
    families_add1(probe->families, &duration, connect_seconds, "phase", ap_slice_cstr("connect"));
    families_add1(probe->families, &duration, is_connected ? probe_seconds_since(start_us) : 0, "phase",
                  ap_slice_cstr("request"));
    *ret_id = id;
    return is_answered;
}

/* ---- Judging ---- */

static bool is_rcode_valid(struct probe *probe, unsigned rcode)
{
    const struct probe_dns *dns = &probe->module->dns;
    bool is_valid = dns->rcode_count == 0 && rcode == DNS_RCODE_NOERROR;
    for (size_t i = 0; i < dns->rcode_count; i++)
        is_valid |= dns->rcodes[i] == rcode;
    return is_valid || probe_fail(probe, "the answer's code is %s", dns_rcode_name(rcode));
}

static const struct probe_regex *find_match(const struct probe_regexes *regexes, struct ap_slice text)
{
    for (size_t i = 0; i < regexes->count; i++)
        if (probe_regex_finds(regexes->items[i], text))
            return regexes->items[i];
    return NULL;
}

static const struct probe_regex *find_mismatch(const struct probe_regexes *regexes, struct ap_slice text)
{
    for (size_t i = 0; i < regexes->count; i++)
        if (!probe_regex_finds(regexes->items[i], text))
            return regexes->items[i];
    return NULL;
}

static bool are_records_valid(struct probe *probe, const struct dns_message *message, int section)
{
    static const char *const names[] = {"answer", "authority", "additional"};
    const struct probe_records *records = &probe->module->dns.records[section];
    size_t count = message->record_counts[section];
    bool is_any = false, is_all = true;
    AP_AUTO_BUF struct ap_buf text = {0};
    if (count == 0 && (records->not_matches.count || records->none_matches.count))
        return probe_fail(probe, "%s: no record at all", names[section]);
    for (size_t i = 0; i < count; i++) {
        ap_buf_reset(&text);
        dns_record_text(message, &message->records[section][i], &text);
        struct ap_slice record = ap_buf_slice(&text);
        probe_note(probe, "%s: %.*s", names[section], AP_SLICE_ARG(record));
        const struct probe_regex *wrong = find_match(&records->matches, record);
        if (wrong)
            return probe_fail(probe, "%s: \"%s\" matches %.*s", names[section], probe_regex_text(wrong),
                              AP_SLICE_ARG(record));
        wrong = find_mismatch(&records->not_matches, record);
        if (wrong)
            return probe_fail(probe, "%s: \"%s\" does not match %.*s", names[section], probe_regex_text(wrong),
                              AP_SLICE_ARG(record));
        is_all &= find_mismatch(&records->all_match, record) == NULL;
        is_any |= find_match(&records->none_matches, record) != NULL;
    }
    /* The exporter's own reading of fail_if_all_match_regexp: it fails when they do not all match. */
    if (records->all_match.count && !is_all)
        return probe_fail(probe, "%s: not all records match fail_if_all_match_regexp", names[section]);
    if (records->none_matches.count && !is_any)
        return probe_fail(probe, "%s: no record matches fail_if_none_matches_regexp", names[section]);
    return true;
}

/* ---- The probe ---- */

static void add_counts(struct probe *probe, const struct dns_message *message)
{
    static const struct family families[DNS_SECTION_COUNT] = {
        {"probe_dns_answer_rrs", "Returns number of entries in the answer resource record list", FAMILY_GAUGE},
        {"probe_dns_authority_rrs", "Returns number of entries in the authority resource record list", FAMILY_GAUGE},
        {"probe_dns_additional_rrs", "Returns number of entries in the additional resource record list", FAMILY_GAUGE},
    };
    static const struct family succeeded = {
        "probe_dns_query_succeeded", "Displays whether or not the query was executed successfully", FAMILY_GAUGE};
    for (int section = 0; section < DNS_SECTION_COUNT; section++)
        families_add(probe->families, &families[section], message ? (double)message->record_counts[section] : 0);
    families_add(probe->families, &succeeded, message != NULL);
}

static void add_serial(struct probe *probe, const struct dns_message *message)
{
    static const struct family family = {"probe_dns_serial", "Returns the serial number of the zone", FAMILY_GAUGE};
    uint32_t serial = 0;
    for (size_t i = 0; i < message->record_counts[DNS_SECTION_ANSWER]; i++)
        (void)dns_record_serial(message, &message->records[DNS_SECTION_ANSWER][i], &serial);
    families_add(probe->families, &family, serial);
}

static bool query(struct probe *probe, const char *host, const char *port, struct ap_arena *arena,
                  struct dns_message *ret_message)
{
    static const struct family duration = {"probe_dns_duration_seconds", "Duration of DNS request by phase",
                                           FAMILY_GAUGE};
    const struct probe_dns *dns = &probe->module->dns;
    struct probe_address address;
    AP_AUTO_BUF struct ap_buf answer = {0};
    uint16_t id = 0;
    bool is_resolved = probe_resolve(probe, &dns->network, host, &address);
    families_add1(probe->families, &duration, is_resolved ? address.lookup_seconds : 0, "phase",
                  ap_slice_cstr("resolve"));
    if (!is_resolved || !probe_set_port(probe, &address, port)) {
        families_add1(probe->families, &duration, 0, "phase", ap_slice_cstr("connect"));
        families_add1(probe->families, &duration, 0, "phase", ap_slice_cstr("request"));
        return false;
    }
    if (!ask(probe, &address, dns->tls.server_name ? dns->tls.server_name : host, &answer, &id))
        return false;
    struct ap_slice kept = ap_buf_slice(&answer);
    char *copy = ap_arena_try_strndup(arena, kept); /* as long as the message is */
    answer.bytes = kept.bytes;
    if (!copy || !read_answer(probe, &(struct ap_buf){.data = copy, .bytes = kept.bytes}, arena, ret_message))
        return false;
    if (!ret_message->is_answer || ret_message->id != id)
        return probe_fail(probe, "what came is not the answer to the question");
    return true;
}

bool probe_dns(struct probe *probe)
{
    const struct probe_dns *dns = &probe->module->dns;
    AP_AUTO_FREE char *host = NULL, *port = NULL;
    AP_AUTO_ARENA struct ap_arena arena;
    struct dns_message message;
    ap_arena_init(&arena, ANSWER_BYTES_MAX);
    if (!probe_split_host_port(probe->target, &host, &port)) {
        host = ap_strdup(probe->target);
        port = ap_strdup(dns->is_tls ? "853" : "53");
    }
    bool is_answered = query(probe, host, port, &arena, &message);
    add_counts(probe, is_answered ? &message : NULL);
    if (!is_answered)
        return false;
    if (dns->type == DNS_TYPE_SOA)
        add_serial(probe, &message);
    if (!is_rcode_valid(probe, message.rcode))
        return false;
    for (int section = 0; section < DNS_SECTION_COUNT; section++)
        if (!are_records_valid(probe, &message, section))
            return false;
    return true;
}
