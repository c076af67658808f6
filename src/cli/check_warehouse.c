#include "cli/check_warehouse.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "pack/pack.h"
#include "warehouse/warehouse.h"

struct check_warehouse {
    char dir[32];
    struct warehouse *warehouse;      /* owned */
    struct pack *packs[CLI_LIST_MAX]; /* owned; of _open_dirs() */
};

enum ap_rc check_warehouse_open(const struct pack *const *packs, size_t pack_count, struct check_warehouse **ret_made,
                                struct ap_err *err)
{
    AP_AUTO(check_warehouse) struct check_warehouse *made = ap_new0(struct check_warehouse);
    enum ap_rc rc = pack_check_together(packs, pack_count, err);
    if (rc != AP_OK)
        return rc;
    strcpy(made->dir, "/tmp/apiary-check-XXXXXX");
    if (!mkdtemp(made->dir)) {
        made->dir[0] = '\0';
        return ap_fail(err, AP_E_IO, "cannot make a temporary directory in /tmp");
    }
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = made->dir;
    rc = warehouse_open(&options, &made->warehouse, err);
    if (rc == AP_OK)
        rc = pack_apply(packs, pack_count, made->warehouse, NULL, NULL, err);
    if (rc == AP_OK)
        *ret_made = AP_MOVE(made);
    return rc;
}

enum ap_rc check_warehouse_open_dirs(const struct cli_list *dirs, struct check_warehouse **ret_made, struct ap_err *err)
{
    struct pack *packs[CLI_LIST_MAX] = {0};
    size_t count = 0;
    enum ap_rc rc = AP_OK;
    while (count < dirs->count && rc == AP_OK) {
        rc = pack_load(dirs->items[count], &packs[count], err);
        count += rc == AP_OK;
    }
    if (rc == AP_OK)
        rc = check_warehouse_open((const struct pack *const *)packs, count, ret_made, err);
    for (size_t i = 0; i < count; i++)
        if (rc == AP_OK)
            (*ret_made)->packs[i] = packs[i];
        else
            pack_free(packs[i]);
    return rc;
}

void check_warehouse_close(struct check_warehouse *made)
{
    if (!made)
        return;
    warehouse_close(made->warehouse);
    if (made->dir[0]) {
        AP_AUTO_FREE char *file = ap_asprintf("%s/hot.duckdb", made->dir);
        unlink(file);
        rmdir(made->dir);
    }
    for (size_t i = 0; i < CLI_LIST_MAX; i++)
        pack_free(made->packs[i]);
    free(made);
}

struct warehouse *check_warehouse_of(const struct check_warehouse *made)
{
    return made->warehouse;
}
