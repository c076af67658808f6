#include "meta/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "meta/meta_internal.h"

enum {
    TOKEN_RANDOM_BYTES = 20,
    TOKEN_RANDOM_CHARS = TOKEN_RANDOM_BYTES * 8 / 5,
    TOKEN_CHECKSUM_CHARS = 4,
    TOKEN_HINT_RANDOM_CHARS = 4,
};

static const char base32_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static const struct {
    const char *name;
    const char *prefix;
} kinds[KEY_KIND_COUNT] = {
    [KEY_KIND_PUBLIC] = {"public", "apk_pub_"},
    [KEY_KIND_SECRET] = {"secret", "apk_sec_"},
    [KEY_KIND_VIEWER] = {"viewer", "apk_view_"},
    [KEY_KIND_OPERATOR] = {"operator", "apk_op_"},
};

const char *key_kind_name(enum key_kind kind)
{
    AP_ASSERT((unsigned)kind < KEY_KIND_COUNT);
    return kinds[kind].name;
}

bool key_kind_parse(const char *text, enum key_kind *ret_kind)
{
    for (size_t i = 0; i < KEY_KIND_COUNT; i++) {
        if (strcmp(text, kinds[i].name) == 0) {
            *ret_kind = (enum key_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- Tokens ---- */

void key_token_hash(struct ap_slice token, uint8_t ret_hash[KEY_HASH_BYTES])
{
    crypto_generichash(ret_hash, KEY_HASH_BYTES, (const uint8_t *)token.data, token.bytes, NULL, 0);
}

/* Four characters, 20 bits: a mistyped token passes for well-formed once in a million. */
static void token_checksum(struct ap_slice body, char ret_chars[TOKEN_CHECKSUM_CHARS])
{
    uint8_t hash[KEY_HASH_BYTES];
    key_token_hash(body, hash);
    for (size_t i = 0; i < TOKEN_CHECKSUM_CHARS; i++)
        ret_chars[i] = base32_digits[hash[i] % 32];
}

static void token_make(enum key_kind kind, char ret_token[KEY_TOKEN_BYTES_MAX])
{
    uint8_t random[TOKEN_RANDOM_BYTES];
    randombytes_buf(random, sizeof(random));
    size_t used = (size_t)snprintf(ret_token, KEY_TOKEN_BYTES_MAX, "%s", kinds[kind].prefix);
    _Static_assert(TOKEN_RANDOM_BYTES % 5 == 0, "five bytes make eight characters");
    for (size_t i = 0; i < TOKEN_RANDOM_BYTES; i += 5) {
        uint64_t bits = 0;
        for (size_t j = 0; j < 5; j++)
            bits = bits << 8 | random[i + j];
        for (int shift = 35; shift >= 0; shift -= 5)
            ret_token[used++] = base32_digits[bits >> shift & 31];
    }
    token_checksum(ap_slice(ret_token, used), ret_token + used);
    used += TOKEN_CHECKSUM_CHARS;
    AP_ASSERT(used < KEY_TOKEN_BYTES_MAX);
    ret_token[used] = '\0';
    sodium_memzero(random, sizeof(random));
}

bool key_token_is_well_formed(struct ap_slice token)
{
    for (size_t i = 0; i < KEY_KIND_COUNT; i++) {
        size_t body_bytes = strlen(kinds[i].prefix) + TOKEN_RANDOM_CHARS;
        if (!ap_slice_starts_with(token, kinds[i].prefix) || token.bytes != body_bytes + TOKEN_CHECKSUM_CHARS)
            continue;
        char checksum[TOKEN_CHECKSUM_CHARS];
        token_checksum(ap_slice(token.data, body_bytes), checksum);
        return memcmp(checksum, token.data + body_bytes, TOKEN_CHECKSUM_CHARS) == 0;
    }
    return false;
}

/* ---- Making and revoking ---- */

/* "https://example.com https://app.example.com:8443": what browsers send as Origin, no paths. */
static enum ap_rc check_origins(const char *origins, struct ap_err *err)
{
    struct ap_slice rest = ap_slice_cstr(origins);
    if (rest.bytes > KEY_ORIGINS_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the origins have %zu bytes; at most %d are allowed", rest.bytes,
                       KEY_ORIGINS_BYTES_MAX);
    while (rest.data) {
        struct ap_slice origin = ap_slice_split(&rest, ' ');
        if (origin.bytes == 0)
            continue;
        size_t scheme_bytes = ap_slice_starts_with(origin, "https://")  ? strlen("https://")
                              : ap_slice_starts_with(origin, "http://") ? strlen("http://")
                                                                        : 0;
        struct ap_slice host = ap_slice(origin.data + scheme_bytes, origin.bytes - scheme_bytes);
        if (scheme_bytes == 0 || host.bytes == 0 || memchr(host.data, '/', host.bytes))
            return ap_fail(err, AP_E_PARSE, "\"%.*s\" is not an origin; write it like https://www.example.com",
                           AP_SLICE_ARG(origin));
    }
    return AP_OK;
}

static enum ap_rc check_options(const struct key_options *options, struct ap_err *err)
{
    struct ap_slice name = ap_slice_cstr(options->name);
    if (ap_slice_trim(name).bytes == 0)
        return ap_fail(err, AP_E_PARSE, "a key needs a name that tells what it is for");
    if (name.bytes > KEY_NAME_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the name has %zu bytes; at most %d are allowed", name.bytes,
                       KEY_NAME_BYTES_MAX);
    if (ap_utf8_valid_bytes(name) != name.bytes)
        return ap_fail(err, AP_E_PARSE, "the name is not valid UTF-8");
    if (options->rows_per_second > KEY_ROWS_PER_SECOND_MAX)
        return ap_fail(err, AP_E_LIMIT, "%u rows a second are more than %d; leave the limit out for none",
                       options->rows_per_second, KEY_ROWS_PER_SECOND_MAX);
    return options->origins ? check_origins(options->origins, err) : AP_OK;
}

enum ap_rc key_create(struct meta *meta, const struct ap_clock *clock, const struct key_options *options,
                      int64_t *ret_id, char ret_token[KEY_TOKEN_BYTES_MAX], struct ap_err *err)
{
    AP_ASSERT((unsigned)options->kind < KEY_KIND_COUNT);
    enum ap_rc rc = check_options(options, err);
    META_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    if (rc == AP_OK)
        rc = meta_prepare(meta,
                          "INSERT INTO keys (kind, name, hint, hash, origins, rows_per_second, rows_burst, created_ms)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                          &insert, err);
    if (rc != AP_OK)
        return rc;
    char token[KEY_TOKEN_BYTES_MAX];
    token_make(options->kind, token);
    uint8_t hash[KEY_HASH_BYTES];
    key_token_hash(ap_slice_cstr(token), hash);
    char hint[KEY_TOKEN_BYTES_MAX];
    int shown = (int)strlen(kinds[options->kind].prefix) + TOKEN_HINT_RANDOM_CHARS;
    snprintf(hint, sizeof(hint), "%.*s…", shown, token);
    sqlite3_bind_text(insert, 1, kinds[options->kind].name, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 2, options->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 3, hint, -1, SQLITE_STATIC);
    sqlite3_bind_blob(insert, 4, hash, sizeof(hash), SQLITE_STATIC);
    sqlite3_bind_text(insert, 5, options->origins ? options->origins : "", -1, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 6, options->rows_per_second);
    sqlite3_bind_int64(insert, 7, options->rows_burst);
    sqlite3_bind_int64(insert, 8, ap_clock_wall_us(clock) / AP_US_PER_MS);
    if (sqlite3_step(insert) != SQLITE_DONE)
        return meta_fail(meta, err, "add a key to meta.sqlite");
    *ret_id = sqlite3_last_insert_rowid(meta->db);
    memcpy(ret_token, token, sizeof(token));
    sodium_memzero(token, sizeof(token));
    return AP_OK;
}

enum ap_rc key_revoke(struct meta *meta, const struct ap_clock *clock, int64_t id, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *update = NULL;
    META_AUTO_STATEMENT sqlite3_stmt *select = NULL;
    enum ap_rc rc =
        meta_prepare(meta, "UPDATE keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms = 0", &update, err);
    if (rc == AP_OK)
        rc = meta_prepare(meta, "SELECT 1 FROM keys WHERE id = ?1", &select, err);
    if (rc != AP_OK)
        return rc;
    sqlite3_bind_int64(update, 1, id);
    sqlite3_bind_int64(update, 2, ap_clock_wall_us(clock) / AP_US_PER_MS);
    if (sqlite3_step(update) != SQLITE_DONE)
        return meta_fail(meta, err, "revoke a key in meta.sqlite");
    if (sqlite3_changes(meta->db) > 0)
        return AP_OK;
    sqlite3_bind_int64(select, 1, id);
    if (sqlite3_step(select) == SQLITE_ROW)
        return ap_fail(err, AP_E_CONFLICT, "key %lld is revoked already", (long long)id);
    return ap_fail(err, AP_E_NOT_FOUND, "there is no key %lld", (long long)id);
}

enum ap_rc key_note_used(struct meta *meta, int64_t id, int64_t used_ms, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *update = NULL;
    enum ap_rc rc =
        meta_prepare(meta, "UPDATE keys SET last_used_ms = ?2 WHERE id = ?1 AND last_used_ms < ?2", &update, err);
    if (rc != AP_OK)
        return rc;
    sqlite3_bind_int64(update, 1, id);
    sqlite3_bind_int64(update, 2, used_ms);
    return sqlite3_step(update) == SQLITE_DONE ? AP_OK : meta_fail(meta, err, "note the use of a key in meta.sqlite");
}

/* ---- Listing ---- */

static char *column_dup(sqlite3_stmt *select, int column)
{
    const char *text = (const char *)sqlite3_column_text(select, column);
    return ap_strdup(text ? text : "");
}

static enum ap_rc read_row(sqlite3_stmt *select, struct key_info *info, struct ap_err *err)
{
    enum key_kind kind;
    if (!key_kind_parse((const char *)sqlite3_column_text(select, 1), &kind) ||
        sqlite3_column_bytes(select, 4) != KEY_HASH_BYTES)
        return ap_fail(err, AP_E_CORRUPT, "key %lld in meta.sqlite is damaged",
                       (long long)sqlite3_column_int64(select, 0));
    *info = (struct key_info){
        .id = sqlite3_column_int64(select, 0),
        .kind = kind,
        .name = column_dup(select, 2),
        .hint = column_dup(select, 3),
        .origins = column_dup(select, 5),
        .rows_per_second = (uint32_t)sqlite3_column_int64(select, 6),
        .rows_burst = (uint32_t)sqlite3_column_int64(select, 7),
        .created_ms = sqlite3_column_int64(select, 8),
        .last_used_ms = sqlite3_column_int64(select, 9),
        .revoked_ms = sqlite3_column_int64(select, 10),
    };
    memcpy(info->hash, sqlite3_column_blob(select, 4), KEY_HASH_BYTES);
    return AP_OK;
}

enum ap_rc key_list(struct meta *meta, struct key_list *ret_list, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *select = NULL;
    enum ap_rc rc = meta_prepare(meta,
                                 "SELECT id, kind, name, hint, hash, origins, rows_per_second, rows_burst, created_ms,"
                                 " last_used_ms, revoked_ms FROM keys ORDER BY id",
                                 &select, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_KEY_LIST struct key_list list = {0};
    size_t capacity = 0;
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        if (list.count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            list.items = ap_realloc(list.items, capacity * sizeof(*list.items));
        }
        rc = read_row(select, &list.items[list.count], err);
        if (rc != AP_OK)
            return rc;
        list.count++;
    }
    if (code != SQLITE_DONE)
        return meta_fail(meta, err, "list the keys in meta.sqlite");
    *ret_list = list;
    list = (struct key_list){0};
    return AP_OK;
}

void key_list_clear(struct key_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].origins);
        free(list->items[i].hint);
    }
    free(list->items);
    *list = (struct key_list){0};
}
