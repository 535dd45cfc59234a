/* MESSAGE_IDs of the journal lines that both daemons write; units/mqd.catalog explains them. */
#pragma once

#define COMMON_MSG_RELOAD_FAILED "3e771be7fc494ababb3efeac3eece891"
