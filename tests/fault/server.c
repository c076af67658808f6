#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

enum { HANGS_MS = 180000 };

static const char *binary(void)
{
    const char *path = getenv("APIARY_BIN");
    if (!path)
        fail_msg("APIARY_BIN must name the program under test");
    return path;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool server_wait_more(long *deadline_ms)
{
    if (*deadline_ms == 0)
        *deadline_ms = now_ms() + HANGS_MS;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return now_ms() < *deadline_ms;
}

void server_init_at(struct server *server, const char *dir)
{
    *server = (struct server){0};
    snprintf(server->dir, sizeof(server->dir), "%s", dir);
    snprintf(server->log, sizeof(server->log), "%s.log", dir);
}

void server_init(struct server *server)
{
    char dir[] = "/tmp/apiary-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    server_init_at(server, dir);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

void server_clear(struct server *server)
{
    if (server->pid)
        server_kill(server);
    nftw(server->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    unlink(server->log);
}

/* Prints what the server said last, so that a failed test can be understood. */
static void print_log_tail(const struct server *server)
{
    FILE *file = fopen(server->log, "r");
    if (!file)
        return;
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    fseek(file, bytes > 4000 ? bytes - 4000 : 0, SEEK_SET);
    char line[1024];
    while (fgets(line, sizeof(line), file))
        fprintf(stderr, "  | %s", line);
    fclose(file);
}

/* Reads the ready line from the server's standard output: "apiary: listening on http://127.0.0.1:PORT/". */
static int wait_until_ready(struct server *server, int out)
{
    char text[1024];
    size_t used = 0;
    for (long deadline_ms = 0;;) {
        ssize_t got = read(out, text + used, sizeof(text) - 1 - used);
        if (got < 0 && server_wait_more(&deadline_ms))
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
        text[used] = '\0';
        int port;
        const char *at = strstr(text, "listening on ");
        if (at && strchr(at, '\n') && (at = strstr(at, "127.0.0.1:")) && sscanf(at, "127.0.0.1:%d", &port) == 1)
            return port;
    }
    print_log_tail(server);
    fail_msg("the server did not say that it listens");
    return 0;
}

void server_start(struct server *server)
{
    assert_int_equal(server->pid, 0);
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    enum { OWN_COUNT = 10 };
    /* Nothing of its own in the store: tests count what they have sent. */
    const char *arguments[OWN_COUNT + SERVER_ARGUMENTS_MAX + 1] = {binary(),   "serve",
                                                                   "--data",   server->dir,
                                                                   "--listen", "127.0.0.1:0",
                                                                   "--set",    "scrape.self=false",
                                                                   "--set",    "scrape.host=false"};
    for (size_t i = 0; server->arguments[i]; i++)
        arguments[OWN_COUNT + i] = server->arguments[i];
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves no server behind */
        int log = open(server->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(out[1], STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    close(out[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    server->port = wait_until_ready(server, out[0]);
    close(out[0]);
}

void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

int server_terminate(struct server *server)
{
    int status = 0;
    kill(server->pid, SIGTERM);
    waitpid(server->pid, &status, 0);
    server->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int apiary_run(const char *const *arguments, char **ret_output)
{
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *all[SERVER_ARGUMENTS_MAX] = {binary()};
    for (size_t i = 0; arguments[i]; i++)
        all[1 + i] = arguments[i];
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        execv(all[0], (char *const *)(uintptr_t)all);
        _exit(127);
    }
    close(out[1]);
    size_t used = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    assert_non_null(text);
    for (ssize_t got; (got = read(out[0], text + used, capacity - used - 1)) > 0;) {
        used += (size_t)got;
        if (capacity - used < 4096) {
            text = realloc(text, capacity *= 2);
            assert_non_null(text);
        }
    }
    close(out[0]);
    text[used] = '\0';
    int status = 0;
    waitpid(pid, &status, 0);
    if (ret_output)
        *ret_output = text;
    else
        free(text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct growing {
    char *data;
    size_t bytes;
};

static size_t grow(char *data, size_t size, size_t count, void *context)
{
    struct growing *text = context;
    text->data = realloc(text->data, text->bytes + size * count + 1);
    if (!text->data)
        return 0;
    memcpy(text->data + text->bytes, data, size * count);
    text->bytes += size * count;
    text->data[text->bytes] = '\0';
    return size * count;
}

struct reply http_ask(struct server *server, const char *path, const char *header, const char *body, size_t body_bytes)
{
    static CURL *curl; /* keeps connections open between calls, as real clients do */
    if (!curl)
        curl = curl_easy_init();
    curl_easy_reset(curl);
    char url[512];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server->port, path);
    struct growing answer = {calloc(1, 1), 0}, headers = {calloc(1, 1), 0};
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (const char *at = header; at && *at;) {
        size_t bytes = strcspn(at, "\n");
        char one[1024];
        snprintf(one, sizeof(one), "%.*s", (int)bytes, at);
        list = curl_slist_append(list, one);
        at += bytes + (at[bytes] == '\n');
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)HANGS_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, grow);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, grow);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_bytes);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    struct reply reply = {0};
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_slist_free_all(list);
    reply.body = answer.data;
    reply.body_bytes = answer.bytes;
    reply.headers = headers.data;
    return reply;
}

void reply_clear(struct reply *reply)
{
    free(reply->body);
    free(reply->headers);
    *reply = (struct reply){0};
}

long http_post(struct server *server, const char *path, const char *body)
{
    struct reply reply = http_ask(server, path, "Content-Type: application/json", body, strlen(body));
    long status = reply.status;
    reply_clear(&reply);
    return status;
}

static bool ask_number(struct server *server, const char *query, double *ret_number)
{
    struct reply reply = http_ask(server, "/api/sql", "Content-Type: text/plain", query, strlen(query));
    json_t *answer = reply.status == 200 ? json_loads(reply.body, 0, NULL) : NULL;
    json_t *cell = json_array_get(json_array_get(json_object_get(answer, "rows"), 0), 0);
    bool is_number = json_is_number(cell);
    if (is_number)
        *ret_number = json_number_value(cell);
    else
        fprintf(stderr, "status %ld for %s: %s\n", reply.status, query, reply.body);
    json_decref(answer);
    reply_clear(&reply);
    return is_number;
}

double sql_number(struct server *server, const char *query)
{
    double number = 0;
    assert_true(ask_number(server, query, &number));
    return number;
}

void sql_wait_for(struct server *server, const char *query, double want)
{
    double number = -1;
    long deadline_ms = 0;
    do
        if (ask_number(server, query, &number) && number == want)
            return;
    while (server_wait_more(&deadline_ms));
    print_log_tail(server);
    fail_msg("%s: is %g, should become %g", query, number, want);
}

void server_wait_for_replay(struct server *server)
{
    long deadline_ms = 0;
    do {
        struct reply reply = http_ask(server, "/-/ready", NULL, NULL, 0);
        bool is_ready = reply.status == 200;
        reply_clear(&reply);
        if (is_ready)
            return;
    } while (server_wait_more(&deadline_ms));
    print_log_tail(server);
    fail_msg("/-/ready did not become 200");
}
