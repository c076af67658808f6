/*
 * codec/protobuf_json.h - values of Protocol Buffers as they are written in JSON ("ProtoJSON Format" at protobuf.dev)
 *
 * Over a json_reader, which the caller drives. What differs from plain JSON: numbers may stand in quotes, those of 64
 * bits usually do; NaN and infinities are texts; bytes are in base64; a member that is null is not there. Each function
 * takes the next value, which must be of that kind: AP_E_PARSE names the member otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/json_reader.h"

/* As json_reader_next_key(), but for members that are null. */
ap_nodiscard enum ap_rc protobuf_json_next_member(struct json_reader *reader, struct ap_slice *ret_key,
                                                  bool *ret_is_there, struct ap_err *err);

ap_nodiscard enum ap_rc protobuf_json_u64(struct json_reader *reader, uint64_t *ret_value, struct ap_err *err);
ap_nodiscard enum ap_rc protobuf_json_i64(struct json_reader *reader, int64_t *ret_value, struct ap_err *err);
ap_nodiscard enum ap_rc protobuf_json_i32(struct json_reader *reader, int32_t *ret_value, struct ap_err *err);
ap_nodiscard enum ap_rc protobuf_json_double(struct json_reader *reader, double *ret_value, struct ap_err *err);
/* Both alphabets of base64, with or without padding. Into the arena; AP_E_LIMIT: it is full. */
ap_nodiscard enum ap_rc protobuf_json_bytes(struct json_reader *reader, struct ap_arena *arena,
                                            struct ap_slice *ret_bytes, struct ap_err *err);

/*
 * For enumerations: the number of a name, or the number that is written. Names are in order of their numbers, from 0;
 * `wanted` says what it must be.
 */
ap_nodiscard enum ap_rc protobuf_json_enum(struct json_reader *reader, const char *const *names, size_t name_count,
                                           const char *wanted, uint64_t *ret_value, struct ap_err *err);

/* AP_E_PARSE: `"member" must be …`, of the member whose value was read last, or is being read. */
ap_nodiscard enum ap_rc protobuf_json_fail(struct json_reader *reader, const char *wanted, struct ap_err *err);
