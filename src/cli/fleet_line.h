/*
 * cli/fleet_line.h - writing one row of the fleet as JSON, without allocating and without printf
 *
 * For the files of the fleet alone. All texts come from tables of ours that hold no character to be escaped, so nothing
 * is escaped here. Rows are bounded by construction: fleet_line_end() asserts it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "cli/fleet.h"

struct fleet_line {
    char *next;
    struct fleet_row *row;
};

static inline struct fleet_line fleet_line_begin(struct fleet_row *row, enum fleet_table table, int64_t wall_us)
{
    row->table = table;
    row->wall_us = wall_us;
    return (struct fleet_line){row->line, row};
}

static inline void fleet_line_text(struct fleet_line *line, const char *text)
{
    size_t bytes = strlen(text);
    memcpy(line->next, text, bytes);
    line->next += bytes;
}

static inline void fleet_line_integer(struct fleet_line *line, uint64_t value)
{
    char digits[20];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    while (count > 0)
        *line->next++ = digits[--count];
}

/* With one decimal, as a client's stopwatch gives it. */
static inline void fleet_line_tenths(struct fleet_line *line, double value)
{
    uint64_t tenths = (uint64_t)(value * 10 + 0.5);
    fleet_line_integer(line, tenths / 10);
    *line->next++ = '.';
    *line->next++ = (char)('0' + tenths % 10);
}

/* 0 <= value < 10, with four decimals. */
static inline void fleet_line_ratio(struct fleet_line *line, double value)
{
    uint64_t parts = (uint64_t)(value * 10000 + 0.5);
    fleet_line_integer(line, parts / 10000);
    *line->next++ = '.';
    for (uint64_t unit = 1000; unit > 0; unit /= 10)
        *line->next++ = (char)('0' + parts / unit % 10);
}

static inline void fleet_line_hex(struct fleet_line *line, uint64_t value, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        *line->next++ = "0123456789abcdef"[value >> shift & 15];
}

/* RFC 9562 version 4 in looks: two random words. */
static inline void fleet_line_uuid(struct fleet_line *line, const uint64_t words[2])
{
    fleet_line_hex(line, words[0] >> 32, 8);
    *line->next++ = '-';
    fleet_line_hex(line, words[0] >> 16, 4);
    fleet_line_text(line, "-4");
    fleet_line_hex(line, words[0], 3);
    *line->next++ = '-';
    fleet_line_hex(line, (words[1] >> 48 & 0x3fff) | 0x8000, 4);
    *line->next++ = '-';
    fleet_line_hex(line, words[1], 12);
}

static inline void fleet_line_address(struct fleet_line *line, uint32_t address)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        fleet_line_integer(line, address >> shift & 255);
        if (shift)
            *line->next++ = '.';
    }
}

/* The fields that every row ends with, and its end. */
static inline void fleet_line_timestamp(struct fleet_line *line)
{
    fleet_line_text(line, ",\"timestamp\":");
    fleet_line_integer(line, (uint64_t)(line->row->wall_us / AP_US_PER_MS));
}

static inline void fleet_line_end(struct fleet_line *line)
{
    fleet_line_text(line, "}\n");
    line->row->bytes = (size_t)(line->next - line->row->line);
    AP_ASSERT(line->row->bytes <= FLEET_LINE_BYTES_MAX);
}
