/*
 * history/handover.h - what an importer and a running server say to each other
 *
 *     importer: one connection for each question ──► import.sock in the data directory ──► server: one at a time
 *
 * Whoever may write to the data directory may import: the socket is for the server's user alone. A message is 4 bytes
 * length, least significant first, then so many bytes: of a question its kind and what belongs to it, of an answer a
 * varint result code, then the sentence where that is not AP_OK, and otherwise what belongs to the question. Numbers
 * are varints, signed ones zigzag, texts a varint length and their bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "tsdb/batch.h"
#include "tsdb/block.h"
#include "tsdb/tsdb.h"

#define HANDOVER_SOCKET_NAME "import.sock" /* in the data directory */

enum {
    HANDOVER_VERSION = 1, /* of all this */
    HANDOVER_MESSAGE_BYTES_MAX = 32 << 20,
};

enum handover_kind {
    HANDOVER_HELLO,    /* who are you? */
    HANDOVER_ADOPT,    /* take in staging/<id> */
    HANDOVER_EXTRAS,   /* exemplars and metadata */
    HANDOVER_SNAPSHOT, /* make import/snapshot, for comparing with */
    HANDOVER_RELEASE,  /* it is needed no longer */
    HANDOVER_KIND_COUNT
};

struct handover_question {
    enum handover_kind kind;
    uint64_t version;               /* hello: the importer's */
    struct ap_slice block_id;       /* adopt; lent */
    int64_t newest_ms;              /* snapshot: what is newer is not asked for, and may be left out */
    const struct batch *batch;      /* extras, for encoding; lent */
    struct ap_slice batch_encoding; /* extras, decoded; lent: for handover_decode_batch() */
};
void handover_encode_question(const struct handover_question *question, struct ap_buf *out);
ap_nodiscard enum ap_rc handover_decode_question(struct ap_slice message, struct handover_question *ret_question,
                                                 struct ap_err *err);
/* Adds to an empty batch. Texts are lent by `encoding`; labels are checked, and the hashes stay to be filled in. */
ap_nodiscard enum ap_rc handover_decode_batch(struct ap_slice encoding, struct batch *batch, struct ap_err *err);

/* What a server says of itself. */
struct handover_facts {
    uint64_t version;
    uint64_t user_id;
    uint64_t process_id;
    int64_t retention_ms;
    uint64_t retention_bytes;
    int64_t block_range_ms;
    int64_t newest_ms;
    uint64_t block_bytes;
};

struct handover_answer {
    struct ap_err err; /* rc AP_OK: the question was answered */
    struct handover_facts facts;
    struct tsdb_adoption adoption;
    uint64_t exemplars;
};
void handover_encode_answer(enum handover_kind kind, const struct handover_answer *answer, struct ap_buf *out);
ap_nodiscard enum ap_rc handover_decode_answer(enum handover_kind kind, struct ap_slice message,
                                               struct handover_answer *ret_answer, struct ap_err *err);

/* A message through a socket. False: the other one is gone, or (receiving) what it sent is no message. */
bool handover_send(int fd, struct ap_slice message);
bool handover_receive(int fd, struct ap_buf *ret_message);
