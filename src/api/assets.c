/*
 * api/assets.c - finding a file of the web app by its path
 */
#include "api/assets.h"

/* As strcmp() does, for a slice that may hold any byte. */
static int compare(struct ap_slice path, const char *entry)
{
    size_t entry_bytes = strlen(entry);
    size_t shared = path.bytes < entry_bytes ? path.bytes : entry_bytes;
    int order = shared ? memcmp(path.data, entry, shared) : 0;

    if (order != 0)
        return order;
    return (path.bytes > entry_bytes) - (path.bytes < entry_bytes);
}

const struct asset *asset_find(struct ap_slice path)
{
    size_t low = 0;
    size_t high = asset_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(path, asset_table[middle].path);

        if (order == 0)
            return &asset_table[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
