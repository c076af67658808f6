#include "cli/answer.h"

#include <jansson.h>
#include <stdio.h>

#include "cli/options.h"

int answer_failed(const char *command, struct ap_slice body, unsigned status)
{
    json_t *answer = json_loadb(body.data, body.bytes, 0, NULL);
    const char *error = json_string_value(json_object_get(answer, "error"));
    if (error)
        fprintf(stderr, "apiary %s: %s\n", command, error);
    else
        fprintf(stderr, "apiary %s: the server answered with status %u\n", command, status);
    json_decref(answer);
    return CLI_FAILED;
}
