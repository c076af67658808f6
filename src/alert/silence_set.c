#include "alert/silence_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *silence_state_name(enum silence_state state)
{
    static const char *const names[] = {"pending", "active", "expired"};
    return names[state];
}

enum silence_state silence_state_at(const struct silence *silence, int64_t now_ms)
{
    if (silence->ends_ms <= now_ms)
        return SILENCE_EXPIRED;
    return silence->starts_ms > now_ms ? SILENCE_PENDING : SILENCE_ACTIVE;
}

/* ---- One silence ---- */

static void kept_free(struct kept_silence *kept)
{
    if (!kept)
        return;
    matchers_clear(&kept->matchers);
    free((void *)kept->silence.created_by.data);
    free((void *)kept->silence.comment.data);
    free(kept);
}

static enum ap_rc kept_new(const struct silence *silence, struct kept_silence **ret_kept, struct ap_err *err)
{
    struct kept_silence *kept = ap_new0(struct kept_silence);
    kept->silence = *silence;
    kept->silence.matchers = &kept->matchers;
    kept->silence.created_by = ap_slice(ap_slice_dup(silence->created_by), silence->created_by.bytes);
    kept->silence.comment = ap_slice(ap_slice_dup(silence->comment), silence->comment.bytes);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < silence->matchers->count && rc == AP_OK; i++) {
        const struct matcher *matcher = silence->matchers->items[i];
        rc = matcher_new(matcher_kind_of(matcher), matcher_name(matcher), matcher_value(matcher),
                         &kept->matchers.items[i], err);
        kept->matchers.count += rc == AP_OK;
    }
    if (rc == AP_OK)
        *ret_kept = kept;
    else
        kept_free(kept);
    return rc;
}

static enum ap_rc check(const struct silence *silence, struct ap_err *err)
{
    bool is_choosing = false;
    for (size_t i = 0; i < silence->matchers->count; i++) {
        const struct matcher *matcher = silence->matchers->items[i];
        enum matcher_kind kind = matcher_kind_of(matcher);
        /* As Alertmanager sees it, "not this" chooses, although it matches what is not there. */
        is_choosing |= kind == MATCHER_NOT_EQUAL || kind == MATCHER_NOT_REGEX || !matcher_matches_empty(matcher);
    }
    if (silence->matchers->count == 0)
        return ap_fail(err, AP_E_PARSE, "at least one matcher required");
    if (!is_choosing)
        return ap_fail(err, AP_E_PARSE, "at least one matcher must not match the empty string");
    if (silence->ends_ms < silence->starts_ms)
        return ap_fail(err, AP_E_PARSE, "end time must not be before start time");
    if (silence->created_by.bytes + silence->comment.bytes > SILENCE_TEXT_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "author and comment have more than %d bytes", SILENCE_TEXT_BYTES_MAX);
    return AP_OK;
}

/* ---- The set ---- */

void silence_set_clear(struct silence_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        kept_free(set->items[i]);
    free(set->items);
    *set = (struct silence_set){0};
}

static struct kept_silence *find(const struct silence_set *set, const char *id)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i]->silence.id, id) == 0)
            return set->items[i];
    return NULL;
}

const struct kept_silence *silence_set_find(const struct silence_set *set, const char *id)
{
    return find(set, id);
}

static void add(struct silence_set *set, struct kept_silence *take_kept)
{
    set->items = ap_realloc(set->items, (set->count + 1) * sizeof(struct kept_silence *));
    set->items[set->count++] = take_kept;
}

/* RFC 9562, version 4. */
static void make_id(char id[37])
{
    struct ap_random random;
    ap_random_init(&random, ap_random_system_seed());
    uint64_t high = (ap_random_u64(&random) & UINT64_C(0xffffffffffff0fff)) | UINT64_C(0x4000);
    uint64_t low = (ap_random_u64(&random) & UINT64_C(0x3fffffffffffffff)) | UINT64_C(0x8000000000000000);
    snprintf(id, 37, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
             (unsigned)(high & 0xffff), (unsigned)(low >> 48), (unsigned long long)(low & UINT64_C(0xffffffffffff)));
}

static bool is_same_matchers(const struct matchers *a, const struct matchers *b)
{
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++)
        is_same = matcher_kind_of(a->items[i]) == matcher_kind_of(b->items[i]) &&
                  ap_slice_equal(matcher_name(a->items[i]), matcher_name(b->items[i])) &&
                  ap_slice_equal(matcher_value(a->items[i]), matcher_value(b->items[i]));
    return is_same;
}

/* Whether the one that is there can become that: what has had effect stays as it was (Silences.canUpdate). */
static bool can_change(const struct silence *now, const struct silence *then, int64_t now_ms)
{
    if (!is_same_matchers(now->matchers, then->matchers))
        return false;
    switch (silence_state_at(now, now_ms)) {
    case SILENCE_ACTIVE:
        return then->starts_ms == now->starts_ms && then->ends_ms >= now_ms;
    case SILENCE_PENDING:
        return then->starts_ms >= now_ms;
    case SILENCE_EXPIRED:
        break;
    }
    return false;
}

/* In its place in the set. */
static enum ap_rc replace(struct silence_set *set, struct kept_silence *before, const struct silence *silence,
                          const struct kept_silence **ret_kept, struct ap_err *err)
{
    struct kept_silence *kept;
    enum ap_rc rc = kept_new(silence, &kept, err);
    for (size_t i = 0; i < set->count && rc == AP_OK; i++)
        if (set->items[i] == before)
            set->items[i] = kept;
    if (rc != AP_OK)
        return rc;
    kept_free(before);
    *ret_kept = kept;
    return AP_OK;
}

static void end_now(struct silence *silence, int64_t now_ms)
{
    if (silence_state_at(silence, now_ms) == SILENCE_PENDING)
        silence->starts_ms = now_ms;
    silence->ends_ms = now_ms;
    silence->updated_ms = now_ms;
}

enum ap_rc silence_set_set(struct silence_set *set, const struct silence *silence, int64_t now_ms,
                           struct silence_change *ret_changed, struct ap_err *err)
{
    *ret_changed = (struct silence_change){0};
    struct kept_silence *before = silence->id[0] ? find(set, silence->id) : NULL;
    struct silence wanted = *silence;
    if (silence->id[0] && !before)
        return ap_fail(err, AP_E_NOT_FOUND, "silence %s not found", silence->id);
    wanted.updated_ms = now_ms;
    enum ap_rc rc = check(&wanted, err);
    if (rc != AP_OK)
        return rc;
    if (before && can_change(&before->silence, &wanted, now_ms))
        return replace(set, before, &wanted, &ret_changed->set, err);
    if (wanted.ends_ms < now_ms)
        return ap_fail(err, AP_E_PARSE, "end time can't be in the past");
    if (set->count >= SILENCES_MAX)
        return ap_fail(err, AP_E_LIMIT, "there are %d silences; remove some, or wait until old ones are forgotten",
                       SILENCES_MAX);
    wanted.starts_ms = AP_MAX(wanted.starts_ms, now_ms);
    make_id(wanted.id);
    struct kept_silence *kept;
    rc = kept_new(&wanted, &kept, err);
    if (rc != AP_OK)
        return rc;
    if (before && silence_state_at(&before->silence, now_ms) != SILENCE_EXPIRED) {
        end_now(&before->silence, now_ms);
        ret_changed->expired = before;
    }
    add(set, kept);
    ret_changed->set = kept;
    return AP_OK;
}

enum ap_rc silence_set_expire(struct silence_set *set, const char *id, int64_t now_ms,
                              const struct kept_silence **ret_changed, struct ap_err *err)
{
    struct kept_silence *kept = find(set, id);
    if (!kept)
        return ap_fail(err, AP_E_NOT_FOUND, "silence %s not found", id);
    if (silence_state_at(&kept->silence, now_ms) == SILENCE_EXPIRED)
        return ap_fail(err, AP_E_CONFLICT, "silence %s already expired", id);
    end_now(&kept->silence, now_ms);
    *ret_changed = kept;
    return AP_OK;
}

enum ap_rc silence_set_restore(struct silence_set *set, const struct silence *silence, struct ap_err *err)
{
    struct kept_silence *before = find(set, silence->id);
    const struct kept_silence *ignored;
    if (before)
        return replace(set, before, silence, &ignored, err);
    struct kept_silence *kept;
    enum ap_rc rc = kept_new(silence, &kept, err);
    if (rc == AP_OK)
        add(set, kept);
    return rc;
}

void silence_set_forget(struct silence_set *set, int64_t ts_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i]->silence.ends_ms < ts_ms)
            kept_free(set->items[i]);
        else
            set->items[kept++] = set->items[i];
    }
    set->count = kept;
}

const struct kept_silence *silence_set_match(const struct silence_set *set, struct ap_slice labels, int64_t now_ms,
                                             const struct kept_silence *after)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct kept_silence *kept = set->items[i];
        if (after) {
            if (kept == after)
                after = NULL;
        } else if (silence_state_at(&kept->silence, now_ms) == SILENCE_ACTIVE &&
                   matchers_match(&kept->matchers, labels)) {
            return kept;
        }
    }
    return NULL;
}
