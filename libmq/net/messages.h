/* MESSAGE_IDs of the journal lines that libmq/net writes; units/mqd.catalog explains them. */
#pragma once

#define MQ_MSG_PEER_PROTOCOL_ERROR "5c0f1f6a1d9b4a5fb0a1a6c3d47e2b10" /* fields MQ_PEER, ERRNO */
#define MQ_MSG_OUT_OF_DESCRIPTORS "a3a9de0f5b6f4c7d9d2f3c8c1e5b7a41"  /* field ERRNO */
#define MQ_MSG_REQUEST_FAILED "e1b7c3d2605e4f4b8b0d6f19c2a84e53"      /* fields MQ_PEER, MQ_CODE, ERRNO */
#define MQ_MSG_PEER_OVERLOAD "74d0a85a3c0e4d36a2b9f17be6c8d920"       /* fields MQ_PEER, MQ_BYTES */
