/*
 * wal/crc32c.h - the CRC-32C checksum (Castagnoli, RFC 3720 appendix B.4)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`, which is 0 at the beginning: crc(crc(0, a), b) is the checksum of a followed by b. */
uint32_t wal_crc32c(uint32_t crc, const void *data, size_t bytes);

/* The same without the processor's instruction, for machines that have none; here so that a test can compare. */
uint32_t wal_crc32c_portable(uint32_t crc, const void *data, size_t bytes);
