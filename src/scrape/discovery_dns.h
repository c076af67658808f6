/*
 * scrape/discovery_dns.h - of dns_sd_configs, what others need than the manager
 */
#pragma once

#include <netinet/in.h>

#include "scrape/discovery.h"

/* From now on this server is asked, and not those of /etc/resolv.conf. Before the first refresh. */
void discovery_dns_ask(struct discovery *discovery, const struct sockaddr_in *server);
