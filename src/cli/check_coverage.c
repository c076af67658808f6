/* apiary check coverage: which metrics of the packs' catalogues a running server has seen, by version. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "codec/yaml.h"
#include "net/http_client.h"

enum {
    DEADLINE_MS = 150 * 1000,
    VERSIONS_SHOWN_MAX = 8, /* the last ones; a line has to fit a terminal */
    STRANGERS_SHOWN_MAX = 20,
    COUNT_WIDTH_MIN = 6,
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* "8 s ago", "3 h ago", "never". */
static const char *age_text(const json_t *seen, long long now_ms, char text[32])
{
    const json_t *newest = json_object_get(seen, "newest_ms");
    long long age_s = (now_ms - (long long)json_integer_value(newest)) / 1000;
    if (!json_is_integer(newest))
        snprintf(text, 32, "never");
    else if (age_s < 120)
        snprintf(text, 32, "%lld s ago", AP_MAX(age_s, 0LL));
    else if (age_s < 7200)
        snprintf(text, 32, "%lld min ago", age_s / 60);
    else if (age_s < 172800)
        snprintf(text, 32, "%lld h ago", age_s / 3600);
    else
        snprintf(text, 32, "%lld d ago", age_s / 86400);
    return text;
}

/* ---- The table of one pack ---- */

struct table {
    const json_t *versions; /* of the product */
    size_t first_version;   /* that is shown */
    int name_width;
    long long now_ms;
};

static int version_width(const json_t *version)
{
    return AP_MAX((int)strlen(text_of(version, "version")), COUNT_WIDTH_MIN);
}

static const char *version_title(const json_t *version)
{
    const char *text = text_of(version, "version");
    return text[0] ? text : "(none)";
}

static void print_head(const struct table *table)
{
    printf("  %-*s", table->name_width, "METRIC");
    for (size_t i = table->first_version; i < json_array_size(table->versions); i++) {
        const json_t *version = json_array_get(table->versions, i);
        printf("  %*s", version_width(version), version_title(version));
    }
    printf("  %-11s  SEEN\n", "NEWEST");
}

static long long series_of_version(const json_t *seen, const char *version)
{
    const json_t *versions = json_object_get(seen, "versions");
    for (size_t i = 0; i < json_array_size(versions); i++) {
        const json_t *entry = json_array_get(versions, i);
        if (strcmp(text_of(entry, "version"), version) == 0)
            return number_of(entry, "series_count");
    }
    return 0;
}

static void print_metric(const struct table *table, const json_t *metric)
{
    char age[32];
    printf("  %-*s", table->name_width, text_of(metric, "name"));
    for (size_t i = table->first_version; i < json_array_size(table->versions); i++) {
        const json_t *version = json_array_get(table->versions, i);
        long long count = series_of_version(metric, text_of(version, "version"));
        if (count)
            printf("  %*lld", version_width(version), count);
        else
            printf("  %*s", version_width(version), "-");
    }
    printf("  %-11s  %s", age_text(metric, table->now_ms, age),
           json_is_true(json_object_get(metric, "is_seen")) ? "yes" : "NO");
    if (json_is_false(json_object_get(metric, "type_agrees")))
        printf(", as a %s and not a %s", text_of(metric, "type"), text_of(metric, "expected_type"));
    if (json_is_false(json_object_get(metric, "unit_agrees")))
        printf(", in \"%s\" and not \"%s\"", text_of(metric, "unit"), text_of(metric, "expected_unit"));
    putchar('\n');
}

static void print_strangers(const json_t *pack, long long now_ms)
{
    const json_t *strangers = json_object_get(pack, "strangers");
    size_t count = json_array_size(strangers);
    if (count == 0)
        return;
    printf("\n  Reported, but not in the catalogue:\n");
    for (size_t i = 0; i < count && i < STRANGERS_SHOWN_MAX; i++) {
        const json_t *stranger = json_array_get(strangers, i);
        char age[32];
        long long series = number_of(stranger, "series_count");
        printf("    %s  %lld series, %s\n", text_of(stranger, "series"), series, age_text(stranger, now_ms, age));
    }
    if (count > STRANGERS_SHOWN_MAX)
        printf("    and %zu more: --json\n", count - STRANGERS_SHOWN_MAX);
}

static void print_pack(const json_t *pack, const char *since, long long now_ms)
{
    const json_t *metrics = json_object_get(pack, "metrics");
    struct table table = {.versions = json_object_get(pack, "versions"), .now_ms = now_ms};
    size_t version_count = json_array_size(table.versions);
    table.first_version = version_count > VERSIONS_SHOWN_MAX ? version_count - VERSIONS_SHOWN_MAX : 0;
    for (size_t i = 0; i < json_array_size(metrics); i++)
        table.name_width = AP_MAX(table.name_width, (int)strlen(text_of(json_array_get(metrics, i), "name")));
    printf("%s: %lld of %lld metrics seen in the last %s\n\n", text_of(pack, "title"), number_of(pack, "seen_count"),
           number_of(pack, "metric_count"), since);
    print_head(&table);
    for (size_t i = 0; i < json_array_size(metrics); i++)
        print_metric(&table, json_array_get(metrics, i));
    if (table.first_version)
        printf("  (series by version; the last %d of %zu versions, all of them: --json)\n", VERSIONS_SHOWN_MAX,
               version_count);
    print_strangers(pack, now_ms);
}

/* ---- Asking ---- */

/* 1 also where there is nothing that could be missing: a pipeline that forgot its pack shall not pass. */
static int judge(const json_t *packs)
{
    long long metrics = 0, seen = 0;
    for (size_t i = 0; i < json_array_size(packs); i++) {
        metrics += number_of(json_array_get(packs, i), "metric_count");
        seen += number_of(json_array_get(packs, i), "seen_count");
    }
    if (metrics == 0)
        fprintf(stderr, "apiary check coverage: no pack of that server has a catalogue of metrics\n");
    return metrics > 0 && seen == metrics ? CLI_DONE : CLI_FAILED;
}

static int report(struct ap_slice body, const char *since, bool is_json)
{
    json_t *answer = json_loadb(body.data, body.bytes, 0, NULL);
    const json_t *packs = json_object_get(answer, "packs");
    if (!json_is_array(packs)) {
        json_decref(answer);
        return answer_failed("check coverage", body, 200);
    }
    for (size_t i = 0, printed = 0; i < json_array_size(packs) && !is_json; i++) {
        const json_t *pack = json_array_get(packs, i);
        if (number_of(pack, "metric_count") == 0)
            continue;
        fputs(printed++ ? "\n" : "", stdout);
        print_pack(pack, since, number_of(answer, "now_ms"));
    }
    if (is_json)
        fwrite(body.data, 1, body.bytes, stdout);
    int result = judge(packs);
    json_decref(answer);
    return result;
}

int cli_check_coverage(int argc, char **argv)
{
    const char *server = getenv("APIARY_SERVER"), *key = getenv("APIARY_KEY"), *since = "24h";
    server = server ? server : "http://127.0.0.1:8484";
    bool is_json = false;
    const struct cli_option options[] = {
        {"server", 's', CLI_OPTION_TEXT, "URL", &server,
         "the server to ask; also $APIARY_SERVER\n(default: http://127.0.0.1:8484)"},
        {"key", 'k', CLI_OPTION_TEXT, "KEY", &key, "viewer key; also $APIARY_KEY, which others cannot see"},
        {"since", 0, CLI_OPTION_TEXT, "DURATION", &since, "how far to look back (default: 24h)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "print the answer as JSON"},
    };
    const struct cli_command command = {
        .name = "check coverage",
        .summary = "Asks a running server which metrics of its packs' catalogues it has seen, by version.\n"
                   "Ends with 1 when one is missing.",
        .details = "Examples:\n  apiary check coverage\n  apiary check coverage --since 1h --json\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first < argc)
        return cli_misused(&command, "unexpected argument '%s'", argv[first]);
    int64_t since_ms;
    if (!yaml_parse_duration(ap_slice_cstr(since), &since_ms) || since_ms <= 0)
        return cli_misused(&command, "--since: \"%s\" is not a duration such as 24h or 7d", since);

    AP_AUTO_FREE char *path = ap_asprintf("/api/apiary/v1/coverage?since=%s", since);
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    const struct remote_question question = {.path = path, .deadline_ms = DEADLINE_MS};
    struct ap_slice body;
    exit_code = remote_ask_or_say("check coverage", client, &(struct remote){server, key}, &question, &body);
    return exit_code == CLI_DONE ? report(body, since, is_json) : exit_code;
}
