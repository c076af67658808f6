#include "warehouse/tables.h"

#include <string.h>

#include "base/mem.h"

enum { ID_BYTES = 128, WORD_BYTES = 200, URL_BYTES = 2048, AGENT_BYTES = 512, JSON_BYTES = 64 * 1024 };

#define COLUMN(name_, type_, bytes_, privacy_, doc_, ...)                                                              \
    {                                                                                                                  \
        .name = AP_SLICE_LITERAL(name_), .type = COLUMN_##type_, .bytes_max = (bytes_), .privacy = PRIVACY_##privacy_, \
        .doc = (doc_), __VA_ARGS__                                                                                     \
    }

#define TIMESTAMP_COLUMN                                                                                               \
    COLUMN("timestamp", TIMESTAMP, 0, INTERNAL,                                                                        \
           "when it happened, UTC; the time of receipt where the client does not say", .role = COLUMN_ROLE_TIMESTAMP)
#define COUNTRY_COLUMN                                                                                                 \
    COLUMN("country", TEXT, 2, INTERNAL, "ISO 3166-1 alpha-2 code, looked up from the client's address",               \
           .role = COLUMN_ROLE_COUNTRY)
#define ADDRESS_PREFIX_COLUMN                                                                                          \
    COLUMN("address_prefix", TEXT, 64, PERSONAL,                                                                       \
           "the client's network, /24 or /48: the rest of the address is not kept",                                    \
           .role = COLUMN_ROLE_ADDRESS_PREFIX)
#define PROPS_COLUMN                                                                                                   \
    COLUMN("props", JSON, JSON_BYTES, PERSONAL, "everything else that came with it, as a JSON object",                 \
           .role = COLUMN_ROLE_PROPS)

static const struct column event_columns[] = {
    TIMESTAMP_COLUMN,
    COLUMN("event_type", TEXT, WORD_BYTES, INTERNAL, "what happened: command_execution, feature_usage, startup …",
           .is_required = true),
    COLUMN("session_id", TEXT, ID_BYTES, PERSONAL, "the run of the program that it happened in"),
    COLUMN("user_id", TEXT, ID_BYTES, PERSONAL, "who is signed in", .role = COLUMN_ROLE_USER_ID),
    COLUMN("installation_id", TEXT, ID_BYTES, PERSONAL, "the copy of the program"),
    COLUMN("version", TEXT, WORD_BYTES, INTERNAL, "version of the program"),
    COLUMN("platform", TEXT, WORD_BYTES, INTERNAL, "operating system and processor, such as linux-x86_64"),
    COLUMN("command", TEXT, WORD_BYTES, INTERNAL, "the command that was run"),
    COLUMN("feature", TEXT, WORD_BYTES, INTERNAL, "the feature that was used"),
    COLUMN("duration_ms", F64, 0, INTERNAL, "how long it took, in milliseconds"),
    COLUMN("success", BOOL, 0, INTERNAL, "whether it worked"),
    COLUMN("context", JSON, JSON_BYTES, PERSONAL, "what the client says about the circumstances: any JSON"),
    COUNTRY_COLUMN,
    ADDRESS_PREFIX_COLUMN,
    PROPS_COLUMN,
};

static const struct column vital_columns[] = {
    TIMESTAMP_COLUMN,
    COLUMN("name", TEXT, WORD_BYTES, INTERNAL, "LCP, INP, CLS, FCP, TTFB or FID", .is_required = true),
    COLUMN("value", F64, 0, INTERNAL, "milliseconds; for CLS a ratio", .is_required = true),
    COLUMN("id", TEXT, ID_BYTES, INTERNAL, "of this metric on this page view; of several the last one counts"),
    COLUMN("rating", TEXT, WORD_BYTES, INTERNAL, "good, needs-improvement or poor, as the browser judged"),
    COLUMN("delta", F64, 0, INTERNAL, "change since the last report with the same id"),
    COLUMN("navigation_type", TEXT, WORD_BYTES, INTERNAL, "navigate, reload, back-forward, prerender …",
           .alias = AP_SLICE_LITERAL("navigationType")),
    COLUMN("url", TEXT, URL_BYTES, PERSONAL, "the page", .is_cut = true),
    COLUMN("user_agent", TEXT, AGENT_BYTES, PERSONAL, "the browser, as it names itself", .is_cut = true),
    COLUMN("attribution", JSON, JSON_BYTES, INTERNAL, "what caused the value, as web-vitals says it"),
    COLUMN("session_id", TEXT, ID_BYTES, PERSONAL, "the visit"),
    COLUMN("version", TEXT, WORD_BYTES, INTERNAL, "version of the site"),
    COUNTRY_COLUMN,
    ADDRESS_PREFIX_COLUMN,
    PROPS_COLUMN,
};

static const struct column download_columns[] = {
    TIMESTAMP_COLUMN,
    COLUMN("platform", TEXT, WORD_BYTES, INTERNAL, "what it was downloaded for: macos, linux …", .is_required = true),
    COLUMN("method", TEXT, WORD_BYTES, INTERNAL, "how: homebrew, npm, direct …"),
    COLUMN("version", TEXT, WORD_BYTES, INTERNAL, "version that was downloaded"),
    COLUMN("referrer", TEXT, URL_BYTES, PERSONAL, "the page that led here", .is_cut = true),
    COLUMN("user_agent", TEXT, AGENT_BYTES, PERSONAL, "the client, as it names itself", .is_cut = true),
    COLUMN("installation_id", TEXT, ID_BYTES, PERSONAL, "the copy of the program, where one updates itself"),
    COUNTRY_COLUMN,
    ADDRESS_PREFIX_COLUMN,
    PROPS_COLUMN,
};

static const struct column synthetic_run_columns[] = {
    TIMESTAMP_COLUMN,
    COLUMN("test", TEXT, WORD_BYTES, INTERNAL, "name of the check", .is_required = true),
    COLUMN("duration_ms", F64, 0, INTERNAL, "how long it took, in milliseconds", .alias = AP_SLICE_LITERAL("duration")),
    COLUMN("success", BOOL, 0, INTERNAL, "whether it passed", .is_required = true),
    COLUMN("error", TEXT, URL_BYTES, INTERNAL, "why it did not pass", .is_cut = true),
    COLUMN("location", TEXT, WORD_BYTES, INTERNAL, "where it ran"),
    COLUMN("version", TEXT, WORD_BYTES, INTERNAL, "version that was checked"),
    PROPS_COLUMN,
};

static const struct column notification_columns[] = {
    COLUMN("timestamp", TIMESTAMP, 0, INTERNAL, "when the answer came", .role = COLUMN_ROLE_TIMESTAMP),
    COLUMN("receiver", TEXT, URL_BYTES, INTERNAL, "who was to be told: the receiver's name", .is_cut = true),
    COLUMN("way", TEXT, WORD_BYTES, INTERNAL, "by which way: webhook, pagerduty, slack or email"),
    COLUMN("way_index", F64, 0, INTERNAL, "which of the receiver's ways of this kind, from 0, in the file's order"),
    COLUMN("kind", TEXT, WORD_BYTES, INTERNAL,
           "alert, test (of the notification path) or watchdog (a heart-beat to somebody elsewhere)"),
    COLUMN(
        "reason", TEXT, WORD_BYTES, INTERNAL,
        "why now: first, new_alerts, some_resolved, all_resolved or repeat; of a fall-back with \", in place of \" and "
        "the receiver that could not be told"),
    COLUMN("outcome", TEXT, WORD_BYTES, INTERNAL,
           "done, retry (it failed and is tried again) or refused (it failed for good)"),
    COLUMN("status", F64, 0, INTERNAL, "HTTP's or SMTP's code; null where there was no answer"),
    COLUMN("answer", TEXT, URL_BYTES, INTERNAL, "what the receiver answered, or what went wrong; never with secrets",
           .is_cut = true),
    COLUMN("duration_ms", F64, 0, INTERNAL, "how long the attempt took, in milliseconds"),
    COLUMN("attempt", F64, 0, INTERNAL, "1, or which attempt at the same notification it was"),
    COLUMN("group_key", TEXT, URL_BYTES, INTERNAL, "of the group of alerts, as Alertmanager writes it", .is_cut = true),
    COLUMN("group_labels", JSON, JSON_BYTES, INTERNAL, "the labels that the group has in common, as a JSON object"),
    COLUMN("alerts", JSON, JSON_BYTES, INTERNAL,
           "what was told of, a JSON array of {name, labels, is_resolved}; of very many the first ones"),
    COLUMN("alert_count", F64, 0, INTERNAL, "how many alerts were told of, also those that `alerts` has no room for"),
    COLUMN("firing_count", F64, 0, INTERNAL, "how many of them were firing"),
    COLUMN("dedup_key", TEXT, ID_BYTES, INTERNAL, "PagerDuty's: the same for all that is told of one group"),
};

#define TABLE(id_, name_, columns_, doc_, ...)                                                                         \
    {                                                                                                                  \
        .id = (id_), .name = (name_), .doc = (doc_), .columns = (columns_), .column_count = AP_ARRAY_COUNT(columns_),  \
        __VA_ARGS__                                                                                                    \
    }

const struct table tables[TABLES_COUNT] = {
    TABLE(TABLE_EVENTS, "events", event_columns, "what programs and their users do"),
    TABLE(TABLE_VITALS, "vitals", vital_columns, "how web pages feel to real users"),
    TABLE(TABLE_DOWNLOADS, "downloads", download_columns, "downloads and installations"),
    TABLE(TABLE_SYNTHETIC_RUNS, "synthetic_runs", synthetic_run_columns, "runs of synthetic checks"),
    TABLE(TABLE_NOTIFICATIONS, "notifications", notification_columns,
          "who was told of which alerts, when, by which way, and with what answer: a row for each attempt",
          .is_server_own = true),
};
const size_t tables_count = AP_ARRAY_COUNT(tables);

_Static_assert(AP_ARRAY_COUNT(event_columns) <= TABLE_COLUMNS_MAX, "presence bitmap");
_Static_assert(AP_ARRAY_COUNT(vital_columns) <= TABLE_COLUMNS_MAX, "presence bitmap");
_Static_assert(AP_ARRAY_COUNT(notification_columns) <= TABLE_COLUMNS_MAX, "presence bitmap");

const struct table *table_find(const char *name)
{
    for (size_t i = 0; i < tables_count; i++)
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    return NULL;
}

const struct table *table_find_by_id(uint8_t id)
{
    for (size_t i = 0; i < tables_count; i++)
        if (tables[i].id == id)
            return &tables[i];
    return NULL;
}

/* Lengths differ for most pairs of names, so that the scan seldom compares bytes. */
int table_find_column(const struct table *table, struct ap_slice key)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct column *column = &table->columns[i];
        if (ap_slice_equal(column->name, key) || (column->alias.bytes && ap_slice_equal(column->alias, key))) {
            bool is_ours = column->role == COLUMN_ROLE_COUNTRY || column->role == COLUMN_ROLE_ADDRESS_PREFIX;
            return is_ours ? -1 : (int)i;
        }
    }
    return -1;
}

int table_column_of_role(const struct table *table, enum column_role role)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].role == role)
            return (int)i;
    return -1;
}

const char *column_type_sql(enum column_type type)
{
    static const char *const names[] = {
        [COLUMN_TEXT] = "VARCHAR",        [COLUMN_F64] = "DOUBLE", [COLUMN_BOOL] = "BOOLEAN",
        [COLUMN_TIMESTAMP] = "TIMESTAMP", [COLUMN_JSON] = "JSON",
    };
    return names[type];
}
