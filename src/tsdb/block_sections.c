#include "base/mem.h"
#include "tsdb/block_internal.h"

size_t block_sections(const struct block *block, struct block_section ret_sections[BLOCK_SECTIONS_MAX])
{
    static const char *const names[] = {
        [SECTION_META] = "meta",       [SECTION_FILES] = "files",   [SECTION_NAMES] = "names",
        [SECTION_PAIRS] = "pairs",     [SECTION_TEXTS] = "texts",   [SECTION_POSTINGS] = "postings",
        [SECTION_OFFSETS] = "offsets", [SECTION_SERIES] = "series",
    };
    _Static_assert(AP_ARRAY_COUNT(names) == SECTION_COUNT && (int)SECTION_COUNT <= (int)BLOCK_SECTIONS_MAX,
                   "every section has a name and fits");
    for (size_t i = 0; i < SECTION_COUNT; i++)
        ret_sections[i] = (struct block_section){names[i], block->sections[i].bytes};
    return SECTION_COUNT;
}
