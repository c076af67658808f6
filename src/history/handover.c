#include "history/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bits.h"
#include "history/byte_reader.h"
#include "tsdb/labels.h"

static void add_signed(struct ap_buf *out, int64_t value)
{
    ap_buf_add_varint(out, ap_zigzag(value));
}

static void add_text(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_varint(out, text.bytes);
    ap_buf_add_slice(out, text);
}

static enum ap_rc malformed(struct ap_err *err)
{
    return ap_fail(err, AP_E_PARSE, "a message between import and server is malformed");
}

/* ---- Exemplars and metadata ---- */

static void encode_batch(const struct batch *batch, struct ap_buf *out)
{
    ap_buf_add_varint(out, batch->metadata_count);
    for (size_t i = 0; i < batch->metadata_count; i++) {
        const struct batch_metadata *metadata = &batch->metadata[i];
        ap_buf_add_varint(out, (uint64_t)metadata->type);
        add_text(out, metadata->metric);
        add_text(out, metadata->help);
        add_text(out, metadata->unit);
    }
    ap_buf_add_varint(out, batch->series_count);
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        add_text(out, series->labels);
        ap_buf_add_varint(out, series->exemplar_count);
        for (uint32_t j = 0; j < series->exemplar_count; j++) {
            const struct batch_exemplar *exemplar = &batch->exemplars[series->exemplar_first + j];
            add_signed(out, exemplar->ts_ms);
            ap_buf_add_u64(out, __builtin_bswap64(ap_double_to_bits(exemplar->value)));
            add_text(out, exemplar->labels);
        }
    }
}

static bool labels_are_sound(struct ap_slice labels)
{
    struct ap_err ignored;
    return labels_check(labels, &ignored) == AP_OK;
}

static bool decode_metadata(struct byte_reader *reader, struct batch *batch)
{
    struct batch_metadata *metadata = batch_add_metadata(batch);
    uint64_t type = byte_reader_varint(reader);
    metadata->metric = byte_reader_text(reader);
    metadata->help = byte_reader_text(reader);
    metadata->unit = byte_reader_text(reader);
    if (reader->is_cut || type >= METADATA_TYPE_COUNT)
        return false;
    metadata->type = (enum metadata_type)type;
    return true;
}

static bool decode_series(struct byte_reader *reader, struct batch *batch)
{
    struct ap_slice labels = byte_reader_text(reader);
    uint64_t count = byte_reader_varint(reader);
    if (reader->is_cut || !labels_are_sound(labels))
        return false;
    (void)batch_add_series(batch, labels, (struct labels_hash){0});
    for (uint64_t i = 0; i < count && !reader->is_cut; i++) {
        struct batch_exemplar *exemplar = batch_add_exemplar(batch);
        exemplar->ts_ms = byte_reader_zigzag(reader);
        exemplar->value = byte_reader_double(reader);
        exemplar->labels = byte_reader_text(reader);
        if (exemplar->labels.bytes && !labels_are_sound(exemplar->labels))
            return false;
    }
    return !reader->is_cut;
}

enum ap_rc handover_decode_batch(struct ap_slice encoding, struct batch *batch, struct ap_err *err)
{
    struct byte_reader reader = byte_reader(encoding);
    uint64_t count = byte_reader_varint(&reader);
    for (uint64_t i = 0; i < count; i++)
        if (!decode_metadata(&reader, batch))
            return malformed(err);
    count = byte_reader_varint(&reader);
    for (uint64_t i = 0; i < count; i++)
        if (!decode_series(&reader, batch))
            return malformed(err);
    return reader.is_cut || byte_reader_left(&reader) ? malformed(err) : AP_OK;
}

/* ---- Questions ---- */

void handover_encode_question(const struct handover_question *question, struct ap_buf *out)
{
    ap_buf_add_varint(out, (uint64_t)question->kind);
    switch (question->kind) {
    case HANDOVER_HELLO:
        ap_buf_add_varint(out, question->version);
        break;
    case HANDOVER_ADOPT:
        add_text(out, question->block_id);
        break;
    case HANDOVER_EXTRAS:
        encode_batch(question->batch, out);
        break;
    case HANDOVER_SNAPSHOT:
        add_signed(out, question->newest_ms);
        break;
    case HANDOVER_RELEASE:
    case HANDOVER_KIND_COUNT:
        break;
    }
}

enum ap_rc handover_decode_question(struct ap_slice message, struct handover_question *ret_question, struct ap_err *err)
{
    struct byte_reader reader = byte_reader(message);
    struct handover_question question = {0};
    uint64_t kind = byte_reader_varint(&reader);
    if (reader.is_cut || kind >= HANDOVER_KIND_COUNT)
        return malformed(err);
    question.kind = (enum handover_kind)kind;
    switch (question.kind) {
    case HANDOVER_HELLO:
        question.version = byte_reader_varint(&reader);
        break;
    case HANDOVER_ADOPT:
        question.block_id = byte_reader_text(&reader);
        break;
    case HANDOVER_EXTRAS:
        question.batch_encoding = byte_reader_slice(&reader, byte_reader_left(&reader));
        break;
    case HANDOVER_SNAPSHOT:
        question.newest_ms = byte_reader_zigzag(&reader);
        break;
    case HANDOVER_RELEASE:
    case HANDOVER_KIND_COUNT:
        break;
    }
    if (reader.is_cut || byte_reader_left(&reader))
        return malformed(err);
    *ret_question = question;
    return AP_OK;
}

/* ---- Answers ---- */

static void encode_facts(const struct handover_facts *facts, struct ap_buf *out)
{
    ap_buf_add_varint(out, facts->version);
    ap_buf_add_varint(out, facts->user_id);
    ap_buf_add_varint(out, facts->process_id);
    add_signed(out, facts->retention_ms);
    ap_buf_add_varint(out, facts->retention_bytes);
    add_signed(out, facts->block_range_ms);
    add_signed(out, facts->newest_ms);
    ap_buf_add_varint(out, facts->block_bytes);
}

static void decode_facts(struct byte_reader *reader, struct handover_facts *ret_facts)
{
    ret_facts->version = byte_reader_varint(reader);
    ret_facts->user_id = byte_reader_varint(reader);
    ret_facts->process_id = byte_reader_varint(reader);
    ret_facts->retention_ms = byte_reader_zigzag(reader);
    ret_facts->retention_bytes = byte_reader_varint(reader);
    ret_facts->block_range_ms = byte_reader_zigzag(reader);
    ret_facts->newest_ms = byte_reader_zigzag(reader);
    ret_facts->block_bytes = byte_reader_varint(reader);
}

void handover_encode_answer(enum handover_kind kind, const struct handover_answer *answer, struct ap_buf *out)
{
    ap_buf_add_varint(out, (uint64_t)answer->err.rc);
    if (answer->err.rc != AP_OK) {
        add_text(out, ap_slice_cstr(answer->err.text));
        return;
    }
    if (kind == HANDOVER_HELLO)
        encode_facts(&answer->facts, out);
    if (kind == HANDOVER_ADOPT) {
        ap_buf_add_varint(out, answer->adoption.samples_added);
        ap_buf_add_varint(out, answer->adoption.samples_same);
        ap_buf_add_varint(out, answer->adoption.samples_other);
    }
    if (kind == HANDOVER_EXTRAS)
        ap_buf_add_varint(out, answer->exemplars);
}

enum ap_rc handover_decode_answer(enum handover_kind kind, struct ap_slice message, struct handover_answer *ret_answer,
                                  struct ap_err *err)
{
    struct byte_reader reader = byte_reader(message);
    struct handover_answer answer = {0};
    uint64_t rc = byte_reader_varint(&reader);
    if (reader.is_cut || rc >= AP_RC_COUNT)
        return malformed(err);
    if (rc != AP_OK) {
        struct ap_slice text = byte_reader_text(&reader);
        (void)ap_fail(&answer.err, (enum ap_rc)rc, "%.*s", AP_SLICE_ARG(text));
    } else if (kind == HANDOVER_HELLO) {
        decode_facts(&reader, &answer.facts);
    } else if (kind == HANDOVER_ADOPT) {
        answer.adoption.samples_added = byte_reader_varint(&reader);
        answer.adoption.samples_same = byte_reader_varint(&reader);
        answer.adoption.samples_other = byte_reader_varint(&reader);
    } else if (kind == HANDOVER_EXTRAS) {
        answer.exemplars = byte_reader_varint(&reader);
    }
    /* Another version may say more behind its own. */
    if (reader.is_cut || (byte_reader_left(&reader) && answer.facts.version <= HANDOVER_VERSION))
        return malformed(err);
    *ret_answer = answer;
    return AP_OK;
}

/* ---- Sockets ---- */

static bool send_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, char *data, size_t bytes)
{
    while (bytes) {
        ssize_t got = recv(fd, data, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        bytes -= (size_t)got;
    }
    return true;
}

bool handover_send(int fd, struct ap_slice message)
{
    const uint32_t bytes = (uint32_t)message.bytes;
    const uint8_t head[] = {bytes & 0xff, bytes >> 8 & 0xff, bytes >> 16 & 0xff, bytes >> 24};
    return message.bytes <= HANDOVER_MESSAGE_BYTES_MAX && send_all(fd, (const char *)head, sizeof(head)) &&
           send_all(fd, message.data, message.bytes);
}

bool handover_receive(int fd, struct ap_buf *ret_message)
{
    uint8_t head[4];
    ap_buf_reset(ret_message);
    if (!receive_all(fd, (char *)head, sizeof(head)))
        return false;
    size_t bytes = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (bytes > HANDOVER_MESSAGE_BYTES_MAX)
        return false;
    char *to = ap_buf_reserve(ret_message, bytes + 1);
    if (!to || !receive_all(fd, to, bytes))
        return false;
    ret_message->bytes = bytes;
    return true;
}
