#include "metrics_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void metrics_file_open(const char *path, struct metrics_file *ret_file)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        perror(path);
        exit(1);
    }
    const char *data = MAP_FAILED;
    if ((size_t)about.st_size >= sizeof(struct metrics_file_header))
        data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (data != MAP_FAILED)
        memcpy(&ret_file->header, data, sizeof(ret_file->header));
    if (data == MAP_FAILED || ret_file->header.magic != METRICS_FILE_MAGIC) {
        fprintf(stderr, "%s: not a file of bench-metrics-load, or not complete\n", path);
        exit(1);
    }
    ret_file->at = data + sizeof(ret_file->header);
    ret_file->end = data + about.st_size;
}

const char *metrics_file_next(struct metrics_file *file, struct metrics_record *ret_record)
{
    if ((size_t)(file->end - file->at) < sizeof(*ret_record))
        return NULL;
    memcpy(ret_record, file->at, sizeof(*ret_record));
    const char *body = file->at + sizeof(*ret_record);
    if ((size_t)(file->end - body) < ret_record->body_bytes)
        return NULL;
    file->at = body + ret_record->body_bytes;
    return body;
}
