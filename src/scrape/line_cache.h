/*
 * scrape/line_cache.h - the lines that a target told last time, in its order
 *
 * A target says the same lines in the same order again and again, with other numbers. So whoever reads its page
 * compares the next line with the one that stood there last time, and only where they differ looks the line up, or
 * understands it. A line's text is a sample's name and labels as they are written, or a whole comment.
 *
 *     line_cache_begin()
 *         line_cache_expected(), the same text? ── line_cache_take_expected()
 *                                no ── line_cache_find() ── line_cache_take(), or line_cache_add()
 *         line_cache_next_missing() for what is not told any more
 *     line_cache_keep() ── from now on these are the lines; or line_cache_drop() ── as before line_cache_begin()
 *
 * A page that repeats the last one changes nothing here, not even a mark. When one differs, the lines are put into
 * their new order by line_cache_keep().
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum { LINE_CACHE_LINES_MAX = 1 << 23, LINE_CACHE_TEXT_BYTES_MAX = 1 << 30 };
#define LINE_NONE UINT32_MAX

enum line_kind {
    LINE_COMMENT, /* HELP, TYPE, UNIT, or any other */
    LINE_SERIES,
    LINE_DROPPED, /* a series that relabelling drops */
};

struct cached_line {
    struct labels_hash hash; /* of a series' labels */
    uint32_t text_offset;
    uint32_t text_bytes;
    uint32_t ref;      /* the store's number of the series when it was kept last; TSDB_REF_NONE: never */
    uint8_t kind;      /* enum line_kind */
    bool is_timed;     /* told with a time of its own: its end is not ours to mark */
    bool is_histogram; /* was told as a native histogram last */
    bool is_created;   /* a name that ends in _created: it may be a start time and no series */
    bool is_type;      /* a comment that says the type of what follows */
    /*
     * Of a series: enum exposition_type that held when its labels were made. A line whose TYPE changes later keeps its
     * labels until it was missing once, as in Prometheus.
     */
    uint8_t type;
};

struct line_cache {
    uint64_t seed; /* of the hash table; texts come from targets, which must not choose who collides with whom */
    struct cached_line *lines; /* owned */
    size_t count;
    size_t capacity;
    struct ap_buf text; /* in the order of `lines`, one behind the other */
    /* While a page is read. */
    size_t known_count; /* lines of the page before; what is behind is new */
    size_t known_text_bytes;
    size_t next;      /* the line that is expected */
    bool is_straight; /* so far every line was the one expected; what follows is not in use then */
    uint64_t *taken;  /* owned; bits */
    size_t taken_words;
    uint32_t *order; /* owned; the page's lines */
    size_t order_count;
    size_t order_capacity;
    uint32_t *slots; /* owned; hash table of lines by their text; LINE_NONE: empty */
    size_t slot_count;
};

void line_cache_init(struct line_cache *cache, uint64_t seed);
void line_cache_clear(struct line_cache *cache); /* empty, as after line_cache_init() */
size_t line_cache_bytes(const struct line_cache *cache);

static inline struct ap_slice line_cache_text(const struct line_cache *cache, size_t index)
{
    const struct cached_line *line = &cache->lines[index];
    return ap_slice(cache->text.data + line->text_offset, line->text_bytes);
}

void line_cache_begin(struct line_cache *cache);

/* The line that should come next, when what is at `at` begins with its text; else NULL. What follows is to be looked
 * at. */
static inline struct cached_line *line_cache_expected(const struct line_cache *cache, const char *at, const char *end)
{
    if (cache->next >= cache->known_count)
        return NULL;
    struct cached_line *line = &cache->lines[cache->next];
    if ((size_t)(end - at) < line->text_bytes ||
        memcmp(cache->text.data + line->text_offset, at, line->text_bytes) != 0)
        return NULL;
    return line;
}

/* For the others; false: the page has told it already. */
bool line_cache_take(struct line_cache *cache, size_t index);

static inline bool line_cache_take_expected(struct line_cache *cache)
{
    if (__builtin_expect(!cache->is_straight, 0))
        return line_cache_take(cache, cache->next);
    cache->next++;
    return true;
}

/* The line of this text, or LINE_NONE. */
uint32_t line_cache_find(struct line_cache *cache, struct ap_slice text);
/* A line that line_cache_find() does not know; zeroed but for its text. LINE_NONE: there are too many. */
uint32_t line_cache_add(struct line_cache *cache, struct ap_slice text);

/* The next line at or behind *index that the page before had and this one has not; false: none. */
bool line_cache_next_missing(const struct line_cache *cache, size_t *index);
/* Whether this page has told the line. */
bool line_cache_is_taken(const struct line_cache *cache, size_t index);

/* Whether the page has told what the page before told, and no line will have another index. */
static inline bool line_cache_is_same(const struct line_cache *cache)
{
    return cache->is_straight && cache->next == cache->count;
}

/* The indexes of lines are others from here on, unless the page repeated the last one. */
void line_cache_keep(struct line_cache *cache);
void line_cache_drop(struct line_cache *cache);
