/* Protocols and sockets: /proc/net/{netstat,snmp,snmp6,sockstat,sockstat6,udp,udp6}, connection tracking. */
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- netstat ---- */

/* Of some 300 figures, those that are watched. A '*' at the end stands for anything. */
static const char *const netstat_wanted[] = {
    "Ip_Forwarding",      "Ip6_InOctets",         "Ip6_OutOctets",      "IpExt_InOctets",    "IpExt_OutOctets",
    "Icmp_InMsgs",        "Icmp_OutMsgs",         "Icmp6_InMsgs",       "Icmp6_OutMsgs",     "TcpExt_Listen*",
    "TcpExt_Syncookies*", "TcpExt_TCPSynRetrans", "TcpExt_TCPTimeouts", "Tcp_ActiveOpens",   "Tcp_InSegs",
    "Tcp_OutSegs",        "Tcp_OutRsts",          "Tcp_PassiveOpens",   "Tcp_RetransSegs",   "Tcp_CurrEstab",
    "Udp_InDatagrams",    "Udp_OutDatagrams",     "Udp_NoPorts",        "Udp_RcvbufErrors",  "Udp_SndbufErrors",
    "Udp6_InDatagrams",   "Udp6_OutDatagrams",    "Udp6_NoPorts",       "Udp6_RcvbufErrors", "Udp6_SndbufErrors",
};

static bool is_ending_in(struct ap_slice text, const char *end)
{
    size_t bytes = strlen(end);
    return text.bytes >= bytes && memcmp(text.data + text.bytes - bytes, end, bytes) == 0;
}

static bool is_netstat_wanted(struct ap_slice name)
{
    if (is_ending_in(name, "_InErrors") || is_ending_in(name, "_InErrs"))
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(netstat_wanted); i++) {
        const char *wanted = netstat_wanted[i], *star = strchr(wanted, '*');
        size_t bytes = star ? (size_t)(star - wanted) : strlen(wanted);
        if (name.bytes >= bytes && memcmp(name.data, wanted, bytes) == 0 && (star || name.bytes == bytes))
            return true;
    }
    return false;
}

static void add_netstat(struct host_scrape *scrape, struct ap_slice protocol, struct ap_slice field,
                        struct ap_slice text)
{
    char key[HOST_NAME_BYTES_MAX];
    int bytes = snprintf(key, sizeof(key), "%.*s_%.*s", AP_SLICE_ARG(protocol), AP_SLICE_ARG(field));
    double value;
    if (bytes >= (int)sizeof(key) || !is_netstat_wanted(ap_slice(key, (size_t)bytes)) || !host_number(text, &value))
        return;
    char help[HOST_NAME_BYTES_MAX + 32];
    struct host_metric_name name = host_metric_name("node_netstat_", ap_slice(key, (size_t)bytes), "");
    snprintf(help, sizeof(help), "Statistic %.*s%.*s.", AP_SLICE_ARG(protocol), AP_SLICE_ARG(field));
    families_add(scrape->families, &(struct family){name.text, help, FAMILY_UNTYPED}, value);
}

/* Two lines a protocol: "Tcp: RtoAlgorithm RtoMin …" and "Tcp: 1 200 …". */
static void add_pairs_of_lines(struct host_scrape *scrape, struct ap_slice rest)
{
    struct ap_slice names, values;
    while (host_line(&rest, &names) && host_line(&rest, &values)) {
        struct ap_slice protocol = ap_slice_split(&names, ':'), field;
        if (!ap_slice_equal(protocol, ap_slice_split(&values, ':')))
            continue;
        while ((field = host_field(&names)).bytes)
            add_netstat(scrape, protocol, field, host_field(&values));
    }
}

/* "Ip6InOctets  123": the protocol ends with the first 6. */
static void add_lines(struct host_scrape *scrape, struct ap_slice rest)
{
    struct ap_slice line;
    while (host_line(&rest, &line)) {
        struct ap_slice name = host_field(&line);
        const char *six = name.bytes ? memchr(name.data, '6', name.bytes) : NULL;
        if (!six)
            continue;
        size_t bytes = (size_t)(six - name.data) + 1;
        add_netstat(scrape, ap_slice(name.data, bytes), ap_slice(name.data + bytes, name.bytes - bytes),
                    host_field(&line));
    }
}

enum ap_rc host_netstat(struct host_scrape *scrape, struct ap_err *err)
{
    static const char *const paths[] = {"net/netstat", "net/snmp"};
    struct ap_slice text;
    for (size_t i = 0; i < AP_ARRAY_COUNT(paths); i++) {
        enum ap_rc rc = host_read(scrape, scrape->proc_fd, paths[i], &text, err);
        if (rc != AP_OK)
            return rc;
        add_pairs_of_lines(scrape, text);
    }
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/snmp6", &text, err);
    if (rc == AP_OK)
        add_lines(scrape, text);
    return rc == AP_E_NOT_FOUND ? AP_OK : rc; /* IPv6 may be off */
}

/* ---- sockstat ---- */

static void add_sockstat(struct host_scrape *scrape, struct ap_slice protocol, struct ap_slice field, double value)
{
    char key[HOST_NAME_BYTES_MAX], help[HOST_NAME_BYTES_MAX + 32];
    int bytes = snprintf(key, sizeof(key), "%.*s_%.*s", AP_SLICE_ARG(protocol), AP_SLICE_ARG(field));
    struct host_metric_name name =
        host_metric_name("node_sockstat_", ap_slice(key, AP_MIN((size_t)bytes, sizeof(key) - 1)), "");
    snprintf(help, sizeof(help), "Number of %.*s sockets in state %.*s.", AP_SLICE_ARG(protocol), AP_SLICE_ARG(field));
    bool is_sum = ap_slice_equal_cstr(protocol, "sockets");
    families_add(scrape->families,
                 &(struct family){name.text, is_sum ? "Number of IPv4 sockets in use." : help, FAMILY_GAUGE}, value);
}

/* "TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1" */
static void add_sockstat_file(struct host_scrape *scrape, struct ap_slice rest)
{
    struct ap_slice line;
    while (host_line(&rest, &line)) {
        struct ap_slice protocol = ap_slice_split(&line, ':'), field;
        double value;
        while ((field = host_field(&line)).bytes && host_number(host_field(&line), &value)) {
            add_sockstat(scrape, protocol, field, value);
            if (ap_slice_equal_cstr(field, "mem")) /* in pages */
                add_sockstat(scrape, protocol, ap_slice_cstr("mem_bytes"), value * (double)sysconf(_SC_PAGESIZE));
        }
    }
}

enum ap_rc host_sockstat(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/sockstat", &text, err);
    if (rc != AP_OK)
        return rc;
    add_sockstat_file(scrape, text);
    rc = host_read(scrape, scrape->proc_fd, "net/sockstat6", &text, err);
    if (rc == AP_OK)
        add_sockstat_file(scrape, text);
    return rc == AP_E_NOT_FOUND ? AP_OK : rc;
}

/* ---- udp_queues ---- */

static void add_udp_queues(struct host_scrape *scrape, struct ap_slice rest, const char *ip)
{
    static const struct family queues = {
        "node_udp_queues", "Number of allocated memory in the kernel for UDP datagrams in bytes.", FAMILY_GAUGE};
    enum { FIELDS_BEFORE = 4 };
    struct ap_slice line;
    double sent = 0, received = 0;
    host_line(&rest, &line); /* names of the columns */
    while (host_line(&rest, &line)) {
        for (int i = 0; i < FIELDS_BEFORE; i++)
            host_field(&line);
        struct ap_slice receive = host_field(&line), transmit = ap_slice_split(&receive, ':');
        int64_t transmit_bytes, receive_bytes;
        if (!receive.data || !host_integer(transmit, 16, &transmit_bytes) || !host_integer(receive, 16, &receive_bytes))
            continue;
        sent += (double)transmit_bytes;
        received += (double)receive_bytes;
    }
    families_add2(scrape->families, &queues, sent, "ip", ap_slice_cstr(ip), "queue", ap_slice_cstr("tx"));
    families_add2(scrape->families, &queues, received, "ip", ap_slice_cstr(ip), "queue", ap_slice_cstr("rx"));
}

enum ap_rc host_udp_queues(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc4 = host_read(scrape, scrape->proc_fd, "net/udp", &text, err);
    if (rc4 == AP_OK)
        add_udp_queues(scrape, text, "v4");
    enum ap_rc rc6 = host_read(scrape, scrape->proc_fd, "net/udp6", &text, err);
    if (rc6 == AP_OK)
        add_udp_queues(scrape, text, "v6");
    return rc4 == AP_OK ? AP_OK : rc6;
}

/* ---- conntrack ---- */

static const struct {
    unsigned column; /* of /proc/net/stat/nf_conntrack */
    struct family family;
} conntrack_rows[] = {
    {2, {"node_nf_conntrack_stat_found", "Number of searched entries which were successful.", FAMILY_GAUGE}},
    {4, {"node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked.", FAMILY_GAUGE}},
    {5,
     {"node_nf_conntrack_stat_ignore", "Number of packets seen which are already connected to a conntrack entry.",
      FAMILY_GAUGE}},
    {8, {"node_nf_conntrack_stat_insert", "Number of entries inserted into the list.", FAMILY_GAUGE}},
    {9,
     {"node_nf_conntrack_stat_insert_failed", "Number of entries for which list insertion was attempted but failed.",
      FAMILY_GAUGE}},
    {10, {"node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure.", FAMILY_GAUGE}},
    {11,
     {"node_nf_conntrack_stat_early_drop",
      "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
      FAMILY_GAUGE}},
    {16,
     {"node_nf_conntrack_stat_search_restart",
      "Number of conntrack table lookups which had to be restarted due to hashtable resizes.", FAMILY_GAUGE}},
};
enum { CONNTRACK_COLUMNS = 17 };

static enum ap_rc add_conntrack_stat(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    enum ap_rc rc = host_read(scrape, scrape->proc_fd, "net/stat/nf_conntrack", &rest, err);
    if (rc != AP_OK)
        return rc;
    double sums[CONNTRACK_COLUMNS] = {0};
    host_line(&rest, &line);          /* names of the columns */
    while (host_line(&rest, &line)) { /* one a processor, in hexadecimal */
        int64_t value;
        for (int i = 0; i < CONNTRACK_COLUMNS && host_integer(host_field(&line), 16, &value); i++)
            sums[i] += (double)value;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(conntrack_rows); i++)
        families_add(scrape->families, &conntrack_rows[i].family, sums[conntrack_rows[i].column]);
    return AP_OK;
}

enum ap_rc host_conntrack(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family entries = {"node_nf_conntrack_entries",
                                          "Number of currently allocated flow entries for connection tracking.",
                                          FAMILY_GAUGE};
    static const struct family limit = {"node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.",
                                        FAMILY_GAUGE};
    double count, max;
    if (!host_read_number(scrape, scrape->proc_fd, "sys/net/netfilter/nf_conntrack_count", &count) ||
        !host_read_number(scrape, scrape->proc_fd, "sys/net/netfilter/nf_conntrack_max", &max))
        return ap_fail(err, AP_E_NOT_FOUND, "connection tracking is not loaded");
    families_add(scrape->families, &entries, count);
    families_add(scrape->families, &limit, max);
    return add_conntrack_stat(scrape, err);
}
