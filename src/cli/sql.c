/* apiary sql: a question to a running server, answered as a table, JSON or CSV. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "net/http_client.h"

enum { CELL_WIDTH_MAX = 60, QUERY_BYTES_MAX = 64 << 10, DEADLINE_MS = 120 * 1000 };

/* Characters, not bytes; wide enough a measure for a table on a terminal. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* What a person wants to see of a cell; free() it. */
static char *cell_text(const json_t *cell)
{
    if (json_is_string(cell))
        return ap_strdup(json_string_value(cell));
    if (json_is_null(cell))
        return ap_strdup("");
    return json_dumps(cell, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

static void print_cell(const char *text, size_t width, bool is_number, bool is_last)
{
    size_t pad = width - AP_MIN(width, width_of(text));
    if (is_number)
        printf("%*s%s%s", (int)pad, "", text, is_last ? "" : "  ");
    else
        printf("%s%*s", text, is_last ? 0 : (int)pad + 2, "");
}

static void print_rule(const size_t *widths, size_t column_count)
{
    for (size_t i = 0; i < column_count; i++)
        for (size_t j = 0; j < widths[i] + (i + 1 < column_count ? 2 : 0); j++)
            putchar(j < widths[i] ? '-' : ' ');
    putchar('\n');
}

static void print_table(const json_t *answer)
{
    const json_t *columns = json_object_get(answer, "columns"), *rows = json_object_get(answer, "rows");
    size_t column_count = json_array_size(columns), row_count = json_array_size(rows);
    AP_AUTO_FREE size_t *widths = ap_new0_array(size_t, column_count);
    AP_AUTO_FREE char **texts = ap_new0_array(char *, column_count *row_count);
    for (size_t i = 0; i < column_count; i++) {
        widths[i] = width_of(json_string_value(json_object_get(json_array_get(columns, i), "name")));
        for (size_t row = 0; row < row_count; row++) {
            char *text = cell_text(json_array_get(json_array_get(rows, row), i));
            texts[row * column_count + i] = text;
            widths[i] = AP_MAX(widths[i], AP_MIN(width_of(text), (size_t)CELL_WIDTH_MAX));
        }
    }
    for (size_t i = 0; i < column_count; i++)
        print_cell(json_string_value(json_object_get(json_array_get(columns, i), "name")), widths[i], false,
                   i + 1 == column_count);
    putchar('\n');
    print_rule(widths, column_count);
    for (size_t row = 0; row < row_count; row++) {
        for (size_t i = 0; i < column_count; i++) {
            const char *type = json_string_value(json_object_get(json_array_get(columns, i), "type"));
            print_cell(texts[row * column_count + i], widths[i], strcmp(type, "number") == 0, i + 1 == column_count);
        }
        putchar('\n');
    }
    for (size_t i = 0; i < column_count * row_count; i++)
        free(texts[i]);
    printf("(%zu %s%s, %.1f ms)\n", row_count, row_count == 1 ? "row" : "rows",
           json_is_true(json_object_get(answer, "truncated")) ? ", more were cut off" : "",
           json_number_value(json_object_get(answer, "took_ms")));
}

/* The query as arguments, joined by spaces, or standard input. free() it. */
static char *read_query(int argc, char **argv)
{
    AP_AUTO_BUF struct ap_buf text;
    ap_buf_init(&text, QUERY_BYTES_MAX);
    for (int i = 0; i < argc; i++)
        ap_buf_printf(&text, "%s%s", i ? " " : "", argv[i]);
    char block[4096];
    for (ssize_t got; argc == 0 && (got = read(STDIN_FILENO, block, sizeof(block))) > 0;)
        ap_buf_add(&text, block, (size_t)got);
    return ap_buf_ok(&text) ? ap_buf_detach(&text) : NULL;
}

int cli_sql(int argc, char **argv)
{
    const char *server = getenv("APIARY_SERVER"), *key = getenv("APIARY_KEY");
    server = server ? server : "http://127.0.0.1:8484";
    bool is_json = false, is_csv = false;
    const struct cli_option options[] = {
        {"server", 's', CLI_OPTION_TEXT, "URL", &server,
         "the server to ask; also $APIARY_SERVER\n(default: http://127.0.0.1:8484)"},
        {"key", 'k', CLI_OPTION_TEXT, "KEY", &key, "viewer key; also $APIARY_KEY, which others cannot see"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "print the answer as JSON"},
        {"csv", 0, CLI_OPTION_FLAG, NULL, &is_csv, "print the rows as CSV"},
    };
    const struct cli_command command = {
        .name = "sql",
        .arguments = "[QUERY]",
        .summary = "Asks a running server one SELECT. Without QUERY it is read from standard input.",
        .details = "Examples:\n"
                   "  apiary sql 'SELECT COUNT(*) FROM events'\n"
                   "  apiary sql --csv < report.sql > report.csv\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    AP_AUTO_FREE char *query = read_query(argc - first, argv + first);
    if (!query)
        return cli_misused(&command, "the query is longer than %d bytes", QUERY_BYTES_MAX);

    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    const struct remote_question question = {.path = "/api/sql",
                                             .content_type = "text/plain",
                                             .accept = is_csv ? "text/csv" : "application/json",
                                             .body = ap_slice_cstr(query),
                                             .deadline_ms = DEADLINE_MS};
    struct ap_slice body;
    exit_code = remote_ask_or_say("sql", client, &(struct remote){server, key}, &question, &body);
    if (exit_code != CLI_DONE)
        return exit_code;
    if (is_json || is_csv) {
        fwrite(body.data, 1, body.bytes, stdout);
        return CLI_DONE;
    }
    json_t *rows = json_loadb(body.data, body.bytes, 0, NULL);
    if (!rows)
        return answer_failed("sql", body, 200);
    print_table(rows);
    json_decref(rows);
    return CLI_DONE;
}
