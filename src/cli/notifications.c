/* apiary notifications: who was told what by a running server, by which way, and with what answer. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/form.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "net/http_client.h"

enum { DEADLINE_MS = 150 * 1000, ABOUT_WIDTH_MAX = 44, OPTIONS_OF_OUR_OWN = 3 };

/* ---- Rows for people ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* An answer is somebody else's text: nothing in it may steer a terminal, or begin a new line. */
static void print_text(const char *text, size_t width)
{
    for (const char *c = text; *c; c++)
        putchar((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
    printf("%*s", (int)(width - AP_MIN(width, width_of(text))), "");
}

/* "slack", or "slack 2" of several; free() it. */
static char *way_text(const json_t *row)
{
    long long index = number_of(row, "way_index");
    return index ? ap_asprintf("%s %lld", text_of(row, "way"), index + 1) : ap_strdup(text_of(row, "way"));
}

/* "Down, DiskFull: 3 firing, 1 resolved"; free() it. */
static char *about_text(const json_t *row)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    const json_t *alerts = json_object_get(row, "alerts");
    long long firing = number_of(row, "firing_count"), resolved = number_of(row, "alert_count") - firing;
    const char *before = "";
    for (size_t i = 0; i < json_array_size(alerts) && out.bytes < ABOUT_WIDTH_MAX / 2; i++) {
        const char *name = text_of(json_array_get(alerts, i), "name");
        if (i && strcmp(name, before) == 0) /* they are in order of start, and often of one rule */
            continue;
        ap_buf_printf(&out, "%s%s", i ? ", " : "", name);
        before = name;
    }
    if (firing)
        ap_buf_printf(&out, ": %lld firing", firing);
    if (resolved)
        ap_buf_printf(&out, "%s %lld resolved", firing ? "," : ":", resolved);
    const char *in_place = strstr(text_of(row, "reason"), ", in place of ");
    if (in_place)
        ap_buf_add_cstr(&out, in_place);
    if (strcmp(text_of(row, "kind"), "test") == 0) {
        ap_buf_reset(&out);
        ap_buf_add_cstr(&out, firing ? "(test)" : "(end of a test)");
    }
    return ap_buf_detach(&out);
}

struct widths {
    size_t receiver, way, about;
};

static struct widths widths_of(const json_t *rows)
{
    struct widths widths = {strlen("RECEIVER"), strlen("WAY"), strlen("ABOUT")};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        AP_AUTO_FREE char *way = way_text(row);
        AP_AUTO_FREE char *about = about_text(row);
        widths.receiver = AP_MAX(widths.receiver, width_of(text_of(row, "receiver")));
        widths.way = AP_MAX(widths.way, width_of(way));
        widths.about = AP_MAX(widths.about, AP_MIN(width_of(about), (size_t)ABOUT_WIDTH_MAX));
    }
    return widths;
}

static void print_row(const json_t *row, const struct widths *widths)
{
    char time[AP_TIME_TEXT_BYTES];
    AP_AUTO_FREE char *way = way_text(row);
    AP_AUTO_FREE char *about = about_text(row);
    ap_time_format(number_of(row, "ts_ms") * AP_US_PER_MS, time);
    printf("%.19sZ  %-7s  %3lld  ", time, text_of(row, "outcome"), number_of(row, "attempt"));
    print_text(text_of(row, "receiver"), widths->receiver + 2);
    print_text(way, widths->way + 2);
    print_text(about, widths->about + 2);
    print_text(text_of(row, "answer"), 0);
    putchar('\n');
}

static void print_rows(const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "notifications"), *next = json_object_get(answer, "next_before");
    struct widths widths = widths_of(rows);
    if (json_array_size(rows) == 0) {
        puts("Nobody was told of anything that fits. See --since and the filters.");
        return;
    }
    printf("%-20s  OUTCOME  TRY  %-*s%-*s%-*sANSWER\n", "TIME", (int)widths.receiver + 2, "RECEIVER",
           (int)widths.way + 2, "WAY", (int)widths.about + 2, "ABOUT");
    for (size_t i = 0; i < json_array_size(rows); i++)
        print_row(json_array_get(rows, i), &widths);
    if (json_is_integer(next))
        printf("There are older ones: --before %lld\n", (long long)json_integer_value(next));
}

/* ---- Asking ---- */

static int ask(const char *server, const char *key, struct ap_slice parameters, bool is_json)
{
    AP_AUTO_FREE char *path = ap_asprintf("/api/apiary/v1/notifications?%.*s", AP_SLICE_ARG(parameters));
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    const struct remote_question question = {.path = path, .deadline_ms = DEADLINE_MS};
    struct ap_slice body;
    int exit_code = remote_ask_or_say("notifications", client, &(struct remote){server, key}, &question, &body);
    if (exit_code != CLI_DONE)
        return exit_code;
    json_t *json = json_loadb(body.data, body.bytes, 0, NULL);
    if (!json)
        return answer_failed("notifications", body, 200);
    if (is_json)
        fwrite(body.data, 1, body.bytes, stdout);
    else
        print_rows(json);
    json_decref(json);
    return CLI_DONE;
}

int cli_notifications(int argc, char **argv)
{
    const char *server = getenv("APIARY_SERVER"), *key = getenv("APIARY_KEY");
    const char *since = NULL, *start = NULL, *end = NULL, *receiver = NULL, *outcome = NULL, *alert = NULL, *q = NULL,
               *kind = NULL;
    const char *limit = NULL, *before = NULL;
    bool is_json = false;
    server = server ? server : "http://127.0.0.1:8484";
    const struct cli_option options[] = {
        {"server", 's', CLI_OPTION_TEXT, "URL", &server,
         "the server to ask; also $APIARY_SERVER\n(default: http://127.0.0.1:8484)"},
        {"key", 'k', CLI_OPTION_TEXT, "KEY", &key, "viewer key; also $APIARY_KEY, which others cannot see"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "print the answer as JSON"},
        /* From here on what the API takes, by its names. */
        {"since", 0, CLI_OPTION_TEXT, "DURATION", &since, "how far to look back (default: 24h)"},
        {"start", 0, CLI_OPTION_TEXT, "TIME", &start, "from then on: seconds since 1970 or RFC 3339"},
        {"end", 0, CLI_OPTION_TEXT, "TIME", &end, "until then"},
        {"receiver", 'r', CLI_OPTION_TEXT, "NAME", &receiver, "who was to be told"},
        {"outcome", 'o', CLI_OPTION_TEXT, "WORD", &outcome, "done, retry (failed for now) or refused"},
        {"kind", 0, CLI_OPTION_TEXT, "WORD", &kind, "alert, test (of the path) or watchdog (heart-beats to others)"},
        {"alert", 'a', CLI_OPTION_TEXT, "NAME", &alert, "about alerts of this name"},
        {"q", 'q', CLI_OPTION_TEXT, "TEXT", &q, "with this text in receiver, answer, labels or group"},
        {"limit", 'n', CLI_OPTION_TEXT, "COUNT", &limit, "at most so many, the newest (default: 100, at most 500)"},
        {"before", 0, CLI_OPTION_TEXT, "ID", &before, "those before this one, which an earlier answer named"},
    };
    const struct cli_command command = {
        .name = "notifications",
        .summary = "Lists whom a running server told of which alerts, or tried to: one line for each attempt.",
        .details = "Examples:\n"
                   "  apiary notifications\n"
                   "  apiary notifications --since 7d --receiver team-db --outcome refused\n"
                   "  apiary notifications --alert DiskFull --json | jq '.notifications[].answer'\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (!since && !start && !end)
        since = "24h";
    AP_AUTO_BUF struct ap_buf parameters = {0};
    for (size_t i = OPTIONS_OF_OUR_OWN; i < AP_ARRAY_COUNT(options); i++) {
        const char *value = *(const char **)options[i].target;
        if (value)
            form_add(&parameters, options[i].name, value);
    }
    return ask(server, key, ap_buf_slice(&parameters), is_json);
}
