/* MESSAGE_IDs of the journal lines that the NameServer writes; units/mqd.catalog explains them. All but the last have the fields
 * MQ_BROKER, MQ_CLUSTER and MQ_ADDRESS, as far as they are known. */
#pragma once

#define NAMESRV_MSG_BROKER_REGISTERED "9ba78d6138eb4ea9968f9f9135dceaa7"
#define NAMESRV_MSG_BROKER_GOODBYE "18a56009dace47fd9be67ab37794ca2d"
#define NAMESRV_MSG_BROKER_LOST "0e53bfbb6164412c81267505ae26b449"   /* field MQ_PEER */
#define NAMESRV_MSG_BROKER_SILENT "824ec127662642a1b60c13e28db5e743"
#define NAMESRV_MSG_CONFIG_CHANGED "9980683160a54b3b95ca067bffcbc361" /* field MQ_PEER */
