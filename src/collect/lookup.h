/*
 * collect/lookup.h - a host's addresses, with a deadline
 *
 * getaddrinfo() waits for as long as the resolver's own limits allow, and nothing ends it. So it runs on a thread of
 * its own, which is left behind when it takes too long. An address that is written out needs no thread, and nobody is
 * asked.
 */
#pragma once

#include <netdb.h>
#include <stdint.h>

#include "base/rc.h"

/*
 * *ret_found is the caller's (freeaddrinfo()), in the order in which they should be tried. `deadline_us` is by the
 * machine's monotonic clock. AP_E_TIMEOUT; AP_E_NOT_FOUND: there is no such host, or nobody to say so.
 */
ap_nodiscard enum ap_rc lookup_host(const char *host, int64_t deadline_us, struct addrinfo **ret_found,
                                    struct ap_err *err);
