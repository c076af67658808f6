/*
 * codec/dns_message.h - questions to name servers and their answers (RFC 1035), as they are on the wire
 *
 * An answer comes from anybody: names are followed backwards only and to 255 bytes, each record is within the message,
 * and nothing of its data is believed before it is looked at.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    DNS_MESSAGE_BYTES_MAX = 65535,
    DNS_NAME_TEXT_BYTES = 1024, /* a name of 255 bytes, every one escaped as \DDD, with its NUL */
};

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_ANY = 255,
    DNS_TYPE_CAA = 257,
};
enum dns_class { DNS_CLASS_IN = 1 };
enum dns_rcode { DNS_RCODE_NOERROR = 0 };

/* By name, in capitals: "AAAA", "IN", "NXDOMAIN". False: there is none of this name. */
bool dns_type_parse(struct ap_slice name, uint16_t *ret_type);
bool dns_class_parse(struct ap_slice name, uint16_t *ret_class);
bool dns_rcode_parse(struct ap_slice name, unsigned *ret_rcode);
const char *dns_rcode_name(unsigned rcode); /* "NXDOMAIN"; "?" when it has none */

struct dns_question {
    struct ap_slice name; /* "example.com" or "example.com."; may be "." */
    uint16_t type;
    uint16_t class;
};

/* Appends a message with one question. AP_E_PARSE: the name is none. */
ap_nodiscard enum ap_rc dns_message_ask(uint16_t id, bool is_recursion_desired, const struct dns_question *question,
                                        struct ap_buf *out, struct ap_err *err);

enum dns_section { DNS_SECTION_ANSWER, DNS_SECTION_AUTHORITY, DNS_SECTION_ADDITIONAL, DNS_SECTION_COUNT };

struct dns_record {
    const char *name; /* with the final dot; bytes that are not printable as \DDD */
    uint16_t type;
    uint16_t class;
    uint32_t ttl_s;
    struct ap_slice data; /* into the message */
};

struct dns_message {
    struct ap_slice whole; /* lent */
    uint16_t id;
    bool is_answer;
    bool is_truncated;
    unsigned rcode;
    size_t question_count;
    const char *question_name; /* of the first one; NULL: none */
    uint16_t question_type;
    const struct dns_record *records[DNS_SECTION_COUNT];
    size_t record_counts[DNS_SECTION_COUNT];
};

/*
 * Texts and records are in `arena`, data in `bytes`; both outlive the message. One that was cut off between two records
 * has as many as there are, whatever its header says: that is how answers too long for a datagram look. AP_E_PARSE: not
 * a message.
 */
ap_nodiscard enum ap_rc dns_message_read(struct ap_slice bytes, struct ap_arena *arena, struct dns_message *ret_message,
                                         struct ap_err *err);

/*
 * Appends a record as name servers' files have it, with tabs: "example.com.\t300\tIN\tMX\t10 mail.example.com.". Types
 * that have no text here, and data that is not what its type says, are as in RFC 3597: "TYPE99\t\# 2 c0ff".
 */
void dns_record_text(const struct dns_message *message, const struct dns_record *record, struct ap_buf *out);

/* The serial number of a SOA record. False: it is none. */
bool dns_record_serial(const struct dns_message *message, const struct dns_record *record, uint32_t *ret_serial);
