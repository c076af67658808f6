#include "notify/sender.h"
static enum ap_rc check(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err)
{
    (void)way, (void)global, (void)library, (void)err;
    return AP_OK;
}
static void send_email(struct sending *sending, struct delivery *ret)
{
    (void)sending;
    delivery_say(ret, DELIVERY_REFUSED, "none");
}
const struct sender sender_email = {check, send_email};
