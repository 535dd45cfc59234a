/* What mq-store may do to the side record of a stopped store. */
#pragma once

/* Forgets how far the log was durable, so that the store opens with what is left. 0, -EPROTO (newer format), negative errno. */
int durable_accept_loss(int dir_fd);
