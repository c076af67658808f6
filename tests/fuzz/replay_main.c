/*
 * tests/fuzz/replay_main.c - runs a fuzz target over its kept corpus, without libFuzzer
 *
 *   fuzz_json_reader FILE|FOLDER...
 *
 * Every file is handed to the target once, in a block of exactly its size, so that the address sanitizer sees a read
 * one byte too far. A target tells of a failure by aborting; so the last file named on the output is the one that did
 * it. An empty input is always tried first. It is an error when a folder holds no file: a corpus that has moved away
 * must not look like one that passes.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static unsigned input_count;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path, off_t size)
{
    size_t bytes = (size_t)size;
    uint8_t *data = malloc(bytes ? bytes : 1);
    FILE *file = fopen(path, "rb");

    if (!data || !file)
        die("open", path);
    if (fread(data, 1, bytes, file) != bytes)
        die("read", path);
    fclose(file);
    printf("%s (%zu bytes)\n", path, bytes);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    input_count++;
}

static void replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        die("find", path);
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, st.st_size);
        return;
    }

    struct dirent **entries;
    unsigned before = input_count;
    int entry_count = scandir(path, &entries, NULL, alphasort); /* sorted: the same order everywhere */

    if (entry_count < 0)
        die("list", path);
    for (int i = 0; i < entry_count; i++) {
        char *child = NULL;

        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&child, "%s/%s", path, entries[i]->d_name) < 0)
                die("name a file of", path);
            replay(child);
        }
        free(child);
        free(entries[i]);
    }
    free(entries);
    if (input_count == before) {
        fprintf(stderr, "replay: no input in %s\n", path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%u inputs replayed\n", input_count);
    return 0;
}
