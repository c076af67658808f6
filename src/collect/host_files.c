#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "collect/host_internal.h"

/* ---- Files ---- */

/* Of one read(2): most files fit, so that the second one only says so. */
enum { READ_BYTES = 16384 };

static int read_all(int dir_fd, const char *path, struct ap_buf *buf)
{
    AP_AUTO_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno;
    ap_buf_reset(buf);
    buf->bytes_max = HOST_FILE_BYTES_MAX;
    for (;;) {
        char *to = ap_buf_reserve(buf, READ_BYTES);
        if (!to)
            return EFBIG;
        ssize_t bytes = read(fd, to, READ_BYTES - 1);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            return errno;
        buf->bytes += (size_t)bytes;
        if (bytes == 0)
            break;
    }
    buf->data[buf->bytes] = '\0';
    return 0;
}

enum ap_rc host_read(struct host_scrape *scrape, int dir_fd, const char *path, struct ap_slice *ret_text,
                     struct ap_err *err)
{
    int error = read_all(dir_fd, path, &scrape->file);
    if (error)
        return ap_fail_errno(err, error, "read %s", path);
    *ret_text = ap_buf_slice(&scrape->file);
    return AP_OK;
}

bool host_read_text(struct host_scrape *scrape, int dir_fd, const char *path, struct ap_slice *ret_text)
{
    if (read_all(dir_fd, path, &scrape->value) != 0)
        return false;
    *ret_text = ap_slice_trim(ap_buf_slice(&scrape->value));
    return true;
}

bool host_read_number(struct host_scrape *scrape, int dir_fd, const char *path, double *ret_value)
{
    struct ap_slice text;
    return host_read_text(scrape, dir_fd, path, &text) && host_number(text, ret_value);
}

struct ap_slice host_keep(struct host_scrape *scrape, struct ap_slice text)
{
    enum { KEPT_BYTES_MAX = 4096 };
    size_t bytes = AP_MIN(text.bytes, KEPT_BYTES_MAX);
    char *copy = ap_arena_alloc0(&scrape->arena, bytes + 1);
    if (bytes)
        memcpy(copy, text.data, bytes);
    return ap_slice(copy, bytes);
}

size_t host_read_labels(struct host_scrape *scrape, int dir_fd, const struct host_attribute *attributes, size_t count,
                        bool is_all, struct label *ret_labels)
{
    size_t label_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct ap_slice text = {0};
        if (host_read_text(scrape, dir_fd, attributes[i].path, &text) || is_all)
            ret_labels[label_count++] = (struct label){ap_slice_cstr(attributes[i].label), host_keep(scrape, text)};
    }
    return label_count;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void auto_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

enum ap_rc host_list(int dir_fd, const char *path, struct host_names *ret_names, struct ap_err *err)
{
    int fd = host_open_dir(dir_fd, path);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    AP_CLEANUP(auto_dir) DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return ap_fail_errno(err, errno, "open %s", path);
    }
    struct host_names names = {0};
    size_t capacity = 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= HOST_NAME_BYTES_MAX)
            continue;
        if (names.count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            names.items = ap_realloc(names.items, capacity * sizeof(names.items[0]));
        }
        names.items[names.count++] = ap_strdup(entry->d_name);
    }
    if (names.count)
        qsort(names.items, names.count, sizeof(names.items[0]), by_text);
    *ret_names = names;
    return AP_OK;
}

void host_names_clear(struct host_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct host_names){0};
}

int host_open_dir(int dir_fd, const char *path)
{
    return openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- Text ---- */

bool host_line(struct ap_slice *rest, struct ap_slice *ret_line)
{
    if (rest->bytes == 0)
        return false;
    *ret_line = ap_slice_split(rest, '\n');
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct ap_slice host_field(struct ap_slice *rest)
{
    if (rest->bytes == 0)
        return (struct ap_slice){0};
    const char *at = rest->data, *end = rest->data + rest->bytes;
    while (at < end && is_blank(*at))
        at++;
    const char *begin = at;
    while (at < end && !is_blank(*at))
        at++;
    *rest = ap_slice(at, (size_t)(end - at));
    return ap_slice(begin, (size_t)(at - begin));
}

enum { NUMBER_BYTES_MAX = 64 };

static bool copy_number(struct ap_slice text, char to[NUMBER_BYTES_MAX])
{
    if (text.bytes == 0 || text.bytes >= NUMBER_BYTES_MAX || isspace((unsigned char)text.data[0]))
        return false;
    memcpy(to, text.data, text.bytes);
    to[text.bytes] = '\0';
    return strlen(to) == text.bytes;
}

bool host_number(struct ap_slice text, double *ret_value)
{
    /* Nearly all are short integers; strtod() takes ten times as long. */
    if (text.bytes && text.bytes <= 15) {
        int64_t value = 0;
        size_t i = 0;
        for (; i < text.bytes && text.data[i] >= '0' && text.data[i] <= '9'; i++)
            value = value * 10 + (text.data[i] - '0');
        if (i == text.bytes) {
            *ret_value = (double)value;
            return true;
        }
    }
    char copy[NUMBER_BYTES_MAX], *end;
    if (!copy_number(text, copy))
        return false;
    double value = strtod(copy, &end);
    if (*end)
        return false;
    *ret_value = value;
    return true;
}

bool host_integer(struct ap_slice text, int base, int64_t *ret_value)
{
    char copy[NUMBER_BYTES_MAX], *end;
    if (!copy_number(text, copy))
        return false;
    errno = 0;
    long long value = strtoll(copy, &end, base);
    if (*end || errno)
        return false;
    *ret_value = value;
    return true;
}

bool host_has_text(struct ap_slice text, const char *part)
{
    return text.bytes && memmem(text.data, text.bytes, part, strlen(part));
}

struct ap_slice host_digits_behind(struct ap_slice text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    if (text.bytes == 0 || !ap_slice_starts_with(text, prefix))
        return (struct ap_slice){0};
    struct ap_slice digits = ap_slice(text.data + bytes, text.bytes - bytes);
    for (size_t i = 0; i < digits.bytes; i++)
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return (struct ap_slice){0};
    return digits;
}

struct host_metric_name host_metric_name(const char *prefix, struct ap_slice text, const char *suffix)
{
    struct host_metric_name name;
    size_t room = HOST_NAME_BYTES_MAX - strlen(prefix) - strlen(suffix) - 1;
    int bytes = snprintf(name.text, sizeof(name.text), "%s%.*s%s", prefix, (int)AP_MIN(text.bytes, room),
                         text.bytes ? text.data : "", suffix);
    for (int i = 0; i < bytes; i++) {
        char c = name.text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':'))
            name.text[i] = '_';
    }
    return name;
}
