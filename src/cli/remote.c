#include "cli/remote.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/options.h"

enum ap_rc remote_ask(struct http_client *client, const struct remote *remote, const struct remote_question *question,
                      struct http_client_answer *ret_answer, struct ap_err *err)
{
    size_t bytes = strlen(remote->address);
    AP_AUTO_FREE char *url = ap_asprintf("%.*s%s", (int)(bytes - (bytes && remote->address[bytes - 1] == '/')),
                                         remote->address, question->path);
    AP_AUTO_FREE char *authorization = ap_asprintf("Bearer %s", remote->key ? remote->key : "");
    const struct http_field all[] = {{"Content-Type", question->content_type},
                                     {"Accept", question->accept},
                                     {"Authorization", remote->key ? authorization : NULL}};
    struct http_field fields[AP_ARRAY_COUNT(all)];
    size_t count = 0;
    for (size_t i = 0; i < AP_ARRAY_COUNT(all); i++)
        if (all[i].value)
            fields[count++] = all[i];
    const struct http_client_request request = {.url = url,
                                                .fields = fields,
                                                .field_count = count,
                                                .body = question->body,
                                                .deadline_ms = question->deadline_ms};
    return http_client_ask(client, &request, ret_answer, err);
}

int remote_ask_or_say(const char *command, struct http_client *client, const struct remote *remote,
                      const struct remote_question *question, struct ap_slice *ret_body)
{
    struct http_client_answer answer;
    struct ap_err err;
    if (remote_ask(client, remote, question, &answer, &err) != AP_OK) {
        fprintf(stderr, "apiary %s: %s\nIs a server running there? See --server.\n", command, err.text);
        return CLI_FAILED;
    }
    if (answer.status != 200)
        return answer_failed(command, answer.body, answer.status);
    *ret_body = answer.body;
    return CLI_DONE;
}
