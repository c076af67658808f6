/*
 * api/question.h - a question to the time-series store, from the request to the reply
 *
 *     handler ── question_ask() ──► parameters read, request suspended ──► pool ──► answer() ──► Prometheus' envelope
 *
 * answer() runs on a thread of the pool and may wait for disks. It writes what becomes "data", or sets how the whole
 * body shall look. What may become large it sends in pieces, by question_flush(); an answer of less than one piece has
 * its length in the header, and a failure its status. Once a piece has been sent, a failure resets the connection.
 *
 * Who asks again and again by GET, as a page does, need not get again what he has: a whole answer has an ETag, a hash
 * of it, and is 304 to who sends that in If-None-Match. An answer in pieces has one where answer() can say so
 * beforehand.
 */
#pragma once

#include "api/api.h"
#include "api/params.h"
#include "api/pool.h"
#include "base/buf.h"

struct question {
    /* For answer() to read. */
    struct api *api;
    struct http_request *request; /* for its arena; the reply is question.c's */
    struct params params;
    struct ap_slice rest; /* of the path, in the request's arena */
    /* For answer() to set. */
    unsigned status;              /* 200; 204 has no body */
    const char *content_type;     /* question_set_bare()'s; NULL: the envelope goes around `out` */
    const char *content_encoding; /* of a bare body that is compressed; NULL: it is not */
    const char *warning;          /* NULL, or text that lives on; goes into the envelope */
    /* question.c's. */
    struct ap_slice known_tags; /* If-None-Match of a GET, in the request's arena; data NULL: no GET */
    char tag[24];               /* the ETag; empty: none yet */
    struct pool_task task;
    struct http_stream *stream; /* NULL: nothing has been sent yet */
    struct pool *pool;          /* lent */
    enum ap_rc (*answer)(struct question *question, struct ap_buf *out, struct ap_err *err);
};

/* Appends to `out`. On failure only `err` counts. */
typedef enum ap_rc (*question_answer_fn)(struct question *question, struct ap_buf *out, struct ap_err *err);

/* In answer(), before anything was appended: `out` becomes the whole body, without an envelope. */
void question_set_bare(struct question *question, struct ap_buf *out, const char *content_type);

enum { QUESTION_PIECE_BYTES = 256 * 1024 };

/*
 * In answer(), anywhere between two bytes: sends what is in `out` and empties it, once that is worth a piece. Waits for
 * a client that reads slowly. A failure must end the answer; AP_E_BUSY: the client is gone.
 */
ap_nodiscard enum ap_rc question_flush(struct question *question, struct ap_buf *out, struct ap_err *err);

/*
 * In answer(), before the first question_flush(): all that it will write has this hash. True: the client has it
 * already, which `question` answers; whatever answer() appends is dropped.
 */
bool question_set_hash(struct question *question, uint64_t hash);

/* Whether nobody waits for the answer any more. From answer() or any thread that works for it; a system call. */
bool question_is_gone(void *question);

/* Always leads to exactly one reply. */
void question_ask(struct api *api, struct http_request *request, struct ap_slice rest, struct pool *pool,
                  question_answer_fn answer);
