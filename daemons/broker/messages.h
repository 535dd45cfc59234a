/* MESSAGE_IDs of the journal lines that the broker writes; units/mqd.catalog explains them. */
#pragma once

#define BROKER_MSG_NAMESRV_UNREACHABLE "9b6e5d0c8f3a4e27a1d4c7f20b9e6358" /* none beyond the sentence */
#define BROKER_MSG_STORE_REFUSES "c4a1d2f7e58b4b6f9d0e6a7351c8f924"       /* none beyond the sentence */
#define BROKER_MSG_STORE_WRITABLE "2f7d9a60b1c34e85a6c8e4d05b93f17a"      /* none beyond the sentence */
#define BROKER_MSG_CUT_OFF "8e35c0b74f1d4c92b7a2d69e10f5836c"             /* none beyond the sentence */
#define BROKER_MSG_LOOP_ENDED "974e1377c48b4897bd75e758e69fdf95"         /* field ERRNO */
#define BROKER_MSG_UNREADABLE "4f1c9a7e2b6d4d08a35e7c10f9b8d264"              /* none beyond the sentence */
#define BROKER_MSG_ROW_DAMAGED "d07c3e5a91b24f68a1f5e2c8467b90dd"             /* none beyond the sentence */
#define BROKER_MSG_MEMBERS_DIFFER "5b1f0c3e9d7a4f26b8e4a1c07d932f6e"       /* fields MQ_GROUP, MQ_MEMBERS */
