#include "history/import_state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "os/fs.h"

#define STATE_HEADER "apiary-import 1\n"
enum { FINGERPRINT_DIGITS = 16 };

static struct import_note *note_of(struct import_state *state, uint64_t fingerprint)
{
    for (size_t i = 0; i < state->count; i++)
        if (state->notes[i].fingerprint == fingerprint)
            return &state->notes[i];
    if (state->count == state->capacity) {
        state->capacity = state->capacity ? state->capacity * 2 : 64;
        state->notes = ap_realloc(state->notes, state->capacity * sizeof(*state->notes));
    }
    struct import_note *note = &state->notes[state->count++];
    *note = (struct import_note){.fingerprint = fingerprint};
    return note;
}

/* "<16 digits> done" or "<16 digits> staged <block>". */
static bool read_line(struct import_state *state, char *line)
{
    static const char done[] = " done\n", staged[] = " staged ";
    char *rest;
    uint64_t fingerprint = strtoull(line, &rest, 16);
    if (rest != line + FINGERPRINT_DIGITS)
        return false;
    if (strcmp(rest, done) == 0) {
        note_of(state, fingerprint)->staged[0] = '\0';
        return true;
    }
    const char *id = rest + sizeof(staged) - 1;
    if (strncmp(rest, staged, sizeof(staged) - 1) != 0 || strlen(id) != BLOCK_ID_BYTES ||
        id[BLOCK_ID_BYTES - 1] != '\n')
        return false;
    snprintf(note_of(state, fingerprint)->staged, BLOCK_ID_BYTES, "%.*s", BLOCK_ID_BYTES - 1, id);
    return true;
}

void import_state_read(const char *tsdb_dir, struct import_state *ret_state)
{
    *ret_state = (struct import_state){0};
    AP_AUTO_FREE char *path = ap_asprintf("%s/import/state", tsdb_dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    char line[128];
    bool is_sound = fgets(line, sizeof(line), file) && strcmp(line, STATE_HEADER) == 0;
    while (is_sound && fgets(line, sizeof(line), file))
        is_sound = read_line(ret_state, line);
    fclose(file);
    if (!is_sound)
        import_state_clear(ret_state);
}

void import_state_clear(struct import_state *state)
{
    free(state->notes);
    *state = (struct import_state){0};
}

const struct import_note *import_state_find(const struct import_state *state, uint64_t fingerprint)
{
    for (size_t i = 0; i < state->count; i++)
        if (state->notes[i].fingerprint == fingerprint)
            return &state->notes[i];
    return NULL;
}

static enum ap_rc replace(int dir_fd, struct ap_slice text, struct ap_err *err)
{
    const struct os_fs *fs = &os_fs_system;
    int fd = fs->open(fs->context, dir_fd, "state.tmp", O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "make import/state");
    struct iovec part = {.iov_base = (void *)(uintptr_t)text.data, .iov_len = text.bytes};
    enum ap_rc rc = os_write_all(fs, fd, &part, 1, 0, "import/state", err);
    int result = rc == AP_OK ? fs->datasync(fs->context, fd) : 0;
    fs->close(fs->context, fd);
    if (rc != AP_OK)
        return rc;
    if (result == 0)
        result = fs->rename(fs->context, dir_fd, "state.tmp", "state");
    if (result == 0)
        result = fs->sync_dir(fs->context, dir_fd);
    return result < 0 ? ap_fail_errno(err, -result, "write import/state") : AP_OK;
}

static enum ap_rc save(const struct import_state *state, const char *tsdb_dir, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/import", tsdb_dir);
    AP_AUTO_FD int dir_fd = -1;
    enum ap_rc rc = os_dir_open(path, &dir_fd, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_add_cstr(&text, STATE_HEADER);
    for (size_t i = 0; i < state->count; i++) {
        const struct import_note *note = &state->notes[i];
        ap_buf_printf(&text, "%0*" PRIx64, FINGERPRINT_DIGITS, note->fingerprint);
        if (note->staged[0])
            ap_buf_printf(&text, " staged %s\n", note->staged);
        else
            ap_buf_add_cstr(&text, " done\n");
    }
    return replace(dir_fd, ap_buf_slice(&text), err);
}

enum ap_rc import_state_note(struct import_state *state, const char *tsdb_dir, uint64_t fingerprint, const char *staged,
                             struct ap_err *err)
{
    snprintf(note_of(state, fingerprint)->staged, BLOCK_ID_BYTES, "%s", staged ? staged : "");
    return save(state, tsdb_dir, err);
}

enum ap_rc import_state_forget(struct import_state *state, const char *tsdb_dir, uint64_t fingerprint,
                               struct ap_err *err)
{
    struct import_note *note = note_of(state, fingerprint);
    *note = state->notes[--state->count];
    return save(state, tsdb_dir, err);
}
