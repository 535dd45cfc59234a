/* MESSAGE_IDs of the journal lines that the broker writes; units/mqd.catalog explains them. */
#pragma once

#define BROKER_MSG_NAMESRV_UNREACHABLE "9b6e5d0c8f3a4e27a1d4c7f20b9e6358" /* none beyond the sentence */
