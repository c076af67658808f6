/* TCP: whether somebody listens; and, step by step, a conversation in lines. */
#include "collect/probe_internal.h"

enum { LINE_BYTES_MAX = 64 * 1024 };

struct line_reader {
    struct probe_connection *connection;
    struct ap_buf buf; /* received; lines up to `at` were handed out */
    size_t at;
};

/* The next line without its end; what is behind the last one, too, when the other side ends. False: no more. */
static bool next_line(struct line_reader *reader, struct ap_slice *ret_line)
{
    for (;;) {
        struct ap_slice rest = ap_slice(reader->buf.data + reader->at, reader->buf.bytes - reader->at);
        const char *end = rest.bytes ? memchr(rest.data, '\n', rest.bytes) : NULL;
        if (end) {
            size_t bytes = (size_t)(end - rest.data);
            reader->at += bytes + 1;
            *ret_line = ap_slice(rest.data, bytes - (bytes && rest.data[bytes - 1] == '\r'));
            return true;
        }
        if (rest.bytes >= LINE_BYTES_MAX)
            return probe_fail(reader->connection->probe, "a line of more than %d bytes", LINE_BYTES_MAX);
        if (rest.bytes)
            memmove(reader->buf.data, rest.data, rest.bytes);
        reader->buf.bytes = rest.bytes;
        reader->at = 0;
        char *to = ap_buf_reserve(&reader->buf, LINE_BYTES_MAX);
        ssize_t received = probe_receive(reader->connection, to, LINE_BYTES_MAX);
        if (received < 0)
            return false;
        if (received == 0) {
            *ret_line = ap_buf_slice(&reader->buf);
            reader->at = reader->buf.bytes;
            return ret_line->bytes > 0;
        }
        reader->buf.bytes += (size_t)received;
    }
}

/* What the labels of a step make of the line that was expected. */
static void add_labels(struct probe *probe, const struct probe_step *step, struct ap_slice line)
{
    static const struct family info = {"probe_expect_info", "Explicit content matched", FAMILY_GAUGE};
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, step->labels.count + 1);
    AP_AUTO_FREE size_t *ends = ap_new0_array(size_t, step->labels.count + 1);
    AP_AUTO_BUF struct ap_buf texts = {0};
    if (step->labels.count == 0)
        return;
    for (size_t i = 0; i < step->labels.count; i++) {
        (void)probe_regex_expand(step->expect, line, ap_slice_cstr(step->labels.items[i]), &texts);
        ends[i] = texts.bytes;
    }
    for (size_t i = 0; i < step->labels.count; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        labels[i] = (struct label){ap_slice_cstr(step->labels.keys[i]), ap_slice(texts.data + begin, ends[i] - begin)};
    }
    families_add_labels(probe->families, &info, 1, labels, step->labels.count);
}

/* Reads lines until one is what is expected; what is sent then may quote it. */
static bool expect(struct probe *probe, struct line_reader *reader, const struct probe_step *step, struct ap_buf *send)
{
    struct ap_slice line = {0};
    probe->reason[0] = '\0';
    while (next_line(reader, &line)) {
        probe_note(probe, "line: %.*s", AP_SLICE_ARG(line));
        if (!probe_regex_expand(step->expect, line, ap_slice_cstr(step->send ? step->send : ""), send))
            continue;
        add_labels(probe, step, line);
        return true;
    }
    if (probe->reason[0]) /* it was not the lines' fault */
        return false;
    probe->is_failed_by_regex = true;
    return probe_fail(probe, "no line matched \"%s\"", probe_regex_text(step->expect));
}

static bool take_step(struct probe_connection *connection, struct line_reader *reader, const struct probe_step *step,
                      const char *server_name)
{
    struct probe *probe = connection->probe;
    AP_AUTO_BUF struct ap_buf send = {0};
    if (step->expect) {
        if (!expect(probe, reader, step, &send))
            return false;
    } else if (step->send) {
        ap_buf_add_cstr(&send, step->send);
    }
    if (send.bytes) {
        probe_note(probe, "sending: %.*s", AP_SLICE_ARG(ap_buf_slice(&send)));
        ap_buf_add_char(&send, '\n');
        if (!probe_send(connection, ap_buf_slice(&send)))
            return false;
    }
    if (!step->is_starttls)
        return true;
    reader->at = reader->buf.bytes; /* nothing in the clear counts from here on */
    return probe_start_tls(connection, &probe->module->tcp.tls, server_name);
}

static bool converse(struct probe *probe, const char *host, const char *port)
{
    const struct probe_tcp *tcp = &probe->module->tcp;
    struct probe_address address;
    PROBE_AUTO_CONNECTION struct probe_connection connection = {.fd = -1};
    if (!probe_resolve(probe, &tcp->network, host, &address) || !probe_set_port(probe, &address, port) ||
        !probe_connect(probe, &tcp->network, &address, SOCK_STREAM, &connection))
        return false;
    const char *server_name = tcp->tls.server_name ? tcp->tls.server_name : probe->hostname ? probe->hostname : host;
    if (tcp->is_tls && !probe_start_tls(&connection, &tcp->tls, server_name))
        return false;
    struct line_reader reader = {.connection = &connection};
    bool is_fine = true;
    for (size_t i = 0; i < tcp->step_count && is_fine; i++)
        is_fine = take_step(&connection, &reader, &tcp->steps[i], server_name);
    ap_buf_clear(&reader.buf);
    return is_fine;
}

bool probe_tcp(struct probe *probe)
{
    AP_AUTO_FREE char *host = NULL, *port = NULL;
    if (!probe_split_host_port(probe->target, &host, &port))
        return probe_fail(probe, "\"%s\" is not an address such as db1.example.com:5432 or [::1]:22", probe->target);
    bool is_fine = converse(probe, host, port);
    probe_add_session(probe);
    return is_fine;
}
