#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"

void *ap_alloc0(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    AP_ASSERT(memory != NULL);
    return memory;
}

void *ap_realloc(void *take_memory, size_t bytes)
{
    AP_ASSERT(bytes > 0);
    void *memory = realloc(take_memory, bytes);
    AP_ASSERT(memory != NULL);
    return memory;
}

char *ap_strndup(const char *text, size_t bytes)
{
    char *copy = ap_alloc0(bytes + 1, 1);
    memcpy(copy, text, bytes);
    return copy;
}

char *ap_strdup(const char *text)
{
    return ap_strndup(text, strlen(text));
}

char *ap_asprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int bytes = vasprintf(&text, format, args);
    va_end(args);
    AP_ASSERT(bytes >= 0);
    return text;
}

void *ap_try_alloc(size_t bytes, size_t bytes_max)
{
    return bytes <= bytes_max ? malloc(bytes ? bytes : 1) : NULL;
}

void ap_auto_fd_(int *fd)
{
    if (*fd < 0)
        return;
    int saved_errno = errno;
    close(*fd);
    errno = saved_errno;
}
