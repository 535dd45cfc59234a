/* What the files of this folder share about a client. */
#pragma once

#include "libmq/client/client.h"

struct mq_route_cache;

struct mq_route_cache *mq_client_routes(const struct mq_client *c);
bool mq_client_wants_local_sockets(const struct mq_client *c);

struct mq_route_cache *mq_route_cache_new(struct mq_client *c); /* NULL: no memory */
struct mq_route_cache *mq_route_cache_free(struct mq_route_cache *cache);
