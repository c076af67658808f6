/*
 * history/trouble.h - what is wrong with the files that are read: told one by one, and counted
 *
 * Reading goes on behind it: what is damaged is left out, all else is taken. Any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/rc.h"

struct history_trouble {
    void (*tell)(const struct ap_err *err, void *context); /* NULL: nobody listens; any thread */
    void *context;
    _Atomic uint64_t damages; /* told */
};

static inline void history_trouble_tell(struct history_trouble *trouble, const struct ap_err *err)
{
    atomic_fetch_add(&trouble->damages, 1);
    if (trouble->tell)
        trouble->tell(err, trouble->context);
}
