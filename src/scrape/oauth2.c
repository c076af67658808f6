#include "scrape/oauth2.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "codec/json_reader.h"

enum {
    ENTRIES_MAX = 256, /* as many configurations; then the oldest is asked for anew */
    EARLY_S = 10,      /* before its end a token is not used any more: the request takes time, clocks differ */
    TOKEN_BYTES_MAX = 16384,
    ERROR_BYTES_MAX = 64,
};

struct entry {
    char *identity; /* owned, as the next; may hold a NUL */
    size_t identity_bytes;
    char *line;         /* "Authorization: Bearer …"; NULL: none, or it was refused */
    int64_t expires_us; /* monotonic; INT64_MAX: the server says nothing of an end */
    bool is_in_body;    /* the credentials: the server did not like them in the header */
    bool is_known;      /* one of the two ways has worked */
    struct entry *next;
};

struct oauth2_tokens {
    pthread_mutex_t mutex; /* a leaf; what follows */
    struct entry *first;   /* the newest */
    size_t count;
};

/* ---- What is known ---- */

struct oauth2_tokens *oauth2_tokens_new(void)
{
    struct oauth2_tokens *tokens = ap_new0(struct oauth2_tokens);
    pthread_mutex_init(&tokens->mutex, NULL);
    return tokens;
}

static void entry_free(struct entry *entry)
{
    free(entry->identity);
    free(entry->line);
    free(entry);
}

void oauth2_tokens_free(struct oauth2_tokens *tokens)
{
    if (!tokens)
        return;
    while (tokens->first) {
        struct entry *entry = tokens->first;
        tokens->first = entry->next;
        entry_free(entry);
    }
    pthread_mutex_destroy(&tokens->mutex);
    free(tokens);
}

static void drop_last_locked(struct oauth2_tokens *tokens)
{
    struct entry **at = &tokens->first;
    while ((*at)->next)
        at = &(*at)->next;
    entry_free(*at);
    *at = NULL;
    tokens->count--;
}

/* Never NULL: one is made. */
static struct entry *entry_of_locked(struct oauth2_tokens *tokens, const struct oauth2 *oauth2)
{
    struct ap_slice identity = oauth2->identity;
    for (struct entry *entry = tokens->first; entry; entry = entry->next)
        if (ap_slice_equal(ap_slice(entry->identity, entry->identity_bytes), identity))
            return entry;
    if (tokens->count == ENTRIES_MAX)
        drop_last_locked(tokens);
    struct entry *entry = ap_new0(struct entry);
    entry->identity = ap_slice_dup(identity);
    entry->identity_bytes = identity.bytes;
    entry->next = tokens->first;
    tokens->first = entry;
    tokens->count++;
    return entry;
}

bool oauth2_tokens_find(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, struct ap_buf *out)
{
    pthread_mutex_lock(&tokens->mutex);
    const struct entry *entry = entry_of_locked(tokens, oauth2);
    bool is_good = entry->line && ap_clock_monotonic_us(&ap_clock_system) < entry->expires_us;
    if (is_good)
        ap_buf_add(out, entry->line, strlen(entry->line) + 1);
    pthread_mutex_unlock(&tokens->mutex);
    return is_good;
}

void oauth2_tokens_forget(struct oauth2_tokens *tokens, const struct oauth2 *oauth2)
{
    pthread_mutex_lock(&tokens->mutex);
    struct entry *entry = entry_of_locked(tokens, oauth2);
    free(entry->line);
    entry->line = NULL;
    pthread_mutex_unlock(&tokens->mutex);
}

static bool is_in_body(struct oauth2_tokens *tokens, const struct oauth2 *oauth2)
{
    pthread_mutex_lock(&tokens->mutex);
    bool answer = entry_of_locked(tokens, oauth2)->is_in_body;
    pthread_mutex_unlock(&tokens->mutex);
    return answer;
}

/* ---- The request ---- */

static void add_param(struct ap_buf *form, CURL *curl, const char *name, const char *value)
{
    char *escaped_name = curl_easy_escape(curl, name, 0);
    char *escaped_value = curl_easy_escape(curl, value, 0);
    AP_ASSERT(escaped_name && escaped_value);
    ap_buf_printf(form, "%s%s=%s", form->bytes ? "&" : "", escaped_name, escaped_value);
    curl_free(escaped_name);
    curl_free(escaped_value);
}

/* In the header they are escaped as in a form, before they are encoded (RFC 6749, 2.3.1). */
static void set_credentials(CURL *curl, const char *id, const char *secret)
{
    char *escaped_id = curl_easy_escape(curl, id, 0);
    char *escaped_secret = curl_easy_escape(curl, secret, 0);
    AP_ASSERT(escaped_id && escaped_secret);
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(curl, CURLOPT_USERNAME, escaped_id);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, escaped_secret);
    curl_free(escaped_id);
    curl_free(escaped_secret);
}

enum ap_rc oauth2_request(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, struct http_setup *setup,
                          CURL *curl, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf form = {0}, secret = {0}, scopes = {0};
    enum ap_rc rc = http_setup_apply(setup, curl, &oauth2->http, oauth2->token_url, err);
    if (rc == AP_OK)
        rc = http_setup_secret("oauth2 client secret", oauth2->client_secret, oauth2->client_secret_file, &secret, err);
    if (rc != AP_OK)
        return rc;
    add_param(&form, curl, "grant_type", "client_credentials");
    for (size_t i = 0; i < oauth2->scopes.count; i++)
        ap_buf_printf(&scopes, "%s%s", i ? " " : "", oauth2->scopes.items[i]);
    ap_buf_add_char(&scopes, '\0');
    if (oauth2->scopes.count)
        add_param(&form, curl, "scope", scopes.data);
    if (is_in_body(tokens, oauth2)) {
        add_param(&form, curl, "client_id", oauth2->client_id);
        add_param(&form, curl, "client_secret", secret.data);
    } else {
        set_credentials(curl, oauth2->client_id, secret.data);
    }
    for (size_t i = 0; i < oauth2->params.count; i++)
        add_param(&form, curl, oauth2->params.keys[i], oauth2->params.items[i]);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)form.bytes);
    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, form.data);
    http_setup_add(setup, "Content-Type: application/x-www-form-urlencoded");
    http_setup_add(setup, "Accept: application/json");
    http_setup_finish(setup, curl);
    return AP_OK;
}

/* ---- The answer ---- */

struct token {
    struct ap_slice access_token;
    struct ap_slice type;
    struct ap_slice error; /* "invalid_client" */
    double expires_in_s;   /* 0: the server says nothing of it */
};

/* Some servers write the number as a text. */
static enum ap_rc read_seconds(struct json_reader *reader, double *ret_seconds, struct ap_err *err)
{
    enum json_kind kind;
    struct ap_slice text;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind == JSON_KIND_NUMBER)
        return rc == AP_OK ? json_reader_number(reader, ret_seconds, err) : rc;
    if (kind != JSON_KIND_STRING)
        return json_reader_skip(reader, NULL, err);
    rc = json_reader_string(reader, &text, err);
    if (rc == AP_OK && !yaml_parse_number(text, ret_seconds))
        *ret_seconds = 0;
    return rc;
}

static enum ap_rc read_text(struct json_reader *reader, struct ap_slice *ret_text, struct ap_err *err)
{
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK)
        return rc;
    return kind == JSON_KIND_STRING ? json_reader_string(reader, ret_text, err) : json_reader_skip(reader, NULL, err);
}

static enum ap_rc read_token(struct ap_slice answer, struct ap_arena *arena, struct token *ret_token,
                             struct ap_err *err)
{
    static const struct {
        const char *key;
        size_t offset;
    } texts[] = {
        {"access_token", offsetof(struct token, access_token)},
        {"token_type", offsetof(struct token, type)},
        {"error", offsetof(struct token, error)},
    };
    *ret_token = (struct token){.expires_in_s = 0};
    struct json_reader reader;
    json_reader_init(&reader, answer, arena, &json_reader_limits_default);
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there) {
        struct ap_slice *text = NULL;
        for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
            if (ap_slice_equal_cstr(key, texts[i].key))
                text = (struct ap_slice *)((char *)ret_token + texts[i].offset);
        if (text)
            rc = read_text(&reader, text, err);
        else if (ap_slice_equal_cstr(key, "expires_in"))
            rc = read_seconds(&reader, &ret_token->expires_in_s, err);
        else
            rc = json_reader_skip(&reader, NULL, err);
    }
    return rc == AP_OK ? json_reader_finish(&reader, err) : rc;
}

/* Of characters that a header field's value may have, and none that ends it. */
static bool is_printable(struct ap_slice text, size_t bytes_max)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    return text.bytes > 0 && text.bytes <= bytes_max;
}

/* An error is one of a few words (RFC 6749, 5.2): whatever else a server writes may repeat what it was sent. */
static enum ap_rc refuse(const struct token *token, unsigned status, struct ap_err *err)
{
    bool has_word = is_printable(token->error, ERROR_BYTES_MAX);
    for (size_t i = 0; has_word && i < token->error.bytes; i++)
        has_word = token->error.data[i] == '_' || (token->error.data[i] >= 'a' && token->error.data[i] <= 'z');
    return ap_fail(err, status == 429 || status >= 500 ? AP_E_BUSY : AP_E_AUTH,
                   "oauth2: no token: its server answered with status %u%s%.*s", status, has_word ? ": " : "",
                   has_word ? (int)token->error.bytes : 0, has_word ? token->error.data : "");
}

static char *line_of(const struct token *token)
{
    bool is_bearer = token->type.bytes == 0 || ap_slice_equal_nocase(token->type, "bearer");
    return ap_asprintf("Authorization: %.*s %.*s", is_bearer ? 6 : (int)token->type.bytes,
                       is_bearer ? "Bearer" : token->type.data, AP_SLICE_ARG(token->access_token));
}

static int64_t end_of(const struct token *token)
{
    if (!(token->expires_in_s > 0) || token->expires_in_s > 1e9)
        return INT64_MAX;
    return ap_clock_monotonic_us(&ap_clock_system) + (int64_t)((token->expires_in_s - EARLY_S) * 1e6);
}

static void keep(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, const struct token *token,
                 struct ap_buf *out)
{
    pthread_mutex_lock(&tokens->mutex);
    struct entry *entry = entry_of_locked(tokens, oauth2);
    free(entry->line);
    entry->line = line_of(token);
    entry->expires_us = end_of(token);
    entry->is_known = true;
    ap_buf_add(out, entry->line, strlen(entry->line) + 1);
    pthread_mutex_unlock(&tokens->mutex);
}

/* The credentials go the other way, unless one of the two is known to work. True: it is worth asking again. */
static bool turn(struct oauth2_tokens *tokens, const struct oauth2 *oauth2)
{
    pthread_mutex_lock(&tokens->mutex);
    struct entry *entry = entry_of_locked(tokens, oauth2);
    bool is_worth_it = !entry->is_known && !entry->is_in_body;
    if (!entry->is_known)
        entry->is_in_body = !entry->is_in_body;
    pthread_mutex_unlock(&tokens->mutex);
    return is_worth_it;
}

enum ap_rc oauth2_tokens_take(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, unsigned status,
                              struct ap_slice answer, struct ap_buf *out, struct ap_err *err)
{
    struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct token token;
    struct ap_err ignored;
    enum ap_rc rc = read_token(answer, &arena, &token, &ignored);
    if (status < 200 || status > 299) {
        bool is_turned = status >= 400 && status < 500 && status != 429 && turn(tokens, oauth2);
        rc = refuse(&token, status, err);
        rc = is_turned ? AP_E_CONFLICT : rc;
    } else if (rc != AP_OK || !is_printable(token.access_token, TOKEN_BYTES_MAX)) {
        rc = ap_fail(err, AP_E_PARSE, "oauth2: no token: its server's answer is not JSON with an \"access_token\"");
    } else if (token.type.bytes && !is_printable(token.type, ERROR_BYTES_MAX)) {
        rc = ap_fail(err, AP_E_PARSE, "oauth2: no token: its server's answer has a \"token_type\" that is none");
    } else {
        keep(tokens, oauth2, &token, out);
    }
    ap_arena_clear(&arena);
    return rc;
}

/* ---- For who may wait ---- */

static enum ap_rc ask(struct oauth2_tokens *tokens, const struct oauth2 *oauth2, const bool *is_ending, long timeout_ms,
                      struct ap_buf *out, struct ap_err *err)
{
    CURL *curl = curl_easy_init();
    AP_ASSERT(curl != NULL);
    struct http_setup setup = {0};
    AP_AUTO_BUF struct ap_buf body = {0};
    ap_buf_init(&body, OAUTH2_ANSWER_BYTES_MAX);
    enum ap_rc rc = oauth2_request(tokens, oauth2, &setup, curl, err);
    if (rc == AP_OK) {
        http_setup_receive(curl, &body);
        http_setup_wait(curl, timeout_ms, is_ending);
        CURLcode code = curl_easy_perform(curl);
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        rc = code == CURLE_OK ? oauth2_tokens_take(tokens, oauth2, (unsigned)status, ap_buf_slice(&body), out, err)
                              : ap_fail(err, code == CURLE_OPERATION_TIMEDOUT ? AP_E_TIMEOUT : AP_E_IO,
                                        "oauth2: no token: %s", curl_easy_strerror(code));
    }
    http_setup_clear(&setup, curl);
    curl_easy_cleanup(curl);
    return rc;
}

enum ap_rc oauth2_authorize(struct oauth2_tokens *tokens, const struct scrape_http *http, struct http_setup *setup,
                            const bool *is_ending, long timeout_ms, struct ap_err *err)
{
    if (!http->oauth2)
        return AP_OK;
    AP_AUTO(oauth2_tokens) struct oauth2_tokens *own = tokens ? NULL : oauth2_tokens_new();
    if (own)
        tokens = own;
    AP_AUTO_BUF struct ap_buf line = {0};
    enum ap_rc rc = AP_OK;
    if (!oauth2_tokens_find(tokens, http->oauth2, &line)) {
        rc = ask(tokens, http->oauth2, is_ending, timeout_ms, &line, err);
        if (rc == AP_E_CONFLICT)
            rc = ask(tokens, http->oauth2, is_ending, timeout_ms, &line, err);
    }
    if (rc == AP_OK)
        http_setup_add(setup, line.data);
    return rc == AP_E_CONFLICT ? AP_E_AUTH : rc;
}
